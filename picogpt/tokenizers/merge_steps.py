"""How byte-pair encoding makes a word's tokens, one merge after the other, for people to watch.

`ByteLevelBPE` does the same for many words at once, by another way; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from picogpt.tokenizers.bpe import ByteLevelBPE, words


class Step(NamedTuple):
    """The pieces of a word before its first merge, or after one."""

    pieces: list[bytes]
    merged: bytes | None  # what the merge made; None before the first
    rank: int | None  # of the merge: 0 was learned first


class Merges:
    """The merges of an encoder by the bytes that they join."""

    def __init__(self, encoder: ByteLevelBPE) -> None:
        self.encoder = encoder
        self.pairs = [(encoder.tokens[left], encoder.tokens[right]) for left, right in encoder.merges]
        self.ranks = {pair: rank for rank, pair in enumerate(self.pairs)}

    def steps(self, word: str) -> Iterator[Step]:
        """The steps from the bytes of a word, one of those into which the encoder cuts a text, to its tokens."""
        pieces = [bytes([byte]) for byte in word.encode()]
        yield Step(pieces, None, None)
        while known := [self.ranks[pair] for pair in pairwise(pieces) if pair in self.ranks]:
            rank = min(known)
            pieces = joined(pieces, *self.pairs[rank])
            yield Step(pieces, b"".join(self.pairs[rank]), rank)

    def word_at(self, ids: Sequence[int], position: int) -> str | None:
        """The word that the token at `position` is a part of; None where no merges made it, as with special tokens."""
        encoder = self.encoder
        unmade = {*encoder.special_tokens.values(), *encoder.added_tokens.values()}
        if ids[position] in unmade:
            return None
        first, end = position, position + 1  # of the ordinary text around it
        while first > 0 and ids[first - 1] not in unmade:
            first -= 1
        while end < len(ids) and ids[end] not in unmade:
            end += 1
        start, n_read = len(encoder.decode_bytes(ids[first:position])), 0
        for chunk in words(encoder.decode(ids[first:end])):
            for word in chunk:
                n_read += len(word.encode())
                if start < n_read:
                    return word
        return None


def joined(pieces: list[bytes], left: bytes, right: bytes) -> list[bytes]:
    """The pieces with `left` and `right` made one wherever they are neighbours, from the front."""
    result: list[bytes] = []
    for piece in pieces:
        if piece == right and result and result[-1] == left:
            result[-1] = left + right
        else:
            result.append(piece)
    return result
