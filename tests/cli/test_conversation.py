"""`picogpt` on a terminal: a text that is written together, and the commands of the conversation."""

from __future__ import annotations

import os
import pty
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from picogpt import PicoGPTError, pretrained
from picogpt.cli import conversation, generate
from picogpt.cli.conversation import Conversation, converse
from picogpt.decoding.options import SAMPLING_OPTIONS

ROOT = Path(__file__).parents[2]
MODEL = pretrained.load("shakespeare")


def make(*options: str) -> Conversation:
    args = generate.parser().parse_args(["--model", "shakespeare", "-n", "6", *options])
    return Conversation(args, MODEL, {option.name: getattr(args, option.name) for option in SAMPLING_OPTIONS})


def written(talk: Conversation, capsys: pytest.CaptureFixture[str], *lines: str) -> list[str]:
    """What each line has the model write."""
    capsys.readouterr()
    texts = []
    for line in lines:
        talk.obey(line)
        texts.append(capsys.readouterr().out)
    return texts


def test_the_text_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    """Each continuation is the one of the whole text so far; a line begins a new one unless it begins with a space."""
    talk = make("-t", "0")
    first, second, third = written(talk, capsys, "ROMEO: My", " king and", "")
    assert first == MODEL.generate("ROMEO: My", 6)
    assert second == MODEL.generate(f"ROMEO: My{first} king and", 6)
    assert third == MODEL.generate(f"ROMEO: My{first} king and{second}", 6)
    (fourth,) = written(talk, capsys, "JULIET: O")
    assert fourth == MODEL.generate(f"ROMEO: My{first} king and{second}{third}\nJULIET: O", 6)
    assert talk.text == f"ROMEO: My{first} king and{second}{third}\nJULIET: O{fourth}"
    (fifth,) = written(talk, capsys, "/new", "ROMEO: My")[1:]
    assert fifth == first
    talk = make("-t", "0")
    talk.turns = ["A line\n"]
    talk.obey("JULIET:")
    assert talk.text.startswith("A line\nJULIET:")


def test_it_is_sampled_from_a_fixed_seed_unless_something_else_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The first text is that of the command line's options; the next is another draw."""
    (text,) = written(make(), capsys, "ROMEO:")
    assert text == MODEL.generate("ROMEO:", 6, temperature=conversation.TEMPERATURE, seed=conversation.SEED)
    (text,) = written(make("-s", "5", "--top-k", "9"), capsys, "ROMEO:")
    assert text == MODEL.generate("ROMEO:", 6, top_k=9, seed=5)
    talk = make("-n", "20")
    first, _, again = written(talk, capsys, "ROMEO:", "/undo", "ROMEO:")
    assert first != again
    _, _, reseeded = written(talk, capsys, "/new", f"/seed {conversation.SEED}", "ROMEO:")
    assert reseeded == first


def test_options_change_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    talk = make()
    talk.obey("/temperature 0")
    (text,) = written(talk, capsys, "ROMEO: My")
    assert text == MODEL.generate("ROMEO: My", 6)
    talk.obey("/top-k")
    talk.obey("/top-k 3")
    talk.obey("/top_k")
    talk.obey("/temperature off")
    assert capsys.readouterr().err.splitlines() == ["top_k is off", "top_k is 3"]
    assert (talk.chosen["top_k"], talk.chosen["temperature"]) == (3, None)
    talk.obey("/n 2")
    (text,) = written(talk, capsys, "ROMEO:")
    assert len(MODEL.encoder.encode(text)) <= 2


def test_undo_takes_back_a_line_and_its_continuation(capsys: pytest.CaptureFixture[str]) -> None:
    talk = make()
    (first,) = written(talk, capsys, "ROMEO:")
    talk.obey("JULIET:")
    talk.obey("/undo")
    assert talk.text == "ROMEO:" + first
    assert repr(talk.text)[1:] in capsys.readouterr().err
    talk.obey("/undo")
    assert talk.text == ""
    assert "the text is empty" in capsys.readouterr().err


def test_the_text_is_saved_and_nothing_else_overwritten(tmp_path: Path) -> None:
    path, other = tmp_path / "a text.txt", tmp_path / "other"
    other.write_text("kept")
    talk = make()
    talk.obey("Café 🙂")
    talk.obey(f"/save {path}")
    assert path.read_bytes().decode() == talk.text
    talk.obey("")
    talk.obey(f"/save {path}")
    assert path.read_bytes().decode() == talk.text
    with pytest.raises(PicoGPTError, match="exists already"):
        talk.obey(f"/save {other}")
    with pytest.raises(PicoGPTError, match="cannot write"):
        talk.obey(f"/save {other / 'below a file'}")
    assert other.read_text() == "kept"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/nonsense", "there is no /nonsense; /help lists what there is"),
        ("/", "there is no /; /help"),
        ("/undo", "nothing to take back"),
        ("/save", "say where"),
        ("/seed x", "'x' is not a whole number"),
        ("/seed -1", "the seed must be 0 or more"),
        ("/n", "'' is not a whole number"),
        ("/temperature hot", "'hot' is not a number"),
        ("/temperature 1e-38", "temperature must be 0 or from 1e-10"),
        ("/top-p 2", "top_p must be above 0"),
        ("/ban 3", "there is no /ban"),
        ("<|endoftext|>", "--special token"),
        ("a\udcffb", "the line is not UTF-8: byte 0xff"),
    ],
)
def test_mistakes_change_nothing(line: str, message: str) -> None:
    talk = make()
    chosen = dict(talk.chosen)
    with pytest.raises(PicoGPTError, match=re.escape(message)):
        talk.obey(line)
    assert (talk.text, talk.chosen) == ("", chosen)


