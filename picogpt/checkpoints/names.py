"""What a model's parameters are called and how large they are: in our tree, in OpenAI's files, in Hugging Face's.

`param_shapes` is the single truth. Loading, checking, counting and writing all ask it. A dotted path such as
`blocks.0.attn.c_attn.w` names the place `params["blocks"][0]["attn"]["c_attn"]["w"]`; a dict of them is called flat.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from picogpt.errors import PicoGPTError, listed, shown
from picogpt.performance.int8 import Int8Columns, Int8Rows
from picogpt.performance.layout import Embedding, Untied
from picogpt.types import Array, HParams, Params

Shape = tuple[int, ...]

MOST_LAYERS = 1000  # twenty times GPT-2's largest; a count of millions is a damaged file
MOST = 2**31 - 1  # of everything else

HPARAMS = ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer")
N_INNER = "n_inner"  # the width of the feed-forward network, where it is not 4 * n_embd


def check_hparams(hparams: Mapping[str, object], source: str) -> HParams:
    """The five numbers that make a GPT-2, and `n_inner` where it is another, checked; `source` is for the message."""
    missing = [name for name in HPARAMS if name not in hparams]
    if missing:
        raise PicoGPTError(f"{source} does not say the model's {', '.join(missing)}")
    checked: HParams = {}
    for name in (*HPARAMS, *([N_INNER] if hparams.get(N_INNER) is not None else [])):
        value, most = hparams[name], MOST_LAYERS if name == "n_layer" else MOST
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise PicoGPTError(f"{source} has {name} = {shown(value)}; it must be a whole number from 1 to {most:,}")
        checked[name] = value
    if checked["n_embd"] % checked["n_head"]:
        raise PicoGPTError(
            f"{source} has n_embd = {checked['n_embd']}, which n_head = {checked['n_head']} heads cannot share evenly"
        )
    return checked


def param_shapes(hparams: HParams) -> dict[str, Shape]:
    """Every parameter of the model that `hparams` describe: dotted path -> shape. Weights are [n_in, n_out]."""
    n_embd, n_inner = hparams["n_embd"], hparams.get(N_INNER, 4 * hparams["n_embd"])
    norm: dict[str, Shape] = {"g": (n_embd,), "b": (n_embd,)}

    def linear(n_in: int, n_out: int) -> dict[str, Shape]:
        return {"w": (n_in, n_out), "b": (n_out,)}

    block: dict[str, dict[str, Shape]] = {
        "attn.c_attn": linear(n_embd, 3 * n_embd),
        "attn.c_proj": linear(n_embd, n_embd),
        "ln_1": norm,
        "ln_2": norm,
        "mlp.c_fc": linear(n_embd, n_inner),
        "mlp.c_proj": linear(n_inner, n_embd),
    }
    shapes: dict[str, Shape] = {"wte": (hparams["n_vocab"], n_embd), "wpe": (hparams["n_ctx"], n_embd)}
    for i in range(hparams["n_layer"]):
        for layer, arrays in block.items():
            shapes |= {f"blocks.{i}.{layer}.{name}": shape for name, shape in arrays.items()}
    return shapes | {f"ln_f.{name}": shape for name, shape in norm.items()}


def n_params(hparams: HParams) -> int:
    """How many numbers the model has; 124439808 for GPT-2's smallest."""
    return sum(math.prod(shape) for shape in param_shapes(hparams).values())


def openai_name(path: str) -> str:
    """`blocks.0.attn.c_attn.w` -> `model/h0/attn/c_attn/w`, the name in OpenAI's TensorFlow checkpoints."""
    return "model/" + path.replace("blocks.", "h", 1).replace(".", "/")


def huggingface_name(path: str) -> str:
    """`blocks.0.attn.c_attn.w` -> `h.0.attn.c_attn.weight`, the name in Hugging Face's GPT2Model."""
    layer, _, leaf = path.replace("blocks.", "h.", 1).rpartition(".")
    if not layer:  # the two embeddings, which are leaves of our tree and modules of theirs
        return f"{leaf}.weight"
    return f"{layer}.{'bias' if leaf == 'b' else 'weight'}"


def check_shapes(found: Mapping[str, Shape], expected: Mapping[str, Shape], source: str) -> None:
    """Raise one `PicoGPTError` that lists the missing, unexpected and mis-shaped parameter of `source`."""
    wrong = [
        f"{name} is {shown(list(found[name]))} and not {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != shape
    ]
    lists = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "mis-shaped": wrong,
    }
    problems = [f"{kind}: {listed(names)}" for kind, names in lists.items() if names]
    if problems:
        raise PicoGPTError(f"{source} does not hold the parameters of its model; {'; '.join(problems)}")


def check_finite(params: Params, source: str) -> None:
    """Raise a `PicoGPTError` that names the first parameter of `source` with a NaN or an infinity in it."""
    if path := non_finite(params):
        raise PicoGPTError(f"{source} is damaged: {path} has numbers that are not finite; download or copy it again")


def non_finite(params: Params) -> str | None:
    """The dotted path of the first parameter that has a NaN or an infinity in it, or None. Reads every weight."""
    return next((path for path, param in flatten(params).items() if not is_finite(param)), None)


def explain_non_finite(params: Params) -> PicoGPTError:
    """The error for logits that are not finite, which names the first parameter that is to blame."""
    if path := non_finite(params):
        return PicoGPTError(f"the model is damaged: {path} has numbers that are not finite; download or copy it again")
    return PicoGPTError("the model's weights are finite, but so large that its logits are not; it cannot be used")


def is_finite(param: Any) -> bool:
    """Whether all numbers of a parameter are finite; of an int8 weight, its scales.

    The sum of the squares is finite only where every number is, and BLAS takes it at the speed of the memory. It may
    also be too large for the dtype; then we look closer.
    """
    if isinstance(param, Untied):
        return is_finite(param.rows) and is_finite(param.head)
    if not hasattr(param, "shape"):  # an epsilon, an activation
        return True
    if isinstance(param, Int8Columns):
        param = param.T
    if isinstance(param, Int8Rows):
        param = param.scale
    if isinstance(param, Embedding):
        param = param.rows
    numbers = param.ravel(order="K")
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.dot(numbers, numbers)) or np.isfinite(numbers).all())


def nest(flat: Mapping[str, Array]) -> Params:
    """`{"blocks.0.ln_1.g": …}` -> `{"blocks": [{"ln_1": {"g": …}}]}`."""
    params: Params = {}
    for path, array in flat.items():
        *branches, leaf = path.split(".")
        node = params
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = array
    if blocks := params.get("blocks"):
        params["blocks"] = [blocks[str(i)] for i in range(len(blocks))]
    return params


def flatten(params: Params) -> dict[str, Array]:
    """The inverse of `nest`; `params` may be any tree of dicts and lists."""

    def walk(node: Any, path: str) -> Iterator[tuple[str, Array]]:
        if isinstance(node, dict | list):
            for key, child in node.items() if isinstance(node, dict) else enumerate(node):
                yield from walk(child, f"{path}.{key}" if path else str(key))
        else:
            yield path, node

    return dict(walk(params, ""))
