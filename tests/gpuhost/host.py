"""One virtual GPU host: start it, restore it, stop it, look at it.

>>> host = VirtualGpuHost("gpuhost1")
>>> facts = host.start()  # a second; half a minute the first time
>>> libvirt.open(facts.libvirt_uri)
>>> host.restore()  # as if nothing had happened
>>> host.stop()
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.gpuhost import process
from tests.gpuhost.channels import libvirtd_answers, shell
from tests.gpuhost.errors import (
    HostDiffers,
    HostFailed,
    HostNotRunning,
    QmpClosed,
    QmpRefused,
    ShellFailed,
)
from tests.gpuhost.image import Image, archive, ensure_image, wanted_image
from tests.gpuhost.machine import (
    BOARDS,
    CARDS,
    DEFAULT_BOARD,
    DEFAULT_CARD,
    Board,
    Card,
    host_uuid,
    qemu_command,
)
from tests.gpuhost.paths import default_run_dir, locked
from tests.gpuhost.ports import free_port
from tests.gpuhost.progress import Progress
from tests.gpuhost.qmp import Qmp
from tests.gpuhost.saved_state import SavedState, new_state, save_and_quit, state_for
from tests.gpuhost.warm_up import warm_up

BOOT_DEADLINE_S = 240
RESTORE_DEADLINE_S = 60
_PORT_TAKEN = "host forwarding rule"


@dataclass(frozen=True)
class HostFacts:
    """What is known of a running host; kept as host.json in its run folder."""

    name: str
    uuid: str
    board: str
    card: str
    image: str
    pid: int
    libvirt_port: int
    debug_port: int
    libvirt_uri: str
    run_dir: str
    # A disk image for guests; its folder is the image's.
    tiny_disk: str = ""

    @property
    def card_addresses(self) -> list[str]:
        """Return the PCI addresses of the cards as built in, by index."""
        board = BOARDS[self.board]
        return [board.card_address(index) for index in range(board.cards)]


class VirtualGpuHost:
    """A host by name. Making the object starts nothing; all state is in its run folder.

    Two processes may use the same host: starting and stopping are serialised by a lock.
    """

    def __init__(
        self,
        name: str,
        board: str = DEFAULT_BOARD,
        card: str = DEFAULT_CARD,
        *,
        run_dir: Path | None = None,
        libvirt_port: int | None = None,
        debug_port: int | None = None,
    ) -> None:
        self.name = name
        self.board: Board = BOARDS[board]
        self.card: Card = CARDS[card]
        # resolved: by two spellings of it, one host would be taken for two
        self.run_dir = (run_dir or default_run_dir(name)).resolve()
        self._wanted_ports = (libvirt_port, debug_port)

    @classmethod
    def named(cls, name: str, run_dir: Path | None = None) -> Self:
        """Return the host `name` with the hardware that it was last started with."""
        folder = run_dir or default_run_dir(name)
        facts = _read_facts(folder)
        if facts is None:
            return cls(name, run_dir=run_dir)
        return cls(name, facts.board, facts.card, run_dir=Path(facts.run_dir))

    # --- looking ------------------------------------------------------------------

    def facts(self) -> HostFacts | None:
        """Return the facts of the running host, or None when it does not run."""
        facts = _read_facts(self.run_dir)
        pid = process.running_pid(self.run_dir, self.name)
        return facts if facts and facts.pid == pid else None

    def running(self) -> HostFacts:
        """Return the facts of the running host.

        Raises HostNotRunning.
        """
        facts = self.facts()
        if facts is None:
            raise HostNotRunning(f"host {self.name} does not run")
        return facts

    def shell(self, command: str, timeout_s: float = 60) -> str:
        """Run a command as root inside the host and return its output.

        Raises CommandFailed, ShellFailed, HostNotRunning.
        """
        return shell(self.running().debug_port, command, timeout_s)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Run one QMP command on the host's QEMU and return its answer."""
        self.running()
        with Qmp(self.run_dir) as qmp:
            return qmp(command, **arguments)

    def serial_log(self) -> str:
        """Return what the host wrote on its serial console since it was started."""
        path = self.run_dir / "serial.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def saved_state(self) -> SavedState:
        """Return the saved state that a start of this host would use."""
        return state_for(wanted_image(), self.name, self.board, self.card)

    def wait_until_ready(self, timeout_s: float = RESTORE_DEADLINE_S) -> None:
        """Wait until libvirtd answers, e.g. after it was killed.

        Raises HostFailed when it does not in time.
        """
        facts = self.running()
        ports = (facts.libvirt_port, facts.debug_port)
        self._wait_until_ready(ports, time.monotonic() + timeout_s)

    # --- starting and stopping ----------------------------------------------------

    def start(self) -> HostFacts:
        """Start the host unless it runs, and wait until its libvirtd answers.

        Hidden cost: 2-4 s from a saved state; a minute when there is none; the image's
        build on top when that is missing.
        Raises HostFailed, HostDiffers, BuildFailed.
        """
        with self._locked():
            facts = self.facts()
            if facts is not None:
                if (facts.board, facts.card) != (self.board.name, self.card.name):
                    raise HostDiffers(
                        f"{self.name} runs as board {facts.board} with {facts.card}"
                    )
                return facts
            self._refuse_second_of_the_name()
            return self._start(self._ports())

    def restore(self) -> HostFacts:
        """Throw the running host away and start it clean, with the same URI."""
        with self._locked():
            facts = _read_facts(self.run_dir)
            process.kill(self.run_dir, self.name)
            if facts is None:
                return self._start(self._ports())
            return self._start((facts.libvirt_port, facts.debug_port))

    def boot(self, words: Sequence[str], files: Mapping[str, str]) -> HostFacts:
        """Boot the host anew, with the same URI.

        words: more for its kernel. files: path -> content, on its disk before it boots.
        Hidden cost: 7-14 s, and the image's first boot when no state of it is saved.
        """
        self.restore()
        with self._locked():
            facts = self.running()
            process.kill(self.run_dir, self.name)
            image, ports = ensure_image(), (facts.libvirt_port, facts.debug_port)
            initrd = self._initrd_with(image, files)
            disk = self.saved_state().disk
            deadline = time.monotonic() + BOOT_DEADLINE_S
            ports = self._launch(
                image, disk, "snapshot=on", ports, initrd=initrd, words=words
            )
            self._wait_until_ready(ports, deadline)
            return self._write_facts(image, ports)

    def _initrd_with(self, image: Image, files: Mapping[str, str]) -> Path:
        """Return an initramfs that puts the files on the disk; Linux unpacks both parts."""
        target, more = self.run_dir / "initrd.cpio", self.run_dir / "more.cpio"
        with tempfile.TemporaryDirectory() as folder:
            for path, content in files.items():
                copy = Path(folder, "setup", path.lstrip("/"))
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(content)
            # readable to all, as folders of the disk are
            Path(folder).chmod(0o755)
            archive(Path(folder), more, ())
        target.write_bytes(image.initrd.read_bytes() + more.read_bytes())
        return target

    def stop(self) -> bool:
        """End the host. Returns False when it did not run."""
        with self._locked():
            stopped = process.end(self.run_dir, self.name)
            (self.run_dir / "host.json").unlink(missing_ok=True)
            return stopped

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        return locked(self.run_dir / "lock")

    def _start(self, ports: tuple[int, int]) -> HostFacts:
        image = ensure_image()
        state = state_for(image, self.name, self.board, self.card)
        progress = Progress(self.name)
        for last in (False, True):
            if not state.is_whole:
                break
            try:
                return self._start_from(image, state, ports, progress)
            except HostFailed as error:
                # kept in a file too: a caller that goes on may swallow stderr
                (self.run_dir / "refused.log").write_text(f"{time.ctime()}\n{error}")
                progress.step(f"the saved state is of no use: {error}")
                process.kill(self.run_dir, self.name)
                if last:
                    state.discard()
        with locked(state.folder.with_suffix(".lock")):
            if not state.is_whole:
                self._boot_and_save(image, state, ports, progress)
        return self._start_from(image, state, ports, progress)

    def _start_from(
        self,
        image: Image,
        state: SavedState,
        ports: tuple[int, int],
        progress: Progress,
    ) -> HostFacts:
        deadline = time.monotonic() + RESTORE_DEADLINE_S
        ports = self._launch(image, state.disk, "snapshot=on", ports, state.ram)
        try:
            with Qmp(self.run_dir) as qmp:
                while qmp("query-status")["status"] == "inmigrate":
                    time.sleep(0.02)
                qmp("cont")
            self._wait_until_ready(ports, deadline)
        except (QmpClosed, QmpRefused) as error:
            raise self._failed(str(error)) from error
        progress.step(f"restored; pid {process.running_pid(self.run_dir, self.name)}")
        return self._write_facts(image, ports)

    def _boot_and_save(
        self,
        image: Image,
        state: SavedState,
        ports: tuple[int, int],
        progress: Progress,
    ) -> None:
        deadline = time.monotonic() + BOOT_DEADLINE_S
        progress.step(f"first boot (board {self.board.name}, {self.card.name})")
        with new_state(image, state) as new:
            try:
                options = "snapshot=off,cache=unsafe"
                ports = self._launch(image, new.disk, options, ports)
                self._wait_until_ready(ports, deadline)
                progress.step("libvirtd answers; warm up")
                warm_up(ports[1], self.board, self.card, deadline)
                progress.step("save")
                save_and_quit(self.run_dir, new)
            except (QmpClosed, QmpRefused, ShellFailed, TimeoutError) as error:
                raise self._failed(str(error)) from error
            finally:
                process.kill(self.run_dir, self.name)
        progress.step(f"saved {state.ram.stat().st_size >> 20} MiB of RAM")

    def _launch(
        self,
        image: Image,
        disk: Path,
        disk_options: str,
        ports: tuple[int, int],
        incoming: Path | None = None,
        *,
        initrd: Path | None = None,
        words: Sequence[str] = (),
    ) -> tuple[int, int]:
        """Start QEMU and wait for its QMP socket; returns the ports that it took."""
        for name in ("pid", "qmp.sock", "serial.log"):
            (self.run_dir / name).unlink(missing_ok=True)
        for attempt in range(6):
            command = qemu_command(
                self.name,
                self.board,
                self.card,
                kernel=image.kernel,
                initrd=initrd or image.initrd,
                disk=disk,
                disk_options=f"format=qcow2,{disk_options}",
                run_dir=self.run_dir,
                libvirt_port=ports[0],
                debug_port=ports[1],
                incoming=incoming,
                words=words,
            )
            process.spawn(command, self.run_dir, image.cards_library)
            if self._monitor_answers():
                return ports
            if _PORT_TAKEN not in self._log("qemu.log"):
                break
            time.sleep(0.2)
            if attempt >= 3:  # not about to be free again
                ports = self._ports()
        raise self._failed("QEMU did not start")

    def _monitor_answers(self) -> bool:
        """Wait for the QMP socket; False when QEMU has ended instead."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                with Qmp(self.run_dir, timeout_s=10):
                    return True
            except QmpClosed:
                time.sleep(0.02)
            if self._has_ended():
                return False
        return False

    def _has_ended(self) -> bool:
        if self._log("pid"):  # QEMU makes the file first, and fills it then
            return process.running_pid(self.run_dir, self.name) is None
        # no pid file: still starting, unless it has said why not
        return bool(self._log("qemu.log"))

    def _wait_until_ready(self, ports: tuple[int, int], deadline: float) -> None:
        clock_is_set = False
        while True:
            if process.running_pid(self.run_dir, self.name) is None:
                raise self._failed("QEMU ended")
            if not clock_is_set:
                # a restored host's clock stands at the time of its save
                with contextlib.suppress(ShellFailed):
                    shell(ports[1], f"date -s @{time.time():.0f}", timeout_s=5)
                    clock_is_set = True
            if clock_is_set and libvirtd_answers(ports[0]):
                return
            if time.monotonic() > deadline:
                raise self._failed("libvirtd did not answer in time")
            time.sleep(0.1)

    def _ports(self) -> tuple[int, int]:
        libvirt_port, debug_port = self._wanted_ports
        return libvirt_port or free_port(), debug_port or free_port()

    def _write_facts(self, image: Image, ports: tuple[int, int]) -> HostFacts:
        pid = process.running_pid(self.run_dir, self.name)
        if pid is None:
            raise self._failed("QEMU ended")
        facts = HostFacts(
            name=self.name,
            uuid=host_uuid(self.name),
            board=self.board.name,
            card=self.card.name,
            image=image.hash,
            pid=pid,
            libvirt_port=ports[0],
            debug_port=ports[1],
            libvirt_uri=f"qemu+tcp://127.0.0.1:{ports[0]}/system",
            run_dir=str(self.run_dir),
            tiny_disk=str(image.tiny_disk),
        )
        new = self.run_dir / "host.json.new"
        new.write_text(json.dumps(asdict(facts), indent=1) + "\n")
        new.rename(self.run_dir / "host.json")
        self._publish()
        return facts

    def _publish(self) -> None:
        """Link a run folder that lies elsewhere, so that the name alone finds it."""
        link = default_run_dir(self.name)
        if link.resolve() == self.run_dir:
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)  # of an earlier start there; nothing runs from it
        new = link.with_name(f"{link.name}.{os.getpid()}")
        new.symlink_to(self.run_dir)
        new.rename(link)

    def _refuse_second_of_the_name(self) -> None:
        """Two hosts of one name would have one UUID, and `stop NAME` one meaning."""
        other = type(self).named(self.name)
        if other.run_dir != self.run_dir and other.facts():
            raise HostDiffers(f"{self.name} runs already, from {other.run_dir}")

    def _failed(self, reason: str) -> HostFailed:
        said = self._log("qemu.log")[-1500:]
        serial = self.serial_log()[-1500:]
        return HostFailed(f"{reason}\n--- qemu.log\n{said}\n--- serial.log\n{serial}")

    def _log(self, name: str) -> str:
        path = self.run_dir / name
        return path.read_text(errors="replace") if path.exists() else ""


# What the fixture `virtual_host_factory` gives: (name, board=..., card=...) -> a host.
HostFactory = Callable[..., VirtualGpuHost]


def _read_facts(run_dir: Path) -> HostFacts | None:
    try:
        return HostFacts(**json.loads((run_dir / "host.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
