"""The page, driven in a real browser: its numbers are those of the model, and everybody can use it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from picogpt import gpt2, inspection
from picogpt.decoding import sampling
from picogpt.inspection.attribution import head_outputs
from picogpt.inspection.lens import log_softmax
from picogpt.inspection.page import WEB
from picogpt.pretrained import GPT2
from picogpt.server.page import FOLDERS, HEADERS
from picogpt.tokenizers import ByteLevelBPE
from picogpt.types import Array
from tests.random_model import random_params
from tests.server.browser import audit, browser, look_at, page_in
from tests.server.running import Running, running, serve_model, shakespeare

PROMPT = "KING RICHARD:\nNo.\n\nKING"
OTHER = "KING EDWARD:\nNo.\n\nKING"
MODEL = shakespeare()
PARAMS, N = MODEL.params, MODEL.hparams["n_head"]
IDS = MODEL.encoder.encode(PROMPT)
VALUES = inspection.trace(IDS, PARAMS, N)
VIEWS = ("write", "tokens", "flow", "attention", "lens", "probabilities", "change", "score")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(serve_model(MODEL)) as server:
        yield server


@pytest.fixture
def page(chromium: Browser, server: Running) -> Iterator[Page]:
    with page_in(chromium, server.url) as page:
        yield page


def softmax(logits: Array) -> Array:
    return np.exp(log_softmax(logits))


def numbers(page: Page, selector: str, *names: str) -> dict[str, Any]:
    """The data of each element: a list for each name."""
    rows = page.eval_on_selector_all(selector, "nodes => nodes.map((node) => ({ ...node.dataset }))")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def slide(page: Page, name: str, value: float) -> None:
    """Waits for the slider: a prompt that was just typed draws the view anew."""
    page.locator(f"#{name}").evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", value
    )


def test_a_prompt_is_typed_and_text_streams(page: Page, server: Running) -> None:
    page.goto(server.url)
    page.fill("#prompt", "ROMEO:\nWhat light")
    slide(page, "t", 0)
    expect(page).to_have_url(re.compile("What"))
    page.click("#write")
    page.wait_for_selector(".written")
    expect(page.locator("#write")).to_be_visible()
    written = MODEL.generate("ROMEO:\nWhat light", 60)
    assert page.inner_text(".given") == "ROMEO:\nWhat light"
    assert page.eval_on_selector_all(".written", "nodes => nodes.map((node) => node.textContent).join('')") == written


def test_written_tokens_have_their_probabilities_and_alternatives(page: Page, server: Running) -> None:
    look_at(page, server.url, prompt=PROMPT, t=0, n=5)
    page.click("#write")
    expect(page.locator(".written")).to_have_count(5)
    expect(page.locator("#write")).to_be_visible()
    ids = [*IDS, *MODEL.encoder.encode(MODEL.generate(PROMPT, 5))]
    shares = softmax(gpt2(ids, **PARAMS, n_head=N))[len(IDS) - 1 : -1]
    expected = [share[i] for share, i in zip(shares, ids[len(IDS) :], strict=True)]
    np.testing.assert_allclose(numbers(page, ".written", "probability")["probability"], expected, atol=1e-4)
    page.click(".written >> nth=1")
    found = numbers(page, ".alternatives button", "probability")["probability"]
    np.testing.assert_allclose(found, np.sort(shares[1])[::-1][:5], atol=1e-4)


def test_an_alternative_begins_a_branch_and_there_is_a_way_back(page: Page, server: Running) -> None:
    look_at(page, server.url, prompt=PROMPT, t=0, n=4)
    page.click("#write")
    expect(page.locator(".written")).to_have_count(4)
    expect(page.locator("#write")).to_be_visible()
    first = page.inner_text(".paper")
    page.click(".written >> nth=1")
    other = page.inner_text(".alternatives button >> nth=1 >> .token").replace("·", " ").replace("⏎", "\n")
    page.click(".alternatives button >> nth=1")
    expect(page.locator(".written")).to_have_count(6)  # one that stays, the alternative, and four more
    written = MODEL.encoder.encode(MODEL.generate(PROMPT, 4))
    alternative = inspection.token_id(MODEL.encoder, other)
    ids = [*IDS, written[0], alternative]
    for _ in range(4):
        ids.append(int(gpt2(ids, **PARAMS, n_head=N)[-1].argmax()))
    shown = page.eval_on_selector_all(".written", "nodes => nodes.map((node) => node.textContent).join('')")
    assert shown == MODEL.encoder.decode(ids[len(IDS) :])
    expect(page.locator(".tree li")).to_have_count(2)
    page.click("text=Back to the branch before")
    assert page.inner_text(".paper") == first


def test_tokens_and_their_merges(page: Page, server: Running) -> None:
    look_at(page, server.url, view="tokens", prompt=PROMPT)
    chips = page.locator(".strip .chip")
    assert [int(chip.locator("small").inner_text()) for chip in chips.all()] == IDS
    chips.nth(1).click()
    expect(page.locator("output.said")).to_contain_text(f"id {IDS[1]}, bytes 20 52 49 43 48 41 52 44")
    expect(page.locator(".steps li").first).to_contain_text("its bytes")
    expect(page.locator(".steps li:last-child .chip")).to_have_text(["·RICHARD"])
    chips.nth(4).focus()
    page.keyboard.press("ArrowRight")
    expect(chips.nth(5)).to_have_attribute("aria-checked", "true")


def test_a_station_has_the_numbers_of_the_trace_and_its_line(page: Page, server: Running) -> None:
    look_at(page, server.url, view="flow", prompt=PROMPT, layer=2)
    for station, head in (("embed", None), ("resid_mid", None), ("attn.k", 3), ("mlp.post", None)):
        page.click(f'[data-station="{station}"]')
        name = station if station == "embed" else f"blocks.2.{station}"
        expect(page.locator(".panel h2 code")).to_have_text(name)
        value = VALUES[name]
        if head is not None:
            page.select_option("#head", str(head))
            value = value[:, head]
            expect(page).to_have_url(re.compile(f"head={head}"))
        page.wait_for_selector(".panel[aria-busy=false]")
        canvas = page.locator(".panel canvas")
        canvas.focus()
        said = page.locator(".panel output.said")
        for keys, row, column in (  # the first arrow enters at 0, 0
            ([*2 * ["ArrowDown"], *3 * ["ArrowRight"]], 1, 3),
            ([*6 * ["+"], *30 * ["ArrowRight"]], 1, 33),  # zoomed, the picture moves along
        ):
            for key in keys:
                page.keyboard.press(key)
            expect(said).to_contain_text(f"{column}:")
            shown = float(said.inner_text().split(": ")[-1].replace("−", "-"))
            assert shown == pytest.approx(float(value[row, column]), rel=1e-4)
        place = page.eval_on_selector(".panel canvas", "node => node.getBoundingClientRect().toJSON()")
        canvas.hover(position={"x": place["width"] - 20, "y": place["height"] - 20})
        words = re.fullmatch(r"“.*” \((\d+)\), (\d+): (.*)", said.inner_text())
        assert words is not None
        assert int(words[2]) < value.shape[1] - 1  # a part of the zoomed picture
        shown = float(words[3].replace("−", "-"))
        assert shown == pytest.approx(float(value[int(words[1]), int(words[2])]), rel=1e-4)
        source = page.inner_text(".source .made")
        assert "tap(" in source
        assert page.inner_text(".panel h3").startswith(f"Line {source.split()[0]} of model.py")


def test_the_pointer_reads_the_pattern(page: Page, server: Running) -> None:
    look_at(page, server.url, view="attention", prompt=PROMPT)
    page.click('[data-head="4.1"]')
    expect(page.locator(".large h2")).to_have_text("Head 4.1")
    canvas = page.locator(".large canvas")
    box = canvas.bounding_box()
    assert box is not None
    side = 32  # pixels of a cell
    canvas.hover(position={"x": box["width"] - 7.5 * side, "y": box["height"] - 0.5 * side})
    said = page.locator(".large output.said")
    expect(said).to_contain_text("“KING” (8) looks at “·RICHARD” (1)")
    assert said.inner_text().endswith(f"{100 * VALUES['pattern', 4][1, 8, 1]:.0f} %")
    page.click("text=arcs")
    page.hover('[data-query="8"]')
    expect(page.locator(".large output.said")).to_contain_text("“KING” (8) looks at “·RICHARD” (1) 99 %")


def test_the_calculation_has_the_real_numbers(page: Page, server: Running) -> None:
    look_at(page, server.url, view="attention", prompt=PROMPT, layer=3, head=2, query=6)
    rows = page.locator(".step tbody tr")
    expect(rows).to_have_count(9)
    found = numbers(page, ".step tbody tr", "product", "score", "share")
    q, k = VALUES["q", 3][6, 2], VALUES["k", 3][:, 2]
    np.testing.assert_allclose(found["product"], k @ q, atol=1e-4)
    np.testing.assert_allclose(found["score"][:7], VALUES["scores", 3][2, 6, :7], atol=1e-4)
    assert (found["score"][7:] < -1e9).all()
    np.testing.assert_allclose(found["share"], VALUES["pattern", 3][2, 6], atol=1e-5)
    added = head_outputs(VALUES["z", 3], PARAMS["blocks"][3]["attn"]["c_proj"]["w"])[6, 2]
    expect(page.locator(".step >> nth=3")).to_contain_text(f"its norm is {np.linalg.norm(added):.3f}")
    page.click(".step tbody button >> nth=2")
    expect(page.locator(".step >> nth=0")).to_contain_text(f"q · k = {k[2] @ q:.3f}".replace("-", "−"))


def test_the_lens_is_the_logit_lens(page: Page, server: Running) -> None:
    look_at(page, server.url, view="lens", prompt=PROMPT)
    lens = inspection.logit_lens(VALUES, PARAMS, N, k=1)
    found = numbers(page, "td.cell", "value")["value"].reshape(len(IDS), 5)
    np.testing.assert_allclose(found, lens.probabilities[..., 0].T, atol=1e-5)
    page.click("text=norm of the residual stream")
    norm = np.linalg.norm(VALUES["blocks.4.resid_post"][8])
    expect(page.locator("td.cell").last).to_have_text(f"{norm:.2f}")
    page.click("text=distance to the last layer")
    expect(page.locator("td.cell").first).to_have_text(f"{lens.kl[0, 0]:.2f}")


def test_sliders_do_what_sampling_does(page: Page, server: Running) -> None:
    look_at(page, server.url, view="probabilities", prompt=PROMPT, position=4, t=1, k=0)
    logits = VALUES["logits"][4]
    found = numbers(page, "tbody tr", "id", "before", "after")
    ids = found["id"].astype(int)
    assert ids.tolist() == np.argsort(-logits, kind="stable")[:20].tolist()
    np.testing.assert_allclose(found["before"], softmax(logits)[ids], atol=1e-5)
    np.testing.assert_allclose(found["after"], softmax(logits)[ids], atol=1e-5)
    temperature, top_k, top_p = sampling.temperature, sampling.top_k(7), sampling.top_p(0.6)
    for name, value, transforms in (
        ("t", 0.5, [temperature(0.5)]),
        ("t", 1.7, [temperature(1.7)]),
        ("k", 7, [temperature(1.7), top_k]),
        ("p", 0.6, [temperature(1.7), top_k, top_p]),
        ("t", 0, [temperature(0)]),
    ):
        slide(page, name, value)
        expected = softmax(sampling.apply_transforms(transforms, logits[None], [])[0])[ids]
        np.testing.assert_allclose(numbers(page, "tbody tr", "after")["after"], expected, atol=1e-5)


def test_a_head_is_switched_off(page: Page, server: Running) -> None:
    look_at(page, server.url, view="change", prompt=PROMPT)
    page.click('[data-part="4.1"]')
    page.click('[data-part="0.mlp"]')
    expect(page.locator("#off")).to_contain_text("4.1, 0.mlp")
    changes = {**inspection.without_heads(PARAMS, N, [(4, 1)]), **inspection.without_mlps(PARAMS, N, [0])}
    after = softmax(inspection.run_with(IDS, PARAMS, N, changes)[-1])
    best = int(after.argmax())
    row = page.locator(f'tr[data-id="{best}"]')
    expect(row).to_have_attribute("data-after", re.compile(rf"{after[best]:.4f}"[:-1]))
    found = numbers(page, "tr[data-id]", "id", "before", "after")
    ids = found["id"].astype(int)
    np.testing.assert_allclose(found["after"], after[ids], atol=1e-5)
    np.testing.assert_allclose(found["before"], softmax(VALUES["logits"][-1])[ids], atol=1e-5)
    moved = np.abs(found["after"] - found["before"])
    assert (np.diff(moved) <= 1e-12).all()
    page.click("#tab-probabilities")  # every view is that of the changed pass
    page.wait_for_selector(".view-probabilities tbody tr")
    found = numbers(page, "tbody tr", "id", "before")
    np.testing.assert_allclose(found["before"], after[found["id"].astype(int)], atol=1e-5)
    page.click("text=Switch all on")
    expect(page.locator("#off")).to_be_hidden()


def test_values_of_another_prompt_are_put_in(page: Page, server: Running) -> None:
    look_at(page, server.url, view="change", prompt=PROMPT, kind="resid_pre")
    page.fill("#source", OTHER)
    page.click("#patch")
    canvas = page.locator(".heatmap canvas")
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    target, foil = (inspection.token_id(MODEL.encoder, name) for name in (" EDWARD", " RICHARD"))
    other = MODEL.encoder.encode(OTHER)
    patched = inspection.activation_patching(other, IDS, PARAMS, N, target, foil, ["resid_pre"])
    said = page.locator(".heatmap output.said")
    expect(said).to_have_text(f"layer 1, “·RICHARD” (1): {patched.restored['resid_pre'][1, 1]:.3f}")
    page.keyboard.press("Enter")
    expect(page.locator("h3").last).to_contain_text("layer 1, “·RICHARD” (1)")
    likeliest = softmax(gpt2(other, **PARAMS, n_head=N)[-1]).max()
    expect(page.locator(".both > div").nth(1)).to_contain_text(f"{100 * likeliest:.2f}")
    after = softmax(inspection.patch(IDS, other, PARAMS, N, "blocks.1.resid_pre", [1])[-1])
    found = numbers(page, ".view-change table.numbers >> nth=3 >> tr[data-id]", "id", "after")
    np.testing.assert_allclose(found["after"], after[found["id"].astype(int)], atol=1e-5)


def test_a_text_is_scored_and_comes_as_csv(page: Page, server: Running, tmp_path: Path) -> None:
    text = 'To be, or not to be,\nthat is the "question".'
    look_at(page, server.url, view="score")
    page.fill("#text", text)
    page.click("#score")
    page.wait_for_selector("dl")
    score = MODEL.score(text)
    figures = page.eval_on_selector_all("dd", "nodes => nodes.map((node) => ({ ...node.dataset }))")
    assert len(figures) == 6
    for row in figures:
        assert float(row["value"]) == pytest.approx(score.summary[row["figure"]], rel=1e-6)
    found = numbers(page, ".scored", "surprisal")["surprisal"]
    np.testing.assert_allclose(found, [row["surprisal"] for row in score.words], rtol=1e-6)
    assert page.inner_text(".paper") == text
    page.click(".toggle >> text=tokens")
    np.testing.assert_allclose(numbers(page, ".scored", "surprisal")["surprisal"], score.surprisals, rtol=1e-6)
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert "".join(row["token"] for row in rows) == text
    assert [float(row["surprisal"]) for row in rows] == pytest.approx(score.surprisals, rel=1e-6)


@pytest.mark.parametrize(
    ("state", "selector"),
    [
        ({"view": "attention", "layer": 4, "head": 1, "query": 8, "key": 1, "draw": "arcs"}, ".step >> nth=0"),
        ({"view": "flow", "station": "attn.v", "layer": 3, "head": 2}, ".panel"),
        ({"view": "probabilities", "position": 3, "t": 0.35, "k": 11, "p": 0.8}, "table"),
        ({"view": "change", "off": "4.1,2.mlp", "source": OTHER, "kind": "heads"}, "section"),
    ],
    ids=lambda value: value["view"] if isinstance(value, dict) else "",
)
def test_a_link_restores_what_was_seen(
    chromium: Browser, server: Running, state: dict[str, Any], selector: str
) -> None:
    seen = []
    address = ""
    for turn in range(2):
        with page_in(chromium, server.url) as page:
            if turn == 0:
                look_at(page, server.url, prompt=PROMPT, **state)
            else:
                page.goto(address)
            page.wait_for_selector(selector)
            page.wait_for_load_state("networkidle")
            seen.append(page.inner_text("main"))
            address = page.url
            for name, value in state.items():
                assert f"{name}={value}".split("=")[0] in address
    assert seen[0] == seen[1]


def test_what_is_chosen_goes_into_the_address_and_back_undoes_it(page: Page, server: Running) -> None:
    look_at(page, server.url, view="attention", prompt=PROMPT)
    page.click('[data-head="2.3"]')
    expect(page).to_have_url(re.compile("layer=2&head=3"))
    page.click("#tab-lens")
    expect(page.locator("h1")).to_have_text("Lens")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Attention")
    expect(page.locator(".large h2")).to_have_text("Head 2.3")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_everybody_can_use_it(chromium: Browser, server: Running, view: str, scheme: Any, width: int) -> None:
    """What axe would check first: names, ids, contrast; and that nothing is wider than a telephone."""
    size = {"width": width, "height": 800}
    with page_in(chromium, server.url, color_scheme=scheme, viewport=size) as page:
        look_at(page, server.url, view=view, prompt=PROMPT, off="4.1", text=PROMPT, source=OTHER, n=12)
        if view == "write":
            page.click("#write")
            expect(page.locator(".written")).to_have_count(12)
            page.click(".written >> nth=3")
        if view == "change":
            page.wait_for_selector(".heatmap")
        assert audit(page) == {}
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.get_attribute("html", "lang") == "en"
        assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_views_are_reached_with_the_keyboard(page: Page, server: Running) -> None:
    look_at(page, server.url, prompt=PROMPT)
    page.focus("#tab-write")
    for view in VIEWS[1:]:
        page.keyboard.press("ArrowRight")
        expect(page.locator(f"#tab-{view}")).to_be_focused()
        page.wait_for_selector(f".view-{view}")


def test_an_error_is_said_on_the_page(chromium: Browser, server: Running) -> None:
    with page_in(chromium, server.url, expected_errors=2) as page:
        look_at(page, server.url, view="attention", prompt="my " * 300)
        expect(page.locator("[role=alert]")).to_contain_text("more than the model's context of 256")


def test_an_error_after_a_click_is_said_too(chromium: Browser) -> None:
    with running(serve_model(MODEL)) as server, page_in(chromium, server.url, expected_errors=1) as page:
        look_at(page, server.url, view="flow", prompt=PROMPT)
        page.route("**/inside/views", lambda route: route.fulfill(status=503, json={"error": {"message": "no more"}}))
        page.click('[data-station="mlp_out"]')
        expect(page.locator("[role=alert]")).to_have_text("no more")


def test_a_server_with_a_key_is_asked_with_it(chromium: Browser) -> None:
    with (
        running(serve_model(MODEL), key="open sesame") as server,
        page_in(chromium, server.url, expected_errors=1) as page,
    ):
        page.goto(f"{server.url}/#view=tokens")
        page.fill("#secret", "open sesame")
        page.click("#key button")
        page.wait_for_selector(".strip")
        assert "sesame" not in page.url


def test_a_long_prompt_is_looked_at_in_parts(chromium: Browser) -> None:
    """1,024 tokens: pictures of heads stay small, large matrices come in half precision, the lens a page at a time."""
    hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 12, "n_head": 2, "n_layer": 2}
    model = GPT2(ByteLevelBPE.gpt2(), hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    prompt = "a" + " b" * 1023
    with running(serve_model(model, "long")) as server, page_in(chromium, server.url) as page:
        sizes: list[int] = []
        page.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
        look_at(page, server.url, view="attention", prompt=prompt)
        page.wait_for_selector(".step")
        assert page.locator(".strip .chip").count() == 1024
        assert page.locator("[data-head] canvas").first.get_attribute("width") == "64"
        assert max(sizes) < 2_200_000
        page.click("[title='zoom in']", click_count=12)
        page.click("#tab-lens")
        expect(page.locator("td.place")).to_have_count(32)
        page.click("text=later")
        expect(page.locator("td.place").first).to_have_text("32")
        page.click("#tab-flow")
        page.click('[data-station="attn.scores"]')
        expect(page.locator(".facts")).to_contain_text("shape 1024 × 1024")


def test_the_page_is_small_and_strict(server: Running) -> None:
    files = [path for folder in FOLDERS for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert len({path.name for path in files}) == len(files)  # they share one address
    assert WEB in FOLDERS
    for path in files:
        source = path.read_text(encoding="utf-8")
        assert re.findall(r"https?://[^\"' ]*", source) in ([], ["http://www.w3.org/2000/svg"]), path
        if path.suffix == ".js":
            names = {other.name for other in files}
            assert set(re.findall(r'^import .* from "\./(.+)";$', source, re.MULTILINE)) <= names
            assert "innerHTML" not in source
            assert "eval(" not in source
    with httpx.Client(base_url=server.url) as client:
        index = client.get("/")
        assert index.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        assert HEADERS["Content-Security-Policy"].startswith("default-src 'self';")
        assert index.headers["content-type"].startswith("text/html")
        for path in files:
            assert client.get(f"/page/{path.name}").content == path.read_bytes()
        for name in ("%2e%2e%2fapp.py", "page%2findex.html", "none.js", ""):
            assert client.get(f"/page/{name}").status_code == 404


def test_the_audit_finds_what_is_wrong(chromium: Browser) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.set_content(
        "<p id='a' style='color: #999'>faint</p><p id='a'>clear</p><button></button><button>named</button>"
    )
    assert audit(page) == {"nameless": ["<button></button>"], "repeatedIds": ["a"], "faint": ["2.85: faint"]}
    context.close()
