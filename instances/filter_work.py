"""Bring changes of firewalls to the hosts of the instances that are on them.

A change counts filter_wanted up, in its own transaction; a job brings it to the host, now or
when the host and other work let it. However often that fails, it is begun anew.
"""

import logging
from collections.abc import Collection
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Now

from instances.choices import ENDED_JOB_STATES, Desired, JobKind, JobState
from instances.jobs.queueing import queue
from instances.models import Instance, Job
from instances.network_filter import filter_name, owner_of
from inventory.choices import HostConnection
from inventory.exceptions import HypervisorError
from inventory.hypervisor.port import Hypervisor
from inventory.hypervisor.supervised import connect
from inventory.models import Host, NodeClaim

logger = logging.getLogger(__name__)

SYSTEM = "system:firewall"
_DEADLINE_S = 600
_AT_ONCE = 200
# Pauses after so many failures in the last hour: a silent host is not asked all the time.
_PAUSES_S = {1: 10, 2: 60, 3: 300}
_LONGEST_PAUSE_S = 900
_COUNTED = timedelta(hours=1)


def want(instance_ids: Collection[int]) -> int:
    """Count a change for each of the live instances; return how many there are.

    In the transaction of the change. Locks their rows.
    """
    live = Instance.objects.filter(pk__in=instance_ids, ended_at=None).exclude(
        desired=Desired.DELETED
    )
    # In one order, whoever locks several.
    locked = live.select_for_update(no_key=True).order_by("pk")
    pks = list(locked.values_list("pk", flat=True))
    return live.filter(pk__in=pks).update(filter_wanted=F("filter_wanted") + 1)


def begin(instance_ids: Collection[int], actor: str) -> list[int]:
    """Queue a job for each of the instances that is due; return the jobs to enqueue.

    One at whose work a job is, is due when that has ended.
    """
    due = _waiting().filter(pk__in=instance_ids).order_by("pk")
    jobs = [_begin(instance, actor) for instance in due]
    return [job.pk for job in jobs if job is not None]


def begin_due() -> list[int]:
    """Queue a job for each instance whose host lacks a change; return those to enqueue."""
    failed = Job.objects.filter(
        kind=JobKind.APPLY_FILTER,
        state=JobState.FAILED,
        finished_at__gt=Now() - _COUNTED,
    )
    too_early = (
        failed.values("instance")
        .annotate(failures=Count("pk"), last=Max("finished_at"))
        .filter(last__gt=Now() - _pause())
    )
    due = _waiting().exclude(pk__in=too_early.values("instance")).order_by("pk")
    jobs = [_begin(instance, SYSTEM) for instance in due[:_AT_ONCE]]
    return [job.pk for job in jobs if job is not None]


def sweep(host_id: int, hypervisor: Hypervisor | None = None) -> list[str]:
    """Have a host forget the filters of instances that have gone without their removal.

    One call of the host where there is none. Returns their names. What has a claim, or a
    domain that nobody knows, keeps its own: the claim is made before the filter.
    """
    host = Host.objects.get(pk=host_id)
    if host.connection != HostConnection.OK:
        return []
    machine = hypervisor or connect(host.libvirt_uri)
    try:
        owners = {o for name in machine.filter_names() if (o := owner_of(name))}
        held = NodeClaim.objects.filter(consumer__in=owners, released_at=None)
        owners -= set(map(str, held.values_list("consumer", flat=True)))
        strays = [
            filter_name(o) for o in owners - set(machine.domains() if owners else ())
        ]
        for name in strays:
            machine.undefine_filter(name)
    except HypervisorError as error:
        # Nothing depends on it: the next look tries again.
        logger.info("filters of %s are not swept: %s", host, error)
        return []
    return sorted(strays)


def _pause() -> Case:
    return Case(
        *(
            When(failures=failures, then=Value(timedelta(seconds=seconds)))
            for failures, seconds in _PAUSES_S.items()
        ),
        default=Value(timedelta(seconds=_LONGEST_PAUSE_S)),
    )


def _waiting() -> QuerySet[Instance]:
    at_work = Job.objects.filter(
        ~Q(state__in=ENDED_JOB_STATES), instance=OuterRef("pk")
    )
    # A silent host is told when it answers again: to try would hold a worker.
    held = NodeClaim.objects.filter(
        consumer=OuterRef("uuid"),
        released_at=None,
        numa_node__host__connection=HostConnection.OK,
    )
    return (
        Instance.objects.filter(
            ~Exists(at_work),
            Exists(held),
            filter_applied__lt=F("filter_wanted"),
            ended_at=None,
        )
        # Of a launch that failed or was never begun, there is nothing to hold.
        .exclude(Q(desired=Desired.DELETED) | Q(ready_at=None))
    )


def _begin(instance: Instance, actor: str) -> Job | None:
    try:
        with transaction.atomic():
            return queue(JobKind.APPLY_FILTER, actor, _DEADLINE_S, instance=instance)
    except IntegrityError:
        # Another process was first.
        return None
