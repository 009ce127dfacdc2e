"""The fleet as it stands: hosts, their NUMA nodes, each card with its state and holder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from instances.fleet_owners import Owner, owners_of
from instances.models import Plan
from instances.selectors import request_of
from instances.stranded import stranded_on
from inventory.card_states import with_state
from inventory.closed_hosts import closed_hosts, why_text
from inventory.host_contents import CardState as CardContents
from inventory.host_contents import NodeContents
from inventory.models import Card, Host, Region
from inventory.snapshots import contents_of
from inventory.topology import NodeSnapshot


@dataclass(frozen=True, slots=True)
class MapCard:
    """state: a value of inventory.card_states.CardState. owner: None if unheld or unknown."""

    id: int
    slot_path: str
    model: str
    state: str
    condition: str
    owner: Owner | None


@dataclass(frozen=True, slots=True)
class MapNode:
    """Free and in all: whole cores and ordinary memory that claims may take.

    stranded: why free cards are of no use to any plan, one text per model.
    """

    number: int
    cards: tuple[MapCard, ...]
    cores_free: int
    cores: int
    memory_free_mib: int
    memory_mib: int
    stranded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapHost:
    """closed: why it accepts no claims, empty if it does."""

    host: Host
    closed: str
    nodes: tuple[MapNode, ...]


def fleet_map(
    region: Region, hosts: Sequence[Host], plans: Iterable[Plan]
) -> list[MapHost]:
    """Return what stands on `hosts` of `region`, in their order; seven queries.

    plans: those that are sold. Cards are stranded on hosts that accept claims only.
    """
    requests = tuple(request_of(plan) for plan in plans if plan.cards)
    whole = {contents.host_id: contents for contents in contents_of(hosts)}
    states = dict(
        with_state(Card.objects.filter(host__in=hosts))
        .order_by()
        .values_list("pk", "state")
    )
    owners = owners_of(
        card.holder
        for contents in whole.values()
        for card in contents.cards
        if card.holder
    )
    shut = closed_hosts(region).filter(pk__in=whole).values_list("pk", "why")
    closed = {host_id: why_text(why) for host_id, why in shut}

    def card_of(card: CardContents) -> MapCard:
        owner = owners.get(card.holder) if card.holder else None
        state = states[card.card_id]
        return MapCard(
            card.card_id, card.slot_path, card.model, state, card.condition, owner
        )

    def node_of(
        node: NodeContents, free: NodeSnapshot, stranded: Iterable[str]
    ) -> MapNode:
        return MapNode(
            number=node.number,
            cards=tuple(map(card_of, node.cards)),
            cores_free=len(free.cores),
            cores=len(node.cores),
            memory_free_mib=free.memory_mib,
            memory_mib=node.memory_mib,
            stranded=tuple(stranded),
        )

    rows = []
    for host in hosts:
        contents, why = whole[host.pk], closed.get(host.pk, "")
        stranded = [] if why else list(stranded_on(contents, requests))
        free = {node.number: node for node in contents.snapshot().nodes}
        nodes = tuple(
            node_of(
                node,
                free[node.number],
                (each.reason for each in stranded if each.node == node.number),
            )
            for node in contents.nodes
        )
        rows.append(MapHost(host, why, nodes))
    return rows
