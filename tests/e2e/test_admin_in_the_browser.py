"""Staff's way: log in, read the first page, launch, watch, delete, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import launch_chromium
from tests.e2e.conftest import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.gpuhost,
    pytest.mark.usefixtures("unsanitised"),
]
LAUNCH_MS = 180_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """Give a page of a person of staff who has just logged in."""
    stack.wait_for_cards()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda message: (
            faults.append(message.text) if message.type == "error" else None
        ),
    )
    page.goto(stack.url)
    page.fill("input[name=username]", stack.staff.username)
    page.fill("input[name=password]", stack.staff.password)
    page.press("input[name=password]", "Enter")
    expect(
        page.get_by_role("link", name="Launch an instance", exact=True)
    ).to_be_visible()
    yield page
    context.close()
    assert faults == [], "errors in the browser's console, a CSP violation perhaps"


def number(page: Page, name: str) -> int:
    """Return one of the first page's sums over all regions."""
    return int(page.locator(f"#cards-{name} .gc-tile-value").inner_text())


def numbers(page: Page) -> dict[str, int]:
    names = ("total", "used", "free", "sellable", "broken")
    return {name: number(page, name) for name in names}


@pytest.mark.parametrize("cards", [1, 2, 4])
def test_launch_by_clicks_and_delete(page: Page, stack: Stack, cards: int) -> None:
    assert numbers(page) == {
        "total": 4, "used": 0, "free": 4, "sellable": 4, "broken": 0,
    }  # fmt: skip

    page.get_by_role("link", name="Launch an instance", exact=True).click()
    if cards != 1:
        page.locator("select[name=plan]").select_option(
            label=_label(page, f"{cards} virtual card")
        )
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.locator("#job-steps")).to_be_visible()
    phase = page.locator("#instance-phase")
    expect(phase).to_have_attribute("data-phase", "running", timeout=LAUNCH_MS)
    expect(page.locator("#console")).to_contain_text(
        f"PROBE-DONE cards={cards}", timeout=LAUNCH_MS
    )
    assert page.locator("#console").inner_text().count("GPU-SEEN 10de:1e30") == cards
    address = page.url

    page.goto(stack.url)
    assert numbers(page) == {
        "total": 4, "used": cards, "free": 4 - cards, "sellable": 4 - cards, "broken": 0,
    }  # fmt: skip

    page.goto(address)
    delete(page)
    page.goto(stack.url)
    assert numbers(page)["used"] == 0
    # Released cards are cleaning first, and free once they have passed.
    stack.wait_for_cards()
    page.goto(stack.url)
    assert numbers(page)["free"] == 4


def delete(page: Page) -> None:
    """Delete the instance whose page is open, and wait until it is gone."""
    page.get_by_role("link", name="Delete this instance").or_(
        page.get_by_role("button", name="Delete this instance")
    ).first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#instance-phase")).to_have_attribute(
        "data-phase", "deleted", timeout=LAUNCH_MS
    )


def _label(page: Page, words: str) -> str:
    # To read them all waits for none.
    page.locator("select[name=plan]").wait_for()
    options = page.locator("select[name=plan] option").all_inner_texts()
    (found,) = [text for text in options if words in text]
    return found


def test_plan_that_does_not_fit_is_refused_with_reasons(page: Page) -> None:
    page.get_by_role("link", name="Launch an instance", exact=True).click()
    page.locator("select[name=plan]").select_option(
        label=_label(page, "RTX6000 GPU x4")
    )
    page.get_by_role("button", name="Launch", exact=True).click()

    expect(page.locator("body")).to_contain_text(
        "No GPU capacity is available in us-east for g1-gpu-rtx6000-4 right now."
    )
    expect(page.locator("body")).to_contain_text("of 24 CPUs free beside the cards")


def test_double_click_makes_one_instance(page: Page, stack: Stack) -> None:
    page.get_by_role("link", name="Launch an instance", exact=True).click()
    page.get_by_role("button", name="Launch", exact=True).dblclick()
    expect(page.locator("#instance-phase")).to_have_attribute(
        "data-phase", "running", timeout=LAUNCH_MS
    )
    address = page.url

    page.goto(stack.url)
    assert numbers(page)["used"] == 1

    page.goto(address)
    delete(page)
