"""The hardware of a virtual GPU host: boards, cards, and the QEMU command line of both.

Everything here decides the saved state's layout, so nothing but what is passed in may
influence the command line.
"""

import shlex
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-system-x86_64"
CARD_MEMORY = "4M"

# SMBIOS UUIDs are uuid5 of the host's name in this namespace: stable, and distinct.
UUID_NAMESPACE = uuid.UUID("6f1c2a7e-5a0e-4d0c-9a53-7d2f6b1e0c11")

KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet intel_iommu=on iommu=pt mitigations=off nokaslr "
    "tsc=reliable no_timer_check random.trust_cpu=on audit=0 panic=-1"
)


@dataclass(frozen=True)
class Card:
    """One model of card: the device types of its functions, and what lspci says."""

    name: str
    devices: tuple[str, ...]
    vendor_device: str
    pci_class: str


@dataclass(frozen=True)
class Board:
    """A host's layout; every node has the same number of cards, CPUs and memory."""

    name: str
    nodes: int
    cards_per_node: int
    cpus_per_node: int
    memory_mib_per_node: int
    bus_numbers: tuple[int, ...]

    @property
    def cards(self) -> int:
        return self.nodes * self.cards_per_node

    def card_address(self, index: int) -> str:
        """Return the PCI address, in the host, of card `index` (from 0).

        The firmware numbers the buses behind a pxb on from the pxb's own, in the order
        of its root ports.
        """
        node, place = divmod(index, self.cards_per_node)
        return f"0000:{self.bus_numbers[node] + 1 + place:02x}:00.0"

    @property
    def spare_address(self) -> str:
        """Return the PCI address that a card in the empty port has."""
        return f"0000:{self.bus_numbers[-1] + 1 + self.cards_per_node:02x}:00.0"


CARDS = {
    card.name: card
    for card in (
        Card("rtx6000", ("gpu-rtx6000",), "10de:1e30", "0300"),
        Card("rtx6000+audio", ("gpu-rtx6000", "audio-rtx6000"), "10de:1e30", "0300"),
        # the second function is the host's own driver's at once: no viable group
        Card(
            "rtx6000+rng",
            ("gpu-rtx6000", "virtio-rng-pci,multifunction=on"),
            "10de:1e30",
            "0300",
        ),
        Card("l40s", ("gpu-l40s",), "10de:26b9", "0302"),
        Card("h100", ("gpu-h100",), "10de:2331", "0302"),
    )
}
BOARDS = {
    board.name: board
    for board in (
        Board("2x2", 2, 2, 2, 1536, (0x20, 0x60)),
        Board("1x4", 1, 4, 4, 3072, (0x20,)),
        Board("4x1", 4, 1, 1, 768, (0x20, 0x40, 0x60, 0x80)),
    )
}
DEFAULT_BOARD = "2x2"
DEFAULT_CARD = "rtx6000"
SPARE_PORT = "spare"
NETWORK = "net"


def host_uuid(name: str) -> str:
    """Return the SMBIOS UUID of the host `name`; libvirt shows it in capabilities."""
    return str(uuid.uuid5(UUID_NAMESPACE, name))


def card_functions(card: Card, slot: str, bus: str) -> list[str]:
    """Return the -device values of one card: `slot` names it, `bus` is its port.

    Function 0 comes last: plugging it into a live port is what makes the whole slot
    appear.
    """
    functions = []
    for number, device in enumerate(card.devices):
        value = f"{device},id={slot}.{number},bus={bus},addr=0.{number},romfile="
        if device.startswith("gpu-"):
            # without a ROM the VGA class stays inert in both firmwares
            value += f",vgamem={CARD_MEMORY}"
        if number == 0 and len(card.devices) > 1:
            value += ",multifunction=on"
        functions.append(value)
    return functions[::-1]


