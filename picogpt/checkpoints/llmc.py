"""llm.c's `.bin`: 256 whole numbers that describe the model, then its weights, each of all layers in one block.

Of version 3 they are float32, of version 5 bfloat16. Weights are `[n_out, n_in]`: the parameters are their transposes.
The embedding is rounded up to a number of rows that a GPU likes; the rows that no token has are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from picogpt.checkpoints import single_file
from picogpt.checkpoints.names import Shape, check_hparams, nest, param_shapes
from picogpt.checkpoints.safetensors import SIZES, Stored, narrow, transposed, widen
from picogpt.checkpoints.variants import named_arrays, require_plain
from picogpt.errors import PicoGPTError
from picogpt.files import Bytes, map_file, replacing, write_array
from picogpt.tokenizers import Tokenizer
from picogpt.types import Array, HParams, Params

MAGIC = 20240326
HEADER = 256  # numbers of 4 bytes
CODES = {3: "F32", 5: "BF16"}
DTYPES = {"float32": 3, "bfloat16": 5}
PADDED = 128  # what the number of rows is a multiple of
LAYERS = (  # in the order of the file
    *("ln_1.g", "ln_1.b", "attn.c_attn.w", "attn.c_attn.b", "attn.c_proj.w", "attn.c_proj.b"),
    *("ln_2.g", "ln_2.b", "mlp.c_fc.w", "mlp.c_fc.b", "mlp.c_proj.w", "mlp.c_proj.b"),
)


def is_checkpoint(path: Path) -> bool:
    """Whether it begins as llm.c's; its tokenizer and its optimizer's state have other numbers."""
    if path.suffix != ".bin":
        return False
    with path.open("rb") as file:
        return file.read(4) == MAGIC.to_bytes(4, "little")


def find(place: Path) -> Path | None:
    """The checkpoint that `place` is or holds."""
    return single_file.find(place, is_checkpoint)


def weight_files(place: Path) -> list[Path]:
    return [path] if (path := find(place)) else []


def read_header(path: Path) -> tuple[HParams, int, int]:
    """The model's numbers, how many rows its embedding has in the file, and the version."""
    with path.open("rb") as file:
        data = file.read(4 * HEADER)
    if len(data) < 4 * HEADER:
        raise PicoGPTError(f"{path} is cut short; download or copy it again")
    _, version, n_ctx, n_vocab, n_layer, n_head, n_embd, n_rows, *_ = np.frombuffer(data, "<i4").tolist()
    if version not in CODES:
        raise PicoGPTError(f"{path} is llm.c's version {version}; only 3 (float32) and 5 (bfloat16) are read")
    numbers = {"n_vocab": n_vocab, "n_ctx": n_ctx, "n_embd": n_embd, "n_head": n_head, "n_layer": n_layer}
    return check_hparams(numbers, str(path)), n_rows, version


def read_hparams(path: Path) -> HParams:
    hparams, _, _ = read_header(path)
    return hparams


def read_params(place: Path, hparams: HParams) -> Params:
    """The parameters, views of the mapped file where it is float32. Raises `PicoGPTError` where its size is wrong."""
    [path] = weight_files(place)
    _, n_rows, version = read_header(path)
    n_vocab = hparams["n_vocab"]
    shapes = param_shapes(hparams | {"n_vocab": n_rows})
    size = 4 * HEADER + SIZES[CODES[version]] * sum(map(math.prod, shapes.values()))
    file = map_file(path)
    if n_rows < n_vocab or len(file) != size:
        raise PicoGPTError(f"{path} has {len(file):,} bytes, and its header speaks of {size:,}; copy it again")
    stored = dict(tensors(file, shapes, CODES[version], path))
    params = {name: widen(stored[name]) for name in shapes}
    return nest(params | {"wte": params["wte"][:n_vocab]})


def tensors(file: Bytes, shapes: dict[str, Shape], code: str, path: Path) -> Iterator[tuple[str, Stored]]:
    """The parameters as they lie in the file."""
    place = 4 * HEADER
    for name in in_order(shapes):
        shape = shapes[name]
        end = place + math.prod(shape) * SIZES[code]
        tensor = Stored(f"{path}: {name}", code, shape[::-1] if name.endswith(".w") else shape, file[place:end])
        yield name, transposed(tensor) if name.endswith(".w") else tensor
        place = end


def in_order(shapes: dict[str, Shape]) -> list[str]:
    """The parameters' names in the order of the file: a layer's name, of all blocks, then the next."""
    n_layer = sum(name.endswith("ln_1.g") for name in shapes)
    return ["wte", "wpe", *(f"blocks.{i}.{name}" for name in LAYERS for i in range(n_layer)), "ln_f.g", "ln_f.b"]


def read_encoder(place: Path) -> Tokenizer:
    """llm.c's own file of a vocabulary has no merges: it is the one beside the checkpoint, or GPT-2's."""
    [path] = weight_files(place)
    return single_file.read_encoder(path, read_hparams(path)["n_vocab"])


def write(path: Path, hparams: HParams, params: Params, dtype: str) -> None:
    """Write the file, whole or not at all, in float32 or bfloat16. Raises `PicoGPTError` for a relative of GPT-2."""
    require_plain(hparams, params, "llm.c's format")
    if dtype not in DTYPES:
        raise PicoGPTError(f"llm.c's format is {' or '.join(DTYPES)}, and not {dtype}")
    flat, shapes = named_arrays(hparams, params), param_shapes(hparams)
    n_rows = hparams["n_vocab"] + -hparams["n_vocab"] % PADDED
    names = ("n_ctx", "n_vocab", "n_layer", "n_head", "n_embd")
    header = np.zeros(HEADER, "<i4")
    header[:8] = [MAGIC, DTYPES[dtype], *(hparams[name] for name in names), n_rows]
    padding: Array = np.zeros((n_rows - hparams["n_vocab"], hparams["n_embd"]), np.float32)
    with replacing(path) as file:
        write_array(file, header)
        for name in in_order(shapes):
            write_array(file, narrow(flat[name].T if name.endswith(".w") else flat[name], dtype))
            if name == "wte":
                write_array(file, narrow(padding, dtype))
