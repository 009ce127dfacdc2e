"""Migrations since the last release serve its code too, which runs while they are made."""

import pytest
from django.db import connection, models
from django.db.migrations import (
    AddField,
    AlterField,
    DeleteModel,
    Migration,
    RemoveField,
    RenameField,
    RenameModel,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django_migration_linter.sql_analyser import (
    analyse_sql_statements,
    get_sql_analyser_class,
)

from tests.releases import last_release

# What old code cannot live with and was decided all the same: the linter's codes, and why
# in the migration's own text.
ACCEPTED: dict[tuple[str, str], set[str]] = {}


def faults(migration: Migration, state: ProjectState) -> set[str]:
    """Return the linter's codes for a migration's SQL. state: of the models before it."""
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state, editor, collect_sql=True)
    sql = [line for line in editor.collected_sql if not line.startswith("--")]
    errors, _, _ = analyse_sql_statements(get_sql_analyser_class("postgresql"), sql)
    return {error.code for error in errors}


def test_code_of_the_last_release_can_live_with_every_migration_since(db: None) -> None:
    loader = MigrationLoader(connection, replace_migrations=False)
    released = last_release().migrations
    plans = [loader.graph.forwards_plan(last) for last in released.items()]
    ours = {key for key in loader.graph.nodes if key[0] in released}
    since = ours.difference(*plans)

    found = {
        key: faults(loader.get_migration(*key), loader.project_state(key, at_end=False))
        for key in since
    }

    assert since, "nothing was linted: is deploy/released.toml of the next release?"
    assert {key: codes for key, codes in found.items() if codes} == ACCEPTED


@pytest.mark.parametrize(
    ("operation", "codes"),
    [
        (RemoveField("region", "label"), {"DROP_COLUMN"}),
        (RenameField("region", "label", "title"), {"RENAME_COLUMN"}),
        (DeleteModel("alert"), {"DROP_TABLE"}),
        (RenameModel("alert", "alarm"), {"RENAME_TABLE"}),
        (AlterField("region", "label", models.TextField()), {"ALTER_COLUMN"}),
        (AddField("region", "note", models.TextField(default="")), {"NOT_NULL"}),
        (AddField("region", "note", models.TextField(db_default="")), set()),
        (AddField("region", "note", models.TextField(null=True)), set()),
    ],
)
def test_what_old_code_cannot_live_with_is_found(
    db: None, operation: Operation, codes: set[str]
) -> None:
    state = MigrationLoader(connection, replace_migrations=False).project_state()
    migration = Migration("0000_tried", "inventory")
    migration.operations = [operation]

    assert faults(migration, state) == codes
