"""Build a guest's disks and network card for its domain document; pure.

Source: libvirt formatdomain "disk", "interface".
"""

from dataclasses import dataclass

from lxml import etree
from lxml.builder import E


@dataclass(frozen=True, slots=True)
class Disk:
    """A storage volume that a guest has; one that is read-only is a seed."""

    pool: str
    volume: str
    format: str
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class Nic:
    """A guest's network card. kind: "network" or "bridge", source: its name.

    ipv4, ipv6: the addresses that the guest may use; with several of IPv6, all of them.
    """

    kind: str
    source: str
    mac: str
    ipv4: str
    ipv6: tuple[str, ...] = ()


def build_disks(disks: tuple[Disk, ...]) -> list[etree._Element]:
    """Return a device per disk, vda first, in the order to boot from.

    The firmware shows a guest no disk that is not in that order: the seed is, too, for
    whatever reads it by the BIOS.
    """
    return [_disk(disk, number) for number, disk in enumerate(disks)]


def _disk(disk: Disk, number: int) -> etree._Element:
    driver = E.driver(name="qemu", type=disk.format)
    if not disk.is_read_only:
        # What the guest deletes is given back to the pool.
        driver.set("discard", "unmap")
    device = E.disk(
        driver,
        E.source(pool=disk.pool, volume=disk.volume),
        E.target(dev=f"vd{chr(ord('a') + number)}", bus="virtio"),
        E.boot(order=str(number + 1)),
        type="volume",
        device="disk",
    )
    if disk.is_read_only:
        device.append(E.readonly())
    return device


def build_nic(nic: Nic, filter_name: str) -> etree._Element:
    """Return the card, held to its addresses and its firewall by a network filter."""
    return E.interface(
        E.mac(address=nic.mac),
        E.source(**{nic.kind: nic.source}),
        E.model(type="virtio"),
        E.rom(enabled="no"),
        E.filterref(filter=filter_name),
        type=nic.kind,
    )
