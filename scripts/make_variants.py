#!/usr/bin/env python
"""Make tests/data/variants.npz: logits of small random relatives of GPT-2, by transformers and torch.

    python scripts/make_variants.py tests/data/variants.npz

It needs `pip install torch transformers`, and nothing of picogpt: what it writes is another program's opinion.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

SIZES = {"vocab_size": 31, "n_positions": 17, "n_embd": 12, "n_head": 3, "n_layer": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gelu": {"activation_function": "gelu"},
    "relu": {"activation_function": "relu"},
    "silu": {"activation_function": "silu"},
    "gelu_fast": {"activation_function": "gelu_fast"},
    "epsilon": {"layer_norm_epsilon": 0.01},
    "inner": {"n_inner": 29},
    "by_layer": {"scale_attn_by_inverse_layer_idx": True},
    "unscaled": {"scale_attn_weights": False},
    "untied": {"tie_word_embeddings": False},
    "all": {
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-3,
        "n_inner": 29,
        "scale_attn_by_inverse_layer_idx": True,
        "scale_attn_weights": False,
        "tie_word_embeddings": False,
    },
}
IDS = [3, 1, 4, 15, 9, 26, 5, 3, 5, 8, 9, 7, 9, 30, 0]


def main() -> None:
    arrays: dict[str, Any] = {"ids": np.array(IDS)}
    configs: dict[str, Any] = {}
    for name, options in VARIANTS.items():
        torch.manual_seed(len(name))
        config = GPT2Config(**SIZES, **options)
        model = GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for parameter in model.parameters():  # so large that every option shows
                parameter.copy_(parameter.normal_(0, 0.4).half())  # and stored in half the space
        state = model.state_dict()
        if config.tie_word_embeddings:
            del state["lm_head.weight"]
        arrays |= {f"{name}/{key}": tensor.numpy().astype(np.float16) for key, tensor in state.items()}
        configs[name] = {"model_type": "gpt2", **SIZES, **options}
        with torch.no_grad():
            arrays[f"{name}/logits"] = model(torch.tensor([IDS])).logits[0].numpy()
    arrays["configs"] = np.array(json.dumps(configs))
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
