"""What the first page counts and the metrics report: each number has its one home here."""

from dataclasses import dataclass

from django.db.models import QuerySet

from instances.capacity import RegionCards, cards_by_region, sellable_everywhere
from instances.choices import ENDED_JOB_STATES
from instances.models import Job, Plan
from inventory.choices import HostConnection, HostPolicy
from inventory.models import Alert, Discrepancy, Host


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """plans: those that are sold. cards: by region, sorted by slug.

    fits: region id -> plan slug -> how many more fit there.
    """

    plans: list[Plan]
    cards: list[RegionCards]
    fits: dict[int, dict[str, int]]

    def fitting(self, row: RegionCards, plan: Plan) -> int:
        """Return how many more of a plan fit in a region, none where no host accepts."""
        return self.fits.get(row.region.pk, {}).get(plan.slug, 0)


def fleet_figures() -> FleetFigures:
    """Count cards and what can be sold; four queries."""
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    fits = sellable_everywhere(plans)
    return FleetFigures(plans, cards_by_region(plans, fits), fits)


def open_jobs() -> QuerySet[Job]:
    return Job.objects.exclude(state__in=ENDED_JOB_STATES)


def hosts() -> QuerySet[Host]:
    """Return the hosts that are part of the fleet."""
    return Host.objects.exclude(policy=HostPolicy.RETIRED)


def silent_hosts() -> QuerySet[Host]:
    return hosts().exclude(connection=HostConnection.OK)


def open_discrepancies() -> QuerySet[Discrepancy]:
    return Discrepancy.objects.filter(resolved_at=None)


def open_alerts() -> QuerySet[Alert]:
    return Alert.objects.filter(cleared_at=None)
