"""The accounting's words for cards, as conditions on rows; the one home of their sum."""

from typing import Any

from django.db.models import (
    Case,
    CharField,
    Exists,
    OuterRef,
    Q,
    QuerySet,
    TextChoices,
    Value,
    When,
)
from django.utils.translation import gettext_lazy as _

from inventory.choices import CLEANING_CONDITIONS, GONE_CONDITIONS
from inventory.models import Card, CardClaim
from inventory.snapshots import is_answering, is_sound


class CardState(TextChoices):
    """fleet = used + free + cleaning + broken + unknown; each card is one of the five.

    In this order: a used card is used in any condition and on any host, for the claim is
    ours. Broken is what was found or decided: quarantined, missing, or ready and blocked by
    a discrepancy or alert. What is left would be free or in cleaning, and is unknown while
    its host does not answer.
    """

    FLEET = "fleet", _("in the fleet")
    USED = "used", _("used")
    FREE = "free", _("free")
    CLEANING = "cleaning", _("cleaning")
    BROKEN = "broken", _("broken")
    UNKNOWN = "unknown", _("unknown")


def with_state(cards: QuerySet[Card]) -> QuerySet[Any]:
    """Return `cards` with `state`: a CardState but FLEET, or "gone" once retired."""
    return cards.annotate(
        state=Case(
            *(When(test, then=Value(state)) for state, test in _tests()),
            output_field=CharField(),
        )
    )


def in_state(cards: QuerySet[Card], state: CardState) -> QuerySet[Card]:
    """Return those of `cards` that the accounting counts as `state`."""
    if state is CardState.FLEET:
        return cards.exclude(condition__in=GONE_CONDITIONS)
    # Joins, where comparing with_state()'s would ask for each card of the fleet in turn.
    for other, test in _tests():
        if other == state:
            return cards.filter(test)
        cards = cards.filter(~test)
    raise AssertionError(f"{state} is the state of no card")


def _tests() -> tuple[tuple[str, Q], ...]:
    """Return each state with its test; the first that holds is the card's."""
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    is_free = is_sound()
    is_cleaning = Q(condition__in=CLEANING_CONDITIONS)
    return (
        ("gone", Q(condition__in=GONE_CONDITIONS)),
        (CardState.USED, Q(Exists(held))),
        (CardState.BROKEN, ~(is_free | is_cleaning)),
        (CardState.UNKNOWN, ~is_answering("host__")),
        (CardState.FREE, is_free),
        (CardState.CLEANING, is_cleaning),
    )
