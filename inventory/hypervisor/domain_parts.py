"""Build the parts that every domain of ours has alike, tenants' and check guests'; pure.

Source: libvirt formatdomain, "Direct kernel boot", "cputune", "hostdev", "Serial port".
"""

from collections.abc import Iterable, Sequence

from lxml import etree
from lxml.builder import E

from inventory.topology import PciAddress


def cpu_set(cpus: Iterable[int]) -> str:
    return ",".join(map(str, sorted(cpus)))


def cputune(vcpu_cpus: Sequence[int], emulator_cpus: Iterable[int]) -> etree._Element:
    """Return the pinning. vcpu_cpus: one host CPU per vCPU, in vCPU order."""
    return E.cputune(
        *(
            E.vcpupin(vcpu=str(vcpu), cpuset=str(cpu))
            for vcpu, cpu in enumerate(vcpu_cpus)
        ),
        E.emulatorpin(cpuset=cpu_set(emulator_cpus)),
    )


def kernel_boot(kernel_path: str, initrd_path: str, cmdline: str) -> etree._Element:
    """Return the boot of a kernel on the host; initrd_path, cmdline: empty for none."""
    system = E.os(E.type("hvm", arch="x86_64", machine="q35"), E.kernel(kernel_path))
    if initrd_path:
        system.append(E.initrd(initrd_path))
    if cmdline:
        system.append(E.cmdline(cmdline))
    return system


def guest_cpu(domain_type: str, *parts: etree._Element) -> list[etree._Element]:
    """Return the guest's CPU with `parts` in it, nothing if there is nothing to say.

    Only with the host's own CPU does a guest see its physical address bits, which large
    BARs need; emulation has no host CPU to pass through.
    """
    if domain_type == "kvm":
        return [E.cpu(*parts, mode="host-passthrough", check="none", migratable="off")]
    return [E.cpu(*parts)] if parts else []


def serial_console(log_file: str) -> list[etree._Element]:
    """Return a serial port whose output also goes to `log_file` on the host."""
    return [
        E.serial(E.log(file=log_file, append="on"), E.target(port="0"), type="pty"),
        E.console(E.target(type="serial", port="0"), type="pty"),
    ]


def hostdevs(functions: Sequence[PciAddress], bus: int) -> list[etree._Element]:
    """Return one card's functions on guest bus `bus`, each at its own number."""
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
