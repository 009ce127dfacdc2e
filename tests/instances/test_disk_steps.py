"""Disks, seeds and addresses of guests: made, undone and deleted, whatever dies meanwhile."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycdlib
import pytest
import yaml
from django.db import connection
from lxml import etree
from pytest_django import Settings

from instances.actions.delete import delete
from instances.actions.guest_settings import GuestSettings
from instances.actions.launch import launch
from instances.choices import JobKind
from instances.exceptions import InvalidRequest, NoCapacity
from instances.jobs import disk_steps
from instances.jobs.context import Machine, StepContext
from instances.jobs.disk_steps import EnsureImage
from instances.jobs.records import InstanceRecords
from instances.jobs.storage_records import InstanceStorage
from instances.jobs.workflows import WORKFLOWS
from instances.models import HostImage, Image, Instance, Job, SeedSettings
from instances.selectors import disk_plan_of, host_of, spec_of
from inventory.address_claims import open_address_of
from inventory.exceptions import HypervisorError
from inventory.models import AddressClaim, GuestSetup, Host
from inventory.models.guest_setup import setup_of
from tests.builders import (
    make_account,
    make_disk_image,
    make_host,
    make_network,
    make_order,
    make_plan,
    make_user,
)
from tests.instances.test_jobs import WorkerKilled, expire_lease, failing, run
from tests.simulated import Faulty, SimulatedHypervisor

pytestmark = pytest.mark.django_db
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMzm9Xf0hgqTmJ1mIkMIxLhJcM1hL1yo8u6cX1yWq0aB"
HASH = "$6$rounds=5000$abc$0123456789"
IMAGES, DISKS = "gpucloud-images", "gpucloud-disks"
CANNOT_BE_HAD = "The image cannot be had now. Please try again later."
STEPS = [step.name for step in WORKFLOWS[JobKind.LAUNCH]]
DELETE_STEPS = [step.name for step in WORKFLOWS[JobKind.DELETE]]


@pytest.fixture
def image(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Image:
    settings.IMAGE_FOLDER = str(tmp_path)
    # Several parts, though the image is small.
    monkeypatch.setattr(disk_steps, "UPLOAD_PART_BYTES", 1 << 20)
    monkeypatch.setattr(EnsureImage, "poll_s", 0.0)
    return make_disk_image(tmp_path)


def ordered(image: Image, **fields: Any) -> tuple[Instance, Job]:
    if not Host.objects.exists():
        make_network(make_host())
    guest = GuestSettings(keys=(KEY,), password_hash=HASH, user_data=b"#!/bin/sh\n")
    values = {
        "plan": make_plan(cards=0, disk_mib=64).slug,
        "image": image.slug,
        "settings": guest,
        **fields,
    }
    instance = launch(make_order(**values))
    return instance, Job.objects.get(instance=instance)


def seed_of(host: SimulatedHypervisor, instance: Instance) -> dict[str, bytes]:
    iso = pycdlib.PyCdlib()
    content = host.volumes[DISKS, f"{instance.uuid}-seed.iso"]
    iso.open_fp(io.BytesIO(content))
    files = {}
    for name in ("meta-data", "user-data", "vendor-data", "network-config"):
        found = io.BytesIO()
        iso.get_file_from_iso_fp(found, rr_path=f"/{name}")
        files[name] = found.getvalue()
    iso.close()
    return files


def open_addresses() -> int:
    return AddressClaim.objects.filter(released_at=None).count()


def secrets_in_rows() -> list[str]:
    """Return the tables that hold the password's hash anywhere."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        tables = [name for (name,) in cursor.fetchall()]
        found = []
        for name in tables:
            cursor.execute(
                f'SELECT count(*) FROM "{name}" AS t '  # noqa: S608 -- own tables
                "WHERE t::text LIKE %s",
                [f"%{HASH}%"],
            )
            if cursor.fetchone()[0]:
                found.append(name)
    return found


