"""A real browser for the tests: which one, and what a page may not do in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

AUDIT = Path(__file__).with_name("audit.js").read_text(encoding="utf-8")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str:
    """Chromium's path; without one the tests are skipped, and where CI runs them they fail."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        why = f"the page is tested in a browser, and there is none of {', '.join(NAMES)}: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    path = find_browser()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def page_in(browser: Browser, url: str, expected_errors: int = 0, **options: Any) -> Iterator[Page]:
    """A page of its own, which may ask nobody but the server, and must not report an error."""
    context = browser.new_context(**options)
    page = context.new_page()
    hosts: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: hosts.append(urlsplit(request.url).netloc))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(20_000)
    try:
        yield page
        assert len(errors) == expected_errors, errors
        assert {host for host in hosts if host} == {urlsplit(url).netloc}
    finally:
        context.close()


def look_at(page: Page, url: str, **state: Any) -> None:
    """Open the page with a state, and wait for its view."""
    page.goto("about:blank")
    page.goto(f"{url}/#{urlencode(state)}")
    page.wait_for_selector("main section h1")


def audit(page: Page) -> dict[str, list[str]]:
    """What audit.js finds wrong with the page as it is."""
    found: dict[str, list[str]] = page.evaluate(AUDIT)
    return {name: places for name, places in found.items() if places}
