"""Where the difference between two prompts is decided: activation patching (Meng et al. 2022; Wang et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.inspection.targets import check_same_shape, logit_direction, prompt_ids
from picogpt.inspection.trace import Trace, trace
from picogpt.model import layer_norm, transformer_block
from picogpt.performance.driver import through_blocks
from picogpt.types import Array, Ids, Params

Kind = Literal["resid_pre", "attn_out", "mlp_out", "heads"]
Progress = Callable[[int, int], object]  # gets how many patches are done, and of how many; may raise, to stop

VALUES: dict[Kind, str] = {"resid_pre": "resid_pre", "attn_out": "attn_out", "mlp_out": "mlp_out", "heads": "attn.z"}
KINDS = tuple(VALUES)
PASS_TOKENS = 1024  # of all rows together in one pass; the hidden layer of 124M is 12 MB then


class ActivationPatching(NamedTuple):
    """How far each patch brings the corrupted prompt's answer back: 0 is not at all, 1 to that of the clean prompt."""

    clean: float  # the answer, a logit difference
    corrupted: float
    restored: dict[Kind, Array]  # heads: [n_layer, n_head], the others: [n_layer, n_seq]


def activation_patching(
    clean: npt.ArrayLike,
    corrupted: npt.ArrayLike,
    params: Params,
    n_head: int,
    target: int,
    foil: int | None = None,
    kinds: Sequence[Kind] = KINDS,
    progress: Progress | None = None,
) -> ActivationPatching:
    """Run the corrupted prompt with one value of the clean prompt at a time put in, and see what the answer becomes.

    The answer is the target's logit less the foil's (or the target's alone) after the last token. A patch is
    `resid_pre`, `attn_out` or `mlp_out` of one layer at one position, or the output of one head at all positions.
    Raises `PicoGPTError` for prompts of different lengths, for two that give the same answer, and for a kind or a
    token that does not exist.
    """
    steps = patching_steps(clean, corrupted, params, n_head, target, foil, kinds)
    while True:
        try:
            n_done, n_patches = next(steps)
        except StopIteration as end:
            result: ActivationPatching = end.value
            return result
        if progress is not None:
            progress(n_done, n_patches)


def patching_steps(
    clean: npt.ArrayLike,
    corrupted: npt.ArrayLike,
    params: Params,
    n_head: int,
    target: int,
    foil: int | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> Generator[tuple[int, int], None, ActivationPatching]:
    """`activation_patching` in steps; each yields how many patches are done, and of how many."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise PicoGPTError(f"{unknown[0]!r} cannot be patched; choose of {', '.join(KINDS)}")
    ids = one_prompt(corrupted)
    direction = logit_direction(params, target, foil)
    of_clean, of_corrupted = traces(one_prompt(clean), ids, params, n_head, kinds)
    ends = [float(values["ln_final.normalized"][-1] @ direction) for values in (of_clean, of_corrupted)]
    if ends[0] == ends[1]:
        raise PicoGPTError("both prompts give the same answer, so there is no difference to restore")

    n_layer = of_clean.n_layer
    restored: dict[Kind, Array] = {}
    for kind in kinds:
        restored[kind] = np.empty((n_layer, n_head if kind == "heads" else len(ids)), direction.dtype)
    n_done, n_patches = 0, sum(array.size for array in restored.values())
    for kind, array in restored.items():
        for layer in range(n_layer):
            for places in batches(array.shape[1], len(ids)):
                x = patched_states(of_clean, of_corrupted, params, n_head, kind, layer, places)
                answers = layer_norm(x[:, -1], **params["ln_f"]) @ direction
                array[layer, places] = (answers - ends[1]) / (ends[0] - ends[1])
                n_done += len(places)
                yield n_done, n_patches
    return ActivationPatching(ends[0], ends[1], restored)


def one_prompt(inputs: npt.ArrayLike) -> Ids:  # [n_seq]
    """The ids of one prompt; raises `PicoGPTError` for several, and for one without tokens."""
    ids = prompt_ids(inputs)
    if ids.ndim > 1:
        raise PicoGPTError(f"patching takes one prompt at a time, not ids of shape {ids.shape}")
    return ids


def traces(clean: Ids, corrupted: Ids, params: Params, n_head: int, kinds: Sequence[Kind]) -> tuple[Trace, Trace]:
    """What the patches take from the clean prompt, and where the corrupted prompt's passes begin."""
    check_same_shape(clean, corrupted)
    values = [f"blocks.*.{VALUES[kind]}" for kind in kinds]
    return (
        trace(clean, params, n_head, [*values, "ln_final.normalized"]),
        trace(corrupted, params, n_head, ["blocks.*.resid_pre", "ln_final.normalized"]),
    )


def batches(n_places: int, n_seq: int) -> Iterator[Ids]:
    """The places in parts, each small enough for one pass over as many rows."""
    n_rows = max(1, PASS_TOKENS // n_seq)
    for start in range(0, n_places, n_rows):
        yield np.arange(start, min(start + n_rows, n_places))


def patched_states(
    of_clean: Trace, of_corrupted: Trace, params: Params, n_head: int, kind: Kind, layer: int, places: Ids
) -> Array:  # [n_places, n_seq, n_embd]
    """The corrupted prompt's states after the last block, in each row with the clean value at one of the places.

    The pass starts at the patched layer: what comes before it is the same without the patch.
    """
    patch = of_clean[f"blocks.{layer}.{VALUES[kind]}"]  # [n_seq, n_embd] or [n_seq, n_head, d_head]
    patch = patch.swapaxes(0, 1) if kind == "heads" else patch  # the places come first

    def put_in(name: str, array: Array) -> Array:  # [n_places, n_seq, n_embd] or [n_places, n_head, n_seq, d_head]
        if name != VALUES[kind]:
            return array
        patched = array.copy()
        patched[np.arange(len(places)), places] = patch[places]
        return patched

    before = of_corrupted["resid_pre", layer]
    rows = np.broadcast_to(before, (len(places), *before.shape))
    x = transformer_block(rows, **params["blocks"][layer], n_head=n_head, tap=put_in)
    return through_blocks(x, params["blocks"][layer + 1 :], n_head)
