"""What a simulated machine reports of its hardware, in the words of a recorded one."""

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

_DATA = Path(__file__).resolve().parents[1] / "data"
_FIRST_CARD = "pci_0000_21_00_0"
# A bus number has 8 bits: the recorded machine's nodes begin at 0x20 and 0x60.
_MOST_NODES, _MOST_CARDS = 4, 31


@dataclass(frozen=True, slots=True)
class Board:
    """cards, cores (of two threads) and memory_mib are those of each NUMA node."""

    nodes: int = 2
    cards: int = 4
    cores: int = 32
    memory_mib: int = 512 * 1024

    def __post_init__(self) -> None:
        if not (1 <= self.nodes <= _MOST_NODES and 1 <= self.cards <= _MOST_CARDS):
            raise ValueError(
                f"a board has 1 to {_MOST_NODES} nodes of 1 to {_MOST_CARDS} cards each"
            )


def parse_board(text: str) -> Board:
    """Read "2x4", the number of NUMA nodes and of cards on each. Raises ValueError."""
    nodes, separator, cards = text.partition("x")
    if not (separator and nodes.isdecimal() and cards.isdecimal()):
        raise ValueError(f"{text!r} is no board, such as 2x4")
    return Board(int(nodes), int(cards))


def capabilities_of(board: Board, name: str) -> str:
    """Return the capabilities document of the machine so called."""
    return _capabilities(board).replace("HOST-UUID", str(uuid5(NAMESPACE_URL, name)))


@lru_cache(maxsize=8)
def _capabilities(board: Board) -> str:
    root = etree.parse(_DATA / "capabilities-2x2.xml").getroot()
    root.find("host/uuid").text = "HOST-UUID"
    cells = root.find("host/topology/cells")
    cells[:] = [_cell(board, node) for node in range(board.nodes)]
    cells.set("num", str(board.nodes))
    # Its banks belong to the recorded machine's CPUs.
    root.find("host").remove(root.find("host/cache"))
    return etree.tostring(root, encoding="unicode")


def _cell(board: Board, node: int) -> etree._Element:
    cell = etree.Element("cell", id=str(node))
    kib = board.memory_mib * 1024
    etree.SubElement(cell, "memory", unit="KiB").text = str(kib)
    for size, pages in ((4, kib // 4), (2048, 0), (1048576, 0)):
        found = etree.SubElement(cell, "pages", unit="KiB", size=str(size))
        found.text = str(pages)
    distances = etree.SubElement(cell, "distances")
    for other in range(board.nodes):
        far = "10" if other == node else "21"
        etree.SubElement(distances, "sibling", id=str(other), value=far)
    cpus = etree.SubElement(cell, "cpus", num=str(2 * board.cores))
    threads = board.nodes * board.cores
    for thread in range(2):
        for core in range(board.cores):
            first = node * board.cores + core
            etree.SubElement(
                cpus,
                "cpu",
                id=str(first + thread * threads),
                socket_id=str(node),
                die_id=str(node),
                core_id=str(core),
                siblings=f"{first},{first + threads}",
            )
    return cell


@lru_cache(maxsize=8)
def devices_of(board: Board) -> tuple[str, ...]:
    """Return one nodedev document for each card, a slot and an IOMMU group to each."""
    recorded = etree.parse(_DATA / "pci-2x2-rtx6000.xml").getroot()
    (card,) = recorded.xpath("device[name=$name]", name=_FIRST_CARD)
    return tuple(
        _device(card, node, 0x40 * node + 0x21 + slot)
        for node in range(board.nodes)
        for slot in range(board.cards)
    )


def _device(recorded: etree._Element, node: int, bus: int) -> str:
    device = copy.deepcopy(recorded)
    root_port = f"0000:{bus & 0xE0:02x}:{(bus & 0x1F) - 1:02x}.0"
    device.find("name").text = f"pci_0000_{bus:02x}_00_0"
    device.find(
        "path"
    ).text = f"/sys/devices/pci0000:{bus & 0xE0:02x}/{root_port}/0000:{bus:02x}:00.0"
    device.find("parent").text = "pci_" + root_port.translate(str.maketrans(":.", "__"))
    pci = device.find("capability")
    pci.find("bus").text = str(bus)
    pci.find("numa").set("node", str(node))
    group = pci.find("iommuGroup")
    group.set("number", str(bus))
    group.find("address").set("bus", f"0x{bus:02x}")
    return etree.tostring(device, encoding="unicode")
