"""Read bodies that name a type and a region, and say all that is wrong with them at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from instances.actions.sale import offer
from instances.api.errors import Problem
from instances.models import Account


def texts_of(body: Mapping[str, Any], fields: Iterable[str]) -> dict[str, str]:
    """Return the fields' texts; empty where there is none."""
    return {f: value if isinstance(value := body.get(f), str) else "" for f in fields}


def required_problems(
    body: Mapping[str, Any], fields: Iterable[str]
) -> list[tuple[str, str]]:
    return [(f, f"{f} is required") for f in fields if body.get(f) in (None, "")]


def unknown_problems(
    body: Mapping[str, Any], fields: Sequence[str]
) -> list[tuple[str, str]]:
    return [(f[:100], "There is no such field") for f in body if f not in fields]


def with_those_of_the_catalogue(
    problems: Iterable[tuple[str, str]],
    texts: Mapping[str, str],
    account: Account,
    fields: Sequence[str],
) -> list[Problem]:
    """Add what is wrong with type and region; each field once, in the order of `fields`."""
    errors = offer(texts["type"], texts["region"], account).errors
    first: dict[str | None, str] = {}
    for field, reason in [*problems, *errors]:
        first.setdefault(field, reason)
    known = [field for field in fields if field in first]
    return [(f, first[f]) for f in [*known, *(f for f in first if f not in known)]]
