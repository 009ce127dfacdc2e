"""One contract for volumes: simulated, shared by processes, the virtual GPU host."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.exceptions import HypervisorError
from inventory.hypervisor.port import Backing, Hypervisor
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.gpuhost.host import VirtualGpuHost

POOL = "gpucloud-contract"
FOLDER = "/var/lib/libvirt/gpucloud-contract"
MIB = 1 << 20


@pytest.fixture(params=["simulated", "shared", "virtual-host"])
def hypervisor(request: pytest.FixtureRequest) -> Iterator[Hypervisor]:
    if request.param in ("simulated", "shared"):
        driver = request.getfixturevalue(f"{request.param}_host")
    else:
        host: VirtualGpuHost = request.getfixturevalue("virtual_host")
        driver = SupervisedHypervisor(host.running().libvirt_uri)
    driver.ensure_folder_pool(POOL, FOLDER)
    yield driver
    for name in driver.volume_names(POOL):
        driver.delete_volume(POOL, name)
    driver.close()


def name(suffix: str) -> str:
    return f"{uuid.uuid4().hex[:8]}.{suffix}"


def test_uploaded_file_is_what_the_volume_holds(
    hypervisor: Hypervisor, tmp_path: Path
) -> None:
    content = hashlib.sha256(b"seed").digest() * 4096
    source = tmp_path / "image"
    source.write_bytes(content)
    volume = name("img")

    hypervisor.create_volume(POOL, volume, len(content), "raw")
    for offset in (0, 65536):
        hypervisor.upload_volume(POOL, volume, str(source), offset, 65536)

    assert hypervisor.read_volume_tail(POOL, volume, len(content)) == content
    facts = hypervisor.volume(POOL, volume)
    assert facts is not None
    assert (facts.capacity, facts.format) == (len(content), "raw")
    assert volume in hypervisor.volume_names(POOL)


def test_disk_based_on_an_image_grows_and_goes(hypervisor: Hypervisor) -> None:
    base, disk = name("raw"), name("qcow2")
    hypervisor.write_volume(POOL, base, b"x" * MIB)

    hypervisor.create_volume(POOL, disk, 8 * MIB, "qcow2", Backing(POOL, base, "raw"))
    facts = hypervisor.volume(POOL, disk)
    hypervisor.resize_volume(POOL, disk, 16 * MIB)
    grown = hypervisor.volume(POOL, disk)

    assert facts is not None
    assert grown is not None
    assert (facts.capacity, facts.format) == (8 * MIB, "qcow2")
    assert facts.backing_path == f"{FOLDER}/{base}"
    assert (grown.capacity, grown.backing_path) == (16 * MIB, facts.backing_path)
    with pytest.raises(HypervisorError):
        hypervisor.resize_volume(POOL, disk, 4 * MIB)
    hypervisor.delete_volume(POOL, disk)
    assert hypervisor.volume(POOL, disk) is None
    hypervisor.delete_volume(POOL, disk)


def test_full_copy_stands_alone(hypervisor: Hypervisor) -> None:
    base, disk = name("raw"), name("qcow2")
    hypervisor.write_volume(POOL, base, b"y" * MIB)

    hypervisor.clone_volume(POOL, disk, Backing(POOL, base, "raw"))
    hypervisor.delete_volume(POOL, base)

    facts = hypervisor.volume(POOL, disk)
    assert facts is not None
    assert (facts.capacity, facts.format, facts.backing_path) == (MIB, "qcow2", "")


def test_wiped_volume_reads_as_zeros(hypervisor: Hypervisor) -> None:
    volume = name("raw")
    hypervisor.write_volume(POOL, volume, b"secret" * 1000)

    hypervisor.wipe_volume(POOL, volume)

    assert hypervisor.read_volume_tail(POOL, volume, 6000).strip(b"\0") == b""
    hypervisor.wipe_volume(POOL, "nothing.raw")


def test_name_that_is_taken_is_refused(hypervisor: Hypervisor) -> None:
    volume = name("raw")
    hypervisor.create_volume(POOL, volume, 0, "raw")

    # VIR_ERR_STORAGE_VOL_EXIST
    with pytest.raises(HypervisorError) as caught:
        hypervisor.create_volume(POOL, volume, 0, "raw")
    assert caught.value.code == 90


def test_volume_of_an_unknown_pool_is_refused_and_not_found(
    hypervisor: Hypervisor,
) -> None:
    # VIR_ERR_NO_STORAGE_POOL
    with pytest.raises(HypervisorError) as caught:
        hypervisor.create_volume("no-pool", "a", 0, "raw")
    assert caught.value.code == 49

    assert hypervisor.volume("no-pool", "a") is None
    assert hypervisor.volume_names("no-pool") == []


def test_volume_that_is_not_there_cannot_grow(hypervisor: Hypervisor) -> None:
    # VIR_ERR_NO_STORAGE_VOL
    with pytest.raises(HypervisorError) as caught:
        hypervisor.resize_volume(POOL, "nothing", MIB)
    assert caught.value.code == 50


@pytest.mark.gpuhost
def test_file_that_was_deleted_behind_libvirts_back_is_no_volume(
    virtual_host: VirtualGpuHost,
) -> None:
    driver = SupervisedHypervisor(virtual_host.running().libvirt_uri)
    driver.ensure_folder_pool(POOL, FOLDER)
    volume = name("raw")
    driver.write_volume(POOL, volume, b"z" * 512)
    virtual_host.shell(f"rm {FOLDER}/{volume}")

    assert driver.volume(POOL, volume) is None
    assert volume not in driver.volume_names(POOL)
    driver.close()


def test_libvirts_own_test_driver_creates_lists_and_deletes() -> None:
    driver = SupervisedHypervisor("test:///default")
    try:
        driver.create_volume("default-pool", "a.qcow2", MIB, "qcow2")

        facts = driver.volume("default-pool", "a.qcow2")
        assert facts is not None
        assert (facts.capacity, facts.format) == (MIB, "qcow2")
        assert driver.volume_names("default-pool") == ["a.qcow2"]
        driver.delete_volume("default-pool", "a.qcow2")
        assert driver.volume_names("default-pool") == []
    finally:
        driver.close()
