"""Scoring: how likely a model finds the tokens of a text.

Log-probabilities are natural, of each token given the ones before it. The first token of the inputs has none before it
and no score: put `encoder.bos_token` first to score a text from its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.cache import KVCache
from picogpt.checkpoints.names import explain_non_finite
from picogpt.errors import PicoGPTError
from picogpt.performance import hidden_states, project
from picogpt.performance.threads import each
from picogpt.performance.thresholds import FEW_ROWS, VOCABULARY_BLOCK
from picogpt.types import Array, Ids, Params

BATCH_TOKENS = 8192  # read in one pass
CHUNK = 128  # in one step, where others wait


class TokenScores(NamedTuple):
    """Of inputs `[n_seq]`, for every token but the first; natural logarithms."""

    logprob: npt.NDArray[np.float64]  # [n_seq - 1]
    rank: Ids  # [n_seq - 1], 1 for the token that the model finds the most likely
    entropy: npt.NDArray[np.float64]  # [n_seq - 1], of the distribution from which the token came
    log_mass: npt.NDArray[np.float64]  # [n_seq, n_sets], the probability that the *next* token is in each set


class Window(NamedTuple):
    """Tokens `begin` to `end` are read, and of these `first` to `end` are scored."""

    begin: int
    first: int
    end: int


def windows(n_seq: int, n_ctx: int, stride: int | None = None) -> list[Window]:
    """Windows that score every token but the first exactly once, each with the most context the stride allows.

    A window begins `stride` tokens after the one before it (default n_ctx // 2), so a token has at least
    n_ctx − stride tokens of context where there are as many. A token at the beginning of a window has none, so a
    stride of n_ctx is n_ctx − 1. Raises `PicoGPTError` for a stride below 1 or above n_ctx.
    """
    stride = min(check_stride(stride, n_ctx), max(n_ctx - 1, 1))
    result = [Window(0, 1, min(n_ctx, n_seq))]
    while result[-1].end < n_seq:
        begin, first = result[-1].begin + stride, result[-1].end
        result.append(Window(begin, first, min(begin + n_ctx, n_seq)))
    return result


def token_logprobs(
    inputs: Sequence[int], params: Params, n_head: int, stride: int | None = None
) -> npt.NDArray[np.float64]:  # [n_seq] -> [n_seq - 1]
    """The log-probability of every token of `inputs` but the first, given those before it. Any length; see `windows`.

    Raises `PicoGPTError` for ids outside the vocabulary and a stride that cannot be.
    """
    return score_tokens([inputs], params, n_head, stride=stride, details=False)[0].logprob


def score_tokens(
    texts: Sequence[Sequence[int]],
    params: Params,
    n_head: int,
    *,
    stride: int | None = None,
    details: bool = True,
    sets: Array | None = None,
) -> list[TokenScores]:
    """The scores of every token of several texts, which are read side by side where their lengths are alike.

    Without `details` ranks are 0 and entropies not numbers. `sets [n_vocab, n_sets]` has a column of 0 and 1 for each
    set of tokens whose probability is asked for. Raises `PicoGPTError` for a text without tokens, and for weights that
    are not finite.
    """
    n_ctx = len(params["wpe"])
    ids = [np.asarray(text, np.int64) for text in texts]
    if not all(map(len, ids)):
        raise PicoGPTError("there is nothing to score in a text without tokens")
    plan = [(text, window) for text, row in enumerate(ids) for window in windows(len(row), n_ctx, stride)]
    return score_windows(ids, plan, params, n_head, details, sets)


def score_windows(
    ids: Sequence[Ids],
    plan: Iterable[tuple[int, Window]],
    params: Params,
    n_head: int,
    details: bool,
    sets: Array | None,
) -> list[TokenScores]:
    """The scores of texts whose windows are `plan`, pairs of a text's number and a window of it."""
    scores = [unscored(len(text), sets) for text in ids]
    # token i is predicted at position i − 1; after the last token there is no token, but sets may be asked for
    targets = [np.append(text[1:], 0) for text in ids]
    for batch, rows in batches(ids, plan, BATCH_TOKENS):
        x = hidden_states(rows, **params, n_head=n_head)
        places = [predicting_places(window, len(ids[text])) for text, window in batch]
        predicting = [
            row_x[place.start - window.begin : place.stop - window.begin]
            for row_x, (_, window), place in zip(x, batch, places, strict=True)
        ]
        predicted = [targets[text][place] for (text, _), place in zip(batch, places, strict=True)]
        parts = read_predictions(np.concatenate(predicting), params["wte"], np.concatenate(predicted), details, sets)
        check_scores(parts, params, details)
        ends = np.cumsum([len(part) for part in predicted])
        for (text, _), place, end in zip(batch, places, ends.tolist(), strict=True):
            begin = end - (place.stop - place.start)
            for whole, array in zip(scores[text], parts, strict=True):
                whole[place] = array[begin : begin + len(whole[place])]
    return scores


def scoring_steps(
    text: Sequence[int],
    params: Params,
    n_head: int,
    *,
    stride: int | None = None,
    details: bool = True,
    sets: Array | None = None,
    chunk: int = CHUNK,
) -> Generator[None, None, TokenScores]:
    """`score_tokens` of one text, up to rounding, in steps that read `chunk` tokens each."""
    ids, n_ctx = np.asarray(text, np.int64), len(params["wpe"])
    if not len(ids):
        raise PicoGPTError("there is nothing to score in a text without tokens")
    scores, targets = unscored(len(ids), sets), np.append(ids[1:], 0)
    for window in windows(len(ids), n_ctx, stride):
        cache = KVCache.for_params(params, n_head, (), window.end - window.begin)
        places = predicting_places(window, len(ids))
        for start in range(window.begin, window.end, chunk):
            end = min(start + chunk, window.end)
            x = hidden_states(ids[start:end], **params, n_head=n_head, cache=cache)
            place = slice(max(start, places.start), min(end, places.stop))
            if place.start < place.stop:
                predicting = x[place.start - start : place.stop - start]
                parts = read_predictions(predicting, params["wte"], targets[place], details, sets)
                check_scores(parts, params, details)
                for whole, array in zip(scores, parts, strict=True):
                    whole[place] = array[: len(whole[place])]
            yield
    return scores


def predicting_places(window: Window, n_seq: int) -> slice:
    """From where in a text the window's tokens are predicted, and what comes after the text's last one."""
    return slice(window.first - 1, window.end if window.end == n_seq else window.end - 1)


def unscored(n_seq: int, sets: Array | None) -> TokenScores:
    """Scores that are not known yet."""
    n_sets = 0 if sets is None else sets.shape[1]
    return TokenScores(
        np.full(n_seq - 1, np.nan),
        np.zeros(n_seq - 1, np.int64),
        np.full(n_seq - 1, np.nan),
        np.full((n_seq, n_sets), np.nan),
    )


def read_predictions(x: Array, wte: Any, targets: Ids, details: bool = False, sets: Array | None = None) -> TokenScores:
    """The scores of `targets [n]`, predicted from hidden states `x [n, n_embd]`, and `log_mass [n, n_sets]`."""
    n = len(targets)
    logprob, entropy = np.empty(n), np.full(n, np.nan)
    rank, mass = np.zeros(n, np.int64), np.empty((n, 0 if sets is None else sets.shape[1]))

    def read(start: int) -> None:
        block = slice(start, start + VOCABULARY_BLOCK)
        logits = project(x[block], wte)
        chosen = logits[np.arange(len(logits)), targets[block]]
        if details:
            rank[block] = (logits > chosen[:, None]).sum(axis=-1) + 1
        best = logits.max(axis=-1)
        logits -= best[:, None]
        weights = np.exp(logits, out=None if details else logits)
        total = weights.sum(axis=-1).astype(np.float64)
        logprob[block] = (chosen - best) - np.log(total)
        if details:
            entropy[block] = np.log(total) - np.einsum("ij,ij->i", weights, logits) / total
        if sets is not None:
            mass[block] = weights @ sets / total[:, None]

    each(read, range(0, n, VOCABULARY_BLOCK), n > FEW_ROWS)
    with np.errstate(divide="ignore"):  # no token of a set may be possible
        return TokenScores(logprob, rank, entropy, np.log(mass))


def check_scores(scores: TokenScores, params: Params, details: bool) -> None:
    """Raises `PicoGPTError`, which names the weights to blame, where a log-probability or an entropy is not finite."""
    if not np.isfinite(scores.logprob).all() or (details and not np.isfinite(scores.entropy).all()):
        raise explain_non_finite(params)


def batches(
    ids: Sequence[Ids], plan: Iterable[tuple[int, Window]], n_tokens: int
) -> Iterator[tuple[list[tuple[int, Window]], Ids]]:
    """The windows of a plan, the shortest first, in batches: which they are, and their ids `[n_rows, n_longest]`.

    A batch has at most `n_tokens` tokens with its pads, or one window. The pads are on the right, where causal
    attention never looks.
    """
    for batch in alike(sorted(plan, key=lambda item: item[1].end - item[1].begin), n_tokens):
        n_longest = max(window.end - window.begin for _, window in batch)
        rows = np.zeros((len(batch), n_longest), np.int64)
        for row, (text, window) in zip(rows, batch, strict=True):
            row[: window.end - window.begin] = ids[text][window.begin : window.end]
        yield batch, rows


def alike(plan: Iterable[tuple[int, Window]], n_tokens: int) -> Iterator[list[tuple[int, Window]]]:
    """Windows, the shortest first, in groups of at most `n_tokens` tokens with their pads, or of one window."""
    batch: list[tuple[int, Window]] = []
    for item in plan:
        if batch and (len(batch) + 1) * (item[1].end - item[1].begin) > n_tokens:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def perplexity(logprobs: npt.NDArray[np.floating[Any]]) -> float:
    """exp of the mean surprisal; of no tokens, not a number."""
    return exp(-float(np.mean(logprobs))) if len(logprobs) else math.nan


def exp(x: float) -> float:
    """`math.exp`, infinite where a float cannot hold it."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def huggingface_perplexity(inputs: Sequence[int], params: Params, n_head: int, stride: int | None = None) -> float:
    """The perplexity that transformers' documentation computes ("Perplexity of fixed-length models").

    It weights each window's mean loss by one less than its number of new tokens, though only in the first window is
    one of them without a loss, and with a stride of n_ctx it leaves out the first token of every window.
    """
    n_ctx, n_seq = len(params["wpe"]), len(inputs)
    stride = check_stride(stride, n_ctx)
    plan: list[Window] = []
    n_done = 0
    while n_done < n_seq:
        begin = len(plan) * stride
        plan.append(Window(begin, max(n_done, begin + 1), min(begin + n_ctx, n_seq)))
        n_done = plan[-1].end
    (scores,) = score_windows(
        [np.asarray(inputs, np.int64)], [(0, window) for window in plan], params, n_head, False, None
    )
    loss, weight, n_done = 0.0, 0, 0
    for window in plan:
        logprobs = scores.logprob[window.first - 1 : window.end - 1]
        n_new, n_done = window.end - n_done, window.end
        if n_new > 1:
            loss -= float(logprobs.mean()) * (n_new - 1)
            weight += n_new - 1
    return exp(loss / weight) if weight else math.nan


def choice_logprobs(
    prefix: Sequence[int], choices: Sequence[Sequence[int]], params: Params, n_head: int
) -> list[npt.NDArray[np.float64]]:
    """The log-probabilities of the tokens of each choice after a common prefix, which is read once.

    Raises `PicoGPTError` for an empty prefix or choice, and where prefix and choice do not fit into n_ctx.
    """
    n_ctx, n_longest = len(params["wpe"]), max(map(len, choices), default=0)
    if not len(prefix) or not all(map(len, choices)):
        raise PicoGPTError("the prefix and every choice need at least one token")
    if len(prefix) + n_longest > n_ctx:
        raise PicoGPTError(
            f"the prefix has {len(prefix)} tokens and the longest choice {n_longest}, "
            f"together more than the model's context of {n_ctx}; shorten them"
        )
    cache = KVCache.for_params(params, n_head, (1,), len(prefix) + n_longest)
    x_prefix = hidden_states([prefix], **params, n_head=n_head, cache=cache)[:, -1:]
    rows = np.zeros((len(choices), n_longest), np.int64)
    for row, choice in zip(rows, choices, strict=True):
        row[: len(choice)] = choice
    x = hidden_states(rows, **params, n_head=n_head, cache=cache.repeat(len(choices)))
    predicting = [
        part for row_x, choice in zip(x, choices, strict=True) for part in (x_prefix[0], row_x[: len(choice) - 1])
    ]
    targets = np.concatenate([np.asarray(choice, np.int64) for choice in choices])
    scores = read_predictions(np.concatenate(predicting), params["wte"], targets)
    check_scores(scores, params, details=False)
    return np.split(scores.logprob, np.cumsum([len(choice) for choice in choices])[:-1])


def check_stride(stride: int | None, n_ctx: int) -> int:
    """The stride, or its default; raises `PicoGPTError` when it cannot be."""
    if stride is None:
        return max(n_ctx // 2, 1)
    if not 1 <= stride <= n_ctx:
        raise PicoGPTError(f"the stride must be from 1 to the model's context of {n_ctx}, not {stride}")
    return stride
