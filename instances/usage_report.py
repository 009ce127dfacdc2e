"""What accounts used in a month and what it costs: reads for admin and API."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from django.db.models import Q

from instances.models import Account, Instance, Plan, UsageInterval
from instances.price import Charge, Month, Span, charges
from inventory.ledger import clock


@dataclass(frozen=True, slots=True)
class UsageLine:
    """An instance's use of one plan in one month, so far if the month is not over.

    starts_at, ends_at: of the first and the last of it within the month. ends_at: None
    while it goes on. charge.amount: $, also where it is not billed. price_hourly: None if
    it changed within the month.
    """

    instance: Instance
    plan: Plan
    starts_at: datetime
    ends_at: datetime | None
    charge: Charge
    price_hourly: Decimal | None

    @property
    def card_hours(self) -> int:
        return self.plan.cards * self.charge.hours

    @property
    def billed(self) -> Decimal:
        return self.charge.amount if self.charge.is_billed else Decimal()

    @property
    def unbilled(self) -> Decimal:
        """What employees' use would have cost."""
        return Decimal() if self.charge.is_billed else self.charge.amount


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """An account's month. billed, unbilled: $; hours: instances' hours."""

    account: Account
    instances: int
    hours: int
    card_hours: int
    billed: Decimal
    unbilled: Decimal


def usage_of(
    month: Month, account: Account | None = None, *, now: datetime | None = None
) -> list[UsageLine]:
    """Return the month's lines, by account, instance and time; two queries at most.

    account: whose alone. now: up to when open usage counts, at the latest the month's end.
    """
    now = now or clock()
    until = min(now, month.ends)
    rows = (
        UsageInterval.objects.filter(starts_at__lt=until)
        .filter(Q(ends_at=None) | Q(ends_at__gt=month.begins))
        .select_related("plan", "instance__account", "instance__region")
        .order_by("instance__account__name", "instance_id", "starts_at", "pk")
    )
    if account is not None:
        rows = rows.filter(instance__account=account)
    by_instance = groupby(rows.iterator(), key=lambda row: row.instance_id)
    return [
        line for _, group in by_instance for line in _lines(list(group), month, until)
    ]


def _lines(
    rows: list[UsageInterval], month: Month, until: datetime
) -> Iterator[UsageLine]:
    spans = [
        Span(
            row.plan_id,
            row.price_hourly,
            row.price_monthly,
            row.is_billed,
            row.starts_at,
            min(row.ends_at or until, until),
        )
        for row in rows
    ]
    for charge in charges(spans, month):
        key = (charge.plan, charge.is_billed)
        of_charge = [row for row in rows if (row.plan_id, row.is_billed) == key]
        last = of_charge[-1].ends_at
        prices = {row.price_hourly for row in of_charge}
        yield UsageLine(
            instance=rows[0].instance,
            plan=of_charge[0].plan,
            starts_at=max(of_charge[0].starts_at, month.begins),
            ends_at=min(last, month.ends) if last else _end_of(month, until),
            charge=charge,
            price_hourly=prices.pop() if len(prices) == 1 else None,
        )


def _end_of(month: Month, until: datetime) -> datetime | None:
    return month.ends if until == month.ends else None


def totals(lines: Iterable[UsageLine]) -> list[AccountUsage]:
    """Return a row per account; lines: as usage_of() sorts them."""
    found = []
    for _, group in groupby(lines, key=lambda line: line.instance.account_id):
        of_account = list(group)
        found.append(
            AccountUsage(
                account=of_account[0].instance.account,
                instances=len({line.instance.pk for line in of_account}),
                hours=sum(line.charge.hours for line in of_account),
                card_hours=sum(line.card_hours for line in of_account),
                billed=sum((line.billed for line in of_account), Decimal()),
                unbilled=sum((line.unbilled for line in of_account), Decimal()),
            )
        )
    return found
