"""Decide on which host, node, cards, cores and memory an instance goes; pure.

Claim, sellable count, what-if and "why not" all ask `place()`, or `fit()` beneath it where
counts suffice; nothing else decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from instances.demand import Demand, NumaPolicy, Request, cores_for
from instances.fitting import Fit, fit
from instances.refusal import Constraint, Failure, NoFit, Occupied, Reason, failures
from inventory.shape import NodeRoom, nodes_in_order, room_of
from inventory.topology import HostSnapshot, NodeShare, NodeSnapshot

__all__ = [
    "Apart",
    "Constraint",
    "Failure",
    "NoFit",
    "NumaPolicy",
    "Placement",
    "Request",
    "place",
]


@dataclass(frozen=True, slots=True)
class Apart:
    """Hosts to keep off: a machine of placement group `group` is on each.

    may_share: they will do if no other host does.
    """

    group: str = ""
    host_ids: frozenset[int] = frozenset()
    may_share: bool = False


ANYWHERE = Apart()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance goes. shares: by node number, one per NUMA node used."""

    host_id: int
    host_name: str
    shares: tuple[NodeShare, ...]

    @property
    def is_split(self) -> bool:
        """More than one node: the plan asks for it, or no single node could hold it."""
        return len(self.shares) > 1


def place(
    request: Request, hosts: Iterable[HostSnapshot], apart: Apart = ANYWHERE
) -> Placement | NoFit:
    """Return the best placement of `request` on one of `hosts`, or why there is none.

    hosts: those that accept claims, in any order; those of `apart` are left out. The answer
    depends on no order, clock or chance: ties go to the lowest host id, node number, card
    and core.
    """
    hosts = list(hosts)
    best: tuple[tuple[int, ...], int, HostSnapshot, Fit] | None = None
    reasons: dict[str, tuple[Reason, ...]] = {}
    for host in hosts:
        if host.host_id in apart.host_ids:
            reasons[host.name] = (Occupied(apart.group),)
            continue
        room = room_of(host)
        found = fit(request, room)
        if found is None:
            reasons[host.name] = failures(request, room)
        elif best is None or (found.rank, host.host_id) < best[:2]:
            best = (found.rank, host.host_id, host, found)
    if best is None and apart.may_share:
        return place(request, hosts)
    if best is None:
        return NoFit.of(reasons)
    _, _, host, found = best
    return Placement(host.host_id, host.name, _take(request, host, found))


def _take(request: Request, host: HostSnapshot, found: Fit) -> tuple[NodeShare, ...]:
    nodes = nodes_in_order(host)
    shares = [_share(request, *nodes[index], demand) for index, demand in found.demands]
    return tuple(sorted(shares, key=lambda share: share.node))


def _share(
    request: Request, room: NodeRoom, node: NodeSnapshot, demand: Demand
) -> NodeShare:
    cards = node.free_cards(request.gpu_model) if request.gpu_model else ()
    cpus: list[int] = []
    taken: dict[int, int] = {}
    for threads, count in cores_for(demand.vcpus, room.cores):
        of_width = [core for core in node.cores if len(core) == threads]
        start = taken.get(threads, 0)
        cpus += [cpu for core in of_width[start : start + count] for cpu in core]
        taken[threads] = start + count
    return NodeShare(
        node=node.number,
        card_ids=tuple(card.card_id for card in cards[: demand.cards]),
        cpus=tuple(cpus),
        vcpus=demand.vcpus,
        memory_mib=demand.memory_mib,
        hugepage_kib=request.hugepage_kib,
    )
