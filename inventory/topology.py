"""Frozen values that describe a host's PCI and NUMA topology, as observed and as free.

*Facts* are what libvirt reports of a host; *snapshots* are what our rows say is free on
it. Nothing here knows Django or libvirt.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

_PCI_ADDRESS = re.compile(
    r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])"
)


@dataclass(frozen=True, order=True, slots=True)
class PciAddress:
    """A PCI function's address with its domain, such as 0001:d6:00.0."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text` as DDDD:BB:SS.F; raises ValueError that quotes what it got.

        A form without the domain is refused: guessing 0000 names another card on hosts
        with several PCI segments.
        """
        match = _PCI_ADDRESS.fullmatch(text.strip())
        if match is None or int(match[3], 16) > 0x1F:
            raise ValueError(f"{text!r} is no PCI address of the form 0000:00:00.0")
        return cls(*(int(part, 16) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.slot_path}.{self.function}"

    @property
    def slot_path(self) -> str:
        """The address without its function: what all functions of one card share."""
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}"


@dataclass(frozen=True, slots=True)
class CoreFacts:
    """One physical core. cpus: its logical CPU numbers, siblings together, ascending."""

    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One NUMA node (libvirt capabilities "cell").

    hugepages: (page size in KiB, count) pairs, sizes above the base page only.
    """

    number: int
    memory_mib: int
    cores: tuple[CoreFacts, ...]
    hugepages: tuple[tuple[int, int], ...] = ()

    @property
    def memory_for_guests_mib(self) -> int:
        """What reserved hugepages leave: our domains are not backed by them."""
        reserved_kib = sum(size_kib * count for size_kib, count in self.hugepages)
        return self.memory_mib - reserved_kib // 1024


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """One PCI function (libvirt nodedev capability "pci").

    class_code: 24 bit, such as 0x030200. iommu_group and numa_node: None if not reported.
    """

    address: PciAddress
    vendor_id: int
    device_id: int
    class_code: int
    iommu_group: int | None = None
    numa_node: int | None = None
    driver: str | None = None
    serial: str | None = None

    @property
    def pci_id(self) -> str:
        """vendor:device in the usual notation, such as 10de:1e30."""
        return f"{self.vendor_id:04x}:{self.device_id:04x}"

    @property
    def is_bridge(self) -> bool:
        """PCI base class 0x06; a bridge in a group needs no vfio driver."""
        return self.class_code >> 16 == 0x06

    @property
    def is_display(self) -> bool:
        """PCI base class 0x03 (VGA 0300, 3D controller 0302) or 0x12 (accelerator)."""
        return self.class_code >> 16 in (0x03, 0x12)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What moves together: all functions of one slot, by function number.

    strangers: endpoints of the same IOMMU groups that sit in another slot.
    """

    functions: tuple[FunctionFacts, ...]
    strangers: tuple[PciAddress, ...] = ()

    @property
    def main(self) -> FunctionFacts:
        """The lowest function; it carries the identity and the NUMA node.

        A GPU's audio, USB and UCSI functions often report no node of their own.
        """
        return self.functions[0]

    @property
    def slot_path(self) -> str:
        """Where the card sits now, such as 0000:21:00."""
        return self.main.address.slot_path


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What one host reported. domain_type: kvm, or qemu where it has no KVM."""

    host_uuid: str
    hostname: str
    domain_type: str
    has_iommu: bool
    nodes: tuple[NodeFacts, ...]
    functions: tuple[FunctionFacts, ...]


@dataclass(frozen=True, slots=True)
class FreeCard:
    """A card that a claim may take. card_id: its row; model: its GpuModel's slug."""

    card_id: int
    model: str


@dataclass(frozen=True, slots=True)
class NodeShare:
    """What an instance takes on one NUMA node.

    cpus: every logical CPU of the cores taken, core by core; the first `vcpus` of them
    run the guest's vCPUs one to one, a sibling left over stays dedicated and idle.
    hugepage_kib: size of the pages that the memory comes from, 0 for ordinary memory.
    """

    node: int
    card_ids: tuple[int, ...]
    cpus: tuple[int, ...]
    vcpus: int
    memory_mib: int
    hugepage_kib: int = 0


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What is free on one NUMA node.

    cards: in the order in which they are taken. cores: free whole cores, each the tuple of
    its logical CPUs. memory_mib: ordinary memory. pages: (size in KiB, free hugepages)
    pairs, none of 0. guests: how many instances hold something here.
    """

    number: int
    cards: tuple[FreeCard, ...]
    cores: tuple[tuple[int, ...], ...]
    memory_mib: int
    pages: tuple[tuple[int, int], ...] = ()
    guests: int = 0

    def free_cards(self, model: str) -> tuple[FreeCard, ...]:
        return tuple(card for card in self.cards if card.model == model)

    def less(self, share: NodeShare) -> Self:
        """Return this node less what `share` takes of it."""
        taken_cards, taken_cpus = set(share.card_ids), set(share.cpus)
        size = share.hugepage_kib
        pages = dict(self.pages)
        if size:
            pages[size] = pages.get(size, 0) - share.memory_mib * 1024 // size
        return replace(
            self,
            cards=tuple(c for c in self.cards if c.card_id not in taken_cards),
            cores=tuple(c for c in self.cores if not taken_cpus.intersection(c)),
            memory_mib=self.memory_mib - (0 if size else share.memory_mib),
            pages=tuple(sorted((k, n) for k, n in pages.items() if n)),
            guests=self.guests + 1,
        )


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """What is free on one host. nodes: sorted by number. has_cards: whatever their state."""

    host_id: int
    name: str
    nodes: tuple[NodeSnapshot, ...]
    has_cards: bool = True

    def less(self, shares: Iterable[NodeShare]) -> Self:
        """Return this host less what the shares take, at most one of them a node."""
        by_node = {share.node: share for share in shares}
        return replace(
            self,
            nodes=tuple(
                node.less(by_node[node.number]) if node.number in by_node else node
                for node in self.nodes
            ),
        )
