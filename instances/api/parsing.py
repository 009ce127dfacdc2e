"""Read request bodies: JSON objects only, bounded, and nothing that a database refuses."""

import json
import sys
from collections.abc import Mapping
from math import isfinite
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from instances.api.errors import TooLarge

MAX_BODY_BYTES = 128 * 1024
# More than any body has, and less than what reads one can do.
_DEEPEST = 100
_LARGEST_ID = 2**63 - 1
_INVALID = "The request body is not valid JSON"


def is_storable(text: str) -> bool:
    """Say whether PostgreSQL can hold `text`: no NUL and no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


class NotJson(ValueError):
    """A text that is no JSON document, or one that must not come further."""


def loads(text: str, deepest: int = sys.maxsize) -> Any:
    """Parse JSON as RFC 8259 has it. Raises NotJson; NaN, NUL and deep nesting too."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
        _refuse_unstorable(document, deepest)
    except (ValueError, RecursionError) as error:
        raise NotJson from error
    return document


def _refuse_constant(name: str) -> Any:
    raise NotJson(name)


def _refuse_unstorable(value: Any, deepest: int) -> None:
    if deepest < 0:
        raise NotJson
    if isinstance(value, dict):
        for key in value:
            _refuse_unstorable(key, deepest)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_unstorable(inner, deepest - 1)
    elif isinstance(value, str) and not is_storable(value):
        raise NotJson
    elif isinstance(value, float) and not isfinite(value):
        # 1e999 is infinite, which is no number of JSON's.
        raise NotJson


class BoundedJSONParser(BaseParser):
    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge
        try:
            # utf-8-sig: some clients on Windows put a byte order mark first.
            return loads(raw.decode("utf-8-sig"), _DEEPEST)
        except (UnicodeDecodeError, NotJson) as error:
            raise ParseError(_INVALID) from error


def body_object(request: Request) -> dict[str, Any]:
    """Return the body's object; an empty body is an empty object. Raises ParseError."""
    data = request.data
    if not isinstance(data, Mapping):
        raise ParseError("The request body must be a JSON object")
    return dict(data)


def is_id(value: Any) -> bool:
    """Say whether a JSON value may be the id of a row."""
    return type(value) is int and 0 < value <= _LARGEST_ID


def label_problem(value: Any) -> str | None:
    """Return that a label is no string; what a string must be like is the action's to say."""
    return None if isinstance(value, str) else "label must be a string"
