"""Read libvirt's capabilities, nodedev and domain documents into values; no policy.

Sources: libvirt formatcaps, formatdomaincaps, formatnode "pci", formatdomain "cputune",
"numatune", "hostdev", "interface". A document that lacks what it must have raises
InvalidXml, which names it.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class LiveDomain:
    """What a domain document says about resources.

    hostdevs: host PCI addresses, sorted. vcpu_pins: vCPU number -> CPU numbers.
    memory_nodes: host NUMA nodes of strict memory. cell_nodes: guest cell -> host node
    and MiB, empty without guest NUMA. hostdev_cells: host address -> guest cell that the
    device hangs on, if any. hugepage_kib: 0 for ordinary memory.
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


def _parse(document: str, root_tag: str) -> etree._Element:
    try:
        root = etree.fromstring(document.encode(), _PARSER)
    except etree.XMLSyntaxError as error:
        raise InvalidXml(f"{root_tag} document: {error}") from error
    if root.tag != root_tag:
        raise InvalidXml(f"expected a {root_tag} document, got {root.tag!r}")
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


def _integer(text: str | None, what: str) -> int:
    try:
        return int((text or "").strip(), 0)
    except ValueError as error:
        raise InvalidXml(f"{what}: {text!r} is no number") from error


def parse_cpu_set(text: str) -> tuple[int, ...]:
    """Read libvirt's cpuset notation, "0-3,8,^2", into ascending CPU numbers."""
    cpus: set[int] = set()
    for part in text.split(","):
        word = part.strip()
        first, _, last = word.lstrip("^").partition("-")
        start = _integer(first, f"cpuset {text!r}")
        end = _integer(last, f"cpuset {text!r}") if last else start
        if end - start > 4096:
            raise InvalidXml(f"cpuset {text!r} is too wide")
        span = range(start, end + 1)
        cpus = cpus.difference(span) if word.startswith("^") else cpus.union(span)
    return tuple(sorted(cpus))


_MIB = {"b": 1 / 2**20, "bytes": 1 / 2**20, "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}


def _mib(element: etree._Element, amount: str | None) -> int:
    unit = str(element.get("unit", "KiB"))
    if unit not in _MIB:
        raise InvalidXml(f"<{element.tag}> has an unknown unit {unit!r}")
    return int(_integer(amount, str(element.tag)) * _MIB[unit])


def parse_host(capabilities: str, devices: list[str]) -> HostFacts:
    """Return what a host is made of. devices: one nodedev document per PCI function."""
    root = _parse(capabilities, "capabilities")
    host = _need(root, "host")
    domains = root.findall("guest/arch[@name='x86_64']/domain")
    kinds = {_attribute(domain, "type") for domain in domains}
    if not kinds:
        raise InvalidXml("capabilities offer no x86_64 guest")
    iommu = host.find("iommu")
    return HostFacts(
        host_uuid=(_need(host, "uuid").text or "").strip(),
        hostname="",
        domain_type="kvm" if "kvm" in kinds else "qemu",
        has_iommu=iommu is not None and iommu.get("support") == "yes",
        nodes=tuple(
            sorted(
                (_parse_cell(cell) for cell in host.findall("topology/cells/cell")),
                key=lambda node: node.number,
            )
        ),
        functions=tuple(sorted(map(parse_function, devices), key=lambda f: f.address)),
    )


def phys_bits(capabilities: str) -> int | None:
    """Return the width of the host CPU's physical addresses; told since libvirt 8.7."""
    found = _parse(capabilities, "capabilities").find("host/cpu/maxphysaddr")
    bits = "" if found is None else found.get("bits", "")
    return int(bits) if bits.isdecimal() and 32 <= int(bits) <= 64 else None


def pci_backends(domain_capabilities: str) -> tuple[str, ...]:
    """Return how PCI devices can be passed through (formatdomaincaps "hostdev")."""
    values = _parse(domain_capabilities, "domainCapabilities").findall(
        "devices/hostdev[@supported='yes']/enum[@name='pciBackend']/value"
    )
    return tuple(value.text or "" for value in values)


def _parse_cell(cell: etree._Element) -> NodeFacts:
    memory = _need(cell, "memory")
    siblings = {
        parse_cpu_set(cpu.get("siblings") or _attribute(cpu, "id"))
        for cpu in cell.findall("cpus/cpu")
    }
    pages = [
        (_integer(page.get("size"), "page size"), _integer(page.text, "pages"))
        for page in cell.findall("pages")
    ]
    base = min((size for size, _ in pages), default=0)
    return NodeFacts(
        number=_integer(_attribute(cell, "id"), "cell id"),
        memory_mib=_mib(memory, memory.text),
        cores=tuple(CoreFacts(cpus) for cpus in sorted(siblings)),
        hugepages=tuple(page for page in sorted(pages) if page[0] > base),
    )


def parse_function(document: str) -> FunctionFacts:
    """Return one PCI function of a nodedev document."""
    root = _parse(document, "device")
    pci = _need(root, "capability[@type='pci']")
    address = PciAddress(
        *(
            _integer(_need(pci, part).text, part)
            for part in ("domain", "bus", "slot", "function")
        )
    )
    group = pci.find("iommuGroup")
    numa = pci.find("numa")
    driver = root.find("driver/name")
    class_code = pci.find("class")
    # `<capability type='vpd'>` is there since libvirt 7.9 (formatnode "vpd").
    serial = pci.find("capability[@type='vpd']/fields/serial_number")
    return FunctionFacts(
        address=address,
        vendor_id=_integer(_need(pci, "vendor").get("id"), "vendor id"),
        device_id=_integer(_need(pci, "product").get("id"), "product id"),
        class_code=_integer(class_code.text, "class") if class_code is not None else 0,
        iommu_group=(
            _integer(_attribute(group, "number"), "iommuGroup")
            if group is not None
            else None
        ),
        numa_node=_numa_node(numa),
        driver=driver.text if driver is not None else None,
        serial=(serial.text or "").strip() or None if serial is not None else None,
    )


def _numa_node(numa: etree._Element | None) -> int | None:
    if numa is None:
        return None
    node = _integer(_attribute(numa, "node"), "numa node")
    return node if node >= 0 else None


def _hostdev_address(element: etree._Element) -> PciAddress:
    return PciAddress(
        *(
            _integer(_attribute(element, part), part)
            for part in ("domain", "bus", "slot", "function")
        )
    )


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
    pins = {
        _integer(_attribute(pin, "vcpu"), "vcpu"): parse_cpu_set(
            _attribute(pin, "cpuset")
        )
        for pin in root.findall("cputune/vcpupin")
    }
    strict = root.find("numatune/memory[@mode='strict']")
    cell_memory = {
        _integer(_attribute(cell, "id"), "cell"): _mib(cell, cell.get("memory"))
        for cell in root.findall("cpu/numa/cell")
    }
    memnodes = {
        _integer(_attribute(node, "cellid"), "cellid"): parse_cpu_set(
            _attribute(node, "nodeset")
        )[0]
        for node in root.findall("numatune/memnode[@mode='strict']")
    }
    buses = _cells_of_buses(root)
    page = root.find("memoryBacking/hugepages/page")
    return LiveDomain(
        uuid=(_need(root, "uuid").text or "").strip(),
        memory_mib=_mib(memory, memory.text),
        vcpus=_integer(_need(root, "vcpu").text, "vcpu"),
        hostdevs=tuple(sorted(sources)),
        vcpu_pins=pins,
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
    )


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
