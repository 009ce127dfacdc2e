"""What every endpoint shares: tokens, scopes, paths, methods, and errors as JSON."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import get_resolver
from django.utils import timezone

from instances.api import errors, urls
from instances.models import ApiToken
from tests.api.builders import ApiClient, Customer, errors_of, make_customer

PUBLIC = ["/regions", "/regions/availability", "/linode/types", "/images"]
PRIVATE = [
    *("/linode/instances", "/account/events", "/profile"),
    *("/gpucloud/reservations", "/gpucloud/quotas", "/gpucloud/usage"),
]

pytestmark = pytest.mark.django_db


def addresses() -> list[str]:
    """Return every address of the API that the URL table has, with an id filled in."""
    routes = {str(found.pattern) for found in get_resolver(urls.__name__).url_patterns}
    for old, new in {
        "<str:region_id>": "us-east",
        "<str:type_id>": "g6-standard-2",
        "<path:image_id>": "gpucloud/probe",
        "<int:instance_id>": "1",
        "<int:event_id>": "1",
        "<int:reservation_id>": "1",
        "<int:key_id>": "1",
        "<int:token_id>": "1",
        "<int:invoice_id>": "1",
        "<int:trial_id>": "1",
        "<int:disk_id>": "1",
        "<str:address>": "203.0.113.10",
        "<path:kernel_id>": "linode/direct-disk",
        "<int:entry_id>": "1",
        "<int:webhook_id>": "1",
        "<int:firewall_id>": "1",
        "<int:device_id>": "1",
        "<int:group_id>": "1",
        "<str:username>": "carol",
        "<path:label>": "prod",
    }.items():
        routes = {route.replace(old, new) for route in routes}
    return sorted(f"/{route}" for route in routes)


def test_the_url_table_has_each_address_with_and_without_slash() -> None:
    found = addresses()
    assert len(found) == 170
    assert {a.rstrip("/") for a in found if a.endswith("/")} == {
        a for a in found if not a.endswith("/")
    }


@pytest.mark.parametrize("base", ["/v4", "/v4beta"])
@pytest.mark.parametrize("path", PUBLIC + PRIVATE)
def test_a_trailing_slash_makes_no_difference(
    customer: Customer, path: str, base: str
) -> None:
    api = ApiClient(base=base)
    api.headers = customer.api.headers
    plain, slashed = api.get(path), api.get(f"{path}/")
    assert (plain.status_code, slashed.status_code) == (200, 200)
    assert plain.json() == slashed.json()
    assert plain["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", addresses())
def test_no_address_redirects_or_breaks(customer: Customer, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        response = customer.api.call(method, path)
        assert response.status_code in (200, 400, 404, 405), method


@pytest.mark.parametrize("path", PUBLIC)
def test_public_lists_need_no_token(anyone: ApiClient, path: str) -> None:
    response = anyone.get(path)
    assert response.status_code == 200
    assert response["X-OAuth-Scopes"] == "unknown"


@pytest.mark.parametrize("path", sorted(set(addresses())))
@pytest.mark.parametrize(
    "header", ["Bearer 0123", "Bearer", "Basic Y2Fyb2w6eA==", "Bearer \xe9\xff"]
)
def test_a_bad_token_is_401_everywhere(
    anyone: ApiClient, path: str, header: str
) -> None:
    response = anyone.get(path, authorization=header)
    assert response.status_code == 401
    assert response.json() == {"errors": [{"reason": "Invalid Token"}]}
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["X-OAuth-Scopes"] == "unknown"


@pytest.mark.parametrize("path", [*PRIVATE, "/gpucloud/instances/1/console"])
def test_no_token_reads_like_a_bad_one(anyone: ApiClient, path: str) -> None:
    response = anyone.get(path)
    assert response.status_code == 401
    assert response.json() == {"errors": [{"reason": "Invalid Token"}]}


@pytest.mark.parametrize(
    "change",
    [
        {"revoked_at": timezone.now()},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
    ],
)
def test_a_revoked_or_expired_token_is_invalid(
    customer: Customer, change: dict[str, Any]
) -> None:
    ApiToken.objects.update(**change)
    assert customer.api.get("/profile").status_code == 401


def test_a_token_of_a_disabled_user_is_invalid(customer: Customer) -> None:
    customer.account.members.update(is_active=False)
    assert customer.api.get("/profile").status_code == 401


def test_the_use_of_a_token_is_noted(customer: Customer) -> None:
    ApiToken.objects.update(last_used_at=None)
    customer.api.get("/profile")
    assert ApiToken.objects.get().last_used_at is not None


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status", "needed"),
    [
        ("linodes:read_only", "GET", "/linode/instances", 200, "linodes:read_only"),
        ("linodes:read_only", "POST", "/linode/instances", 401, "linodes:read_write"),
        ("linodes:read_only", "DELETE", "/linode/instances/1", 401, "linodes:read_write"),
        ("linodes:read_write", "GET", "/linode/instances", 200, "linodes:read_only"),
        ("linodes:read_write", "POST", "/linode/instances", 400, "linodes:read_write"),
        ("linodes:*", "POST", "/linode/instances", 400, "linodes:read_write"),
        ("linodes:read_write", "GET", "/account/events", 401, "events:read_only"),
        ("events:read_only", "GET", "/account/events", 200, "events:read_only"),
        ("events:read_only", "POST", "/account/events/1/seen", 401, "events:read_write"),
        ("linodes:read_only,events:read_only", "GET", "/account/events", 200,
         "events:read_only"),
        ("events:read_only", "GET", "/gpucloud/instances/1/console", 401,
         "linodes:read_only"),
        ("linodes:read_only", "GET", "/images", 401, "images:read_only"),
        ("events:read_only", "GET", "/regions", 200, "*"),
        ("events:read_only", "GET", "/linode/types", 200, "*"),
        ("events:read_only", "GET", "/profile", 200, "*"),
        ("*", "GET", "/account/events", 200, "events:read_only"),
        ("", "GET", "/linode/instances", 401, "linodes:read_only"),
    ],
)  # fmt: skip
def test_scopes_are_enforced(
    scopes: str, method: str, path: str, status: int, needed: str
) -> None:
    response = make_customer(scopes=scopes).api.call(method, path)
    assert response.status_code == status
    assert response["X-OAuth-Scopes"] == " ".join(sorted(scopes.split(",")))
    assert response["X-Accepted-OAuth-Scopes"] == needed
    if status == 401:
        assert errors_of(response) == [
            (None, "Your OAuth token is not authorized to use this endpoint.")
        ]


@pytest.mark.parametrize(
    "path",
    [
        "/v4",
        "/v4/",
        "/v4beta",
        "/v4/nothing",
        "/v4/linode/instances/abc",
        "/v4/domains/1/",
    ],
)
def test_an_unknown_path_is_404_as_json(path: str) -> None:
    response = Client().post(path)
    assert response.status_code == 404
    assert response.json() == {"errors": [{"reason": "Not found"}]}


def test_elsewhere_an_unknown_path_is_a_page() -> None:
    response = Client().get("/v4x")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    [
        f"/linode/instances/{2**63}",
        f"/linode/instances/{10**400}",
        f"/account/events/{2**64}",
        "/regions/%00",
        "/regions/%ff",
        "/linode/types/%00",
        "/images/%00/x",
        "/images/a//b",
        "/linode/instances/0",
    ],
)
def test_an_impossible_id_is_not_found(customer: Customer, path: str) -> None:
    response = customer.api.get(path)
    assert response.status_code == 404
    assert response.json() == {"errors": [{"reason": "Not found"}]}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
def test_a_wrong_method_is_405(customer: Customer, method: str) -> None:
    response = customer.api.call(method, "/linode/instances")
    assert response.status_code == 405
    assert errors_of(response) == [(None, "Method Not Allowed")]
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_options_names_the_methods_without_a_token(anyone: ApiClient) -> None:
    response = anyone.call("OPTIONS", "/linode/instances")
    assert (response.status_code, response.json()) == (200, {})
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_head_is_get_without_a_body(customer: Customer) -> None:
    response = customer.api.call("HEAD", "/linode/instances")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense"])
def test_the_answer_is_json_whatever_is_accepted(
    anyone: ApiClient, accept: str
) -> None:
    response = anyone.get("/regions?format=xml", accept=accept)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"type": NaN}',
        b"\xff\xfe",
        b"[" * 5000 + b"]" * 5000,
        b'{"label": "a\\u0000b"}',
        b'{"label": "\\ud800"}',
        b'{"a\\u0000": 1}',
        b'{"region": ' + b"1" * 5000 + b"}",
    ],
)
def test_a_malformed_body_is_400(customer: Customer, body: bytes) -> None:
    response = customer.api.post("/linode/instances", body)
    assert response.status_code == 400
    assert errors_of(response) == [(None, "The request body is not valid JSON")]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null"])
def test_a_body_that_is_no_object_is_400(customer: Customer, body: bytes) -> None:
    response = customer.api.post("/linode/instances", body)
    assert response.status_code == 400
    assert errors_of(response) == [(None, "The request body must be a JSON object")]


def test_a_huge_body_is_413(customer: Customer) -> None:
    response = customer.api.post("/linode/instances", b'"' + b"x" * 131072 + b'"')
    assert response.status_code == 413
    assert errors_of(response) == [(None, "The request body is too large")]


def test_a_form_is_415(customer: Customer) -> None:
    response = customer.api._client.post(
        "/v4/linode/instances", {"type": "x"}, headers=customer.api.headers
    )
    assert response.status_code == 415
    assert [field for field, _ in errors_of(response)] == [None]


def test_an_unforeseen_error_is_500_as_json(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("instances.api.views.profile.profile_json", broken)
    response = customer.api.get("/profile")
    assert response.status_code == 500
    assert response.json() == {"errors": [{"reason": "Internal Server Error"}]}


@override_settings(ALLOWED_HOSTS=["api.example.net"])
def test_a_strange_host_name_is_400_as_json(anyone: ApiClient) -> None:
    response = anyone.get("/regions")
    assert response.status_code == 400
    assert response.json() == {"errors": [{"reason": "Bad request"}]}


def test_the_errors_module_names_the_paths_of_the_api(rf: Any) -> None:
    ours = ["/v4", "/v4/x", "/v4beta", "/v4beta/"]
    others = ["/", "/admin/", "/v4x", "/v41/", "/x/v4/"]
    assert all(errors.is_api_path(rf.get(path)) for path in ours)
    assert not any(errors.is_api_path(rf.get(path)) for path in others)
