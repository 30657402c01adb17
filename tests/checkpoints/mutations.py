"""Files that mean ill: mutations of good ones, for every reader of a model's files, and what the reader must do.

    drill("config.json", 20_000, directory)  # or any other of READERS

Whatever a file holds, its reader gives a model whose shapes and numbers are right, or raises `PicoGPTError` with one
line that a terminal can show.
"""

from __future__ import annotations

import io
import json
import pickletools
import random
import re
import shutil
import signal
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from picogpt.checkpoints import (
    flatten,
    non_finite,
    param_shapes,
    read_checkpoint,
    read_encoder,
    write_gguf,
    write_huggingface,
    write_int8,
    write_llmc,
    write_openai,
)
from picogpt.checkpoints.int8 import WEIGHTS as INT8_WEIGHTS
from picogpt.checkpoints.names import huggingface_name
from picogpt.checkpoints.safetensors import LENGTH_SIZE, write_safetensors
from picogpt.checkpoints.sorted_table import (
    FOOTER_SIZE,
    MAGIC,
    block_bytes,
    handle_bytes,
    read_table,
    sealed,
)
from picogpt.checkpoints.variants import without_options
from picogpt.download import hub
from picogpt.errors import PicoGPTError
from picogpt.protobuf import bytes_field, parse_message, varint, varint_field
from picogpt.tokenizers import CharTokenizer, UnigramTokenizer, WordTokenizer, load_tokenizer, train_bpe
from picogpt.training.data import map_ids, write_ids
from tests.random_model import random_params
from tests.tokenizers import unigram_model

DATA = Path(__file__).parents[1] / "data"
HPARAMS = {"n_vocab": 7, "n_ctx": 5, "n_embd": 3, "n_head": 1, "n_layer": 1}

Mutate = Callable[[random.Random, bytes], bytes]


class Reader(NamedTuple):
    """A file that `write(directory)` makes among those it needs, how it is changed, and who reads the directory."""

    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    mutate: Mutate


# mutations of bytes, of JSON and of TensorFlow's index


NUMBERS = [0, 1, 2, 3, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to three bits flipped, places overwritten, cut out, repeated or put in, or the end cut off."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([1, 1, 2, 4, 8, 30, 300]))
        head, part, tail = data[:start], data[start:end], data[end:]
        match rng.randrange(7):
            case 0 | 1:
                part = bytes([part[0] ^ 1 << rng.randrange(8)]) + part[1:] if part else b""
            case 2:
                part = struct.pack("<Q", rng.choice(NUMBERS))[: rng.choice([1, 2, 4, 8])]
            case 3:
                part = b""
            case 4:
                part *= rng.choice([2, 3, 100])
            case 5:
                part = rng.randbytes(rng.randint(1, 9)) + part
            case 6:
                tail = b""
        data = head + part + tail
    return data


JSON_TEXTS = [
    *(
        "0",
        "1",
        "-1",
        "3",
        "0.5",
        "1e-999",
        "1e999",
        "NaN",
        "-Infinity",
        "2147483648",
        "600000000",
        "9" * 30,
        "9" * 5000,
    ),
    *("null", "true", "false", "[]", "{}", "[1]", '{"a": 1}', "[" * 12 + "]" * 12, "[" * 990 + "]" * 990, "[" * 3000),
    *('""', '"a"', '"BF16"', '"\\ud800"', '"\\u001b[31m"', '"x\\ny"', '"\\u0000"', '"' + "n" * 3000 + '"', '"é 😀"'),
    *('"../../../x"', '"/etc/passwd"', '"C:\\\\x"', '"."', '".."', '"a/../../x"', '"model.safetensors"', "", "x"),
]
MARK = "\x00mark\x00"


def mutate_json(rng: random.Random, data: bytes) -> bytes:
    """A value or a key becomes something else, is lost, or is there twice; sometimes only the bytes are changed."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    content = json.loads(data)
    for _ in range(rng.choice([1, 1, 2])):
        nodes = list(containers(content))
        node = rng.choice(nodes[:3] + nodes)  # the outer ones more often
        if isinstance(node, dict) and node:
            key = rng.choice(list(node))
            match rng.randrange(6):
                case 0:
                    del node[key]
                case 1:
                    node[rng.choice(["", "x", "wte", "é", "\x1b[2J", "n" * 400])] = node.pop(key)
                case 2:
                    node[key] = node[rng.choice(list(node))]
                case _:
                    node[key] = MARK
        elif isinstance(node, list) and node:
            node[rng.randrange(len(node))] = rng.choice([MARK, node[0], node])
            if any(child is node for child in node):  # a list cannot hold itself in JSON
                node[:] = [child for child in node if child is not node] * 2
        else:
            content = MARK
            break
    text = json.dumps(content).replace(json.dumps(MARK), rng.choice(JSON_TEXTS))
    if rng.random() < 0.1:
        text = text.replace("{", '{"n_layer": 1, "a": 2, "a": 3, ', 1)
    return text.encode()


def containers(node: Any) -> Iterator[Any]:
    yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            yield from containers(child)


def mutate_safetensors(rng: random.Random, data: bytes) -> bytes:
    """The header as JSON, with its length put right; or the file as bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, data)
    end = LENGTH_SIZE + int.from_bytes(data[:LENGTH_SIZE], "little")
    header = mutate_json(rng, data[LENGTH_SIZE:end])
    return len(header).to_bytes(LENGTH_SIZE, "little") + header + data[end:]


