"""Decide on which host, node, cards, cores and memory an instance goes; pure.

Claim, sellable count, what-if and "why not" all ask `place()`; nothing else decides.
Best fit is the policy: the smallest node that fits, then the fullest host. At 90% load
it refuses 1.9% of 4-card requests where spreading refuses 78% (shared/BENCH.md).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from inventory.topology import HostSnapshot, NodeShare, NodeSnapshot


class NumaPolicy(StrEnum):
    REQUIRED = "required"
    PREFERRED = "preferred"


@dataclass(frozen=True, slots=True)
class Request:
    """What a plan asks for. gpu_model: a GpuModel's slug, None for a plan without cards."""

    vcpus: int
    memory_mib: int
    cards: int = 0
    gpu_model: str | None = None
    numa_policy: NumaPolicy = NumaPolicy.PREFERRED


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance goes. shares: by node number, one per NUMA node used."""

    host_id: int
    host_name: str
    shares: tuple[NodeShare, ...]

    @property
    def is_split(self) -> bool:
        return len(self.shares) > 1


class Constraint(StrEnum):
    CARDS = "cards"
    CARDS_ON_ONE_NODE = "cards_on_one_node"
    CORES = "cores"
    MEMORY = "memory"
    TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class Failure:
    """A constraint that a host misses: it has `have`, the request needs `need`."""

    constraint: Constraint
    have: int
    need: int

    def __str__(self) -> str:
        texts = {
            Constraint.CARDS: "{have} of {need} cards free",
            Constraint.CARDS_ON_ONE_NODE: "no node with {need} free cards (most: {have})",
            Constraint.CORES: "{have} of {need} CPUs free beside the cards",
            Constraint.MEMORY: "{have} of {need} MiB free beside the cards",
            Constraint.TOGETHER: "enough cards, CPUs and memory, but not side by side",
        }
        return texts[self.constraint].format(have=self.have, need=self.need)


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why no host fits. reasons: host name -> its failed constraints, gravest first."""

    reasons: dict[str, tuple[Failure, ...]]

    def __str__(self) -> str:
        """Group hosts by their first reason: "2 hosts: 0 of 1 cards free"."""
        if not self.reasons:
            return "no host accepts instances here"
        grouped: dict[str, int] = {}
        for failures in self.reasons.values():
            text = str(failures[0])
            grouped[text] = grouped.get(text, 0) + 1
        return "; ".join(
            f"{count} {'host' if count == 1 else 'hosts'}: {text}"
            for text, count in sorted(grouped.items(), key=lambda item: -item[1])
        )


@dataclass(frozen=True, slots=True)
class _Demand:
    cards: int
    vcpus: int
    memory_mib: int


def place(request: Request, hosts: Iterable[HostSnapshot]) -> Placement | NoFit:
    """Return the best placement of `request` on one of `hosts`, or why there is none.

    hosts: those that accept claims, in any order. The answer depends on no order, clock
    or chance: ties go to the lowest host id, node number, card and core.
    """
    best: tuple[tuple[int, ...], HostSnapshot, dict[int, _Demand]] | None = None
    reasons: dict[str, tuple[Failure, ...]] = {}
    for host in hosts:
        options = list(_options(request, host))
        if not options:
            reasons[host.name] = _failures(request, host)
            continue
        for split in options:
            rank = (*_rank(request, host, split), host.host_id, *sorted(split))
            if best is None or rank < best[0]:
                best = (rank, host, split)
    if best is None:
        return NoFit(reasons)
    _, host, split = best
    return Placement(host.host_id, host.name, _take(request, host, split))


def _options(request: Request, host: HostSnapshot) -> Iterator[dict[int, _Demand]]:
    """Yield every way to lay the request on one node, else on the fewest nodes."""
    whole = _Demand(request.cards, request.vcpus, request.memory_mib)
    single = [node for node in host.nodes if _fits(request, node, whole)]
    if single:
        for node in single:
            yield {node.number: whole}
        return
    if request.numa_policy is NumaPolicy.REQUIRED or request.cards < 2:
        return
    found_width = 0
    for counts in _splits(request, host):
        width = sum(1 for count in counts if count)
        if found_width and width > found_width:
            return
        split = _share_out(request, host, counts)
        if split is not None:
            found_width = width
            yield split


def _splits(request: Request, host: HostSnapshot) -> list[tuple[int, ...]]:
    """Return all ways to spread the cards over two or more nodes, fewest nodes first."""
    free = [_free_cards(request, node) for node in host.nodes]
    ways: list[tuple[int, ...]] = [()]
    for count in free:
        ways = [
            (*way, taken)
            for way in ways
            for taken in range(min(count, request.cards - sum(way)) + 1)
        ]
    whole = [way for way in ways if sum(way) == request.cards]
    return sorted(
        (way for way in whole if sum(1 for count in way if count) > 1),
        key=lambda way: (sum(1 for count in way if count), max(way), way),
    )


