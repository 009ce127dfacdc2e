"""manage.py list_alerts: what monitoring reads, and the status that it acts on."""

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from inventory.alerts import Subject, raise_alert
from inventory.choices import AlertClass, DiscrepancyKind
from inventory.models import Alert, Card, Discrepancy, Host
from inventory.remedies import PASSING
from tests.builders import make_host, make_region

pytestmark = pytest.mark.django_db
SINCE = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def told(
    host: Host, kind: DiscrepancyKind, *, blocks: bool = False, card: Card | None = None
) -> Discrepancy:
    return Discrepancy.objects.create(
        host=host,
        kind=kind,
        subject=kind,
        card=card,
        detail="as\ntold",
        prevents_claims=blocks,
        first_seen_at=SINCE,
        last_seen_at=SINCE,
    )


def listed(*arguments: str) -> str:
    out = StringIO()
    call_command("list_alerts", *arguments, stdout=out)
    return out.getvalue()


def test_nothing_open_is_nothing_listed() -> None:
    host = make_host()
    Discrepancy.objects.filter(pk=told(host, DiscrepancyKind.CARD_VANISHED).pk).update(
        resolved_at=SINCE
    )

    assert listed() == ""
    assert json.loads(listed("--json")) == []


def test_warnings_are_listed_and_what_passes_by_itself_is_not() -> None:
    host = make_host("host-a")
    raise_alert(Subject(host=host), AlertClass.WARNING, "probe", "hot", "It is hot.")
    row = told(host, DiscrepancyKind.DOMAIN_OFF)
    for kind in PASSING:
        told(host, kind)
    Alert.objects.update(raised_at=SINCE)
    alert = Alert.objects.get()

    assert listed().splitlines() == [
        "warning: host-a: probe/hot since 2026-01-31T12:00:00Z "
        f"(alert {alert.pk}): It is hot.",
        "warning: host-a: domain_off since 2026-01-31T12:00:00Z "
        f"(discrepancy {row.pk}): as told The guest crashed or was unplugged on its "
        "host, and nothing starts it again: its watchdog is off or was given up. Its "
        "cards stay held. Boot the instance.",
    ]


def test_what_prevents_claims_comes_first_and_fails_the_command() -> None:
    host = make_host("host-a", cards_per_node=(1,))
    told(host, DiscrepancyKind.DOMAIN_OFF)
    region = Subject(region=make_region())
    raise_alert(region, AlertClass.PREVENTS_CLAIMS, "user:ann", "flood", "Water.")
    card = host.cards.get()
    row = told(host, DiscrepancyKind.NUMA_CHANGED, blocks=True, card=card)
    out = StringIO()

    with pytest.raises(CommandError, match="2 of 3 prevent claims") as caught:
        call_command("list_alerts", "--json", stdout=out)

    assert caught.value.returncode == 1
    rows = json.loads(out.getvalue())
    assert [(r["about"], r["code"], r["prevents_claims"]) for r in rows] == [
        ("host-a 0000:21:00", "numa_changed", True),
        ("Newark, NJ (us-east)", "user:ann/flood", True),
        ("host-a", "domain_off", False),
    ]
    assert (rows[0]["id"], rows[0]["since"]) == (row.pk, "2026-01-31T12:00:00+00:00")
    Alert.objects.update(cleared_at=SINCE)
    Discrepancy.objects.filter(prevents_claims=True).update(resolved_at=SINCE)
    assert len(listed().splitlines()) == 1
