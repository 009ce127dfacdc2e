"""From the TypedDicts of instances.api.shapes to JSON Schema, as OpenAPI 3.1 has it."""

import types
from collections.abc import Callable, Iterator
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from instances.api.shapes.doc import Doc

Schema = dict[str, Any]
_BASIC = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(hint: Any) -> Schema:
    """Return the schema of a type; a TypedDict becomes a reference to its component.

    Raises TypeError for a type that a shape must not use.
    """
    if is_typeddict(hint):
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None and isinstance(hint, type) and hint in _BASIC:
        return {"type": _BASIC[hint]}
    if origin not in _OF_ORIGIN:
        raise TypeError(f"no schema for {hint!r}")
    return _OF_ORIGIN[origin](arguments)


def _annotated(arguments: tuple[Any, ...]) -> Schema:
    # An alias that has a Doc may get a second one where it is used.
    doc: Doc = arguments[-1]
    schema = schema_of(arguments[0])
    if doc.text:
        schema["description"] = doc.text
    if doc.example is not None:
        schema["examples"] = [doc.example]
    return schema


def _nullable(arguments: tuple[Any, ...]) -> Schema:
    (hint,) = (part for part in arguments if part is not type(None))
    schema = schema_of(hint)
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


_OF_ORIGIN: dict[Any, Callable[[tuple[Any, ...]], Schema]] = {
    Annotated: _annotated,
    Required: lambda arguments: schema_of(arguments[0]),
    NotRequired: lambda arguments: schema_of(arguments[0]),
    list: lambda arguments: {"type": "array", "items": schema_of(arguments[0])},
    dict: lambda arguments: {"type": "object"},
    Literal: lambda arguments: {"type": "string", "enum": list(arguments)},
    Union: _nullable,
    types.UnionType: _nullable,
}


def component_of(shape: Any) -> Schema:
    """Return the schema that a reference to the TypedDict leads to."""
    hints = get_type_hints(shape, include_extras=True)
    schema: Schema = {
        "type": "object",
        "properties": {name: schema_of(hint) for name, hint in hints.items()},
    }
    if shape.__required_keys__:
        schema["required"] = sorted(shape.__required_keys__)
    # TypedDict's own docstring says nothing about a class without one.
    if shape.__doc__ and not shape.__doc__.startswith("dict("):
        schema["description"] = shape.__doc__
    return schema


def components_of(shapes: set[Any]) -> dict[str, Schema]:
    """Return the components of the TypedDicts and of all that they refer to, by name."""
    found: dict[str, Any] = {}
    waiting = list(shapes)
    while waiting:
        shape = waiting.pop()
        if found.setdefault(shape.__name__, shape) is not shape:
            raise TypeError(f"two shapes are called {shape.__name__}")
        hints = get_type_hints(shape, include_extras=True).values()
        inner = {each for hint in hints for each in _shapes_in(hint)}
        waiting += [each for each in inner if each.__name__ not in found]
    return {name: component_of(found[name]) for name in sorted(found)}


def _shapes_in(hint: Any) -> Iterator[Any]:
    if is_typeddict(hint):
        yield hint
    for argument in get_args(hint):
        yield from _shapes_in(argument)
