"""What follows from an address: the MAC of its card, and IPv6 of a prefix; pure."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

# Locally administered, unicast (IEEE 802 "U/L"); an address decides the other four bytes,
# so that a MAC is used once wherever an address is.
_MAC_PREFIX = (0x02, 0x67)


def mac_of(address: str) -> str:
    """Return the MAC of the card that has an IPv4 address: 02:67 and its four bytes."""
    octets = (*_MAC_PREFIX, *IPv4Address(address).packed)
    return ":".join(f"{octet:02x}" for octet in octets)


def link_local_of(mac: str) -> str:
    """Return the link-local IPv6 address that a MAC gives (RFC 4862 5.3)."""
    return slaac_of("fe80::/64", mac)


def slaac_of(prefix: str, mac: str) -> str:
    """Return the address of a MAC in a /64 prefix (RFC 4291, "Modified EUI-64")."""
    first, *others = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes((first ^ 0x02, *others[:2], 0xFF, 0xFE, *others[2:]))
    network = IPv6Network(prefix)
    return str(IPv6Address(int(network.network_address) | int.from_bytes(identifier)))
