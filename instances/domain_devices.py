"""Build a guest's disks and network card for its domain document; pure.

Sources: libvirt formatdomain "disk", "interface"; libvirt formatnwfilter.
"""

from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from lxml import etree
from lxml.builder import E

CLEAN_TRAFFIC = "clean-traffic"
CLEAN_TRAFFIC_IPV6 = "gpucloud-clean-traffic"
_NO_IPV6_SPOOFING = "gpucloud-no-ipv6-spoofing"
# ICMPv6: what only a router sends (RFC 4861).
_ROUTER_ADVERTISEMENT, _REDIRECT = "134", "137"


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


def build_nic(nic: Nic) -> etree._Element:
    """Return the card, held to its own addresses by a network filter."""
    name = CLEAN_TRAFFIC_IPV6 if nic.ipv6 else CLEAN_TRAFFIC
    parameters = [("IP", nic.ipv4), *(("IPV6", address) for address in nic.ipv6)]
    return E.interface(
        E.mac(address=nic.mac),
        E.source(**{nic.kind: nic.source}),
        E.model(type="virtio"),
        E.rom(enabled="no"),
        E.filterref(
            *(E.parameter(name=key, value=value) for key, value in parameters),
            filter=name,
        ),
        type=nic.kind,
    )


def ipv6_filters() -> list[str]:
    """Return the filters that CLEAN_TRAFFIC_IPV6 is made of, in the order to define them.

    libvirt's own clean-traffic lets no IPv6 through. Who answers for another's address in
    neighbour discovery is not seen by them: only addresses of packets are.
    """
    spoofing = E.filter(
        _uuid_of(_NO_IPV6_SPOOFING),
        *(
            _rule("drop", "100", E.ipv6(protocol="icmpv6", type=kind))
            for kind in (_ROUTER_ADVERTISEMENT, _REDIRECT)
        ),
        _rule("return", "500", E.ipv6(srcipaddr="$IPV6")),
        _rule("drop", "1000"),
        name=_NO_IPV6_SPOOFING,
        # Of 12 characters at most (libvirt), and named for the protocol that it sees.
        chain="ipv6-own",
        priority="-610",
    )
    clean = E.filter(
        _uuid_of(CLEAN_TRAFFIC_IPV6),
        E.filterref(filter="no-mac-spoofing"),
        E.filterref(filter="no-ip-spoofing"),
        _rule("accept", "-650", E.mac(protocolid="ipv4")),
        E.filterref(filter="allow-incoming-ipv4"),
        E.filterref(filter=_NO_IPV6_SPOOFING),
        _rule("accept", "-600", E.mac(protocolid="ipv6")),
        E.filterref(filter="allow-incoming-ipv6"),
        E.filterref(filter="no-arp-spoofing"),
        _rule("accept", "-500", E.mac(protocolid="arp"), direction="inout"),
        E.filterref(filter="no-other-l2-traffic"),
        E.filterref(filter="qemu-announce-self"),
        name=CLEAN_TRAFFIC_IPV6,
        chain="root",
    )
    return [etree.tostring(each, encoding="unicode") for each in (spoofing, clean)]


def _uuid_of(name: str) -> etree._Element:
    # The same at each time: libvirt takes a name with another UUID for another filter.
    return E.uuid(str(uuid5(NAMESPACE_URL, f"gpucloud:nwfilter:{name}")))


def _rule(
    action: str, priority: str, *match: etree._Element, direction: str = "out"
) -> etree._Element:
    return E.rule(*match, action=action, direction=direction, priority=priority)
