"""Judge the host itself: connection, KVM, versions, IOMMU and vfio; pure."""

from collections.abc import Iterator

from inventory.preflight.addresses import weakness_of
from inventory.preflight.report import CheckLine, HostReport, Verdict
from inventory.words import say

# Debian 11's pair, the oldest that a distribution still mends. Older ones lack what
# tenants' documents use and were never run here.
MINIMUM_LIBVIRT = 7_000_000
MINIMUM_QEMU = 5_002_000
# libvirt 7.9 reports the serial number in a card's VPD (formatnode "vpd"); without one
# a card's identity is its slot, and a swapped card looks the same.
VPD_LIBVIRT = 7_009_000


def connection(report: HostReport) -> Iterator[CheckLine]:
    text = say("%(uri)s answers") % {"uri": report.uri}
    weakness = weakness_of(report.uri)
    if not weakness:
        yield CheckLine("connection", Verdict.PASS, text)
        return
    yield CheckLine(
        "connection",
        Verdict.WARN if report.is_lab else Verdict.FAIL,
        say("%(text)s, but %(weakness)s") % {"text": text, "weakness": weakness},
        say("Use qemu+tls or qemu+ssh; this is for labs (GPUCLOUD_LAB=true)."),
    )


def kvm(report: HostReport) -> Iterator[CheckLine]:
    if report.known_facts.domain_type == "kvm":
        yield CheckLine("kvm", Verdict.PASS, say("libvirt offers KVM guests"))
        return
    yield CheckLine(
        "kvm",
        Verdict.WARN if report.is_lab else Verdict.FAIL,
        say("no KVM: guests would be emulated"),
        say("Switch on VT-x or AMD-V in the firmware and load kvm_intel or kvm_amd."),
    )


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def versions(report: HostReport) -> Iterator[CheckLine]:
    libvirt, qemu = report.versions or (0, 0)
    upgrade = say("Upgrade the host's distribution.")
    if libvirt < MINIMUM_LIBVIRT:
        minimum = _dotted(MINIMUM_LIBVIRT)
        text = say("%(libvirt)s is older than %(minimum)s") % {
            "libvirt": _dotted(libvirt),
            "minimum": minimum,
        }
        yield CheckLine("libvirt", Verdict.FAIL, text, upgrade)
    elif libvirt < VPD_LIBVIRT:
        yield CheckLine(
            "libvirt",
            Verdict.WARN,
            say(
                "%(libvirt)s reports no serial numbers of cards (7.9.0 does): "
                "a swapped card looks the same"
            )
            % {"libvirt": _dotted(libvirt)},
            upgrade,
        )
    else:
        yield CheckLine("libvirt", Verdict.PASS, _dotted(libvirt))
    if qemu < MINIMUM_QEMU:
        text = say("%(qemu)s is older than %(minimum)s") % {
            "qemu": _dotted(qemu),
            "minimum": _dotted(MINIMUM_QEMU),
        }
        yield CheckLine("qemu", Verdict.FAIL, text, upgrade)
    else:
        yield CheckLine("qemu", Verdict.PASS, _dotted(qemu))


def iommu(report: HostReport) -> Iterator[CheckLine]:
    if not report.known_facts.has_iommu:
        yield CheckLine(
            "iommu",
            Verdict.FAIL,
            say("the host has none that libvirt knows of"),
            say(
                "Switch on VT-d or AMD-Vi in the firmware and boot with intel_iommu=on "
                "(AMD needs no parameter); `dmesg | grep -i -e DMAR -e AMD-Vi` tells."
            ),
        )
        return
    ungrouped = [
        str(function.address)
        for finding in report.known_cards
        for function in finding.card.functions
        if function.iommu_group is None
    ]
    if ungrouped:
        yield CheckLine(
            "iommu",
            Verdict.FAIL,
            say("in no IOMMU group: %(addresses)s")
            % {"addresses": ", ".join(ungrouped)},
            say("Boot with intel_iommu=on, or switch AMD-Vi on in the firmware."),
        )
    else:
        yield CheckLine("iommu", Verdict.PASS, say("on, and every card is in a group"))


def vfio(report: HostReport) -> Iterator[CheckLine]:
    if "vfio" in report.pci_backends:
        yield CheckLine("vfio", Verdict.PASS, say("libvirt passes PCI devices through"))
        return
    yield CheckLine(
        "vfio",
        Verdict.FAIL,
        say("libvirt does not offer vfio for PCI devices"),
        say(
            "modprobe vfio-pci (and list it in /etc/modules-load.d); it needs the IOMMU."
        ),
    )
