"""Judge, before a host is enrolled, whether it can sell its cards; pure.

What libvirt cannot say is not guessed: it becomes a warning that names what proves it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

from inventory.cards import CardFinding
from inventory.topology import HostFacts

# Debian 11's pair, the oldest that a distribution still mends. Older ones lack what
# tenants' documents use and were never run here.
MINIMUM_LIBVIRT = 7_000_000
MINIMUM_QEMU = 5_002_000
# libvirt 7.9 reports the serial number in a card's VPD (formatnode "vpd"); without one
# a card's identity is its slot, and a swapped card looks the same.
VPD_LIBVIRT = 7_009_000
MOST_SKEW_S = 5.0
LEAST_POOL_BYTES = 1 << 30
# OVMF opens an eighth of the guest's physical addresses to 64-bit BARs
# (edk2 PlatformDynamicMmioWindow).
_WINDOW_BITS = 3
# ASPEED and Matrox: the VGA of the board's management controller, never for sale.
_CONSOLE_VENDORS = frozenset({0x1A03, 0x102B})


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 -- a word of the report
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One finding. remedy: what a person does about it, empty if nothing."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class GuestTrial:
    """What came of a guest with one card. card: its slot, empty if none could be taken.

    problem: why it did not run, or was not tried; empty if it was seen running.
    """

    card: str
    problem: str = ""
    leftover: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host answered; None where a question was refused or has no answer.

    versions: libvirt's and QEMU's, 1000000 * major + 1000 * minor + release. free_pages:
    by NUMA node and page size in KiB. pools: free bytes by name, None if inactive.
    clock_skew_s: the host's time less ours. phys_bits: width of physical addresses.
    bar_mib: model slug -> MiB of its largest BAR, or of its memory. refusals: question ->
    why the host did not answer it.
    """

    uri: str
    is_lab: bool = False
    console_pool: str = ""
    unreachable: str = ""
    facts: HostFacts | None = None
    cards: tuple[CardFinding, ...] = ()
    versions: tuple[int, int] | None = None
    pci_backends: tuple[str, ...] = ()
    free_pages: Mapping[tuple[int, int], int] = field(default_factory=dict)
    pools: Mapping[str, int | None] = field(default_factory=dict)
    networks: Mapping[str, bool] = field(default_factory=dict)
    clock_skew_s: float | None = None
    phys_bits: int | None = None
    bar_mib: Mapping[str, int] = field(default_factory=dict)
    trial: GuestTrial | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)

    @property
    def known_cards(self) -> list[CardFinding]:
        return [card for card in self.cards if card.model is not None]


def check(report: HostReport) -> list[CheckLine]:
    """Return all lines in the order in which a person puts things right."""
    if report.unreachable:
        return [
            CheckLine(
                "connection", Verdict.FAIL, report.unreachable, way_to(report.uri)
            )
        ]
    lines: list[CheckLine] = []
    for question, name, verdict, judge in _CHECKS:
        if question not in report.refusals:
            lines += judge(report)
        elif name:
            lines.append(
                CheckLine(name, verdict, f"not answered: {report.refusals[question]}")
            )
    return lines


def is_fit(lines: Iterable[CheckLine]) -> bool:
    """Say whether nothing failed."""
    return all(line.verdict is not Verdict.FAIL for line in lines)


_WAYS = {
    "qemu+tls": "Is virtproxyd-tls.socket (or libvirtd-tls.socket) active there, port "
    "16514 open, the server's certificate made out to this name, and this machine's "
    "client certificate in /etc/pki/libvirt signed by the same CA?",
    "qemu+ssh": "Can the user of this process run `ssh HOST virsh -c qemu:///system list` "
    "without a password, with the host's key in known_hosts and in group libvirt there?",
    "qemu+tcp": "Is libvirtd-tcp.socket (or virtproxyd-tcp.socket) active there, and the "
    "address and port (16509 if none is given) right? TCP is for labs.",
    "qemu": "Is libvirtd (or virtqemud) running on this machine, and the user of this "
    "process in group libvirt?",
}
_WAYS["qemu+libssh2"] = _WAYS["qemu+libssh"] = _WAYS["qemu+ssh"]


