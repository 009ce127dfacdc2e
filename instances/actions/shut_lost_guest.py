"""Remove a guest of ours that the rows do not know from its host, at a person's word."""

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from instances.exceptions import CannotAdopt
from instances.jobs.subjects import Connector
from instances.lost_guests import LostGuest, ask_for
from instances.models import Instance
from instances.network_filter import filter_name
from inventory.choices import DiscrepancyKind
from inventory.exceptions import DomainNotFound, HypervisorError
from inventory.hypervisor.console import CONSOLE_POOL, console_volume
from inventory.ledger import lock_host
from inventory.models import Discrepancy, Host, NodeClaim
from inventory.models.guest_setup import setup_of


@dataclass(frozen=True, slots=True)
class ShutOrder:
    """deletes_disk: or its disk and seed stay on the host, for nobody."""

    host_id: int
    uuid: UUID
    deletes_disk: bool


def shut_lost_guest(order: ShutOrder, connect_to: Connector | None = None) -> None:
    """Pull the guest's plug and have its host forget it; its cards are scrubbed then.

    Nothing is released, for it holds nothing. What a crash leaves undone, the next call
    does. Blocks up to the driver's deadlines. Raises CannotAdopt with what to do.
    """
    host = Host.objects.get(pk=order.host_id)
    guest = ask_for(host, order.uuid, connect_to)
    _take(host, order.uuid)
    try:
        _remove(guest, host, order)
    except HypervisorError as error:
        raise CannotAdopt(f"{host} does not do it: {error}. Try again.") from error


@transaction.atomic
def _take(host: Host, uuid: UUID) -> None:
    """Keep others from adopting it meanwhile."""
    lock_host(host.pk)
    is_known = Instance.objects.filter(uuid=uuid, ended_at=None).exists()
    if is_known or NodeClaim.objects.filter(consumer=uuid, released_at=None).exists():
        raise CannotAdopt("It has an instance: delete that.")
    told = Discrepancy.objects.filter(
        host=host,
        kind=DiscrepancyKind.UNKNOWN_GUEST,
        subject=str(uuid),
        resolved_at=None,
    )
    if not told.update(shut_at=Now()):
        raise CannotAdopt("No look has found it without an instance: look again.")


def _remove(guest: LostGuest, host: Host, order: ShutOrder) -> None:
    hypervisor, uuid = guest.hypervisor, str(guest.uuid)
    hypervisor.destroy_domain(uuid)
    state = hypervisor.domain_state(uuid)
    if state.is_on:
        raise HypervisorError(f"domain {uuid} is {state} after it was destroyed")
    if order.deletes_disk:
        _delete_disk(guest, host)
    with suppress(DomainNotFound):
        hypervisor.undefine_domain(uuid)
    hypervisor.undefine_filter(filter_name(uuid))
    hypervisor.delete_volume(CONSOLE_POOL, console_volume(uuid))


def _delete_disk(guest: LostGuest, host: Host) -> None:
    """While the domain is defined: then a call that failed can be made again."""
    setup, hypervisor = setup_of(host), guest.hypervisor
    for volume in (f"{guest.uuid}.qcow2", f"{guest.uuid}-seed.iso"):
        if hypervisor.volume(setup.disk_pool, volume) is None:
            continue
        if setup.wipes_disks:
            hypervisor.wipe_volume(setup.disk_pool, volume)
        hypervisor.delete_volume(setup.disk_pool, volume)
