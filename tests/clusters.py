"""Real workers and web servers, as processes, on the test's database and simulated hosts."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from instances.processes import is_running, members_of
from inventory.hypervisor import schemes, supervised
from tests.builders import make_gpu_model, make_region
from tests.simulated_hosts import HostStore, answer_from
from tests.simulated_hosts.board import Board
from tests.simulated_hosts.fleet import FleetOrder, simulate

# No test asserts how long something takes: this is when it counts as never.
NEVER_S = 90.0
WORKERS = 2


def eventually(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + NEVER_S
    while not happens():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def make_shared_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch, board: Board | None = None
) -> HostStore:
    """Enrol a simulated host that other processes reach; its cards are ready."""
    monkeypatch.setattr(schemes, "_openers", {})
    # An earlier test's host had the same name.
    monkeypatch.setattr(supervised, "_connections", {})
    answer_from(folder)
    make_region()
    make_gpu_model()
    (host,) = simulate(FleetOrder(1, board or Board(2, 2)), folder)
    return HostStore(folder, host.name)


def environment(hosts: Path, **changes: str) -> dict[str, str]:
    """Return the variables of a process that is to see the test's rows and hosts."""
    database = str(connection.settings_dict["NAME"])
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{database}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "GPUCLOUD_LAB": "true",
        "GPUCLOUD_SIMULATED_HOSTS": str(hosts),
        "GPUCLOUD_WORKERS": str(WORKERS),
        "GPUCLOUD_CLUSTER_PATIENCE_S": "2",
        "GPUCLOUD_STOP_GRACE_S": "30",
        **changes,
    }


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children that run, oldest first."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in text.split() if is_running(int(word))]


class Cluster:
    """One `manage.py run_workers`."""

    def __init__(
        self, env: dict[str, str], log: Path, root: Path = settings.BASE_DIR
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 -- our own command
                [sys.executable, str(root / "manage.py"), "run_workers"],
                cwd=root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def main(self) -> int:
        """Return the pid of qcluster's first process; 0 while there is none."""
        return next(iter(children_of(self.process.pid)), 0)

    def guard(self) -> int:
        return next(iter(children_of(self.main())), 0)

    def parts(self) -> list[int]:
        """Return the guard's children in the order of their start: workers come first."""
        return children_of(self.guard())

    def workers(self) -> list[int]:
        return self.parts()[:WORKERS]

    def monitor(self) -> int:
        return self.parts()[WORKERS]

    def pusher(self) -> int:
        return self.parts()[WORKERS + 1]

    def is_whole(self) -> bool:
        return len(self.parts()) >= WORKERS + 2

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def everyone(self) -> list[int]:
        main = self.main()
        return [*members_of(self.process.pid), *(members_of(main) if main else [])]

    def kill(self) -> None:
        for pid in self.everyone():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


@contextmanager
def cluster(
    env: dict[str, str], log: Path, root: Path = settings.BASE_DIR
) -> Iterator[Cluster]:
    """Have a cluster at work that is whole at the beginning; leave nothing of it.

    root: the folder of the code that it runs.
    """
    made = Cluster(env, log, root)
    try:
        eventually(made.is_whole, f"the cluster starts; it said {made.said()}")
        yield made
    finally:
        made.kill()


@contextmanager
def web(
    env: dict[str, str], log: Path, root: Path = settings.BASE_DIR
) -> Iterator[str]:
    """Have a web server of one process at work, and give its address. root: as above."""
    gunicorn = [
        str(Path(sys.executable).with_name("gunicorn")),
        "gpucloud_site.wsgi:application",
        "--no-control-socket",
        *("-k", "gthread", "--threads", "4", "-w", "1", "-b", "127.0.0.1:0"),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 -- our own command
            gunicorn,
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def address() -> str:
        listening = re.search(r"Listening at: (\S+)", log.read_text(encoding="utf-8"))
        return listening[1] if listening else ""

    try:
        eventually(lambda: bool(address()), "the web server listens")
        yield address()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
