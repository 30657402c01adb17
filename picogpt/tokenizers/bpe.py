"""Byte-level byte-pair encoding, as in GPT-2.

    encoder = ByteLevelBPE.gpt2()
    encoder.encode("Not all heroes wear capes.")  # [3673, 477, 10281, 5806, 1451, 274, 13]

Text is cut into words, a word into its UTF-8 bytes, and then the pair of neighbours that was learned first is merged,
everywhere in the word, until no two neighbours can be merged. There is a token for every byte, so any text can be
encoded, and decoding gives back exactly what was there.

Sources: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"; Radford et al. 2019,
section 2.2; `src/encoder.py` of openai/gpt-2, whose ids these are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal

import regex

from picogpt.errors import PicoGPTError
from picogpt.tokenizers.base import END_OF_TEXT, check_ids, is_special, without_surrogates
from picogpt.tokenizers.files import read_json, read_text, write_text

# A contraction's end, or letters, digits or other signs with the space before them, or white space. What is a letter
# or a digit is a matter of the Unicode version: libraries differ on characters that are newer than one of them.
WORD = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s+(?!\S)|\s")
WORD_END = regex.compile(r"\S(?=\s)")  # no word goes on behind this, whatever follows
CHUNK = 1 << 18  # characters that are cut into words at a time
CACHE = 1 << 20  # characters of words whose ids are remembered
SEPARATOR, MERGED_AWAY = -1, -2  # among ids, where there is none
NO_UTF8 = b"\xff"  # a byte that UTF-8 never uses

Layout = Literal["openai", "huggingface"]
FILES: dict[Layout, tuple[str, str]] = {
    "openai": ("encoder.json", "vocab.bpe"),
    "huggingface": ("vocab.json", "merges.txt"),
}


def byte_characters() -> dict[str, int]:
    """The visible character that stands for each byte in vocabulary files -> the byte, in the order of GPT-2's ids.

    Bytes that are visible in Latin-1 stand for themselves; the others follow as the characters from U+0100 on.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = sorted(set(range(256)) - set(visible))
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}


def read_vocab(path: Path) -> dict[str, int]:
    """Token -> id from a JSON file; raises `PicoGPTError` unless the ids are 0 to n − 1, each once."""
    vocab = read_json(path)
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise PicoGPTError(f"{path} should map tokens to whole numbers")
    names: dict[int, str] = {}
    for name, i in vocab.items():
        if not 0 <= i < len(vocab):
            raise PicoGPTError(f"{path}: {len(vocab)} tokens need the ids 0 to {len(vocab) - 1}, but {name!r} has {i}")
        if i in names:
            raise PicoGPTError(f"{path}: {names[i]!r} and {name!r} have the same id {i}")
        names[i] = name
    return vocab


def read_merges(path: Path) -> list[tuple[int, str, str]]:
    """(line number, left, right) for each merge in the file, in order; raises `PicoGPTError` for any other line."""
    merges = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text or (line == 1 and text.startswith("#version")):
            continue
        parts = text.split(" ")
        if len(parts) != 2 or not all(parts):
            raise PicoGPTError(f"{path}, line {line}: expected two tokens with a space between them, found {text!r}")
        merges.append((line, parts[0], parts[1]))
    return merges


def words(text: str) -> Iterator[list[str]]:
    """All of `text` cut into words, a chunk at a time, so that the list of words does not outgrow the text."""
    start = 0
    while start < len(text):
        end = match.end() if (match := WORD_END.search(text, start + CHUNK)) else len(text)
        yield WORD.findall(text[start:end])
        start = end


