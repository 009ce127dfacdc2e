"""A migration beside those who read and write: they wait for it, and it not for them."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.migrations import Migration, RunSQL
from django.db.migrations.state import ProjectState

from gpucloud_site import patient_migrations
from gpucloud_site.patient_migrations import PatientExecutor
from tests.clusters import eventually

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = ("tried_a", "tried_b")
LOCKED = """SELECT count(*) FROM pg_locks WHERE relation = 'tried_a'::regclass
 AND mode = 'AccessExclusiveLock' AND granted"""


def session() -> psycopg.Connection:
    """Return another session at the database."""
    to = connection.settings_dict
    return psycopg.connect(
        host=to["HOST"],
        port=to["PORT"],
        user=to["USER"],
        password=to["PASSWORD"],
        dbname=to["NAME"],
        autocommit=True,
    )


@pytest.fixture
def reader(transactional_db: None) -> Iterator[psycopg.Connection]:
    """Give somebody who reads in the two tables."""
    with session() as made:
        for table in TABLES:
            made.execute(f"CREATE TABLE {table} ()")
        yield made
        made.execute(f"DROP TABLE {', '.join(TABLES)}")


def migrate() -> None:
    """Change both tables, in the order of their names."""
    migration = Migration("0000_tried", "inventory")
    migration.operations = [
        RunSQL(f"ALTER TABLE {table} ADD COLUMN added integer") for table in TABLES
    ]
    executor = PatientExecutor(connection)
    executor.apply_migration(ProjectState(), migration)
    executor.recorder.record_unapplied("inventory", "0000_tried")


def test_migration_that_waits_for_a_table_keeps_nobody_from_another(
    reader: psycopg.Connection,
) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            migrate()
        except OperationalError as error:
            failed.append(error)
        finally:
            connection.close()

    reader.execute("BEGIN")
    reader.execute("SELECT FROM tried_b")
    thread = threading.Thread(target=work)
    thread.start()
    with session() as looker:
        eventually(lambda: looker.execute(LOCKED).fetchone() == (1,), "it has tried_a")
        # Or whoever has tried_b and waits for tried_a would wait for ever.
        eventually(
            lambda: looker.execute(LOCKED).fetchone() == (0,), "it lets go of it"
        )
    reader.execute("SELECT FROM tried_a")
    reader.execute("COMMIT")
    thread.join()
    assert failed == []
    added = "SELECT a.added, b.added FROM tried_a a, tried_b b"
    assert reader.execute(added).fetchall() == []


def test_migration_whose_table_is_always_in_use_changes_nothing(
    reader: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_migrations, "_PAUSES_S", (0.0, 0.0))
    reader.execute("BEGIN")
    reader.execute("SELECT FROM tried_b")

    with pytest.raises(OperationalError, match="lock timeout"):
        migrate()

    reader.execute("ROLLBACK")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        reader.execute("SELECT added FROM tried_a")
