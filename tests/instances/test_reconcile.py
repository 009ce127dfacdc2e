"""Hosts against rows in both directions, on a simulated host with recorded hardware."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.utils import timezone

from instances import reconcile as module
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.choices import JobKind
from instances.exceptions import NoCapacity
from instances.jobs import card_work, runner
from instances.jobs.card_records import maintenance_uuid
from instances.jobs.queueing import queue
from instances.models import Instance, Job
from instances.reconcile import make_due, reconcile, take_due_hosts
from inventory.choices import CardCondition, HostPolicy
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.exceptions import EnrolmentRefused, HostUnreachable
from inventory.host_policy import set_policy
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor
from inventory.models import Card, CardClaim, CardEvent, Discrepancy, Host, NodeClaim
from tests.builders import make_gpu_model, make_order, make_plan, make_region
from tests.conftest import recorded_devices
from tests.instances.test_card_checks import check_all
from tests.instances.test_reservations import make_reservation
from tests.simulated import Faulty, SimulatedHypervisor, stranger_on

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(simulated_host: SimulatedHypervisor, settings: object) -> Host:
    """Give the recorded host: enrolled, its four cards checked, compared once."""
    settings.LAB = True  # type: ignore[attr-defined]
    make_region()
    make_gpu_model()
    order = EnrolmentOrder(
        "test://recorded".replace("test", "qemu+tls"),
        "us-east",
        "gpu1",
        reserved_cores=0,
        reserved_memory_mib=256,
    )
    enrolled = enrol(order, "user:tester", simulated_host).host
    check_all(enrolled, simulated_host)
    assert reconcile(enrolled.pk, simulated_host) == []
    return enrolled


def launched(hypervisor: SimulatedHypervisor, cards: int = 1) -> Instance:
    instance = launch(make_order(plan=make_plan(cards=cards).slug))
    runner.run(Job.objects.get(instance=instance).pk, lambda _uri: hypervisor)  # type: ignore[arg-type,return-value]
    instance.refresh_from_db()
    assert instance.phase == "running"
    # What a job has just changed is judged at the next look.
    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))
    return instance


def kinds(found: list[Discrepancy]) -> list[str]:
    return sorted(row.kind for row in found)


def test_agreement_is_no_discrepancy(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host, 2)

    assert reconcile(host.pk, simulated_host) == []
    host.refresh_from_db()
    instance.refresh_from_db()
    assert (host.connection, host.failed_looks) == ("ok", 0)
    assert instance.observed == "running"


def test_failed_look_makes_the_host_unknown_and_changes_no_card(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    launched(simulated_host)
    before = list(Card.objects.order_by("pk").values())
    claims = list(CardClaim.objects.values())

    def silent(name: str) -> None:
        raise HostUnreachable("no answer")

    reconcile(host.pk, Faulty(simulated_host, silent))

    host.refresh_from_db()
    assert (host.connection, host.failed_looks) == ("unknown", 1)
    assert list(Card.objects.order_by("pk").values()) == before
    assert list(CardClaim.objects.values()) == claims
    with pytest.raises(NoCapacity):
        launch(make_order())
    reconcile(host.pk, simulated_host)
    launch(make_order())


def test_jobs_go_on_as_soon_as_their_silent_host_answers(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    job = delete(instance, "user:tester", "tester")
    assert job is not None

    def silent(name: str) -> None:
        raise HostUnreachable("no answer")

    runner.run(job.pk, lambda _uri: Faulty(simulated_host, silent))  # type: ignore[arg-type,return-value]
    job.refresh_from_db()
    assert job.not_before is not None
    went_on: list[int] = []

    reconcile(host.pk, Faulty(simulated_host, silent), went_on.extend)
    assert went_on == []
    reconcile(host.pk, simulated_host, went_on.extend)

    assert went_on == [job.pk]
    reconcile(host.pk, simulated_host, went_on.extend)
    assert went_on == [job.pk]
    runner.run(job.pk, lambda _uri: simulated_host)  # type: ignore[arg-type,return-value]
    job.refresh_from_db()
    assert job.state == "succeeded"


def test_look_that_is_overtaken_by_a_later_one_changes_nothing(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    devices = list(simulated_host.devices)
    simulated_host.take_out("0000:21:00")

    def overtake(name: str) -> None:
        if name == "cpu_seconds":
            reconcile(host.pk, later)

    def overtake_and_fail(name: str) -> None:
        overtake(name)
        if name == "cpu_seconds":
            raise HostUnreachable("no answer in time")

    later = SimulatedHypervisor(simulated_host.capabilities(), tuple(devices))
    found = reconcile(host.pk, Faulty(simulated_host, overtake))
    also_found = reconcile(host.pk, Faulty(simulated_host, overtake_and_fail))

    assert (found, also_found) == ([], [])
    assert Host.objects.get().connection == "ok"
    assert host.cards.get(slot_path="0000:21:00").condition == "ready"


def test_memory_that_went_to_hugepages_stops_sale(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    whole = simulated_host._capabilities
    none = "<pages unit='KiB' size='2048'>0<"
    assert none in whole
    simulated_host._capabilities = whole.replace(none, none.replace("0<", "600<"), 1)

    (found,) = reconcile(host.pk, simulated_host)

    assert (found.kind, found.subject) == ("host_changed", "node 0")
    assert "MiB of memory beside reserved hugepages" in found.detail
    with pytest.raises(NoCapacity):
        launch(make_order())
    simulated_host._capabilities = whole
    assert reconcile(host.pk, simulated_host) == []


def test_poller_that_sees_nothing_at_all_writes_no_claim(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    """Observation never writes allocation (cloudstack #11574)."""
    launched(simulated_host)
    claims = [list(m.objects.values()) for m in (CardClaim, NodeClaim)]
    simulated_host.devices = []
    simulated_host.documents.clear()
    simulated_host.states.clear()

    found = reconcile(host.pk, simulated_host)

    assert [list(m.objects.values()) for m in (CardClaim, NodeClaim)] == claims
    assert kinds(found) == ["card_vanished"] * 4 + ["domain_missing"]
    assert set(Card.objects.values_list("condition", flat=True)) == {"missing"}
    assert CardClaim.objects.filter(released_at=None).count() == 1


def test_card_that_vanished_is_missing_and_checked_when_it_returns(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    devices = list(simulated_host.devices)
    simulated_host.take_out("0000:21:00")

    assert kinds(reconcile(host.pk, simulated_host)) == ["card_vanished"]
    card = host.cards.get(slot_path="0000:21:00")
    assert card.condition == "missing"

    simulated_host.devices = devices
    assert reconcile(host.pk, simulated_host) == []
    card.refresh_from_db()
    assert card.condition == "unverified"
    check_all(host, simulated_host)
    card.refresh_from_db()
    assert card.condition == "ready"


def test_quarantined_card_comes_back_quarantined(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    from inventory.card_actions import quarantine

    card = host.cards.get(slot_path="0000:21:00")
    quarantine(card.pk, Actor("user:ann", "smells"))
    devices = list(simulated_host.devices)
    simulated_host.take_out("0000:21:00")
    reconcile(host.pk, simulated_host)
    simulated_host.devices = devices

    reconcile(host.pk, simulated_host)

    card.refresh_from_db()
    assert card.condition == "quarantined"


def test_used_card_that_vanished_keeps_its_claim_and_returns_dirty(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    card = Card.objects.get(claims__consumer=instance.uuid)
    devices = list(simulated_host.devices)
    simulated_host.take_out(card.slot_path)

    reconcile(host.pk, simulated_host)

    card.refresh_from_db()
    assert card.condition == "missing"
    assert card.claims.get().released_at is None
    simulated_host.devices = devices
    reconcile(host.pk, simulated_host)
    card.refresh_from_db()
    assert (card.condition, card.claims.get().released_at) == ("dirty", None)


def test_new_card_is_unverified_until_checked(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    devices = list(simulated_host.devices)
    simulated_host.take_out("0000:61:00")
    (gone,) = [d for d in devices if d not in simulated_host.devices][:1]
    simulated_host.devices = [
        *devices,
        gone.replace("<bus>97</bus>", "<bus>99</bus>")
        .replace("number='", "number='9")
        .replace('number="', 'number="9'),
    ]

    assert kinds(reconcile(host.pk, simulated_host)) == ["card_new"]
    assert host.cards.get(slot_path="0000:63:00").condition == "unverified"
    check_all(host, simulated_host)
    assert reconcile(host.pk, simulated_host) == []
    assert host.cards.filter(condition="ready").count() == 5


def _stranger(host: SimulatedHypervisor, _: Instance) -> None:
    stranger = str(uuid.uuid4())
    host.define_domain(stranger_on("0000:61:00.0", stranger))
    host.start_domain(stranger)


def _destroy(host: SimulatedHypervisor, instance: Instance) -> None:
    host.destroy_domain(str(instance.uuid))


def _undefine(host: SimulatedHypervisor, instance: Instance) -> None:
    host.undefine_domain(str(instance.uuid))


def _edit(old: str, new: str) -> Callable[[SimulatedHypervisor, Instance], None]:
    def edit(host: SimulatedHypervisor, instance: Instance) -> None:
        document = host.documents[str(instance.uuid)]
        assert old in document
        host.documents[str(instance.uuid)] = document.replace(old, new)

    return edit


def _crash(host: SimulatedHypervisor, instance: Instance) -> None:
    host.states[str(instance.uuid)] = DomainState.CRASHED


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (_stranger, ["stray_domain", "unclaimed_hostdev"]),
        (_destroy, ["domain_off"]),
        (_crash, ["domain_off"]),
        (_undefine, ["domain_missing"]),
        (_edit('bus="0x21"', 'bus="0x61"'), ["hostdev_missing", "unclaimed_hostdev"]),
        (_edit('vcpupin vcpu="0" cpuset="0"', 'vcpupin vcpu="0" cpuset="1"'),
         ["cpus_differ"]),
        (_edit('<memory unit="MiB">256', '<memory unit="MiB">512'),
         ["memory_differs"]),
    ],
)  # fmt: skip
def test_difference_is_told_and_nothing_is_taken_from_the_guest(
    host: Host,
    simulated_host: SimulatedHypervisor,
    break_it: Callable[[SimulatedHypervisor, Instance], None],
    expected: list[str],
) -> None:
    instance = launched(simulated_host)
    break_it(simulated_host, instance)
    states = dict(simulated_host.states)

    found = reconcile(host.pk, simulated_host)
    again = reconcile(host.pk, simulated_host)

    assert kinds(found) == expected
    assert [row.pk for row in again] == [row.pk for row in found]
    assert all(row.last_seen_at > row.first_seen_at for row in again)
    assert simulated_host.states == states
    assert CardClaim.objects.filter(consumer=instance.uuid, released_at=None).exists()


def test_card_with_a_stranger_is_scrubbed_before_it_is_sold_again(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    _stranger(simulated_host, None)  # type: ignore[arg-type]
    reconcile(host.pk, simulated_host)
    card = host.cards.get(slot_path="0000:61:00")
    assert card.condition == "unverified"
    assert card_work.plan(host.pk) == []

    with pytest.raises(NoCapacity):
        launch(make_order(plan=make_plan(cards=4).slug))

    (stranger,) = simulated_host.states
    simulated_host.undefine_domain(stranger)
    assert reconcile(host.pk, simulated_host) == []
    check_all(host, simulated_host)

    assert simulated_host.residue[card.slot_path] == 0
    assert [c.kind for c in card.checks.all()[:2]] == ["test", "sanitise"]
    launch(make_order(plan=make_plan(cards=4).slug))


def test_boot_has_every_free_card_checked_before_it_is_sold(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    simulated_host.boot_anew()

    found = reconcile(host.pk, simulated_host)

    assert kinds(found) == ["boot_changed"]
    conditions = dict(Card.objects.values_list("slot_path", "condition"))
    used = Card.objects.get(claims__consumer=instance.uuid).slot_path
    assert conditions.pop(used) == "ready"
    assert set(conditions.values()) == {"unverified"}
    check_all(host, simulated_host)
    assert reconcile(host.pk, simulated_host) == []


def test_claim_that_no_job_uses_expires_once_its_domain_is_denied(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launch(make_order())
    job = Job.objects.get(instance=instance)
    Job.objects.filter(pk=job.pk).update(state="failed", finished_at=timezone.now())
    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))

    assert kinds(reconcile(host.pk, simulated_host)) == ["claim_unused"]
    assert CardClaim.objects.filter(released_at=None).count() == 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "UNUSED_CLAIM_S", 0)
        assert reconcile(host.pk, simulated_host) == []
    assert CardClaim.objects.filter(released_at=None).count() == 0
    assert Card.objects.filter(condition=CardCondition.DIRTY).count() == 1
    instance.refresh_from_db()
    assert instance.phase == "failed"


def test_another_host_at_the_address_changes_no_card(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    Host.objects.filter(pk=host.pk).update(host_uuid=uuid.uuid4())
    before = list(Card.objects.order_by("pk").values())

    found = reconcile(host.pk, simulated_host)

    assert kinds(found) == ["host_replaced"]
    assert list(Card.objects.order_by("pk").values()) == before
    assert Host.objects.get().connection == "unknown"


def test_each_due_host_is_taken_once_and_silent_ones_ever_less_often(
    host: Host, settings: object
) -> None:
    settings.RECONCILE_CYCLE_S = 30  # type: ignore[attr-defined]
    Host.objects.update(reconcile_due_at=timezone.now() - timedelta(seconds=1))

    assert take_due_hosts() == [host.pk]
    assert take_due_hosts() == []

    Host.objects.update(
        reconcile_due_at=timezone.now() - timedelta(seconds=1), failed_looks=9
    )
    take_due_hosts()
    wait = Host.objects.get().reconcile_due_at - timezone.now()
    assert timedelta(seconds=200) < wait <= timedelta(seconds=240)


def test_news_make_a_host_due_unless_a_job_makes_them(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    news = {host.pk: {str(instance.uuid)}}
    job = Job.objects.filter(instance=instance)
    later = timezone.now() + timedelta(hours=1)
    Host.objects.update(reconcile_due_at=later)

    job.update(state="running", finished_at=None)
    make_due(news)
    assert take_due_hosts() == []
    # A guest that dies as soon as it was launched is news, one just deleted is none.
    job.update(state="succeeded", finished_at=timezone.now(), kind="delete")
    make_due(news)
    assert take_due_hosts() == []
    job.update(kind="launch")
    make_due(news)

    assert take_due_hosts() == [host.pk]


@pytest.mark.parametrize("subject", ["", "pci_0000_21_00_0"])
def test_news_of_no_domain_make_a_host_due(host: Host, subject: str) -> None:
    queue(JobKind.TEST, "user:tester", 60, card=host.cards.get(slot_path="0000:21:00"))
    checked = maintenance_uuid(host.cards.get(slot_path="0000:21:00").pk)
    Host.objects.update(reconcile_due_at=timezone.now() + timedelta(hours=1))

    make_due({host.pk: {checked}})
    assert take_due_hosts() == []
    make_due({host.pk: {checked, subject}})

    assert take_due_hosts() == [host.pk]


def test_command_fails_while_hosts_differ_or_are_unknown(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="is no enrolled host"):
        call_command("reconcile", "nosuch")
    with pytest.raises(CommandError, match="1 of 1 hosts"):
        call_command("reconcile")
    assert "gpu1: does not answer" in capsys.readouterr().out


def test_look_that_began_in_maintenance_does_not_make_the_host_sell(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    """Cards may have been put in or taken out since."""
    actor = Actor("user:ann", "new fans")
    instance = launched(simulated_host)
    claims = list(CardClaim.objects.values())
    set_policy(host.pk, HostPolicy.MAINTENANCE, actor)
    reconcile(host.pk, simulated_host)
    assert Host.objects.get().connection == "ok"

    def back_in_service(method: str) -> None:
        if method == "pci_devices":
            set_policy(host.pk, HostPolicy.IN_SERVICE, actor)

    reconcile(host.pk, Faulty(simulated_host, back_in_service))

    assert Host.objects.get().connection == "unknown"
    with pytest.raises(NoCapacity):
        launch(make_order(instance.account))
    reconcile(host.pk, simulated_host)
    assert Host.objects.get().connection == "ok"
    assert list(CardClaim.objects.values()) == claims
    launch(make_order(instance.account))


def test_cards_are_compared_and_checked_after_maintenance(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    actor = Actor("user:ann", "a card is swapped")
    set_policy(host.pk, HostPolicy.MAINTENANCE, actor)
    simulated_host.boot_anew()
    simulated_host.take_out("0000:21:00")
    reconcile(host.pk, simulated_host)
    assert card_work.plan(host.pk) == []

    set_policy(host.pk, HostPolicy.IN_SERVICE, actor)
    reconcile(host.pk, simulated_host)

    conditions = list(Card.objects.order_by("slot_path").values_list("condition"))
    assert conditions == [("missing",), *[("unverified",)] * 3]
    with pytest.raises(NoCapacity):
        launch(make_order())
    check_all(host, simulated_host)
    launch(make_order())


def test_retired_host_is_asked_nothing(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    set_policy(host.pk, HostPolicy.RETIRED, Actor("user:ann", "sold"))
    events = CardEvent.objects.count()
    simulated_host.devices = []

    assert reconcile(host.pk, simulated_host) == []

    assert CardEvent.objects.count() == events
    order = EnrolmentOrder(
        host.libvirt_uri, "us-east", "gpu1", reserved_cores=0, reserved_memory_mib=256
    )
    simulated_host.devices = list(recorded_devices("pci-2x2-rtx6000.xml"))
    with pytest.raises(EnrolmentRefused, match="retired for good"):
        enrol(order, "user:tester", simulated_host)


def test_enrolling_a_known_host_again_does_not_say_that_it_was_compared(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    Host.objects.update(connection="unknown")
    order = EnrolmentOrder(
        host.libvirt_uri, "us-east", "gpu1", reserved_cores=0, reserved_memory_mib=256
    )

    assert not enrol(order, "user:tester", simulated_host).is_new

    assert Host.objects.get().connection == "unknown"
    assert take_due_hosts() == [host.pk]


def test_hold_is_no_claim_without_an_instance(
    host: Host, simulated_host: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends by its own time, however old; only an ended one would be an unused claim."""
    reservation = make_reservation()
    monkeypatch.setattr(module, "UNUSED_CLAIM_S", -1)

    assert reconcile(host.pk, simulated_host) == []

    assert CardClaim.objects.get(released_at=None).consumer == reservation.uuid
    assert NodeClaim.objects.get(released_at=None).consumer == reservation.uuid
