"""Beam search: the likeliest continuations as a whole, found by keeping the best few beginnings at every step.

Scores, ends and order are those of Hugging Face's `generate(num_beams=…)`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np

from picogpt.cache import KVCache
from picogpt.decoding.loop import FinishReason, as_set
from picogpt.decoding.ranges import check_range
from picogpt.decoding.rows import check_logits, check_prompts
from picogpt.decoding.sampling import NO_TOKEN_LEFT, Transform, apply_transforms, log_softmax
from picogpt.errors import PicoGPTError
from picogpt.performance import hidden_states, project
from picogpt.performance.layout import cache_memory, for_decoding
from picogpt.performance.thresholds import MANY_TOKENS
from picogpt.types import Array, Ids, Params


class Beam(NamedTuple):
    """A finished continuation. The score counts the end token, the ids do not contain it."""

    ids: list[int]
    score: float  # log-probability / (number of tokens ** length_penalty)
    finish_reason: FinishReason


def beam_search(
    inputs: Sequence[int],
    params: Params,
    n_head: int,
    n_tokens_to_generate: int,
    n_beams: int,
    *,
    transforms: Sequence[Transform] = (),
    eot_token: int | Collection[int] | None = None,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    n_best: int = 1,
) -> list[Beam]:
    """The n_best of n_beams continuations of `inputs`, best first; each ends at the end token or at full length.

    There are 1 to 1000 beams. A length_penalty, from -10 to 10, favours long continuations if it is above 0, and short
    ones below. The search ends when n_beams
    continuations are finished and, with early_stopping False, the best unfinished one would not displace one of them
    if it ended now; with "never", if it ended at any length; with True at once. Raises `PicoGPTError` for
    an empty prompt, one longer than n_ctx, and fewer beams than n_best; also when the transforms leave no token to any
    beam, and for weights that are not finite.
    """
    check_range("the number of beams", n_beams)
    check_range("length_penalty", length_penalty)
    if not 1 <= n_best <= n_beams:
        raise PicoGPTError(f"of {n_beams} beams {n_best} cannot be the best; use 1 beam or more and n_best up to that")
    n_ctx = len(params["wpe"])
    check_prompts([inputs], n_ctx, n_tokens_to_generate)
    if n_tokens_to_generate >= MANY_TOKENS:
        params = for_decoding(params)
    end_tokens = sorted(as_set(eot_token))
    n_prompt = len(inputs)
    n_end = min(n_prompt + n_tokens_to_generate, n_ctx)
    if n_end == n_prompt:
        return [Beam([], 0.0, "length")]

    ids = np.zeros((1, n_end), np.int64)
    ids[0, :n_prompt] = inputs
    scores: Array = np.zeros(1)  # log-probability of each running beam
    cache = KVCache.for_params(params, n_head, (1,), n_end, cache_memory)
    finished: list[Beam] = []
    for end in range(n_prompt, n_end):
        x = hidden_states(ids[:, cache.length : end], **params, n_head=n_head, cache=cache)[:, -1]
        logits = project(x, params["wte"])
        check_logits(logits, params)
        log_probs = apply_transforms(transforms, log_softmax(logits), ids[:, :end])
        # a beam has no more candidates that are ends than there are end tokens, so at least n_beams continue
        n_candidates = (1 + max(1, len(end_tokens))) * n_beams
        parents, tokens, candidate_scores = best_candidates(scores[:, None] + log_probs, n_candidates)
        n_written = end + 1 - n_prompt
        is_end = np.isin(tokens, end_tokens)
        ends = is_end if end + 1 < n_end else np.ones(len(tokens), bool)
        for i in np.flatnonzero(ends[:n_beams]):
            written = ids[parents[i], n_prompt:end].tolist()
            score = float(candidate_scores[i]) / n_written**length_penalty
            finished.append(
                Beam(written, score, "eos") if is_end[i] else Beam([*written, int(tokens[i])], score, "length")
            )
        finished = sorted(finished, key=lambda beam: -beam.score)[:n_beams]

        running = np.flatnonzero(~ends)[:n_beams]
        if not len(running):
            if not finished:
                raise PicoGPTError(NO_TOKEN_LEFT)
            break
        if len(finished) == n_beams:
            n_hoped = n_end - n_prompt if early_stopping == "never" and length_penalty > 0 else n_written
            hope = float(candidate_scores[running[0]]) / n_hoped**length_penalty
            if early_stopping is True or hope <= finished[-1].score:
                break

        running = running[stay_in_place(parents[running])]
        rows, scores = parents[running], candidate_scores[running]
        n_copies = -(-len(rows) // len(ids))
        if n_copies > 1:
            cache = cache.repeat(n_copies)
        cache.select(rows * n_copies, start=n_prompt)
        ids = ids[rows]
        ids[:, end] = tokens[running]
    return finished[:n_best]


def best_candidates(scores: Array, n: int) -> tuple[Ids, Ids, Array]:  # [n_rows, n_vocab] -> [n], [n], [n]
    """Row, token and score of the n best, best first; fewer where fewer are possible."""
    flat = scores.ravel()
    best = np.argpartition(-flat, min(n, flat.size) - 1)[:n]
    best = best[np.argsort(-flat[best], kind="stable")]
    best = best[flat[best] > -np.inf]
    rows, tokens = np.divmod(best, scores.shape[-1])
    return rows, tokens, flat[best]


def stay_in_place(parents: Ids) -> Ids:  # [n] -> [n]
    """An order of beams in which as many as can be are in their parent's row, so that the cache moves few rows."""
    order = np.full(len(parents), -1)
    others = []
    for i, parent in enumerate(parents.tolist()):
        if parent < len(order) and order[parent] < 0:
            order[parent] = i
        else:
            others.append(i)
    order[order < 0] = others
    return order
