"""Write the job of a verb, with the instance's phase, for an action or a look to enqueue.

Each runs in the caller's transaction.
"""

from instances import lifecycle
from instances.choices import REBUILDS, Desired, JobKind, Phase
from instances.jobs import runner
from instances.jobs.deadlines import deadline_s
from instances.models import Instance, Job
from instances.status import Status, status_of
from instances.trials import refuse_if_over

# When people are told; a delete itself is tried until the host answers.
_ALERT_AFTER_S = 900


def begin(
    kind: JobKind, locked: Instance, phase: Phase | None, actor: str, username: str
) -> Job:
    """Write the job of a locked instance, and show its phase; None: as it is.

    Raises TrialOver if the instance waits for its deletion after a trial.
    """
    if kind is not JobKind.SHUTDOWN:
        refuse_if_over(locked)
    if phase is not None:
        lifecycle.advance(locked.pk, phase)
    seconds = deadline_s(locked.plan, is_wiped=kind in REBUILDS)
    return runner.create(kind, locked, actor, username, deadline_s=seconds)


def begin_shut_down(instance_id: int, actor: str, username: str) -> Job | None:
    """Have the guest shut down; None if it is off. Raises InstanceBusy."""
    locked = lifecycle.locked_at_rest(instance_id)
    lifecycle.want(locked.pk, Desired.OFF)
    if status_of(locked) is Status.OFFLINE:
        return None
    return begin(JobKind.SHUTDOWN, locked, Phase.SHUTTING_DOWN, actor, username)


def begin_delete(instance: Instance, actor: str, username: str) -> Job:
    """Mark the instance; a launch under way is undone first. Raises InstanceBusy."""
    lifecycle.want_deleted(instance.pk)
    return runner.create(
        JobKind.DELETE, instance, actor, username, deadline_s=_ALERT_AFTER_S
    )
