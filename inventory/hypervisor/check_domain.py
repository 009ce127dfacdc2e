"""Build the libvirt document of a short-lived guest that checks cards; pure.

Source: libvirt formatdomain, "cputune", "numatune", "hostdev", "Serial port", "log".
"""

from collections.abc import Mapping
from itertools import groupby

from lxml import etree
from lxml.builder import E

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
        _os(kernel_path, initrd_path, cmdline),
        E.features(E.acpi(), E.apic()),
        *_cpu(domain_type),
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
    tuning = []
    if cpus:
        pins = [
            E.vcpupin(vcpu=str(vcpu), cpuset=str(cpu)) for vcpu, cpu in enumerate(cpus)
        ]
        everywhere = ",".join(map(str, sorted(cpus)))
        tuning.append(E.cputune(*pins, E.emulatorpin(cpuset=everywhere)))
    if node is not None:
        tuning.append(E.numatune(E.memory(mode="strict", nodeset=str(node))))
    return tuning


def _os(kernel_path: str, initrd_path: str, cmdline: str) -> etree._Element:
    system = E.os(E.type("hvm", arch="x86_64", machine="q35"), E.kernel(kernel_path))
    if initrd_path:
        system.append(E.initrd(initrd_path))
    if cmdline:
        system.append(E.cmdline(cmdline))
    return system


def _cpu(domain_type: str) -> list[etree._Element]:
    # Only with the host's own CPU does a guest see its physical address bits, which large
    # BARs need; emulation has no host CPU to pass through.
    if domain_type == "kvm":
        return [E.cpu(mode="host-passthrough", check="none", migratable="off")]
    return []


def _devices(functions: tuple[PciAddress, ...], console_file: str) -> etree._Element:
    ports, hostdevs = [], []
    slots = groupby(sorted(functions), key=lambda function: function.slot_path)
    for bus, (_, slot) in enumerate(slots, start=1):
        ports.append(E.controller(type="pci", index=str(bus), model="pcie-root-port"))
        hostdevs += _hostdevs(tuple(slot), bus)
    return E.devices(
        E.controller(type="pci", index="0", model="pcie-root"),
        *ports,
        E.controller(type="usb", model="none"),
        E.serial(E.log(file=console_file, append="on"), E.target(port="0"), type="pty"),
        E.console(E.target(type="serial", port="0"), type="pty"),
        *hostdevs,
        E.memballoon(model="none"),
    )


def _hostdevs(slot: tuple[PciAddress, ...], bus: int) -> list[etree._Element]:
    """Return the hostdevs of one card on guest bus `bus`, each at its own function."""
    several = {"multifunction": "on"} if len(slot) > 1 else {}
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
        for number, source in enumerate(slot)
    ]
