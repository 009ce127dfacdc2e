"""Hosts in the admin: enrolment with its refusals, policy, and what is free on a node."""

from typing import Any

import pytest
from django.test import Client

from instances.models import Instance
from inventory.exceptions import HostUnreachable
from inventory.models import Card, Host
from tests.admin.conftest import browser_of
from tests.builders import make_gpu_model, make_host, make_region
from tests.simulated import SimulatedHypervisor

ENROL = "/admin/inventory/host/enrol/"
FORM: dict[str, Any] = {
    "uri": "qemu+tls://gpu1.example.net/system",
    "region": "us-east",
    "name": "gpu1",
    "reserved_cores": 0,
    "reserved_memory_mib": 256,
}


@pytest.fixture(autouse=True)
def lab(settings: Any) -> None:
    settings.LAB = True
    settings.LAB_SKIPS_SANITISING = False


@pytest.fixture
def answering(
    simulated_host: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> SimulatedHypervisor:
    """Give the host that answers at every address."""
    monkeypatch.setattr("inventory.enrolment.connect", lambda _: simulated_host)
    return simulated_host


def test_enrolled_host_shows_what_was_found(
    staff: Client, answering: SimulatedHypervisor
) -> None:
    make_region()
    make_gpu_model()

    response = staff.post(ENROL, FORM, follow=True)

    host = Host.objects.get()
    assert response.redirect_chain[-1][0] == f"/admin/inventory/host/{host.pk}/change/"
    text = response.content.decode()
    assert "gpu1 is enrolled: 4 new cards, 4 in all on 2 NUMA nodes." in text
    assert "unverified" in text
    assert host.cards.filter(events__actor="user:admin").count() == 4


def test_refusals_are_listed_beside_the_form(
    staff: Client, answering: SimulatedHypervisor
) -> None:
    make_region()

    response = staff.post(ENROL, FORM)

    assert response.status_code == 200
    text = response.content.decode()
    assert "Not enrolled" in text
    assert "the host has no card that can be sold" in text
    assert "10de:1e30) is no known GPU model" in text
    assert 'value="gpu1"' in text
    assert (Host.objects.count(), Card.objects.count()) == (0, 0)


def test_silent_host_is_a_refusal(
    staff: Client,
    answering: SimulatedHypervisor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_region()

    def silence() -> str:
        raise HostUnreachable("no route to host")

    monkeypatch.setattr(answering, "capabilities", silence)
    text = staff.post(ENROL, FORM).content.decode()

    assert "does not answer: no route to host" in text
    assert Host.objects.count() == 0


def test_address_that_is_none_is_refused(staff: Client, db: None) -> None:
    make_region()

    text = staff.post(ENROL, {**FORM, "uri": "http://example.net"}).content.decode()

    assert "is no libvirt address of a QEMU host" in text
    assert Host.objects.count() == 0


def test_opening_the_page_asks_no_host(staff: Client, db: None) -> None:
    make_region()

    assert staff.get(ENROL, FORM).status_code == 200
    assert Host.objects.count() == 0


def test_viewer_may_not_enrol(fleet: Host) -> None:
    viewer = browser_of("inventory.view_host")

    assert viewer.get(ENROL).status_code == 403
    assert viewer.post(ENROL, FORM).status_code == 403


def test_retired_host_is_not_revived(staff: Client, db: None) -> None:
    host = make_host(policy="retired")

    response = staff.post(
        f"/admin/inventory/host/{host.pk}/put_in_service/",
        {"_form_submitted": "1", "reason": "it is back"},
        follow=True,
    )

    assert "is retired" in response.content.decode()
    host.refresh_from_db()
    assert host.policy == "retired"


def test_host_page_shows_what_is_free_on_each_node(
    staff: Client, instance: Instance, fleet: Host
) -> None:
    page = staff.get(f"/admin/inventory/host/{fleet.pk}/change/")

    used, free = page.context["nodes"]
    assert (used.free_memory_mib, used.free_cpus, used.claims) == (896, 1, 1)
    assert (free.free_memory_mib, free.free_cpus, free.claims) == (1152, 2, 0)
    assert [row.holder_name for row in used.cards] == ["trial (Lab)", ""]


def test_empty_list_says_how_to_enrol(staff: Client, db: None) -> None:
    text = staff.get("/admin/inventory/host/").content.decode()

    assert "No GPU host yet" in text
    assert ENROL in text


def test_host_list_counts_cards_and_those_in_use(
    staff: Client, instance: Instance
) -> None:
    page = staff.get("/admin/inventory/host/")

    (host,) = page.context["cl"].result_list
    assert (host.total, host.used) == (4, 1)