def mutate_index(rng: random.Random, data: bytes) -> bytes:
    """A table whose every block matches its checksum: the mutation is within, where a checksum protects nothing."""
    entries = list(read_table(data))
    place = rng.randrange(len(entries))
    key, value = entries[place]
    match rng.randrange(5):
        case 0:
            entries[place] = mutate_bytes(rng, key), value
        case 1:
            entries[place] = key, mutate_bytes(rng, value)
        case 2 | 3:
            entries[place] = key, mutate_message(rng, value)
        case 4:
            entries.insert(rng.randrange(len(entries)), (key, rng.choice(entries)[1]))
    if rng.random() < 0.3:
        rng.shuffle(entries)
    block = block_bytes(entries)
    return table_of([mutate_bytes(rng, block) if rng.random() < 0.2 else block], rng)


def mutate_message(rng: random.Random, data: bytes) -> bytes:
    """One field of a protocol buffer is lost, or there twice, or has another number, or bytes in place of a number."""
    fields = [(field, value) for field, values in parse_message(data).items() for value in values]
    place = rng.randrange(len(fields) + 1)
    field = fields.pop(place)[0] if place < len(fields) else rng.randint(1, 9)
    number = varint(field << 3) + varint(rng.choice(NUMBERS))
    new = rng.choice([b"", number, number + number, bytes_field(field, rng.randbytes(3)), bytes_field(field, number)])
    new = rng.choice([new, new, new, varint(field << 3) + b"\xff" * rng.choice([9, 10, 3000]) + b"\x01"])
    rest = [
        bytes_field(field, value) if isinstance(value, bytes) else varint_field(field, value) for field, value in fields
    ]
    return b"".join([*rest[:place], new, *rest[place:]])


def mutate_spiece(rng: random.Random, data: bytes) -> bytes:
    """A field of a piece, of what it was trained with, or of its rules; or anything."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    fields = [(field, value) for field, values in parse_message(data).items() for value in values]
    place = rng.choice([rng.randrange(len(fields)), *range(-2, 0)])  # the rules and the training are last
    field, message = fields[place]
    if rng.random() < 0.3:  # the table of characters is most of it
        fields[place] = field, mutate_bytes(rng, message)
    else:
        fields[place] = field, mutate_message(rng, message)
    return b"".join(bytes_field(field, value) for field, value in fields)


def mutate_archive(rng: random.Random, data: bytes) -> bytes:
    """The pickle within a zip archive; or the archive as bytes, of which its directory more often."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    if rng.random() < 0.3:
        start = data.index(b"PK\1\2")
        return data[:start] + mutate_bytes(rng, data[start:])
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(archive, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, mutate_pickle(rng, content) if name.endswith("data.pkl") else content)
    return archive.getvalue()


def mutate_pickle(rng: random.Random, data: bytes) -> bytes:
    """Instructions are lost, repeated, exchanged or new; or numbers in them are; sometimes only bytes are changed."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    starts = [place for _, _, place in pickletools.genops(data)]
    parts = [data[start:end] for start, end in pairwise([*starts, len(data)])]
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(6):
            case 0:
                del parts[i]
            case 1:
                parts[i] *= rng.choice([2, 3, 1000])
            case 2:
                parts[i], parts[j] = parts[j], parts[i]
            case 3:
                parts[i] = rng.choice(PICKLED)
            case 4 | 5:
                numbers = [place for place, part in enumerate(parts) if part[:1] in b"KMJ"]
                number = rng.choice([*range(20), -1, *(n % 2**31 for n in NUMBERS)])
                parts[rng.choice(numbers or [i])] = b"J" + struct.pack("<i", number)
    return b"".join(parts)


def mutate_legacy(rng: random.Random, data: bytes) -> bytes:
    """The fourth of the five pickles, which describes the tensors; or anything."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, data)
    stream = io.BytesIO(data)
    ends = []
    for _ in range(4):
        list(pickletools.genops(stream))
        ends.append(stream.tell())
    return data[: ends[2]] + mutate_pickle(rng, data[ends[2] : ends[3]]) + data[ends[3] :]


