"""Judge the cards and where they sit: groups, nodes, pages and address space; pure."""

from collections.abc import Iterator

from inventory.cards import CardFinding
from inventory.preflight.report import CheckLine, HostReport, Verdict
from inventory.topology import HostFacts

# OVMF opens an eighth of the guest's physical addresses to 64-bit BARs
# (edk2 PlatformDynamicMmioWindow).
_WINDOW_BITS = 3
# ASPEED and Matrox: the VGA of the board's management controller, never for sale.
_CONSOLE_VENDORS = frozenset({0x1A03, 0x102B})


def cards(report: HostReport) -> Iterator[CheckLine]:
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


def endpoints(report: HostReport) -> Iterator[CheckLine]:
    for finding in report.known_cards:
        yield from _functions_of(finding)
        yield from _strangers_of(finding, report.known_facts)


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


def numa(report: HostReport) -> Iterator[CheckLine]:
    numbers = {node.number for node in report.known_facts.nodes}
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


def hugepages(report: HostReport) -> Iterator[CheckLine]:
    reserved = [
        (node.number, size, total)
        for node in report.known_facts.nodes
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


def room(report: HostReport) -> Iterator[CheckLine]:
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
