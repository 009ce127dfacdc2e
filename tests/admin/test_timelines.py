"""What happened to a card, a host, an account and an instance, each as one list."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flags import changes
from flags.changes import Why
from flags.models import Flag
from instances.actions.delete import delete
from instances.models import Account, ApiToken, Instance
from instances.timeline import account_sources
from inventory.alerts import Subject, clear_alerts, raise_alert
from inventory.choices import AlertClass, CardCondition, DiscrepancyKind
from inventory.ledger import Actor, change_condition, lock_host
from inventory.models import Card, Discrepancy, Host
from inventory.timeline import (
    Moment,
    Place,
    Source,
    card_sources,
    host_sources,
    timeline,
)
from tests.admin.conftest import browser_of
from tests.builders import GPU_FLAG, make_token

ANN = Actor("user:ann", "its fan is loud")


def told(sources: list[Source], size: int = 100) -> list[str]:
    return [moment.what for moment in timeline(sources, size).moments]


def quarantine(card: Card) -> None:
    with transaction.atomic():
        lock_host(card.host_id)
        change_condition(card, CardCondition.QUARANTINED, ANN)


def test_every_moment_is_on_one_page_whatever_the_size(instance: Instance) -> None:
    card = Card.objects.get(claims__consumer=instance.uuid)
    now = timezone.now()
    # Many at one moment, which no page may lose or tell twice.
    Discrepancy.objects.bulk_create(
        Discrepancy(
            host=card.host,
            card=card,
            kind=DiscrepancyKind.DRIVER_CHANGED,
            subject=f"subject {number}",
            detail=f"detail {number}",
            first_seen_at=now,
            last_seen_at=now,
            resolved_at=now,
        )
        for number in range(7)
    )
    sources = card_sources(card)
    whole = timeline(sources, 100)

    assert whole.rest is None
    assert len(whole.moments) == len(set(whole.moments)) >= 14 + 4
    for size in (1, 3, 5, len(whole.moments)):
        pages: list[Moment] = []
        place: Place | None = None
        for _ in whole.moments:
            page = timeline(sources, size, place)
            pages += page.moments
            if page.rest is None:
                break
            assert len(page.moments) == size
            place = Place.parse(str(page.rest))
            assert place == page.rest
        assert pages == list(whole.moments)


@pytest.mark.parametrize("text", ["", "now", "2026-01-01~0", "2026-01-01T00:00Z~-1"])
def test_place_that_is_none_is_the_begin(text: str) -> None:
    assert Place.parse(text) is None


def test_a_cards_life_is_told_with_who_and_why(
    staff: Client, instance: Instance
) -> None:
    card = Card.objects.get(claims__consumer=instance.uuid)
    subject = Subject(card=card)
    with transaction.atomic():
        raise_alert(subject, AlertClass.WARNING, "monitor", "hot", "It is hot.")
        clear_alerts(subject, "monitor", "hot", "user:bob")
    quarantine(card)

    moments = {
        moment.what: moment for moment in timeline(card_sources(card), 50).moments
    }

    assert list(moments)[:4] == [
        "ready → quarantined",
        "Alert cleared",
        "Alert",
        "Claimed",
    ]
    assert (moments["ready → quarantined"].who, moments["ready → quarantined"].why) == (
        "user:ann",
        "its fan is loud",
    )
    assert moments["Alert cleared"].who == "user:bob"
    assert moments["Claimed"].consumer == instance.uuid
    assert moments["Tested: passed"].page is not None
    text = staff.get(f"/admin/inventory/card/{card.pk}/change/").text
    assert f'href="/admin/consumer/{instance.uuid}/">trial (Lab)</a>' in text
    assert "its fan is loud · user:ann" in text


def test_a_hosts_life_tells_decisions_and_what_its_cards_lost(
    staff: Client, fleet: Host
) -> None:
    card = fleet.cards.all()[0]
    quarantine(card)
    staff.post(
        f"/admin/inventory/host/{fleet.pk}/drain/",
        {"_form_submitted": "1", "reason": "new firmware"},
    )
    boot = Discrepancy.objects.create(
        host=fleet,
        kind=DiscrepancyKind.BOOT_CHANGED,
        subject="boot",
        detail="up for 3 s",
        first_seen_at=timezone.now(),
        last_seen_at=timezone.now(),
        resolved_at=timezone.now() + timedelta(seconds=1),
    )
    Host.objects.filter(pk=fleet.pk).update(connection="unknown")

    words = told(host_sources(fleet))

    assert words[:4] == [
        "Settled: host has booted anew",
        "Does not answer",
        "Found: host has booted anew",
        "By hand, host-a: Policy: draining. new firmware",
    ]
    assert f"Card {card.slot_path}: ready → quarantined" in words
    assert "Last seen before it was silent" in words
    assert "Enrolled" in words
    # Routine is on the cards' own pages.
    assert not any("testing" in line for line in words)
    page = staff.get(f"/admin/inventory/host/{fleet.pk}/change/")
    assert f"/admin/inventory/discrepancy/{boot.pk}/change/" in page.text
    assert "new firmware" in page.text


def test_an_account_and_an_instance_tell_theirs_without_a_secret(
    staff: Client, full_house: Instance, admin_user: User
) -> None:
    account = full_house.account
    secret = make_token(account)
    token = ApiToken.objects.latest("pk")
    delete(full_house, "user:ann", "ann")
    flag = Flag.objects.get(name=GPU_FLAG)
    changes.change(flag.pk, {"accounts": [account.pk]}, Why("user:ann", "they asked"))

    words = told(account_sources(account, admin_user.has_perm))
    page = staff.get(f"/admin/instances/account/{account.pk}/change/")

    assert "trial: launched as gpu-1 in us-east" in words
    assert f"API token issued: {token.label} ({token.prefix}…)" in words
    assert f"Flag {GPU_FLAG}: opened to this account by name" in words
    for begin in (
        *("Reservation ", "Waits for gpu-1", "Refused: gpu-1", "Invoice "),
        *("trial: use of gpu-1 begins", "Enrolled in the beta", "Account made"),
    ):
        assert any(line.startswith(begin) for line in words), (begin, words)
    for row in page.context["timeline"]:
        assert row.moment.what in words
    assert [row.label for row in page.context["instances"]] == ["trial"]
    assert page.context["used"].account == account
    assert (GPU_FLAG, True, False) in page.context["flags"]
    assert secret not in page.text
    assert token.digest not in page.text
    text = staff.get(f"/admin/instances/instance/{full_house.pk}/change/").text
    assert "Customer&#x27;s event: linode_create, " in text
    assert "trial: use of gpu-1 begins, $ " in text


def test_who_may_see_less_is_told_less(full_house: Instance) -> None:
    url = f"/admin/instances/account/{full_house.account_id}/change/"

    page = browser_of("instances.view_account").get(url)

    assert {row.moment.what for row in page.context["timeline"]} == {"Account made"}
    assert "account-instances" not in page.text
    assert "account-usage" not in page.text


def test_a_page_of_a_timeline_is_one_query(
    full_house: Instance, admin_user: User
) -> None:
    host = Host.objects.get(name="host-a")
    account = Account.objects.get(pk=full_house.account_id)
    lists = [
        card_sources(host.cards.all()[0]),
        host_sources(host),
        account_sources(account, admin_user.has_perm),
    ]

    for sources in lists:
        with CaptureQueriesContext(connection) as captured:
            timeline(sources, 50)
        assert len(captured) == 1
