"""Run a job: take its lease, do its steps, undo them when one cannot be done.

django-q2 delivers a job's id, possibly twice, late or never; these rows decide. The
attempt is counted in a transaction of its own before any side effect, every write is
fenced by the lease's token, and what cannot be finished now is left for the reaper.
"""

import logging
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from instances.choices import (
    ENDED_JOB_STATES,
    LAUNCHES,
    VERBS,
    JobKind,
    JobState,
    StepState,
)
from instances.exceptions import JobAbandoned, LeaseLost, StepFailed
from instances.jobs import card_work, progress
from instances.jobs.failure import Failure
from instances.jobs.queueing import queue
from instances.jobs.steps import Step
from instances.jobs.subjects import Connector, subject_of
from instances.jobs.workflows import UNDONE_ON_FAILURE, WAITS_FOR_HOST, WORKFLOWS
from instances.models import Instance, Job, JobStep
from inventory import host_state
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.supervised import connect
from inventory.models import Card, NodeClaim

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
# Pauses between tries of one step at a host that does not answer: libvirtd restarts in 3 s.
PATIENCE_S = (1.0, 2.0, 4.0, 8.0)
_LAUNCH_REFUSED = "The host refused this machine. Nothing is held or charged for it."
_REFUSED = (
    "The host refused this. The Linode keeps its cards, cores, memory and address."
)
POSTPONE_S = 30
POSTPONE_MAX_S = 600
# A reaper that overtakes a fresh job's own delivery would only wake two workers.
_FRESH = timedelta(seconds=15)


def create(
    kind: JobKind, instance: Instance, actor: str, username: str, deadline_s: int
) -> Job:
    """Write a queued job with its steps and its event, in the caller's transaction."""
    job = queue(kind, actor, deadline_s, instance=instance)
    progress.announce(job, instance, username)
    return job


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


def run(job_id: int, connect_to: Connector = connect) -> list[int]:
    """Work on a job as far as it goes now; return the ids of jobs to enqueue next.

    Does nothing if another worker holds it, it has ended, or earlier work on the same
    instance is open.
    """
    lease = _acquire(job_id)
    if lease is None:
        return []
    try:
        _Worker(lease, connect_to).work()
    except LeaseLost:
        logger.warning("job %s was taken over by another worker", job_id)
        return []
    return _next_jobs(lease.job)


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
        self.fenced(lease_expires_at=Now() + timedelta(seconds=seconds))


def _acquire(job_id: int) -> Lease | None:
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
        if job is None or _earlier_work(job):
            return None
        state = JobState.RUNNING if job.state == JobState.QUEUED else job.state
        Job.objects.filter(pk=job.pk).update(
            state=state,
            lease_token=token,
            lease_expires_at=Now() + timedelta(seconds=60),
            attempts=job.attempts + 1,
            started_at=job.started_at or Now(),
            not_before=None,
        )
    return Lease(Job.objects.select_related("instance", "card").get(pk=job_id), token)


def _same_subject(job: Job) -> QuerySet[Job]:
    if job.card_id is not None:
        return Job.objects.filter(card=job.card_id)
    return Job.objects.filter(instance=job.instance_id)


def _earlier_work(job: Job) -> bool:
    return (
        _same_subject(job)
        .filter(pk__lt=job.pk)
        .exclude(state__in=ENDED_JOB_STATES)
        .exists()
    )


def _next_jobs(job: Job) -> list[int]:
    """Return the jobs that wait for this one, once it has ended."""
    job.refresh_from_db(fields=["state"])
    if job.state not in ENDED_JOB_STATES:
        return []
    if job.card_id is not None:
        return card_work.plan(Card.objects.get(pk=job.card_id).host_id)
    first = _same_subject(job).filter(state=JobState.QUEUED).order_by("pk").first()
    # What the instance let go of is cleaned at once.
    released_on = (
        NodeClaim.objects.filter(
            consumer=job.for_instance.uuid, released_at__isnull=False
        )
        .order_by("numa_node__host_id")
        .values_list("numa_node__host_id", flat=True)
        .distinct()
    )
    cleaning = [new for host_id in released_on for new in card_work.plan(host_id)]
    return [*([first.pk] if first else []), *cleaning]


