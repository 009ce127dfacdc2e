"""What an instance is, in Linode's words: from desired, phase and observed, here alone."""

from enum import StrEnum

from instances.choices import ABSENT, CUT_OFF, REST_PHASES, Desired, Phase
from instances.models import Instance
from inventory.hypervisor.port import DomainState


class Status(StrEnum):
    """Linode API v4, Linode "status"; those that there are here."""

    PROVISIONING = "provisioning"
    BOOTING = "booting"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting_down"
    OFFLINE = "offline"
    REBOOTING = "rebooting"
    REBUILDING = "rebuilding"
    RESIZING = "resizing"
    DELETING = "deleting"


def is_on(observed: str) -> bool:
    """Say whether an instance that was observed so has a guest that runs."""
    return observed not in ("", ABSENT, CUT_OFF) and DomainState(observed).is_on


def status_of(instance: Instance) -> Status:
    """Return the status of an instance that has not ended: an ended one has none."""
    if instance.desired == Desired.DELETED:
        # Accepted, though the host has not begun: the customer's part is over.
        return Status.DELETING
    if instance.phase in REST_PHASES and instance.observed:
        # A guest may switch itself off, crash, or be started on its host by hand.
        return Status.RUNNING if is_on(instance.observed) else Status.OFFLINE
    return Status(Phase(instance.phase).value)
