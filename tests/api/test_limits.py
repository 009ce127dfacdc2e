"""Nobody fills our disks with what anybody may make without end."""

from collections.abc import Callable
from typing import Any

import pytest

from instances import limits
from instances.actions import guest_settings
from instances.models import Instance
from tests.api.builders import Customer, errors_of, make_customer
from tests.api.test_profile import KEY

pytestmark = pytest.mark.django_db
FIREWALL = {"rules": {"inbound_policy": "DROP", "outbound_policy": "ACCEPT"}}
MADE: dict[str, tuple[str, Callable[[int], dict[str, Any]], str]] = {
    "SSH_KEYS": (
        "/profile/sshkeys",
        lambda n: {"label": f"key{n}", "ssh_key": KEY},
        "A user has at most 3 SSH keys.",
    ),
    "TOKENS": (
        "/profile/tokens",
        lambda n: {"label": f"token{n}"},
        "A user has at most 3 API tokens.",
    ),
    "FIREWALLS": (
        "/networking/firewalls",
        lambda n: {"label": f"wall{n}", **FIREWALL},
        "An account has at most 3 Cloud Firewalls.",
    ),
    "TAGS": (
        "/tags",
        lambda n: {"label": f"tag{n}"},
        "An account has at most 3 tags.",
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_no_more_are_made_than_there_may_be(
    customer: Customer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, body, told = MADE[name]
    monkeypatch.setattr(limits, name, 3)
    there = customer.api.get(path).json()["results"]

    answers = [customer.api.post(path, body(n)) for n in range(4 - there)]

    assert [a.status_code for a in answers] == [200] * (3 - there) + [400]
    ((field, reason),) = errors_of(answers[-1])
    assert field is None
    assert reason.startswith(f"Account Limit reached. {told}")
    assert customer.api.get(path).json()["results"] == 3
    # Another's are another's.
    assert make_customer("other").api.post(path, body(9)).status_code == 200


def test_keys_of_users_must_fit_into_a_seed(
    customer: Customer,
    with_a_disk: Callable[[Customer], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    customer.api.post("/profile/sshkeys", {"label": "key", "ssh_key": KEY})
    made = Instance.objects.get(pk=with_a_disk(customer))
    order = {
        "type": "disk-plan",
        "region": "us-east",
        "image": made.image.slug,
        "authorized_users": ["carol"],
    }
    monkeypatch.setattr(guest_settings, "MAX_KEYS_CHARACTERS", len(KEY) - 1)
    refused = customer.api.post("/linode/instances", order)
    reason = f"Their SSH keys have {len(KEY)} characters; at most {len(KEY) - 1} fit"
    assert errors_of(refused) == [("authorized_users", reason)]

    monkeypatch.setattr(guest_settings, "MAX_KEYS_CHARACTERS", len(KEY))
    assert customer.api.post("/linode/instances", order).status_code == 200
