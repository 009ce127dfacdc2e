"""Start the servers that are compared, and read CPU seconds of process trees."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GUNICORN = (
    *("-w", "2", "-k", "gthread", "--threads", "4", "--keep-alive", "60"),
    *("--no-control-socket", "--log-level", "warning"),
)
_TICK = os.sysconf("SC_CLK_TCK")


def database_url(name: str) -> str:
    """Return the URL of a database of that name in this clone's PostgreSQL."""
    command = [sys.executable, "-m", "deploy.local", "database", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def postmaster() -> int:
    return int(Path(".local/pg/data/postmaster.pid").read_text().splitlines()[0])


@contextmanager
def serving(
    program: str, application: str, env: dict[str, str]
) -> Iterator[tuple[int, int]]:
    """Run gunicorn with two workers; give its port and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [program, *GUNICORN, "-b", f"127.0.0.1:{port}", application],
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing answers on port {port}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its children, ended ones included."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(entry.name) == pid:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            total += sum(map(int, fields[11:13]))
    return total / _TICK
