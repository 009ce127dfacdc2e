"""Every step of every workflow, its real worker killed before, in and after it.

Nobody helps: the cluster's supervisor and another worker bring each job to its end.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from instances.actions import firewalls
from instances.actions.delete import delete
from instances.actions.password import reset_password
from instances.actions.power import boot, reboot, shut_down
from instances.actions.rebuild import RebuildOrder, rebuild
from instances.actions.resize import ResizeOrder, resize
from instances.choices import CARD_JOBS, ENDED_JOB_STATES, JobKind
from instances.jobs.workflows import WORKFLOWS
from instances.models import Image, Instance, Job
from tests.builders import make_account, make_disk_image, make_plan
from tests.clusters import Cluster, cluster, environment, make_shared_host
from tests.instances.recovery import (
    GUEST,
    HASH,
    WHO,
    all_ended,
    assert_no_secret_is_told,
    assert_rows_and_host_agree,
    launched,
)
from tests.kill_points.apps import AFTER, BEFORE, IN
from tests.simulated_hosts import HostStore
from tests.simulated_hosts.board import Board

pytestmark = pytest.mark.django_db(transaction=True)


def larger() -> ResizeOrder:
    return ResizeOrder(make_plan(cards=1, disk_mib=128).slug, *WHO)


def again(image: Image, *, booted: bool) -> RebuildOrder:
    return RebuildOrder(image.slug, GUEST, booted)


def on_a_firewall(instance: Instance) -> Job:
    rules = {
        "inbound": [],
        "inbound_policy": "DROP",
        "outbound": [],
        "outbound_policy": "ACCEPT",
    }
    caller = firewalls.Caller(instance.account, "tester")
    label = f"firewall-{instance.pk}"
    firewalls.create(caller, label, rules, instance_ids=[instance.pk])
    return Job.objects.get(instance=instance, kind=JobKind.APPLY_FILTER)


# How each kind of job is asked for; of an instance that runs, or is off.
ON: dict[JobKind, Callable[[Instance], Job | None]] = {
    JobKind.SHUTDOWN: lambda instance: shut_down(instance, *WHO),
    JobKind.REBOOT: lambda instance: reboot(instance, *WHO),
    JobKind.REBUILD: lambda i: rebuild(i, again(i.image, booted=True), *WHO),
    JobKind.REBUILD_OFF: lambda i: rebuild(i, again(i.image, booted=False), *WHO),
    JobKind.RESIZE: lambda instance: resize(instance, larger()),
    JobKind.APPLY_FILTER: on_a_firewall,
    JobKind.DELETE: lambda instance: delete(instance, *WHO),
}
OFF: dict[JobKind, Callable[[Instance], Job | None]] = {
    JobKind.BOOT: lambda instance: boot(instance, *WHO),
    JobKind.RESIZE_OFF: lambda instance: resize(instance, larger()),
    JobKind.PASSWORD: lambda instance: reset_password(instance, HASH, *WHO),
}
LAUNCHED = {JobKind.LAUNCH: True, JobKind.LAUNCH_OFF: False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kills"
    made.mkdir()
    return made


@pytest.fixture
def host(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> HostStore:
    return make_shared_host(tmp_path / "hosts", monkeypatch, Board(4, 31))


@pytest.fixture
def workers(host: HostStore, folder: Path, tmp_path: Path) -> Iterator[Cluster]:
    env = environment(
        tmp_path / "hosts",
        DJANGO_SETTINGS_MODULE="tests.kill_points.settings",
        GPUCLOUD_TEST_KILLS=str(folder),
        GPUCLOUD_WORKERS="4",
        GPUCLOUD_IMAGE_FOLDER=str(tmp_path),
        # An emulated guest's first second is not what is tried here.
        GPUCLOUD_CLUSTER_PATIENCE_S="10",
    )
    with cluster(env, tmp_path / "workers.log") as made:
        yield made


@pytest.fixture
def image(transactional_db: None, tmp_path: Path, settings: Settings) -> Image:
    settings.IMAGE_FOLDER = str(tmp_path)
    return make_disk_image(tmp_path)


def arm(folder: Path, job: Job, step: str) -> None:
    for moment in (BEFORE, IN, AFTER):
        (folder / f"{job.pk}-{step}-{moment}").touch()


def steps_of(kinds: Any) -> list[tuple[JobKind, str]]:
    return [(kind, step.name) for kind in kinds for step in WORKFLOWS[kind]]


def test_every_instance_workflow_is_tried() -> None:
    assert {*ON, *OFF, *LAUNCHED} == {*WORKFLOWS} - {*CARD_JOBS}


def test_job_whose_workers_are_killed_at_each_step_ends(
    workers: Cluster, host: HostStore, image: Image, folder: Path
) -> None:
    account = make_account()
    idle = {
        (kind, step): launched(image, account, booted=kind in ON)
        for kind, step in steps_of({**ON, **OFF})
    }
    all_ended(workers)
    killed = []
    for (kind, step), first in idle.items():
        with transaction.atomic():
            instance = Instance.objects.get(pk=first.for_instance.pk)
            job = (ON.get(kind) or OFF[kind])(instance)
            assert job is not None
            assert job.kind == kind
            arm(folder, job, step)
        killed.append(job)
    for kind, step in steps_of(LAUNCHED):
        with transaction.atomic():
            job = launched(image, account, booted=LAUNCHED[kind])
            arm(folder, job, step)
        killed.append(job)

    all_ended(workers)

    _every_kill_happened(folder)
    for job in killed:
        job.refresh_from_db()
        detail = (job.kind, job.internal_detail)
        assert job.state in ENDED_JOB_STATES, detail
        assert job.attempts > len((BEFORE, AFTER)), detail
    assert_rows_and_host_agree(host)
    assert_no_secret_is_told(workers)


def _every_kill_happened(folder: Path) -> None:
    left = {path.name for path in folder.iterdir()}
    changed = {name.removeprefix("changed-") for name in left if "changed-" in name}
    missed = {name for name in left if not name.startswith("changed-")}
    # A step that changes nothing on the host has no moment within.
    assert {name for name in missed if not name.endswith(f"-{IN}")} == set()
    assert {name.removesuffix(f"-{IN}") for name in missed} & changed == set()
