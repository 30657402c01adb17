"""Logits to ids: the loop, the rows it works on, what is drawn, and when it stops.

    generate(ids, params, n_head, 40, transforms=[temperature(0.8), top_k(40)], rng=7)

`generate_stream` gives each id as soon as it is chosen, `generate_batch` takes several prompts, `decode` gives tokens
with finish reasons and log-probabilities; `beam_search` finds the likeliest continuations as a whole.
"""

from __future__ import annotations

from picogpt.decoding.beam import Beam, beam_search
from picogpt.decoding.loop import Continuation, Token, decode, generate, generate_batch, generate_stream

__all__ = [
    "Beam",
    "Continuation",
    "Token",
    "beam_search",
    "decode",
    "generate",
    "generate_batch",
    "generate_stream",
]