PICKLED = [
    *(b"N", b")", b"}", b"]", b"(", b"t", b"u", b"e", b"R", b"b", b"Q", b"0", b"h\0", b"\x85", b"\x86", b"\x87", b"."),
    *(b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"ctorch\nBoolStorage\n", b"\x81", b"\x8f"),
    *(b"J" + struct.pack("<i", -1), b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"G" + struct.pack(">d", float("nan"))),
    *(b"X\4\0\0\0\x1b[2J", b"X\0\0\0\0", b"r\xff\xff\xff\x7f", b"\x95" + b"\xff" * 8, b"U\1x"),
]


def mutate_gguf(rng: random.Random, data: bytes) -> bytes:
    """The header, the facts and the descriptions of the tensors, each as often as the rest."""
    start = rng.choice([0, 0, data.index(b"tokenizer.ggml.tokens") - 8, data.index(b"token_embd.weight") - 8])
    if rng.random() < 0.5:  # a number or a few letters, which leaves everything else in its place
        place = start + rng.randrange(2000)
        new = struct.pack("<Q", rng.choice(NUMBERS))[: rng.choice([1, 2, 4, 8])]
        return data[:place] + new + data[place + len(new) :]
    end = start + rng.choice([24, 300, 2000])
    return data[:start] + mutate_bytes(rng, data[start:end]) + data[end:]


def mutate_llmc(rng: random.Random, data: bytes) -> bytes:
    """The header's numbers, most often."""
    end = rng.choice([32, 32, len(data)])
    return mutate_bytes(rng, data[:end]) + data[end:]


def table_of(blocks: list[bytes], rng: random.Random | None = None) -> bytes:
    """A table of these blocks; with `rng`, sometimes one that names them wrongly."""
    body, handles = b"", []
    for block in map(sealed, blocks):
        handles.append(handle_bytes(len(body), block))
        body += block
    if rng is not None and rng.random() < 0.3:
        wrong = varint(rng.choice(NUMBERS)) + varint(rng.choice(NUMBERS))
        handles = rng.choice([handles * 2, handles * 50, [*handles, wrong], [wrong], []])
    meta = sealed(block_bytes([]))
    index = sealed(block_bytes([(i.to_bytes(2, "big"), handle) for i, handle in enumerate(handles)]))
    footer = handle_bytes(len(body), meta) + handle_bytes(len(body) + len(meta), index)
    return body + meta + index + footer.ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC


# the readers


class TooSlowError(Exception):
    """No reader catches it, as one might catch TimeoutError."""


def openai(directory: Path) -> None:
    write_openai(directory, HPARAMS, random_params(np.random.default_rng(0), np.float32, HPARAMS))


def huggingface(directory: Path) -> None:
    write_huggingface(directory, HPARAMS, random_params(np.random.default_rng(0), np.float32, HPARAMS), "bfloat16")


def sharded(directory: Path) -> None:
    huggingface(directory)
    _, params = read_checkpoint(directory)
    (directory / "model.safetensors").unlink()
    tensors = {huggingface_name(path): array for path, array in flatten(params).items()}
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for i in range(2):
        shard = f"model-{i + 1:05d}-of-00002.safetensors"
        write_safetensors(directory / shard, {name: tensors[name] for name in names[i::2]})
        weight_map |= dict.fromkeys(names[i::2], shard)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def int8(directory: Path) -> None:
    write_int8(directory, HPARAMS, random_params(np.random.default_rng(0), np.float32, HPARAMS))


def from_torch(name: str) -> Callable[[Path], None]:
    """The files that torch wrote for `scripts/make_torch_files.py`."""

    def copy(directory: Path) -> None:
        shutil.copytree(DATA / "torch" / name, directory, dirs_exist_ok=True)

    return copy


def gguf(directory: Path) -> None:
    hparams = HPARAMS | {"n_vocab": 263}
    encoder = train_bpe(["to be or not to be, that is the question"], 262, ["<|endoftext|>"])
    params = random_params(np.random.default_rng(0), np.float32, hparams)
    write_gguf(directory / "x.gguf", hparams, params, "float16", encoder)


