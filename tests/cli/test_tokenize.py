"""`picogpt tokenize`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from picogpt.cli import main
from picogpt.tokenizers import CharTokenizer, WordTokenizer


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """What the command prints; it must say nothing on standard error."""
    assert main(["tokenize", *map(str, argv)]) == 0
    out, err = capsys.readouterr()
    assert not err
    return out


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))


def test_pieces_ids_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """GPT-2's tokens, without any model being there."""
    assert run(capsys, "Not all heroes wear capes.") == (
        "Not| all| heroes| wear| cap|es|.\n3673 477 10281 5806 1451 274 13\n7 tokens · 26 characters · 26 bytes\n"
    )


def test_ids_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "a<|endoftext|>b", "--ids") == "64 50256 65\n"
    assert run(capsys, "", "--ids") == "\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"n_tokens": 3, "n_characters": 3, "n_bytes": 6}
    expected = {**counts, "ids": [65, 30325, 222], "tokens": ["b", " \ufffd", "\ufffd"]}
    assert json.loads(run(capsys, "b 😀", "--json")) == expected


def test_what_has_no_picture_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Parts of characters, and control characters, which could otherwise command the terminal."""
    out = run(capsys, "é 😀\x1b[2J\t.\nx\n").splitlines()
    assert out[:2] == ["é| \\xf0\\x9f\\x98|\\x80|\\x1b|[|2|J|\\t|.|\\n", "|x|\\n"]
    assert len(out) == 4


@pytest.mark.parametrize("no_colour", [None, "1"])
def test_colours_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_colour: str | None
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = run(capsys, "Not all\nheroes")
    assert ("\x1b[" in out) is (no_colour is None)
    if no_colour is None:
        assert all(line.count("\x1b[0m") == line.count("\x1b[30;") for line in out.splitlines())


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as UTF-8, whatever the locale, with the newline at its end."""
    pipe(monkeypatch, "é\n".encode())
    assert run(capsys, "--ids") == "2634 198\n"


def test_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\r\nb")
    assert run(capsys, "--file", tmp_path / "text", "--ids") == "64 201 198 65\n"


def test_other_tokenizers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    WordTokenizer.from_text("you like tea?", ["<|unk|>"]).save(tmp_path)
    assert run(capsys, "tea, you like?", "--model", tmp_path).splitlines()[:2] == [
        "tea| <|unk|>| you| like|?",
        "2 4 3 1 0",
    ]


@pytest.mark.parametrize(
    ("data", "place"),
    [(b"\xff", "0xff at offset 0"), (b"ab\xc3", "0xc3 at offset 2"), (b"\xc3\xa9\x80", "0x80 at offset 2")],
)
def test_what_is_not_utf8_is_told_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes, place: str
) -> None:
    (tmp_path / "text").write_bytes(data)
    pipe(monkeypatch, data)
    argument = data.decode(errors="surrogateescape")  # as it comes from the operating system
    for argv in [], ["--file", str(tmp_path / "text")], [argument]:
        assert main(["tokenize", *argv]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert f"is not UTF-8: byte {place}" in err
        assert err.count("\n") == 1


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    CharTokenizer.from_text("abc").save(tmp_path / "char")
    (tmp_path / "empty").mkdir()
    for argv, message in [
        (["x", "--file", "y"], "give a TEXT or a --file, not both"),
        (["--file", str(tmp_path / "nothing")], f"cannot read {tmp_path / 'nothing'}: No such file or directory"),
        (["--file", str(tmp_path)], f"cannot read {tmp_path}: Is a directory"),
        (["x", "--model", "nothing"], "there is no model 'nothing'"),
        (["x", "--model", str(tmp_path / "empty")], f"no vocabulary in {tmp_path / 'empty'}"),
        (["abx", "--model", str(tmp_path / "char")], "'x' (character 3 of 3) is not in the vocabulary"),
    ]:
        assert main(["tokenize", *argv]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith(f"picogpt: {message}")
        assert err.count("\n") == 1


def test_no_text_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not sit and wait without a word."""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["tokenize"]) == 2
    assert "there is no text" in capsys.readouterr().err
