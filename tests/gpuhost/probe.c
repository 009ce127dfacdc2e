/* probe.elf: the smallest tenant; says on COM1 what hardware it was given.
 *
 * A 32-bit multiboot kernel of a few KiB, ready in the time that SeaBIOS needs (a Linux
 * guest takes minutes under nested emulation). It prints its command line, memory, CPU
 * and NUMA node counts, every PCI function, one GPU-SEEN line per display controller,
 * writes and reads each card's memory through VFIO, ends with "PROBE-DONE cards=N",
 * idles, and obeys the ACPI power button.
 *
 * Built by image.py with -m32 -ffreestanding -nostdlib; no libc, no multilib.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

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

__attribute__((section(".text.multiboot"), used, aligned(4)))
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

static void put_dec(u32 v) {
    char digits[12];
    int n = 0;
    do
        digits[n++] = '0' + v % 10;
    while (v /= 10);
    while (n)
        put_char(digits[--n]);
}

static u32 fw_cfg_u32(u16 key) {
    u32 v = 0;
    outw(FW_CFG_SELECT, key);
    for (int i = 0; i < 4; i++)
        v |= (u32)inb(FW_CFG_DATA) << (8 * i);
    return v;
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

static void put_bdf(Bdf a) {
    put_hex(a.bus, 2);
    put_char(':');
    put_hex(a.device, 2);
    put_char('.');
    put_hex(a.function, 1);
}

static void put_pair(u32 ids) {
    put_hex(ids & 0xffff, 4);
    put_char(':');
    put_hex(ids >> 16, 4);
}

/* Memory at BAR 0: says what the last tenant left, then leaves a mark of its own. The
 * mark tells a test of card sanitising whether the next tenant still sees it. */
static void check_memory(u32 low, u32 high) {
    if (!low || (low & 1))
        return;
    if ((low & 6) == 4 && high) {
        put("GPU-MEM skipped: above 4 GiB\n");
        return;
    }
    volatile u32 *memory = (u32 *)(low & ~15u);
    u32 before0 = memory[0], before1 = memory[1];
    memory[0] = 0xdeadbeef;
    memory[64] = 0x12345678;
    int ok = memory[0] == 0xdeadbeef && memory[64] == 0x12345678;
    put(ok ? "GPU-MEM ok before=" : "GPU-MEM BAD before=");
    put_hex(before0, 8);
    put_hex(before1, 8);
    memory[0] = 0x53454352;
    memory[1] = 0x45542121;
    put(" left=5345435245542121\n");
}

static void report_card(Bdf a, u32 ids) {
    u32 bars[6] = {0};
    put("GPU-SEEN ");
    put_pair(ids);
    put(" class ");
    put_hex(pci_read(a, 8) >> 8, 6);
    put(" subsys ");
    put_pair(pci_read(a, 0x2c));
    put(" at ");
    put_bdf(a);
    for (u32 i = 0; i < 6; i++) {
        u32 offset = 0x10 + 4 * i, value = pci_read(a, offset);
        bars[i] = value;
        if (!value || (value & 1))
            continue;
        pci_write(a, offset, ~0u);
        u32 mask = pci_read(a, offset) & ~15u;
        pci_write(a, offset, value);
        put(" bar");
        put_dec(i);
        put("=");
        put_dec((~mask + 1) >> 10);
        put("K");
        if ((value & 6) == 4 && i < 5) { /* 64 bit: the next register is its top */
            bars[i + 1] = pci_read(a, offset + 4);
            i++;
        }
    }
    put_char('\n');
    pci_write(a, 4, (pci_read(a, 4) & 0xffff) | 6); /* memory and bus master */
    check_memory(bars[0], bars[1]);
}

/* Returns the number of display controllers (class 03xxxx). All buses are tried, since
 * a pxb's root bus hangs below no bridge that could be followed. */
static u32 report_pci(void) {
    u32 cards = 0;
    for (u32 bus = 0; bus < 256; bus++)
        for (u32 device = 0; device < 32; device++) {
            u32 functions = 1;
            for (u32 function = 0; function < functions; function++) {
                Bdf a = {bus, device, function};
                u32 ids = pci_read(a, 0);
                if ((ids & 0xffff) == 0xffff)
                    continue;
                if (!function && (pci_read(a, 12) >> 16 & 0x80))
                    functions = 8;
                u32 class = pci_read(a, 8) >> 8;
                put("PCI ");
                put_bdf(a);
                put_char(' ');
                put_pair(ids);
                put(" class ");
                put_hex(class, 6);
                put_char('\n');
                if (class >> 16 == 3) {
                    report_card(a, ids);
                    cards++;
                }
            }
        }
    return cards;
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

__attribute__((used)) static void probe_main(u32 magic, u32 *info) {
    (void)magic;
    outb(COM1 + 1, 0), outb(COM1 + 3, 0x80), outb(COM1, 1), outb(COM1 + 1, 0);
    outb(COM1 + 3, 3), outb(COM1 + 2, 7); /* 115200 8n1 */
    put("PROBE-UP cmdline=");
    if (info[0] & 4)
        put((const char *)info[4]);
    put("\nPROBE-MEMORY kib=");
    put_dec((info[0] & 1) ? info[1] + info[2] : 0);
    put("\nPROBE-CPUS ");
    put_dec(fw_cfg_u32(FW_CFG_NB_CPUS) & 0xffff);
    put("\nPROBE-NODES ");
    put_dec(fw_cfg_u32(FW_CFG_NUMA));
    put_char('\n');
    u32 cards = report_pci();
    put("PROBE-DONE cards=");
    put_dec(cards);
    put_char('\n');
    idle_until_power_button();
}

__attribute__((naked, used, section(".text.start"))) void _start(void) {
    __asm__ volatile("mov %0,%%esp; push %%ebx; push %%eax; call probe_main" ::"i"(
        stack + sizeof stack));
}
