"""Turn the bodies about placement groups into what launches and actions take."""

from collections.abc import Mapping
from typing import Any

from instances.api.errors import Problem
from instances.api.parsing import is_id, label_problem
from instances.api.wire import ANTI_AFFINITY
from instances.choices import PlacementPolicy
from instances.exceptions import InvalidRequest
from instances.placement_groups import GROUP_FIELD, Wish

_CREATE = ("label", "region", "placement_group_type", "placement_group_policy")
_COMPLIANT_ONLY = "compliant_only must be true or false"


def create_from(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what actions.placement_groups.create() takes by name. Raises InvalidRequest."""
    problems = _unknown(body, _CREATE)
    problems += [
        (name, f"{name} is required")
        for name in _CREATE
        if body.get(name) in (None, "")
    ]
    known = {name for name, _ in problems}
    checks = {
        "label": label_problem,
        "region": _region_problem,
        "placement_group_type": _type_problem,
        "placement_group_policy": _policy_problem,
    }
    problems += [
        (name, problem)
        for name, check in checks.items()
        if name not in known and (problem := check(body[name]))
    ]
    if problems:
        raise InvalidRequest(problems)
    return {
        "label": body["label"],
        "region": body["region"],
        "policy": PlacementPolicy(body["placement_group_policy"]),
    }


def members_from(body: Mapping[str, Any], *, assigns: bool) -> dict[str, Any]:
    """Return instance_ids, and compliant_only if it `assigns`. Raises InvalidRequest."""
    problems = _unknown(body, ("linodes", "compliant_only")[: 1 + assigns])
    linodes = body.get("linodes")
    if not (isinstance(linodes, list) and linodes and all(map(is_id, linodes))):
        problems.append(("linodes", "linodes must be a list of ids, one at least"))
    compliant_only = body.get("compliant_only") or False
    if assigns and not isinstance(compliant_only, bool):
        problems.append(("compliant_only", _COMPLIANT_ONLY))
    if problems:
        raise InvalidRequest(problems)
    more = {"compliant_only": compliant_only} if assigns else {}
    return {"instance_ids": linodes, **more}


def wish_in(body: Mapping[str, Any]) -> Wish | None:
    """Return the placement group that a create's body names, if it names one rightly."""
    value = body.get("placement_group")
    if not isinstance(value, dict) or not is_id(value.get("id")):
        return None
    return Wish(value["id"], value.get("compliant_only") is True)


def wish_problems(body: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the shape of a create's placement_group."""
    value = body.get("placement_group")
    if value is None:
        return []
    if not isinstance(value, dict):
        return [("placement_group", "placement_group must be an object with id")]
    problems = [
        (f"placement_group.{name[:100]}", "There is no such field")
        for name in value
        if name not in ("id", "compliant_only")
    ]
    named = value.get("id") is not None
    if named and not is_id(value["id"]):
        problems.append((GROUP_FIELD, "id must be a placement group's id"))
    if not isinstance(value.get("compliant_only"), bool | None):
        problems.append(("placement_group.compliant_only", _COMPLIANT_ONLY))
    elif value.get("compliant_only") and not named:
        problems.append((GROUP_FIELD, "id is required"))
    return [*problems]


def _unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> list[Problem]:
    return [
        (name[:100], "There is no such field") for name in body if name not in known
    ]


def _region_problem(value: Any) -> str | None:
    return None if isinstance(value, str) else "region is not valid"


def _type_problem(value: Any) -> str | None:
    if value == "affinity:local":
        return f"affinity:local cannot be had yet; take {ANTI_AFFINITY}"
    known = value == ANTI_AFFINITY
    return None if known else f"placement_group_type must be {ANTI_AFFINITY}"


def _policy_problem(value: Any) -> str | None:
    known = isinstance(value, str) and value in PlacementPolicy.values
    return None if known else "placement_group_policy must be strict or flexible"
