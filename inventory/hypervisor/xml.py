"""Read libvirt's capabilities, nodedev and domain documents into values; no policy.

Sources: libvirt formatcaps, formatdomaincaps, formatnode "pci", formatdomain "cputune",
"numatune", "hostdev", "interface". A document that lacks what it must have raises
InvalidXml, which names it.

A host is not trusted: whoever took it over may send anything. So numbers and sizes are
bounded before memory is spent on them, and InvalidXml is the only thing raised.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from lxml import etree

from inventory.exceptions import InvalidXml
from inventory.topology import (
    CoreFacts,
    FunctionFacts,
    HostFacts,
    NodeFacts,
    PciAddress,
)

# A host is not trusted to send harmless XML: no entities, no network, no huge trees.
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, huge_tree=False, remove_comments=True
)
METADATA_NAMESPACE = "urn:gpucloud:instance:1"
# What libvirt's protocol carries at most in one string (VIR_NET_MESSAGE_STRING_MAX).
MAX_DOCUMENT_BYTES = 4 << 20
_MOST = 2**31 - 1
# Of memory in KiB, and of pages: 2 PiB, which in MiB is an integer of the database.
_MOST_KIB = 2**41 - 1
_MOST_CPUS = 4096
# vCPUs of one domain times the CPUs that each may run on.
_MOST_PINNED = 1 << 20
_LONGEST_WORD = 50
_LONGEST_SERIAL = 100


@dataclass(frozen=True, slots=True)
class LiveDomain:
    """What a domain document says about resources.

    hostdevs: host PCI addresses, sorted. vcpu_pins: vCPU number -> CPU numbers.
    memory_nodes: host NUMA nodes of strict memory. cell_nodes: guest cell -> host node
    and MiB, empty without guest NUMA. hostdev_cells: host address -> guest cell that the
    device hangs on, if any. hugepage_kib: 0 for ordinary memory. macs: of its network
    cards. instance_record: our element of its metadata as text, empty if it has none.
    """

    uuid: str
    memory_mib: int
    vcpus: int
    hostdevs: tuple[PciAddress, ...]
    vcpu_pins: dict[int, tuple[int, ...]]
    memory_nodes: tuple[int, ...]
    cells: dict[int, tuple[int, int]]
    hostdev_cells: dict[PciAddress, int]
    hugepage_kib: int = 0
    name: str = ""
    macs: tuple[str, ...] = ()
    instance_record: str = ""


def _parse(document: str, root_tag: str) -> etree._Element:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidXml(
            f"{root_tag} document: {len(document)} characters are too many"
        )
    try:
        root = etree.fromstring(document.encode(), _PARSER)
    except (etree.XMLSyntaxError, UnicodeError) as error:
        raise InvalidXml(f"{root_tag} document: {error}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        # libvirt writes none: it is there to define entities.
        raise InvalidXml(f"{root_tag} document: it has a document type")
    if root.tag != root_tag:
        raise InvalidXml(f"expected a {root_tag} document, got {str(root.tag)[:100]!r}")
    return root


def _need(element: etree._Element, path: str) -> etree._Element:
    found = element.find(path)
    if found is None:
        raise InvalidXml(f"<{element.tag}> has no {path}")
    return found


def _attribute(element: etree._Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise InvalidXml(f"<{element.tag}> has no attribute {name!r}")
    return str(value)


def _integer(text: str | None, what: str, most: int = _MOST, least: int = 0) -> int:
    try:
        number = int((text or "").strip(), 0)
    except ValueError as error:
        raise InvalidXml(f"{what}: {_short(text)} is no number") from error
    if not least <= number <= most:
        raise InvalidXml(f"{what}: {_short(text)} is not from {least} to {most}")
    return number


def _short(text: str | None) -> str:
    return repr((text or "")[:_LONGEST_WORD])


def _word(element: etree._Element | None) -> str | None:
    """Return an element's text, None without any; it must fit where it is kept."""
    text = "" if element is None else (element.text or "").strip()
    if len(text) > _LONGEST_WORD:
        raise InvalidXml(f"{_short(text)} is longer than {_LONGEST_WORD} characters")
    return text or None


def _serial(element: etree._Element | None) -> str | None:
    """Return a serial number; one that is too long to tell cards apart by is none."""
    text = "" if element is None else (element.text or "").strip()
    return text if 0 < len(text) <= _LONGEST_SERIAL else None


def parse_cpu_set(text: str) -> tuple[int, ...]:
    """Read libvirt's cpuset notation, "0-3,8,^2", into ascending CPU numbers."""
    # A bit for each CPU: a host may name the same thousands again and again.
    cpus = 0
    for part in text.split(","):
        word = part.strip()
        first, _, last = word.removeprefix("^").partition("-")
        what = f"cpuset {_short(text)}"
        start = _integer(first, what, _MOST_CPUS - 1)
        end = _integer(last, what, _MOST_CPUS - 1) if last else start
        span = (1 << max(0, end - start + 1)) - 1 << start
        cpus = cpus & ~span if word.startswith("^") else cpus | span
    return tuple(cpu for cpu in range(cpus.bit_length()) if cpus >> cpu & 1)


