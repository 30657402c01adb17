"""Checkpoints of training programs, a single file that torch.save wrote: nanoGPT's `ckpt.pt`, minGPT's `model.pt`.

nanoGPT saves the model's numbers beside its weights; minGPT, and whoever saves a state dict alone, does not, but minGPT
writes a `config.json`, and the weights tell all but the number of heads. Layers are torch's Linear, whose weights are
`[n_out, n_in]`: the parameters are their transposes, mapped from the file as they are.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.checkpoints import huggingface, single_file
from picogpt.checkpoints.huggingface import bare_names, is_tied
from picogpt.checkpoints.names import Shape, check_hparams, huggingface_name, param_shapes
from picogpt.checkpoints.safetensors import Stored, transposed
from picogpt.checkpoints.torch_file import Saved, Tensor, read_torch
from picogpt.checkpoints.unpickler import PICKLE_SIZE, Fields, unpickle
from picogpt.checkpoints.variants import DEFAULTS, check_config
from picogpt.errors import PicoGPTError, listed, shown
from picogpt.files import check_size, read_object
from picogpt.tokenizers import CharTokenizer, Tokenizer
from picogpt.types import HParams, Params

SUFFIXES = (".pt", ".pth")
USUAL = ("ckpt.pt", "model.pt")
OTHERS = ("optimizer", "scheduler", "rng_state", "scaler", "training_args")  # of transformers' Trainer; no models
CONFIG = "config.json"  # minGPT's, or one that a person wrote
META = "meta.pkl"  # nanoGPT's vocabulary of characters
NAMES = {  # what the numbers are called where they are said
    "n_vocab": ("vocab_size",),
    "n_ctx": ("block_size", "n_positions"),
    "n_embd": ("n_embd",),
    "n_layer": ("n_layer",),
}
DROPOUT = ("dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop")
KNOWN = {*(key for keys in NAMES.values() for key in keys), "n_head", "bias", "model_type", *DROPOUT}
HEADS = {  # of minGPT's named sizes
    "openai-gpt": 12,
    "gpt2": 12,
    "gpt2-medium": 16,
    "gpt2-large": 20,
    "gpt2-xl": 25,
    "gopher-44m": 16,
    "gpt-mini": 6,
    "gpt-micro": 4,
    "gpt-nano": 3,
}
BLOCK = re.compile(r"h\.(\d+)\..*")
LINEAR = re.compile(r"h\.\d+\.(attn|mlp)\.c_\w+\.weight")


def find(place: Path) -> Path | None:
    """The checkpoint that `place` is or holds, unless it also has a model in Hugging Face's layout."""

    def is_checkpoint(path: Path) -> bool:
        return path.suffix in SUFFIXES and not path.name.startswith(OTHERS)

    return single_file.find(place, is_checkpoint, USUAL)


def weight_files(place: Path) -> list[Path]:
    return [path] if (path := find(place)) else []


def read_hparams(path: Path) -> HParams:
    """The shapes of the weights, and what the checkpoint or a `config.json` beside it says. They must agree."""
    saved = read_torch(path)
    return hparams_of(read_weights(saved), description(saved), path)


def read_params(place: Path, hparams: HParams) -> Params:
    """The parameters, views of the mapped file. Raises `PicoGPTError` when it does not hold exactly them."""
    [path] = weight_files(place)
    saved = read_torch(path)
    stored = read_weights(saved)
    if not any(name.endswith(".ln_1.bias") for name in stored):  # nanoGPT's bias=False
        stored |= {
            huggingface_name(name): zeros(shape) for name, shape in param_shapes(hparams).items() if is_bias(name)
        }
    options = {"activation_function": activation(saved), "tie_word_embeddings": is_tied(stored)}
    return huggingface.params_of(stored, hparams, options | huggingface_config(path), path)


def read_weights(saved: Saved) -> dict[str, Stored]:
    """The weights under Hugging Face's names, and `[n_in, n_out]` as theirs."""
    stored = bare_names(saved.tensors(), saved.path)
    if "wte.weight" not in stored or "h.0.attn.c_attn.weight" not in stored:
        raise PicoGPTError(f"{saved.path} does not hold a GPT-2's weights, but {listed(stored)}")
    n_out, n_in = (*stored["h.0.attn.c_attn.weight"].shape, 0, 0)[:2]
    if n_out != 3 * n_in:
        return stored
    return {name: transposed(tensor) if LINEAR.fullmatch(name) else tensor for name, tensor in stored.items()}


