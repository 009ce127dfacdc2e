"""Migrations beside a site at work: a migration has all its locks at once, or lets go of them.

A migration that has locked one table and waits for the next deadlocks with every request
that has the next and waits for the first, and PostgreSQL ends one of the two. So it locks
all its tables before it changes any, waits for each for less time than it takes PostgreSQL
to look for a deadlock, and else begins again: requests wait for it and none fails.
"""

import re
import time
from collections.abc import Iterator

from django.db import OperationalError, transaction
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from psycopg import errors, sql

# Between two tries: half a minute in all.
_PAUSES_S = (0.1, 0.2, 0.4, *[0.8] * 40)
# Of PostgreSQL's deadlock_timeout, after which it would end one of two.
_SHARE_OF_DEADLOCK = 5
# PostgreSQL's own processes have no user. What sort of session another role's is, and what
# it does, is not told.
_OTHERS = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
 AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"""
_DEADLOCK_MS = """SELECT setting::integer FROM pg_settings
 WHERE name = 'deadlock_timeout'"""


class PatientExecutor(MigrationExecutor):
    """Applies migrations as Django's does; with others at the database, with locks first."""

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        """Apply one migration and return the state after it.

        Raises OperationalError if a table was in use for half a minute.
        """
        if fake or not migration.atomic or self.is_alone():
            return super().apply_migration(state, migration, fake, fake_initial)
        tables = self._tables_of(state, migration)
        for tries_left in _tries():
            try:
                with transaction.atomic(using=self.connection.alias):
                    self._lock(tables)
                    # What it does to the state is not undone with the transaction.
                    return super().apply_migration(
                        state.clone(), migration, fake, fake_initial
                    )
            except OperationalError as error:
                if not (tries_left and is_of_locks(error)):
                    raise
        raise AssertionError("the last try returns or raises")

    def is_alone(self) -> bool:
        """Say whether nobody else is at the database, in whatever role."""
        return self._number(_OTHERS) == 0

    def _number(self, query: str) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return int(cursor.fetchone()[0])

    def _tables_of(self, state: ProjectState, migration: Migration) -> list[str]:
        """Return the tables that there are and that the migration's SQL names."""
        with self.connection.schema_editor(collect_sql=True, atomic=True) as editor:
            migration.apply(state.clone(), editor, collect_sql=True)
        words = set(re.findall(r"\w+", "\n".join(editor.collected_sql)))
        return sorted(words.intersection(self.connection.introspection.table_names()))

    def _lock(self, tables: list[str]) -> None:
        """Lock the tables for the transaction; later locks are waited for as little."""
        patience_ms = self._number(_DEADLOCK_MS) // _SHARE_OF_DEADLOCK
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {patience_ms}")
            if tables:
                names = sql.SQL(", ").join(map(sql.Identifier, tables))
                cursor.execute(
                    sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names)
                )


def _tries() -> Iterator[bool]:
    """Give whether there is another try after this one; pause between them."""
    yield True
    for number, pause_s in enumerate(_PAUSES_S, start=1):
        time.sleep(pause_s)
        yield number < len(_PAUSES_S)


def is_of_locks(error: OperationalError) -> bool:
    """Say whether others who hold a lock are all that is wrong."""
    return isinstance(error.__cause__, errors.LockNotAvailable)
