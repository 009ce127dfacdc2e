"""A discrepancy's page: what it says to do, and what may be done from it."""

import html
import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.test import Client
from django.utils import timezone

from instances.actions.check_guest import remove_check_guest
from instances.actions.launch import launch
from instances.exceptions import CardBusy
from instances.jobs import card_work, runner
from instances.jobs.card_records import maintenance_uuid
from instances.models import Instance, Job
from instances.reconcile import reconcile, take_due_hosts
from inventory.card_actions import quarantine
from inventory.choices import CardCondition, DiscrepancyKind, HostConnection, HostPolicy
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.host_policy import set_policy
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor
from inventory.models import Card, CardClaim, CardEvent, Discrepancy, Host
from inventory.remedies import PASSING, remedy_of
from tests.admin.conftest import browser_of
from tests.builders import make_gpu_model, make_host, make_order, make_region
from tests.conftest import recorded, recorded_devices
from tests.instances.test_card_checks import work
from tests.instances.test_card_moves import at_bus, enrolled, is_card, machine
from tests.simulated import Faulty, SimulatedHypervisor, stranger_on

ANN = Actor("user:ann", "a test")
BUTTONS = {
    "look_again": "Look at this host again now",
    "accept_move": "Accept that this card has moved",
    "remove_guest": "Remove the check guest that was left over",
    "force_release": "Force the release of what a lost machine holds",
    "adopt": "Adopt the guest that the rows do not know",
    "shut_guest": "Shut and remove the guest that the rows do not know",
}


def told(
    host: Host, kind: DiscrepancyKind, subject: str = "x", **fields: Any
) -> Discrepancy:
    now = timezone.now()
    return Discrepancy.objects.create(
        host=host,
        kind=kind,
        subject=subject,
        detail="told by a test",
        first_seen_at=now,
        last_seen_at=now,
        **fields,
    )


def url_of(row: Discrepancy, action: str = "change") -> str:
    return f"/admin/inventory/discrepancy/{row.pk}/{action}/"


def post(client: Client, url: str, **fields: str) -> str:
    """Send a dialog and return the page that it leads to."""
    sent = {"_form_submitted": "1", "reason": "for good reason", **fields}
    return client.post(url, sent, follow=True).content.decode()


def buttons(text: str) -> set[str]:
    return {name for name, label in BUTTONS.items() if f'aria-label="{label}"' in text}


def test_every_kind_says_what_to_do(staff: Client, fleet: Host) -> None:
    assert all(remedy_of(kind) for kind in DiscrepancyKind)
    assert set(DiscrepancyKind) > PASSING
    for kind in DiscrepancyKind:
        text = staff.get(url_of(told(fleet, kind))).content.decode()
        (remedy,) = re.findall(r'<p id="remedy">(.+?)</p>', text)
        assert html.unescape(remedy) == remedy_of(kind)


def test_only_what_is_safe_for_its_kind_is_offered(
    staff: Client, instance: Instance, fleet: Host
) -> None:
    card = fleet.cards.all()[0]
    offered = {
        told(fleet, DiscrepancyKind.NUMA_CHANGED, card=card): {"look_again"},
        told(fleet, DiscrepancyKind.CARD_MOVED, card=card): {
            "look_again",
            "accept_move",
        },
        told(fleet, DiscrepancyKind.STRAY_DOMAIN, "a stranger's"): {"look_again"},
        told(fleet, DiscrepancyKind.STRAY_DOMAIN, "a holder's", card=card): {
            "look_again"
        },
        told(
            fleet, DiscrepancyKind.STRAY_DOMAIN, maintenance_uuid(card.pk), card=card
        ): {"look_again", "remove_guest"},
        told(fleet, DiscrepancyKind.DOMAIN_MISSING, consumer=instance.uuid): {
            "look_again",
            "force_release",
        },
        told(fleet, DiscrepancyKind.CPUS_DIFFER, consumer=uuid4()): {"look_again"},
        told(fleet, DiscrepancyKind.UNKNOWN_GUEST, str(uuid4())): {
            "look_again",
            "adopt",
            "shut_guest",
        },
        told(fleet, DiscrepancyKind.GUEST_CHANGED, str(uuid4())): {
            "look_again",
            "adopt",
        },
        told(fleet, DiscrepancyKind.CARD_MOVED, "old", resolved_at=timezone.now()): (
            set()
        ),
    }

    for row, expected in offered.items():
        assert buttons(staff.get(url_of(row)).content.decode()) == expected
    viewer = browser_of("inventory.view_discrepancy")
    for row in offered:
        assert buttons(viewer.get(url_of(row)).content.decode()) == set()
        for action in BUTTONS:
            sent = {"_form_submitted": "1", "reason": "x"}
            assert viewer.post(url_of(row, action), sent).status_code == 403


