"""Reports on customers: what they used, how launches went, what was refused them.

The rows that each counts are a function of their own, for whoever wants to see those.
"""

from datetime import timedelta
from typing import Any

from django.db.models import (
    Aggregate,
    Case,
    Count,
    F,
    FloatField,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Extract, Greatest, Least
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from instances.choices import Phase
from instances.gates import behind
from instances.models import Instance, RefusedDemand, UsageInterval
from instances.reports.table import Asked, Cell, Table, number, percentage, share, text
from inventory.ledger import clock

_CUSTOMERS, _EMPLOYEES = gettext_noop("customers"), gettext_noop("employees")
HOUR = timedelta(hours=1)


_WHOSE = Case(
    When(is_billed=True, then=Value(_CUSTOMERS)),
    When(instance__trial=None, then=Value(_EMPLOYEES)),
    default=Value(gettext_noop("trials")),
)


class Percentile(Aggregate):
    """PostgreSQL's percentile_cont; share: 0 to 1."""

    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def used(asked: Asked) -> QuerySet[Any]:
    """Return the usage intervals of these days; each has `held`, its time in them."""
    begins, ends = asked.moments
    over = min(ends, clock())
    held = Least(Coalesce("ends_at", over), over) - Greatest("starts_at", begins)
    rows = UsageInterval.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=begins), starts_at__lt=over
    )
    return _asked_for(rows, asked, "instance__region").annotate(held=held)


def utilisation(asked: Asked) -> Table:
    """Return what each plan was used for, customers, employees and trials apart."""
    rows = (
        used(asked)
        .annotate(whose=_WHOSE)
        .order_by("plan__slug", "whose")
        .values_list("plan__slug", "plan__cards", "whose")
        .annotate(
            instances=Count("instance", distinct=True),
            accounts=Count("instance__account", distinct=True),
            total=Sum("held"),
        )
    )
    lines = [(*row[:5], row[5] / HOUR) for row in rows]
    gpu_hours = sum(cards * hours for _, cards, _, _, _, hours in lines)
    return Table(
        columns=(
            text(_("Plan")),
            text(_("Whose")),
            number(_("Instances")),
            number(_("Accounts")),
            number(_("Instance hours")),
            number(_("GPU hours")),
            percentage(_("Of all GPU hours, %")),
        ),
        rows=[
            (
                plan,
                _(whose),
                instances,
                accounts,
                round(hours, 2),
                round(cards * hours, 2),
                share(cards * hours, gpu_hours),
            )
            for plan, cards, whose, instances, accounts, hours in lines
        ],
        remarks=(
            _(
                "From ready to release, whether the machine was on or off; not rounded, so "
                "that bills may show more hours."
            ),
        ),
        chart=6,
    )


def launched(asked: Asked) -> QuerySet[Instance]:
    """Return the instances whose launch was begun in these days.

    A machine's own row is kept for ever; its jobs are not.
    """
    begins, ends = asked.moments
    rows = Instance.objects.filter(created_at__gte=begins, created_at__lt=ends)
    return _asked_for(rows, asked)


def launch_figures() -> dict[str, Aggregate]:
    """Return what is counted of launched(); times in seconds, None of nothing."""
    took = Extract(F("ready_at") - F("created_at"), "epoch")
    return {
        "begun": Count("pk"),
        "ready": Count("ready_at"),
        "failed": Count("pk", filter=Q(phase=Phase.FAILED)),
        "running": Count("pk", filter=Q(ready_at=None, ended_at=None)),
        "p50": Percentile(took, share=0.5),
        "p95": Percentile(took, share=0.95),
    }


def launches(asked: Asked) -> Table:
    """Return how launches went and how long they took, by region and today's plan."""
    grouped = (
        launched(asked)
        .order_by("region__slug", "plan__slug")
        .values_list("region__slug", "plan__slug")
        .annotate(**launch_figures())
    )
    rows: list[tuple[Cell, ...]] = []
    for region, plan, begun, ready, failed, running, p50, p95 in grouped:
        ended = ready + failed
        counts = (begun, ready, failed, begun - ended - running, running)
        times = (seconds(p50), seconds(p95))
        rows.append((region, plan, *counts, share(ready, ended), *times))
    return Table(
        columns=(
            text(_("Region")),
            text(_("Plan")),
            number(_("Begun")),
            number(_("Ready")),
            number(_("Failed")),
            number(_("Cancelled")),
            number(_("Under way")),
            percentage(_("Success, %")),
            number(_("Time to ready, p50, s")),
            number(_("Time to ready, p95, s")),
        ),
        rows=rows,
        remarks=(
            _(
                "Launches begun in these days. Success: of those that became ready or "
                "failed. A machine that was resized counts as its plan of today."
            ),
        ),
        chart=7,
    )


def refused(asked: Asked) -> QuerySet[RefusedDemand]:
    """Return what was turned away in these days."""
    begins, ends = asked.moments
    rows = RefusedDemand.objects.filter(at__gte=begins, at__lt=ends)
    return _asked_for(rows, asked)


def refusals(asked: Asked) -> Table:
    """Return the demand that was turned away, by reason."""
    grouped = (
        refused(asked)
        .order_by()
        .values("region__slug", "plan__slug", "reason", "is_employee")
        .annotate(times=Count("pk"), accounts=Count("account", distinct=True))
        .annotate(cards=Sum("plan__cards"))
        .order_by("region__slug", "plan__slug", "reason", "is_employee")
    )
    labels = dict(RefusedDemand.Reason.choices)
    return Table(
        columns=(
            text(_("Region")),
            text(_("Plan")),
            text(_("Why")),
            text(_("Whose")),
            number(_("Times")),
            number(_("Accounts")),
            number(_("Cards asked for")),
        ),
        rows=[
            (
                row["region__slug"],
                row["plan__slug"],
                str(labels[row["reason"]]),
                _(_EMPLOYEES if row["is_employee"] else _CUSTOMERS),
                row["times"],
                row["accounts"],
                row["cards"],
            )
            for row in grouped
        ],
        remarks=(
            _(
                "Every refused launch and reservation, repeats too: read accounts beside "
                "times."
            ),
        ),
        chart=4,
    )


def _asked_for(
    rows: QuerySet[Any], asked: Asked, region: str = "region"
) -> QuerySet[Any]:
    """Return those of the asked region and flag. region: the way from a row to its own."""
    if asked.region:
        rows = rows.filter(**{f"{region}__slug": asked.region})
    return rows.filter(behind(asked.flag, region=region)) if asked.flag else rows


def seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
