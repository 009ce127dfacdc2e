"""Copies and wipes that a host goes on with though nobody waits: waited out, or postponed."""

import pytest

from instances.actions.delete import delete
from instances.jobs import runner, volume_work
from instances.models import Image, Instance, Job
from inventory.exceptions import HostUnreachable, VolumeBusy
from inventory.models import GuestSetup, Host
from tests.instances.test_disk_steps import DISKS, IMAGES, image, ordered
from tests.instances.test_jobs import WorkerKilled, expire_lease, failing, run
from tests.instances.test_power import assert_keeps_all, made, no_grace, rebuilt
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["image", "no_grace"]

pytestmark = pytest.mark.django_db
BUSY = VolumeBusy("volume 'x' is still in use.", 55)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_work, "POLL_S", 0.0)
    monkeypatch.setattr(runner, "PATIENCE_S", (0.0,))


def to_be_deleted(image: Image, host: SimulatedHypervisor) -> tuple[Instance, Job]:
    instance, job = ordered(image)
    run(job, host)
    return instance, delete(instance, "user:tester", "tester")


def test_delete_waits_for_the_wipe_of_a_dead_worker(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = to_be_deleted(image, host)
    host.busy[DISKS, f"{instance.uuid}.qcow2"] = 3

    run(job, host)

    instance.refresh_from_db()
    assert (instance.phase, host.volume_names(DISKS)) == ("deleted", [])


def test_wipe_beyond_all_patience_postpones_the_delete_and_blames_no_host(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_work, "BUSY_PATIENCE_S", 0.0)
    host = SimulatedHypervisor()
    instance, job = to_be_deleted(image, host)
    calls: list[str] = []

    def before(name: str) -> None:
        calls.append(name)
        if name == "wipe_volume":
            raise BUSY

    run(job, Faulty(host, before))

    job.refresh_from_db()
    assert (job.state, job.not_before is None) == ("running", False)
    assert Host.objects.get().connection == "ok"
    assert len(host.volume_names(DISKS)) == 2
    expire_lease(job)
    run(job, host)
    instance.refresh_from_db()
    assert (instance.phase, host.volume_names(DISKS)) == ("deleted", [])


def test_silent_host_in_a_wipe_is_noted(image: Image) -> None:
    host = SimulatedHypervisor()
    _, job = to_be_deleted(image, host)

    run(job, Faulty(host, failing("wipe_volume", HostUnreachable("gone"))))

    assert Host.objects.get().connection != "ok"


def test_rebuild_whose_wipe_goes_on_is_not_given_up(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = rebuilt(instance)
    with monkeypatch.context() as patch:
        patch.setattr(volume_work, "BUSY_PATIENCE_S", 0.0)
        run(job, Faulty(host, failing("wipe_volume", BUSY)))
    job.refresh_from_db()
    assert job.state == "running"
    expire_lease(job)
    host.busy[DISKS, f"{instance.uuid}.qcow2"] = 3

    run(job, host)

    instance.refresh_from_db()
    assert (instance.phase, instance.generation) == ("running", 2)
    assert_keeps_all(instance, host)


@pytest.mark.parametrize("moment", ["killed", "late"])
def test_launch_waits_for_the_copy_of_a_dead_worker(image: Image, moment: str) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    GuestSetup.objects.update(copies_images=True)
    error = WorkerKilled() if moment == "killed" else VolumeBusy("no answer in time")
    clone = host.clone_volume

    def clone_and_fail(*args: object) -> None:
        clone(*args)  # type: ignore[arg-type]
        host.busy[DISKS, f"{instance.uuid}.qcow2"] = 2
        host.clone_volume = clone  # type: ignore[method-assign]
        raise error

    host.clone_volume = clone_and_fail  # type: ignore[method-assign]
    if moment == "killed":
        with pytest.raises(WorkerKilled):
            run(job, host)
    else:
        run(job, host)
    expire_lease(job)

    run(job, host)

    instance.refresh_from_db()
    assert instance.phase == "running"
    assert len(host.volume_names(IMAGES)) == 1
