"""Starts services into the background, and ends exactly those that it started."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.accounts import switch_to
from deploy.local.commands import rotate
from deploy.local.private_file import read_json_object, write_private_json
from deploy.local.problems import ProgramMissing
from deploy.local.processes import Identity, end_session, identify, is_alive


@dataclass(frozen=True)
class Service:
    """What is to run under a name."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    # What besides the command calls for a restart when it changes.
    version: str = ""
    # How long it may take to end by itself, and the signal that asks it to.
    grace_s: float = 30
    stop_signal: int = signal.SIGTERM
    # An account other than that of the caller; only root may ask for one.
    user: str | None = None

    def fingerprint(self) -> str:
        """Return a digest of the command and the version; the environment is apart."""
        facts = json.dumps([list(self.command), self.version])
        return hashlib.sha256(facts.encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """A service that was started."""

    process: Identity
    fingerprint: str
    grace_s: float
    stop_signal: int


class ServiceRegistry:
    """The services of one stack, recorded in one private file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self) -> dict[str, Record]:
        """Return what was started and not ended, by name, in the order of starting."""
        found = read_json_object(self.path).get("services", [])
        return {
            row["name"]: Record(
                Identity(**row["process"]),
                row["fingerprint"],
                row["grace_s"],
                row["stop_signal"],
            )
            for row in found
        }

    def running(self, name: str) -> Identity | None:
        """Return the service's process if it lives."""
        record = self.records().get(name)
        if record is None or not is_alive(record.process):
            return None
        return record.process

    def ensure(self, service: Service) -> bool:
        """Have the service run as described; say whether it had to be started."""
        record = self.records().get(service.name)
        if record is not None:
            same = record.fingerprint == service.fingerprint()
            if same and is_alive(record.process):
                return False
            self.stop(service.name)
        self._start(service)
        return True

    def stop(self, name: str) -> bool:
        """End the service and its children; say whether it lived and obeyed in time.

        Nothing happens to a process that merely has the recorded pid.
        """
        records = self.records()
        record = records.pop(name, None)
        if record is None:
            return True
        obeyed = end_session(record.process, record.grace_s, record.stop_signal)
        self._save(records)
        return obeyed

    def _start(self, service: Service) -> None:
        rotate(service.log)
        with service.log.open("ab") as log:
            try:
                child = subprocess.Popen(
                    list(service.command),
                    cwd=service.cwd,
                    env=dict(service.env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **switch_to(service.user),
                )
            except FileNotFoundError as error:
                raise ProgramMissing(
                    f"{service.command[0]} is not there",
                    "run `make packages`, or remove .venv, then try again",
                ) from error
        # Known to be unfinished business: it goes on after this process ends.
        child.returncode = 0
        process = identify(child.pid)
        if process is None:
            # It is gone already; whoever waits for its answer says so with the log.
            process = Identity(child.pid, -1, "")
        self._save(
            self.records()
            | {
                service.name: Record(
                    process,
                    service.fingerprint(),
                    service.grace_s,
                    service.stop_signal,
                )
            }
        )

    def _save(self, records: Mapping[str, Record]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"name": name, **asdict(row)} for name, row in records.items()]
        write_private_json(self.path, {"services": rows, "writer": os.getpid()})
