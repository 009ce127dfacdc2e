"""The instance's phases: which may follow which, by a guarded update."""

from django.db.models.functions import Now

from instances.choices import ENDED_PHASES, Desired, Phase
from instances.exceptions import InstanceBusy
from instances.models import Instance, SeedSettings

TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.PROVISIONING: frozenset({Phase.BOOTING, Phase.DELETING, Phase.FAILED}),
    Phase.BOOTING: frozenset({Phase.RUNNING, Phase.DELETING, Phase.FAILED}),
    Phase.RUNNING: frozenset({Phase.DELETING}),
    Phase.DELETING: frozenset({Phase.DELETED}),
    Phase.DELETED: frozenset(),
    Phase.FAILED: frozenset(),
}


def advance(instance_id: int, to: Phase) -> bool:
    """Move the instance to phase `to` if its phase allows that; say whether it moved.

    Being there already counts as not moved and is no error: steps may run twice.
    """
    allowed = [before for before, after in TRANSITIONS.items() if to in after]
    changes = {"phase": to, "updated_at": Now()}
    if to in ENDED_PHASES:
        changes["ended_at"] = Now()
    moved = Instance.objects.filter(pk=instance_id, phase__in=allowed).update(**changes)
    if moved and to in (Phase.RUNNING, *ENDED_PHASES):
        # The guest has read it, or there will be none.
        SeedSettings.objects.filter(instance=instance_id).delete()
    return bool(moved)


def want_deleted(instance_id: int) -> None:
    """Record that the instance is to go. Raises InstanceBusy if that is under way."""
    changed = Instance.objects.filter(pk=instance_id, desired=Desired.RUNNING).update(
        desired=Desired.DELETED, updated_at=Now()
    )
    if not changed:
        raise InstanceBusy("Linode busy.")
