"""A real browser for the tests: which one, what a page may not do in it, and what a reader of screens would say of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

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
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
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


# Of every element that can be used: has it a name? And of every text: can it be read?
NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, textarea, canvas[tabindex], [role]")]
  .filter((node) => node.checkVisibility({ visibilityProperty: true }))
  .filter((node) => !["row", "presentation", "status", "alert"].includes(node.getAttribute("role")))
  .filter((node) => {
    const labels = node.getAttribute("aria-labelledby")?.split(" ").map((id) => document.getElementById(id)) ?? [];
    const said = [node.getAttribute("aria-label"), ...labels.map((label) => label?.textContent), node.title,
      ...[...(node.labels ?? [])].map((label) => label.textContent), node.matches("input, select, textarea") ? "" : node.textContent];
    return !said.some((words) => words?.trim());
  })
  .map((node) => node.outerHTML.slice(0, 200))"""

REPEATED_IDS = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  return ids.filter((id, i) => ids.indexOf(id) !== i);
}"""

TOO_FAINT = """() => {
  const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (colour) => {
    scratch.clearRect(0, 0, 1, 1);
    scratch.fillStyle = colour;
    scratch.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = scratch.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((channel, i) => channel * a + under[i] * (1 - a));
  const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(parts(getComputedStyle(at).backgroundColor));
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const style = getComputedStyle(node);
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(":disabled, svg, noscript")) {
      continue;
    }
    const under = ground(node);
    const [a, b] = [luminance(over(parts(style.color), under)), luminance(under)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    if (contrast < (size >= 24 || (size >= 18.7 && style.fontWeight >= 700) ? 3 : 4.5)) {
      faint.push(`${contrast.toFixed(2)}: ${walker.currentNode.data.trim().slice(0, 40)}`);
    }
  }
  return faint;
}"""
