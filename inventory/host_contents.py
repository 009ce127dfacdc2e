"""What stands on a host and who holds it, and what is free of it under a supposition; pure.

Without a supposition that is what a claim may take now; with one it answers "what if".
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot


@dataclass(frozen=True, slots=True)
class CardState:
    """One card. is_sound: ready, and nothing prevents its claim. holder: None if unheld.

    condition: the CardCondition's word.
    """

    card_id: int
    model: str
    is_sound: bool
    holder: UUID | None = None
    condition: str = "ready"
    slot_path: str = ""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one open claim holds of a node. hugepage_kib: 0 for ordinary memory."""

    consumer: UUID
    cpus: frozenset[int]
    memory_mib: int
    hugepage_kib: int = 0


@dataclass(slots=True)
class NodeContents:
    """One NUMA node. cores: those not kept for the host, each its logical CPUs, ascending.

    memory_mib: ordinary memory that claims may take in all. pages: size in KiB -> how many
    hugepages in all. cards: by slot.
    """

    number: int
    memory_mib: int
    pages: dict[int, int] = field(default_factory=dict)
    cores: list[tuple[int, ...]] = field(default_factory=list)
    cards: list[CardState] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Supposition:
    """What is supposed to have happened. ids of cards, UUIDs of consumers.

    released: these hold nothing any more, and their sound cards are clean. ready: these
    cards became sound. barred: these are sound no more. is_new: nobody holds anything and
    every card is ready, as on a further host of this make.
    """

    released: frozenset[UUID] = frozenset()
    ready: frozenset[int] = frozenset()
    barred: frozenset[int] = frozenset()
    is_new: bool = False

    def is_free(self, card: CardState) -> bool:
        """Say whether a claim may then take the card."""
        if card.card_id in self.barred:
            return False
        return self.is_new or (
            (card.is_sound or card.card_id in self.ready)
            and (card.holder is None or card.holder in self.released)
        )

    def holdings(self, node: NodeContents) -> Iterator[Holding]:
        """Yield what is then still held of the node."""
        if not self.is_new:
            yield from (h for h in node.holdings if h.consumer not in self.released)


AS_IT_IS = Supposition()


@dataclass(slots=True)
class HostContents:
    """One host. nodes: sorted by number."""

    host_id: int
    name: str
    nodes: list[NodeContents] = field(default_factory=list)

    @property
    def cards(self) -> Iterator[CardState]:
        for node in self.nodes:
            yield from node.cards

    def snapshot(self, suppose: Supposition = AS_IT_IS) -> HostSnapshot:
        """Return what is free, were things as supposed."""
        return HostSnapshot(
            self.host_id,
            self.name,
            tuple(_free_of(node, suppose) for node in self.nodes),
            has_cards=any(node.cards for node in self.nodes),
        )


def _free_of(node: NodeContents, suppose: Supposition) -> NodeSnapshot:
    cpus: set[int] = set()
    held_mib: Counter[int] = Counter()
    consumers = set()
    for holding in suppose.holdings(node):
        cpus |= holding.cpus
        held_mib[holding.hugepage_kib] += holding.memory_mib
        consumers.add(holding.consumer)
    pages = {
        size: count - held_mib[size] * 1024 // size
        for size, count in node.pages.items()
    }
    return NodeSnapshot(
        number=node.number,
        cards=tuple(
            FreeCard(card.card_id, card.model)
            for card in node.cards
            if suppose.is_free(card)
        ),
        cores=tuple(core for core in node.cores if cpus.isdisjoint(core)),
        memory_mib=max(0, node.memory_mib - held_mib[0]),
        pages=tuple(sorted((size, n) for size, n in pages.items() if n > 0)),
        guests=len(consumers),
    )
