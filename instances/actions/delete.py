"""Delete an instance: it is marked at once, and goes when its host proves it gone."""

from django.db import transaction

from instances import lifecycle
from instances.choices import JobKind
from instances.jobs import runner
from instances.models import Instance, Job
from instances.tasks import enqueue_job

# When people are told; a delete itself is tried until the host answers.
_ALERT_AFTER_S = 900


def delete(instance: Instance, actor: str, username: str) -> Job:
    """Have the instance deleted; a launch under way is undone first.

    Raises InstanceBusy if it is being deleted already.
    """
    with transaction.atomic():
        lifecycle.want_deleted(instance.pk)
        job = runner.create(
            JobKind.DELETE, instance, actor, username, deadline_s=_ALERT_AFTER_S
        )
        enqueue_job(job.pk)
    return job
