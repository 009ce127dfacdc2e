"""Boot, shut down and reboot an instance: each a phase, a job and an event at once.

Whoever asks for what is so already gets no job. What an instance holds stays its own.
"""

from django.db import transaction

from instances import lifecycle
from instances.choices import Desired, JobKind, Phase
from instances.jobs import begin as jobs
from instances.models import Instance, Job
from instances.status import Status, status_of
from instances.tasks import enqueue_job


def boot(instance: Instance, actor: str, username: str) -> Job | None:
    """Have the guest started; None if it runs. Raises InstanceBusy."""
    with transaction.atomic():
        locked = lifecycle.locked_at_rest(instance.pk)
        lifecycle.want(locked.pk, Desired.RUNNING)
        if status_of(locked) is Status.RUNNING:
            return None
        return begin(JobKind.BOOT, locked, Phase.BOOTING, actor, username)


def shut_down(instance: Instance, actor: str, username: str) -> Job | None:
    """Have the guest shut down; None if it is off. Raises InstanceBusy."""
    with transaction.atomic():
        job = jobs.begin_shut_down(instance.pk, actor, username)
        if job is not None:
            enqueue_job(job.pk)
    return job


def reboot(instance: Instance, actor: str, username: str) -> Job:
    """Have the guest shut down, and started; only that if it is off. Raises InstanceBusy."""
    with transaction.atomic():
        locked = lifecycle.locked_at_rest(instance.pk)
        lifecycle.want(locked.pk, Desired.RUNNING)
        return begin(JobKind.REBOOT, locked, Phase.REBOOTING, actor, username)


def begin(
    kind: JobKind, locked: Instance, phase: Phase | None, actor: str, username: str
) -> Job:
    """Write and enqueue the job of a locked instance, and show its phase; None: as it is.

    Raises TrialOver.
    """
    job = jobs.begin(kind, locked, phase, actor, username)
    enqueue_job(job.pk)
    return job
