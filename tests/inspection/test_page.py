"""The page: one file with all it needs, and the numbers of the trace in it."""

from __future__ import annotations

import base64
import html
import json
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

import picogpt
from picogpt import inspection
from picogpt.errors import PicoGPTError
from picogpt.inspection.page import MODULES, N_TOKENS, WEB, page, script

PROMPT = "KING RICHARD:\nNo.\n\nKING HENRY: <b>What</b> say you, </script> my lord?"


@pytest.fixture(scope="module")
def model() -> picogpt.pretrained.GPT2:
    return picogpt.load("shakespeare")


@pytest.fixture(scope="module")
def values(model: picogpt.pretrained.GPT2) -> inspection.Trace:
    return model.trace(PROMPT)


def report_in(text: str) -> Any:
    found = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def test_it_has_the_numbers_of_the_trace(values: inspection.Trace, model: picogpt.pretrained.GPT2) -> None:
    report = report_in(page(values))
    assert "".join(token["token"] for token in report["tokens"]) == PROMPT
    assert [token["id"] for token in report["tokens"]] == values.ids.tolist()
    lens = inspection.logit_lens(values, model.params, model.hparams["n_head"], k=3)
    shares = [[[row["probability"] for row in rows] for rows in layer] for layer in report["lens"]]
    np.testing.assert_allclose(shares, lens.probabilities, atol=6e-5)
    assert report["next"] == report["lens"][-1]
    assert [row["name"] for row in report["shapes"]] == list(values)


def test_patterns_can_be_read_back(values: inspection.Trace) -> None:
    attention = report_in(page(values))["attention"]
    n = len(values.ids)
    data = np.frombuffer(base64.b64decode(attention["bytes"]), np.uint8) / 255
    cells = data.reshape(attention["n_layer"], attention["n_head"], n * (n + 1) // 2)
    for layer in range(values.n_layer):
        pattern = values[f"blocks.{layer}.attn.pattern"]
        for query in range(n):
            start = query * (query + 1) // 2
            part = cells[layer, :, start : start + query + 1]
            np.testing.assert_allclose(part, pattern[:, query, : query + 1], atol=0.5 / 255 + 1e-6)


def test_it_needs_nothing_from_elsewhere_and_is_small(model: picogpt.pretrained.GPT2) -> None:
    whole = page(model.trace("my " * 30))
    assert len(whole.encode()) < 1_000_000
    assert re.findall(r"https?://[^\"']*", whole) == ["http://www.w3.org/2000/svg"]  # the name of SVG, not an address
    assert not re.search(r"\b(src|href)\s*=|@import|\burl\(|\bfetch\b|\bimport\b", whole)
    assert "default-src 'none'" in whole


def test_text_of_the_prompt_is_text(values: inspection.Trace) -> None:
    """A prompt with tags must not end the script, nor become a part of the page."""
    whole = page(values)
    assert whole.count("</script>") == 2
    assert "<b>" not in whole


def test_modules_come_after_those_they_import_and_share_no_name() -> None:
    """In the page they are one script: a name that two of them declare would be a syntax error."""
    assert {path.name for path in WEB.glob("*.js")} == set(MODULES)
    declared: Counter[str] = Counter()
    exported: dict[str, set[str]] = {}
    for name in MODULES:
        source = (WEB / name).read_text(encoding="utf-8")
        imports = re.findall(r'^import \{ (.+) \} from "\./(.+)";$', source, re.MULTILINE)
        assert len(imports) == source.count("import ")
        for names, other in imports:
            assert set(names.split(", ")) <= exported[other]
        exported[name] = set(re.findall(r"^export function (\w+)", source, re.MULTILINE))
        declared.update(re.findall(r"^(?:export )?(?:function|const) (\w+)", source, re.MULTILINE))
    assert set(declared.values()) == {1}
    assert "export" not in script()


def test_a_notebook_shows_it_in_a_frame(values: inspection.Trace) -> None:
    frame = values._repr_html_()
    assert frame is not None
    document = re.fullmatch(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>', frame)
    assert document is not None
    assert html.unescape(document[1]) == page(values)


def test_a_part_of_a_trace_is_shown_as_far_as_it_goes(model: picogpt.pretrained.GPT2) -> None:
    """No pass is computed for a page: what was not kept is not shown."""
    assert set(report_in(page(model.trace("The king", "*.attn.pattern")))) == {"tokens", "shapes", "attention"}
    assert set(report_in(page(model.trace("The king", "*.resid_post")))) == {"tokens", "shapes", "lens", "next"}
    of_ids = inspection.trace([3, 5], model.params, model.hparams["n_head"])
    report = report_in(page(of_ids))
    assert [token["token"] for token in report["tokens"]] == ["3", "5"]
    assert set(report) == {"tokens", "shapes", "attention"}


def test_what_is_too_much_for_a_page(model: picogpt.pretrained.GPT2) -> None:
    batch = inspection.trace([[3, 5], [7, 11]], model.params, model.hparams["n_head"], "embed")
    fits = inspection.trace([3] * N_TOKENS, model.params, model.hparams["n_head"], "embed")
    assert fits._repr_html_() is not None
    long = inspection.Trace(np.full(N_TOKENS + 1, 3), model.hparams["n_layer"], {})
    for values in (batch, long):
        with pytest.raises(PicoGPTError, match="one prompt of at most 256 tokens"):
            page(values)
        assert values._repr_html_() is None
