"""The staff site in a real browser, on rows alone: readable for everybody, and its login."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from openpyxl import load_workbook
from playwright.sync_api import Browser, Page, expect, sync_playwright

from flags.models import Flag
from gpucloud_site.roles import load_roles
from instances.models import Instance
from inventory.models import Card, Host
from tests.admin.access import PASSWORD, app_code, forget_used_codes, make_staff
from tests.browser import launch_chromium
from tests.builders import GPU_FLAG

pytestmark = pytest.mark.django_db(transaction=True)
_IS_DARK = """() => {
  const pixel = document.createElement("canvas").getContext("2d");
  pixel.fillStyle = getComputedStyle(document.body).backgroundColor;
  pixel.fillRect(0, 0, 1, 1);
  return Math.max(...pixel.getImageData(0, 0, 1, 1).data.slice(0, 3)) < 64;
}"""
# A table wider than its place is a stop of the Tab key, to be scrolled from there.
_WIDE_IS_REACHED = """() => [...document.querySelectorAll(".gc-scroll")].every(
  box => box.scrollWidth <= box.clientWidth || box.tabIndex === 0)"""


@pytest.fixture
def chromium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright's loop in this thread would forbid the database to the test's end.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()
        # Beside the loop this thread has a connection of its own.
        connection.close()


def open_page(chromium: Browser, user: User | None, url: str, **options: Any) -> Page:
    """Open a window in which `user` is logged in, if one is given."""
    context = chromium.new_context(**options)
    if user:
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        value = client.cookies[name].value
        context.add_cookies([{"name": name, "value": value, "url": url}])
    return context.new_page()


def told_faults(page: Page) -> list[str]:
    """Return a list that grows with what the browser reports, such as CSP violations."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda said: faults.append(said.text) if said.type == "error" else 0
    )
    return faults


def faults_of(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical."""
    return [
        f"{page.url}: {fault['id']}: {node['html']} {node['failureSummary']}"
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize(("mode", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_no_serious_fault(
    mode: str,
    width: int,
    chromium: Browser,
    live_server: Any,
    full_house: Instance,
    admin_user: User,
) -> None:
    admin_url = f"{live_server.url}/admin"
    host, card = Host.objects.get(), Card.objects.first()
    flag = Flag.objects.get(name=GPU_FLAG)
    assert card is not None
    pages = [
        *("/", "/launch/", "/fleet/", "/capacity/", "/reports/", "/reports/inventory/"),
        *("/instances/instance/", f"/instances/instance/{full_house.pk}/change/"),
        f"/inventory/host/{host.pk}/change/",
        f"/inventory/card/{card.pk}/change/",
        f"/instances/account/{full_house.account_id}/change/",
        *(f"/readiness/{flag.pk}/", f"/readiness/{flag.pk}/launch/"),
        "/second-factor/",
    ]
    options = {"color_scheme": mode, "viewport": {"width": width, "height": 800}}
    stranger = open_page(chromium, None, live_server.url, **options)
    stranger.goto(f"{admin_url}/login/")
    faults = faults_of(stranger)
    page = open_page(chromium, admin_user, live_server.url, **options)
    for path in pages:
        answer = page.goto(f"{admin_url}{path}")
        assert answer is not None
        assert answer.status == 200, path
        assert page.evaluate(_IS_DARK) == (mode == "dark"), path
        page.wait_for_function(_WIDE_IS_REACHED)
        faults += faults_of(page)
        # What is wider than the window is scrolled in its own place.
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path

    assert faults == []


def test_second_factor_is_set_up_and_asked_for_at_the_login(
    chromium: Browser, live_server: Any, settings: Any
) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    ann = make_staff()
    page = open_page(chromium, None, live_server.url)
    faults = told_faults(page)

    give_password(page, f"{live_server.url}/admin/reports/")
    expect(page.locator("img.gc-qr")).to_be_visible()
    assert page.locator("img.gc-qr").evaluate("image => image.naturalWidth") > 0
    secret = page.locator("#totp-key").inner_text().replace(" ", "")
    page.get_by_label("Code").fill(app_code(secret))
    page.keyboard.press("Enter")
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    recovery_code = page.locator("#recovery-codes li").first.inner_text()
    page.get_by_role("link", name="I have kept them").click()
    expect(page).to_have_url(f"{live_server.url}/admin/reports/")

    forget_used_codes(ann)
    for code in (app_code(secret), recovery_code):
        page.context.clear_cookies()
        give_password(page, f"{live_server.url}/admin/")
        faults += faults_of(page)
        page.get_by_label("Code").fill(code)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{live_server.url}/admin/")

    page.locator("#user-menu").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Second factor").click()
    expect(page.locator("#change-form")).to_contain_text("9 recovery codes are left")
    assert faults + faults_of(page) == []


def give_password(page: Page, url: str) -> None:
    """Go to `url` and log in there by the keyboard alone."""
    page.goto(url)
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("ann")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code")).to_be_visible()


def test_manager_takes_a_report_along_and_opens_nothing_else(
    chromium: Browser, live_server: Any, full_house: Instance
) -> None:
    load_roles()
    manager = make_staff("pam", is_superuser=False)
    manager.groups.add(Group.objects.get(name="Product managers"))
    page = open_page(chromium, manager, live_server.url)
    page.goto(f"{live_server.url}/admin/")

    links = page.locator("a").evaluate_all("links => links.map(link => link.pathname)")
    page.locator("a[href='/admin/reports/']").first.click()
    page.get_by_role("link", name="Inventory", exact=True).click()
    shown = page.locator("#report tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    with page.expect_download() as download:
        page.locator("#xlsx").click()
    sheet = load_workbook(BytesIO(download.value.path().read_bytes())).active
    refused = page.goto(f"{live_server.url}/admin/instances/instance/")

    taken = [[str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    assert len(taken) == 2
    assert [row[: len(taken[0])] for row in shown] == taken
    assert "/admin/instances/instance/" not in links
    assert refused is not None
    assert refused.status == 403
