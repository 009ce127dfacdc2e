"""Machines of the drill: a unit's own command, in a PID namespace, with a signal to end it."""

from __future__ import annotations

import os
import signal
import string
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.layout import checkout
from deploy.local.problems import LocalStackError
from deploy.local.processes import (
    PROC,
    Identity,
    identify,
    send,
    session_of,
    wait_gone,
)

UNITS = checkout().root / "deploy" / "systemd"
INSTALLED = "/opt/gpucloud/current"
KILLED_S = 10.0
# Each has its own process ids, as a machine has: what died on it is not known elsewhere,
# and its jobs' leases must run out.
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def unit_setting(unit: str, name: str) -> str:
    """Return a setting of deploy/systemd/UNIT.service."""
    path = UNITS / f"{unit}.service"
    lines = path.read_text(encoding="utf-8").splitlines()
    (value,) = (line.partition("=")[2] for line in lines if line.startswith(f"{name}="))
    return value


def installed_unit(unit: Path, code: Path, folder: Path) -> Path:
    """Write the unit as it is where the release is in `code`; return its file."""
    path = folder / unit.name
    path.write_text(unit.read_text(encoding="utf-8").replace(INSTALLED, str(code)))
    return path


@dataclass
class Machine:
    """One service on one machine. code: the release that it is started from."""

    name: str
    unit: str
    env: dict[str, str]
    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, code: Path) -> None:
        """Start the unit's command from a release's folder."""
        text = unit_setting(self.unit, "ExecStart").replace(INSTALLED, str(code))
        command = string.Template(text).substitute(self.env).split()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*NAMESPACE, *command],
                cwd=code,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def members(self) -> list[Identity]:
        """Return all processes of the machine."""
        if self._process is None:
            return []
        leader = identify(self._process.pid)
        return [] if leader is None else session_of(leader)

    def stop(self) -> None:
        """SIGTERM to the first process alone, as KillMode=mixed does; wait for its end.

        Raises: LocalStackError if it takes longer than the unit allows.
        """
        assert self._process is not None  # noqa: S101 -- it was started
        members = self.members()
        for first in _children(self._process.pid):
            send(first, signal.SIGTERM)
        if not wait_gone(members, float(unit_setting(self.unit, "TimeoutStopSec"))):
            raise LocalStackError(
                f"{self.name} did not end in the time of its unit",
                "is TimeoutStopSec above what its parts may take?",
                self.log,
            )
        self._process = None

    def kill(self) -> int:
        """End the whole machine at once, and say how many processes it had."""
        members = self.members()
        for member in members:
            send(member, signal.SIGKILL)
        if not wait_gone(members, KILLED_S):
            raise LocalStackError(
                f"{self.name} cannot be killed", "look at its processes", self.log
            )
        self._process = None
        return len(members)


def _children(pid: int) -> list[Identity]:
    text = (PROC / f"{pid}/task/{pid}/children").read_text(encoding="ascii")
    found = (identify(int(word)) for word in text.split())
    return [process for process in found if process is not None]
