"""Answer a list: the caller's rows, filtered, ordered, and cut into a page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.filtering import Fields, filtered
from instances.api.object_filtering import filtered_objects
from instances.api.pagination import page_of

Row = TypeVar("Row", bound=Model)


def listing(
    request: Request,
    rows: QuerySet[Row],
    fields: Fields,
    build: Callable[[Row], Mapping[str, Any]],
) -> Response:
    """Return a page of `rows` built by `build`; two queries, whatever the page's size.

    A prefetch of `rows` adds its own.
    """
    rows = filtered(rows, request.headers.get("X-Filter", ""), fields)
    return Response(page_of(request, rows, build))


def listing_of_objects(
    request: Request, objects: Sequence[Mapping[str, Any]], fields: Fields
) -> Response:
    """Return a page of what was computed and is in no table; fields: by the objects' keys."""
    found = filtered_objects(objects, request.headers.get("X-Filter", ""), fields)
    return Response(page_of(request, found, dict))