def problem_of(uri: str) -> str:
    """Return why nothing must be opened at `uri`, empty if it may be."""
    if uri.partition("://")[0] not in _WAYS:
        return f"{uri!r} is no libvirt address of a QEMU host"
    if re.search(r"[?&;]\s*command\s*=", unquote(uri)):
        return f"{uri!r} names a command, which would run on this machine"
    return ""


def way_to(uri: str) -> str:
    """Return what to look at when nobody answers at `uri`, by its transport."""
    return _WAYS.get(
        uri.partition("://")[0],
        "Name a QEMU host over TLS or SSH, such as qemu+tls://HOST/system.",
    )


def _facts(report: HostReport) -> HostFacts:
    assert report.facts is not None  # noqa: S101 -- check() asks for the question
    return report.facts


def _connection(report: HostReport) -> Iterator[CheckLine]:
    text = f"{report.uri} answers"
    if not report.uri.startswith("qemu+tcp://"):
        yield CheckLine("connection", Verdict.PASS, text)
        return
    yield CheckLine(
        "connection",
        Verdict.WARN if report.is_lab else Verdict.FAIL,
        f"{text}, but qemu+tcp is neither encrypted nor authenticated",
        "Use qemu+tls or qemu+ssh; TCP is for labs (GPUCLOUD_LAB=true).",
    )


def _kvm(report: HostReport) -> Iterator[CheckLine]:
    if _facts(report).domain_type == "kvm":
        yield CheckLine("kvm", Verdict.PASS, "libvirt offers KVM guests")
        return
    yield CheckLine(
        "kvm",
        Verdict.WARN if report.is_lab else Verdict.FAIL,
        "no KVM: guests would be emulated",
        "Switch on VT-x or AMD-V in the firmware and load kvm_intel or kvm_amd.",
    )


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def _versions(report: HostReport) -> Iterator[CheckLine]:
    libvirt, qemu = report.versions or (0, 0)
    upgrade = "Upgrade the host's distribution."
    if libvirt < MINIMUM_LIBVIRT:
        minimum = _dotted(MINIMUM_LIBVIRT)
        text = f"{_dotted(libvirt)} is older than {minimum}"
        yield CheckLine("libvirt", Verdict.FAIL, text, upgrade)
    elif libvirt < VPD_LIBVIRT:
        yield CheckLine(
            "libvirt",
            Verdict.WARN,
            f"{_dotted(libvirt)} reports no serial numbers of cards (7.9.0 does): a "
            "swapped card looks the same",
            upgrade,
        )
    else:
        yield CheckLine("libvirt", Verdict.PASS, _dotted(libvirt))
    if qemu < MINIMUM_QEMU:
        text = f"{_dotted(qemu)} is older than {_dotted(MINIMUM_QEMU)}"
        yield CheckLine("qemu", Verdict.FAIL, text, upgrade)
    else:
        yield CheckLine("qemu", Verdict.PASS, _dotted(qemu))


def _iommu(report: HostReport) -> Iterator[CheckLine]:
    if not _facts(report).has_iommu:
        yield CheckLine(
            "iommu",
            Verdict.FAIL,
            "the host has none that libvirt knows of",
            "Switch on VT-d or AMD-Vi in the firmware and boot with intel_iommu=on "
            "(AMD needs no parameter); `dmesg | grep -i -e DMAR -e AMD-Vi` tells.",
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
            f"in no IOMMU group: {', '.join(ungrouped)}",
            "Boot with intel_iommu=on, or switch AMD-Vi on in the firmware.",
        )
    else:
        yield CheckLine("iommu", Verdict.PASS, "on, and every card is in a group")


