"""Choose how a request lies on one host's room, and rank that among hosts; pure.

Best fit is the policy: the fewest nodes, the least left on them. Among equals the node and
then the host with the most guests: they will be empty last, so what is nearly empty stays
so for a large request. docs/placement.md has the figures, and what was tried besides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from instances.demand import Demand, Request, card_counts, cores_for, share_out
from inventory.shape import HostRoom, NodeRoom

# (request, room) pairs remembered: some hundred shapes times some ten plans.
_REMEMBERED = 16384


@dataclass(frozen=True, slots=True)
class Fit:
    """The best way to lay a request on one room; the lower rank is the better.

    demands: (index of the node in the room, what it gives), by index.
    """

    rank: tuple[int, ...]
    demands: tuple[tuple[int, Demand], ...]


@lru_cache(_REMEMBERED)
def fit(request: Request, room: HostRoom) -> Fit | None:
    """Return the best layout of `request` on `room`, None if there is none."""
    fits = [
        Fit(_rank(request, room, layout), tuple(sorted(layout.items())))
        for layout in layouts(request, room)
    ]
    return min(fits, key=_order, default=None)


def _order(found: Fit) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Among equals, the first nodes give most."""
    return found.rank, [(index, -demand.cards) for index, demand in found.demands]


def layouts(request: Request, room: HostRoom) -> Iterator[dict[int, Demand]]:
    """Yield every layout on the fewest nodes that the policy allows, as index -> Demand."""
    if not (request.cards or request.on_gpu_hosts or room.is_plain):
        return
    free = [node.cards_of(request.gpu_model) for node in room.nodes]
    for width in request.widths:
        if width > len(free):
            return
        found = False
        for counts in card_counts(request, free, width):
            layout = share_out(request, counts)
            if layout and all(
                holds(request, room.nodes[i], demand) for i, demand in layout.items()
            ):
                found = True
                yield layout
        if found:
            return


def holds(request: Request, node: NodeRoom, demand: Demand) -> bool:
    """Say whether one node has what `demand` asks of it."""
    return (
        node.cards_of(request.gpu_model) >= demand.cards
        and node.memory_in(request.hugepage_kib) >= demand.memory_mib
        and node.cpus >= demand.vcpus
    )


def _rank(
    request: Request, room: HostRoom, layout: dict[int, Demand]
) -> tuple[int, ...]:
    """Without cards, a plan takes a plain host first, then where fewest cards are free."""
    used = [room.nodes[index] for index in layout]
    if not request.cards:
        return (
            int(not room.is_plain),
            sum(node.card_total for node in used),
            sum(node.card_total for node in room.nodes),
            sum(node.cpus for node in used),
            sum(node.cpus for node in room.nodes),
        )
    free = sum(node.cards_of(request.gpu_model) for node in used)
    return (
        len(used),
        free - request.cards,
        -sum(node.guests for node in used),
        -sum(node.guests for node in room.nodes),
        sum(node.cards_of(request.gpu_model) for node in room.nodes),
        max(demand.cards for demand in layout.values()),
        sum(node.card_total for node in room.nodes),
    )


def after(request: Request, room: HostRoom, found: Fit) -> HostRoom:
    """Return `room` less what `found` takes of it."""
    nodes = list(room.nodes)
    for index, demand in found.demands:
        nodes[index] = node_after(request, nodes[index], demand)
    return HostRoom(tuple(sorted(nodes)), is_plain=room.is_plain)


def node_after(request: Request, node: NodeRoom, demand: Demand) -> NodeRoom:
    """Return `node` less what `demand`, a part of `request`, takes of it."""
    cards, cores, pages = dict(node.cards), dict(node.cores), dict(node.pages)
    if request.gpu_model and demand.cards:
        cards[request.gpu_model] -= demand.cards
    for threads, count in cores_for(demand.vcpus, node.cores):
        cores[threads] -= count
    size = request.hugepage_kib
    if size:
        pages[size] -= demand.memory_mib * 1024 // size
    return replace(
        node,
        cards=tuple((model, count) for model, count in cards.items() if count),
        cores=tuple((threads, count) for threads, count in cores.items() if count),
        memory_mib=node.memory_mib - (0 if size else demand.memory_mib),
        pages=tuple((kib, count) for kib, count in pages.items() if count),
        guests=node.guests + 1,
    )


@lru_cache(_REMEMBERED)
def times(request: Request, room: HostRoom) -> int:
    """Return how often `request` fits on `room`, one after another."""
    count = 0
    left = room
    while found := fit(request, left):
        left = after(request, left, found)
        count += 1
    return count
