"""The files of a Unigram vocabulary: Hugging Face's tokenizer.json, or SentencePiece's own model.

The two cut the same text differently where it is not plain: tokenizers looks characters up in another way, and adds
in float64. So each is read as its own program reads it. What decides is which of them is there; tokenizer.json counts.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import check_size, parse_json, read_bounded, write_files
from picogpt.protobuf import Message, messages, number, parse_message
from picogpt.tokenizers.added import (
    ADDED_TOKENS,
    SPECIAL_TOKENS_MAP,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    AddedToken,
    Settings,
)
from picogpt.tokenizers.base import VOCABULARY_SIZE
from picogpt.tokenizers.charsmap import CharsMap
from picogpt.tokenizers.normalizers import make_normalizer
from picogpt.tokenizers.template import Around, read_template

SPIECE_NAMES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
BESIDE = (TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS)
SPACE = "▁"
LONGEST_MATCH = 256  # bytes that the table of characters replaces at once; no table has a longer one
LONGEST_PIECE = 1000  # characters, each of which takes time at each place of a text; SentencePiece's have 16
MOST_PIECES = 1 << 20  # of SentencePiece's file, in which one may take two bytes
UNKNOWN_PENALTY = 10.0  # below the unlikeliest piece; both programs have it
IS_UNIGRAM = re.compile(r'"type"\s*:\s*"Unigram"')
# as Unicode has it; Python's has control characters too
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
BETWEEN_WORDS = re.compile(f"[{WHITE_SPACE}]+")
BEFORE_SPACE = re.compile(f"(?={SPACE})")
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of a piece
OWN_CLASSES = ("T5Tokenizer", "T5TokenizerFast")  # whose ids are SentencePiece's, but for `extra_ids` new ones
MODEL_TYPES = {1: "Unigram", 2: "BPE", 3: "words", 4: "characters"}


class Vocabulary(NamedTuple):
    """All that makes a Unigram tokenizer."""

    files: dict[str, bytes]  # the names and contents of the files
    pieces: list[str]  # by id
    scores: dict[str, float]  # of the pieces that a text can be cut into, log-probabilities
    rounded: Callable[[float], float]  # to the precision in which scores are added
    unknown: int  # the id of what is not known
    unknown_score: float
    byte_ids: list[int]  # the ids of the 256 bytes, or nothing
    words: Callable[[str], list[str]]  # a text, normalized, in parts that no piece crosses
    special_tokens: dict[str, int]
    takes_spaces: frozenset[str]  # special tokens before which white space belongs to them
    around: Around  # the tokens that it puts around a text
    puts_space: bool  # whether a text begins with a space that decoding takes away

    @property
    def texts(self) -> list[bytes]:
        return texts_of(self.pieces, self.byte_ids)


def find(directory: Path) -> Path | None:
    """The file of a Unigram vocabulary; None where there is none, or tokenizer.json is of another kind."""
    path = directory / TOKENIZER_JSON
    if path.is_file():
        return path if IS_UNIGRAM.search(read_bounded(path, VOCABULARY_SIZE)) else None
    return next((directory / name for name in SPIECE_NAMES if (directory / name).is_file()), None)


def read(directory: Path) -> Vocabulary:
    """The vocabulary in `directory`; raises `PicoGPTError` where its file is missing, damaged, or of another kind."""
    path = find(directory)
    if path is None:
        raise PicoGPTError(f"no Unigram vocabulary in {directory}: expected {TOKENIZER_JSON}, or {SPIECE_NAMES[0]}")
    settings = Settings.read_any(directory)
    is_json = path.name == TOKENIZER_JSON
    check_size(path, VOCABULARY_SIZE)
    files = {name: (directory / name).read_bytes() for name in (path.name, *BESIDE) if (directory / name).is_file()}
    try:
        if is_json:
            content = parse_json(read_bounded(path, VOCABULARY_SIZE), str(path))
            return read_tokenizer_json(content, files, path, settings)
        check_class(settings.config, path)
        return read_spiece(parse_message(files[path.name]), files, path, settings)
    except PicoGPTError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, struct.error) as error:
        kind = "it does not describe a Unigram tokenizer" if is_json else "it is not a model of SentencePiece's"
        raise PicoGPTError(f"{path} is damaged: {kind}") from error


def check_class(config: dict[str, Any], path: Path) -> None:
    """Raise `PicoGPTError` where the ids are not SentencePiece's own: some classes change the text, others the ids."""
    name = config.get("tokenizer_class")
    if name not in (None, *OWN_CLASSES) or (name is not None and config.get("extra_ids", 100) != 0):
        raise PicoGPTError(
            f"{path} is the vocabulary of {shown(name)}, whose ids are not SentencePiece's: "
            f"save the tokenizer with transformers, which writes a {TOKENIZER_JSON} that is read here"
        )


