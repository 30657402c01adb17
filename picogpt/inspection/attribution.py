"""What each part of the model adds to a logit.

The last hidden state is a sum: the embeddings, and what every head and every feed-forward network added to them. The
final norm divides all of it by one number, so that the logit is a sum of the same parts (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.inspection.targets import logit_direction, position_in
from picogpt.inspection.trace import Trace, traced
from picogpt.types import Array, Params

VALUES = ("embed", "pos_embed", "blocks.*.attn.z", "blocks.*.mlp_out", "blocks.*.resid_post")


class Attribution(NamedTuple):
    """The parts of a logit; `...` is no axis, or the batch."""

    embed: Array  # [...]
    pos_embed: Array  # [...]
    heads: Array  # [n_layer, n_head, ...]
    mlps: Array  # [n_layer, ...]
    attn_biases: Array  # [n_layer, ...]: the bias of attention's c_proj, which belongs to no head
    ln_f_bias: Array  # [...]

    @property
    def logit(self) -> Array:  # [...]
        """The sum of all parts."""
        per_layer = self.heads.sum(axis=(0, 1)) + self.mlps.sum(axis=0) + self.attn_biases.sum(axis=0)
        return self.embed + self.pos_embed + per_layer + self.ln_f_bias


def direct_logit_attribution(
    inputs: npt.ArrayLike | Trace,
    params: Params,
    n_head: int,
    target: int,
    foil: int | None = None,
    position: int = -1,
) -> Attribution:
    """The parts of the target's logit after the token at `position`; with a foil, of its logit less the foil's.

    Their sum is the logit, up to rounding. Raises `PicoGPTError` for a position that the inputs do not have and for
    tokens outside the vocabulary.
    """
    direction = logit_direction(params, target, foil)
    values = traced(inputs, params, n_head, VALUES)
    at = position_in(values.ids, position)
    ln_f = params["ln_f"]
    scaled = ln_f["g"] * direction
    last = values[f"blocks.{values.n_layer - 1}.resid_post"][..., at, :]
    std = np.sqrt(last.var(axis=-1) + ln_f.get("eps", 1e-5))  # as in layer_norm

    def part(x: Array) -> Array:  # [..., n_embd] -> [...]
        return (x - x.mean(axis=-1, keepdims=True)) @ scaled / std

    heads, mlps, biases = [], [], []
    for i, block in enumerate(params["blocks"]):
        c_proj = block["attn"]["c_proj"]
        outputs = head_outputs(values[f"blocks.{i}.attn.z"][..., at, :, :], c_proj["w"])
        heads.append(part(np.moveaxis(outputs, -2, 0)))
        mlps.append(part(values[f"blocks.{i}.mlp_out"][..., at, :]))
        biases.append(part(c_proj["b"]))
    return Attribution(
        part(values["embed"][..., at, :]),
        part(values["pos_embed"][..., at, :]),
        np.stack(heads),
        np.stack(mlps),
        np.stack(biases),
        np.full_like(std, ln_f["b"] @ direction),
    )


def head_outputs(z: Array, w: Any) -> Array:  # [..., n_head, d_head], [n_embd, n_embd] -> [..., n_head, n_embd]
    """What each head adds to the residual stream: c_proj of its output, with zeros in place of the others'."""
    n_head, d_head = z.shape[-2:]
    alone = z[..., None, :] * np.eye(n_head, dtype=z.dtype)[..., None]  # [..., n_head, n_head, d_head]
    return alone.reshape(*z.shape[:-1], n_head * d_head) @ w