class ByteLevelBPE:
    """A byte-level BPE tokenizer.

    `tokens[id]` are a token's bytes. `merges` are pairs of ids, the first learned first; a pair's bytes together are
    a token too. `special_tokens` have an id but are not made by merges: `encode` finds them in the text itself.
    """

    def __init__(
        self, tokens: Sequence[bytes], merges: Sequence[tuple[int, int]], special_tokens: Mapping[str, int]
    ) -> None:
        special_ids = set(special_tokens.values())
        ids = {token: i for i, token in enumerate(tokens) if i not in special_ids}
        self.tokens = list(tokens)
        self.merges = list(merges)
        self.special_tokens = dict(special_tokens)
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._merged = [ids[tokens[left] + tokens[right]] for left, right in self.merges]
        self._byte_ids = [ids[bytes([b])] for b in range(256)]
        self._byte_ids[NO_UTF8[0]] = SEPARATOR
        self._cache: dict[str, tuple[int, ...]] = {}
        self._cached = 0  # characters

    @classmethod
    def gpt2(cls) -> ByteLevelBPE:
        """GPT-2's vocabulary, which ships with this package: 256 bytes, 50000 merges and `<|endoftext|>`."""
        path = Path(__file__).parent / "gpt2" / "vocab.bpe"
        merges = read_merges(path)
        names = [*byte_characters(), *(left + right for _, left, right in merges), END_OF_TEXT]
        return cls._from_names({name: i for i, name in enumerate(names)}, merges, path, path)

    @classmethod
    def load(cls, directory: str | Path) -> ByteLevelBPE:
        """The vocabulary in `directory`: `encoder.json` and `vocab.bpe`, or `vocab.json` and `merges.txt`.

        Raises `PicoGPTError`, naming the file and the place in it, when they are missing or do not fit together.
        """
        directory = Path(directory)
        for names in FILES.values():
            vocab_path, merges_path = (directory / name for name in names)
            if vocab_path.exists() or merges_path.exists():
                return cls._from_names(read_vocab(vocab_path), read_merges(merges_path), vocab_path, merges_path)
        expected = ", or ".join(" and ".join(names) for names in FILES.values())
        raise PicoGPTError(f"no vocabulary in {directory}: expected {expected}")

    @classmethod
    def _from_names(
        cls, vocab: dict[str, int], merges: list[tuple[int, str, str]], vocab_path: Path, merges_path: Path
    ) -> ByteLevelBPE:
        """From `vocab`, token -> id as in the file, and `merges`, each with its line; the paths are for errors."""
        tokens = [b""] * len(vocab)
        for character, byte in byte_characters().items():
            if character not in vocab:
                raise PicoGPTError(f"{vocab_path} has no token for byte {byte:#04x} ({character!r})")
            tokens[vocab[character]] = bytes([byte])
        pairs = []
        for line, left, right in merges:
            i, j, merged = vocab.get(left, -1), vocab.get(right, -1), vocab.get(left + right, -1)
            if i < 0 or j < 0 or merged < 0:
                missing = next(name for name in (left, right, left + right) if name not in vocab)
                raise PicoGPTError(f"{merges_path}, line {line}: {missing!r} is not a token of {vocab_path.name}")
            if not tokens[i] or not tokens[j]:
                raise PicoGPTError(
                    f"{merges_path}, line {line}: no line above makes {left if not tokens[i] else right!r}"
                )
            pairs.append((i, j))
            tokens[merged] = tokens[i] + tokens[j]
        special_tokens = {name: i for name, i in vocab.items() if not tokens[i]}
        for name, i in special_tokens.items():
            if not is_special(name):
                raise PicoGPTError(
                    f"{vocab_path}: token {name!r} (id {i}) is not a byte, not made by {merges_path.name}, "
                    f"and not special, like {END_OF_TEXT}; is {merges_path.name} complete?"
                )
            tokens[i] = name.encode()
        return cls(tokens, pairs, special_tokens)

    def save(self, directory: str | Path, layout: Layout = "openai") -> None:
        """Write the vocabulary's two files, under OpenAI's names (which tiktoken reads too) or Hugging Face's."""
        vocab_name, merges_name = FILES[layout]
        character = {byte: char for char, byte in byte_characters().items()}
        special = {i: name for name, i in self.special_tokens.items()}
        names = [
            special[i] if i in special else "".join(map(character.__getitem__, token))
            for i, token in enumerate(self.tokens)
        ]
        lines = ["#version: 0.2", *(f"{names[left]} {names[right]}" for left, right in self.merges), ""]
        write_text(Path(directory) / merges_name, "\n".join(lines))
        write_text(Path(directory) / vocab_name, json.dumps({name: i for i, name in enumerate(names)}))

    @property
    def n_vocab(self) -> int:
        return len(self.tokens)

    @property
    def eot_token(self) -> int | None:
        return self.special_tokens.get(END_OF_TEXT)

    def encode(
        self,
        text: str,
        allowed_special: Literal["all"] | Collection[str] = (),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        """The ids of `text`, for GPT-2's vocabulary the same as tiktoken's, with the same arguments.

        Special tokens that are allowed become their id, those that are disallowed raise `PicoGPTError` ("all" stands
        for all that are not allowed), and the rest are ordinary text. Lone surrogates, which UTF-8 cannot express,
        become U+FFFD.
        """
        special = set(self.special_tokens)
        allowed = special if allowed_special == "all" else special & set(allowed_special)
        disallowed = special - allowed if disallowed_special == "all" else set(disallowed_special)
        for token in disallowed:
            if (place := text.find(token)) >= 0:
                raise PicoGPTError(
                    f"the text has the special token {token} at character {place + 1}; "
                    f"allow it (allowed_special), or have it read as ordinary text (disallowed_special=())"
                )
        text = without_surrogates(text)
        if not allowed:
            return self._encode_ordinary(text)
        longest_first = sorted(allowed, key=len, reverse=True)
        parts = regex.split(f"({'|'.join(map(regex.escape, longest_first))})", text)
        ids = self._encode_ordinary(parts[0])
        for token, ordinary in zip(parts[1::2], parts[2::2], strict=True):
            ids.append(self.special_tokens[token])
            ids.extend(self._encode_ordinary(ordinary))
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        for chunk in words(text):
            if self._cached > CACHE:
                self._cache, self._cached = {}, 0
            cache = self._cache
            new = list(set(chunk).difference(cache))
            cache.update(zip(new, self._encode_words(new), strict=True))
            self._cached += sum(map(len, new))
            ids.extend(chain.from_iterable(map(cache.__getitem__, chunk)))
        return ids

    def _encode_words(self, new: list[str]) -> Iterator[tuple[int, ...]]:
        """The ids of each word. They are merged together, so that what a merge costs at all it costs once."""
        data = NO_UTF8.join(map(str.encode, new))
        ids = self._merge([self._byte_ids[b] for b in data])
        start = 0
        for end, symbol in enumerate([*ids, SEPARATOR] if new else []):
            if symbol == SEPARATOR:
                yield tuple(ids[start:end])
                start = end + 1

    def _merge(self, symbols: list[int]) -> list[int]:
        """Merge neighbours, the lowest rank first and from left to right, until no pair of neighbours has a rank.

        The symbols are a linked list, and each rank has a list of the places where it may apply. A merge takes away
        one symbol and adds at most two places, so n symbols cost O(n log n), be they one word or many.
        """
        n = len(symbols)
        rank_of = self._ranks.get
        places: defaultdict[int, list[int]] = defaultdict(list)
        for i, rank in enumerate(map(rank_of, pairwise(symbols))):
            if rank is not None:
                places[rank].append(i)
        waiting = list(places)
        heapify(waiting)
        before, after = list(range(-1, n)), list(range(1, n + 1))
        symbols = [*symbols, SEPARATOR]  # stands behind the last symbol, and by the index -1 before the first
        while waiting:
            rank = heappop(waiting)
            left, right = self.merges[rank]
            merged = self._merged[rank]
            for i in sorted(places.pop(rank)):
                j = after[i]
                if symbols[i] != left or symbols[j] != right:
                    continue  # another merge was here first
                k = after[j]
                h = before[i]
                symbols[i], symbols[j] = merged, MERGED_AWAY
                after[i], before[k] = k, i
                for place, pair in (h, (symbols[h], merged)), (i, (merged, symbols[k])):
                    new_rank = rank_of(pair)
                    if new_rank is not None:
                        if new_rank not in places:
                            heappush(waiting, new_rank)
                        places[new_rank].append(place)
        return [symbol for symbol in symbols[:-1] if symbol != MERGED_AWAY]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, exactly; raises `PicoGPTError` for an id outside the vocabulary."""
        return b"".join(map(self.tokens.__getitem__, check_ids(ids, self.n_vocab)))
