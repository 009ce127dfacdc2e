"""What a check guest printed, judged: only the whole and right report passes."""

import pytest

from inventory.console_report import (
    Expectation,
    is_complete,
    problems_of_scrub,
    problems_of_test,
)

EXPECTED = Expectation(("10de:1e30",), 4096, functions=1, bar_mib=4, link_width=8)
CARD = "CARD index=0 ids=10de:1e30 class=030000 functions=1 bar_kib=4096 link_width=8"
SCRUB = "\r\n".join(
    [
        "CARD-CHECK version=1 mode=scrub",
        CARD,
        "SCRUBBED index=0 bytes=4096 bad=0 left=0",
        "CARD-CHECK-DONE cards=1 result=pass",
        "",
    ]
)
TEST = (
    SCRUB.replace("mode=scrub", "mode=test")
    .replace("SCRUBBED", "MEMORY")
    .replace("left=", "nonzero=")
)


def test_whole_and_right_report_passes() -> None:
    assert problems_of_scrub(SCRUB, EXPECTED) == []
    assert problems_of_test(TEST, EXPECTED) == []
    assert is_complete(SCRUB)
    assert not is_complete(SCRUB.rstrip())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("bytes=4096", "bytes=4095", "4095 bytes were overwritten, 4096 must be"),
        ("bytes=4096", "bytes=-1", "None bytes were overwritten"),
        ("bad=0", "bad=3", "3 bytes did not hold what was written"),
        ("left=0", "left=1", "1 bytes were left over"),
        ("left=0", "", "None bytes were left over"),
        ("mode=scrub", "mode=test", "did not start once as mode=scrub"),
        ("result=pass", "result=fail reason=left", "says fail: left"),
        ("CARD-CHECK-DONE", "CARD", "did not come to its end"),
        (CARD, "", "saw 0 cards"),
        (CARD, f"{CARD}\r\n{CARD}", "saw 2 cards"),
        ("SCRUBBED", "MEMORY", "0 memories were overwritten"),
    ],
)
def test_scrub_that_lacks_anything_does_not_count(
    old: str, new: str, problem: str
) -> None:
    assert problem in "; ".join(problems_of_scrub(SCRUB.replace(old, new), EXPECTED))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("10de:1e30", "10de:26b9", "it is 10de:26b9, not 10de:1e30"),
        ("functions=1", "functions=2", "it has 2 functions, not 1"),
        ("bar_kib=4096", "bar_kib=256", "its memory BAR is 256 KiB, not 4096"),
        ("link_width=8", "link_width=4", "4 lanes, at least 8"),
        ("bad=0", "bad=1", "memory failed at 1 places"),
        ("nonzero=0", "nonzero=5", "5 bytes of memory are not zero after the scrub"),
    ],
)
def test_card_that_is_not_as_expected_fails(old: str, new: str, problem: str) -> None:
    (found,) = problems_of_test(TEST.replace(old, new), EXPECTED)
    assert problem in found
