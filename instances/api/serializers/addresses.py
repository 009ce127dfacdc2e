"""The addresses of an instance as plain dicts: Linode API v4, "Get networking information"."""

import ipaddress

from instances.api.shapes.addresses import IPv4Address, IPv6Address, LinodeAddresses
from instances.event_document import entity_json
from instances.models import Instance
from inventory.addresses import link_local_of
from inventory.models import AddressClaim

_SLAAC_PREFIX = 64


def addresses_json(instance: Instance, held: AddressClaim | None) -> LinodeAddresses:
    """held: the instance's open claim, with its pool; None without a network."""
    ipv6 = held.ipv6 if held else None
    return {
        "ipv4": {
            "public": [ipv4_json(held, instance)] if held else [],
            "private": [],
            "shared": [],
            "reserved": [],
            "vpc": [],
        },
        "ipv6": {
            "slaac": _ipv6_json(ipv6, instance, public=True),
            "link_local": _ipv6_json(
                link_local_of(held.mac) if held else None, instance, public=False
            ),
            "global": [],
            "vpc": [],
        },
    }


def ipv4_json(held: AddressClaim, instance: Instance) -> IPv4Address:
    return {
        "address": held.address,
        "gateway": held.pool.gateway,
        "subnet_mask": str(ipaddress.IPv4Network(held.pool.network).netmask),
        "prefix": held.pool.prefix_length,
        "type": "ipv4",
        "public": ipaddress.IPv4Address(held.address).is_global,
        "rdns": None,
        "linode_id": instance.pk,
        "region": instance.region.slug,
        "reserved": False,
        "interface_id": None,
        "vpc_nat_1_1": None,
        "assigned_entity": entity_json(instance.pk, instance.label),
    }


def _ipv6_json(address: str | None, instance: Instance, *, public: bool) -> IPv6Address:
    """Linode's every instance has both, and its clients look into them unasked."""
    return {
        "address": address or "",
        "gateway": "fe80::1",
        "subnet_mask": "ffff:ffff:ffff:ffff::",
        "prefix": _SLAAC_PREFIX,
        "type": "ipv6",
        "public": public and address is not None,
        "rdns": None,
        "linode_id": instance.pk,
        "region": instance.region.slug,
    }
