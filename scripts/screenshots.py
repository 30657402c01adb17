"""The pictures of the page in docs/images/, each of one view. Needs Chromium and the packages of the tests.

Pillow is among them: matplotlib needs it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from playwright.sync_api import Page  # noqa: E402

from tests.server.browser import browser, look_at, page_in  # noqa: E402
from tests.server.running import running, serve_model, shakespeare  # noqa: E402

IMAGES = ROOT / "docs" / "images"
SIZE: Any = {"width": 1280, "height": 960}
SPEAKERS = "KING RICHARD:\nNo.\n\nKING"
FAMILY = "Thy father loves my father, and thy mother loves my"
VIEWS: dict[str, dict[str, Any]] = {  # name of the picture: what it shows
    "write": {"prompt": FAMILY},
    "tokens": {"prompt": "My kingdom for a horse, my noble lord!", "token": 5},
    "flow": {"prompt": SPEAKERS, "station": "attn.q", "layer": 4, "head": 1},
    "attention": {"prompt": SPEAKERS, "layer": 4, "head": 1},
    "lens": {"prompt": SPEAKERS},
    "probabilities": {"prompt": FAMILY},
    "change": {"prompt": SPEAKERS, "off": "4.1,0.mlp", "source": SPEAKERS.replace("RICHARD", "EDWARD")},
    "score": {"text": "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer"},
}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with running(serve_model(shakespeare())) as server, browser() as chromium:
        for view, state in VIEWS.items():
            with page_in(chromium, server.url, viewport=SIZE) as page:
                look_at(page, server.url, view=view, **state)
                prepare(page, view)
                save(page, view)
                if view == "attention":  # its second half
                    page.evaluate("document.querySelector('.attention + h2').scrollIntoView()")
                    save(page, "calculation")


def save(page: Page, name: str) -> None:
    """The picture, in as many colours as it needs."""
    whole = Image.open(io.BytesIO(page.screenshot(full_page=name in ("flow", "change"))))
    path = IMAGES / f"page-{name}.png"
    whole.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path.relative_to(ROOT))


def prepare(page: Page, view: str) -> None:
    """What a reader would do before there is something to see."""
    if view == "write":
        page.click("#write")
        page.locator(".written").nth(59).wait_for()
        page.click(".written >> nth=0")
    elif view == "attention":
        page.locator(".step").first.wait_for()
        canvas = page.locator(".large canvas")
        box = canvas.bounding_box()
        assert box is not None
        canvas.hover(position={"x": box["width"] - 240, "y": box["height"] - 16})
    elif view == "change":
        page.locator(".heatmap").wait_for()
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    main()
