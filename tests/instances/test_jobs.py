"""Jobs on a simulated host: every step failed, killed, repeated; the world stays right."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from flags.models import Flag
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.choices import JobKind
from instances.jobs import leases, runner
from instances.jobs.workflows import WORKFLOWS
from instances.models import Event, Instance, Job, JobStep
from inventory.choices import HostConnection
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.port import DomainState
from inventory.models import Card, CardClaim, CardEvent, Host, NodeClaim
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_host,
    make_order,
    make_plan,
)
from tests.simulated import Faulty, SimulatedHypervisor, stranger_on

pytestmark = pytest.mark.django_db
LAUNCH_STEPS = [step.name for step in WORKFLOWS[JobKind.LAUNCH]]


class WorkerKilled(BaseException):
    """Stands for SIGKILL: no handler of ours runs after it."""


def run(job: Job, host: object) -> list[int]:
    return runner.run(job.pk, lambda _uri: host)  # type: ignore[arg-type,return-value]


def run_all(job_ids: list[int], host: object) -> None:
    """Run jobs and what they bring with them, as workers would."""
    while job_ids:
        job_ids = [
            following
            for job_id in job_ids
            for following in run(Job.objects.get(pk=job_id), host)
        ]


def launched(cards: int = 1, **fields: object) -> tuple[Instance, Job]:
    make_host()
    instance = launch(make_order(plan=make_plan(cards=cards, **fields).slug))  # type: ignore[arg-type]
    return instance, Job.objects.get(instance=instance)


def expire_lease(job: Job) -> None:
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk, lease_expires_at__isnull=False).update(
        lease_expires_at=past
    )
    Job.objects.filter(pk=job.pk, not_before__isnull=False).update(not_before=past)


def open_claims() -> tuple[int, int]:
    return (
        CardClaim.objects.filter(released_at=None).count(),
        NodeClaim.objects.filter(released_at=None).count(),
    )


def failing(
    method: str, error: BaseException, times: int = 10**6
) -> Callable[[str], None]:
    left = [times]

    def before(name: str) -> None:
        if name == method and left[0] > 0:
            left[0] -= 1
            raise error

    return before


@pytest.mark.parametrize("cards", [1, 2, 3, 4])
def test_launch_ends_running_with_what_was_claimed(cards: int) -> None:
    host = SimulatedHypervisor()
    instance, job = launched(cards)

    run(job, host)

    instance.refresh_from_db()
    job.refresh_from_db()
    assert (instance.phase, instance.observed, job.state) == (
        "running",
        "running",
        "succeeded",
    )
    assert host.states == {str(instance.uuid): "running"}
    assert open_claims() == (cards, 1 if cards < 3 else 2)
    assert list(Event.objects.order_by("pk").values_list("action", "status")) == [
        ("linode_create", "finished"),
        ("linode_boot", "finished"),
    ]


def test_delete_leaves_nothing_on_the_host_and_releases() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(2)
    run(job, host)

    run(delete(instance, "user:tester", "tester"), host)

    instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert instance.ended_at is not None
    assert host.states == {}
    assert [key for key in host.volumes if key[1]] == []
    assert open_claims() == (0, 0)
    assert Event.objects.get(action="linode_delete").status == "finished"


def test_released_card_is_dirty_and_not_sold_again() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(1)
    run(job, host)

    cleaning = run(delete(instance, "user:tester", "tester"), host)

    assert Card.objects.filter(condition="dirty").count() == 1
    (work,) = Job.objects.filter(pk__in=cleaning)
    assert (work.kind, work.card) == ("sanitise", Card.objects.get(condition="dirty"))
    assert Host.objects.get().free_shape == "rtx6000=1 c2x1 m1152|rtx6000=2 c2x1 m1152"


def _cards_and_key() -> tuple[list[dict[str, object]], str]:
    cards = list(Card.objects.order_by("pk").values("pk", "condition"))
    return cards, Host.objects.get().free_shape


@pytest.mark.parametrize("step", LAUNCH_STEPS)
def test_each_step_failed_leaves_the_world_as_before(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    make_host()
    before = _cards_and_key()
    instance = launch(make_order(plan=make_plan(cards=2).slug))
    job = Job.objects.get()
    (broken,) = [s for s in WORKFLOWS[JobKind.LAUNCH] if s.name == step]

    def fail(_context: object) -> None:
        raise HypervisorError("refused by the test", 1)

    # The step does its work and fails then: the most that can be left behind.
    done = type(broken).do

    def do_and_fail(self: object, context: object) -> None:
        done(self, context)
        fail(context)

    monkeypatch.setattr(type(broken), "do", do_and_fail)

    cleaning = run(job, host)

    assert Card.objects.filter(condition="dirty").count() == 2
    run_all(cleaning, host)
    job.refresh_from_db()
    instance.refresh_from_db()
    assert (job.state, instance.phase) == ("failed", "failed")
    assert job.public_message.startswith("The host refused this machine.")
    assert "refused by the test" in job.internal_detail
    assert host.states == {}
    assert host.documents == {}
    assert open_claims() == (0, 0)
    assert before == _cards_and_key()
    states = [s.state for s in job.steps.all()]
    reached = LAUNCH_STEPS.index(step) + 1
    assert states == ["undone"] * reached + ["pending"] * (len(LAUNCH_STEPS) - reached)
    event = Event.objects.latest("pk")
    assert (event.status, event.message) == ("failed", job.public_message)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", LAUNCH_STEPS)
def test_worker_killed_at_each_step_is_followed_by_another(
    step: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance, job = launched(2)
    (victim,) = [s for s in WORKFLOWS[JobKind.LAUNCH] if s.name == step]
    done = type(victim).do

    def do_and_die(self: object, context: object) -> None:
        if moment == "after":
            done(self, context)
        raise WorkerKilled

    with monkeypatch.context() as patch:
        patch.setattr(type(victim), "do", do_and_die)
        with pytest.raises(WorkerKilled):
            run(job, host)

    assert run(job, host) == []
    job.refresh_from_db()
    assert job.state == "running"
    expire_lease(job)
    assert leases.due_jobs() == []  # fresh: its own delivery may still be under way
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert leases.due_jobs() == [job.pk]
    run(job, host)

    instance.refresh_from_db()
    job.refresh_from_db()
    assert (instance.phase, job.state, job.attempts) == ("running", "succeeded", 2)
    assert host.states == {str(instance.uuid): "running"}
    assert open_claims() == (2, 1)


@pytest.mark.parametrize("step", [s.name for s in WORKFLOWS[JobKind.DELETE]])
def test_worker_killed_in_a_delete_is_followed_by_another(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance, job = launched(2)
    run(job, host)
    deletion = delete(instance, "user:tester", "tester")
    (victim,) = [s for s in WORKFLOWS[JobKind.DELETE] if s.name == step]
    done = type(victim).do

    def do_and_die(self: object, context: object) -> None:
        done(self, context)
        raise WorkerKilled

    with monkeypatch.context() as patch:
        patch.setattr(type(victim), "do", do_and_die)
        with pytest.raises(WorkerKilled):
            run(deletion, host)
    expire_lease(deletion)
    run(deletion, host)

    instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert host.states == {}
    assert open_claims() == (0, 0)
    assert CardEvent.objects.filter(kind="released").count() == 2


def test_attempts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    killer = Faulty(host, failing("start_domain", WorkerKilled()))
    for _ in range(runner.MAX_ATTEMPTS):
        with pytest.raises(WorkerKilled):
            run(job, killer)
        expire_lease(job)

    run(job, killer)

    instance.refresh_from_db()
    job.refresh_from_db()
    assert (job.state, instance.phase) == ("failed", "failed")
    assert "interrupted too often" in job.public_message
    assert host.states == {}
    assert open_claims() == (0, 0)


def test_job_of_an_older_release_gets_the_steps_of_this_one() -> None:
    host = SimulatedHypervisor()
    _, job = launched()
    job.steps.exclude(
        name__in=("hold_claims", "define_domain", "start_domain")
    ).delete()
    job.steps.filter(name="hold_claims").update(state="done")

    run_all([job.pk], host)

    job.refresh_from_db()
    assert job.state == "succeeded"
    steps = list(job.steps.order_by("position").values_list("name", "state"))
    assert steps == [(step.name, "done") for step in WORKFLOWS[JobKind.LAUNCH]]


def test_worker_that_lost_its_lease_writes_nothing_more() -> None:
    host = SimulatedHypervisor()
    _instance, job = launched()
    thief = uuid.uuid4()

    def steal(name: str) -> None:
        if name == "start_domain":
            Job.objects.filter(pk=job.pk).update(lease_token=thief)

    assert run(job, Faulty(host, steal)) == []

    job.refresh_from_db()
    assert (job.state, job.lease_token) == ("running", thief)
    assert JobStep.objects.get(job=job, name="start_domain").state == "running"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempts", [0, 3])
def test_job_whose_database_was_away_goes_on_at_once_but_not_for_ever(
    attempts: int,
) -> None:
    """Its worker lives on: nobody else would free its lease."""
    host = SimulatedHypervisor()
    instance, job = launched()
    Job.objects.update(attempts=attempts)
    outages = ["define_domain"]

    def before(name: str) -> None:
        if name in outages:
            outages.clear()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    assert run(job, Faulty(host, before)) == ([job.pk] if attempts < 3 else [])

    job.refresh_from_db()
    assert (job.state, job.lease_token) == ("running", None)
    assert (job.not_before is None) == (attempts < 3)
    Job.objects.update(not_before=None)
    run(job, host)
    instance.refresh_from_db()
    assert (instance.phase, host.states) == ("running", {str(instance.uuid): "running"})


def test_job_held_by_a_worker_is_not_run_twice() -> None:
    host = SimulatedHypervisor()
    _instance, job = launched()
    seen: list[list[int]] = []

    def again(name: str) -> None:
        if name == "start_domain":
            seen.append(run(job, host))

    run(job, Faulty(host, again))

    job.refresh_from_db()
    assert seen == [[]]
    assert (job.state, job.attempts) == ("succeeded", 1)


def test_unreachable_host_keeps_the_claim_until_absence_is_proven() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(2)
    dead = Faulty(host, lambda _: (_ for _ in ()).throw(HostUnreachable("no answer")))

    run(job, dead)

    job.refresh_from_db()
    assert job.state == "unwinding"
    assert open_claims() == (2, 1)
    assert Host.objects.get().connection == HostConnection.UNKNOWN
    expire_lease(job)
    run(job, host)
    job.refresh_from_db()
    instance.refresh_from_db()
    assert (job.state, instance.phase) == ("failed", "failed")
    assert job.public_message == "The host of this machine does not answer."
    assert open_claims() == (0, 0)


def test_host_that_answers_late_costs_nothing() -> None:
    host = SimulatedHypervisor()
    instance, job = launched()

    run(job, Faulty(host, failing("define_domain", HostUnreachable("late"), times=1)))

    instance.refresh_from_db()
    assert instance.phase == "running"
    assert Host.objects.get().connection == HostConnection.OK


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have a call that takes 10 ms and fails be one to a frozen host; the calls go here."""
    monkeypatch.setattr(runner, "FROZEN_S", 0.01)
    return []


