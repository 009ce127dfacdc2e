"""Reports on customers: what they used, how launches went, what was refused them."""

from typing import Any

from django.db import connection
from django.db.models import Count, Sum

from instances.models import RefusedDemand
from instances.reports.table import Asked, Cell, Table, number, share, text
from inventory.ledger import clock

_CUSTOMERS, _EMPLOYEES = "customers", "employees"

_USED = """
SELECT p.slug, p.cards,
       CASE WHEN u.is_billed THEN 'customers' WHEN i.trial_id IS NULL THEN 'employees'
            ELSE 'trials' END AS whose,
       count(DISTINCT i.id), count(DISTINCT i.account_id),
       sum(extract(epoch FROM least(coalesce(u.ends_at, %(now)s), %(ends)s, %(now)s)
                            - greatest(u.starts_at, %(since)s)))::float8 / 3600
FROM instances_usageinterval u
JOIN instances_instance i ON i.id = u.instance_id
JOIN instances_plan p ON p.id = u.plan_id
JOIN inventory_region r ON r.id = i.region_id
WHERE u.starts_at < least(%(ends)s, %(now)s)
  AND coalesce(u.ends_at, 'infinity') > %(since)s
  AND %(region)s IN ('', r.slug)
GROUP BY p.slug, p.cards, whose
ORDER BY p.slug, whose
"""


def utilisation(asked: Asked) -> Table:
    """Return what each plan was used for, customers, employees and trials apart."""
    rows = _fetch(_USED, asked)
    gpu_hours = sum(cards * hours for _, cards, _, _, _, hours in rows)
    return Table(
        columns=(
            text("Plan"),
            text("Whose"),
            number("Instances"),
            number("Accounts"),
            number("Instance hours"),
            number("GPU hours"),
            number("Of all GPU hours, %"),
        ),
        rows=[
            (
                plan,
                whose,
                instances,
                accounts,
                round(hours, 2),
                round(cards * hours, 2),
                share(cards * hours, gpu_hours),
            )
            for plan, cards, whose, instances, accounts, hours in rows
        ],
        remarks=(
            "From ready to release, whether the machine was on or off; not rounded, so that "
            "bills may show more hours.",
        ),
        chart=6,
    )


# A machine's own row is kept for ever; its jobs are not.
_LAUNCHED = """
SELECT r.slug, p.slug, count(*),
       count(i.ready_at),
       count(*) FILTER (WHERE i.phase = 'failed'),
       count(*) FILTER (WHERE i.ready_at IS NULL AND i.ended_at IS NULL),
       percentile_cont(0.5) WITHIN GROUP (
         ORDER BY extract(epoch FROM i.ready_at - i.created_at))::float8,
       percentile_cont(0.95) WITHIN GROUP (
         ORDER BY extract(epoch FROM i.ready_at - i.created_at))::float8
FROM instances_instance i
JOIN instances_plan p ON p.id = i.plan_id JOIN inventory_region r ON r.id = i.region_id
WHERE i.created_at >= %(since)s AND i.created_at < %(ends)s
  AND %(region)s IN ('', r.slug)
GROUP BY r.slug, p.slug
ORDER BY r.slug, p.slug
"""


def launches(asked: Asked) -> Table:
    """Return how launches went and how long they took, by region and today's plan."""
    rows: list[tuple[Cell, ...]] = []
    for region, plan, begun, ready, failed, running, p50, p95 in _fetch(
        _LAUNCHED, asked
    ):
        ended = ready + failed
        counts = (begun, ready, failed, begun - ended - running, running)
        times = (_seconds(p50), _seconds(p95))
        rows.append((region, plan, *counts, share(ready, ended), *times))
    return Table(
        columns=(
            text("Region"),
            text("Plan"),
            number("Begun"),
            number("Ready"),
            number("Failed"),
            number("Cancelled"),
            number("Under way"),
            number("Success, %"),
            number("Time to ready, p50, s"),
            number("Time to ready, p95, s"),
        ),
        rows=rows,
        remarks=(
            "Launches begun in these days. Success: of those that became ready or failed. A "
            "machine that was resized counts as its plan of today.",
        ),
        chart=7,
    )


def refusals(asked: Asked) -> Table:
    """Return the demand that was turned away, by reason."""
    rows = RefusedDemand.objects.filter(
        at__date__gte=asked.since, at__date__lte=asked.until
    )
    if asked.region:
        rows = rows.filter(region__slug=asked.region)
    grouped = (
        rows.order_by()
        .values("region__slug", "plan__slug", "reason", "is_employee")
        .annotate(times=Count("pk"), accounts=Count("account", distinct=True))
        .annotate(cards=Sum("plan__cards"))
        .order_by("region__slug", "plan__slug", "reason", "is_employee")
    )
    labels = dict(RefusedDemand.Reason.choices)
    return Table(
        columns=(
            text("Region"),
            text("Plan"),
            text("Why"),
            text("Whose"),
            number("Times"),
            number("Accounts"),
            number("Cards asked for"),
        ),
        rows=[
            (
                row["region__slug"],
                row["plan__slug"],
                labels[row["reason"]],
                _EMPLOYEES if row["is_employee"] else _CUSTOMERS,
                row["times"],
                row["accounts"],
                row["cards"],
            )
            for row in grouped
        ],
        remarks=(
            "Every refused launch and reservation, repeats too: read accounts beside times.",
        ),
        chart=4,
    )


def _fetch(sql: str, asked: Asked) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            {
                "since": asked.since,
                "ends": asked.ends,
                "now": clock(),
                "region": asked.region,
            },
        )
        return cursor.fetchall()


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
