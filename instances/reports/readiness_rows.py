"""The rows behind a line of a readiness report, as a table, each with where its page is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from flags.models import ReadinessLine
from instances.reports.readiness import rows_behind, with_causes
from instances.reports.sales import HOUR
from instances.reports.table import Asked, Cell, Column, Table, number, text


@dataclass(frozen=True, slots=True)
class Kind:
    """How rows of a model are shown. model: its label, such as instances.instance.

    related: for the columns. cells: as many as columns.
    """

    model: str
    related: tuple[str, ...]
    columns: Callable[[], tuple[Column, ...]]
    cells: Callable[[Any], tuple[Cell, ...]]


_LAUNCHES = Kind(
    "instances.instance",
    ("account", "region", "plan"),
    lambda: (
        text(_("Instance")),
        text(_("Account")),
        text(_("Region")),
        text(_("Plan")),
        text(_("Begun (UTC)")),
        number(_("Time to running, s")),
        text(_("Phase")),
        text(_("Last step")),
        text(_("Cause")),
    ),
    lambda row: (
        *(row.label, row.account.name, row.region.slug, row.plan.slug),
        row.created_at,
        (row.ready_at - row.created_at).total_seconds() if row.ready_at else None,
        *(row.get_phase_display(), row.step, row.cause),
    ),
)
_USED = Kind(
    "instances.usageinterval",
    ("instance__account", "plan"),
    lambda: (
        text(_("Instance")),
        text(_("Account")),
        text(_("Plan")),
        text(_("From (UTC)")),
        text(_("To (UTC)")),
        number(_("Hours in these days")),
    ),
    lambda row: (
        *(row.instance.label, row.instance.account.name, row.plan.slug),
        *(row.starts_at, row.ends_at, row.held / HOUR),
    ),
)
_REFUSED = Kind(
    "instances.refuseddemand",
    ("account", "plan", "region"),
    lambda: (
        text(_("At (UTC)")),
        text(_("Account")),
        text(_("Region")),
        text(_("Plan")),
        text(_("Why")),
    ),
    lambda row: (
        *(row.at, row.account.name, row.region.slug, row.plan.slug),
        row.get_reason_display(),
    ),
)
_FAULTS = Kind(
    "inventory.cardevent",
    ("card__host",),
    lambda: (
        text(_("At (UTC)")),
        text(_("Card")),
        text(_("Became")),
        text(_("By")),
        text(_("Why")),
    ),
    lambda row: (
        *(row.at, str(row.card), row.get_to_condition_display()),
        *(row.actor, row.reason),
    ),
)
_CHECKS = Kind(
    "inventory.cardcheck",
    ("card__host",),
    lambda: (
        text(_("At (UTC)")),
        text(_("Card")),
        text(_("What")),
        text(_("Finding")),
    ),
    lambda row: (
        *(row.finished_at, str(row.card), row.get_kind_display()),
        row.finding,
    ),
)
_DIFFERENCES = Kind(
    "inventory.discrepancy",
    ("host",),
    lambda: (
        text(_("First seen (UTC)")),
        text(_("Over (UTC)")),
        text(_("Host")),
        text(_("What")),
        text(_("Detail")),
    ),
    lambda row: (
        *(row.first_seen_at, row.resolved_at, row.host.name),
        *(row.get_kind_display(), row.detail),
    ),
)
_AGAIN: dict[bool | None, str | None] = {True: "yes", False: "no", None: None}
_SAID = Kind(
    "instances.instancefeedback",
    ("instance__account", "instance__plan"),
    lambda: (
        text(_("Instance")),
        text(_("Account")),
        text(_("Plan")),
        text(_("Workload")),
        text(_("Would use it again")),
        text(_("In their words")),
    ),
    lambda row: (
        *(row.instance.label, row.instance.account.name, row.instance.plan.slug),
        *(row.get_workload_display(), _AGAIN[row.would_use_again], row.text),
    ),
)
_KINDS = {
    ReadinessLine.CARD_FAULTS: _FAULTS,
    ReadinessLine.CHECK_FAILURES: _CHECKS,
    ReadinessLine.DISCREPANCIES: _DIFFERENCES,
    ReadinessLine.REFUSALS: _REFUSED,
    ReadinessLine.HOURS: _USED,
    ReadinessLine.FEEDBACK: _SAID,
}


@dataclass(frozen=True, slots=True)
class Behind:
    """keys: of the table's rows. total: how many there are, perhaps more than are in it."""

    model: str
    keys: list[int]
    table: Table
    total: int


def behind_line(line: ReadinessLine, asked: Asked, most: int | None = None) -> Behind:
    """Return the newest `most` of the rows behind a line; two queries."""
    kind = _KINDS.get(line, _LAUNCHES)
    rows: QuerySet[Any] = rows_behind(line, asked)
    if kind is _LAUNCHES:
        rows = with_causes(rows)
    found = list(rows.select_related(*kind.related).order_by("-pk")[:most])
    return Behind(
        kind.model,
        [row.pk for row in found],
        Table(kind.columns(), [kind.cells(row) for row in found]),
        len(found) if most is None or len(found) < most else rows.count(),
    )