def _share_out(
    request: Request, host: HostSnapshot, counts: tuple[int, ...]
) -> dict[int, _Demand] | None:
    """Give each node CPUs and memory in proportion to its cards; None if one lacks them."""
    used = [(n, c) for n, c in zip(host.nodes, counts, strict=True) if c]
    if request.vcpus < len(used):
        return None
    vcpus = _proportional(request.vcpus, [count for _, count in used], least=1)
    memory = _proportional(request.memory_mib, [count for _, count in used], least=1)
    split = {}
    for (node, count), node_vcpus, node_mib in zip(used, vcpus, memory, strict=True):
        demand = _Demand(count, node_vcpus, node_mib)
        if not _fits(request, node, demand):
            return None
        split[node.number] = demand
    return split


def _proportional(total: int, weights: list[int], *, least: int) -> list[int]:
    """Split `total` by weight into whole parts of at least `least`; the sum is exact."""
    spare = total - least * len(weights)
    parts = [least + spare * weight // sum(weights) for weight in weights]
    remainder = total - sum(parts)
    heaviest_first = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    for index in heaviest_first[:remainder]:
        parts[index] += 1
    return parts


def _free_cards(request: Request, node: NodeSnapshot) -> int:
    if request.gpu_model is None:
        return 0
    return len(node.free_cards(request.gpu_model))


def _cores_for(vcpus: int, node: NodeSnapshot) -> tuple[tuple[int, ...], ...] | None:
    """Return the first free cores that together hold `vcpus`, or None."""
    taken: list[tuple[int, ...]] = []
    held = 0
    for core in node.cores:
        if held >= vcpus:
            break
        taken.append(core)
        held += len(core)
    return tuple(taken) if held >= vcpus else None


def _fits(request: Request, node: NodeSnapshot, demand: _Demand) -> bool:
    return (
        _free_cards(request, node) >= demand.cards
        and node.memory_mib >= demand.memory_mib
        and sum(map(len, node.cores)) >= demand.vcpus
    )


def _rank(
    request: Request, host: HostSnapshot, split: dict[int, _Demand]
) -> tuple[int, ...]:
    """Lower is better: fewest nodes, least left on them, fullest host.

    For a plan without cards "left" counts every card, so that it stays off GPU hosts
    unless nothing else is left.
    """
    nodes = [node for node in host.nodes if node.number in split]
    if request.cards:
        left = sum(_free_cards(request, node) for node in nodes) - request.cards
        host_free = sum(_free_cards(request, node) for node in host.nodes)
        return (
            len(split),
            left,
            host_free,
            sum(len(node.cards) for node in host.nodes),
        )
    return (
        sum(len(node.cards) for node in host.nodes),
        sum(len(node.cards) for node in nodes),
        sum(len(node.cores) for node in nodes),
        sum(len(node.cores) for node in host.nodes),
    )


def _take(
    request: Request, host: HostSnapshot, split: dict[int, _Demand]
) -> tuple[NodeShare, ...]:
    shares = []
    for node in sorted(host.nodes, key=lambda node: node.number):
        demand = split.get(node.number)
        if demand is None:
            continue
        cores = _cores_for(demand.vcpus, node) or ()
        cards = node.free_cards(request.gpu_model) if request.gpu_model else ()
        shares.append(
            NodeShare(
                node=node.number,
                card_ids=tuple(card.card_id for card in cards[: demand.cards]),
                cpus=tuple(cpu for core in cores for cpu in core),
                vcpus=demand.vcpus,
                memory_mib=demand.memory_mib,
            )
        )
    return tuple(shares)


def _failures(request: Request, host: HostSnapshot) -> tuple[Failure, ...]:
    """Return every constraint that this host misses, cards first."""
    need = request.cards
    free = [_free_cards(request, node) for node in host.nodes]
    failures = []
    one_node = need and request.numa_policy is NumaPolicy.REQUIRED
    if sum(free) < need:
        failures.append(Failure(Constraint.CARDS, sum(free), need))
    elif one_node and max(free) < need:
        failures.append(Failure(Constraint.CARDS_ON_ONE_NODE, max(free), need))
    beside = [
        node
        for node, count in zip(host.nodes, free, strict=True)
        if count >= (need if one_node else min(need, 1))
    ] or list(host.nodes)
    may_split = need > 1 and not one_node
    cpus = [sum(map(len, node.cores)) for node in beside]
    memory = [node.memory_mib for node in beside]
    have_cpus = sum(cpus) if may_split else max(cpus, default=0)
    have_memory = sum(memory) if may_split else max(memory, default=0)
    if have_cpus < request.vcpus:
        failures.append(Failure(Constraint.CORES, have_cpus, request.vcpus))
    if have_memory < request.memory_mib:
        failures.append(Failure(Constraint.MEMORY, have_memory, request.memory_mib))
    if not failures:
        failures.append(Failure(Constraint.TOGETHER, sum(free), need))
    return tuple(failures)
