"""Decoding: one loop that reads the prompts and then writes token by token, for one row or many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, NamedTuple, TypedDict, Unpack

import numpy as np

from picogpt.decoding.lookup import LookupRows
from picogpt.decoding.ranges import check_range
from picogpt.decoding.rows import Rows, check_logits
from picogpt.decoding.sampling import Transform, apply_transforms, choose, generators, log_softmax, near_tie
from picogpt.errors import PicoGPTError
from picogpt.types import Array, Ids, Params

FinishReason = Literal["stop", "length", "eos"]


class Token(NamedTuple):
    """One token as it is decoded. A row's last one has a finish reason; with "eos" it is the end token itself."""

    row: int
    id: int
    finish_reason: FinishReason | None
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()  # the most likely tokens and their log-probabilities, best first


class Continuation(NamedTuple):
    """Everything that was decoded after one prompt. An end token is among the tokens, but not among the ids."""

    tokens: list[Token]
    finish_reason: FinishReason

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens if token.finish_reason != "eos"]


class Options(TypedDict, total=False):
    """How to decode; every entry may be left out."""

    transforms: Sequence[Transform]  # applied to the logits in this order, see `picogpt.decoding.sampling`
    rng: int | np.random.Generator | None  # a seed or a generator to sample with; None, the default, is greedy
    eot_token: int | Collection[int] | None  # the token that ends a row, or several; None, the default: none does
    stop: Callable[[Ids], bool]  # given the ids written so far, whether they are enough
    slide: bool  # at n_ctx continue after the last half of the window; otherwise the row ends there
    n_samples: int  # continuations a prompt, 1 (the default) to 1000; row i * n_samples + j is prompt i's j-th
    lookup: bool  # one row only: guess tokens from earlier text, check many in one pass, see `picogpt.decoding.lookup`
    n_top: int | None  # give log-probabilities, and those of the n most likely tokens; default None


def generate(
    inputs: Sequence[int], params: Params, n_head: int, n_tokens_to_generate: int, **options: Unpack[Options]
) -> list[int]:
    """The ids that follow `inputs`: n_tokens_to_generate of them, or fewer where an end comes first.

    Prompt and continuation together have at most n_ctx tokens, unless `slide` is given. The ids do not contain
    `inputs`, nor the end token. `Options` says what else can be chosen; the same seed gives the same ids again.
    Raises `PicoGPTError` for an empty prompt, one longer than n_ctx, and ids outside the vocabulary; also when the
    transforms leave no token to choose from, and for weights that are not finite.
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
    n_samples = options.get("n_samples", 1)
    check_range("the number of samples", n_samples)
    rows: list[list[Token]] = [[] for _ in range(len(prompts) * n_samples)]
    for token in decode(prompts, params, n_head, n_tokens_to_generate, **options):
        rows[token.row].append(token)
    return [Continuation(row, (row[-1].finish_reason if row else None) or "length") for row in rows]


def decode(
    prompts: Sequence[Sequence[int]],
    params: Params,
    n_head: int,
    n_tokens: int,
    *,
    transforms: Sequence[Transform] = (),
    rng: int | np.random.Generator | None = None,
    eot_token: int | Collection[int] | None = None,
    stop: Callable[[Ids], bool] | None = None,
    slide: bool = False,
    n_samples: int = 1,
    lookup: bool = False,
    n_top: int | None = None,
) -> Iterator[Token]:
    """The loop under all of these: every row's tokens as they are chosen. Rows that have ended cost nothing."""
    check_range("the number of samples", n_samples)
    if n_top is not None:
        check_range("the number of log-probabilities", n_top)
    if lookup and len(prompts) * n_samples != 1:
        raise PicoGPTError(f"lookup decodes one row, not {len(prompts) * n_samples}; leave it out for several")
    end_tokens = as_set(eot_token)
    rows = (LookupRows if lookup else Rows)(prompts, params, n_head, n_tokens)
    row_rngs = None if rng is None else generators(rng, len(prompts) * n_samples)
    if not slide:
        rows.keep(rows.lengths() < rows.n_ctx)

    def transformed(logits: Array) -> Array:
        return apply_transforms(transforms, logits, rows.so_far()) if transforms else logits

    while len(rows.row_ids) and rows.end < rows.n_end:
        logits = rows.next_logits()
        check_logits(logits, params)
        if n_samples > 1 and rows.end == rows.n_prompt:
            rows.repeat(n_samples)
            logits = logits.repeat(n_samples, axis=0)
        uniforms = None if row_rngs is None else np.array([row_rngs[row].random() for row in rows.row_ids])
        scores = transformed(logits)
        if not rows.exact and near_tie(scores, uniforms):
            logits = rows.exact_logits()
            scores = transformed(logits)
        chosen = choose(scores, uniforms)
        rows.append(chosen)

        alternatives = itertools.repeat((None, ())) if n_top is None else most_likely(logits, chosen, n_top)
        running = []
        for row, token, written, length, (logprob, top) in zip(
            rows.row_ids.tolist(), chosen.tolist(), rows.written(), rows.lengths().tolist(), alternatives, strict=False
        ):
            is_full = rows.end == rows.n_end or (length >= rows.n_ctx and not slide)
            reason = finish_reason(token, written, end_tokens, stop, is_full)
            yield Token(row, token, reason, logprob, top)
            running.append(reason is None)
        rows.keep(running)


def as_set(eot_token: int | Collection[int] | None) -> frozenset[int]:
    """The tokens that end a row."""
    return frozenset(() if eot_token is None else [eot_token] if isinstance(eot_token, int) else eot_token)


def finish_reason(
    token: int, written: Ids, end_tokens: Collection[int], stop: Callable[[Ids], bool] | None, is_full: bool
) -> FinishReason | None:
    """Why a row ends with this token, the last of `written`; None if it goes on. `is_full`: there is no room to."""
    if token in end_tokens:
        return "eos"
    if stop is not None and stop(written):
        return "stop"
    return "length" if is_full else None


def most_likely(
    logits: Array, chosen: Ids, n: int
) -> list[tuple[float, tuple[tuple[int, float], ...]]]:  # [batch, n_vocab], [batch]
    """Each row's log-probability of the chosen token, and the n most likely tokens with theirs, best first.

    These are the model's own, before any transform.
    """
    return [
        (float(row[token]), tuple((i, float(row[i])) for i in largest_n(row, n)))
        for row, token in zip(log_softmax(logits), chosen, strict=True)
    ]


def largest_n(x: Array, n: int) -> list[int]:  # [n_all]
    """Where the n largest are, the largest first, equal ones in their order; only these are sorted."""
    if n == 0:
        return []
    candidates = np.flatnonzero(x >= np.partition(x, -n)[-n]) if n < len(x) else np.arange(len(x))
    return candidates[np.argsort(-x[candidates], kind="stable")][:n].tolist()
