"""The first page: what there is, what can be sold, what is at work, what needs a person."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, QuerySet, Window
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from gpucloud_site.figures import (
    fleet_figures,
    hosts,
    open_alerts,
    open_discrepancies,
    open_jobs,
    silent_hosts,
)
from instances.capacity import RegionCards
from instances.choices import StepState
from instances.models import Plan
from instances.reports.fleet import held_share
from inventory.models import Region

ROWS_SHOWN = 10
HELD_DAYS = 30
# (field of RegionCards, heading, "state" of the card list, what it means; of unknown, its age).
_COLUMNS = (
    (
        "total",
        gettext_noop("Total"),
        "fleet",
        gettext_noop("Cards of all hosts, but for the retired."),
    ),
    (
        "used",
        gettext_noop("Used"),
        "used",
        gettext_noop("Held by an instance or a reservation."),
    ),
    ("free", gettext_noop("Free"), "free", gettext_noop("Ready, and held by nobody.")),
    (
        "sellable",
        gettext_noop("Sellable"),
        "sellable",
        gettext_noop("One-card launches that fit now."),
    ),
    (
        "cleaning",
        gettext_noop("Cleaning"),
        "cleaning",
        gettext_noop("Unverified, dirty or in work."),
    ),
    (
        "broken",
        gettext_noop("Broken"),
        "broken",
        gettext_noop("Quarantined, missing or kept from sale."),
    ),
    ("unknown", gettext_noop("Unknown"), "unknown", ""),
)


@dataclass(frozen=True, slots=True)
class Number:
    """One count, and the address of the rows behind it."""

    name: str
    title: str
    meaning: str
    value: int
    url: str


@dataclass(frozen=True, slots=True)
class RegionRow:
    region: Region
    numbers: list[Number]


@dataclass(frozen=True, slots=True)
class PlanRow:
    """fits: one number per region, in the regions' order."""

    plan: Plan
    fits: list[Number]


def overview_for(request: HttpRequest) -> dict[str, Any]:
    """Return what this person may see, in a fixed number of queries."""
    context: dict[str, Any] = {"as_of": timezone.now()}
    if request.user.has_perm("inventory.view_card"):
        context.update(_fleet())
    if request.user.has_perm("instances.view_job"):
        context.update(_jobs())
    if request.user.has_perm("inventory.view_host"):
        context.update(_hosts())
    return context


def _fleet() -> dict[str, Any]:
    figures = fleet_figures()
    return {
        "has_fleet": True,
        "held_days": HELD_DAYS,
        "held_share": held_share(HELD_DAYS),
        "sums": _numbers(figures.cards, None),
        "region_rows": [
            RegionRow(row.region, _numbers([row], row.region)) for row in figures.cards
        ],
        "plan_rows": [
            PlanRow(
                plan,
                [
                    _plan_number(plan, row.region, figures.fitting(row, plan))
                    for row in figures.cards
                ],
            )
            for plan in figures.plans
        ],
    }


def _numbers(rows: list[RegionCards], region: Region | None) -> list[Number]:
    numbers = []
    for name, title, state, meaning in _COLUMNS:
        query = {"state": state}
        if region is not None:
            query["host__region__id__exact"] = str(region.pk)
        numbers.append(
            Number(
                name,
                _(title),
                _silence(rows) if name == "unknown" else _(meaning),
                sum(getattr(row, name) for row in rows),
                f"{reverse('admin:inventory_card_changelist')}?{urlencode(query)}",
            )
        )
    return numbers


def _silence(rows: list[RegionCards]) -> str:
    """Return how many cards are unknown, and since when the first of their hosts is."""
    since = min((row.unknown_since for row in rows if row.unknown_since), default=None)
    if since is None:
        return _("All hosts of free cards answer.")
    cards = sum(row.unknown for row in rows)
    told = ngettext(
        "%(cards)s card unknown for %(age)s: their hosts are silent.",
        "%(cards)s cards unknown for %(age)s: their hosts are silent.",
        cards,
    )
    return told % {"cards": cards, "age": _age(since)}


def _age(since: datetime) -> str:
    minutes = int((timezone.now() - since).total_seconds()) // 60
    return (
        _("%(minutes)s min") % {"minutes": minutes}
        if minutes < 120
        else timesince(since)
    )


def _plan_number(plan: Plan, region: Region, fits: int) -> Number:
    query = urlencode({"plan": plan.slug, "region": region.slug})
    return Number(
        plan.slug,
        region.slug,
        _("Launch %(plan)s in %(region)s") % {"plan": plan, "region": region.label},
        fits,
        f"{reverse('admin:launch')}?{query}",
    )


def _jobs() -> dict[str, Any]:
    jobs, job_total = _first(
        open_jobs()
        .select_related("instance__account", "card__host")
        .prefetch_related("steps")
        .order_by("pk")
    )
    now = timezone.now()
    for job in jobs:
        steps = list(job.steps.all())
        done = [step for step in steps if step.state == StepState.DONE]
        current = next((s for s in steps if s.state != StepState.DONE), None)
        job.now_at = _(current.label) if current else ""
        job.age_s = int((now - job.created_at).total_seconds())
        job.done_text = _("%(done)s of %(steps)s") % {
            "done": len(done),
            "steps": len(steps),
        }
    return {"shows_jobs": True, "jobs": jobs, "job_total": job_total}


def _hosts() -> dict[str, Any]:
    silent, silent_total = _first(silent_hosts().select_related("region"))
    discrepancies, discrepancy_total = _first(
        open_discrepancies().select_related("host")
    )
    alerts, alert_total = _first(
        open_alerts().select_related("host", "card__host", "region")
    )
    return {
        "shows_hosts": True,
        "host_total": hosts().count(),
        "silent_hosts": silent,
        "silent_total": silent_total,
        "discrepancies": discrepancies,
        "discrepancy_total": discrepancy_total,
        "alerts": alerts,
        "alert_total": alert_total,
    }


def _first(rows: QuerySet[Any]) -> tuple[list[Any], int]:
    """Return the first of `rows`, and how many there are in all; one query."""
    shown = list(rows.annotate(in_all=Window(Count("pk")))[:ROWS_SHOWN])
    return shown, shown[0].in_all if shown else 0
