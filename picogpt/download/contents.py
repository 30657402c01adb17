"""Whether a file holds what its name promises: bit rot, half files and error pages saved as weights are found here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from picogpt import checkpoints
from picogpt.checkpoints import huggingface, openai, tf_bundle
from picogpt.checkpoints.safetensors import Stored, read_safetensors
from picogpt.checkpoints.torch_file import read_torch
from picogpt.checksums import check_checksums, sha256
from picogpt.download.catalogue import Facts, facts
from picogpt.errors import PicoGPTError
from picogpt.files import CHECKSUMS, read_object
from picogpt.tokenizers.base import VOCABULARY_SIZE


def check_facts(path: Path, known: Facts) -> None:
    """Raise `PicoGPTError` when the file has not the size and the hash that it must have."""
    size = path.stat().st_size
    if known.size is not None and size != known.size:
        raise PicoGPTError(f"{path} has {size:,} bytes, not {known.size:,}")
    if known.sha256 is not None:
        found = sha256(path)
        if found != known.sha256:
            raise PicoGPTError(f"{path} has the SHA-256 {found}, not {known.sha256}")
    elif known.git is not None:
        digest = git_hash(size)
        digest.update(path.read_bytes())
        if digest.hexdigest() != known.git:
            raise PicoGPTError(f"{path} is in Git {digest.hexdigest()}, not {known.git}")


def git_hash(size: int) -> hashlib._Hash:
    """What becomes Git's name of a file of `size` bytes once it is given them."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def check_content(path: Path, name: str, directory: Path) -> None:
    """Raise `PicoGPTError` when the file at `path` cannot be the one called `name` of the model in `directory`.

    The model's smaller files must be in `directory` already, since its weights are checked against them.
    """
    match name:
        case openai.HPARAMS:
            openai.read_hparams(path)
        case huggingface.CONFIG:
            huggingface.read_hparams(path)
        case _ if name.endswith(".json"):
            read_object(path, VOCABULARY_SIZE)
        case "vocab.bpe" | "merges.txt":
            check_merges(path)
        case openai.CHECKPOINT:
            openai.read_prefix(path)
        case _ if name.endswith(".index"):
            index = tf_bundle.read_index(path)
            shapes = {tensor: entry.shape for tensor, entry in index.entries.items()}
            openai.check_params(shapes, checkpoints.read_hparams(directory), path)
        case _ if ".data-" in name:
            prefix = directory / name.partition(".data-")[0]
            check_tensors(tf_bundle.read_index(tf_bundle.index_path(prefix)), [path])
        case huggingface.WEIGHTS | huggingface.PICKLED:
            tensors = huggingface.bare_names(stored_tensors(path, name), path)
            huggingface.check_params(tensors, checkpoints.read_hparams(directory), path)
        case _ if name.endswith((".safetensors", ".bin")):  # one of several, which make the model together
            stored_tensors(path, name)


def stored_tensors(path: Path, name: str) -> Mapping[str, Stored]:
    """The tensors in a file that is to be called `name`; while it comes, its path has another ending."""
    return read_safetensors(path) if name.endswith(".safetensors") else read_torch(path).tensors()


def verify(directory: Path) -> dict[str, str]:
    """Check all of a model: file -> what was found to be right. Raises `PicoGPTError` at the first that is not.

    An OpenAI checkpoint carries a checksum of every tensor. Hugging Face's format carries none: the files are held
    against the list of SHA-256 that was written with them, or their names in Hugging Face's cache, and the released
    ones are known by theirs. Of others only the structure can be checked.
    """
    _, params = checkpoints.read_checkpoint(directory)
    checkpoints.read_encoder(directory)
    tensors = {}
    if checkpoints.layout(directory) == "openai":
        checkpoints.check_finite(params, str(directory))  # of the others loading has done it
        _, index_path, *data_paths = openai.weight_files(directory)
        index = tf_bundle.read_index(index_path)
        check_tensors(index, data_paths)
        tensors = {path.name: f"all of {len(index.entries)} tensors match their checksums" for path in data_paths}
    sums = check_checksums(directory) if directory.is_dir() else {}
    found = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else [directory]:
        if not path.is_file() or path.name.startswith(".") or path.name == CHECKSUMS:
            continue
        released, cached = facts(directory.name, path.name).sha256, cached_facts(path)
        check_facts(path, cached)
        if released is not None and released == (sums.get(path.name) or sha256(path)):
            found[path.name] = "the released file, by its SHA-256"
        elif path.name in tensors:
            found[path.name] = tensors[path.name]
        elif path.name in sums:
            found[path.name] = f"as {CHECKSUMS} has it"
        elif cached.is_hashed:
            found[path.name] = "as its name in Hugging Face's cache says"
        elif path.suffix in (".safetensors", ".gguf"):
            found[path.name] = "whole, but the format has no checksums"
        elif path.suffix in (".bin", ".pt", ".pth"):
            found[path.name] = "whole, and its numbers are finite"
        else:
            found[path.name] = "ok"
    return found


def cached_facts(path: Path) -> Facts:
    """What Hugging Face's cache says of a file: it is a link to one that is called by its SHA-256, or Git's name."""
    blob = path.resolve().name if path.is_symlink() else ""
    return Facts(
        sha256=blob if re.fullmatch("[0-9a-f]{64}", blob) else None,
        git=blob if re.fullmatch("[0-9a-f]{40}", blob) else None,
    )


def check_merges(path: Path) -> None:
    """A list of merges may begin with a line that says the version, and has two tokens a line."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    merges = lines[1:] if lines[0].startswith("#version") else lines
    if not any(lines) or any(len(merge.split(" ")) != 2 for merge in merges if merge):
        raise PicoGPTError(f"{path} is not a list of merges: a line with #version, then two tokens a line")


def check_tensors(index: tf_bundle.Index, paths: list[Path]) -> None:
    """Every tensor in the data files at `paths` against its checksum in the index, and that nothing follows them."""
    if len(paths) != index.n_shards:
        raise PicoGPTError(f"the index speaks of {index.n_shards} data files, and here are {len(paths)}")
    for path, size in zip(paths, tf_bundle.data_sizes(index), strict=True):
        if path.stat().st_size > size:
            raise PicoGPTError(f"{path} has {path.stat().st_size:,} bytes, and its tensors end at {size:,}")
    tf_bundle.check_data(index, paths)
