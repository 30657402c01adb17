"""A trace as one HTML file that needs nothing else: no network, no other file.

Its parts are the ES modules in `web/`. A file opened from disk may not import another, so they are put one after
the other into it.
"""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.errors import PicoGPTError
from picogpt.inspection.lens import logit_lens
from picogpt.inspection.names import select
from picogpt.inspection.report import Row, lens_rows, shape_rows, token_rows
from picogpt.inspection.trace import Trace

WEB = Path(__file__).with_name("web")
# each after those that it imports
MODULES = ("colour.js", "dom.js", "heatmap.js", "attention.js", "tables.js", "show.js")
N_TOKENS = 256  # the most: every head's pattern grows with their square
K = 3  # likely tokens in a cell
FORBIDDEN = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"  # everything from elsewhere
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{forbidden}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}</style>
<main></main>
<script type="application/json" id="report">{report}</script>
<script type="module">
{script}
show(document.querySelector("main"), JSON.parse(document.getElementById("report").textContent));
</script>
</html>
"""


def page(values: Trace) -> str:
    """The page: of next tokens, lens, attention and shapes those that the trace has the values for.

    Next tokens and lens need the model that made the trace, which `model.trace` notes. Raises `PicoGPTError` for a
    batch, and for more tokens than a page can hold.
    """
    if values.ids.ndim != 1 or len(values.ids) > N_TOKENS:
        raise PicoGPTError(f"a page shows one prompt of at most {N_TOKENS} tokens, not ids of shape {values.ids.shape}")
    report = json.dumps(report_of(values), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    style = (WEB / "style.css").read_text(encoding="utf-8")
    title = html.escape("picogpt: " + "".join(values.tokens)[:60])
    return PAGE.format(forbidden=FORBIDDEN, title=title, style=style, report=report, script=script())


def report_of(values: Trace) -> dict[str, Any]:
    """What the page shows, as its modules read it."""
    model = values.model
    found: dict[str, Any] = {"tokens": plain_tokens(values), "shapes": shape_rows(values)}
    if model is not None and has(values, "blocks.*.resid_post"):
        lens = logit_lens(values, model.params, model.hparams["n_head"], k=K)
        found["lens"] = [[list(map(rounded, rows)) for rows in layer] for layer in lens_rows(model.encoder, lens)]
        found["next"] = found["lens"][-1]
    if has(values, "blocks.*.attn.pattern"):
        found["attention"] = packed([values[f"blocks.{i}.attn.pattern"] for i in range(values.n_layer)])
    return found


def has(values: Trace, names: str) -> bool:
    return select(names, values.n_layer) <= values.keys()


def plain_tokens(values: Trace) -> list[Row]:
    """The tokens; where nothing is known of their texts, their ids stand for them."""
    if values.model is not None:
        return token_rows(values.model.encoder, values.ids)
    return [{"id": int(i), "token": str(i)} for i in values.ids]


def rounded(row: Row) -> Row:
    return {**row, "probability": round(row["probability"], 4)}


def packed(patterns: list[Any]) -> Row:  # of each layer [n_head, n_seq, n_seq]
    """Every head's pattern up to the diagonal, a byte for each cell, as base64."""
    stacked = np.stack(patterns)
    cells = stacked[..., *np.tril_indices(stacked.shape[-1])]
    data = np.rint(255 * cells).astype(np.uint8).tobytes()
    return {"n_layer": stacked.shape[0], "n_head": stacked.shape[1], "bytes": base64.b64encode(data).decode("ascii")}


def script() -> str:
    """The modules in one, without the lines by which they find each other."""
    source = "\n".join((WEB / name).read_text(encoding="utf-8") for name in MODULES)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", source, flags=re.MULTILINE), flags=re.MULTILINE)


def frame(values: Trace) -> str | None:
    """The page within another, such as a notebook; None for what no page can show."""
    try:
        whole = page(values)
    except PicoGPTError:
        return None
    style = "width: 100%; height: 640px; border: 1px solid #ccc"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{html.escape(whole)}"></iframe>'
