"""Which reports there are, by the name that their addresses have."""

from collections.abc import Callable
from dataclasses import dataclass

from instances.reports import fleet, sales
from instances.reports.table import Asked, Table


@dataclass(frozen=True, slots=True)
class Report:
    """asks: what of Asked besides the region it heeds, "days" or "moment" or neither."""

    name: str
    title: str
    about: str
    asks: str
    make: Callable[[Asked], Table]


REPORTS = {
    report.name: report
    for report in (
        Report(
            "inventory",
            "Inventory",
            "Cards by region, model and state, now or at any time before.",
            "moment",
            fleet.inventory,
        ),
        Report(
            "sold",
            "Sold over time",
            "How many cards customers, employees and reservations held, day by day.",
            "days",
            fleet.sold,
        ),
        Report(
            "utilisation",
            "Use by plan",
            "GPU hours by plan; customers and employees apart.",
            "days",
            sales.utilisation,
        ),
        Report(
            "launches",
            "Launches",
            "How many succeed and how long they take, p50 and p95.",
            "days",
            sales.launches,
        ),
        Report(
            "refusals",
            "Refused demand",
            "What customers asked for and could not have, by reason.",
            "days",
            sales.refusals,
        ),
        Report(
            "fragmentation",
            "Cards of no use",
            "Free cards that no plan can use, each with its reason.",
            "",
            fleet.fragmentation,
        ),
        Report(
            "forecast",
            "Forecast",
            "When each plan is sold out, at the pace of the last four weeks.",
            "",
            fleet.forecast,
        ),
    )
}
