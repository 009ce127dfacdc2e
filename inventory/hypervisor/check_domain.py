"""Build the libvirt document of a short-lived guest that checks cards; pure.

Source: libvirt formatdomain, "numatune", "Events configuration".
"""

from collections.abc import Mapping
from itertools import groupby

from lxml import etree
from lxml.builder import E

from inventory.hypervisor.domain_parts import (
    cputune,
    guest_cpu,
    hostdevs,
    kernel_boot,
    serial_console,
)
from inventory.topology import PciAddress

CHECK_NAMESPACE = "urn:gpucloud:check:1"


def build_check_domain(  # noqa: PLR0913 -- all that differs between two such guests
    uuid: str,
    name: str,
    title: str,
    domain_type: str,
    kernel_path: str,
    initrd_path: str,
    cmdline: str,
    memory_mib: int,
    functions: tuple[PciAddress, ...],
    node: int | None,
    cpus: tuple[int, ...],
    console_file: str,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Return the document of a guest that holds `functions` and can do nothing else.

    domain_type: kvm or qemu. initrd_path, cmdline: empty for none. functions: every
    function of one or more cards; those of one slot stay together in one root port. node:
    the NUMA node that all memory must come from, None for any. cpus: the host CPUs of the
    vCPUs, in vCPU order; empty for one vCPU that runs anywhere. console_file: the log of
    the serial port, a path on the host. metadata: attributes of the `check` element, by
    which a guest that was left behind is known. Raises ValueError on a control character.
    """
    root = E.domain(
        E.name(name),
        E.uuid(uuid),
        E.title(title),
        _metadata(metadata or {}),
        E.memory(str(memory_mib), unit="MiB"),
        E.currentMemory(str(memory_mib), unit="MiB"),
        E.vcpu(str(len(cpus) or 1), placement="static"),
        *_tuning(node, cpus),
        kernel_boot(kernel_path, initrd_path, cmdline),
        E.features(E.acpi(), E.apic()),
        *guest_cpu(domain_type),
        E.clock(offset="utc"),
        E.on_poweroff("destroy"),
        # A guest that crashes or resets has failed its check: it must not begin again.
        E.on_reboot("destroy"),
        E.on_crash("destroy"),
        _devices(functions, console_file),
        type=domain_type,
    )
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _metadata(values: Mapping[str, str]) -> etree._Element:
    check = etree.Element(
        f"{{{CHECK_NAMESPACE}}}check", nsmap={"check": CHECK_NAMESPACE}
    )
    for name, value in values.items():
        check.set(name, value)
    return E.metadata(check)


def _tuning(node: int | None, cpus: tuple[int, ...]) -> list[etree._Element]:
    tuning = [cputune(cpus, cpus)] if cpus else []
    if node is not None:
        tuning.append(E.numatune(E.memory(mode="strict", nodeset=str(node))))
    return tuning


def _devices(functions: tuple[PciAddress, ...], console_file: str) -> etree._Element:
    ports, devices = [], []
    slots = groupby(sorted(functions), key=lambda function: function.slot_path)
    for bus, (_, slot) in enumerate(slots, start=1):
        ports.append(E.controller(type="pci", index=str(bus), model="pcie-root-port"))
        devices += hostdevs(tuple(slot), bus)
    return E.devices(
        E.controller(type="pci", index="0", model="pcie-root"),
        *ports,
        E.controller(type="usb", model="none"),
        *serial_console(console_file),
        *devices,
        E.memballoon(model="none"),
    )
