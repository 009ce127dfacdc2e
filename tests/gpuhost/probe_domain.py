"""Domain XML for the probe guests, for the tests of the virtual host itself.

The control plane makes its own XML; this one is here so that a failing test of the
virtual host cannot be the control plane's fault.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

GUESTS = "/var/lib/libvirt/images"
SERIAL_LOGS = "/var/log/libvirt/gpucloud"


@dataclass(frozen=True)
class ProbeDomain:
    """A guest that reports its hardware.

    cards: PCI addresses in the host, e.g. "0000:21:00.0"; functions of one slot share a
    slot in the guest too. kernel: which of the multiboot guests. node: NUMA node of the host
    that its memory must come from, with `cpus`, the host CPUs of its vCPUs in order.
    """

    name: str
    cards: Sequence[str] = ()
    node: int | None = None
    cpus: Sequence[int] = ()
    memory_mib: int = 64
    hugepages: bool = False
    linux: bool = False
    kernel: str = "probe.elf"
    cmdline: str = ""

    @property
    def serial_log(self) -> str:
        """Return the path, in the host, of the guest's serial log."""
        return f"{SERIAL_LOGS}/{self.name}.log"

    def xml(self) -> str:
        """Return the domain XML (libvirt formatdomain)."""
        domain = Element("domain", type="qemu")
        _text(domain, "name", self.name)
        _text(domain, "memory", str(self.memory_mib), unit="MiB")
        if self.hugepages:
            SubElement(SubElement(domain, "memoryBacking"), "hugepages")
        _text(domain, "vcpu", str(len(self.cpus) or 1), placement="static")
        self._add_pinning(domain)
        self._add_boot(domain)
        features = SubElement(domain, "features")
        SubElement(features, "acpi")
        SubElement(features, "apic")
        self._add_devices(SubElement(domain, "devices"))
        return tostring(domain, encoding="unicode")

    def _add_pinning(self, domain: Element) -> None:
        if self.cpus:
            tune = SubElement(domain, "cputune")
            for vcpu, cpu in enumerate(self.cpus):
                SubElement(tune, "vcpupin", vcpu=str(vcpu), cpuset=str(cpu))
        if self.node is not None:
            tune = SubElement(domain, "numatune")
            SubElement(tune, "memory", mode="strict", nodeset=str(self.node))

    def _add_boot(self, domain: Element) -> None:
        os = SubElement(domain, "os")
        _text(os, "type", "hvm", arch="x86_64", machine="q35")
        if self.linux:
            _text(os, "kernel", f"{GUESTS}/vmlinuz")
            _text(os, "initrd", f"{GUESTS}/probe-linux.cpio")
            words = "console=ttyS0 quiet nokaslr mitigations=off tsc=reliable"
            _text(os, "cmdline", f"{words} no_timer_check {self.cmdline}".strip())
        else:
            _text(os, "kernel", f"{GUESTS}/{self.kernel}")
            if self.cmdline:
                _text(os, "cmdline", self.cmdline)

    def _add_devices(self, devices: Element) -> None:
        SubElement(devices, "controller", type="usb", model="none")
        SubElement(devices, "memballoon", model="none")
        serial = SubElement(devices, "serial", type="pty")
        SubElement(serial, "log", file=self.serial_log, append="on")
        for bus, (slot, functions) in enumerate(self._slots().items(), start=1):
            index = str(bus)
            SubElement(
                devices, "controller", type="pci", index=index, model="pcie-root-port"
            )
            for function in functions:
                _add_hostdev(devices, f"{slot}.{function}", bus, len(functions) > 1)

    def _slots(self) -> dict[str, list[str]]:
        slots: dict[str, list[str]] = {}
        for address in self.cards:
            slot, _, function = address.partition(".")
            slots.setdefault(slot, []).append(function)
        return slots


def address_words(address: str) -> dict[str, str]:
    """Return the four attributes of libvirt's <address> for "DDDD:BB:SS.F"."""
    words = re.fullmatch(r"(\w{4}):(\w\w):(\w\w)\.(\w)", address)
    if not words:
        raise ValueError(f"not a PCI address: {address!r}")
    names = ("domain", "bus", "slot", "function")
    return {name: f"0x{word}" for name, word in zip(names, words.groups(), strict=True)}


def node_device(address: str) -> str:
    """Return libvirt's node device name of a PCI address."""
    return "pci_" + re.sub(r"[:.]", "_", address)


def _add_hostdev(devices: Element, address: str, bus: int, is_shared: bool) -> None:
    hostdev = SubElement(
        devices, "hostdev", mode="subsystem", type="pci", managed="yes"
    )
    SubElement(hostdev, "driver", name="vfio")
    words = address_words(address)
    SubElement(SubElement(hostdev, "source"), "address", words)
    place = SubElement(hostdev, "address", type="pci", bus=hex(bus), slot="0x0")
    place.set("function", words["function"])
    if is_shared and words["function"] == "0x0":
        place.set("multifunction", "on")


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text
