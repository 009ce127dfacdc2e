"""Start guests again that crashed, or ran until their host was booted anew.

How often is counted from the jobs that did so; what crashes on and on is left off. A guest
that powered off by itself is left alone, and so is every guest of a host in maintenance.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from instances import lifecycle
from instances.choices import (
    CUT_OFF,
    REST_PHASES,
    STARTS,
    WATCHDOG,
    Desired,
    EventAction,
    EventStatus,
    JobKind,
    JobState,
    Phase,
)
from instances.exceptions import InstanceBusy
from instances.jobs import runner
from instances.jobs.deadlines import deadline_s
from instances.models import Event, Instance, Job
from inventory.choices import HostConnection, HostPolicy
from inventory.hypervisor.port import DomainState
from inventory.models import NodeClaim

MOST_BOOTS = 5
WITHIN = timedelta(minutes=15)
GIVEN_UP = (
    f"This Linode stopped unexpectedly and was started again {MOST_BOOTS} times, in "
    f"{WITHIN.seconds // 60} minutes or in vain. It is left off: boot it when the cause "
    "is found."
)
_UNASKED = (DomainState.CRASHED, CUT_OFF)


def revive(host_id: int) -> list[int]:
    """Begin a boot for each guest of a host that is to run and stopped unasked.

    Return the ids of jobs to enqueue. One query where there is none.
    """
    held = NodeClaim.objects.filter(
        released_at=None,
        numa_node__host=host_id,
        numa_node__host__connection=HostConnection.OK,
    ).exclude(numa_node__host__policy__in=(HostPolicy.MAINTENANCE, HostPolicy.RETIRED))
    stopped = Instance.objects.filter(
        uuid__in=held.values("consumer"),
        phase__in=REST_PHASES,
        desired=Desired.RUNNING,
        observed__in=_UNASKED,
        watchdog_enabled=True,
    )
    jobs = [_revive(pk) for pk in stopped.order_by("pk").values_list("pk", flat=True)]
    return [job.pk for job in jobs if job is not None]


@transaction.atomic
def _revive(instance_id: int) -> Job | None:
    try:
        instance = lifecycle.locked_at_rest(instance_id)
    except InstanceBusy:
        return None
    is_stopped = instance.observed in _UNASKED and instance.watchdog_enabled
    if instance.desired != Desired.RUNNING or not is_stopped:
        return None
    if _is_in_vain(instance):
        _give_up(instance)
        return None
    lifecycle.advance(instance.pk, Phase.BOOTING)
    return runner.create(
        JobKind.BOOT, instance, WATCHDOG, "", deadline_s=deadline_s(instance.plan)
    )


def _is_in_vain(instance: Instance) -> bool:
    """Say whether it was started too often; starts that fail slowly are never so many."""
    starts = Job.objects.filter(instance=instance, kind__in=STARTS)
    ours = Q(kind=JobKind.BOOT, actor=WATCHDOG)
    recent = starts.filter(ours, created_at__gt=Now() - WITHIN).count()
    last = starts.order_by("-pk").values_list("actor", "state")[:MOST_BOOTS]
    failed = [each for each in last if each == (WATCHDOG, JobState.FAILED)]
    return max(recent, len(failed)) >= MOST_BOOTS


def _give_up(instance: Instance) -> None:
    lifecycle.want(instance.pk, Desired.OFF)
    Event.objects.create(
        account_id=instance.account_id,
        action=EventAction.LASSIE_REBOOT,
        status=EventStatus.FAILED,
        entity_id=instance.pk,
        entity_label=instance.label,
        message=GIVEN_UP,
        started_at=Now(),
        finished_at=Now(),
    )
