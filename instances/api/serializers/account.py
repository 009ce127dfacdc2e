"""The account and its users as plain dicts: API.md's tables, field by field."""

from collections.abc import Collection

from django.contrib.auth.models import User

from instances.api import wire
from instances.api.serializers.catalogue import (
    GPU_CAPABILITY,
    capabilities_of,
    region_json,
)
from instances.api.shapes import account as shapes
from instances.event_document import entity_json
from instances.models import Account, Instance
from inventory.models import Region

MAINTENANCE_POLICY = "linode/power_off_on"
# What Linode sells and we do not, in its own words; clients look these up by name.
_NOT_SOLD = (
    "Block Storage",
    "Kubernetes",
    "Managed Databases",
    "NodeBalancers",
    "Object Storage",
    "VPCs",
    "Vlans",
)


def account_json(account: Account, *, has_gpus: bool) -> shapes.Account:
    """has_gpus: the account can have GPUs somewhere."""
    return {
        "euuid": wire.euuid_of(account),
        "company": account.name,
        "email": account.email,
        # No addresses, payments or promotions are kept here.
        "first_name": "",
        "last_name": "",
        "address_1": "",
        "address_2": "",
        "city": "",
        "state": "",
        "zip": "",
        "country": "",
        "phone": "",
        "tax_id": "",
        "active_since": wire.time_of(account.created_at),
        "active_promotions": [],
        "balance": 0,
        "balance_uninvoiced": 0,
        "billing_source": "linode",
        "capabilities": capabilities_of(has_gpus=has_gpus),
        "credit_card": {"expiry": None, "last_four": None},
    }


def availability_json(region: Region, *, has_gpus: bool) -> shapes.AccountAvailability:
    available = region_json(region, has_gpus=has_gpus)["capabilities"]
    known = sorted({*capabilities_of(has_gpus=True), *_NOT_SOLD})
    return {
        "region": region.slug,
        "available": available,
        # A flag that is shut hides that there are GPUs at all.
        "unavailable": [
            name for name in known if name not in (*available, GPU_CAPABILITY)
        ],
    }


def settings_json() -> shapes.AccountSettings:
    return {
        "backups_enabled": False,
        "interfaces_for_new_linodes": "legacy_config_only",
        "longview_subscription": None,
        "maintenance_policy": MAINTENANCE_POLICY,
        "managed": False,
        "network_helper": False,
        "object_storage": "disabled",
        "tfa_enforced": False,
    }


def user_json(user: User, key_labels: Collection[str]) -> shapes.User:
    seen = user.last_login
    return {
        "username": user.get_username(),
        "email": user.email,
        "restricted": False,
        "ssh_keys": list(key_labels),
        "tfa_enabled": False,
        "tfa_enforced": False,
        "user_type": "default",
        "last_login": {"login_datetime": wire.time_of(seen), "status": "successful"}
        if seen
        else None,
        "password_created": None,
        "verified_phone_number": None,
    }


def maintenance_json(instance: Instance) -> shapes.Maintenance:
    return {
        "entity": entity_json(instance.pk, instance.label),
        "type": "power_off_on",
        "status": "pending",
        "reason": "Its host is being taken out of service. Delete the Linode and create "
        "it again when it suits you; it will be placed on another host.",
        "description": "scheduled",
        "source": "platform",
        "maintenance_policy_set": MAINTENANCE_POLICY,
        # Nobody has set a time: it goes on until the customer or staff end it.
        "when": None,
        "not_before": None,
        "start_time": None,
        "complete_time": None,
    }


def maintenance_policies() -> list[shapes.MaintenancePolicy]:
    return [
        {
            "slug": MAINTENANCE_POLICY,
            "label": "Power Off / Power On",
            "description": "The Linode is powered off: a passed-through card cannot "
            "migrate.",
            "type": "power_off_on",
            "notification_period_sec": 0,
            "is_default": True,
        }
    ]


def notification_json(instance: Instance) -> shapes.Notification:
    return {
        "entity": entity_json(instance.pk, instance.label),
        "type": "maintenance",
        "severity": "major",
        "label": "Maintenance is pending",
        "message": f"{instance.label} is on a host that is being taken out of service.",
        "body": None,
        "when": None,
        "until": None,
    }
