"""Say whether a launch would be accepted now, and what it costs; nothing is written."""

from dataclasses import dataclass
from decimal import Decimal

from instances import trials
from instances.actions.sale import offer
from instances.capacity import rooms_of, sellable_in
from instances.exceptions import NoCapacity, QuotaExceeded
from instances.models import Account, Plan
from instances.placement import NoFit
from instances.quotas import excess
from instances.selectors import request_of
from inventory.models import Region


@dataclass(frozen=True, slots=True)
class Quote:
    """What `count` launches, one after another, would meet. Prices of one, in dollars.

    refusals: what a launch would be refused for, in the launch's own words.
    """

    plan: Plan
    region: Region
    count: int
    price_hourly: Decimal
    price_monthly: Decimal
    refusals: tuple[NoCapacity | QuotaExceeded, ...]


def quote(account: Account, plan_slug: str, region_slug: str, count: int) -> Quote:
    """Ask the launch's own policy about as many of a plan; seven queries, no lock.

    Raises InvalidRequest.
    """
    offered = offer(plan_slug, region_slug, account)
    plan, region = offered.plan, offered.region
    if plan is None or region is None:
        raise offered.refusal(offered.errors)
    price = plan.price_in(region)
    trial = trials.trial_for(account, plan)
    over = trials.excess(trial, plan, count) if trial else excess(account, plan, count)
    found = (over, _shortage(plan, region, count))
    return Quote(
        plan=plan,
        region=region,
        count=count,
        price_hourly=price.price_hourly,
        price_monthly=price.price_monthly,
        refusals=tuple(refusal for refusal in found if refusal is not None),
    )


def _shortage(plan: Plan, region: Region, count: int) -> NoCapacity | None:
    if sellable_in(request_of(plan), rooms_of(region)) >= count:
        return None
    # Hosts and their reasons are for staff.
    return NoCapacity.of(plan.cards, plan.slug, region.slug, NoFit())
