"""Whether a file holds what its name promises: bit rot, half files and error pages saved as weights are found here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from picogpt import checkpoints
from picogpt.checkpoints import huggingface, openai, tf_bundle
from picogpt.download.catalogue import Facts, facts
from picogpt.errors import PicoGPTError
from picogpt.files import read_object
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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_content(path: Path, name: str, directory: Path) -> None:
    """Raise `PicoGPTError` when the file at `path` cannot be the one called `name` of the model in `directory`.

    The model's smaller files must be in `directory` already, since its weights are checked against them.
    """
    match name:
        case openai.HPARAMS:
            openai.read_hparams(path)
        case huggingface.CONFIG:
            huggingface.read_hparams(path)
        case "encoder.json" | "vocab.json":
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
        case huggingface.WEIGHTS:
            huggingface.check_params(huggingface.read_tensors([path]), checkpoints.read_hparams(directory), path)


def verify(directory: Path) -> dict[str, str]:
    """Check all of a model: file -> what was found to be right. Raises `PicoGPTError` at the first that is not.

    An OpenAI checkpoint carries a checksum of every tensor. Hugging Face's format carries none: there the released
    files are told by their SHA-256, and of others only the structure can be checked.
    """
    found = {}
    _, params = checkpoints.read_checkpoint(directory)
    checkpoints.check_finite(params, str(directory))
    checkpoints.read_encoder(directory)
    if checkpoints.layout(directory) == "openai":
        _, index_path, *data_paths = openai.weight_files(directory)
        index = tf_bundle.read_index(index_path)
        check_tensors(index, data_paths)
        found = {path.name: f"all of {len(index.entries)} tensors match their checksums" for path in data_paths}
    for path in sorted(directory.iterdir()) if directory.is_dir() else [directory]:
        known = facts(directory.name, path.name)
        if known.sha256 is not None and sha256(path) == known.sha256:
            found[path.name] = "the released file, by its SHA-256"
        elif path.suffix in (".safetensors", ".gguf"):
            found[path.name] = "whole, but the format has no checksums"
        elif path.suffix in (".bin", ".pt", ".pth"):
            found[path.name] = "whole, and its numbers are finite"
        elif path.is_file() and not path.name.startswith("."):
            found.setdefault(path.name, "ok")
    return found


def check_merges(path: Path) -> None:
    """A list of merges is a line that says the version, then two tokens a line."""
    version, *merges = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if not version.startswith("#version") or any(len(merge.split(" ")) != 2 for merge in merges if merge):
        raise PicoGPTError(f"{path} is not a list of merges: a line with #version, then two tokens a line")


def check_tensors(index: tf_bundle.Index, paths: list[Path]) -> None:
    """Every tensor in the data files at `paths` against its checksum in the index, and that nothing follows them."""
    if len(paths) != index.n_shards:
        raise PicoGPTError(f"the index speaks of {index.n_shards} data files, and here are {len(paths)}")
    for path, size in zip(paths, tf_bundle.data_sizes(index), strict=True):
        if path.stat().st_size > size:
            raise PicoGPTError(f"{path} has {path.stat().st_size:,} bytes, and its tensors end at {size:,}")
    tf_bundle.check_data(index, paths)
