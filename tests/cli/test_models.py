"""`picogpt models`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picogpt import pretrained
from picogpt.checkpoints import write_llmc, write_openai
from picogpt.cli import main
from picogpt.download.catalogue import HUGGING_FACE_MODELS, OPENAI_MODELS
from tests.random_model import HPARAMS, random_params


def test_what_is_here_where_and_what_can_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models of every place, with the size of all their files; the user's home is ~."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    params = random_params(np.random.default_rng(0), np.float32)
    write_openai(tmp_path / "models" / "124M", HPARAMS, params)
    mine = tmp_path / "data" / "picogpt" / "models" / "mine.bin"
    mine.parent.mkdir(parents=True)
    write_llmc(mine, HPARAMS, params, "float32")
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    table, default, fetch = out.partition("\n\n")[0], *out.partition("\n\n")[2].split("\n", 1)
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert [*rows] == ["name", "124M", "mine.bin", "shakespeare"]
    size = sum(path.stat().st_size for path in (tmp_path / "models" / "124M").iterdir())
    assert rows["124M"].split() == ["124M", "13,062", f"{size / 1e6:.1f}", "OpenAI's", "models/124M"]
    assert rows["mine.bin"].split()[-2:] == ["llm.c's", "~/data/picogpt/models/mine.bin"]
    shipped = pretrained.find_model("shakespeare")
    assert rows["shakespeare"].endswith(f"Hugging Face's  {shipped}")
    assert default == "without a name: 124M"
    assert all(name in fetch for name in (*OPENAI_MODELS, *HUGGING_FACE_MODELS, "OWNER/NAME"))


def test_names_are_those_that_other_commands_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["models"]) == 0
    for line in capsys.readouterr().out.partition("\n\n")[0].splitlines()[1:]:
        name, place = line.split()[0], line.split()[-1]
        assert str(pretrained.find_model(name)) == place
