"""Keep what was observed of a host's connection; never anything about its claims."""

from django.db.models import F

from inventory.choices import HostConnection
from inventory.models import Host


def note_unreachable(host_id: int) -> None:
    """The host did not answer: no new claims until it does; claims and cards stay.

    Only a whole comparison of rows and host (instances.reconcile) makes it sell again.
    """
    Host.objects.filter(pk=host_id).update(
        connection=HostConnection.UNKNOWN, failed_looks=F("failed_looks") + 1
    )