def _first_of(nodeset: str) -> int:
    nodes = parse_cpu_set(nodeset)
    if not nodes:
        raise InvalidXml(f"nodeset {_short(nodeset)} is empty")
    return nodes[0]


_BYTES = {"b": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _mib(element: etree._Element, amount: str | None) -> int:
    unit = str(element.get("unit", "KiB"))
    if unit not in _BYTES:
        raise InvalidXml(f"<{element.tag}> has an unknown unit {_short(unit)}")
    most = (_MOST_KIB << 10) // _BYTES[unit]
    return _integer(amount, str(element.tag), most) * _BYTES[unit] >> 20


def _address(parts: Iterable[str | None]) -> PciAddress:
    """Return the address of domain, bus, slot and function."""
    limits = {"domain": 0xFFFFFFFF, "bus": 0xFF, "slot": 0x1F, "function": 7}
    return PciAddress(
        *(
            _integer(text, name, most)
            for text, (name, most) in zip(parts, limits.items(), strict=True)
        )
    )


_ADDRESS_PARTS = ("domain", "bus", "slot", "function")


def parse_host(capabilities: str, devices: list[str]) -> HostFacts:
    """Return what a host is made of. devices: one nodedev document per PCI function."""
    root = _parse(capabilities, "capabilities")
    host = _need(root, "host")
    domains = root.findall("guest/arch[@name='x86_64']/domain")
    kinds = {_attribute(domain, "type") for domain in domains}
    if not kinds:
        raise InvalidXml("capabilities offer no x86_64 guest")
    iommu = host.find("iommu")
    nodes = sorted(
        map(_parse_cell, host.findall("topology/cells/cell")),
        key=lambda node: node.number,
    )
    functions = sorted(map(parse_function, devices), key=lambda each: each.address)
    _refuse_twice("NUMA node", [node.number for node in nodes])
    _refuse_twice(
        "CPU", [c for node in nodes for core in node.cores for c in core.cpus]
    )
    _refuse_twice("PCI function", [function.address for function in functions])
    return HostFacts(
        host_uuid=_uuid(_need(host, "uuid").text),
        hostname="",
        domain_type="kvm" if "kvm" in kinds else "qemu",
        has_iommu=iommu is not None and iommu.get("support") == "yes",
        nodes=tuple(nodes),
        functions=tuple(functions),
    )


def _refuse_twice(what: str, names: list[object]) -> None:
    if len(set(names)) < len(names):
        raise InvalidXml(f"a {what} is reported twice")


def _uuid(text: str | None) -> str:
    try:
        return str(UUID((text or "").strip()))
    except ValueError as error:
        raise InvalidXml(f"{_short(text)} is no UUID") from error


def phys_bits(capabilities: str) -> int | None:
    """Return the width of the host CPU's physical addresses; told since libvirt 8.7."""
    found = _parse(capabilities, "capabilities").find("host/cpu/maxphysaddr")
    bits = "" if found is None else found.get("bits", "")
    known = {str(width): width for width in range(32, 65)}
    return known.get(bits)


def pci_backends(domain_capabilities: str) -> tuple[str, ...]:
    """Return how PCI devices can be passed through (formatdomaincaps "hostdev")."""
    values = _parse(domain_capabilities, "domainCapabilities").findall(
        "devices/hostdev[@supported='yes']/enum[@name='pciBackend']/value"
    )
    return tuple(value.text or "" for value in values)


def _parse_cell(cell: etree._Element) -> NodeFacts:
    memory = _need(cell, "memory")
    siblings = _cores(
        {
            cpu.get("siblings") or _attribute(cpu, "id")
            for cpu in cell.findall("cpus/cpu")
        }
    )
    pages = [
        (
            _integer(page.get("size"), "page size"),
            _integer(page.text, "pages", _MOST_KIB),
        )
        for page in cell.findall("pages")
    ]
    base = min((size for size, _ in pages), default=0)
    return NodeFacts(
        number=_integer(_attribute(cell, "id"), "cell id"),
        memory_mib=_mib(memory, memory.text),
        cores=tuple(CoreFacts(cpus) for cpus in sorted(siblings)),
        hugepages=tuple(page for page in sorted(pages) if page[0] > base),
    )


def _cores(texts: set[str]) -> set[tuple[int, ...]]:
    """Return the siblings of each core."""
    cores: set[tuple[int, ...]] = set()
    count = 0
    for text in texts:
        cpus = parse_cpu_set(text)
        count += len(cpus)
        if count > 2 * _MOST_CPUS:
            raise InvalidXml("the cores have more CPUs than there can be")
        cores.add(cpus)
    return cores


def parse_function(document: str) -> FunctionFacts:
    """Return one PCI function of a nodedev document."""
    root = _parse(document, "device")
    pci = _need(root, "capability[@type='pci']")
    address = _address(_need(pci, part).text for part in _ADDRESS_PARTS)
    group = pci.find("iommuGroup")
    numa = pci.find("numa")
    driver = root.find("driver/name")
    class_code = pci.find("class")
    # `<capability type='vpd'>` is there since libvirt 7.9 (formatnode "vpd").
    serial = pci.find("capability[@type='vpd']/fields/serial_number")
    return FunctionFacts(
        address=address,
        vendor_id=_integer(_need(pci, "vendor").get("id"), "vendor id", 0xFFFF),
        device_id=_integer(_need(pci, "product").get("id"), "product id", 0xFFFF),
        class_code=(
            _integer(class_code.text, "class", 0xFFFFFF)
            if class_code is not None
            else 0
        ),
        iommu_group=(
            _integer(_attribute(group, "number"), "iommuGroup")
            if group is not None
            else None
        ),
        numa_node=_numa_node(numa),
        driver=_word(driver),
        serial=_serial(serial),
    )


def _numa_node(numa: etree._Element | None) -> int | None:
    if numa is None:
        return None
    node = _integer(_attribute(numa, "node"), "numa node", least=-1)
    return node if node >= 0 else None


def _hostdev_address(element: etree._Element) -> PciAddress:
    return _address(_attribute(element, part) for part in _ADDRESS_PARTS)


def filters_named_in(document: str) -> set[str]:
    """Return the network filters that a domain document refers to."""
    references = _parse(document, "domain").findall("devices/interface/filterref")
    return {_attribute(reference, "filter") for reference in references}


def parse_domain(document: str) -> LiveDomain:
    """Return the resources that a domain document names."""
    root = _parse(document, "domain")
    memory = _need(root, "memory")
    hostdevs = root.findall("devices/hostdev[@type='pci']")
    sources = [_hostdev_address(_need(dev, "source/address")) for dev in hostdevs]
    strict = root.find("numatune/memory[@mode='strict']")
    cell_memory = {
        _integer(_attribute(cell, "id"), "cell"): _mib(cell, cell.get("memory"))
        for cell in root.findall("cpu/numa/cell")
    }
    memnodes = {
        _integer(_attribute(node, "cellid"), "cellid"): _first_of(
            _attribute(node, "nodeset")
        )
        for node in root.findall("numatune/memnode[@mode='strict']")
    }
    buses = _cells_of_buses(root)
    page = root.find("memoryBacking/hugepages/page")
    record = root.find(f"metadata/{{{METADATA_NAMESPACE}}}instance")
    return LiveDomain(
        uuid=(_need(root, "uuid").text or "").strip(),
        memory_mib=_mib(memory, memory.text),
        vcpus=_integer(_need(root, "vcpu").text, "vcpu"),
        hostdevs=tuple(sorted(sources)),
        vcpu_pins=_pins(root),
        memory_nodes=(
            parse_cpu_set(_attribute(strict, "nodeset")) if strict is not None else ()
        ),
        cells={
            cell: (memnodes[cell], mib)
            for cell, mib in cell_memory.items()
            if cell in memnodes
        },
        hostdev_cells={
            source: buses[bus]
            for source, dev in zip(sources, hostdevs, strict=True)
            if (bus := _guest_bus(dev)) in buses
        },
        hugepage_kib=_mib(page, page.get("size")) * 1024 if page is not None else 0,
        name=root.findtext("name") or "",
        macs=tuple(
            _attribute(mac, "address").lower()
            for mac in root.findall("devices/interface/mac")
        ),
        instance_record=(
            etree.tostring(record, encoding="unicode", with_tail=False)
            if record is not None
            else ""
        ),
    )


def _pins(root: etree._Element) -> dict[int, tuple[int, ...]]:
    """Return vCPU number -> the CPUs that it may run on."""
    pins: dict[int, tuple[int, ...]] = {}
    count = 0
    for pin in root.findall("cputune/vcpupin"):
        cpus = parse_cpu_set(_attribute(pin, "cpuset"))
        count += len(cpus)
        if count > _MOST_PINNED:
            raise InvalidXml("<cputune> names more CPUs than there can be")
        pins[_integer(_attribute(pin, "vcpu"), "vcpu")] = cpus
    return pins


def _guest_bus(device: etree._Element) -> int:
    address = device.find("address")
    return -1 if address is None else _integer(_attribute(address, "bus"), "bus")


def _cells_of_buses(root: etree._Element) -> dict[int, int]:
    """Return guest bus -> guest NUMA cell, through root ports on expander buses."""
    controllers = root.findall("devices/controller[@type='pci']")
    expanders = {
        _integer(_attribute(item, "index"), "index"): _integer(node.text, "node")
        for item in controllers
        if item.get("model") == "pcie-expander-bus"
        and (node := item.find("target/node")) is not None
    }
    return {
        _integer(_attribute(item, "index"), "index"): expanders[parent]
        for item in controllers
        if (parent := _guest_bus(item)) in expanders
    }