def test_force_release_needs_its_own_permission(
    instance: Instance, fleet: Host
) -> None:
    row = told(fleet, DiscrepancyKind.DOMAIN_MISSING, consumer=instance.uuid)
    all_but_it = browser_of(
        "inventory.view_discrepancy",
        "inventory.change_discrepancy",
        "inventory.change_card",
        "inventory.change_cardclaim",
        "instances.view_instance",
        "instances.delete_instance",
    )
    page = f"/admin/instances/instance/{instance.pk}"

    for url in (url_of(row, "force_release"), f"{page}/force_release/"):
        sent = {"_form_submitted": "1", "reason": "x"}
        assert all_but_it.post(url, sent).status_code == 403
    assert CardClaim.objects.filter(released_at=None).count() == 1

    permitted = browser_of("instances.view_instance", "inventory.force_release")
    text = permitted.get(f"{page}/change/").content.decode()
    assert buttons(text) == {"force_release"}


@pytest.mark.parametrize(
    ("change", "offered"),
    [
        ({}, set()),
        ({"policy": "draining"}, set()),
        ({"policy": "maintenance"}, {"force_release"}),
        ({"connection": "unknown"}, {"force_release"}),
    ],
)
def test_force_release_is_offered_where_a_machine_may_be_gone(
    staff: Client, instance: Instance, change: dict[str, str], offered: set[str]
) -> None:
    Host.objects.update(**change)

    page = staff.get(f"/admin/instances/instance/{instance.pk}/change/")

    assert buttons(page.content.decode()) == offered


@pytest.fixture
def lab(settings: Any) -> None:
    settings.LAB = True
    settings.LAB_SKIPS_SANITISING = False


@pytest.fixture
def hypervisor(db: None, lab: None) -> SimulatedHypervisor:
    return SimulatedHypervisor(
        recorded("capabilities-2x2.xml"), recorded_devices("pci-2x2-rtx6000.xml")
    )


