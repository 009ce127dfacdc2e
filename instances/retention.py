"""Delete what is old and nobody needs; claims, ledger and who had what stay for ever.

KEPT_FOR_EVER and RULES name every table of ours between them, so that a new one cannot
grow unnoticed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now

from instances.choices import ENDED_JOB_STATES, ENDED_PHASES, EventStatus, JobKind
from instances.models import (
    AccessEvent,
    ApiChange,
    ApiToken,
    Event,
    Job,
    RefusedDemand,
    WebhookDelivery,
)
from inventory.models import Alert, Discrepancy, HostOutage

_BATCH = 1000
# An hour's run leaves the rest to the next: a table that was never pruned is no hurry.
_BATCHES = 50

# Who had which hardware when, what was sold, who may do what; the rest is as many as
# there are hosts, plans and people.
KEPT_FOR_EVER = frozenset(
    {
        *("flags.Beta", "flags.BetaEnrolment", "instances.Webhook"),
        *("flags.FlagChange", "flags.FlagProposal", "flags.LaunchDecision"),
        *("flags.ReadinessThreshold", "instances.LaunchNotice"),
        "instances.WaitlistEntry",
        *("flags.Flag", "instances.Account", "instances.GpuQuota", "instances.Plan"),
        *("instances.Image", "instances.HostImage"),
        *("instances.Instance", "instances.Reservation", "instances.SSHKey"),
        *("instances.InstanceFeedback", "instances.Trial"),
        *("instances.Tag", "inventory.AddressPool", "inventory.AddressClaim"),
        *("inventory.Card", "inventory.CardCheck", "inventory.CardClaim"),
        *("inventory.CardEvent", "inventory.CardFunction", "inventory.CheckImage"),
        *("inventory.GpuModel", "inventory.GuestSetup", "inventory.Host"),
        *("inventory.HostCpu", "inventory.NodeClaim", "inventory.NumaNode"),
        *("inventory.PciId", "inventory.Region", "instances.UsageInterval"),
        "inventory.CardReport",
        *("instances.Invoice", "instances.InvoicedMonth", "instances.InvoiceItem"),
        # Rows that go with another: with their job, their token, their use.
        *("instances.JobStep", "instances.TokenRate", "instances.SeedSettings"),
        *("instances.PendingResize", "instances.RegionPrice"),
        # As many as there are kinds of steps, and parts of an installation.
        *("instances.WorkDuration", "instances.Heartbeat"),
        # One a week.
        "instances.ReportMail",
        # Their customers' own, until they delete them or what is on them.
        *("instances.Firewall", "instances.FirewallDevice"),
        *("instances.PlacementGroup", "instances.PlacementMember"),
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """expired: the rows of `model` that may go, given how long rows are kept."""

    model: type[Model]
    days: Callable[[], int]
    expired: Callable[[timedelta], QuerySet[Any]]


def _jobs(age: timedelta) -> QuerySet[Any]:
    # The page of an instance that lives tells how it was launched.
    launches = Q(kind__startswith=JobKind.LAUNCH) & ~Q(instance__phase__in=ENDED_PHASES)
    return Job.objects.filter(
        state__in=ENDED_JOB_STATES, finished_at__lt=Now() - age
    ).exclude(launches)


def _events(age: timedelta) -> QuerySet[Any]:
    under_way = (EventStatus.SCHEDULED, EventStatus.STARTED)
    return Event.objects.filter(created_at__lt=Now() - age).exclude(
        status__in=under_way
    )


def _tokens(age: timedelta) -> QuerySet[Any]:
    # The trail of what was asked with it names it in words of its own.
    return ApiToken.objects.filter(
        Q(revoked_at__lt=Now() - age) | Q(expires_at__lt=Now() - age)
    )


RULES = (
    Rule(Job, lambda: settings.KEEP_JOBS_DAYS, _jobs),
    Rule(Event, lambda: settings.KEEP_EVENTS_DAYS, _events),
    Rule(
        ApiChange,
        lambda: settings.KEEP_API_CHANGES_DAYS,
        lambda age: ApiChange.objects.filter(created_at__lt=Now() - age),
    ),
    Rule(ApiToken, lambda: settings.KEEP_ENDED_TOKENS_DAYS, _tokens),
    Rule(
        LogEntry,
        lambda: settings.KEEP_ADMIN_LOG_DAYS,
        lambda age: LogEntry.objects.filter(action_time__lt=Now() - age),
    ),
    Rule(
        AccessEvent,
        lambda: settings.KEEP_ADMIN_LOG_DAYS,
        lambda age: AccessEvent.objects.filter(at__lt=Now() - age),
    ),
    Rule(
        RefusedDemand,
        lambda: settings.KEEP_REFUSALS_DAYS,
        lambda age: RefusedDemand.objects.filter(at__lt=Now() - age),
    ),
    Rule(
        WebhookDelivery,
        lambda: settings.KEEP_WEBHOOK_DELIVERIES_DAYS,
        lambda age: WebhookDelivery.objects.filter(ended_at__lt=Now() - age),
    ),
    Rule(
        Alert,
        lambda: settings.KEEP_OBSERVATIONS_DAYS,
        lambda age: Alert.objects.filter(cleared_at__lt=Now() - age),
    ),
    Rule(
        Discrepancy,
        lambda: settings.KEEP_OBSERVATIONS_DAYS,
        lambda age: Discrepancy.objects.filter(resolved_at__lt=Now() - age),
    ),
    Rule(
        HostOutage,
        lambda: settings.KEEP_OUTAGES_DAYS,
        lambda age: HostOutage.objects.filter(ended_at__lt=Now() - age),
    ),
    Rule(
        Session,
        lambda: 0,
        lambda age: Session.objects.filter(expire_date__lt=Now() - age),
    ),
)


def prune() -> dict[str, int]:
    """Delete what is due of each table, in batches; return how many rows, by table."""
    return {
        rule.model.__name__: delete_all(rule.expired(timedelta(days=rule.days())))
        for rule in RULES
    }


def delete_all(rows: QuerySet[Any]) -> int:
    """Delete rows in transactions of a bounded size, with those that go along."""
    return sum(_batches(rows))


def _batches(rows: QuerySet[Any]) -> Iterator[int]:
    for _ in range(_BATCHES):
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH])
        if keys:
            rows.model.objects.filter(pk__in=keys).delete()
            yield len(keys)
        if len(keys) < _BATCH:
            return
