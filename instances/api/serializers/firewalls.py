"""Firewalls as plain dicts: API.md's tables, field by field."""

from typing import Any

from instances.api import wire
from instances.api.shapes import firewalls as shapes
from instances.event_document import entity_json
from instances.firewall_rules import RULE_FIELDS, fingerprint_of
from instances.models import Firewall, FirewallDevice, Instance


def firewall_json(firewall: Any) -> shapes.Firewall:
    """Needs a firewall as selectors.firewalls_of() gives it."""
    return {
        "id": firewall.pk,
        "label": firewall.label,
        "status": firewall.status,
        "tags": firewall.tags,
        "created": wire.time_of(firewall.created_at),
        "updated": wire.time_of(firewall.updated_at),
        "rules": rules_json(firewall),
        "entities": [_entity(device.instance) for device in firewall.devices.all()],
    }


def rules_json(firewall: Firewall) -> shapes.FirewallRules:
    """The rules' fields are in one order: PostgreSQL keeps another."""
    rules = firewall.rules
    inbound, outbound = (
        [
            {name: rule[name] for name in RULE_FIELDS if name in rule}
            for rule in rules[way]
        ]
        for way in ("inbound", "outbound")
    )
    return {
        "inbound": inbound,  # type: ignore[typeddict-item]
        "inbound_policy": rules["inbound_policy"],
        "outbound": outbound,  # type: ignore[typeddict-item]
        "outbound_policy": rules["outbound_policy"],
        "fingerprint": fingerprint_of(rules),
        "version": firewall.version,
    }


def device_json(device: FirewallDevice) -> shapes.FirewallDevice:
    return {
        "id": device.pk,
        "created": wire.time_of(device.created_at),
        "updated": wire.time_of(device.updated_at),
        "entity": _entity(device.instance),
    }


def settings_json() -> shapes.FirewallSettings:
    return {
        "default_firewall_ids": {
            "linode": None,
            "nodebalancer": None,
            "public_interface": None,
            "vpc_interface": None,
        }
    }


def _entity(instance: Instance) -> shapes.FirewallEntity:
    entity = entity_json(instance.pk, instance.label)
    return {**entity, "parent_entity": None}
