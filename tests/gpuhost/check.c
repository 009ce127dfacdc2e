/* check.elf: scrubs or tests the cards that it was given, between two tenants.
 *
 * Its command line says mode=scrub or mode=test; docs/card-checks.md says what it prints.
 */
#include "guest.h"

static const char *reason = "card"; /* of the last failure */

/* Returns what follows "mode=" in the first word that begins so. */
static const char *mode_of(const char *cmdline) {
    for (char before = ' '; *cmdline; before = *cmdline++) {
        const char *want = "mode=";
        u32 n = 0;
        while (want[n] && cmdline[n] == want[n])
            n++;
        if (before == ' ' && !want[n])
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
    put(name);
    put_dec(value);
}

#define PATTERN_STEP 0x9e3779b9u

/* Each word holds what no other place does, so that memory that answers twice shows. */
static u32 pattern_at(u64 offset) {
    return (u32)(offset >> 2) * PATTERN_STEP + (u32)(offset >> 34) + 1;
}

static void put_pattern(volatile u32 *words, u32 count, u32 first) {
    for (; count >= 4; words += 4, count -= 4, first += 4 * PATTERN_STEP) {
        words[0] = first;
        words[1] = first + PATTERN_STEP;
        words[2] = first + 2 * PATTERN_STEP;
        words[3] = first + 3 * PATTERN_STEP;
    }
}

static int scrub(Memory memory) {
    u64 bad = 0, left = 0, done = 0;
    volatile u32 *words;
    if (memory.is_reachable) {
        for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
            u32 count = map_part(memory, at, &words);
            put_pattern(words, count, pattern_at(at));
        }
        for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
            u32 count = map_part(memory, at, &words);
            bad += count_differing(words, count, pattern_at(at), PATTERN_STEP);
            fill(words, count, 0);
        }
        for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
            u32 count = map_part(memory, at, &words);
            left += count_nonzero(words, count);
            done += (u64)count * 4;
        }
    }
    put_number(" bytes=", done);
    put_number(" bad=", bad);
    put_number(" left=", left);
    put_char('\n');
    if (done && (bad || left))
        reason = bad ? "bad" : "left";
    return done && !bad && !left;
}

static int holds_what_is_written(volatile u32 *word, u32 value) {
    u32 was = *word;
    *word = value;
    int is_good = *word == value;
    *word = ~value;
    is_good &= *word == ~value;
    *word = was;
    return is_good & (*word == was);
}

static int test(Memory memory) {
    u64 bad = 0, nonzero = 0, done = 0;
    if (memory.is_reachable)
        for (u64 at = 0; at < memory.bytes; at += WINDOW_BYTES) {
            volatile u32 *words;
            u32 count = map_part(memory, at, &words);
            nonzero += count_nonzero(words, count);
            for (u32 i = 0; i < count; i += 1u << 18) /* every MiB */
                bad += !holds_what_is_written(words + i, pattern_at(at + i * 4));
            u32 last = count - 1;
            bad += !holds_what_is_written(words + last, pattern_at(at + last * 4));
            done += (u64)count * 4;
        }
    put_number(" bytes=", done);
    put_number(" bad=", bad);
    put_number(" nonzero=", nonzero);
    put_char('\n');
    if (done && bad)
        reason = "bad";
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
    u32 found = 0, most = pci_read(a, 12) >> 16 & 0x80 ? 8 : 1;
    for (u32 function = 0; function < most; function++)
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
    if (!memory.is_reachable)
        reason = memory.bytes ? "unreachable" : "memory";
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
    if (cards && good == cards) {
        put(" result=pass\n");
        return;
    }
    put(" result=fail reason=");
    put(reason);
    put_char('\n');
}
