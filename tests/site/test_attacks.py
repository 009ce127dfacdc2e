"""Attacks on people's sessions and on what is shown: docs/threat-model.md."""

import logging
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from gpucloud_site.logs import JsonLines, TextLines
from tests.admin.access import LOGIN, PASSWORD, logged_in, make_staff, send_password
from tests.api.builders import Customer
from tests.api.conftest import customer, shop
from tests.builders import make_account

__all__ = ["customer", "shop"]

pytestmark = pytest.mark.django_db
EMPLOYEES = "/employees/"
ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "http:evil.example",
    "javascript:alert(1)",
    "\thttps://evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
]
PAGES = [
    *(LOGIN, "/admin/", "/admin/login/code/", f"{EMPLOYEES}login/", EMPLOYEES),
    *(
        "/docs/api/",
        "/v4/regions",
        "/v4/no-such-thing",
        "/no-such-page",
        "/health/live",
    ),
]


def test_session_is_not_taken_over_with_what_the_database_holds() -> None:
    ann = logged_in(make_staff())
    cookie = ann.cookies["sessionid"].value
    kept = Session.objects.get()
    thief = Client()
    thief.cookies["sessionid"] = kept.session_key

    assert kept.session_key != cookie
    assert cookie not in str(kept.get_decoded())
    assert thief.get("/admin/").status_code == 302
    assert ann.get("/admin/").status_code == 200


def test_logged_out_session_is_gone() -> None:
    client = logged_in(make_staff())
    stolen = client.cookies["sessionid"].value

    client.post("/admin/logout/")

    assert not Session.objects.filter(expire_date__isnull=False).exists()
    client.cookies["sessionid"] = stolen
    assert client.get("/admin/").status_code == 302


def test_session_that_somebody_else_chose_is_not_logged_in() -> None:
    make_staff()
    victim, thief = Client(), Client()
    # Before and after: one made up, and one that the site gave to nobody in particular.
    thief.get(LOGIN)
    for chosen in (
        "a" * 32,
        getattr(thief.cookies.get("sessionid"), "value", "b" * 32),
    ):
        victim.cookies["sessionid"] = chosen
        assert send_password(victim).status_code == 302
        assert victim.cookies["sessionid"].value != chosen
        thief.cookies["sessionid"] = chosen
        assert thief.get("/admin/").status_code == 302


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("login", [LOGIN, f"{EMPLOYEES}login/"])
def test_login_leads_to_no_other_site(login: str, elsewhere: str) -> None:
    ann = make_staff()
    make_account().members.add(ann)
    sent = {"username": "ann", "password": PASSWORD, "next": elsewhere}

    for address in (login, f"{login}?next=/admin/"):
        answer = Client().post(address, sent, query_params={"next": elsewhere})
        assert answer["Location"] in ("/admin/", EMPLOYEES)


@pytest.mark.parametrize("page", PAGES)
def test_page_is_in_nobodys_frame_and_of_its_own_type(
    client: Client, page: str
) -> None:
    answer = client.get(page)

    assert answer["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize("page", PAGES)
def test_host_that_a_client_made_up_is_refused(client: Client, page: str) -> None:
    assert client.get(page, headers={"host": "evil.example"}).status_code == 400
    told = client.get(page, headers={"x-forwarded-host": "evil.example"})
    assert "evil.example" not in told.text + str(told.headers)


def test_request_from_another_site_changes_nothing(customer: Customer) -> None:
    """A browser sends the cookie along; it does not know the form's token, nor ours."""
    ann = make_staff()
    make_account(tags=("employee",)).members.add(ann)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ann)
    evil = {"origin": "https://evil.example"}

    for page in (EMPLOYEES, LOGIN, f"{EMPLOYEES}login/", "/admin/logout/"):
        assert browser.post(page, headers=evil).status_code == 403
    answer = browser.post("/v4/linode/instances", headers=evil)
    assert answer.status_code == 401


def test_what_is_for_one_person_is_kept_by_no_cache(
    customer: Customer, shop: dict[str, Any]
) -> None:
    ann = make_staff()
    make_account(tags=("employee",)).members.add(ann)
    browser = logged_in(ann)
    hook = {"url": "https://ops.example.net/hook", "actions": []}
    for answer in (
        browser.get("/admin/"),
        browser.get("/admin/second-factor/"),
        browser.get(EMPLOYEES),
        customer.api.get("/profile"),
        customer.api.get("/linode/types"),
        customer.api.get("/linode/instances/999999"),
        customer.api.post("/gpucloud/webhooks", hook),
        customer.api.post("/profile/tokens", {"label": "x"}),
    ):
        assert "no-store" in answer["Cache-Control"], answer.request["PATH_INFO"]
    # What everybody sees may be kept, and is not what somebody with a token sees.
    assert "Authorization" in Client().get("/v4/linode/types")["Vary"]


FORGED = "2026-01-01 00:00:00,000 INFO admin logged in"


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b", "\x1b[2K"]
)
def test_nobody_writes_a_line_of_their_own_into_the_log(end: str) -> None:
    record = logging.LogRecord(
        "x", logging.WARNING, "x.py", 1, "refused: %s", (f"label{end}{FORGED}",), None
    )

    for form in (TextLines(), JsonLines()):
        line = form.format(record)
        assert FORGED in line
        assert len(line.splitlines()) == 1
        assert line.isprintable()


def test_traceback_still_has_its_lines() -> None:
    try:
        raise ValueError(f"quoted\n{FORGED}")
    except ValueError as error:
        known = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "broke", (), known)

    lines = TextLines().format(record).splitlines()

    # Not at a line's beginning, where it would be taken for one of ours.
    assert all(not line.startswith(FORGED) for line in lines)
    assert any(line.strip().startswith("File ") for line in lines)


@pytest.mark.parametrize(
    ("password", "is_taken"),
    [
        ("Elf-Zeichen", False),
        ("password1234", False),
        ("123456789012", False),
        ("annemarie-ann", False),
        ("wir sind zwölf", True),
        ("ein langer Satz mit Leerzeichen und 🦊, der kein Ende nimmt, " * 2, True),
    ],
)
def test_weak_password_is_refused_and_a_long_one_is_not(
    password: str, is_taken: bool
) -> None:
    ann = make_staff("annemarie-anna")
    sent = {
        "old_password": PASSWORD,
        "new_password1": password,
        "new_password2": password,
    }

    logged_in(ann).post("/admin/password_change/", sent)

    ann.refresh_from_db()
    assert ann.check_password(password) is is_taken


def test_large_form_is_refused(client: Client, settings: Settings) -> None:
    many = "&".join(f"f{n}=" for n in range(settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 2))
    for body in (many, "username=" + "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)):
        answer = client.post(
            LOGIN, body, content_type="application/x-www-form-urlencoded"
        )
        assert answer.status_code in (400, 413)
