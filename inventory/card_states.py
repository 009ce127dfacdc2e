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
from inventory.snapshots import (
    is_answering,
    is_free_of_many,
    is_sound,
    is_sound_of_many,
)


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


def with_state(cards: QuerySet[Card], is_held: Q | None = None) -> QuerySet[Any]:
    """Return `cards` with `state`: a CardState but FLEET, or "gone" once retired.

    is_held: how to ask for the open claim. Without it all claims are looked at once,
    which pays for a whole fleet and not for a page of a list.
    """
    tests = (
        ("gone", Q(condition__in=GONE_CONDITIONS)),
        (CardState.USED, is_held or Q(Exists(_open_claims()))),
        (CardState.BROKEN, ~(is_sound() | _IS_CLEANING)),
        (CardState.UNKNOWN, ~is_answering("host__")),
        (CardState.FREE, is_sound()),
        (CardState.CLEANING, _IS_CLEANING),
    )
    return cards.annotate(
        state=Case(
            *(When(test, then=Value(state)) for state, test in tests),
            output_field=CharField(),
        )
    )


def in_state(cards: QuerySet[Card], state: CardState) -> QuerySet[Card]:
    """Return those of `cards` that the accounting counts as `state`.

    Each state by as few tests as tell it from the others (with_state() names them in
    turn), and as joins: with_state()'s own would be asked of each card of the fleet.
    """
    if state is CardState.FLEET:
        return cards.exclude(condition__in=GONE_CONDITIONS)
    if state is CardState.FREE:
        return cards.filter(is_free_of_many(), is_answering("host__"))
    if state is CardState.USED:
        owned = cards.exclude(condition__in=GONE_CONDITIONS)
        return owned.filter(Exists(_open_claims()))
    unheld = cards.filter(~Exists(_open_claims()))
    would_be_free = is_sound_of_many() | _IS_CLEANING
    if state is CardState.BROKEN:
        return unheld.exclude(condition__in=GONE_CONDITIONS).filter(~would_be_free)
    if state is CardState.UNKNOWN:
        return unheld.filter(would_be_free, ~is_answering("host__"))
    return unheld.filter(_IS_CLEANING, is_answering("host__"))


_IS_CLEANING = Q(condition__in=CLEANING_CONDITIONS)


def _open_claims() -> QuerySet[CardClaim]:
    return CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
