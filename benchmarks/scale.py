"""How CPU, latency, queries and rows grow from 10 to 1,000 hosts of 8 cards and 5 guests.

    set -a; . .local/env.sh; set +a
    .venv/bin/python -m benchmarks.scale [--hosts 10 100 1000] [--seconds 60]

Each size has a process and a database of its own. First each piece of work alone, then all
at once: 8 clients that launch and delete over HTTP, every host compared with its rows,
jobs done, and staff's pages and reports read one after the other.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.own_database import own_database

SIZES = (10, 100, 1000)
GUESTS = (1, 1, 2, 1, 1)
# A host is compared every two minutes, for all parts share two cores here; and the clients
# are as fast as they can.
ENVIRONMENT = {"GPUCLOUD_RECONCILE_CYCLE_S": "120", "GPUCLOUD_API_RATE_LIMIT": "0"}


def measure(hosts: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Return what is to be told of a fleet of that size, title -> row -> figures."""
    from benchmarks import scale_alone, scale_load
    from benchmarks.fleet import first_host

    fleet = first_host(GUESTS)
    fleet.grow(hosts)
    customers = scale_load.customers()
    return {
        "rows": scale_alone.rows(),
        "alone": scale_alone.costs(fleet, customers[0]),
        "at once": scale_load.all_at_once(fleet, customers, seconds),
    }


def measure_apart(hosts: int, seconds: float) -> dict[str, dict[str, Any]]:
    command = (sys.executable, "-m", "benchmarks.scale", "--alone", str(hosts))
    ran = subprocess.run(
        (*command, "--seconds", str(seconds)), check=True, stdout=subprocess.PIPE
    )
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return found


def show(found: dict[int, dict[str, dict[str, Any]]]) -> None:
    """Print a table for each title: a line for each row, a column for each size."""
    sizes = list(found)
    for title, rows in found[sizes[0]].items():
        heads = " | ".join(f"{hosts:,} hosts" for hosts in sizes)
        print(f"\n| {title} | {heads} |\n|---|{'---|' * len(sizes)}")
        for row in rows:
            print(f"| {row} |", *(f"{found[hosts][title][row]} |" for hosts in sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        os.environ |= ENVIRONMENT
        with own_database(f"scale_{options.alone}"):
            print(json.dumps(measure(options.alone, options.seconds)))
        return
    show({hosts: measure_apart(hosts, options.seconds) for hosts in options.hosts})


if __name__ == "__main__":
    main()
