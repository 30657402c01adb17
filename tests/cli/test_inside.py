"""`picogpt inside`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picogpt
from picogpt import inspection
from picogpt.cli import inside, main
from picogpt.cli.grid import columns

PROMPT = "KING RICHARD:\nNo.\n\nKING"
TOKENS = ["KING", " RICHARD", ":", "\n", "No", ".", "\n", "\n", "KING"]


@pytest.fixture(scope="module")
def model() -> picogpt.pretrained.GPT2:
    return picogpt.load("shakespeare")


@pytest.fixture
def look(model: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command with a model that is loaded once; the transcripts in the documents load theirs."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(inside, "load_model", lambda args: model)

    def look(*arguments: object, prompt: str = PROMPT, status: int = 0) -> str:
        assert main(["inside", prompt, *map(str, arguments)]) == status
        out, err = capsys.readouterr()
        assert not (out if status else err)
        return err if status else out

    return look


def test_by_default_tokens_next_tokens_and_the_lens(look: Any) -> None:
    out = look()
    tokens, lens = out.split("\n\n")
    rows = tokens.splitlines()[2:]
    assert [row.split()[0] for row in rows] == list("012345678")
    assert "  445 " in rows[0]
    assert r" \n " in rows[3]
    assert "RICHA… 100" in rows[8]
    assert "layer 4" in lens
    assert max(map(columns, out.splitlines())) <= 80


def test_json_has_the_numbers_of_the_library(look: Any, model: Any) -> None:
    found = json.loads(look("--json", "-k", 2))
    values = model.trace(PROMPT)
    lens = inspection.logit_lens(values, model.params, model.hparams["n_head"], k=2)
    assert [token["token"] for token in found["tokens"]] == TOKENS
    assert [token["id"] for token in found["tokens"]] == values.ids.tolist()
    assert [[[row["id"] for row in rows] for rows in layer] for layer in found["lens"]] == lens.ids.tolist()
    probabilities = [[[row["probability"] for row in rows] for rows in layer] for layer in found["lens"]]
    np.testing.assert_allclose(probabilities, lens.probabilities, rtol=1e-5)
    assert found["next"] == found["lens"][-1]


@pytest.mark.parametrize("width", [24, 40, 79])
def test_a_narrow_terminal_folds_the_table(look: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = look("--attention", "4.1")
    assert max(map(columns, out.splitlines()[1:])) <= width
    lens = look().partition("the logit lens: ")[2]
    assert all(f"layer {i}" in lens for i in range(5))
    assert max(map(columns, lens.splitlines()[1:])) <= max(width, 26)  # the narrowest that holds a label and a cell


def test_colour_only_where_it_is_seen(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("--attention", "4.1", "--heads", "--attribution", " RICHARD", "--ablate", "3.*")
    assert "\x1b" not in look(*asked)
    monkeypatch.setattr(inside, "in_colour", lambda: True)
    for arguments in ((), asked):
        assert "\x1b[30;48;5;226m" in look(*arguments)


def test_text_that_would_command_the_terminal_is_escaped(look: Any) -> None:
    assert "\x1b" not in look(prompt="a\x1b[2Jb\u202e")


def test_attention_is_drawn_where_the_head_looks(look: Any) -> None:
    rows = look("--attention", "4.1").splitlines()[2:]
    assert len(rows) == 9
    assert "→ 1  99%" in rows[-1]
    cells = rows[-1].partition("%  ")[2]
    assert cells == "  ██"  # nothing at key 0, dark at key 1


def test_all_heads_in_small(look: Any, model: Any) -> None:
    out = look("--heads")
    assert all(f"{layer}.{head}" in out for layer in range(5) for head in range(4))
    long = look("--heads", prompt="my " * 50)
    assert len(long.splitlines()) == 1 + 5 * 13
    patterns = json.loads(look("--heads", "--json"))["heads"]
    np.testing.assert_allclose(patterns, inspection.attentions(model.trace(PROMPT), model.params, 4), rtol=1e-5)


def test_attribution_sums_to_the_logit(look: Any, model: Any) -> None:
    found = json.loads(look("--attribution", " RICHARD", "--json"))["attribution"]
    parts = [
        found["embed"],
        found["pos_embed"],
        found["ln_f_bias"],
        found["heads"],
        found["mlps"],
        found["attn_biases"],
    ]
    logit = model.trace(PROMPT)["logits"][-1, found["id"]]
    assert sum(np.sum(part) for part in parts) == pytest.approx(logit, abs=1e-4)
    assert found["logit"] == pytest.approx(logit, abs=1e-4)
    assert f"{logit:+.2f}" in look("--attribution", " RICHARD").splitlines()[-1]


def test_ablation_before_and_after(look: Any, model: Any) -> None:
    found = json.loads(look("--ablate", "4.1,2.*", "--json"))["ablated"]
    heads = [(4, 1), *((2, head) for head in range(4))]
    assert [tuple(pair) for pair in found["heads"]] == heads
    ids = model.encoder.encode(PROMPT)
    for when, ablated in (("before", []), ("after", heads)):
        logits = inspection.ablate_heads(ids, model.params, 4, ablated)[-1].astype(np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        for row in found["next"]:
            assert row[when] == pytest.approx(probabilities[row["id"]], abs=1e-5)
    assert "without 4.1, 2.0, 2.1, 2.2, 2.3" in look("--ablate", "4.1,2.*")
    assert "without 20 heads" in look("--ablate", "*.*")


def test_other_views_are_those_of_the_changed_pass(look: Any, model: Any) -> None:
    found = json.loads(look("--ablate", "0.*", "--attention", "4.1", "--json"))["attention"]
    changes = inspection.without_heads(model.params, 4, [(0, head) for head in range(4)])
    values = inspection.trace(model.encoder.encode(PROMPT), model.params, 4, changes=changes)
    np.testing.assert_allclose(found["pattern"], values["blocks.4.attn.pattern"][1], rtol=1e-5)


def test_shapes_norms_and_lines(look: Any, model: Any) -> None:
    rows = {row["name"]: row for row in json.loads(look("--shapes", "--json"))["shapes"]}
    values = model.trace(PROMPT)
    source = Path(picogpt.model.__file__).read_text(encoding="utf-8").splitlines()
    assert list(rows) == list(values)
    for name, row in rows.items():
        assert tuple(row["shape"]) == values[name].shape
        assert row["source"] == source[row["line"] - 1].strip()
        assert "tap(" in row["source"]
        if not name.endswith(("attn.q", "attn.k", "attn.v")):
            assert f'"{name.split(".", 2)[-1] if name.startswith("blocks") else name}"' in row["source"]
        if not name.endswith("scores"):
            assert row["norm"] == pytest.approx(np.linalg.norm(values[name]), rel=1e-4)
    assert len(look("--shapes").splitlines()) == 1 + len(values)


def test_every_value_in_a_file(look: Any, model: Any, tmp_path: Path) -> None:
    path = tmp_path / "values.of.a.pass"  # the name is the user's: nothing is put after it
    assert look("--npz", path) == ""
    values = model.trace(PROMPT)
    with np.load(path) as file:
        assert set(file) == {*values, "ids", "tokens"}
        assert file["tokens"].tolist() == TOKENS
        for name, array in values.items():
            np.testing.assert_array_equal(file[name], array)


def test_a_page(look: Any, model: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert look("--html", path) == ""
    assert path.read_text(encoding="utf-8") == inspection.page(model.trace(PROMPT))
    assert look("--html", path, "--ablate", "4.1")
    assert path.read_text(encoding="utf-8") != inspection.page(model.trace(PROMPT))  # it is that of the changed pass


@pytest.mark.parametrize(
    "asked", [(), ("--attention", "4.1"), ("--heads",), ("--attribution", " RICHARD")], ids=lambda asked: "".join(asked)
)
def test_a_picture(look: Any, tmp_path: Path, asked: tuple[str, ...]) -> None:
    path = tmp_path / "picture.svg"
    assert look(*asked, "--plot", path)  # the table comes all the same
    picture = path.read_text(encoding="utf-8")
    assert "<svg" in picture
    assert "<image" in picture


def test_pictures_that_cannot_be(look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("--html", tmp_path / "page.html", "--plot", tmp_path / "lens.png")  # a page alone needs no table
    assert (tmp_path / "lens.png").exists()
    look("--attention", "0.0", "--plot", tmp_path / "dollars.png", prompt="$a^ $b^ \t\\x $")
    assert (tmp_path / "dollars.png").read_bytes().startswith(b"\x89PNG")
    assert "cannot be written" in look("--plot", tmp_path / "words.nonsense", status=2)
    assert "there is nothing to draw" in look("--shapes", "--plot", tmp_path / "a.png", status=2)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install matplotlib" in look("--plot", tmp_path / "a.png", status=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attention", "5.0"), "there is no layer 5, the model has layers 0 to 4"),
        (("--attention", "4.4"), "there is no head 4 in layer 4, each layer has heads 0 to 3"),
        (("--attention", "4.*"), "--heads shows them all"),
        (("--ablate", "1.2,x"), "'x' names no head: write LAYER.HEAD"),
        (("--ablate", "9.*"), "there is no layer 9"),
        (("--attribution", " RICHARD III"), "is 2 tokens"),
        (("--attribution", ""), "choose a text that is one token"),
        (("-k", 0), "k must be from 1 to"),
        (("--npz", "/dev/null/all.npz"), "/dev/null"),
    ],
)
def test_bad_input_is_one_line(look: Any, arguments: tuple[object, ...], message: str) -> None:
    err = look(*arguments, status=2)
    assert err.startswith("picogpt: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_prompt_longer_than_the_context(look: Any) -> None:
    assert "more than the model's context" in look(prompt="my " * 2000, status=2)


def test_a_special_token_in_the_prompt(look: Any) -> None:
    assert "say --special token" in look(prompt="<|endoftext|>Now", status=2)
    found = json.loads(look("--special", "token", "--json", prompt="<|endoftext|>Now"))
    assert found["tokens"][0]["token"] == "<|endoftext|>"
    found = json.loads(look("--special", "text", "--json", prompt="<|endoftext|>Now"))
    assert found["tokens"][0]["token"] == "<"


def test_an_empty_prompt_is_the_beginning_of_a_text(look: Any) -> None:
    assert [token["token"] for token in json.loads(look("--json", prompt=""))["tokens"]] == ["<|endoftext|>"]
