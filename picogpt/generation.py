"""Decoding: one loop that reads the prompts and then writes token by token, for one row or many.

Rows of different lengths stand right-aligned in one array of ids, so that every row's next token has the same
column. A pass reads the columns that the cache does not hold yet: at first all of the prompts, then the newest one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from picogpt.model import Params, hidden_states
from picogpt.sampling import Array, Ids, Transform, apply_transforms, draw, generators, log_softmax

FinishReason = Literal["stop", "length", "eos"]


class Token(NamedTuple):
    """One token as it is decoded. A row's last one has a finish reason; with "eos" it is the end token itself."""

    row: int
    id: int
    finish_reason: FinishReason | None
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()  # the most likely tokens and their log-probabilities, best first


class Continuation(NamedTuple):
    """Everything that was decoded behind one prompt. An end token is among the tokens, but not among the ids."""

    tokens: list[Token]
    finish_reason: FinishReason

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens if token.finish_reason != "eos"]


class Options(TypedDict, total=False):
    """How to decode; every entry may be left out."""

    transforms: Sequence[Transform]  # applied to the logits in this order, see `picogpt.sampling`
    rng: int | np.random.Generator | None  # a seed or a generator to sample with; None, the default, is greedy
    eot_token: int | None  # the token that ends a row; None, the default, never ends one
    stop: Callable[[Ids], bool]  # given the ids written so far, whether they are enough
    slide: bool  # at n_ctx go on behind the last half of the window; otherwise the row ends there
    n_samples: int  # continuations a prompt, default 1; row i * n_samples + j is prompt i's j-th
    n_top: int | None  # give log-probabilities, and those of the n most likely tokens; default None


def generate(
    inputs: Sequence[int], params: Params, n_head: int, n_tokens_to_generate: int, **options: Unpack[Options]
) -> list[int]:
    """The ids that follow `inputs`: n_tokens_to_generate of them, or fewer where an end comes first.

    Prompt and continuation together have at most n_ctx tokens, unless `slide` is given. The ids do not contain
    `inputs`, nor the end token. `Options` says what else can be chosen; the same seed gives the same ids again.
    Raises `PicoGPTError` for an empty prompt, one longer than n_ctx, and ids outside the vocabulary.
    """
    return list(generate_stream(inputs, params, n_head, n_tokens_to_generate, **options))


def generate_stream(
    inputs: Sequence[int], params: Params, n_head: int, n_tokens_to_generate: int, **options: Unpack[Options]
) -> Iterator[int]:
    """`generate`, each id as soon as it is chosen."""
    for token in decode([inputs], params, n_head, n_tokens_to_generate, **options):
        if token.finish_reason != "eos":
            yield token.id


def generate_batch(
    prompts: Sequence[Sequence[int]],
    params: Params,
    n_head: int,
    n_tokens_to_generate: int,
    **options: Unpack[Options],
) -> list[Continuation]:
    """`generate` for several prompts at once, with finish reasons; `n_samples` continuations of each.

    Each row is what it would be alone, as far as float32 goes: its draws are its own, and pads are not seen.
    """
    rows: list[list[Token]] = [[] for _ in range(len(prompts) * options.get("n_samples", 1))]
    for token in decode(prompts, params, n_head, n_tokens_to_generate, **options):
        rows[token.row].append(token)
    return [Continuation(row, (row[-1].finish_reason if row else None) or "length") for row in rows]


def decode(
    prompts: Sequence[Sequence[int]], params: Params, n_head: int, n_tokens: int, **options: Unpack[Options]
) -> Iterator[Token]:
    """The loop behind all of these: every row's tokens as they are chosen. Rows that have ended cost nothing."""
    transforms, eot_token, stop = options.get("transforms", ()), options.get("eot_token"), options.get("stop")
    rng, slide, n_top = options.get("rng"), options.get("slide", False), options.get("n_top")
    n_samples = options.get("n_samples", 1)

    rows = Rows(prompts, params, n_head, n_tokens)
    n_end = rows.end + n_tokens
    row_rngs = None if rng is None else generators(rng, len(prompts) * n_samples)
    if not slide:
        rows.keep(rows.lengths() < rows.n_ctx)
    while len(rows.names) and rows.end < n_end:
        rows.make_room()
        x = hidden_states(rows.unread(), **params, n_head=n_head, cache=rows.cache, n_pad=rows.n_pad())
        logits = x[:, -1] @ params["wte"].T
        if n_samples > 1 and rows.end == rows.n_prompt:
            rows.repeat(n_samples)
            logits = logits.repeat(n_samples, axis=0)

        scores = apply_transforms(transforms, logits, rows.so_far())
        if row_rngs is None:
            chosen = scores.argmax(axis=-1)
        else:
            chosen = draw(scores, np.array([row_rngs[name].random() for name in rows.names]))
        rows.append(chosen)

        full = np.full(len(chosen), rows.end == n_end)
        if not slide:
            full |= rows.lengths() >= rows.n_ctx
        alternatives = itertools.repeat((None, ())) if n_top is None else most_likely(logits, chosen, n_top)
        running = []
        for name, token, written, is_full, (logprob, top) in zip(
            rows.names.tolist(), chosen.tolist(), rows.written(), full.tolist(), alternatives, strict=False
        ):
            reason: FinishReason | None = None
            if token == eot_token:
                reason = "eos"
            elif stop is not None and stop(written):
                reason = "stop"
            elif is_full:
                reason = "length"
            yield Token(name, token, reason, logprob, top)
            running.append(reason is None)
        rows.keep(np.array(running))


