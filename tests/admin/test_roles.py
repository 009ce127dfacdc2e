"""Each role opens what it is for and nothing else, and no GET of any changes a row."""

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from psycopg.sql import SQL, Identifier

from gpucloud_site import roles
from gpucloud_site.roles import ROLES
from instances.models import Instance

pytestmark = pytest.mark.django_db
_LINK = re.compile(r'(?:href|data-dialog)="([^"#]+)"')
# Rows that a visit itself leaves: who is logged in, and when last.
_OF_THE_VISIT = {"django_session", "auth_user"}
MOST_PAGES = 150


@pytest.fixture(autouse=True)
def loaded(db: None) -> None:
    call_command("load_roles", verbosity=0)


def browser_in(*groups: str) -> Client:
    user = User.objects.create_user("role", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return client


def database() -> dict[str, str]:
    """Return a digest of every table's rows."""
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor)) - _OF_THE_VISIT
        digests = {}
        for table in sorted(tables):
            cursor.execute(
                SQL(
                    "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), ''))"
                    " FROM {} t"
                ).format(Identifier(table))
            )
            digests[table] = cursor.fetchone()[0]
    return digests


def walk(client: Client) -> dict[str, int]:
    """Follow every link from the first page on; return each path's status.

    Of a page with many questions (sorted, filtered) each is asked once a path and key.
    """
    found: dict[str, int] = {}
    seen: set[str] = set()
    todo = ["/admin/"]
    while todo and len(found) < MOST_PAGES:
        address = todo.pop(0)
        answer = client.get(address)
        found[address] = answer.status_code
        if answer.streaming or "text/html" not in answer["Content-Type"]:
            continue
        for link in _LINK.findall(answer.text):
            target = urlsplit(urljoin(address, unescape(link)))
            keys = ",".join(
                sorted(k.partition("=")[0] for k in target.query.split("&"))
            )
            if (
                target.path.startswith("/admin/")
                and "logout" not in target.path
                and (key := f"{target.path}?{keys}") not in seen
            ):
                seen.add(key)
                todo.append(target._replace(fragment="").geturl())
    return found


# The capacity page and the map read one moment, which only a transaction of its own can.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ROLES)
def test_walk_of_a_role_changes_nothing_and_meets_no_shut_door(
    role: str, full_house: Instance
) -> None:
    client = browser_in(role)
    before = database()

    visited = walk(client)

    assert database() == before
    assert len(visited) >= (9 if role == "Product managers" else 40)
    shut = {path: status for path, status in visited.items() if status >= 400}
    assert shut == {}, "linked, but refused"


OPENS = {
    "launch/": {"Staff", "Admins"},
    "instances/instance/": {"Support", "Staff", "Fleet operators", "Admins"},
    "inventory/card/": {"Support", "Staff", "Fleet operators", "Admins"},
    "inventory/discrepancy/": {"Support", "Staff", "Fleet operators", "Admins"},
    "inventory/addresspool/add/": {"Fleet operators", "Admins"},
    "inventory/host/enrol/": {"Fleet operators", "Admins"},
    "instances/apitoken/": {"Support", "Staff", "Admins"},
    "instances/plan/add/": {"Admins"},
    "flags/flag/": {"Admins", "Fleet operators", "Staff"},
    "auth/user/add/": {"Admins"},
    "reports/": {"Product managers", "Admins"},
    "readiness/": {"Product managers", "Admins"},
    "flags/launchdecision/": {"Admins"},
    "flags/readinessthreshold/": {"Admins"},
    "health/": {"Support", "Staff", "Fleet operators", "Admins"},
    "usage/": {"Support", "Staff", "Admins"},
}


@pytest.mark.parametrize("path", OPENS)
def test_page_opens_to_its_roles_alone(path: str, full_house: Instance) -> None:
    opened = set()
    for role in ROLES:
        User.objects.filter(username="role").delete()
        if browser_in(role).get(f"/admin/{path}").status_code == 200:
            opened.add(role)

    assert opened == OPENS[path]


def test_power_and_fleet_are_apart(full_house: Instance) -> None:
    card = f"/admin/inventory/card/{full_house_card(full_house)}/quarantine/"
    power = f"/admin/instances/instance/{full_house.pk}/delete_instance/"
    asked = {"_form_submitted": "1", "reason": "a test"}

    staff = browser_in("Staff")
    assert staff.post(card, asked).status_code == 403
    User.objects.filter(username="role").delete()
    operator = browser_in("Fleet operators")
    assert operator.post(power, asked).status_code == 403
    full_house.refresh_from_db()
    assert not full_house.is_ended


def full_house_card(instance: Instance) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT card_id FROM inventory_cardclaim WHERE consumer = %s",
            [instance.uuid],
        )
        return int(cursor.fetchone()[0])


def test_loading_again_repairs_the_roles_and_leaves_other_groups() -> None:
    own = Group.objects.create(name="Night shift")
    own.permissions.set(Group.objects.get(name="Staff").permissions.all()[:1])
    Group.objects.get(name="Support").permissions.clear()

    loaded = roles.load_roles()

    assert loaded["Support"] == len(set(ROLES["Support"]))
    assert Group.objects.get(name="Support").permissions.count() == loaded["Support"]
    assert own.permissions.count() == 1


def test_role_with_an_unknown_permission_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ROLES, "Support", ("instances.view_moon",))

    with pytest.raises(ValueError, match=r"instances\.view_moon"):
        roles.load_roles()
