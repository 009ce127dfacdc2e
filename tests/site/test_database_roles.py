"""The application's role changes rows, and can neither rewrite history nor make anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings as site
from django.db import connection
from pytest_django import Settings

from deploy.local import postgres
from deploy.local.databases import run_sql, with_database
from gpucloud_site.patient_migrations import PatientExecutor
from instances.actions.delete import delete
from instances.actions.resize import ResizeOrder, resize
from instances.models import ApiChange, Instance
from instances.retention import RULES, prune
from inventory.models import CardClaim, CardEvent
from tests.admin.access import logged_in, make_staff
from tests.api.builders import make_customer
from tests.api.test_profile import KEY
from tests.builders import make_account, make_disk_image, make_plan
from tests.clusters import cluster, environment, eventually, make_shared_host
from tests.instances.recovery import (
    WHO,
    all_ended,
    assert_rows_and_host_agree,
    launched,
)
from tests.own_postgres import OwnPostgres, own_postgres
from tests.simulated_hosts.board import Board
from tests.site.test_settings import manage

pytestmark = pytest.mark.django_db(transaction=True)

FILES = Path(site.BASE_DIR) / "deploy" / "postgresql"
APP = "gpucloud_app"
REPORTS = "gpucloud_reports"
PASSWORD = "of-a-test"
RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
# A table of each kind, so that the file cannot call all of them the same.
MAY = {
    "inventory_cardevent": "SELECT INSERT",
    "flags_launchdecision": "SELECT INSERT",
    "inventory_cardclaim": "SELECT INSERT UPDATE",
    "instances_trial": "SELECT INSERT UPDATE",
    "instances_apichange": "SELECT INSERT DELETE",
    "instances_job": "SELECT INSERT UPDATE DELETE",
    "django_migrations": "SELECT",
}
# PostgreSQL 15, pg_trigger.tgtype: for each row (1), before (2), DELETE (8).
GUARDED = """
    SELECT tgrelid::regclass::text FROM pg_trigger
     WHERE NOT tgisinternal AND tgtype & 11 = 11 ORDER BY 1
"""
# Names of columns that hold what nobody may read who only reports.
SECRET = "password|digest|secret|sealed|session_data|payload|^data$"
# Of an image and of a console's text.
NO_SECRET = {"instances_hostimage.digest", "inventory_cardcheck.console_digest"}
REFUSED = (
    "TRUNCATE inventory_cardevent",
    "TRUNCATE instances_job CASCADE",
    "UPDATE inventory_cardevent SET reason = '' WHERE false",
    "DELETE FROM inventory_cardevent WHERE false",
    "DELETE FROM inventory_cardclaim WHERE false",
    "UPDATE flags_launchdecision SET remark = '' WHERE false",
    "DELETE FROM instances_trial WHERE false",
    "SELECT setval('inventory_cardevent_id_seq', 1)",
    "DELETE FROM instances_usageinterval WHERE false",
    "UPDATE instances_apichange SET created_at = now() WHERE false",
    "ALTER TABLE inventory_cardevent DISABLE TRIGGER card_event_append_only",
    "DROP TRIGGER card_event_append_only ON inventory_cardevent",
    "DROP TABLE inventory_cardevent",
    "ALTER TABLE instances_job ADD COLUMN more int",
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION inventory_refuse_change() RETURNS trigger "
    "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "SET session_replication_role = replica",
    "SET ROLE gpucloud",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
)


@dataclass(frozen=True, slots=True)
class Roles:
    """owner, app, reports: URLs of one database for each role."""

    owner: str
    app: str
    reports: str


def install(server: OwnPostgres) -> Roles:
    """Have the roles of production on the server, whose database's owner is gpucloud."""
    made = postgres.recorded(server.layout)
    assert made is not None
    superuser = with_database(made.admin_url(), postgres.DATABASE)
    roles = (FILES / "roles.sql").read_text()
    run_sql(superuser, roles, owner=postgres.ROLE, database=postgres.DATABASE)
    for role in (APP, REPORTS):
        run_sql(
            superuser,
            "ALTER ROLE :\"role\" PASSWORD :'password';",
            role=role,
            password=PASSWORD,
        )
    grant(server.url)
    return Roles(server.url, as_role(server.url, APP), as_role(server.url, REPORTS))


def grant(owner: str) -> str:
    """Run the file; return its lines on tables that it does not know."""
    return run_sql(owner, (FILES / "grants.sql").read_text())


def as_role(url: str, role: str) -> str:
    place = urlsplit(url).netloc.rpartition("@")[2]
    return urlsplit(url)._replace(netloc=f"{role}:{PASSWORD}@{place}").geturl()


@contextmanager
def served_by(url: str) -> Iterator[None]:
    """Have this process ask the database in the URL's role."""
    before = dict(connection.settings_dict)
    parts = urlsplit(url)
    connection.close()
    connection.settings_dict.update(USER=parts.username, PASSWORD=parts.password)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def rights_of(role: str, url: str) -> dict[str, str]:
    """Return what the role may do with each whole table, in RIGHTS' words."""
    columns = ", ".join(
        f"CASE WHEN has_table_privilege('{role}', oid, '{right}') THEN '{right}' END"
        for right in RIGHTS
    )
    lines = run_sql(
        url,
        f"SELECT relname, concat_ws(' ', {columns}, '.') FROM pg_class "  # noqa: S608
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v');",
    ).splitlines()
    # A line without any right would end in a tab, which is cut off at the last one.
    return {
        name: rights.rstrip(" .")
        for name, rights in (line.split("\t") for line in lines)
    }