def hparams_of(stored: Mapping[str, Stored], said: Mapping[str, Any], path: Path) -> HParams:
    """Everything but the number of heads is in the shapes, which are held against what is said."""
    n_vocab, n_embd = (*stored["wte.weight"].shape, 0, 0)[:2]
    n_ctx = stored["wpe.weight"].shape[0] if "wpe.weight" in stored else 0
    n_layer = len({match[1] for match in map(BLOCK.fullmatch, stored) if match})
    found = {"n_vocab": n_vocab, "n_ctx": n_ctx, "n_embd": n_embd, "n_layer": n_layer}
    for name, number in found.items():
        other = next((said[key] for key in NAMES[name] if said.get(key) is not None), number)
        if other != number:
            raise PicoGPTError(f"{path} has weights of {name} = {number}, and is said to have {shown(other)}")
    n_head = said.get("n_head") or HEADS.get(str(said.get("model_type")))
    if n_head is None:
        raise PicoGPTError(f'{path} does not say the number of heads; write a {CONFIG} beside it: {{"n_head": …}}')
    return check_hparams(found | {"n_head": n_head}, str(path))


def description(saved: Saved) -> dict[str, Any]:
    """What is said of the model: by nanoGPT among the weights, by its descendants in an object, else in a file."""
    content = saved.content
    for key in ("model_args", "config"):
        if isinstance(content.get(key), dict) and not isinstance(content[key].get("n_head"), Tensor | None):
            # the config of a nanoGPT run is that of its training, too; an object's is the model's alone
            is_model = key == "model_args" or isinstance(content[key], Fields)
            return of_model(content[key], saved.path) if is_model else content[key]
    config = read_config(saved.path)
    return of_model(config["model"], saved.path) if isinstance(config.get("model"), dict) else config


def of_model(said: dict[str, Any], path: Path) -> dict[str, Any]:
    """What is said, checked: a descendant's own options would make of the same weights another model."""
    others = {key: value for key, value in said.items() if key not in KNOWN and value not in (None, False)}
    if others:
        options = listed(f"{key} = {shown(value)}" for key, value in others.items())
        raise PicoGPTError(f"{path} describes a model that is not nanoGPT's or minGPT's: {options}")
    return said


def activation(saved: Saved) -> str:
    """nanoGPT's feed-forward network has torch's GELU, which is the erf form; its relatives have GPT-2's."""
    return "gelu" if "model_args" in saved.content else "gelu_new"


def huggingface_config(path: Path) -> dict[str, Any]:
    """The options in a config of Hugging Face's, where that is what lies beside the checkpoint."""
    config = read_config(path)
    if isinstance(config.get("model"), dict):
        return {}
    check_config(config, str(path.with_name(CONFIG)))
    return {name: config[name] for name in DEFAULTS if name in config}


def read_config(path: Path) -> dict[str, Any]:
    config = path.with_name(CONFIG)
    return read_object(config) if config.is_file() else {}


def is_bias(name: str) -> bool:
    return name.endswith(".b")


def zeros(shape: Shape) -> Stored:
    return Stored("no bias", "F32", shape, np.zeros(4 * math.prod(shape), np.uint8))


def read_encoder(place: Path) -> Tokenizer:
    """The characters in nanoGPT's `meta.pkl`, the vocabulary beside the checkpoint, or GPT-2's own."""
    [path] = weight_files(place)
    if (meta := path.with_name(META)).is_file():
        return read_characters(meta)
    return single_file.read_encoder(path, read_hparams(path)["n_vocab"], f"{META} from nanoGPT's data, or ")


def read_characters(path: Path) -> CharTokenizer:
    """nanoGPT's list of characters."""
    check_size(path, PICKLE_SIZE)
    content = unpickle(io.BytesIO(path.read_bytes()), str(path), {})
    characters = content.get("itos") if isinstance(content, dict) else None
    if not isinstance(characters, dict) or not all(isinstance(character, str) for character in characters.values()):
        raise PicoGPTError(f"{path} has no list of characters, itos; it is not nanoGPT's")
    if sorted(characters, key=str) != sorted(range(len(characters)), key=str):
        raise PicoGPTError(f"{path} should give its characters the ids 0 to {len(characters) - 1}")
    return CharTokenizer(characters[i] for i in range(len(characters)))
