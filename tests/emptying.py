"""Empties the test's database after a test that commits.

Django's own flush truncates all tables, which writes new files for each of them and their
indexes, and makes all content types and permissions anew. Here rows are deleted, where
there are any.
"""

from django.db import connection, transaction

from instances.tasks import ensure_schedules

# They are as migrate leaves them: no test makes or changes any.
_KEPT = {"django_content_type", "auth_permission"}
# Whoever refers to these is asked at once, and not at the commit.
_REFERRED_TO = """
SELECT DISTINCT confrelid::regclass::text FROM pg_constraint
 WHERE contype = 'f' AND NOT condeferrable
"""


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
        cursor.execute(_REFERRED_TO)
        last = {table for (table,) in cursor.fetchall()}
        filled.sort(key=lambda table: table in last)
        # History cannot be deleted while its guards are there; they are back at the commit.
        guards = "ALTER TABLE {} {} TRIGGER USER"
        statements = [
            *(guards.format(table, "DISABLE") for table in filled),
            *(f"DELETE FROM {table}" for table in filled),  # noqa: S608 -- own tables
            "SET CONSTRAINTS ALL IMMEDIATE",
            *(guards.format(table, "ENABLE") for table in filled),
        ]
        cursor.execute(";".join(statements))
        ensure_schedules()