def silent(calls: list[str]) -> Faulty:
    def before(name: str) -> None:
        calls.append(name)
        time.sleep(0.02)
        raise HostUnreachable("no answer in time")

    return Faulty(SimulatedHypervisor(), before)


def test_frozen_host_holds_a_workers_attempt_for_one_deadline(
    frozen: list[str],
) -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    run(job, host)
    deletion = delete(instance, "user:tester", "tester")

    run(deletion, silent(frozen))

    assert frozen == ["domain_state"]
    expire_lease(deletion)
    run(deletion, host)
    deletion.refresh_from_db()
    assert deletion.state == "succeeded"


def test_silent_host_is_asked_for_one_job_at_a_time() -> None:
    _, job = launched()
    other = Job.objects.get(instance=launch(make_order(plan=make_plan(cards=1).slug)))
    Host.objects.update(failed_looks=1)

    lease = leases.acquire(job.pk)

    assert lease is not None
    assert leases.acquire(other.pk) is None
    lease.let_go()
    assert leases.acquire(other.pk) is not None
    assert leases.acquire(job.pk) is None
    Host.objects.update(failed_looks=0)
    assert leases.acquire(job.pk) is not None


def test_launch_outlasts_a_frozen_host_for_some_attempts_then_is_undone(
    frozen: list[str],
) -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    states = []
    for _ in range(runner.MAX_ATTEMPTS):
        run(job, silent(frozen))
        expire_lease(job)
        job.refresh_from_db()
        states.append(job.state)

    # It is not asked what is left of the launch in the same attempt.
    assert len(frozen) == runner.MAX_ATTEMPTS
    assert states == [*["running"] * (runner.MAX_ATTEMPTS - 1), "unwinding"]
    assert Host.objects.get().connection == HostConnection.UNKNOWN
    run(job, host)
    job.refresh_from_db()
    instance.refresh_from_db()
    assert (job.state, instance.phase) == ("failed", "failed")
    assert job.public_message == "The host of this machine does not answer."
    assert open_claims() == (0, 0)