def qemu_command(
    name: str,
    board: Board,
    card: Card,
    *,
    kernel: Path,
    initrd: Path,
    disk: Path,
    disk_options: str,
    run_dir: Path,
    libvirt_port: int,
    debug_port: int,
    incoming: Path | None = None,
    words: Sequence[str] = (),
) -> list[str]:
    """Return the command line of a host; with `incoming`, one that loads saved RAM.

    words: more of them for its kernel.
    """
    forwards = f"hostfwd=tcp:127.0.0.1:{libvirt_port}-:16509"
    forwards += f",hostfwd=tcp:127.0.0.1:{debug_port}-:7000"
    command = [
        QEMU,
        *("-name", f"guest={name}", "-uuid", host_uuid(name)),
        *("-machine", "q35", "-cpu", "max"),
        # plain emulation always: KVM on a virtual build machine may exist and not work
        *("-accel", "tcg,thread=multi,tb-size=512"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *_processors_and_memory(board),
        # before all other devices, or they would not be behind it
        *("-device", "intel-iommu,intremap=on,caching-mode=on"),
        *("-device", "bmc-vga,bus=pcie.0,addr=2,romfile="),
        *_slots_and_cards(board, card),
        *("-drive", f"if=none,id=root,file={_escaped(disk)},{disk_options}"),
        *("-device", "virtio-blk-pci,drive=root,bus=pcie.0,addr=4"),
        *("-netdev", f"user,id={NETWORK},restrict=on,{forwards}"),
        *("-device", f"virtio-net-pci,netdev={NETWORK},bus=pcie.0,addr=5,romfile="),
        *("-chardev", "file,id=serial,path=serial.log", "-serial", "chardev:serial"),
        *("-qmp", "unix:qmp.sock,server=on,wait=off"),
        *("-pidfile", str(run_dir / "pid")),
        *("-kernel", str(kernel), "-initrd", str(initrd)),
        *("-append", " ".join([KERNEL_ARGUMENTS, f"gpuhost.name={name}", *words])),
    ]
    if incoming:
        command += ["-incoming", f"exec:cat {shlex.quote(str(incoming))}"]
    return command


def _processors_and_memory(board: Board) -> list[str]:
    cpus = board.nodes * board.cpus_per_node
    sockets = f"sockets={board.nodes},cores={board.cpus_per_node},threads=1"
    words = ["-smp", f"{cpus},{sockets}"]
    words += ["-m", str(board.nodes * board.memory_mib_per_node)]
    for node in range(board.nodes):
        first = node * board.cpus_per_node
        last = first + board.cpus_per_node - 1
        size = f"size={board.memory_mib_per_node}M"
        words += ["-object", f"memory-backend-ram,id=memory{node},{size}"]
        words += [
            "-numa",
            f"node,nodeid={node},memdev=memory{node},cpus={first}-{last}",
        ]
    for node in range(board.nodes):
        for other in range(board.nodes):
            if node != other:
                words += ["-numa", f"dist,src={node},dst={other},val=21"]
    return words


def _slots_and_cards(board: Board, card: Card) -> list[str]:
    """One PCIe expander per node, one root port per card, and an empty port."""
    devices, chassis, index = [], 0, 0
    for node in range(board.nodes):
        bus_number = board.bus_numbers[node]
        pxb = f"pxb{node}"
        devices.append(
            f"pxb-pcie,id={pxb},bus=pcie.0,addr={8 + node},bus_nr={bus_number}"
            f",numa_node={node}"
        )
        ports = [f"port{index + place}" for place in range(board.cards_per_node)]
        filled = len(ports)
        if node == board.nodes - 1:
            ports.append(SPARE_PORT)
        for port in ports:
            chassis += 1
            devices.append(
                f"pcie-root-port,id={port},bus={pxb},chassis={chassis},slot={chassis}"
            )
        for port in ports[:filled]:
            devices += card_functions(card, f"gpu{index}", port)
            index += 1
    return [word for device in devices for word in ("-device", device)]


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")
