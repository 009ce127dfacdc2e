"""What each use of a token leaves behind: the count of the window, the trail of changes."""

from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from instances.models import ApiChange, ApiToken, Instance, Plan, TokenRate
from tests.api.builders import ORDER, ApiClient, Customer, errors_of, make_customer
from tests.api.test_profile import KEY

pytestmark = pytest.mark.django_db
NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@override_settings(API_RATE_LIMIT=3, API_RATE_WINDOW_S=10**9)
def test_a_token_is_told_how_much_is_left_and_then_refused(customer: Customer) -> None:
    answers = [customer.api.get("/profile") for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert [a["X-RateLimit-Limit"] for a in answers] == ["3"] * 5
    assert [a["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0", "0"]
    # The windows begin at whole multiples of their length.
    assert {a["X-RateLimit-Reset"] for a in answers} == {str(2 * 10**9)}
    refused = answers[3]
    assert errors_of(refused) == [(None, "Too many requests")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM statement_timestamp())::bigint")
        (now,) = cursor.fetchone()
    assert 0 <= int(refused["Retry-After"]) - (2 * 10**9 - now) <= 60
    assert not any("Retry-After" in a for a in answers[:3])


@override_settings(API_RATE_LIMIT=2, API_RATE_WINDOW_S=10**9)
def test_a_refused_request_changes_nothing(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    for _ in range(2):
        customer.api.get("/profile")
    assert customer.api.post("/linode/instances", ORDER).status_code == 429
    assert not Instance.objects.exists()
    assert not ApiChange.objects.exists()


@override_settings(API_RATE_LIMIT=1, API_RATE_WINDOW_S=10**9)
def test_each_token_has_its_own_window(customer: Customer) -> None:
    other = make_customer(account=customer.account)
    assert customer.api.get("/profile").status_code == 200
    assert other.api.get("/profile").status_code == 200
    assert customer.api.get("/profile").status_code == 429


@override_settings(API_RATE_LIMIT=1, API_RATE_WINDOW_S=10**9)
def test_a_new_window_starts_from_nothing(customer: Customer) -> None:
    assert [customer.api.get("/profile").status_code for _ in range(2)] == [200, 429]
    TokenRate.objects.update(window=0)
    assert customer.api.get("/profile").status_code == 200
    assert TokenRate.objects.get().requests == 1


@override_settings(API_RATE_LIMIT=2, API_RATE_WINDOW_S=10**9)
def test_a_request_beyond_the_tokens_scopes_counts(customer: Customer) -> None:
    narrow = make_customer(scopes="events:read_only", account=customer.account)
    answers = [narrow.api.get("/linode/instances").status_code for _ in range(3)]
    assert answers == [401, 401, 429]


@override_settings(API_RATE_LIMIT=1)
def test_without_a_token_nothing_is_counted(anyone: ApiClient) -> None:
    answers = [anyone.get("/regions") for _ in range(3)]
    assert [a.status_code for a in answers] == [200] * 3
    assert not any(name in answer for answer in answers for name in NAMES)
    assert not TokenRate.objects.exists()


@override_settings(API_RATE_LIMIT=0)
def test_a_limit_of_0_counts_nothing(customer: Customer) -> None:
    answer = customer.api.get("/profile")
    assert answer.status_code == 200
    assert not any(name in answer for name in NAMES)
    assert not TokenRate.objects.exists()


def test_counting_costs_one_statement(
    customer: Customer, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1) as found:
        customer.api.get("/profile")
    assert found[0]["sql"].lstrip().startswith("INSERT INTO")


def test_the_counts_are_not_logged() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relpersistence FROM pg_class WHERE oid = 'instances_tokenrate'::regclass"
        )
        assert cursor.fetchone() == ("u",)


def trail() -> list[tuple[Any, ...]]:
    return list(
        ApiChange.objects.order_by("pk").values_list(
            "username", "method", "path", "status", "object_id"
        )
    )


def test_every_change_names_account_and_token(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    token = ApiToken.objects.get()
    box = customer.api.post("/linode/instances", ORDER).json()["id"]
    key = customer.api.post(
        "/profile/sshkeys", {"label": "laptop", "ssh_key": KEY}
    ).json()["id"]
    customer.api.put(f"/linode/instances/{box}", {"label": "x"})
    customer.api.delete(f"/profile/sshkeys/{key}")
    customer.api.delete("/linode/instances/0")
    assert trail() == [
        ("carol", "POST", "/v4/linode/instances", 200, str(box)),
        ("carol", "POST", "/v4/profile/sshkeys", 200, str(key)),
        ("carol", "PUT", f"/v4/linode/instances/{box}", 400, ""),
        ("carol", "DELETE", f"/v4/profile/sshkeys/{key}", 200, ""),
        ("carol", "DELETE", "/v4/linode/instances/0", 404, ""),
    ]
    kept = {
        (change.account, change.token, change.token_name)
        for change in ApiChange.objects.all()
    }
    assert kept == {(customer.account, token, f"test ({token.prefix}…)")}


def test_a_path_that_no_database_holds_is_on_the_trail_as_it_was_sent(
    customer: Customer,
) -> None:
    assert customer.api.delete("/tags/a%00b").status_code == 404
    assert ApiChange.objects.get().path == "/v4/tags/a%00b"


def test_what_only_looks_leaves_no_trail(customer: Customer) -> None:
    customer.api.get("/linode/instances")
    customer.api.call("OPTIONS", "/linode/instances")
    customer.api.put("/linode/instances", {})
    assert trail() == []


def test_a_change_that_broke_off_is_on_the_trail_without_a_status(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("cut off")

    monkeypatch.setattr("instances.api.views.ssh_keys.canonical", broken)
    response = customer.api.post("/profile/sshkeys", {"label": "x", "ssh_key": KEY})
    assert response.status_code == 500
    assert trail() == [("carol", "POST", "/v4/profile/sshkeys", None, "")]


def test_the_trail_outlives_the_token(customer: Customer) -> None:
    customer.api.put("/profile", {})
    ApiToken.objects.all().delete()
    change = ApiChange.objects.get()
    assert (change.account, change.token) == (customer.account, None)
    assert change.token_name.startswith("test (")
