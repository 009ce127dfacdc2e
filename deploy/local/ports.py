"""Which TCP port of the loopback address a service gets."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

from deploy.local.problems import LocalStackError

LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range (32768 up), or an outgoing connection may sit on it.
RANDOM_RANGE = range(20000, 30000)
TRIES = 200


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, or a connection in TIME_WAIT makes the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def preferred_or_next(preferred: int, free: Callable[[int], bool] = is_free) -> int:
    """Return the preferred port, or the next free one above it."""
    for port in range(preferred, min(preferred + TRIES, 65536)):
        if free(port):
            return port
    raise LocalStackError(
        f"no free port from {preferred} up", "end what listens there, then try again"
    )


def random_free(free: Callable[[int], bool] = is_free) -> int:
    """Return a free port that nothing else is likely to want."""
    for _ in range(TRIES):
        port = secrets.choice(RANDOM_RANGE)
        if free(port):
            return port
    raise LocalStackError(
        f"no free port in {RANDOM_RANGE.start}-{RANDOM_RANGE.stop}",
        "end what listens there, then try again",
    )
