"""How soon a task begins after its commit, beside bare LISTEN and SKIP LOCKED; idle CPU.

    python -m benchmarks.job_start [--tasks 300]

One producer, a commit every 50 ms, blocks of both sides in turn. Ours: `manage.py
run_workers` with 4 workers, as it runs in production. Bare: one process with psycopg that
listens, and takes rows with FOR UPDATE SKIP LOCKED.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.db import connection, transaction

from benchmarks.own_database import own_database

BLOCK = 50
PAUSE_S = 0.05
IDLE_S = 20.0
FOLDER = "BENCHMARK_FOLDER"
_TICK = os.sysconf("SC_CLK_TCK")


def note(sent: float) -> None:
    """Write down how long after its commit this task began; called by a worker."""
    _append("ours", time.time() - sent)


def _append(side: str, seconds: float) -> None:
    with (Path(os.environ[FOLDER]) / side).open("a", encoding="ascii") as file:
        file.write(f"{seconds}\n")


def take_rows() -> None:
    """Be the bare side: take rows until killed."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
        own.execute("LISTEN bench_tasks")
        while True:
            with own.transaction():
                row = own.execute(
                    "DELETE FROM bench_task WHERE id = (SELECT id FROM bench_task "
                    "ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING sent"
                ).fetchone()
            if row is not None:
                _append("bare", time.time() - row[0])
                continue
            for _ in own.notifies(timeout=1.0, stop_after=1):
                pass


def send_ours() -> None:
    from django_q.tasks import async_task  # noqa: TID251 -- what is measured

    with transaction.atomic():
        async_task("benchmarks.job_start.note", time.time())


def send_bare() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_task (sent) VALUES (%s)", [time.time()])
        cursor.execute("NOTIFY bench_tasks")


@contextmanager
def running(*arguments: str) -> Iterator[int]:
    child = subprocess.Popen([sys.executable, *arguments], start_new_session=True)
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


def family(first: int) -> set[int]:
    """Return a process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[1])
    found, more = set(), {first}
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in found} - found
    return found


def cpu_s(pids: set[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(map(int, fields[11:13]))
    return total / _TICK


def wait_for(folder: Path, side: str, count: int) -> list[float]:
    """Return the times of a side once all are there, in milliseconds."""
    deadline = time.monotonic() + 60
    while True:
        path = folder / side
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [float(line) * 1e3 for line in lines]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{side}: {len(lines)} of {count} tasks began")
        time.sleep(0.1)


def measure(folder: Path, tasks: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_task (id bigserial PRIMARY KEY, sent float8)"
        )
    bare = "from benchmarks.job_start import take_rows; take_rows()"
    with running("manage.py", "run_workers") as ours, running("-c", bare):
        sides: dict[str, Callable[[], None]] = {"ours": send_ours, "bare": send_bare}
        for send in sides.values():
            send()
        for side in sides:
            wait_for(folder, side, 1)
        cluster = family(ours)
        before = cpu_s(cluster)
        time.sleep(IDLE_S)
        idle = (cpu_s(cluster) - before) / IDLE_S
        for _ in range(tasks // BLOCK):
            for send in sides.values():
                for _ in range(BLOCK):
                    send()
                    time.sleep(PAUSE_S)
        for side in sides:
            times = sorted(wait_for(folder, side, tasks + 1)[1:])
            p99 = times[len(times) * 99 // 100]
            print(f"{side}: p50 {statistics.median(times):.2f} ms, p99 {p99:.2f} ms")
        print(f"idle cluster: {idle * 100:.2f}% of a core ({len(cluster)} processes)")


def main() -> None:
    parser = argparse.ArgumentParser(description="From commit to begin of a task.")
    parser.add_argument("--tasks", type=int, default=300)
    tasks = parser.parse_args().tasks
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        with own_database("job_start"):
            measure(Path(folder), tasks)


if __name__ == "__main__":
    main()
