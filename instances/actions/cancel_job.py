"""Cancel a job that waits in the queue: no host has been touched for it yet."""

from django.db import transaction
from django.db.models.functions import Now

from instances.choices import (
    CARD_JOBS,
    LAUNCHES,
    RESIZES,
    WATCHDOG,
    Desired,
    JobKind,
    JobState,
)
from instances.exceptions import CannotCancel
from instances.jobs import progress, runner
from instances.lifecycle import want
from instances.models import Job
from instances.release import give_up_next, release_all
from instances.tasks import enqueue_job
from inventory.ledger import Actor

CANCELLED = "Cancelled by our staff before it began."
_NEVER = {
    JobKind.DELETE: "A delete is not cancelled: what it was asked for has been told to "
    "the customer. Nothing is lost by waiting for its host.",
    **dict.fromkeys(
        CARD_JOBS,
        "A card's check is not cancelled: it would be queued again at once. Put the host "
        "in maintenance, or quarantine the card.",
    ),
}


def cancel_job(job_id: int, who: Actor) -> None:
    """End a queued job as failed; a launch's claims are released with it.

    who: reason in full. Raises CannotCancel, and nothing has changed.
    """
    with transaction.atomic():
        job = Job.objects.select_related("instance").get(pk=job_id)
        kind = JobKind(job.kind)
        if kind in _NEVER:
            raise CannotCancel(_NEVER[kind])
        job.public_message = CANCELLED
        # Before the job's row: who claims locks hosts first, too.
        if kind in LAUNCHES:
            instance = job.for_instance
            reason = f"launch of {instance.label} cancelled before it began"
            release_all(instance.uuid, Actor(who.name, f"{reason}: {who.reason}"[:500]))
        elif kind in RESIZES:
            why = f"cancelled before it began: {who.reason}"
            give_up_next(job.for_instance.pk, Actor(who.name, why[:500]))
        # Queued is what no worker ever took: whoever changes the state first has it.
        ended = Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(
            state=JobState.FAILED,
            finished_at=Now(),
            public_message=CANCELLED,
            internal_detail=f"cancelled by {who.name}: {who.reason}",
        )
        if not ended:
            raise CannotCancel(
                f"{job} is no longer queued: a worker has taken it, or it has ended. "
                "Delete the instance to have a launch undone."
            )
        progress.job_failed(job)
        if job.actor == WATCHDOG:
            # Or the next look would have it booted again.
            want(job.for_instance.pk, Desired.OFF)
        for following in runner.next_jobs(job):
            enqueue_job(following)
