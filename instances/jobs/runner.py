"""Run a job: take its lease, do its steps, undo them when one cannot be done.

django-q2 delivers a job's id, possibly twice, late or never; these rows decide. The
attempt is counted in a transaction of its own before any side effect, every write is
fenced by the lease's token, and what cannot be finished now is left for the reaper.
"""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from instances.choices import (
    ENDED_JOB_STATES,
    LAUNCHES,
    JobKind,
    JobState,
    StepState,
)
from instances.cluster_signs import is_told_to_stop
from instances.durations import count_job, count_step
from instances.exceptions import JobAbandoned, LeaseLost, StepFailed, WorkerStopping
from instances.jobs import card_work, leases, progress
from instances.jobs.failure import Failure
from instances.jobs.leases import Lease, acquire, same_subject
from instances.jobs.queueing import queue, write_steps
from instances.jobs.steps import Step
from instances.jobs.subjects import Connector, subject_of
from instances.jobs.workflows import UNDONE_ON_FAILURE, WAITS_FOR_HOST, WORKFLOWS
from instances.log_context import about
from instances.models import Instance, Job, JobStep
from inventory import host_state
from inventory.exceptions import HostUnreachable, HypervisorError, VolumeBusy
from inventory.hypervisor.supervised import connect
from inventory.models import Card, NodeClaim

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
# Pauses between tries of one step at a host that does not answer: libvirtd restarts in 3 s.
PATIENCE_S = (1.0, 2.0, 4.0, 8.0)
# One that does not even refuse has the job postponed: it would hold a worker for a deadline
# at each try. Above what a lost route takes to be told of, below libvirt's keepalive.
FROZEN_S = 5.0
_LAUNCH_REFUSED = "The host refused this machine. Nothing is held or charged for it."
_REFUSED = (
    "The host refused this. The Linode keeps its cards, cores, memory and address."
)
# Nothing is known of a step that the database did not see: it is run again, not undone.
DATABASE_AWAY = (InterfaceError, OperationalError)
_LET_GO_TRIES = 60
POSTPONE_S = 30
POSTPONE_MAX_S = 600


def create(
    kind: JobKind, instance: Instance, actor: str, username: str, deadline_s: int
) -> Job:
    """Write a queued job with its steps and its event, in the caller's transaction."""
    job = queue(kind, actor, deadline_s, instance=instance)
    progress.announce(job, instance, username)
    return job


def run(job_id: int, connect_to: Connector = connect) -> list[int]:
    """Work on a job as far as it goes now; return the ids of jobs to enqueue next.

    Does nothing if another worker holds it, it has ended, or earlier work on the same
    instance is open.
    """
    if is_told_to_stop():
        return [job_id]
    with about(job=job_id):
        lease = acquire(job_id)
        if lease is None:
            return []
        with about(instance=lease.job.instance_id, card=lease.job.card_id):
            try:
                return _work(lease, connect_to)
            except LeaseLost:
                logger.warning("job %s was taken over by another worker", job_id)
                return []


def _work(lease: Lease, connect_to: Connector) -> list[int]:
    try:
        _Worker(lease, connect_to).work()
    except WorkerStopping:
        # Not the job's fault: the attempt does not count.
        lease.let_go(attempts=F("attempts") - 1)
        return [lease.job.pk]
    except DATABASE_AWAY:
        logger.exception("job %s: the database does not answer", lease.job.pk)
        return _let_go_patiently(lease)
    except SystemExit:
        # The task queue's time limit, which none of a step's own may reach.
        logger.exception("job %s took longer than a task may", lease.job.pk)
        lease.let_go(not_before=Now() + timedelta(seconds=POSTPONE_S))
        raise
    return next_jobs(lease.job)


def _let_go_patiently(lease: Lease) -> list[int]:
    """Let go once the database is back, or the job is held by us until its lease ends.

    Returns the job's id if it may go on at once; else the reaper has it.
    """
    not_before = leases.not_before(lease.job.attempts)
    for _ in range(_LET_GO_TRIES):
        connection.close()
        try:
            lease.let_go(not_before=not_before)
        except DATABASE_AWAY:
            time.sleep(PATIENCE_S[0])
        else:
            return [] if not_before else [lease.job.pk]
    return []


