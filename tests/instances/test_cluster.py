"""Real clusters of workers, wedged and told to end: what is asked of them gets done."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task, result

from instances.actions.launch import launch
from instances.choices import JobState
from instances.cluster import (
    Rules,
    is_guard_silent,
    lost_tasks,
    overdue_workers,
    symptom,
)
from instances.cluster_signs import Part, Signs, Stage
from instances.jobs import leases
from instances.models import Account, Job
from instances.processes import is_running, machine, this_process
from tests.builders import (
    make_account,
    make_host,
    make_order,
    make_plan,
    make_region,
)
from tests.clusters import (
    NEVER_S,
    WORKERS,
    Cluster,
    cluster,
    environment,
    eventually,
    make_shared_host,
)
from tests.simulated_hosts import Fault, HostStore, SharedHypervisor
from tests.simulated_hosts.board import Board
from tests.simulated_hosts.fleet import FleetOrder, simulate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def host(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> HostStore:
    return make_shared_host(tmp_path / "hosts", monkeypatch)


@pytest.fixture
def workers(host: HostStore, tmp_path: Path) -> Iterator[Cluster]:
    with cluster(environment(tmp_path / "hosts"), tmp_path / "workers.log") as made:
        yield made


def a_launch(account: Account | None = None) -> Job:
    order = make_order(account or make_account(), plan=make_plan(cards=1).slug)
    return Job.objects.get(instance=launch(order))


def is_done(job: Job) -> bool:
    return Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED


def test_workers_have_the_guards_memory_in_common(workers: Cluster) -> None:
    task_id = async_task("gc.get_freeze_count", save=True)

    eventually(lambda: result(task_id) is not None, f"an answer; {workers.said()}")
    # All modules' functions and classes, at the least.
    assert result(task_id) > 10_000


def kill_idle_workers(workers: Cluster) -> None:
    # One of them waits with the queue's lock in its hands, and takes it along.
    for pid in workers.workers():
        os.kill(pid, signal.SIGKILL)


def freeze_guard(workers: Cluster) -> None:
    os.kill(workers.guard(), signal.SIGSTOP)


def kill_guard(workers: Cluster) -> None:
    os.kill(workers.guard(), signal.SIGKILL)


def freeze_pusher(workers: Cluster) -> None:
    os.kill(workers.pusher(), signal.SIGSTOP)


def freeze_monitor(workers: Cluster) -> None:
    os.kill(workers.monitor(), signal.SIGSTOP)


def kill_all_below_the_supervisor(workers: Cluster) -> None:
    os.killpg(workers.main(), signal.SIGKILL)


@pytest.mark.parametrize(
    "harm",
    [
        kill_idle_workers,
        freeze_guard,
        kill_guard,
        freeze_pusher,
        freeze_monitor,
        kill_all_below_the_supervisor,
    ],
)
def test_job_asked_of_a_harmed_cluster_is_done(
    workers: Cluster, harm: Callable[[Cluster], None]
) -> None:
    before = workers.main()

    harm(workers)
    job = a_launch()

    eventually(lambda: is_done(job), f"{job} is done; {workers.said()}")
    eventually(
        lambda: workers.main() not in (0, before) and workers.is_whole(),
        f"the cluster is another one; {workers.said()}",
    )
    assert "the cluster is restarted" in workers.said()
    following = a_launch()
    eventually(lambda: is_done(following), f"{following} is done; {workers.said()}")


@pytest.fixture
def others(workers: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    env = environment(tmp_path / "hosts", GPUCLOUD_STOP_GRACE_S="1")
    with cluster(env, tmp_path / "others.log") as made:
        yield made


def who_holds(job: Job) -> int:
    """Return the pid of the worker that is at the job; 0 while none is."""
    holder = Job.objects.get(pk=job.pk).lease_holder
    return int(holder.split("/")[-2]) if holder else 0


def is_starting(job: Job) -> bool:
    return job.steps.filter(name="start_domain", state="running").exists()


def tell_the_supervisor(workers: Cluster) -> None:
    workers.process.send_signal(signal.SIGTERM)


def tell_everyone(workers: Cluster) -> None:
    for pid in workers.everyone():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("tell", [tell_the_supervisor, tell_everyone])
def test_job_of_workers_told_to_end_goes_on_at_others(
    workers: Cluster,
    others: Cluster,
    host: HostStore,
    tell: Callable[[Cluster], None],
) -> None:
    host.delay("start_domain", 4.0)
    job = a_launch()
    eventually(lambda: is_starting(job), "the machine is started")
    first, second = workers, others
    if who_holds(job) in others.workers():
        first, second = others, workers
    left = first.everyone()
    going_on = second.workers()

    tell(first)
    host.delay("start_domain", 0.0)

    first.process.wait(NEVER_S)
    assert [pid for pid in left if is_running(pid)] == []
    eventually(lambda: is_done(job), f"{job} is done; {second.said()}")
    job.refresh_from_db()
    # One finished its step and let go in time, or it was killed: that attempt counts.
    assert job.attempts == (1 if first is workers else 2)
    assert job.lease_holder == ""
    assert second.workers() == going_on
    host_says = SharedHypervisor(host).domains()
    assert host_says == {str(job.for_instance.uuid): "running"}


def test_workers_that_end_leave_nothing_in_the_queue_but_what_is_due(
    workers: Cluster, host: HostStore
) -> None:
    host.delay("start_domain", 3.0)
    account = make_account()
    jobs = [a_launch(account) for _ in range(WORKERS + 1)]
    eventually(lambda: is_starting(jobs[0]), "a machine is started")

    tell_the_supervisor(workers)
    workers.process.wait(NEVER_S)

    assert workers.process.returncode == 0
    assert {job.lease_token for job in Job.objects.all()} == {None}
    open_jobs = Job.objects.exclude(state=JobState.SUCCEEDED).count()
    assert open_jobs > 0
    # Deliverable now: not held back for half an hour, as what a dead cluster took.
    ready = OrmQ.objects.filter(lock__lte=timezone.now())
    assert sum("run_job" in str(task.func()) for task in ready) >= open_jobs


def test_frozen_host_keeps_workers_from_no_other_host(
    workers: Cluster, host: HostStore, tmp_path: Path
) -> None:
    make_region("eu-west")
    far = FleetOrder(1, Board(2, 2), region="eu-west", prefix="far")
    list(simulate(far, tmp_path / "hosts"))
    account = make_account()
    # As many tries as a host has that is only out of reach would take minutes.
    host.inflict(Fault("*", "silent", times=None, lasts_s=8.0))
    frozen = [a_launch(account) for _ in range(WORKERS)]
    tried = Job.objects.filter(attempts__gt=0)
    eventually(lambda: tried.count() == WORKERS, "all workers are held")

    order = make_order(account, plan=make_plan(cards=1).slug, region="eu-west")
    job = Job.objects.get(instance=launch(order))

    eventually(lambda: is_done(job), f"{job} is done; {workers.said()}")
    assert not any(is_done(each) for each in frozen)
    eventually(
        lambda: not any(who_holds(each) for each in frozen), "the workers are free"
    )


def a_task(folder: Path, delivery: int, stage: Stage) -> None:
    Signs(folder).reached(delivery, stage)


RULES = Rules(workers=1, patience_s=10, task_limit_s=100, stop_grace_s=1)


def test_busy_cluster_is_not_taken_for_a_wedged_one(tmp_path: Path) -> None:
    a_task(tmp_path, 1, Stage.BEGUN)
    a_task(tmp_path, 2, Stage.TAKEN)
    signs, began = Signs(tmp_path), time.monotonic() - 1000
    signs.note(Part.GUARD)

    def seen() -> str:
        return symptom(signs, RULES, began, time.monotonic())

    assert seen() == ""
    assert not is_guard_silent(signs, RULES, began, time.monotonic())

    a_task(tmp_path, 1, Stage.DONE)
    signs.forget(1)
    assert seen() == "delivery 2 waits beside an idle worker"
    signs.forget(2)
    assert seen() == "its pusher is silent beside an idle worker"
    signs.note(Part.PUSHER)
    assert seen() == ""
    assert is_guard_silent(signs, RULES, began, time.monotonic() + 11)


def test_task_that_is_delivered_again_is_still_at_work(tmp_path: Path) -> None:
    a_task(tmp_path, 1, Stage.BEGUN)
    a_task(tmp_path, 1, Stage.TAKEN)

    assert [task.stage for task in Signs(tmp_path).tasks()] == [Stage.BEGUN]


def test_worker_beyond_the_limit_of_a_task_is_named(tmp_path: Path) -> None:
    a_task(tmp_path, 1, Stage.BEGUN)

    now = time.monotonic()

    assert overdue_workers(Signs(tmp_path), RULES, now + 109) == []
    assert overdue_workers(Signs(tmp_path), RULES, now + 112) == [os.getpid()]


def test_task_of_a_dead_worker_is_lost(tmp_path: Path) -> None:
    dead = subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, check=True)
    (tmp_path / f"task-7-begun-{int(dead.stdout)}").touch()

    assert lost_tasks(Signs(tmp_path), RULES, 0.0).lost == {7}
    assert symptom(Signs(tmp_path), RULES, time.monotonic(), time.monotonic()) == ""


def test_lease_of_a_dead_process_is_freed_and_of_a_living_one_is_not() -> None:
    make_host()
    account = make_account()
    plan = make_plan(cards=1).slug
    for _ in range(3):
        launch(make_order(account, plan=plan))
    dead, alive, elsewhere = Job.objects.order_by("pk")
    pid = subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, check=True)
    for job, holder in (
        (dead, f"{machine()}/{int(pid.stdout)}/1"),
        (alive, this_process()),
        (elsewhere, f"far-away/0badc0de/1/{int(pid.stdout)}/1"),
    ):
        Job.objects.filter(pk=job.pk).update(
            state=JobState.RUNNING,
            lease_token=uuid.uuid4(),
            lease_holder=holder,
            lease_expires_at=timezone.now() + timedelta(minutes=10),
        )

    assert leases.let_go_of_dead() == [dead.pk]

    held = Job.objects.exclude(lease_token=None).values_list("pk", flat=True)
    assert set(held) == {alive.pk, elsewhere.pk}
    dead.refresh_from_db()
    assert dead.not_before is None


def test_job_that_kills_its_workers_is_given_ever_longer_pauses() -> None:
    make_host()
    launch(make_order())
    job = Job.objects.get()
    pid = subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, check=True)
    pauses = []
    for attempts in (4, 5, 20):
        Job.objects.update(
            state=JobState.RUNNING,
            lease_token=uuid.uuid4(),
            lease_holder=f"{machine()}/{int(pid.stdout)}/1",
            attempts=attempts,
        )
        leases.let_go_of_dead()
        job.refresh_from_db()
        assert job.lease_token is None
        pauses.append((job.not_before - timezone.now()).total_seconds())

    assert pauses == pytest.approx([5, 10, 600], abs=5)
