"""A guest's network filter: what it is made of, and that it says what the rules say."""

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from instances.domain_devices import Nic
from instances.firewall_rules import Network, Rule, Rules, checked, rules_of
from instances.network_filter import build_filter, filters_of, ipv6_filters

UUID = "6f1c2a7e-0001-4000-8000-000000000001"
NIC = Nic("network", "guests", "02:67:0a:00:00:05", "10.0.0.5")
BOTH = replace(NIC, ipv6=("::", "2001:db8::1"))
NOTHING = Rules((), (), accepts_inbound=False, accepts_outbound=True)
Found = tuple[str, str, str, dict[str, str]]


def rules_in(document: str) -> list[Found]:
    """Return (action, direction, protocol, its attributes) by priority, as iptables has it."""
    rules = etree.fromstring(document).findall("rule")
    rules.sort(key=lambda rule: int(rule.get("priority", "")))
    return [
        (
            rule.get("action", ""),
            rule.get("direction", ""),
            match.tag,
            dict(match.attrib),
        )
        for rule in rules
        for match in rule
    ]


def test_guest_may_use_its_own_addresses_only() -> None:
    for nic, refers_to, parameters in (
        (NIC, "clean-traffic", [("IP", "10.0.0.5")]),
        (
            BOTH,
            "gpucloud-clean-traffic",
            [("IP", "10.0.0.5"), ("IPV6", "::"), ("IPV6", "2001:db8::1")],
        ),
    ):
        root = etree.fromstring(build_filter(UUID, nic, None))

        assert root.get("name") == f"gpucloud-{UUID}"
        (reference,) = root.findall("filterref")
        assert reference.get("filter") == refers_to
        found = [(each.get("name"), each.get("value")) for each in reference]
        assert found == parameters
        assert root.findall("rule") == []


def test_filters_are_defined_before_they_are_referred_to() -> None:
    spoofing, clean = map(etree.fromstring, ipv6_filters())

    assert clean.get("name") == "gpucloud-clean-traffic"
    named = {reference.get("filter") for reference in clean.findall("filterref")}
    assert spoofing.get("name") in named
    drops = spoofing.findall("rule[@action='drop']/ipv6")
    assert [drop.get("type") for drop in drops] == ["134", "137"]
    assert filters_of(UUID, BOTH, None) == [
        *ipv6_filters(), build_filter(UUID, BOTH, None),
    ]  # fmt: skip
    assert filters_of(UUID, NIC, None) == [build_filter(UUID, NIC, None)]


def test_filter_keeps_its_uuid_and_shares_it_with_no_other() -> None:
    def uuid_of(uuid: str, rules: Rules | None = None) -> str | None:
        return etree.fromstring(build_filter(uuid, NIC, rules)).findtext("uuid")

    assert uuid_of(UUID) == uuid_of(UUID, NOTHING)
    assert uuid_of(UUID) != uuid_of(UUID.replace("6f1c", "6f1d"))


def test_firewall_lets_in_what_its_rules_name() -> None:
    rules = rules_of(
        checked(
            {
                "inbound": [
                    {
                        "protocol": "TCP",
                        "ports": "22, 8000-9000",
                        "addresses": {"ipv4": ["203.0.113.7/24"], "ipv6": ["::/0"]},
                        "action": "ACCEPT",
                    },
                    {
                        "protocol": "ICMP",
                        "addresses": {"ipv4": ["0.0.0.0/0"]},
                        "action": "DROP",
                    },
                ],
                "outbound": [
                    {
                        "protocol": "UDP",
                        "addresses": {"ipv4": ["198.51.100.1/32"]},
                        "action": "DROP",
                    }
                ],
                "inbound_policy": "DROP",
                "outbound_policy": "ACCEPT",
            }
        )
    )
    office = {"srcipaddr": "203.0.113.0", "srcipmask": "24"}
    new = {"state": "NEW"}
    connected = {"state": "ESTABLISHED,RELATED"}

    found = rules_in(build_filter(UUID, NIC, rules))

    assert found == [
        ("accept", "inout", "all", connected),
        ("accept", "out", "udp", {**new, **ports("src", 68), **ports("dst", 67)}),
        ("accept", "in", "udp", {**new, **ports("src", 67), **ports("dst", 68)}),
        ("accept", "in", "tcp", {**new, **office, **ports("dst", 22)}),
        ("accept", "in", "tcp", {**new, **office, **ports("dst", 8000, 9000)}),
        ("drop", "out", "udp", {**new, "dstipaddr": "198.51.100.1", "dstipmask": "32"}),
        ("drop", "in", "icmp", new),
        ("drop", "in", "all", {"state": "NEW,INVALID"}),
        ("accept", "out", "all", new),
    ]
    with_ipv6 = rules_in(build_filter(UUID, BOTH, rules))
    assert [each for each in with_ipv6 if each in found] == found
    assert [each for each in with_ipv6 if each not in found] == [
        ("accept", "inout", "all-ipv6", connected),
        (
            "accept",
            "out",
            "udp-ipv6",
            {**new, **ports("src", 546), **ports("dst", 547)},
        ),
        ("accept", "in", "udp-ipv6", {**new, **ports("src", 547), **ports("dst", 546)}),
        ("accept", "in", "tcp-ipv6", {**new, **ports("dst", 22)}),
        ("accept", "in", "tcp-ipv6", {**new, **ports("dst", 8000, 9000)}),
        ("drop", "in", "all-ipv6", {"state": "NEW,INVALID"}),
        ("accept", "out", "all-ipv6", new),
    ]


