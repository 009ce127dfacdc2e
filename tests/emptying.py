"""Empties the test's database after a test that commits.

Django's own flush truncates all tables, which writes new files for each of them and their
indexes, and makes all content types and permissions anew. Here rows are deleted, where
there are any.
"""

from django.db import connection, transaction

from instances.tasks import ensure_schedules

# They are as migrate leaves them: no test makes or changes any.
_KEPT = {"django_content_type", "auth_permission"}


def empty_tables() -> None:
    """Leave the rows that a flush leaves, and no other; sequences go on."""
    with transaction.atomic(), connection.cursor() as cursor:
        tables = set(connection.introspection.django_table_names(only_existing=True))
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})"  # noqa: S608
                for table in sorted(tables - _KEPT)
            )
        )
        filled = [table for (table,) in cursor.fetchall()]
        if filled:
            cursor.execute(_emptying(filled))
        ensure_schedules()


def _emptying(tables: list[str]) -> str:
    # History cannot be deleted while its guards are there; they are back at the commit.
    guards = "ALTER TABLE {} {} TRIGGER USER"
    # In one statement, at whose end those keys are asked that do not wait for a commit.
    deletes = ",".join(
        f"d{number} AS (DELETE FROM {table})"  # noqa: S608 -- own tables
        for number, table in enumerate(tables)
    )
    return ";".join(
        (
            *(guards.format(table, "DISABLE") for table in tables),
            f"WITH {deletes} SELECT",
            "SET CONSTRAINTS ALL IMMEDIATE",
            *(guards.format(table, "ENABLE") for table in tables),
        )
    )