def write(directory: Path, vocabulary: Vocabulary) -> None:
    """Write the files that were read."""
    write_files({directory / name: content for name, content in vocabulary.files.items()})


def read_tokenizer_json(content: Any, files: dict[str, bytes], path: Path, settings: Settings) -> Vocabulary:
    model = content["model"]
    pieces = [checked_piece(piece, path) for piece, _ in model["vocab"]]
    scores = {piece: checked_score(score, path) for piece, score in model["vocab"]}
    if len(scores) != len(pieces) or not pieces:
        raise PicoGPTError(f"{path}: a piece is in the vocabulary twice, or there is none")
    special_tokens, takes_spaces = read_special(settings, content.get("added_tokens") or [], pieces, path)
    unknown = model.get("unk_id")
    if type(unknown) is not int or not 0 <= unknown < len(pieces):
        raise PicoGPTError(f"{path} has no token for what is not in the vocabulary (unk_id)")
    normalize, cut = make_normalizer(content.get("normalizer"), str(path)), make_cut(content.get("pre_tokenizer"), path)
    return Vocabulary(
        files=files,
        pieces=pieces,
        scores=scores,
        rounded=float,
        unknown=unknown,
        unknown_score=min(scores.values()) - UNKNOWN_PENALTY,
        byte_ids=byte_ids(pieces) if model.get("byte_fallback") else [],
        words=lambda text: cut(normalize(text)),
        special_tokens=special_tokens,
        takes_spaces=takes_spaces,
        around=read_template(content.get("post_processor"), {piece: i for i, piece in enumerate(pieces)}, path),
        puts_space=decoder_drops_space(content.get("decoder"), path),
    )


def checked_piece(piece: Any, path: Path) -> str:
    if not isinstance(piece, str):
        raise TypeError
    try:
        piece.encode()
    except UnicodeEncodeError:
        raise PicoGPTError(f"{path}: the piece {shown(piece)} cannot be written in UTF-8") from None
    if len(piece) > LONGEST_PIECE:
        raise PicoGPTError(f"{path} has a piece of {len(piece):,} characters; more than {LONGEST_PIECE} are not read")
    return piece


def checked_score(score: Any, path: Path) -> float:
    if type(score) not in (int, float) or not math.isfinite(score) or abs(score) > 1e30:
        raise PicoGPTError(f"{path}: a piece has the score {shown(score)}, which should be a logarithm")
    return float(score)


