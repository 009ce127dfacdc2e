"""Free cards that no plan can use, and why: bounded work, by distinct free shapes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from instances.demand import NumaPolicy, Request
from instances.fitting import fit, node_after
from instances.models import Plan
from instances.selectors import request_of
from inventory.closed_hosts import closed_hosts, why_text
from inventory.host_contents import HostContents, NodeContents
from inventory.models import Region
from inventory.shape import HostRoom, NodeRoom, nodes_in_order, room_in
from inventory.snapshots import accepting_hosts, contents_of

# Hosts named one by one; the sums count all.
NAMED_HOSTS = 100


@dataclass(frozen=True, slots=True)
class StrandedCards:
    """Cards of one model on one node that no plan can use. reason: for people."""

    host: str
    node: int
    model: str
    free: int
    stranded: int
    reason: str

    def __str__(self) -> str:
        told = _("node %(node)s of %(host)s: %(reason)s")
        return told % {"node": self.node, "host": self.host, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class StrandedReport:
    """named: of the first NAMED_HOSTS hosts, by name. total: of all accepting hosts.

    closed: why a host accepts no claims -> how many free cards stand on such hosts.
    """

    named: list[StrandedCards]
    total: int
    closed: dict[str, int]


def stranded_cards(region: Region, plans: Iterable[Plan]) -> StrandedReport:
    """Return the region's free cards that no plan of `plans` can use; eight queries.

    plans: those that are sold. Of the free cards of a model on a node, those are stranded
    that are left whichever one plan is launched there until it is refused.
    """
    requests = tuple(request_of(plan) for plan in plans if plan.cards)
    total = 0
    affected = []
    shapes = accepting_hosts().filter(region=region).order_by().values("free_shape")
    for shape, hosts in shapes.annotate(hosts=Count("pk")).values_list(
        "free_shape", "hosts"
    ):
        left = sum(count for _, _, count in stranded_in(room_in(shape), requests))
        if left:
            total += left * hosts
            affected.append(shape)
    named = accepting_hosts().filter(region=region, free_shape__in=affected)
    found = [
        each
        for contents in contents_of(named.order_by("name")[:NAMED_HOSTS])
        for each in stranded_on(contents, requests)
    ]
    found.sort(key=lambda each: (each.host, each.node, each.model))
    return StrandedReport(found, total, _closed(region))


def _closed(region: Region) -> dict[str, int]:
    rows = closed_hosts(region).order_by().values("why", "free_shape")
    counts: dict[str, int] = {}
    for row in rows.annotate(hosts=Count("pk")):
        cards = sum(node.card_total for node in room_in(row["free_shape"]).nodes)
        if cards:
            why = why_text(row["why"])
            counts[why] = counts.get(why, 0) + cards * row["hosts"]
    return counts


@lru_cache(4096)
def stranded_in(
    room: HostRoom, requests: tuple[Request, ...]
) -> tuple[tuple[int, str, int], ...]:
    """Return (index of the node in the room, model, cards that no request can use)."""
    usable: dict[tuple[int, str | None], int] = {}
    for request in requests:
        for index, cards in enumerate(_filled(request, room)):
            key = (index, request.gpu_model)
            usable[key] = max(usable.get(key, 0), cards)
    return tuple(
        (index, model, left)
        for index, node in enumerate(room.nodes)
        for model, count in node.cards
        if (left := count - usable.get((index, model), 0))
    )


def _filled(request: Request, room: HostRoom) -> list[int]:
    """Return the cards of each node that `request` takes when launched until refused."""
    taken = [0] * len(room.nodes)
    nodes: list[tuple[NodeRoom, int]] = [(n, i) for i, n in enumerate(room.nodes)]
    while True:
        nodes.sort()
        found = fit(request, HostRoom(tuple(n for n, _ in nodes), room.is_plain))
        if found is None:
            return taken
        for place, demand in found.demands:
            node, index = nodes[place]
            taken[index] += demand.cards
            nodes[place] = (node_after(request, node, demand), index)


def stranded_on(
    contents: HostContents, requests: tuple[Request, ...]
) -> Iterator[StrandedCards]:
    """Yield the free cards of one host, by node and model, that no request can use."""
    snapshot = contents.snapshot()
    nodes = nodes_in_order(snapshot)
    room = HostRoom(tuple(n for n, _ in nodes), is_plain=not snapshot.has_cards)
    whole = {node.number: node for node in contents.nodes}
    for index, model, left in stranded_in(room, requests):
        free, node = nodes[index]
        asked = [request for request in requests if request.gpu_model == model]
        count = free.cards_of(model)
        why = _why(model, free, whole[node.number], asked)
        reason = _cards_free(count, left) % {"count": count, "left": left, "why": why}
        yield StrandedCards(contents.name, node.number, model, count, left, reason)


def _cards_free(count: int, left: int) -> str:
    if left < count:
        return ngettext(
            "%(count)s card free (%(left)s of them of no use), %(why)s",
            "%(count)s cards free (%(left)s of them of no use), %(why)s",
            count,
        )
    return ngettext(
        "%(count)s card free, %(why)s", "%(count)s cards free, %(why)s", count
    )


def _why(
    model: str, free: NodeRoom, whole: NodeContents, requests: list[Request]
) -> str:
    """Name what runs out first for the plan that asks for the fewest cards."""
    if not requests:
        return _("no plan with %(model)s is sold") % {"model": model}
    least = min(requests, key=lambda r: (r.cards, r.vcpus, r.memory_mib))
    if least.numa_policy is NumaPolicy.REQUIRED and free.cards_of(model) < least.cards:
        return _("the smallest plan takes %(cards)s on one node") % {
            "cards": least.cards
        }
    per_card = [request.vcpus / request.cards for request in requests]
    memory_per_card = [request.memory_mib / request.cards for request in requests]
    by_cpus = free.cpus / min(per_card)
    page = least.hugepage_kib
    by_memory = free.memory_in(page) / min(memory_per_card)
    if min(by_cpus, by_memory) >= free.cards_of(model):
        return _("the smallest plan takes %(cards)s together") % {"cards": least.cards}
    if by_cpus <= by_memory:
        cores = sum(count for _, count in free.cores)
        return _("%(left)s of %(cores)s cores left") % {
            "left": cores,
            "cores": len(whole.cores),
        }
    total = whole.pages.get(page, 0) * page // 1024 if page else whole.memory_mib
    told = (
        _("%(left)s of %(total)s MiB left in hugepages")
        if page
        else _("%(left)s of %(total)s MiB left")
    )
    return told % {"left": free.memory_in(page), "total": total}
