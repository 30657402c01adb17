"""From logits to the next token: transforms that compose, and the draw.

A transform is a function `(logits [batch, n_vocab], ids so far: one row of ids a row) -> logits [batch, n_vocab]`.
It never changes its input; a token that may not follow gets −inf. The ids so far are the prompt and what was
written after it. Results are those of Hugging Face's logits processors of the same names; where several tokens tie
at a threshold, all of them are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from picogpt.decoding.ranges import check_range
from picogpt.errors import PicoGPTError
from picogpt.types import Array, Ids

IdsSoFar = Sequence[Ids] | Ids  # a row of ids for each row of logits, as a list or an array
Transform = Callable[[Array, IdsSoFar], Array]
NO_TOKEN_LEFT = "no token is left to choose from: ban fewer, or allow them to repeat"


def largest(logits: Array) -> Array:  # [..., n] -> [..., 1]
    """The largest logits; raises `PicoGPTError` where there is none, because transforms have removed every token."""
    best = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(best).all():
        if (best == -np.inf).any():
            raise PicoGPTError(NO_TOKEN_LEFT)
        raise PicoGPTError("the penalties and the temperature make the logits infinite; choose values nearer to 1")
    return best


def log_softmax(x: Array) -> Array:  # [..., n] -> [..., n]
    """Logarithms of the probabilities along the last axis."""
    shifted = x - largest(x)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def apply_transforms(transforms: Iterable[Transform], logits: Array, ids: IdsSoFar) -> Array:
    """All of them, from the first to the last."""
    for transform in transforms:
        logits = transform(logits, ids)
    return logits


def temperature(t: float) -> Transform:
    """Divide the logits by t, 0 or from 1e-10 to 1e10: below 1 sharper, above 1 flatter, and 0 leaves the most likely
    token alone."""
    check_range("temperature", t)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        if t > 0:
            return logits / t
        best = logits.argmax(axis=-1)[:, None]
        return np.where(np.arange(logits.shape[-1]) == best, logits, -np.inf)

    return transform


def top_k(k: int) -> Transform:
    """Keep the k most likely tokens, 1 or more (Fan et al. 2018)."""
    check_range("top_k", k)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        n_vocab = logits.shape[-1]
        if k >= n_vocab:
            return logits
        kth = np.partition(logits, n_vocab - k, axis=-1)[:, n_vocab - k, None]
        return np.where(logits >= kth, logits, -np.inf)

    return transform


def top_p(p: float) -> Transform:
    """Keep the fewest most likely tokens whose probabilities reach p, the one that crosses it included
    (nucleus sampling, Holtzman et al. 2020); p is above 0 and at most 1."""
    check_range("top_p", p)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        ascending = np.sort(logits, axis=-1)
        mass = np.cumsum(np.exp(log_softmax(ascending)), axis=-1, dtype=np.float64)
        n_removed = np.minimum((mass <= 1 - p).sum(axis=-1, keepdims=True), logits.shape[-1] - 1)
        return np.where(logits >= np.take_along_axis(ascending, n_removed, axis=-1), logits, -np.inf)

    return transform


def min_p(p: float) -> Transform:
    """Keep the tokens at least p times, from 0 to 1, as likely as the most likely one (Nguyen et al. 2024)."""
    check_range("min_p", p)
    log_p = math.log(p) if p > 0 else -math.inf

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        return np.where(logits >= logits.max(axis=-1, keepdims=True) + log_p, logits, -np.inf)

    return transform


def typical_p(p: float) -> Transform:
    """Keep the tokens whose surprisal is nearest to the entropy, as many as reach the probability p
    (locally typical sampling, Meister et al. 2023); p is above 0 and below 1."""
    check_range("typical_p", p)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        log_probs = log_softmax(logits)
        probs = np.exp(log_probs)
        entropy = -np.sum(probs * np.where(probs > 0, log_probs, 0), axis=-1, keepdims=True)
        distance = np.abs(-log_probs - entropy)
        order = np.argsort(distance, axis=-1)
        mass = np.cumsum(np.take_along_axis(probs, order, axis=-1), axis=-1, dtype=np.float64)
        last = np.minimum((mass < p).sum(axis=-1, keepdims=True), logits.shape[-1] - 1)
        threshold = np.take_along_axis(distance, np.take_along_axis(order, last, axis=-1), axis=-1)
        return np.where(distance <= threshold, logits, -np.inf)

    return transform


def repetition_penalty(penalty: float) -> Transform:
    """Divide a positive logit, multiply a negative one, of every token seen so far (CTRL, Keskar et al. 2019);
    the penalty is from 0.001 to 1000."""
    check_range("repetition_penalty", penalty)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        logits = logits.copy()
        for row, seen in zip(logits, ids, strict=True):
            scores = row[seen]
            row[seen] = np.where(scores < 0, scores * penalty, scores / penalty)
        return logits

    return transform


def presence_penalty(penalty: float) -> Transform:
    """Subtract the penalty, from -1000 to 1000, from the logit of every token seen so far, once (OpenAI's API)."""
    check_range("presence_penalty", penalty)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        logits = logits.copy()
        for row, seen in zip(logits, ids, strict=True):
            row[seen] = row[seen] - penalty  # not −=: a token that was seen twice pays once
        return logits

    return transform


def frequency_penalty(penalty: float) -> Transform:
    """Subtract the penalty, from -1000 to 1000, from each token's logit once for every time it was seen so far
    (OpenAI's API)."""
    check_range("frequency_penalty", penalty)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        counts = [np.bincount(seen, minlength=logits.shape[-1]) for seen in ids]
        return logits - penalty * np.stack(counts).astype(logits.dtype)

    return transform


def no_repeat_ngram(n: int) -> Transform:
    """Remove every token that would complete an n-gram, n being 1 or more, which stands in the ids so far
    (Paulus et al. 2017)."""
    check_range("no_repeat_ngram", n)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        logits = logits.copy()
        for row, seen in zip(logits, ids, strict=True):
            if len(seen) >= n:
                ngrams = np.lib.stride_tricks.sliding_window_view(np.asarray(seen), n)
                begun = seen[len(seen) - n + 1 :]
                row[ngrams[(ngrams[:, :-1] == begun).all(axis=-1), -1]] = -np.inf
        return logits

    return transform


def logit_bias(bias: Mapping[int, float]) -> Transform:
    """Add a number to the logits of some tokens (OpenAI's API)."""
    tokens = sorted(bias)
    added = np.array([bias[token] for token in tokens])

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        logits = logits.copy()
        logits[:, tokens] += added.astype(logits.dtype)
        return logits

    return transform


def banned_tokens(banned: Iterable[int]) -> Transform:
    """Remove these tokens."""
    ids_banned = sorted(set(banned))

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        n_vocab = logits.shape[-1]
        for token in ids_banned[:1] + ids_banned[-1:]:
            if not 0 <= token < n_vocab:
                raise PicoGPTError(f"banned token {token} is outside the vocabulary (0 to {n_vocab - 1})")
        logits = logits.copy()
        logits[:, ids_banned] = -np.inf
        return logits

    return transform


def min_length(n: int, eot_token: int | Collection[int]) -> Transform:
    """Remove the tokens that end a text while prompt and continuation have fewer than n tokens together, 0 or more."""
    check_range("min_length", n)
    end_tokens = [eot_token] if isinstance(eot_token, int) else list(eot_token)

    def transform(logits: Array, ids: IdsSoFar) -> Array:
        logits = logits.copy()
        short = [len(seen) < n for seen in ids]
        logits[np.ix_(short, end_tokens)] = -np.inf
        return logits

    return transform


def generators(rng: int | np.random.Generator, n_rows: int) -> list[np.random.Generator]:
    """One generator a row, from a seed or a generator. Row i's does not depend on how many rows there are."""
    if not isinstance(rng, np.random.Generator):
        check_range("the seed", rng)
        rng = np.random.default_rng(rng)
    return [np.random.default_rng(int(rng.integers(2**63))) for _ in range(n_rows)]


def choose(logits: Array, uniforms: Array | None) -> Ids:  # [batch, n_vocab], [batch] -> [batch]
    """Each row's next token: drawn with its uniform number from [0, 1), or without one the most likely.

    The draw is the token at which the cumulative probability passes the number. Raises `PicoGPTError` where no token
    is left.
    """
    best = largest(logits)
    if uniforms is None:
        return logits.argmax(axis=-1)
    weights = np.exp(logits - best)
    cumulative = np.cumsum(weights, axis=-1, dtype=np.float64)
    total = cumulative[:, -1]
    # rounding could lift the product to the total itself, and no token lies beyond that
    thresholds = np.minimum(uniforms * total, np.nextafter(total, 0))
    return np.asarray((cumulative <= thresholds[:, None]).sum(axis=-1), np.int64)


def near_tie(logits: Array, uniforms: Array | None) -> bool:
    """Whether logits that differ from these by rounding might make `choose` take another token.

    Passes that read different numbers of tokens were seen to differ by up to twelve units in the last place of the
    largest logit; this allows forty. Such a difference moves a cumulative probability F by less than twice itself
    times F (1 − F), which is at most half of it.
    """
    finite = logits if np.isfinite(logits.min()) else logits[np.isfinite(logits)]
    size = max(float(finite.max(initial=0)), -float(finite.min(initial=0)))  # where no token is left, choose says so
    tolerance = 40 * float(np.finfo(logits.dtype).eps) * size
    if uniforms is None:
        return bool(((logits >= logits.max(axis=-1, keepdims=True) - tolerance).sum(axis=-1) > 1).any())
    below, above = np.maximum(uniforms - tolerance / 2, 0), np.minimum(uniforms + tolerance / 2, 1)
    return bool((choose(logits, below) != choose(logits, above)).any())
