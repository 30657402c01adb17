"""`picogpt download`, and the script that is the same."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import write_openai
from picogpt.cli import main
from picogpt.download import Facts, catalogue
from picogpt.pretrained import find_model
from picogpt.tokenizers import train_bpe
from tests.download.server import Fault, Server, serve_hub, serving
from tests.random_model import HPARAMS, random_params

SCRIPT = Path(__file__).parents[2] / "scripts" / "download_model.py"
FILES = (*catalogue.OPENAI_FILES, catalogue.OPENAI_DATA)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("released")
    hparams = HPARAMS | {"n_vocab": 257}
    write_openai(directory, hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    train_bpe(["to be or not to be"], 257, []).save(directory)
    return {f"/124M/{name}": (directory / name).read_bytes() for name in FILES}


@pytest.fixture
def server(released: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Has a small model under the name 124M; what is known of the real one is forgotten."""
    for name in ("PICOGPT_MODELS_DIR", "PICOGPT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(catalogue, "facts", lambda *_: Facts())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with serving() as server:
        monkeypatch.setenv("PICOGPT_BASE_URL", server.url + "/")
        server.reset(released)
        yield server


@pytest.mark.usefixtures("server")
def test_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "124M"]) == 0
    assert {path.name for path in (tmp_path / "models" / "124M").iterdir()} == {*FILES, "SHA256SUMS"}
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("picogpt: 124M is whole in models/124M: 6 files fetched, ")
    assert err.count("\n") == 1, "there is no terminal, so there are no bars"
    assert main(["download", "124M"]) == 0
    assert capsys.readouterr().err == "picogpt: 124M is whole in models/124M already\n"
    assert main(["verify", "124M"]) == 0
    assert "all of 28 tensors match their checksums" in capsys.readouterr().out


@pytest.mark.usefixtures("server")
def test_the_script_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "124M", "--models-dir", "elsewhere", "-q"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert (tmp_path / "elsewhere" / "124M" / "vocab.bpe").is_file()
    assert capsys.readouterr() == ("", "")


def test_a_model_by_its_name_at_hugging_face(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the network to text, from wherever the command is called next."""
    monkeypatch.delenv("PICOGPT_BASE_URL")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    files = {path.name: path.read_bytes() for path in find_model("shakespeare").iterdir()}
    serve_hub(server, "some/gpt", files)
    served = {name: data for name, data in files.items() if name not in ("README.md", "loss.png", "SHA256SUMS")}
    (tmp_path / "models").rmdir()
    place = tmp_path / "data" / "picogpt" / "models" / "some" / "gpt"
    assert main(["download", "some/gpt", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"to fetch  {sum(map(len, served.values())):,} bytes\n" in out
    assert out.endswith(f"into      {place}\n")
    assert not place.exists()
    assert main(["download", "some/gpt"]) == 0
    assert f"some/gpt is whole in {place}: {len(served)} files fetched" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert main(["info", "some/gpt"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"directory   {place}"
    assert main(["verify", "some/gpt"]) == 0
    assert main(["tokenize", "to be", "--model", "some/gpt"]) == 0
    texts = []
    for name in ("some/gpt", "shakespeare"):
        capsys.readouterr()
        assert main(["ROMEO:", "-n", "5", "--model", name]) == 0
        texts.append(capsys.readouterr())
    assert texts[0] == texts[1]
    assert not texts[0].err


def test_a_text(server: Server, tmp_path: Path) -> None:
    server.files["/input.txt"] = b"First Citizen"
    assert main(["download", "tinyshakespeare"]) == 0
    assert (tmp_path / "data" / "tinyshakespeare.txt").read_bytes() == b"First Citizen"


def test_a_dry_run_fetches_nothing(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models" / "124M").mkdir()
    (tmp_path / "models" / "124M" / "vocab.bpe").write_bytes(server.files["/124M/vocab.bpe"])
    assert main(["download", "124M", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["model.ckpt.data-00000-of-00001"] == [f"{len(server.files[f'/124M/{FILES[-1]}']):,}"]
    assert lines["vocab.bpe"][1:] == ["here", "already"]
    total = sum(len(data) for path, data in server.files.items() if path != "/124M/vocab.bpe")
    assert out.endswith(f"to fetch  {total:,} bytes\nfrom      {server.url}/124M\ninto      models/124M\n")
    assert max(map(len, out.splitlines())) <= 80
    assert not err
    assert [path.name for path in (tmp_path / "models" / "124M").iterdir()] == ["vocab.bpe"]


@pytest.mark.usefixtures("server")
def test_a_dry_run_offline_says_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PICOGPT_OFFLINE", "1")
    assert main(["download", "124M", "--dry-run"]) == 0
    assert "to fetch  at least 0 bytes" in capsys.readouterr().out


def test_what_goes_wrong_on_the_way_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.faults = [Fault("break", 10)]
    assert main(["download", "124M"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("picogpt: hparams.json: the connection broke (")
    assert err.splitlines()[0].endswith("); trying again")


def test_a_network_that_fails_is_status_1(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    del server.files["/124M/vocab.bpe"]
    assert main(["download", "124M"]) == 1
    assert "vocab.bpe: the server answers 404 Not Found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["download", "125M"], "there is no '125M' to download; choose from 124M, 355M, 774M, 1558M"),
        (["download", "124M", "--base-url", "here"], "here/124M/hparams.json is no address"),
        (["download", "some/gpt/"], "'some/gpt/' is no name of a model: it should be OWNER/NAME"),
        (["verify", "gpt5"], "there is no model 'gpt5'"),
        (["ROMEO:", "--model", "some/gpt"], "there is no model 'some/gpt'; if it is Hugging Face's, `picogpt download"),
    ],
)
@pytest.mark.usefixtures("server")
def test_bad_input_is_status_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"picogpt: {message}")
    assert err.count("\n") == 1


def test_on_a_terminal_there_is_a_bar_for_each_file(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server.faults = [Fault("break", 10), Fault("ignore_range")]
    assert main(["download", "124M"]) == 0
    err = capsys.readouterr().err
    for name in FILES:
        assert f"{name}: 100%" in err
