"""What one cycle of comparing hosts with rows costs, for 10, 100 and 1,000 hosts.

    set -a; . .local/env.sh; set +a
    .venv/bin/python -m benchmarks.reconcile

Each host has 2 nodes, 128 CPUs and 8 cards, half of them in 3 guests, and answers at once
from memory: documents are parsed, but libvirt's own time is not in the numbers.
"""

from benchmarks.measure import Cost, measured
from benchmarks.own_database import own_database

# (hosts, cycles): the small fleets more often, for the clock of /proc is coarse.
SIZES = ((10, 10), (100, 2), (1000, 1))
WARM_UP = 10


def main() -> None:
    with own_database("reconcile"):
        # Models can be imported only now.
        from benchmarks.fleet import first_host

        fleet = first_host()
        per_host_s = {}
        for hosts, cycles in SIZES:
            fleet.grow(hosts)
            ids = list(fleet.hypervisors)
            fleet.compare(ids[:WARM_UP])
            with measured() as cost:
                fleet.compare(ids * cycles)
            per_host_s[hosts] = cost.cpu_s / (hosts * cycles)
            show(hosts, cycles, cost)
        ratio = per_host_s[1000] / per_host_s[100]
        print(f"CPU per host at 1,000 hosts to that at 100: {ratio:.2f}")


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
