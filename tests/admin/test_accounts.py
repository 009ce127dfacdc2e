"""Accounts and tokens in the admin: a secret is shown once."""

import re

from django.contrib.admin.models import LogEntry
from django.test import Client

from instances import tokens
from instances.models import Account, ApiToken
from tests.admin.conftest import browser_of
from tests.builders import make_account, make_gpu_model, make_user


def member_of(account: Account) -> int:
    user = make_user("carol")
    account.members.add(user)
    return int(user.pk)


def issue_url(account: Account) -> str:
    return f"/admin/instances/account/{account.pk}/issue_token/"


def test_token_is_shown_once_and_works(staff: Client, employee: Account) -> None:
    data = {
        "_form_submitted": "1",
        "user": member_of(employee),
        "label": "ci",
        "scopes": "linodes:read_only",
    }

    response = staff.post(issue_url(employee), data)

    assert "no-store" in response["Cache-Control"]
    (secret,) = re.findall(r">([0-9a-f]{64})</pre>", response.content.decode())
    token = tokens.find(secret)
    assert token is not None
    assert (token.account, token.user.get_username()) == (employee, "carol")
    assert (token.label, token.scopes) == ("ci", "linodes:read_only")
    for page in (
        f"/admin/instances/account/{employee.pk}/change/",
        f"/admin/instances/apitoken/{token.pk}/change/",
        "/admin/instances/apitoken/",
    ):
        text = staff.get(page).content.decode()
        assert secret not in text
        assert token.digest not in text
    assert secret not in LogEntry.objects.get().change_message


def test_token_is_for_members_only(staff: Client, employee: Account) -> None:
    stranger = make_user("oscar")

    response = staff.post(
        issue_url(employee),
        {"_form_submitted": "1", "user": stranger.pk, "label": "x", "scopes": "*"},
    )

    assert "Select a valid choice" in response.content.decode()
    assert ApiToken.objects.count() == 0


def test_scopes_that_are_none_are_refused(staff: Client, employee: Account) -> None:
    data = {"_form_submitted": "1", "user": member_of(employee), "label": "x"}

    response = staff.post(issue_url(employee), {**data, "scopes": "linodes:all"})

    assert "linodes:all" in response.content.decode()
    assert "is no scope" in response.content.decode()
    assert ApiToken.objects.count() == 0


def test_opening_the_dialog_issues_nothing(staff: Client, employee: Account) -> None:
    member = member_of(employee)

    staff.get(issue_url(employee), {"user": member, "label": "x", "scopes": "*"})

    assert ApiToken.objects.count() == 0


def test_viewer_may_not_issue(employee: Account) -> None:
    viewer = browser_of("instances.view_account", "instances.change_account")

    response = viewer.post(
        issue_url(employee),
        {"_form_submitted": "1", "user": member_of(employee), "label": "x"},
    )

    assert response.status_code == 403
    assert ApiToken.objects.count() == 0


def test_account_takes_tags_and_members(staff: Client, db: None) -> None:
    account = make_account("Shop")
    user = make_user("carol")

    response = staff.post(
        f"/admin/instances/account/{account.pk}/change/",
        {
            "name": "Shop",
            "email": "shop@example.net",
            "tags": "employee,beta",
            "members": [user.pk],
            "tokens-TOTAL_FORMS": "0",
            "tokens-INITIAL_FORMS": "0",
            "gpu_quotas-TOTAL_FORMS": "1",
            "gpu_quotas-INITIAL_FORMS": "0",
            "gpu_quotas-0-gpu_model": str(make_gpu_model().pk),
            "gpu_quotas-0-cards": "3",
        },
    )

    assert response.status_code == 302
    account.refresh_from_db()
    assert account.tags == ["employee", "beta"]
    assert list(account.members.all()) == [user]
    assert account.gpu_quotas.get().cards == 3
