"""What every tokenizer can do, and the little that they share."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from picogpt.errors import PicoGPTError
from picogpt.files import write_texts
from picogpt.tokenizers.template import NOTHING, Around

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"
VOCABULARY_SIZE = 1 << 24  # bytes that a file of a vocabulary may have; GPT-2's has one million
SpecialTokens = Literal["all"] | Collection[str]  # some of a tokenizer's special tokens
Layout = Literal["openai", "huggingface"]  # whose names the files of a vocabulary have


class Tokenizer(Protocol):
    """Text to ids and back. Ids are 0 to n_vocab − 1. `TokenIds` has what is said of them here.

    What an id adds to the decoded bytes may depend on the id before it (words are joined by spaces) and on nothing
    else, so that text can be shown while its ids are still being chosen.
    """

    n_vocab: int  # how many ids there are
    begin_token: int | None  # the id that is put before every text, a prompt as well; of most vocabularies none
    bos_token: int | None  # the id that stands before a text that is scored, and in place of an empty one
    eos_tokens: tuple[int, ...]  # the ids that end one

    @property
    def unused(self) -> range:
        """The ids without a token, which decode to nothing: a model may have more ids than its vocabulary."""

    @property
    def eot_token(self) -> int | None:
        """The id of `<|endoftext|>`, or None where the vocabulary has none."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The tokens that are never made of ordinary text, and their ids.

        Where words are tokens, `<|endoftext|>` is a word like any other, so it is not among these.
        """

    def encode(
        self, text: str, allowed_special: SpecialTokens = (), disallowed_special: SpecialTokens = "all"
    ) -> list[int]:
        """The ids of `text`. Special tokens in it become their id, are an error, or are ordinary text.

        They become their id if they are allowed. They raise `PicoGPTError` if they are disallowed, where "all" stands
        for all that are not allowed. The rest is ordinary text. The arguments are tiktoken's. Also raises
        `PicoGPTError` for text that the vocabulary cannot express.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """Bytes that are not UTF-8 become U+FFFD. Raises `PicoGPTError` for ids outside the vocabulary."""

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes. Raises `PicoGPTError` for ids outside the vocabulary."""

    def save(self, directory: str | Path, layout: Layout = "openai") -> None:
        """Write the files from which `load_tokenizer(directory)` makes this tokenizer again.

        `layout` chooses their names where OpenAI and Hugging Face have different ones.
        """


def write_vocabulary(texts: Mapping[Path, str]) -> None:
    """Write a vocabulary's files; raises `PicoGPTError` for one that would be too large to be read again."""
    for path, text in texts.items():
        if (size := len(text.encode())) > VOCABULARY_SIZE:
            raise PicoGPTError(f"{path} would have {size:,} bytes; choose a vocabulary of at most {VOCABULARY_SIZE:,}")
    write_texts(texts)


class TokenIds:
    """What a tokenizer knows of its ids but for their text.

    Until files say otherwise, `<|endoftext|>` stands before a text and after it, or the tokens that the vocabulary puts
    `around` one, and every id has a token. `added` are the ids that the model may lack: of tokens that no ordinary text
    has.
    """

    def __init__(self, n_tokens: int, added: Collection[int], eot_token: int | None, around: Around = NOTHING) -> None:
        self.n_tokens = self.n_vocab = n_tokens
        self.added_ids = frozenset(added)
        end = eot_token if around.end is None else around.end
        self.eos_tokens: tuple[int, ...] = () if end is None else (end,)
        self.begin_token = around.begin
        self.begin_text()

    @property
    def unused(self) -> range:
        return range(self.n_tokens, self.n_vocab)

    def fit(self, n_vocab: int) -> None:
        """Take over the number of a model's ids; raises `PicoGPTError` where it is too small for the vocabulary."""
        if not self.added_ids.issuperset(range(n_vocab, self.n_tokens)):
            raise PicoGPTError(
                f"a vocabulary of {self.n_tokens} tokens, and a model that knows {n_vocab}; "
                f"the files do not belong together"
            )
        self.n_vocab = max(self.n_tokens, n_vocab)
        self.eos_tokens = tuple(token for token in self.eos_tokens if token < n_vocab)
        if self.begin_token is not None and self.begin_token >= n_vocab:
            self.begin_token = None
        self.begin_text()

    def begin_text(self, token: int | None = None) -> None:
        """Let the token that is put before every text stand there, or else this one, or else one that ends a text."""
        self.bos_token = next((i for i in (self.begin_token, token, *self.eos_tokens) if i is not None), None)

    def used(self, ids: Iterable[int]) -> list[int]:
        """The ids that have a token; raises `PicoGPTError` for one outside 0 to n_vocab − 1."""
        ids = check_ids(ids, self.n_vocab)
        return [i for i in ids if i < self.n_tokens] if self.unused else ids


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


