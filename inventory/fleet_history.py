"""Say where every card was, in what condition and for whom, at any moment; by the ledger.

No row that changes is read: only events, and the names of the hosts that they name.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from inventory.choices import CardEventKind
from inventory.models import Card, CardEvent

_PLACES = (CardEventKind.ENROLLED, CardEventKind.MOVED)
_HOLDERS = (CardEventKind.CLAIMED, CardEventKind.HELD, CardEventKind.RELEASED)


@dataclass(frozen=True, slots=True)
class CardThen:
    """One card at a moment. host, region, slot_path: empty where the ledger does not tell.

    region: the slug of the host's region. consumer: the holder's UUID, None if it was free.
    """

    card_id: int
    region: str
    host: str
    slot_path: str
    condition: str
    consumer: UUID | None


def fleet_at(moment: datetime) -> list[CardThen]:
    """Return each card that was enrolled by `moment`, by host and slot; two queries.

    An event of that very moment counts. What a transaction wrote that is not committed
    yet is missing, so of the last seconds the answer may change.
    """
    past = CardEvent.objects.filter(card=OuterRef("pk"), at__lte=moment)
    known = list(
        Card.objects.filter(Exists(past.filter(kind=CardEventKind.ENROLLED)))
        .order_by("pk")
        .values_list(
            "pk",
            _last(past),
            _last(past.filter(kind__in=_PLACES)),
            _last(past.filter(kind__in=_HOLDERS)),
        )
    )
    events = _by_id({pk for _, *pks in known for pk in pks if pk is not None})
    cards = []
    for card_id, last_id, place_id, holder_id in known:
        place = events[place_id]
        holder = events[holder_id] if holder_id else None
        is_held = holder is not None and holder.kind != CardEventKind.RELEASED
        cards.append(
            CardThen(
                card_id=card_id,
                region=place.host.region.slug if place.host else "",
                host=place.host.name if place.host else "",
                slot_path=place.slot_path,
                condition=events[last_id].to_condition,
                consumer=holder.consumer if holder and is_held else None,
            )
        )
    return sorted(cards, key=lambda card: (card.host, card.slot_path, card.card_id))


def _last(events: QuerySet[CardEvent]) -> Subquery:
    return Subquery(events.order_by("-pk").values("pk")[:1])


def _by_id(pks: set[int]) -> dict[int, CardEvent]:
    rows = CardEvent.objects.filter(pk__in=pks).select_related("host__region")
    return {event.pk: event for event in rows}
