"""Apply an X-Filter header to a query: Linode API v4, "Filtering and sorting".

Only fields of an endpoint's allow-list can be asked for; size, depth and number of
conditions are bounded, so that a header cannot make the database work without end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import F, Model, Q, QuerySet

from instances.api.filter_fields import Field, Kind, Unfit
from instances.api.parsing import NotJson, loads
from instances.exceptions import InvalidRequest

MAX_CHARACTERS = 4096
MAX_DEPTH = 6
MAX_CONDITIONS = 50
MAX_LIMIT = 2**31 - 1

Fields = Mapping[str, Field]
Row = TypeVar("Row", bound=Model)


def filtered(rows: QuerySet[Row], header: str, fields: Fields) -> QuerySet[Row]:
    """Return `rows` as the header wants them; an empty header changes nothing.

    fields: the wire's names that may be used. A `+limit` slices the query, so it can be
    counted and sliced further, but not filtered. Raises InvalidRequest.
    """
    if not header.strip():
        return rows
    wanted = wanted_of(header, fields)
    rows = rows.alias(**_expressions(fields)).filter(wanted.condition)
    rows = _ordered(rows, wanted, fields)
    return rows if wanted.limit is None else rows[: wanted.limit]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a header asks for. condition: on the fields' paths. order_by: a field's name."""

    condition: Q
    order_by: str | None
    descending: bool
    limit: int | None


def wanted_of(header: str, fields: Fields) -> Wanted:
    """Return what the header asks for. Raises InvalidRequest."""
    document = _parsed(header)
    controls: dict[str, Any] = {}
    _lift_controls(document, controls)
    return Wanted(
        condition=_Condition(fields).of(document),
        order_by=_order_by(controls, fields),
        descending=_is_descending(controls),
        limit=_limit(controls["+limit"]) if "+limit" in controls else None,
    )


_CONTROLS = ("+order_by", "+order", "+limit")


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest([("X-Filter", reason)])


def _parsed(header: str) -> dict[str, Any]:
    if len(header) > MAX_CHARACTERS:
        raise _refused(f"Filter longer than {MAX_CHARACTERS} characters")
    try:
        # WSGI hands headers over as Latin-1, whatever they are.
        document = loads(header.encode("latin-1").decode("utf-8"))
    except (UnicodeError, NotJson) as error:
        raise _refused("Filter not valid JSON") from error
    if not isinstance(document, dict):
        raise _refused("Filter must be a JSON object")
    return document


def _lift_controls(document: Any, controls: dict[str, Any], depth: int = 1) -> None:
    """Move order and limit out of `document` and of what it joins by +and.

    linode_api4 puts order_by() and limit() in the +and with its other filters.
    """
    if not isinstance(document, dict) or depth > MAX_DEPTH:
        return
    for name in _CONTROLS:
        if name not in document:
            continue
        if name in controls:
            raise _refused(f"{name} may be given once")
        controls[name] = document.pop(name)
    parts = document.get("+and")
    for part in parts if isinstance(parts, list) else ():
        _lift_controls(part, controls, depth + 1)


def _expressions(fields: Fields) -> dict[str, Any]:
    return {f.path: f.expression for f in fields.values() if f.expression is not None}


def _field(fields: Fields, name: str) -> Field:
    if name not in fields:
        kind = "operator" if name.startswith("+") else "field"
        raise _refused(f"Cannot filter on {name[:100]}: no such {kind} here")
    return fields[name]


class _Condition:
    """Builds one Q from nested filter objects and counts what it was asked for."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._left = MAX_CONDITIONS

    def of(self, document: Any, depth: int = 1) -> Q:
        if not isinstance(document, dict):
            raise _refused("+and and +or take lists of objects")
        if depth > MAX_DEPTH:
            raise _refused(f"Filter nested deeper than {MAX_DEPTH}")
        result = Q()
        for name, value in document.items():
            if name in ("+and", "+or"):
                result &= self._joined(name, value, depth)
            else:
                result &= self._compared(_field(self._fields, name), name, value)
        return result

    def _joined(self, operator: str, parts: Any, depth: int) -> Q:
        if not isinstance(parts, list) or not parts:
            raise _refused(f"{operator} takes a list of objects")
        result = Q()
        for part in parts:
            inner = self.of(part, depth + 1)
            if not inner and operator == "+or":
                # An empty object holds for every row, and so does this +or.
                return Q()
            result = result & inner if operator == "+and" else result | inner
        return result

    def _compared(self, field: Field, name: str, value: Any) -> Q:
        comparisons = value if isinstance(value, dict) else {"": value}
        result = Q()
        for operator, operand in comparisons.items():
            self._left -= 1
            if self._left < 0:
                raise _refused(f"Filter with more than {MAX_CONDITIONS} conditions")
            try:
                result &= field.condition(operator, operand)
            except Unfit as error:
                raise _refused(f"Cannot filter on {name}: {error}") from error
        return result


def _is_descending(controls: dict[str, Any]) -> bool:
    direction = controls.get("+order", "asc")
    if direction not in ("asc", "desc"):
        raise _refused("+order is asc or desc")
    return bool(direction == "desc")


def _order_by(controls: dict[str, Any], fields: Fields) -> str | None:
    if "+order_by" not in controls:
        return None
    name = controls["+order_by"]
    if not isinstance(name, str) or name not in fields:
        raise _refused(f"Cannot order by {str(name)[:100]}")
    if fields[name].kind is Kind.TEXTS:
        raise _refused(f"Cannot order by {name}: it is a list")
    return name


def _ordered(rows: QuerySet[Row], wanted: Wanted, fields: Fields) -> QuerySet[Row]:
    if wanted.order_by is None:
        return rows
    field = fields[wanted.order_by]
    if field.expression is not None:
        # The same for every row, and PostgreSQL refuses to order by a constant.
        return rows.order_by("-pk" if wanted.descending else "pk")
    by = F(field.path)
    # The key makes the order total: pages neither repeat a row nor lose one.
    if wanted.descending:
        return rows.order_by(by.desc(), "-pk")
    return rows.order_by(by.asc(), "pk")


def _limit(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_LIMIT:
        raise _refused("+limit is a whole number from 1")
    return value
