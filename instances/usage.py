"""Begin and end what instances are billed for; the only writer of usage.

Every function but follow_tags and end_due_trials runs in the transaction of the transition
that it goes with, and takes its time from the rows of that transition, never from what is
observed of a machine.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Max, Q, When

from instances.choices import AfterTrial
from instances.models import Instance, Plan, Trial, UsageInterval
from instances.models.account import EMPLOYEE_TAG
from instances.trials import settled
from inventory.ledger import clock, lock_hosts_of
from inventory.models import NodeClaim


def begin_usage(instance_id: int) -> None:
    """Bill the instance from when it was ready, if that has not begun.

    From then on it holds what it pays for, running or not.
    """
    if UsageInterval.objects.filter(instance=instance_id).exists():
        return
    instance = Instance.objects.select_related("plan", "account", "region").get(
        pk=instance_id
    )
    assert instance.ready_at is not None  # noqa: S101 -- a constraint of the table
    _open(instance, instance.plan, instance.ready_at)


def _open(instance: Instance, plan: Plan, since: datetime) -> None:
    price = plan.price_in(instance.region)
    UsageInterval.objects.create(
        instance=instance,
        plan=plan,
        starts_at=since,
        price_hourly=price.price_hourly,
        price_monthly=price.price_monthly,
        is_billed=_is_billed(instance, since),
    )


def _is_billed(instance: Instance, at: datetime) -> bool:
    """Say whether the instance's use is billed from a moment on. Locks its trial, last."""
    if instance.account.is_employee:
        return False
    return instance.trial_id is None or settled(instance.trial_id, at).bills(at)


def change_usage(instance: Instance, plan: Plan) -> None:
    """Bill the instance for another plan from the release of its old claims, just now.

    instance: as it was before, with its account.
    """
    released = NodeClaim.objects.filter(
        consumer=instance.uuid, claim_set=instance.claim_set
    ).aggregate(at=Max("released_at"))
    _open(instance, plan, _close(instance.uuid, released["at"]))


def _close(consumer: UUID, at: datetime) -> datetime:
    """End what is open of the instance; return when, which is never before it began.

    Not even if the clock was set back: that is to keep nobody from a release.
    """
    row = _open_row(instance__uuid=consumer)
    if row is None:
        return at
    row = _past_its_trial(row, at)
    ends_at = max(at, row.starts_at)
    UsageInterval.objects.filter(pk=row.pk).update(ends_at=ends_at)
    return ends_at


def _open_row(**of: object) -> UsageInterval | None:
    rows = UsageInterval.objects.select_related("instance__account")
    return rows.filter(ends_at=None, **of).first()


def _past_its_trial(row: UsageInterval, now: datetime) -> UsageInterval:
    """Return what is open now: billed from its trial's end on, if that was within `row`.

    Whoever notices the end, and however late: the boundary is the end's own moment.
    """
    instance = row.instance
    if instance.trial_id is None or row.is_billed or instance.account.is_employee:
        return row
    trial = settled(instance.trial_id, now)
    if trial.ended_at is None or not row.starts_at < trial.ended_at < now:
        return row
    return _go_on(row, trial.ended_at, is_billed=trial.bills(trial.ended_at))


def _go_on(row: UsageInterval, at: datetime, *, is_billed: bool) -> UsageInterval:
    """Have the open `row` go on as another from a moment on, if that is marked anew."""
    if row.is_billed == is_billed:
        return row
    UsageInterval.objects.filter(pk=row.pk).update(ends_at=at)
    row.pk, row.starts_at, row.is_billed = None, at, is_billed
    row.save(force_insert=True)
    return row


def follow_tags(accounts: Iterable[int] | None = None) -> int:
    """Have what goes on billed as its account's tag and its trial say; return how many.

    By the tag from now on, by the trial from its end on; what was before stays as it was.
    accounts: theirs alone. Each instance in a transaction of its own: whatever a crash
    leaves, the next call does.
    """
    in_trial = Q(instance__trial__isnull=False)
    is_free = Q(instance__account__tags__contains=[EMPLOYEE_TAG]) | (
        in_trial
        & (
            Q(instance__trial__ended_at=None)
            | Q(instance__trial__at_end=AfterTrial.DELETE)
        )
    )
    # Annotated first: in a filter of its own the trial would be joined as if all had one.
    open_rows = UsageInterval.objects.filter(ends_at=None).annotate(
        is_free=Case(When(is_free, then=True), default=False)
    )
    amiss = open_rows.filter(is_billed=F("is_free"))
    if accounts is not None:
        amiss = amiss.filter(instance__account__in=accounts)
    return sum(_mark_anew(*key) for key in amiss.values_list("pk", "instance__uuid"))


@transaction.atomic
def _mark_anew(interval_id: int, consumer: UUID) -> bool:
    # Whoever releases its claims has its host first, and reads the clock after that.
    lock_hosts_of(consumer)
    row = _open_row(pk=interval_id)
    if row is None:
        return False
    now = clock()
    row = _past_its_trial(row, now)
    at = max(now, row.starts_at)
    row = _go_on(row, at, is_billed=_is_billed(row.instance, now))
    return row.pk != interval_id


def end_due_trials() -> None:
    """End trials that are over, and have what goes on of them billed from their end on."""
    for trial_id in list(
        Trial.objects.filter(ended_at=None).values_list("pk", flat=True)
    ):
        with transaction.atomic():
            settled(trial_id, clock())
    follow_tags()


def end_usage(consumer: UUID) -> None:
    """Bill the consumer's instance up to the release of its claims, which has just been.

    One that never ran, and so was not billed, or that has no claims left to release,
    is left as it is.
    """
    released = NodeClaim.objects.filter(consumer=consumer).aggregate(
        at=Max("released_at")
    )
    if released["at"] is not None:
        _close(consumer, released["at"])