def assert_refused(url: str, statements: tuple[str, ...]) -> None:
    with psycopg.connect(url, autocommit=True) as asked:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                asked.execute(statement)


def assert_each_table_is_as_declared(roles: Roles) -> None:
    assert grant(roles.owner) == "", "declare them in grants.sql"
    allowed = rights_of(APP, roles.owner)
    assert {name: allowed[name] for name in MAY} == MAY
    guarded = run_sql(roles.owner, GUARDED + ";").splitlines()
    kept = {name for name in allowed if "DELETE" not in allowed[name]}
    assert kept == {*guarded, "django_migrations"}
    pruned = {rule.model._meta.db_table for rule in RULES}
    assert not pruned & kept


def assert_what_nobody_declared_is_safe(roles: Roles) -> None:
    run_sql(roles.owner, "CREATE TABLE later (id serial PRIMARY KEY, is_new boolean);")
    new = "INSERT INTO later (is_new) VALUES (true);"
    run_sql(roles.app, new)
    run_sql(roles.app, "UPDATE later SET is_new = false;")
    assert grant(roles.owner) == "later is not declared in grants.sql"
    run_sql(roles.app, new)
    assert rights_of(APP, roles.owner)["later"] == "SELECT INSERT"
    assert rights_of(REPORTS, roles.owner)["later"] == ""
    run_sql(roles.owner, "DROP TABLE later;")


def assert_reports_read_no_secret(roles: Roles) -> None:
    readable = run_sql(
        roles.owner,
        "SELECT table_name || '.' || column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_name ~ :'secret' AND "
        "has_column_privilege(:'role', table_name::regclass, column_name, 'SELECT') "
        "ORDER BY 1;",
        secret=SECRET,
        role=REPORTS,
    )
    assert set(readable.splitlines()) == NO_SECRET
    for name in ("inventory_card", "auth_user", "instances_instance"):
        assert run_sql(roles.reports, f"SELECT count(id) FROM {name};").isdigit()  # noqa: S608
    with (
        psycopg.connect(roles.reports) as asked,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        asked.execute("UPDATE instances_plan SET slug = ''")
    assert {*rights_of(REPORTS, roles.owner).values()} == {"SELECT", ""}


def assert_migrations_see_the_application(roles: Roles) -> None:
    """Or they would not be careful of it: they are made in the owner's role."""
    executor = PatientExecutor(connection)
    eventually(executor.is_alone, "earlier sessions have ended")
    with psycopg.connect(roles.app):
        assert not executor.is_alone()


def test_roles_can_do_what_they_need_and_no_more(
    transactional_db: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    with own_postgres(tmp_path / "database") as server:
        roles = install(server)
        assert install(server) == roles, "a second time is no other"

        assert_each_table_is_as_declared(roles)
        assert_what_nobody_declared_is_safe(roles)
        assert_reports_read_no_secret(roles)
        assert_refused(roles.app, REFUSED)
        assert_migrations_see_the_application(roles)
        run_sql(roles.app, "SELECT setval('instances_instance_id_seq', 5000);")
        refused = manage("after_restore", "--yes", DATABASE_URL=roles.app)
        assert "name the database's owner" in refused.stderr.splitlines()[-1]

        settings.IMAGE_FOLDER = str(tmp_path)
        with served_by(roles.app):
            live_a_life(roles.app, tmp_path, monkeypatch)


def ask_by_the_api() -> None:
    """A change leaves its trail, which is written in two parts."""
    customer = make_customer("carol")
    made = customer.api.post("/profile/sshkeys", {"label": "mine", "ssh_key": KEY})
    assert made.status_code == 200, made.content
    assert ApiChange.objects.get().status == 200


def live_a_life(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enrol, launch, resize, delete, prune: staff, web and workers as `url`."""
    host = make_shared_host(tmp_path / "hosts", monkeypatch, Board(2, 2))
    image = make_disk_image(tmp_path)
    env = environment(
        tmp_path / "hosts", DATABASE_URL=url, GPUCLOUD_IMAGE_FOLDER=str(tmp_path)
    )
    logged_in(make_staff())
    ask_by_the_api()
    with cluster(env, tmp_path / "workers.log") as workers:
        job = launched(image, make_account())
        all_ended(workers)
        instance = Instance.objects.get(uuid=job.for_instance.uuid)
        assert instance.phase == "running"
        larger = ResizeOrder(make_plan(cards=1, disk_mib=128).slug, *WHO)
        resize(instance, larger)
        all_ended(workers)
        instance.refresh_from_db()
        delete(instance, *WHO)
        all_ended(workers)
        instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert not CardClaim.objects.filter(released_at=None).exists()
    assert CardEvent.objects.exists()
    assert_rows_and_host_agree(host)
    prune()
