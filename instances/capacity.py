"""How much more can be sold: the same place() as the claim, on snapshots of the rows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.db.models.functions import Coalesce

from instances.models import Plan
from instances.placement import Placement, Request, place
from instances.selectors import request_of
from inventory.card_states import CardState, in_state, with_state
from inventory.models import Card, Region
from inventory.snapshots import accepting_hosts, snapshots_of
from inventory.topology import HostSnapshot


@dataclass(frozen=True, slots=True)
class RegionCards:
    """Cards of one region. sellable: how many one-card launches fit now, one by one.

    total = used + free + cleaning + broken + unknown, as inventory.card_states defines
    them: used and broken are what we know without the host; of a host that does not
    answer, the free cards and those in cleaning are unknown. Sellable is some of the free.
    unknown_since: when the host of such a card was last seen that is silent the longest.
    """

    region: Region
    total: int
    used: int
    free: int
    sellable: int
    cleaning: int
    broken: int
    unknown: int
    unknown_since: datetime | None


def sellable_count(request: Request, hosts: Iterable[HostSnapshot]) -> int:
    """Return how many times `request` fits on `hosts`, one after another."""
    return sum(1 for _ in _placements(request, hosts))


def _placements(request: Request, hosts: Iterable[HostSnapshot]) -> Iterator[Placement]:
    for host in hosts:
        left = host
        while isinstance(placed := place(request, [left]), Placement):
            left = _less(left, placed)
            yield placed


def _less(host: HostSnapshot, placed: Placement) -> HostSnapshot:
    return host.without(
        cards=frozenset(c for share in placed.shares for c in share.card_ids),
        cpus=frozenset(cpu for share in placed.shares for cpu in share.cpus),
        memory={share.node: share.memory_mib for share in placed.shares},
    )


def sellable_by_plan(region: Region, plans: Iterable[Plan]) -> dict[str, int]:
    """Return plan slug -> how many more fit in `region`; alternatives, not a sum."""
    hosts = snapshots_of(accepting_hosts().filter(region=region))
    return {plan.slug: sellable_count(request_of(plan), hosts) for plan in plans}


def sellable_card_ids(plans: Iterable[Plan]) -> set[int]:
    """Return the cards behind RegionCards.sellable, of all regions; six queries.

    plans: those that are sold.
    """
    hosts = snapshots_of(accepting_hosts())
    return {
        card_id
        for plan in _smallest(plans).values()
        for placed in _placements(request_of(plan), hosts)
        for share in placed.shares
        for card_id in share.card_ids
    }


def _smallest(plans: Iterable[Plan]) -> dict[int, Plan]:
    """Return GPU model id -> the smallest one-card plan of `plans` with that model."""
    smallest: dict[int, Plan] = {}
    for plan in plans:
        if plan.cards == 1 and plan.gpu_model_id is not None:
            best = smallest.setdefault(plan.gpu_model_id, plan)
            if (plan.vcpus, plan.memory_mib) < (best.vcpus, best.memory_mib):
                smallest[plan.gpu_model_id] = plan
    return smallest


def cards_by_region(plans: Iterable[Plan]) -> list[RegionCards]:
    """Return the card counts of every region, sorted by slug.

    plans: those that are sold; the smallest one-card plan of each GPU model decides what
    is sellable. One query, and a fixed number of them a region.
    """
    smallest = _smallest(plans)
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    silent_since: dict[int, datetime] = {}
    fleet = with_state(in_state(Card.objects.all(), CardState.FLEET)).order_by()
    grouped = fleet.values_list("host__region_id", "state").annotate(
        cards=Count("pk"),
        seen=Min(Coalesce("host__last_seen_at", "host__enrolled_at")),
    )
    for region_id, state, number, seen in grouped:
        counts[region_id][state] = number
        if state == CardState.UNKNOWN:
            silent_since[region_id] = seen
    result = []
    for region in Region.objects.all():
        of_state = counts[region.pk]
        sellable = sellable_by_plan(region, smallest.values())
        result.append(
            RegionCards(
                region=region,
                total=sum(of_state.values()),
                used=of_state.get(CardState.USED, 0),
                free=of_state.get(CardState.FREE, 0),
                sellable=sum(sellable.values()),
                cleaning=of_state.get(CardState.CLEANING, 0),
                broken=of_state.get(CardState.BROKEN, 0),
                unknown=of_state.get(CardState.UNKNOWN, 0),
                unknown_since=silent_since.get(region.pk),
            )
        )
    return result