def llmc(directory: Path) -> None:
    params = random_params(np.random.default_rng(0), np.float32, HPARAMS)
    write_llmc(directory / "x.bin", HPARAMS, params, "bfloat16")


def bpe(directory: Path) -> None:
    train_bpe(["to be or not to be, that is the question"], 262, ["<|endoftext|>"]).save(directory)


def tokenizer_json(directory: Path) -> None:
    encoder = train_bpe(["to be or not to be, that is the question"], 262, ["<|endoftext|>"])
    model = {
        "type": "BPE",
        "vocab": {name: i for name, i in encoder.encoder.items() if name not in encoder.special_tokens},
        "merges": [f"{encoder.decoder[left]} {encoder.decoder[right]}" for left, right in encoder.merges],
    }
    content = {
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "added_tokens": [{"id": i, "content": name} for name, i in encoder.special_tokens.items()],
        "model": model,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(content))


SAYING = "to be or not to be, that is the question"


def spiece(directory: Path) -> None:
    unigram_model.write(directory, unigram_model.train(SAYING))


def unigram(directory: Path) -> None:
    model = unigram_model.train(SAYING)
    table = unigram_model.charsmap(unigram_model.train(SAYING, normalization_rule_name="identity"))
    normalizer = unigram_model.albert(table, keep_accents=False, lower=True)
    unigram_model.write(directory, unigram_model.tokenizer_json(model, normalizer, unigram_model.as_words()))


def read_model(directory: Path) -> None:
    """A model that is read has the shapes that it says, and finite numbers."""
    hparams, params = read_checkpoint(directory)
    plain = flatten(without_options(params))  # a config may be mutated into a relative's
    assert {path: param.shape for path, param in plain.items() if path != "lm_head"} == param_shapes(hparams)
    assert non_finite(params) is None


def read_unchanged(directory: Path) -> None:
    """Data under checksums is what it was."""
    _, params = read_checkpoint(directory)
    before = random_params(np.random.default_rng(0), np.float32, HPARAMS)
    assert all(np.array_equal(array, flatten(before)[path]) for path, array in flatten(params).items())


def read_tokenizer(directory: Path) -> None:
    encoder = load_tokenizer(directory)
    text = "to be" if not isinstance(encoder, UnigramTokenizer) else "To  be, ﬁve e\u0301 (Å) 日 \u200d\r\n [CLS]"
    whole = encoder.n_vocab > 255 or isinstance(encoder, UnigramTokenizer)  # which knows what it does not know
    ids = encoder.encode(text, disallowed_special=()) if whole else range(encoder.n_vocab)
    encoder.decode(ids)


def read_model_tokenizer(directory: Path) -> None:
    encoder = read_encoder(directory)
    encoder.decode(range(encoder.n_vocab))


def hub_answer(directory: Path) -> None:
    large = {"rfilename": "model.safetensors", "size": 7, "lfs": {"sha256": "0" * 64, "size": 7}}
    small = [{"rfilename": name, "size": 7, "blobId": "1" * 40} for name in ("config.json", "tokenizer.json", "x.bin")]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "answer.json").write_text(json.dumps({"sha": "2" * 40, "siblings": [large, *small]}))


def read_hub_answer(directory: Path) -> None:
    """Files of the hub's are known, none by another name, and each by a hash and a size that can be."""
    revision = hub.read_answer((directory / "answer.json").read_bytes(), "https://huggingface.co")
    for name in hub.choose(revision.files, "someone/model"):
        facts = revision.files[name]
        assert name in {"config.json", "tokenizer.json", "model.safetensors"}
        assert facts.size is None or facts.size >= 0
        assert re.fullmatch("([0-9a-f]{64})?", facts.sha256 or "")
        assert re.fullmatch("([0-9a-f]{40})?", facts.git or "")


def read_ids(directory: Path) -> None:
    map_ids(directory / "train.ids", HPARAMS["n_vocab"]).sum()


