"""What the tokenizers have in common that only look units up: a vocabulary, and how text is split and joined again."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import ClassVar, Self

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_object
from picogpt.tokenizers import ends
from picogpt.tokenizers.base import (
    END_OF_TEXT,
    UNKNOWN,
    VOCABULARY_SIZE,
    Layout,
    SpecialTokens,
    TokenIds,
    check_special_tokens,
    cut_at_special_tokens,
    is_special,
    without_surrogates,
    write_vocabulary,
)

FILE = "picogpt_tokenizer.json"  # {"kind": …, "vocab": [the tokens, in the order of their ids]}


class VocabularyTokenizer(TokenIds, ABC):
    """A tokenizer that splits text into units and looks each one up. A token's id is its place in `vocab`.

    Where `<|unk|>` is in the vocabulary it stands for every unit that is not; elsewhere such a unit is an error.
    `special_tokens` are those that are no unit, as `<|endoftext|>` is no character.
    """

    kind: ClassVar[str]  # in the file
    unit: ClassVar[str]  # in messages

    def __init__(self, vocab: Iterable[str]) -> None:
        self.vocab = list(vocab)
        self.special_tokens: dict[str, int] = {}
        self._ids = {token: i for i, token in enumerate(self.vocab)}
        if not self.vocab:
            raise PicoGPTError("the vocabulary is empty")
        for i, token in enumerate(self.vocab):
            if self._ids[token] != i:
                raise PicoGPTError(
                    f"{shown(token)} is in the vocabulary twice, with the ids {i} and {self._ids[token]}"
                )
            if self.split(without_surrogates(token)) != [token]:
                if not is_special(token):
                    raise PicoGPTError(f"{shown(token)} (id {i}) is not a {self.unit}, so no text could have it")
                self.special_tokens[token] = i
        super().__init__(len(self.vocab), self.special_tokens.values(), self.eot_token)
        self._joined = [self.separator(token) + token for token in self.vocab]

    @classmethod
    def from_text(cls, text: str, special_tokens: Sequence[str] = ()) -> Self:
        """The vocabulary of all units in `text`, sorted; the special tokens come after them."""
        return cls.from_texts([text], special_tokens)

    @classmethod
    def from_texts(cls, texts: Iterable[str], special_tokens: Sequence[str] = ()) -> Self:
        """As `from_text`, for a text that comes in parts; no part may end within a unit."""
        check_special_tokens(special_tokens)
        units: set[str] = set()
        for text in texts:
            units.update(cls.split(without_surrogates(text)))
        if not units:
            raise PicoGPTError("there is no text to take a vocabulary from")
        return cls([*sorted(units.difference(special_tokens)), *special_tokens])

    @staticmethod
    @abstractmethod
    def split(text: str) -> list[str]:
        """The units of `text`."""

    @staticmethod
    @abstractmethod
    def separator(token: str) -> str:
        """What stands before this token in decoded text, unless it is the first."""

    @property
    def eot_token(self) -> int | None:
        return self._ids.get(END_OF_TEXT)

    def encode(
        self, text: str, allowed_special: SpecialTokens = (), disallowed_special: SpecialTokens = "all"
    ) -> list[int]:
        """The id of each unit; raises `PicoGPTError` for one that is not in the vocabulary, unless `<|unk|>` is.

        Special tokens that are allowed are units too; those that are disallowed raise `PicoGPTError`, as in
        `Tokenizer.encode`.
        """
        parts = cut_at_special_tokens(text, self.special_tokens, allowed_special, disallowed_special)
        # the special tokens stand at the odd places
        units = list(chain.from_iterable([part] if i % 2 else self.split(part) for i, part in enumerate(parts)))
        if (unknown := self._ids.get(UNKNOWN)) is not None:
            return [self._ids.get(unit, unknown) for unit in units]
        try:
            return [self._ids[unit] for unit in units]
        except KeyError as error:
            unit = error.args[0]
            raise PicoGPTError(
                f"{unit!r} ({self.unit} {units.index(unit) + 1} of {len(units)}) is not in the vocabulary; "
                f"with {UNKNOWN} in it, it would become that"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; raises `PicoGPTError` for an id outside the vocabulary."""
        ids = self.used(ids)
        return "".join([*(self.vocab[i] for i in ids[:1]), *(self._joined[i] for i in ids[1:])])

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The text of `ids` in UTF-8."""
        return self.decode(ids).encode()

    def save(self, directory: str | Path, layout: Layout = "openai") -> None:
        """Write the vocabulary, one token a line, to picogpt_tokenizer.json, which is its name in either layout."""
        content = {"kind": self.kind, "vocab": self.vocab}
        write_vocabulary({Path(directory) / FILE: json.dumps(content, ensure_ascii=False, indent=0) + "\n"})
        ends.write(Path(directory), self)


def read_vocabulary(path: Path, kinds: Iterable[type[VocabularyTokenizer]]) -> VocabularyTokenizer:
    """The tokenizer that `save` wrote; raises `PicoGPTError`, naming the file, when it is damaged."""
    content = read_object(path, VOCABULARY_SIZE)
    by_kind = {tokenizer.kind: tokenizer for tokenizer in kinds}
    kind = by_kind.get(str(content.get("kind")))
    if kind is None:
        raise PicoGPTError(f'{path} should have a "kind" that is one of: {", ".join(by_kind)}')
    vocab = content.get("vocab")
    if not isinstance(vocab, list) or not all(isinstance(token, str) for token in vocab):
        raise PicoGPTError(f'{path} should have a "vocab" that is a list of strings')
    try:
        return kind(vocab)
    except PicoGPTError as error:
        raise PicoGPTError(f"{path}: {error}") from error