def read_special(
    settings: Settings, entries: Sequence[Any], pieces: list[str], path: Path
) -> tuple[dict[str, int], frozenset[str]]:
    """The special tokens, new ones of which become pieces, and those that take the white space before them."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    found: dict[str, AddedToken] = {}
    for token in settings.tokens(entries):
        name = checked_piece(token.content, path)
        settings.check_id(token, ids.setdefault(name, len(ids)))
        if name not in found or (token.special and not found[name].special):  # a role makes a word special
            found[name] = token
    for name, token in found.items():
        if not token.special or not token.first or token.options - {"lstrip"}:
            raise PicoGPTError(
                f"{path.parent}: the added token {shown(name)} is not special, or is normalized, or has rstrip or "
                f"single_word, which picogpt does not do for Unigram"
            )
    pieces += list(ids)[len(pieces) :]
    return {name: ids[name] for name in found}, frozenset(n for n, token in found.items() if "lstrip" in token.options)


def make_cut(entry: Any, path: Path) -> Callable[[str], list[str]]:
    """How a normalized text is cut into words, with ▁ for spaces."""
    steps = [] if entry is None else entry["pretokenizers"] if entry["type"] == "Sequence" else [entry]
    at_space = bool(steps) and steps[0]["type"] == "WhitespaceSplit"
    rest = steps[at_space:]
    if len(rest) != 1 or rest[0]["type"] != "Metaspace" or rest[0].get("replacement") != SPACE:
        raise PicoGPTError(f"{path} cuts a text in a way that picogpt does not do (pre_tokenizer): {shown(entry)}")
    scheme = scheme_of(rest[0])
    if scheme not in ("always", "never"):
        raise PicoGPTError(f"{path} has the prepend_scheme {shown(scheme)}, which picogpt does not do")
    split = rest[0].get("split", True)

    def cut(text: str) -> list[str]:
        parts = [part for part in BETWEEN_WORDS.split(text) if part] if at_space else [text] if text else []
        return [word for part in parts for word in words(part)]

    def words(part: str) -> Iterator[str]:
        part = part.replace(" ", SPACE)
        if scheme == "always" and not part.startswith(SPACE):
            part = SPACE + part
        return filter(None, BEFORE_SPACE.split(part)) if split else iter([part])

    return cut


def scheme_of(metaspace: Any) -> Any:
    """Whether ▁ is put before a text; older files say it as a yes or no."""
    return metaspace.get("prepend_scheme", "always" if metaspace.get("add_prefix_space", True) else "never")


def decoder_drops_space(entry: Any, path: Path) -> bool:
    """Whether decoding takes away the ▁ before a text."""
    steps = [] if entry is None else entry["decoders"] if entry["type"] == "Sequence" else [entry]
    kinds = [step["type"] for step in steps]
    if kinds not in (["Metaspace"], ["ByteFallback", "Metaspace"]):
        raise PicoGPTError(f"{path} decodes in a way that picogpt does not do (decoder): {shown(entry)}")
    return scheme_of(steps[-1]) != "never"


def byte_ids(pieces: Sequence[str]) -> list[int]:
    """The ids of the pieces <0x00> to <0xFF>, or nothing where one is missing."""
    found = {int(match[1], 16): i for i, piece in enumerate(pieces) if (match := BYTE_PIECE.fullmatch(piece))}
    return [found[byte] for byte in range(256)] if len(found) == 256 else []


def texts_of(pieces: Sequence[str], bytes_at: Sequence[int]) -> list[bytes]:
    """What each piece adds to a text."""
    texts = [piece.replace(SPACE, " ").encode() for piece in pieces]
    for byte, i in enumerate(bytes_at):
        texts[i] = bytes([byte])
    return texts


def read_spiece(model: Message, files: dict[str, bytes], path: Path, settings: Settings) -> Vocabulary:
    """SentencePiece's own model: its pieces, what it was trained with, and how it normalizes."""
    trainer, rules = (next(iter(messages(model, field)[-1:]), {}) for field in (2, 3))
    model_type = MODEL_TYPES.get(number(trainer, 3) if 3 in trainer else 1, "an unknown kind")
    if model_type != "Unigram":
        raise PicoGPTError(f"{path} is SentencePiece's for {model_type}, and picogpt reads its Unigram models")
    if len(model.get(1, [])) > MOST_PIECES:
        raise PicoGPTError(f"{path} has more than {MOST_PIECES:,} pieces, and no such file has as many")
    entries = messages(model, 1)
    pieces = [checked_piece(text_of(entry, 1), path) for entry in entries]
    types = [number(entry, 3) if 3 in entry else NORMAL for entry in entries]
    numbers = [checked_score(float_of(entry, 2), path) for entry in entries]
    normal = [score for score, kind in zip(numbers, types, strict=True) if kind == NORMAL]
    if not normal or types.count(UNKNOWN) != 1 or len(set(pieces)) != len(pieces):
        raise PicoGPTError(f"{path} has no pieces, or some of them twice, or no token for what is not among them")
    user_defined = [piece for piece, kind in zip(pieces, types, strict=True) if kind == USER_DEFINED]
    if number(trainer, 24):
        raise PicoGPTError(f"{path} puts spaces at the ends of words (treat_whitespace_as_suffix), not done here")
    # what is user-defined is always cut out whole, so it is given more than any cut of it could have
    scores = {
        piece: len(piece.encode()) * max(normal) - 0.1 if kind == USER_DEFINED else score
        for piece, score, kind in zip(pieces, numbers, types, strict=True)
        if kind in (NORMAL, USER_DEFINED)
    }
    end = number(trainer, 42) if 42 in trainer else 2
    own = {pieces[i]: i for i, kind in enumerate(types) if kind in (CONTROL, UNKNOWN)}
    special_tokens, takes_spaces = read_special(settings, (), pieces, path)
    normalizer = SentencePieceNormalizer(rules, user_defined, path)
    return Vocabulary(
        files=files,
        pieces=pieces,
        scores=scores,
        rounded=as_float32,
        unknown=types.index(UNKNOWN),
        unknown_score=as_float32(min(normal) - UNKNOWN_PENALTY),
        byte_ids=byte_ids(pieces) if BYTE in types else [],
        words=normalizer.words,
        special_tokens=own | special_tokens,
        takes_spaces=takes_spaces,
        around=Around(end=end if end < len(types) and types[end] == CONTROL else None),
        puts_space=bool(normalizer.puts_space),
    )


