"""How much more can be sold: the same place() as the claim, on snapshots of the rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from instances.models import Plan
from instances.placement import Placement, Request, place
from instances.selectors import request_of
from inventory.choices import CLEANING_CONDITIONS, GONE_CONDITIONS
from inventory.models import Card, CardClaim, Region
from inventory.snapshots import accepting_hosts, free_cards, snapshots_of
from inventory.topology import HostSnapshot


@dataclass(frozen=True, slots=True)
class RegionCards:
    """Cards of one region. sellable: how many one-card launches fit now, one by one.

    total = used + free + cleaning + broken, where free cards are ready and unclaimed, and
    a used card counts as used whatever its condition.
    """

    region: Region
    total: int
    used: int
    free: int
    sellable: int
    cleaning: int
    broken: int


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
    is sellable. A fixed number of queries a region.
    """
    smallest = _smallest(plans)
    used_ids = set(
        CardClaim.objects.filter(released_at=None).values_list("card_id", flat=True)
    )
    free_ids = set(free_cards().values_list("pk", flat=True))
    conditions: dict[int, list[tuple[int, str]]] = {}
    rows = Card.objects.exclude(condition__in=GONE_CONDITIONS)
    for region_id, pk, condition in rows.values_list(
        "host__region_id", "pk", "condition"
    ):
        conditions.setdefault(region_id, []).append((pk, condition))
    result = []
    for region in Region.objects.all():
        cards = conditions.get(region.pk, [])
        unused = [(pk, condition) for pk, condition in cards if pk not in used_ids]
        free = sum(pk in free_ids for pk, _ in unused)
        cleaning = sum(condition in CLEANING_CONDITIONS for _, condition in unused)
        counts = sellable_by_plan(region, smallest.values())
        result.append(
            RegionCards(
                region=region,
                total=len(cards),
                used=len(cards) - len(unused),
                free=free,
                sellable=sum(counts.values()),
                cleaning=cleaning,
                broken=len(unused) - free - cleaning,
            )
        )
    return result
