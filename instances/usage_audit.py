"""Compare usage with claims: what is billed is what was held, to the microsecond.

The same moments, by the transaction that writes both: usage begins when the instance is
ready (its ready_at), and changes or ends at the release of claims (their released_at). Only
whether it is billed changes at any time, with the account's tag or the end of a trial.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Min, Q

from instances.models import Instance, UsageInterval
from inventory.models import NodeClaim

CHUNK = 500
_OPEN = Q(released_at=None)


@dataclass(frozen=True, slots=True)
class UsageDifference:
    """Where the usage of an instance is not what claims say."""

    instance_id: int
    about: str
    usage: str
    rows: str

    def __str__(self) -> str:
        return (
            f"instance {self.instance_id}, {self.about}: "
            f"usage says {self.usage}, the rows say {self.rows}"
        )


@dataclass(slots=True)
class UsageAudit:
    instances: int = 0
    intervals: int = 0
    differences: list[UsageDifference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Held:
    """The time of an instance's claims. releases: when any of them ended, once each."""

    since: datetime
    releases: tuple[datetime, ...]
    is_open: bool

    @property
    def until(self) -> datetime | None:
        """When it let go of all; None while it holds something."""
        return None if self.is_open else max(self.releases)


def audit_usage(chunk: int = CHUNK) -> UsageAudit:
    """Compare every instance; three queries per `chunk` instances.

    The caller's transaction sees one moment.
    """
    done = UsageAudit()
    last_id = 0
    while found := list(Instance.objects.filter(pk__gt=last_id).order_by("pk")[:chunk]):
        last_id = found[-1].pk
        usage: dict[int, list[UsageInterval]] = defaultdict(list)
        rows = UsageInterval.objects.filter(instance__in=found)
        for interval in rows.order_by("starts_at", "pk"):
            usage[interval.instance_id].append(interval)
        held = _held(found)
        for instance in found:
            intervals = usage[instance.pk]
            done.instances += 1
            done.intervals += len(intervals)
            done.differences += compare(instance, intervals, held.get(instance.uuid))
    return done


def _held(instances: Iterable[Instance]) -> dict[UUID, Held]:
    claims = (
        NodeClaim.objects.filter(consumer__in=[i.uuid for i in instances])
        .order_by()
        .values_list("consumer")
        .annotate(
            Min("claimed_at"),
            ended=ArrayAgg("released_at", distinct=True, filter=~_OPEN, default=[]),
            n=Count("pk", filter=_OPEN),
        )
    )
    return {
        consumer: Held(since, tuple(ended), is_open=bool(still_open))
        for consumer, since, ended, still_open in claims
    }


def compare(
    instance: Instance,
    intervals: list[UsageInterval],
    held: Held | None,
) -> list[UsageDifference]:
    """Return every difference of one instance. intervals: by their begin."""
    return [
        UsageDifference(instance.pk, about, _said(usage), _said(rows))
        for about, usage, rows in _compared(instance, intervals, held)
        if usage != rows
    ]


def _compared(
    instance: Instance,
    intervals: list[UsageInterval],
    held: Held | None,
) -> Iterator[tuple[str, object, object]]:
    if not intervals or held is None:
        begin = intervals[0].starts_at if intervals else None
        yield "begin", begin, instance.ready_at if held else None
        return
    first, last = intervals[0], intervals[-1]
    # What was made before instances kept when they were ready may be older than its claim.
    ready_at = instance.ready_at
    yield "begin", first.starts_at, ready_at and max(ready_at, held.since)
    for before, after in pairwise(intervals):
        yield "next begin", after.starts_at, before.ends_at
        if before.plan_id != after.plan_id or before.is_billed == after.is_billed:
            yield "change at a release", before.ends_at in held.releases, True
    yield "plan", last.plan_id, instance.plan_id
    # A clock that was set back ends nothing before it began.
    yield "end", last.ends_at, held.until and max(held.until, last.starts_at)


def _said(value: object) -> str:
    if value is None:
        return "none"
    return value.isoformat() if isinstance(value, datetime) else str(value)
