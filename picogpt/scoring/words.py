"""From tokens to words: which tokens make a word, and the surprisal of a word.

A word is what stands between whitespace (ASCII's; a no-break space does not end a word). Its tokens are those of its
characters and of the whitespace before it. Whitespace after the last word belongs to no word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.scoring.tokens import TokenScores
from picogpt.tokenizers import Tokenizer, inner_bytes, token_bytes


class Word(NamedTuple):
    """A word and its tokens, number `first` to `end` of the text's ids."""

    text: str
    first: int
    end: int


def split_words(tokenizer: Tokenizer, ids: Sequence[int]) -> list[Word]:
    """The words of a text. A token with whitespace between characters joins two words to one."""
    words = []
    first, text, has_characters = 0, b"", False
    for i, piece in enumerate(token_bytes(tokenizer, ids)):
        if has_characters and (piece[:1].isspace() or text[-1:].isspace()):
            words.append(Word(text.strip().decode("utf-8", "replace"), first, i))
            first, text, has_characters = i, b"", False
        text += piece
        has_characters = has_characters or bool(piece.strip())
    if has_characters:
        words.append(Word(text.strip().decode("utf-8", "replace"), first, len(ids)))
    return words


def beginnings(tokenizer: Tokenizer, n_vocab: int) -> npt.NDArray[np.float32]:  # [n_vocab, 2]
    """Two sets of tokens, for `score_tokens`: those with which a new word begins, and those without whitespace first.

    The tokens that end a text, after which no word continues, are in both. Raises `PicoGPTError` when no token begins
    with whitespace, since then nothing tells where a word ends.
    """
    spaced = np.array([begins_word(tokenizer, i) for i in range(min(tokenizer.unused.start, n_vocab))])
    if not spaced.any():
        raise PicoGPTError("the correction for beginnings of words needs a vocabulary with whitespace in its tokens")
    sets = np.zeros((n_vocab, 2), np.float32)
    sets[: len(spaced), 0], sets[: len(spaced), 1] = spaced, ~spaced
    sets[list(tokenizer.eos_tokens)] = 1
    return sets


def begins_word(tokenizer: Tokenizer, token: int) -> bool:
    return inner_bytes(tokenizer, token)[:1].isspace()


def word_surprisals(
    tokenizer: Tokenizer, ids: Sequence[int], scores: TokenScores, *, corrected: bool = False
) -> list[tuple[Word, float]]:
    """Each word of a text and its surprisal in nats: the sum of its tokens', or corrected for where words begin.

    `scores` are those of `ids`, or of the end-of-text token and `ids`. In the first case the first token has no score
    and its word's surprisal is not a number.

    A token like " cat" says that the word before has ended, so the tokens' sum charges the end of each word to
    the next one. The correction charges it where it belongs: −log p(word) = tokens − log p(a word begins after it) +
    log p(a word begins where it stands), with `log_mass` of the sets of `beginnings` (Pimentel & Meister 2024, arXiv
    2406.14561, whose code counts only the space as whitespace; Oh & Schuler 2024, arXiv 2406.10851).
    """
    n_before = len(scores.logprob) + 1 - len(ids)  # 1 with an end-of-text token in front, else 0
    surprisals = np.concatenate([np.full(1 - n_before, np.nan), -scores.logprob])

    def log_begins(token: int) -> float:
        """That at this token a word begins, in the way in which the word that is there does begin."""
        place = token - 1 + n_before
        if place < 0:
            return np.nan
        spaced = token == len(ids) or begins_word(tokenizer, ids[token])
        return float(scores.log_mass[place, 0 if spaced else 1])

    result = []
    for word in split_words(tokenizer, ids):
        surprisal = float(surprisals[word.first : word.end].sum())
        if corrected:
            surprisal += log_begins(word.first) - log_begins(word.end)
        result.append((word, surprisal))
    return result
