"""Linodes and what is sent to make or change one: API.md's tables, field by field."""

from typing import Annotated, Required, TypedDict

from instances.api.shapes.common import Moment, Tags
from instances.api.shapes.doc import Doc
from instances.api.shapes.placement_groups import LinodePlacement


class Specs(TypedDict):
    """What the Linode has, fixed by its type."""

    vcpus: Annotated[int, Doc("Virtual CPUs.", 8)]
    memory: Annotated[int, Doc("RAM, MB.", 32768)]
    disk: Annotated[int, Doc("Storage, MB.", 655360)]
    transfer: Annotated[int, Doc("Included traffic, GB a month.", 16000)]
    gpus: Annotated[int, Doc("Whole GPUs.", 1)]
    accelerated_devices: int


class Alerts(TypedDict):
    """Thresholds of warning mails; 0: none is sent."""

    cpu: Annotated[int, Doc("Percent of one CPU.", 0)]
    io: Annotated[int, Doc("Operations a second.", 0)]
    network_in: Annotated[int, Doc("Mbit/s.", 0)]
    network_out: Annotated[int, Doc("Mbit/s.", 0)]
    transfer_quota: Annotated[int, Doc("Percent of the month's traffic.", 0)]


class BackupSchedule(TypedDict):
    day: str | None
    window: str | None


class Backups(TypedDict):
    """There is no backup service."""

    available: bool
    enabled: bool
    last_successful: Moment | None
    schedule: BackupSchedule


class LinodePlacementGroup(TypedDict):
    id: int
    label: str
    migrating_to: int | None
    placement_group_policy: str
    placement_group_type: str


class Linode(TypedDict):
    id: Annotated[int, Doc("Unique for ever.", 123)]
    label: Annotated[str, Doc("Unique among your live Linodes.", "trainer")]
    group: Annotated[str, Doc("Linode's old word for tags; always empty.", "")]
    tags: Tags
    status: Annotated[
        str,
        Doc(
            "provisioning, booting, running, shutting_down, offline, rebooting, "
            "rebuilding or deleting.",
            "running",
        ),
    ]
    type: Annotated[str | None, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    site_type: Annotated[str, Doc("core or distributed.", "core")]
    image: Annotated[str | None, Doc("Of /images.", "gpucloud/probe")]
    created: Moment
    updated: Moment
    hypervisor: Annotated[str, Doc("Linode's word.", "kvm")]
    host_uuid: Annotated[str, Doc("Opaque; says nothing about the host.")]
    specs: Specs
    ipv4: Annotated[list[str], Doc("Its one address, if it has any.", ["203.0.113.10"])]
    ipv6: Annotated[
        str | None,
        Doc("That which it gives itself, /128.", "2001:db8::67:aff:fe00:5/128"),
    ]
    interface_generation: Annotated[str, Doc("Linode's word.", "legacy_config")]
    alerts: Alerts
    backups: Backups
    capabilities: list[str]
    disk_encryption: Annotated[str, Doc("enabled or disabled.", "disabled")]
    has_user_data: Annotated[bool, Doc("Whether its create had metadata.", False)]
    lke_cluster_id: int | None
    locks: list[str]
    maintenance_policy: Annotated[
        str | None,
        Doc("A passed-through card cannot migrate live.", "linode/power_off_on"),
    ]
    placement_group: LinodePlacementGroup | None
    watchdog_enabled: Annotated[bool, Doc("A guest that crashed is started again.")]


class Metadata(TypedDict, total=False):
    """What cloud-init gets. Images that read none of it refuse it."""

    user_data: Annotated[
        str, Doc("In base64; at most 65535 bytes before it.", "I2Nsb3VkLWNvbmZpZwo=")
    ]


class LinodeCreate(TypedDict, total=False):
    """Fields of Linode's that are not here are refused by name unless they ask for nothing."""

    type: Required[Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]]
    region: Required[Annotated[str, Doc("Of /regions.", "us-east")]]
    image: Required[Annotated[str, Doc("Of /images.", "gpucloud/probe")]]
    label: Annotated[
        str,
        Doc("3 to 64 letters, digits, single - _ . ; else linodeID.", "trainer"),
    ]
    tags: Tags
    root_pass: Annotated[str, Doc("7 to 128 characters of two classes or more.")]
    authorized_keys: Annotated[list[str], Doc("OpenSSH public keys.")]
    authorized_users: Annotated[list[str], Doc("Usernames whose keys are taken.")]
    booted: Annotated[bool, Doc("false: made, and left off.", True)]
    metadata: Metadata
    reservation: Annotated[int, Doc("Use the capacity that this one keeps.", 5)]
    firewall_id: Annotated[int, Doc("Of /networking/firewalls.", 7)]
    placement_group: LinodePlacement


class LinodeUpdate(TypedDict, total=False):
    """What else a Linode has may be sent as it is, and is then left alone."""

    label: Annotated[str, Doc("3 to 64 letters, digits, single - _ .", "trainer")]
    tags: Tags
    watchdog_enabled: Annotated[bool, Doc("A guest that crashed is started again.")]


class LinodeBoot(TypedDict, total=False):
    """Nothing need be said."""

    config_id: Annotated[int | None, Doc("There are no configuration profiles.", None)]


class LinodeRebuild(TypedDict, total=False):
    """As at a create; all that is on the disk is lost."""

    image: Required[Annotated[str, Doc("Of /images.", "linode/debian12")]]
    root_pass: Annotated[str, Doc("7 to 128 characters of two classes or more.")]
    authorized_keys: Annotated[list[str], Doc("OpenSSH public keys.")]
    authorized_users: Annotated[list[str], Doc("Usernames whose keys are taken.")]
    booted: Annotated[bool, Doc("false: left off.", True)]
    metadata: Metadata


class LinodePassword(TypedDict):
    root_pass: Annotated[str, Doc("7 to 128 characters of two classes or more.")]


class Disk(TypedDict):
    """The one disk of a Linode; those that boot a kernel of their host have none."""

    id: Annotated[int, Doc("The Linode's id.", 123)]
    label: Annotated[str, Doc("What it was made from.", "Debian 12 Disk")]
    status: Annotated[str, Doc("ready, not ready or deleting.", "ready")]
    size: Annotated[int, Doc("MB.", 655360)]
    filesystem: Annotated[str, Doc("What is on it is the guest's.", "raw")]
    disk_encryption: Annotated[str, Doc("enabled or disabled.", "disabled")]
    created: Moment
    updated: Moment


class Config(TypedDict):
    """There are no configuration profiles, so no list has one."""

    id: int
    label: str


class _ResizeChoices(TypedDict, total=False):
    allow_auto_disk_resize: Annotated[
        bool, Doc("The disk grows to the type's size; true if left out.", True)
    ]
    migration_type: Annotated[str, Doc("cold or warm; here they are the same.", "cold")]


class LinodeResize(_ResizeChoices):
    """To another type, on the same host; the disk never becomes smaller."""

    type: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-2")]


class TaggedObject(TypedDict):
    """One thing that carries a tag."""

    type: Annotated[str, Doc("linode is all there is.", "linode")]
    data: Linode
