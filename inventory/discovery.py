"""Compare the cards that a host reports with the rows about it; pure.

A slot's address never says which card sits there: the identity does. What cannot be told
apart is left to people, as a finding.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inventory.cards import CardFinding, CardForSale, identity_of, sellable
from inventory.choices import CardCondition, DiscrepancyKind
from inventory.topology import HostFacts, NodeFacts

K = DiscrepancyKind
# A guest's cards are bound to this, and so are those that nobody has yet.
_VFIO = "vfio-pci"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. subject: what differs within its kind, for one row per difference.

    groups: (function, IOMMU group as reported) where that is what differs.
    """

    kind: DiscrepancyKind
    subject: str
    detail: str
    card_id: int | None = None
    consumer: str | None = None
    prevents_claims: bool = False
    groups: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class KnownFunction:
    number: int
    pci_id: str
    iommu_group: int
    driver: str


@dataclass(frozen=True, slots=True)
class KnownCard:
    """A card's row. is_idle: no guest has it, ours included, so its driver is the host's."""

    card_id: int
    identity: str
    slot_path: str
    node: int
    condition: CardCondition
    functions: tuple[KnownFunction, ...]
    is_idle: bool


@dataclass(slots=True)
class Changes:
    """What the rows are to follow. new: cards that were never seen; others: card ids."""

    new: list[CardForSale] = field(default_factory=list)
    vanished: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def compare_cards(
    facts: HostFacts,
    seen: Sequence[CardFinding],
    known: Iterable[KnownCard],
    elsewhere: Mapping[str, tuple[int, str]],
) -> Changes:
    """Return how the cards of one host changed.

    seen: find_cards() of the facts. known: rows of this host but for retired cards.
    elsewhere: identity -> (card id, place) of the cards with a serial number that are
    seen here and known on another host.
    """
    changes = Changes()
    by_slot = {finding.card.slot_path: finding for finding in seen}
    identities = {
        slot: identity_of(finding.card, facts.host_uuid)[0]
        for slot, finding in by_slot.items()
    }
    at_home: dict[str, KnownCard] = {}
    for card in known:
        at_home[card.identity] = card
        finding = by_slot.get(card.slot_path)
        if finding is None or identities[card.slot_path] != card.identity:
            _not_there(card, finding, changes)
            continue
        if card.condition is CardCondition.MISSING:
            changes.returned.append(card.card_id)
        changes.findings += _altered(card, finding)
    for card_for_sale in sellable(seen):
        slot = card_for_sale.card.slot_path
        identity = identities[slot]
        home = at_home.get(identity)
        if home is not None and home.slot_path == slot:
            continue
        place = (
            (home.card_id, f"this host {home.slot_path}")
            if home is not None
            else elsewhere.get(identity)
        )
        if place is None:
            changes.new.append(card_for_sale)
            continue
        changes.findings.append(
            Finding(
                K.CARD_MOVED,
                slot,
                f"card {place[0]} ({identity}), known at {place[1]}, is at {slot} now",
                card_id=place[0],
                prevents_claims=True,
            )
        )
    return changes


def _not_there(card: KnownCard, instead: CardFinding | None, changes: Changes) -> None:
    was_missing = card.condition is CardCondition.MISSING
    if not was_missing:
        changes.vanished.append(card.card_id)
    kind = K.CARD_VANISHED if instead is None or was_missing else K.CARD_REPLACED
    detail = f"{card.identity} is not at {card.slot_path}"
    if instead is not None:
        detail += f"; {instead.card.main.pci_id} is there"
    changes.findings.append(
        Finding(
            kind, card.slot_path, detail, card_id=card.card_id, prevents_claims=True
        )
    )


