"""What staff may do to a card: declare it ready, or take it out of sale."""

from django.db import transaction

from inventory.choices import CardCondition
from inventory.exceptions import TransitionForbidden
from inventory.ledger import Actor, change_condition, lock_host, refresh_shape
from inventory.models import Card

# Until a card is sanitised and tested by the system, a person vouches for it.
VOUCHED_FOR = frozenset({CardCondition.UNVERIFIED, CardCondition.DIRTY})


def mark_ready(card_id: int, actor: Actor) -> Card:
    """Put an unverified or dirty card on sale, on the actor's word.

    Raises TransitionForbidden from any other condition; then nothing changed.
    """
    return _move(card_id, CardCondition.READY, actor, VOUCHED_FOR)


def quarantine(card_id: int, actor: Actor) -> Card:
    """Keep a card from being sold again; who uses it now keeps it.

    Raises TransitionForbidden where the life cycle has no such step.
    """
    return _move(card_id, CardCondition.QUARANTINED, actor, frozenset(CardCondition))


def _move(
    card_id: int, to: CardCondition, actor: Actor, allowed: frozenset[CardCondition]
) -> Card:
    with transaction.atomic():
        host = lock_host(Card.objects.values_list("host_id", flat=True).get(pk=card_id))
        # Read after the lock: the card is as whoever held the lock before left it.
        card = Card.objects.select_related("host").get(pk=card_id)
        if card.condition not in allowed:
            raise TransitionForbidden(
                f"{card} is {card.get_condition_display()}: it cannot become {to.label}"
            )
        change_condition(card, to, actor)
        refresh_shape(host)
    return card
