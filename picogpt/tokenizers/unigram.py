"""Unigram, SentencePiece's tokenizer: of all ways to cut a text into pieces, the likeliest.

    encoder = UnigramTokenizer.load("goldfish-models/eng_latn_10mb")
    encoder.encode("Not all heroes wear capes.")

A space is ▁, and belongs to the word after it; text is normalized first, so decoding gives back the words, but not
always the characters. What is not in the vocabulary is the unknown token, or its bytes where these have tokens.

Source: Kudo 2018, "Subword Regularization", section 3.1; ids are those of Hugging Face's tokenizers, or of
sentencepiece where a model has its file alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from picogpt.tokenizers import ends, unigram_files
from picogpt.tokenizers.base import Layout, SpecialTokens, TokenIds, cut_at_special_tokens
from picogpt.tokenizers.unigram_files import WHITE_SPACE, Vocabulary

CACHE = 1 << 20  # characters of words whose ids are remembered
LONGEST_CACHED = 100  # characters of one of them; where spaces do not divide, a word is all of the text


class UnigramTokenizer(TokenIds):
    """A Unigram tokenizer, as `unigram_files.read` finds it in a model's directory."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.special_tokens: Mapping[str, int] = vocabulary.special_tokens
        super().__init__(len(vocabulary.pieces), self.special_tokens.values(), None, vocabulary.around)
        self._ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
        self._longest = max(map(len, vocabulary.scores), default=1)
        self._texts = vocabulary.texts
        self._cache: dict[str, list[int]] = {}
        self._cached = 0  # characters

    @classmethod
    def load(cls, directory: str | Path) -> UnigramTokenizer:
        """From `tokenizer.json`, or SentencePiece's `spiece.model`; raises `PicoGPTError` where they are damaged."""
        return cls(unigram_files.read(Path(directory)))

    def save(self, directory: str | Path, layout: Layout = "openai") -> None:
        """Write the file that it was read from, which has its name in either layout."""
        unigram_files.write(Path(directory), self.vocabulary)
        ends.write(Path(directory), self)

    @property
    def eot_token(self) -> int | None:
        return None

    def encode(
        self, text: str, allowed_special: SpecialTokens = (), disallowed_special: SpecialTokens = "all"
    ) -> list[int]:
        """The ids of `text`, without tokens around it; special tokens in it as in `Tokenizer.encode`."""
        parts = cut_at_special_tokens(text, self.special_tokens, allowed_special, disallowed_special)
        ids: list[int] = []
        for i, part in enumerate(parts):
            if i % 2:
                ids.append(self.special_tokens[part])
                continue
            after = parts[i + 1] if i + 1 < len(parts) else ""
            for word in self.vocabulary.words(
                part.rstrip(WHITE_SPACE) if after in self.vocabulary.takes_spaces else part
            ):
                ids += self._ids_of_word(word)
        return ids

    def _ids_of_word(self, word: str) -> list[int]:
        ids = self._cache.get(word)
        if ids is None:
            ids = [i for piece in self._best_pieces(word) for i in self._ids_of_piece(piece)]
            if len(word) <= LONGEST_CACHED:
                if self._cached > CACHE:
                    self._cache, self._cached = {}, 0
                self._cache[word] = ids
                self._cached += len(word)
        return ids

    def _ids_of_piece(self, piece: str) -> Sequence[int]:
        if (i := self._ids.get(piece)) is not None and piece in self.vocabulary.scores:
            return [i]
        if byte_ids := self.vocabulary.byte_ids:
            return [byte_ids[byte] for byte in piece.encode()]
        return [self.vocabulary.unknown]

    def _best_pieces(self, word: str) -> list[str]:
        """The likeliest pieces, by Viterbi's algorithm: the best way to each place is made of best ways to others.

        Of ways that are equally likely the one that was found first counts. What is not known is one piece, however
        long.
        """
        scores, rounded, longest = self.vocabulary.scores, self.vocabulary.rounded, self._longest
        best = [-math.inf] * (len(word) + 1)
        start_of = [0] * (len(word) + 1)
        is_known = [True] * (len(word) + 1)
        best[0] = 0.0
        for start in range(len(word)):
            here = best[start]
            for end in range(start + 1, min(start + longest, len(word)) + 1):
                score = scores.get(word[start:end])
                # rounding, which takes time, never brings a sum above a number that it was not above
                if score is not None and score + here > best[end] and (total := rounded(score + here)) > best[end]:
                    best[end], start_of[end], is_known[end] = total, start, True
            if word[start] not in scores and (total := rounded(self.vocabulary.unknown_score + here)) > best[start + 1]:
                best[start + 1], start_of[start + 1], is_known[start + 1] = total, start, False
        pieces: list[str] = []
        end, after_unknown = len(word), False
        while end:
            start, unknown = start_of[end], not is_known[end]
            if unknown and after_unknown:
                pieces[-1] = word[start:end] + pieces[-1]
            else:
                pieces.append(word[start:end])
            end, after_unknown = start, unknown
        return pieces[::-1]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`; raises `PicoGPTError` for an id outside the vocabulary."""
        ids = self.used(ids)
        parts = [self._texts[i] for i in ids]
        if parts and self.vocabulary.puts_space:
            parts[0] = parts[0].replace(b" ", b"")
        return b"".join(parts)