def test_guest_has_a_disk_of_its_plans_size_its_seed_and_its_address(
    image: Image,
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image, label="web_1")
    assert secrets_in_rows() == ["instances_seedsettings"]

    run(job, host)

    instance.refresh_from_db()
    assert instance.phase == "running"
    held = open_address_of(instance.uuid)
    assert held is not None
    disk = host.volume(DISKS, f"{instance.uuid}.qcow2")
    assert disk is not None
    (whole,) = HostImage.objects.all()
    assert (disk.capacity, disk.format) == (64 << 20, "qcow2")
    assert disk.backing_path == f"/var/lib/libvirt/gpucloud/images/{whole.volume}"
    assert host.volumes[IMAGES, whole.volume].startswith(b"image linode/debian12")
    root = etree.fromstring(host.documents[str(instance.uuid)])
    filters = root.findall("devices/interface/filterref")
    assert [f.get("filter") for f in filters] == [f"gpucloud-{instance.uuid}"]
    own = etree.fromstring(host.filters[f"gpucloud-{instance.uuid}"])
    assert [p.get("value") for p in own.findall("filterref/parameter")] == [
        held.address
    ]

    files = seed_of(host, instance)
    meta = yaml.safe_load(files["meta-data"])
    assert meta["instance-id"] == f"{instance.uuid}-1"
    assert (meta["local-hostname"], meta["public-keys"]) == ("web-1", [KEY])
    assert yaml.safe_load(files["vendor-data"])["chpasswd"]["users"][0]["password"] == (
        HASH
    )
    assert files["user-data"] == b"#!/bin/sh\n"
    nic = yaml.safe_load(files["network-config"])["ethernets"]["nic0"]
    assert nic["addresses"] == [f"{held.address}/24"]
    assert nic["match"]["macaddress"] == held.mac
    assert len(instance.metadata_digest) == 64
    assert secrets_in_rows() == []


