#!/usr/bin/env python
"""Make tests/data/torch: small random models in the files of torch's, and their logits, by torch and transformers.

    python scripts/make_torch_files.py tests/data/torch

It needs `pip install torch transformers`, and nothing of picogpt: what it writes is another program's opinion.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

N_VOCAB, N_CTX, N_EMBD, N_HEAD, N_LAYER = 31, 17, 12, 3, 2
IDS = [3, 1, 4, 15, 9, 26, 5, 3, 5, 8, 9, 7, 9, 30, 0]
CHARACTERS = "\n !',.:;?abcdefghijklmnopqrstuv"


def huggingface(directory: Path, logits: dict[str, Any]) -> None:
    """pytorch_model.bin as transformers wrote it: of a zip archive or older, whole or in two, each dtype."""
    torch.manual_seed(0)
    sizes = {"vocab_size": N_VOCAB, "n_positions": N_CTX, "n_embd": N_EMBD, "n_head": N_HEAD, "n_layer": N_LAYER}
    model = GPT2LMHeadModel._from_config(GPT2Config(**sizes), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    config = {"model_type": "gpt2", **sizes}
    for name, dtype, options in [
        ("float32", torch.float32, {}),
        ("float16", torch.float16, {}),
        ("bfloat16", torch.bfloat16, {}),
        ("legacy", torch.bfloat16, {"_use_new_zipfile_serialization": False}),
        ("sharded", torch.float16, {}),
    ]:
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        model.to(dtype)
        state = model.state_dict()  # with lm_head.weight, which is tied to the embedding
        if name == "legacy":  # old versions saved these constants, too
            for i in range(N_LAYER):
                mask = torch.ones(N_CTX, N_CTX, dtype=torch.uint8).tril().view(1, 1, N_CTX, N_CTX)
                state |= {f"transformer.h.{i}.attn.bias": mask}
                state |= {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4)}
        if name == "sharded":
            names = list(state)
            halves = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
            for file, part in halves.items():
                torch.save({key: state[key].clone() for key in part}, folder / file)
            weight_map = {key: file for file, part in halves.items() for key in part}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
        else:
            torch.save(state, folder / "pytorch_model.bin", **options)
        with torch.no_grad():
            logits[name] = model.float()(torch.tensor([IDS])).logits[0].numpy()


def linears(bias: bool, tied: bool) -> dict[str, torch.Tensor]:
    """Weights of torch's Linear under the names of nanoGPT and minGPT."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape) * 0.4

    state = {"transformer.wte.weight": normal(N_VOCAB, N_EMBD), "transformer.wpe.weight": normal(N_CTX, N_EMBD)}
    for i in range(N_LAYER):
        for name, shape in {
            "ln_1": (N_EMBD,),
            "attn.c_attn": (3 * N_EMBD, N_EMBD),
            "attn.c_proj": (N_EMBD, N_EMBD),
            "ln_2": (N_EMBD,),
            "mlp.c_fc": (4 * N_EMBD, N_EMBD),
            "mlp.c_proj": (N_EMBD, 4 * N_EMBD),
        }.items():
            state[f"transformer.h.{i}.{name}.weight"] = normal(*shape)
            if bias:
                state[f"transformer.h.{i}.{name}.bias"] = normal(shape[0])
    state["transformer.ln_f.weight"] = normal(N_EMBD)
    if bias:
        state["transformer.ln_f.bias"] = normal(N_EMBD)
    state["lm_head.weight"] = state["transformer.wte.weight"] if tied else normal(N_VOCAB, N_EMBD)
    return state


def forward(state: dict[str, torch.Tensor], approximate: str) -> torch.Tensor:
    """The logits, by torch's own functions."""

    def get(name: str) -> torch.Tensor | None:
        return state.get(f"transformer.{name}")

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, (N_EMBD,), get(f"{name}.weight"), get(f"{name}.bias"), 1e-5)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, get(f"{name}.weight"), get(f"{name}.bias"))

    x = state["transformer.wte.weight"][IDS] + state["transformer.wpe.weight"][: len(IDS)]
    for i in range(N_LAYER):
        qkv = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(N_EMBD, dim=-1)
        q, k, v = (part.view(len(IDS), N_HEAD, -1).transpose(0, 1) for part in qkv)
        heads = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(heads.transpose(0, 1).reshape(len(IDS), N_EMBD), f"h.{i}.attn.c_proj")
        hidden = functional.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate=approximate)
        x = x + linear(hidden, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ state["lm_head.weight"].T


def training_programs(directory: Path, logits: dict[str, Any]) -> None:
    numbers = {"n_layer": N_LAYER, "n_head": N_HEAD, "n_embd": N_EMBD, "block_size": N_CTX, "vocab_size": N_VOCAB}
    for name, bias, tied, approximate in [
        ("nanogpt", False, True, "none"),
        ("nanogpt_compiled", True, True, "none"),
        ("mingpt", True, False, "tanh"),
    ]:
        torch.manual_seed(len(name))
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        state = linears(bias, tied)
        logits[name] = forward(state, approximate).numpy()
        if name == "mingpt":
            masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, N_CTX, N_CTX).tril() for i in range(N_LAYER)}
            torch.save(state | masks, folder / "model.pt")
            sizes = {"model_type": None, **numbers}
            (folder / "config.json").write_text(json.dumps({"system": {"seed": 1}, "model": sizes}))
            continue
        if name == "nanogpt_compiled":
            state = {f"_orig_mod.{key}": tensor for key, tensor in state.items()}
        parameters = [torch.nn.Parameter(tensor.clone()) for tensor in list(state.values())[-3:]]
        optimizer = torch.optim.AdamW(parameters)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        checkpoint = {
            "model": state,
            "optimizer": optimizer.state_dict(),
            "model_args": {**numbers, "bias": bias, "dropout": 0.0},
            "iter_num": 250,
            "best_val_loss": torch.tensor(1.5),
            "config": {"out_dir": "out", "dataset": "shakespeare_char", "learning_rate": 1e-3, "device": "cpu"},
        }
        torch.save(checkpoint, folder / "ckpt.pt")
        with (folder / "meta.pkl").open("wb") as file:
            itos = dict(enumerate(CHARACTERS))
            pickle.dump({"vocab_size": N_VOCAB, "itos": itos, "stoi": {c: i for i, c in itos.items()}}, file)


def main() -> None:
    directory = Path(sys.argv[1])
    logits: dict[str, Any] = {"ids": np.array(IDS)}
    huggingface(directory, logits)
    training_programs(directory, logits)
    np.savez(directory / "logits.npz", **logits)


if __name__ == "__main__":
    main()
