"""Apply an X-Filter header to objects that were computed and are in no table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db.models import Q

from instances.api.filtering import Fields, wanted_of

_LOOKUPS: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda have, want: have == want,
    "isnull": lambda have, want: (have is None) == want,
    "icontains": lambda have, want: want.lower() in have.lower(),
    "gt": lambda have, want: have > want,
    "gte": lambda have, want: have >= want,
    "lt": lambda have, want: have < want,
    "lte": lambda have, want: have <= want,
}


def filtered_objects(
    objects: Sequence[Mapping[str, Any]], header: str, fields: Fields
) -> list[Mapping[str, Any]]:
    """Return those of `objects` that the header wants, in its order.

    fields: each field's path is a key of the objects. Raises InvalidRequest.
    """
    if not header.strip():
        return list(objects)
    wanted = wanted_of(header, fields)
    found = [each for each in objects if _holds(wanted.condition, each)]
    if wanted.order_by is not None:
        key = fields[wanted.order_by].path
        found.sort(key=lambda each: each[key], reverse=wanted.descending)
    return found[: wanted.limit]


def _holds(condition: Q, each: Mapping[str, Any]) -> bool:
    truths = (
        _holds(child, each) if isinstance(child, Q) else _compares(child, each)
        for child in condition.children
    )
    # An empty condition holds for every object, whatever its connector.
    holds = any(truths) if condition.connector == Q.OR and condition else all(truths)
    return holds != condition.negated


def _compares(child: Any, each: Mapping[str, Any]) -> bool:
    path, want = child
    key, _, lookup = path.partition("__")
    return _LOOKUPS[lookup](each[key], want)
