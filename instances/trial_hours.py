"""When the card-hours of a trial are used up; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class CardSpan:
    """So many cards from one moment to another. ends_at: None while it goes on."""

    starts_at: datetime
    ends_at: datetime | None
    cards: int


def used(spans: Iterable[CardSpan], until: datetime) -> timedelta:
    """Return the cards' time up to a moment: two cards for an hour are two hours."""
    nothing = timedelta()
    return sum(
        (
            max(min(span.ends_at or until, until) - span.starts_at, nothing)
            * span.cards
            for span in spans
        ),
        nothing,
    )


def used_up_at(
    spans: Iterable[CardSpan], granted: timedelta, until: datetime
) -> datetime | None:
    """Return when `granted` cards' time is used, None if that is not before `until`.

    What goes on is taken to go on: a moment that is not yet is a forecast.
    """
    changes: dict[datetime, int] = {}
    for span in spans:
        ends_at = min(span.ends_at or until, until)
        if ends_at > span.starts_at:
            changes[span.starts_at] = changes.get(span.starts_at, 0) + span.cards
            changes[ends_at] = changes.get(ends_at, 0) - span.cards
    left, cards, before = granted, 0, until
    for at in sorted(changes):
        if cards and (at - before) * cards >= left:
            found = before + left / cards
            return found if found < until else None
        left -= (at - before) * cards if cards else timedelta()
        cards += changes[at]
        before = at
    return None
