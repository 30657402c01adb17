"""Files that torch.save wrote, `.bin`, `.pt` and `.pth`: a pickle of everything but the numbers, and the numbers.

Since torch 1.6 it is a zip archive, of which `data.pkl` is the pickle and `data/0`, `data/1` … are the storages.
Before, it was five pickles in a row (a magic number, a version, the machine, everything, and the storages' keys), then
the storages, each after its length. A tensor is a view of a storage; tied ones are views of the same.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.checkpoints import zip_archive
from picogpt.checkpoints.foreign import check_pointer
from picogpt.checkpoints.safetensors import SIZES, Stored
from picogpt.checkpoints.unpickler import PICKLE_SIZE, Fields, Functions, Name, unpickle
from picogpt.errors import PicoGPTError, shown
from picogpt.files import Bytes, map_file, require_files

MAGIC = 0x1950A86A20F9469CFC6C  # of the older format, torch's own
LEGACY = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")  # how a pickle of it begins
LENGTH_SIZE = 8
STORAGES = {
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.DoubleStorage": "F64",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
}
STATES = ("model", "model_state_dict", "state_dict")  # what training loops call the weights among all they save


class Storage(NamedTuple):
    key: str
    code: str
    n: int  # numbers


class Tensor(NamedTuple):
    storage: Storage
    offset: int  # in numbers, as the strides
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Saved(NamedTuple):
    """What a file holds: everything but the numbers, and the storages' bytes."""

    path: Path
    content: Any
    storages: Mapping[str, Bytes]

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights by their names. Raises `PicoGPTError` where there are none."""
        content = self.content
        if isinstance(content, dict):
            content = next((content[key] for key in STATES if isinstance(content.get(key), dict)), content)
            state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
            if state and all(isinstance(key, str) for key in state):
                return state
        raise PicoGPTError(f"{self.path} holds no weights by name: it should be a state dict, or have one as its model")

    def tensors(self) -> dict[str, Stored]:
        """The weights as they lie in the file."""
        found = {name: self.stored(name, tensor) for name, tensor in self.state.items()}
        size = sum(len(data) for data in self.storages.values())
        if sum(math.prod(tensor.shape) * SIZES[tensor.code] for tensor in found.values()) > 2 * size:
            raise PicoGPTError(f"{self.path} has weights that share more of their numbers than a tied layer does")
        return found

    def stored(self, name: str, tensor: Tensor) -> Stored:
        """One of them. Raises `PicoGPTError` where it goes beyond its storage or overlaps itself."""
        place = f"{self.path}: {name if name.isprintable() else shown(name)}"
        storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
        size, data = SIZES[storage.code], self.storages.get(storage.key)
        if data is None or len(data) < storage.n * size:
            raise PicoGPTError(f"{place} needs the storage {shown(storage.key)}, which is missing or cut short")
        span = 1  # numbers from the tensor's first to its last
        for stride, n in sorted(zip(strides, shape, strict=True)):
            if n > 1 and stride < span:
                raise PicoGPTError(
                    f"{place} has the shape {shown(shape)} and the strides {shown(strides)}: they overlap"
                )
            span += (n - 1) * stride if n else 0
        span *= math.prod(shape) > 0
        if tensor.offset + span > storage.n:
            raise PicoGPTError(f"{place} goes beyond its storage; download or copy the file again")
        part = data[tensor.offset * size : (tensor.offset + span) * size]
        in_order = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        is_in_order = all(n == 1 or a == b for n, a, b in zip(shape, strides, in_order, strict=True))
        return Stored(place, storage.code, shape, part, None if is_in_order else strides)


def read_torch(path: Path) -> Saved:
    """The file's content, with its storages mapped. Raises `PicoGPTError` for what is no such file, or not whole."""
    require_files([path])
    file = map_file(path)
    begin = file[: len(LEGACY)].tobytes()
    if begin.startswith(zip_archive.MAGIC):
        return read_zip(file, path)
    if begin == LEGACY:
        return read_legacy(file, path)
    check_pointer(path, file)
    raise PicoGPTError(f"{path} is not a file that torch.save wrote; download or copy it again")


