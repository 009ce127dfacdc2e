"""The second factor of staff: set up, asked for, required, reset; never in clear."""

import re
from collections.abc import Iterator

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.urls import NoReverseMatch, URLPattern, URLResolver, reverse

from gpucloud_site.access import factors
from instances.models import AccessEvent
from tests.admin.access import (
    CODE,
    FACTOR,
    app_code,
    forget_used_codes,
    logged_in,
    make_staff,
    send_password,
    set_up_factor,
)

pytestmark = pytest.mark.django_db
Kind = AccessEvent.Kind
ASKED = {"_form_submitted": "1", "reason": "lost the phone"}


def kinds() -> list[str]:
    return list(AccessEvent.objects.order_by("id").values_list("kind", flat=True))


def test_set_up_and_log_in_with_it_then_with_a_recovery_code() -> None:
    ann = make_staff()
    first = logged_in(ann)
    secret, codes = set_up_factor(first)
    forget_used_codes(ann)
    second = Client()

    asked = send_password(second)
    before = second.get("/admin/")
    wrong = second.post(CODE, {"code": "000000"})
    right = second.post(CODE, {"code": app_code(secret)})

    assert asked["Location"] == CODE
    assert before["Location"].startswith("/admin/login/")
    assert "Incorrect code" in wrong.text
    assert right["Location"] == "/admin/"
    assert second.get("/admin/").status_code == 200
    assert len(codes) == 10
    third = Client()
    send_password(third)
    assert third.post(CODE, {"code": codes[3]}).status_code == 302
    assert third.get("/admin/").status_code == 200
    fourth = Client()
    send_password(fourth)
    assert "Incorrect code" in fourth.post(CODE, {"code": codes[3]}).text
    assert fourth.get("/admin/").status_code == 302
    assert factors.codes_left(ann) == 9
    assert kinds() == [
        Kind.RIGHT_PASSWORD, Kind.LOGIN, Kind.SECOND_FACTOR_SET_UP, Kind.SESSIONS_ENDED,
        Kind.RIGHT_PASSWORD, Kind.WRONG_CODE, Kind.RIGHT_CODE, Kind.LOGIN,
        Kind.RIGHT_PASSWORD, Kind.RECOVERY_CODE, Kind.LOGIN,
        Kind.RIGHT_PASSWORD, Kind.WRONG_CODE,
    ]  # fmt: skip


def test_login_goes_where_the_person_wanted_to() -> None:
    ann = make_staff()
    _, codes = set_up_factor(logged_in(ann))
    client = Client()

    client.post(
        "/admin/login/?next=/admin/auth/user/",
        {"username": "ann", "password": "correct horse battery"},
    )

    assert client.post(CODE, {"code": codes[0]})["Location"] == "/admin/auth/user/"


def test_code_of_the_app_is_good_once() -> None:
    ann = make_staff()
    secret, _ = set_up_factor(logged_in(ann))
    (factor,) = factors.factors_of(ann)
    code = app_code(secret)

    factors.use_once(factor, code)

    assert not factors.use_once(factor, code)
    client = Client()
    send_password(client)
    assert "Incorrect code" in client.post(CODE, {"code": code}).text


def test_wrong_code_sets_nothing_up_and_keeps_the_key() -> None:
    client = logged_in(make_staff())
    page = client.get(FACTOR).text
    (sealed,) = re.findall(r'name="sealed" value="([^"]+)"', page)
    (key,) = re.findall(r'id="totp-key">([^<]+)<', page)

    answer = client.post(FACTOR, {"sealed": sealed, "code": "000000"})

    assert "Incorrect code" in answer.text
    assert key in answer.text
    assert not Authenticator.objects.exists()
    forged = client.post(FACTOR, {"sealed": "A" * 120, "code": "000000"})
    assert forged.status_code == 200
    assert key not in forged.text


def test_secrets_are_nowhere_in_clear() -> None:
    ann = make_staff()
    client = logged_in(ann)
    secret, codes = set_up_factor(client)

    stored = [str(row.data) for row in Authenticator.objects.all()]
    sessions = str(dict(client.session))

    assert len(stored) == 2
    for clear in (secret, *codes):
        assert clear not in sessions
        assert all(clear not in row for row in stored)
    assert secret not in client.get(FACTOR).text


def test_factor_sealed_under_another_key_is_told_of_and_reset() -> None:
    ann = make_staff()
    _, codes = set_up_factor(logged_in(ann))

    with override_settings(SECRET_KEY="another" * 10):
        client = Client()
        send_password(client)
        refused = client.post(CODE, {"code": codes[0]})
        call_command("reset_second_factor", "ann", reason="new SECRET_KEY")
        again = send_password(Client())

    assert "Have an admin reset it" in refused.text
    assert again["Location"] == "/admin/"