def test_delete_wipes_the_disk_and_frees_the_address(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    run(job, host)
    done: list[str] = []

    run(delete(instance, "user:tester", "tester"), Faulty(host, done.append))

    assert host.volume_names(DISKS) == []
    assert len(host.volume_names(IMAGES)) == 1
    assert open_addresses() == 0
    names = [name for name in done if name in ("wipe_volume", "delete_volume")]
    assert names[-4:] == ["wipe_volume", "delete_volume"] * 2
    assert done.index("undefine_domain") < done.index("wipe_volume")


def test_storage_that_forgets_by_itself_is_not_wiped(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    GuestSetup.objects.update(wipes_disks=False)
    run(job, host)
    done: list[str] = []

    run(delete(instance, "user:tester", "tester"), Faulty(host, done.append))

    assert "wipe_volume" not in done
    assert host.volume_names(DISKS) == []


def test_full_copy_does_not_depend_on_the_image(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    GuestSetup.objects.update(copies_images=True)

    run(job, host)

    disk = host.volume(DISKS, f"{instance.uuid}.qcow2")
    assert disk is not None
    assert (disk.capacity, disk.backing_path) == (64 << 20, "")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_failed_leaves_no_disk_seed_or_address(
    image: Image, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    (broken,) = [s for s in WORKFLOWS[JobKind.LAUNCH] if s.name == step]
    done = type(broken).do

    def do_and_fail(self: Any, context: Any) -> None:
        done(self, context)
        raise HypervisorError("refused by the test", 1)

    monkeypatch.setattr(type(broken), "do", do_and_fail)
    run(job, host)

    job.refresh_from_db()
    instance.refresh_from_db()
    assert (job.state, instance.phase) == ("failed", "failed")
    assert (host.states, host.volume_names(DISKS)) == ({}, [])
    assert (open_addresses(), SeedSettings.objects.count()) == (0, 0)
    assert secrets_in_rows() == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_worker_killed_in_a_launch_is_followed_by_another(
    image: Image, step: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    (victim,) = [s for s in WORKFLOWS[JobKind.LAUNCH] if s.name == step]
    killed_in(victim, moment, monkeypatch, lambda: run(job, host))

    expire_lease(job)
    run(job, host)

    instance.refresh_from_db()
    assert instance.phase == "running"
    assert host.volume_names(DISKS) == [
        f"{instance.uuid}-seed.iso",
        f"{instance.uuid}.qcow2",
    ]
    assert len(host.volume_names(IMAGES)) == 1
    assert open_addresses() == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", DELETE_STEPS)
def test_worker_killed_in_a_delete_is_followed_by_another(
    image: Image, step: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    run(job, host)
    job = delete(instance, "user:tester", "tester")
    (victim,) = [s for s in WORKFLOWS[JobKind.DELETE] if s.name == step]
    killed_in(victim, moment, monkeypatch, lambda: run(job, host))

    expire_lease(job)
    run(job, host)

    instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert (host.volume_names(DISKS), open_addresses()) == ([], 0)


def killed_in(
    victim: Any, moment: str, monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]
) -> None:
    done = type(victim).do

    def do_and_die(self: Any, context: Any) -> None:
        if moment == "after":
            done(self, context)
        raise WorkerKilled

    with monkeypatch.context() as patch:
        patch.setattr(type(victim), "do", do_and_die)
        with pytest.raises(WorkerKilled):
            work()


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("create_volume", 1),
        ("upload_volume", 1),
        ("upload_volume", 2),
        ("create_volume", 2),
        ("write_volume", 1),
    ],
)
def test_worker_killed_between_two_calls_leaves_no_half_image(
    image: Image, method: str, call: int
) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    left = [call]

    def before(name: str) -> None:
        if name == method:
            left[0] -= 1
            if left[0] == 0:
                raise WorkerKilled

    with pytest.raises(WorkerKilled):
        run(job, Faulty(host, before))

    expire_lease(job)
    HostImage.objects.update(lease_expires_at=None)
    run(job, host)

    instance.refresh_from_db()
    assert instance.phase == "running"
    (whole,) = HostImage.objects.all()
    assert host.volume_names(IMAGES) == [whole.volume]
    assert len(host.volumes[IMAGES, whole.volume]) == 2 << 20


def test_second_launch_uses_the_image_that_is_there(image: Image) -> None:
    host = SimulatedHypervisor()
    _, first = ordered(image)
    run(first, host)
    _, second = ordered(image, label="other")
    done: list[str] = []

    run(second, Faulty(host, done.append))

    assert "upload_volume" not in done
    second.refresh_from_db()
    assert second.state == "succeeded"


def test_who_comes_second_waits_for_the_upload_of_the_first(image: Image) -> None:
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    other, _ = ordered(image, label="other")
    host_row = host_of(other)
    assert host_row is not None
    plan = disk_plan_of(other, setup_of(host_row))
    assert plan is not None
    first = InstanceStorage(other, image, host_row, plan)
    volume = first.take_upload()
    assert volume
    assert first.take_upload() == ""
    waited: list[int] = []

    def finish_after_a_while(name: str) -> None:
        if name != "ensure_folder_pool" or waited:
            return
        waited.append(1)
        host.ensure_folder_pool(IMAGES, plan.image_folder)
        host.write_volume(IMAGES, volume, b"\0" * plan.image.virtual_bytes)
        first.finish_upload(volume)

    run(job, Faulty(host, finish_after_a_while))

    instance.refresh_from_db()
    assert instance.phase == "running"
    assert host.volume_names(IMAGES) == [volume]


def test_overtaken_upload_is_not_taken_for_a_whole_one(image: Image) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)

    def overtake(name: str) -> None:
        if name == "upload_volume":
            HostImage.objects.update(upload="somebody-elses")

    run(job, Faulty(host, overtake))

    job.refresh_from_db()
    assert job.state == "failed"
    assert "overtaken by another worker" in job.internal_detail
    assert HostImage.objects.get().volume == ""


def test_image_that_vanished_from_the_host_is_sent_again(image: Image) -> None:
    host = SimulatedHypervisor()
    _, first = ordered(image)
    run(first, host)
    (gone,) = host.volume_names(IMAGES)
    host.delete_volume(IMAGES, gone)

    _, second = ordered(image, label="other")
    run(second, host)

    second.refresh_from_db()
    (there,) = host.volume_names(IMAGES)
    assert (second.state, there != gone) == ("succeeded", True)
    assert HostImage.objects.get().volume == there


def test_full_pool_fails_with_a_clear_message_and_frees_all(image: Image) -> None:
    host = SimulatedHypervisor()
    host.pool_sizes[IMAGES] = 1 << 20
    _, job = ordered(image)

    run(job, host)

    job.refresh_from_db()
    assert job.public_message.startswith("The host has no room for this image.")
    assert "gpucloud-images has 1 MiB free, the image has 2 MiB" in job.internal_detail
    assert (host.volume_names(IMAGES), host.volume_names(DISKS)) == ([], [])
    assert open_addresses() == 0


def test_image_with_a_bad_digest_fails_the_launch_and_frees_all(
    image: Image, tmp_path: Path
) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)
    (tmp_path / "disk.raw").write_bytes(b"\0" * (2 << 20))

    run(job, host)

    job.refresh_from_db()
    assert job.state == "failed"
    assert job.public_message == CANNOT_BE_HAD
    assert "has the SHA-256 digest" in job.internal_detail
    assert (host.volume_names(IMAGES), host.volume_names(DISKS)) == ([], [])
    assert open_addresses() == 0


def test_damaged_copy_of_this_machine_never_reaches_a_guest(
    image: Image, tmp_path: Path
) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / image.sha256).write_bytes(b"\0" * (2 << 20))

    run(job, host)

    job.refresh_from_db()
    assert job.public_message == "The image is damaged. We have been told."
    assert host.volume_names(IMAGES) == []


