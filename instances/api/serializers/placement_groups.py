"""Placement groups as plain dicts: API.md's tables, field by field."""

from typing import Any

from instances.api.shapes import placement_groups as shapes
from instances.api.shapes.instances import LinodePlacementGroup
from instances.api.wire import ANTI_AFFINITY
from instances.models import PlacementGroup


def placement_group_json(group: Any) -> shapes.PlacementGroup:
    """Needs a group as placement_groups.groups_of() gives it."""
    members: list[shapes.PlacementGroupMember] = [
        {"linode_id": member.instance_id, "is_compliant": member.is_compliant}
        for member in group.members.all()
    ]
    return {
        "id": group.pk,
        "label": group.label,
        "region": group.region.slug,
        "placement_group_type": ANTI_AFFINITY,
        "placement_group_policy": group.policy,
        "is_compliant": all(member["is_compliant"] for member in members),
        "members": members,
        "migrations": None,
    }


def placement_of(group: PlacementGroup) -> LinodePlacementGroup:
    """Return what a Linode shows of its group."""
    return {
        "id": group.pk,
        "label": group.label,
        "placement_group_type": ANTI_AFFINITY,
        "placement_group_policy": group.policy,
        # No host can hand over a card that is in use.
        "migrating_to": None,
    }
