"""Placement groups and their members: API.md's tables, field by field."""

from typing import Annotated, Required, TypedDict

from instances.api.shapes.doc import Doc

Label = Annotated[
    str, Doc("1 to 64 letters, digits, - _ . ; once per account.", "apart")
]
GroupType = Annotated[
    str, Doc("anti_affinity:local is all there is.", "anti_affinity:local")
]
Policy = Annotated[
    str,
    Doc(
        "strict: refused where another member is. flexible: taken even so, and not "
        "compliant.",
        "strict",
    ),
]
InRegion = Annotated[str, Doc("Of /regions; its Linodes are there.", "us-east")]
CompliantOnly = Annotated[
    bool, Doc("Refused even by a flexible group where another member is.", False)
]
Linodes = Annotated[list[int], Doc("Ids of Linodes; all of them, or none.", [123])]


class PlacementGroupMember(TypedDict):
    linode_id: Annotated[int, Doc("Of a Linode in it.", 123)]
    is_compliant: Annotated[
        bool, Doc("No member that is in it for longer is on its host.", True)
    ]


class MigratingLinode(TypedDict):
    linode_id: int


class PlacementGroupMigrations(TypedDict):
    inbound: list[MigratingLinode] | None
    outbound: list[MigratingLinode] | None


class PlacementGroup(TypedDict):
    id: Annotated[int, Doc("Named by a create as placement_group.id.", 7)]
    label: Label
    region: InRegion
    placement_group_type: GroupType
    placement_group_policy: Policy
    is_compliant: Annotated[bool, Doc("All of its members are.", True)]
    members: list[PlacementGroupMember]
    migrations: Annotated[
        PlacementGroupMigrations | None, Doc("No Linode is ever moved.")
    ]


class PlacementGroupCreate(TypedDict):
    label: Label
    region: InRegion
    placement_group_type: GroupType
    placement_group_policy: Policy


class PlacementGroupUpdate(TypedDict, total=False):
    """What else a placement group has may be sent as it is, and is then left alone."""

    label: Label


class PlacementGroupAssign(TypedDict, total=False):
    linodes: Required[Linodes]
    compliant_only: CompliantOnly


class PlacementGroupUnassign(TypedDict):
    linodes: Linodes


class LinodePlacement(TypedDict, total=False):
    """The placement group that a new Linode is to be in."""

    id: Required[Annotated[int, Doc("Of /placement/groups.", 7)]]
    compliant_only: CompliantOnly
