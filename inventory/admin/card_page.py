"""What a card's page shows beside its fields: who holds it, its functions, its ledger."""

from typing import Any

from inventory.admin.holders import holder_names
from inventory.models import CardClaim, CardEvent, CardFunction

EVENTS_SHOWN = 100


def card_page(object_id: str) -> dict[str, Any]:
    """Return the template's context; four queries. An id that is none shows nothing."""
    if not object_id.isdecimal():
        return {}
    card_id = int(object_id)
    events = list(CardEvent.objects.filter(card=card_id)[: EVENTS_SHOWN + 1])
    holder = CardClaim.objects.filter(card=card_id, released_at=None).first()
    consumers = {event.consumer for event in events if event.consumer}
    if holder is not None:
        consumers.add(holder.consumer)
    names = holder_names(consumers)
    return {
        "holder": holder,
        "holder_name": names[holder.consumer] if holder else "",
        "functions": CardFunction.objects.filter(card=card_id),
        "events": [
            {
                "row": event,
                "holder_name": names[event.consumer] if event.consumer else "",
            }
            for event in events[:EVENTS_SHOWN]
        ],
        "has_more_events": len(events) > EVENTS_SHOWN,
    }
