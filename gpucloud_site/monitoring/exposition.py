"""The fleet in Prometheus's words: read from the database when it is asked for.

No process keeps a count, so that any number of web processes tell the same, and one that
starts anew loses nothing. Label values are words of ours, regions, models and plans: as
many series as there are of those, and none for each host, card, account or job.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import connection, transaction
from django.db.models import (
    Aggregate,
    Case,
    Count,
    DateTimeField,
    Exists,
    Min,
    OuterRef,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gpucloud_site.figures import (
    fleet_figures,
    hosts,
    open_alerts,
    open_discrepancies,
    open_jobs,
    silent_hosts,
)
from gpucloud_site.monitoring.health import health
from instances.durations import BOUNDS_S
from instances.jobs.leases import waiting_jobs
from instances.models import Heartbeat, RefusedDemand, WorkDuration
from instances.tasks import queue_depth
from inventory.choices import GONE_CONDITIONS
from inventory.ledger import clock
from inventory.models import Card, CardClaim, Region

# A scrape that takes longer is given up by Prometheus itself after ten.
STATEMENT_TIMEOUT_MS = 5000
QUANTILES = (0.5, 0.9, 1.0)
REFUSALS_S = 3600
_CARD_STATES = ("used", "free", "cleaning", "broken", "unknown")


def exposition() -> bytes:
    """Return the whole text; a fixed number of queries, each of them bounded in time.

    Raises django.db.Error.
    """
    registry = CollectorRegistry()
    registry.register(FleetCollector())
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
        return generate_latest(registry)


class FleetCollector(Collector):
    def describe(self) -> list[Metric]:
        """Tell nothing before: to be registered must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _fleet()
        yield _card_conditions()
        yield from _hosts()
        yield from _jobs()
        yield from _queue()
        yield from _durations()
        yield from _troubles()
        yield _refusals()
        yield from _signs_of_life()


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gpucloud_{name}", text, labels=labels)


