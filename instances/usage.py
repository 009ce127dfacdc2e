"""Begin and end what instances are billed for; the only writer of usage.

Every function but follow_tags runs in the transaction of the transition that it goes with,
and takes its time from the rows of that transition, never from what is observed of a
machine.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q

from instances.models import Instance, Plan, UsageInterval
from instances.models.account import EMPLOYEE_TAG
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
        is_billed=not instance.account.is_employee,
    )


def change_usage(instance: Instance, plan: Plan) -> None:
    """Bill the instance for another plan from the release of its old claims, just now.

    instance: as it was before, with its account.
    """
    released = NodeClaim.objects.filter(
        consumer=instance.uuid, claim_set=instance.claim_set
    ).aggregate(at=Max("released_at"))
    UsageInterval.objects.filter(instance=instance, ends_at=None).update(
        ends_at=released["at"]
    )
    _open(instance, plan, released["at"])


def follow_tags(accounts: Iterable[int] | None = None) -> int:
    """Have what goes on billed as its account's tag says from now on; return how many.

    What was before stays as it was. accounts: theirs alone. Each instance in a transaction
    of its own: whatever a crash leaves, the next call does.
    """
    is_employees = Q(instance__account__tags__contains=[EMPLOYEE_TAG])
    amiss = UsageInterval.objects.filter(ends_at=None).filter(
        (is_employees & Q(is_billed=True)) | (~is_employees & Q(is_billed=False))
    )
    if accounts is not None:
        amiss = amiss.filter(instance__account__in=accounts)
    return sum(_mark_anew(*key) for key in amiss.values_list("pk", "instance__uuid"))


@transaction.atomic
def _mark_anew(interval_id: int, consumer: UUID) -> bool:
    # Whoever releases its claims has its host first, and reads the clock after that.
    lock_hosts_of(consumer)
    rows = UsageInterval.objects.select_related("instance__account")
    row = rows.filter(pk=interval_id, ends_at=None).first()
    if row is None:
        return False
    now = clock()
    UsageInterval.objects.filter(pk=row.pk).update(ends_at=now)
    row.pk, row.starts_at = None, now
    row.is_billed = not row.instance.account.is_employee
    row.save(force_insert=True)
    return True


def end_usage(consumer: UUID) -> None:
    """Bill the consumer's instance up to the release of its claims, which has just been.

    One that never ran, and so was not billed, or that has no claims left to release,
    is left as it is.
    """
    released = NodeClaim.objects.filter(consumer=consumer).aggregate(
        at=Max("released_at")
    )
    UsageInterval.objects.filter(instance__uuid=consumer, ends_at=None).update(
        ends_at=released["at"]
    )
