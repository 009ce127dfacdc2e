"""Images on hosts: no volume that was ever whole is deleted, and no upload is in the way."""

from pathlib import Path

import pytest

from instances.actions.images import save_image
from instances.actions.rebuild import RebuildOrder, rebuild
from instances.exceptions import WorkerStopping
from instances.image_catalogue import check_image
from instances.jobs.context import Machine, StepContext
from instances.jobs.disk_steps import EnsureImage
from instances.jobs.power_steps import EnsureNextImage
from instances.jobs.records import InstanceRecords
from instances.jobs.storage_records import InstanceStorage
from instances.models import HostImage, Image, Instance, Job
from instances.selectors import disk_plan_of, host_of, spec_of
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.port import VolumeFacts
from inventory.models import Host
from inventory.models.guest_setup import setup_of
from tests.builders import make_disk_image, make_host
from tests.instances.test_disk_steps import (
    CANNOT_BE_HAD,
    DISKS,
    IMAGES,
    image,
    ordered,
)
from tests.instances.test_jobs import WorkerKilled, expire_lease, failing, run
from tests.instances.test_power import made
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["image"]

pytestmark = pytest.mark.django_db


def context_on(
    host: SimulatedHypervisor, row: Host, instance: Instance, job: Job, image: Image
) -> StepContext:
    """Return what a step of the job may use, as if the instance were on `row`."""
    plan, spec = disk_plan_of(instance, setup_of(row)), spec_of(instance)
    assert plan is not None
    assert spec is not None
    storage = InstanceStorage(instance, image, row, plan)
    return StepContext(
        InstanceRecords(job), Machine(host, spec), storage, lambda _: None
    )


def test_image_that_is_checked_again_keeps_its_volume_and_its_clones(
    image: Image,
) -> None:
    host = SimulatedHypervisor()
    _, first = ordered(image)
    run(first, host)
    (whole,) = host.volume_names(IMAGES)
    _, second = ordered(image, label="other")
    image.source = "./disk.raw"
    save_image(image)

    run(second, host)
    check_image(image.pk)
    _, third = ordered(image, label="third")
    run(third, host)

    second.refresh_from_db()
    third.refresh_from_db()
    assert (second.state, second.public_message) == (
        "failed",
        "The image is being checked. Please try again later.",
    )
    assert third.state == "succeeded"
    assert host.volume_names(IMAGES) == [whole]


