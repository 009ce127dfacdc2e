"""Prices: hours rounded up, the monthly cap, month boundaries, resizes; no database."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instances.price import Charge, Month, Span, charges

NOVEMBER = Month(2026, 11)
HOUR = timedelta(hours=1)
FIRST = datetime(2026, 9, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(), timedelta(days=150)).map(
    lambda later: FIRST + later
)


def at(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def span(
    begin: datetime,
    end: datetime,
    *,
    plan: int = 1,
    hourly: str = "1.5",
    monthly: str = "1000",
    is_billed: bool = True,
) -> Span:
    return Span(plan, Decimal(hourly), Decimal(monthly), is_billed, begin, end)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    begin, end = sorted((draw(MOMENTS), draw(MOMENTS)))
    hourly = draw(st.decimals(0, 50, places=4))
    return replace(span(begin, end), price_hourly=hourly)


@pytest.mark.parametrize(
    ("begin", "end", "hours", "amount"),
    [
        (at(3), at(3, 0, 1), 1, "1.50"),
        (at(3), at(3, 1), 1, "1.50"),
        (at(3), at(3, 1) + timedelta(microseconds=1), 2, "3.00"),
        (at(1), at(1, month=12), 720, "1000.00"),
        # 666 hours are 999.00; the next hour reaches the cap.
        (at(1), at(28, 18), 666, "999.00"),
        (at(1), at(28, 19), 667, "1000.00"),
        (at(31, 23, 59, month=10), at(1, 0, 1), 1, "1.50"),
        (at(30, 23, 59), at(1, 5, month=12), 1, "1.50"),
    ],
)
def test_hours_are_rounded_up_and_the_month_is_capped(
    begin: datetime, end: datetime, hours: int, amount: str
) -> None:
    charged = charges([span(begin, end)], NOVEMBER)
    assert charged == [Charge(1, True, hours, Decimal(amount))]


def test_resize_in_mid_month_charges_each_plan_with_its_own_cap() -> None:
    moment = at(15, 12, 30)
    used = [
        span(at(1), moment, plan=1, hourly="1.5", monthly="100"),
        span(moment, at(16), plan=2, hourly="3", monthly="2000"),
    ]
    assert charges(used, NOVEMBER) == [
        Charge(1, True, 349, Decimal("100.00")),
        Charge(2, True, 12, Decimal("36.00")),
    ]


def test_plan_that_is_had_twice_is_capped_once() -> None:
    used = [
        span(at(1), at(11), monthly="300"),
        span(at(11), at(11, 1), plan=2),
        span(at(11, 1), at(21), monthly="300"),
    ]
    assert [c.amount for c in charges(used, NOVEMBER)] == [
        Decimal("300.00"),
        Decimal("1.50"),
    ]


def test_price_that_changed_between_holds_for_its_own_time() -> None:
    used = [
        span(at(1), at(1, 2), hourly="1"),
        span(at(2), at(2, 3), hourly="2", monthly="5000"),
    ]
    assert charges(used, NOVEMBER) == [Charge(1, True, 5, Decimal("8.00"))]


def test_what_is_not_billed_stands_apart() -> None:
    used = [span(at(1), at(1, 2), is_billed=False), span(at(1, 2), at(1, 3))]
    assert charges(used, NOVEMBER) == [
        Charge(1, False, 2, Decimal("3.00")),
        Charge(1, True, 1, Decimal("1.50")),
    ]


@given(spans(), st.lists(MOMENTS, max_size=6))
def test_parts_of_a_span_cost_what_the_whole_does(
    whole: Span, cuts: list[datetime]
) -> None:
    inner = sorted(cut for cut in cuts if whole.starts_at < cut < whole.ends_at)
    edges = [whole.starts_at, *inner, whole.ends_at]
    parts = [
        replace(whole, starts_at=begin, ends_at=end) for begin, end in pairwise(edges)
    ]
    assert charges(parts, NOVEMBER) == charges([whole], NOVEMBER)


@given(spans())
def test_no_plan_costs_more_than_its_month(used: Span) -> None:
    for charge in charges([used], NOVEMBER):
        assert Decimal() <= charge.amount <= used.price_monthly
        assert charge.hours <= 720


@given(spans())
def test_months_make_up_the_whole(used: Span) -> None:
    month, time, hours = Month(2026, 9), timedelta(), 0
    while month <= Month(2027, 2):
        time += used.within(month)
        hours += sum(charge.hours for charge in charges([used], month))
        month = month.next
    whole = used.ends_at - used.starts_at
    assert time == whole
    # Each month that it touches rounds up by less than an hour.
    assert whole <= hours * HOUR < whole + 6 * HOUR


@given(spans(), st.timedeltas(timedelta(), timedelta(days=60)))
def test_longer_use_never_costs_less(used: Span, more: timedelta) -> None:
    longer = replace(used, ends_at=used.ends_at + more)
    cost, of_longer = (
        sum((c.amount for c in charges([each], NOVEMBER)), Decimal())
        for each in (used, longer)
    )
    assert of_longer >= cost


@given(st.integers(2000, 2998), st.integers(1, 12))
def test_month_is_read_as_it_is_written(year: int, number: int) -> None:
    month = Month(year, number)
    assert Month.parse(str(month)) == month
    assert month.next.previous == month
    assert Month.of(month.begins) == month
    assert Month.of(month.ends) == month.next


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-1", "26-01", "2026-00", "", "2026-\uff11\uff11"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Month.parse(text)
