"""Write a queued job with its steps, in the caller's transaction."""

from datetime import timedelta

from django.db.models.functions import Now

from instances.choices import JobKind
from instances.jobs.workflows import WORKFLOWS
from instances.models import Instance, Job, JobStep
from inventory.models import Card


def queue(
    kind: JobKind,
    actor: str,
    deadline_s: int,
    *,
    instance: Instance | None = None,
    card: Card | None = None,
) -> Job:
    """Return the job, which no worker knows of yet: the caller enqueues it."""
    job = Job.objects.create(
        kind=kind,
        instance=instance,
        card=card,
        actor=actor,
        deadline_at=Now() + timedelta(seconds=deadline_s),
    )
    JobStep.objects.bulk_create(
        JobStep(job=job, position=position, name=step.name, label=step.label)
        for position, step in enumerate(WORKFLOWS[kind])
    )
    return job
