"""Which change, and how small a one, would make a refused request fit; pure.

A change is named only if place() says that it would admit the request.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID

from instances.demand import Request
from instances.fitting import fit
from inventory.host_contents import CardState, HostContents, Supposition
from inventory.shape import HostRoom, room_of

# A card that is not there cannot be made ready.
_ABSENT = "missing"


class ChangeKind(IntEnum):
    """From the smallest change: nobody loses anything by the first two."""

    OPEN_HOST = 1
    READY_CARDS = 2
    RELEASE = 3
    ADD_HOST = 4


@dataclass(frozen=True, slots=True)
class Change:
    """One change on one host. size: how many cards it is about.

    suppose: what it comes to. consumer: who is released, for that kind only.
    """

    kind: ChangeKind
    host: str
    size: int = 0
    suppose: Supposition = field(default_factory=Supposition)
    cards: tuple[CardState, ...] = ()
    consumer: UUID | None = None


def changes_on(host: HostContents) -> Iterator[tuple[Change, HostRoom]]:
    """Yield each change on an accepting host, and the room that it would have then."""
    for change in (*_ready_cards(host), *_releases(host)):
        yield change, room_of(host.snapshot(change.suppose))
    new = Change(ChangeKind.ADD_HOST, host.name, suppose=Supposition(is_new=True))
    yield new, room_of(host.snapshot(new.suppose))


def _ready_cards(host: HostContents) -> Iterator[Change]:
    """One card, all of one node, or all of the host: those that are held by nobody."""
    by_node = [
        [c for c in n.cards if _may_become_ready(c)] for n in host.nodes if n.cards
    ]
    every = [card for cards in by_node for card in cards]
    sets = {(card,) for card in every} | {tuple(c) for c in by_node} | {tuple(every)}
    for cards in sorted(filter(None, sets), key=lambda s: [c.card_id for c in s]):
        ready = Supposition(ready=frozenset(card.card_id for card in cards))
        yield Change(ChangeKind.READY_CARDS, host.name, len(cards), ready, cards)


def _may_become_ready(card: CardState) -> bool:
    return card.holder is None and not card.is_sound and card.condition != _ABSENT


def _releases(host: HostContents) -> Iterator[Change]:
    consumers = {h.consumer for node in host.nodes for h in node.holdings}
    for consumer in sorted(consumers):
        cards = tuple(card for card in host.cards if card.holder == consumer)
        yield Change(
            ChangeKind.RELEASE,
            host.name,
            len(cards),
            Supposition(released=frozenset({consumer})),
            cards,
            consumer,
        )


def smallest(
    request: Request, changes: Iterable[tuple[Change, HostRoom]]
) -> Change | None:
    """Return the smallest of `changes` after which `request` fits, None if none helps."""
    helping = (change for change, room in changes if fit(request, room) is not None)
    return min(
        helping,
        key=lambda c: (c.kind, c.size, c.host, [card.card_id for card in c.cards]),
        default=None,
    )
