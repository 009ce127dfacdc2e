"""Say of each view's methods what they take and answer, for the OpenAPI document."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from drf_spectacular.drainage import warn
from drf_spectacular.openapi import AutoSchema

from instances.api.openapi.schemas import Schema, schema_of
from instances.api.scopes import needed_for
from instances.api.shapes.common import Empty
from instances.token_scopes import ANY

JSON = "application/json"
TOKEN_SCHEME = "personalAccessToken"  # noqa: S105 -- a name in the document
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Operation:
    """answer: a TypedDict, a bare list of one, or `str` for plain text.

    fields: of a list, the names that X-Filter may use; None for what is no list.
    refuses: statuses beside those that follow from the method and the path.
    parameters: in headers or the query, as OpenAPI has them.
    """

    summary: str
    answer: Any
    takes: Any = None
    fields: frozenset[str] | None = None
    refuses: tuple[HTTPStatus, ...] = ()
    parameters: tuple[Schema, ...] = ()

    @property
    def identifier(self) -> str:
        first, *others = re.findall(r"[A-Za-z0-9]+", self.summary)
        return first.lower() + "".join(word[0].upper() + word[1:] for word in others)


OPERATIONS: dict[Callable[..., Any], Operation] = {}


def operation(
    summary: str,
    answer: Any = Empty,
    *,
    takes: Any = None,
    fields: Mapping[str, Any] | None = None,
    refuses: tuple[HTTPStatus, ...] = (),
    parameters: tuple[Schema, ...] = (),
) -> Callable[[View], View]:
    """Describe the decorated method of a view; see Operation.

    summary: also makes the operationId, so each is used once.
    """
    names = None if fields is None else frozenset(fields)
    described = Operation(summary, answer, takes, names, refuses, parameters)

    def register(method: View) -> View:
        OPERATIONS[method] = described
        return method

    return register


class EndpointSchema(AutoSchema):
    """drf-spectacular's walk over the URL table with our own words about each method."""

    @property
    def operation(self) -> Operation:
        method = getattr(type(self.view), self.method.lower())
        if method not in OPERATIONS:
            warn(f"{method.__qualname__} has no @operation that describes it")
            return Operation(f"Undescribed {method.__qualname__}", Empty)
        return OPERATIONS[method]

    def _is_list_view(self, serializer: Any = None) -> bool:
        # There are no serializers to guess from.
        return False

    def get_operation_id(self) -> str:
        return self.operation.identifier

    def get_summary(self) -> str:
        return self.operation.summary

    def get_auth(self) -> list[dict[str, Any]]:
        needed = needed_for(self.method, getattr(self.view, "category", ""))
        required = {TOKEN_SCHEME: [] if needed == ANY else [needed]}
        is_public = getattr(self.view, "is_public", False) and self.method == "GET"
        return [{}, required] if is_public else [required]

    def _get_parameters(self) -> list[dict[str, Any]]:
        found = [*super()._get_parameters(), *self.operation.parameters]
        if self.operation.fields is not None:
            found += _list_parameters(self.operation.fields)
        return found

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        takes = self.operation.takes
        if takes is None:
            return None
        return {"required": True, "content": {JSON: {"schema": schema_of(takes)}}}

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        refusals = {
            str(int(status)): {"$ref": f"#/components/responses/{status.name}"}
            for status in sorted(self._refusals())
        }
        return {"200": self._success(), **refusals}

    def _success(self) -> Schema:
        described = self.operation
        if described.answer is str:
            content = {"text/plain": {"schema": {"type": "string"}}}
        elif described.fields is None:
            content = {JSON: {"schema": schema_of(described.answer)}}
        else:
            content = {JSON: {"schema": page_schema(schema_of(described.answer))}}
        headers = {
            name: {"$ref": f"#/components/headers/{name}"} for name in OUT_HEADERS
        }
        return {"description": "Success", "headers": headers, "content": content}

    def _refusals(self) -> set[HTTPStatus]:
        found = {
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            *self.operation.refuses,
        }
        if self.method != "GET" or self.operation.fields is not None:
            found.add(HTTPStatus.BAD_REQUEST)
        if "{" in self.path:
            found.add(HTTPStatus.NOT_FOUND)
        if self.operation.takes is not None:
            found |= {
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            }
        return found


OUT_HEADERS: dict[str, Schema] = {
    "X-OAuth-Scopes": {
        "description": "What the token may do; unknown without a valid one.",
        "schema": {"type": "string"},
    },
    "X-Accepted-OAuth-Scopes": {
        "description": "What this request needs; * for none.",
        "schema": {"type": "string"},
    },
    "X-RateLimit-Limit": {
        "description": "Requests of the token in a window. Only with a token.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Remaining": {
        "description": "How many of them are left.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Reset": {
        "description": "End of the window, in seconds since 1970.",
        "schema": {"type": "integer"},
    },
}


def page_schema(item: Schema) -> Schema:
    """Return the envelope of a list of `item`."""
    properties = {
        "data": {"type": "array", "items": item},
        "page": {"type": "integer", "minimum": 1, "description": "This page."},
        "pages": {"type": "integer", "minimum": 1, "description": "All pages."},
        "results": {"type": "integer", "minimum": 0, "description": "All rows."},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _list_parameters(fields: frozenset[str]) -> list[Schema]:
    named = ", ".join(sorted(fields)) or "none"
    return [
        {"$ref": "#/components/parameters/page"},
        {"$ref": "#/components/parameters/page_size"},
        {
            "name": "X-Filter",
            "in": "header",
            "description": "A JSON object: fields with values or with +gt, +gte, +lt, +lte, "
            "+neq, +contains; +and, +or, +order_by, +order, +limit. At most 4096 "
            f"characters, 50 conditions, 6 levels. Fields: {named}.",
            "schema": {"type": "string"},
            "example": '{"+limit": 10}',
        },
    ]
