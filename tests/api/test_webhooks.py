"""Webhooks over the API: made, shown, changed, deleted; their secret once, their log."""

from typing import Any

import pytest
from pytest_django import Settings

from instances.models import Webhook, WebhookDelivery
from tests.api.builders import Customer, errors_of, make_customer
from tests.api.test_isolation import _event

PATH = "/gpucloud/webhooks"
URL = "https://ops.example.net/hook?key=1"
HTTPS = ("url", "url must begin with https:// and name a host")
PRIVATE = ("url", "url must not lead into a private network")


def test_a_webhook_lives_and_its_secret_is_shown_once(customer: Customer) -> None:
    made = customer.api.post(PATH, {"url": URL, "actions": ["linode_boot"]}).json()

    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    row = Webhook.objects.get()
    assert secret not in row.sealed_secret
    assert (row.account, row.created_by) == (customer.account, "user:carol")
    assert made == {
        "id": row.pk,
        "url": URL,
        "actions": ["linode_boot"],
        "status": "enabled",
        "failures": 0,
        "created": row.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "updated": row.updated_at.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    one = f"{PATH}/{row.pk}"
    assert customer.api.get(one).json() == made
    assert customer.api.get(PATH).json()["data"] == [made]

    changes = {"status": "disabled", "actions": [], "url": "https://example.net"}
    changed = customer.api.put(one, {**made, **changes}).json()
    assert {name: changed[name] for name in changes} == changes
    Webhook.objects.update(failures=7)
    enabled = customer.api.put(one, {"status": "enabled"}).json()
    assert (enabled["status"], enabled["failures"]) == ("enabled", 0)

    _event(customer)
    deleted = customer.api.delete(one)
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert customer.api.get(one).status_code == 404
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (None, ("url", "url must be a string of 1 to 500 characters")),
        ("https://x/" + "x" * 491, ("url", "url must be a string of 1 to 500 characters")),
        ("http://ops.example.net", HTTPS),
        ("ftp://ops.example.net", HTTPS),
        ("https://", HTTPS),
        ("https://[", ("url", "url is not a URL")),
        ("https://x:99999/", ("url", "url is not a URL")),
        ("https://exämple.net", ("url", "url must be printable ASCII without spaces: "
                                 "encode other characters")),
        ("https://u:p@example.net", ("url", "url must have no user, password or fragment")),
        ("https://example.net/#x", ("url", "url must have no user, password or fragment")),
        ("https://127.0.0.1/", PRIVATE),
        ("https://10.0.0.1:8443/", PRIVATE),
        ("https://169.254.169.254/latest", PRIVATE),
        ("https://[::1]/", PRIVATE),
        ("https://[::ffff:10.0.0.1]/", PRIVATE),
        ("https://localhost/", PRIVATE),
    ],
)  # fmt: skip
def test_only_https_to_the_open_internet_is_taken(
    customer: Customer, url: Any, error: tuple[str, str]
) -> None:
    refused = customer.api.post(PATH, {"url": url})
    assert (refused.status_code, errors_of(refused)) == (400, [error])
    assert not Webhook.objects.exists()


def test_a_lab_may_allow_the_rest(customer: Customer, settings: Settings) -> None:
    settings.WEBHOOKS_PRIVATE = True
    assert customer.api.post(PATH, {"url": "http://127.0.0.1:9/"}).status_code == 200


def test_everything_that_is_wrong_is_told(customer: Customer) -> None:
    refused = customer.api.post(
        PATH, {"url": "x", "actions": ["linode_fly"], "secret": "mine"}
    )
    assert errors_of(refused) == [
        HTTPS,
        ("actions", "There is no action linode_fly: see the actions of events"),
        ("secret", "There is no such field"),
    ]
    made = customer.api.post(PATH, {"url": URL}).json()["id"]
    changed = customer.api.put(
        f"{PATH}/{made}", {"url": "x", "actions": [["x"]], "status": 5, "failures": 3}
    )
    assert errors_of(changed) == [
        HTTPS,
        ("actions", "There is no action ['x']: see the actions of events"),
        ("status", "status: enabled or disabled"),
        ("failures", "failures cannot be changed"),
    ]


def test_an_account_has_ten_at_most(customer: Customer) -> None:
    answers = [customer.api.post(PATH, {"url": URL}) for _ in range(11)]
    assert [a.status_code for a in answers] == [200] * 10 + [400]
    ((field, reason),) = errors_of(answers[-1])
    assert field is None
    assert reason.startswith("Account Limit reached.")


def test_deliveries_are_listed_and_filtered(customer: Customer) -> None:
    hook = customer.api.post(PATH, {"url": URL}).json()["id"]
    events = [_event(customer), _event(customer)]
    path = f"{PATH}/{hook}/deliveries"
    rows = customer.api.get(path).json()["data"]
    assert [row["event_id"] for row in rows] == events[::-1]
    row = WebhookDelivery.objects.get(event__id=events[0])
    assert rows[1] == {
        "id": str(row.uuid),
        "event_id": events[0],
        "action": "linode_boot",
        "event_status": "finished",
        "status": "pending",
        "attempts": 0,
        "http_status": None,
        "error": None,
        "created": row.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "next_attempt": row.due_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "ended": None,
    }
    for header, expected in (
        (f'{{"id": "{row.uuid}"}}', [events[0]]),
        (f'{{"event_id": {events[1]}}}', [events[1]]),
        ('{"action": "linode_boot", "+order_by": "event_id"}', events),
        ('{"action": "linode_delete"}', []),
        ('{"status": "pending", "+order_by": "id"}', events),
        ('{"id": "no uuid"}', []),
    ):
        found = customer.api.get(path, x_filter=header).json()["data"]
        assert [each["event_id"] for each in found] == expected, header


def test_scopes_of_webhooks(db: None) -> None:
    reader = make_customer(scopes="events:read_only").api
    assert reader.get(PATH).status_code == 200
    refused = reader.post(PATH, {"url": URL})
    assert refused.status_code == 401
    assert refused["X-Accepted-OAuth-Scopes"] == "events:read_write"
    other = make_customer(scopes="account:* linodes:*").api
    assert other.get(PATH).status_code == 401
