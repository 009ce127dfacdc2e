"""What a job's progress means for its instance's phase and for the customer's events.

Every function runs in the runner's transaction.
"""

from django.db.models.functions import Now

from instances.choices import (
    Desired,
    EventAction,
    EventStatus,
    JobKind,
    Phase,
)
from instances.lifecycle import advance
from instances.models import Event, Instance, Job

_FIRST_EVENT = {
    JobKind.LAUNCH: EventAction.LINODE_CREATE,
    JobKind.DELETE: EventAction.LINODE_DELETE,
}
_OPEN = (EventStatus.SCHEDULED, EventStatus.STARTED)


def announce(job: Job, instance: Instance, username: str) -> Event:
    """Write the event of a job that is queued."""
    return _event(job, instance, username, EventStatus.SCHEDULED)


def _event(
    job: Job,
    instance: Instance,
    username: str,
    status: EventStatus,
    action: EventAction | None = None,
) -> Event:
    return Event.objects.create(
        account_id=instance.account_id,
        action=action or _FIRST_EVENT[JobKind(job.kind)],
        status=status,
        entity_id=instance.pk,
        entity_label=instance.label,
        username=username,
        job=job,
        started_at=Now() if status is EventStatus.STARTED else None,
    )


def step_begins(job: Job, step: str, done: int, total: int) -> None:
    """Show that `step` begins after `done` of `total` steps."""
    events = Event.objects.filter(job=job)
    events.filter(status=EventStatus.SCHEDULED).update(
        status=EventStatus.STARTED, started_at=Now()
    )
    if job.kind == JobKind.LAUNCH and step == "start_domain":
        _boot_begins(job)
    events.filter(status=EventStatus.STARTED).update(
        percent_complete=100 * done // total
    )
    if job.kind == JobKind.DELETE:
        advance(job.for_instance.pk, Phase.DELETING)


def _boot_begins(job: Job) -> None:
    """As Linode does: the create ends when there is a machine, then a boot begins."""
    if not advance(job.for_instance.pk, Phase.BOOTING):
        return
    create = Event.objects.get(job=job, action=EventAction.LINODE_CREATE)
    _finish(job)
    _event(
        job,
        job.for_instance,
        create.username,
        EventStatus.STARTED,
        EventAction.LINODE_BOOT,
    )


def _finish(job: Job) -> None:
    Event.objects.filter(job=job, status__in=_OPEN).update(
        status=EventStatus.FINISHED, percent_complete=100, finished_at=Now()
    )


def job_succeeded(job: Job) -> None:
    """Close the events and put the instance where the job took it."""
    _finish(job)
    if job.kind == JobKind.LAUNCH:
        advance(job.for_instance.pk, Phase.RUNNING)
    else:
        advance(job.for_instance.pk, Phase.DELETED)


def job_failed(job: Job) -> None:
    """Close the events with the reason; the instance of a failed launch is over."""
    Event.objects.filter(job=job, status__in=_OPEN).update(
        status=EventStatus.FAILED, message=job.public_message, finished_at=Now()
    )
    if job.kind == JobKind.LAUNCH:
        advance(job.for_instance.pk, Phase.FAILED)


def machine_lost(instance: Instance, username: str, message: str) -> None:
    """End an instance whose machine is gone; one that had been ready shows an event.

    A launch that never ended is a failed one, whatever became of its job.
    """
    if advance(instance.pk, Phase.FAILED):
        return
    Instance.objects.filter(pk=instance.pk, desired=Desired.RUNNING).update(
        desired=Desired.DELETED, updated_at=Now()
    )
    advance(instance.pk, Phase.DELETING)
    if advance(instance.pk, Phase.DELETED):
        Event.objects.create(
            account_id=instance.account_id,
            action=EventAction.LINODE_DELETE,
            status=EventStatus.FINISHED,
            entity_id=instance.pk,
            entity_label=instance.label,
            username=username,
            message=message,
            percent_complete=100,
            started_at=Now(),
            finished_at=Now(),
        )
