"""Which processes of this machine live, by Linux's /proc (proc(5))."""

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_DEAD = {"Z", "X"}


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    group: int
    started: int


def _stat_of(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2 is the name in brackets and may hold blanks and brackets itself.
    fields = text.rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[2]), int(fields[19]))


def is_running(pid: int) -> bool:
    """Say whether there is such a process; one that has ended and was not reaped is none."""
    stat = _stat_of(pid)
    return stat is not None and stat.state not in _DEAD


def members_of(group: int) -> list[int]:
    """Return the pids of a process group that run."""
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    stats = ((pid, _stat_of(pid)) for pid in pids)
    return [
        pid
        for pid, stat in stats
        if stat is not None and stat.group == group and stat.state not in _DEAD
    ]


@functools.cache
def machine() -> str:
    """Name this machine, until its next boot; containers of one machine are several."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    namespace = (_PROC / "self/ns/pid").readlink().name.strip("pid:[]")
    return f"{socket.gethostname()[:64]}/{boot}/{namespace}"


def this_process() -> str:
    """Name this process among all machines' and for ever: pids are used again."""
    return _name(os.getpid())


def is_dead(process: str) -> bool:
    """Say whether a process of this machine, by its name, has ended.

    Of another machine's nothing is known from here: it counts as alive.
    """
    origin, pid, _ = process.rsplit("/", 2)
    if origin != machine():
        return False
    return not is_running(int(pid)) or _name(int(pid)) != process


def _name(pid: int) -> str:
    stat = _stat_of(pid)
    return f"{machine()}/{pid}/{stat.started if stat else 0}"
