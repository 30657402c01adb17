"""The list of checksums beside a model: what `sha256sum` reads and writes, and never of other files than are there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import read_checkpoint, write_huggingface, write_int8, write_openai
from picogpt.checksums import check_checksums, read_checksums, write_checksums
from picogpt.errors import PicoGPTError
from picogpt.files import write_text
from picogpt.pretrained import GPT2, save
from picogpt.tokenizers import train_bpe
from tests.random_model import HPARAMS, random_params
from tests.training.test_run import advance, start

ROOT = Path(__file__).parents[1]


def test_the_format_is_sha256sums(tmp_path: Path) -> None:
    (tmp_path / "b c").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"2")
    write_checksums(tmp_path, ["b c", "a"])
    one, two = (hashlib.sha256(data).hexdigest() for data in (b"1", b"2"))
    assert (tmp_path / "SHA256SUMS").read_text() == f"{two}  a\n{one}  b c\n"
    assert read_checksums(tmp_path) == check_checksums(tmp_path) == {"a": two, "b c": one}
    (tmp_path / "SHA256SUMS").write_text(f"{one.upper()} *b c\r\n")  # from Windows, in binary mode
    assert check_checksums(tmp_path) == {"b c": one}
    (tmp_path / "SHA256SUMS").unlink()
    assert check_checksums(tmp_path) == {}


@pytest.mark.parametrize("layout", ["openai", "huggingface", "int8"])
def test_sha256sum_agrees(tmp_path: Path, layout: str) -> None:
    hparams = HPARAMS | {"n_vocab": 257}
    model = GPT2(train_bpe(["to be"], 257, []), hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    save(model, tmp_path / "model", layout)  # type: ignore[arg-type]
    result = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "model", capture_output=True, check=True)
    names = {path.name for path in (tmp_path / "model").iterdir()} - {"SHA256SUMS"}
    assert {line.partition(": ")[0] for line in result.stdout.decode().splitlines()} == names


def test_the_shipped_model_is_what_its_list_says() -> None:
    names = {"config.json", "merges.txt", "model.safetensors", "vocab.json"}
    assert check_checksums(ROOT / "models" / "shakespeare").keys() == names


@pytest.mark.parametrize(
    "line", ["x", "0" * 64, f"{'0' * 63}  a", f"{'0' * 64}  ../a", f"{'0' * 64}  /a", f"{'0' * 64}  a\\b", ""]
)
def test_what_is_no_list_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  a\n{line}\n")
    with pytest.raises(PicoGPTError, match="SHA256SUMS has no SHA-256 and file name in line 2; remove it"):
        check_checksums(tmp_path)


@pytest.mark.parametrize("write", [write_openai, write_huggingface, write_int8])
def test_a_model_that_is_written_again_has_its_own_list(tmp_path: Path, write: object) -> None:
    for seed in 0, 1:
        write(tmp_path, HPARAMS, random_params(np.random.default_rng(seed), np.float32))  # type: ignore[operator]
        assert check_checksums(tmp_path).keys() == {path.name for path in tmp_path.iterdir()} - {"SHA256SUMS"}


def test_a_list_is_gone_before_a_file_that_it_names_is_new(tmp_path: Path) -> None:
    """A list of files that are no longer there would call a good model damaged."""
    (tmp_path / "a").write_text("old")
    write_checksums(tmp_path, ["a"])
    write_text(tmp_path / "b", "not in the list")
    write_text(tmp_path / "0", "nor this")
    assert (tmp_path / "SHA256SUMS").is_file()
    write_text(tmp_path / "a", "new")
    assert not (tmp_path / "SHA256SUMS").exists()


def test_each_checkpoint_of_a_run_has_its_list(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    before = check_checksums(tmp_path / "run")
    advance(run, 1)
    after = check_checksums(tmp_path / "run")
    assert before.keys() == after.keys() == {"config.json", "model.safetensors", "picogpt_tokenizer.json"}
    assert before["model.safetensors"] != after["model.safetensors"]
    read_checkpoint(tmp_path / "run")
