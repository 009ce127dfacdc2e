"""What a plan asks of a host, and the ways to share it out over NUMA nodes; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations


class NumaPolicy(StrEnum):
    """required: one node. preferred: one node, else the fewest. spread: so many nodes."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    SPREAD = "spread"


@dataclass(frozen=True, slots=True)
class Request:
    """What a plan asks for. gpu_model: a GpuModel's slug, None for a plan without cards.

    numa_nodes: on how many nodes exactly, for the policy spread only. hugepage_kib: size
    of the pages that the memory comes from, 0 for ordinary memory; memory_mib is a
    multiple of it. on_gpu_hosts: whether a plan without cards may take a GPU host at all.
    """

    vcpus: int
    memory_mib: int
    cards: int = 0
    gpu_model: str | None = None
    numa_policy: NumaPolicy = NumaPolicy.PREFERRED
    numa_nodes: int = 0
    hugepage_kib: int = 0
    on_gpu_hosts: bool = True

    @property
    def widths(self) -> range:
        """On how many nodes it may lie, the better number first."""
        if self.numa_policy is NumaPolicy.SPREAD:
            return range(self.numa_nodes, self.numa_nodes + 1)
        if self.numa_policy is NumaPolicy.REQUIRED or self.cards < 2:
            return range(1, 2)
        return range(1, self.cards + 1)


@dataclass(frozen=True, slots=True, order=True)
class Demand:
    """The part of a request on one node."""

    cards: int
    vcpus: int
    memory_mib: int


def card_counts(
    request: Request, free: Sequence[int], width: int
) -> Iterator[dict[int, int]]:
    """Yield each way to take the cards from `width` nodes, as node index -> cards.

    free: cards that each node has. Where the policy is spread the nodes get equal numbers,
    or numbers that differ by one.
    """
    least, more = divmod(request.cards, width)
    is_spread = request.numa_policy is NumaPolicy.SPREAD
    for nodes in combinations(range(len(free)), width):
        if is_spread:
            for heavier in combinations(nodes, more):
                yield {node: least + (node in heavier) for node in nodes}
        elif width == 1:
            yield {nodes[0]: request.cards}
        else:
            most = [min(free[node], request.cards - width + 1) for node in nodes]
            for counts in _compositions(request.cards, most):
                yield dict(zip(nodes, counts, strict=True))


def _compositions(total: int, most: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write `total` as one number from 1 to most[i] for each i."""
    if len(most) == 1:
        if 1 <= total <= most[0]:
            yield (total,)
        return
    for first in range(1, min(most[0], total - len(most) + 1) + 1):
        for rest in _compositions(total - first, most[1:]):
            yield (first, *rest)


def share_out(request: Request, counts: dict[int, int]) -> dict[int, Demand] | None:
    """Give each node CPUs and memory in proportion to its cards, as node index -> Demand.

    None if there are fewer CPUs or hugepages than nodes. Without cards all nodes get alike.
    """
    weights = list(counts.values()) if request.cards else [1] * len(counts)
    grain_mib = max(1, request.hugepage_kib // 1024)
    grains = request.memory_mib // grain_mib
    if min(request.vcpus, grains) < len(counts):
        return None
    vcpus = _proportional(request.vcpus, weights)
    memory = _proportional(grains, weights)
    return {
        node: Demand(cards, node_vcpus, node_grains * grain_mib)
        for (node, cards), node_vcpus, node_grains in zip(
            counts.items(), vcpus, memory, strict=True
        )
    }


def _proportional(total: int, weights: list[int]) -> list[int]:
    """Split `total` by weight into whole parts of at least 1; the sum is exact."""
    spare = total - len(weights)
    parts = [1 + spare * weight // sum(weights) for weight in weights]
    remainder = total - sum(parts)
    heaviest_first = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    for index in heaviest_first[:remainder]:
        parts[index] += 1
    return parts


def cores_for(vcpus: int, cores: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (threads, cores taken) pairs that hold `vcpus`, in the order of use.

    cores: (threads a core, free cores) pairs, ascending, that suffice. Whole cores only: as
    many as are filled, wide ones first, then one more for what is left.
    """
    need = vcpus
    taken = []
    left = dict(cores)
    for threads, count in reversed(cores):
        filled = min(count, need // threads)
        if filled:
            taken.append((threads, filled))
            left[threads] -= filled
            need -= filled * threads
    if need:
        # Every width that has cores left is wider than the need: one core is enough.
        taken.append((min(threads for threads, count in left.items() if count), 1))
    return taken