def _cards(report: HostReport) -> Iterator[CheckLine]:
    known = report.known_cards
    if not known:
        yield CheckLine(
            "cards",
            Verdict.FAIL,
            "no card of a known GPU model",
            "Add the PCI id to one under Inventory > GPU models, if it is for sale.",
        )
    else:
        yield CheckLine("cards", Verdict.PASS, f"{len(known)} of known GPU models")
    unknown: dict[str, list[str]] = {}
    for finding in report.cards:
        main = finding.card.main
        if finding.model is None and main.vendor_id not in _CONSOLE_VENDORS:
            unknown.setdefault(main.pci_id, []).append(str(main.address))
    for pci_id, addresses in sorted(unknown.items()):
        yield CheckLine(
            "cards",
            Verdict.WARN,
            f"{pci_id} is no known GPU model: {', '.join(addresses)}",
            "If it is for sale, add the PCI id under Inventory > GPU models.",
        )


def _endpoints(report: HostReport) -> Iterator[CheckLine]:
    for finding in report.known_cards:
        yield from _functions_of(finding)
        yield from _strangers_of(finding, _facts(report))


def _functions_of(finding: CardFinding) -> Iterator[CheckLine]:
    functions = finding.card.functions
    name = f"card {finding.card.slot_path}"
    ids = ",".join(sorted({function.pci_id for function in functions}))
    for function in functions:
        group = "no group" if function.iommu_group is None else function.iommu_group
        where = f"{function.address} ({function.pci_id}), IOMMU group {group}: "
        if function.driver in (None, "vfio-pci"):
            driver = function.driver or "no driver"
            yield CheckLine(name, Verdict.PASS, where + driver)
        else:
            yield CheckLine(
                name,
                Verdict.WARN,
                f"{where}driver {function.driver} has it on the host",
                f"Boot the host with vfio-pci.ids={ids}, so that no driver of the host "
                "touches the card between two tenants.",
            )


def _strangers_of(finding: CardFinding, facts: HostFacts) -> Iterator[CheckLine]:
    by_address = {function.address: function for function in facts.functions}
    for address in finding.card.strangers:
        stranger = by_address[address]
        yield CheckLine(
            f"card {finding.card.slot_path}",
            Verdict.FAIL,
            f"{address} ({stranger.pci_id}, {stranger.driver or 'no driver'}) shares its "
            f"IOMMU group {stranger.iommu_group}",
            "Move one of them to a slot whose root port has ACS, or switch ACS on in the "
            "firmware.",
        )


def _numa(report: HostReport) -> Iterator[CheckLine]:
    numbers = {node.number for node in _facts(report).nodes}
    for finding in report.known_cards:
        if finding.node in numbers:
            text = f"{finding.card.slot_path} is on node {finding.node}"
            yield CheckLine("numa", Verdict.PASS, text)
        else:
            yield CheckLine(
                "numa",
                Verdict.FAIL,
                f"{finding.card.slot_path} reports no NUMA node of this host",
                "Set the board's NUMA mode in the firmware (NPS1, or SNC off), and "
                "upgrade the firmware if the node stays -1.",
            )


def _hugepages(report: HostReport) -> Iterator[CheckLine]:
    reserved = [
        (node.number, size, total)
        for node in _facts(report).nodes
        for size, total in node.hugepages
        if total
    ]
    if not reserved:
        yield CheckLine("hugepages", Verdict.PASS, "none reserved, none needed")
    for node, size, total in reserved:
        free = report.free_pages.get((node, size), 0)
        text = f"node {node}: {free} of {total} pages of {size} KiB are free"
        if free == total:
            yield CheckLine("hugepages", Verdict.PASS, text)
        else:
            yield CheckLine(
                "hugepages",
                Verdict.WARN,
                text,
                "Find who holds them (domains with <hugepages>, DPDK, a database), or "
                "reserve fewer: memory reserved in pages is lost to tenants without.",
            )


