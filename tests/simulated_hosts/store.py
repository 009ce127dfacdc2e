"""One simulated host in a file: what it is made of, what it holds, what will go wrong.

SQLite's lock makes callers take turns, and its journal leaves the host whole when one of
them is killed.
"""

import json
import pickle
import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from inventory.exceptions import HostUnreachable
from tests.simulated import SimulatedHypervisor
from tests.simulated_hosts.board import Board, capabilities_of, devices_of
from tests.simulated_hosts.faults import Fault

# The libvirt network that every host has.
NETWORK = "gpucloud"
_WAIT_S = 60.0
_SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE volume (pool TEXT, name TEXT, content BLOB, PRIMARY KEY (pool, name));
"""
# What is kept elsewhere, or is no state.
_APART = ("_capabilities", "_lock", "volumes")


class _Volumes(MutableMapping[tuple[str, str], bytes]):
    """The contents of volumes by pool and name: too large to be read at every call."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getitem__(self, key: tuple[str, str]) -> bytes:
        row = self._db.execute(
            "SELECT content FROM volume WHERE pool = ? AND name = ?", key
        ).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: tuple[str, str], content: bytes) -> None:
        self._db.execute("REPLACE INTO volume VALUES (?, ?, ?)", (*key, content))

    def __delitem__(self, key: tuple[str, str]) -> None:
        gone = self._db.execute("DELETE FROM volume WHERE pool = ? AND name = ?", key)
        if not gone.rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._db.execute("SELECT pool, name FROM volume").fetchall())

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM volume").fetchone()[0])


class HostStore:
    """The host called `name` in a folder of hosts."""

    def __init__(self, folder: Path, name: str) -> None:
        self.uri = f"simulated:///{name}"
        self._name = name
        self._path = folder / f"{name}.host"

    def create(self, board: Board) -> None:
        """Make the host anew, with nothing on it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._path)) as db:
            db.executescript(f"PRAGMA synchronous=OFF; BEGIN; {_SCHEMA} COMMIT;")
        with self._transaction() as db:
            _keep(db, "board", json.dumps(asdict(board)))

    def delay(self, verb: str, seconds: float) -> None:
        """Have a verb of the port take so long; "*" is every verb without its own."""
        with self._transaction() as db:
            _keep(db, "delays", json.dumps(_delays(db) | {verb: seconds}))

    def inflict(self, *faults: Fault) -> None:
        """Have these faults, in place of earlier ones; none heals the host."""
        with self._transaction() as db:
            _keep_faults(db, list(faults))

    def meet(self, verb: str) -> tuple[float, Fault | None]:
        """Count one call; return how long it takes in seconds, and what befalls it."""
        with self._transaction() as db:
            delays = _delays(db)
            befalls, left = None, []
            faults = [
                Fault(*values) for values in json.loads(_fact(db, "faults", "[]"))
            ]
            for fault in faults:
                if fault.verb not in (verb, "*"):
                    left.append(fault)
                    continue
                if fault.passes == 0 and befalls is None:
                    befalls = fault
                if (rest := fault.counted()) is not None:
                    left.append(rest)
            if left != faults:
                _keep_faults(db, left)
        return float(delays.get(verb, delays.get("*", 0.0))), befalls

    @contextmanager
    def host(self) -> Iterator[SimulatedHypervisor]:
        """Give the host itself; what is changed on it is seen by all from then on."""
        with self._transaction() as db:
            board = Board(**json.loads(_fact(db, "board")))
            host = SimulatedHypervisor(
                capabilities_of(board, self._name), devices_of(board)
            )
            host.network_states = {NETWORK: True}
            before = _fact(db, "state", b"")
            if before:
                vars(host).update(pickle.loads(before))  # noqa: S301 -- written below
            else:
                before = _state(host)
            host.volumes = _Volumes(db)  # type: ignore[assignment]
            yield host
            if (after := _state(host)) != before:
                _keep(db, "state", after)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw",
                uri=True,
                timeout=_WAIT_S,
                isolation_level=None,
            )
        except sqlite3.OperationalError as error:
            raise HostUnreachable(f"{self.uri}: there is no such host") from error
        with closing(db):
            # A file that a crash of the whole machine spoils is made again.
            db.execute("PRAGMA synchronous=OFF")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


def _state(host: SimulatedHypervisor) -> bytes:
    state = {name: held for name, held in vars(host).items() if name not in _APART}
    return pickle.dumps(state)


def _fact(db: sqlite3.Connection, name: str, default: Any = None) -> Any:
    row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return default if row is None else row[0]


def _keep(db: sqlite3.Connection, name: str, value: str | bytes) -> None:
    db.execute("REPLACE INTO fact VALUES (?, ?)", (name, value))


def _delays(db: sqlite3.Connection) -> dict[str, float]:
    return dict(json.loads(_fact(db, "delays", "{}")))


def _keep_faults(db: sqlite3.Connection, faults: list[Fault]) -> None:
    _keep(db, "faults", json.dumps([astuple(fault) for fault in faults]))
