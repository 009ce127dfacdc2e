"""Say where every card was, in what condition and for whom, at any moment; by the ledger.

Of the cards no row that changes is read: only events, and the names of the hosts that
they name. Whether those answered is told by their outages, as long as they are kept.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from inventory.choices import CardEventKind
from inventory.replica import reader

_KINDS: dict[str, Any] = {
    "enrolled": CardEventKind.ENROLLED,
    "places": [CardEventKind.ENROLLED, CardEventKind.MOVED],
    "holders": [
        CardEventKind.CLAIMED,
        CardEventKind.HELD,
        CardEventKind.ADOPTED,
        CardEventKind.RELEASED,
    ],
    "released": CardEventKind.RELEASED,
}
# Each card's own index is walked back from its newest event to the first that tells.
_FLEET_AT = """
SELECT card.id, coalesce(region.slug, ''), coalesce(host.name, ''), place.slot_path,
    newest.to_condition, CASE WHEN holder.kind <> %(released)s THEN holder.consumer END,
    silent.host_id IS NOT NULL
FROM inventory_card card
CROSS JOIN LATERAL (SELECT to_condition FROM inventory_cardevent
    WHERE card_id = card.id AND at <= %(moment)s ORDER BY id DESC LIMIT 1) newest
CROSS JOIN LATERAL (SELECT slot_path, host_id FROM inventory_cardevent
    WHERE card_id = card.id AND at <= %(moment)s AND kind = ANY(%(places)s)
    ORDER BY id DESC LIMIT 1) place
LEFT JOIN LATERAL (SELECT kind, consumer FROM inventory_cardevent
    WHERE card_id = card.id AND at <= %(moment)s AND kind = ANY(%(holders)s)
    ORDER BY id DESC LIMIT 1) holder ON true
LEFT JOIN inventory_host host ON host.id = place.host_id
LEFT JOIN (SELECT DISTINCT host_id FROM inventory_hostoutage
    WHERE began_at <= %(moment)s AND coalesce(ended_at, 'infinity') > %(moment)s) silent
    ON silent.host_id = host.id
LEFT JOIN inventory_region region ON region.id = host.region_id
WHERE EXISTS (SELECT FROM inventory_cardevent WHERE card_id = card.id
    AND at <= %(moment)s AND kind = %(enrolled)s)
"""


@dataclass(frozen=True, slots=True)
class CardThen:
    """One card at a moment. host, region, slot_path: empty where the ledger does not tell.

    region: the slug of the host's region. consumer: the holder's UUID, None if it was free.
    is_on_silent_host: its host did not answer then.
    """

    card_id: int
    region: str
    host: str
    slot_path: str
    condition: str
    consumer: UUID | None
    is_on_silent_host: bool = False


def fleet_at(moment: datetime) -> list[CardThen]:
    """Return each card that was enrolled by `moment`, by host and slot; one query.

    An event of that very moment counts. What a transaction wrote that is not committed
    yet is missing, so of the last seconds the answer may change.
    """
    with reader().cursor() as cursor:
        cursor.execute(_FLEET_AT, {"moment": moment, **_KINDS})
        cards = [CardThen(*row) for row in cursor.fetchall()]
    return sorted(cards, key=lambda card: (card.host, card.slot_path, card.card_id))
