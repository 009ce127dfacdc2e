"""Which process is ours, and how exactly that one is ended."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
POLL_S = 0.05


@dataclass(frozen=True)
class Identity:
    """A process for as long as the machine runs: a pid alone is used again."""

    pid: int
    started: int
    boot: str


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that are needed (proc(5))."""

    state: str
    parent: int
    session: int
    started: int


def boot_id() -> str:
    """Return what is new at every boot, as start times count from it."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_stat(pid: int) -> Stat | None:
    """Return the facts of a process, or None if there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2 is the name in brackets and may hold blanks and brackets itself.
    fields = text.rpartition(")")[2].split()
    return Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def identify(pid: int) -> Identity | None:
    """Return the identity of a running process; None if it is gone or a zombie."""
    stat = read_stat(pid)
    if stat is None or stat.state in {"Z", "X"}:
        return None
    return Identity(pid, stat.started, boot_id())


def is_alive(process: Identity) -> bool:
    """Say whether exactly this process runs, not a later one with its pid."""
    return identify(process.pid) == process


def works_in(process: Identity, folder: Path) -> bool:
    """Say whether the process's current folder is this one or lies within it."""
    try:
        current = (PROC / str(process.pid) / "cwd").readlink()
    except OSError:
        return False
    return is_alive(process) and current.is_relative_to(folder)


def session_of(leader: Identity) -> list[Identity]:
    """Return every process of the leader's session, the leader too, if it lives.

    Children that outlive the leader keep its session, so they are found without it.
    """
    now = identify(leader.pid)
    if leader.boot != boot_id() or (now is not None and now != leader):
        return []
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        stat = read_stat(int(entry.name))
        if stat is None or stat.session != leader.pid or stat.started < leader.started:
            continue
        process = identify(int(entry.name))
        if process is not None:
            found.append(process)
    return found


def send(process: Identity, number: int) -> None:
    """Signal exactly this process; nothing if it is gone."""
    if not is_alive(process):
        return
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return


def wait_gone(processes: list[Identity], timeout_s: float) -> bool:
    """Wait until all have ended; say whether they have."""
    deadline = time.monotonic() + timeout_s
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        _reap(processes)
        time.sleep(POLL_S)
    _reap(processes)
    return True


def end_session(
    leader: Identity, timeout_s: float, first: int = signal.SIGTERM
) -> bool:
    """Ask the leader to end, then kill what is left of its session.

    The first signal goes to the leader alone: django-q2 hangs when its whole process
    group gets it.

    Returns: whether the leader ended by itself in time.
    """
    members = session_of(leader)
    send(leader, first)
    obeyed = wait_gone([leader], timeout_s)
    left = {*members, *session_of(leader)}
    for process in left:
        send(process, signal.SIGKILL)
    wait_gone(list(left), timeout_s=5)
    return obeyed


def _reap(processes: list[Identity]) -> None:
    """Collect those that are children of this process, or they stay as zombies."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue
