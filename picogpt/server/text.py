"""One continuation as a client reads it: its text in whole characters, up to a stop string, and its tokens.

Text and tokens are held back together: a token is shown with the text that it belongs to, and those of a stop string
are not shown at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from picogpt.decoding.loop import FinishReason, Token
from picogpt.decoding.stopping import UntilStop
from picogpt.tokenizers import Tokenizer
from picogpt.tokenizers.base import TokenBytes, whole_characters

FINISH_REASONS = {"stop": "stop", "eos": "stop", "length": "length"}  # as OpenAI's API calls them
Top = Sequence[tuple[int, float]]


class Likely(NamedTuple):
    """A token that could stand at a place, and how likely."""

    name: str
    data: bytes
    logprob: float


class Entry(NamedTuple):
    """A token of the text."""

    name: str
    data: bytes
    offset: int  # of its first character in the text
    logprob: float | None
    top: list[Likely] | None  # the most likely ones, best first, and the token itself; None of a prompt's first token


class Text:
    """The text of one continuation while it is written; with `echo`, of the prompt before it.

    Without, what continues a `prompt` is what is added to its text.
    """

    def __init__(self, encoder: Tokenizer, stops: Sequence[str], offset: int = 0, prompt: Sequence[int] = ()) -> None:
        self.encoder, self.offset = encoder, offset  # the characters before what is shown
        self.bytes, self.characters = TokenBytes(encoder, prompt), whole_characters()
        self.until_stop = UntilStop(stops)
        self.n_read = self.n_shown = 0  # characters
        self.n_tokens = 0  # that were decoded
        self.held: list[Entry] = []
        self.finish_reason: str | None = None

    def echo(
        self, ids: Sequence[int], logprobs: Sequence[float | None], tops: Sequence[Top | None]
    ) -> tuple[str, list[Entry]]:
        """The prompt's text and tokens, which no stop string ends."""
        entries, pieces = [], []
        for token, logprob, top in zip(ids, logprobs, tops, strict=True):
            entries.append(self.entry(token, logprob, top))
            pieces.append(self.read(self.bytes.add(token)))
        self.n_shown = self.n_read
        return "".join(pieces), entries

    def add(self, token: Token) -> tuple[str, list[Entry]]:
        """What can be shown with this token that could not before; all of it when the token is the last."""
        self.n_tokens += 1
        self.held.append(self.entry(token.id, token.logprob, token.top))
        is_text = token.finish_reason != "eos"
        return self.show(self.read(self.bytes.add(token.id)) if is_text else "", token.finish_reason)

    def end(self) -> tuple[str, list[Entry]]:
        """What is left where no token said that it was the last: nothing could be written."""
        return self.show("", "length") if self.finish_reason is None else ("", [])

    def show(self, piece: str, reason: FinishReason | None) -> tuple[str, list[Entry]]:
        if reason is not None:
            piece += self.characters.decode(b"", final=True)
        shown = "" if self.until_stop.stopped else self.until_stop.add(piece)
        if reason is not None:
            self.finish_reason = FINISH_REASONS[reason]
            shown += self.until_stop.held
        self.n_shown += len(shown)
        if reason in ("eos", "length") and not self.until_stop.stopped:
            return shown, self.take(len(self.held))
        end = self.offset + self.n_shown
        return shown, self.take(sum(entry.offset < end for entry in self.held))

    def take(self, n: int) -> list[Entry]:
        taken, self.held = self.held[:n], self.held[n:]
        return taken

    def read(self, data: bytes) -> str:
        piece = self.characters.decode(data)
        self.n_read += len(piece)
        return piece

    def entry(self, token: int, logprob: float | None, top: Top | None) -> Entry:
        this = self.likely(token, 0.0 if logprob is None else logprob)
        likely = None
        if logprob is not None and top is not None:
            likely = [self.likely(*other) for other in top]
            likely += [this] if token not in dict(top) else []
        return Entry(this.name, this.data, self.offset + self.n_read, logprob, likely)

    def likely(self, token: int, logprob: float) -> Likely:
        """A token by the name that OpenAI's API gives it; what is no text goes by its bytes, or by its id."""
        data = self.bytes.of(token)
        if token in self.encoder.unused:
            return Likely(f"token_id:{token}", data, logprob)
        try:
            return Likely(data.decode(), data, logprob)
        except UnicodeDecodeError:
            return Likely("bytes:" + "".join(f"\\x{byte:02x}" for byte in data), data, logprob)
