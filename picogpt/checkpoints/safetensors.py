"""The safetensors format: a JSON header that says where each tensor is, then the tensors.

The `safetensors` package checks the file. The tensors are then mapped where the header says they are, since the
package's own NumPy interface copies them and knows no bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.checkpoints.foreign import check_pointer
from picogpt.errors import PicoGPTError, listed
from picogpt.files import Bytes, map_file, parse_json, replacing, require_files, write_array
from picogpt.types import Array

CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}  # our name of a dtype -> the format's
Q8_0 = np.dtype([("scale", "<f2"), ("q", "i1", 32)])  # a block of 32 numbers, as GGUF stores them
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}  # in bytes
LENGTH_SIZE = 8  # the header's length stands before it
HEADER_SIZE = 1 << 21  # bytes; GPT-2's largest has 70,000


class Stored(NamedTuple):
    """A tensor as it lies in the file: where that is, the format's name of its dtype, its shape, its bytes.

    They are in C order, but for files that say otherwise: then `strides` count the numbers between neighbours.
    """

    place: str
    code: str
    shape: tuple[int, ...]
    data: Bytes
    strides: tuple[int, ...] | None = None


def transposed(tensor: Stored) -> Stored:
    """The same numbers, of which the columns are called rows; what is no matrix stays as it is."""
    if len(tensor.shape) != 2:
        return tensor
    n_rows, n_columns = tensor.shape
    row, column = tensor.strides or (n_columns, 1)
    return tensor._replace(shape=(n_columns, n_rows), strides=(column, row))


def read_safetensors(path: Path) -> dict[str, Stored]:
    """Every tensor of the file by its name, memory-mapped. Raises `PicoGPTError` for a truncated or damaged file."""
    from safetensors import SafetensorError, safe_open  # here and not above, since only this layout needs it

    require_files([path])
    file = map_file(path)
    check_pointer(path, file)
    start = LENGTH_SIZE + int.from_bytes(file[:LENGTH_SIZE].tobytes(), "little")
    if HEADER_SIZE < start <= len(file):
        raise PicoGPTError(f"{path} has a header of {start:,} bytes; no model that is read needs so many")
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        reason = listed([str(error)])
        raise PicoGPTError(f"{path} is not a whole safetensors file ({reason}); download or copy it again") from error
    header = parse_json(file[LENGTH_SIZE:start].tobytes().decode(), str(path))
    header.pop("__metadata__", None)
    tensors = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        data = file[start + begin : start + end]
        tensors[name] = Stored(f"{path}: {name}", tensor["dtype"], tuple(tensor["shape"]), data)
    return tensors


def widen(tensor: Stored) -> Array:
    """The tensor in float32, read-only: a view of the file where it is float32 there and aligned, else a copy."""
    match tensor.code:
        case "F32":
            wide = np.require(tensor.data.view("<f4"), requirements="A")
        case "F16":
            wide = tensor.data.view("<f2").astype(np.float32)
        case "BF16":  # the upper half of a float32
            wide = np.empty(tensor.data.size // 2, np.float32)
            np.left_shift(tensor.data.view("<u2"), 16, out=wide.view(np.uint32), dtype=np.uint32)
        case "Q8_0":
            blocks = tensor.data.view(Q8_0)
            wide = (blocks["q"] * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
        case code:
            raise PicoGPTError(f"{tensor.place} is stored as {code}; only {', '.join(CODES.values())} are read")
    wide.flags.writeable = False  # as in a mapped file: what is loaded is the same for everybody who holds it
    if tensor.strides:
        return np.ndarray(tensor.shape, wide.dtype, wide, strides=[stride * wide.itemsize for stride in tensor.strides])
    return wide.reshape(tensor.shape)


def narrow(array: Array, dtype: str) -> npt.NDArray[Any]:
    """A float32 array in the dtype that a file shall have, rounded to nearest, ties to even. int8 stays int8."""
    if array.dtype == np.int8:
        return np.ascontiguousarray(array)
    if dtype == "bfloat16":
        array = np.ascontiguousarray(array, np.float32)
        bits = array.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(array), 0x7FC0, rounded).astype("<u2")  # a NaN could round to a number
    return np.ascontiguousarray(array, "<f4" if dtype == "float32" else "<f2")


def write_safetensors(path: Path, tensors: Mapping[str, Array], dtype: str = "float32") -> None:
    """Write the tensors one after the other, so that no second copy of the model is ever in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # what transformers expects to find
    end = 0
    for name, array in tensors.items():
        code = "I8" if array.dtype == np.int8 else CODES[dtype]
        begin, end = end, end + array.size * SIZES[code]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % LENGTH_SIZE)  # so that the first tensor is aligned
    with replacing(path) as file:
        file.write(len(encoded).to_bytes(LENGTH_SIZE, "little") + encoded)
        for array in tensors.values():
            write_array(file, narrow(array, dtype))