def test_refused_upload_fails_the_launch_and_lets_the_next_try(image: Image) -> None:
    host = SimulatedHypervisor()
    _, job = ordered(image)
    refusing = Faulty(host, failing("upload_volume", HypervisorError("no", 38), 1))

    run(job, refusing)
    _, again = ordered(image, label="other")
    run(again, refusing)

    job.refresh_from_db()
    again.refresh_from_db()
    assert (job.state, again.state) == ("failed", "succeeded")


def test_guest_that_runs_keeps_its_disk(image: Image) -> None:
    """A worker that was overtaken comes late to a step that is long done."""
    host = SimulatedHypervisor()
    instance, job = ordered(image)
    run(job, host)
    before = dict(host.volumes)
    row = host_of(instance)
    assert row is not None
    plan = disk_plan_of(instance, setup_of(row))
    assert plan is not None
    spec = spec_of(instance)
    assert spec is not None
    context = StepContext(
        InstanceRecords(job),
        Machine(host, spec),
        InstanceStorage(instance, image, row, plan),
        lambda _: None,
    )

    disk_steps.CreateDisk().do(context)
    disk_steps.WriteSeed().do(context)
    with pytest.raises(HypervisorError, match="still runs"):
        disk_steps.DeleteDisk().do(context)

    assert host.volumes == before


def test_no_free_address_refuses_the_launch_and_claims_nothing(image: Image) -> None:
    host = make_host()
    make_network(host, first=10, last=10)
    ordered(image)

    with pytest.raises(NoCapacity, match=r"no address pool for .* has a free") as lost:
        ordered(image, label="other")

    message = lost.value.public_message
    assert message.startswith("No IPv4 address is available in us-east")
    assert Instance.objects.count() == 1
    assert open_addresses() == 1


def test_image_larger_than_the_disk_is_refused_before_anything_is_claimed(
    image: Image,
) -> None:
    with pytest.raises(InvalidRequest, match=r"needs 2 MB of disk; .* has 1 MB"):
        ordered(image, plan=make_plan(cards=0, disk_mib=1).slug)

    assert Instance.objects.count() == 0


def test_bad_keys_users_and_user_data_are_refused(image: Image) -> None:
    account = make_account()
    guest = GuestSettings(keys=("nonsense",), users=("nobody",), user_data=b"x" * 65536)

    with pytest.raises(InvalidRequest) as caught:
        ordered(image, account=account, settings=guest)

    fields = [field for field, _ in caught.value.errors]
    assert fields == ["metadata.user_data", "authorized_keys", "authorized_users"]


def test_keys_of_named_users_may_log_in(image: Image) -> None:
    account, user = make_account(), make_user("mia")
    account.members.add(user)
    user.ssh_keys.create(label="a", ssh_key=KEY)  # type: ignore[attr-defined]

    ordered(image, account=account, settings=GuestSettings(users=("mia",)))

    assert SeedSettings.objects.get().authorized_keys == [KEY]
