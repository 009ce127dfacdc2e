"""Judge the cards and where they sit: groups, nodes, pages and address space; pure."""

from collections.abc import Iterator

from inventory.cards import CardFinding
from inventory.preflight.report import CheckLine, HostReport, Verdict
from inventory.topology import HostFacts
from inventory.words import say

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
            say("no card of a known GPU model"),
            say(
                "Add the PCI id to one under Inventory > GPU models, if it is for sale."
            ),
        )
    else:
        yield CheckLine(
            "cards",
            Verdict.PASS,
            say("%(known)s of known GPU models") % {"known": len(known)},
        )
    unknown: dict[str, list[str]] = {}
    for finding in report.cards:
        main = finding.card.main
        if finding.model is None and main.vendor_id not in _CONSOLE_VENDORS:
            unknown.setdefault(main.pci_id, []).append(str(main.address))
    for pci_id, addresses in sorted(unknown.items()):
        yield CheckLine(
            "cards",
            Verdict.WARN,
            say("%(pci_id)s is no known GPU model: %(addresses)s")
            % {"pci_id": pci_id, "addresses": ", ".join(addresses)},
            say("If it is for sale, add the PCI id under Inventory > GPU models."),
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
        told = {"address": function.address, "pci_id": function.pci_id}
        if function.iommu_group is None:
            where = say("%(address)s (%(pci_id)s), IOMMU group no group") % told
        else:
            told["group"] = function.iommu_group
            where = say("%(address)s (%(pci_id)s), IOMMU group %(group)s") % told
        if function.driver in (None, "vfio-pci"):
            driver = function.driver or say("no driver")
            yield CheckLine(name, Verdict.PASS, f"{where}: {driver}")
        else:
            yield CheckLine(
                name,
                Verdict.WARN,
                say("%(where)s: driver %(driver)s has it on the host")
                % {"where": where, "driver": function.driver},
                say(
                    "Boot the host with vfio-pci.ids=%(ids)s, so that no driver "
                    "of the host touches the card between two tenants."
                )
                % {"ids": ids},
            )


def _strangers_of(finding: CardFinding, facts: HostFacts) -> Iterator[CheckLine]:
    by_address = {function.address: function for function in facts.functions}
    for address in finding.card.strangers:
        stranger = by_address[address]
        yield CheckLine(
            f"card {finding.card.slot_path}",
            Verdict.FAIL,
            say(
                "%(address)s (%(pci_id)s, %(driver)s) shares its IOMMU group "
                "%(iommu_group)s"
            )
            % {
                "address": address,
                "pci_id": stranger.pci_id,
                "driver": stranger.driver or say("no driver"),
                "iommu_group": stranger.iommu_group,
            },
            say(
                "Move one of them to a slot whose root port has ACS, or switch ACS on in the "
                "firmware."
            ),
        )


def numa(report: HostReport) -> Iterator[CheckLine]:
    numbers = {node.number for node in report.known_facts.nodes}
    for finding in report.known_cards:
        if finding.node in numbers:
            text = say("%(slot_path)s is on node %(node)s") % {
                "slot_path": finding.card.slot_path,
                "node": finding.node,
            }
            yield CheckLine("numa", Verdict.PASS, text)
        else:
            yield CheckLine(
                "numa",
                Verdict.FAIL,
                say("%(slot_path)s reports no NUMA node of this host")
                % {"slot_path": finding.card.slot_path},
                say(
                    "Set the board's NUMA mode in the firmware (NPS1, or SNC off), and "
                    "upgrade the firmware if the node stays -1."
                ),
            )


def hugepages(report: HostReport) -> Iterator[CheckLine]:
    reserved = [
        (node.number, size, total)
        for node in report.known_facts.nodes
        for size, total in node.hugepages
        if total
    ]
    if not reserved:
        yield CheckLine("hugepages", Verdict.PASS, say("none reserved, none needed"))
    for node, size, total in reserved:
        free = report.free_pages.get((node, size), 0)
        text = say(
            "node %(node)s: %(free)s of %(total)s pages of %(size)s KiB are free"
        ) % {"node": node, "free": free, "total": total, "size": size}
        if free == total:
            yield CheckLine("hugepages", Verdict.PASS, text)
        else:
            yield CheckLine(
                "hugepages",
                Verdict.WARN,
                text,
                say(
                    "Find who holds them (domains with <hugepages>, DPDK, a database), or "
                    "reserve fewer: memory reserved in pages is lost to tenants without."
                ),
            )


def room(report: HostReport) -> Iterator[CheckLine]:
    cards = report.known_cards
    if not cards:
        return
    bars_mib = sum(_power_of_two(report.bar_mib[card.model or ""]) for card in cards)
    needed = say("%(cards)s cards need %(bars)s GiB for their memory BARs") % {
        "cards": len(cards),
        "bars": bars_mib >> 10,
    }
    if report.phys_bits is None:
        yield CheckLine(
            "64-bit BARs",
            Verdict.WARN,
            say(
                "%(needed)s; the host does not tell how wide its physical addresses are"
            )
            % {"needed": needed},
            say("libvirt 8.7 tells; else see `grep 'address sizes' /proc/cpuinfo`."),
        )
        return
    space_mib = 1 << (report.phys_bits - 20)
    text = say("%(needed)s; %(phys_bits)s bits address %(space)s GiB") % {
        "needed": needed,
        "phys_bits": report.phys_bits,
        "space": space_mib >> 10,
    }
    if bars_mib > space_mib:
        text = say("%(text)s, which is less") % {"text": text}
        remedy = say("Put fewer cards into this host, or a CPU with wider addresses.")
        yield CheckLine("64-bit BARs", Verdict.FAIL, text, remedy)
    elif bars_mib > space_mib >> _WINDOW_BITS:
        yield CheckLine(
            "64-bit BARs",
            Verdict.WARN,
            say("%(text)s, of which firmware opens an eighth to BARs") % {"text": text},
            say(
                "A guest with all cards may not see them all: sell fewer in one plan, or "
                "use a CPU with wider addresses."
            ),
        )
    else:
        yield CheckLine("64-bit BARs", Verdict.PASS, text)


def _power_of_two(mib: int) -> int:
    """Return the size that a BAR of `mib` takes: PCI knows powers of two alone."""
    return 1 << max(mib - 1, 0).bit_length()
