"""What the driver says of volumes that libvirt is still at, and of files of this machine."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from inventory.exceptions import HostUnreachable, HypervisorError, VolumeBusy
from inventory.hypervisor import supervised
from inventory.hypervisor.port import Backing
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.gpuhost.local_libvirtd import LocalLibvirtd, local_libvirtd

MIB = 1 << 20
POOL = "busy"
SOURCE = Backing("default-pool", "a.raw", "raw")


@pytest.fixture
def memory_host() -> Iterator[SupervisedHypervisor]:
    driver = SupervisedHypervisor("test:///default")
    driver.create_volume("default-pool", "a.raw", MIB, "raw")
    yield driver
    driver.close()


@pytest.mark.parametrize("verb", ["wipe", "clone"])
def test_work_beyond_its_deadline_is_no_silent_host(
    memory_host: SupervisedHypervisor, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "COPY_TIMEOUT_S", 0.0)
    calls = {
        "wipe": partial(memory_host.wipe_volume, "default-pool", "a.raw"),
        "clone": partial(memory_host.clone_volume, "default-pool", "b.raw", SOURCE),
    }

    with pytest.raises(VolumeBusy, match=r"no answer to .* in time"):
        calls[verb]()

    assert memory_host.pools()["default-pool"]


def test_file_that_is_gone_here_is_no_silent_host(
    memory_host: SupervisedHypervisor, tmp_path: Path
) -> None:
    with pytest.raises(HypervisorError, match="No such file") as caught:
        memory_host.upload_volume("default-pool", "a.raw", str(tmp_path / "x"), 0, 1)

    assert not isinstance(caught.value, HostUnreachable)
    assert memory_host.volume_names("default-pool") == ["a.raw"]


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[LocalLibvirtd]:
    if os.geteuid() != 0:
        pytest.skip("starting libvirtd needs root")
    with local_libvirtd() as running:
        yield running


def filled(driver: SupervisedHypervisor, folder: Path, volume: str, size: int) -> None:
    """Make a volume that is not sparse: such a one libvirt would truncate, in no time."""
    content = folder / "content"
    content.write_bytes(b"x" * size)
    driver.ensure_folder_pool(POOL, "/var/lib/libvirt/busy")
    driver.create_volume(POOL, volume, size, "raw")
    driver.upload_volume(POOL, volume, str(content), 0, size)


def virsh(libvirtd: LocalLibvirtd, *command: str) -> None:
    arguments = ["virsh", "--connect", libvirtd.uri, *command, "--pool", POOL]
    subprocess.run(arguments, check=False, capture_output=True)  # noqa: S603


def content_of(libvirtd: LocalLibvirtd, volume: str) -> bytes:
    """Return a volume's bytes without the zeros around them."""
    with tempfile.NamedTemporaryFile() as file:
        virsh(libvirtd, "vol-download", volume, file.name)
        return file.read().strip(b"\0")


@pytest.mark.gpuhost
def test_volume_that_libvirt_wipes_for_somebody_else_is_busy(
    libvirtd: LocalLibvirtd, tmp_path: Path
) -> None:
    driver = SupervisedHypervisor(libvirtd.uri)
    filled(driver, tmp_path, "a.raw", 256 * MIB)
    over = threading.Event()
    wiping = threading.Thread(target=_wipe_until, args=(over, libvirtd))
    wiping.start()
    try:
        # VIR_ERR_OPERATION_INVALID
        assert _met_busy(partial(driver.resize_volume, POOL, "a.raw", 256 * MIB)) == 55
        assert _met_busy(partial(driver.delete_volume, POOL, "a.raw")) == 55
    finally:
        over.set()
        wiping.join()
    driver.delete_volume(POOL, "a.raw")
    assert driver.volume_names(POOL) == []
    driver.close()


@pytest.mark.gpuhost
def test_wipe_that_came_to_its_end_is_not_begun_again(
    libvirtd: LocalLibvirtd, tmp_path: Path
) -> None:
    driver = SupervisedHypervisor(libvirtd.uri)
    mark = tmp_path / "mark"
    mark.write_bytes(b"y" * 512)
    for _ in ("first", "another of its name"):
        filled(driver, tmp_path, "b.raw", 64 * MIB)
        driver.wipe_volume(POOL, "b.raw")
        assert content_of(libvirtd, "b.raw") == b""

        virsh(libvirtd, "vol-upload", "b.raw", str(mark), "--offset", f"{32 * MIB}")
        driver.wipe_volume(POOL, "b.raw")

        assert content_of(libvirtd, "b.raw") == b"y" * 512
        driver.delete_volume(POOL, "b.raw")
        assert driver.volume_names(POOL) == []
    driver.close()


@pytest.mark.gpuhost
@pytest.mark.parametrize("left", [0, 64 * MIB - 512])
def test_wipe_that_libvirt_did_not_end_is_begun_again(
    libvirtd: LocalLibvirtd, tmp_path: Path, left: int
) -> None:
    """left: where a sector is that is no zeros: at the first byte, or at the last."""
    driver = SupervisedHypervisor(libvirtd.uri)
    mark = tmp_path / "mark"
    mark.write_bytes(b"y" * 512)
    filled(driver, tmp_path, "c.raw", 64 * MIB)
    driver.wipe_volume(POOL, "c.raw")
    for offset in (left, 32 * MIB):
        virsh(libvirtd, "vol-upload", "c.raw", str(mark), "--offset", str(offset))
    assert content_of(libvirtd, "c.raw") != b""

    driver.wipe_volume(POOL, "c.raw")

    assert content_of(libvirtd, "c.raw") == b""
    driver.delete_volume(POOL, "c.raw")
    driver.close()


def _wipe_until(over: threading.Event, libvirtd: LocalLibvirtd) -> None:
    while not over.is_set():
        virsh(libvirtd, "vol-wipe", "a.raw")


def _met_busy(call: Callable[[], None]) -> int:
    """Return the code with which the call was refused, once it met a wipe."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            call()
        except VolumeBusy as error:
            return error.code
        time.sleep(0.01)
    pytest.fail("no call ever met the wipe of the other")
