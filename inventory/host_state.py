"""Keep what was observed of a host's connection; never anything about its claims."""

from datetime import datetime

from django.db.models import F, Q

from inventory.choices import HostConnection
from inventory.models import Host, HostOutage

_CAUSE_CHARS = 500


def note_unreachable(
    host_id: int, why: str = "", asked_at: datetime | None = None
) -> None:
    """The host did not answer: no new claims until it does; claims and cards stay.

    Only a whole comparison of rows and host (instances.reconcile) makes it sell again.
    asked_at: the database's time before the question; a host that answered one that was
    put later is left as it is. None: just now. why: kept with the outage, whose row the
    database writes (inventory.models.outage); what was found first stays.
    """
    hosts = Host.objects.filter(pk=host_id)
    if asked_at is not None:
        hosts = hosts.filter(Q(reconciled_at=None) | Q(reconciled_at__lte=asked_at))
    hosts.update(connection=HostConnection.UNKNOWN, failed_looks=F("failed_looks") + 1)
    note_cause(host_id, why)


def note_cause(host_id: int, why: str) -> None:
    """Say of a host's open outage, if there is one, why nothing is known of it."""
    HostOutage.objects.filter(host=host_id, ended_at=None, cause="").update(
        cause=" ".join(why.split())[:_CAUSE_CHARS]
    )
