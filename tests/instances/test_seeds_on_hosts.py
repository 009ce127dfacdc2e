"""Seeds on hosts: never torn, never missing, and no secret is left of an old one."""

import pytest

from instances.actions.password import reset_password
from instances.cloud_init import files_of, seed_image
from instances.models import Image, Instance, Job
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.models import GuestSetup
from tests.instances.test_disk_steps import DISKS, image, seed_of
from tests.instances.test_jobs import expire_lease, run
from tests.instances.test_power import (
    NEW_HASH,
    asked,
    assert_keeps_all,
    boot,
    made,
    no_grace,
    rebuilt,
)
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["image", "no_grace"]

pytestmark = pytest.mark.django_db


def reset(instance: Instance) -> Job:
    return reset_password(instance, NEW_HASH, "user:tester", "tester")


def test_torn_seed_is_not_taken_for_a_whole_one() -> None:
    files = {"meta-data": b"m" * 9000, "user-data": b"u" * 9000}
    whole = seed_image(files)
    end = whole.rindex(b"u") + 1

    for length in range(0, end, 512):
        ends_early = whole[:length]
        has_a_hole = ends_early.ljust(len(whole), b"\0")
        assert files_of(ends_early) != files
        assert files_of(has_a_hole) != files
    assert files_of(whole[:end].ljust(len(whole), b"\0")) == files


@pytest.mark.parametrize("kept", [0, 1, 33000, 36000, 50000])
def test_reset_that_fails_in_the_write_leaves_a_whole_seed(
    image: Image, kept: int
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    old = seed_of(host, instance)
    job = reset(instance)
    write = host.write_volume

    def torn(pool: str, volume: str, content: bytes) -> None:
        host.write_volume = write  # type: ignore[method-assign]
        write(pool, volume, content[:kept].ljust(len(content), b"\0"))
        raise HypervisorError("cut off", 38)

    host.write_volume = torn  # type: ignore[method-assign]
    run(job, host)

    job.refresh_from_db()
    assert job.state == "failed"
    new = seed_of(host, instance)
    for name in ("meta-data", "user-data", "network-config"):
        assert new[name] == old[name]
    assert_keeps_all(instance, host)


def test_reset_that_fails_before_the_write_leaves_the_old_seed(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    old = dict(host.volumes)
    host.start_domain(str(instance.uuid))
    job = reset(instance)
    calls: list[str] = []

    run(job, Faulty(host, calls.append))

    job.refresh_from_db()
    assert job.state == "failed"
    assert "write_volume" not in calls
    assert host.volumes.items() >= old.items()


@pytest.mark.parametrize("is_wiped", [True, False])
def test_reset_wipes_the_old_seed_where_disks_are_wiped(
    image: Image, is_wiped: bool
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    GuestSetup.objects.update(wipes_disks=is_wiped)
    calls: list[str] = []

    run(reset(instance), Faulty(host, calls.append))

    done = [name for name in calls if name.endswith(("wipe_volume", "delete_volume"))]
    assert done == (["wipe_volume"] if is_wiped else []) + ["delete_volume"]


def test_missing_seed_is_told_and_a_rebuild_heals_it(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    host.delete_volume(DISKS, f"{instance.uuid}-seed.iso")
    job = asked(boot)(instance)
    run(job, host)
    job.refresh_from_db()
    assert job.public_message == "The disk of this Linode is missing. Rebuild it."

    run(rebuilt(instance), host)

    instance.refresh_from_db()
    assert instance.phase == "running"
    assert_keeps_all(instance, host)


def test_silent_host_in_a_reset_gets_its_seed_when_it_answers(image: Image) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=False)
    old = seed_of(host, instance)
    job = reset(instance)
    silent = [False]

    def before(name: str) -> None:
        if silent[0]:
            raise HostUnreachable("silent")
        if name == "write_volume":
            host.create_volume(DISKS, f"{instance.uuid}-seed.iso", 4096, "raw")
            silent[0] = True
            raise HostUnreachable("silent")

    run(job, Faulty(host, before))
    Job.objects.filter(pk=job.pk).update(deadline_at="2020-01-01T00:00:00Z")
    expire_lease(job)
    run(job, host)

    job.refresh_from_db()
    assert job.state == "failed"
    assert seed_of(host, instance)["user-data"] == old["user-data"]
    assert_keeps_all(instance, host)
