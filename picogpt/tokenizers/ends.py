"""The ids that stand before a text and end it, as a model's files say; else `<|endoftext|>` does both.

transformers keeps them in generation_config.json and, of models that were saved before there was one, in config.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_object, write_text
from picogpt.tokenizers.base import TokenIds, Tokenizer

GENERATION_CONFIG, CONFIG = "generation_config.json", "config.json"
BEGINS, ENDS = "bos_token_id", "eos_token_id"

Ends = tuple[int | None, tuple[int, ...]]  # the id that stands before a text, those that end one


def read(directory: Path, n_vocab: int) -> dict[str, list[int]]:
    """What the files say of the ids that begin and end a text, null as an empty list.

    An id that the model does not have says nothing: GPT-2's stay in many a config. Raises `PicoGPTError` for what is
    no id.
    """
    found: dict[str, list[int]] = {}
    for path in (directory / GENERATION_CONFIG, directory / CONFIG):
        content = read_object(path) if path.is_file() else {}
        for key in (BEGINS, ENDS):
            if key in content:
                ids = as_ids(content[key], key, path)
                known = [i for i in ids if i < n_vocab]
                if known or not ids:
                    found.setdefault(key, known)
    return found


def as_ids(value: Any, key: str, path: Path) -> list[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(i) is int and i >= 0 for i in ids):
        raise PicoGPTError(f"{path}: {key} should be an id or a list of ids, not {shown(value)}")
    return ids


def apply(directory: Path, tokenizer: TokenIds, n_vocab: int) -> None:
    """Tell the tokenizer of a model with `n_vocab` ids what the files say; without a beginning an end stands there."""
    found = read(directory, n_vocab)
    tokenizer.eos_tokens = tuple(found.get(ENDS, tokenizer.eos_tokens))
    tokenizer.begin_text(next(iter(found.get(BEGINS, ())), None))


def entries(bos_token: int | None, eos_tokens: tuple[int, ...]) -> dict[str, Any]:
    """The two as a config has them."""
    ends: Any = list(eos_tokens) if len(eos_tokens) > 1 else eos_tokens[0] if eos_tokens else None
    return {BEGINS: bos_token, ENDS: ends}


def write(directory: Path, tokenizer: Tokenizer) -> None:
    """Write generation_config.json where it is not `<|endoftext|>` that stands before a text and ends it."""
    eot_token = tokenizer.eot_token
    if (tokenizer.bos_token, tokenizer.eos_tokens) != (eot_token, () if eot_token is None else (eot_token,)):
        content = entries(tokenizer.bos_token, tokenizer.eos_tokens)
        write_text(directory / GENERATION_CONFIG, json.dumps(content, indent=2) + "\n")
