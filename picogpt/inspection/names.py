"""The names of the values in a pass: TransformerLens's, without `hook_`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from picogpt.errors import PicoGPTError

Names = str | Iterable[str]  # of values; `*` stands for any characters, as in "*.pattern"

IN_A_BLOCK = (
    "resid_pre",
    "ln1.normalized",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.scores",
    "attn.pattern",
    "attn.z",
    "attn_out",
    "resid_mid",
    "ln2.normalized",
    "mlp.pre",
    "mlp.post",
    "mlp_out",
    "resid_post",
)


def value_names(n_layer: int) -> list[str]:
    """Every name, in the order of the pass."""
    in_blocks = [f"blocks.{i}.{name}" for i in range(n_layer) for name in IN_A_BLOCK]
    return ["embed", "pos_embed", *in_blocks, "ln_final.normalized", "logits"]


def without_hook(name: str) -> str:
    """Our spelling of a TransformerLens name: `blocks.0.attn.hook_attn_scores` is `blocks.0.attn.scores`."""
    return name.replace("hook_", "").replace(".attn_scores", ".scores")


def select(names: Names | None, n_layer: int) -> set[str]:
    """The names that match; None is all of them. Raises `PicoGPTError` for a name or pattern that matches nothing."""
    every = value_names(n_layer)
    if names is None:
        return set(every)
    chosen: set[str] = set()
    for pattern in [names] if isinstance(names, str) else names:
        matching = [name for name in every if fnmatchcase(name, without_hook(pattern))]
        if not matching:
            raise PicoGPTError(explain_no_match(pattern, n_layer))
        chosen.update(matching)
    return chosen


def explain_no_match(name: str, n_layer: int) -> str:
    """One line: what was asked for, and the nearest that there is."""
    layer = re.match(r"blocks\.(\d+)\.", name)
    if layer and int(layer[1]) >= n_layer:
        return f"no value is called {name!r}: {explain_no_layer(int(layer[1]), n_layer)}"
    patterns = [f"{start}.{short}" for start in ("*", "blocks.*") for short in IN_A_BLOCK]
    near = get_close_matches(without_hook(name), [*value_names(n_layer), *patterns], cutoff=0.4)
    nearest = f"the nearest names are {', '.join(near)}" if near else "picogpt.inspection.value_names lists the names"
    return f"no value is called {name!r}; {nearest}"


def explain_no_layer(layer: int, n_layer: int) -> str:
    return f"there is no layer {layer}, the model has layers 0 to {n_layer - 1}"


def check_layers(layers: Iterable[int], n_layer: int) -> None:
    """Raises `PicoGPTError` for a layer that does not exist."""
    for layer in layers:
        if not 0 <= layer < n_layer:
            raise PicoGPTError(explain_no_layer(layer, n_layer))


def check_heads(heads: Sequence[tuple[int, int]], n_layer: int, n_head: int) -> None:
    """Raises `PicoGPTError` for a layer that does not exist, or a head that its layer does not have."""
    check_layers((layer for layer, _ in heads), n_layer)
    for layer, head in heads:
        if not 0 <= head < n_head:
            raise PicoGPTError(f"there is no head {head} in layer {layer}, each layer has heads 0 to {n_head - 1}")