def test_delete_on_an_unreachable_host_is_tried_until_it_answers() -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    run(job, host)
    deletion = delete(instance, "user:tester", "tester")
    dead = Faulty(host, failing("destroy_domain", HostUnreachable("no answer")))
    for _ in range(runner.MAX_ATTEMPTS + 2):
        run(deletion, dead)
        expire_lease(deletion)
    instance.refresh_from_db()
    assert (instance.phase, open_claims()) == ("deleting", (1, 1))

    run(deletion, host)

    instance.refresh_from_db()
    assert (instance.phase, open_claims()) == ("deleted", (0, 0))


def test_domain_that_stays_keeps_its_claim() -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    run(job, host)
    deletion = delete(instance, "user:tester", "tester")
    host.undefine_domain = lambda uuid: None  # type: ignore[method-assign]

    run(deletion, host)

    deletion.refresh_from_db()
    assert open_claims() == (1, 1)
    assert "nothing was released" in deletion.internal_detail


def test_delete_during_a_launch_undoes_it_and_then_deletes() -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    deletions: list[Job] = []

    def want_gone(name: str) -> None:
        if name == "start_domain" and not deletions:
            deletions.append(delete(instance, "user:tester", "tester"))
            assert run(deletions[0], host) == []  # the launch is still at work

    following = run(job, Faulty(host, want_gone))

    assert following[0] == deletions[0].pk
    assert Job.objects.get(pk=following[1]).kind == "sanitise"
    run(deletions[0], host)
    instance.refresh_from_db()
    assert instance.is_ended
    assert host.states == {}
    assert open_claims() == (0, 0)
    assert Event.objects.get(action="linode_delete").status == "finished"