def test_hosts_that_share_a_pool_leave_each_others_images(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    run(job, host)
    (first,) = host.volume_names(IMAGES)
    other = make_host("host2")

    EnsureImage().do(context_on(host, other, instance, job, image))

    (second,) = HostImage.objects.filter(host=other).values_list("volume", flat=True)
    assert host.volume_names(IMAGES) == sorted([first, second])
    assert second.startswith(f"{image.sha256}-{other.pk}-")


def test_storage_that_is_mounted_late_finds_its_image_again(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    _, first = ordered(image)
    run(first, host)
    (whole,) = host.volume_names(IMAGES)
    seen = host.volume

    def not_mounted(pool: str, volume: str) -> VolumeFacts | None:
        return None if volume == whole else seen(pool, volume)

    with monkeypatch.context() as patch:
        patch.setattr(host, "volume", not_mounted)
        _, second = ordered(image, label="other")
        run(second, host)

    # Disks are based on it, though no row knows it any more.
    assert whole in host.volume_names(IMAGES)
    assert HostImage.objects.get().volume in set(host.volume_names(IMAGES)) - {whole}


def test_torn_upload_is_remembered_until_it_is_gone(image: Image) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)
    with pytest.raises(WorkerKilled):
        run(job, Faulty(host, failing("upload_volume", WorkerKilled())))
    HostImage.objects.update(lease_expires_at=None)
    expire_lease(job)
    torn = HostImage.objects.get().upload

    run(job, Faulty(host, failing("delete_volume", HypervisorError("no", 38), 1)))
    assert HostImage.objects.get().upload == f"torn:{torn}"
    assert torn in host.volume_names(IMAGES)
    _, again = ordered(image, label="other")
    run(again, host)

    again.refresh_from_db()
    assert again.state == "succeeded"
    assert host.volume_names(IMAGES) == [HostImage.objects.get().volume]


def test_upload_that_lost_its_lease_is_never_whole(image: Image) -> None:
    instance, job = ordered(image)
    row = host_of(instance)
    assert row is not None
    host = SimulatedHypervisor()
    storage = context_on(host, row, instance, job, image).storage
    assert storage is not None
    volume = storage.take_upload()
    assert storage.take_torn_upload() == ""
    HostImage.objects.update(lease_expires_at="2020-01-01T00:00:00Z")

    assert storage.take_torn_upload() == volume
    with pytest.raises(Exception, match="overtaken by another worker"):
        storage.finish_upload(volume)

    assert (storage.whole_volume(), storage.take_upload()) == ("", "")
    storage.forget_torn_upload(volume)
    assert storage.take_upload() not in ("", volume)


@pytest.mark.parametrize(
    "error", [WorkerStopping(1), HostUnreachable("silent"), SystemExit(1)]
)
def test_upload_of_a_worker_that_ends_is_in_nobodys_way(
    image: Image, error: BaseException
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    row = host_of(instance)
    assert row is not None
    context = context_on(host, row, instance, job, image)
    calls: list[int] = []

    def renew(_seconds: int) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise error

    ending = StepContext(context.records, context.machine, context.storage, renew)
    with pytest.raises(type(error)):
        EnsureImage().do(ending)

    assert HostImage.objects.get().lease_expires_at is None
    # A host that was silent is asked to delete it when the next upload begins.
    assert bool(host.volume_names(IMAGES)) == isinstance(error, HostUnreachable)
    EnsureImage().do(context)
    assert host.volume_names(IMAGES) == [HostImage.objects.get().volume]


def test_damaged_copy_of_this_machine_is_fetched_again(
    image: Image, tmp_path: Path
) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / image.sha256).write_bytes(b"\1" * (2 << 20))
    run(job, host)
    job.refresh_from_db()
    assert job.public_message == "The image is damaged. We have been told."

    _, again = ordered(image, label="other")
    run(again, host)

    again.refresh_from_db()
    assert again.state == "succeeded"


def test_customer_is_not_told_where_images_come_from(
    image: Image, tmp_path: Path
) -> None:
    (tmp_path / "disk.raw").unlink()
    host = SimulatedHypervisor()
    _, job = ordered(image)

    run(job, host)

    job.refresh_from_db()
    assert job.public_message == CANNOT_BE_HAD
    assert str(tmp_path) in job.internal_detail


def test_image_edited_in_a_rebuild_costs_no_disk(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    other = make_disk_image(tmp_path, "linode/other")
    disk = host.volume(DISKS, f"{instance.uuid}.qcow2")
    done = EnsureNextImage.do

    def edited_after(self: EnsureNextImage, context: StepContext) -> None:
        done(self, context)
        Image.objects.filter(pk=other.pk).update(sha256="1" * 64)

    monkeypatch.setattr(EnsureNextImage, "do", edited_after)
    job = rebuild(instance, RebuildOrder(other.slug), "user:tester", "tester")
    calls: list[str] = []
    run(job, Faulty(host, calls.append))

    job.refresh_from_db()
    instance.refresh_from_db()
    assert job.public_message == "The image was changed meanwhile. Please try again."
    assert (instance.image, instance.next_image) == (image, None)
    assert host.volume(DISKS, f"{instance.uuid}.qcow2") == disk
    assert "wipe_volume" not in calls


def test_image_edited_in_a_launch_is_told(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)
    done = EnsureImage.do

    def edited_after(self: EnsureImage, context: StepContext) -> None:
        done(self, context)
        Image.objects.filter(pk=image.pk).update(sha256="1" * 64)

    monkeypatch.setattr(EnsureImage, "do", edited_after)
    run(job, host)

    job.refresh_from_db()
    assert job.public_message == "The image was changed meanwhile. Please try again."
    assert host.volume_names(DISKS) == []
