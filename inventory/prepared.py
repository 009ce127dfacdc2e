"""Run statements prepared on the server, on Django's own connection: for the hot path.

Django's cursor pastes the parameters into the text, so PostgreSQL plans each statement
anew, and the ORM composes the text anew: for the claim both cost more than running it.
Queries that run here do not show in `connection.queries`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model
from psycopg import Cursor

Row = TypeVar("Row", bound=Model)


def rows(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the statement's rows; in the caller's transaction, if there is one.

    Raises Django's database errors.
    """
    # As Django's own cursors do: the server may have restarted since the last request.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        # The connection's own cursors, Django's, do not bind on the server.
        found = Cursor(connection.connection).execute(
            statement, parameters, prepare=True
        )
        # Not `description`: that builds an object per column.
        has_rows = found.pgresult is not None and found.pgresult.nfields
        return found.fetchall() if has_rows else []


@cache
def columns(model: type[Model], alias: str) -> str:
    """Return the model's columns for a SELECT; load() reads them back."""
    return ", ".join(f"{alias}.{column}" for column in _columns(model))


def load(model: type[Row], values: Sequence[Any]) -> tuple[Row | None, Sequence[Any]]:
    """Return the model's row that `values` begin with, and the values after it.

    The row is None where an outer join found none. For models without JSON, which Django
    decodes itself.
    """
    names = _names(model)
    mine, others = values[: len(names)], values[len(names) :]
    if mine[0] is None:
        return None, others
    return model.from_db("default", names, mine), others


def insert(row: Model) -> None:
    """Insert the row and set its key, as save() does for a new one, less the signals."""
    model = type(row)
    fields = [field for field in _meta(model).concrete_fields if not field.primary_key]
    values = {
        field.column: field.get_db_prep_save(field.pre_save(row, add=True), connection)
        for field in fields
    }
    ((row.pk,),) = rows(_insertion(model), values)
    state = row._state  # noqa: SLF001 -- as save() leaves it
    state.adding, state.db = False, "default"


@cache
def _insertion(model: type[Model]) -> str:
    names = [f.column for f in _meta(model).concrete_fields if not f.primary_key]
    values = ", ".join(f"%({name})s" for name in names)
    return (
        f"INSERT INTO {_meta(model).db_table} ({', '.join(names)}) "  # noqa: S608
        f"VALUES ({values}) RETURNING {_columns(model)[0]}"
    )


@cache
def _columns(model: type[Model]) -> list[str]:
    """Return the columns, the key first."""
    return [field.column for field in _fields(model)]


@cache
def _names(model: type[Model]) -> list[str]:
    return [field.attname for field in _fields(model)]


def _fields(model: type[Model]) -> list[Any]:
    return sorted(_meta(model).concrete_fields, key=lambda field: not field.primary_key)


def _meta(model: type[Model]) -> Any:
    return model._meta  # noqa: SLF001 -- documented in spite of its name