def test_gate_shut_after_the_launch_stops_it_before_the_host() -> None:
    make_host()
    account = make_account()
    make_flag(accounts=(account,))
    instance = launch(make_order(account, plan=make_plan(flag_name=GPU_FLAG).slug))
    job = Job.objects.get()
    Flag.objects.update(everyone=False)
    touched: list[str] = []
    host = SimulatedHypervisor()

    run(job, Faulty(host, touched.append))

    instance.refresh_from_db()
    assert instance.phase == "failed"
    assert "define_domain" not in touched
    assert "start_domain" not in touched
    assert open_claims() == (0, 0)


def test_launch_past_its_deadline_is_undone() -> None:
    host = SimulatedHypervisor()
    instance, job = launched()
    Job.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))

    run(job, host)

    instance.refresh_from_db()
    job.refresh_from_db()
    assert (instance.phase, open_claims()) == ("failed", (0, 0))
    assert "took too long" in job.public_message


def test_unexpected_error_unwinds_and_is_kept_for_staff() -> None:
    host = SimulatedHypervisor()
    _instance, job = launched()

    run(job, Faulty(host, failing("define_domain", ZeroDivisionError("oops"))))

    job.refresh_from_db()
    assert (job.state, open_claims()) == ("failed", (0, 0))
    assert job.public_message == "Something went wrong on our side. We have been told."
    assert "ZeroDivisionError: oops" in job.internal_detail
    assert "oops" not in job.public_message


def test_card_in_use_by_a_stranger_fails_the_launch_and_is_told() -> None:
    host = SimulatedHypervisor()
    stranger = str(uuid.uuid4())
    host.define_domain(stranger_on("0000:21:00.0", stranger))
    host.start_domain(stranger)
    instance, job = launched()

    run(job, host)

    instance.refresh_from_db()
    job.refresh_from_db()
    assert instance.phase == "failed"
    assert "PCI device 0000:21:00.0 is in use" in job.internal_detail
    assert host.states == {stranger: "running"}


def test_guest_that_dies_at_once_fails_the_launch() -> None:
    host = SimulatedHypervisor()
    _instance, job = launched()
    start = host.start_domain

    def start_and_die(uuid: str) -> None:
        start(uuid)
        host.destroy_domain(uuid)

    host.start_domain = start_and_die  # type: ignore[method-assign]

    run(job, host)

    job.refresh_from_db()
    assert job.public_message == "The machine stopped right after its start."
    assert (host.states, open_claims()) == ({}, (0, 0))


def test_guest_that_the_host_is_still_starting_is_waited_for() -> None:
    """A worker died in its start; the host goes on with it, and shows it as paused."""
    host = SimulatedHypervisor()
    instance, job = launched()
    uuid, looks = str(instance.uuid), []

    def before(name: str) -> None:
        if host.states.get(uuid) is DomainState.RUNNING and not looks:
            host.states[uuid] = DomainState.PAUSED
        if name == "domain_state" and host.states.get(uuid) is DomainState.PAUSED:
            looks.append(name)
            if len(looks) == 3:
                host.states[uuid] = DomainState.RUNNING

    run(job, Faulty(host, before))

    instance.refresh_from_db()
    assert (instance.phase, len(looks)) == ("running", 3)


def test_domain_with_other_hardware_than_claimed_fails_the_launch() -> None:
    host = SimulatedHypervisor()
    _instance, job = launched()
    real = host.domain_xml
    host.domain_xml = lambda uuid: real(uuid).replace('bus="0x21"', 'bus="0x61"')  # type: ignore[method-assign]

    run(job, host)

    job.refresh_from_db()
    assert job.public_message == (
        "The machine did not get the hardware that was set aside for it."
    )
    assert (
        "claimed ['0000:21:00.0'], running with ['0000:61:00.0']" in job.internal_detail
    )
    assert (host.states, open_claims()) == ({}, (0, 0))
