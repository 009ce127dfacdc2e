"""Judge what came of a guest with one card, and what else proves it; pure."""

import re
from collections.abc import Iterator

from inventory.preflight.report import CheckLine, HostReport, Verdict
from inventory.words import msgid, say

_PROOF = msgid("proven by --start-guest, and by the test of every card after enrolment")
# Unseen over libvirt -> what more is to be said once a guest was seen running.
_UNSEEN = {
    "memlock": "",
    # vfio starts without remapping where somebody told it to; libvirt does not tell that.
    "interrupt remapping": msgid(
        ": it is on, or vfio's allow_unsafe_interrupts is set"
    ),
}


def guest(report: HostReport) -> Iterator[CheckLine]:
    trial = report.trial
    if trial is not None and trial.card and not trial.problem:
        for name, besides in _UNSEEN.items():
            text = say("a guest with %(card)s was seen running%(besides)s") % {
                "card": trial.card,
                "besides": say(besides) if besides else "",
            }
            yield CheckLine(name, Verdict.PASS, text)
    else:
        for name in _UNSEEN:
            text = say("cannot be seen over libvirt: %(proof)s") % {
                "proof": say(_PROOF)
            }
            yield CheckLine(name, Verdict.WARN, text)
    if trial is not None and trial.problem:
        verdict = Verdict.FAIL if trial.card else Verdict.WARN
        text = f"{trial.card}: {trial.problem}" if trial.card else trial.problem
        yield CheckLine("guest", verdict, text, hint_for(trial.problem))
    if trial is not None and trial.leftover:
        yield CheckLine(
            "guest", Verdict.FAIL, trial.leftover, say("Remove it by virsh.")
        )


# What QEMU, libvirt and the kernel's vfio say when a card cannot be passed through. The
# texts only choose what is advised; nothing is decided by them.
_HINTS = (
    (
        r"not viable",
        msgid(
            "Another device of the IOMMU group has a driver of the host: bind it to vfio-pci, "
            "or move the card to a slot whose root port has ACS."
        ),
    ),
    (
        r"VFIO_MAP_DMA|vfio_dma_map|cannot allocate memory|memlock|locked memory",
        msgid(
            "Give libvirtd (or virtqemud) LimitMEMLOCK=infinity by `systemctl edit`, and "
            "see that the host has the memory free on the card's node."
        ),
    ),
    (
        r"set iommu for container|operation not permitted|interrupt.remapping|"
        r"unsafe.interrupts",
        msgid(
            "Switch on interrupt remapping (VT-d with x2APIC, AMD IOMMU) in the firmware; "
            "`dmesg | grep -i remapping` tells. Do not set allow_unsafe_interrupts: a tenant "
            "could then send interrupts to the host."
        ),
    ),
    (
        r"is in use|device or resource busy",
        msgid(
            "A domain or a driver of the host holds the card: see `virsh list` and "
            "`lspci -nnk`."
        ),
    ),
    (
        r"vfio-pci|/dev/vfio|vfio module",
        msgid(
            "modprobe vfio-pci, and list it in /etc/modules-load.d; it needs the IOMMU."
        ),
    ),
    (
        r"kernel|could not open|no such file|permission denied",
        msgid(
            "Does the file lie on the host, readable by QEMU's user? Name another one with "
            "--kernel, such as a file in /var/lib/libvirt/images."
        ),
    ),
)


def hint_for(problem: str) -> str:
    """Return what to do about the error of a start with a card, as far as it is known."""
    for pattern, remedy in _HINTS:
        if re.search(pattern, problem, re.IGNORECASE):
            return say(remedy)
    return say("See the host's `dmesg` and /var/log/libvirt/qemu.") if problem else ""
