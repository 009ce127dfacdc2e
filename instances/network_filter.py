"""Build the network filters that hold a guest to its own addresses and its firewall; pure.

Source: libvirt formatnwfilter. What a guest may send at all is for ebtables to say, of
which a filter of libvirt's is made (mac, ip, ipv6, arp); what its firewall lets through is
for iptables (tcp, udp, icmp, all), which sees nothing of ARP. A packet must pass both.
"""

import re
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from lxml import etree
from lxml.builder import E

from instances.domain_devices import Nic
from instances.firewall_rules import Network, Rule, Rules

CLEAN_TRAFFIC = "clean-traffic"
CLEAN_TRAFFIC_IPV6 = "gpucloud-clean-traffic"
_NO_IPV6_SPOOFING = "gpucloud-no-ipv6-spoofing"
# ICMPv6: what only a router sends (RFC 4861).
_ROUTER_ADVERTISEMENT, _REDIRECT = "134", "137"
# DHCP's and DHCPv6's ports, of the client and of the server.
_DHCP = {4: (68, 67), 6: (546, 547)}
# Of the firewall's rules: libvirt sorts by priority, and by nothing else.
_CONNECTED, _LEASED, _FIRST_RULE, _POLICY = 0, 1, 10, 900
_SUFFIX = {4: "", 6: "-ipv6"}
_ICMP = {4: "icmp", 6: "icmpv6"}


_OWN = re.compile(r"gpucloud-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def filter_name(uuid: str) -> str:
    """Return the name of the filter that the instance with this UUID has for itself."""
    return f"gpucloud-{uuid}"


def owner_of(name: str) -> str | None:
    """Return the UUID whose filter has this name; None if it is no instance's."""
    found = _OWN.fullmatch(name)
    return found[1] if found else None


def filters_of(uuid: str, nic: Nic, rules: Rules | None) -> list[str]:
    """Return the documents of an instance's filter and of ours that it refers to.

    In the order to define them. rules: None without a firewall.
    """
    return [*(ipv6_filters() if nic.ipv6 else ()), build_filter(uuid, nic, rules)]


def build_filter(uuid: str, nic: Nic, rules: Rules | None) -> str:
    """Return the document of the instance's own filter."""
    parameters = [("IP", nic.ipv4), *(("IPV6", address) for address in nic.ipv6)]
    name = filter_name(uuid)
    document = E.filter(
        _uuid_of(name),
        E.filterref(
            *(E.parameter(name=key, value=value) for key, value in parameters),
            filter=CLEAN_TRAFFIC_IPV6 if nic.ipv6 else CLEAN_TRAFFIC,
        ),
        name=name,
        chain="root",
    )
    if rules is not None:
        for version in (4, 6) if nic.ipv6 else (4,):
            document.extend(_firewall(rules, version))
    return etree.tostring(document, encoding="unicode")


def _firewall(rules: Rules, version: int) -> Iterator[etree._Element]:
    """Yield the rules for one version of IP, each of them for new connections alone.

    A rule without a state, libvirt makes for both ways: a DROP of what comes in would
    also drop the answers to what the guest asked. Neighbour discovery is in no state
    (Linux, nf_conntrack_proto_icmpv6), so that no rule meets it.
    """
    suffix = _SUFFIX[version]
    everything = f"all{suffix}"
    connected = E(everything, state="ESTABLISHED,RELATED")
    yield _rule("accept", str(_CONNECTED), connected, direction="inout")
    client, server = _DHCP[version]
    for direction, source, target in (("out", client, server), ("in", server, client)):
        ports = _ports("src", source, source) | _ports("dst", target, target)
        lease = E(f"udp{suffix}", state="NEW", **ports)
        yield _rule("accept", str(_LEASED), lease, direction=direction)
    for direction, listed in (("in", rules.inbound), ("out", rules.outbound)):
        for number, rule in enumerate(listed):
            for match in _matches(rule, version, direction):
                yield _rule(
                    "accept" if rule.accepts else "drop",
                    str(_FIRST_RULE + number),
                    match,
                    direction=direction,
                )
    for direction, accepts in (
        ("in", rules.accepts_inbound),
        ("out", rules.accepts_outbound),
    ):
        policy = E(everything, state="NEW" if accepts else "NEW,INVALID")
        action = "accept" if accepts else "drop"
        yield _rule(action, str(_POLICY), policy, direction=direction)


def _matches(rule: Rule, version: int, direction: str) -> Iterator[etree._Element]:
    if rule.protocol == "ICMP":
        name = _ICMP[version]
    else:
        name = f"{rule.protocol.lower()}{_SUFFIX[version]}"
    for network in rule.networks:
        if network.version != version:
            continue
        for ports in rule.ports or (None,):
            match = E(name, state="NEW", **_address(network, direction))
            match.attrib.update(_ports("dst", *ports) if ports else {})
            yield match


def _address(network: Network, direction: str) -> dict[str, str]:
    end = "src" if direction == "in" else "dst"
    if not network.prefixlen:
        return {}
    return {
        f"{end}ipaddr": str(network.network_address),
        f"{end}ipmask": str(network.prefixlen),
    }


def _ports(end: str, first: int, last: int) -> dict[str, str]:
    return {f"{end}portstart": str(first), f"{end}portend": str(last)}


def ipv6_filters() -> list[str]:
    """Return the filters that CLEAN_TRAFFIC_IPV6 is made of, in the order to define them.

    libvirt's own clean-traffic lets no IPv6 through. Who answers for another's address in
    neighbour discovery is not seen by them: only addresses of packets are.
    """
    spoofing = E.filter(
        _uuid_of(_NO_IPV6_SPOOFING),
        *(
            _rule("drop", "100", E.ipv6(protocol="icmpv6", type=kind))
            for kind in (_ROUTER_ADVERTISEMENT, _REDIRECT)
        ),
        _rule("return", "500", E.ipv6(srcipaddr="$IPV6")),
        _rule("drop", "1000"),
        name=_NO_IPV6_SPOOFING,
        # Of 12 characters at most (libvirt), and named for the protocol that it sees.
        chain="ipv6-own",
        priority="-610",
    )
    clean = E.filter(
        _uuid_of(CLEAN_TRAFFIC_IPV6),
        E.filterref(filter="no-mac-spoofing"),
        E.filterref(filter="no-ip-spoofing"),
        _rule("accept", "-650", E.mac(protocolid="ipv4")),
        E.filterref(filter="allow-incoming-ipv4"),
        E.filterref(filter=_NO_IPV6_SPOOFING),
        _rule("accept", "-600", E.mac(protocolid="ipv6")),
        E.filterref(filter="allow-incoming-ipv6"),
        E.filterref(filter="no-arp-spoofing"),
        _rule("accept", "-500", E.mac(protocolid="arp"), direction="inout"),
        E.filterref(filter="no-other-l2-traffic"),
        E.filterref(filter="qemu-announce-self"),
        name=CLEAN_TRAFFIC_IPV6,
        chain="root",
    )
    return [etree.tostring(each, encoding="unicode") for each in (spoofing, clean)]


def _uuid_of(name: str) -> etree._Element:
    # The same at each time: libvirt takes a name with another UUID for another filter.
    return E.uuid(str(uuid5(NAMESPACE_URL, f"gpucloud:nwfilter:{name}")))


def _rule(
    action: str, priority: str, *match: etree._Element, direction: str = "out"
) -> etree._Element:
    return E.rule(*match, action=action, direction=direction, priority=priority)
