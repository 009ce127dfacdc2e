"""PostgreSQL crashes before and within each step of a launch, a rebuild and a delete.

Nobody helps: real workers outlast it and bring each job to its end.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import transaction
from pytest_django import Settings

from instances.actions.delete import delete
from instances.actions.rebuild import RebuildOrder, rebuild
from instances.choices import ENDED_JOB_STATES, JobKind
from instances.jobs.workflows import WORKFLOWS
from instances.models import Account, Image, Instance, Job
from tests.builders import make_account, make_disk_image
from tests.clusters import Cluster, cluster, environment, eventually, make_shared_host
from tests.instances.recovery import (
    GUEST,
    WHO,
    all_ended,
    assert_no_secret_is_told,
    assert_rows_and_host_agree,
    launched,
)
from tests.kill_points.apps import AFTER, BEFORE, GATE, HOLD, IN
from tests.own_postgres import OwnPostgres, own_postgres
from tests.simulated_hosts import HostStore
from tests.simulated_hosts.board import Board

pytestmark = pytest.mark.django_db(transaction=True)
TRIED = (JobKind.LAUNCH, JobKind.REBUILD, JobKind.DELETE)
STEPS = [(kind, step.name) for kind in TRIED for step in WORKFLOWS[kind]]


@pytest.fixture
def database(transactional_db: None, tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "database") as made:
        yield made


@pytest.fixture
def host(
    database: OwnPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> HostStore:
    return make_shared_host(tmp_path / "hosts", monkeypatch, Board(4, 31))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "points"
    made.mkdir()
    return made


@pytest.fixture
def workers(
    host: HostStore, database: OwnPostgres, folder: Path, tmp_path: Path
) -> Iterator[Cluster]:
    env = environment(
        tmp_path / "hosts",
        DATABASE_URL=database.url,
        DJANGO_SETTINGS_MODULE="tests.kill_points.settings",
        GPUCLOUD_TEST_KILLS=str(folder),
        # Each is held by a step of its own, and one is left for the rest.
        GPUCLOUD_WORKERS=str(len(STEPS) + 1),
        GPUCLOUD_IMAGE_FOLDER=str(tmp_path),
        # A machine with much else to do is no wedged cluster.
        GPUCLOUD_CLUSTER_PATIENCE_S="60",
    )
    with cluster(env, tmp_path / "workers.log") as made:
        yield made


@pytest.fixture
def image(host: HostStore, tmp_path: Path, settings: Settings) -> Image:
    settings.IMAGE_FOLDER = str(tmp_path)
    return make_disk_image(tmp_path)


def asked(kind: JobKind, image: Image, account: Account, idle: list[Instance]) -> Job:
    """Have an instance launched, or one of the idle ones rebuilt or deleted."""
    if kind is JobKind.LAUNCH:
        return launched(image, account)
    if kind is JobKind.REBUILD:
        return rebuild(idle.pop(), RebuildOrder(image.slug, GUEST, True), *WHO)
    job = delete(idle.pop(), *WHO)
    assert job is not None
    return job


def held_at(
    moments: tuple[str, ...],
    folder: Path,
    ask: Callable[[JobKind], Job],
) -> list[Job]:
    """Return a job for each step, each with a worker that waits at a moment of the step."""
    (folder / GATE).touch()
    jobs = []
    for kind, step in STEPS:
        with transaction.atomic():
            job = ask(kind)
            for moment in moments:
                (folder / f"{job.pk}-{step}-{moment}").write_text(HOLD)
        jobs.append(job)
    eventually(
        lambda: len(list(folder.glob("*-held"))) == len(jobs), "all workers wait"
    )
    return jobs


def test_jobs_that_lose_their_database_at_each_step_end(
    workers: Cluster,
    database: OwnPostgres,
    host: HostStore,
    image: Image,
    folder: Path,
) -> None:
    account = make_account()
    used = [kind for kind, _ in STEPS if kind is not JobKind.LAUNCH]
    idle = [launched(image, account).for_instance for _ in 2 * used]
    all_ended(workers)
    idle = list(Instance.objects.filter(pk__in=[each.pk for each in idle]))

    def ask(kind: JobKind) -> Job:
        return asked(kind, image, account, idle)

    jobs = held_at((BEFORE,), folder, ask)
    database.crash()
    database.start()
    # Their connections are dead, and another would be as good as new.
    (folder / GATE).unlink()
    all_ended(workers)

    # After the host did what it was told, or else after the rows did.
    jobs += held_at((IN, AFTER), folder, ask)
    database.crash()
    # There is nothing to connect to.
    (folder / GATE).unlink()
    eventually(lambda: not list(folder.glob("*-held")), "all workers go on")
    database.start()
    all_ended(workers)

    for job in jobs:
        job.refresh_from_db()
        assert job.state in ENDED_JOB_STATES
        assert job.attempts > 1, "it was not interrupted"
    assert "the cluster is restarted" not in workers.said()
    assert_rows_and_host_agree(host)
    assert_no_secret_is_told(workers)
