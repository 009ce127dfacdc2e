"""Rows to Linode API v4's objects, as plain dicts: field by field API.md's tables.

ModelSerializer costs ten times as much for a list (DESIGN.md section 9).
"""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from instances.api import wire
from instances.models import Event, Image, Instance, Plan
from inventory.models import Region

GPU_CAPABILITY = "GPU Linodes"


def region_json(region: Region, *, has_gpus: bool) -> dict[str, Any]:
    """has_gpus: GPU plans can be had there, as far as the caller may know."""
    return {
        "id": region.slug,
        "label": region.label,
        "country": region.country,
        "capabilities": ["Linodes", *([GPU_CAPABILITY] if has_gpus else [])],
        "status": "ok",
        "site_type": "core",
        # There are neither resolvers, monitors nor placement groups of ours yet.
        "resolvers": {"ipv4": "", "ipv6": ""},
        "monitors": {"alerts": [], "metrics": []},
        "placement_group_limits": {
            "maximum_pgs_per_customer": 0,
            "maximum_linodes_per_pg": 0,
            "maximum_linodes_per_flexible_pg": 0,
        },
    }


def type_json(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.slug,
        "label": plan.label,
        "class": plan.plan_class,
        "vcpus": plan.vcpus,
        "memory": plan.memory_mib,
        "disk": plan.disk_mib,
        "transfer": plan.transfer_gb,
        "network_out": plan.network_out_mbps,
        "gpus": plan.cards,
        "accelerated_devices": 0,
        "price": {
            "hourly": wire.number_of(plan.price_hourly),
            "monthly": wire.number_of(plan.price_monthly),
        },
        "region_prices": [],
        "addons": {
            "backups": {
                "price": {"hourly": None, "monthly": None},
                "region_prices": [],
            }
        },
        "successor": None,
    }


def image_json(image: Image) -> dict[str, Any]:
    created = wire.time_of(image.created_at)
    return {
        "id": image.slug,
        "label": image.label,
        "description": image.description or None,
        "vendor": image.vendor or None,
        "type": "manual",
        "status": image.status,
        "is_public": True,
        "is_shared": False,
        "image_sharing": {"shared_by": None, "shared_with": None},
        "deprecated": False,
        "size": image.size_mib,
        "total_size": image.size_mib,
        "capabilities": [],
        "regions": [],
        "tags": [],
        "created": created,
        "updated": created,
        "created_by": None,
        "eol": None,
        "expiry": None,
    }


def instance_json(instance: Instance) -> dict[str, Any]:
    """Needs plan, region and image of the instance. An ended instance has no such form."""
    plan = instance.plan
    return {
        "id": instance.pk,
        "label": instance.label,
        "group": "",
        "tags": instance.tags,
        "status": wire.status_of(instance),
        "type": plan.slug,
        "region": instance.region.slug,
        "site_type": "core",
        "image": instance.image.slug,
        "created": wire.time_of(instance.created_at),
        "updated": wire.time_of(instance.updated_at),
        "hypervisor": "kvm",
        "host_uuid": wire.host_uuid_of(instance),
        "specs": {
            "vcpus": plan.vcpus,
            "memory": plan.memory_mib,
            "disk": plan.disk_mib,
            "transfer": plan.transfer_gb,
            "gpus": plan.cards,
            "accelerated_devices": 0,
        },
        "ipv4": [],
        "ipv6": None,
        "interface_generation": "legacy_config",
        # 0: no alert, which is the truth while nothing measures.
        "alerts": {
            "cpu": 0,
            "io": 0,
            "network_in": 0,
            "network_out": 0,
            "transfer_quota": 0,
        },
        "backups": {
            "available": False,
            "enabled": False,
            "last_successful": None,
            "schedule": {"day": None, "window": None},
        },
        "capabilities": [],
        "disk_encryption": "disabled",
        "has_user_data": False,
        "lke_cluster_id": None,
        "locks": [],
        # A passed-through card cannot be migrated live.
        "maintenance_policy": "linode/power_off_on",
        "placement_group": None,
        "watchdog_enabled": False,
    }


def event_json(event: Event) -> dict[str, Any]:
    return {
        "id": event.pk,
        "action": event.action,
        "status": event.status,
        "percent_complete": event.percent_complete,
        "created": wire.time_of(event.created_at),
        "duration": wire.seconds_between(event.started_at, event.finished_at),
        "entity": {
            "id": event.entity_id,
            "label": event.entity_label,
            "type": "linode",
            "url": wire.link_to_instance(event.entity_id),
        },
        "secondary_entity": None,
        "message": event.message or None,
        "username": event.username,
        "seen": event.seen,
        "read": event.seen,
        "rate": None,
        "time_remaining": None,
    }


def profile_json(user: AbstractBaseUser) -> dict[str, Any]:
    return {
        "uid": user.pk,
        "username": user.get_username(),
        "email": getattr(user, "email", ""),
        "timezone": "UTC",
        "email_notifications": False,
        "ip_whitelist_enabled": False,
        "lish_auth_method": "disabled",
        "authorized_keys": None,
        "authentication_type": "password",
        "two_factor_auth": False,
        "tfa_enforced": False,
        "restricted": False,
        "verified_phone_number": None,
        "referrals": {
            "code": "",
            "url": "",
            "total": 0,
            "completed": 0,
            "pending": 0,
            "credit": 0,
        },
    }
