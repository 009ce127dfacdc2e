"""What a firewall's rules may be, and what they mean: Linode API v4, "Create a firewall"; pure.

As a document they are as their customer wrote them, in the order of RULE_FIELDS.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIRECTIONS = ("inbound", "outbound")
ACTIONS = ("ACCEPT", "DROP")
RULE_FIELDS = ("ports", "protocol", "addresses", "action", "label", "description")
MAX_RULES = 25
MAX_ADDRESSES = 255
MAX_PORT_PIECES = 15
# A host makes rules of its own for each, one after the other: thousands would take minutes.
MAX_PAIRS = 600
_PORTED = ("TCP", "UDP")
_PROTOCOLS = (*_PORTED, "ICMP")
_LENGTHS = {"label": range(3, 33), "description": range(1, 101)}
_PORT = r"[1-9][0-9]{0,4}"
_PORTS = re.compile(rf"{_PORT}(?:-{_PORT})?(?:, ?{_PORT}(?:-{_PORT})?)*")
_NETWORK = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Problems = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """ports: inclusive ranges; empty for all. networks: of whoever is at the other end."""

    accepts: bool
    protocol: str
    ports: tuple[tuple[int, int], ...]
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The first rule that fits decides; what none fits is as accepts_... says."""

    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]
    accepts_inbound: bool
    accepts_outbound: bool


def rules_of(document: Mapping[str, Any]) -> Rules:
    """Return what a checked document means."""
    inbound, outbound = (
        tuple(_rule_of(rule) for rule in document[direction])
        for direction in DIRECTIONS
    )
    return Rules(
        inbound,
        outbound,
        document["inbound_policy"] == "ACCEPT",
        document["outbound_policy"] == "ACCEPT",
    )


def _rule_of(rule: Mapping[str, Any]) -> Rule:
    addresses = rule["addresses"]
    return Rule(
        accepts=rule["action"] == "ACCEPT",
        protocol=rule["protocol"],
        ports=_ranges(rule.get("ports", "")),
        networks=tuple(
            ipaddress.ip_network(text, strict=False)
            for family in ("ipv4", "ipv6")
            for text in addresses.get(family, ())
        ),
    )


def _ranges(ports: str) -> tuple[tuple[int, int], ...]:
    found = []
    for piece in filter(None, ports.replace(" ", "").split(",")):
        first, _, last = piece.partition("-")
        found.append((int(first), int(last or first)))
    return tuple(found)


