"""Take a host into the fleet: what libvirt reports of it becomes rows, or a refusal."""

from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from inventory.cards import CardFinding, CardForSale, find_cards, identity_of, sellable
from inventory.choices import CardCondition, CardEventKind, HostConnection, HostPolicy
from inventory.exceptions import EnrolmentRefused
from inventory.hypervisor.port import Hypervisor
from inventory.hypervisor.supervised import connect
from inventory.hypervisor.xml import parse_host
from inventory.ledger import Actor, lock_host, record_place, refresh_shape
from inventory.models import (
    Card,
    CardFunction,
    GpuModel,
    Host,
    HostCpu,
    NumaNode,
    PciId,
    Region,
)
from inventory.preflight import problem_of, weakness_of
from inventory.topology import HostFacts, NodeFacts

# What claims may take of a node is rounded down to this: hosts of one make differ by a few
# MiB, and each amount would be a free shape of its own (inventory.shape).
MEMORY_GRAIN_MIB = 128


@dataclass(frozen=True, slots=True)
class EnrolmentOrder:
    """What a person decides. reserved_*: kept for the host itself, per NUMA node.

    is_plain: a host without cards, for plans without cards.
    """

    uri: str
    region: str
    name: str = ""
    is_plain: bool = False
    reserved_cores: int = 1
    reserved_memory_mib: int = 4096


@dataclass(slots=True)
class EnrolmentReport:
    """What was done. not_for_sale: one sentence per reason why a card was left out."""

    host: Host
    is_new: bool
    new_cards: list[Card] = field(default_factory=list)
    not_for_sale: list[str] = field(default_factory=list)


def observe(hypervisor: Hypervisor) -> HostFacts:
    """Ask a host what it is made of; blocks up to the driver's deadlines."""
    return parse_host(hypervisor.capabilities(), hypervisor.pci_devices())


def enrol(
    order: EnrolmentOrder, actor: str, hypervisor: Hypervisor | None = None
) -> EnrolmentReport:
    """Enrol a host, or add the new cards of one that is enrolled already.

    Raises EnrolmentRefused with every reason, HostUnreachable or another HypervisorError;
    nothing is half made. Cards start as unverified, and are sold once they are tested.
    """
    region = _check_order(order)
    facts = observe(hypervisor or connect(order.uri))
    models = dict(PciId.objects.values_list("pci_id", "gpu_model__slug"))
    findings = find_cards(facts, models)
    not_for_sale = [problem for finding in findings for problem in finding.problems]
    _check_facts(order, facts, findings)
    with transaction.atomic():
        host, is_new = _host_row(order, region, facts)
        report = EnrolmentReport(host, is_new, not_for_sale=not_for_sale)
        for found in sellable(findings):
            card = add_card(host, found, Actor(actor, f"enrolled on {host}"))
            if card is not None:
                report.new_cards.append(card)
        refresh_shape(host)
    return report


def _check_order(order: EnrolmentOrder) -> Region:
    problems = []
    region = Region.objects.filter(slug=order.region).first()
    if region is None:
        known = ", ".join(Region.objects.values_list("slug", flat=True)) or "none yet"
        problems.append(f"region: {order.region!r} is not known (known: {known})")
    if problem := problem_of(order.uri):
        problems.append(f"URI: {problem}")
    if (weakness := weakness_of(order.uri)) and not settings.LAB:
        problems.append(
            f"URI: {weakness}; use qemu+tls://HOST/system, or set GPUCLOUD_LAB=true on a "
            "test installation"
        )
    if region is None or problems:
        raise EnrolmentRefused(problems)
    return region


def _check_facts(
    order: EnrolmentOrder, facts: HostFacts, findings: list[CardFinding]
) -> None:
    problems = []
    if facts.domain_type != "kvm" and not settings.LAB:
        problems.append(
            "the host has no KVM: switch on VT-x or AMD-V in its firmware and load kvm "
            "(an emulated host is for labs: GPUCLOUD_LAB=true)"
        )
    if not facts.nodes:
        problems.append("libvirt reports no NUMA nodes (capabilities, topology/cells)")
    if not order.is_plain:
        problems += _problems_of_cards(facts, findings)
    if problems:
        raise EnrolmentRefused(problems)


def _problems_of_cards(facts: HostFacts, findings: list[CardFinding]) -> list[str]:
    problems = []
    if not facts.has_iommu:
        problems.append(
            "the host has no IOMMU that libvirt knows of: switch on VT-d or AMD-Vi in its "
            "firmware and boot with intel_iommu=on or amd_iommu=on"
        )
    if not sellable(findings):
        problems.append(
            "the host has no card that can be sold (if it is to have none, enrol it as a "
            "plain host)"
        )
        problems += [problem for finding in findings for problem in finding.problems]
    return problems


def _host_row(
    order: EnrolmentOrder, region: Region, facts: HostFacts
) -> tuple[Host, bool]:
    host_uuid = UUID(facts.host_uuid)
    known = Host.objects.filter(host_uuid=host_uuid).first()
    if known is not None:
        host = lock_host(known.pk)
        _check_same(host, order, region, facts)
        Host.objects.filter(pk=host.pk).update(
            # Not the connection: only a whole comparison makes a host sell again.
            libvirt_uri=order.uri,
            reconcile_due_at=Now(),
        )
        return host, False
    name = order.name or f"gpu-{facts.host_uuid[:8]}"
    if Host.objects.filter(name=name).exists():
        raise EnrolmentRefused([f"name: {name!r} belongs to another host already"])
    if Host.objects.filter(libvirt_uri=order.uri).exists():
        raise EnrolmentRefused([f"URI: {order.uri} belongs to another host already"])
    host = Host.objects.create(
        name=name,
        region=region,
        libvirt_uri=order.uri,
        host_uuid=host_uuid,
        domain_type=facts.domain_type,
        connection=HostConnection.OK,
        last_seen_at=Now(),
    )
    for node in facts.nodes:
        _node_rows(host, node, order)
    return host, True


