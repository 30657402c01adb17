"""The same GPT-2 as `model.py`, at the speed of the memory. Everything here may be left out when reading.

This is the one place that chooses how a pass is computed: in plain formulas where a `tap` is given, by the short
form where one position of one row continues a cache, side by side where rows have nothing in common, and otherwise in
parts by the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy.typing as npt

from picogpt import model
from picogpt.cache import KVCache
from picogpt.model import as_ids, as_is
from picogpt.performance import driver, ragged, step
from picogpt.performance.pace import pace_of
from picogpt.performance.rowwise import by_rows
from picogpt.performance.thresholds import ROW_BLOCK
from picogpt.types import Array, Ids, Params, Tap

__all__ = ["gpt2", "hidden_states", "project", "ragged_hidden_states"]


def hidden_states(
    inputs: npt.ArrayLike,
    wte: Array,
    wpe: Array,
    blocks: list[Params],
    ln_f: Params,
    n_head: int,
    *,
    cache: KVCache | None = None,
    n_pad: Ids | None = None,
    tap: Tap = as_is,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_embd]
    """The last hidden states: what `model.hidden_states` gives, up to rounding. Only at pads is it something else."""
    ids = as_ids(inputs)
    params: Params = {"wte": wte, "wpe": wpe, "blocks": blocks, "ln_f": ln_f}
    if tap is not as_is:
        with pace_of(ids.size, wpe.shape[-1]) as layer_done:
            paced = after_each_layer(tap, layer_done)
            return model.hidden_states(ids, **params, n_head=n_head, cache=cache, n_pad=n_pad, tap=paced)
    if ids.size == 1 and cache is not None and n_pad is None:
        return step.hidden_states(ids, **params, n_head=n_head, cache=cache)
    return driver.hidden_states(ids, **params, n_head=n_head, cache=cache, n_pad=n_pad)


def ragged_hidden_states(
    inputs: Sequence[Ids],
    wte: Array,
    wpe: Array,
    blocks: list[Params],
    ln_f: Params,
    n_head: int,
    *,
    caches: Sequence[KVCache],
) -> list[Array]:  # [n_seq] each -> [n_seq, n_embd] each
    """`hidden_states` of several rows, each with a length and a cache (without a batch axis) of its own, in one pass.

    A row that is alone gets, bit for bit, what `hidden_states` gives it.
    """
    params: Params = {"wte": wte, "wpe": wpe, "blocks": blocks, "ln_f": ln_f}
    if len(inputs) == 1:
        return [hidden_states(inputs[0], **params, n_head=n_head, cache=caches[0])]
    return ragged.hidden_states(inputs, **params, n_head=n_head, caches=caches)


def after_each_layer(tap: Tap, layer_done: Callable[[], None]) -> Tap:
    """The tap, and a call when a layer's last value has been seen."""

    def tap_and_call(name: str, array: Array) -> Array:
        array = tap(name, array)
        if name.endswith(".resid_post"):
            layer_done()
        return array

    return tap_and_call


def project(x: Array, wte: Array) -> Array:  # [..., n_embd], [n_vocab, n_embd] -> [..., n_vocab]
    """The logits x wteᵀ, of a batch as one product over all of its rows: NumPy would read wte once for each."""
    rows = x.reshape(-1, x.shape[-1])
    with pace_of(*rows.shape):
        logits = by_rows(partial(_times, wte.T), rows, n_rows=ROW_BLOCK)
    return logits.reshape(*x.shape[:-1], -1)


def _times(w: Array, x: Array) -> Array:
    return x @ w


def gpt2(
    inputs: npt.ArrayLike,
    wte: Array,
    wpe: Array,
    blocks: list[Params],
    ln_f: Params,
    n_head: int,
    *,
    cache: KVCache | None = None,
    n_pad: Ids | None = None,
    tap: Tap = as_is,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """Logits of the next token after every token of `inputs`, as `model.gpt2` defines them; see there."""
    x = hidden_states(inputs, wte, wpe, blocks, ln_f, n_head, cache=cache, n_pad=n_pad, tap=tap)
    return tap("logits", project(x, wte))
