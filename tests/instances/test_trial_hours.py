"""When a trial's card-hours are used up: pure."""

from datetime import UTC, datetime, timedelta

import pytest

from instances.trial_hours import CardSpan, used, used_up_at

T0 = datetime(2026, 11, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def spans(*rows: tuple[float, float | None, int]) -> list[CardSpan]:
    return [
        CardSpan(at(begin), None if end is None else at(end), cards)
        for begin, end, cards in rows
    ]


@pytest.mark.parametrize(
    ("rows", "granted", "expected"),
    [
        ([], 1, None),
        ([(0, None, 1)], 5, 5),
        ([(0, None, 2)], 5, 2.5),
        ([(0, 2, 1)], 5, None),
        ([(0, 2, 1), (4, None, 3)], 5, 5),
        ([(0, 4, 1), (1, None, 2)], 7, 3),
        # The one's end is the other's begin, as after a resize.
        ([(0, 2, 1), (2, None, 2)], 6, 4),
        ([(0, 2, 1), (2, 4, 1)], 4, 4),
        ([(0, None, 0)], 1, None),
        ([(0, None, 1)], 10, None),
        ([(0, None, 1)], 11, None),
        ([(8, None, 4), (0, 1, 1)], 9, None),
        ([(12, None, 4)], 1, None),
    ],
)
def test_hours_are_used_up_at_one_moment_or_not_before_the_end(
    rows: list[tuple[float, float | None, int]],
    granted: int,
    expected: float | None,
) -> None:
    found = used_up_at(spans(*rows), timedelta(hours=granted), at(10))

    assert found == (None if expected is None else at(expected))
    if found is not None:
        assert used(spans(*rows), found) == timedelta(hours=granted)


def test_what_is_used_counts_up_to_a_moment() -> None:
    rows = spans((0, 2, 1), (1, None, 2), (5, None, 4))

    assert used(rows, at(0)) == timedelta(0)
    assert used(rows, at(3)) == timedelta(hours=6)
