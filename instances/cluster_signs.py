"""Signs of life that a django-q2 cluster leaves in a folder for the supervisor beside it.

They are files, so that neither a wedged cluster nor a silent database can hold them back.
Where nobody supervises, nothing is written. A sign's time is the machine's monotonic
clock, kept as the file's modification time: a clock that is set makes nobody look dead.
"""

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

FOLDER_VARIABLE = "GPUCLOUD_CLUSTER_SIGNS"
_STOP = "stop"
_TASK = "task"


class Part(StrEnum):
    """Processes of a cluster that have a rhythm of their own."""

    GUARD = "guard"
    PUSHER = "pusher"


class Stage(StrEnum):
    """How far a task is that this cluster took from the queue."""

    TAKEN = "taken"
    BEGUN = "begun"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class TaskSign:
    """A task that this cluster took and has not acknowledged. at: monotonic seconds.

    delivery: the key of its OrmQ row. pid: of the process that wrote the sign.
    """

    delivery: int
    stage: Stage
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Signs:
    folder: Path

    def note(self, part: Part) -> None:
        """Say that a part of the cluster is at its work."""
        self._write(self.folder / part)

    def noted_at(self, part: Part) -> float | None:
        """Return when the part gave its last sign, in monotonic seconds; None: never."""
        return _time_of(self.folder / part)

    def reached(self, delivery: int, stage: Stage) -> None:
        """Say that a task has come so far; what was said of it before is replaced."""
        older = self._files_of(delivery)
        if older and stage is Stage.TAKEN:
            # Delivered once more, after long waiting, while a worker is at it.
            return
        new = self.folder / f"{_TASK}-{delivery}-{stage}-{os.getpid()}"
        self._write(new)
        for path in older:
            if path != new:
                path.unlink(missing_ok=True)

    def forget(self, delivery: int) -> None:
        """Say that a task is acknowledged, or somebody else's again."""
        for path in self._files_of(delivery):
            path.unlink(missing_ok=True)

    def tasks(self) -> list[TaskSign]:
        """Return what this cluster took and has not acknowledged."""
        found = []
        for path in self.folder.glob(f"{_TASK}-*"):
            _, delivery, stage, pid = path.name.split("-")
            at = _time_of(path)
            if at is not None:
                found.append(TaskSign(int(delivery), Stage(stage), int(pid), at))
        return found

    def tell_to_stop(self) -> None:
        """Have workers let go of their jobs at the next step."""
        self._write(self.folder / _STOP)

    def is_told_to_stop(self) -> bool:
        return (self.folder / _STOP).exists()

    def clear(self) -> None:
        """Forget all: the next cluster begins anew."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    def _files_of(self, delivery: int) -> list[Path]:
        return list(self.folder.glob(f"{_TASK}-{delivery}-*"))

    def _write(self, path: Path) -> None:
        now = time.monotonic_ns()
        try:
            path.touch()
            os.utime(path, ns=(now, now))
        except FileNotFoundError:
            # The supervisor has ended and taken its folder along.
            return


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime_ns / 1e9
    except FileNotFoundError:
        return None


def _supervised() -> Signs | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    return Signs(Path(folder)) if folder else None


def note(part: Part) -> None:
    if signs := _supervised():
        signs.note(part)


def reached(delivery: int, stage: Stage) -> None:
    if signs := _supervised():
        signs.reached(delivery, stage)


def forget(delivery: int) -> None:
    if signs := _supervised():
        signs.forget(delivery)


def is_told_to_stop() -> bool:
    """Say whether this process belongs to a cluster that is told to end."""
    signs = _supervised()
    return signs is not None and signs.is_told_to_stop()