def fingerprint_of(document: Mapping[str, Any]) -> str:
    """Return eight hex digits that change with the rules."""
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def checked(body: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return the document that `body` asks for. Raises BadRules with all that is wrong.

    prefix: of the fields' names in what is wrong.
    """
    problems: Problems = [
        (f"{prefix}{name[:100]}", "There is no such field")
        for name in body
        if name not in _FIELDS
    ]
    document: dict[str, Any] = {}
    for direction in DIRECTIONS:
        document[direction] = _list_of(body, direction, prefix, problems)
        policy = f"{direction}_policy"
        document[policy] = body.get(policy)
        if document[policy] is None:
            problems.append((f"{prefix}{policy}", f"{policy} is required"))
        elif document[policy] not in ACTIONS:
            problems.append((f"{prefix}{policy}", f"{policy} must be ACCEPT or DROP"))
    if not problems:
        problems += _too_many(document, prefix)
    if problems:
        raise BadRules(problems)
    return document


class BadRules(ValueError):
    """problems: (field, reason), in the order of checking."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        super().__init__("; ".join(reason for _, reason in problems))


_FIELDS = {
    *DIRECTIONS,
    *(f"{direction}_policy" for direction in DIRECTIONS),
    # What a GET shows beside them, and a PUT may send back.
    *("fingerprint", "version"),
}


def _list_of(
    body: Mapping[str, Any], direction: str, prefix: str, problems: Problems
) -> list[dict[str, Any]]:
    rules = body.get(direction) or []
    where = f"{prefix}{direction}"
    if not isinstance(rules, list) or not all(isinstance(r, dict) for r in rules):
        problems.append((where, f"{direction} must be a list of rules"))
        return []
    if len(rules) > MAX_RULES:
        problems.append((where, f"At most {MAX_RULES} rules, inbound and outbound"))
        return []
    return [
        _rule(rule, f"{where}[{number}].", problems)
        for number, rule in enumerate(rules)
    ]


def _rule(rule: dict[str, Any], where: str, problems: Problems) -> dict[str, Any]:
    given = {name: value for name, value in rule.items() if value is not None}
    found = [
        *(
            (name, "There is no such field")
            for name in given
            if name not in RULE_FIELDS
        ),
        *_action_problems(given),
        *_protocol_problems(given),
        *_port_problems(given),
        *_address_problems(given.get("addresses")),
        *_text_problems(given),
    ]
    problems += [(f"{where}{name[:100]}", reason) for name, reason in found]
    return {name: _kept(given[name]) for name in RULE_FIELDS if name in given}


def _kept(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {family: listed for family, listed in value.items() if listed is not None}


def _action_problems(rule: dict[str, Any]) -> Problems:
    if rule.get("action") in ACTIONS:
        return []
    return [("action", "action must be ACCEPT or DROP")]


def _protocol_problems(rule: dict[str, Any]) -> Problems:
    protocol = rule.get("protocol")
    if protocol in _PROTOCOLS:
        return []
    if protocol == "IPENCAP":
        return [("protocol", "IPENCAP cannot be had yet; leave the rule out")]
    return [("protocol", "protocol must be TCP, UDP or ICMP")]


def _port_problems(rule: dict[str, Any]) -> Problems:
    ports = rule.get("ports", "")
    if ports == "":
        return []
    if rule.get("protocol") not in _PORTED:
        return [("ports", "ports are for TCP and UDP alone")]
    if not isinstance(ports, str) or not _PORTS.fullmatch(ports):
        return [("ports", 'ports must be like "22, 80, 8000-9000"')]
    problems = []
    if any(last > 65535 for _, last in _ranges(ports)):
        problems.append("Ports must be from 1 to 65535")
    spans = [piece.split("-") for piece in ports.split(",") if "-" in piece]
    if any(int(first) >= int(last) for first, last in spans):
        problems.append("A range of ports must end above its start")
    # Linode counts a range as two.
    if len(_ranges(ports)) + len(spans) > MAX_PORT_PIECES:
        problems.append(f"At most {MAX_PORT_PIECES} ports; a range counts as two")
    return [("ports", problem) for problem in problems]


def _address_problems(addresses: Any) -> Problems:
    if not isinstance(addresses, dict) or set(addresses) - {"ipv4", "ipv6"}:
        return [("addresses", "addresses must be an object with ipv4 and ipv6")]
    lists = {family: listed for family, listed in addresses.items() if listed}
    if not lists:
        reason = "Name at least one address; 0.0.0.0/0 and ::/0 are all"
        return [("addresses", reason)]
    problems: Problems = []
    for family, listed in lists.items():
        is_list = isinstance(listed, list)
        if not is_list or not all(_is_network(text, family) for text in listed):
            example = "203.0.113.0/24" if family == "ipv4" else "2001:db8::/32"
            reason = f"{family} must be a list of networks like {example}"
            problems.append((f"addresses.{family}", reason))
    if not problems and sum(map(len, lists.values())) > MAX_ADDRESSES:
        problems.append(("addresses", f"At most {MAX_ADDRESSES} addresses"))
    return problems


def _is_network(text: Any, family: str) -> bool:
    if not isinstance(text, str) or not _NETWORK.fullmatch(text):
        return False
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return f"ipv{network.version}" == family


def _text_problems(rule: dict[str, Any]) -> Problems:
    return [
        (name, f"{name} must be {lengths[0]} to {lengths[-1]} printable characters")
        for name, lengths in _LENGTHS.items()
        if name in rule and not _is_text(rule[name], lengths)
    ]


def _is_text(value: Any, lengths: range) -> bool:
    return isinstance(value, str) and len(value) in lengths and value.isprintable()


def _too_many(document: dict[str, Any], prefix: str) -> Problems:
    rules = rules_of(document)
    both = (*rules.inbound, *rules.outbound)
    field = f"{prefix}inbound" if rules.inbound else f"{prefix}outbound"
    if len(both) > MAX_RULES:
        return [(field, f"At most {MAX_RULES} rules, inbound and outbound")]
    pairs = sum(max(len(rule.ports), 1) * len(rule.networks) for rule in both)
    if pairs > MAX_PAIRS:
        reason = (
            f"These rules are {pairs} pairs of a port and an address; at most "
            f"{MAX_PAIRS}. Use ranges and larger networks"
        )
        return [(field, reason)]
    return []
