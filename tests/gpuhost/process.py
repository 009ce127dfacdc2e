"""Start, recognise and end the QEMU process of one host."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.gpuhost.errors import HostImmortal


def spawn(command: list[str], run_dir: Path, preload: Path) -> None:
    """Start QEMU detached, with `run_dir` as its folder and qemu.log as its output.

    It outlives the caller and is no child of it, so nobody has to reap it.
    """
    setsid = shutil.which("setsid") or "setsid"
    with (run_dir / "qemu.log").open("wb") as log:
        subprocess.run(
            [setsid, "--fork", *command],
            cwd=run_dir,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # TMPDIR: snapshot=on puts the changed blocks there (unlinked at once)
            env=os.environ | {"LD_PRELOAD": str(preload), "TMPDIR": str(run_dir)},
            check=True,
        )


def running_pid(run_dir: Path, name: str) -> int | None:
    """Return the pid of the host's QEMU, or None when it does not run.

    The pid file alone proves nothing: numbers are used again. The process must be a
    QEMU of that name that was told to write this very pid file.
    """
    pid_file = run_dir / "pid"
    try:
        pid = int(pid_file.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (OSError, ValueError):
        return None  # a zombie has an empty command line, and fails below
    is_ours = "qemu" in words[0] and f"guest={name}" in words
    return pid if is_ours and str(pid_file) in words else None


def end(run_dir: Path, name: str, grace_s: float = 5) -> bool:
    """End the host's QEMU: SIGTERM, and SIGKILL when it does not obey.

    Returns False when it did not run.
    """
    pid = running_pid(run_dir, name)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    if not _gone(pid, grace_s):
        os.kill(pid, signal.SIGKILL)
        if not _gone(pid, 10):
            raise HostImmortal(f"pid {pid} does not die")
    return True


def kill(run_dir: Path, name: str) -> bool:
    """End the host's QEMU with SIGKILL, as a power cut would."""
    pid = running_pid(run_dir, name)
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    return _gone(pid, 10)


def _gone(pid: int, within_s: float) -> bool:
    """Wait until a process has closed its files, its listening ports among them.

    Its command line is empty before that, and its first thread may be a zombie while
    others still hold the files.
    """
    until = time.monotonic() + within_s
    while not _has_closed_its_files(Path(f"/proc/{pid}")):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _has_closed_its_files(process: Path) -> bool:
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        threads = len(list((process / "task").iterdir()))
    except OSError:
        return True
    return state == "Z" and threads <= 1
