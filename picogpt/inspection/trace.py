"""One pass with its intermediate values: kept, or changed on the way.

Both are a `tap` of the plain formulas. Values have TransformerLens's shapes: `q k v z` are `[..., n_seq, n_head,
d_head]` here, where `model.py` computes with `[..., n_head, n_seq, d_head]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from picogpt import performance
from picogpt.checkpoints.loaded import Model
from picogpt.errors import PicoGPTError
from picogpt.inspection.names import IN_A_BLOCK, Names, explain_no_match, select, value_names, without_hook
from picogpt.inspection.targets import prompt_ids
from picogpt.types import Array, Ids, Params, Tap

Change = Callable[[Array], Array]  # gets a value, a copy of its own; returns what is used instead
Changes = Mapping[str, Change]  # name of a value, or a pattern -> its change

NO_CHANGES: Changes = MappingProxyType({})
OF_EACH_HEAD = tuple(f".attn.{name}" for name in "qkvz")


class Trace(dict[str, Array]):
    """The values of one pass by name, in its order, and the tokens they belong to.

    TransformerLens's spellings work too: `trace["blocks.0.attn.hook_pattern"]` and `trace["pattern", 0]`. The arrays
    are read-only, since one array may be the value of two names. Raises `PicoGPTError` for a value that is not there.
    """

    def __init__(self, ids: Ids, n_layer: int, changes: Changes, n_pad: Ids | None = None) -> None:
        super().__init__()
        self.ids, self.n_layer, self.changes, self.n_pad = ids, n_layer, changes, n_pad
        self.tokens: list[str] = []  # what each id of a text stands for; of a trace of ids there are none
        self.model: Model | None = None  # that made them; `picogpt.inspection.page` asks it what tokens mean

    def __getitem__(self, name: str | tuple[str, int]) -> Array:
        return super().__getitem__(name if isinstance(name, str) else in_layer(*name))

    def __missing__(self, name: str) -> Array:
        if (ours := without_hook(name)) in self:
            return self[ours]
        if ours in value_names(self.n_layer):
            raise PicoGPTError(f"the trace was made without {ours}; name it there, or give no names to keep all values")
        raise PicoGPTError(explain_no_match(name, self.n_layer))

    def __repr__(self) -> str:
        size = sum(array.nbytes for array in self.values()) / 1e6
        return f"<Trace of {self.ids.size} tokens: {len(self)} values, {size:.3g} MB>"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: attention with hover, the lens, next tokens and shapes, as far as they were kept."""
        from picogpt.inspection.page import frame

        return frame(self)


def in_layer(name: str, layer: int) -> str:
    """TransformerLens's short form: `"pattern", 0` is `blocks.0.attn.pattern`."""
    short = without_hook(f".{name}")
    places = [place for place in IN_A_BLOCK if f".{place}".endswith(short)]
    return f"blocks.{layer}.{places[0] if len(places) == 1 else name}"


def trace(
    inputs: npt.ArrayLike,
    params: Params,
    n_head: int,
    names: Names | None = None,
    *,
    changes: Changes = NO_CHANGES,
    n_pad: Ids | None = None,
) -> Trace:
    """The values of the pass over `inputs`, ids `[n_seq]` or `[batch, n_seq]`; with `names`, only those that match.

    docs/inspection.md lists names and shapes. `changes` are those of `run_with`; what they return is what is kept.
    `n_pad [batch]` counts the pads on the left of each row. Raises `PicoGPTError` for a name that matches nothing and
    for what `gpt2` refuses.
    """
    wanted = select(names, len(params["blocks"]))
    values = Trace(prompt_ids(inputs), len(params["blocks"]), changes, n_pad)
    change = tap_of(changes, values.n_layer)

    def keep(name: str, array: Array) -> Array:
        array = change(name, array)
        if name in wanted:
            values[name] = read_only(positions_first(name, array))
        return array

    run = performance.gpt2 if "logits" in wanted else performance.hidden_states
    run(values.ids, **params, n_head=n_head, n_pad=n_pad, tap=keep)
    return values


def read_only(array: Array) -> Array:
    """A view that cannot be written to; of a part of a larger array a copy, or all of that would stay in memory."""
    is_part = array.base is not None and array.base.nbytes > array.nbytes
    view = array.copy() if is_part else array.view()
    view.flags.writeable = False
    return view


def positions_first(name: str, array: Array) -> Array:
    """A head's values with the position before the head, as TransformerLens has them; of these, the way back."""
    return array.swapaxes(-2, -3) if name.endswith(OF_EACH_HEAD) else array


def traced(inputs: npt.ArrayLike | Trace, params: Params, n_head: int, names: Names) -> Trace:
    """`inputs` if they are a trace that has these values, else a trace of them."""
    if not isinstance(inputs, Trace):
        return trace(inputs, params, n_head, names)
    if select(names, len(params["blocks"])) <= inputs.keys():
        return inputs
    return trace(inputs.ids, params, n_head, names, changes=inputs.changes, n_pad=inputs.n_pad)


def run_with(
    inputs: npt.ArrayLike, params: Params, n_head: int, changes: Changes, *, n_pad: Ids | None = None
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """The logits when values are changed on the way: name -> function of the value, which returns its replacement.

    A name may be a pattern. The function may work in place, for the array is its own. Without changes the logits are
    those of `trace`, to the bit. Raises `PicoGPTError` for a name that matches nothing, and for a replacement of
    another shape.
    """
    tap = tap_of(changes, len(params["blocks"]))
    return performance.gpt2(prompt_ids(inputs), **params, n_head=n_head, n_pad=n_pad, tap=tap)


def tap_of(changes: Changes, n_layer: int) -> Tap:
    """The tap that applies the functions to the values they are for, in their order."""
    functions: dict[str, list[Change]] = {}
    for pattern, function in changes.items():
        for name in select(pattern, n_layer):
            functions.setdefault(name, []).append(function)

    def change(name: str, array: Array) -> Array:
        for function in functions.get(name, ()):
            array = positions_first(name, changed(name, positions_first(name, array), function))
        return array

    return change


def changed(name: str, value: Array, function: Change) -> Array:
    """What the function makes of the value, in the value's shape and dtype."""
    replacement = np.asarray(function(value.copy(order="K")))
    if replacement.shape != value.shape:
        raise PicoGPTError(
            f"the function for {name} must return an array of shape {value.shape}, not {replacement.shape}"
        )
    return replacement.astype(value.dtype, copy=False)


def hidden_states(inputs: npt.ArrayLike | Trace, params: Params, n_head: int) -> tuple[Array, ...]:
    """transformers' `hidden_states`: n_layer + 1 arrays `[..., n_seq, n_embd]`, the last of them after `ln_f`."""
    names = [*(f"blocks.{i}.resid_pre" for i in range(len(params["blocks"]))), "ln_final.normalized"]
    values = traced(inputs, params, n_head, names)
    return tuple(values[name] for name in names)


def attentions(inputs: npt.ArrayLike | Trace, params: Params, n_head: int) -> tuple[Array, ...]:
    """transformers' `attentions`: each layer's pattern `[..., n_head, n_q, n_k]`, whose rows sum to one."""
    values = traced(inputs, params, n_head, "blocks.*.attn.pattern")
    return tuple(values[f"blocks.{i}.attn.pattern"] for i in range(len(params["blocks"])))
