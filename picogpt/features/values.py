"""What is taken of a pass for features: no value is kept that nobody asked for, and no layer computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from picogpt import performance
from picogpt.inspection.heads import attention_entropy, previous_token_weights
from picogpt.model import embed
from picogpt.performance.driver import final_norm, through_blocks
from picogpt.types import Array, Ids, Params


def layer_states(ids: Ids, params: Params, n_head: int, layers: Sequence[int]) -> Iterator[Array]:
    """transformers' hidden states `[batch, n_seq, n_embd]` of ascending layers; the pass ends with the last of them."""
    x, n_done = embed(ids, params["wte"], params["wpe"]), 0
    for layer in layers:
        x, n_done = through_blocks(x, params["blocks"][n_done:layer], n_head), layer
        yield final_norm(x, params["ln_f"]) if layer == len(params["blocks"]) else x


def attention_statistics(ids: Ids, params: Params, n_head: int, layers: Sequence[int]) -> list[Array]:
    """Of each layer each head's entropy and its attention to the previous token, `[2, batch, n_seq, n_head]`.

    A pattern is forgotten when its layer is done. At the first position, which has no previous one, that is 0.
    """
    found = []
    wanted = {f"blocks.{layer}.attn.pattern" for layer in layers}

    def read(name: str, array: Array) -> Array:
        if name in wanted:
            entropy, previous = attention_entropy([array])[0], previous_token_weights([array])[0]
            previous[..., 0] = 0
            found.append(np.stack((entropy, previous)).swapaxes(-1, -2))
        return array

    blocks = params["blocks"][: layers[-1] + 1]
    performance.hidden_states(ids, **{**params, "blocks": blocks}, n_head=n_head, tap=read)
    return found
