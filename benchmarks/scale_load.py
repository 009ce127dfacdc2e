"""All at once: clients over HTTP, hosts compared, jobs done, pages and reports read.

Import only after django.setup(). Hosts answer at once, from the memory of this process.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import close_old_connections, connection

from benchmarks import servers
from benchmarks.fleet import Fleet, keep_up
from instances import watchdog
from instances.jobs import card_work, leases, runner
from instances.reconcile import reconcile
from inventory.hypervisor.port import Hypervisor
from inventory.models import Host
from tests.builders import make_account, make_image, make_plan, make_token

PLAN, REGION, CLIENTS = "scale-1", "us-east", 8
# A launch waits a second on purpose, to see whether its guest dies at once.
JOB_THREADS = 8
# What a customer's tool asks for before it launches.
ROUND = ("/linode/types", "/regions/availability", "/linode/instances")


@dataclass(frozen=True, slots=True)
class Customer:
    token: str


def customers() -> list[Customer]:
    make_plan(PLAN, cards=1, vcpus=8, memory_mib=65536)
    make_image()
    return [
        Customer(make_token(make_account(f"Client {number}")))
        for number in range(CLIENTS)
    ]


def all_at_once(fleet: Fleet, of: list[Customer], seconds: float) -> dict[str, str]:
    """Return latencies, what was done a second, and the cores that each part took."""
    worker, stored = Worker(fleet), _stored()
    with servers.serving(
        str(Path(sys.executable).with_name("gunicorn")),
        "gpucloud_site.wsgi:application",
        {},
    ) as (port, web):
        # It looks at nothing of this process: its own database session, its own caches.
        reader = _python("benchmarks.scale_reader")
        clients = _python("benchmarks.scale_client", str(port), str(seconds))
        pids = {
            "web (2 processes)": web,
            "worker (compares and does jobs)": os.getpid(),
            "reader of pages and reports": reader.pid,
            "PostgreSQL": servers.postmaster(),
        }
        before = {part: servers.cpu_seconds(pid) for part, pid in pids.items()}
        began = time.monotonic()
        with worker:
            wanted = {
                "tokens": [customer.token for customer in of],
                "body": {"type": PLAN, "region": REGION, "image": "gpucloud/probe"},
                "round": ROUND,
            }
            told, _ = clients.communicate(json.dumps(wanted))
            took_s = time.monotonic() - began
            spent = {
                part: servers.cpu_seconds(pid) - before[part]
                for part, pid in pids.items()
            }
            read, _ = reader.communicate("")
    answers, pages = json.loads(told), json.loads(read)
    requests = answers["took_ms"]
    asked = sum(len(each) for kind, each in requests.items() if " to " not in kind)
    lives = len(requests["delete to gone"])
    grown = [(now - then) / lives for now, then in zip(_stored(), stored, strict=True)]
    return {
        "requests a second": f"{asked / took_s:.0f}",
        "requests that failed": "; ".join(answers["failed"]) or "0",
        "launched and deleted a second": f"{lives / took_s:.1f}",
        "rows that each leaves; WAL of all": (
            f"{grown[0]:.0f}; {grown[1] / 1024:.0f} KiB"
        ),
        **{f"{kind}, ms": _percentiles(each) for kind, each in requests.items()},
        "hosts compared a second (due)": (
            f"{worker.compared / took_s:.1f} ({worker.due_a_second:.1f})"
        ),
        "differences found": str(worker.differences),
        **{f"{title}, ms": _percentiles(each) for title, each in pages.items()},
        **{f"cores: {part}": f"{s / took_s:.2f}" for part, s in spent.items()},
    }


def _stored() -> tuple[float, float]:
    """Return the rows of all tables, and the bytes of WAL that were ever written."""
    tables = connection.introspection.table_names()
    counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}, pg_current_wal_lsn() - '0/0'::pg_lsn")
        rows, wal = cursor.fetchone()
    return float(rows), float(wal)


def _python(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", module, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _percentiles(took: list[float]) -> str:
    if len(took) < 2:
        return " ".join(f"{each:.0f}" for each in took) or "-"
    parts = statistics.quantiles(took, n=100, method="inclusive")
    return f"{parts[49]:.0f} / {parts[94]:.0f} / {parts[98]:.0f}"


class Worker:
    """Compare every host once in a cycle, and do the jobs, in threads.

    Hosts are in memory, so that one process must do both; really there are several.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._is_over = threading.Event()
        self._jobs = ThreadPoolExecutor(JOB_THREADS)
        self._at_work: dict[int, Future[None]] = {}
        self._threads = [
            threading.Thread(target=self._until_over, args=(work,))
            for work in (self._compare_next, self._do_jobs)
        ]
        uris = dict(Host.objects.values_list("libvirt_uri", "pk"))
        self._hosts = {uri: fleet.hypervisors[pk] for uri, pk in uris.items()}
        self._ids = list(fleet.hypervisors)
        self._began = time.monotonic()
        self.due_a_second = len(self._ids) / settings.RECONCILE_CYCLE_S
        self.compared = self.differences = 0

    def __enter__(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._jobs.shutdown()

    def _until_over(self, work: Callable[[], bool]) -> None:
        while not self._is_over.is_set():
            if not work():
                time.sleep(0.02)
        close_old_connections()
        connection.close()

    def _compare_next(self) -> bool:
        due = self.due_a_second * (time.monotonic() - self._began)
        if self.compared >= due:
            return False
        host_id = self._ids[self.compared % len(self._ids)]
        hypervisor = self._fleet.hypervisors[host_id]
        keep_up(hypervisor)
        self.differences += len(reconcile(host_id, hypervisor))
        watchdog.revive(host_id)
        card_work.plan(host_id)
        self.compared += 1
        return True

    def _do_jobs(self) -> bool:
        waiting = set(leases.waiting_jobs().values_list("pk", flat=True))
        for job_id in waiting - self._at_work.keys():
            self._at_work[job_id] = self._jobs.submit(self._do_job, job_id)
        for job_id in [pk for pk, work in self._at_work.items() if work.done()]:
            self._at_work.pop(job_id).result()
        return False

    def _do_job(self, job_id: int) -> None:
        runner.run(job_id, self._connect)

    def _connect(self, uri: str) -> Hypervisor:
        return self._hosts[uri]