def next_jobs(job: Job) -> list[int]:
    """Return the jobs that wait for this one, once it has ended."""
    job.refresh_from_db(fields=["state"])
    if job.state not in ENDED_JOB_STATES:
        return []
    if job.card_id is not None:
        return card_work.plan(Card.objects.get(pk=job.card_id).host_id)
    first = same_subject(job).filter(state=JobState.QUEUED).order_by("pk").first()
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
            if self.kind not in UNDONE_ON_FAILURE or self._waits_out(failure):
                self._postpone(failure)
                return
            self._start_unwinding(failure)
            if failure.is_frozen:
                self._postpone(failure)
                return
        failure = self._undo_steps()
        if failure is None:
            self._end(JobState.FAILED)
        else:
            self._postpone(failure)

    def _waits_out(self, failure: Failure) -> bool:
        """Whether the job goes on later; for a silent host not every kind does for long."""
        if failure.is_frozen and self.job.attempts < MAX_ATTEMPTS:
            return True
        if failure.is_silent:
            return self.kind in WAITS_FOR_HOST
        return failure.can_wait

    def _worn_out(self) -> Failure | None:
        if self.kind in LAUNCHES and self.job.attempts > MAX_ATTEMPTS:
            return Failure(
                "The launch was interrupted too often. Please try again.",
                f"{self.job.attempts - 1} attempts ended without a result",
            )
        return None

    def _rows(self) -> list[JobStep]:
        """Return a row for each step, also of a job that an older release queued."""
        rows = list(JobStep.objects.filter(job=self.job).order_by("position"))
        if [row.name for row in rows] == [step.name for step in self.steps]:
            return rows
        states = {row.name: row.state for row in rows}
        with transaction.atomic():
            self.lease.fenced(lease_token=self.lease.token)
            JobStep.objects.filter(job=self.job).delete()
            write_steps(self.job, states)
        return self._rows()

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
            if state is not StepState.UNDONE:
                count_step(row.pk)

    def _attempt(self, step: Step[Any], act: Callable[[Any], None]) -> Failure | None:
        """Call the step's do or undo, with patience for a host that does not answer."""
        failure = None
        for pause_s in (0.0, *PATIENCE_S):
            time.sleep(pause_s)
            self.lease.renew(step.timeout_s)
            asked_at = time.monotonic()
            failure = self._attempt_once(act)
            if failure is None or not failure.is_silent:
                return failure
            if time.monotonic() - asked_at > FROZEN_S:
                return replace(failure, is_frozen=True)
        return failure

    def _attempt_once(self, act: Callable[[Any], None]) -> Failure | None:
        try:
            act(self.subject.context())
        except HostUnreachable as error:
            return Failure(
                "The host of this machine does not answer.",
                str(error),
                can_wait=True,
                is_silent=True,
            )
        except VolumeBusy as error:
            return Failure(
                "The host is still at work on this disk.", str(error), can_wait=True
            )
        except HypervisorError as error:
            return Failure(
                _LAUNCH_REFUSED if self.kind in LAUNCHES else _REFUSED,
                f"libvirt code {error.code}: {error}",
            )
        except (StepFailed, JobAbandoned) as error:
            return Failure(error.public_message, str(error))
        except (LeaseLost, WorkerStopping, *DATABASE_AWAY):
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
        if failure.is_silent:
            self._note_unreachable(failure)
        self.lease.fenced(
            state=JobState.UNWINDING,
            public_message=failure.public_message[:500],
            internal_detail=failure.detail,
        )
        self.job.state = JobState.UNWINDING
        self.job.public_message = failure.public_message[:500]

    def _note_unreachable(self, failure: Failure) -> None:
        host_id = self.subject.host_id()
        if host_id is not None:
            host_state.note_unreachable(host_id, failure.detail)

    def _postpone(self, failure: Failure) -> None:
        """Leave the job for the reaper; what is claimed stays claimed until then."""
        pause_s = min(POSTPONE_S * 2 ** min(self.job.attempts - 1, 10), POSTPONE_MAX_S)
        self.lease.let_go(
            not_before=Now() + timedelta(seconds=pause_s),
            internal_detail=failure.detail,
        )
        # Only then: the next look at the host that succeeds ends the pause.
        if failure.is_silent:
            self._note_unreachable(failure)

    def _end(self, state: JobState) -> None:
        with transaction.atomic():
            self.lease.let_go(state=state, finished_at=Now())
            if state is JobState.SUCCEEDED:
                self.subject.succeeded()
            else:
                self.job.refresh_from_db(fields=["internal_detail"])
                self.subject.failed(self.job.internal_detail)
            count_job(self.job.pk)
        logger.info("job %s: %s %s", self.job.pk, self.kind, state)
