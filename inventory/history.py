"""Replay one card's ledger: its conditions, holders and places over time; pure.

A card's life begins with its enrolment and has no end: the last condition and the last
place go on. An interval holds from its first moment up to, not including, its last.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

READY = "ready"


class Kind(StrEnum):
    """The words of inventory.choices.CardEventKind; a test compares the two."""

    ENROLLED = "enrolled"
    CONDITION = "condition"
    CLAIMED = "claimed"
    HELD = "held"
    TAKEN_UP = "taken_up"
    ADOPTED = "adopted"
    RELEASED = "released"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the ledger. host_id: None in an enrolment of old, that told no place."""

    event_id: int
    at: datetime
    kind: str
    from_condition: str
    to_condition: str
    consumer: UUID | None = None
    claim_id: int | None = None
    host_id: int | None = None
    slot_path: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """From one event up to the next that ends it; `to` is None while it goes on."""

    event_id: int
    since: datetime
    to: datetime | None

    def holds(self, moment: datetime) -> bool:
        return self.since <= moment and (self.to is None or moment < self.to)


@dataclass(frozen=True, slots=True)
class ConditionInterval(Interval):
    condition: str
    is_enrolment: bool


@dataclass(frozen=True, slots=True)
class HolderInterval(Interval):
    """One claim. end_event_id: the event that released it. is_hold: no guest had it."""

    claim_id: int
    consumer: UUID
    end_event_id: int | None = None
    is_hold: bool = False


@dataclass(frozen=True, slots=True)
class PlaceInterval(Interval):
    """host_id: None where the ledger does not tell."""

    host_id: int | None
    slot_path: str


@dataclass(frozen=True, slots=True)
class CardHistory:
    """conditions and places tile the card's life; holders lie apart, in order of time."""

    events: int
    conditions: tuple[ConditionInterval, ...]
    holders: tuple[HolderInterval, ...]
    places: tuple[PlaceInterval, ...]

    @property
    def holder(self) -> HolderInterval | None:
        """Return who holds the card after its last event."""
        return _open(self.holders)


@dataclass(frozen=True, slots=True)
class Inconsistent:
    """The first event that cannot have followed those before it.

    event_id: None if there is no event at all. about: the rule, named by its subject.
    """

    event_id: int | None
    about: str
    expected: str
    found: str


def replay(events: Iterable[Event]) -> CardHistory | Inconsistent:
    """Replay one card's events, which come in the order of their ids."""
    course = _Course()
    for event in events:
        wrong = course.follow(event)
        if wrong is not None:
            return wrong
    if not course.events:
        return Inconsistent(None, "first event", Kind.ENROLLED, "none")
    return CardHistory(
        course.events,
        tuple(course.conditions),
        tuple(course.holders),
        tuple(course.places),
    )