def most_likely(
    logits: Array, chosen: Ids, n: int
) -> list[tuple[float, tuple[tuple[int, float], ...]]]:  # [batch, n_vocab], [batch]
    """Each row's log-probability of the chosen token, and the n most likely tokens with theirs, best first.

    These are the model's own, before any transform.
    """
    log_probs = log_softmax(logits)
    best = np.argsort(-log_probs, axis=-1, kind="stable")[:, :n]
    return [
        (float(row[token]), tuple((int(i), float(row[i])) for i in ids))
        for row, token, ids in zip(log_probs, chosen, best, strict=True)
    ]


class Rows:
    """The rows that are still being written, and how far the model has read them.

    `ids [n_rows, n_columns]` is filled up to column `end`; row i begins at column `first[i]`, and the model sees it
    from column `window[i]`. Position 0 of the cache is column `origin`.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], params: Params, n_head: int, n_tokens: int) -> None:
        self.n_ctx = len(params["wpe"])
        _check(prompts, self.n_ctx, n_tokens)
        self.n_prompt = self.end = max(map(len, prompts), default=0)
        self.first = np.array([self.end - len(prompt) for prompt in prompts], np.int64)
        self.window = self.first
        self.origin = 0
        self.names = np.arange(len(prompts))  # which row of the caller's this is
        self.ids = np.zeros((len(prompts), self.end + n_tokens), np.int64)
        for row, begin, prompt in zip(self.ids, self.first, prompts, strict=True):
            row[begin : self.end] = prompt
        self.cache = KVCache.for_params(params, n_head, (len(prompts),), self.end + n_tokens)

    def unread(self) -> Ids:  # [n_rows, n_new]
        return self.ids[:, self.origin + self.cache.length : self.end]

    def n_pad(self) -> npt.NDArray[Any] | None:  # [n_rows]
        """Columns between position 0 of the cache and each row's window; None where there are none."""
        n_pad = self.window - self.origin
        return n_pad if n_pad.any() else None

    def so_far(self) -> list[Ids]:
        """Each row's prompt and continuation."""
        return [row[begin : self.end] for row, begin in zip(self.ids, self.first.tolist(), strict=True)]

    def written(self) -> Ids:  # [n_rows, n_written]
        return self.ids[:, self.n_prompt : self.end]

    def lengths(self) -> Ids:  # [n_rows]
        return self.end - self.first

    def append(self, chosen: Ids) -> None:
        self.ids[:, self.end] = chosen
        self.end += 1

    def make_room(self) -> None:
        """Where the next pass would pass n_ctx: full rows go on behind the last half of their window."""
        if self.end - self.origin <= self.n_ctx:
            return
        full = self.end - self.window > self.n_ctx
        if full.any():  # positions are learned, so a window that moved must be read again
            self.window = np.where(full, self.end - max(self.n_ctx // 2, 1), self.window)
            self.cache.length = 0
        else:  # a longer row has ended and left pads before all others
            self.cache.trim(int(self.window.min()) - self.origin)
        self.origin = int(self.window.min())

    def repeat(self, n: int) -> None:
        """Every row n times, one behind the other."""
        self.names = (self.names[:, None] * n + np.arange(n)).ravel()
        self.ids, self.first, self.window = (x.repeat(n, axis=0) for x in (self.ids, self.first, self.window))
        self.cache = self.cache.repeat(n)

    def keep(self, running: npt.NDArray[np.bool_]) -> None:
        """Drop the other rows. Gaps are filled from behind, so that few rows move."""
        if running.all():
            return
        kept = np.flatnonzero(running)
        rows = np.arange(len(kept))
        rows[~running[: len(kept)]] = kept[kept >= len(kept)]
        self.names, self.ids, self.first, self.window = (
            x[rows] for x in (self.names, self.ids, self.first, self.window)
        )
        self.cache.select(rows)


def _check(prompts: Sequence[Sequence[int]], n_ctx: int, n_tokens: int) -> None:
    if n_tokens < 0:
        raise PicoGPTError(f"the number of tokens to generate must be 0 or more, not {n_tokens}")
    for prompt in prompts:
        if not len(prompt):
            raise PicoGPTError("the prompt is empty; start from the end-of-text token to have text from nothing")
        if len(prompt) > n_ctx:
            raise PicoGPTError(
                f"the prompt has {len(prompt)} tokens, more than the model's context of {n_ctx}; shorten it"
            )