def test_new_recovery_codes_and_removal_take_a_code() -> None:
    ann = make_staff()
    client = logged_in(ann)
    _, codes = set_up_factor(client)

    refused = client.post(FACTOR, {"do": "new_codes", "code": "000000"})
    made = client.post(FACTOR, {"do": "new_codes", "code": codes[0]})

    assert "Incorrect code" in refused.text
    new = re.findall(r"<li><code>(\d{8})</code>", made.text)
    assert len(new) == 10
    assert not set(new) & set(codes)
    with override_settings(REQUIRE_SECOND_FACTOR=True):
        client.post(FACTOR, {"do": "remove", "code": new[0]})
    assert factors.factors_of(ann).exists()
    client.post(FACTOR, {"do": "remove", "code": new[0]})
    assert not Authenticator.objects.exists()
    assert kinds()[-3:] == [
        Kind.RECOVERY_CODES_MADE, Kind.RECOVERY_CODE, Kind.SECOND_FACTOR_REMOVED,
    ]  # fmt: skip


def pages(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for each in patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from pages(each.url_patterns, route)
        else:
            yield route


def test_required_no_page_opens_without_it() -> None:
    client = logged_in(make_staff())
    urls, _, _ = admin.site.urls
    routes = list(pages(urls, "/admin/"))
    with override_settings(REQUIRE_SECOND_FACTOR=True):
        opened = set()
        for route in routes:
            path = re.sub(r"<uuid:\w+>", "8" * 32, route)
            path = re.sub(r"\(\?P<\w+>[^)]*\)\$?|<[^>]+>|\^", "1", path)
            answer = client.get(path)
            # A part of a page has the whole page loaded, and that one is redirected.
            to = "/admin/login/" if "HX-Refresh" in answer else answer.get("Location")
            if not (to or "").startswith("/admin/login/"):
                opened.add(route)
        assert opened == {"/admin/login/", "/admin/logout/", FACTOR}
        assert len(routes) > 100
        led = client.get("/admin/fleet/", follow=True).redirect_chain

        assert led[-1][0] == f"{FACTOR}?next=/admin/fleet/"
        set_up_factor(client)
        assert client.get("/admin/").status_code == 200
        assert client.get(FACTOR).status_code == 200


def test_required_of_staff_it_leaves_customers_where_they_were(client: Client) -> None:
    make_staff("carol", is_staff=False, is_superuser=False)

    with override_settings(REQUIRE_SECOND_FACTOR=True):
        assert "Please enter the correct" in send_password(client, "carol").text
        assert client.get(FACTOR)["Location"].startswith("/admin/login/")


def test_reset_by_an_admin_and_never_of_oneself() -> None:
    ann, bob = make_staff(), make_staff("bob")
    anns, bobs = logged_in(ann), logged_in(bob)
    set_up_factor(anns)
    own = f"/admin/auth/user/{ann.pk}/reset_factor/"

    anns.post(own, ASKED)
    assert factors.factors_of(ann).exists()
    bobs.post(own, {**ASKED, "reason": ""})
    assert factors.factors_of(ann).exists()
    bobs.post(own, ASKED)

    assert not Authenticator.objects.exists()
    assert anns.get("/admin/").status_code == 302
    assert bobs.get("/admin/").status_code == 200
    reset = AccessEvent.objects.get(kind=Kind.SECOND_FACTOR_RESET)
    assert (reset.user, reset.actor, reset.reason) == (
        ann, "user:bob", "lost the phone",
    )  # fmt: skip
    assert "lost the phone" in LogEntry.objects.get().change_message
    assert send_password(Client())["Location"] == "/admin/"


def test_reset_from_the_command_line_for_the_last_admin() -> None:
    ann = make_staff()
    set_up_factor(logged_in(ann))

    call_command("reset_second_factor", "ann", reason="phone and codes lost")

    assert not factors.factors_of(ann).exists()
    with pytest.raises(CommandError, match="ann has no second factor"):
        call_command("reset_second_factor", "ann", reason="again")
    with pytest.raises(CommandError, match="Nobody is named eve"):
        call_command("reset_second_factor", "eve", reason="x")


@pytest.mark.parametrize(
    "name",
    [
        *("account_signup", "account_reset_password", "account_email"),
        *("account_reauthenticate", "mfa_index", "mfa_activate_totp"),
        *("account_request_login_code", "socialaccount_login"),
    ],
)
def test_nothing_else_of_allauth_has_an_address(name: str, client: Client) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(name)
    for path in ("/accounts/", "/accounts/signup/", "/accounts/password/reset/"):
        assert client.get(path).status_code == 404


def test_page_of_the_code_is_of_no_use_before_the_password(client: Client) -> None:
    assert client.get(CODE)["Location"] == "/admin/login/"
    assert client.post(CODE, {"code": "123456"})["Location"] == "/admin/login/"
