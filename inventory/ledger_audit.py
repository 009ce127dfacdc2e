"""Compare the ledger with today's rows: replaying every card must give what they say."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from django.db import connection

from inventory.history import CardHistory, Event, Inconsistent, replay
from inventory.models import Card, CardClaim, CardEvent

CHUNK_CARDS = 200
_FETCHED_EVENTS = 2000
# While the ledger did not tell places yet, it and the cards took their times from two
# clocks; such cards are known by their enrolment.
_TWO_CLOCKS = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where ledger and rows, or the ledger and itself, first say two things of a card.

    event_id: None if there is no such event. ledger, rows: the two values.
    """

    card_id: int
    event_id: int | None
    about: str
    ledger: str
    rows: str

    def __str__(self) -> str:
        event = f"event {self.event_id}" if self.event_id else "no event"
        return f"card {self.card_id}, {event}, {self.about}: {self.ledger}; {self.rows}"


@dataclass(slots=True)
class Audit:
    """How much was compared, and the first difference if there is one."""

    cards: int = 0
    events: int = 0
    claims: int = 0
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class CardRow:
    card_id: int
    condition: str
    changed_at: datetime
    host_id: int
    slot_path: str


@dataclass(frozen=True, slots=True)
class ClaimRow:
    claim_id: int
    consumer: UUID
    claimed_at: datetime
    released_at: datetime | None
    is_hold: bool


def read_one_moment() -> None:
    """Make the transaction that has just begun see one moment, and change nothing.

    Its cost is that PostgreSQL keeps old row versions until it ends.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def audit(chunk_cards: int = CHUNK_CARDS) -> Audit:
    """Replay every card up to the first difference; three queries per `chunk_cards`.

    The caller's transaction sees one moment. Memory holds one chunk's cards and claims,
    and one card's history.
    """
    done = Audit()
    last_id = 0
    while cards := _cards_after(last_id, chunk_cards):
        last_id = cards[-1].card_id
        claims = _claims_of(cards)
        for card, history in _histories(cards):
            done.cards += 1
            done.claims += len(claims[card.card_id])
            if isinstance(history, CardHistory):
                done.events += history.events
            done.difference = compare(card, claims[card.card_id], history)
            if done.difference is not None:
                return done
    return done


def _cards_after(card_id: int, count: int) -> list[CardRow]:
    rows = Card.objects.filter(pk__gt=card_id).order_by("pk")
    fields = ("pk", "condition", "condition_changed_at", "host_id", "slot_path")
    return [CardRow(*row) for row in rows.values_list(*fields)[:count]]


def _claims_of(cards: list[CardRow]) -> dict[int, list[ClaimRow]]:
    claims = defaultdict(list)
    rows = CardClaim.objects.filter(card__in=[c.card_id for c in cards]).order_by("pk")
    fields = ("card_id", "pk", "consumer", "claimed_at", "released_at", "is_hold")
    for card_id, *row in rows.values_list(*fields):
        claims[card_id].append(ClaimRow(*row))
    return claims


def _histories(
    cards: list[CardRow],
) -> Iterator[tuple[CardRow, CardHistory | Inconsistent]]:
    rows = CardEvent.objects.filter(card__in=[card.card_id for card in cards])
    fetched = (
        rows.order_by("card_id", "pk")
        .values_list(
            "card_id",
            "pk",
            "at",
            "kind",
            "from_condition",
            "to_condition",
            "consumer",
            "claim_id",
            "host_id",
            "slot_path",
        )
        .iterator(chunk_size=_FETCHED_EVENTS)
    )
    waiting = iter(cards)
    for card_id, group in groupby(fetched, key=lambda row: row[0]):
        # A card that no event names comes between those of the groups.
        for card in waiting:
            if card.card_id == card_id:
                yield card, replay(Event(*row[1:]) for row in group)
                break
            yield card, replay([])
    for card in waiting:
        yield card, replay([])


def compare(
    card: CardRow, claims: Iterable[ClaimRow], history: CardHistory | Inconsistent
) -> Difference | None:
    """Return the first difference of one card's rows from its history."""
    if isinstance(history, Inconsistent):
        return Difference(
            card.card_id,
            history.event_id,
            history.about,
            f"the events before it ask for {history.expected}",
            f"it says {history.found}",
        )
    claims = list(claims)
    return (
        _condition(card, history)
        or _place(card, history)
        or _open_claim(card, claims, history)
        or _claims(card, claims, history)
    )


def _condition(card: CardRow, history: CardHistory) -> Difference | None:
    told = history.conditions[-1]
    if told.condition != card.condition:
        return _differ(card, told.event_id, "condition", told.condition, card.condition)
    # The enrolment is told after the row was made: its two times are never the same.
    slack = _TWO_CLOCKS if history.places[0].host_id is None else timedelta()
    if not told.is_enrolment and abs(told.since - card.changed_at) > slack:
        return _differ(
            card, told.event_id, "condition_changed_at", told.since, card.changed_at
        )
    return None


def _place(card: CardRow, history: CardHistory) -> Difference | None:
    told = history.places[-1]
    if told.host_id is None:
        return None
    if told.host_id != card.host_id:
        return _differ(card, told.event_id, "host", told.host_id, card.host_id)
    if told.slot_path != card.slot_path:
        return _differ(card, told.event_id, "slot", told.slot_path, card.slot_path)
    return None


def _open_claim(
    card: CardRow, claims: list[ClaimRow], history: CardHistory
) -> Difference | None:
    held = history.holder
    told = f"{held.claim_id} of {held.consumer}" if held else None
    found = [f"{c.claim_id} of {c.consumer}" for c in claims if c.released_at is None]
    if found == ([told] if told else []):
        return None
    last = history.holders[-1] if history.holders else None
    event_id = (last.end_event_id or last.event_id) if last else None
    return _differ(card, event_id, "open claim", told, ", ".join(found))


def _claims(
    card: CardRow, claims: list[ClaimRow], history: CardHistory
) -> Difference | None:
    rows = {claim.claim_id: claim for claim in claims}
    for held in history.holders:
        name = f"claim {held.claim_id}"
        row = rows.pop(held.claim_id, None)
        if row is None:
            return _differ(card, held.event_id, name, f"of {held.consumer}", None)
        for event_id, about, told, found in (
            (held.event_id, "consumer", held.consumer, row.consumer),
            (held.event_id, "claimed_at", held.since, row.claimed_at),
            (held.end_event_id, "released_at", held.to, row.released_at),
            (held.event_id, "kind", _kind(held.is_hold), _kind(row.is_hold)),
        ):
            if told != found:
                return _differ(card, event_id, f"{name} {about}", told, found)
    for claim_id, row in rows.items():
        return _differ(card, None, f"claim {claim_id}", None, f"of {row.consumer}")
    return None


def _kind(is_hold: bool) -> str:
    return "hold" if is_hold else "use"


def _differ(
    card: CardRow, event_id: int | None, about: str, told: object, found: object
) -> Difference:
    ledger, rows = (
        value.isoformat() if isinstance(value, datetime) else str(value or "none")
        for value in (told, found)
    )
    return Difference(
        card.card_id,
        event_id,
        about,
        f"the ledger says {ledger}",
        f"the row says {rows}",
    )
