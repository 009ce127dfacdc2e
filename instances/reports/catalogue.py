"""Which reports there are, by the name that their addresses have."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from instances.reports import fleet, sales
from instances.reports.table import Asked, Table
from inventory.replica import read_replica, replayed_at


@dataclass(frozen=True, slots=True)
class Report:
    """asks: what of Asked besides the region it heeds, "days" or "moment" or neither."""

    name: str
    titled: str
    tells: str
    asks: str
    make: Callable[[Asked], Table]

    @property
    def title(self) -> str:
        return _(self.titled)

    @property
    def about(self) -> str:
        return _(self.tells)

    def table(self, asked: Asked) -> Table:
        """Make it of the replica's rows, where there is one."""
        return read_replica(lambda: _with_its_age(self.make(asked)))


def _with_its_age(table: Table) -> Table:
    """Say of a replica's rows how new they are; on a primary there is nothing to say."""
    moment = replayed_at()
    if moment is None:
        return table
    remark = _("Read from a replica, whose newest change is of %(moment)s UTC.") % {
        "moment": f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    }
    return replace(table, remarks=(*table.remarks, remark))


REPORTS = {
    report.name: report
    for report in (
        Report(
            "inventory",
            gettext_noop("Inventory"),
            gettext_noop(
                "Cards by region, model and state, now or at any time before."
            ),
            "moment",
            fleet.inventory,
        ),
        Report(
            "sold",
            gettext_noop("Sold over time"),
            gettext_noop(
                "How many cards customers, employees and reservations held, day by day."
            ),
            "days",
            fleet.sold,
        ),
        Report(
            "utilisation",
            gettext_noop("Use by plan"),
            gettext_noop("GPU hours by plan; customers and employees apart."),
            "days",
            sales.utilisation,
        ),
        Report(
            "launches",
            gettext_noop("Launches"),
            gettext_noop("How many succeed and how long they take, p50 and p95."),
            "days",
            sales.launches,
        ),
        Report(
            "refusals",
            gettext_noop("Refused demand"),
            gettext_noop("What customers asked for and could not have, by reason."),
            "days",
            sales.refusals,
        ),
        Report(
            "fragmentation",
            gettext_noop("Cards of no use"),
            gettext_noop("Free cards that no plan can use, each with its reason."),
            "",
            fleet.fragmentation,
        ),
        Report(
            "forecast",
            gettext_noop("Forecast"),
            gettext_noop(
                "When each plan is sold out, at the pace of the last four weeks."
            ),
            "",
            fleet.forecast,
        ),
    )
}