def read_zip(file: Bytes, path: Path) -> Saved:
    members = {name.partition("/")[2]: data for name, data in zip_archive.members(file, path).items()}
    if "data.pkl" not in members:
        raise PicoGPTError(f"{path} is a zip archive without data.pkl, and not a file that torch.save wrote")
    check_order(path, "byteorder" not in members or members["byteorder"][:6].tobytes() == b"little")
    pickle = members["data.pkl"]
    if len(pickle) > PICKLE_SIZE:
        raise PicoGPTError(f"{path} has a pickle of {len(pickle):,} bytes; no model that is read needs so many")
    content = unpickle(io.BytesIO(pickle.tobytes()), str(path), FUNCTIONS, storage)
    return Saved(path, content, {name.removeprefix("data/"): data for name, data in members.items()})


def read_legacy(file: Bytes, path: Path) -> Saved:
    stream = io.BytesIO(file[:PICKLE_SIZE].tobytes())
    found: dict[str, Storage] = {}

    def remembered(description: Any) -> Storage:
        one = storage(description)
        return found.setdefault(one.key, one)

    _, _, machine, content, keys = [unpickle(stream, str(path), FUNCTIONS, remembered) for _ in range(5)]
    check_order(path, isinstance(machine, dict) and machine.get("little_endian") is True)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(found):
        raise PicoGPTError(f"{path} does not list its storages; download or copy it again")
    storages = {}
    start = stream.tell()
    for key in map(str, keys):
        n = int.from_bytes(file[start : start + LENGTH_SIZE].tobytes(), "little")
        start += LENGTH_SIZE
        end = start + found[key].n * SIZES[found[key].code]
        if n != found[key].n or end > len(file):
            raise PicoGPTError(f"{path} is cut short or damaged: its storage {shown(key)} is not whole")
        storages[key] = file[start:end]
        start = end
    return Saved(path, content, storages)


def check_order(path: Path, is_little: bool) -> None:
    if not is_little:
        raise PicoGPTError(f"{path} was written by a big-endian machine; save it with torch on another")


# What is called in the place of the functions that a pickle names; arguments that are not as they should be raise
# TypeError or ValueError, and None is for what the weights do not need.


def storage(description: Any) -> Storage:
    kind, name, key, _, n, *views = description
    if kind != "storage" or not isinstance(name, Name) or not isinstance(key, str) or any(views):
        raise ValueError("data outside the pickle that is no storage")
    return Storage(key, STORAGES[name.name], *whole(n))


def tensor(base: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(base, Storage) or len(shape) != len(strides) or len(shape) > 8:
        raise ValueError("a tensor without storage or shape")
    return Tensor(base, whole(offset)[0], whole(*shape), whole(*strides))


def parameter(data: Any, *_: Any) -> Any:
    return data


def whole(*numbers: Any) -> tuple[int, ...]:
    for number in numbers:
        if type(number) is not int or not 0 <= number < 1 << 48:
            raise ValueError(f"{shown(number)} in the place of a size")
    return numbers


def ordered(pairs: Any = ()) -> dict[str, Any]:
    if not all(isinstance(key, str) for key, _ in pairs):
        raise ValueError("a key that is no text")
    return dict(pairs)


def fields(*_: Any) -> Fields:
    return Fields()


FUNCTIONS: Functions = {
    "collections.OrderedDict": ordered,
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_parameter": parameter,
    "torch.Size": lambda shape: whole(*shape),
    "torch.device": None,
    **dict.fromkeys(STORAGES),
    **dict.fromkeys(("torch.float32", "torch.float16", "torch.bfloat16")),
    # losses that were NumPy's
    **dict.fromkeys(("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode")),
    # configs of nanoGPT's descendants, which save the object
    **dict.fromkeys((f"{module}.GPTConfig" for module in ("__main__", "model", "train_gpt2")), fields),
}
