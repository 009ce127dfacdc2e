"""What one cycle of comparing hosts with rows costs, for 10, 100 and 1,000 hosts.

    set -a; . .local/env.sh; set +a
    .venv/bin/python -m benchmarks.reconcile

Each host has 2 nodes, 128 CPUs and 8 cards, half of them in 3 guests, and answers at once
from memory: documents are parsed, but libvirt's own time is not in the numbers.
"""

from collections.abc import Iterable

from benchmarks.measure import Cost, measured
from benchmarks.own_database import own_database

# (hosts, cycles): the small fleets more often, for the clock of /proc is coarse.
SIZES = ((10, 20), (100, 3), (1000, 1))
WARM_UP = 30


def main() -> None:
    with own_database("reconcile"):
        # Models can be imported only now.
        from benchmarks.fleet import first_host

        fleet = first_host()
        costs = {}
        for hosts, cycles in SIZES:
            fleet.grow(hosts)
            ids = list(fleet.hypervisors)
            cycle(fleet.hypervisors, ids[:WARM_UP])
            costs[hosts] = cycle(fleet.hypervisors, ids * cycles)
            show(hosts, cycles, costs[hosts])
        ratio = per_host(1000, 1, costs) / per_host(100, 3, costs)
        print(f"CPU per host at 1,000 hosts to that at 100: {ratio:.2f}")


def cycle(hypervisors: "dict[int, object]", host_ids: Iterable[int]) -> Cost:
    """Compare each host as a worker does; every one must agree with its rows."""
    from instances.jobs import card_work
    from instances.reconcile import reconcile

    with measured() as cost:
        for host_id in host_ids:
            found = reconcile(host_id, hypervisors[host_id])
            assert found == [], found
            assert card_work.plan(host_id) == []
    return cost


def per_host(hosts: int, cycles: int, costs: dict[int, Cost]) -> float:
    return costs[hosts].cpu_s / (hosts * cycles)


def show(hosts: int, cycles: int, cost: Cost) -> None:
    looks = hosts * cycles
    print(
        f"| {hosts:,} | {cost.cpu_s / cycles:.2f} | "
        f"{1000 * cost.application_s / looks:.1f} | "
        f"{1000 * cost.postgresql_s / looks:.1f} | "
        f"{cost.queries / looks:.1f} | {cost.wall_s / cycles:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    print(
        "| hosts | CPU s a cycle | application, ms a host | PostgreSQL, ms a host |"
        " queries a host | wall s a cycle |"
    )
    print("|---|---|---|---|---|---|")
    main()
