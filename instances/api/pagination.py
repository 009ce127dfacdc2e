"""Cut a list into pages: Linode API v4's page, page_size and envelope."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import QuerySet
from rest_framework.request import Request

from instances.exceptions import InvalidRequest

DEFAULT_SIZE = 100
SMALLEST, LARGEST = 25, 500
_SIZE_RULE = f"Must be {SMALLEST}-{LARGEST}"
_PAGE_RULE = "Must be 1 or greater"

Row = TypeVar("Row")


def page_of(
    request: Request,
    rows: QuerySet[Any] | Sequence[Row],
    build: Callable[[Row], Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the envelope of the page that the query string asks for; two queries at most.

    A page after the last is empty. Raises InvalidRequest.
    """
    page, size = _asked_for(request)
    results = rows.count() if isinstance(rows, QuerySet) else len(rows)
    start = (page - 1) * size
    found = rows[start : start + size] if start < results else ()
    return {
        "data": [build(row) for row in found],
        "page": page,
        "pages": max(1, -(-results // size)),
        "results": results,
    }


def _asked_for(request: Request) -> tuple[int, int]:
    errors: list[tuple[str | None, str]] = []
    page = _whole_number(request, "page", 1)
    if page is None or page < 1:
        errors.append(("page", _PAGE_RULE))
    size = _whole_number(request, "page_size", DEFAULT_SIZE)
    if size is None or not SMALLEST <= size <= LARGEST:
        errors.append(("page_size", _SIZE_RULE))
    if errors or page is None or size is None:
        raise InvalidRequest(errors)
    return page, size


def _whole_number(request: Request, name: str, default: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return default
    # Nine digits are more pages than there are rows, and keep the offset a bigint.
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
