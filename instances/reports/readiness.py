"""Whether what is behind a flag is ready for everyone: measured, and held to thresholds.

Each line is counted from rows that rows_behind() gives. What says nothing, as no launch
has failed because none was begun, is not green.
"""

from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from flags.models import (
    AT_LEAST,
    Flag,
    LaunchDecision,
    LineStatus,
    ReadinessLine,
    ReadinessThreshold,
)
from instances.choices import LAUNCHES, Phase, StepState
from instances.feedback import of_flag
from instances.gates import behind
from instances.models import Instance, Job, JobStep, Plan
from instances.moments import time_of
from instances.reports.sales import (
    HOUR,
    launch_figures,
    launched,
    refused,
    seconds,
    used,
)
from instances.reports.table import Asked, share
from inventory.choices import CardCondition, CardEventKind, CheckOutcome
from inventory.ledger import clock
from inventory.models import Card, CardCheck, CardEvent, Discrepancy, Region

DEFAULT_DAYS = 30
Measured = tuple[float | None, int | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """One line. bound: the threshold, None if there is none.

    of: how many there were that it could have befallen, None if that is no question.
    """

    name: str
    title: str
    value: float | None
    of: int | None
    bound: float | None
    is_least: bool
    status: str


@dataclass(frozen=True, slots=True)
class Failures:
    """Launches that failed alike. step: empty if none was begun, or its job is gone."""

    step: str
    cause: str
    launches: int


@dataclass(frozen=True, slots=True)
class Readiness:
    """The report. plans, regions: slugs of what names the flag, a GPU model's plans too."""

    flag: str
    since: date
    until: date
    computed_at: datetime
    plans: list[str]
    regions: list[str]
    lines: list[Judged]
    failures: list[Failures]

    @property
    def not_green(self) -> list[str]:
        """The names of the lines that are not green."""
        return [line.name for line in self.lines if line.status != LineStatus.GREEN]

    @property
    def seen(self) -> str:
        """The states of all lines: what a person who decides has seen."""
        return ",".join(f"{line.name}={line.status}" for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "computed_at": time_of(self.computed_at),
        }


def asked_of(flag: Flag) -> Asked:
    """Return the last 30 days, or those since the flag was made."""
    until = clock().date()
    since = max(until - timedelta(days=DEFAULT_DAYS - 1), flag.created.date())
    return Asked(min(since, until), until, flag=flag.name)


def since_then(flag: Flag, decision: LaunchDecision | None) -> Asked:
    """Return the days that a decision was about, and those since; without one asked_of()."""
    asked = asked_of(flag)
    if decision is None:
        return asked
    return replace(asked, since=date.fromisoformat(decision.snapshot["since"]))


def readiness_of(flag: Flag, asked: Asked) -> Readiness:
    """Return the report on a flag; a dozen queries."""
    bounds = _bounds(flag)
    plans = plans_behind(flag.name)
    return Readiness(
        flag=flag.name,
        since=asked.since,
        until=asked.until,
        computed_at=clock(),
        plans=list(plans.values_list("slug", flat=True)),
        regions=list(
            Region.objects.filter(flag_name=flag.name).values_list("slug", flat=True)
        ),
        lines=[
            _judged(line, measured, bounds.get(line))
            for line, measured in _measure(asked).items()
        ],
        failures=_failures(asked),
    )


def plans_behind(flag_name: str) -> QuerySet[Plan]:
    """Return the plans that name the flag, or whose GPU model does."""
    return Plan.objects.filter(
        Q(flag_name=flag_name) | Q(gpu_model__flag_name=flag_name)
    )


def _bounds(flag: Flag) -> dict[str, Decimal]:
    """Return line -> threshold: the flag's own, or that of all."""
    rows = ReadinessThreshold.objects.filter(Q(flag=None) | Q(flag=flag))
    in_turn = rows.order_by(F("flag").asc(nulls_first=True))
    return dict(in_turn.values_list("line", "bound"))


def _judged(line: ReadinessLine, measured: Measured, bound: Decimal | None) -> Judged:
    value, of = measured
    is_least = line in AT_LEAST
    if value is None or bound is None or of == 0:
        status = LineStatus.NO_DATA
    elif value >= bound if is_least else value <= bound:
        status = LineStatus.GREEN
    else:
        status = LineStatus.RED
    return Judged(
        name=line.value,
        title=str(line.label),
        value=value,
        of=of,
        bound=None if bound is None else float(bound),
        is_least=is_least,
        status=status.value,
    )


def _measure(asked: Asked) -> dict[ReadinessLine, Measured]:
    """Return each line's value, and of how many it is."""
    line = ReadinessLine
    launches = launched(asked).aggregate(
        **launch_figures(), accounts=Count("account", distinct=True)
    )
    begun, ready, failed = (launches[key] for key in ("begun", "ready", "failed"))
    cards = _cards(asked).exclude(condition=CardCondition.RETIRED).count()
    checks = _checks(asked).count()
    turned_away = rows_behind(line.REFUSALS, asked).count()
    said = rows_behind(line.FEEDBACK, asked).aggregate(
        yes=Count("pk", filter=Q(would_use_again=True)), either=Count("would_use_again")
    )
    held = used(asked).aggregate(total=Sum("held"))["total"] or timedelta()
    return {
        line.LAUNCHES: (begun, None),
        line.SUCCESS: (share(ready, ready + failed), ready + failed),
        line.TIME_P50: (seconds(launches["p50"]), ready),
        line.TIME_P95: (seconds(launches["p95"]), ready),
        line.FAILURES: (failed, begun),
        line.CARD_FAULTS: (rows_behind(line.CARD_FAULTS, asked).count(), cards),
        line.CHECK_FAILURES: (rows_behind(line.CHECK_FAILURES, asked).count(), checks),
        line.DISCREPANCIES: (rows_behind(line.DISCREPANCIES, asked).count(), cards),
        line.REFUSALS: (turned_away, begun + turned_away),
        line.HOURS: (round(held / HOUR, 2), None),
        line.ACCOUNTS: (launches["accounts"], None),
        line.FEEDBACK: (share(said["yes"], said["either"]), said["either"]),
    }


def rows_behind(line: ReadinessLine, asked: Asked) -> QuerySet[Any]:
    """Return the rows that a line is counted from."""
    begins, ends = asked.moments
    of = ReadinessLine
    if line in _OF_LAUNCHES:
        return launched(asked).filter(_OF_LAUNCHES[line])
    if line == of.CARD_FAULTS:
        return CardEvent.objects.filter(
            card__in=_cards(asked),
            kind=CardEventKind.CONDITION,
            to_condition__in=(CardCondition.QUARANTINED, CardCondition.MISSING),
            at__gte=begins,
            at__lt=ends,
        )
    if line == of.CHECK_FAILURES:
        return _checks(asked).filter(outcome=CheckOutcome.FAILED)
    if line == of.DISCREPANCIES:
        ours = Instance.objects.filter(behind(asked.flag)).values("uuid")
        return Discrepancy.objects.filter(
            Q(card__in=_cards(asked)) | Q(consumer__in=ours),
            Q(resolved_at=None) | Q(resolved_at__gte=begins),
            first_seen_at__lt=ends,
        )
    if line == of.FEEDBACK:
        return of_flag(asked.flag, begins, ends)
    return refused(asked) if line == of.REFUSALS else used(asked)


_ENDED = Q(ready_at__isnull=False) | Q(phase=Phase.FAILED)
_OF_LAUNCHES = {
    ReadinessLine.LAUNCHES: Q(),
    ReadinessLine.SUCCESS: _ENDED,
    ReadinessLine.TIME_P50: Q(ready_at__isnull=False),
    ReadinessLine.TIME_P95: Q(ready_at__isnull=False),
    ReadinessLine.FAILURES: Q(phase=Phase.FAILED),
    ReadinessLine.ACCOUNTS: Q(),
}


def _cards(asked: Asked) -> QuerySet[Card]:
    """Return the cards that what is behind the flag is sold from."""
    models = plans_behind(asked.flag).filter(cards__gt=0).order_by().values("gpu_model")
    return Card.objects.filter(
        Q(gpu_model__in=models) | Q(host__region__flag_name=asked.flag)
    )


def _checks(asked: Asked) -> QuerySet[CardCheck]:
    begins, ends = asked.moments
    done = CardCheck.objects.filter(finished_at__gte=begins, finished_at__lt=ends)
    of_ours = done.filter(card__in=_cards(asked))
    return of_ours.exclude(outcome=CheckOutcome.SKIPPED)


def with_causes(instances: QuerySet[Instance]) -> QuerySet[Any]:
    """Give each instance `step` and `cause` of its launch: the last step begun, and why.

    Empty or None once the job is deleted, or before its first step.
    """
    jobs = Job.objects.filter(instance=OuterRef("pk"), kind__in=LAUNCHES)
    steps = JobStep.objects.filter(
        job__instance=OuterRef("pk"), job__kind__in=LAUNCHES
    ).exclude(state=StepState.PENDING)
    return instances.annotate(
        step=Subquery(steps.order_by("-job", "-position").values("label")[:1]),
        cause=Subquery(jobs.order_by("-pk").values("public_message")[:1]),
    )


def _failures(asked: Asked) -> list[Failures]:
    """Return how launches failed, the most frequent first."""
    failed = with_causes(rows_behind(ReadinessLine.FAILURES, asked))
    grouped = (
        failed.order_by()
        .values_list("step", "cause")
        .annotate(launches=Count("pk"))
        .order_by("-launches", "step", "cause")
    )
    return [Failures(step or "", cause or "", n) for step, cause, n in grouped]