def text_of(message: Message, field: int) -> str:
    return bytes_of(message, field).decode()


def bytes_of(message: Message, field: int) -> bytes:
    value = message.get(field, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} has a number and should have bytes")
    return value


def float_of(message: Message, field: int) -> float:
    return struct.unpack("<f", struct.pack("<I", number(message, field)))[0]


def as_float32(x: float) -> float:
    return struct.unpack("<f", struct.pack("<f", x))[0]


class SentencePieceNormalizer:
    """SentencePiece's normalization: the longest match in the table of characters, single spaces, and ▁ for them."""

    def __init__(self, rules: Message, user_defined: Sequence[str], path: Path) -> None:
        table = bytes_of(rules, 2)
        self.table = CharsMap(table, str(path)) if table else None
        self.puts_space, self.joins_spaces, self.escapes = (number(rules, i) if i in rules else 1 for i in (3, 4, 5))
        longest_first = sorted((piece.encode() for piece in user_defined), key=len, reverse=True)
        self.kept = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")

    def words(self, text: str) -> list[str]:
        """The whole text, in one part."""
        parts = list(self.parts(text.encode()))
        if self.joins_spaces:
            while parts and parts[0] == " ":
                del parts[0]
        if not parts:
            return []
        space = SPACE if self.escapes else " "
        normalized = [space] if self.puts_space else []
        after_space = bool(self.joins_spaces)
        for part in parts:
            rest = part.lstrip(" ") if after_space else part
            normalized.append(rest.replace(" ", space))
            if rest:
                after_space = bool(self.joins_spaces) and rest.endswith(" ")
        joined = "".join(normalized)
        return [joined.rstrip(space) if self.joins_spaces else joined]

    def parts(self, data: bytes) -> Iterator[str]:
        """What each beginning of the text becomes, one after the other."""
        place = 0
        while place < len(data):
            if match := self.kept.match(data, place):
                n, part = len(match[0]), match[0].decode("utf-8", "replace")
            elif self.table and (found := self.table.longest(data[place : place + LONGEST_MATCH])):
                n, part = found
            else:
                n = 1 if data[place] < 0xC0 else 2 if data[place] < 0xE0 else 3 if data[place] < 0xF0 else 4
                part = data[place : place + n].decode("utf-8", "replace")  # a damaged table may end within a character
            yield part
            place += n
