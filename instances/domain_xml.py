"""Build the libvirt domain document of an instance, and compare a live one with it; pure.

Source: libvirt formatdomain, "cputune", "numatune", "hostdev", "pcie-expander-bus".
"""

from dataclasses import dataclass

from lxml import etree
from lxml.builder import E

from inventory.hypervisor.xml import METADATA_NAMESPACE, LiveDomain
from inventory.topology import PciAddress

CONSOLE_POOL = "gpucloud-console"
CONSOLE_FOLDER = "/var/log/libvirt/gpucloud"
_METADATA_VERSION = "1"


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
    """All that a domain document is made from. cells: sorted by node, at least one."""

    uuid: str
    name: str
    title: str
    domain_type: str
    cells: tuple[GuestCell, ...]
    kernel_path: str
    initrd_path: str = ""
    cmdline: str = ""
    metadata: tuple[tuple[str, str], ...] = ()

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
    def is_split(self) -> bool:
        return len(self.cells) > 1

    @property
    def console_volume(self) -> str:
        """The serial log's file name; the UUID, so that no label can name a path."""
        return f"{self.uuid}.log"


def build_domain(spec: DomainSpec) -> str:
    """Return the document. Raises ValueError on a control character in a text."""
    root = E.domain(
        E.name(spec.name),
        E.uuid(spec.uuid),
        E.title(spec.title),
        _metadata(spec),
        E.memory(str(spec.memory_mib), unit="MiB"),
        E.currentMemory(str(spec.memory_mib), unit="MiB"),
        E.vcpu(str(len(spec.vcpu_pins)), placement="static"),
        _cputune(spec),
        _numatune(spec),
        _os(spec),
        E.features(E.acpi(), E.apic()),
        *_cpu(spec),
        E.clock(offset="utc"),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        _devices(spec),
        type=spec.domain_type,
    )
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _metadata(spec: DomainSpec) -> etree._Element:
    """Return what rows could be rebuilt from, should the database be lost."""
    instance = etree.Element(
        f"{{{METADATA_NAMESPACE}}}instance", nsmap={"gpucloud": METADATA_NAMESPACE}
    )
    instance.set("version", _METADATA_VERSION)
    for name, value in spec.metadata:
        instance.set(name, value)
    return E.metadata(instance)


def _cpu_set(cpus: set[int]) -> str:
    return ",".join(map(str, sorted(cpus)))


def _cputune(spec: DomainSpec) -> etree._Element:
    claimed = {cpu for cell in spec.cells for cpu in cell.claimed_cpus}
    return E.cputune(
        *(
            E.vcpupin(vcpu=str(vcpu), cpuset=str(cpu))
            for vcpu, cpu in spec.vcpu_pins.items()
        ),
        E.emulatorpin(cpuset=_cpu_set(claimed)),
    )


def _numatune(spec: DomainSpec) -> etree._Element:
    nodes = {cell.node for cell in spec.cells}
    tune = E.numatune(E.memory(mode="strict", nodeset=_cpu_set(nodes)))
    if spec.is_split:
        for index, cell in enumerate(spec.cells):
            tune.append(
                E.memnode(cellid=str(index), mode="strict", nodeset=str(cell.node))
            )
    return tune


def _os(spec: DomainSpec) -> etree._Element:
    system = E.os(E.type("hvm", arch="x86_64", machine="q35"))
    system.append(E.kernel(spec.kernel_path))
    if spec.initrd_path:
        system.append(E.initrd(spec.initrd_path))
    if spec.cmdline:
        system.append(E.cmdline(spec.cmdline))
    return system


def _cpu(spec: DomainSpec) -> list[etree._Element]:
    numa = []
    if spec.is_split:
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
        numa = [E.numa(*cells)]
    if spec.domain_type == "kvm":
        return [E.cpu(*numa, mode="host-passthrough", check="none", migratable="off")]
    return [E.cpu(*numa)] if numa else []


def _devices(spec: DomainSpec) -> etree._Element:
    controllers, hostdevs = _pci_tree(spec)
    log = f"{CONSOLE_FOLDER}/{spec.console_volume}"
    return E.devices(
        *controllers,
        E.controller(type="usb", model="none"),
        E.serial(E.log(file=log, append="on"), E.target(port="0"), type="pty"),
        E.console(E.target(type="serial", port="0"), type="pty"),
        *hostdevs,
        E.memballoon(model="none"),
    )


def _pci_tree(
    spec: DomainSpec,
) -> tuple[list[etree._Element], list[etree._Element]]:
    """Return controllers and hostdevs: each card in a root port of its own.

    A split guest gets an expander bus per cell, through which it sees each card at its
    node. Indexes stay contiguous: libvirt fills gaps with ports of its own choice.
    """
    controllers = [E.controller(type="pci", index="0", model="pcie-root")]
    parents: list[int | None] = [None] * len(spec.cells)
    with_cards = [i for i, cell in enumerate(spec.cells) if cell.cards]
    if spec.is_split:
        for cell in with_cards:
            index = len(controllers)
            parents[cell] = index
            # Bus numbers high enough to leave each expander room for 8 ports below it.
            number = 254 - 24 * (len(with_cards) - with_cards.index(cell))
            controllers.append(
                E.controller(
                    E.target(E.node(str(cell)), busNr=str(number)),
                    type="pci",
                    index=str(index),
                    model="pcie-expander-bus",
                )
            )
    hostdevs = []
    for cell in with_cards:
        for slot, functions in enumerate(spec.cells[cell].cards):
            port = len(controllers)
            controllers.append(_root_port(port, parents[cell], slot))
            hostdevs += _hostdevs(functions, port)
    return controllers, hostdevs


def _root_port(index: int, parent: int | None, slot: int) -> etree._Element:
    port = E.controller(type="pci", index=str(index), model="pcie-root-port")
    if parent is not None:
        port.append(
            E.address(type="pci", bus=hex(parent), slot=hex(slot), function="0x0")
        )
    return port


def _hostdevs(functions: tuple[PciAddress, ...], bus: int) -> list[etree._Element]:
    several = {"multifunction": "on"} if len(functions) > 1 else {}
    return [
        E.hostdev(
            E.driver(name="vfio"),
            E.source(
                E.address(
                    domain=f"0x{source.domain:04x}",
                    bus=f"0x{source.bus:02x}",
                    slot=f"0x{source.slot:02x}",
                    function=f"0x{source.function:x}",
                )
            ),
            E.address(
                type="pci",
                bus=hex(bus),
                slot="0x0",
                function=f"0x{source.function:x}",
                **(several if number == 0 else {}),
            ),
            mode="subsystem",
            type="pci",
            managed="yes",
        )
        for number, source in enumerate(functions)
    ]


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
