"""Verbs on an instance that is there: it keeps what it holds, whatever fails or dies."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from flags import changes
from flags.changes import Why
from instances.actions.delete import delete
from instances.actions.guest_settings import GuestSettings
from instances.actions.password import MUST_BE_OFF, reset_password
from instances.actions.power import boot, reboot, shut_down
from instances.actions.rebuild import RebuildOrder, rebuild
from instances.choices import REBUILDS, RESIZES, VERBS, Desired, JobKind
from instances.domain_xml import differences
from instances.exceptions import InstanceBusy, InvalidRequest
from instances.jobs import runner
from instances.jobs.workflows import WORKFLOWS
from instances.models import Event, Image, Instance, Job, SeedSettings
from instances.selectors import spec_of
from instances.status import status_of
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.xml import parse_domain
from inventory.models import CardEvent, Host
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_disk_image,
    make_flag,
    make_image,
    make_plan,
)
from tests.instances.test_disk_steps import (
    CANNOT_BE_HAD,
    DISKS,
    HASH,
    KEY,
    image,
    killed_in,
    open_addresses,
    ordered,
    secrets_in_rows,
    seed_of,
)
from tests.instances.test_jobs import (
    expire_lease,
    failing,
    launched,
    open_claims,
    run,
    run_all,
)
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["image"]

pytestmark = pytest.mark.django_db
NEW_HASH = "$6$rounds=5000$new$9876543210"
NEW_KEY = KEY[:-3] + "AQ=="


@pytest.fixture(autouse=True)
def no_grace(settings: Settings) -> None:
    settings.SHUTDOWN_GRACE_S = 0


def rebuilt(instance: Instance, *, booted: bool = True) -> Job:
    new = GuestSettings(keys=(KEY,), password_hash=NEW_HASH, user_data=b"#new\n")
    order = RebuildOrder(instance.image.slug, new, booted)
    return rebuild(instance, order, "user:tester", "tester")


def asked(verb: Callable[..., Job | None]) -> Callable[[Instance], Job]:
    def ask(instance: Instance) -> Job:
        job = verb(instance, "user:tester", "tester")
        assert job is not None
        return job

    return ask


# How each kind of work is asked for, whether the guest runs before, and whether after.
ASK: dict[JobKind, tuple[Callable[[Instance], Job], bool, bool]] = {
    JobKind.BOOT: (asked(boot), False, True),
    JobKind.SHUTDOWN: (asked(shut_down), True, False),
    JobKind.REBOOT: (asked(reboot), True, True),
    JobKind.REBUILD: (rebuilt, True, True),
    JobKind.REBUILD_OFF: (lambda i: rebuilt(i, booted=False), True, False),
    JobKind.PASSWORD: (
        lambda i: reset_password(i, NEW_HASH, "user:tester", "tester"),
        False,
        False,
    ),
}
# A resize changes what is held: it has tests of its own.
KEEPING = [kind for kind in VERBS if kind not in RESIZES]
STEPS = [(kind, step.name) for kind in KEEPING for step in WORKFLOWS[kind]]


def made(image: Image, host: SimulatedHypervisor, *, on: bool = True) -> Instance:
    """Return an instance with two cards, a disk and an address."""
    plan = make_plan(cards=2, disk_mib=64)
    instance, job = ordered(image, plan=plan.slug)
    run(job, host)
    if not on:
        run(asked(shut_down)(instance), host)
    instance.refresh_from_db()
    return instance


def assert_keeps_all(instance: Instance, host: SimulatedHypervisor) -> None:
    """One domain as it is claimed, its disk, seed and address; no secret in a row."""
    instance.refresh_from_db()
    spec = spec_of(instance)
    assert spec is not None
    assert list(host.documents) == [str(instance.uuid)]
    assert differences(spec, parse_domain(host.documents[str(instance.uuid)])) == []
    assert (open_claims(), open_addresses()) == ((2, 1), 1)
    assert host.volume_names(DISKS) == [
        f"{instance.uuid}-seed.iso",
        f"{instance.uuid}.qcow2",
    ]
    assert SeedSettings.objects.count() == 0
    assert secrets_in_rows() == []
    assert instance.next_image is None
    assert not CardEvent.objects.filter(kind="released").exists()


def state_of(instance: Instance, host: SimulatedHypervisor) -> tuple[str, str, bool]:
    """Return the status, what is wanted, and whether the domain runs."""
    instance.refresh_from_db()
    on = host.states[str(instance.uuid)] is DomainState.RUNNING
    return status_of(instance), instance.desired, on


def events_of(job: Job) -> list[tuple[str, str, int]]:
    rows = Event.objects.filter(job=job).order_by("pk")
    return list(rows.values_list("action", "status", "percent_complete"))


OFF = ("offline", "off", False)
ON = ("running", "running", True)


def at_rest(*, on: bool) -> tuple[str, str, bool]:
    return ON if on else OFF


def test_every_verb_has_a_way_to_ask_for_it() -> None:
    assert set(ASK) == set(KEEPING)


@pytest.mark.parametrize(
    ("kind", "on_the_way", "action"),
    [
        (JobKind.BOOT, "booting", "linode_boot"),
        (JobKind.SHUTDOWN, "shutting_down", "linode_shutdown"),
        (JobKind.REBOOT, "rebooting", "linode_reboot"),
        (JobKind.REBUILD, "rebuilding", "linode_rebuild"),
        (JobKind.REBUILD_OFF, "rebuilding", "linode_rebuild"),
        (JobKind.PASSWORD, "offline", "password_reset"),
    ],
)
def test_each_verb_shows_linodes_words_and_keeps_what_is_held(
    image: Image, kind: JobKind, on_the_way: str, action: str
) -> None:
    host = SimulatedHypervisor()
    ask, before, after = ASK[kind]
    instance = made(image, host, on=before)

    job = ask(instance)

    instance.refresh_from_db()
    assert status_of(instance) == on_the_way
    assert events_of(job) == [(action, "scheduled", 0)]
    run(job, host)
    job.refresh_from_db()
    assert (job.kind, job.state) == (kind, "succeeded")
    assert state_of(instance, host) == at_rest(on=after)
    assert events_of(job) == [(action, "finished", 100)]
    assert_keeps_all(instance, host)


@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_each_step_failed_leaves_a_defined_state(
    image: Image, kind: JobKind, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    ask, before, _ = ASK[kind]
    instance = made(image, host, on=before)
    job = ask(instance)
    (broken,) = [s for s in WORKFLOWS[kind] if s.name == step]
    done = type(broken).do

    def do_and_fail(self: Any, context: Any) -> None:
        done(self, context)
        raise HypervisorError("refused by the test", 1)

    with monkeypatch.context() as patch:
        patch.setattr(type(broken), "do", do_and_fail)
        assert run(job, host) == []

    job.refresh_from_db()
    assert job.state == "failed"
    assert job.public_message.startswith("The host refused this. The Linode keeps")
    ((_, status, _),) = events_of(job)
    assert status == "failed"
    shown, desired, on = state_of(instance, host)
    assert (shown, desired) in {("running", "running"), ("offline", "off")}
    assert on == (shown == "running")
    assert (open_claims(), open_addresses()) == ((2, 1), 1)
    assert (SeedSettings.objects.count(), secrets_in_rows()) == (0, [])
    # And from there it goes on: with the disk that it has, or with a new one.
    if kind in REBUILDS and len(host.volume_names(DISKS)) < 2:
        run(rebuilt(instance), host)
    else:
        run(asked(reboot)(instance), host)
    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_worker_killed_at_each_step_is_followed_by_another(
    image: Image,
    kind: JobKind,
    step: str,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = SimulatedHypervisor()
    ask, before, after = ASK[kind]
    instance = made(image, host, on=before)
    job = ask(instance)
    (victim,) = [s for s in WORKFLOWS[kind] if s.name == step]
    killed_in(victim, moment, monkeypatch, lambda: run(job, host))

    expire_lease(job)
    run(job, host)

    job.refresh_from_db()
    assert (job.state, job.attempts) == ("succeeded", 2)
    assert state_of(instance, host) == at_rest(on=after)
    assert_keeps_all(instance, host)


@pytest.mark.parametrize("kind", KEEPING)
def test_killed_between_any_two_calls_to_the_host_it_ends_as_if_not(
    image: Image, kind: JobKind
) -> None:
    """The worker dies at the first call, the next one at the second, and so on."""
    host = SimulatedHypervisor()
    ask, before, after = ASK[kind]
    instance = made(image, host, on=before)
    job = ask(instance)
    for calls in range(1, 60):
        left = [calls]

        def die(_name: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        try:
            run(job, Faulty(host, die))
        except KeyboardInterrupt:
            expire_lease(job)
            continue
        break

    job.refresh_from_db()
    assert job.state == "succeeded"
    assert state_of(instance, host) == at_rest(on=after)
    assert_keeps_all(instance, host)


@pytest.mark.parametrize("kind", KEEPING)
def test_delete_supersedes_every_verb(image: Image, kind: JobKind) -> None:
    host = SimulatedHypervisor()
    ask, before, _ = ASK[kind]
    instance = made(image, host, on=before)
    job = ask(instance)

    deletion = delete(instance, "user:tester", "tester")

    assert run(deletion, host) == []
    following = run(job, host)
    job.refresh_from_db()
    assert (job.state, job.public_message) == ("failed", "Deleted before it was done.")
    run_all(following, host)
    instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert (host.documents, host.volume_names(DISKS)) == ({}, [])
    assert (open_claims(), open_addresses()) == ((0, 0), 0)
    assert (SeedSettings.objects.count(), secrets_in_rows()) == (0, [])


@pytest.mark.parametrize("kind", KEEPING)
def test_one_work_at_a_time(image: Image, kind: JobKind) -> None:
    host = SimulatedHypervisor()
    ask, before, _ = ASK[kind]
    instance = made(image, host, on=before)
    ask(instance)

    for other, _, _ in ASK.values():
        with pytest.raises(InstanceBusy, match=r"^Linode busy\.$"):
            other(instance)

    assert Job.objects.exclude(state="succeeded").count() == 1


@pytest.mark.parametrize("verb", [boot, shut_down, reboot])
def test_nothing_is_done_to_what_is_to_go(
    image: Image, verb: Callable[..., Job | None]
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    delete(instance, "user:tester", "tester")

    with pytest.raises(InstanceBusy):
        verb(instance, "user:tester", "tester")

    assert Job.objects.exclude(state="succeeded").count() == 1


def test_what_is_so_already_makes_no_job(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    before = Job.objects.count()
    assert boot(instance, "user:tester", "tester") is None
    assert Job.objects.count() == before
    run(asked(shut_down)(instance), host)

    assert shut_down(instance, "user:tester", "tester") is None
    assert Job.objects.count() == before + 1


def test_launch_left_off_is_made_and_boots_later(image: Image) -> None:
    host = SimulatedHypervisor()
    plan = make_plan(cards=2, disk_mib=64)
    instance, job = ordered(image, plan=plan.slug, booted=False)

    run(job, host)

    assert events_of(job) == [("linode_create", "finished", 100)]
    assert state_of(instance, host) == OFF
    assert_keeps_all(instance, host)
    run(asked(boot)(instance), host)
    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


@pytest.mark.parametrize("step", [s.name for s in WORKFLOWS[JobKind.LAUNCH_OFF]])
def test_launch_left_off_that_fails_leaves_nothing(
    image: Image, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image, booted=False)
    (broken,) = [s for s in WORKFLOWS[JobKind.LAUNCH_OFF] if s.name == step]

    def fail(self: Any, context: Any) -> None:
        raise HypervisorError("refused by the test", 1)

    monkeypatch.setattr(type(broken), "do", fail)
    run(job, host)

    instance.refresh_from_db()
    assert instance.phase == "failed"
    assert (host.documents, host.volume_names(DISKS)) == ({}, [])
    assert (open_claims(), open_addresses()) == ((0, 0), 0)


def test_guest_that_heeds_no_acpi_is_unplugged(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    host.deaf.add(str(instance.uuid))
    calls: list[str] = []

    run(asked(shut_down)(instance), Faulty(host, calls.append))

    assert calls.index("shutdown_domain") < calls.index("destroy_domain")
    assert host.states[str(instance.uuid)] is DomainState.OFF
    assert state_of(instance, host) == OFF


def test_guest_that_heeds_acpi_is_not_unplugged(
    image: Image, settings: Settings
) -> None:
    settings.SHUTDOWN_GRACE_S = 60
    host = SimulatedHypervisor()
    instance = made(image, host)
    calls: list[str] = []

    run(asked(shut_down)(instance), Faulty(host, calls.append))

    assert "destroy_domain" not in calls[: calls.index("shutdown_domain")]
    instance.refresh_from_db()
    assert instance.observed == DomainState.SHUT_DOWN


def test_guest_is_not_unplugged_before_it_was_asked(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = asked(shut_down)(instance)
    calls: list[str] = []

    def silent_once(name: str) -> None:
        calls.append(name)
        if calls == ["domain_state", "shutdown_domain"]:
            raise HostUnreachable("no answer")

    run(job, Faulty(host, silent_once))

    first, second = (i for i, name in enumerate(calls) if name == "shutdown_domain")
    assert "destroy_domain" not in calls[first:second]
    assert state_of(instance, host) == OFF


def test_shutdown_of_what_is_not_on_its_host_tells_so(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = asked(shut_down)(instance)
    host.destroy_domain(str(instance.uuid))
    host.undefine_domain(str(instance.uuid))

    run(job, host)

    instance.refresh_from_db()
    assert (instance.observed, instance.phase) == ("absent", "offline")


def test_guest_that_sleeps_has_its_disk_open(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    host.states[str(instance.uuid)] = DomainState.OTHER
    calls: list[str] = []

    run_all([rebuilt(instance).pk], Faulty(host, calls.append))

    assert calls.index("destroy_domain") < calls.index("wipe_volume")
    assert state_of(instance, host) == ON


def test_refused_wipe_leaves_the_old_disk_with_its_image(
    image: Image, tmp_path: Path
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    other = make_disk_image(tmp_path, "linode/other")
    order = RebuildOrder(other.slug, GuestSettings(keys=(KEY,)))
    job = rebuild(instance, order, "user:tester", "tester")
    refused = HypervisorError("the pool is read-only", 1)

    run(job, Faulty(host, failing("wipe_volume", refused)))

    job.refresh_from_db()
    assert job.state == "failed"
    instance.refresh_from_db()
    assert (instance.image, instance.generation) == (image, 1)
    assert len(host.volume_names(DISKS)) == 2
    run(asked(boot)(instance), host)
    assert state_of(instance, host) == ON


def test_verbs_go_on_when_the_flag_is_killed(image: Image) -> None:
    host = SimulatedHypervisor()
    account = make_account()
    flag = make_flag(accounts=(account,))
    plan = make_plan(cards=2, disk_mib=64, flag_name=GPU_FLAG)
    instance, job = ordered(image, account=account, plan=plan.slug)
    run(job, host)
    changes.kill(flag.pk, Why("user:ann", "the cards burn"))

    for kind in (JobKind.SHUTDOWN, JobKind.BOOT, JobKind.REBOOT, JobKind.REBUILD):
        run(ASK[kind][0](instance), host)

    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


def test_silent_host_is_waited_for_until_the_deadline(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = asked(reboot)(instance)
    dead = Faulty(host, failing("shutdown_domain", HostUnreachable("no answer")))
    dead_too = Faulty(host, lambda _: (_ for _ in ()).throw(HostUnreachable("none")))

    run(job, dead_too)

    job.refresh_from_db()
    assert (job.state, status_of(Instance.objects.get())) == ("running", "rebooting")
    Host.objects.update(connection="ok")
    expire_lease(job)
    Job.objects.filter(pk=job.pk).update(deadline_at=timezone.now())
    run(job, dead)
    job.refresh_from_db()
    assert (job.state, job.public_message) == (
        "failed",
        "It took too long and was given up. Please try again.",
    )
    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


@pytest.mark.parametrize(
    ("kind", "step"),
    [(JobKind.BOOT, "observe_running"), (JobKind.REBUILD, "create_disk")],
)
def test_what_is_past_its_point_of_return_goes_on_however_late_it_is(
    image: Image, kind: JobKind, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    ask, is_on, _ = ASK[kind]
    instance = made(image, host, on=is_on)
    job = ask(instance)
    (victim,) = [each for each in WORKFLOWS[kind] if each.name == step]
    killed_in(victim, "before", monkeypatch, lambda: run(job, host))
    expire_lease(job)
    Job.objects.update(deadline_at=timezone.now() - timedelta(hours=1))

    run(job, host)

    job.refresh_from_db()
    assert job.state == "succeeded"
    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


def test_deadline_grows_with_the_memory(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    small = asked(reboot)(instance)
    run(small, host)
    instance.plan.memory_mib = 512
    type(instance.plan).objects.update(memory_mib=1 << 20)

    large = asked(reboot)(instance)

    def seconds(job: Job) -> float:
        job.refresh_from_db()
        return (job.deadline_at - job.created_at).total_seconds()

    assert seconds(large) - seconds(small) == pytest.approx(1024, abs=2)


def test_rebuild_has_time_to_wipe_its_disk(image: Image) -> None:
    instance = made(image, SimulatedHypervisor())
    type(instance.plan).objects.update(disk_mib=2 << 20)

    job = rebuilt(instance)

    job.refresh_from_db()
    given = (job.deadline_at - job.created_at).total_seconds()
    needed = (2 << 20) // 50 + instance.plan.memory_mib // 1024 + 900
    assert given == pytest.approx(needed, abs=2)


def test_card_in_use_by_a_stranger_leaves_it_off_with_the_reason(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    job = asked(boot)(instance)

    run(job, Faulty(host, failing("start_domain", HypervisorError("in use", 55))))

    job.refresh_from_db()
    assert "in use" in job.internal_detail
    assert Event.objects.get(job=job).message == job.public_message
    assert state_of(instance, host) == OFF
    assert_keeps_all(instance, host)


def test_guest_that_dies_at_once_is_left_off(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    start = host.start_domain

    def start_and_die(uuid: str) -> None:
        start(uuid)
        host.states[uuid] = DomainState.CRASHED

    host.start_domain = start_and_die  # type: ignore[method-assign]
    job = asked(boot)(instance)
    run(job, host)

    job.refresh_from_db()
    assert job.public_message == "The machine stopped right after its start."
    assert state_of(instance, host) == OFF


def test_reboot_takes_the_domain_from_the_claims(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    uuid = str(instance.uuid)
    host.documents[uuid] = host.documents[uuid].replace('bus="0x21"', 'bus="0x61"')

    run(asked(reboot)(instance), host)

    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


def test_missing_disk_is_told_and_a_rebuild_heals_it(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    host.delete_volume(DISKS, f"{instance.uuid}.qcow2")
    job = asked(boot)(instance)
    run(job, host)
    job.refresh_from_db()
    assert job.public_message == "The disk of this Linode is missing. Rebuild it."

    run(rebuilt(instance), host)

    assert state_of(instance, host) == ON
    assert_keeps_all(instance, host)


def test_rebuild_makes_a_new_disk_seed_and_identity(
    image: Image, tmp_path: Path
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    other = make_disk_image(tmp_path, "linode/other")
    calls: list[str] = []
    order = RebuildOrder(other.slug, GuestSettings(keys=(KEY,), user_data=b"#new\n"))

    job = rebuild(instance, order, "user:tester", "tester")
    instance.refresh_from_db()
    assert (instance.image, instance.next_image) == (image, other)
    run(job, Faulty(host, calls.append))

    instance.refresh_from_db()
    assert (instance.image, instance.next_image, instance.generation) == (
        other,
        None,
        2,
    )
    assert instance.has_user_data is True
    files = seed_of(host, instance)
    assert f"instance-id: {instance.uuid}-2".encode() in files["meta-data"]
    assert files["user-data"] == b"#new\n"
    assert HASH.encode() not in files["vendor-data"]
    assert calls.index("destroy_domain") < calls.index("wipe_volume")
    assert "create_volume" in calls[calls.index("wipe_volume") :]


def test_rebuild_whose_image_cannot_be_had_leaves_the_guest_running(
    image: Image, tmp_path: Path
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    other = make_disk_image(tmp_path, "linode/other")
    (tmp_path / "disk.raw").write_bytes(b"\0" * (2 << 20))
    calls: list[str] = []
    order = RebuildOrder(other.slug, GuestSettings(keys=(KEY,)))
    job = rebuild(instance, order, "user:tester", "tester")

    run(job, Faulty(host, calls.append))

    job.refresh_from_db()
    assert job.state == "failed"
    assert job.public_message == CANNOT_BE_HAD
    assert "has the SHA-256 digest" in job.internal_detail
    assert "destroy_domain" not in calls
    assert state_of(instance, host) == ON
    assert (instance.image, instance.generation) == (image, 1)
    assert_keeps_all(instance, host)


def test_rebuild_is_refused_before_anything_changes(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    big = Image.objects.get(pk=image.pk)
    big.pk, big.slug, big.label, big.size_mib = None, "linode/big", "Big", 9999
    big.save()
    probe = make_image()
    before = Job.objects.count()

    for slug, reason in (
        ("", "You must specify an image"),
        ("linode/none", "image is not valid"),
        ("linode/big", "Big needs 9999 MB of disk"),
        (probe.slug, "cannot be rebuilt from gpucloud/probe"),
    ):
        with pytest.raises(InvalidRequest, match=reason):
            rebuild(instance, RebuildOrder(slug), "user:tester", "tester")

    assert Job.objects.count() == before
    assert state_of(instance, host) == ON


def test_password_reset_keeps_keys_user_data_and_identity(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    old = seed_of(host, instance)
    job = reset_password(instance, NEW_HASH, "user:tester", "tester")

    run(job, host)

    new = seed_of(host, instance)
    for name in ("meta-data", "user-data", "network-config"):
        assert new[name] == old[name]
    assert new["vendor-data"].startswith(b"#cloud-config-archive\n")
    assert NEW_HASH.encode() in new["vendor-data"]
    assert HASH.encode() not in new["vendor-data"]
    assert f"cloud-init-per once gpucloud-{job.pk} ".encode() in new["vendor-data"]
    assert secrets_in_rows() == []


def test_password_is_reset_only_while_off(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)

    with pytest.raises(InvalidRequest, match=MUST_BE_OFF):
        reset_password(instance, NEW_HASH, "user:tester", "tester")

    assert SeedSettings.objects.count() == 0


def test_guest_that_runs_though_it_should_be_off_keeps_its_seed(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    job = reset_password(instance, NEW_HASH, "user:tester", "tester")
    host.start_domain(str(instance.uuid))
    before = dict(host.volumes)

    run(job, host)

    job.refresh_from_db()
    assert job.public_message.startswith("The Linode must be powered off")
    assert host.volumes == before


def test_image_without_accounts_has_no_password(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    run(job, host)
    run(asked(shut_down)(instance), host)

    with pytest.raises(InvalidRequest, match="has no password"):
        reset_password(instance, NEW_HASH, "user:tester", "tester")


def test_guest_without_a_disk_of_its_own_goes_through_its_life() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(2)
    run(job, host)

    def anew(instance: Instance) -> Job:
        order = RebuildOrder(instance.image.slug)
        return rebuild(instance, order, "user:tester", "tester")

    for ask in (asked(shut_down), asked(boot), asked(reboot), anew):
        job = ask(instance)
        run(job, host)
        job.refresh_from_db()
        assert job.state == "succeeded"

    assert state_of(instance, host) == ON
    assert open_claims() == (2, 1)
    run(delete(instance, "user:tester", "tester"), host)
    assert open_claims() == (0, 0)


def test_only_one_open_job_fits_in_the_table(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    asked(reboot)(instance)

    with pytest.raises(Exception, match="job_one_open_per_instance"):
        runner.create(JobKind.BOOT, instance, "user:x", "x", deadline_s=1)


def test_desired_has_three_words() -> None:
    assert set(Desired.values) == {"running", "off", "deleted"}
