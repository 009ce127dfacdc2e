"""The page that checks a host: who may, and what it says."""

import re

import pytest
from django.test import Client

from inventory.models import Host
from tests.admin.conftest import browser_of
from tests.builders import make_gpu_model, make_host, make_region
from tests.simulated import SimulatedHypervisor

CHECK = "/admin/inventory/host/check/"
URI = "qemu+tls://gpu1.example.net/system"


@pytest.fixture
def asked(
    simulated_host: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Have a host answer at every address; gives the addresses that were asked."""
    addresses: list[str] = []

    def connect(uri: str) -> SimulatedHypervisor:
        addresses.append(uri)
        return simulated_host

    monkeypatch.setattr("inventory.host_check.open_own", connect)
    return addresses


def test_results_are_words_with_what_to_do(
    staff: Client, db: None, asked: list[str]
) -> None:
    make_gpu_model()

    response = staff.post(CHECK, {"uri": URI})

    assert response.status_code == 200
    text = response.content.decode()
    assert "✓ pass" in text
    assert "! warning" in text
    assert re.search(r"it took \d\.\d s", text)
    assert "0000:21:00.0 (10de:1e30), IOMMU group 13: no driver" in text
    assert "proven by --start-guest" in text
    assert asked == [URI]
    assert Host.objects.count() == 0


def test_host_without_a_card_for_sale_fails(
    staff: Client, db: None, asked: list[str]
) -> None:
    text = staff.post(CHECK, {"uri": URI}).content.decode()

    assert "✗ fail" in text
    assert "no card of a known GPU model" in text


def test_opening_the_page_asks_no_host(
    staff: Client, db: None, asked: list[str]
) -> None:
    response = staff.get(CHECK, {"uri": URI})

    assert f'value="{URI}"' in response.content.decode()
    assert asked == []


def test_address_that_must_not_be_opened_is_not(
    staff: Client, db: None, asked: list[str]
) -> None:
    for uri in ("http://example.net", "qemu+ssh://gpu1/system?command=/bin/sh"):
        assert "✗ fail" in staff.post(CHECK, {"uri": uri}).content.decode()

    assert asked == []


def test_text_of_a_host_is_no_markup(
    staff: Client,
    db: None,
    asked: list[str],
    simulated_host: SimulatedHypervisor,
) -> None:
    simulated_host.network_states = {"<script>x</script>": False}

    text = staff.post(CHECK, {"uri": URI}).content.decode()

    assert "<script>x" not in text
    assert "&lt;script&gt;x" in text


def test_enrol_page_offers_to_check_only(staff: Client, db: None) -> None:
    make_region()

    text = staff.get("/admin/inventory/host/enrol/").content.decode()

    assert f'formaction="{CHECK}"' in text


def test_page_of_a_host_leads_to_its_check(
    staff: Client, db: None, asked: list[str]
) -> None:
    host = make_host()
    page = f"/admin/inventory/host/{host.pk}"

    shown = staff.get(f"{page}/change/").content.decode()
    response = staff.get(f"{page}/check/", follow=True)

    assert f'href="{page}/check/"' in shown
    assert response.redirect_chain[0][0].startswith(f"{CHECK}?uri=")
    assert f'value="{host.libvirt_uri}"' in response.content.decode()
    assert asked == []


def test_viewer_may_not_check(db: None, asked: list[str]) -> None:
    viewer = browser_of("inventory.view_host")

    assert viewer.get(CHECK).status_code == 403
    assert viewer.post(CHECK, {"uri": URI}).status_code == 403
    host = make_host()
    assert viewer.get(f"/admin/inventory/host/{host.pk}/check/").status_code == 403
    assert asked == []
