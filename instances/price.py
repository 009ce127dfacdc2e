"""What usage costs: hours, rounded up, at most the month's price; pure.

Linode bills by the hour, rounded up, and caps each Linode's month at its plan's monthly
price. Hours are added up before they are rounded: to stop and go on costs nothing more.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Self

_HOUR = timedelta(hours=1)
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        at = moment.astimezone(UTC)
        return cls(at.year, at.month)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the month that str() wrote, 2000-01 to 2999-12. Raises ValueError."""
        found = re.fullmatch(r"(2[0-9]{3})-(0[1-9]|1[0-2])", text, re.ASCII)
        if found is None:
            raise ValueError(text)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"

    @property
    def begins(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first moment of the next month."""
        return self.next.begins

    @property
    def next(self) -> Self:
        if self.number == 12:
            return type(self)(self.year + 1, 1)
        return type(self)(self.year, self.number + 1)

    @property
    def previous(self) -> Self:
        if self.number == 1:
            return type(self)(self.year - 1, 12)
        return type(self)(self.year, self.number - 1)


@dataclass(frozen=True, slots=True)
class Span:
    """A time of one instance with one plan, on the terms that held at its start.

    ends_at: not in it. Prices in dollars.
    """

    plan: int
    price_hourly: Decimal
    price_monthly: Decimal
    is_billed: bool
    starts_at: datetime
    ends_at: datetime

    def within(self, month: Month) -> timedelta:
        """Return how much of it is in the month."""
        begin, end = max(self.starts_at, month.begins), min(self.ends_at, month.ends)
        return max(end - begin, timedelta())


@dataclass(frozen=True, slots=True)
class Charge:
    """An instance's use of one plan in a month. amount: $, whole cents, at most the cap."""

    plan: int
    is_billed: bool
    hours: int
    amount: Decimal


def charges(spans: Iterable[Span], month: Month) -> list[Charge]:
    """Return one instance's charges of the month, in the order of first use.

    One per plan; what is not billed stands apart, with what it would cost.
    """
    by_plan: dict[tuple[int, bool], list[Span]] = defaultdict(list)
    for span in spans:
        if span.within(month):
            by_plan[span.plan, span.is_billed].append(span)
    return [_charge(of_plan, month) for of_plan in by_plan.values()]


def _charge(spans: list[Span], month: Month) -> Charge:
    times: dict[Decimal, timedelta] = defaultdict(timedelta)
    for span in spans:
        times[span.price_hourly] += span.within(month)
    hours = {price: -(-time // _HOUR) for price, time in times.items()}
    # The plan's price may have changed between two of its times in one month.
    cap = max(span.price_monthly for span in spans)
    amount = min(sum(price * n for price, n in hours.items()), cap)
    return Charge(
        plan=spans[0].plan,
        is_billed=spans[0].is_billed,
        hours=sum(hours.values()),
        amount=Decimal(amount).quantize(_CENT, ROUND_HALF_UP),
    )
