"""Keep what was observed of a host's connection; never anything about its claims."""

from django.db.models.functions import Now

from inventory.choices import HostConnection, HostPolicy
from inventory.exceptions import HypervisorError
from inventory.hypervisor.port import Hypervisor
from inventory.hypervisor.supervised import connect
from inventory.models import Host


def note_reached(host_id: int) -> None:
    """The host answered just now: it may take claims again."""
    Host.objects.filter(pk=host_id).update(
        connection=HostConnection.OK, last_seen_at=Now()
    )


def note_unreachable(host_id: int) -> None:
    """The host did not answer: no new claims until it does; claims and cards stay."""
    Host.objects.filter(pk=host_id, connection=HostConnection.OK).update(
        connection=HostConnection.UNKNOWN
    )


def poll(host_id: int, hypervisor: Hypervisor | None = None) -> bool:
    """Ask the host for a sign of life; blocks up to the driver's deadline."""
    host = Host.objects.get(pk=host_id)
    try:
        (hypervisor or connect(host.libvirt_uri)).domains()
    except HypervisorError:
        note_unreachable(host_id)
        return False
    note_reached(host_id)
    return True


def polled_host_ids() -> list[int]:
    """Return the ids of the hosts that are to be asked: all but the retired."""
    return list(
        Host.objects.exclude(policy=HostPolicy.RETIRED)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
