"""What staff may do to a card: keep it from sale, have it checked, retire it, move it."""

from django.db import transaction

from inventory.alerts import Subject, clear_alerts
from inventory.card_checks import locked_card
from inventory.choices import CardCondition
from inventory.exceptions import TransitionForbidden
from inventory.ledger import Actor, change_condition, refresh_shape
from inventory.models import Card

# What a person may send to its checks: a card on sale is tested, a quarantined one is
# sanitised first, and one that failed too often is tried again.
CHECKABLE = frozenset(
    {
        CardCondition.READY,
        CardCondition.QUARANTINED,
        CardCondition.UNVERIFIED,
        CardCondition.DIRTY,
    }
)


def quarantine(card_id: int, actor: Actor) -> Card:
    """Keep a card from being sold again; who uses it now keeps it.

    Raises TransitionForbidden where the life cycle has no such step.
    """
    return _move(card_id, CardCondition.QUARANTINED, actor, frozenset(CardCondition))


def retire(card_id: int, actor: Actor) -> Card:
    """Take a quarantined or missing card out of the fleet for good.

    Raises TransitionForbidden for any other, or one that is claimed.
    """
    return _move(
        card_id,
        CardCondition.RETIRED,
        actor,
        frozenset({CardCondition.QUARANTINED, CardCondition.MISSING}),
    )


def send_to_checks(card_id: int, actor: Actor) -> Card:
    """Have a card checked again before it is sold; a quarantined one is sanitised.

    Raises TransitionForbidden if it is in use or in no condition to be checked.
    """
    with transaction.atomic():
        host, card = locked_card(card_id)
        if card.condition not in CHECKABLE or card.claims.filter(released_at=None):
            raise TransitionForbidden(
                f"{card} is {card.get_condition_display()}"
                f"{' and in use' if card.claims.filter(released_at=None) else ''}: "
                "it cannot be checked now"
            )
        clear_alerts(Subject(card=card), "card-checks", "mass-quarantine", actor.name)
        to = {
            CardCondition.READY: CardCondition.UNVERIFIED,
            CardCondition.QUARANTINED: CardCondition.SANITISING,
        }.get(CardCondition(card.condition))
        if to is not None:
            change_condition(card, to, actor)
        refresh_shape(host)
    return card


def _move(
    card_id: int, to: CardCondition, actor: Actor, allowed: frozenset[CardCondition]
) -> Card:
    with transaction.atomic():
        host, card = locked_card(card_id)
        is_used = card.claims.filter(released_at=None).exists()
        if card.condition not in allowed or (to is CardCondition.RETIRED and is_used):
            raise TransitionForbidden(
                f"{card} is {card.get_condition_display()}"
                f"{' and in use' if is_used else ''}: it cannot become {to.label}"
            )
        change_condition(card, to, actor)
        clear_alerts(Subject(card=card), "card-checks", "mass-quarantine", actor.name)
        refresh_shape(host)
    return card
