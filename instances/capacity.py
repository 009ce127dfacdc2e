"""How much more can be sold: the claim's own policy, on the distinct free shapes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce

from instances.fitting import times
from instances.models import Plan
from instances.placement import Placement, Request, place
from instances.selectors import request_of
from inventory.card_states import CardState, in_state, with_state
from inventory.models import Card, Region
from inventory.shape import HostRoom, room_in, room_of
from inventory.snapshots import accepting_hosts, is_free_of_many, snapshots_of
from inventory.topology import HostSnapshot

Rooms = Mapping[HostRoom, int]


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


def sellable_in(request: Request, rooms: Rooms) -> int:
    """Return how many times `request` fits on hosts with these rooms, one after another.

    rooms: room -> number of hosts with it. Hosts do not share anything, so what fits is the
    sum of what fits on each, and equal hosts need to be asked once.
    """
    return sum(times(request, room) * hosts for room, hosts in rooms.items())


def sellable_count(request: Request, hosts: Iterable[HostSnapshot]) -> int:
    """Return how many times `request` fits on `hosts`, one after another."""
    return sellable_in(request, Counter(map(room_of, hosts)))


def rooms_by_region() -> dict[int, Counter[HostRoom]]:
    """Return region id -> room -> how many accepting hosts have it; one query."""
    rooms: dict[int, Counter[HostRoom]] = {}
    rows = accepting_hosts().order_by().values_list("region_id", "free_shape")
    for region_id, shape, hosts in rows.annotate(hosts=Count("pk")):
        rooms.setdefault(region_id, Counter())[room_in(shape)] += hosts
    return rooms


def rooms_of(region: Region) -> Counter[HostRoom]:
    """Return room -> how many accepting hosts of `region` have it; one query."""
    rows = accepting_hosts().filter(region=region).order_by().values_list("free_shape")
    rooms: Counter[HostRoom] = Counter()
    for shape, hosts in rows.annotate(hosts=Count("pk")):
        rooms[room_in(shape)] += hosts
    return rooms


def sellable_by_plan(region: Region, plans: Iterable[Plan]) -> dict[str, int]:
    """Return plan slug -> how many more fit in `region`; alternatives, not a sum."""
    rooms = rooms_of(region)
    return {plan.slug: sellable_in(request_of(plan), rooms) for plan in plans}


def sellable_everywhere(plans: Iterable[Plan]) -> dict[int, dict[str, int]]:
    """Return region id -> plan slug -> how many more fit there now; one query.

    A region without an accepting host is left out.
    """
    requests = {plan.slug: request_of(plan) for plan in plans}
    return {
        region_id: {
            slug: sellable_in(request, rooms) for slug, request in requests.items()
        }
        for region_id, rooms in rooms_by_region().items()
    }


def sellable_cards(plans: Iterable[Plan]) -> Q:
    """Return "it is behind RegionCards.sellable", for a query of cards of all regions.

    plans: those that are sold. Where all free cards of a host sell, its free shape tells;
    the other hosts are looked at one by one. A query, and five a GPU model.
    """
    hosts = accepting_hosts()
    shapes = list(hosts.order_by().values_list("free_shape", flat=True).distinct())
    is_sellable = Q(pk__in=())
    for model_id, plan in smallest_plans(plans).items():
        request = request_of(plan)
        whole: list[str] = []
        in_part: list[str] = []
        for shape in shapes:
            room = room_in(shape)
            free = sum(node.cards_of(request.gpu_model) for node in room.nodes)
            if fits := times(request, room):
                (whole if fits == free else in_part).append(shape)
        all_of = hosts.filter(free_shape__in=whole).order_by()
        is_sellable |= Q(gpu_model=model_id, host__in=all_of)
        some_of = snapshots_of(hosts.filter(free_shape__in=in_part))
        is_sellable |= Q(pk__in=set(_placed_cards(request, some_of)))
    return is_free_of_many() & is_sellable


def _placed_cards(request: Request, hosts: Iterable[HostSnapshot]) -> Iterator[int]:
    """Yield the cards that launches of `request` take, one after another on each host."""
    for host in hosts:
        left = host
        while isinstance(placed := place(request, [left]), Placement):
            left = left.less(placed.shares)
            for share in placed.shares:
                yield from share.card_ids


def smallest_plans(plans: Iterable[Plan]) -> dict[int, Plan]:
    """Return GPU model id -> the smallest one-card plan of `plans` with that model."""
    smallest: dict[int, Plan] = {}
    for plan in plans:
        if plan.cards == 1 and plan.gpu_model_id is not None:
            best = smallest.setdefault(plan.gpu_model_id, plan)
            if (plan.vcpus, plan.memory_mib) < (best.vcpus, best.memory_mib):
                smallest[plan.gpu_model_id] = plan
    return smallest


def cards_by_region(
    plans: Iterable[Plan], fits: Mapping[int, Mapping[str, int]] | None = None
) -> list[RegionCards]:
    """Return the card counts of every region, sorted by slug.

    plans: those that are sold; the smallest one-card plan of each GPU model decides what
    is sellable. fits: what sellable_everywhere() said of them, if it was asked already.
    Two queries, or three.
    """
    smallest = smallest_plans(plans).values()
    if fits is None:
        fits = sellable_everywhere(smallest)
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
        of_state, fits_here = counts[region.pk], fits.get(region.pk, {})
        result.append(
            RegionCards(
                region=region,
                total=sum(of_state.values()),
                used=of_state.get(CardState.USED, 0),
                free=of_state.get(CardState.FREE, 0),
                sellable=sum(fits_here.get(plan.slug, 0) for plan in smallest),
                cleaning=of_state.get(CardState.CLEANING, 0),
                broken=of_state.get(CardState.BROKEN, 0),
                unknown=of_state.get(CardState.UNKNOWN, 0),
                unknown_since=silent_since.get(region.pk),
            )
        )
    return result
