"""Raise and clear health alerts; the class prevents-claims takes its subject out of sale.

Both run in the caller's transaction.
"""

from dataclasses import dataclass

from inventory.choices import AlertClass
from inventory.ledger import clock, lock_host, refresh_shape
from inventory.models import Alert, Card, Host, Region


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about: exactly one of the three."""

    card: Card | None = None
    host: Host | None = None
    region: Region | None = None


def raise_alert(
    subject: Subject, alert_class: AlertClass, source: str, code: str, message: str
) -> Alert:
    """Raise an alert, or renew the open one of the same source, code and subject."""
    key = {
        "source": source,
        "code": code,
        "card": subject.card,
        "host": subject.host,
        "region": subject.region,
        "cleared_at": None,
    }
    now = clock()
    news = {"alert_class": alert_class, "message": message[:500], "last_seen_at": now}
    alert, _ = Alert.objects.update_or_create(
        **key, defaults=news, create_defaults={**news, "raised_at": now}
    )
    _refresh(subject.card)
    return alert


def clear_alerts(subject: Subject, source: str, code: str, actor: str) -> int:
    """Clear the open alerts of that source and code; returns how many there were."""
    cleared = Alert.objects.filter(
        source=source,
        code=code,
        card=subject.card,
        host=subject.host,
        region=subject.region,
        cleared_at=None,
    ).update(cleared_at=clock(), cleared_by=actor)
    if cleared:
        _refresh(subject.card)
    return cleared


def clear_alert(alert_id: int, actor: str) -> bool:
    """Clear one alert by hand; False if it was clear already."""
    alert = Alert.objects.select_related("card").get(pk=alert_id)
    cleared = Alert.objects.filter(pk=alert_id, cleared_at=None).update(
        cleared_at=clock(), cleared_by=actor
    )
    if cleared:
        _refresh(alert.card)
    return bool(cleared)


def _refresh(card: Card | None) -> None:
    """A card that may not be claimed must not show in its host's search key."""
    if card is not None:
        refresh_shape(lock_host(card.host_id))
