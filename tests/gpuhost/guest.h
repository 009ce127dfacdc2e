/* What every guest of a few KiB needs: a console, PCI, memory above 4 GiB, an idle loop.
 *
 * A 32-bit multiboot kernel, ready in the time that SeaBIOS needs (a Linux guest takes
 * minutes under nested emulation). The file that includes this defines guest_main().
 *
 * Built by image.py with -m32 -ffreestanding -nostdlib; no libc, no multilib.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define COM1 0x3f8
#define PM1_STATUS 0x600 /* ACPI PM block of q35, after SeaBIOS placed it */
#define PM1_ENABLE 0x602
#define PM1_CONTROL 0x604
#define POWER_BUTTON 0x100
#define SLEEP_S5 0x2000
#define FW_CFG_SELECT 0x510
#define FW_CFG_DATA 0x511
#define FW_CFG_NB_CPUS 5
#define FW_CFG_NUMA 13

/* In the first 8 KiB of the file: ld puts "unlikely" code before all other. */
__attribute__((section(".text.unlikely.multiboot"), used, aligned(4)))
static const u32 multiboot_header[] = {
    0x1BADB002, 0x00000002, -(0x1BADB002u + 2) /* 2: wants the memory sizes */
};

static inline void outb(u16 p, u8 v) { __asm__ volatile("outb %0,%1" ::"a"(v), "Nd"(p)); }
static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0,%1" ::"a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0,%1" ::"a"(v), "Nd"(p)); }
static inline u8 inb(u16 p) { u8 v; __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1,%0" : "=a"(v) : "Nd"(p)); return v; }

static void put_char(char c) {
    while (!(inb(COM1 + 5) & 0x20))
        ;
    outb(COM1, c);
}

static void put(const char *s) {
    for (; *s; s++) {
        if (*s == '\n')
            put_char('\r');
        put_char(*s);
    }
}

static void put_hex(u32 v, int digits) {
    while (digits--)
        put_char("0123456789abcdef"[(v >> (4 * digits)) & 15]);
}

static void put_dec(u64 value) {
    char digits[24];
    int n = 0;
    do { /* no 64-bit division without libgcc: by quarters of 16 bit */
        u32 rest = 0;
        u64 quotient = 0;
        for (int shift = 48; shift >= 0; shift -= 16) {
            rest = rest << 16 | (u32)(value >> shift & 0xffff);
            quotient |= (u64)(rest / 10) << shift;
            rest %= 10;
        }
        digits[n++] = '0' + rest;
        value = quotient;
    } while (value);
    while (n)
        put_char(digits[--n]);
}

typedef struct {
    u32 bus, device, function;
} Bdf;

static void pci_select(Bdf a, u32 offset) {
    outl(0xcf8, 0x80000000u | a.bus << 16 | a.device << 11 | a.function << 8 | offset);
}

static u32 pci_read(Bdf a, u32 offset) {
    pci_select(a, offset);
    return inl(0xcfc);
}

static void pci_write(Bdf a, u32 offset, u32 v) {
    pci_select(a, offset);
    outl(0xcfc, v);
}

static void put_pair(u32 ids) {
    put_hex(ids & 0xffff, 4);
    put_char(':');
    put_hex(ids >> 16, 4);
}

/* PAE, identity mapped but for the top GiB, which is a window onto any 2 MiB pages. */
#define WINDOW 0xc0000000u
#define WINDOW_BYTES (1u << 26)
#define PAGE 0x200000u
static u64 page_tables[4][512] __attribute__((aligned(4096)));
static u64 page_pointers[4] __attribute__((aligned(32)));

static void paging_on(void) {
    for (u32 gib = 0; gib < 4; gib++) {
        page_pointers[gib] = (u32)page_tables[gib] | 1;
        for (u32 i = 0; i < 512; i++) /* present, writable, 2 MiB */
            page_tables[gib][i] = ((u64)(gib << 30 | i << 21)) | 0x83;
    }
    __asm__ volatile("mov %%cr4,%%eax; or $0x30,%%eax; mov %%eax,%%cr4;" /* PSE, PAE */
                     "mov %0,%%cr3; mov %%cr0,%%eax; or $0x80000000,%%eax; mov %%eax,%%cr0"
                     ::"r"(page_pointers) : "eax", "memory");
}

/* Maps up to WINDOW_BYTES at `address`, which is aligned to its size or to 2 MiB. */
static volatile u32 *map_window(u64 address, u32 bytes) {
    u64 base = address & ~(u64)(PAGE - 1);
    for (u32 i = 0; i < 512 && (u64)i * PAGE < (address - base) + bytes; i++)
        page_tables[3][i] = (base + (u64)i * PAGE) | 0x83;
    __asm__ volatile("mov %0,%%cr3" ::"r"(page_pointers) : "memory");
    return (volatile u32 *)(WINDOW + (u32)(address - base));
}

/* The largest memory BAR of a function; bytes 0 if there is none. is_reachable: the
 * firmware gave it a place that this CPU can address, and the card answers there. */
typedef struct {
    u64 address, bytes;
    int is_reachable;
} Memory;

static u32 address_bits(void) {
    u32 a = 0x80000000, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if (a < 0x80000008)
        return 36;
    a = 0x80000008;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return a & 0xff;
}

static Memory memory_of(Bdf a) {
    Memory best = {0, 0, 0};
    u32 command = pci_read(a, 4) & 0xffff;
    pci_write(a, 4, command & ~3u); /* not decoded while it is sized */
    for (u32 i = 0; i < 6; i++) {
        u32 offset = 0x10 + 4 * i, low = pci_read(a, offset), high = 0, top = ~0u;
        int is_64 = (low & 7) == 4 && i < 5;
        if (low & 1)
            continue;
        pci_write(a, offset, ~0u);
        u32 mask = pci_read(a, offset) & ~15u;
        pci_write(a, offset, low);
        if (is_64) {
            high = pci_read(a, offset + 4);
            pci_write(a, offset + 4, ~0u);
            top = pci_read(a, offset + 4);
            pci_write(a, offset + 4, high);
            i++;
        }
        if (!mask && (!is_64 || !top))
            continue;
        u64 bytes = ~((u64)top << 32 | mask) + 1;
        if (bytes > best.bytes)
            best = (Memory){(u64)high << 32 | (low & ~15u), bytes, 0};
    }
    pci_write(a, 4, command | 2);
    /* address 0 is this guest's own memory, which would pass for the card's */
    best.is_reachable = best.address && (pci_read(a, 4) & 2) &&
                        !((best.address + best.bytes - 1) >> address_bits());
    return best;
}

/* Maps the part of the memory from `at` on; returns its length in words. */
static u32 map_part(Memory memory, u64 at, volatile u32 **words) {
    u64 rest = memory.bytes - at;
    u32 bytes = rest < WINDOW_BYTES ? (u32)rest : WINDOW_BYTES;
    *words = map_window(memory.address + at, bytes);
    return bytes / 4;
}

static u32 bytes_set(u32 word) {
    u32 high = (((word & 0x7f7f7f7f) + 0x7f7f7f7f) | word) & 0x80808080;
    return (high >> 7) * 0x01010101 >> 24;
}

/* Bytes that differ from the sequence first, first + step, ... of words. What differs is
 * read twice, and counts even if it is right the second time. */
static u32 count_differing(volatile u32 *words, u32 count, u32 first, u32 step) {
    u32 found = 0;
    while (count) {
        u32 block = count < 8 ? count : 8, differing = 0;
        if (block == 8) /* unrolled: under emulation four times as fast */
            differing = (words[0] ^ first) | (words[1] ^ (first + step)) |
                        (words[2] ^ (first + 2 * step)) | (words[3] ^ (first + 3 * step)) |
                        (words[4] ^ (first + 4 * step)) | (words[5] ^ (first + 5 * step)) |
                        (words[6] ^ (first + 6 * step)) | (words[7] ^ (first + 7 * step));
        if (differing || block < 8) {
            u32 again = 0;
            for (u32 i = 0; i < block; i++)
                again += bytes_set(words[i] ^ (first + i * step));
            found += differing && !again ? 1 : again;
        }
        words += block, count -= block, first += 8 * step;
    }
    return found;
}

static u32 count_nonzero(volatile u32 *words, u32 count) {
    return count_differing(words, count, 0, 0);
}

static void fill(volatile u32 *words, u32 count, u32 value) {
    __asm__ volatile("cld; rep stosl" : "+D"(words), "+c"(count) : "a"(value) : "memory");
}

struct gate {
    u16 low, selector;
    u8 zero, type;
    u16 high;
} __attribute__((packed));

static struct gate idt[48];
static volatile int power_button;

static void end_of_interrupt(void) {
    outb(0xa0, 0x20);
    outb(0x20, 0x20);
}

__attribute__((interrupt)) static void on_sci(void *frame) {
    (void)frame;
    u16 status = inw(PM1_STATUS);
    outw(PM1_STATUS, status);
    if (status & POWER_BUTTON)
        power_button = 1;
    end_of_interrupt();
}

__attribute__((interrupt)) static void on_other(void *frame) {
    (void)frame;
    end_of_interrupt();
}

static void set_gate(int vector, void *handler) {
    u32 a = (u32)handler;
    u16 cs;
    __asm__("mov %%cs,%0" : "=r"(cs));
    idt[vector] = (struct gate){a & 0xffff, cs, 0, 0x8e, a >> 16};
}

static void idle_until_power_button(void) {
    for (int i = 0; i < 48; i++)
        set_gate(i, i == 0x29 ? (void *)on_sci : (void *)on_other);
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) idtr = {sizeof idt - 1, (u32)idt};
    __asm__ volatile("lidt %0" ::"m"(idtr));
    /* PICs at vectors 0x20 and 0x28; only the cascade and IRQ 9 (ACPI) are open */
    outb(0x20, 0x11), outb(0xa0, 0x11), outb(0x21, 0x20), outb(0xa1, 0x28);
    outb(0x21, 4), outb(0xa1, 2), outb(0x21, 1), outb(0xa1, 1);
    outb(0x21, 0xfb), outb(0xa1, 0xfd);
    outb(0xb2, 2); /* ACPI enable */
    outw(PM1_ENABLE, POWER_BUTTON);
    for (;;) {
        __asm__ volatile("sti; hlt; cli");
        if (power_button) {
            put("PROBE-POWER-BUTTON\n");
            outw(PM1_CONTROL, SLEEP_S5);
        }
    }
}

static u8 stack[16384] __attribute__((aligned(16)));
static void guest_main(u32 *info);

__attribute__((used)) static void guest_start(u32 magic, u32 *info) {
    (void)magic;
    outb(COM1 + 1, 0), outb(COM1 + 3, 0x80), outb(COM1, 1), outb(COM1 + 1, 0);
    outb(COM1 + 3, 3), outb(COM1 + 2, 7); /* 115200 8n1 */
    paging_on();
    guest_main(info);
    idle_until_power_button();
}

__attribute__((naked, used, section(".text.start"))) void _start(void) {
    __asm__ volatile("mov %0,%%esp; push %%ebx; push %%eax; call guest_start" ::"i"(
        stack + sizeof stack));
}