CKPT = "model.ckpt"
READERS = {
    "hparams.json": Reader("hparams.json", openai, read_model, mutate_json),
    "checkpoint": Reader("checkpoint", openai, read_model, mutate_bytes),
    "index": Reader(f"{CKPT}.index", openai, read_model, mutate_bytes),
    "index with checksums": Reader(f"{CKPT}.index", openai, read_model, mutate_index),
    "data": Reader(f"{CKPT}.data-00000-of-00001", openai, read_unchanged, mutate_bytes),
    "config.json": Reader("config.json", huggingface, read_model, mutate_json),
    "safetensors": Reader("model.safetensors", huggingface, read_model, mutate_safetensors),
    "safetensors.index.json": Reader("model.safetensors.index.json", sharded, read_model, mutate_json),
    "int8": Reader(INT8_WEIGHTS, int8, read_model, mutate_safetensors),
    "pytorch_model.bin": Reader("pytorch_model.bin", from_torch("float16"), read_model, mutate_archive),
    "pytorch_model.bin, legacy": Reader("pytorch_model.bin", from_torch("legacy"), read_model, mutate_legacy),
    "pytorch_model.bin.index.json": Reader(
        "pytorch_model.bin.index.json", from_torch("sharded"), read_model, mutate_json
    ),
    "ckpt.pt": Reader("ckpt.pt", from_torch("nanogpt"), read_model, mutate_archive),
    "model.pt": Reader("model.pt", from_torch("mingpt"), read_model, mutate_archive),
    "meta.pkl": Reader("meta.pkl", from_torch("nanogpt"), read_model_tokenizer, mutate_pickle),
    "gguf": Reader("x.gguf", gguf, read_model, mutate_gguf),
    "gguf's vocabulary": Reader("x.gguf", gguf, read_model_tokenizer, mutate_gguf),
    "llm.c's": Reader("x.bin", llmc, read_model, mutate_llmc),
    "encoder.json": Reader("encoder.json", bpe, read_tokenizer, mutate_json),
    "vocab.bpe": Reader("vocab.bpe", bpe, read_tokenizer, mutate_bytes),
    "tokenizer.json": Reader("tokenizer.json", tokenizer_json, read_tokenizer, mutate_json),
    "tokenizer.json, Unigram": Reader("tokenizer.json", unigram, read_tokenizer, mutate_json),
    "spiece.model": Reader("spiece.model", spiece, read_tokenizer, mutate_spiece),
    "a hub's answer": Reader("answer.json", hub_answer, read_hub_answer, mutate_json),
    "characters": Reader(
        "picogpt_tokenizer.json", CharTokenizer.from_text("to be", ["<|unk|>"]).save, read_tokenizer, mutate_json
    ),
    "words": Reader(
        "picogpt_tokenizer.json", WordTokenizer.from_text("to be", ["<|unk|>"]).save, read_tokenizer, mutate_json
    ),
    "train.ids": Reader(
        "train.ids", lambda directory: write_ids(directory / "train.ids", [1, 2, 3], 7), read_ids, mutate_bytes
    ),
}


def attempt(read: Callable[[], object]) -> str:
    """What became of it, "read" or "refused". Raises `AssertionError` for a message that is no line, else whatever."""
    try:
        read()
    except PicoGPTError as error:
        message = str(error)
        assert message.isprintable(), f"not one printable line: {message!r}"
        assert len(message) < 10_000, f"too long: {message:.200}"
        return "refused"
    return "read"


def overwrite(path: Path, data: bytes) -> None:
    """Without emptying the file first, for which some file systems wait for the disk."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


class Outcomes(NamedTuple):
    n_read: int
    n_refused: int
    wrong: list[str]  # what else happened, and the file that led to it
    slowest: float  # seconds


def drill(name: str, n: int, directory: Path, limit: float = 0, seed: int = 0) -> Outcomes:
    """Try `n` mutations of one reader's file in `directory`, each for at most `limit` seconds where that is given."""
    reader = READERS[name]
    reader.write(directory)
    path = directory / reader.file
    good = path.read_bytes()
    assert attempt(lambda: reader.read(directory)) == "read"
    rng = random.Random(f"{name} {seed}")
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = 0.0
    for _ in range(n):
        mutated = reader.mutate(rng, good)
        overwrite(path, mutated)
        start = time.perf_counter()
        try:
            with at_most(limit):
                counts[attempt(lambda: reader.read(directory))] += 1
        except Exception as error:
            kept = path.with_name(f"wrong-{len(wrong)}-{path.name}")
            kept.write_bytes(mutated)
            wrong.append(f"{kept}: {type(error).__name__}: {error!s:.300}")
        slowest = max(slowest, time.perf_counter() - start)
    return Outcomes(counts["read"], counts["refused"], wrong, slowest)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` when what is done here takes longer; 0 is no limit."""

    def too_slow(*_: object) -> None:
        raise TooSlowError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
