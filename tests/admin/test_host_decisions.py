"""What staff decide about a host: drain, maintenance, retirement, and the way back."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from instances.actions.launch import launch
from instances.exceptions import NoCapacity
from instances.models import Instance
from instances.reconcile import take_due_hosts
from inventory import ledger
from inventory.alerts import Subject, raise_alert
from inventory.choices import (
    AlertClass,
    CardCondition,
    DiscrepancyKind,
    HostConnection,
    HostPolicy,
)
from inventory.exceptions import NotClaimable, TransitionForbidden
from inventory.free_host import free_host
from inventory.host_policy import set_policy
from inventory.ledger import Actor
from inventory.ledger_audit import audit
from inventory.models import (
    Alert,
    Card,
    CardClaim,
    CardEvent,
    Discrepancy,
    Host,
    NodeClaim,
)
from inventory.topology import NodeShare
from tests.admin.conftest import browser_of
from tests.builders import make_card, make_order

ANN = Actor("user:ann", "new power supply")


@pytest.mark.parametrize(
    ("action", "policy"),
    [
        ("stop_provisioning", "no_provision"),
        ("drain", "draining"),
        ("maintain", "maintenance"),
        ("put_in_service", "in_service"),
        ("retire_host", "retired"),
    ],
)
def test_decision_is_taken_in_a_dialog_that_asks_why(
    staff: Client, fleet: Host, action: str, policy: str
) -> None:
    url = f"/admin/inventory/host/{fleet.pk}/{action}/"
    staff.get(url)
    staff.post(url, {"_form_submitted": "1", "reason": ""})
    fleet.refresh_from_db()
    assert (fleet.policy, fleet.policy_changed_at) == ("in_service", None)

    staff.post(url, {"_form_submitted": "1", "reason": "new fans"})

    fleet.refresh_from_db()
    assert (fleet.policy, fleet.policy_reason) == (policy, "new fans (user:admin)")
    assert fleet.policy_changed_at is not None
    assert "new fans" in LogEntry.objects.get().change_message


@pytest.mark.parametrize(
    ("policy", "offered"),
    [
        ("in_service", {"No new instances", "Drain", "Maintenance"}),
        ("draining", {"In service", "No new instances", "Maintenance", "Retire"}),
        ("maintenance", {"In service", "No new instances", "Drain", "Retire"}),
        ("retired", set()),
    ],
)
def test_page_offers_what_would_change_something(
    staff: Client, fleet: Host, policy: str, offered: set[str]
) -> None:
    set_policy(fleet.pk, HostPolicy(policy), ANN)

    page = staff.get(f"/admin/inventory/host/{fleet.pk}/change/")

    shown = {action["title"] for action in page.context["actions_detail"]}
    assert shown == offered | {"Check"}


@pytest.mark.parametrize("action", ["drain", "maintain", "retire_host"])
def test_viewer_decides_nothing(fleet: Host, action: str) -> None:
    viewer = browser_of("inventory.view_host")

    response = viewer.post(
        f"/admin/inventory/host/{fleet.pk}/{action}/",
        {"_form_submitted": "1", "reason": "why not"},
    )

    assert response.status_code == 403
    fleet.refresh_from_db()
    assert fleet.policy == "in_service"


@pytest.mark.parametrize("policy", [HostPolicy.DRAINING, HostPolicy.MAINTENANCE])
def test_drained_host_lists_who_is_left_and_sells_nothing(
    staff: Client, instance: Instance, fleet: Host, policy: HostPolicy
) -> None:
    claims = list(CardClaim.objects.values())

    set_policy(fleet.pk, policy, ANN)

    page = staff.get(f"/admin/inventory/host/{fleet.pk}/change/")
    (row,) = page.context["holders"]
    assert (row.name, row.memory_mib, len(row.cards)) == ("trial (Lab)", 256, 1)
    assert "trial (Lab)" in page.content.decode()
    assert list(CardClaim.objects.values()) == claims
    with pytest.raises(NoCapacity):
        launch(make_order(instance.account, plan="gpu-1"))


def test_host_that_leaves_maintenance_is_unknown_until_it_was_compared(
    instance: Instance, fleet: Host
) -> None:
    cards = list(Card.objects.order_by("pk").values())
    claims = [list(model.objects.values()) for model in (CardClaim, NodeClaim)]
    later = timezone.now() + timedelta(hours=1)
    Host.objects.update(reconcile_due_at=later, failed_looks=5)
    set_policy(fleet.pk, HostPolicy.MAINTENANCE, ANN)

    set_policy(fleet.pk, HostPolicy.IN_SERVICE, ANN)

    host = Host.objects.get()
    assert (host.policy, host.connection) == ("in_service", HostConnection.UNKNOWN)
    assert take_due_hosts() == [fleet.pk]
    with pytest.raises(NoCapacity):
        launch(make_order(instance.account, plan="gpu-1"))
    assert list(Card.objects.order_by("pk").values()) == cards
    assert [list(model.objects.values()) for model in (CardClaim, NodeClaim)] == claims


def test_host_that_holds_something_is_not_retired(
    staff: Client, instance: Instance, fleet: Host
) -> None:
    events = CardEvent.objects.count()

    response = staff.post(
        f"/admin/inventory/host/{fleet.pk}/retire_host/",
        {"_form_submitted": "1", "reason": "sold"},
        follow=True,
    )

    assert "still holds 1 instances" in response.content.decode()
    fleet.refresh_from_db()
    assert fleet.policy == "in_service"
    assert CardEvent.objects.count() == events
    with (
        pytest.raises(IntegrityError, match="still holds claims"),
        transaction.atomic(),
    ):
        Host.objects.update(policy=HostPolicy.RETIRED)


def test_retired_host_takes_its_cards_and_what_was_told_with_it(fleet: Host) -> None:
    node = fleet.nodes.get(number=0)
    for number, condition in enumerate(
        (
            CardCondition.DIRTY,
            CardCondition.MISSING,
            CardCondition.QUARANTINED,
            CardCondition.TESTING,
        )
    ):
        make_card(node, f"0000:2{number + 4}:00", condition=condition)
    card = Card.objects.latest("pk")
    with transaction.atomic():
        raise_alert(Subject(host=fleet), AlertClass.WARNING, "x", "hot", "It is hot.")
        raise_alert(Subject(card=card), AlertClass.WARNING, "x", "hot", "It is hot.")
    now = timezone.now()
    Discrepancy.objects.create(
        host=fleet,
        kind=DiscrepancyKind.HOST_CHANGED,
        subject="node 0",
        detail="smaller",
        first_seen_at=now,
        last_seen_at=now,
    )

    set_policy(fleet.pk, HostPolicy.RETIRED, ANN)

    assert set(Card.objects.values_list("condition", flat=True)) == {"retired"}
    paths = {
        tuple(c.events.order_by("pk").values_list("to_condition", flat=True))[-2:]
        for c in Card.objects.all()
    }
    assert paths == {("quarantined", "retired"), ("missing", "retired")}
    assert Alert.objects.filter(cleared_at=None).count() == 0
    assert Discrepancy.objects.filter(resolved_at=None).count() == 0
    assert take_due_hosts() == []
    with transaction.atomic():
        assert audit().difference is None


def test_retired_host_stays_retired_and_is_claimed_by_nobody(fleet: Host) -> None:
    set_policy(fleet.pk, HostPolicy.RETIRED, ANN)

    with pytest.raises(TransitionForbidden, match="it stays retired"):
        set_policy(fleet.pk, HostPolicy.IN_SERVICE, ANN)
    with pytest.raises(IntegrityError, match="retired for good"), transaction.atomic():
        Host.objects.update(policy=HostPolicy.IN_SERVICE)
    share = NodeShare(0, (), (0,), 1, 128)
    free = free_host(fleet.pk)
    with pytest.raises(NotClaimable, match="retired host"), transaction.atomic():
        ledger.claim(free, [share], uuid.uuid4(), ANN)
    assert Host.objects.get().policy == "retired"
