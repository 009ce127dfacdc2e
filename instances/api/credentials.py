"""Check the shape of what lets a customer into a new guest: password, keys, users."""

from collections.abc import Mapping
from typing import Any

from instances.api.errors import Problem
from instances.passwords import password_problem
from instances.ssh_keys import UnfitKey, canonical

# Linode API v4's own words, which name no field.
REQUIRED = "Must provide valid root_pass, authorized_keys, or authorized_users"
_MAX_ENTRIES = 100
# The lab's guests, and only they: they have no accounts that anyone could log in to.
_WITHOUT_ACCOUNTS = "gpucloud/probe"


def problems_of(body: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the three fields, as (field, reason)."""
    checks = {
        "root_pass": _password_problem,
        "authorized_keys": _keys_problem,
        "authorized_users": _users_problem,
    }
    return [
        (field, problem)
        for field, check in checks.items()
        if body.get(field) not in (None, "", [])
        and (problem := check(body[field])) is not None
    ]


def are_missing(body: Mapping[str, Any], image: str) -> bool:
    """Say whether `image` needs a way in and `body` has no valid one."""
    if image.startswith(_WITHOUT_ACCOUNTS):
        return False
    wrong = {field for field, _ in problems_of(body)}
    return not any(
        body.get(field) and field not in wrong
        for field in ("root_pass", "authorized_keys", "authorized_users")
    )


def _password_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return "root_pass must be a string"
    return password_problem(value)


def _keys_problem(value: Any) -> str | None:
    if not _is_list_of_strings(value):
        return "authorized_keys must be a list of strings"
    for number, key in enumerate(value, start=1):
        try:
            canonical(key)
        except UnfitKey as error:
            return f"SSH key {number} {error}"
    return None


def _users_problem(value: Any) -> str | None:
    if not _is_list_of_strings(value) or not all(value):
        return "authorized_users must be a list of usernames"
    return None


def _is_list_of_strings(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MAX_ENTRIES
        and all(isinstance(entry, str) for entry in value)
    )
