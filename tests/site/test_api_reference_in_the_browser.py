"""The API's reference in a real browser, whose only network is the site itself."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import launch_chromium

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    # Playwright's loop in this thread would forbid the database to the test's end.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    faults: list[str] = []
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: (
                faults.append(message.text) if message.type == "error" else None
            ),
        )
        page.on("request", lambda request: faults.extend(_elsewhere(request.url, host)))
        host = urlsplit(live_server.url).netloc
        page.goto(f"{live_server.url}/docs/api/")
        yield page
        chromium.close()
    assert faults == [], "errors in the browser's console, or requests to elsewhere"


def _elsewhere(url: str, host: str) -> list[str]:
    parts = urlsplit(url)
    return [] if parts.scheme == "data" or parts.netloc == host else [url]


def test_the_reference_shows_every_operation_and_its_errors(page: Page) -> None:
    create = page.locator("#operations-linode-createALinode")
    expect(create).to_contain_text("Create a Linode")
    assert page.locator(".opblock").count() > 30
    create.locator(".opblock-summary").click()
    expect(create).to_contain_text("No GPU capacity is available")
    expect(create).to_contain_text("Idempotency-Key")
