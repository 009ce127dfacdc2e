"""Say where a launch would go now and what could be sold after it; nothing is claimed."""

from collections.abc import Iterable
from dataclasses import dataclass

from instances.claiming import best_host
from instances.fitting import times
from instances.models import Plan
from instances.placement import Placement, place
from instances.selectors import request_of
from inventory.models import Region
from inventory.shape import room_of
from inventory.topology import HostSnapshot


@dataclass(frozen=True, slots=True)
class Foresight:
    """placed: as the claim itself would. less: plan slug -> how many fewer fit then."""

    host: HostSnapshot
    placed: Placement
    less: dict[str, int]

    @property
    def cards(self) -> int:
        return sum(len(share.card_ids) for share in self.placed.shares)

    @property
    def nodes(self) -> list[int]:
        """The NUMA nodes that it would take of, by number."""
        return sorted(share.node for share in self.placed.shares)


def foresee(plan: Plan, region: Region, plans: Iterable[Plan]) -> Foresight | None:
    """Return what a launch of `plan` would do, were it the next; None if it fits nowhere.

    Three queries, no lock. Another launch may come first, so the claim asks anew.
    """
    request = request_of(plan)
    host = best_host(request, region)
    placed = place(request, [host]) if host is not None else None
    if host is None or not isinstance(placed, Placement):
        return None
    before, after = room_of(host), room_of(host.less(placed.shares))
    less = {}
    for other in plans:
        asked = request_of(other)
        less[other.slug] = times(asked, before) - times(asked, after)
    return Foresight(host, placed, less)
