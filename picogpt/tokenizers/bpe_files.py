"""The files of a byte-level BPE vocabulary: a JSON object of tokens and ids, and a list of merges.

OpenAI calls them encoder.json and vocab.bpe, Hugging Face vocab.json and merges.txt. In both a visible character stands
for each byte, and a line of the list has the two tokens that are merged, the pair that was learned first in front.
Hugging Face's tokenizer.json, which newer versions of transformers write alone, has the same two things within it.
What else may lie beside them is in `picogpt.tokenizers.added`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_bounded, read_json
from picogpt.tokenizers.added import TOKENIZER_CONFIG, TOKENIZER_JSON, Settings
from picogpt.tokenizers.base import (
    END_OF_TEXT,
    VOCABULARY_SIZE,
    Layout,
    is_special,
    write_vocabulary,
)
from picogpt.tokenizers.template import NOTHING, Around, read_template, template

FILES: dict[Layout, tuple[str, str]] = {
    "openai": ("encoder.json", "vocab.bpe"),
    "huggingface": ("vocab.json", "merges.txt"),
}
FILE_NAMES = [*(name for names in FILES.values() for name in names), TOKENIZER_JSON]
OTHER_BPE = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
WORDPIECE = "vocab.txt"
GPT2 = Path(__file__).parent / "gpt2"


class Vocabulary(NamedTuple):
    tokens: list[bytes]  # by id
    merges: list[tuple[int, int]]  # pairs of ids, by rank
    special_tokens: dict[str, int]
    added_tokens: dict[str, int]  # which are found in ordinary text before it is cut into words
    prefix_space: bool  # whether a space is put before text that begins without one
    around: Around  # the tokens that are put around a text

    def names(self) -> list[str]:
        """The tokens as the files spell them, by id: a visible character for each byte, special tokens as they are."""
        character = {byte: char for char, byte in byte_characters().items()}
        names = ["".join(map(character.__getitem__, token)) for token in self.tokens]
        for name, i in (self.special_tokens | self.added_tokens).items():
            names[i] = name
        return names

    def unmade_added_ids(self) -> set[int]:
        """The ids of added tokens that no merge makes; others are tokens of the vocabulary in their own right."""
        if not self.added_tokens:
            return set()
        made = {self.tokens[left] + self.tokens[right] for left, right in self.merges}
        characters = byte_characters()
        return {
            i
            for name, i in self.added_tokens.items()
            if not (characters.keys() >= set(name) and (len(name) == 1 or self.tokens[i] in made))
        }


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
    """The vocabulary in `directory`, in either layout, with the tokens that were added to it.

    Of Hugging Face's files tokenizer.json counts, as in transformers. Raises `PicoGPTError`, naming the file and the
    place in it, when files are missing or do not fit together.
    """
    ours, theirs = (tuple(directory / name for name in names) for names in FILES.values())
    if not any(path.exists() for path in ours) and (path := directory / TOKENIZER_JSON).exists():
        content = read_json(path, VOCABULARY_SIZE)
        check_kind(content, path)
        settings = Settings.read(directory)
        source = read_tokenizer_json(content, path, settings)
        added = settings.added_tokens(source.ids, source.added_tokens)
        around = read_around(source.post_processor, source.ids, path)
        return combine(source.ids, source.merges, path, path, "merge", added, source.prefix_space, around)
    for vocab_path, merges_path in (ours, theirs):
        if vocab_path.exists() or merges_path.exists():
            settings = Settings.read(directory)
            ids = check_vocab(read_json(vocab_path, VOCABULARY_SIZE), vocab_path)
            added = settings.added_tokens(ids)
            return combine(
                ids,
                read_merges(merges_path),
                vocab_path,
                merges_path,
                "line",
                added,
                settings.prefix_space or False,
                settings.around(ids),
            )
    if (path := directory / WORDPIECE).is_file():
        raise PicoGPTError(f"{path} is WordPiece's vocabulary, as BERT has it, which picogpt does not read")
    expected = ", or ".join(" and ".join(names) for names in FILES.values())
    raise PicoGPTError(f"no vocabulary in {directory}: expected {expected}")


class TokenizerJson(NamedTuple):
    ids: dict[str, int]
    merges: list[tuple[int, str]]  # with their numbers, from 1
    added_tokens: list[Any]
    prefix_space: bool
    post_processor: Any


def read_tokenizer_json(content: Any, path: Path, settings: Settings) -> TokenizerJson:
    """What is in a tokenizer.json; raises `PicoGPTError` unless it makes ids of a text as GPT-2 does."""
    try:
        model, cut = content["model"], content["pre_tokenizer"]
        as_gpt2 = model.get("type", "BPE") == "BPE" and content.get("normalizer") is None
        as_gpt2 &= not any(model.get(name) for name in OTHER_BPE)
        as_gpt2 &= cut["type"] == "ByteLevel" and cut.get("use_regex", True)
        prefix_space = cut["add_prefix_space"] if settings.is_generic else settings.prefix_space
        is_open = prefix_space is None and cut["add_prefix_space"]
        merges = [(n, pair if isinstance(pair, str) else " ".join(pair)) for n, pair in enumerate(model["merges"], 1)]
        as_gpt2 &= all(isinstance(name, str) for name in model["vocab"])
        ids, added = dict(model["vocab"]), list(content.get("added_tokens", []))
    except (AttributeError, KeyError, TypeError, ValueError):
        as_gpt2 = False
    if not as_gpt2:
        raise PicoGPTError(f"{path} does not describe a byte-level BPE tokenizer like GPT-2's")
    if is_open:  # tokenizers puts the space, transformers does not
        raise PicoGPTError(
            f"{path} has add_prefix_space, and {TOKENIZER_CONFIG} does not say whether it counts; say it there"
        )
    return TokenizerJson(check_vocab(ids, path), merges, added, bool(prefix_space), content.get("post_processor"))


def check_kind(content: Any, path: Path) -> None:
    """Raise `PicoGPTError` where a tokenizer.json says that it is of a kind that is not read."""
    model: Any = content.get("model") if isinstance(content, dict) else {}
    model = model if isinstance(model, dict) else {}
    kind = model.get("type")
    if kind == "BPE" and model.get("byte_fallback"):
        kind = "SentencePiece's BPE, as Llama has it"
    elif kind not in ("WordPiece", "WordLevel"):
        return
    raise PicoGPTError(f"{path} is a vocabulary of the kind {kind}, which picogpt does not read")


def read_around(post_processor: Any, ids: Mapping[str, int], path: Path) -> Around:
    try:
        return read_template(post_processor, ids, path)
    except (AttributeError, KeyError, TypeError) as error:
        raise PicoGPTError(f"{path} has a post_processor that is damaged: {shown(post_processor)}") from error


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
    ids: dict[str, int],
    lines: Iterable[tuple[int, str]],
    ids_path: Path,
    merges_path: Path,
    place: str = "line",
    added: Mapping[str, bool] = MappingProxyType({}),
    prefix_space: bool = False,
    around: Around = NOTHING,
) -> Vocabulary:
    """The vocabulary of tokens with their ids, and merges by line; raises `PicoGPTError` when they do not fit.

    The paths, and the word for a merge's place, are for the message. `added` says of tokens that were added to a
    vocabulary, or have a role in it, whether they are special.
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
    # what ordinary text is made of is not special, whatever its role
    added_tokens = {name: ids[name] for name, special in added.items() if tokens[ids[name]] or not special}
    special_tokens = {name: i for name, i in ids.items() if not tokens[i] and name not in added_tokens}
    for name, i in special_tokens.items():
        if not is_special(name) and name not in added:
            raise PicoGPTError(
                f"{ids_path}: token {shown(name)} (id {i}) is not a byte, not made by {merges_path.name}, "
                f"and not special, like {END_OF_TEXT}; is {merges_path.name} complete?"
            )
    for name, i in (special_tokens | added_tokens).items():
        try:
            tokens[i] = tokens[i] or name.encode()
        except UnicodeEncodeError as error:  # half of a character, which JSON can name
            raise PicoGPTError(f"{ids_path}: token {shown(name)} (id {i}) cannot be written in UTF-8") from error
    return Vocabulary(tokens, merges, special_tokens, added_tokens, prefix_space, around)


