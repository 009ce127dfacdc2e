"""Logins are throttled and logged, and sessions end; nobody learns who there is."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from gpucloud_site.access import attempts, sessions
from gpucloud_site.access.addresses import address_of
from instances.models import AccessEvent
from tests.admin.access import (
    CODE,
    LOGIN,
    PASSWORD,
    logged_in,
    make_staff,
    send_password,
    set_up_factor,
)

pytestmark = pytest.mark.django_db
Kind = AccessEvent.Kind
LONG_S = 10**6
WAIT = r"Too many failed logins\. Try again in \d{6,7} seconds\."


@pytest.fixture(autouse=True)
def long_window(settings: Any) -> None:
    """Have no test depend on how long it takes."""
    settings.LOGIN_WINDOW_S = LONG_S


def said(answer: Any) -> str:
    """Return what the login form refused with."""
    (error,) = answer.context["form"].non_field_errors()
    return str(error)


def count(kind: AccessEvent.Kind) -> int:
    return AccessEvent.objects.filter(kind=kind).count()


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_after_five_failures_a_name_waits_whoever_it_is_of(name: str) -> None:
    make_staff()
    addresses = [f"10.0.0.{n}" for n in range(1, 8)]

    answers = [
        said(send_password(Client(), name, "wrong", REMOTE_ADDR=address))
        for address in addresses
    ]

    assert len(set(answers[:5])) == 1
    assert answers[0].startswith("Please enter the correct username and password")
    for refused in answers[5:]:
        assert re.fullmatch(WAIT, refused)
    assert count(Kind.WRONG_PASSWORD) == 5
    assert count(Kind.LOCKED_OUT) == 2
    assert {e.username for e in AccessEvent.objects.all()} == {
        "ann" if name == "ann" else ""
    }


def test_locked_out_the_right_password_waits_too_and_another_name_does_not() -> None:
    make_staff()
    make_staff("bob")
    for _ in range(6):
        send_password(Client(), "ann", "wrong")

    assert "Too many" in said(send_password(Client()))
    assert send_password(Client(), "bob").status_code == 302

    AccessEvent.objects.update(at=timezone.now() - timedelta(seconds=LONG_S + 1))
    assert send_password(Client()).status_code == 302


def test_an_address_waits_after_twenty_failures_of_any_names(settings: Any) -> None:
    make_staff()
    for n in range(20):
        send_password(Client(), f"name{n}", "wrong", REMOTE_ADDR="10.0.0.9")

    here = send_password(Client(), REMOTE_ADDR="10.0.0.9")
    elsewhere = send_password(Client(), REMOTE_ADDR="10.0.0.8")

    assert "Too many" in said(here)
    assert elsewhere.status_code == 302


def test_hammering_on_a_closed_door_fills_no_table() -> None:
    for _ in range(9):
        send_password(Client(), "ann", "wrong")

    assert (count(Kind.WRONG_PASSWORD), count(Kind.LOCKED_OUT)) == (5, 1)


def test_wrong_codes_count_and_the_right_password_forgives_none() -> None:
    ann = make_staff()
    _, codes = set_up_factor(logged_in(ann))
    for _ in range(5):
        client = Client()
        send_password(client)
        client.post(CODE, {"code": "000000"})

    assert "Too many" in client.post(CODE, {"code": codes[0]}).text
    assert "Too many" in said(send_password(Client()))
    assert count(Kind.WRONG_CODE) == 5


@pytest.mark.django_db(transaction=True)
def test_attempts_at_once_are_judged_no_more_often() -> None:
    parties = 12
    barrier = Barrier(parties)
    request = RequestFactory().post(LOGIN)

    def attempt(_: int) -> bool:
        try:
            barrier.wait()
            attempts.begin(Kind.WRONG_PASSWORD, "ann", request)
        except ValidationError:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(parties) as pool:
        judged = sum(pool.map(attempt, range(parties)))

    assert judged == count(Kind.WRONG_PASSWORD) <= 5


def test_log_never_has_what_was_typed() -> None:
    make_staff()
    send_password(Client(), "my secret pass phrase", "another one")
    send_password(Client(), "ann", "wrong password")

    rows = str(list(AccessEvent.objects.values_list()))
    for typed in ("my secret pass phrase", "another one", "wrong password", PASSWORD):
        assert typed not in rows


@pytest.mark.parametrize(
    ("proxies", "forwarded", "found"),
    [
        (0, "10.1.1.1", "127.0.0.1"),
        (1, "6.6.6.6, 10.1.1.1", "10.1.1.1"),
        (2, "6.6.6.6, 10.1.1.1, 10.2.2.2", "10.1.1.1"),
        (2, "10.1.1.1", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "a proxy's mistake", None),
        (1, "fe80::1%eth0", "fe80::1"),
    ],
)
def test_address_is_what_our_own_proxy_saw(
    proxies: int, forwarded: str, found: str | None, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})

    assert address_of(request) == found


def is_in(client: Client) -> bool:
    return bool(client.get("/admin/second-factor/").status_code == 200)


def age(client: Client, stamp: str, **by: int) -> None:
    session = client.session
    session[stamp] = (timezone.now() - timedelta(**by)).isoformat()
    session.save()


def test_session_ends_at_its_greatest_age_however_much_it_is_used() -> None:
    ann = make_staff()
    young, old = logged_in(ann), logged_in(ann)
    age(young, sessions._BEGAN, hours=11)
    age(old, sessions._BEGAN, hours=12, seconds=1)

    assert is_in(young)
    assert not is_in(old)


def test_use_keeps_a_session_and_a_page_that_asks_for_news_does_not() -> None:
    client = logged_in(make_staff())
    soon = timezone.now() + timedelta(minutes=3)

    def ends_at(headers: dict[str, str]) -> Any:
        age(client, sessions._SEEN, minutes=2)
        Session.objects.update(expire_date=soon)
        client.get("/admin/second-factor/", headers=headers)
        return Session.objects.get().expire_date

    assert ends_at({"HX-Request": "true"}) == soon
    assert ends_at({}) > soon + timedelta(minutes=100)

    Session.objects.update(expire_date=timezone.now())
    assert not is_in(client)


def test_changed_password_ends_all_other_sessions() -> None:
    ann = make_staff()
    here, elsewhere = logged_in(ann), logged_in(ann)
    new = "another horse battery"

    changed = here.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": new, "new_password2": new},
    )

    assert changed.status_code == 302
    assert is_in(here)
    assert not is_in(elsewhere)
    assert count(Kind.PASSWORD_CHANGED) == 1


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        ({"is_active": ""}, "taken: is_active"),
        ({"is_staff": ""}, "taken: is_staff"),
        ({"is_superuser": ""}, "taken: is_superuser"),
        ({"groups": []}, "taken: groups"),
        ({"first_name": "Ann"}, None),
    ],
)
def test_taken_powers_end_the_sessions(taken: dict[str, Any], told: str | None) -> None:
    ann = make_staff()
    ann.groups.add(Group.objects.create(name="Night shift"))
    anns, admins = logged_in(ann), logged_in(make_staff("bob"))
    url = f"/admin/auth/user/{ann.pk}/change/"
    form = admins.get(url).context["adminform"].form
    sent = {name: form[name].value() for name in form.fields if name != "password"}
    joined = sent.pop("date_joined")
    sent = {name: "" if v in (None, False) else v for name, v in sent.items()}
    sent |= {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M}"}
    sent = {k: v for k, v in (sent | taken).items() if v != ""}

    assert admins.post(url, sent).status_code == 302

    assert is_in(anns) == (told is None)
    assert is_in(admins)
    reasons = AccessEvent.objects.filter(kind=Kind.SESSIONS_ENDED, user=ann)
    assert [(e.actor, e.reason) for e in reasons] == (
        [("user:bob", told)] if told else []
    )


def test_admin_ends_all_sessions_of_a_person() -> None:
    ann = make_staff()
    clients = [logged_in(ann), logged_in(ann)]
    bobs = logged_in(make_staff("bob"))

    bobs.post(
        f"/admin/auth/user/{ann.pk}/end_sessions/",
        {"_form_submitted": "1", "reason": "laptop stolen"},
    )

    assert [is_in(client) for client in clients] == [False, False]
    assert is_in(bobs)
    event = AccessEvent.objects.get(kind=Kind.SESSIONS_ENDED)
    assert (event.user, event.actor, event.reason) == (ann, "user:bob", "laptop stolen")
    assert is_in(logged_in(ann))