def _vfio(report: HostReport) -> Iterator[CheckLine]:
    if "vfio" in report.pci_backends:
        yield CheckLine("vfio", Verdict.PASS, "libvirt passes PCI devices through")
        return
    yield CheckLine(
        "vfio",
        Verdict.FAIL,
        "libvirt does not offer vfio for PCI devices",
        "modprobe vfio-pci (and list it in /etc/modules-load.d); it needs the IOMMU.",
    )


_PROOF = "proven by --start-guest, and by the test of every card after enrolment"
# Unseen over libvirt -> what more is to be said once a guest was seen running.
_UNSEEN = {
    "memlock": "",
    # vfio starts without remapping where somebody told it to; libvirt does not tell that.
    "interrupt remapping": ": it is on, or vfio's allow_unsafe_interrupts is set",
}


def _guest(report: HostReport) -> Iterator[CheckLine]:
    trial = report.trial
    if trial is not None and trial.card and not trial.problem:
        for name, besides in _UNSEEN.items():
            text = f"a guest with {trial.card} was seen running{besides}"
            yield CheckLine(name, Verdict.PASS, text)
    else:
        for name in _UNSEEN:
            text = f"cannot be seen over libvirt: {_PROOF}"
            yield CheckLine(name, Verdict.WARN, text)
    if trial is not None and trial.problem:
        verdict = Verdict.FAIL if trial.card else Verdict.WARN
        text = f"{trial.card}: {trial.problem}" if trial.card else trial.problem
        yield CheckLine("guest", verdict, text, hint_for(trial.problem))
    if trial is not None and trial.leftover:
        yield CheckLine("guest", Verdict.FAIL, trial.leftover, "Remove it by virsh.")


# What QEMU, libvirt and the kernel's vfio say when a card cannot be passed through. The
# texts only choose what is advised; nothing is decided by them.
_HINTS = (
    (
        r"not viable",
        "Another device of the IOMMU group has a driver of the host: bind it to vfio-pci, "
        "or move the card to a slot whose root port has ACS.",
    ),
    (
        r"VFIO_MAP_DMA|vfio_dma_map|cannot allocate memory|memlock|locked memory",
        "Give libvirtd (or virtqemud) LimitMEMLOCK=infinity by `systemctl edit`, and "
        "see that the host has the memory free on the card's node.",
    ),
    (
        r"set iommu for container|operation not permitted|interrupt.remapping|"
        r"unsafe.interrupts",
        "Switch on interrupt remapping (VT-d with x2APIC, AMD IOMMU) in the firmware; "
        "`dmesg | grep -i remapping` tells. Do not set allow_unsafe_interrupts: a tenant "
        "could then send interrupts to the host.",
    ),
    (
        r"is in use|device or resource busy",
        "A domain or a driver of the host holds the card: see `virsh list` and "
        "`lspci -nnk`.",
    ),
    (
        r"vfio-pci|/dev/vfio|vfio module",
        "modprobe vfio-pci, and list it in /etc/modules-load.d; it needs the IOMMU.",
    ),
    (
        r"kernel|could not open|no such file|permission denied",
        "Does the file lie on the host, readable by QEMU's user? Name another one with "
        "--kernel, such as a file in /var/lib/libvirt/images.",
    ),
)


def hint_for(problem: str) -> str:
    """Return what to do about the error of a start with a card, as far as it is known."""
    for pattern, remedy in _HINTS:
        if re.search(pattern, problem, re.IGNORECASE):
            return remedy
    return "See the host's `dmesg` and /var/log/libvirt/qemu." if problem else ""


def _pools(report: HostReport) -> Iterator[CheckLine]:
    if report.console_pool not in report.pools:
        text = f"{report.console_pool} is not there; the first guest makes it"
        yield CheckLine("storage", Verdict.PASS, text)
    for name, free in sorted(report.pools.items()):
        if free is None:
            start = f"virsh pool-start {name}; virsh pool-autostart {name}"
            yield CheckLine("storage", Verdict.WARN, f"{name} is inactive", start)
        elif free < LEAST_POOL_BYTES:
            text = f"{name}: only {free >> 20} MiB free"
            yield CheckLine("storage", Verdict.WARN, text, "Make room on that disk.")
        else:
            text = f"{name}: active, {free >> 30} GiB free"
            yield CheckLine("storage", Verdict.PASS, text)


