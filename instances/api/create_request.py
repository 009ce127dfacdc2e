"""Turn the body of "Create a Linode" into a launch order, or into all that is wrong."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from instances.actions.guest_settings import GuestSettings
from instances.actions.launch import LaunchOrder, check
from instances.api import credentials
from instances.api.errors import Problem
from instances.api.parsing import is_id
from instances.api.placement_request import wish_in, wish_problems
from instances.cloud_init import hash_password
from instances.exceptions import InvalidRequest
from instances.models import Account

MAX_KEY_LENGTH = 200
# As the OpenAPI document describes it.
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body answers with what the first made.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY_LENGTH,
        "pattern": "^[!-~]*$",
    },
}
NO_IMAGE = "You must specify an image. Machines without one cannot be had yet."
BOOTED = "booted must be true or false"
_NOT_YET = "cannot be had yet; leave it out"
# What a customer may name though this release has it not: field -> values that ask for
# nothing beyond what every instance is. Empty values never ask for anything.
_UNAVAILABLE: dict[str, tuple[Any, ...]] = {
    "backup_id": (),
    "backups_enabled": (),
    "boot_size": (),
    "disk_encryption": ("disabled",),
    "group": (),
    "interface_generation": ("legacy_config",),
    "interfaces": (),
    "ipv4": (),
    "kernel": (),
    "maintenance_policy": ("linode/power_off_on",),
    "network_helper": (),
    "private_ip": (),
    "stackscript_data": (),
    "stackscript_id": (),
    "swap_size": (512,),
}
_READ = (
    *("type", "region", "image", "label", "tags"),
    *("root_pass", "authorized_keys", "authorized_users", "booted", "metadata"),
    *("reservation", "firewall_id", "placement_group"),
)
_ORDER = {field: place for place, field in enumerate((*_READ, *_UNAVAILABLE))}


def order_from(
    body: Mapping[str, Any], account: Account, username: str, key: str
) -> LaunchOrder:
    """Return the order that `body` describes; key: of the header Idempotency-Key.

    Raises InvalidRequest with every error at once, in Linode's order: type, region, ...
    """
    texts = {name: _text(body, name) for name in ("type", "region", "image", "label")}
    order = LaunchOrder(
        account=account,
        plan=texts["type"],
        region=texts["region"],
        image=texts["image"],
        actor=f"user:{username}",
        username=username,
        label=texts["label"],
        tags=_tags(body),
        reservation=_id_in(body, "reservation"),
        firewall=_id_in(body, "firewall_id"),
        group=wish_in(body),
        booted=is_booted(body),
        idempotency_key=key,
        settings=guest_settings_from(body),
    )
    problems = _shape_problems(body)
    if problems:
        raise InvalidRequest(_with_those_of_the_catalogue(problems, order))
    return order


def guest_settings_from(body: Mapping[str, Any]) -> GuestSettings:
    """Return what a guest is to be set up with; what has the wrong shape is left out.

    The password ends here: from now on there is only its hash.
    """
    wrong = {field for field, _ in credentials.problems_of(body)}
    given = {
        field: body[field]
        for field in ("root_pass", "authorized_keys", "authorized_users")
        if body.get(field) and field not in wrong
    }
    password = given.get("root_pass")
    return GuestSettings(
        keys=tuple(given.get("authorized_keys", ())),
        users=tuple(given.get("authorized_users", ())),
        password_hash=hash_password(password) if password else "",
        user_data=_user_data(body) or b"",
    )


def _user_data(body: Mapping[str, Any]) -> bytes | None:
    """Return metadata.user_data, which comes in base64; None if it is no such thing."""
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or set(metadata) - {"user_data"}:
        return None
    try:
        return base64.b64decode(metadata.get("user_data") or "", validate=True)
    except (TypeError, ValueError):
        return None


def idempotency_key(header: str | None) -> str:
    """Return the checked key; empty if there is none. Raises InvalidRequest."""
    if not header:
        return ""
    if not re.fullmatch(rf"[\x21-\x7e]{{1,{MAX_KEY_LENGTH}}}", header):
        reason = f"Must be 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise InvalidRequest([("Idempotency-Key", reason)])
    return header


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _tags(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("tags") or []
    return tuple(value) if is_list_of_strings(value) else ()


def _id_in(body: Mapping[str, Any], field: str) -> int | None:
    value: Any = body.get(field)
    return int(value) if is_id(value) else None


def is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _shape_problems(body: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = [
        (field, f"{field} is required")
        for field in ("type", "region")
        if body.get(field) in (None, "")
    ]
    image = body.get("image")
    if image in (None, ""):
        problems.append(("image", NO_IMAGE))
    if not isinstance(body.get("label") or "", str):
        problems.append(("label", "label must be a string"))
    if not is_list_of_strings(body.get("tags") or []):
        problems.append(("tags", "tags must be a list of strings"))
    problems += guest_problems(body)
    for field, what in (("reservation", "reservation"), ("firewall_id", "firewall")):
        if body.get(field) is not None and _id_in(body, field) is None:
            problems.append((field, f"{field} must be a {what}'s id"))
    problems += wish_problems(body)
    return problems + unavailable_problems(body, _READ)


def is_booted(body: Mapping[str, Any]) -> bool:
    """Say whether the machine is to run when it is made; nothing said means that it is."""
    return body.get("booted") is not False


def guest_problems(body: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the shape of what a guest is to be set up with."""
    image = body.get("image")
    problems = credentials.problems_of(body)
    if isinstance(image, str) and image and credentials.are_missing(body, image):
        problems.append((None, credentials.REQUIRED))
    if not isinstance(body.get("booted"), bool | None):
        problems.append(("booted", BOOTED))
    if _user_data(body) is None:
        reason = "metadata must be an object with user_data in base64"
        problems.append(("metadata.user_data", reason))
    return problems


def unavailable_problems(
    body: Mapping[str, Any], read: tuple[str, ...]
) -> list[Problem]:
    """Return the fields that ask for what there is not. read: those that are heeded."""
    problems: list[Problem] = []
    for field, value in body.items():
        if field in read or _asks_for_nothing(value):
            continue
        if field not in _UNAVAILABLE:
            problems.append((field[:100], "There is no such field"))
        elif value not in _UNAVAILABLE[field]:
            problems.append((field, f"{field} {_NOT_YET}"))
    return problems


def _asks_for_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_asks_for_nothing(inner) for inner in value.values())
    return not value


def _with_those_of_the_catalogue(
    problems: list[Problem], order: LaunchOrder
) -> list[Problem]:
    """Add what the launch itself would refuse; a field's own shape comes first."""
    known = {field for field, _ in problems}
    try:
        check(order)
    except InvalidRequest as refused:
        problems = problems + [e for e in refused.errors if e[0] not in known]
    fields = {field for field, _ in problems}
    if fields & {"type", "region"}:
        # Linode's own clients expect just these two when no image was named.
        problems = [e for e in problems if e != ("image", NO_IMAGE)]
    if "image" in fields:
        problems = [e for e in problems if e[1] != credentials.REQUIRED]
    return sorted(problems, key=_place_of)


def _place_of(problem: Problem) -> int:
    field = problem[0] or "authorized_users"
    return _ORDER.get(field.partition(".")[0], 99)
