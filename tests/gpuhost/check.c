/* check.elf: scrubs or tests the cards that it was given, between two tenants.
 *
 * Its command line says mode=scrub or mode=test; docs/card-checks.md says what it prints.
 */
#include "guest.h"

#define WINDOW_BYTES (1u << 29)

static const char *mode_of(const char *cmdline) {
    for (; *cmdline; cmdline++) {
        const char *want = "mode=";
        u32 n = 0;
        while (want[n] && cmdline[n] == want[n])
            n++;
        if (!want[n])
            return cmdline + n;
    }
    return "";
}

static int starts_with(const char *text, const char *word) {
    while (*word)
        if (*text++ != *word++)
            return 0;
    return !*text || *text == ' ';
}

static void put_number(const char *name, u64 value) {
    char digits[24];
    int n = 0;
    put(name);
    do { /* no 64-bit division without libgcc: by halves of 16 bit */
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

static u32 count_bad(volatile u32 *words, u32 count, u32 seed) {
    u32 bad = 0;
    for (u32 i = 0; i < count; i++)
        if (words[i] != (seed ^ (i * 0x9e3779b9u)))
            for (u32 v = words[i] ^ seed ^ (i * 0x9e3779b9u); v; v >>= 8)
                bad += (v & 0xff) != 0;
    return bad;
}

/* Each word holds what no other place does, so that memory that answers twice shows. */
static int scrub(Memory memory) {
    u64 bad = 0, left = 0, done = 0;
    for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
        u32 part = memory.bytes - at < WINDOW_BYTES ? memory.bytes - at : WINDOW_BYTES;
        volatile u32 *words = map_window(memory.address + at, part);
        u32 seed = ~(u32)(at >> 20);
        for (u32 i = 0; i < part / 4; i++)
            words[i] = seed ^ (i * 0x9e3779b9u);
        bad += count_bad(words, part / 4, seed);
    }
    for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
        u32 part = memory.bytes - at < WINDOW_BYTES ? memory.bytes - at : WINDOW_BYTES;
        volatile u32 *words = map_window(memory.address + at, part);
        for (u32 i = 0; i < part / 4; i++)
            words[i] = 0;
        left += count_nonzero(words, part / 4);
        done += part;
    }
    put_number(" bytes=", done);
    put_number(" bad=", bad);
    put_number(" left=", left);
    put_char('\n');
    return done && !bad && !left;
}

static u32 try_word(volatile u32 *word) {
    u32 was = *word, bad = 0;
    *word = ~was;
    bad += *word != ~was;
    *word = was;
    bad += *word != was;
    return bad;
}

static int test(Memory memory) {
    u64 bad = 0, nonzero = 0, done = 0;
    for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
        u32 part = memory.bytes - at < WINDOW_BYTES ? memory.bytes - at : WINDOW_BYTES;
        volatile u32 *words = map_window(memory.address + at, part);
        nonzero += count_nonzero(words, part / 4);
        for (u32 i = 0; i < part / 4; i += 1u << 18) /* every MiB */
            bad += try_word(words + i);
        bad += try_word(words + part / 4 - 1);
        done += part;
    }
    put_number(" bytes=", done);
    put_number(" bad=", bad);
    put_number(" nonzero=", nonzero);
    put_char('\n');
    return done && !bad;
}

/* Negotiated lanes, PCI Express capability, Link Status bits 9:4; 0 without one. */
static u32 link_width(Bdf a) {
    if (!(pci_read(a, 4) >> 16 & 0x10))
        return 0;
    for (u32 at = pci_read(a, 0x34) & 0xfc, n = 0; at && n < 48; n++) {
        u32 word = pci_read(a, at);
        if ((word & 0xff) == 0x10)
            return pci_read(a, at + 0x10) >> 20 & 0x3f;
        at = word >> 8 & 0xfc;
    }
    return 0;
}

static u32 functions_of(Bdf a) {
    u32 found = 0;
    for (u32 function = 0; function < 8; function++)
        if ((pci_read((Bdf){a.bus, a.device, function}, 0) & 0xffff) != 0xffff)
            found++;
    return found;
}

static int check(Bdf a, u32 index, int is_scrub) {
    Memory memory = memory_of(a);
    u32 ids = pci_read(a, 0);
    put_number("CARD index=", index);
    put(" ids=");
    put_pair(ids);
    put(" class=");
    put_hex(pci_read(a, 8) >> 8, 6);
    put_number(" functions=", functions_of(a));
    put_number(" bar_kib=", memory.bytes >> 10);
    put_number(" link_width=", link_width(a));
    put_number(is_scrub ? "\nSCRUBBED index=" : "\nMEMORY index=", index);
    return is_scrub ? scrub(memory) : test(memory);
}

static void guest_main(u32 *info) {
    const char *mode = (info[0] & 4) ? mode_of((const char *)info[4]) : "";
    int is_scrub = starts_with(mode, "scrub");
    put("CARD-CHECK version=1 mode=");
    put(is_scrub ? "scrub" : starts_with(mode, "test") ? "test" : "none");
    put_char('\n');
    if (!is_scrub && !starts_with(mode, "test")) {
        put("CARD-CHECK-DONE cards=0 result=fail reason=mode\n");
        return;
    }
    u32 cards = 0, good = 0;
    for (u32 bus = 0; bus < 256; bus++)
        for (u32 device = 0; device < 32; device++) {
            Bdf a = {bus, device, 0};
            if ((pci_read(a, 0) & 0xffff) == 0xffff)
                continue;
            u32 base_class = pci_read(a, 8) >> 24;
            if (base_class == 0x03 || base_class == 0x12)
                good += check(a, cards++, is_scrub);
        }
    put_number("CARD-CHECK-DONE cards=", cards);
    put(cards && good == cards ? " result=pass\n" : " result=fail reason=memory\n");
    if (!cards)
        put("no card was seen\n");
}
