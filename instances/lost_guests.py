"""Ask a host for a guest of ours that its rows do not know, or know as it was before."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from instances.domain_record import DomainRecord, HeldNode, Unreadable, read_record
from instances.exceptions import CannotAdopt
from instances.jobs.subjects import Connector
from inventory.choices import DiscrepancyKind
from inventory.exceptions import DomainNotFound, HypervisorError
from inventory.hypervisor.port import DomainState, Hypervisor
from inventory.hypervisor.supervised import connect
from inventory.hypervisor.xml import LiveDomain, parse_domain, parse_host
from inventory.ledger import clock
from inventory.models import Discrepancy, Host, HostCpu

# Above the deadlines of all that a host is asked while a guest is shut.
_SHUT_S = 900


@dataclass(frozen=True, slots=True)
class LostGuest:
    """A guest as its host has just shown it."""

    hypervisor: Hypervisor
    uuid: UUID
    state: DomainState
    live: LiveDomain
    record: DomainRecord | Unreadable


def ask_for(host: Host, uuid: UUID, connect_to: Connector | None = None) -> LostGuest:
    """Return the guest as it is now. Blocks up to the driver's deadlines.

    Raises CannotAdopt if the host does not answer as itself, or has no such guest of ours.
    """
    try:
        hypervisor = (connect_to or connect)(host.libvirt_uri)
        answering = parse_host(hypervisor.capabilities(), []).host_uuid
        if UUID(answering) != host.host_uuid:
            raise CannotAdopt(f"{host} answers as another host ({answering}).")
        state = hypervisor.domain_state(str(uuid))
        live = parse_domain(hypervisor.domain_xml(str(uuid)))
    except DomainNotFound as error:
        raise CannotAdopt(
            f"{host} has no domain {uuid} any more: look again."
        ) from error
    except HypervisorError as error:
        raise CannotAdopt(f"{host} cannot be asked: {error}") from error
    record = read_record(live.instance_record)
    if record is None:
        raise CannotAdopt(f"Domain {uuid} is none of ours: it has no metadata of ours.")
    return LostGuest(hypervisor, uuid, state, live, record)


def is_being_shut(host: Host, uuid: UUID) -> bool:
    """Say whether a person is having the guest shut; the caller holds the host's lock."""
    return Discrepancy.objects.filter(
        host=host,
        kind=DiscrepancyKind.UNKNOWN_GUEST,
        subject=str(uuid),
        resolved_at=None,
        shut_at__gt=clock() - timedelta(seconds=_SHUT_S),
    ).exists()


def held_by(guest: LostGuest, host: Host) -> tuple[HeldNode, ...]:
    """Return what the guest holds: as its metadata tells, or as it runs (version 1).

    Raises CannotAdopt if it runs on what the host's rows lack.
    """
    if isinstance(guest.record, DomainRecord) and guest.record.nodes:
        return guest.record.nodes
    return _as_it_runs(guest.live, host)


def _as_it_runs(live: LiveDomain, host: Host) -> tuple[HeldNode, ...]:
    node_of: dict[int, int] = {}
    cores: dict[tuple[int, int], list[int]] = {}
    core_of: dict[int, tuple[int, int]] = {}
    rows = HostCpu.objects.filter(numa_node__host=host).order_by("number")
    for number, core, node in rows.values_list("number", "core", "numa_node__number"):
        node_of[number], core_of[number] = node, (node, core)
        cores.setdefault((node, core), []).append(number)
    pinned = [cpus[0] for _, cpus in sorted(live.vcpu_pins.items()) if len(cpus) == 1]
    if len(pinned) != live.vcpus or not set(pinned) <= set(node_of):
        raise CannotAdopt(f"{live.uuid}: its vCPUs are not pinned to CPUs of {host}.")
    cards = dict(
        host.cards.exclude(condition="retired").values_list(
            "slot_path", "numa_node__number"
        )
    )
    slots = sorted({address.slot_path for address in live.hostdevs})
    memory = dict(live.cells.values()) if live.cells else {}
    nodes = []
    for node in live.memory_nodes:
        mine = [cpu for cpu in pinned if node_of[cpu] == node]
        # Whole cores: a sibling that runs no vCPU is its own, too.
        whole = dict.fromkeys(cpu for own in mine for cpu in cores[core_of[own]])
        nodes.append(
            HeldNode(
                node=node,
                cpus=tuple(whole),
                vcpus=len(mine),
                memory_mib=memory.get(node, live.memory_mib),
                hugepage_kib=live.hugepage_kib,
                slots=tuple(slot for slot in slots if cards.get(slot) == node),
            )
        )
    return tuple(nodes)
