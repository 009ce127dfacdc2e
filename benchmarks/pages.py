"""What staff's main pages cost on a large fleet, and the lists of cards on one of 1/100.

    set -a; . .local/env.sh; set +a
    .venv/bin/python -m benchmarks.pages [--hosts 10000]

All of a request but the socket, in one process; each size in a database of its own. Cards
are half used, by instances with accounts; each request asks anew, nothing is kept between.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass

from benchmarks.own_database import own_database

ROUNDS = 20
LISTS_RATIO, MOST_QUERIES, MOST_MS = 1.5, 15, 300
_CARDS = "/admin/inventory/card/"
# Title -> address; the first two are held to queries and time, the lists to the ratio.
PAGES = {
    "first page": "/admin/",
    "fleet map": "/admin/fleet/",
    "fleet map by owner, its last page": "/admin/fleet/?colour=owner&page=200",
    "fleet map, hosts with broken cards": "/admin/fleet/?state=broken",
    "list of cards": _CARDS,
    "list of cards, its tenth page": f"{_CARDS}?p=9",
    "list of cards, free": f"{_CARDS}?state=free",
    "list of cards, sellable": f"{_CARDS}?state=sellable",
    "list of cards, search for a host": f"{_CARDS}?q=h42",
    "list of hosts": "/admin/inventory/host/",
}


@dataclass(frozen=True, slots=True)
class Line:
    """Of one request: medians, but mean CPU of PostgreSQL, which is told in 1/100 s."""

    queries: int
    wall_ms: float
    application_ms: float
    postgresql_ms: float

    @property
    def cpu_ms(self) -> float:
        return self.application_ms + self.postgresql_ms


def fill(hosts: int) -> None:
    """Write the fleet, twelve plans on sale, and an instance for each holder of cards."""
    from django.db import connection

    from benchmarks import fleet_rows
    from benchmarks.sellable import make_plans
    from instances.models import Instance, Plan
    from inventory.choices import CardCondition
    from inventory.models import Card, CardClaim
    from tests.builders import make_account, make_image

    region = fleet_rows.build(hosts)
    make_plans()
    Plan.objects.update(is_sold=True)
    accounts = [make_account(f"Customer {n}") for n in range(50)]
    image, plan = make_image(), Plan.objects.get(slug="gpu-1-required")
    held = CardClaim.objects.order_by("consumer").values_list("consumer", flat=True)
    Instance.objects.bulk_create(
        (
            Instance(
                uuid=consumer,
                account=accounts[number % len(accounts)],
                plan=plan,
                region=region,
                image=image,
                label=f"linode{number}",
                created_by="user:benchmark",
            )
            for number, consumer in enumerate(held.distinct())
        ),
        batch_size=2000,
    )
    # One in a hundred is broken.
    broken = Card.objects.filter(claims=None, pk__endswith="00")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_card DISABLE TRIGGER USER")
        broken.update(condition=CardCondition.QUARANTINED)
        cursor.execute("ALTER TABLE inventory_card ENABLE TRIGGER USER")
        cursor.execute("VACUUM ANALYZE")


def measure() -> dict[str, Line]:
    """Return what each page costs, by its title; pages take turns."""
    from django.contrib.auth.models import User
    from django.test import Client

    from benchmarks.measure import Cost, measured

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.create_superuser("staff"))
    costs: dict[str, list[Cost]] = {title: [] for title in PAGES}
    for turn in range(ROUNDS + 1):
        for title, address in PAGES.items():
            with measured() as cost:
                answer = client.get(address)
            assert answer.status_code == 200, (address, answer.status_code)
            # The first turn compiles templates and opens the connection.
            if turn:
                costs[title].append(cost)
    return {
        title: Line(
            max(cost.queries for cost in of_page),
            1000 * statistics.median(cost.wall_s for cost in of_page),
            1000 * statistics.median(cost.application_s for cost in of_page),
            1000 * statistics.fmean(cost.postgresql_s for cost in of_page),
        )
        for title, of_page in costs.items()
    }


def measure_apart(hosts: int) -> dict[str, Line]:
    """Return what measure() does on `hosts` hosts, from a process of its own."""
    command = (sys.executable, "-m", "benchmarks.pages", "--alone", str(hosts))
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    lines = json.loads(ran.stdout.splitlines()[-1])
    return {title: Line(**line) for title, line in lines.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        with own_database(f"pages_{options.alone}"):
            fill(options.alone)
            print(json.dumps({t: asdict(line) for t, line in measure().items()}))
        return 0
    few, many = (
        measure_apart(hosts) for hosts in (options.hosts // 100, options.hosts)
    )
    print(
        "page: queries, wall ms, CPU ms (application + PostgreSQL), CPU to that of 1/100"
    )
    for title, line in many.items():
        print(
            f"{title:<36}{line.queries:4}{line.wall_ms:8.1f}{line.cpu_ms:8.1f} "
            f"({line.application_ms:.1f} + {line.postgresql_ms:.1f}) "
            f"{line.cpu_ms / few[title].cpu_ms:6.2f}",
            flush=True,
        )
    pages = [many["first page"], many["fleet map"]]
    ratio = many["list of cards"].cpu_ms / few["list of cards"].cpu_ms
    return int(
        ratio > LISTS_RATIO
        or any(p.queries > MOST_QUERIES or p.wall_ms > MOST_MS for p in pages)
    )


if __name__ == "__main__":
    sys.exit(main())