class _Worker:
    """One attempt at one leased job."""

    def __init__(self, lease: Lease, connect_to: Connector) -> None:
        self.lease = lease
        self.job = lease.job
        self.kind = JobKind(lease.job.kind)
        self.steps = WORKFLOWS[self.kind]
        self.subject = subject_of(lease.job, connect_to, lease.renew)

    def work(self) -> None:
        if self.job.state == JobState.RUNNING:
            failure = self._worn_out() or self._do_steps()
            if failure is None:
                self._end(JobState.SUCCEEDED)
                return
            if self.kind not in UNDONE_ON_FAILURE or (
                failure.can_wait and self.kind in WAITS_FOR_HOST
            ):
                self._postpone(failure)
                return
            self._start_unwinding(failure)
        failure = self._undo_steps()
        if failure is None:
            self._end(JobState.FAILED)
        else:
            self._postpone(failure)

    def _worn_out(self) -> Failure | None:
        if self.kind in LAUNCHES and self.job.attempts > MAX_ATTEMPTS:
            return Failure(
                "The launch was interrupted too often. Please try again.",
                f"{self.job.attempts - 1} attempts ended without a result",
            )
        return None

    def _rows(self) -> list[JobStep]:
        return list(JobStep.objects.filter(job=self.job).order_by("position"))

    def _do_steps(self) -> Failure | None:
        rows = self._rows()
        for step, row in zip(self.steps, rows, strict=True):
            if row.state == StepState.DONE:
                continue
            self._begin(step, row)
            failure = self.subject.unwanted() or self._attempt(step, step.do)
            if failure is not None:
                self._mark(row, StepState.FAILED, failure.detail)
                return failure
            self._mark(row, StepState.DONE)
        return None

    def _undo_steps(self) -> Failure | None:
        pairs = list(zip(self.steps, self._rows(), strict=True))
        for step, row in reversed(pairs):
            if row.state in (StepState.PENDING, StepState.UNDONE):
                continue
            failure = self._attempt(step, step.undo)
            if failure is not None:
                return failure
            self._mark(row, StepState.UNDONE, row.detail)
        return None

    def _begin(self, step: Step[Any], row: JobStep) -> None:
        with transaction.atomic():
            self.lease.renew(step.timeout_s)
            JobStep.objects.filter(pk=row.pk).update(
                state=StepState.RUNNING, started_at=Now(), finished_at=None
            )
            self.subject.step_begins(step.name, row.position, len(self.steps))

    def _mark(self, row: JobStep, state: StepState, detail: str = "") -> None:
        with transaction.atomic():
            self.lease.fenced(lease_token=self.lease.token)
            JobStep.objects.filter(pk=row.pk).update(
                state=state, finished_at=Now(), detail=detail
            )

    def _attempt(self, step: Step[Any], act: Callable[[Any], None]) -> Failure | None:
        """Call the step's do or undo, with patience for a host that does not answer."""
        failure = None
        for pause_s in (0.0, *PATIENCE_S):
            time.sleep(pause_s)
            self.lease.renew(step.timeout_s)
            failure = self._attempt_once(act)
            if failure is None or not failure.can_wait:
                return failure
        return failure

    def _attempt_once(self, act: Callable[[Any], None]) -> Failure | None:
        try:
            act(self.subject.context())
        except HostUnreachable as error:
            return Failure(
                "The host of this machine does not answer.", str(error), can_wait=True
            )
        except HypervisorError as error:
            return Failure(
                _REFUSED if self.kind in VERBS else _LAUNCH_REFUSED,
                f"libvirt code {error.code}: {error}",
            )
        except (StepFailed, JobAbandoned) as error:
            return Failure(error.public_message, str(error))
        except LeaseLost:
            raise
        except Exception as error:
            logger.exception("job %s: unexpected error", self.job.pk)
            return Failure(
                "Something went wrong on our side. We have been told.",
                f"{type(error).__name__}: {error}\n{traceback.format_exc()}",
            )
        return None

    def _start_unwinding(self, failure: Failure) -> None:
        logger.warning("job %s is undone: %s", self.job.pk, failure.detail)
        if failure.can_wait:
            self._note_unreachable()
        self.lease.fenced(
            state=JobState.UNWINDING,
            public_message=failure.public_message[:500],
            internal_detail=failure.detail,
        )
        self.job.state = JobState.UNWINDING
        self.job.public_message = failure.public_message[:500]

    def _note_unreachable(self) -> None:
        host_id = self.subject.host_id()
        if host_id is not None:
            host_state.note_unreachable(host_id)

    def _postpone(self, failure: Failure) -> None:
        """Leave the job for the reaper; what is claimed stays claimed until then."""
        if failure.can_wait:
            self._note_unreachable()
        pause_s = min(POSTPONE_S * 2 ** min(self.job.attempts - 1, 10), POSTPONE_MAX_S)
        self.lease.fenced(
            lease_token=None,
            lease_expires_at=None,
            not_before=Now() + timedelta(seconds=pause_s),
            internal_detail=failure.detail,
        )

    def _end(self, state: JobState) -> None:
        with transaction.atomic():
            self.lease.fenced(
                state=state, finished_at=Now(), lease_token=None, lease_expires_at=None
            )
            if state is JobState.SUCCEEDED:
                self.subject.succeeded()
            else:
                self.job.refresh_from_db(fields=["internal_detail"])
                self.subject.failed(self.job.internal_detail)
