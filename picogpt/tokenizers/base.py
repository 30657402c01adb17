"""What every tokenizer can do, and the little that they share."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from picogpt.errors import PicoGPTError

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"


class Tokenizer(Protocol):
    """Text to ids and back. Ids are 0 to n_vocab − 1.

    What an id adds to the decoded bytes may depend on the id before it (words are joined by spaces) and on nothing
    else, so that text can be shown while its ids are still being chosen.
    """

    @property
    def n_vocab(self) -> int:
        """How many ids there are."""

    @property
    def eot_token(self) -> int | None:
        """The id of `<|endoftext|>`, or None where the vocabulary has none."""

    def encode(self, text: str) -> list[int]:
        """Raises `PicoGPTError` for text that the vocabulary cannot express."""

    def decode(self, ids: Iterable[int]) -> str:
        """Bytes that are not UTF-8 become U+FFFD. Raises `PicoGPTError` for ids outside the vocabulary."""

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes. Raises `PicoGPTError` for ids outside the vocabulary."""

    def save(self, directory: str | Path) -> None:
        """Write the files from which `load_tokenizer(directory)` makes this tokenizer again."""


def check_ids(ids: Iterable[int], n_vocab: int) -> list[int]:
    """The ids as a list; raises `PicoGPTError` for one outside 0 to n_vocab − 1."""
    ids = list(ids)
    if ids and not 0 <= min(ids) <= max(ids) < n_vocab:
        place, wrong = next((place, i) for place, i in enumerate(ids) if not 0 <= i < n_vocab)
        raise PicoGPTError(
            f"token id {wrong} (number {place + 1} of {len(ids)}) is outside the vocabulary, "
            f"which has ids 0 to {n_vocab - 1}"
        )
    return ids


def without_surrogates(text: str) -> str:
    """`text`, with U+FFFD for surrogates that stand alone: UTF-8 cannot express them. tiktoken does the same."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_special(token: str) -> bool:
    """Whether `token` stands in brackets, <like this>, <|like this|> or [like this].

    All special tokens do. It tells them from tokens that nothing makes because a vocabulary file is damaged.
    """
    return len(token) > 2 and (token[0], token[-1]) in {("<", ">"), ("[", "]")}


def check_special_tokens(tokens: Sequence[str]) -> None:
    """Raise `PicoGPTError` for a token that does not look special, or is there twice."""
    for token in tokens:
        if not is_special(token) or tokens.count(token) > 1:
            raise PicoGPTError(f"special token {token!r}: write each one once, and like <this>, <|this|> or [this]")


def stream_text(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    """The text of `ids`, piece by piece as they come; joined, the pieces are `tokenizer.decode(ids)`.

    A character is held back until its last byte is there, so no piece ends in half a character.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    before: list[int] = []
    for token in ids:
        known = len(tokenizer.decode_bytes(before))
        if piece := decoder.decode(tokenizer.decode_bytes([*before, token])[known:]):
            yield piece
        before = [token]
    if rest := decoder.decode(b"", final=True):
        yield rest
