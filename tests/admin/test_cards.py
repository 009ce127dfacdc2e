"""Cards in the admin: who holds them, their ledger, and the two things staff may do."""

import pytest
from django.db import transaction
from django.test import Client

from instances.models import Instance
from inventory.alerts import Subject, raise_alert
from inventory.card_actions import quarantine, retire, send_to_checks
from inventory.choices import AlertClass, CardCondition
from inventory.exceptions import TransitionForbidden
from inventory.ledger import Actor
from inventory.models import Card, CardEvent, CheckImage, Host
from tests.admin.conftest import browser_of
from tests.builders import make_card, make_host

ACTOR = Actor("user:ann", "looked at it")
# Where make_host puts cards.
FIRST, SECOND = "0000:21:00", "0000:22:00"


def url_of(card: Card, action: str = "change") -> str:
    return f"/admin/inventory/card/{card.pk}/{action}/"


@pytest.mark.parametrize(
    ("condition", "then"),
    [
        (CardCondition.READY, "unverified"),
        (CardCondition.QUARANTINED, "sanitising"),
        (CardCondition.DIRTY, "dirty"),
    ],
)
def test_card_sent_to_its_checks_is_not_sold_before_them(
    db: None, condition: CardCondition, then: str
) -> None:
    host = make_host(cards_per_node=(1,), condition=condition)
    card = host.cards.get()

    send_to_checks(card.pk, ACTOR)

    card.refresh_from_db()
    assert card.condition == then
    assert "rtx6000" not in Host.objects.get(pk=host.pk).free_shape


def test_card_in_use_or_missing_is_not_checked(instance: Instance, fleet: Host) -> None:
    used = Card.objects.get(claims__consumer=instance.uuid)
    missing = make_host(cards_per_node=(1,), condition=CardCondition.MISSING)
    events = CardEvent.objects.count()

    for card in (used, missing.cards.get()):
        with pytest.raises(TransitionForbidden):
            send_to_checks(card.pk, ACTOR)

    assert CardEvent.objects.count() == events


def test_only_a_card_that_nobody_has_can_be_retired(
    instance: Instance, fleet: Host
) -> None:
    used = Card.objects.get(claims__consumer=instance.uuid)
    quarantine(used.pk, ACTOR)

    with pytest.raises(TransitionForbidden, match="in use"):
        retire(used.pk, ACTOR)

    used.refresh_from_db()
    assert used.condition == CardCondition.QUARANTINED


def test_quarantined_it_is_sold_no_more_and_its_user_keeps_it(
    instance: Instance, fleet: Host
) -> None:
    claim = Card.objects.get(claims__consumer=instance.uuid).claims.get()

    quarantine(claim.card_id, ACTOR)

    claim.refresh_from_db()
    assert claim.released_at is None
    assert Card.objects.get(pk=claim.card_id).condition == CardCondition.QUARANTINED


def test_dialog_sends_to_the_checks_with_the_persons_name(
    staff: Client, db: None
) -> None:
    card = make_host(cards_per_node=(1,)).cards.get()

    response = staff.post(
        url_of(card, "check_again"),
        {"_form_submitted": "1", "reason": "a customer complained"},
        headers={"HX-Request": "true"},
    )

    assert response["HX-Redirect"] == url_of(card)
    event = card.events.first()
    assert event is not None
    assert (event.to_condition, event.actor) == ("unverified", "user:admin")
    assert event.reason == "a customer complained"


def test_reason_is_asked_for(staff: Client, db: None) -> None:
    card = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY).cards.get()

    response = staff.post(url_of(card, "quarantine"), {"_form_submitted": "1"})

    assert "This field is required" in response.content.decode()
    card.refresh_from_db()
    assert card.condition == CardCondition.DIRTY


def test_opening_a_dialog_changes_nothing(staff: Client, db: None) -> None:
    card = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY).cards.get()

    response = staff.get(url_of(card, "check_again"), {"reason": "x"})

    assert response.status_code == 200
    card.refresh_from_db()
    assert card.condition == CardCondition.DIRTY


def test_refused_step_is_a_message(
    staff: Client, instance: Instance, fleet: Host
) -> None:
    card = Card.objects.get(claims__consumer=instance.uuid)

    response = staff.post(
        url_of(card, "check_again"),
        {"_form_submitted": "1", "reason": "again"},
        follow=True,
    )

    assert "it cannot be checked now" in response.content.decode()


def test_viewer_may_change_no_card(fleet: Host) -> None:
    card = fleet.cards.first()
    assert card is not None
    viewer = browser_of("inventory.view_card")

    text = viewer.get(url_of(card)).content.decode()
    response = viewer.post(
        url_of(card, "quarantine"), {"_form_submitted": "1", "reason": "no"}
    )

    assert "Quarantine this card" not in text
    assert response.status_code == 403
    assert Card.objects.filter(condition="quarantined").count() == 0


def test_card_page_tells_its_life_newest_first(
    staff: Client, instance: Instance
) -> None:
    card = Card.objects.get(claims__consumer=instance.uuid)

    page = staff.get(url_of(card))
    text = page.content.decode()

    told = [row.moment.what for row in page.context["timeline"]]
    assert told[0] == "Claimed"
    assert told[-1] == "Enrolled: host-a 0000:21:00"
    assert "testing → ready" in told
    assert "trial (Lab)" in text
    assert f"/admin/consumer/{instance.uuid}/" in text
    assert f"{card.slot_path}.0" in text


def test_card_list_names_who_uses_a_card(staff: Client, instance: Instance) -> None:
    text = staff.get("/admin/inventory/card/?state=used").content.decode()

    assert "trial (Lab)" in text


def test_card_in_cleaning_says_how_long_and_what_is_wrong_with_it(
    staff: Client, fleet: Host
) -> None:
    node = fleet.nodes.get(number=0)
    card = make_card(node, "0000:28:00", condition=CardCondition.DIRTY)
    # Its model's tests were measured: the builder's took no time. No scrub was.
    CheckImage.objects.update(expected_s=180)
    with transaction.atomic():
        raise_alert(Subject(card=card), AlertClass.WARNING, "x", "hot", "It is hot.")

    text = staff.get(url_of(card)).content.decode()

    assert "Its checks take about 3 min once they begin." in text
    assert "It is hot." in text
    ready = staff.get(url_of(fleet.cards.all()[0])).content.decode()
    assert "Its checks take" not in ready
    assert "card-trouble" not in ready


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("B-3", {f"lab-b-3 {FIRST}", f"lab-b-3 {SECOND}"}),
        ("sn-77", {f"lab-a {SECOND}"}),
        (SECOND[:7], {f"lab-a {SECOND}", f"lab-b-3 {SECOND}"}),
        (f"lab {FIRST}", {f"lab-a {FIRST}", f"lab-b-3 {FIRST}"}),
        ("77", set()),
    ],
)
def test_cards_are_found_by_host_slot_and_identity(
    asked: str, found: set[str], staff: Client, db: None
) -> None:
    for name in ("lab-a", "lab-b-3"):
        make_host(name, cards_per_node=(2,))
    Card.objects.filter(host__name="lab-a", slot_path=SECOND).update(identity="sn-77")

    listed = staff.get("/admin/inventory/card/", {"q": asked})

    assert {str(card) for card in listed.context["cl"].result_list} == found