def write(
    directory: Path, vocabulary: Vocabulary, layout: Layout, bos_token: int | None, eos_tokens: tuple[int, ...]
) -> None:
    """Write the files; `read(directory)` gives the same vocabulary again, and so do transformers and tokenizers.

    The two files of OpenAI's layout are two, unless they cannot say everything.
    """
    names = vocabulary.names()
    ids = {name: i for i, name in enumerate(names)}
    pairs = [(names[left], names[right]) for left, right in vocabulary.merges]
    ids_name, merges_name = FILES[layout]
    contents = {merges_name: "\n".join(["#version: 0.2", *map(" ".join, pairs), ""]), ids_name: json.dumps(ids)}
    if layout == "huggingface":
        contents[TOKENIZER_JSON] = json.dumps(tokenizer_json(vocabulary, ids, pairs), ensure_ascii=False)
    if layout == "huggingface" or vocabulary.added_tokens or vocabulary.prefix_space or vocabulary.around != NOTHING:
        contents[TOKENIZER_CONFIG] = json.dumps(tokenizer_config(vocabulary, bos_token, eos_tokens), indent=2) + "\n"
    write_vocabulary({directory / name: content for name, content in contents.items()})


def tokenizer_json(vocabulary: Vocabulary, ids: dict[str, int], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """All of it, as tokenizers has it."""
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": vocabulary.prefix_space,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, **token} for i, token in added_entries(vocabulary).items()],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": template(vocabulary.around, vocabulary.names()),
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": ids, "merges": pairs},
    }


def tokenizer_config(vocabulary: Vocabulary, bos_token: int | None, eos_tokens: tuple[int, ...]) -> dict[str, Any]:
    """What transformers wants to know besides; for a role without a token it would add one."""
    name_of = {i: name for name, i in (vocabulary.special_tokens | vocabulary.added_tokens).items()}
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": vocabulary.prefix_space,
        "add_bos_token": vocabulary.around.begin is not None,
        "add_eos_token": vocabulary.around.end is not None,
        "bos_token": None if bos_token is None else name_of.get(bos_token),
        "eos_token": name_of.get(eos_tokens[0]) if eos_tokens else None,
        "unk_token": END_OF_TEXT if END_OF_TEXT in vocabulary.special_tokens else None,
        "added_tokens_decoder": {str(i): token for i, token in added_entries(vocabulary).items()},
    }


def added_entries(vocabulary: Vocabulary) -> dict[int, dict[str, Any]]:
    """The tokens that are found in the text itself, by id, as transformers and tokenizers describe them."""
    roles = {name: (i, True) for name, i in vocabulary.special_tokens.items()}
    roles |= {name: (i, False) for name, i in vocabulary.added_tokens.items()}
    return {
        i: {
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": special,
        }
        for name, (i, special) in sorted(roles.items(), key=lambda role: role[1])
    }
