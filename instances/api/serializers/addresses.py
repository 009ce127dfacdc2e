"""The addresses of an instance as plain dicts: Linode API v4, "Get networking information"."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from instances.api import wire
from instances.models import Instance
from inventory.addresses import link_local_of
from inventory.models import AddressClaim

_SLAAC_PREFIX = 64


def addresses_json(instance: Instance, held: AddressClaim | None) -> dict[str, Any]:
    """held: the instance's open claim, with its pool; None without a network."""
    own = {"linode_id": instance.pk, "region": instance.region.slug, "rdns": None}
    public = [_ipv4_json(held, own)] if held else []
    return {
        "ipv4": {
            "public": public,
            "private": [],
            "shared": [],
            "reserved": [],
            "vpc": [],
        },
        "ipv6": {
            "slaac": _ipv6_json(held, own) if held and held.ipv6 else None,
            "link_local": _link_local_json(held, own) if held else None,
            "global": [],
            "vpc": [],
        },
    }


def _ipv4_json(held: AddressClaim, own: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": held.address,
        "gateway": held.pool.gateway,
        "subnet_mask": str(IPv4Network(held.pool.network).netmask),
        "prefix": held.pool.prefix_length,
        "type": "ipv4",
        "public": IPv4Address(held.address).is_global,
        "reserved": False,
        "interface_id": None,
        "vpc_nat_1_1": None,
        "assigned_entity": {
            "id": own["linode_id"],
            "type": "linode",
            "url": wire.link_to_instance(own["linode_id"]),
        },
        **own,
    }


def _ipv6_json(held: AddressClaim, own: dict[str, Any]) -> dict[str, Any]:
    return {**_ipv6_base(held.ipv6), "type": "ipv6", "public": True, **own}


def _link_local_json(held: AddressClaim, own: dict[str, Any]) -> dict[str, Any]:
    address = link_local_of(held.mac)
    return {**_ipv6_base(address), "type": "ipv6", "public": False, **own}


def _ipv6_base(address: str) -> dict[str, Any]:
    return {
        "address": address,
        "gateway": "fe80::1",
        "prefix": _SLAAC_PREFIX,
        "subnet_mask": "ffff:ffff:ffff:ffff::",
    }
