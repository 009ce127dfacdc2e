"""Turn the bodies of "Rebuild a Linode" and of what powers one into orders."""

from collections.abc import Mapping
from typing import Any

from instances.actions.rebuild import NO_IMAGE, RebuildOrder, check
from instances.api import credentials
from instances.api.create_request import (
    guest_problems,
    guest_settings_from,
    is_booted,
    unavailable_problems,
)
from instances.api.errors import Problem
from instances.cloud_init import hash_password
from instances.exceptions import InvalidRequest
from instances.models import Instance

_READ = (
    *("image", "root_pass", "authorized_keys", "authorized_users"),
    *("booted", "metadata", "type"),
)


def rebuild_order_from(body: Mapping[str, Any], instance: Instance) -> RebuildOrder:
    """Return the order that `body` describes. Raises InvalidRequest with every error."""
    image = body.get("image")
    order = RebuildOrder(
        image=image if isinstance(image, str) else "",
        settings=guest_settings_from(body),
        booted=is_booted(body),
    )
    if not order.image:
        raise InvalidRequest([("image", NO_IMAGE)])
    problems = [*guest_problems(body), *unavailable_problems(body, _READ)]
    if body.get("type") not in (None, instance.plan.slug):
        problems.append(("type", "A rebuild keeps the type; resize the Linode instead"))
    if problems:
        raise InvalidRequest(_with_those_of_the_image(problems, instance, order))
    return order


def _with_those_of_the_image(
    problems: list[Problem], instance: Instance, order: RebuildOrder
) -> list[Problem]:
    known = {field for field, _ in problems}
    try:
        check(instance, order)
    except InvalidRequest as refused:
        return problems + [e for e in refused.errors if e[0] not in known]
    return problems


def password_hash_from(body: Mapping[str, Any]) -> str:
    """Return the hash of the body's root_pass, which ends here. Raises InvalidRequest."""
    password = body.get("root_pass")
    problems: list[Problem] = [
        e for e in credentials.problems_of(body) if e[0] == "root_pass"
    ]
    if not password:
        problems.append(("root_pass", "root_pass is required"))
    problems += unavailable_problems(body, ("root_pass",))
    if problems:
        raise InvalidRequest(problems)
    return hash_password(password or "")


def refuse_config(body: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for a config_id, or for what there is not."""
    problems = unavailable_problems(body, ("config_id",))
    if body.get("config_id") is not None:
        reason = "There are no configuration profiles; leave config_id out"
        problems.append(("config_id", reason))
    if problems:
        raise InvalidRequest(problems)
