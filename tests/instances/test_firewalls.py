"""Firewalls on hosts: each change reaches the filter of each guest, whatever fails or dies."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from instances import filter_work
from instances.actions import firewalls
from instances.actions.delete import delete
from instances.actions.power import reboot, shut_down
from instances.choices import Desired, FirewallStatus, JobKind
from instances.exceptions import InvalidRequest, Vanished
from instances.jobs import runner
from instances.models import Event, Firewall, FirewallDevice, Image, Instance, Job
from instances.network_filter import filter_name
from instances.status import status_of
from instances.tasks import look_after_fleet
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.port import DomainState
from inventory.models import Host
from tests.builders import make_account
from tests.instances.test_disk_steps import image, ordered
from tests.instances.test_jobs import WorkerKilled, expire_lease, failing, run, run_all
from tests.instances.test_power import made
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["image"]

pytestmark = pytest.mark.django_db
OPEN: dict[str, Any] = {
    "inbound": [],
    "inbound_policy": "ACCEPT",
    "outbound": [],
    "outbound_policy": "ACCEPT",
}


@pytest.fixture(autouse=True)
def no_grace(settings: Settings) -> None:
    settings.SHUTDOWN_GRACE_S = 0


@pytest.fixture
def host() -> SimulatedHypervisor:
    return SimulatedHypervisor()


@pytest.fixture
def guest(image: Image, host: SimulatedHypervisor) -> Instance:
    return made(image, host)


def caller(instance: Instance) -> firewalls.Caller:
    return firewalls.Caller(instance.account, "tester")


def port(number: int) -> dict[str, Any]:
    rule = {
        "protocol": "TCP",
        "ports": str(number),
        "addresses": {"ipv4": ["0.0.0.0/0"]},
        "action": "ACCEPT",
    }
    return {**OPEN, "inbound": [rule], "inbound_policy": "DROP"}


def put_on(instance: Instance, rules: dict[str, Any]) -> Firewall:
    return firewalls.create(caller(instance), "web", rules, instance_ids=[instance.pk])


def document(host: SimulatedHypervisor, instance: Instance) -> str:
    return host.filters[filter_name(str(instance.uuid))]


def lets_in(host: SimulatedHypervisor, instance: Instance, number: int) -> bool:
    return f'dstportstart="{number}"' in document(host, instance)


def has_rules(host: SimulatedHypervisor, instance: Instance) -> bool:
    return "<rule" in document(host, instance)


def applying() -> Job:
    return Job.objects.filter(kind=JobKind.APPLY_FILTER).latest("pk")


def versions(instance: Instance) -> tuple[int, int]:
    instance.refresh_from_db()
    return instance.filter_wanted, instance.filter_applied


def test_guest_has_a_filter_of_its_own_from_its_launch_to_its_end(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    name = filter_name(str(guest.uuid))
    assert host.filter_names() == [name]
    assert not has_rules(host, guest)
    # libvirt refuses it while a guest has it.
    with pytest.raises(HypervisorError, match="in use"):
        host.undefine_filter(name)

    run(delete(guest, "user:tester", "tester"), host)

    assert host.filter_names() == []


def test_each_change_reaches_the_running_guest(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    firewall = put_on(guest, port(22))
    run(applying(), host)
    assert lets_in(host, guest, 22)

    firewalls.update_rules(caller(guest), firewall, port(80))
    run(applying(), host)
    assert (lets_in(host, guest, 22), lets_in(host, guest, 80)) == (False, True)
    firewalls.update(caller(guest), firewall, status=FirewallStatus.DISABLED)
    run(applying(), host)
    assert not has_rules(host, guest)
    firewalls.update(caller(guest), firewall, status=FirewallStatus.ENABLED)
    run(applying(), host)
    assert lets_in(host, guest, 80)
    firewalls.detach(caller(guest), FirewallDevice.objects.get())
    run(applying(), host)
    assert not has_rules(host, guest)
    firewalls.attach(caller(guest), firewall, guest.pk)
    run(applying(), host)
    assert lets_in(host, guest, 80)
    firewalls.delete(caller(guest), firewall)
    run(applying(), host)
    assert not has_rules(host, guest)

    assert versions(guest) == (7, 7)
    assert host.states[str(guest.uuid)] == "running"
    assert status_of(guest) == "running"
    # Of what was asked for, and none of how it is done.
    told = Event.objects.exclude(action__startswith="linode").order_by("pk")
    assert list(told.values_list("action", flat=True)) == [
        *("firewall_create", "firewall_rules_update", "firewall_disable"),
        *("firewall_enable", "firewall_device_remove", "firewall_device_add"),
        "firewall_delete",
    ]


def test_what_changes_nothing_is_no_change(guest: Instance) -> None:
    firewall = put_on(guest, port(22))
    jobs = Job.objects.count()

    firewalls.update_rules(caller(guest), firewall, port(22))
    firewalls.update(caller(guest), firewall, status=FirewallStatus.ENABLED)

    assert Job.objects.count() == jobs
    assert versions(guest) == (1, 0)


def test_launch_begins_with_the_firewall(
    image: Image, host: SimulatedHypervisor
) -> None:
    account = make_account()
    firewall = Firewall.objects.create(account=account, label="web", rules=port(22))
    instance, job = ordered(image, account=account, firewall=firewall.pk)

    run(job, host)

    assert lets_in(host, instance, 22)
    assert versions(instance) == (0, 0)
    assert not Job.objects.filter(kind=JobKind.APPLY_FILTER).exists()


def test_change_during_a_launch_is_applied_after_it(
    image: Image, host: SimulatedHypervisor
) -> None:
    account = make_account()
    firewall = Firewall.objects.create(account=account, label="web", rules=port(22))
    instance, job = ordered(image, account=account, firewall=firewall.pk)

    def change(method: str) -> None:
        if method == "start_domain":
            firewalls.update_rules(caller(instance), firewall, port(80))

    run(job, Faulty(host, change))
    assert lets_in(host, instance, 22)
    assert versions(instance) == (1, 0)

    run_all(filter_work.begin_due(), host)

    assert lets_in(host, instance, 80)
    assert versions(instance) == (1, 1)
    assert filter_work.begin_due() == []


def test_busy_instance_does_not_refuse_a_change_and_a_change_makes_none_busy(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    shutting = shut_down(guest, "user:tester", "tester")
    assert shutting is not None
    firewall = put_on(guest, port(22))
    assert not Job.objects.filter(kind=JobKind.APPLY_FILTER).exists()
    run(shutting, host)

    assert look_and_run(host) == 1
    assert lets_in(host, guest, 22)
    firewalls.update_rules(caller(guest), firewall, port(80))
    booting = reboot(guest, "user:tester", "tester")
    # It waits for what was begun before, and is next.
    assert run(booting, host) == []
    run_all([applying().pk], host)

    booting.refresh_from_db()
    assert booting.state == "succeeded"
    assert status_of(Instance.objects.get()) == "running"
    assert versions(guest) == (2, 2)


def look_and_run(host: SimulatedHypervisor) -> int:
    """Do what the watch and its workers do about firewalls; return how many jobs."""
    look_after_fleet()
    jobs = Job.objects.filter(kind=JobKind.APPLY_FILTER, state="queued")
    pks = list(jobs.values_list("pk", flat=True))
    run_all(pks, host)
    return len(pks)


def test_boot_brings_the_change_that_no_job_has_brought_yet(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    shutting = shut_down(guest, "user:tester", "tester")
    assert shutting is not None
    put_on(guest, port(22))
    booting = None
    run(shutting, host)
    booting = reboot(guest, "user:tester", "tester")

    run(booting, host)

    assert lets_in(host, guest, 22)
    assert versions(guest) == (1, 1)
    assert filter_work.begin_due() == []


@pytest.mark.parametrize("method", ["define_filter", "domain_xml", "domain_state"])
@pytest.mark.parametrize(
    "error", [HostUnreachable("gone", 38), HypervisorError("refused", 1)]
)
def test_failure_only_delays_and_tells_no_customer(
    guest: Instance,
    host: SimulatedHypervisor,
    method: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "PATIENCE_S", ())
    put_on(guest, port(22))

    run(applying(), Faulty(host, failing(method, error)))

    job = applying()
    assert job.state == "failed"
    assert versions(guest) == (1, 0)
    assert status_of(guest) == "running"
    assert filter_work.begin_due() == [], "not at once"
    _later(job)
    if isinstance(error, HostUnreachable):
        assert filter_work.begin_due() == [], "not while its host is silent"
        Host.objects.update(connection="ok")
    run_all(filter_work.begin_due(), host)
    assert lets_in(host, guest, 22)
    assert versions(guest) == (1, 1)
    assert not Event.objects.filter(status="failed").exists()


def _later(job: Job) -> None:
    """Have the job have ended so long ago that it is begun anew, but in the last hour."""
    job.refresh_from_db()
    assert job.finished_at is not None
    longest = filter_work._LONGEST_PAUSE_S + 1
    Job.objects.filter(pk=job.pk).update(
        finished_at=job.finished_at - filter_work.timedelta(seconds=longest)
    )


def test_pause_grows_with_failures(guest: Instance, host: SimulatedHypervisor) -> None:
    put_on(guest, port(22))
    refusing = Faulty(host, failing("define_filter", HypervisorError("refused", 1)))
    run(applying(), refusing)
    failed = Job.objects.filter(kind=JobKind.APPLY_FILTER, state="failed")
    for pause_s in (10, 60, 300, 900, 900):
        last = applying()
        last.refresh_from_db()
        assert last.finished_at is not None
        for seconds, is_due in ((pause_s - 5, False), (pause_s + 5, True)):
            ended = last.finished_at - filter_work.timedelta(seconds=seconds)
            failed.update(finished_at=ended)
            due = filter_work.begin_due()
            assert bool(due) is is_due, pause_s
        run_all(due, refusing)


def test_worker_killed_between_the_host_and_its_note_is_followed_by_one_that_ends_it(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    put_on(guest, port(22))
    job = applying()

    class Dying(SimulatedHypervisor):
        def define_filter(self, xml: str) -> None:
            host.define_filter(xml)
            raise WorkerKilled

    dying = Dying()
    vars(dying).update(vars(host))
    with pytest.raises(WorkerKilled):
        run(job, dying)
    assert lets_in(host, guest, 22)
    assert versions(guest) == (1, 0), "done, and noted by nobody"

    expire_lease(job)
    run(job, host)

    job.refresh_from_db()
    assert job.state == "succeeded"
    assert versions(guest) == (1, 1)


def test_change_while_a_filter_is_brought_is_brought_next(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    firewall = put_on(guest, port(22))

    def change(method: str) -> None:
        if method == "define_filter" and Firewall.objects.get().version == 1:
            firewalls.update_rules(caller(guest), firewall, port(80))

    run(applying(), Faulty(host, change))

    # What was read before the change is what was noted.
    assert lets_in(host, guest, 22)
    assert versions(guest) == (2, 1)
    run_all(filter_work.begin_due(), host)
    assert lets_in(host, guest, 80)
    assert versions(guest) == (2, 2)


def test_lost_lease_notes_nothing(guest: Instance, host: SimulatedHypervisor) -> None:
    put_on(guest, port(22))
    job = applying()

    def lose(method: str) -> None:
        if method == "define_filter":
            Job.objects.filter(pk=job.pk).update(lease_token=guest.uuid)

    assert run(job, Faulty(host, lose)) == []

    assert versions(guest) == (1, 0)


def test_guest_that_runs_without_the_filter_gets_it_at_its_next_boot(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    uuid = str(guest.uuid)
    host.documents[uuid] = host.documents[uuid].replace(
        filter_name(uuid), "clean-traffic"
    )
    host.filters = {"clean-traffic": ""}
    put_on(guest, port(22))

    run(applying(), host)

    assert applying().state == "failed"
    assert "does not refer to its own network filter" in applying().internal_detail
    assert versions(guest) == (1, 0)
    run(reboot(guest, "user:tester", "tester"), host)
    assert lets_in(host, guest, 22)
    assert versions(guest) == (1, 1)


def test_guest_that_is_to_go_gets_no_filter_any_more(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    firewall = put_on(guest, port(22))
    waiting = applying()
    deleting = delete(guest, "user:tester", "tester")
    firewalls.update_rules(caller(guest), firewall, port(80))
    assert filter_work.begin_due() == []

    run(waiting, host)
    run(deleting, host)

    waiting.refresh_from_db()
    assert waiting.state == "failed"
    assert host.filter_names() == []
    assert not FirewallDevice.objects.exists()
    assert Firewall.objects.exists()
    with pytest.raises(InvalidRequest):
        firewalls.attach(caller(guest), firewall, guest.pk)


def test_only_filters_that_nobody_has_are_swept(
    guest: Instance, host: SimulatedHypervisor
) -> None:
    (mine,) = host.filter_names()
    stray, unknown = (
        filter_name(f"6f1c2a7e-000{n}-4000-8000-000000000001") for n in "12"
    )
    for name in (stray, unknown, "clean-traffic", "gpucloud-clean-traffic"):
        host.define_filter(f'<filter name="{name}"/>')
    host.states[unknown.removeprefix("gpucloud-")] = DomainState.OFF
    (machine,) = Host.objects.all()

    assert filter_work.sweep(machine.pk, host) == [stray]

    assert host.filter_names() == sorted(
        [mine, unknown, "clean-traffic", "gpucloud-clean-traffic"]
    )
    assert filter_work.sweep(machine.pk, host) == []
    silent = Faulty(host, failing("filter_names", HostUnreachable("gone", 38)))
    assert filter_work.sweep(machine.pk, silent) == []  # type: ignore[arg-type]


def test_firewall_that_is_gone_meanwhile_is_told(guest: Instance) -> None:
    firewall = put_on(guest, port(22))
    device = FirewallDevice.objects.get()
    firewalls.delete(caller(guest), firewall)
    stale = Firewall(pk=firewall.pk, account=guest.account)
    device.firewall = stale

    for call in (
        lambda: firewalls.delete(caller(guest), stale),
        lambda: firewalls.update(caller(guest), stale, label="else"),
        lambda: firewalls.update_rules(caller(guest), stale, port(80)),
        lambda: firewalls.attach(caller(guest), stale, guest.pk),
        lambda: firewalls.detach(caller(guest), device),
    ):
        with pytest.raises(Vanished):
            call()


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        (lambda i: Instance.objects.update(filter_applied=1),
         "instance_filter_applied_was_wanted"),
        (lambda i: _on("theirs", i), "firewall_device_of_one_account"),
        (lambda i: [_on("ours", i) for _ in "12"],
         "instances_firewalldevice_instance_id_key"),
        (lambda i: [Job.objects.create(
            kind=JobKind.APPLY_FILTER, instance=i, deadline_at=i.created_at)
            for _ in "12"], "job_one_unnoticed_per_instance"),
        (lambda i: _on("ours", _ended(i)), "firewall_device_lives"),
    ],
)  # fmt: skip
def test_wrong_rows_are_impossible(
    guest: Instance, change: Any, constraint: str
) -> None:
    Firewall.objects.create(account=guest.account, label="ours", rules=OPEN)
    Firewall.objects.create(account=make_account(), label="theirs", rules=OPEN)
    with pytest.raises(IntegrityError) as refused:
        _committed(change, guest)
    assert refused.value.__cause__.diag.constraint_name == constraint  # type: ignore[union-attr]


def _on(label: str, instance: Instance) -> FirewallDevice:
    firewall = Firewall.objects.get(label=label)
    return FirewallDevice.objects.create(firewall=firewall, instance=instance)


def _ended(like: Instance) -> Instance:
    return Instance.objects.create(
        account=like.account,
        plan=like.plan,
        region=like.region,
        image=like.image,
        label="gone",
        phase="deleted",
        desired=Desired.DELETED,
        created_by="user:tester",
        ended_at=like.created_at,
    )


def _committed(change: Any, guest: Instance) -> None:
    with transaction.atomic():
        change(guest)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
