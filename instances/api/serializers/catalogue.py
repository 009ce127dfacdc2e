"""Regions, types and images as plain dicts: API.md's tables, field by field."""

from django.conf import settings

from instances.api import wire
from instances.api.shapes import catalogue as shapes
from instances.models import Image, Plan
from inventory.models import Region

GPU_CAPABILITY = "GPU Linodes"


def capabilities_of(*, has_gpus: bool) -> list[str]:
    """Return what can be had, in Linode's words."""
    gpus = [GPU_CAPABILITY] if has_gpus else []
    return ["Linodes", *gpus, "Cloud Firewall", "Placement Group"]


def region_json(region: Region, *, has_gpus: bool) -> shapes.Region:
    """has_gpus: GPU plans can be had there, as far as the caller may know."""
    return {
        "id": region.slug,
        "label": region.label,
        "country": region.country,
        "capabilities": [
            *capabilities_of(has_gpus=has_gpus),
            *settings.CLAIMED_CAPABILITIES,
        ],
        "status": "ok",
        "site_type": "core",
        # There are neither resolvers nor monitors of ours yet.
        "resolvers": {"ipv4": "", "ipv6": ""},
        "monitors": {"alerts": [], "metrics": []},
        "placement_group_limits": {
            "maximum_pgs_per_customer": settings.PLACEMENT_GROUPS_MAX,
            "maximum_linodes_per_pg": settings.PLACEMENT_GROUP_MEMBERS_MAX,
            "maximum_linodes_per_flexible_pg": settings.PLACEMENT_GROUP_MEMBERS_MAX,
        },
    }


def type_json(plan: Plan) -> shapes.LinodeType:
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
        "region_prices": [
            {
                "id": price.region.slug,
                "hourly": wire.number_of(price.price_hourly),
                "monthly": wire.number_of(price.price_monthly),
            }
            for price in plan.region_prices.all()
        ],
        "addons": {
            "backups": {
                "price": {"hourly": None, "monthly": None},
                "region_prices": [],
            }
        },
        "successor": None,
    }


def image_json(image: Image) -> shapes.Image:
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
        "capabilities": ["cloud-init"] if image.reads_seeds else [],
        "regions": [],
        "tags": [],
        "created": created,
        "updated": created,
        "created_by": None,
        "eol": None,
        "expiry": None,
    }


def kernels() -> list[shapes.Kernel]:
    """Return all there are: a guest boots its disk's own loader, as under that id at Linode."""
    return [
        {
            "id": "linode/direct-disk",
            "label": "Direct Disk",
            "version": "",
            "architecture": "x86_64",
            "kvm": True,
            "pvops": False,
            "deprecated": False,
            "built": None,
        }
    ]
