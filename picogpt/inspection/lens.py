"""What each layer would predict: the logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens")."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.inspection.trace import Trace, traced
from picogpt.model import layer_norm
from picogpt.performance import project
from picogpt.performance.thresholds import VOCABULARY_BLOCK
from picogpt.types import Array, Ids, Params


class LogitLens(NamedTuple):
    """The predictions after each layer, `[n_layer, ..., n_seq]` each; those of the last layer are the model's."""

    ids: Ids  # [n_layer, ..., n_seq, k]: the most likely next tokens, the likeliest first
    probabilities: Array  # [n_layer, ..., n_seq, k]: theirs
    kl: Array  # KL(model ‖ layer), in nats: how much worse the layer knows what the model will say
    target_rank: Ids | None  # 1 is the likeliest
    target_probability: Array | None


def logit_lens(
    inputs: npt.ArrayLike | Trace, params: Params, n_head: int, target: npt.ArrayLike | None = None, k: int = 5
) -> LogitLens:
    """`ln_f` and the projection to the vocabulary, applied to each layer's `resid_post`.

    `target` is a token's id, or ids that have the inputs' shape, such as the tokens that really come next. Raises
    `PicoGPTError` for a target outside the vocabulary or of another shape, and for a k that is not 1 to n_vocab.
    """
    values = traced(inputs, params, n_head, "blocks.*.resid_post")
    n_vocab, shape = params["wte"].shape[0], values.ids.shape
    if not 1 <= k <= n_vocab:
        raise PicoGPTError(f"k must be from 1 to the {n_vocab} tokens of the vocabulary, not {k}")
    targets = None if target is None else check_targets(target, shape, n_vocab).reshape(-1)
    layers = [values[f"blocks.{i}.resid_post"].reshape(-1, params["wpe"].shape[1]) for i in range(values.n_layer)]
    n_rows = len(layers[0])
    ids, rank = np.empty((len(layers), n_rows, k), np.int64), np.empty((len(layers), n_rows), np.int64)
    top, kl, probability = (np.empty((len(layers), n_rows, *last), layers[0].dtype) for last in ((k,), (), ()))
    for start in range(0, n_rows, VOCABULARY_BLOCK):  # all positions at once may be gigabytes
        rows = slice(start, start + VOCABULARY_BLOCK)
        model = log_softmax(project(layer_norm(layers[-1][rows], **params["ln_f"]), params["wte"]))
        for i, layer in enumerate(layers):
            log_probs = log_softmax(project(layer_norm(layer[rows], **params["ln_f"]), params["wte"]))
            ids[i, rows] = likeliest(log_probs, k)
            top[i, rows] = np.exp(np.take_along_axis(log_probs, ids[i, rows], axis=-1))
            kl[i, rows] = (np.exp(model) * (model - log_probs)).sum(axis=-1)
            if targets is not None:
                of_target = np.take_along_axis(log_probs, targets[rows, None], axis=-1)
                rank[i, rows] = 1 + (log_probs > of_target).sum(axis=-1)
                probability[i, rows] = np.exp(of_target[:, 0])
    whole = len(layers), *shape
    return LogitLens(
        ids.reshape(*whole, k),
        top.reshape(*whole, k),
        kl.reshape(whole),
        None if targets is None else rank.reshape(whole),
        None if targets is None else probability.reshape(whole),
    )


def check_targets(target: npt.ArrayLike, shape: tuple[int, ...], n_vocab: int) -> Ids:
    """The target of every position; raises `PicoGPTError` where they do not fit the inputs or the vocabulary."""
    targets = np.asarray(target)
    if targets.shape not in {(), shape}:
        raise PicoGPTError(f"the target must be one id or ids of shape {shape}, not of shape {targets.shape}")
    if wrong := targets[(targets < 0) | (targets >= n_vocab)].tolist():
        raise PicoGPTError(f"token id {wrong[0]} is outside the vocabulary, which has ids 0 to {n_vocab - 1}")
    return np.broadcast_to(targets, shape)


def log_softmax(logits: Array) -> Array:  # [..., n] -> [..., n]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def likeliest(log_probs: Array, k: int) -> Ids:  # [n_rows, n_vocab] -> [n_rows, k]
    """The ids of the k largest, the largest first."""
    ids = np.argpartition(log_probs, -k, axis=-1)[:, -k:]
    order = np.argsort(-np.take_along_axis(log_probs, ids, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(ids, order, axis=-1)