@dataclass(slots=True)
class _Course:
    """What the events so far amount to."""

    events: int = 0
    last_at: datetime | None = None
    conditions: list[ConditionInterval] = field(default_factory=list)
    holders: list[HolderInterval] = field(default_factory=list)
    places: list[PlaceInterval] = field(default_factory=list)
    claim_ids: set[int] = field(default_factory=set)

    @property
    def condition(self) -> str:
        return self.conditions[-1].condition if self.conditions else ""

    @property
    def holder(self) -> HolderInterval | None:
        return _open(self.holders)

    def follow(self, event: Event) -> Inconsistent | None:
        wrong = self._order(event) or self._condition(event)
        if wrong is None:
            wrong = _STEPS[event.kind](self, event)
        self.events += 1
        self.last_at = event.at
        return wrong

    def _order(self, event: Event) -> Inconsistent | None:
        if event.kind not in _STEPS:
            return _wrong(event, "kind", " or ".join(Kind), event.kind)
        if (event.kind == Kind.ENROLLED) != (not self.events):
            expected = "anything else" if self.events else Kind.ENROLLED
            about = "later event" if self.events else "first event"
            return _wrong(event, about, expected, event.kind)
        if self.last_at is not None and event.at < self.last_at:
            expected = f"{self.last_at.isoformat()} or later"
            return _wrong(event, "time", expected, event.at.isoformat())
        return None

    def _condition(self, event: Event) -> Inconsistent | None:
        before, after = event.from_condition, event.to_condition
        if before != self.condition:
            return _wrong(event, "from_condition", self.condition or "none", before)
        if not after:
            return _wrong(event, "to_condition", "a condition", after)
        if event.kind == Kind.CONDITION and after == before:
            return _wrong(event, "to_condition", f"another than {before}", after)
        if event.kind not in (Kind.CONDITION, Kind.ENROLLED) and after != before:
            return _wrong(event, "to_condition", before, after)
        return None

    def enrolled(self, event: Event) -> Inconsistent | None:
        self.change_condition(event)
        if event.host_id is None and not event.slot_path:
            self._put(event)
            return None
        return self.place(event)

    def change_condition(self, event: Event) -> Inconsistent | None:
        _end(self.conditions, event)
        self.conditions.append(
            ConditionInterval(
                event.event_id,
                event.at,
                None,
                event.to_condition,
                event.kind == Kind.ENROLLED,
            )
        )
        return None

    def claimed(self, event: Event) -> Inconsistent | None:
        if event.claim_id is None or event.consumer is None:
            return _wrong(event, "claim", "a claim and its consumer", _held(event))
        if self.holder is not None:
            first = f"the release of claim {self.holder.claim_id}"
            return _wrong(event, "holder", first, _held(event))
        if event.claim_id in self.claim_ids:
            return _wrong(event, "claim", "a new claim", _held(event))
        # Of a guest that had it already, whatever was known of the card.
        if self.condition != READY and event.kind != Kind.ADOPTED:
            return _wrong(event, "condition of a claimed card", READY, self.condition)
        self.claim_ids.add(event.claim_id)
        self.holders.append(
            HolderInterval(
                event.event_id,
                event.at,
                None,
                event.claim_id,
                event.consumer,
                is_hold=event.kind == Kind.HELD,
            )
        )
        return None

    def taken_up(self, event: Event) -> Inconsistent | None:
        held = self.holder
        if held is None or not held.is_hold:
            return _wrong(event, "hold taken up", "an open hold", _held(event))
        wrong = self._of_holder(event, held, "hold taken up")
        if wrong is None:
            self.holders[-1] = replace(held, is_hold=False)
        return wrong

    def released(self, event: Event) -> Inconsistent | None:
        held = self.holder
        if held is None:
            return _wrong(event, "released claim", "none", _held(event))
        wrong = self._of_holder(event, held, "released claim")
        if wrong is None:
            self.holders[-1] = replace(held, to=event.at, end_event_id=event.event_id)
        return wrong

    def _of_holder(
        self, event: Event, held: HolderInterval, about: str
    ) -> Inconsistent | None:
        if (held.claim_id, held.consumer) == (event.claim_id, event.consumer):
            return None
        expected = f"claim {held.claim_id} of {held.consumer}"
        return _wrong(event, about, expected, _held(event))

    def place(self, event: Event) -> Inconsistent | None:
        if event.host_id is None or not event.slot_path:
            found = f"host {event.host_id}, slot {event.slot_path or None}"
            return _wrong(event, "place", "a host and a slot", found)
        self._put(event)
        return None

    def _put(self, event: Event) -> None:
        _end(self.places, event)
        self.places.append(
            PlaceInterval(
                event.event_id, event.at, None, event.host_id, event.slot_path
            )
        )


_STEPS: dict[str, Callable[[_Course, Event], Inconsistent | None]] = {
    Kind.ENROLLED: _Course.enrolled,
    Kind.CONDITION: _Course.change_condition,
    Kind.CLAIMED: _Course.claimed,
    Kind.HELD: _Course.claimed,
    Kind.TAKEN_UP: _Course.taken_up,
    Kind.ADOPTED: _Course.claimed,
    Kind.RELEASED: _Course.released,
    Kind.MOVED: _Course.place,
}


_Tiled = TypeVar("_Tiled", ConditionInterval, PlaceInterval)


def _end(intervals: list[_Tiled], event: Event) -> None:
    if intervals:
        intervals[-1] = replace(intervals[-1], to=event.at)


def _open(holders: Sequence[HolderInterval]) -> HolderInterval | None:
    return holders[-1] if holders and holders[-1].to is None else None


def _held(event: Event) -> str:
    return f"claim {event.claim_id} of {event.consumer}"


def _wrong(event: Event, about: str, expected: str, found: str) -> Inconsistent:
    return Inconsistent(event.event_id, about, expected, found or "none")
