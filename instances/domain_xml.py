"""Build the libvirt domain document of an instance, and compare a live one with it; pure.

Source: libvirt formatdomain, "numatune", "pcie-expander-bus".
"""

from dataclasses import dataclass

from lxml import etree
from lxml.builder import E

from instances.domain_devices import Disk, Nic, build_disks, build_nic
from instances.domain_record import HeldNode, InstanceRecord, element_of
from instances.guest_pci import CardPort, Expander, pci_tree
from instances.network_filter import filter_name
from inventory.hypervisor.console import console_file
from inventory.hypervisor.domain_parts import (
    cpu_set,
    cputune,
    guest_cpu,
    hostdevs,
    kernel_boot,
    serial_console,
)
from inventory.hypervisor.xml import LiveDomain
from inventory.topology import PciAddress


@dataclass(frozen=True, slots=True)
class GuestCell:
    """The part of a guest on one NUMA node of its host.

    cpus: host CPUs of the vCPUs, in vCPU order. claimed_cpus: those and their idle
    siblings. cards: one tuple of function addresses per card.
    """

    node: int
    cpus: tuple[int, ...]
    claimed_cpus: tuple[int, ...]
    memory_mib: int
    cards: tuple[tuple[PciAddress, ...], ...]


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """All that a domain document is made from. cells: sorted by node, at least one.

    hugepage_kib: size of the pages behind the guest's memory, 0 for ordinary memory.
    kernel_path: empty for a guest that boots from its first disk. record: what rows can be
    rebuilt from, should the database be lost.
    """

    uuid: str
    name: str
    title: str
    domain_type: str
    cells: tuple[GuestCell, ...]
    kernel_path: str
    initrd_path: str = ""
    cmdline: str = ""
    record: InstanceRecord | None = None
    hugepage_kib: int = 0
    disks: tuple[Disk, ...] = ()
    nic: Nic | None = None

    @property
    def memory_mib(self) -> int:
        return sum(cell.memory_mib for cell in self.cells)

    @property
    def vcpu_pins(self) -> dict[int, int]:
        """VCPU number -> host CPU."""
        return dict(enumerate(cpu for cell in self.cells for cpu in cell.cpus))

    @property
    def hostdevs(self) -> tuple[PciAddress, ...]:
        """Host addresses of every function passed through, sorted."""
        return tuple(
            sorted(f for cell in self.cells for card in cell.cards for f in card)
        )

    @property
    def held_nodes(self) -> tuple[HeldNode, ...]:
        """What the claims hold, as the domain's metadata tells it."""
        return tuple(
            HeldNode(
                node=cell.node,
                cpus=cell.claimed_cpus,
                vcpus=len(cell.cpus),
                memory_mib=cell.memory_mib,
                hugepage_kib=self.hugepage_kib,
                slots=tuple(sorted({f.slot_path for card in cell.cards for f in card})),
            )
            for cell in self.cells
        )

    @property
    def is_split(self) -> bool:
        return len(self.cells) > 1


def build_domain(spec: DomainSpec) -> str:
    """Return the document. Raises ValueError on a control character in a text."""
    root = E.domain(
        E.name(spec.name),
        E.uuid(spec.uuid),
        E.title(spec.title),
        *_metadata(spec),
        E.memory(str(spec.memory_mib), unit="MiB"),
        E.currentMemory(str(spec.memory_mib), unit="MiB"),
        *_memory_backing(spec),
        E.vcpu(str(len(spec.vcpu_pins)), placement="static"),
        _cputune(spec),
        _numatune(spec),
        _os(spec),
        E.features(E.acpi(), E.apic()),
        *guest_cpu(spec.domain_type, *_guest_numa(spec)),
        E.clock(offset="utc"),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        _devices(spec),
        type=spec.domain_type,
    )
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _metadata(spec: DomainSpec) -> list[etree._Element]:
    if spec.record is None:
        return []
    return [E.metadata(element_of(spec.record, spec.held_nodes))]


def _memory_backing(spec: DomainSpec) -> list[etree._Element]:
    """Source: libvirt formatdomain, "memoryBacking"; the node comes from numatune."""
    if not spec.hugepage_kib:
        return []
    page = E.page(size=str(spec.hugepage_kib), unit="KiB")
    return [E.memoryBacking(E.hugepages(page))]


def _cputune(spec: DomainSpec) -> etree._Element:
    claimed = {cpu for cell in spec.cells for cpu in cell.claimed_cpus}
    return cputune(list(spec.vcpu_pins.values()), claimed)


