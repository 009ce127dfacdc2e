"""The profile, its SSH keys and its personal access tokens."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from instances import tokens
from instances.models import ApiToken, SSHKey
from tests.api.builders import ApiClient, Customer, errors_of, make_customer
from tests.builders import make_account

pytestmark = pytest.mark.django_db
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
UNAUTHORISED = "Your OAuth token is not authorized to use this endpoint."


def added_key(customer: Customer, label: str = "laptop", key: str = KEY) -> Any:
    body = {"label": label, "ssh_key": key}
    response = customer.api.post("/profile/sshkeys", body)
    assert response.status_code == 200, response.content
    return response.json()


def test_an_ssh_key_lives_and_dies(customer: Customer) -> None:
    made = added_key(customer, key=f"  {KEY}   carol@laptop\n")
    row = SSHKey.objects.get()
    assert made == {
        "id": row.pk,
        "label": "laptop",
        "ssh_key": f"{KEY} carol@laptop",
        "created": row.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    path = f"/profile/sshkeys/{row.pk}"
    assert customer.api.get(path).json() == made
    assert customer.api.get("/profile/sshkeys").json()["data"] == [made]

    renamed = customer.api.put(path, {**made, "label": "desk"})
    assert (renamed.status_code, renamed.json()) == (200, {**made, "label": "desk"})
    assert customer.api.put(path, {}).json()["label"] == "desk"

    deleted = customer.api.delete(path)
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert customer.api.get(path).status_code == 404
    assert not SSHKey.objects.exists()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (
            {},
            [
                ("label", "label must be 1 to 64 printable characters, no space around"),
                ("ssh_key", "ssh_key must begin with a key type, such as ssh-ed25519 or "
                 "ssh-rsa"),
            ],
        ),
        (
            {"label": "a\tb", "ssh_key": KEY, "lable": "x"},
            [
                ("lable", "There is no such field"),
                ("label", "label must be 1 to 64 printable characters, no space around"),
            ],
        ),
        (
            {"label": "two", "ssh_key": f"{KEY}\n{KEY}"},
            [("ssh_key", "ssh_key must be one line of printable characters")],
        ),
        (
            {"label": "list", "ssh_key": [KEY]},
            [("ssh_key", "ssh_key must begin with a key type, such as ssh-ed25519 or "
              "ssh-rsa")],
        ),
    ],
)  # fmt: skip
def test_a_bad_key_is_refused(customer: Customer, body: Any, errors: Any) -> None:
    response = customer.api.post("/profile/sshkeys", body)
    assert (response.status_code, errors_of(response)) == (400, errors)
    assert not SSHKey.objects.exists()


def test_a_keys_label_is_used_once(customer: Customer) -> None:
    first = added_key(customer)
    second = added_key(customer, "desk")
    taken = [("label", "Label must be unique among your SSH keys")]
    again = customer.api.post("/profile/sshkeys", {"label": "laptop", "ssh_key": KEY})
    assert (again.status_code, errors_of(again)) == (400, taken)
    renamed = customer.api.put(f"/profile/sshkeys/{second['id']}", {"label": "laptop"})
    assert (renamed.status_code, errors_of(renamed)) == (400, taken)
    assert [key.label for key in SSHKey.objects.all()] == ["laptop", "desk"]
    assert customer.api.get(f"/profile/sshkeys/{first['id']}").json() == first


def test_a_key_itself_cannot_be_changed(customer: Customer) -> None:
    made = added_key(customer)
    body = {"label": "desk", "ssh_key": f"{KEY} other", "x": 1}
    response = customer.api.put(f"/profile/sshkeys/{made['id']}", body)
    assert response.status_code == 400
    assert errors_of(response) == [
        ("ssh_key", "ssh_key cannot be changed"),
        ("x", "There is no such field"),
    ]
    assert SSHKey.objects.get().label == "laptop"


def test_keys_can_be_filtered(customer: Customer) -> None:
    for label in ("laptop", "desk", "lab"):
        added_key(customer, label)
    found = customer.api.get(
        "/profile/sshkeys",
        x_filter=json.dumps({"label": {"+contains": "la"}, "+order_by": "label"}),
    ).json()
    assert [key["label"] for key in found["data"]] == ["lab", "laptop"]


def test_keys_are_the_users_own(customer: Customer) -> None:
    added_key(customer)
    colleague = make_customer("cleo", account=customer.account)
    assert colleague.api.get("/profile/sshkeys").json()["data"] == []


def made_token(customer: Customer, **body: Any) -> Any:
    response = customer.api.post("/profile/tokens", {"label": "script", **body})
    assert response.status_code == 200, response.content
    return response.json()


def test_a_token_lives_and_dies(customer: Customer) -> None:
    response = customer.api.post(
        "/profile/tokens",
        {
            "label": "script",
            "scopes": "linodes:read_only,events:*",
            "expiry": "2199-01-31T12:00:00",
        },
    )
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    made = response.json()
    secret = made["token"]
    row = ApiToken.objects.get(label="script")
    assert made == {
        "id": row.pk,
        "label": "script",
        "scopes": "events:read_write linodes:read_only",
        "created": row.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "expiry": "2199-01-31T12:00:00",
        "token": secret,
    }
    assert len(secret) == 64
    assert row.digest == tokens.digest_of(secret)
    assert row.expires_at == datetime(2199, 1, 31, 12, tzinfo=UTC)

    # It works, and is never shown again.
    api = ApiClient(secret)
    assert api.get("/linode/instances").status_code == 200
    shown = {**made, "token": secret[:8]}
    path = f"/profile/tokens/{row.pk}"
    assert customer.api.get(path).json() == shown
    listed = customer.api.get("/profile/tokens")
    assert shown in listed.json()["data"]
    assert secret not in listed.content.decode()

    renamed = customer.api.put(path, {**shown, "label": "cron"})
    assert renamed.json() == {**shown, "label": "cron"}

    assert customer.api.delete(path).json() == {}
    assert api.get("/linode/instances").status_code == 401
    assert customer.api.get(path).status_code == 404
    assert ApiToken.objects.get(pk=row.pk).revoked_at is not None


def test_a_token_that_says_nothing_is_like_the_one_used(customer: Customer) -> None:
    made = made_token(customer)
    assert (made["scopes"], made["expiry"]) == ("*", None)
    narrow = make_customer(
        scopes="account:read_write events:read_only", account=customer.account
    )
    assert made_token(narrow)["scopes"] == "account:read_write events:read_only"


def test_an_old_token_of_other_words_passes_them_on(customer: Customer) -> None:
    old = make_customer(scopes="account:*,gone:read_only", account=customer.account)
    assert made_token(old)["scopes"] == "account:*,gone:read_only"


def test_no_token_makes_a_stronger_one(customer: Customer) -> None:
    narrow = make_customer(
        scopes="account:read_write linodes:read_only", account=customer.account
    )
    before = ApiToken.objects.count()
    for scopes, lacking in (
        ("*", "*"),
        ("linodes:read_write", "linodes:read_write"),
        ("linodes:* events:read_only", "events:read_only, linodes:read_write"),
    ):
        response = narrow.api.post(
            "/profile/tokens", {"label": "more", "scopes": scopes}
        )
        assert response.status_code == 400
        assert errors_of(response) == [
            ("scopes", f"The token you use does not have {lacking} to give")
        ]
    assert ApiToken.objects.count() == before


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"label": ""}, "label",
         "label must be 1 to 100 printable characters, no space around"),
        ({"scopes": "linodes"}, "scopes",
         "'linodes' is no scope: write CATEGORY:read_only, CATEGORY:read_write or *"),
        ({"scopes": ""}, "scopes",
         "scopes is empty: write CATEGORY:read_only, CATEGORY:read_write or *"),
        ({"scopes": ["*"]}, "scopes",
         "scopes must be a string of at most 500 characters"),
        ({"expiry": "2020-01-31T12:00:00"}, "expiry",
         "expiry must be in the future, like 2030-01-31T12:00:00 (UTC)"),
        ({"expiry": "tomorrow"}, "expiry",
         "expiry must be in the future, like 2030-01-31T12:00:00 (UTC)"),
        ({"expiry": 5}, "expiry",
         "expiry must be in the future, like 2030-01-31T12:00:00 (UTC)"),
        ({"scope": "*"}, "scope", "There is no such field"),
    ],
)  # fmt: skip
def test_a_bad_token_request_is_refused(
    customer: Customer, body: Any, field: str, reason: str
) -> None:
    response = customer.api.post("/profile/tokens", {"label": "script", **body})
    assert (response.status_code, errors_of(response)) == (400, [(field, reason)])
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize("field", ["scopes", "expiry", "token"])
def test_of_a_token_only_the_label_changes(customer: Customer, field: str) -> None:
    made = made_token(customer, scopes="events:read_only")
    path = f"/profile/tokens/{made['id']}"
    response = customer.api.put(path, {"label": "x", field: "2199-01-31T12:00:00"})
    assert response.status_code == 400
    assert errors_of(response) == [(field, f"{field} cannot be changed")]
    assert ApiToken.objects.get(pk=made["id"]).label == "script"


def test_a_token_sees_those_of_its_user_and_account_alone(customer: Customer) -> None:
    own = customer.api.get("/profile/tokens").json()["data"]
    assert [token["label"] for token in own] == ["test"]
    user = customer.account.members.get()
    elsewhere = make_account()
    elsewhere.members.add(user)
    foreign = tokens.issue(elsewhere, user, "elsewhere", tokens.new_secret())
    colleague = make_customer(account=customer.account)
    theirs = ApiToken.objects.get(user__username=colleague.username)
    assert customer.api.get("/profile/tokens").json()["data"] == own
    for token in (foreign, theirs):
        path = f"/profile/tokens/{token.pk}"
        assert customer.api.delete(path).status_code == 404
    assert not ApiToken.objects.exclude(revoked_at=None).exists()


def test_no_token_outlives_the_one_that_makes_it(customer: Customer) -> None:
    ApiToken.objects.update(expires_at=datetime(2199, 1, 31, 12, tzinfo=UTC))
    for later in (None, "2199-01-31T12:00:01"):
        response = customer.api.post("/profile/tokens", {"label": "x", "expiry": later})
        assert response.status_code == 400
        assert errors_of(response) == [
            (
                "expiry",
                "expiry must be 2199-01-31T12:00:00 or earlier: the token you use ends "
                "then",
            )
        ]
    assert made_token(customer, expiry="2199-01-31T12:00:00")["id"]


def test_an_expired_token_is_not_listed(customer: Customer) -> None:
    made = made_token(customer, expiry="2199-01-31T12:00:00")
    ApiToken.objects.filter(pk=made["id"]).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert customer.api.get(f"/profile/tokens/{made['id']}").status_code == 404
    assert customer.api.get("/profile/tokens").json()["results"] == 1


def test_the_last_use_of_a_token_is_shown(customer: Customer) -> None:
    made = made_token(customer)
    rows = customer.api.get("/gpucloud/tokens").json()["data"]
    assert [set(row) for row in rows] == [{"id", "label", "last_used"}] * 2
    assert rows[1] == {"id": made["id"], "label": "script", "last_used": None}
    ApiClient(made["token"]).get("/profile")
    used = customer.api.get("/gpucloud/tokens").json()["data"][1]["last_used"]
    row = ApiToken.objects.get(pk=made["id"])
    assert row.last_used_at is not None
    assert used == row.last_used_at.strftime("%Y-%m-%dT%H:%M:%S")


def test_a_read_only_token_changes_nothing_of_the_profile(customer: Customer) -> None:
    made = made_token(customer, scopes="account:read_only")
    api = ApiClient(made["token"])
    assert api.get("/profile/tokens").status_code == 200
    for method, path in (
        ("PUT", "/profile"),
        ("POST", "/profile/tokens"),
        ("PUT", f"/profile/tokens/{made['id']}"),
        ("DELETE", f"/profile/tokens/{made['id']}"),
        ("POST", "/profile/sshkeys"),
        ("PUT", "/account"),
        ("POST", "/tags"),
    ):
        response = api.call(method, path, {"label": "x"})
        assert response.status_code == 401, path
        assert errors_of(response) == [(None, UNAUTHORISED)]
        assert response["X-Accepted-OAuth-Scopes"] == "account:read_write"


def test_the_profiles_mail_address_changes(customer: Customer) -> None:
    shown = customer.api.get("/profile").json()
    changed = customer.api.put("/profile", {**shown, "email": "new@example.net"})
    assert changed.json() == {**shown, "email": "new@example.net"}
    assert customer.account.members.get().email == "new@example.net"


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"timezone": "Europe/Berlin"}, "timezone", "timezone cannot be changed"),
        ({"restricted": 0}, "restricted", "restricted cannot be changed"),
        ({"referrals": {"total": 1}}, "referrals", "referrals cannot be changed"),
        ({"emial": "x"}, "emial", "There is no such field"),
        ({"email": "nobody"}, "email",
         "email must be a mail address of at most 254 characters"),
    ],
)  # fmt: skip
def test_what_the_profile_cannot_change_is_refused(
    customer: Customer, body: Any, field: str, reason: str
) -> None:
    response = customer.api.put("/profile", body)
    assert (response.status_code, errors_of(response)) == (400, [(field, reason)])
    assert customer.account.members.get().email == "carol@example.net"
