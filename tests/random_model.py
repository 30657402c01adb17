"""Small random models for tests. The sizes are distinct primes where they can be, so that a wrong axis cannot pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

N_VOCAB, N_CTX, N_HEAD, N_EMBD, N_LAYER = 61, 29, 3, 21, 2
HPARAMS = {"n_vocab": N_VOCAB, "n_ctx": N_CTX, "n_embd": N_EMBD, "n_head": N_HEAD, "n_layer": N_LAYER}


def random_params(
    rng: np.random.Generator, dtype: npt.DTypeLike = np.float64, hparams: dict[str, int] = HPARAMS
) -> dict[str, Any]:
    """A parameter tree with weights large enough that attention is far from uniform."""
    n_embd = hparams["n_embd"]

    def normal(*shape: int, scale: float = 1.0) -> npt.NDArray[Any]:
        return (scale * rng.standard_normal(shape)).astype(dtype)

    def norm() -> dict[str, npt.NDArray[Any]]:
        return {"g": 1 + normal(n_embd, scale=0.1), "b": normal(n_embd, scale=0.1)}

    def dense(n_in: int, n_out: int) -> dict[str, npt.NDArray[Any]]:
        return {"w": normal(n_in, n_out, scale=n_in**-0.5), "b": normal(n_out, scale=0.1)}

    def block() -> dict[str, Any]:
        return {
            "ln_1": norm(),
            "attn": {"c_attn": dense(n_embd, 3 * n_embd), "c_proj": dense(n_embd, n_embd)},
            "ln_2": norm(),
            "mlp": {"c_fc": dense(n_embd, 4 * n_embd), "c_proj": dense(4 * n_embd, n_embd)},
        }

    return {
        "wte": normal(hparams["n_vocab"], n_embd),
        "wpe": normal(hparams["n_ctx"], n_embd, scale=0.5),
        "blocks": [block() for _ in range(hparams["n_layer"])],
        "ln_f": norm(),
    }
