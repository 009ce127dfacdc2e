"""Where a guest finds its cards: root ports, expander buses and the bus numbers they get; pure.

The domain document and what customers are told are both made from this. Sources: libvirt
formatdomain "pcie-root-port", "pcie-expander-bus"; firmware numbers buses depth first, in
the order of ports, below each expander anew from the expander's own number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from inventory.topology import PciAddress

# Below each expander there is room for 8 ports; the last expander's end below bus 255.
_BUSES_PER_EXPANDER = 24
_LAST_EXPANDER = 254 - _BUSES_PER_EXPANDER

Functions = tuple[PciAddress, ...]


@dataclass(frozen=True, slots=True)
class Expander:
    """A root bus of the guest's node `cell`. index: as a controller. bus: its number."""

    index: int
    cell: int
    bus: int


@dataclass(frozen=True, slots=True)
class CardPort:
    """A root port with one card. functions: the card's, on the host.

    index: as a controller, on which libvirt's addresses go. bus: the guest's own number of
    what is behind the port. parent: None for the guest's first root bus.
    """

    index: int
    cell: int
    functions: Functions
    parent: Expander | None
    slot: int
    bus: int

    @property
    def addresses(self) -> Functions:
        """Where the guest finds each function, in the order of `functions`."""
        return tuple(PciAddress(0, self.bus, 0, f.function) for f in self.functions)


@dataclass(frozen=True, slots=True)
class PciTree:
    """Controller indexes are contiguous: libvirt fills gaps with ports of its own choice."""

    expanders: tuple[Expander, ...]
    ports: tuple[CardPort, ...]


def pci_tree(cells: Sequence[Sequence[Functions]]) -> PciTree:
    """Return the tree of a guest: each card in a root port of its own, in the given order.

    cells: the cards of each of the guest's nodes. A guest of several nodes gets an
    expander bus per node with cards, through which it sees each card at its node.
    """
    with_cards = [cell for cell, cards in enumerate(cells) if cards]
    if len(cells) > 1:
        first = _LAST_EXPANDER - _BUSES_PER_EXPANDER * (len(with_cards) - 1)
        expanders = tuple(
            Expander(1 + nth, cell, first + _BUSES_PER_EXPANDER * nth)
            for nth, cell in enumerate(with_cards)
        )
    else:
        expanders = ()
    parents = {expander.cell: expander for expander in expanders}
    ports: list[CardPort] = []
    for cell in with_cards:
        parent = parents.get(cell)
        for slot, functions in enumerate(cells[cell]):
            index = 1 + len(expanders) + len(ports)
            bus = 1 + slot + (parent.bus if parent else 0)
            ports.append(CardPort(index, cell, functions, parent, slot, bus))
    return PciTree(expanders, tuple(ports))
