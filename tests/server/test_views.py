"""What the page's views ask: rows and arrays equal those of `picogpt.inspection`, and bad input is one line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from picogpt import inspection
from picogpt.inspection.attribution import head_outputs
from picogpt.inspection.lens import log_softmax
from picogpt.pretrained import GPT2
from picogpt.server.looks import LENS_POSITIONS, NAMES, Looks, Pass
from picogpt.server.views import npy
from picogpt.tokenizers import CharTokenizer
from picogpt.types import Array
from tests.random_model import HPARAMS, random_params
from tests.server.running import Client, client_of, serve_model, shakespeare

PROMPT = "KING RICHARD:\nNo.\n\nKING"
OTHER = "KING EDWARD:\nNo.\n\nKING"
MODEL = shakespeare()
PARAMS, N = MODEL.params, MODEL.hparams["n_head"]
IDS = MODEL.encoder.encode(PROMPT)
VALUES = inspection.trace(IDS, PARAMS, N)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with client_of(serve_model(MODEL)) as client:
        yield client


def show(client: Client, what: str, off: Any = None, **options: Any) -> Any:
    answer = client.post("/inside/views", {"prompt": PROMPT, "ablate": off, "show": {what: options}})
    assert answer.status_code == 200, answer.text
    return answer.json()[what]


def array(client: Client, **options: Any) -> Any:
    answer = client.post("/inside/views", {"prompt": PROMPT, "array": options})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    return np.load(io.BytesIO(answer.content))


def softmax(logits: Array) -> Array:
    return np.exp(log_softmax(logits))


def test_arrays_are_the_values_of_the_trace(client: Client) -> None:
    for name in (f"blocks.3.{name}" for name in NAMES[2:-2]):
        whole = array(client, name=name)
        assert whole.dtype == np.float32
        per_head = name.endswith((".q", ".k", ".v", ".z"))
        expected = VALUES[name].reshape(len(IDS), -1) if per_head else VALUES[name]
        np.testing.assert_array_equal(whole, expected, err_msg=name)
    for name in ("q", "k", "v", "z"):
        np.testing.assert_array_equal(array(client, name=f"blocks.2.attn.{name}", head=1), VALUES[name, 2][:, 1])
    for name in ("scores", "pattern"):
        np.testing.assert_array_equal(array(client, name=f"blocks.2.attn.{name}", head=3), VALUES[name, 2][3])
    np.testing.assert_allclose(array(client, name="logits", position=4), VALUES["logits"][4], rtol=0, atol=1e-4)


def test_the_rows_of_c_proj_make_what_a_head_adds(client: Client) -> None:
    w = array(client, name="blocks.4.attn.c_proj", head=1)
    expected = head_outputs(VALUES["z", 4], PARAMS["blocks"][4]["attn"]["c_proj"]["w"])[:, 1]
    np.testing.assert_allclose(VALUES["z", 4][:, 1] @ w, expected, rtol=0, atol=1e-5)
    whole = array(client, name="blocks.4.attn.c_proj")
    np.testing.assert_array_equal(whole, PARAMS["blocks"][4]["attn"]["c_proj"]["w"])


def test_heads_in_small(client: Client) -> None:
    small = array(client, name="heads")
    assert small.dtype == np.uint8
    expected = np.stack([VALUES["pattern", i] for i in range(5)])
    np.testing.assert_allclose(small / 255, expected, rtol=0, atol=0.5 / 255 + 1e-6)


def test_large_arrays_are_small_on_the_wire() -> None:
    """A pattern of 1,024 tokens is 2 MB, and what the mask makes of scores is finite in half precision."""
    pattern = np.zeros((1024, 1024), np.float32)
    pattern[0, 1:] = -1e10
    content = npy(pattern)
    assert len(content) < 2_100_000
    read = np.load(io.BytesIO(content))
    assert read.dtype == np.float16
    assert np.isfinite(read).all()
    assert read[0, 1] < -6e4


def test_next_tokens(client: Client) -> None:
    rows = show(client, "next", position=3, k=7)
    logits = VALUES["logits"][3]
    assert [row["id"] for row in rows] == np.argsort(-logits)[:7].tolist()
    np.testing.assert_allclose([row["logit"] for row in rows], np.sort(logits)[::-1][:7], rtol=0, atol=1e-4)
    np.testing.assert_allclose([row["probability"] for row in rows], np.sort(softmax(logits))[::-1][:7], atol=1e-5)


def test_lens(client: Client) -> None:
    found = show(client, "lens", first=2, n=4, k=3)
    lens = inspection.logit_lens(VALUES, PARAMS, N, k=3)
    shares = [[[row["probability"] for row in rows] for rows in layer] for layer in found["rows"]]
    np.testing.assert_allclose(shares, lens.probabilities[:, 2:6], atol=1e-5)
    np.testing.assert_allclose(found["kl"], lens.kl[:, 2:6], atol=1e-4)
    norms = [np.linalg.norm(VALUES[f"blocks.{i}.resid_post"][2:6], axis=-1) for i in range(5)]
    np.testing.assert_allclose(found["norms"][1:], norms, rtol=1e-5)


def test_tokens_with_their_bytes_and_merges(client: Client) -> None:
    rows = show(client, "tokens")
    assert bytes.fromhex("".join(row["bytes"] for row in rows)).decode() == PROMPT
    assert show(client, "ids", tokens=[" the", "bytes:\\xe2\\x80"][:1]) == [*IDS, *MODEL.encoder.encode(" the")]
    merges = show(client, "merges", position=1)
    assert merges["word"] == " RICHARD"
    assert merges["steps"][0]["pieces"] == list(" RICHARD")
    assert merges["steps"][-1]["pieces"] == [" RICHARD"]


def test_tokens_that_are_part_of_a_character_have_ids(client: Client) -> None:
    ids = MODEL.encoder.encode("\u2014")
    names = ["bytes:" + "".join(f"\\x{byte:02x}" for byte in MODEL.encoder.decode_bytes([i])) for i in ids]
    assert show(client, "ids", tokens=names) == [*IDS, *ids]


def test_the_line_of_every_value(client: Client) -> None:
    source = show(client, "source")
    lines = source["text"].splitlines()
    assert set(source["lines"]) == set(NAMES)
    for name, line in source["lines"].items():
        word = "attn." if name in ("attn.q", "attn.k", "attn.v") else name
        assert "tap(" in lines[line - 1]
        assert word in lines[line - 1]


def test_ablation_before_and_after(client: Client) -> None:
    heads, mlps = [[4, 1], [0, 2]], [3]
    rows = show(client, "change", {"heads": heads, "mlps": mlps}, k=5)
    changes = {**inspection.without_heads(PARAMS, N, [(4, 1), (0, 2)]), **inspection.without_mlps(PARAMS, N, mlps)}
    after = softmax(inspection.run_with(IDS, PARAMS, N, changes)[-1])
    before = softmax(VALUES["logits"][-1])
    ids = [row["id"] for row in rows]
    assert {*np.argsort(-before)[:5], *np.argsort(-after)[:5]} <= {*ids}
    np.testing.assert_allclose([row["before"] for row in rows], before[ids], atol=1e-5)
    np.testing.assert_allclose([row["after"] for row in rows], after[ids], atol=1e-5)
    changed = show(client, "next", {"heads": heads, "mlps": mlps}, k=3)
    np.testing.assert_allclose([row["probability"] for row in changed], np.sort(after)[::-1][:3], atol=1e-5)


def test_patching(client: Client) -> None:
    other = MODEL.encoder.encode(OTHER)
    found = show(client, "patching", source=OTHER, kind="attn_out", target=" EDWARD", foil=" RICHARD")
    target, foil = (inspection.token_id(MODEL.encoder, name) for name in (" EDWARD", " RICHARD"))
    expected = inspection.activation_patching(other, IDS, PARAMS, N, target, foil, ["attn_out"])
    np.testing.assert_allclose(found["restored"], expected.restored["attn_out"], rtol=0, atol=1e-6)
    chosen = show(client, "patching", source=OTHER, kind="attn_out")
    assert (chosen["target"]["token"], chosen["foil"]["token"]) == (" EDWARD", " RICHARD")
    assert chosen["restored"] == found["restored"]
    for options, names, places in (
        ({"name": "blocks.2.resid_pre", "position": 1}, "blocks.2.resid_pre", [1]),
        ({"name": "blocks.1.mlp_out"}, "blocks.1.mlp_out", [-1]),
    ):
        rows = show(client, "patch", source=OTHER, **options)
        after = softmax(inspection.patch(IDS, other, PARAMS, N, names, places)[-1])
        np.testing.assert_allclose([row["after"] for row in rows], after[[row["id"] for row in rows]], atol=1e-5)


def test_a_head_is_patched_at_all_positions(client: Client) -> None:
    other = MODEL.encoder.encode(OTHER)
    source = inspection.trace(other, PARAMS, N, "blocks.4.attn.z")["blocks.4.attn.z"]

    def put_in(z: Array) -> Array:
        z[:, 1] = source[:, 1]
        return z

    rows = show(client, "patch", source=OTHER, name="blocks.4.attn.z", head=1)
    after = softmax(inspection.run_with(IDS, PARAMS, N, {"blocks.4.attn.z": put_in})[-1])
    np.testing.assert_allclose([row["after"] for row in rows], after[[row["id"] for row in rows]], atol=1e-5)


def test_passes_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(GPT2(CharTokenizer.from_text("abc"), HPARAMS, random_params(np.random.default_rng(0))))
    first = looks.replay(Pass((1, 2, 3)))
    assert looks.replay(Pass((1, 2, 3))) is first
    monkeypatch.setattr("picogpt.server.looks.KEPT_BYTES", 2 * first.nbytes)
    for i in (4, 5, 6):
        looks.replay(Pass((1, 2, i)))
        looks.replay(Pass((1, 2, 3)))  # what was asked for last stays
    assert list(looks.passes) == [Pass((1, 2, 6)), Pass((1, 2, 3))]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": PROMPT, "show": {"nothing": {}}}, "nothing is called 'nothing'"),
        ({"prompt": PROMPT, "show": ["tokens"]}, "show must be an object"),
        ({"prompt": PROMPT, "show": {"next": {"k": 0}}}, "k must be a whole number from 1 to 200"),
        ({"prompt": PROMPT, "show": {"next": {"k": True}}}, "k must be a whole number"),
        ({"prompt": PROMPT, "show": {"next": {"position": 9}}}, "there is no position 9"),
        ({"prompt": PROMPT, "show": {"lens": {"first": 9}}}, "first must be a whole number from 0 to 8"),
        ({"prompt": PROMPT, "show": {"lens": {"n": LENS_POSITIONS + 1}}}, "n must be a whole number from 1 to 64"),
        ({"prompt": PROMPT, "show": {"merges": {"position": 1e3}}}, "position must be a whole number"),
        ({"prompt": PROMPT, "show": {"ids": {"tokens": ["no such token"]}}}, "no token 'no such token'"),
        ({"prompt": PROMPT, "show": {"patch": {"source": "KING", "name": "embed"}}}, "must have the same"),
        ({"prompt": PROMPT, "show": {"patch": {"source": OTHER}}}, "name must be a text"),
        ({"prompt": PROMPT, "show": {"patching": {"source": "KING"}}}, "must have the same"),
        ({"prompt": PROMPT, "show": {"patching": {"source": OTHER, "kind": "mlp"}}}, "kind must be one of"),
        ({"prompt": PROMPT, "show": {"patching": {"source": PROMPT}}}, "both prompts give the same answer"),
        ({"prompt": PROMPT, "array": {"name": "blocks.0.attn.patern"}}, "nearest names"),
        ({"prompt": PROMPT, "array": {"name": "*"}}, "no value is called"),
        ({"prompt": PROMPT, "array": {"name": "blocks.0.attn.q", "head": 4}}, "head must be a whole number"),
        ({"prompt": PROMPT, "array": {"name": "blocks.x.attn.c_proj"}}, "no weights are called"),
        ({"prompt": PROMPT, "array": {"name": "blocks.5.attn.c_proj"}}, "there is no layer 5"),
        ({"prompt": PROMPT, "array": {"name": f"blocks.{'9' * 5000}.attn.c_proj"}}, "no weights are called"),
        ({"prompt": PROMPT, "array": "logits"}, "array must be an object"),
        ({"prompt": PROMPT, "ablate": {"heads": [[5, 0]]}, "show": {"next": {}}}, "there is no layer 5"),
        ({"prompt": PROMPT, "ablate": {"heads": [[0, 9]]}, "show": {"next": {}}}, "there is no head 9"),
        ({"prompt": PROMPT, "ablate": {"mlps": [-1]}, "show": {"next": {}}}, "there is no layer -1"),
        ({"prompt": "my " * 300, "show": {"next": {}}}, "more than the model's context"),
        ({"show": {"model": {}}}, "prompt is missing"),
    ],
)
def test_bad_input_is_one_line(client: Client, body: Any, message: str) -> None:
    answer = client.post("/inside/views", body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert "\n" not in answer.json()["error"]["message"]


def test_weights_that_are_not_finite_are_named() -> None:
    params = random_params(np.random.default_rng(0), np.float32)
    params["blocks"][1]["mlp"]["c_fc"]["b"][3] = np.nan
    model = GPT2(CharTokenizer.from_text("abc"), HPARAMS, params)
    with client_of(serve_model(model)) as client:
        answer = client.post("/inside/views", {"prompt": "abc", "show": {"next": {}}})
        assert answer.status_code == 400
        assert "c_fc" in answer.json()["error"]["message"]


def test_a_tokenizer_without_merges() -> None:
    model = GPT2(CharTokenizer.from_text("abc"), HPARAMS, random_params(np.random.default_rng(0), np.float32))
    with client_of(serve_model(model)) as client:
        sizes = client.post("/inside/views", {"prompt": "abc", "show": {"model": {}}}).json()["model"]
        assert sizes["has_merges"] is False
        answer = client.post("/inside/views", {"prompt": "abc", "show": {"merges": {"position": 0}}})
        assert answer.status_code == 400
        assert "makes its tokens without merges" in answer.json()["error"]["message"]
