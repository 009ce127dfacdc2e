"""The account: itself, what it can have, its users, its maintenance and notifications."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from instances.models import Account, Plan, SSHKey
from inventory.choices import HostPolicy
from inventory.models import Host
from tests.api.builders import ORDER, Customer, errors_of, make_customer
from tests.builders import make_account

pytestmark = pytest.mark.django_db
PLAIN = ["Linodes", "Cloud Firewall", "Placement Group"]


def test_account(customer: Customer, shop: dict[str, Plan]) -> None:
    body = customer.api.get("/account").json()
    euuid = body.pop("euuid")
    assert body == {
        "company": customer.account.name,
        "email": customer.account.email,
        **dict.fromkeys(
            (
                *("first_name", "last_name", "address_1", "address_2", "city"),
                *("state", "zip", "country", "phone", "tax_id"),
            ),
            "",
        ),
        "active_since": customer.account.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "active_promotions": [],
        "balance": 0,
        "balance_uninvoiced": 0,
        "billing_source": "linode",
        "capabilities": ["Linodes", "GPU Linodes", "Cloud Firewall", "Placement Group"],
        "credit_card": {"expiry": None, "last_four": None},
    }
    assert len(euuid) == 36
    assert customer.api.get("/account").json()["euuid"] == euuid


def test_a_shut_flag_hides_gpus_from_the_account(
    outsider: Customer, shop: dict[str, Plan]
) -> None:
    assert outsider.api.get("/account").json()["capabilities"] == PLAIN
    (row,) = outsider.api.get(
        "/account/availability", x_filter='{"region": "us-east"}'
    ).json()["data"]
    assert row["available"] == PLAIN
    assert "GPU" not in json.dumps(row)


def test_the_accounts_mail_address_changes(customer: Customer) -> None:
    shown = customer.api.get("/account").json()
    changed = customer.api.put("/account", {**shown, "email": "pay@example.net"})
    assert changed.json() == {**shown, "email": "pay@example.net"}
    assert Account.objects.get(pk=customer.account.pk).email == "pay@example.net"


def test_what_the_account_cannot_change_is_refused(customer: Customer) -> None:
    body = {"email": "x@", "company": "Else", "balance": 5, "colour": "red"}
    response = customer.api.put("/account", body)
    assert response.status_code == 400
    assert errors_of(response) == [
        ("email", "email must be a mail address of at most 254 characters"),
        ("company", "company cannot be changed"),
        ("balance", "balance cannot be changed"),
        ("colour", "There is no such field"),
    ]
    row = Account.objects.get(pk=customer.account.pk)
    assert (row.email, row.name) == (customer.account.email, customer.account.name)


def test_availability(customer: Customer, shop: dict[str, Plan]) -> None:
    not_sold = [
        *("Block Storage", "Kubernetes", "Managed Databases"),
        *("NodeBalancers", "Object Storage", "VPCs", "Vlans"),
    ]
    with_gpus = {
        "region": "us-east",
        "available": ["Linodes", "GPU Linodes", "Cloud Firewall", "Placement Group"],
        "unavailable": not_sold,
    }
    without = {"region": "ap-west", "available": PLAIN, "unavailable": not_sold}
    assert customer.api.get("/account/availability").json() == {
        "data": [without, with_gpus], "page": 1, "pages": 1, "results": 2,
    }  # fmt: skip
    assert customer.api.get("/account/availability/us-east").json() == with_gpus
    assert customer.api.get("/account/availability/mars").status_code == 404
    assert customer.api.get("/account/availability/%00").status_code == 404


def test_settings(customer: Customer) -> None:
    assert customer.api.get("/account/settings").json() == {
        "backups_enabled": False,
        "interfaces_for_new_linodes": "legacy_config_only",
        "longview_subscription": None,
        "maintenance_policy": "linode/power_off_on",
        "managed": False,
        "network_helper": False,
        "object_storage": "disabled",
        "tfa_enforced": False,
    }


def test_users(customer: Customer) -> None:
    cleo = make_customer("cleo", account=customer.account)
    make_customer("stranger")
    gone = make_customer("gone", account=customer.account)
    User.objects.filter(username=gone.username).update(is_active=False)
    User.objects.filter(username=cleo.username).update(
        last_login=datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)
    )
    SSHKey.objects.create(
        user=customer.account.members.get(username="carol"), label="laptop", ssh_key="x"
    )
    body = customer.api.get("/account/users").json()
    assert [row["username"] for row in body["data"]] == ["carol", "cleo"]
    carol, shown = body["data"]
    assert carol == {
        "username": "carol",
        "email": "carol@example.net",
        "restricted": False,
        "ssh_keys": ["laptop"],
        "tfa_enabled": False,
        "tfa_enforced": False,
        "user_type": "default",
        "last_login": None,
        "password_created": None,
        "verified_phone_number": None,
    }
    assert shown["last_login"] == {
        "login_datetime": "2026-01-31T12:00:00",
        "status": "successful",
    }
    assert customer.api.get("/account/users/carol").json() == carol
    for name in ("stranger", "gone", "nobody", "%00"):
        assert customer.api.get(f"/account/users/{name}").status_code == 404
    found = customer.api.get("/account/users", x_filter='{"username": "cleo"}').json()
    assert [row["username"] for row in found["data"]] == ["cleo"]


# A host is retired only once it holds nothing.
@pytest.mark.parametrize("policy", [p for p in HostPolicy if p != HostPolicy.RETIRED])
def test_maintenance_is_what_happens_to_the_accounts_hosts(
    customer: Customer, outsider: Customer, shop: dict[str, Plan], policy: HostPolicy
) -> None:
    made = customer.api.post("/linode/instances", {**ORDER, "label": "box"}).json()
    Host.objects.update(policy=policy)
    expected: list[Any] = []
    if policy in (HostPolicy.DRAINING, HostPolicy.MAINTENANCE):
        expected = [
            {
                "id": made["id"],
                "label": "box",
                "type": "linode",
                "url": f"/v4/linode/instances/{made['id']}",
            }
        ]
    for path in ("/account/maintenance", "/account/notifications"):
        rows = customer.api.get(path).json()["data"]
        assert [row["entity"] for row in rows] == expected
        assert outsider.api.get(path).json()["data"] == []


def test_maintenance_in_full(customer: Customer, shop: dict[str, Plan]) -> None:
    customer.api.post("/linode/instances", {**ORDER, "label": "box"})
    Host.objects.update(policy=HostPolicy.DRAINING)
    (row,) = customer.api.get(
        "/account/maintenance", x_filter='{"status": "pending", "when": null}'
    ).json()["data"]
    del row["entity"], row["reason"]
    assert row == {
        "type": "power_off_on",
        "status": "pending",
        "description": "scheduled",
        "source": "platform",
        "maintenance_policy_set": "linode/power_off_on",
        "when": None,
        "not_before": None,
        "start_time": None,
        "complete_time": None,
    }
    (told,) = customer.api.get(
        "/account/notifications", x_filter='{"type": "maintenance"}'
    ).json()["data"]
    assert (told["severity"], told["type"]) == ("major", "maintenance")
    assert told["message"] == "box is on a host that is being taken out of service."
    started = customer.api.get(
        "/account/maintenance", x_filter='{"status": "started"}'
    ).json()
    assert started["results"] == 0


def test_the_policy_of_a_linode_is_listed(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    made = customer.api.post("/linode/instances", ORDER).json()
    (policy,) = customer.api.get("/maintenance/policies").json()["data"]
    assert (policy["slug"], policy["is_default"]) == ("linode/power_off_on", True)
    assert made["maintenance_policy"] == policy["slug"]


@pytest.mark.parametrize(
    "path",
    ["/account/logins", "/account/transfer",
     "/profile/grants", "/account/payments", "/networking/vlans"],
)  # fmt: skip
def test_what_there_is_not_is_404(customer: Customer, path: str) -> None:
    response = customer.api.get(path)
    assert response.status_code == 404
    assert response.json() == {"errors": [{"reason": "Not found"}]}


def test_a_user_of_two_accounts_sees_the_tokens_account(customer: Customer) -> None:
    second = make_account()
    second.members.add(customer.account.members.get())
    assert customer.api.get("/account").json()["company"] == customer.account.name
