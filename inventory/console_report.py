"""Read what a scrub or test guest printed, and judge it; pure (docs/card-checks.md)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# From a word's beginning alone: else a MiB of letters, which is no report, takes an hour.
_PAIR = re.compile(r"(?<![a-z_])([a-z_]+)=(\S+)")
# More digits than any memory has bytes.
_LONGEST_NUMBER = 20
_LAST = "CARD-CHECK-DONE"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a card of its model must be. None: not compared.

    scrub_bytes: the least that a scrub must cover. is_clean: no byte may be left over.
    """

    pci_ids: tuple[str, ...]
    scrub_bytes: int
    functions: int | None = None
    bar_mib: int | None = None
    link_width: int | None = None
    is_clean: bool = True


def is_complete(console: str) -> bool:
    """Say whether the guest has printed its last line, to its end."""
    return any(
        line.startswith(_LAST) and line.endswith(("\n", "\r"))
        for line in console.splitlines(keepends=True)
    )


def problems_of_scrub(console: str, expected: Expectation) -> list[str]:
    """Return why the scrub of one card does not count; empty if it does."""
    return list(_scrub(_records(console), expected))


def problems_of_test(console: str, expected: Expectation) -> list[str]:
    """Return how the tested card differs from what it should be; empty if it does not."""
    return list(_test(_records(console), expected))


def bytes_covered(console: str) -> int | None:
    """Return how much memory the guest says it overwrote or read; None if nothing."""
    records = _records(console)
    for row in (*records.get("SCRUBBED", []), *records.get("MEMORY", [])):
        return _number(row, "bytes")
    return None


Records = dict[str, list[dict[str, str]]]


def _records(console: str) -> Records:
    found: Records = {}
    for line in console.splitlines():
        word, _, rest = line.strip().partition(" ")
        found.setdefault(word, []).append(dict(_PAIR.findall(rest)))
    return found


def _common(records: Records, mode: str) -> Iterator[str]:
    started = records.get("CARD-CHECK", [])
    if [row.get("mode") for row in started] != [mode]:
        yield f"the guest did not start once as mode={mode}"
    ended = records.get(_LAST, [])
    if not ended:
        yield "the guest did not come to its end"
        return
    if ended[0].get("result") != "pass":
        reason = ended[0].get("reason", "no reason told")
        yield f"the guest says {ended[0].get('result')}: {reason}"
    if len(records.get("CARD", [])) != 1:
        yield f"the guest saw {len(records.get('CARD', []))} cards instead of one"


def _scrub(records: Records, expected: Expectation) -> Iterator[str]:
    yield from _common(records, "scrub")
    rows = records.get("SCRUBBED", [])
    if len(rows) != 1:
        yield f"{len(rows)} memories were overwritten instead of one"
        return
    covered, bad, left = (_number(rows[0], name) for name in ("bytes", "bad", "left"))
    if covered is None or covered < expected.scrub_bytes:
        yield f"{covered} bytes were overwritten, {expected.scrub_bytes} must be"
    if bad != 0:
        yield f"{bad} bytes did not hold what was written"
    if left != 0:
        yield f"{left} bytes were left over"


def _test(records: Records, expected: Expectation) -> Iterator[str]:
    yield from _common(records, "test")
    for card in records.get("CARD", [])[:1]:
        yield from _card(card, expected)
    rows = records.get("MEMORY", [])
    if len(rows) != 1:
        yield f"{len(rows)} memories were read instead of one"
        return
    bad, nonzero = _number(rows[0], "bad"), _number(rows[0], "nonzero")
    if bad != 0:
        yield f"memory failed at {bad} places"
    if expected.is_clean and nonzero != 0:
        yield f"{nonzero} bytes of memory are not zero after the scrub"


def _card(card: dict[str, str], expected: Expectation) -> Iterator[str]:
    if card.get("ids") not in expected.pci_ids:
        yield f"it is {card.get('ids')}, not {' or '.join(expected.pci_ids)}"
    functions = _number(card, "functions")
    if expected.functions is not None and functions != expected.functions:
        yield f"it has {functions} functions, not {expected.functions}"
    bar_kib = _number(card, "bar_kib")
    if expected.bar_mib is not None and bar_kib != expected.bar_mib * 1024:
        yield f"its memory BAR is {bar_kib} KiB, not {expected.bar_mib * 1024}"
    width = _number(card, "link_width")
    if expected.link_width is not None and (width or 0) < expected.link_width:
        yield f"its link has {width} lanes, at least {expected.link_width} are expected"


def _number(row: dict[str, str], name: str) -> int | None:
    text = row.get(name, "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return int(text) if is_number else None
