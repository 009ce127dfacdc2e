"""Instances as plain dicts: API.md's tables, field by field.

ModelSerializer costs ten times as much for a list (DESIGN.md section 9).
"""

from typing import Any

from instances.api import wire
from instances.api.serializers.placement_groups import placement_of
from instances.api.shapes.instances import Disk, Linode, TaggedObject
from instances.choices import Phase
from instances.status import status_of


def instance_json(instance: Any) -> Linode:
    """Needs an instance as selectors.instances_of() gives it."""
    plan = instance.plan
    member = getattr(instance, "placement_member", None)
    return {
        "id": instance.pk,
        "label": instance.label,
        "group": "",
        "tags": instance.tags,
        "status": status_of(instance).value,
        "type": plan.slug,
        "region": instance.region.slug,
        "site_type": "core",
        "image": (instance.next_image or instance.image).slug,
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
        "ipv4": [instance.ipv4] if instance.ipv4 else [],
        "ipv6": wire.ipv6_of(instance),
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
        "has_user_data": instance.has_user_data,
        "lke_cluster_id": None,
        "locks": [],
        # A passed-through card cannot be migrated live.
        "maintenance_policy": "linode/power_off_on",
        "placement_group": placement_of(member.group) if member else None,
        "watchdog_enabled": instance.watchdog_enabled,
    }


def disk_json(instance: Any) -> Disk:
    """Return the disk of an instance that has one."""
    is_being_made = instance.phase in (Phase.PROVISIONING, Phase.REBUILDING)
    return {
        "id": instance.pk,
        "label": f"{instance.image.label} Disk",
        "status": "not ready" if is_being_made else "ready",
        "size": instance.plan.disk_mib,
        "filesystem": "raw",
        "disk_encryption": "disabled",
        "created": wire.time_of(instance.created_at),
        "updated": wire.time_of(instance.updated_at),
    }


def tagged_json(instance: Any) -> TaggedObject:
    return {"type": "linode", "data": instance_json(instance)}
