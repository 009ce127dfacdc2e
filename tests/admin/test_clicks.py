"""What staff decide by clicks in a browser, on rows alone: refused, quarantined, drained."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from inventory.models import Card, Host
from tests.admin.test_in_the_browser import chromium, open_page, told_faults
from tests.builders import make_account, make_plan

__all__ = ["chromium"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(chromium: Browser, live_server: Any, admin_user: User) -> Iterator[Page]:
    """Give a window in which the admin is logged in; nothing may go wrong in it."""
    page = open_page(chromium, admin_user, live_server.url, base_url=live_server.url)
    faults = told_faults(page)
    yield page
    assert faults == [], "errors in the browser's console, a CSP violation perhaps"


def decide(page: Page, button: str, reason: str, confirm: str) -> None:
    """Press a button of a row's page, say why in the dialog, and confirm."""
    page.get_by_label(button, exact=True).first.click()
    page.locator("#modal-content input[name=reason]").fill(reason)
    page.locator("#modal-content").get_by_role("button", name=confirm).click()


def test_launch_tells_where_it_would_go_and_a_refusal_what_would_admit_it(
    page: Page, fleet: Host
) -> None:
    make_account("Lab", tags=("employee",))
    make_plan("too-big", label="Too big", cards=4, vcpus=99, position=9)

    page.goto("/admin/launch/")
    expect(page.locator("#would-go")).to_contain_text("One card would go to host-a")
    page.locator("select[name=plan]").focus()
    page.locator("select[name=plan]").select_option("gpu-2")
    expect(page.locator("#would-go")).to_contain_text("Two cards would go to host-a")
    expect(page.locator("select[name=plan]")).to_be_focused()
    page.locator("select[name=plan]").select_option("too-big")
    expect(page.locator("#would-go")).to_contain_text("Too big fits nowhere here now")
    page.get_by_role("button", name="Launch", exact=True).click()

    expect(page.locator("#no-fit")).to_contain_text("host-a: ")
    expect(page.locator("#no-fit")).to_contain_text("CPUs free beside the cards")


def test_card_is_quarantined_and_host_drained_with_a_reason(
    page: Page, fleet: Host
) -> None:
    card = Card.objects.earliest("pk")

    page.goto(f"/admin/inventory/card/{card.pk}/change/")
    decide(page, "Quarantine this card", "its fan is loud", "Quarantine")
    newest = page.locator("#timeline li").first
    expect(newest).to_contain_text("ready → quarantined")
    expect(newest).to_contain_text("its fan is loud · user:admin")
    page.goto(f"/admin/inventory/host/{fleet.pk}/change/")
    decide(page, "Drain this host", "new firmware", "Drain")
    expect(page.locator("#timeline li").first).to_contain_text(
        "Policy: draining. new firmware"
    )

    card.refresh_from_db()
    fleet.refresh_from_db()
    assert (card.condition, fleet.policy) == ("quarantined", "draining")
    page.goto("/admin/fleet/")
    expect(page.locator(f"#card-{card.pk}")).to_have_text("✗")
    expect(page.locator("#fleet-map")).to_contain_text("closed: draining")
