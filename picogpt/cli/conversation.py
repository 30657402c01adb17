"""`picogpt` on a terminal: a text that you and the model write together, line by line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.cli.generate import make_options
from picogpt.cli.text import check_argument, check_special, special_options
from picogpt.cli.writing import Stream, show
from picogpt.decoding.options import SAMPLING_OPTIONS
from picogpt.decoding.ranges import check_range
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.pretrained import GPT2

# The most likely token each time soon repeats itself, most of all with a small model. What is drawn instead is the same
# in every conversation, until someone says otherwise.
TEMPERATURE, SEED = 0.6, 27
GREETING = """\
Begin a text; the model continues it, and goes on with it after every line.
Return alone asks for more, /help lists what else there is, Ctrl-D ends."""
HELP = f"""\
A line continues the text: in the same line if it begins with a space, else in a
new one. Return alone asks for more; Ctrl-C stops the model and keeps its words.

/new           begin another text
/undo          take the last line back, with what the model wrote after it
/save FILE     write the text into a file
/n N           at most N tokens at a time
/seed N        draw anew, beginning with this seed
/NAME VALUE    a sampling option, such as /temperature 0.8 or /top-k 40;
               {TEMPERATURE} is the temperature at first, /temperature 0 takes the most
               likely token, and `off` stands for no value
