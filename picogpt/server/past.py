"""What the model has computed about a text, and the texts that are remembered, so that no beginning is read twice."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from picogpt.cache import KVCache
from picogpt.performance.layout import cache_memory, own_pages
from picogpt.performance.thresholds import QUERY_BLOCK
from picogpt.types import Array, Ids, Params

MAX_TEXTS = 256  # remembered: each is compared with every new prompt, which takes a few microseconds


class Past:
    """The first `length` of `ids` as the model has read them: keys and values, and the last hidden states.

    The hidden states take 4 % more memory (124M); from them a prompt's log-probabilities are had without reading it.
    """

    def __init__(self, params: Params, n_head: int, ids: Ids) -> None:  # [room]
        self.params, self.n_head, self.ids = params, n_head, ids
        self.cache = KVCache.for_params(params, n_head, (), len(ids), partial(cache_memory, empty=own_pages))
        self.hidden = own_pages((len(ids), params["wpe"].shape[1]), params["wpe"].dtype)
        self.n_exact = 0  # positions that are, bit for bit, what reading the text alone gives
        self.n_whole = 0  # of these, positions in whole blocks of a prompt: they are exact in any text that so begins

    @property
    def length(self) -> int:
        return self.cache.length

    @property
    def nbytes(self) -> int:
        return self.cache.kv.nbytes + self.hidden.nbytes

    def add(self, x: Array) -> None:  # [n_seq, n_embd]
        """The last hidden states of what the cache holds since the last time."""
        self.hidden[self.length - len(x) : self.length] = x

    def copied(self, ids: Ids, n: int) -> Past:
        """What is known of the first n of other ids, which are the same as here."""
        copy = Past(self.params, self.n_head, ids)
        for new, old in zip(copy.cache.kv, self.cache.kv, strict=True):
            new[..., :n, :] = old[..., :n, :]
        copy.hidden[:n] = self.hidden[:n]
        copy.cache.length = n
        copy.n_exact = copy.n_whole = min(n, self.n_whole) // QUERY_BLOCK * QUERY_BLOCK
        return copy


def n_common(a: Ids, b: Ids) -> int:
    """How many tokens two texts have in common at their beginnings."""
    n = min(len(a), len(b))
    different = a[:n] != b[:n]
    return int(different.argmax()) if different.any() else n


def longest_common(pasts: Iterable[Past], ids: Ids) -> tuple[Past | None, int]:
    """The past that knows most of the beginning of `ids`, and how much."""
    best, n_best = None, 0
    for past in pasts:
        if (n := n_common(past.ids[: past.length], ids)) > n_best:
            best, n_best = past, n
    return best, n_best


class PrefixCache:
    """Texts that were read, the one used last at the end; together they take at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.nbytes = max_bytes, 0
        self.pasts: list[Past] = []

    def use(self, past: Past) -> None:
        """The past, if it is one of these, was of use just now."""
        if past in self.pasts:
            self.pasts.remove(past)
            self.pasts.append(past)

    def add(self, past: Past) -> None:
        """Remember a text whose row has ended, in no more memory than it fills twice; forget what it contains."""
        known, n = longest_common(self.pasts, past.ids[: past.length])
        if known is not None and n == past.length:
            return self.use(known)
        for other in [p for p in self.pasts if n_common(p.ids[: p.length], past.ids[: past.length]) == p.length]:
            self.forget(other)
        if past.length < len(past.ids) // 2:
            past = past.copied(past.ids[: past.length].copy(), past.length)
        self.pasts.append(past)
        self.nbytes += past.nbytes
        while self.nbytes > self.max_bytes or len(self.pasts) > MAX_TEXTS:
            self.forget(self.pasts[0])
        return None

    def forget(self, past: Past) -> None:
        self.pasts.remove(past)
        self.nbytes -= past.nbytes
