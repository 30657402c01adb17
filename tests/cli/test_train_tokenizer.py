"""`picogpt train-tokenizer`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from picogpt.cli import main
from picogpt.tokenizers import (
    ByteLevelBPE,
    CharTokenizer,
    WhitespaceTokenizer,
    WordTokenizer,
    load_tokenizer,
    train_bpe,
)

ROOT = Path(__file__).parents[2]
TEXT = "The thin thing, the other thing.\n\n  The thinner thing? é 😀\n" * 5


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "models" / "mine"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_bpe_by_default(corpus: Path, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-tokenizer", str(corpus), "-o", str(directory), "--n-vocab", "270"]) == 0
    expected = train_bpe([TEXT], 270, ["<|endoftext|>"])
    loaded = load_tokenizer(directory)
    assert isinstance(loaded, ByteLevelBPE)
    assert (loaded.tokens, loaded.merges, loaded.eot_token) == (expected.tokens, expected.merges, 269)
    out, err = capsys.readouterr()
    assert not out
    assert err == f"picogpt: 270 tokens, in {directory / 'encoder.json'} and {directory / 'vocab.bpe'}\n"


def test_a_text_too_small_for_the_vocabulary_is_told(
    corpus: Path, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-tokenizer", str(corpus), "-o", str(directory)]) == 0
    n = load_tokenizer(directory).n_vocab
    assert n < 1024
    assert f"the text has no more than {n} tokens to learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "tokenizer", "special_tokens"),
    [
        ("char", CharTokenizer, []),
        ("whitespace", WhitespaceTokenizer, ["<|endoftext|>", "<|unk|>"]),
        ("word", WordTokenizer, ["<|endoftext|>", "<|unk|>"]),
    ],
)
def test_other_kinds(
    corpus: Path,
    directory: Path,
    kind: str,
    tokenizer: type[CharTokenizer | WhitespaceTokenizer | WordTokenizer],
    special_tokens: list[str],
) -> None:
    assert main(["train-tokenizer", str(corpus), str(corpus), "-o", str(directory), "--kind", kind]) == 0
    loaded = load_tokenizer(directory)
    assert type(loaded) is tokenizer
    assert isinstance(loaded, tokenizer)
    assert loaded.vocab == tokenizer.from_text(TEXT, special_tokens).vocab


def test_special_tokens_of_ones_own(corpus: Path, directory: Path) -> None:
    options = ["--special-token", "<|user|>", "--special-token", "[PAD]"]
    assert main(["train-tokenizer", str(corpus), "-o", str(directory), "--n-vocab", "260", *options]) == 0
    loaded = load_tokenizer(directory)
    assert isinstance(loaded, ByteLevelBPE)
    assert loaded.special_tokens == {"<|user|>": 258, "[PAD]": 259}


def test_bad_input_is_one_line_and_nothing_is_lost(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus.parent)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "broken.txt").write_bytes("abc é".encode()[:-1])
    old = tmp_path / "old"
    CharTokenizer.from_text("abc").save(old)
    for argv, message in [
        (["corpus.txt", "-o", "old"], "old already has a vocabulary, picogpt_tokenizer.json; choose another directory"),
        (["empty.txt", "-o", "new"], "there is no text to learn from"),
        (["empty.txt", "-o", "new", "--kind", "char"], "there is no text to take a vocabulary from"),
        (["broken.txt", "-o", "new"], "broken.txt is not UTF-8: byte 0xc3 at offset 4"),
        (["corpus.txt", "nothing.txt", "-o", "new"], "cannot read nothing.txt: No such file or directory"),
        (["corpus.txt", "-o", "new", "--n-vocab", "256"], "n_vocab must be at least 257"),
        (["corpus.txt", "-o", "new", "--n-vocab", "300", "--kind", "word"], "--n-vocab is for --kind bpe"),
        (["corpus.txt", "-o", "new", "--special-token", "END"], "special token 'END': write each one once"),
        (["corpus.txt", "-o", "empty.txt", "--n-vocab", "260"], "cannot write empty.txt: "),
    ]:
        assert main(["train-tokenizer", *argv]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith(f"picogpt: {message}")
        assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert [path.name for path in old.iterdir()] == ["picogpt_tokenizer.json"]


@pytest.mark.parametrize("full_disk", [False, True])
def test_wherever_it_dies_it_can_be_done_again(corpus: Path, tmp_path: Path, full_disk: bool) -> None:
    """A full disk, or a kill between two renames, once left half a vocabulary, and a retry said there is one."""
    code = f"""
import shutil
import subprocess
import sys
from pathlib import Path
from picogpt.cli import main
from picogpt.tokenizers import load_tokenizer
from tests.crashes import crashes

out = Path({str(tmp_path / "out")!r})
argv = ["train-tokenizer", {str(corpus)!r}, "-o", str(out), "--n-vocab", "270"]

def learn():
    if status := main(argv):
        raise OSError("No space left" if status == 2 else status)

n = 0
for _ in crashes(learn, {full_disk}):
    if not (out / "encoder.json").exists() or not (out / "vocab.bpe").exists():
        assert main(argv) == 0
        assert sorted(path.name for path in out.iterdir()) == ["encoder.json", "vocab.bpe"], list(out.iterdir())
    assert load_tokenizer(out).n_vocab == 270
    shutil.rmtree(out)
    n += 1
print(n)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 8
