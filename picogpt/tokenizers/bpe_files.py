"""The files of a byte-level BPE vocabulary: a JSON object of tokens and ids, and a list of merges.

OpenAI calls them encoder.json and vocab.bpe, Hugging Face vocab.json and merges.txt. In both a visible character stands
for each byte, and a line of the list has the two tokens that are merged, the pair that was learned first in front.
Hugging Face's tokenizer.json, which newer versions of transformers write alone, has the same two things within it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_bounded, read_json
from picogpt.tokenizers.base import END_OF_TEXT, VOCABULARY_SIZE, Layout, is_special, write_vocabulary

FILES: dict[Layout, tuple[str, str]] = {
    "openai": ("encoder.json", "vocab.bpe"),
    "huggingface": ("vocab.json", "merges.txt"),
}
TOKENIZER_JSON = "tokenizer.json"
FILE_NAMES = [*(name for names in FILES.values() for name in names), TOKENIZER_JSON]
GPT2 = Path(__file__).parent / "gpt2"


class Vocabulary(NamedTuple):
    tokens: list[bytes]  # by id
    merges: list[tuple[int, int]]  # pairs of ids, by rank
    special_tokens: dict[str, int]

    def names(self) -> list[str]:
        """The tokens as the files spell them, by id: a visible character for each byte, special tokens as they are."""
        character = {byte: char for char, byte in byte_characters().items()}
        names = ["".join(map(character.__getitem__, token)) for token in self.tokens]
        for name, i in self.special_tokens.items():
            names[i] = name
        return names


def byte_characters() -> dict[str, int]:
    """The visible character that stands for each byte in the files -> the byte, in the order of GPT-2's ids.

    Bytes that are visible in Latin-1 stand for themselves; the others follow as the characters from U+0100 on.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = sorted(set(range(256)) - set(visible))
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}


def read_gpt2() -> Vocabulary:
    """GPT-2's vocabulary, from its merges alone: the bytes, then what each merge makes, then `<|endoftext|>`."""
    path = GPT2 / "vocab.bpe"
    lines = list(read_merges(path))
    names = [*byte_characters(), *(line.replace(" ", "") for _, line in lines), END_OF_TEXT]
    return combine({name: i for i, name in enumerate(names)}, lines, path, path)


def read(directory: Path) -> Vocabulary:
    """The vocabulary in `directory`, in either layout.

    Raises `PicoGPTError`, naming the file and the place in it, when files are missing or do not fit together.
    """
    for names in FILES.values():
        vocab_path, merges_path = (directory / name for name in names)
        if vocab_path.exists() or merges_path.exists():
            ids = check_vocab(read_json(vocab_path, VOCABULARY_SIZE), vocab_path)
            return combine(ids, read_merges(merges_path), vocab_path, merges_path)
    if (directory / TOKENIZER_JSON).exists():
        return read_tokenizer_json(directory / TOKENIZER_JSON)
    expected = ", or ".join(" and ".join(names) for names in FILES.values())
    raise PicoGPTError(f"no vocabulary in {directory}: expected {expected}")


def read_tokenizer_json(path: Path) -> Vocabulary:
    """The vocabulary in a tokenizer.json; raises `PicoGPTError` unless it cuts text into words as GPT-2 does."""
    content = read_json(path, VOCABULARY_SIZE)
    try:
        model, cut = content["model"], content["pre_tokenizer"]
        as_gpt2 = model["type"] == "BPE" and content["normalizer"] is None
        as_gpt2 &= cut["type"] == "ByteLevel" and cut["use_regex"] and not cut["add_prefix_space"]
        ids = {**model["vocab"], **{token["content"]: token["id"] for token in content["added_tokens"]}}
        as_gpt2 &= all(isinstance(name, str) for name in ids)
        merges = [(n, pair if isinstance(pair, str) else " ".join(pair)) for n, pair in enumerate(model["merges"], 1)]
    except (KeyError, TypeError):
        as_gpt2 = False
    if not as_gpt2:
        raise PicoGPTError(f"{path} does not describe a byte-level BPE tokenizer like GPT-2's")
    return combine(check_vocab(ids, path), merges, path, path, "merge")


def check_vocab(ids: Any, path: Path) -> dict[str, int]:
    """Raises `PicoGPTError` unless this maps tokens to the ids 0 to n − 1, each once."""
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise PicoGPTError(f"{path} should map tokens to whole numbers")
    names: dict[int, str] = {}
    for name, i in ids.items():
        if not 0 <= i < len(ids):
            raise PicoGPTError(
                f"{path}: {len(ids)} tokens need the ids 0 to {len(ids) - 1}, but {shown(name)} has {shown(i)}"
            )
        if i in names:
            raise PicoGPTError(f"{path}: {shown(names[i])} and {shown(name)} have the same id {i}")
        names[i] = name
    return ids


def read_merges(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and the lines' two tokens, without empty lines and the version in the first."""
    for n, line in enumerate(io.StringIO(read_bounded(path, VOCABULARY_SIZE), newline=None), 1):
        pair = line.rstrip("\n")
        if pair and not (n == 1 and pair.startswith("#version")):
            yield n, pair


def combine(
    ids: dict[str, int], lines: Iterable[tuple[int, str]], ids_path: Path, merges_path: Path, place: str = "line"
) -> Vocabulary:
    """The vocabulary of tokens with their ids, and merges by line; raises `PicoGPTError` when they do not fit.

    The paths, and the word for a merge's place, are for the message.
    """
    tokens = [b""] * len(ids)
    for character, byte in byte_characters().items():
        if character not in ids:
            raise PicoGPTError(f"{ids_path} has no token for byte {byte:#04x} ({character!r})")
        tokens[ids[character]] = bytes([byte])
    merges: list[tuple[int, int]] = []
    most = sum(map(len, ids))  # a token of n characters can be made in n − 1 ways
    for n, line in lines:
        left, _, right = line.partition(" ")
        try:
            i, j, merged = ids[left], ids[right], ids[left + right]
        except KeyError as error:
            raise PicoGPTError(
                f"{merges_path}, {place} {n} should be two tokens with a space between them: {shown(line)}, "
                f"but {shown(error.args[0])} is not in {ids_path.name}"
            ) from None
        if not (tokens[i] and tokens[j]):
            unmade = right if tokens[i] else left
            raise PicoGPTError(f"{merges_path}, {place} {n}: no {place} above makes {shown(unmade)}")
        if len(merges) > most:
            raise PicoGPTError(f"{merges_path}, {place} {n}: there are more merges than the tokens can be made by")
        merges.append((i, j))
        tokens[merged] = tokens[i] + tokens[j]
    special_tokens = {name: i for name, i in ids.items() if not tokens[i]}
    for name, i in special_tokens.items():
        if not is_special(name):
            raise PicoGPTError(
                f"{ids_path}: token {shown(name)} (id {i}) is not a byte, not made by {merges_path.name}, "
                f"and not special, like {END_OF_TEXT}; is {merges_path.name} complete?"
            )
        tokens[i] = name.encode()
    return Vocabulary(tokens, merges, special_tokens)


def write(directory: Path, vocabulary: Vocabulary, layout: Layout) -> None:
    """Write the two files; `read(directory)` gives the same vocabulary again."""
    names = vocabulary.names()
    lines = ["#version: 0.2", *(f"{names[left]} {names[right]}" for left, right in vocabulary.merges), ""]
    ids_name, merges_name = FILES[layout]
    ids = json.dumps({name: i for i, name in enumerate(names)})
    write_vocabulary({directory / merges_name: "\n".join(lines), directory / ids_name: ids})
