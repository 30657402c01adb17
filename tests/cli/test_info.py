"""`picogpt info`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import write_openai
from picogpt.cli import main
from tests.random_model import HPARAMS, random_params


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PICOGPT_MODELS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    write_openai(tmp_path / "models" / "124M", HPARAMS, random_params(np.random.default_rng(0)))
    return Path("models/124M")


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    "argv", [["info"], ["info", "124M"], ["info", "gpt2"], ["info", "124M", "--models-dir", "models"]]
)
def test_figures_and_files(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    facts = dict(line.split(maxsplit=1) for line in out.split("\n\n")[0].splitlines())
    assert facts == {
        "directory": "models/124M",
        "layout": "OpenAI's",
        "parameters": "13,062",
        "n_vocab": "61",
        "n_ctx": "29",
        "n_embd": "21",
        "n_head": "3",
        "n_layer": "2",
    }
    sizes = dict(line.split() for line in out.split("\n\n")[1].splitlines())
    assert sizes["model.ckpt.data-00000-of-00001"] == "52,248"
    assert list(sizes)[-1] == "total"
    assert max(map(len, out.splitlines())) <= 80
    assert not err


def test_a_missing_file_is_listed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a model is what one asks about."""
    (model / "model.ckpt.data-00000-of-00001").unlink()
    assert main(["info", "124M"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "data-00000" in line)
    assert line.split()[1] == "missing"


def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "gpt5"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("picogpt: there is no model 'gpt5'; to fetch GPT-2")
    assert err.count("\n") == 1
