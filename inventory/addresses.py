"""What follows from an address: the MAC of its card, and IPv6 of a prefix; pure."""

from functools import lru_cache
from ipaddress import IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

# Locally administered, unicast (IEEE 802 "U/L"); an address decides the other four bytes,
# so that a MAC is used once wherever an address is.
_MAC_PREFIX = (0x02, 0x67)


def mac_of(address: str) -> str:
    """Return the MAC of the card that has an IPv4 address: 02:67 and its four bytes."""
    return bytes((*_MAC_PREFIX, *inet_pton(AF_INET, address))).hex(":")


def address_of(mac: str) -> str | None:
    """Return the IPv4 address whose card has the MAC; None if it is none of ours."""
    try:
        bytes_of = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        return None
    if len(bytes_of) != 6 or tuple(bytes_of[:2]) != _MAC_PREFIX:
        return None
    return inet_ntop(AF_INET, bytes_of[2:])


def link_local_of(mac: str) -> str:
    """Return the link-local IPv6 address that a MAC gives (RFC 4862 5.3)."""
    return slaac_of("fe80::/64", mac)


def slaac_of(prefix: str, mac: str) -> str:
    """Return the address of a MAC in a /64 prefix (RFC 4291, "Modified EUI-64")."""
    first, *others = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes((first ^ 0x02, *others[:2], 0xFF, 0xFE, *others[2:]))
    return inet_ntop(AF_INET6, _half_of(prefix) + identifier)


@lru_cache(maxsize=1024)
def _half_of(prefix: str) -> bytes:
    # Guests share few prefixes, and to read one takes longer than all else here.
    return IPv6Network(prefix).network_address.packed[:8]
