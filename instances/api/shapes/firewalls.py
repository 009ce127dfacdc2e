"""Firewalls, their rules and what is on them: API.md's tables, field by field."""

from typing import Annotated, Any, Literal, Required, TypedDict

from instances.api.shapes.common import Moment, Tags
from instances.api.shapes.doc import Doc

Policy = Annotated[
    Literal["ACCEPT", "DROP"], Doc("Of what none of the rules fits.", "DROP")
]


class FirewallAddresses(TypedDict, total=False):
    """At least one, at most 255 together. What is before the prefix length is masked."""

    ipv4: Annotated[list[str], Doc("0.0.0.0/0 for all.", ["203.0.113.0/24"])]
    ipv6: Annotated[list[str], Doc("::/0 for all.", ["2001:db8::/32"])]


class FirewallRule(TypedDict, total=False):
    """Of new connections; what belongs to one that exists passes."""

    ports: Annotated[
        str,
        Doc(
            "Of the receiver, for TCP and UDP; none for all. At most 15 pieces, of which a "
            "range is two.",
            "22, 80, 8000-9000",
        ),
    ]
    protocol: Required[Annotated[str, Doc("TCP, UDP or ICMP.", "TCP")]]
    addresses: Required[FirewallAddresses]
    action: Required[Annotated[str, Doc("ACCEPT or DROP.", "ACCEPT")]]
    label: Annotated[str, Doc("3 to 32 characters, for people.", "web")]
    description: Annotated[str, Doc("1 to 100 characters, for people.", "All of it")]


class FirewallRules(TypedDict):
    """The first rule that fits decides. At most 25, inbound and outbound together."""

    inbound: list[FirewallRule]
    inbound_policy: Policy
    outbound: list[FirewallRule]
    outbound_policy: Policy
    fingerprint: Annotated[str, Doc("Changes with the rules.", "997dd135")]
    version: Annotated[int, Doc("Counts the changes.", 1)]


class FirewallRulesGiven(TypedDict, total=False):
    inbound: list[FirewallRule]
    inbound_policy: Required[Policy]
    outbound: list[FirewallRule]
    outbound_policy: Required[Policy]


class FirewallRulesUpdate(TypedDict, total=False):
    """What is left out stays as it is; a list that is given replaces the whole list."""

    inbound: list[FirewallRule]
    inbound_policy: Policy
    outbound: list[FirewallRule]
    outbound_policy: Policy


class FirewallEntity(TypedDict):
    """What is on a firewall."""

    id: Annotated[int, Doc("The Linode's id.", 123)]
    label: Annotated[str, Doc("Its label.", "trainer")]
    type: Annotated[str, Doc("linode is all there is.", "linode")]
    url: Annotated[str, Doc("Its path.", "/v4/linode/instances/123")]
    parent_entity: Annotated[dict[str, Any] | None, Doc("A Linode has none.")]


class Firewall(TypedDict):
    id: Annotated[int, Doc("Named by a create as firewall_id.", 7)]
    label: Annotated[str, Doc("Once per account.", "web")]
    status: Annotated[str, Doc("enabled or disabled.", "enabled")]
    tags: Tags
    created: Moment
    updated: Moment
    rules: FirewallRules
    entities: Annotated[list[FirewallEntity], Doc("What is on it.")]


class FirewallDevices(TypedDict, total=False):
    linodes: Annotated[list[int], Doc("Ids of Linodes; each on one firewall.", [123])]


class FirewallCreate(TypedDict, total=False):
    label: Required[Annotated[str, Doc("3 to 32 letters, digits, single - _ .", "web")]]
    rules: Required[FirewallRulesGiven]
    status: Annotated[str, Doc("enabled or disabled.", "enabled")]
    tags: Tags
    devices: FirewallDevices


class FirewallUpdate(TypedDict, total=False):
    """What else a firewall has may be sent as it is, and is then left alone."""

    label: Annotated[str, Doc("3 to 32 letters, digits, single - _ .", "web")]
    status: Annotated[str, Doc("enabled or disabled.", "disabled")]
    tags: Tags


class FirewallDevice(TypedDict):
    id: Annotated[int, Doc("Of the device, not of the Linode.", 17)]
    created: Moment
    updated: Moment
    entity: FirewallEntity


class FirewallDeviceCreate(TypedDict):
    id: Annotated[int, Doc("The Linode's id.", 123)]
    type: Annotated[str, Doc("linode is all there is.", "linode")]


class DefaultFirewallIds(TypedDict):
    linode: int | None
    nodebalancer: int | None
    public_interface: int | None
    vpc_interface: int | None


class FirewallSettings(TypedDict):
    default_firewall_ids: Annotated[DefaultFirewallIds, Doc("There are no defaults.")]
