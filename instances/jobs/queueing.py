"""Write a queued job with its steps, in the caller's transaction."""

from collections.abc import Mapping
from datetime import timedelta

from django.db.models.functions import Now

from instances.choices import JobKind, StepState
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
    write_steps(job)
    return job


def write_steps(job: Job, states: Mapping[str, str] | None = None) -> None:
    """Write a row for each step of the job's kind. states: by name, else it is to do."""
    states = states or {}
    JobStep.objects.bulk_create(
        JobStep(
            job=job,
            position=position,
            name=step.name,
            label=step.label,
            state=states.get(step.name, StepState.PENDING),
        )
        for position, step in enumerate(WORKFLOWS[JobKind(job.kind)])
    )
