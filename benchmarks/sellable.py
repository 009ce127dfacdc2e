"""Time sellable counts against counting card rows: python -m benchmarks.sellable.

10,000 hosts with 80,000 cards, about half of them used, in a database of its own that is
dropped at the end. The sides take turns; "cold" forgets every shape before each turn.
Ends with status 1 if a count is not exact or the ratio is above 0.3.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django
from django.db import connection

LIMIT = 0.3
DATABASE = "gpucloud_bench_sellable"
CHECKED_HOSTS = 500


def cpu_seconds(backend: int) -> float:
    """Return CPU of this process and of its PostgreSQL backend, which is on this machine."""
    stat = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    ticks = int(stat[11]) + int(stat[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Side:
    """One way to count. wall_s: of each round; cpu_s: of all together."""

    name: str
    work: Callable[[], Any]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def run(self, backend: int) -> None:
        cpu, wall = cpu_seconds(backend), time.perf_counter()
        self.work()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s += cpu_seconds(backend) - cpu


def measure(rounds: int) -> list[Side]:
    """Return the sides after `rounds` turns each; the first is what the others are held to."""
    from benchmarks import fleet_rows
    from instances.capacity import sellable_everywhere
    from instances.fitting import fit, times
    from instances.models import Plan
    from inventory.shape import room_in

    plans = list(Plan.objects.select_related("gpu_model"))

    def cold() -> None:
        for function in (fit, times, room_in):
            function.cache_clear()
        sellable_everywhere(plans)

    sides = [
        Side("free card rows by SQL", fleet_rows.free_cards_by_sql),
        Side("sellable, cold", cold),
        Side("sellable, shapes known", lambda: sellable_everywhere(plans)),
    ]
    with connection.cursor() as cursor:
        # What workers of a parallel query spend would be missed.
        cursor.execute("SET max_parallel_workers_per_gather = 0")
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    for _ in range(rounds):
        for side in sides:
            side.run(backend)
    return sides


def inexact() -> list[str]:
    """Compare with launches until refused, on the hosts that are looked at one by one."""
    from collections import Counter

    from instances.capacity import sellable_in
    from instances.models import Plan
    from instances.placement import Placement, place
    from instances.selectors import request_of
    from inventory.models import Host
    from inventory.shape import room_in
    from inventory.snapshots import snapshots_of

    hosts = list(Host.objects.order_by("?")[:CHECKED_HOSTS])
    rooms = Counter(room_in(host.free_shape) for host in hosts)
    wrong = []
    for plan in Plan.objects.select_related("gpu_model"):
        launched = 0
        for host in snapshots_of(hosts):
            left = host
            while isinstance(placed := place(request_of(plan), [left]), Placement):
                left = left.less(placed.shares)
                launched += 1
        if launched != sellable_in(request_of(plan), rooms):
            wrong.append(plan.slug)
    return wrong


def make_plans() -> None:
    from benchmarks.fleet_rows import CPUS_A_CARD, MIB_A_CARD
    from instances.models import Plan
    from inventory.models import GpuModel

    model = GpuModel.objects.get(slug="gpu")
    for cards in (0, 1, 2, 3, 4, 8):
        for policy in ("required", "preferred"):
            Plan.objects.create(
                slug=f"gpu-{cards}-{policy}",
                label="bench",
                cards=cards,
                gpu_model=model if cards else None,
                vcpus=CPUS_A_CARD * max(1, cards),
                memory_mib=MIB_A_CARD * max(1, cards),
                disk_mib=0,
                price_hourly=1,
                price_monthly=1,
                numa_policy=policy,
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    django.setup()
    connection.settings_dict["TEST"]["NAME"] = DATABASE
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        from benchmarks import fleet_rows
        from inventory.models import Host

        fleet_rows.build(options.hosts)
        make_plans()
        sides = measure(options.rounds)
        shapes = Host.objects.values("free_shape").distinct().count()
        print(
            f"{options.hosts} hosts, {fleet_rows.card_total()} cards, {shapes} shapes, "
            f"12 plans, {options.rounds} rounds; median wall ms, mean CPU ms, CPU ratio"
        )
        for side in sides:
            wall = 1000 * statistics.median(side.wall_s)
            cpu = 1000 * side.cpu_s / options.rounds
            ratio = side.cpu_s / sides[0].cpu_s
            print(f"  {side.name:<24}{wall:8.1f}{cpu:8.1f}{ratio:8.2f}")
        wrong = inexact()
        print(f"  exact against launches on {CHECKED_HOSTS} hosts: {wrong or 'all'}")
        return int(bool(wrong) or sides[-1].cpu_s > LIMIT * sides[0].cpu_s)
    finally:
        connection.creation.destroy_test_db("gpucloud", verbosity=0)


if __name__ == "__main__":
    sys.exit(main())
