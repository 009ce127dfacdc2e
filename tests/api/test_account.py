"""Events, the profile and the serial console."""

from datetime import UTC, datetime
from typing import Any

import pytest

from instances.choices import EventAction, EventStatus
from instances.jobs import runner
from instances.models import Event, Job, Plan
from inventory.exceptions import HostUnreachable
from tests.api.builders import ORDER, Customer, errors_of
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
AT = datetime(2026, 1, 31, 12, 0, 0, 250000, tzinfo=UTC)


def made_event(customer: Customer, **fields: Any) -> Event:
    event = Event.objects.create(
        **{
            "account": customer.account,
            "action": EventAction.LINODE_CREATE,
            "status": EventStatus.SCHEDULED,
            "entity_id": 123,
            "entity_label": "trainer",
            "username": "carol",
            **fields,
        }
    )
    Event.objects.filter(pk=event.pk).update(created_at=AT)
    return event


def test_event(customer: Customer) -> None:
    event = made_event(
        customer,
        status=EventStatus.FAILED,
        message="The host does not answer.",
        percent_complete=40,
        started_at=AT,
        finished_at=AT.replace(second=7),
    )
    assert customer.api.get(f"/account/events/{event.pk}").json() == {
        "id": event.pk,
        "action": "linode_create",
        "status": "failed",
        "percent_complete": 40,
        "created": "2026-01-31T12:00:00",
        "duration": 7.0,
        "entity": {
            "id": 123,
            "label": "trainer",
            "type": "linode",
            "url": "/v4/linode/instances/123",
        },
        "secondary_entity": None,
        "message": "The host does not answer.",
        "username": "carol",
        "seen": False,
        "read": False,
        "rate": None,
        "time_remaining": None,
    }


def test_an_open_event_has_neither_duration_nor_message(customer: Customer) -> None:
    event = made_event(customer)
    body = customer.api.get(f"/account/events/{event.pk}").json()
    assert (body["duration"], body["message"]) == (None, None)


def test_events_are_listed_newest_first(customer: Customer) -> None:
    made = [made_event(customer).pk for _ in range(3)]
    body = customer.api.get("/account/events").json()
    assert [row["id"] for row in body["data"]] == made[::-1]


def test_seen_marks_the_event_and_all_before(
    customer: Customer, outsider: Customer
) -> None:
    first, second, third = [made_event(customer) for _ in range(3)]
    foreign = made_event(outsider)
    response = customer.api.post(f"/account/events/{second.pk}/seen")
    assert (response.status_code, response.json()) == (200, {})
    assert set(Event.objects.filter(seen=True)) == {first, second}
    assert foreign not in Event.objects.filter(seen=True)
    assert customer.api.get(f"/account/events/{third.pk}").json()["seen"] is False


def test_an_instance_leaves_its_event_behind(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    made = customer.api.post("/linode/instances", {**ORDER, "label": "trainer"}).json()
    (row,) = customer.api.get("/account/events").json()["data"]
    assert (row["action"], row["status"]) == ("linode_create", "scheduled")
    assert row["username"] == "carol"
    assert row["entity"] == {
        "id": made["id"],
        "label": "trainer",
        "type": "linode",
        "url": f"/v4/linode/instances/{made['id']}",
    }


def test_profile(customer: Customer) -> None:
    body = customer.api.get("/profile").json()
    assert body.pop("uid") == customer.account.members.get().pk
    assert body == {
        "username": "carol",
        "email": "carol@example.net",
        "timezone": "UTC",
        "email_notifications": False,
        "ip_whitelist_enabled": False,
        "lish_auth_method": "disabled",
        "authorized_keys": None,
        "authentication_type": "password",
        "two_factor_auth": False,
        "tfa_enforced": False,
        "restricted": False,
        "verified_phone_number": None,
        "referrals": {
            "code": "",
            "url": "",
            "total": 0,
            "completed": 0,
            "pending": 0,
            "credit": 0,
        },
    }


@pytest.fixture
def host(
    monkeypatch: pytest.MonkeyPatch, simulated_host: SimulatedHypervisor
) -> SimulatedHypervisor:
    """Have the console read from a simulated host, on which the launch job ran."""
    monkeypatch.setattr("instances.console.connect", lambda uri: simulated_host)
    return simulated_host


def launched(customer: Customer, host: SimulatedHypervisor) -> int:
    made = customer.api.post("/linode/instances", ORDER).json()
    runner.run(Job.objects.latest("pk").pk, connect_to=lambda uri: host)
    return int(made["id"])


def test_console_is_the_guests_text(
    customer: Customer, shop: dict[str, Plan], host: SimulatedHypervisor
) -> None:
    instance_id = launched(customer, host)
    found = customer.api.get(f"/linode/instances/{instance_id}").json()
    assert found["status"] == "running"
    response = customer.api.get(f"/gpucloud/instances/{instance_id}/console")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response.content == b"PROBE-DONE\r\n"


def test_console_is_the_last_64_kib(
    customer: Customer, shop: dict[str, Plan], host: SimulatedHypervisor
) -> None:
    instance_id = launched(customer, host)
    (volume,) = [key for key in host.volumes if key[1].endswith(".log")]
    host.volumes[volume] = b"x" * 70000 + b"\xff<end>"
    response = customer.api.get(f"/gpucloud/instances/{instance_id}/console/")
    assert response.content.decode().endswith("xx\ufffd<end>")
    assert len(response.content.decode()) == 64 * 1024


def test_a_console_that_wrote_nothing_is_empty(
    customer: Customer, shop: dict[str, Plan], host: SimulatedHypervisor
) -> None:
    made = customer.api.post("/linode/instances", ORDER).json()
    response = customer.api.get(f"/gpucloud/instances/{made['id']}/console")
    assert (response.status_code, response.content) == (200, b"")


def test_a_console_whose_host_is_silent_is_503(
    customer: Customer, shop: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(uri: str) -> None:
        raise HostUnreachable(f"no answer from {uri}")

    monkeypatch.setattr("instances.console.connect", silent)
    made = customer.api.post("/linode/instances", ORDER).json()
    response = customer.api.get(f"/gpucloud/instances/{made['id']}/console")
    assert response.status_code == 503
    assert errors_of(response) == [(None, "The host does not answer.")]


def test_console_of_an_unknown_instance(customer: Customer) -> None:
    response = customer.api.get("/gpucloud/instances/1/console")
    assert response.status_code == 404
    assert response.json() == {"errors": [{"reason": "Not found"}]}
