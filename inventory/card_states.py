"""The accounting's words for cards, as conditions on rows: used, free, cleaning, broken."""

from django.db.models import Exists, OuterRef, Q, QuerySet, TextChoices

from inventory.choices import CLEANING_CONDITIONS, GONE_CONDITIONS, CardCondition
from inventory.models import Card, CardClaim


class CardState(TextChoices):
    """fleet = used + free + cleaning + broken; a used card is used in any condition."""

    FLEET = "fleet", "in the fleet"
    USED = "used", "used"
    FREE = "free", "free"
    CLEANING = "cleaning", "cleaning"
    BROKEN = "broken", "broken"


def in_state(cards: QuerySet[Card], state: CardState) -> QuerySet[Card]:
    """Return those of `cards` that the accounting counts as `state`."""
    cards = cards.exclude(condition__in=GONE_CONDITIONS)
    if state is CardState.FLEET:
        return cards
    is_used = Q(Exists(CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)))
    if state is CardState.USED:
        return cards.filter(is_used)
    return cards.filter(~is_used, _CONDITIONS[state])


_READY = Q(condition=CardCondition.READY)
_CLEANING = Q(condition__in=CLEANING_CONDITIONS)
_CONDITIONS = {
    CardState.FREE: _READY,
    CardState.CLEANING: _CLEANING,
    CardState.BROKEN: ~_READY & ~_CLEANING,
}


def state_of(condition: str, *, is_used: bool) -> CardState | None:
    """Say what the accounting counts one card as; None: no longer in the fleet."""
    if condition in GONE_CONDITIONS:
        return None
    if is_used:
        return CardState.USED
    if condition == CardCondition.READY:
        return CardState.FREE
    if condition in CLEANING_CONDITIONS:
        return CardState.CLEANING
    return CardState.BROKEN
