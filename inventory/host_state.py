"""Keep what was observed of a host's connection; never anything about its claims."""

from datetime import datetime

from django.db.models import F, Q

from inventory.choices import HostConnection
from inventory.models import Host


def note_unreachable(host_id: int, asked_at: datetime | None = None) -> None:
    """The host did not answer: no new claims until it does; claims and cards stay.

    Only a whole comparison of rows and host (instances.reconcile) makes it sell again.
    asked_at: the database's time before the question; a host that answered one that was
    put later is left as it is. None: just now.
    """
    hosts = Host.objects.filter(pk=host_id)
    if asked_at is not None:
        hosts = hosts.filter(Q(reconciled_at=None) | Q(reconciled_at__lte=asked_at))
    hosts.update(connection=HostConnection.UNKNOWN, failed_looks=F("failed_looks") + 1)
