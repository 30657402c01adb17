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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import chain, pairwise
from pathlib import Path

import regex

from picogpt.tokenizers import bpe_files, ends
from picogpt.tokenizers.base import END_OF_TEXT, Layout, SpecialTokens, TokenIds, cut_at_special_tokens
from picogpt.tokenizers.template import NOTHING, Around

# A contraction's end, or letters, digits or other signs with the space before them, or white space. What is a letter
# or a digit is a matter of the Unicode version: libraries differ on characters that are newer than one of them; see
# docs/tokenizers.md.
WORD = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s+(?!\S)|\s")
WORD_END = regex.compile(r"\S(?=\s)")  # no word continues after this, whatever follows
CHUNK = 1 << 18  # characters that are cut into words at a time
CACHE = 1 << 20  # characters of words whose ids are remembered
SEPARATOR, MERGED_AWAY = -1, -2  # among ids, where there is none
NO_UTF8 = b"\xff"  # a byte that UTF-8 never uses


def words(text: str) -> Iterator[list[str]]:
    """All of `text` cut into words, a chunk at a time, so that the list of words does not outgrow the text."""
    start = 0
    while start < len(text):
        end = match.end() if (match := WORD_END.search(text, start + CHUNK)) else len(text)
        yield WORD.findall(text[start:end])
        start = end


class ByteLevelBPE(TokenIds):
    """A byte-level BPE tokenizer.

    `tokens[id]` are a token's bytes. `merges` are pairs of ids, the first learned first; a pair's bytes together are
    a token too. `special_tokens` have an id but are not made by merges: `encode` finds them in the text itself. So it
    does with `added_tokens`, and always: they were added to a vocabulary as words of ordinary text. With `prefix_space`
    a space is put before text that begins without one. `around` are the ids that belong around a text, which `encode`
    leaves out.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[int, int]],
        special_tokens: Mapping[str, int],
        added_tokens: Mapping[str, int] | None = None,
        prefix_space: bool = False,
        around: Around = NOTHING,
    ) -> None:
        self.tokens = list(tokens)
        self.merges = list(merges)
        self.special_tokens = dict(special_tokens)
        self.added_tokens = dict(added_tokens or {})
        self.prefix_space = prefix_space
        self.around = around
        unmade = set(special_tokens.values()) | self._vocabulary.unmade_added_ids()
        super().__init__(len(tokens), unmade, self.eot_token, around)
        self._ids = {token: i for i, token in enumerate(tokens) if i not in unmade}
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._byte_ids = [self._ids[bytes([b])] for b in range(256)]
        self._byte_ids[NO_UTF8[0]] = SEPARATOR
        self._cache: dict[str, tuple[int, ...]] = {}
        self._cached = 0  # characters

    @classmethod
    def gpt2(cls) -> ByteLevelBPE:
        """GPT-2's own, 50257 tokens; its vocabulary ships with this package."""
        return cls(*bpe_files.read_gpt2())

    @classmethod
    def load(cls, directory: str | Path) -> ByteLevelBPE:
        """From `encoder.json` and `vocab.bpe`, or `tokenizer.json`, or `vocab.json` and `merges.txt`, in `directory`.

        Raises `PicoGPTError`, naming the file and the place in it, when they are missing or do not fit together.
        """
        return cls(*bpe_files.read(Path(directory)))

    def save(self, directory: str | Path, layout: Layout = "openai") -> None:
        """Write the vocabulary's files, under OpenAI's names (which tiktoken reads too) or Hugging Face's."""
        bpe_files.write(Path(directory), self._vocabulary, layout, self.bos_token, self.eos_tokens)
        ends.write(Path(directory), self)

    @property
    def _vocabulary(self) -> bpe_files.Vocabulary:
        return bpe_files.Vocabulary(
            self.tokens, self.merges, self.special_tokens, self.added_tokens, self.prefix_space, self.around
        )

    @cached_property
    def encoder(self) -> dict[str, int]:
        """Token -> id, with a token spelled as in GPT-2's files: `encoder["Ġcat"]` is the id of " cat"."""
        return {name: i for i, name in self.decoder.items()}

    @cached_property
    def decoder(self) -> dict[int, str]:
        """Id -> token, spelled as in GPT-2's files: a visible character stands for each byte, Ġ for the space."""
        return dict(enumerate(self._vocabulary.names()))

    @property
    def eot_token(self) -> int | None:
        return self.special_tokens.get(END_OF_TEXT)

    def encode(
        self, text: str, allowed_special: SpecialTokens = (), disallowed_special: SpecialTokens = "all"
    ) -> list[int]:
        """The ids of `text`, for GPT-2's vocabulary the same as tiktoken's, with the same arguments.

        Special tokens that are allowed become their id, those that are disallowed raise `PicoGPTError` ("all" stands
        for all that are not allowed), and the rest are ordinary text. Lone surrogates, which UTF-8 cannot express,
        become U+FFFD.
        """
        parts = cut_at_special_tokens(text, self.special_tokens, allowed_special, disallowed_special, self.added_tokens)
        ids = self._encode_ordinary(parts[0])
        for token, ordinary in zip(parts[1::2], parts[2::2], strict=True):
            ids.append(self.special_tokens[token] if token in self.special_tokens else self.added_tokens[token])
            ids.extend(self._encode_ordinary(ordinary))
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        if self.prefix_space and text and not text.startswith(" "):
            text = f" {text}"
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
        """The ids of each word. They are merged together, so that one algorithm is quick for short words and long."""
        data = NO_UTF8.join([*map(str.encode, new), b""])
        ids = self._merge(list(map(self._byte_ids.__getitem__, data)))
        start = 0
        for end, symbol in enumerate(ids):
            if symbol == SEPARATOR:
                yield tuple(ids[start:end])
                start = end + 1

    def _merge(self, symbols: list[int]) -> list[int]:  # [n] -> [at most n]
        """Merge neighbours, the lowest rank first and from left to right, until no pair of neighbours has a rank.

        A merged symbol stays at its left one's place, and `length`, at its first and last place, leads to its
        neighbours. Each rank has a list of the places where it may apply: a merge takes one symbol away and adds at
        most two places, so n symbols cost O(n log n), be they one word or many.
        """
        rank_of = self._ranks.get
        places: dict[int, list[int]] = {}
        for i, rank in enumerate(map(rank_of, pairwise(symbols))):
            if rank is not None:
                places.setdefault(rank, []).append(i)
        ranks = list(places)
        heapify(ranks)
        symbols = [*symbols, SEPARATOR]  # stands after the last symbol and, at index -1, before the first
        length = [1] * len(symbols)
        while ranks:
            rank = heappop(ranks)
            left, right = self.merges[rank]
            merged = self._ids[self.tokens[left] + self.tokens[right]]
            for i in sorted(places.pop(rank)):
                j = i + length[i]
                if symbols[i] != left or symbols[j] != right:
                    continue  # another merge was here first
                symbols[i], symbols[j] = merged, MERGED_AWAY
                end = j + length[j]
                length[i] = length[end - 1] = end - i
                before = i - length[i - 1]
                for place, pair in (before, (symbols[before], merged)), (i, (merged, symbols[end])):
                    new_rank = rank_of(pair)
                    if new_rank in places:
                        places[new_rank].append(place)
                    elif new_rank is not None:
                        places[new_rank] = [place]
                        heappush(ranks, new_rank)
        return [symbol for symbol in symbols[:-1] if symbol != MERGED_AWAY]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, exactly; raises `PicoGPTError` for an id outside the vocabulary."""
        return b"".join(map(self.tokens.__getitem__, self.used(ids)))
