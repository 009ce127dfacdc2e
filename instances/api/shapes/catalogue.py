"""Regions, types and images: API.md's tables, field by field."""

from typing import Annotated, Literal, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc


class Resolvers(TypedDict):
    """DNS servers, separated by commas; empty while there are none."""

    ipv4: str
    ipv6: str


class Monitors(TypedDict):
    alerts: list[str]
    metrics: list[str]


class PlacementGroupLimits(TypedDict):
    maximum_pgs_per_customer: int | None
    maximum_linodes_per_pg: int
    maximum_linodes_per_flexible_pg: int


class Region(TypedDict):
    id: Annotated[str, Doc("Named when creating a Linode.", "us-east")]
    label: Annotated[str, Doc("For people.", "Newark, NJ")]
    country: Annotated[str, Doc("ISO 3166-1 alpha-2, lower case.", "us")]
    capabilities: Annotated[
        list[str],
        Doc("GPU Linodes only where you can have some.", ["Linodes", "GPU Linodes"]),
    ]
    status: Literal["ok", "outage"]
    site_type: Literal["core", "distributed"]
    resolvers: Resolvers
    monitors: Monitors
    placement_group_limits: PlacementGroupLimits


class Price(TypedDict):
    """In US dollars."""

    hourly: Annotated[float | None, Doc("US$ an hour.", 1.5)]
    monthly: Annotated[float | None, Doc("US$ a month at most.", 1000)]


class RegionPrice(Price):
    id: Annotated[str, Doc("The region's id.", "us-east")]


class BackupsAddon(TypedDict):
    price: Price
    region_prices: list[RegionPrice]


class Addons(TypedDict):
    backups: BackupsAddon


LinodeType = TypedDict(
    "LinodeType",
    {
        "id": Annotated[str, Doc("Named when creating.", "g1-gpu-rtx6000-1")],
        "label": Annotated[str, Doc("For people.", "Dedicated 32GB + RTX6000 x1")],
        "class": Annotated[str, Doc("gpu, nanode, standard or dedicated.", "gpu")],
        "vcpus": Annotated[int, Doc("Virtual CPUs; each has a core's thread.", 8)],
        "memory": Annotated[int, Doc("RAM, MB.", 32768)],
        "disk": Annotated[int, Doc("Storage, MB.", 655360)],
        "transfer": Annotated[int, Doc("Included traffic, GB a month.", 16000)],
        "network_out": Annotated[int, Doc("Outbound rate, Mbit/s.", 10000)],
        "gpus": Annotated[int, Doc("Whole GPUs, passed through.", 1)],
        "accelerated_devices": Annotated[int, Doc("Other accelerators.", 0)],
        "price": Price,
        "region_prices": list[RegionPrice],
        "addons": Addons,
        "successor": Annotated[str | None, Doc("The type that replaces it.")],
    },
)


class ImageRegion(TypedDict):
    region: str
    status: str


class ImageSharing(TypedDict):
    shared_by: str | None
    shared_with: str | None


class Image(TypedDict):
    id: Annotated[str, Doc("A slash in it may be sent as %2F.", "gpucloud/probe")]
    label: Annotated[str, Doc("For people.", "GPU probe")]
    description: str | None
    vendor: str | None
    type: Annotated[str, Doc("manual, automatic or shared.", "manual")]
    status: Annotated[str, Doc("Only an available one can be used.", "available")]
    is_public: bool
    is_shared: bool
    image_sharing: ImageSharing
    deprecated: bool
    size: Annotated[int, Doc("Smallest disk for it, MB.", 1)]
    total_size: Annotated[int, Doc("MB.", 1)]
    capabilities: list[str]
    regions: list[ImageRegion]
    tags: list[str]
    created: Moment
    updated: Moment
    created_by: str | None
    eol: Moment | None
    expiry: Moment | None


class Kernel(TypedDict):
    """What a Linode boots; there is one, since each disk brings its own."""

    id: Annotated[str, Doc("linode/direct-disk is all there is.", "linode/direct-disk")]
    label: Annotated[str, Doc("For people.", "Direct Disk")]
    version: Annotated[str, Doc("Empty: that of the disk.", "")]
    architecture: Annotated[str, Doc("Of the hosts.", "x86_64")]
    kvm: Annotated[bool, Doc("Guests run under KVM.", True)]
    pvops: Annotated[bool, Doc("Linode's word for what needs no kernel of its own.")]
    deprecated: bool
    built: Annotated[str | None, Doc("null: it is the disk's own.")]
