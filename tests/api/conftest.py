"""A customer with a token, a shop with something to sell, and a client for the API."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from instances import tokens
from instances.models import Account, Plan
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_host,
    make_image,
    make_plan,
    make_region,
    make_user,
)


class ApiClient:
    """Django's client with a token; unexpected exceptions become answers, as in service."""

    def __init__(self, token: str = "", base: str = "/v4") -> None:
        self._client = Client(raise_request_exception=False)
        self._base = base
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """headers: by their names in lower case, _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.generic(
            method,
            f"{self._base}{path}",
            b"" if body is None else as_json(body),
            content_type="application/json",
            headers={**self._headers, **named},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)


def as_json(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@dataclass(frozen=True)
class Customer:
    account: Account
    username: str
    api: ApiClient


def make_customer(
    username: str = "", *, scopes: str = "*", account: Account | None = None
) -> Customer:
    account = account or make_account()
    user = make_user(username)
    account.members.add(user)
    secret = tokens.new_secret()
    token = tokens.issue(account, user, "test", secret, scopes=scopes)
    # The first use writes; what comes after it has the query count of every day.
    tokens.note_used(token, token.created_at)
    return Customer(account, user.get_username(), ApiClient(secret))


def errors_of(response: Any) -> list[tuple[str | None, str]]:
    """Return (field, reason) pairs and check that nothing else is in the body."""
    body = response.json()
    assert set(body) == {"errors"}
    assert all({"reason"} <= set(e) <= {"reason", "field"} for e in body["errors"])
    return [(e.get("field"), e["reason"]) for e in body["errors"]]


@pytest.fixture
def anyone() -> ApiClient:
    return ApiClient()


@pytest.fixture
def customer(db: None) -> Customer:
    """Give a customer for whom the GPU flag is open."""
    customer = make_customer("carol")
    make_flag(accounts=(customer.account,))
    return customer


@pytest.fixture
def outsider(customer: Customer) -> Customer:
    """Give a customer for whom the GPU flag is shut."""
    return make_customer("oscar")


@pytest.fixture
def shop(db: None) -> dict[str, Plan]:
    """Give one region with four cards, one without, a plan with and one without a card."""
    region = make_region("us-east")
    make_region("ap-west", label="Mumbai, IN", country="in")
    make_host(region=region)
    make_image()
    return {
        "plain": make_plan(
            "g6-standard-2", cards=0, memory_mib=128, label="Linode 4GB", position=1
        ),
        "gpu": make_plan("g1-gpu-rtx6000-1", flag_name=GPU_FLAG, position=2),
    }


ORDER = {"type": "g1-gpu-rtx6000-1", "region": "us-east", "image": "gpucloud/probe"}
