"""Each piece of work alone: CPU of the process and its PostgreSQL session, and queries.

Import only after django.setup().
"""

import statistics
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from benchmarks.fleet import Fleet
from benchmarks.measure import Cost, measured
from benchmarks.scale_load import PLAN, REGION, ROUND, Customer
from instances.reports.catalogue import REPORTS
from instances.reports.table import Asked

TURNS = 8
_NAME = "127.0.0.1"
PAGES = {
    "first page": "/admin/",
    "fleet map": "/admin/fleet/",
    "list of instances": "/admin/instances/instance/",
    "/metrics": "/metrics",
}
# What grows with time instead of with hosts is told apart in docs/scale.md.
TABLES = (
    "inventory_host",
    "inventory_card",
    "inventory_hostcpu",
    "inventory_cardclaim",
    "inventory_cardevent",
    "inventory_nodeclaim",
    "instances_instance",
    "instances_job",
    "instances_usageinterval",
)


def rows() -> dict[str, str]:
    """Return rows and MiB, with indexes, of each table."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"SELECT count(*), pg_total_relation_size(%s) FROM {table}",
                [table],
            )
            count, size = cursor.fetchone()
            found[table.replace("_", ".")] = f"{count:,}; {size / 2**20:.1f} MiB"
        cursor.execute("SELECT pg_database_size(current_database())")
        (size,) = cursor.fetchone()
    return {**found, "whole database": f"{size / 2**20:.0f} MiB"}


def costs(fleet: Fleet, customer: Customer) -> dict[str, str]:
    """Return "queries; CPU ms (application + PostgreSQL)" of each piece of work."""
    found: dict[str, list[Cost]] = {}
    works = _works(fleet, customer)
    for turn in range(TURNS + 1):
        for title, work in works.items():
            with measured() as cost:
                work()
            # The first turn fills caches and compiles templates.
            if turn:
                found.setdefault(title, []).append(cost)
    return {title: _told(costs) for title, costs in found.items()}


def _told(costs: list[Cost]) -> str:
    application = 1000 * statistics.median(cost.application_s for cost in costs)
    # PostgreSQL's is told in 1/100 s.
    postgresql = 1000 * statistics.fmean(cost.postgresql_s for cost in costs)
    queries = max(cost.queries for cost in costs)
    return (
        f"{queries}; {application + postgresql:.1f} "
        f"({application:.1f} + {postgresql:.1f})"
    )


def _works(fleet: Fleet, customer: Customer) -> dict[str, Callable[[], object]]:
    bearer = {"authorization": f"Bearer {customer.token}"}
    api = Client(SERVER_NAME=_NAME, headers=bearer)
    hosts, path = list(fleet.hypervisors), "/v4/gpucloud/reservations"

    def reserve_and_give_back() -> None:
        until = timezone.now() + timedelta(hours=1)
        body = {
            "type": PLAN,
            "region": REGION,
            "expires": f"{until:%Y-%m-%dT%H:%M:%S}",
        }
        made = api.post(path, body, content_type="application/json")
        assert made.status_code == 200, made.content
        given_back = api.delete(f"{path}/{made.json()['id']}")
        assert given_back.status_code == 200, given_back.content

    return {
        "reserve a card and give it back": reserve_and_give_back,
        **{f"GET {path}": partial(_get, api, f"/v4{path}") for path in ROUND},
        "compare one host with its rows": lambda: fleet.compare(hosts[-1:]),
        **reading(),
    }


def reading() -> dict[str, Callable[[], object]]:
    """Return what staff read, by its title: pages, metrics, and each report."""
    staff = Client(SERVER_NAME=_NAME)
    user, _ = User.objects.get_or_create(
        username="staff", defaults={"is_staff": True, "is_superuser": True}
    )
    staff.force_login(user)
    now = timezone.now()
    asked = Asked((now - timedelta(days=27)).date(), now.date())
    return {
        **{title: partial(_get, staff, path) for title, path in PAGES.items()},
        **{
            f"report: {report.title}": partial(report.make, asked)
            for report in REPORTS.values()
        },
    }


def _get(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
