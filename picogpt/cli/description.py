"""What an output was made with, kept beside it, so that a later run can tell whether it would go on with it."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt import __version__
from picogpt.checksums import sha256
from picogpt.cli.options import model_name
from picogpt.cli.records import as_utf8, files
from picogpt.errors import PicoGPTError, reason, shown
from picogpt.files import read_object, write_text
from picogpt.lock import locked

if TYPE_CHECKING:
    from picogpt.corpus.model import Reader
    from picogpt.tokenizers import Tokenizer

Description = dict[str, Any]
SIZE = 1 << 26  # bytes; each input takes two hundred


def describe(args: argparse.Namespace, reader: Reader, **options: Any) -> Description:
    """All that decides what the rows are, with a command's own `options`, and the inputs that they come from."""
    from picogpt.checkpoints.fingerprint import fingerprint

    return {
        "picogpt": __version__,
        "model": model_name(args),
        "weights_sha256": fingerprint(reader.params),
        "tokenizer_sha256": tokenizer_fingerprint(reader.encoder),
        "n_head": reader.n_head,
        "dtype": args.dtype,
        "bos": reader.bos[0] if reader.bos else None,
        "stride": reader.stride,
        **options,
        "special": args.special,
        "format": args.format,
        "id": args.id,
        "inputs": inputs(args.inputs) if getattr(args, "output_dir", None) is None else [],
    }


def in_words(description: Description) -> str:
    """What was measured, and with what, in a line."""
    bos = description["bos"]
    return (
        f"{description['model']} (weights' SHA-256 {description['weights_sha256']}), picogpt {description['picogpt']}, "
        f"{description['dtype']}, {'without a token that begins a text' if bos is None else f'after token {bos}'}, "
        f"{description['unit']}, stride {description['stride']}"
    )


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 over what makes a tokenizer: its kind, every token's bytes, special tokens, and merges."""
    from picogpt.tokenizers import ByteLevelBPE

    tokens = [tokenizer.decode_bytes([i]).hex() for i in range(tokenizer.n_vocab)]
    merges = tokenizer.merges if isinstance(tokenizer, ByteLevelBPE) else []
    facts = [type(tokenizer).__name__, tokens, dict(tokenizer.special_tokens), merges]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def inputs(names: list[str]) -> list[Description]:
    """The files with their sizes and contents' digests; texts as the files that they would be; nothing of a pipe."""
    paths = files(names)
    if names and not paths:
        texts = [name.encode(errors="surrogateescape") for name in names]
        return [{"text": len(data), "sha256": hashlib.sha256(data).hexdigest()} for data in texts]
    found = []
    for name in paths:
        try:
            path = Path(name)
            found.append({"name": as_utf8(name), "n_bytes": path.stat().st_size, "sha256": sha256(path)})
        except OSError as error:
            raise PicoGPTError(f"cannot read {reason(error)}") from None
    return found


@contextmanager
def kept(description: Description, output: Path, resume: bool, parts: Sequence[Path] = ()) -> Iterator[None]:
    """Write the description beside a new output, or hold it against that of the output to be continued.

    `parts` are what a run that was stopped has left where an output is only there when it is whole. The output is
    locked meanwhile. Raises `PicoGPTError` when another process is writing it, when it exists and is
    not to be continued, and when it was made with something else.
    """

    def refuse() -> None:
        raise PicoGPTError(f"another process is writing {output}; wait for it to end, or name another file")

    if not output.parent.is_dir():
        raise PicoGPTError(f"{output} cannot be written: No such file or directory")
    path = output.with_name(f"{output.name}.meta.json")
    with locked(output.with_name(f".{output.name}.lock"), on_wait=refuse):
        begun = [file for file in (output, *parts) if file.exists() and file.stat().st_size]
        if not begun:
            write_text(path, json.dumps(description, indent=2) + "\n")
        elif not resume:
            raise PicoGPTError(f"{begun[0]} exists: continue it (--resume), or name another file")
        elif not path.is_file():
            raise PicoGPTError(f"{path} is missing, so nobody knows what {output} was made with; name another file")
        elif differences := compare(read_object(path, SIZE), description):
            raise PicoGPTError(f"{output} was made with something else: {'; '.join(differences)}; name another file")
        elif not description["inputs"]:
            raise PicoGPTError(f"what {output} was made from came through a pipe: put it into a file to use --resume")
        yield


def compare(old: Description, new: Description) -> list[str]:
    """What the two do not have in common, in words."""
    found = [
        f"{name} was {shown(old.get(name))} and is {shown(value)}"
        for name, value in new.items()
        if name != "inputs" and old.get(name) != value
    ]
    if old.get("inputs") != new["inputs"]:
        was, now = names(old.get("inputs")), names(new["inputs"])
        found.append(f"the input was {was} and is {now}" if was != now else f"{now} has changed")
    return found


def names(inputs: Any) -> str:
    """The inputs of a description, as their names."""
    parts = inputs if isinstance(inputs, list) else []
    return ", ".join(str(part.get("name", "a text")) for part in parts if isinstance(part, dict)) or "standard input"
