"""Models of GPT-2's family that differ from it: what a config says, put into the parameter tree where it belongs.

A layer norm's epsilon stands beside its weights, and a feed-forward network's activation beside its layers: they are
arguments of the functions in `model.py`, and `**block` is the wiring. A scale of the attention scores is multiplied
into the queries' weights, which gives the same scores. An output layer of its own goes into the embedding, whose
transpose the model multiplies by. So `model.py`, and what computes it at speed, need to know of none of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from picogpt.activations import ACTIVATIONS
from picogpt.checkpoints.names import N_INNER, check_shapes, flatten, param_shapes
from picogpt.errors import PicoGPTError, shown
from picogpt.model import gelu
from picogpt.performance.layout import Untied
from picogpt.types import Array, HParams, Params

EPSILON = 1e-5
DEFAULTS: dict[str, Any] = {  # of transformers, for what a config leaves out
    "activation_function": "gelu_new",
    "layer_norm_epsilon": EPSILON,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}


def check_config(config: Mapping[str, Any], source: str) -> None:
    """Raise a `PicoGPTError` that lists what in a config is beyond GPT-2's family as it is known here."""
    values = {name: config.get(name, default) for name, default in DEFAULTS.items()}
    problems = []
    activation, epsilon = values["activation_function"], values["layer_norm_epsilon"]
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        problems.append(f"activation_function = {shown(activation)} (not {', '.join(ACTIVATIONS)})")
    if not isinstance(epsilon, int | float) or not 0 <= epsilon <= 1:
        problems.append(f"layer_norm_epsilon = {shown(epsilon)} (not a number from 0 to 1)")
    for name in ("scale_attn_weights", "scale_attn_by_inverse_layer_idx"):
        if not isinstance(values[name], bool):
            problems.append(f"{name} = {shown(values[name])} (not true or false)")
    if problems:
        raise PicoGPTError(f"{source} describes a model that is not GPT-2's: {', '.join(problems)}")


def as_config_says(params: Params, n_head: int, config: Mapping[str, Any]) -> Params:
    """The parameters of GPT-2's names with all that a checked config adds to them."""
    values = {name: config.get(name, default) for name, default in DEFAULTS.items()}
    activation, epsilon = ACTIVATIONS[values["activation_function"]], float(values["layer_norm_epsilon"])
    d_head = params["wpe"].shape[-1] // n_head

    def norm(layer: Params) -> Params:
        return layer if epsilon == EPSILON else {**layer, "eps": epsilon}

    def feed_forward(layers: Params) -> Params:
        return layers if activation is gelu else {**layers, "activation": activation}

    def attention(layers: Params, i: int) -> Params:
        scale = (1.0 if values["scale_attn_weights"] else math.sqrt(d_head)) / (
            i + 1 if values["scale_attn_by_inverse_layer_idx"] else 1
        )
        return layers if scale == 1 else {**layers, "c_attn": scaled_queries(layers["c_attn"], scale)}

    blocks = [
        {
            "mlp": feed_forward(block["mlp"]),
            "attn": attention(block["attn"], i),
            "ln_1": norm(block["ln_1"]),
            "ln_2": norm(block["ln_2"]),
        }
        for i, block in enumerate(params["blocks"])
    ]
    return {**params, "blocks": blocks, "ln_f": norm(params["ln_f"])}


def scaled_queries(c_attn: Params, scale: float) -> Params:
    """The layer that makes queries, keys and values, with its queries multiplied by `scale`."""

    def scaled(array: Array) -> Array:  # [..., 3 * n_embd]
        array = array.copy()
        array[..., : array.shape[-1] // 3] *= np.asarray(scale, array.dtype)
        array.flags.writeable = False
        return array

    return {name: scaled(array) for name, array in c_attn.items()}


def config_of(params: Params) -> dict[str, Any]:
    """What a config must say of these parameters, besides their sizes."""
    activation = params["blocks"][0]["mlp"].get("activation", gelu)
    return {
        "activation_function": next(name for name, function in ACTIVATIONS.items() if function is activation),
        "layer_norm_epsilon": params["ln_f"].get("eps", EPSILON),
        "tie_word_embeddings": not isinstance(params["wte"], Untied),
    }


def is_plain(params: Params) -> bool:
    """Whether the parameters are GPT-2's own and nothing besides."""
    plain = {"activation_function": "gelu_new", "layer_norm_epsilon": EPSILON, "tie_word_embeddings": True}
    return config_of(params) == plain


def without_options(params: Params) -> Params:
    """The arrays alone, under GPT-2's names; an output layer of its own under `lm_head`."""
    wte = params["wte"]
    blocks = [
        {
            "mlp": {name: layer for name, layer in block["mlp"].items() if name != "activation"},
            "attn": block["attn"],
            "ln_1": arrays_of_norm(block["ln_1"]),
            "ln_2": arrays_of_norm(block["ln_2"]),
        }
        for block in params["blocks"]
    ]
    plain = {"wte": wte, "wpe": params["wpe"], "blocks": blocks, "ln_f": arrays_of_norm(params["ln_f"])}
    return {**plain, "wte": wte.rows, "lm_head": wte.head} if isinstance(wte, Untied) else plain


def named_arrays(hparams: HParams, params: Params) -> dict[str, Array]:
    """The arrays by their dotted paths, as `without_options` has them; raises `PicoGPTError` unless they fit."""
    flat = flatten(without_options(params))
    shapes = param_shapes(hparams)
    if "lm_head" in flat:
        shapes["lm_head"] = shapes["wte"]
    check_shapes({path: array.shape for path, array in flat.items()}, shapes, "params")
    return flat


def require_plain(hparams: HParams, params: Params, whose: str) -> None:
    """Raise a `PicoGPTError` for parameters that a format, called `whose`, has no place for."""
    if not is_plain(params) or N_INNER in hparams:
        raise PicoGPTError(f"{whose} is for GPT-2 alone, and this is a relative of it; use Hugging Face's")


def arrays_of_norm(layer: Params) -> Params:
    return {name: array for name, array in layer.items() if name != "eps"}
