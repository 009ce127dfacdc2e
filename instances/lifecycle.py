"""The instance's phases: which may follow which, by a guarded update."""

from django.db.models import Q
from django.db.models.functions import Coalesce, Now

from instances.choices import (
    ENDED_JOB_STATES,
    ENDED_PHASES,
    REST_PHASES,
    UNNOTICED,
    Desired,
    Phase,
)
from instances.exceptions import InstanceBusy
from instances.models import (
    FirewallDevice,
    Instance,
    Job,
    PlacementMember,
    SeedSettings,
)
from instances.usage import begin_usage

BUSY = "Linode busy."
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.PROVISIONING: frozenset(
        {Phase.BOOTING, Phase.OFFLINE, Phase.DELETING, Phase.FAILED}
    ),
    # Of a launch, which may fail, or of a boot, after which the instance is as it was.
    Phase.BOOTING: frozenset(
        {Phase.RUNNING, Phase.OFFLINE, Phase.DELETING, Phase.FAILED}
    ),
    Phase.RUNNING: frozenset(
        {
            Phase.BOOTING,
            Phase.SHUTTING_DOWN,
            Phase.REBOOTING,
            Phase.REBUILDING,
            Phase.RESIZING,
            Phase.DELETING,
        }
    ),
    Phase.OFFLINE: frozenset(
        {
            Phase.BOOTING,
            Phase.SHUTTING_DOWN,
            Phase.REBOOTING,
            Phase.REBUILDING,
            Phase.RESIZING,
            Phase.DELETING,
        }
    ),
    Phase.SHUTTING_DOWN: frozenset({Phase.RUNNING, Phase.OFFLINE, Phase.DELETING}),
    Phase.REBOOTING: frozenset({Phase.RUNNING, Phase.OFFLINE, Phase.DELETING}),
    Phase.REBUILDING: frozenset({Phase.RUNNING, Phase.OFFLINE, Phase.DELETING}),
    Phase.RESIZING: frozenset({Phase.RUNNING, Phase.OFFLINE, Phase.DELETING}),
    Phase.DELETING: frozenset({Phase.DELETED}),
    Phase.DELETED: frozenset(),
    Phase.FAILED: frozenset(),
}


def advance(instance_id: int, to: Phase) -> bool:
    """Move the instance to phase `to` if its phase allows that; say whether it moved.

    Being there already counts as not moved and is no error: steps may run twice.
    """
    allowed = [before for before, after in TRANSITIONS.items() if to in after]
    movable = Instance.objects.filter(pk=instance_id, phase__in=allowed)
    changes: dict[str, object] = {"phase": to, "updated_at": Now()}
    if to in ENDED_PHASES:
        changes["ended_at"] = Now()
    if to in REST_PHASES:
        changes["ready_at"] = Coalesce("ready_at", Now())
    if to in (*REST_PHASES, *ENDED_PHASES):
        changes["next_image"] = None
    if to is Phase.FAILED:
        movable = movable.filter(ready_at=None)
    moved = movable.update(**changes)
    if moved and to in (*REST_PHASES, *ENDED_PHASES):
        forget_seed_settings(instance_id)
    if moved and to in REST_PHASES:
        begin_usage(instance_id)
    if moved and to in ENDED_PHASES:
        FirewallDevice.objects.filter(instance=instance_id).delete()
        PlacementMember.objects.filter(instance=instance_id).delete()
    return bool(moved)


def forget_seed_settings(instance_id: int) -> None:
    """The guest has read them or will find them in its seed, or there will be none."""
    SeedSettings.objects.filter(instance=instance_id).delete()


def locked_at_rest(instance_id: int) -> Instance:
    """Lock the instance until the transaction's end, for work that begins now.

    Raises InstanceBusy while other work is open, or if it is to go.
    """
    instance = (
        Instance.objects.select_for_update(of=("self",))
        .select_related("account", "plan", "region", "image")
        .get(pk=instance_id)
    )
    is_to_go = instance.desired == Desired.DELETED
    if is_to_go or instance.phase not in REST_PHASES or is_at_work(instance):
        raise InstanceBusy(BUSY)
    return instance


def is_at_work(instance: Instance) -> bool:
    """Say whether other work on the instance must wait for what is open."""
    open_jobs = Job.objects.filter(instance=instance).exclude(
        state__in=ENDED_JOB_STATES
    )
    return open_jobs.exclude(kind__in=UNNOTICED).exists()


def want(instance_id: int, desired: Desired) -> None:
    """Record what the customer wants of an instance that is not to go."""
    Instance.objects.filter(pk=instance_id).exclude(desired=Desired.DELETED).update(
        desired=desired, updated_at=Now()
    )


def want_deleted(instance_id: int) -> None:
    """Record that the instance is to go. Raises InstanceBusy if that is under way."""
    changed = (
        Instance.objects.filter(pk=instance_id)
        .exclude(Q(desired=Desired.DELETED) | Q(phase__in=ENDED_PHASES))
        .update(desired=Desired.DELETED, updated_at=Now())
    )
    if not changed:
        raise InstanceBusy(BUSY)
