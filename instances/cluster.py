"""Runs a django-q2 cluster as a child, restarts it when it is wedged, ends it in order.

A cluster can stand still and look alive (django-q2 #23, #339): a worker that is killed may
take a queue's lock with it, and nobody guards the guard. So each part is judged by what
it does, not by whether its process is there.
"""

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import connection

from instances.cluster_signs import FOLDER_VARIABLE, Part, Signs, Stage, TaskSign
from instances.processes import is_running, members_of

logger = logging.getLogger(__name__)

LOOK_S = 1.0
# How long a cluster may take to its first sign: Django's imports on a busy machine.
START_S = 60.0
_KILL_S = 10.0
# Between restarts, once a cluster has died young again and again.
_PAUSE_S = 30.0
_LAST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """patience_s: how long a part may be silent, or a task wait beside an idle worker.

    task_limit_s: django-q2's own limit of a task. stop_grace_s: how long a cluster that is
    told to end may go on with its steps.
    """

    workers: int
    patience_s: float
    task_limit_s: float
    stop_grace_s: float


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Deliveries that a cluster will not bring to an end. waiting: nobody began them."""

    waiting: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.waiting or self.lost)


def is_guard_silent(signs: Signs, rules: Rules, began: float, now: float) -> bool:
    """Say whether the guard, which is never busy, has been silent for too long."""
    return _silence_s(signs, Part.GUARD, began, now) > _limit_s(
        signs, Part.GUARD, rules
    )


def symptom(signs: Signs, rules: Rules, began: float, now: float) -> str:
    """Say what is wrong if it lasts; empty if nothing is."""
    tasks = signs.tasks()
    if _has_idle_worker(tasks, rules):
        waiting = [task.delivery for task in tasks if task.stage is Stage.TAKEN]
        if waiting:
            return f"delivery {min(waiting)} waits beside an idle worker"
        # While all are busy it waits for room in the cluster's own queue.
        silent_s = _silence_s(signs, Part.PUSHER, began, now)
        if silent_s > _limit_s(signs, Part.PUSHER, rules):
            return "its pusher is silent beside an idle worker"
    done = [t.delivery for t in tasks if t.stage is Stage.DONE and is_running(t.pid)]
    if done:
        return f"the result of delivery {min(done)} is not collected"
    return ""


def _silence_s(signs: Signs, part: Part, began: float, now: float) -> float:
    return now - (signs.noted_at(part) or began)


def _limit_s(signs: Signs, part: Part, rules: Rules) -> float:
    return START_S if signs.noted_at(part) is None else rules.patience_s


def _has_idle_worker(tasks: list[TaskSign], rules: Rules) -> bool:
    busy = [t for t in tasks if t.stage is Stage.BEGUN and is_running(t.pid)]
    return len(busy) < rules.workers


def lost_tasks(signs: Signs, rules: Rules, now: float) -> Leftovers:
    """Return what workers took with them when they died."""
    lost = {
        task.delivery
        for task in signs.tasks()
        if task.stage is not Stage.TAKEN
        and not is_running(task.pid)
        # A result that was sent in time is still collected.
        and (task.stage is Stage.BEGUN or now - task.at > rules.patience_s)
    }
    return Leftovers(lost=frozenset(lost))


def overdue_workers(signs: Signs, rules: Rules, now: float) -> list[int]:
    """Return the pids of workers that django-q2's own time limit did not stop."""
    limit = rules.task_limit_s + rules.patience_s
    return [
        task.pid
        for task in signs.tasks()
        if task.stage is Stage.BEGUN and now - task.at > limit and is_running(task.pid)
    ]


