"""What a host's page shows beside its fields: per node, what it has and what is free."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from inventory.admin.holders import holder_names
from inventory.admin.timeline_part import timeline_part
from inventory.models import Card, CardClaim, Host, HostCpu, NodeClaim
from inventory.snapshots import snapshots_of
from inventory.timeline import host_sources


@dataclass(slots=True)
class CardRow:
    card: Card
    holder: Any = None
    holder_name: str = ""


@dataclass(slots=True)
class HolderRow:
    """Who still holds something of the host. since: when the first of it was claimed."""

    consumer: UUID
    name: str
    since: datetime
    memory_mib: int
    cards: list[Card] = field(default_factory=list)


@dataclass(slots=True)
class NodeRow:
    """One NUMA node. free_*: what a claim could take now, were the host to accept it."""

    number: int
    memory_mib: int
    reserved_memory_mib: int
    free_memory_mib: int
    cpus: int
    reserved_cpus: int
    free_cpus: int
    hugepages: dict[str, int]
    claims: int = 0
    cards: list[CardRow] = field(default_factory=list)


def host_page(request: HttpRequest, object_id: str) -> dict[str, Any]:
    """Return the template's context; sixteen queries. An id that is none shows nothing."""
    host = (
        Host.objects.prefetch_related("nodes").filter(pk=object_id).first()
        if object_id.isdecimal()
        else None
    )
    if host is None:
        return {}
    return {
        "nodes": _nodes(host),
        "holders": holders_on(host),
        **timeline_part(request, host_sources(host)),
    }


def holders_on(host: Host) -> list[HolderRow]:
    """Return who must leave before the host is empty, the oldest first; three queries."""
    rows: dict[UUID, HolderRow] = {}
    claims = NodeClaim.objects.filter(numa_node__host=host, released_at=None)
    for claim in claims.order_by("claimed_at", "pk"):
        row = rows.setdefault(
            claim.consumer, HolderRow(claim.consumer, "", claim.claimed_at, 0)
        )
        row.memory_mib += claim.memory_mib
    held = CardClaim.objects.filter(card__host=host, released_at=None)
    for held_card in held.select_related("card__host").order_by("card__slot_path"):
        row = rows.setdefault(
            held_card.consumer,
            HolderRow(held_card.consumer, "", held_card.claimed_at, 0),
        )
        row.cards.append(held_card.card)
    names = holder_names(rows.keys())
    for row in rows.values():
        row.name = names[row.consumer]
    return list(rows.values())


def _nodes(host: Host) -> list[NodeRow]:
    free = {node.number: node for node in snapshots_of([host])[0].nodes}
    cpus: dict[int, list[bool]] = {}
    for node_id, is_reserved in HostCpu.objects.filter(
        numa_node__host=host
    ).values_list("numa_node_id", "is_reserved"):
        cpus.setdefault(node_id, []).append(is_reserved)
    rows = {
        node.pk: NodeRow(
            number=node.number,
            memory_mib=node.memory_mib,
            reserved_memory_mib=node.reserved_memory_mib,
            free_memory_mib=free[node.number].memory_mib,
            cpus=len(cpus.get(node.pk, [])),
            reserved_cpus=sum(cpus.get(node.pk, [])),
            free_cpus=sum(len(core) for core in free[node.number].cores),
            hugepages=node.hugepages,
        )
        for node in host.nodes.all()
    }
    for node_id in NodeClaim.objects.filter(
        numa_node__host=host, released_at=None
    ).values_list("numa_node_id", flat=True):
        rows[node_id].claims += 1
    for row in _cards(host):
        rows[row.card.numa_node_id].cards.append(row)
    return list(rows.values())


def _cards(host: Host) -> list[CardRow]:
    holders = dict(
        CardClaim.objects.filter(card__host=host, released_at=None).values_list(
            "card_id", "consumer"
        )
    )
    names = holder_names(set(holders.values()))
    rows = []
    for card in host.cards.select_related("gpu_model", "host").order_by("slot_path"):
        holder = holders.get(card.pk)
        rows.append(CardRow(card, holder, names[holder] if holder else ""))
    return rows