def _altered(card: KnownCard, seen: CardFinding) -> Iterator[Finding]:
    functions = {f.address.function: f for f in seen.card.functions}
    known = {f.number: f for f in card.functions}

    def finding(kind: DiscrepancyKind, detail: str) -> Finding:
        return Finding(
            kind, card.slot_path, detail, card_id=card.card_id, prevents_claims=True
        )

    if seen.problems:
        yield finding(K.CARD_UNSELLABLE, "; ".join(seen.problems))
    if {n: f.pci_id for n, f in functions.items()} != {
        n: f.pci_id for n, f in known.items()
    }:
        yield finding(
            K.FUNCTIONS_CHANGED,
            f"enrolled with {_ids(known)}, reported with {_ids(functions)}",
        )
        return
    if seen.node is not None and seen.node != card.node:
        yield finding(
            K.NUMA_CHANGED, f"enrolled on node {card.node}, reported on {seen.node}"
        )
    groups = {
        n: f.iommu_group
        for n, f in sorted(functions.items())
        if f.iommu_group is not None and f.iommu_group != known[n].iommu_group
    }
    if groups:
        # A boot may number the groups anew: who else is in the group is what counts, and
        # that is CARD_UNSELLABLE.
        yield _regrouped(card, known, groups)
    drivers = [
        f"function {n}: enrolled with {known[n].driver or 'none'}, now {f.driver}"
        for n, f in sorted(functions.items())
        if card.is_idle and (f.driver or "") not in ("", _VFIO, known[n].driver)
    ]
    if drivers:
        yield finding(K.DRIVER_CHANGED, "; ".join(drivers))


def _regrouped(
    card: KnownCard, known: Mapping[int, KnownFunction], groups: dict[int, int]
) -> Finding:
    """The subject names the new numbers: to be numbered once more is another difference."""
    told = (
        f"function {n}: enrolled in {known[n].iommu_group}, reported in {group}"
        for n, group in groups.items()
    )
    numbers = ", ".join(f"{n} in {group}" for n, group in groups.items())
    return Finding(
        K.GROUP_CHANGED,
        f"{card.slot_path} {numbers}",
        "; ".join(told),
        card_id=card.card_id,
        groups=tuple(groups.items()),
    )


def _ids(functions: Mapping[int, object]) -> str:
    return ", ".join(
        f"{n}: {getattr(f, 'pci_id', '')}" for n, f in sorted(functions.items())
    )


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A NUMA node's row. memory_mib: the least ordinary memory that claims may count on.

    hugepages: page size in KiB -> how many they may count on.
    """

    number: int
    cpus: frozenset[int]
    memory_mib: int
    hugepages: Mapping[int, int] = field(default_factory=dict)


def compare_nodes(facts: HostFacts, known: Iterable[KnownNode]) -> list[Finding]:
    """Return what the host has lost of what claims may take; it sells nothing meanwhile."""
    seen = {node.number: node for node in facts.nodes}
    return [
        Finding(
            K.HOST_CHANGED,
            f"node {node.number}",
            f"node {node.number}: {lost}",
            prevents_claims=True,
        )
        for node in known
        if (lost := _lost(node, seen.get(node.number)))
    ]


def _lost(node: KnownNode, now: NodeFacts | None) -> str:
    if now is None:
        return "it is not reported"
    gone = sorted(node.cpus - {cpu for core in now.cores for cpu in core.cpus})
    if gone:
        return f"CPUs {gone} are not reported"
    if now.memory_for_guests_mib < node.memory_mib:
        return (
            f"{now.memory_for_guests_mib} MiB of memory beside reserved hugepages, "
            f"claims count on {node.memory_mib}"
        )
    pages = dict(now.hugepages)
    for size, count in sorted(node.hugepages.items()):
        if pages.get(size, 0) < count:
            return (
                f"{pages.get(size, 0)} hugepages of {size} KiB, claims count on {count}"
            )
    return ""


def has_booted(
    before: float | None, after: float | None, passed_s: float, cpus: int
) -> bool:
    """Say whether a host booted between two looks, by its CPU time since boot.

    before, after: seconds summed over its CPUs, idle included; None: not told. passed_s:
    time between the looks. A host that slept a while shows as booted too, which only has
    its cards checked once more.
    """
    if before is None or after is None or cpus < 1:
        return False
    up_s = after / cpus
    grown_s = up_s - before / cpus
    return up_s < passed_s or grown_s < 0 or grown_s < passed_s / 2 - 60
