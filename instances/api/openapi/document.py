"""The OpenAPI document: what drf-spectacular found, with the components it refers to."""

import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from instances.api.openapi.operations import (
    JSON,
    OPERATIONS,
    OUT_HEADERS,
    TOKEN_SCHEME,
)
from instances.api.openapi.schemas import Schema, components_of, schema_of
from instances.api.pagination import DEFAULT_SIZE, LARGEST, SMALLEST
from instances.api.shapes.common import Errors

# (description, example of errors) of every status that is no success.
_REFUSALS: dict[HTTPStatus, tuple[str, list[dict[str, str]]]] = {
    HTTPStatus.BAD_REQUEST: (
        "A field is wrong, or it cannot be had now. All that is wrong is named at once; "
        "nothing was changed.",
        [
            {
                "reason": "No GPU capacity is available in us-east for g1-gpu-rtx6000-1 "
                "right now.",
                "field": "region",
            }
        ],
    ),
    HTTPStatus.UNAUTHORIZED: (
        "No valid token, or one with too small a scope.",
        [{"reason": "Invalid Token"}],
    ),
    HTTPStatus.NOT_FOUND: (
        "There is no such thing, or it is not yours.",
        [{"reason": "Not found"}],
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "The body is over 128 KiB.",
        [{"reason": "The request body is too large"}],
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "The body is not application/json.",
        [{"reason": 'Unsupported media type "text/plain" in request.'}],
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "The token made too many requests; Retry-After says for how many seconds.",
        [{"reason": "Too many requests"}],
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        "Our fault.",
        [{"reason": "Internal Server Error"}],
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "The Linode's host does not answer.",
        [{"reason": "The host does not answer."}],
    ),
}


def one_path_each(endpoints: Iterable[Any]) -> list[Any]:
    """Leave out the aliases, /v4beta and a slash at the end, and the document itself."""
    return [
        endpoint
        for endpoint in endpoints
        if endpoint[0].startswith("/v4/")
        and not endpoint[0].endswith("/")
        and endpoint[0] != "/v4/openapi.json"
    ]


def add_components(result: Schema, **_: Any) -> Schema:
    """Add the shapes, refusals, parameters and headers that operations refer to."""
    named = set(re.findall(r"#/components/schemas/(\w+)", str(result["paths"])))
    shapes = {op.answer for op in OPERATIONS.values() if op.answer is not str}
    shapes |= {op.takes for op in OPERATIONS.values() if op.takes is not None}
    shapes = {shape for shape in shapes if shape.__name__ in named}
    result["components"] = {
        "schemas": components_of({*shapes, Errors}),
        "responses": {status.name: _refusal(status) for status in _REFUSALS},
        "parameters": _PARAMETERS,
        "headers": OUT_HEADERS | {"Retry-After": _RETRY_AFTER},
        "securitySchemes": {
            TOKEN_SCHEME: {
                "type": "http",
                "scheme": "bearer",
                "description": "Roles are the token's scopes.",
            }
        },
    }
    return result


def _refusal(status: HTTPStatus) -> Schema:
    description, errors = _REFUSALS[status]
    content = {"schema": schema_of(Errors), "example": {"errors": errors}}
    response: Schema = {"description": description, "content": {JSON: content}}
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        response["headers"] = {
            "Retry-After": {"$ref": "#/components/headers/Retry-After"}
        }
    return response


_RETRY_AFTER: Schema = {
    "description": "Seconds until the next request will be answered.",
    "schema": {"type": "integer", "minimum": 1},
}
_PARAMETERS: dict[str, Schema] = {
    "page": {
        "name": "page",
        "in": "query",
        "description": "From 1; a page after the last is empty.",
        "schema": {"type": "integer", "minimum": 1, "default": 1},
    },
    "page_size": {
        "name": "page_size",
        "in": "query",
        "description": "Rows of a page.",
        "schema": {
            "type": "integer",
            "minimum": SMALLEST,
            "maximum": LARGEST,
            "default": DEFAULT_SIZE,
        },
    },
}


@cache
def document() -> Schema:
    """Return the document; made once in a process, for it depends on code alone."""
    generated: Schema = SchemaGenerator().get_schema(request=None, public=True)
    return generated