def cut_at_special_tokens(
    text: str,
    special_tokens: Collection[str],
    allowed_special: SpecialTokens = (),
    disallowed_special: SpecialTokens = "all",
    added_tokens: Collection[str] = (),
) -> list[str]:
    """Ordinary text and allowed special tokens in turn; the first part and the last are ordinary text.

    `added_tokens` are always allowed. Where several begin at the same place, the longest is meant. Lone surrogates
    become U+FFFD. Raises `PicoGPTError` where the text has a disallowed token.
    """
    special = set(special_tokens)
    allowed = special if allowed_special == "all" else special & set(allowed_special)
    disallowed = special - allowed if disallowed_special == "all" else set(disallowed_special)
    for token in disallowed:
        if (place := text.find(token)) >= 0:
            raise PicoGPTError(
                f"the text has the special token {token} at character {place + 1}; "
                f"allow it (allowed_special), or have it read as ordinary text (disallowed_special=())"
            )
    text = without_surrogates(text)
    if not (allowed or added_tokens):
        return [text]
    longest_first = sorted(allowed.union(added_tokens), key=len, reverse=True)
    return re.split(f"({'|'.join(map(re.escape, longest_first))})", text)


class TokenBytes:
    """What each token adds to the text, one by one; joined, the pieces are `tokenizer.decode_bytes(ids)`.

    After the ids of a `prompt` they are what is added to its text.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self.before = list(prompt[-1:])  # the last token, on which the next one's bytes may depend

    def of(self, token: int) -> bytes:
        """What the token would add."""
        known = len(self.tokenizer.decode_bytes(self.before))
        return self.tokenizer.decode_bytes([*self.before, token])[known:]

    def add(self, token: int) -> bytes:
        added = self.of(token)
        if token not in self.tokenizer.unused:
            self.before = [token]
        return added


def special_token_in(tokenizer: Tokenizer, text: str) -> str | None:
    """A special token that the text has, if any."""
    return next((token for token in tokenizer.special_tokens if token in text), None)


def token_bytes(tokenizer: Tokenizer, ids: Iterable[int], prompt: Sequence[int] = ()) -> Iterator[bytes]:
    """`TokenBytes` of all ids, as they come."""
    return map(TokenBytes(tokenizer, prompt).add, ids)


def whole_characters() -> codecs.IncrementalDecoder:
    """A decoder of UTF-8 that holds a character back until its last byte is there; what is none becomes U+FFFD."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


def begun(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """The ids after the token that is put before every text, where the vocabulary has one."""
    return [*([] if tokenizer.begin_token is None else [tokenizer.begin_token]), *ids]


def inner_bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """What a token adds within a text, where another stands before it."""
    return next(token_bytes(tokenizer, [token], [token]))


def stream_text(tokenizer: Tokenizer, ids: Iterable[int], prompt: Sequence[int] = ()) -> Iterator[str]:
    """The text of `ids`, piece by piece as they come; joined, the pieces are `tokenizer.decode(ids)`.

    After the ids of a `prompt` they are what is added to its text. A character is held back until its last byte is
    there, so no piece ends in half a character.
    """
    decoder = whole_characters()
    for added in token_bytes(tokenizer, ids, prompt):
        if piece := decoder.decode(added):
            yield piece
    if rest := decoder.decode(b"", final=True):
        yield rest