def _number(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gpucloud_{name}", text, value=value)


def _fleet() -> Iterator[Metric]:
    """Tell the numbers of the first page, by the functions that it uses."""
    figures = fleet_figures()
    cards = _gauge("cards", "Cards by what can be done with them.", "region", "state")
    sellable = _gauge("cards_sellable", "One-card launches that fit now.", "region")
    fits = _gauge("plan_sellable", "How many more of a plan fit.", "region", "plan")
    for row in figures.cards:
        for state in _CARD_STATES:
            cards.add_metric([row.region.slug, state], getattr(row, state))
        sellable.add_metric([row.region.slug], row.sellable)
        for plan in figures.plans:
            fits.add_metric([row.region.slug, plan.slug], figures.fitting(row, plan))
    yield from (cards, sellable, fits)


def _card_conditions() -> Metric:
    metric = _gauge(
        "card_conditions",
        "Cards by condition, and whether a claim holds them.",
        *("region", "gpu_model", "condition", "used"),
    )
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    rows = (
        Card.objects.exclude(condition__in=GONE_CONDITIONS)
        .annotate(used=Case(When(Exists(held), then=Value("yes")), default=Value("no")))
        .order_by()
        .values_list("host__region__slug", "gpu_model__slug", "condition", "used")
        .annotate(cards=Count("pk"))
    )
    for *labels, number in rows:
        metric.add_metric(labels, number)
    return metric


class _LongestAgo(Aggregate):
    """The times that `QUANTILES` of the rows are no older than, as one array."""

    function = "percentile_disc"
    template = (
        "%(function)s(%(quantiles)s) WITHIN GROUP (ORDER BY %(expressions)s DESC)"
    )
    output_field = ArrayField(DateTimeField())


def _hosts() -> Iterator[Metric]:
    metric = _gauge(
        "hosts",
        "Hosts by people's policy and what was observed.",
        *("region", "policy", "connection"),
    )
    rows = hosts().order_by().values_list("region__slug", "policy", "connection")
    for *labels, number in rows.annotate(hosts=Count("pk")):
        metric.add_metric(labels, number)
    yield metric
    yield _number("hosts_silent", "Hosts that do not answer.", silent_hosts().count())
    ages = _gauge(
        "reconcile_age_seconds",
        "How long ago hosts were compared with the rows; quantile 1: the longest ago.",
        "quantile",
    )
    times = hosts().aggregate(
        times=_LongestAgo(
            Coalesce("reconciled_at", "enrolled_at"),
            quantiles=f"ARRAY{list(QUANTILES)}",
        )
    )["times"]
    now = clock()
    for quantile, at in zip(QUANTILES, times or (), strict=False):
        ages.add_metric([f"{quantile:g}"], (now - at).total_seconds())
    yield ages


def _jobs() -> Iterator[Metric]:
    now = clock()
    jobs = _gauge("jobs", "Open jobs.", "kind", "state")
    oldest = _gauge(
        "job_oldest_seconds", "Age of the oldest open job.", "kind", "state"
    )
    rows = open_jobs().order_by().values_list("kind", "state")
    for kind, state, number, since in rows.annotate(Count("pk"), Min("created_at")):
        jobs.add_metric([kind, state], number)
        oldest.add_metric([kind, state], (now - since).total_seconds())
    yield from (jobs, oldest)
    late = open_jobs().filter(deadline_at__lt=Now()).count()
    yield _number("jobs_overdue", "Open jobs past their deadline.", late)
    since = waiting_jobs().aggregate(since=Min("created_at"))["since"]
    yield _number(
        "job_waiting_seconds",
        "How long the job waits that has waited longest for nothing but a worker.",
        (now - since).total_seconds() if since else 0.0,
    )


def _queue() -> Iterator[Metric]:
    depth, oldest_s = queue_depth()
    yield _number("tasks_waiting", "Tasks in the queue that no cluster took.", depth)
    yield _number("task_waiting_seconds", "How long the oldest waits.", oldest_s)


def _durations() -> Iterator[Metric]:
    """Tell histograms out of counts that never fall (instances.durations)."""
    counts: dict[tuple[str, ...], dict[float, tuple[int, float]]] = defaultdict(dict)
    for row in WorkDuration.objects.all():
        key = (row.kind, row.step, row.outcome)
        counts[key][row.upto_s] = (row.observed, row.seconds)
    steps = HistogramMetricFamily(
        "gpucloud_step_duration_seconds",
        "How long steps of jobs took.",
        labels=("kind", "step", "outcome"),
    )
    jobs = HistogramMetricFamily(
        "gpucloud_job_duration_seconds",
        "How long jobs took that workers ended, from when they were asked for.",
        labels=("kind", "outcome"),
    )
    for (kind, step, outcome), of_bound in sorted(counts.items()):
        buckets, seconds = _buckets(of_bound)
        if step:
            steps.add_metric([kind, step, outcome], buckets, seconds)
        else:
            jobs.add_metric([kind, outcome], buckets, seconds)
    yield from (steps, jobs)


def _buckets(
    of_bound: dict[float, tuple[int, float]],
) -> tuple[list[tuple[str, float]], float]:
    """Return (upper bound, how many took at most that) and the sum of all seconds.

    A bound of an older release counts in the next larger one of today.
    """
    buckets = [
        (
            "+Inf" if bound == float("inf") else f"{bound:g}",
            float(sum(n for upto, (n, _) in of_bound.items() if upto <= bound)),
        )
        for bound in BOUNDS_S
    ]
    return buckets, sum(seconds for _, seconds in of_bound.values())


def _troubles() -> Iterator[Metric]:
    differ = _gauge("discrepancies", "Open discrepancies.", "kind", "prevents_claims")
    kinds = open_discrepancies().order_by().values_list("kind", "prevents_claims")
    for kind, prevents, number in kinds.annotate(Count("pk")):
        differ.add_metric([kind, "yes" if prevents else "no"], number)
    yield differ
    alerts = _gauge("alerts", "Open alerts.", "class", "about")
    about = Case(
        When(region__isnull=False, then=Value("region")),
        When(host__isnull=False, then=Value("host")),
        default=Value("card"),
    )
    classes = open_alerts().order_by().annotate(about=about)
    for alert_class, what, number in classes.values_list(
        "alert_class", "about"
    ).annotate(Count("pk")):
        alerts.add_metric([alert_class, what], number)
    yield alerts


def _refusals() -> Metric:
    """Tell the last hour's: the rows are pruned, so that their count is no counter."""
    metric = _gauge(
        "refused_demand_1h",
        "Launches and reservations of the last hour that could not be had.",
        *("region", "reason"),
    )
    lately = RefusedDemand.objects.filter(at__gt=Now() - timedelta(seconds=REFUSALS_S))
    counted: dict[tuple[str, str], int] = {
        (slug, reason): number
        for slug, reason, number in lately.order_by()
        .values_list("region__slug", "reason")
        .annotate(Count("pk"))
    }
    for slug in Region.objects.order_by("slug").values_list("slug", flat=True):
        for reason in RefusedDemand.Reason.values:
            metric.add_metric([slug, reason], counted.get((slug, reason), 0))
    return metric


def _signs_of_life() -> Iterator[Metric]:
    now = clock()
    ages = _gauge("heartbeat_age_seconds", "Since a part last worked.", "part")
    for part, at in Heartbeat.objects.values_list("part", "at"):
        ages.add_metric([part], (now - at).total_seconds())
    yield ages
    well = _gauge("part_ready", "Whether /health/ready finds a part well.", "part")
    for each in health():
        well.add_metric([each.name], each.is_well)
    yield well
