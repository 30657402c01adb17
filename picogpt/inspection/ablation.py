"""Parts of the model switched off, or given the values of another prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.inspection.names import Names, check_heads, check_layers, select
from picogpt.inspection.targets import check_same_shape, position_in
from picogpt.inspection.trace import OF_EACH_HEAD, Change, Changes, Trace, run_with, traced
from picogpt.model import as_ids
from picogpt.types import Array, Params


def ablate_heads(
    inputs: npt.ArrayLike,
    params: Params,
    n_head: int,
    heads: Iterable[tuple[int, int]],
    mean_of: npt.ArrayLike | Trace | None = None,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """The logits without some heads, each (layer, head): their output z is zero.

    With `mean_of` it is their mean over the positions of those ids, which may be the inputs themselves. Raises
    `PicoGPTError` for a head that does not exist.
    """
    return run_with(inputs, params, n_head, without_heads(params, n_head, heads, mean_of))


def ablate_mlp(
    inputs: npt.ArrayLike,
    params: Params,
    n_head: int,
    layers: Iterable[int],
    mean_of: npt.ArrayLike | Trace | None = None,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """The logits when the feed-forward networks of some layers add nothing, or the mean of what they add."""
    return run_with(inputs, params, n_head, without_mlps(params, n_head, layers, mean_of))


def without_heads(
    params: Params, n_head: int, heads: Iterable[tuple[int, int]], mean_of: npt.ArrayLike | Trace | None = None
) -> Changes:
    """What `ablate_heads` changes, for `trace` and `run_with`."""
    heads = list(heads)
    check_heads(heads, len(params["blocks"]), n_head)
    of_layer: dict[str, list[int]] = {}
    for layer, head in heads:
        of_layer.setdefault(f"blocks.{layer}.attn.z", []).append(head)
    means = means_over_positions(mean_of, params, n_head, of_layer)

    def ablate(name: str) -> Change:
        def change(z: Array) -> Array:  # [..., n_seq, n_head, d_head]
            z[..., of_layer[name], :] = means[name][of_layer[name]] if means else 0
            return z

        return change

    return {name: ablate(name) for name in of_layer}


def without_mlps(
    params: Params, n_head: int, layers: Iterable[int], mean_of: npt.ArrayLike | Trace | None = None
) -> Changes:
    """What `ablate_mlp` changes, for `trace` and `run_with`."""
    layers = list(layers)
    check_layers(layers, len(params["blocks"]))
    names = [f"blocks.{layer}.mlp_out" for layer in layers]
    means = means_over_positions(mean_of, params, n_head, names)

    def ablate(name: str) -> Change:
        def change(out: Array) -> Array:  # [..., n_seq, n_embd]
            out[...] = means[name] if means else 0
            return out

        return change

    return {name: ablate(name) for name in names}


def means_over_positions(
    inputs: npt.ArrayLike | Trace | None, params: Params, n_head: int, names: Iterable[str]
) -> dict[str, Array]:
    """Each value's mean over the positions of all rows, but for pads; of None, none."""
    names = list(names)
    if inputs is None or not names:
        return {}
    values = traced(inputs, params, n_head, names)
    n_pad = np.zeros(values.ids.shape[:-1], int) if values.n_pad is None else np.asarray(values.n_pad)
    is_real = np.arange(values.ids.shape[-1]) >= n_pad[..., None]
    return {name: values[name][is_real].mean(axis=0) for name in names}


def patch(
    inputs: npt.ArrayLike,
    source: npt.ArrayLike | Trace,
    params: Params,
    n_head: int,
    names: Names,
    positions: Sequence[int] | None = None,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """The logits of `inputs` with the named values of `source` put in, at these positions or at all of them.

    Raises `PicoGPTError` where the two differ in shape, for a source with pads, for a position that does not exist,
    and for a name that matches nothing.
    """
    values = traced(source, params, n_head, names)
    if values.n_pad is not None:
        raise PicoGPTError("the source has pads, whose places would be another prompt's tokens; trace it without")
    ids = as_ids(inputs)
    check_same_shape(ids, values.ids)
    places = slice(None) if positions is None else [position_in(ids, position) for position in positions]

    def put_in(name: str) -> Change:
        axis = -3 if name.endswith(OF_EACH_HEAD) else -2  # that of the positions; in scores and pattern, the queries'

        def change(value: Array) -> Array:
            np.moveaxis(value, axis, 0)[places] = np.moveaxis(values[name], axis, 0)[places]
            return value

        return change

    return run_with(ids, params, n_head, {name: put_in(name) for name in select(names, len(params["blocks"]))})