def ports(end: str, first: int, last: int | None = None) -> dict[str, str]:
    return {f"{end}portstart": str(first), f"{end}portend": str(last or first)}


networks = st.ip_addresses().flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: ipaddress.ip_network((address, length), strict=False)
    )
)
port_ranges = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(
    lambda pair: (min(pair), max(pair))
)


@st.composite
def some_rules(draw: st.DrawFn) -> Rule:
    protocol = draw(st.sampled_from(["TCP", "UDP", "ICMP"]))
    listed = st.lists(port_ranges, max_size=3).map(tuple)
    return Rule(
        accepts=draw(st.booleans()),
        protocol=protocol,
        ports=draw(listed) if protocol != "ICMP" else (),
        networks=draw(st.lists(networks, min_size=1, max_size=4).map(tuple)),
    )


def expected(rule: Rule, version: int, way: str) -> list[Found]:
    """Return what stands for one rule, said in another way than it is built."""
    words = {("ICMP", 4): "icmp", ("ICMP", 6): "icmpv6"}
    word = words.get(
        (rule.protocol, version),
        rule.protocol.lower() + ("-ipv6" if version == 6 else ""),
    )
    end = {"in": "src", "out": "dst"}[way]
    found = []
    for network in rule.networks:
        if network.version == version:
            said: dict[str, str] = {"state": "NEW"}
            if network.prefixlen:
                said[f"{end}ipaddr"], said[f"{end}ipmask"] = str(network).split("/")
            each = [said | ports("dst", *pair) for pair in rule.ports] or [said]
            found += [
                ("accept" if rule.accepts else "drop", way, word, s) for s in each
            ]
    return found


@given(
    st.lists(some_rules(), max_size=12),
    st.lists(some_rules(), max_size=13),
    st.booleans(),
    st.booleans(),
)
def test_every_rule_is_in_the_filter_in_order_and_nothing_else(
    inbound: list[Rule], outbound: list[Rule], lets_in: bool, lets_out: bool
) -> None:
    rules = Rules(tuple(inbound), tuple(outbound), lets_in, lets_out)

    found = rules_in(build_filter(UUID, BOTH, rules))

    for version in (4, 6):
        suffix = "-ipv6" if version == 6 else ""
        names = {f"{name}{suffix}" for name in ("all", "tcp", "udp")}
        names.add("icmp" if version == 4 else "icmpv6")
        for way, listed, lets in (
            ("in", inbound, lets_in),
            ("out", outbound, lets_out),
        ):
            mine = [f for f in found if f[1] in (way, "inout") and f[2] in names]
            assert mine[0][3] == {"state": "ESTABLISHED,RELATED"}
            assert mine[1][2] == f"udp{suffix}"
            assert mine[2:-1] == [
                f for rule in listed for f in expected(rule, version, way)
            ]
            policy = ("accept", "NEW") if lets else ("drop", "NEW,INVALID")
            assert mine[-1] == (policy[0], way, f"all{suffix}", {"state": policy[1]})
    priorities = [
        int(rule.get("priority", ""))
        for rule in etree.fromstring(build_filter(UUID, BOTH, rules)).findall("rule")
    ]
    assert all(0 <= priority <= 1000 for priority in priorities)


RULE: dict[str, Any] = {
    "protocol": "TCP",
    "addresses": {"ipv4": ["0.0.0.0/0"]},
    "action": "ACCEPT",
}


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_text_of_a_customers_gets_into_a_filter(label: str, described: str) -> None:
    rule = {**RULE, "label": "web", "description": "the web", "ports": "80"}
    plain = build_filter(UUID, NIC, _meaning(rule))
    for field, text in (("label", label), ("description", described), ("ports", label)):
        try:
            rules = _meaning({**rule, field: text})
        except ValueError:
            continue
        document = build_filter(UUID, NIC, rules)
        if field != "ports":
            assert document == plain
        else:
            said = {m[3].get("dstportstart", "1") for m in rules_in(document)}
            assert all(1 <= int(port) <= 65535 for port in said)


def _meaning(rule: dict[str, Any]) -> Rules:
    return rules_of(
        checked(
            {"inbound": [rule], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
        )
    )


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "10.1.2.3/8", "::/0", "2001:db8::1/33"]
)
def test_bits_of_a_host_in_an_address_are_masked(network: str) -> None:
    family = "ipv6" if ":" in network else "ipv4"
    (rule,) = _meaning({**RULE, "addresses": {family: [network]}}).inbound
    masked: Network = ipaddress.ip_network(network, strict=False)
    assert rule.networks == (masked,)