def _check_same(
    host: Host, order: EnrolmentOrder, region: Region, facts: HostFacts
) -> None:
    """Refuse to enrol over a host that changed in a way that claims may depend on."""
    problems = []
    if host.policy == HostPolicy.RETIRED:
        problems.append(f"host UUID: this machine is {host}, which is retired for good")
    if host.region_id != region.pk:
        problems.append(f"region: {host} is enrolled in {host.region.slug}")
    if order.name and order.name != host.name:
        problems.append(f"name: this host is enrolled as {host.name!r}")
    problems += _follow_hugepages(host, facts)
    rows = {node.number: node for node in host.nodes.all()}
    cpus = {
        number: set(node.cpus.values_list("number", flat=True))
        for number, node in rows.items()
    }
    seen_cpus = {
        node.number: {cpu for core in node.cores for cpu in core.cpus}
        for node in facts.nodes
    }
    too_small = any(
        node.memory_for_guests_mib
        < rows[node.number].memory_mib - rows[node.number].reserved_memory_mib
        for node in facts.nodes
        if node.number in rows
    )
    if cpus != seen_cpus or too_small:
        problems.append(
            f"{host}: its NUMA nodes, CPUs or memory are no longer as enrolled; put them "
            "back as they were, or drain it and retire it"
        )
    if problems:
        raise EnrolmentRefused(problems)


def _follow_hugepages(host: Host, facts: HostFacts) -> list[str]:
    """Take over how many pages a node has where nobody holds any of it; return problems."""
    problems = []
    rows = {node.number: node for node in host.nodes.all()}
    for seen in facts.nodes:
        node = rows.get(seen.number)
        pages = {str(size): count for size, count in seen.hugepages}
        if node is None or pages == node.hugepages:
            continue
        own_mib = max(0, node.reserved_memory_mib - node.hugepages_mib)
        ordinary_mib = _in_grains(seen.memory_for_guests_mib - own_mib)
        if node.claims.filter(released_at=None).exists():
            problems.append(
                f"{node}: its hugepages changed while instances are on it; drain it first"
            )
        elif ordinary_mib <= 0:
            problems.append(
                f"{node}: hugepages leave {seen.memory_for_guests_mib} MiB, of which "
                f"{own_mib} are kept for the host; reserve fewer"
            )
        else:
            node.hugepages = pages
            node.reserved_memory_mib = node.memory_mib - ordinary_mib
            node.save(update_fields=["hugepages", "reserved_memory_mib"])
    return problems


def _in_grains(mib: int) -> int:
    return mib - mib % MEMORY_GRAIN_MIB


def _node_rows(host: Host, facts: NodeFacts, order: EnrolmentOrder) -> None:
    if facts.memory_for_guests_mib <= order.reserved_memory_mib:
        raise EnrolmentRefused(
            [
                f"node {facts.number}: {facts.memory_for_guests_mib} MiB of memory beside "
                f"reserved hugepages, of which {order.reserved_memory_mib} are to be kept "
                "for the host: keep less, or reserve fewer hugepages"
            ]
        )
    if len(facts.cores) <= order.reserved_cores:
        raise EnrolmentRefused(
            [
                f"node {facts.number}: {len(facts.cores)} cores, of which "
                f"{order.reserved_cores} are to be kept for the host: keep fewer"
            ]
        )
    for_claims = _in_grains(facts.memory_for_guests_mib - order.reserved_memory_mib)
    node = NumaNode.objects.create(
        host=host,
        number=facts.number,
        memory_mib=facts.memory_mib,
        reserved_memory_mib=facts.memory_mib - for_claims,
        hugepages={str(size): count for size, count in facts.hugepages},
    )
    HostCpu.objects.bulk_create(
        HostCpu(
            numa_node=node,
            number=cpu,
            core=core.cpus[0],
            is_reserved=index < order.reserved_cores,
        )
        for index, core in enumerate(facts.cores)
        for cpu in core.cpus
    )


def add_card(host: Host, found: CardForSale, actor: Actor) -> Card | None:
    """Make an unverified card's rows on the locked host; None if it is known already.

    A known identity elsewhere, or a slot that another card holds, is left to people: an
    address alone never says which card it is.
    """
    identity, is_weak = identity_of(found.card, str(host.host_uuid))
    slot_path = found.card.slot_path
    in_slot = Card.objects.filter(host=host, slot_path=slot_path).exclude(
        condition__in=[CardCondition.MISSING, CardCondition.RETIRED]
    )
    if Card.objects.filter(identity=identity).exists() or in_slot.exists():
        return None
    card = Card.objects.create(
        host=host,
        numa_node=host.nodes.get(number=found.node),
        gpu_model=GpuModel.objects.get(slug=found.model),
        identity=identity,
        identity_is_weak=is_weak,
        slot_path=slot_path,
    )
    write_functions(card, found)
    record_place(card, CardEventKind.ENROLLED, actor)
    return card


def write_functions(card: Card, found: CardForSale) -> None:
    """Make the rows of a card's PCI functions as found."""
    CardFunction.objects.bulk_create(
        CardFunction(
            card=card,
            number=function.address.function,
            pci_id=function.pci_id,
            class_code=f"{function.class_code:06x}",
            iommu_group=group,
            driver=function.driver or "",
        )
        for function, group in zip(found.card.functions, found.groups, strict=True)
    )
