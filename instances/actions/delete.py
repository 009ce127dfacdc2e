"""Delete an instance: it is marked at once, and goes when its host proves it gone."""

from django.db import transaction

from instances.jobs.begin import begin_delete
from instances.models import Instance, Job
from instances.tasks import enqueue_job


def delete(instance: Instance, actor: str, username: str) -> Job:
    """Have the instance deleted; a launch under way is undone first.

    Raises InstanceBusy if it is being deleted already.
    """
    with transaction.atomic():
        job = begin_delete(instance, actor, username)
        enqueue_job(job.pk)
    return job