@dataclass
class Supervisor:
    """put_back: gives leftovers to other workers; it may raise, and is called again."""

    command: Sequence[str]
    rules: Rules
    put_back: Callable[[Leftovers], None]
    signs: Signs = field(init=False)
    _child: subprocess.Popen[bytes] | None = None
    _began: float = 0.0
    _owed: Leftovers = field(default_factory=Leftovers)
    _is_owed: bool = True

    def run(self, stopped: threading.Event) -> None:
        """Have a cluster at work until `stopped` is set; then end it."""
        self.signs = Signs(Path(tempfile.mkdtemp(prefix="gpucloud-cluster-")))
        pause_s = 0.0
        try:
            while not stopped.is_set():
                child = self._start()
                fault = self._watch(child, stopped)
                if not fault:
                    self._ask_to_end(child)
                self._kill()
                self._give_up_tasks()
                if fault:
                    lived = time.monotonic() - self._began
                    logger.critical("the cluster is restarted: %s", fault)
                    pause_s = 0.0 if lived > START_S else min(pause_s * 2 + 1, _PAUSE_S)
                    stopped.wait(pause_s)
            self._settle_debts()
        finally:
            self._kill()
            shutil.rmtree(self.signs.folder, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        self.signs.clear()
        self._began = time.monotonic()
        self._child = subprocess.Popen(  # noqa: S603 -- our own command, no shell
            list(self.command),
            env={**os.environ, FOLDER_VARIABLE: str(self.signs.folder)},
            stdin=subprocess.DEVNULL,
            # All of a cluster can be killed, and a Ctrl-C reaches this process alone.
            process_group=0,
        )
        return self._child

    def _watch(self, child: subprocess.Popen[bytes], stopped: threading.Event) -> str:
        """Return what is wrong with the cluster; empty when it is to end."""
        last, since, was_silent = "", time.monotonic(), False
        while not stopped.wait(LOOK_S):
            now = time.monotonic()
            if child.poll() is not None:
                return f"it ended with status {child.returncode}"
            self._kill_overdue(child.pid, now)
            self._owe(lost_tasks(self.signs, self.rules, now))
            self._pay()
            # Twice: a machine that stood still finds every sign old when it goes on.
            is_silent = is_guard_silent(self.signs, self.rules, self._began, now)
            if is_silent and was_silent:
                return f"its guard was silent for more than {self.rules.patience_s:g} s"
            was_silent = is_silent
            seen = symptom(self.signs, self.rules, self._began, now)
            if seen != last:
                last, since = seen, now
            if seen and now - since > self.rules.patience_s:
                return f"{seen}, for {now - since:.0f} s"
        return ""

    def _kill_overdue(self, group: int, now: float) -> None:
        overdue = overdue_workers(self.signs, self.rules, now)
        for pid in set(overdue).intersection(members_of(group) if overdue else []):
            logger.critical("worker %s is killed: its task takes too long", pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _ask_to_end(self, child: subprocess.Popen[bytes]) -> None:
        self.signs.tell_to_stop()
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(self.rules.stop_grace_s)
        except subprocess.TimeoutExpired:
            logger.warning("the cluster did not end in time and is killed")

    def _kill(self) -> None:
        """Leave nothing of the cluster, and return when nothing is left."""
        child = self._child
        if child is None:
            return
        deadline = time.monotonic() + _KILL_S
        while members_of(child.pid) and time.monotonic() < deadline:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.poll()
            time.sleep(0.02)
        child.wait()
        self._child = None

    def _give_up_tasks(self) -> None:
        tasks = self.signs.tasks()
        waiting = frozenset(t.delivery for t in tasks if t.stage is Stage.TAKEN)
        self._owe(Leftovers(waiting, frozenset(t.delivery for t in tasks) - waiting))
        # Of a worker that was killed between two tasks no sign is left, but its lease.
        self._is_owed = True
        self._pay()

    def _settle_debts(self) -> None:
        """Nobody is there to pay later; the first try may meet a connection that is dead."""
        for _ in range(_LAST_TRIES):
            if not self._is_owed:
                return
            time.sleep(LOOK_S)
            self._pay()

    def _owe(self, more: Leftovers) -> None:
        for delivery in more.waiting | more.lost:
            self.signs.forget(delivery)
        self._is_owed = self._is_owed or bool(more)
        self._owed = Leftovers(
            self._owed.waiting | more.waiting, self._owed.lost | more.lost
        )

    def _pay(self) -> None:
        if not self._is_owed:
            return
        try:
            self.put_back(self._owed)
        except DatabaseError:
            logger.exception("what the cluster left is put back later")
            connection.close()
            return
        self._owed, self._is_owed = Leftovers(), False
