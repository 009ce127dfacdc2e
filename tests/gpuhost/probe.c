/* probe.elf: the smallest tenant; says on COM1 what hardware it was given.
 *
 * It prints its command line, memory, CPU and NUMA node counts, every PCI function, one
 * GPU-SEEN line per display controller, counts what the last tenant left in each card's
 * memory and fills all of it, ends with "PROBE-DONE cards=N", idles, and obeys the ACPI
 * power button.
 */
#include "guest.h"

static u32 fw_cfg_u32(u16 key) {
    u32 v = 0;
    outw(FW_CFG_SELECT, key);
    for (int i = 0; i < 4; i++)
        v |= (u32)inb(FW_CFG_DATA) << (8 * i);
    return v;
}

static void put_bdf(Bdf a) {
    put_hex(a.bus, 2);
    put_char(':');
    put_hex(a.device, 2);
    put_char('.');
    put_hex(a.function, 1);
}

/* Says what the last tenant left in the card's memory, then fills all of it. The mark
 * tells a test of card sanitising whether the next tenant still sees it. */
static void check_memory(Bdf a) {
    Memory found = memory_of(a);
    pci_write(a, 4, (pci_read(a, 4) & 0xffff) | 4); /* bus master */
    if (!found.bytes)
        return;
    if (!found.is_reachable) {
        put("GPU-MEM skipped: out of reach\n");
        return;
    }
    volatile u32 *memory;
    u64 nonzero = 0;
    for (u64 at = 0; at < found.bytes; at += WINDOW_BYTES) {
        u32 count = map_part(found, at, &memory);
        nonzero += count_nonzero(memory, count);
    }
    put("GPU-RESIDUE nonzero=");
    put_dec(nonzero);
    put(" of=");
    put_dec(found.bytes);
    put_char('\n');
    map_part(found, 0, &memory);
    u32 before0 = memory[0], before1 = memory[1];
    memory[0] = 0xdeadbeef;
    memory[64] = 0x12345678;
    int ok = memory[0] == 0xdeadbeef && memory[64] == 0x12345678;
    put(ok ? "GPU-MEM ok before=" : "GPU-MEM BAD before=");
    put_hex(before0, 8);
    put_hex(before1, 8);
    for (u64 at = 0; at < found.bytes; at += WINDOW_BYTES) {
        u32 count = map_part(found, at, &memory);
        fill(memory, count, 0xa5a5a5a5);
    }
    map_part(found, 0, &memory);
    memory[0] = 0x53454352;
    memory[1] = 0x45542121;
    put(" left=5345435245542121\n");
}

static void report_card(Bdf a, u32 ids) {
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
        if ((value & 6) == 4) /* 64 bit: the next register is its top */
            i++;
    }
    put_char('\n');
    check_memory(a);
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

static void guest_main(u32 *info) {
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
}