def _networks(report: HostReport) -> Iterator[CheckLine]:
    if not report.networks:
        text = "no virtual network, and guests need none"
        yield CheckLine("network", Verdict.PASS, text)
    for name, is_active in sorted(report.networks.items()):
        if is_active:
            yield CheckLine("network", Verdict.PASS, f"{name}: active")
        else:
            start = f"virsh net-start {name}; virsh net-autostart {name}"
            yield CheckLine("network", Verdict.WARN, f"{name} is inactive", start)


def _clock(report: HostReport) -> Iterator[CheckLine]:
    skew = report.clock_skew_s
    if skew is None:
        yield CheckLine(
            "clock",
            Verdict.WARN,
            f"cannot be read without an active pool {report.console_pool}",
            "Check again with --start-guest, which makes it, or after the first guest.",
        )
    elif abs(skew) > MOST_SKEW_S:
        text = f"the host is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
        yield CheckLine("clock", Verdict.WARN, text, "Run chrony on both machines.")
    else:
        yield CheckLine("clock", Verdict.PASS, f"{abs(skew):.1f} s apart")


def _room(report: HostReport) -> Iterator[CheckLine]:
    cards = report.known_cards
    if not cards:
        return
    bars_mib = sum(_power_of_two(report.bar_mib[card.model or ""]) for card in cards)
    needed = f"{len(cards)} cards need {bars_mib >> 10} GiB for their memory BARs"
    if report.phys_bits is None:
        yield CheckLine(
            "64-bit BARs",
            Verdict.WARN,
            f"{needed}; the host does not tell how wide its physical addresses are",
            "libvirt 8.7 tells; else see `grep 'address sizes' /proc/cpuinfo`.",
        )
        return
    space_mib = 1 << (report.phys_bits - 20)
    text = f"{needed}; {report.phys_bits} bits address {space_mib >> 10} GiB"
    if bars_mib > space_mib:
        text += ", which is less"
        remedy = "Put fewer cards into this host, or a CPU with wider addresses."
        yield CheckLine("64-bit BARs", Verdict.FAIL, text, remedy)
    elif bars_mib > space_mib >> _WINDOW_BITS:
        yield CheckLine(
            "64-bit BARs",
            Verdict.WARN,
            f"{text}, of which firmware opens an eighth to BARs",
            "A guest with all cards may not see them all: sell fewer in one plan, or "
            "use a CPU with wider addresses.",
        )
    else:
        yield CheckLine("64-bit BARs", Verdict.PASS, text)


def _power_of_two(mib: int) -> int:
    """Return the size that a BAR of `mib` takes: PCI knows powers of two alone."""
    return 1 << max(mib - 1, 0).bit_length()


Judge = Callable[[HostReport], Iterator[CheckLine]]
# (question that it rests on, line if that was refused, its verdict, the check). Of the
# checks on one question only the first tells of the refusal.
_CHECKS: tuple[tuple[str, str, Verdict, Judge], ...] = (
    ("", "", Verdict.FAIL, _connection),
    ("facts", "what the host is made of", Verdict.FAIL, _kvm),
    ("versions", "versions", Verdict.WARN, _versions),
    ("facts", "", Verdict.FAIL, _iommu),
    ("facts", "", Verdict.FAIL, _cards),
    ("facts", "", Verdict.FAIL, _endpoints),
    ("pci_backends", "vfio", Verdict.WARN, _vfio),
    ("facts", "", Verdict.FAIL, _numa),
    ("free_pages", "hugepages", Verdict.WARN, _hugepages),
    ("", "", Verdict.FAIL, _guest),
    ("pools", "storage", Verdict.WARN, _pools),
    ("networks", "network", Verdict.WARN, _networks),
    ("clock", "clock", Verdict.WARN, _clock),
    ("facts", "", Verdict.FAIL, _room),
)
