"""Group a host's PCI functions into cards and say which cannot be sold, and why; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from inventory.topology import CardFacts, HostFacts


@dataclass(frozen=True, slots=True)
class CardFinding:
    """One display device's slot. model: the slug it is sold as; node: its NUMA node.

    problems: why it cannot be sold, empty if it can.
    """

    card: CardFacts
    model: str | None
    node: int | None
    problems: tuple[str, ...]


def find_cards(host: HostFacts, models: dict[str, str]) -> list[CardFinding]:
    """Return one finding per card, sorted by address.

    models: PCI id -> model slug. A display device with an unknown id is a finding too, with
    the reason: it may be the host's own console or a card that somebody forgot to list.
    """
    findings = []
    for main in host.functions:
        if main.address.function != 0 or not (main.is_display or main.pci_id in models):
            continue
        slot = tuple(
            f for f in host.functions if f.address.slot_path == main.address.slot_path
        )
        groups = {f.iommu_group for f in slot if f.iommu_group is not None}
        strangers = tuple(
            f.address
            for f in host.functions
            if f.iommu_group in groups and f not in slot and not f.is_bridge
        )
        card = CardFacts(slot, strangers)
        model = models.get(main.pci_id)
        node = _node_of(card, host)
        problems = tuple(_problems(card, model, node, host))
        findings.append(CardFinding(card, model, node, problems))
    return findings


def _node_of(card: CardFacts, host: HostFacts) -> int | None:
    """Return the card's node; on a board with one node it need not be reported."""
    if card.main.numa_node is None and len(host.nodes) == 1:
        return host.nodes[0].number
    return card.main.numa_node


def _problems(
    card: CardFacts, model: str | None, node: int | None, host: HostFacts
) -> Iterator[str]:
    main = card.main
    where = f"{main.address} ({main.pci_id})"
    if model is None:
        yield (
            f"{where} is no known GPU model: add the PCI id to one under "
            "Inventory > GPU models if it is for sale"
        )
    if not host.has_iommu:
        yield f"{where}: the host has no IOMMU: switch on VT-d or AMD-Vi in its firmware"
    elif any(function.iommu_group is None for function in card.functions):
        yield (
            f"{where} is in no IOMMU group: boot the host with intel_iommu=on "
            "or amd_iommu=on"
        )
    if card.strangers:
        others = ", ".join(map(str, card.strangers))
        yield (
            f"{where} shares its IOMMU group with {others}: move it to a slot whose root "
            "port has ACS"
        )
    if node not in {n.number for n in host.nodes}:
        yield f"{where} reports no NUMA node of this host: set it in the firmware"


def identity_of(card: CardFacts, host_uuid: str) -> tuple[str, bool]:
    """Return (identity, is_weak): the serial number, else host, slot and ids."""
    main = card.main
    if main.serial:
        return f"{main.pci_id} serial {main.serial}", False
    return f"{host_uuid} {card.slot_path} {main.pci_id}", True


@dataclass(frozen=True, slots=True)
class CardForSale:
    """A card without a problem. groups: each function's IOMMU group, by function."""

    card: CardFacts
    model: str
    node: int
    groups: tuple[int, ...]


def sellable(findings: Iterable[CardFinding]) -> list[CardForSale]:
    """Return the cards of the findings without a problem."""
    cards = []
    for finding in findings:
        groups = [
            function.iommu_group
            for function in finding.card.functions
            if function.iommu_group is not None
        ]
        if finding.problems or finding.model is None or finding.node is None:
            continue
        cards.append(
            CardForSale(finding.card, finding.model, finding.node, tuple(groups))
        )
    return cards
