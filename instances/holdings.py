"""What an instance holds, or held last, laid out for people: node, cards, pins, memory."""

from collections import defaultdict
from dataclasses import dataclass

from instances.guest_pci import CardPort, pci_tree
from instances.models import Instance
from inventory.ledger import open_node_claims
from inventory.models import Card, CardClaim, Host, NodeClaim
from inventory.topology import PciAddress


@dataclass(frozen=True, slots=True)
class Pin:
    """One vCPU of the guest and the host CPU that it alone runs on."""

    vcpu: int
    cpu: int


@dataclass(frozen=True, slots=True)
class NodeHolding:
    """idle_cpus: siblings that nobody else may use. cards: with model and functions.

    hugepage_kib: size of the pages behind the memory, 0 for ordinary memory.
    """

    number: int
    memory_mib: int
    hugepage_kib: int
    pins: tuple[Pin, ...]
    idle_cpus: tuple[int, ...]
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """is_open: held now; else this is what was released last."""

    host: Host
    is_open: bool
    nodes: tuple[NodeHolding, ...]

    @property
    def is_split(self) -> bool:
        return len(self.nodes) > 1


def holding_of(instance: Instance) -> Holding | None:
    """Return what the instance holds or held last; None if it never held anything.

    Four queries at most.
    """
    claims = [
        claim
        for claim in open_node_claims(instance.uuid)
        if claim.claim_set == instance.claim_set
    ] or _last_released(instance)
    if not claims:
        return None
    released_at = claims[0].released_at
    cards: dict[int, list[Card]] = defaultdict(list)
    for claim in (
        CardClaim.objects.filter(
            consumer=instance.uuid,
            claim_set=instance.claim_set,
            released_at=released_at,
        )
        .select_related("card__gpu_model", "card__host")
        .prefetch_related("card__functions")
        .order_by("card__slot_path")
    ):
        cards[claim.card.numa_node_id].append(claim.card)
    nodes = []
    first_vcpu = 0
    for node_claim in claims:
        pinned = node_claim.cpus[: node_claim.vcpus]
        nodes.append(
            NodeHolding(
                number=node_claim.numa_node.number,
                memory_mib=node_claim.memory_mib,
                hugepage_kib=node_claim.hugepage_kib,
                pins=tuple(Pin(first_vcpu + i, cpu) for i, cpu in enumerate(pinned)),
                idle_cpus=tuple(node_claim.cpus[node_claim.vcpus :]),
                cards=tuple(cards[node_claim.numa_node_id]),
            )
        )
        first_vcpu += node_claim.vcpus
    return Holding(claims[0].numa_node.host, released_at is None, tuple(nodes))


def ports_of(holding: Holding) -> dict[int, CardPort]:
    """Return card id -> where the guest finds it, as its domain document says."""
    cards = [card for node in holding.nodes for card in node.cards]
    cells = [[_functions_of(card) for card in node.cards] for node in holding.nodes]
    ports = pci_tree(cells).ports
    return {card.pk: port for card, port in zip(cards, ports, strict=True)}


def _functions_of(card: Card) -> tuple[PciAddress, ...]:
    return tuple(
        PciAddress.parse(f"{card.slot_path}.{function.number}")
        for function in card.functions.all()
    )


def _last_released(instance: Instance) -> list[NodeClaim]:
    claims = list(
        NodeClaim.objects.filter(
            consumer=instance.uuid,
            claim_set=instance.claim_set,
            released_at__isnull=False,
        )
        .select_related("numa_node__host__region")
        .order_by("-released_at", "numa_node__number")
    )
    return [claim for claim in claims if claim.released_at == claims[0].released_at]
