"""Count what work costs: CPU seconds of this process and of PostgreSQL, and queries."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Cost:
    """application_s, postgresql_s: CPU, both user and system. wall_s: as the clock went."""

    application_s: float = 0.0
    postgresql_s: float = 0.0
    wall_s: float = 0.0
    queries: int = 0

    @property
    def cpu_s(self) -> float:
        return self.application_s + self.postgresql_s


@contextmanager
def measured() -> Iterator[Cost]:
    """Give what the block costs, filled in at its end.

    PostgreSQL runs on this machine: its processes are read from /proc, to 1/100 s.
    """
    cost = Cost()

    def count(execute: Any, *args: Any) -> Any:
        cost.queries += 1
        return execute(*args)

    before = _postgresql_s()
    began, began_cpu = time.monotonic(), time.process_time()
    with connection.execute_wrapper(count):
        yield cost
    cost.application_s = time.process_time() - began_cpu
    cost.wall_s = time.monotonic() - began
    after = _postgresql_s()
    cost.postgresql_s = sum(after[pid] - before.get(pid, 0.0) for pid in after)


def _postgresql_s() -> dict[int, float]:
    """Return process -> CPU seconds: our session, and those that write for all."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid() "
            "OR backend_type IN ('walwriter', 'checkpointer', 'background writer')"
        )
        pids = [pid for (pid,) in cursor.fetchall()]
    return {pid: _cpu_s(pid) for pid in pids}


def _cpu_s(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise SystemExit(
            f"PostgreSQL's process {pid} is not on this machine: set DATABASE_URL to a "
            "server here"
        ) from None
    # The name in parentheses may hold blanks (proc(5)); utime and stime are 14 and 15.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
