"""Run the claim's statements prepared on the server, on Django's own connection.

Django's cursor pastes the parameters into the text, so PostgreSQL plans each statement
anew: for the claim that costs more than running it. Queries that run here do not show in
`connection.queries`.
"""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from psycopg import Cursor


def rows(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the statement's rows; in the caller's transaction, if there is one.

    Raises Django's database errors.
    """
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        # The connection's own cursors, Django's, do not bind on the server.
        found = Cursor(connection.connection).execute(statement, parameters, prepare=True)
        return found.fetchall() if found.description else []
