"""Customers with tokens, a client that speaks to the API for them, and what they order."""

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from instances import tokens
from instances.jobs import runner
from instances.models import Account, Job
from tests.builders import make_account, make_user
from tests.simulated import SimulatedHypervisor

ORDER = {"type": "g1-gpu-rtx6000-1", "region": "us-east", "image": "gpucloud/probe"}
SECRET = "Sonnenblume-7"


class ApiClient:
    """Django's client with a token; unexpected exceptions become answers, as in service."""

    def __init__(self, token: str = "", base: str = "/v4") -> None:
        self._client = Client(raise_request_exception=False)
        self._base = base
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """headers: by their names in lower case, _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.generic(
            method,
            f"{self._base}{path}",
            b"" if body is None else as_json(body),
            content_type="application/json",
            headers={**self.headers, **named},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("PUT", path, body, **headers)

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


def running_instance(owner: Customer, **fields: Any) -> int:
    """Create an instance and launch it on a simulated host; return its id."""
    made = owner.api.post("/linode/instances", {**ORDER, **fields}).json()["id"]
    host = SimulatedHypervisor()
    runner.run(Job.objects.get(instance=made).pk, lambda _uri: host)
    return int(made)


def work(host: SimulatedHypervisor) -> None:
    """Do what a worker would: every open job of an instance, oldest first."""
    for job in Job.objects.filter(card=None).order_by("pk"):
        runner.run(job.pk, connect_to=lambda uri: host)


def errors_of(response: Any) -> list[tuple[str | None, str]]:
    """Return (field, reason) pairs and check that nothing else is in the body."""
    body = response.json()
    assert set(body) == {"errors"}
    assert all({"reason"} <= set(e) <= {"reason", "field"} for e in body["errors"])
    return [(e.get("field"), e["reason"]) for e in body["errors"]]
