"""Keeps two runs in one checkout apart."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.problems import Busy

POLL_S = 0.5
SAY_AGAIN_S = 30.0


@contextmanager
def exclusive(path: Path, what: str, wait_s: float = 0) -> Iterator[None]:
    """Hold the lock while the block runs.

    Raises: Busy with the holder's pid, after wait_s seconds of waiting for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Append mode: the holder's pid must stay readable for whoever fails to get it.
    with path.open("a+", encoding="ascii") as stream:
        _acquire(stream.fileno(), path, what, wait_s)
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def is_held(path: Path) -> bool:
    """Say whether some process holds the lock now."""
    if not path.exists():
        return False
    with path.open("a+", encoding="ascii") as stream:
        return not _try(stream.fileno())


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(descriptor: int, path: Path, what: str, wait_s: float) -> None:
    start = said = time.monotonic()
    while not _try(descriptor):
        now = time.monotonic()
        holder = path.read_text(encoding="ascii").strip() or "unknown"
        if now - start >= wait_s:
            raise Busy(
                f"{what} is already running here (pid {holder})",
                "wait for it, then run the same command again",
            )
        if now - said >= SAY_AGAIN_S or said == start:
            print(f"   waiting for {what} (pid {holder})", flush=True)
            said = now
        time.sleep(POLL_S)