def test_a_long_text_slides_and_that_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The model sees the last half of its context, as `--slide` has it."""
    talk = make("-t", "0")
    text = "To be or not to be. " * 60
    talk.obey(text)
    out, err = capsys.readouterr()
    n_ctx = MODEL.hparams["n_ctx"]
    ids = MODEL.encoder.encode(text)[-n_ctx // 2 :]
    assert out == MODEL.generate(MODEL.encoder.decode(ids), 6)
    assert err == f"picogpt: from here on the model sees no more than the last {n_ctx} tokens\n"
    talk.obey("And")
    assert capsys.readouterr().err == ""


def test_special_tokens_that_the_model_wrote_are_read_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --ignore-eos its text may have <|endoftext|> in it, of which `--special` says nothing."""
    talk = make("--ignore-eos")
    talk.turns = ["<|endoftext|>"]
    assert talk.window(talk.text) == list(MODEL.encoder.eos_tokens)
    assert len(make("--special", "text").window("<|endoftext|>")) > 1


def test_what_is_put_before_every_text_stands_before_a_conversation() -> None:
    talk = make()
    talk.model = pretrained.load(ROOT / "tests" / "data" / "unigram")
    assert talk.window("to be") == talk.model.prompt_ids("to be")
    assert talk.window("to be")[0] == talk.model.encoder.begin_token


def test_an_error_while_writing_takes_the_line_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Iterator[str]:
        raise PicoGPTError("weights are not finite")

    talk = make()
    talk.obey("ROMEO:")
    text = talk.text
    monkeypatch.setattr(conversation, "show", fail)
    with pytest.raises(PicoGPTError):
        talk.obey("JULIET:")
    assert talk.text == text


def test_ctrl_c_at_the_prompt_drops_the_line_and_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: a signal that comes just before another one waits for input would not wake it."""
    lines: Iterator[str | None] = iter([None, "ROMEO:", None, "quit"])

    def typed(*shown: str) -> str:
        line = next(lines)
        if line is None:
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr("builtins.input", typed)
    args = generate.parser().parse_args(["-n", "3"])
    converse(args, MODEL, {option.name: None for option in SAMPLING_OPTIONS})
    captured = capsys.readouterr()
    assert captured.out
    assert captured.err.count("(Ctrl-D ends)") == 2


class Terminal:
    """picogpt on a terminal of 80 columns, which it has for everything or for what is typed alone."""

    def __init__(self, *arguments: str, home: Path, all_of_it: bool = True) -> None:
        self.master, theirs = pty.openpty()
        out = theirs if all_of_it else subprocess.PIPE
        env = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "XDG_STATE_HOME": str(home), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "picogpt", "--model", "shakespeare", *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=out, stderr=out, env=env, cwd=home, start_new_session=True
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> str:
        """What comes up to and with `text`, which must not have been seen yet."""
        while text not in self.seen:
            new = self.read()
            assert new, f"{text!r} has not come: {self.seen!r}"
            self.seen += new
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def read(self) -> str:
        try:
            return os.read(self.master, 1 << 16).decode(errors="replace").replace("\r\n", "\n")
        except OSError:  # nobody has the other end any more
            return ""

    def end(self) -> int:
        while self.read():
            pass
        return self.process.wait(timeout=60)


@contextmanager
def terminal(*arguments: str, home: Path) -> Iterator[Terminal]:
    it = Terminal(*arguments, home=home)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.wait()
        os.close(it.master)


def test_a_conversation_on_a_terminal(tmp_path: Path) -> None:
    """Written together, Ctrl-C keeps what there is, history is private and there the next time."""
    with terminal("-n", "1000000", "--ignore-eos", "-t", "0", home=tmp_path) as it:
        assert max(map(len, it.wait_for("> ").splitlines())) <= 80
        it.type("ROMEO: My\n")
        it.wait_for(MODEL.generate("ROMEO: My", 8))
        it.process.send_signal(signal.SIGINT)
        it.wait_for("\n> ")
        it.type("/save text.txt\n")
        it.wait_for("characters are in text.txt\n> ")
        it.type("/help\n")
        assert max(map(len, it.wait_for("or quit, exit, Ctrl-D\n> ").splitlines())) <= 80
        it.type("quit\n")
        assert it.end() == 0
    text = (tmp_path / "text.txt").read_text(encoding="utf-8")
    assert text.startswith("ROMEO: My" + MODEL.generate("ROMEO: My", 8))
    history = tmp_path / "picogpt" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    assert "ROMEO: My\n" in history.read_text(encoding="utf-8")
    with terminal("-n", "3", home=tmp_path) as it:
        it.wait_for("> ")
        it.type("\x10")  # Ctrl-P: the line before
        it.wait_for("quit")
        it.type("\n")
        assert it.end() == 0


def test_questions_go_to_stderr_where_stdout_is_a_pipe(tmp_path: Path) -> None:
    """And a mistake does not end the conversation."""
    it = Terminal("-n", "6", "-t", "0", home=tmp_path, all_of_it=False)
    os.write(it.master, b"ROMEO: My\n<|endoftext|>\n\xff\n/new\nROMEO: My\n\x04")
    out, err = it.process.communicate(timeout=60)
    os.close(it.master)
    assert it.process.returncode == 0
    assert out.decode() == MODEL.generate("ROMEO: My", 6) * 2
    assert b"--special token" in err
    assert b"the line is not UTF-8" in err


def test_what_is_printed_when_it_is_whole_needs_a_prompt(tmp_path: Path) -> None:
    it = Terminal("--json", home=tmp_path, all_of_it=False)
    out, err = it.process.communicate(timeout=60)
    os.close(it.master)
    assert (it.process.returncode, out) == (2, b"")
    assert err.startswith(b"picogpt: there is no prompt for --json")