def _numatune(spec: DomainSpec) -> etree._Element:
    nodes = {cell.node for cell in spec.cells}
    tune = E.numatune(E.memory(mode="strict", nodeset=cpu_set(nodes)))
    if spec.is_split:
        for index, cell in enumerate(spec.cells):
            tune.append(
                E.memnode(cellid=str(index), mode="strict", nodeset=str(cell.node))
            )
    return tune


def _guest_numa(spec: DomainSpec) -> list[etree._Element]:
    """Return the guest's own nodes, if it is split."""
    if not spec.is_split:
        return []
    first = 0
    cells = []
    for index, cell in enumerate(spec.cells):
        last = first + len(cell.cpus) - 1
        cells.append(
            E.cell(
                id=str(index),
                cpus=f"{first}-{last}",
                memory=str(cell.memory_mib),
                unit="MiB",
            )
        )
        first = last + 1
    return [E.numa(*cells)]


def _os(spec: DomainSpec) -> etree._Element:
    if not spec.kernel_path:
        # What to boot from is said at each disk.
        return E.os(E.type("hvm", arch="x86_64", machine="q35"))
    return kernel_boot(spec.kernel_path, spec.initrd_path, spec.cmdline)


def _devices(spec: DomainSpec) -> etree._Element:
    controllers, cards = _pci_tree(spec)
    return E.devices(
        *controllers,
        E.controller(type="usb", model="none"),
        *build_disks(spec.disks),
        *([build_nic(spec.nic, filter_name(spec.uuid))] if spec.nic else []),
        *serial_console(console_file(spec.uuid)),
        *cards,
        E.memballoon(model="none"),
    )


def _pci_tree(
    spec: DomainSpec,
) -> tuple[list[etree._Element], list[etree._Element]]:
    """Return controllers and hostdevs, as instances.guest_pci lays them out."""
    tree = pci_tree([cell.cards for cell in spec.cells])
    controllers = [
        E.controller(type="pci", index="0", model="pcie-root"),
        *map(_expander, tree.expanders),
        *map(_root_port, tree.ports),
    ]
    devices = [
        device for port in tree.ports for device in hostdevs(port.functions, port.index)
    ]
    return controllers, devices


def _expander(expander: Expander) -> etree._Element:
    return E.controller(
        E.target(E.node(str(expander.cell)), busNr=str(expander.bus)),
        type="pci",
        index=str(expander.index),
        model="pcie-expander-bus",
    )


def _root_port(port: CardPort) -> etree._Element:
    device = E.controller(type="pci", index=str(port.index), model="pcie-root-port")
    if port.parent is not None:
        bus, slot = hex(port.parent.index), hex(port.slot)
        device.append(E.address(type="pci", bus=bus, slot=slot, function="0x0"))
    return device


def differences(spec: DomainSpec, live: LiveDomain) -> list[str]:
    """Return how a live domain differs from what was claimed for it; empty if it does not."""
    return [
        f"{what}: claimed {claimed}, running with {running}"
        for what, claimed, running in resource_differences(spec, live)
    ]


def resource_differences(
    spec: DomainSpec, live: LiveDomain
) -> list[tuple[str, object, object]]:
    """Return (what, claimed, running with) for each resource that differs."""
    pins = {vcpu: (cpu,) for vcpu, cpu in spec.vcpu_pins.items()}
    cells = (
        {i: (cell.node, cell.memory_mib) for i, cell in enumerate(spec.cells)}
        if spec.is_split
        else {}
    )
    hung = (
        {
            function: index
            for index, cell in enumerate(spec.cells)
            for card in cell.cards
            for function in card
        }
        if spec.is_split
        else {}
    )
    pairs: tuple[tuple[str, object, object], ...] = (
        ("UUID", spec.uuid, live.uuid),
        ("memory, MiB", spec.memory_mib, live.memory_mib),
        ("hugepages, KiB", spec.hugepage_kib, live.hugepage_kib),
        ("vCPUs", len(spec.vcpu_pins), live.vcpus),
        ("CPU pins", pins, live.vcpu_pins),
        ("memory nodes", tuple(c.node for c in spec.cells), live.memory_nodes),
        ("guest NUMA cells", cells, live.cells),
        ("cards", list(map(str, spec.hostdevs)), list(map(str, live.hostdevs))),
        ("nodes of the cards", hung, live.hostdev_cells),
    )
    return [
        (what, claimed, running)
        for what, claimed, running in pairs
        if claimed != running
    ]
