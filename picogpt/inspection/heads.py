"""The heads that people look for first, told by where they look.

A score is between 0 and 1: the attention that a head pays to the positions in question, as a mean over the queries
that have such a position. Patterns are what `attentions` gives: for each layer `[..., n_head, n_seq, n_seq]`, of rows
without pads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.inspection.trace import attentions
from picogpt.model import as_ids
from picogpt.types import Array, Ids, Params

REPEAT = "give a prompt in which a token occurs twice"


def attention_entropy(patterns: Sequence[Array]) -> Array:  # -> [n_layer, ..., n_head, n_q]
    """How widely each query looks, in nats: 0 at a single key, log n evenly at n keys."""
    return np.stack([-(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1) for p in patterns])


def previous_token_scores(patterns: Sequence[Array]) -> Array:  # -> [n_layer, n_head]
    """Attention to the position just before."""
    return attention_to(patterns, np.eye(patterns[0].shape[-1], k=-1, dtype=bool), "give two tokens or more")


def previous_token_weights(patterns: Sequence[Array]) -> Array:  # -> [n_layer, ..., n_head, n_q]
    """Each query's attention to the position just before it; the first one has none, so there it is not a number."""
    weights = np.full((len(patterns), *patterns[0].shape[:-1]), np.nan, patterns[0].dtype)
    for layer, pattern in zip(weights, patterns, strict=True):
        layer[..., 1:] = np.diagonal(pattern, -1, axis1=-2, axis2=-1)
    return weights


def duplicate_token_scores(patterns: Sequence[Array], ids: npt.ArrayLike) -> Array:  # -> [n_layer, n_head]
    """Attention to earlier occurrences of the query's token; raises `PicoGPTError` where no token occurs twice."""
    return attention_to(patterns, earlier_occurrences(as_ids(ids)), REPEAT)


def prefix_matching_scores(patterns: Sequence[Array], ids: npt.ArrayLike) -> Array:  # -> [n_layer, n_head]
    """Attention to the positions right after earlier occurrences of the query's token: what an induction head does.

    Olsson et al. 2022, "In-context Learning and Induction Heads". Raises `PicoGPTError` where no token occurs twice.
    """
    occurrences = earlier_occurrences(as_ids(ids))
    after = np.zeros_like(occurrences)
    after[..., 1:] = occurrences[..., :-1]
    return attention_to(patterns, after, REPEAT)


def induction_scores(
    params: Params, n_head: int, n_tokens: int | None = None, n_rows: int = 4, prefix: Sequence[int] = (), seed: int = 0
) -> Array:  # -> [n_layer, n_head]
    """Prefix matching where nothing but repetition can be known: different random tokens, and the same once more.

    It is the mean over `n_rows` such sequences of twice `n_tokens` (50, or as many as there are or fit) after
    `prefix`, for which models that were trained with an end-of-text token want that one. Raises `PicoGPTError` for
    sequences that do not fit into the model's context.
    """
    tokens = np.setdiff1d(np.arange(params["wte"].shape[0]), prefix)
    most = min(len(tokens), (params["wpe"].shape[0] - len(prefix)) // 2)
    n_tokens = min(50, most) if n_tokens is None else n_tokens
    if not 2 <= n_tokens <= most:
        raise PicoGPTError(f"the random sequence must have from 2 to {most} tokens, not {n_tokens}")
    if n_rows < 1:
        raise PicoGPTError(f"n_rows must be 1 or more, not {n_rows}")
    rng = np.random.default_rng(seed)
    once = [rng.choice(tokens, n_tokens, replace=False).tolist() for _ in range(n_rows)]
    ids = as_ids([[*prefix, *row, *row] for row in once])
    return prefix_matching_scores(attentions(ids, params, n_head), ids)


def earlier_occurrences(ids: Ids) -> npt.NDArray[np.bool_]:  # [..., n_seq] -> [..., n_q, n_k]
    """Where the key is the query's token, and earlier."""
    n_seq = ids.shape[-1]
    return (ids[..., :, None] == ids[..., None, :]) & np.tri(n_seq, n_seq, -1, dtype=bool)


def attention_to(
    patterns: Sequence[Array], places: npt.NDArray[np.bool_], hint: str
) -> Array:  # [..., n_q, n_k] -> [n_layer, n_head]
    """The attention that falls on these places, as a mean over the queries, of every row, that have any."""
    *batch, n_head, n_q, n_k = patterns[0].shape
    if places.shape[-1] != n_k:
        raise PicoGPTError(f"the patterns are of {n_k} tokens, the ids are {places.shape[-1]}; give both of one prompt")
    n_queries = np.broadcast_to(places.any(axis=-1), (*batch, n_q)).sum()
    if not n_queries:
        raise PicoGPTError(f"no token of the prompt has a position to be scored for: {hint}")
    attended = [(pattern * places[..., None, :, :]).sum(axis=(-1, -2)).reshape(-1, n_head) for pattern in patterns]
    return np.stack([rows.sum(axis=0) / int(n_queries) for rows in attended])
