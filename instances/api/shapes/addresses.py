"""The addresses of a Linode: Linode API v4, "Get networking information"."""

from typing import Annotated, Any, TypedDict

from instances.api.shapes.doc import Doc


class AssignedEntity(TypedDict):
    """What has the address."""

    id: Annotated[int, Doc("The Linode's id.", 123)]
    label: Annotated[str, Doc("The Linode's label.", "web-1")]
    type: Annotated[str, Doc("linode is all there is.", "linode")]
    url: Annotated[str, Doc("Its path.", "/v4/linode/instances/123")]


class IPv4Address(TypedDict):
    address: Annotated[str, Doc("Its own for as long as it lives.", "203.0.113.10")]
    gateway: Annotated[str, Doc("Its router.", "203.0.113.1")]
    subnet_mask: Annotated[str, Doc("The same as prefix.", "255.255.255.0")]
    prefix: Annotated[int, Doc("Bits of the network.", 24)]
    type: Annotated[str, Doc("ipv4.", "ipv4")]
    public: Annotated[bool, Doc("Whether it is reached from anywhere.", True)]
    rdns: str | None
    linode_id: Annotated[int, Doc("Whose it is.", 123)]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    reserved: bool
    interface_id: int | None
    vpc_nat_1_1: str | None
    assigned_entity: AssignedEntity


class IPv6Address(TypedDict):
    address: Annotated[
        str,
        Doc("Made of the network card's; empty if none.", "2001:db8::67:aff:fe00:5"),
    ]
    gateway: Annotated[str, Doc("Its router.", "fe80::1")]
    subnet_mask: Annotated[str, Doc("The same as prefix.", "ffff:ffff:ffff:ffff::")]
    prefix: Annotated[int, Doc("Bits of the network.", 64)]
    type: Annotated[str, Doc("ipv6.", "ipv6")]
    public: Annotated[bool, Doc("Whether it is reached from anywhere.", True)]
    rdns: str | None
    linode_id: Annotated[int, Doc("Whose it is.", 123)]
    region: Annotated[str, Doc("Of /regions.", "us-east")]


class IPv4Addresses(TypedDict):
    """Of all but public there are none."""

    public: list[IPv4Address]
    private: list[IPv4Address]
    shared: list[IPv4Address]
    reserved: list[IPv4Address]
    vpc: list[dict[str, Any]]


# By call: `global` is no name that a class could have.
IPv6Addresses = TypedDict(
    "IPv6Addresses",
    {
        "slaac": IPv6Address,
        "link_local": IPv6Address,
        "global": list[dict[str, Any]],
        "vpc": list[dict[str, Any]],
    },
)


class LinodeAddresses(TypedDict):
    ipv4: IPv4Addresses
    ipv6: IPv6Addresses