@pytest.fixture
def at_every_address(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have one host answer wherever one is asked."""

    def answers(hypervisor: Any) -> None:
        for module in (
            "instances.reconcile",
            "inventory.card_moves",
            "instances.actions.force_release",
            "instances.lost_guests",
        ):
            monkeypatch.setattr(f"{module}.connect", lambda _: hypervisor)

    return answers


def test_look_again_brings_the_page_up_to_date(
    staff: Client, hypervisor: SimulatedHypervisor, at_every_address: Any
) -> None:
    make_region()
    make_gpu_model()
    host = enrolled("gpu1", hypervisor)
    stranger = "11111111-1111-4111-8111-111111111111"
    hypervisor.define_domain(stranger_on("0000:61:00.0", stranger))
    reconcile(host.pk, hypervisor)
    row = Discrepancy.objects.get(kind="stray_domain")
    at_every_address(hypervisor)

    assert "It is still so." in post(staff, url_of(row, "look_again"))
    hypervisor.undefine_domain(stranger)
    assert "It is over." in post(staff, url_of(row, "look_again"))

    def silent(_: str) -> None:
        raise HostUnreachable("no answer")

    at_every_address(Faulty(hypervisor, silent))
    assert "does not answer" in post(staff, url_of(row, "look_again"))
    assert Host.objects.get().connection == HostConnection.UNKNOWN


def test_retired_host_is_not_looked_at(staff: Client, fleet: Host) -> None:
    row = told(fleet, DiscrepancyKind.HOST_CHANGED)
    set_policy(fleet.pk, HostPolicy.RETIRED, ANN)

    assert "is retired" in post(staff, url_of(row, "look_again"))


def test_move_is_accepted_with_the_persons_name(
    staff: Client, lab: None, at_every_address: Any
) -> None:
    make_region()
    make_gpu_model()
    hypervisor = machine("1", "A")
    host = enrolled("gpu1", hypervisor)
    card = host.cards.get(slot_path="0000:61:00")
    (device,) = [d for d in hypervisor.devices if is_card(d) and "<bus>97</bus>" in d]
    hypervisor.devices.remove(device)
    hypervisor.devices.append(at_bus(device, 0x72))
    reconcile(host.pk, hypervisor)
    moved = Discrepancy.objects.get(kind="card_moved")
    vanished = Discrepancy.objects.get(kind="card_vanished")
    at_every_address(hypervisor)

    assert "about no move" in post(staff, url_of(vanished, "accept_move"))
    text = post(staff, url_of(moved, "accept_move"))

    assert "gpu1 0000:72:00 is unverified now." in text
    event = CardEvent.objects.get(kind="moved")
    assert (event.actor, event.reason) == ("user:admin", "for good reason")
    assert "Move accepted" in LogEntry.objects.get().change_message
    assert Card.objects.get(pk=card.pk).slot_path == "0000:72:00"
    assert "known at that address already" in post(staff, url_of(moved, "accept_move"))


def left_over(hypervisor: SimulatedHypervisor, card: Card) -> str:
    guest = maintenance_uuid(card.pk)
    hypervisor.define_domain(stranger_on(f"{card.slot_path}.0", guest))
    hypervisor.start_domain(guest)
    return guest


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("condition", ["ready", "quarantined"])
def test_left_over_check_guest_is_removed_by_a_job(
    staff: Client,
    hypervisor: SimulatedHypervisor,
    settings: Any,
    skips: bool,
    condition: str,
) -> None:
    settings.LAB_SKIPS_SANITISING = skips
    make_region()
    make_gpu_model()
    host = enrolled("gpu1", hypervisor)
    card = host.cards.all()[0]
    if condition == "quarantined":
        quarantine(card.pk, ANN)
    guest = left_over(hypervisor, card)
    reconcile(host.pk, hypervisor)
    row = Discrepancy.objects.get()

    text = post(staff, url_of(row, "remove_guest"))

    job = Job.objects.get(kind="clear")
    assert f"removal of a left-over check guest #{job.pk} is queued." in text
    assert (job.actor, job.card_id) == ("user:admin", card.pk)
    take_due_hosts()
    work([job.pk], hypervisor)
    job.refresh_from_db()
    assert (job.state, guest in hypervisor.states) == ("succeeded", False)
    assert take_due_hosts() == [host.pk]
    assert reconcile(host.pk, hypervisor) == []
    assert Card.objects.get(pk=card.pk).condition == condition


def test_guest_of_a_check_under_way_is_left_alone(db: None) -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    card = host.cards.get()
    card_work.plan(host.pk)

    with pytest.raises(CardBusy, match="the guest is its own"):
        remove_check_guest(card.pk, "user:ann")

    assert Job.objects.count() == 1


def test_no_check_begins_while_a_guest_is_removed(
    db: None, hypervisor: SimulatedHypervisor
) -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    job = remove_check_guest(host.cards.get().pk, "user:ann")

    assert card_work.plan(host.pk) == []

    work([job.pk], hypervisor)
    assert host.cards.get().condition == "ready"


def test_removal_waits_for_a_silent_host_and_ends_with_a_refusal(
    db: None, hypervisor: SimulatedHypervisor
) -> None:
    host = make_host(cards_per_node=(1,))
    card = host.cards.get()
    guest = left_over(hypervisor, card)
    job = remove_check_guest(card.pk, "user:ann")
    answers = {"error": HostUnreachable("no answer")}

    def fails(name: str) -> None:
        if name == "destroy_domain":
            raise answers["error"]

    runner.run(job.pk, lambda _uri: Faulty(hypervisor, fails))  # type: ignore[arg-type,return-value]

    job.refresh_from_db()
    assert (job.state, hypervisor.states[guest]) == ("running", DomainState.RUNNING)
    answers["error"] = HypervisorError("device busy", 55)  # type: ignore[assignment]
    Job.objects.update(not_before=None)
    runner.run(job.pk, lambda _uri: Faulty(hypervisor, fails))  # type: ignore[arg-type,return-value]
    job.refresh_from_db()
    assert job.state == "failed"
    assert card.checks.filter(outcome="failed").count() == 0
    assert Card.objects.get(pk=card.pk).condition == "ready"


def test_check_of_a_retired_card_ends_though_its_host_is_gone(
    db: None, hypervisor: SimulatedHypervisor
) -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    (job_id,) = card_work.plan(host.pk)

    def silent(_: str) -> None:
        raise HostUnreachable("gone")

    gone = Faulty(hypervisor, silent)
    runner.run(job_id, lambda _uri: gone)  # type: ignore[arg-type,return-value]
    assert Job.objects.get().state == "running"
    set_policy(host.pk, HostPolicy.RETIRED, ANN)
    Job.objects.update(not_before=None)

    runner.run(job_id, lambda _uri: gone)  # type: ignore[arg-type,return-value]

    assert Job.objects.get().state == "failed"
    assert host.cards.get().condition == "retired"


def test_claims_of_a_lost_machine_are_released_from_both_pages(
    staff: Client,
    instance: Instance,
    fleet: Host,
    hypervisor: SimulatedHypervisor,
    at_every_address: Any,
) -> None:
    row = told(fleet, DiscrepancyKind.DOMAIN_MISSING, consumer=instance.uuid)
    page = f"/admin/instances/instance/{instance.pk}/force_release/"

    def silent(_: str) -> None:
        raise HostUnreachable("no answer")

    at_every_address(Faulty(hypervisor, silent))
    assert "put it in maintenance first" in post(staff, page)
    set_policy(fleet.pk, HostPolicy.MAINTENANCE, ANN)
    text = post(staff, url_of(row, "force_release"))
    assert "Say what proves that the machine no longer runs" in text
    assert CardClaim.objects.filter(released_at=None).count() == 1

    text = post(staff, url_of(row, "force_release"), proof="melted")

    assert "Released. Its cards are scrubbed before they are sold." in text
    assert CardClaim.objects.filter(released_at=None).count() == 0
    event = CardEvent.objects.get(kind="released")
    assert event.actor == "user:admin"
    assert "for good reason. melted (host-a cannot be asked: no answer)" in event.reason
    assert "melted" in LogEntry.objects.get().change_message
    assert "holds nothing" in post(staff, page)


@pytest.mark.parametrize("decision", ["adopt", "shut_guest"])
def test_unknown_guest_is_decided_on_from_its_page(
    staff: Client,
    hypervisor: SimulatedHypervisor,
    at_every_address: Any,
    decision: str,
) -> None:
    make_region()
    make_gpu_model()
    host = enrolled("gpu1", hypervisor)
    reconcile(host.pk, hypervisor)
    order = make_order()
    backup = transaction.savepoint()
    lost = launch(order)
    work([Job.objects.get(instance=lost).pk], hypervisor)
    transaction.savepoint_rollback(backup)
    reconcile(host.pk, hypervisor)
    row = Discrepancy.objects.get(kind="unknown_guest")
    at_every_address(hypervisor)

    assert "There is no account of this name." in post(
        staff, url_of(row, "adopt"), account="nobody"
    )
    text = post(staff, url_of(row, decision))

    row.refresh_from_db()
    assert row.resolved_at is not None
    log = LogEntry.objects.get(object_id=str(row.pk)).change_message
    if decision == "adopt":
        assert f"Adopted, and billed from now on: {lost.label}" in text
        assert Instance.objects.get(uuid=lost.uuid).phase == "running"
        assert f"{lost.label} adopted. for good reason" in log
        assert str(lost.uuid) in hypervisor.states
    else:
        assert "The guest is gone from its host." in text
        assert f"{lost.uuid} shut and removed, its disk kept. for good reason" in log
        assert hypervisor.states == {}
    assert "about no such guest" in post(
        staff, url_of(told(host, DiscrepancyKind.NUMA_CHANGED), decision)
    )
