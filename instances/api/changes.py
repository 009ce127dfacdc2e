"""Read the body of a PUT: what may change, and what may only be repeated as it is.

Clients send back whole objects (linode_api4's save() does), so a field that cannot be
changed is no error while it holds what it held.
"""

from collections.abc import Callable, Mapping
from typing import Any

from instances.api.errors import Problem
from instances.exceptions import InvalidRequest

Check = Callable[[Any], str | None]


def changes_in(
    body: Mapping[str, Any], current: Mapping[str, Any], checks: Mapping[str, Check]
) -> dict[str, Any]:
    """Return the fields of `body` that may change, with checked values.

    current: the object as the API shows it. checks: of each field that may change, what
    is wrong with a value. Raises InvalidRequest with all that is wrong.
    """
    problems: list[Problem] = []
    changes = {}
    for name, value in body.items():
        if name in checks:
            changes[name] = value
            problem = checks[name](value)
        elif name not in current:
            problem = "There is no such field"
        elif not _repeats(value, current[name]):
            problem = f"{name} cannot be changed"
        else:
            problem = None
        if problem is not None:
            problems.append((name[:100], problem))
    if problems:
        raise InvalidRequest(problems)
    return changes


def _repeats(value: Any, current: Any) -> bool:
    if isinstance(value, dict) and isinstance(current, Mapping):
        return all(
            name in current and _repeats(inner, current[name])
            for name, inner in value.items()
        )
    # In Python True is 1 and 1.0; in JSON it is not.
    return bool(value == current) and isinstance(value, bool) == isinstance(
        current, bool
    )


def text_of(longest: int, name: str = "label") -> Check:
    """Return the check that a value is 1 to `longest` printable characters."""

    def check(value: Any) -> str | None:
        fits = isinstance(value, str) and 1 <= len(value) <= longest
        if fits and value.isprintable() and value.strip() == value:
            return None
        return f"{name} must be 1 to {longest} printable characters, no space around"

    return check