/quit          or quit, exit, Ctrl-D"""
N_REMEMBERED = 1000  # lines of earlier conversations
N_SHOWN = 60  # characters of the text's end, after /undo


def converse(args: argparse.Namespace, model: GPT2, chosen: Mapping[str, Any]) -> None:
    """Ask for lines until the end of input. Ctrl-C ends what is being written or typed, and no more than that."""
    from picogpt.performance.layout import for_decoding

    model = model._replace(params=for_decoding(model.params))  # each continuation is short, all of them together not
    conversation = Conversation(args, model, chosen)
    print(GREETING, file=sys.stderr)
    with history():
        while True:
            try:
                line = ask()
                if line is None or line.strip() in ("quit", "exit", "/quit", "/exit"):
                    return
                conversation.obey(line)
            except PicoGPTError as error:
                print(f"picogpt: {error}", file=sys.stderr)
            except KeyboardInterrupt:
                continue


def ask() -> str | None:
    """The next line, or None at the end of input."""
    try:
        if sys.stdout.isatty():
            return input("> ")
        print("> ", end="", file=sys.stderr, flush=True)
        return input()
    except EOFError:
        print(file=sys.stderr)
        return None
    except KeyboardInterrupt:
        print("\n(Ctrl-D ends)", file=sys.stderr)
        raise
    except UnicodeDecodeError:
        raise PicoGPTError("the line is not UTF-8") from None


@contextmanager
def history() -> Iterator[None]:
    """Line editing, with the lines of earlier conversations, which only their user may read."""
    try:
        import readline
    except ImportError:
        yield
        return
    from picogpt.places import history_file

    path = history_file()
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(N_REMEMBERED)
    try:
        yield
    finally:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(path)


class Conversation:
    """A text, how it is continued, and the commands that change either."""

    def __init__(self, args: argparse.Namespace, model: GPT2, chosen: Mapping[str, Any]) -> None:
        import numpy as np

        self.args = argparse.Namespace(**{**vars(args), "slide": True})
        self.model = model
        self.chosen = dict(chosen)
        if not any(self.chosen[option.name] is not None for option in SAMPLING_OPTIONS if option.samples):
            self.chosen["temperature"] = TEMPERATURE
        self.rng = np.random.default_rng(SEED if args.seed is None else args.seed)
        self.turns: list[str] = []  # each line, with what was written after it
        self.saved: set[Path] = set()
        self.has_slid = False
        self.commands: dict[str, Callable[[str], None]] = {
            name: getattr(self, name) for name in ("new", "undo", "save", "n", "seed", "help")
        }

    @property
    def text(self) -> str:
        return "".join(self.turns)

    def obey(self, line: str) -> None:
        """Do what a line says; raises `PicoGPTError` where that cannot be done, and then nothing has changed."""
        if not line.startswith("/"):
            return self.write(check_argument(line, "the line"))
        name, _, value = line[1:].strip().partition(" ")
        if name in self.commands:
            return self.commands[name](value.strip())
        return self.set_option(name.replace("-", "_"), value.strip())

    def write(self, line: str) -> None:
        """Continue the text, after `line`."""
        check_special(self.model.encoder, line, self.args.special)
        begins_anew = line and self.text and not line.startswith(" ") and not self.text.endswith("\n")
        typed = "\n" + line if begins_anew else line
        ids = self.window(self.text + typed)
        options = make_options(self.args, self.model, self.chosen)
        options["rng"] = self.rng  # goes on from turn to turn
        self.turns.append(typed)
        stream = Stream(ids, self.args, self.model, options)
        try:
            show(chain([typed] if self.args.echo else [], self.kept(stream)))
        except PicoGPTError:
            self.turns.pop()
            raise
        if self.args.stats:
            print(stream.statistics(), file=sys.stderr)

    def kept(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces, which become part of the text before anyone sees them."""
        for piece in pieces:
            self.turns[-1] += piece
            yield piece

    def window(self, text: str) -> list[int]:
        """The ids of the text; where that fills the context, of its end: half a context, as when decoding slides."""
        from picogpt.tokenizers import begun

        n_ctx = self.model.hparams["n_ctx"]
        # what was typed has been checked; if there is a special token, the model wrote it (--ignore-eos)
        ids = begun(
            self.model.encoder, self.model.encoder.encode(text, **special_options(self.args.special or "token"))
        )
        if len(ids) < n_ctx:
            return ids or self.model.prompt_ids("")
        if not self.has_slid:
            self.has_slid = True
            print(f"picogpt: from here on the model sees no more than the last {n_ctx} tokens", file=sys.stderr)
        return ids[-max(1, n_ctx // 2) :]

    def new(self, value: str) -> None:
        self.turns.clear()
        self.has_slid = False

    def undo(self, value: str) -> None:
        if not self.turns:
            raise PicoGPTError("there is nothing to take back")
        self.turns.pop()
        print(f"the text ends: …{self.text[-N_SHOWN:]!r}" if self.turns else "the text is empty", file=sys.stderr)

    def save(self, value: str) -> None:
        if not value:
            raise PicoGPTError("say where: /save FILE")
        path = Path(value).expanduser()
        if path.exists() and path not in self.saved:
            raise PicoGPTError(f"{path} exists already; choose another name")
        from picogpt.files import write_text

        write_text(path, self.text)
        self.saved.add(path)
        print(f"{len(self.text)} characters are in {path}", file=sys.stderr)

    def n(self, value: str) -> None:
        n_tokens = number(value, int)
        check_range("the number of tokens", n_tokens)
        self.args.n_tokens = n_tokens

    def seed(self, value: str) -> None:
        import numpy as np

        seed = number(value, int)
        check_range("the seed", seed)
        self.rng = np.random.default_rng(seed)

    def help(self, value: str) -> None:
        print(HELP, file=sys.stderr)

    def set_option(self, name: str, value: str) -> None:
        """Give a sampling option another value; without one, say which it has."""
        options = {option.name: option for option in SAMPLING_OPTIONS if not option.repeats}
        if name not in options:
            raise PicoGPTError(f"there is no /{name.replace('_', '-')}; /help lists what there is")
        if not value:
            print(f"{name} is {'off' if self.chosen[name] is None else self.chosen[name]}", file=sys.stderr)
        elif value == "off":
            self.chosen[name] = None
        else:
            chosen = number(value, options[name].type)
            options[name].make(chosen)  # checks its range
            self.chosen[name] = chosen


def number(value: str, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise PicoGPTError(f"{value!r} is not {'a whole number' if kind is int else 'a number'}") from None
