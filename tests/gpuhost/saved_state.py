"""Saved states: the RAM and disk of a host just after its first boot.

One per image, name and hardware. A state is used only when it is whole; anything wrong
with it costs one boot, never a failure.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.gpuhost.errors import QmpClosed, SaveFailed
from tests.gpuhost.image import Image
from tests.gpuhost.machine import QEMU, Board, Card, qemu_command
from tests.gpuhost.qmp import Qmp

_UNLIMITED_BANDWIDTH = 1 << 40


@dataclass(frozen=True)
class SavedState:
    """The folder of one state; it need not exist yet."""

    folder: Path

    @property
    def ram(self) -> Path:
        return self.folder / "ram"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def is_whole(self) -> bool:
        """Tell whether the files are there with the sizes they were written with."""
        try:
            sizes = json.loads((self.folder / "sizes.json").read_text())
            return sizes == _sizes(self)
        except (OSError, ValueError):
            return False

    def seal(self) -> None:
        """Declare the state whole, as it is now."""
        sizes = json.dumps(_sizes(self))
        (self.folder / "sizes.json").write_text(sizes)

    def discard(self) -> None:
        """Remove the state; no error when it is not there."""
        shutil.rmtree(self.folder, ignore_errors=True)


def state_for(image: Image, name: str, board: Board, card: Card) -> SavedState:
    """Return the state that fits exactly this machine and this QEMU."""
    nowhere = Path("x")
    command = qemu_command(
        name,
        board,
        card,
        kernel=nowhere,
        initrd=nowhere,
        disk=nowhere,
        disk_options="",
        run_dir=nowhere,
        libvirt_port=0,
        debug_port=0,
    )
    facts = json.dumps([command, _qemu_version()])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:12]
    return SavedState(image.folder / "states" / f"{name}-{digest}")


@contextmanager
def new_state(image: Image, final: SavedState) -> Iterator[SavedState]:
    """Give a state to be filled, with a fresh disk; at the end it becomes `final`.

    When the block raises, nothing is left behind.
    """
    building = SavedState(final.folder.with_name(f"new-{os.getpid()}"))
    building.discard()
    building.folder.mkdir(parents=True)
    try:
        shutil.copy(image.empty_overlay, building.disk)
        yield building
        building.seal()
        final.discard()
        building.folder.rename(final.folder)
    finally:
        building.discard()


def save_and_quit(run_dir: Path, state: SavedState, timeout_s: float = 60) -> None:
    """Stop the host, write its RAM to `state`, and end its QEMU.

    No libvirt client may be connected: its connection would be saved as well.
    Raises SaveFailed.
    """
    until = time.monotonic() + timeout_s
    with Qmp(run_dir) as qmp:
        qmp("stop")
        qmp("migrate-set-parameters", **{"max-bandwidth": _UNLIMITED_BANDWIDTH})
        qmp("migrate", uri=f"exec:cat > {shlex.quote(str(state.ram))}")
        while (progress := qmp("query-migrate"))["status"] != "completed":
            if progress["status"] in ("failed", "cancelled"):
                raise SaveFailed(progress.get("error-desc", progress["status"]))
            if time.monotonic() > until:
                raise SaveFailed("not written in time")
            time.sleep(0.05)
        with suppress(QmpClosed):  # it may be gone before it has answered
            qmp("quit")


def _sizes(state: SavedState) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (state.ram, state.disk)}


def _qemu_version() -> str:
    done = subprocess.run([QEMU, "--version"], capture_output=True, text=True)
    return done.stdout
