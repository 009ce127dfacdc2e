"""What is free on a host as mere counts: equal for hosts that a claim cannot tell apart.

A HostRoom is all that place() looks at; a free shape is the same as a text, each host's
search key. The claim ranks the few distinct shapes of a fleet instead of its many hosts,
and finds a host of the best shape by an index (DESIGN.md section 4).
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from inventory.topology import HostSnapshot, NodeSnapshot

# Leads the shape of a host without cards, so that plans without cards find it first.
_PLAIN = "plain"
# Distinct shapes remembered; a fleet has tens to hundreds of them.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, order=True)
class NodeRoom:
    """What is free on one node.

    cards: (model, count) pairs. cores: (threads a core, count) pairs. pages: (size in
    KiB, count) pairs. All sorted, without zeros. guests: instances that hold some of it.
    """

    cards: tuple[tuple[str, int], ...]
    cores: tuple[tuple[int, int], ...]
    memory_mib: int
    pages: tuple[tuple[int, int], ...] = ()
    guests: int = 0

    def cards_of(self, model: str | None) -> int:
        """Return how many cards of that model are free; 0 for None."""
        return next((count for name, count in self.cards if name == model), 0)

    @property
    def card_total(self) -> int:
        return sum(count for _, count in self.cards)

    @property
    def cpus(self) -> int:
        return sum(threads * count for threads, count in self.cores)

    def memory_in(self, hugepage_kib: int) -> int:
        """Return the free MiB in pages of that size; 0 is for ordinary memory."""
        if not hugepage_kib:
            return self.memory_mib
        return dict(self.pages).get(hugepage_kib, 0) * hugepage_kib // 1024


@dataclass(frozen=True)
class HostRoom:
    """What is free on a host. nodes: sorted, as place() does not depend on their numbers.

    is_plain: the host has no cards, whatever their state.
    """

    nodes: tuple[NodeRoom, ...]
    is_plain: bool = False

    @cached_property
    def _hash(self) -> int:
        return hash((self.nodes, self.is_plain))

    def __hash__(self) -> int:
        return self._hash


def node_room(node: NodeSnapshot) -> NodeRoom:
    """Return what is free on one node as counts."""
    cards = Counter(card.model for card in node.cards)
    return NodeRoom(
        tuple(sorted(cards.items())),
        tuple(sorted(Counter(map(len, node.cores)).items())),
        node.memory_mib,
        node.pages,
        node.guests,
    )


def nodes_in_order(host: HostSnapshot) -> list[tuple[NodeRoom, NodeSnapshot]]:
    """Return the nodes in the order of the host's room, equal ones by their numbers."""
    rooms = [(node_room(node), node) for node in host.nodes]
    return sorted(rooms, key=lambda pair: (pair[0], pair[1].number))


def room_of(host: HostSnapshot) -> HostRoom:
    """Return what is free on `host` as counts."""
    return HostRoom(
        tuple(sorted(map(node_room, host.nodes))), is_plain=not host.has_cards
    )


def shape_of(host: HostSnapshot) -> str:
    """Return the shape, such as "rtx6000=2 c2x1 m1280|rtx6000=1 c1x1 m1024 g1".

    Per node: free cards by model, free cores by threads a core, free memory in MiB, free
    hugepages by size in KiB (h2048x512), and guests if there are any.
    """
    return shape_text(room_of(host))


def shape_text(room: HostRoom) -> str:
    """Return the text of a room; room_in() reads it back."""
    nodes = sorted(map(_node_text, room.nodes))
    return "|".join([_PLAIN, *nodes] if room.is_plain else nodes)


def _node_text(node: NodeRoom) -> str:
    return " ".join(
        [f"{model}={count}" for model, count in node.cards]
        + [f"c{count}x{threads}" for threads, count in node.cores]
        + [f"m{node.memory_mib}"]
        + [f"h{size}x{count}" for size, count in node.pages]
        + ([f"g{node.guests}"] if node.guests else [])
    )


@lru_cache(_REMEMBERED)
def room_in(shape: str) -> HostRoom:
    """Return the room that a shape tells of; an empty shape is a host without nodes."""
    texts = shape.split("|") if shape else []
    is_plain = texts[:1] == [_PLAIN]
    nodes = map(_node_in, texts[1:] if is_plain else texts)
    return HostRoom(tuple(sorted(nodes)), is_plain=is_plain)


def _node_in(text: str) -> NodeRoom:
    cards: list[tuple[str, int]] = []
    cores: list[tuple[int, int]] = []
    pages: list[tuple[int, int]] = []
    single = {"m": 0, "g": 0}
    for word in text.split():
        model, equals, count = word.partition("=")
        if equals:
            cards.append((model, int(count)))
        elif word[0] in single:
            single[word[0]] = int(word[1:])
        else:
            first, _, second = word[1:].partition("x")
            if word[0] == "c":
                cores.append((int(second), int(first)))
            else:
                pages.append((int(first), int(second)))
    return NodeRoom(
        tuple(sorted(cards)),
        tuple(sorted(cores)),
        single["m"],
        tuple(sorted(pages)),
        single["g"],
    )
