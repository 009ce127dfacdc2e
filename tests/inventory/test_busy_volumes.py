"""What the driver says of volumes that libvirt is still at, and of files of this machine."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from inventory.exceptions import HostUnreachable, HypervisorError, VolumeBusy
from inventory.hypervisor import supervised
from inventory.hypervisor.port import Backing, wipe_limit_s
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.gpuhost.local_libvirtd import local_libvirtd

MIB = 1 << 20
POOL = "busy"
SIZE = 256 * MIB
SOURCE = Backing("default-pool", "a.raw", "raw")


@pytest.fixture
def memory_host() -> Iterator[SupervisedHypervisor]:
    driver = SupervisedHypervisor("test:///default")
    driver.create_volume("default-pool", "a.raw", MIB, "raw")
    yield driver
    driver.close()


def test_wipe_of_a_large_disk_may_take_long() -> None:
    assert wipe_limit_s(0) == 600
    assert wipe_limit_s(50 * MIB * 1000) == 1600


@pytest.mark.parametrize("verb", ["wipe", "clone"])
def test_work_beyond_its_deadline_is_no_silent_host(
    memory_host: SupervisedHypervisor, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "COPY_TIMEOUT_S", 0.0)
    monkeypatch.setattr(supervised, "wipe_limit_s", lambda _: 0.0)
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


@pytest.mark.gpuhost
def test_volume_that_libvirt_wipes_for_somebody_else_is_busy(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("starting libvirtd needs root")
    content = tmp_path / "content"
    content.write_bytes(b"x" * SIZE)
    over = threading.Event()
    with local_libvirtd() as libvirtd:
        driver = SupervisedHypervisor(libvirtd.uri)
        driver.ensure_folder_pool(POOL, "/var/lib/libvirt/busy")
        # Not sparse: libvirt would truncate it, in no time.
        driver.create_volume(POOL, "a.raw", SIZE, "raw")
        driver.upload_volume(POOL, "a.raw", str(content), 0, SIZE)
        wiping = threading.Thread(target=_wipe_until, args=(over, libvirtd.uri))
        wiping.start()
        try:
            # VIR_ERR_OPERATION_INVALID
            assert _met_busy(partial(driver.wipe_volume, POOL, "a.raw")) == 55
            assert _met_busy(partial(driver.resize_volume, POOL, "a.raw", SIZE)) == 55
        finally:
            over.set()
            wiping.join()
        driver.delete_volume(POOL, "a.raw")
        assert driver.volume_names(POOL) == []
        driver.close()


def _wipe_until(over: threading.Event, uri: str) -> None:
    other = SupervisedHypervisor(uri)
    while not over.is_set():
        with suppress(VolumeBusy):
            other.wipe_volume(POOL, "a.raw")
    other.close()


def _met_busy(call: Callable[[], None]) -> int:
    """Return the code with which the call was refused, once it met a wipe."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            call()
        except VolumeBusy as error:
            return error.code
    pytest.fail("no call ever met the wipe of the other")
