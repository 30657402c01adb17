"""A model of two layers whose induction head is known because it was built."""

from __future__ import annotations

from typing import Any

import numpy as np

from picogpt.types import Array, Params

N_TOKENS, N_POSITIONS, N_HEAD, D_HEAD = 11, 23, 3, 23
N_EMBD = N_HEAD * D_HEAD
PREVIOUS_TOKEN, INDUCTION = (0, 1), (1, 2)  # (layer, head)

TOKEN = slice(0, N_TOKENS)  # the parts of the residual stream: which token this is,
POSITION = slice(N_TOKENS, N_TOKENS + N_POSITIONS)  # where it is,
BEFORE = slice(N_TOKENS + N_POSITIONS, 2 * N_TOKENS + N_POSITIONS)  # and which token is before it


def induction_params() -> Params:
    """Layer 0 copies each token to the position after it; layer 1 looks for the query's token there.

    In `… A B … A` the last token finds the B, which has A before it, and says B. Token and position are one-hot;
    all other heads and the feed-forward networks add nothing.
    """
    blocks = [silent_block(), silent_block()]
    sharp = 30.0  # far above all other scores
    wire(blocks[0], PREVIOUS_TOKEN[1], "q", POSITION, sharp * np.eye(N_POSITIONS, k=-1))  # at i: position i − 1
    wire(blocks[0], PREVIOUS_TOKEN[1], "k", POSITION, np.eye(N_POSITIONS))
    wire(blocks[0], PREVIOUS_TOKEN[1], "v", TOKEN, np.eye(N_TOKENS))
    wire_out(blocks[0], PREVIOUS_TOKEN[1], BEFORE, np.eye(N_TOKENS))
    wire(blocks[1], INDUCTION[1], "q", TOKEN, sharp * np.eye(N_TOKENS))
    wire(blocks[1], INDUCTION[1], "k", BEFORE, np.eye(N_TOKENS))
    wire(blocks[1], INDUCTION[1], "v", TOKEN, np.eye(N_TOKENS))
    wire_out(blocks[1], INDUCTION[1], TOKEN, 2 * np.eye(N_TOKENS))
    wte, wpe = np.zeros((N_TOKENS, N_EMBD)), np.zeros((N_POSITIONS, N_EMBD))
    wte[:, TOKEN], wpe[:, POSITION] = np.eye(N_TOKENS), np.eye(N_POSITIONS)
    return {"wte": wte, "wpe": wpe, "blocks": blocks, "ln_f": norm()}


def norm() -> dict[str, Array]:
    return {"g": np.ones(N_EMBD), "b": np.zeros(N_EMBD)}


def silent_block() -> dict[str, Any]:
    def layer(n_in: int, n_out: int) -> dict[str, Array]:
        return {"w": np.zeros((n_in, n_out)), "b": np.zeros(n_out)}

    return {
        "ln_1": norm(),
        "attn": {"c_attn": layer(N_EMBD, 3 * N_EMBD), "c_proj": layer(N_EMBD, N_EMBD)},
        "ln_2": norm(),
        "mlp": {"c_fc": layer(N_EMBD, 4 * N_EMBD), "c_proj": layer(4 * N_EMBD, N_EMBD)},
    }


def wire(block: dict[str, Any], head: int, part: str, source: slice, w: Array) -> None:
    """Let the head's q, k or v be read from a part of the residual stream."""
    start = "qkv".index(part) * N_EMBD + head * D_HEAD
    block["attn"]["c_attn"]["w"][source, start : start + w.shape[1]] = w


def wire_out(block: dict[str, Any], head: int, to: slice, w: Array) -> None:
    """Let the head's output be written to a part of the residual stream."""
    block["attn"]["c_proj"]["w"][head * D_HEAD : head * D_HEAD + len(w), to] = w
