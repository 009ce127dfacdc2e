"""Turn the bodies of "Create a firewall" and its kin into what the actions take."""

from collections.abc import Mapping
from typing import Any

from instances.api.create_request import is_list_of_strings
from instances.api.errors import Problem
from instances.api.parsing import is_id, label_problem
from instances.choices import FirewallStatus
from instances.exceptions import InvalidRequest
from instances.firewall_rules import BadRules, checked

_CREATE = ("label", "rules", "status", "tags", "devices")
# What Linode can put on a firewall and we do not sell; an empty list asks for nothing.
_NOT_SOLD = ("nodebalancers", "linode_interfaces", "interfaces")


def create_from(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what actions.firewalls.create() takes by name. Raises InvalidRequest."""
    problems: list[Problem] = [
        (name[:100], "There is no such field") for name in body if name not in _CREATE
    ]
    label, rules, devices = (body.get(n) for n in ("label", "rules", "devices"))
    if label in (None, ""):
        problems.append(("label", "label is required"))
    elif problem := label_problem(label):
        problems.append(("label", problem))
    document: dict[str, Any] = {}
    if not isinstance(rules, dict):
        problems.append(("rules", "rules is required" if rules is None else _RULES))
    else:
        try:
            document = checked(rules, prefix="rules.")
        except BadRules as bad:
            problems += bad.problems
    status = body.get("status") or FirewallStatus.ENABLED
    tags = body.get("tags") or []
    for name, problem in (
        ("status", status_problem(status)),
        ("tags", tags_problem(tags)),
    ):
        if problem:
            problems.append((name, problem))
    problems += _device_problems(devices or {})
    if problems:
        raise InvalidRequest(problems)
    return {
        "label": label,
        "rules": document,
        "status": FirewallStatus(status),
        "tags": tags,
        "instance_ids": (devices or {}).get("linodes") or [],
    }


_RULES = "rules must be an object with inbound, outbound and their policies"


def rules_from(body: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document that a PUT of rules leads to. Raises InvalidRequest.

    current: the document as it is, which stays where the body says nothing: linode-cli
    sends what it was given alone.
    """
    given = {name: value for name, value in body.items() if value is not None}
    try:
        return checked({**current, **given})
    except BadRules as bad:
        raise InvalidRequest(list(bad.problems)) from bad


def device_from(body: Mapping[str, Any]) -> int:
    """Return the id of the Linode that is to be on a firewall. Raises InvalidRequest."""
    problems: list[Problem] = [
        (name[:100], "There is no such field")
        for name in body
        if name not in ("id", "type")
    ]
    if not is_id(body.get("id")):
        problems.append(("id", "id must be a Linode's id"))
    if body.get("type") != "linode":
        problems.append(("type", "type must be linode"))
    if problems:
        raise InvalidRequest(problems)
    return int(body["id"])


def status_problem(value: Any) -> str | None:
    known = isinstance(value, str) and value in FirewallStatus.values
    return None if known else "status must be enabled or disabled"


def tags_problem(value: Any) -> str | None:
    return None if is_list_of_strings(value) else "tags must be a list of strings"


def _device_problems(devices: Any) -> list[Problem]:
    if not isinstance(devices, dict):
        return [("devices", "devices must be an object with linodes")]
    problems: list[Problem] = []
    for name, value in devices.items():
        if name == "linodes":
            if not isinstance(value or [], list) or not all(map(is_id, value or [])):
                reason = "linodes must be a list of ids"
                problems.append(("devices.linodes", reason))
        elif name not in _NOT_SOLD:
            problems.append((f"devices.{name[:100]}", "There is no such field"))
        elif value:
            reason = f"{name} cannot be had yet; leave it out"
            problems.append((f"devices.{name}", reason))
    return problems
