"""What a job's progress means for its instance's phase and for the customer's events.

Every function runs in the runner's transaction.
"""

from django.db.models.functions import Now

from instances.choices import (
    LAUNCHES,
    VERBS,
    WATCHDOG,
    Desired,
    EventAction,
    EventStatus,
    JobKind,
    Phase,
)
from instances.lifecycle import advance, forget_seed_settings, want
from instances.models import Event, Instance, Job
from instances.status import is_on
from inventory.hypervisor.port import DomainState

_FIRST_EVENT = {
    JobKind.LAUNCH: EventAction.LINODE_CREATE,
    JobKind.LAUNCH_OFF: EventAction.LINODE_CREATE,
    JobKind.BOOT: EventAction.LINODE_BOOT,
    JobKind.SHUTDOWN: EventAction.LINODE_SHUTDOWN,
    JobKind.REBOOT: EventAction.LINODE_REBOOT,
    JobKind.REBUILD: EventAction.LINODE_REBUILD,
    JobKind.REBUILD_OFF: EventAction.LINODE_REBUILD,
    JobKind.RESIZE: EventAction.LINODE_RESIZE,
    JobKind.RESIZE_OFF: EventAction.LINODE_RESIZE,
    JobKind.PASSWORD: EventAction.PASSWORD_RESET,
    JobKind.DELETE: EventAction.LINODE_DELETE,
}
# Where a job takes its instance; what is not named here takes it nowhere.
_ENDS_IN = {
    JobKind.LAUNCH: Phase.RUNNING,
    JobKind.LAUNCH_OFF: Phase.OFFLINE,
    JobKind.BOOT: Phase.RUNNING,
    JobKind.SHUTDOWN: Phase.OFFLINE,
    JobKind.REBOOT: Phase.RUNNING,
    JobKind.REBUILD: Phase.RUNNING,
    JobKind.REBUILD_OFF: Phase.OFFLINE,
    JobKind.RESIZE: Phase.RUNNING,
    JobKind.RESIZE_OFF: Phase.OFFLINE,
    JobKind.DELETE: Phase.DELETED,
}
_OPEN = (EventStatus.SCHEDULED, EventStatus.STARTED)


def announce(job: Job, instance: Instance, username: str) -> Event:
    """Write the event of a job that is queued."""
    return _event(job, instance, username, EventStatus.SCHEDULED)


def _first_event(job: Job) -> EventAction:
    if job.actor == WATCHDOG:
        return EventAction.LASSIE_REBOOT
    return _FIRST_EVENT[JobKind(job.kind)]


def _event(
    job: Job,
    instance: Instance,
    username: str,
    status: EventStatus,
    action: EventAction | None = None,
) -> Event:
    return Event.objects.create(
        account_id=instance.account_id,
        action=action or _first_event(job),
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
    kind, instance_id = JobKind(job.kind), job.for_instance.pk
    if kind is JobKind.PASSWORD:
        forget_seed_settings(instance_id)
    elif kind in _ENDS_IN:
        advance(instance_id, _ENDS_IN[kind])


def job_failed(job: Job) -> None:
    """Close the events with the reason; the instance of a failed launch is over.

    Other work leaves it as its domain was last seen, running or off.
    """
    end_events(job)
    if job.kind in LAUNCHES:
        advance(job.for_instance.pk, Phase.FAILED)
    elif job.kind == JobKind.PASSWORD:
        forget_seed_settings(job.for_instance.pk)
    elif job.kind in VERBS:
        _settle(job)


def end_events(job: Job) -> None:
    """Close the events of a job that failed, with the reason."""
    Event.objects.filter(job=job, status__in=_OPEN).update(
        status=EventStatus.FAILED, message=job.public_message, finished_at=Now()
    )


def _settle(job: Job) -> None:
    instance = Instance.objects.get(pk=job.for_instance.pk)
    if is_on(instance.observed):
        advance(instance.pk, Phase.RUNNING)
        want(instance.pk, Desired.RUNNING)
        return
    advance(instance.pk, Phase.OFFLINE)
    if job.actor == WATCHDOG:
        # Its owner wants it to run: the watchdog tries again, and counts.
        Instance.objects.filter(pk=instance.pk).update(observed=DomainState.CRASHED)
    else:
        want(instance.pk, Desired.OFF)


def machine_lost(instance: Instance, username: str, message: str) -> None:
    """End an instance whose machine is gone; one that had been ready shows an event.

    A launch that never ended is a failed one, whatever became of its job.
    """
    if advance(instance.pk, Phase.FAILED):
        return
    want(instance.pk, Desired.DELETED)
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
