"""Debian's Chromium, driven by Playwright, with no network but what a page asks for."""

from playwright.sync_api import Browser, Playwright, expect

_CHROMIUM = "/usr/bin/chromium"
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Five seconds are few beside another test run.
expect.set_options(timeout=30_000)


def launch_chromium(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=_CHROMIUM, args=_QUIET)
