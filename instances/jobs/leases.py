"""Who works on which job: leases, and the job that is next.

A lease's token fences every write; its holder is a process, so that a lease whose process
is known to be dead need not run out.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from instances.choices import ENDED_JOB_STATES, JobState
from instances.cluster_signs import is_told_to_stop
from instances.exceptions import LeaseLost, WorkerStopping
from instances.models import Instance, Job
from instances.processes import is_dead, machine, this_process
from inventory.models import Host, NodeClaim

# A reaper that overtakes a fresh job's own delivery would only wake two workers.
_FRESH = timedelta(seconds=15)
_CHANCES = 3
_PAUSE_S = 5
_PAUSE_MAX_S = 600


def not_before(attempts: int) -> CombinedExpression | None:
    """Return when a job goes on that lost its worker or its database; None: at once.

    Thrice is chance; what kills its worker again and again must not do so every second.
    """
    if attempts <= _CHANCES:
        return None
    pause_s = min(_PAUSE_S * 2 ** (attempts - _CHANCES - 1), _PAUSE_MAX_S)
    return Now() + timedelta(seconds=pause_s)


def due_jobs() -> list[int]:
    """Return the ids of open jobs that no worker holds and that may run now."""
    return list(
        Job.objects.exclude(state__in=ENDED_JOB_STATES)
        .filter(Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now()))
        .filter(Q(not_before=None) | Q(not_before__lt=Now()))
        .filter(created_at__lt=Now() - _FRESH)
        .order_by("pk")
        .values_list("pk", flat=True)
    )


def waiting_jobs() -> QuerySet[Job]:
    """Return the jobs that nobody has begun and that wait for a worker, nothing else."""
    earlier = Job.objects.filter(pk__lt=OuterRef("pk")).exclude(
        state__in=ENDED_JOB_STATES
    )
    return (
        Job.objects.filter(state=JobState.QUEUED, lease_token=None)
        .filter(Q(not_before=None) | Q(not_before__lt=Now()))
        .filter(
            ~Exists(earlier.filter(instance=OuterRef("instance"))),
            ~Exists(earlier.filter(card=OuterRef("card"))),
        )
    )


@dataclass(slots=True)
class Lease:
    job: Job
    token: uuid.UUID

    def fenced(self, **changes: object) -> None:
        """Update the job if the lease is still ours; raises LeaseLost if it is not."""
        changed = Job.objects.filter(pk=self.job.pk, lease_token=self.token).update(
            **changes
        )
        if not changed:
            raise LeaseLost(self.job.pk)

    def renew(self, seconds: int) -> None:
        """Keep the job for so many seconds more.

        Raises LeaseLost, or WorkerStopping in a cluster that is told to end: whatever
        waits for long renews, and a step may be left at any point.
        """
        if is_told_to_stop():
            raise WorkerStopping(self.job.pk)
        self.fenced(lease_expires_at=Now() + timedelta(seconds=seconds))

    def let_go(self, **changes: object) -> None:
        """Leave the job to another worker."""
        self.fenced(**changes, lease_token=None, lease_expires_at=None, lease_holder="")


def acquire(job_id: int) -> Lease | None:
    token = uuid.uuid4()
    with transaction.atomic():
        job = (
            Job.objects.select_for_update(of=("self",), skip_locked=True)
            .exclude(state__in=ENDED_JOB_STATES)
            .filter(Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now()))
            .filter(Q(not_before=None) | Q(not_before__lt=Now()))
            .filter(pk=job_id)
            .first()
        )
        if job is None or earlier_work(job) or _is_host_asked(job):
            return None
        state = JobState.RUNNING if job.state == JobState.QUEUED else job.state
        Job.objects.filter(pk=job.pk).update(
            state=state,
            lease_token=token,
            lease_expires_at=Now() + timedelta(seconds=60),
            lease_holder=this_process(),
            attempts=job.attempts + 1,
            started_at=job.started_at or Now(),
            not_before=None,
        )
    return Lease(Job.objects.select_related("instance", "card").get(pk=job_id), token)


def same_subject(job: Job) -> QuerySet[Job]:
    if job.card_id is not None:
        return Job.objects.filter(card=job.card_id)
    return Job.objects.filter(instance=job.instance_id)


def earlier_work(job: Job) -> bool:
    return (
        same_subject(job)
        .filter(pk__lt=job.pk)
        .exclude(state__in=ENDED_JOB_STATES)
        .exists()
    )


def _is_host_asked(job: Job) -> bool:
    """Say whether another worker has a job on the same host, which is known to be silent.

    One at a time finds out whether it answers again: the others are for other hosts.
    """
    silent = _hosts_of(job).filter(failed_looks__gt=0)
    for host_id in silent.values_list("pk", flat=True):
        # Who is not the first to lock it is not the first to ask, either.
        host = Host.objects.select_for_update(skip_locked=True).filter(pk=host_id)
        asked = _open_on(host_id).filter(lease_expires_at__gt=Now())
        if not host.exists() or asked.exists():
            return True
    return False


def _hosts_of(job: Job) -> QuerySet[Host]:
    if job.card_id is not None:
        return Host.objects.filter(cards=job.card_id)
    whose = Instance.objects.filter(jobs=job).values("uuid")
    held = NodeClaim.objects.filter(consumer__in=whose, released_at=None)
    return Host.objects.filter(pk__in=held.values("numa_node__host"))


def _open_on(host_id: int) -> QuerySet[Job]:
    held = NodeClaim.objects.filter(numa_node__host=host_id, released_at=None)
    return Job.objects.exclude(state__in=ENDED_JOB_STATES).filter(
        Q(card__host=host_id) | Q(instance__uuid__in=held.values("consumer"))
    )


def end_waiting(host_id: int) -> list[int]:
    """Have the jobs go on that no worker has, of a host that answers; return their ids.

    In the caller's transaction. A job that is locked is taken, or ends.
    """
    waiting = (
        _open_on(host_id)
        .select_for_update(of=("self",), skip_locked=True)
        .filter(lease_token=None)
        .order_by("pk")
    )
    job_ids = list(waiting.values_list("pk", flat=True))
    Job.objects.filter(pk__in=job_ids).update(not_before=None)
    return job_ids


def let_go_of_dead() -> list[int]:
    """Free the jobs of this machine's processes that have ended; return the jobs' ids.

    A call that a dead worker made to its host may still be under way there: a step
    observes before it acts.
    """
    held = (
        Job.objects.filter(lease_holder__startswith=f"{machine()}/")
        .exclude(state__in=ENDED_JOB_STATES)
        .order_by("pk")
        .values_list("pk", "lease_token", "lease_holder", "attempts")
    )
    freed = []
    for job_id, token, holder, attempts in held:
        mine = Job.objects.filter(pk=job_id, lease_token=token)
        if is_dead(holder) and mine.update(
            lease_token=None,
            lease_expires_at=None,
            lease_holder="",
            not_before=not_before(attempts),
        ):
            freed.append(job_id)
    return freed
