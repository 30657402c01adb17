from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import ByteLevelBPE, bpe, bpe_files, load_tokenizer, train_bpe
from picogpt.tokenizers.base import Layout
from tests.tokenizers.strategies import texts

SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def test_ids_of_the_notes(gpt2: ByteLevelBPE) -> None:
    assert gpt2.encode("Not all heroes wear capes.") == [3673, 477, 10281, 5806, 1451, 274, 13]
    text = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
    ids = [15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250]
    ids += [8812, 2114, 1659, 617, 34680, 27271, 13]
    assert gpt2.encode(text, allowed_special={"<|endoftext|>"}) == ids
    assert gpt2.decode(ids) == text


def test_gpt2_is_the_released_vocabulary(gpt2: ByteLevelBPE, directory: Path) -> None:
    """Only vocab.bpe ships; encoder.json is derived from it, to the last byte."""
    assert (gpt2.n_vocab, gpt2.eot_token) == (50257, 50256)
    gpt2.save(directory)
    for name, digest in SHA256.items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest


def test_tokens_by_id_and_ids_by_token_as_in_the_notes(gpt2: ByteLevelBPE, directory: Path) -> None:
    assert [gpt2.decoder[i] for i in (464, 3797, 50256)] == ["The", "Ġcat", "<|endoftext|>"]
    assert (gpt2.encoder["The"], gpt2.encoder["Ġcat"]) == (464, 3797)
    gpt2.save(directory)
    assert gpt2.encoder == json.loads((directory / "encoder.json").read_text(encoding="utf-8"))
    assert gpt2.decoder == {i: token for token, i in gpt2.encoder.items()}


def test_the_two_mappings_are_made_when_they_are_first_asked_for(directory: Path) -> None:
    """Two dictionaries of 50257 tokens would be a part of every cold start."""
    encoder = train_bpe(["to be or not to be"], 260)
    assert encoder.decode(encoder.encode("to be")) == "to be"
    encoder.save(directory)
    assert not {"encoder", "decoder"} & vars(encoder).keys()
    assert encoder.encoder is encoder.encoder
    assert encoder.decoder is encoder.decoder


@settings(deadline=None, derandomize=True, max_examples=400)
@given(text=texts)
def test_encode_equals_tiktoken(gpt2: ByteLevelBPE, tiktoken_gpt2: tiktoken.Encoding, text: str) -> None:
    ids = gpt2.encode(text, allowed_special="all")
    assert ids == tiktoken_gpt2.encode(text, allowed_special="all")
    assert gpt2.decode(ids) == text
    assert gpt2.encode(text, disallowed_special=()) == tiktoken_gpt2.encode_ordinary(text)


@pytest.mark.slow
def test_every_character_is_of_the_same_kind_as_in_tiktoken(
    gpt2: ByteLevelBPE, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    """A letter, a digit, white space or none of these: that decides where words end."""
    assigned = [chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in {"Cn", "Co", "Cs"}]
    for start in range(0, len(assigned), 1000):
        block = assigned[start : start + 1000]
        text = "".join(f"a{char}1{char}.{char} {char}" for char in block)
        assert gpt2.encode(text) == tiktoken_gpt2.encode(text), f"between {block[0]!r} and {block[-1]!r}"


def kinds(every: Callable[[str], str]) -> dict[str, str]:
    """Letters, numbers and white space as a library has them; `every(pattern)` gives all characters that match."""
    return {char: kind for kind in ("\\p{L}", "\\p{N}", "\\s") for char in every(kind)}


@pytest.mark.slow
def test_only_characters_that_are_new_are_of_another_kind() -> None:
    """Letters and numbers of a newer Unicode, as many as docs/tokenizers.md says for the versions that it names."""
    planes = range(0x40000)  # in those above there are neither letters nor numbers
    all_characters = "".join(chr(i) for i in planes if not 0xD800 <= i < 0xE000)
    single_bytes = {bytes([i]): i for i in range(256)}

    def in_tiktoken(pattern: str) -> str:
        encoding = tiktoken.Encoding("kind", pat_str=pattern, mergeable_ranks=single_bytes, special_tokens={})
        return bytes(encoding.encode_ordinary(all_characters)).decode()

    def in_tokenizers(pattern: str) -> str:
        outside = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
        rest = {char for part, _ in outside.pre_tokenize_str(all_characters) for char in part}
        return "".join(char for char in all_characters if char not in rest)

    ours = kinds(lambda pattern: "".join(regex.findall(pattern, all_characters)))
    document = (Path(__file__).parents[2] / "docs" / "tokenizers.md").read_text(encoding="utf-8")
    for library, every in ("tiktoken", in_tiktoken), ("tokenizers", in_tokenizers):
        theirs = kinds(every)
        new = [char for char in all_characters if ours.get(char) != theirs.get(char)]
        assert {unicodedata.category(char) for char in new} <= {"Cn"}
        versions = {name: re.escape(importlib.metadata.version(name)) for name in (library, "regex")}
        if all(re.search(rf"^\| `?{name}`?,.*\| {version} \|", document, re.M) for name, version in versions.items()):
            assert re.search(rf"^\| {library},.*\| {len(new)} \|$", document, re.M)


@pytest.mark.parametrize("text", ["\ud83d", "a\udc80b", "\ud83d\ude00", "x \udfff\ud800 y"])
def test_surrogates_become_what_they_become_in_tiktoken(
    gpt2: ByteLevelBPE, tiktoken_gpt2: tiktoken.Encoding, text: str
) -> None:
    """Text from os.fsdecode may have lone surrogates, which UTF-8 cannot express."""
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text)


@settings(deadline=None, derandomize=True)
@given(text=texts)
def test_encode_equals_huggingface(gpt2: ByteLevelBPE, huggingface_gpt2: tokenizers.Tokenizer, text: str) -> None:
    assert gpt2.encode(text, disallowed_special=()) == huggingface_gpt2.encode(text).ids


@pytest.mark.parametrize("text", ["a" * 100_003, "^" * 100_003, "😀" * 30_011, "ab" * 50_021, " " * 100_003 + "x"])
def test_long_runs_equal_tiktoken(gpt2: ByteLevelBPE, tiktoken_gpt2: tiktoken.Encoding, text: str) -> None:
    """One unbroken word takes no quadratic time, and equal neighbours are merged from the left."""
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text)


def test_long_random_word_equals_tiktoken(gpt2: ByteLevelBPE, tiktoken_gpt2: tiktoken.Encoding) -> None:
    text = "".join(random.Random(7).choices("etaoinshrdlu", k=100_003))
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text)


def reference_bpe(word: list[int], encoder: ByteLevelBPE) -> list[int]:
    """The definition: merge every occurrence of the pair that was learned first, and look again."""
    while pairs := [pair for pair in pairwise(word) if pair in encoder.merges]:
        first = min(pairs, key=encoder.merges.index)
        merged = encoder.tokens.index(encoder.tokens[first[0]] + encoder.tokens[first[1]])
        i = 0
        while i + 1 < len(word):
            if (word[i], word[i + 1]) == first:
                word[i : i + 2] = [merged]
            i += 1
    return word


@settings(deadline=None, derandomize=True)
@given(corpus=st.text("abc", min_size=20, max_size=100), word=st.text("abc", max_size=40))
def test_merging_equals_its_definition(corpus: str, word: str) -> None:
    """Overlapping pairs and merges that compete for a letter, which are rare in English, are frequent here."""
    encoder = train_bpe([corpus], 280)
    assert encoder.encode(word) == reference_bpe([encoder.tokens.index(bytes([b])) for b in word.encode()], encoder)


def test_text_is_cut_between_words(monkeypatch: pytest.MonkeyPatch, gpt2: ByteLevelBPE) -> None:
    """Long text is read in chunks; no chunk may end within a word or within white space."""
    text = "It's  the\n\n last he'll   paint, \t you know 2024!\n" * 3
    whole = gpt2.encode(text)
    for size in range(30):
        monkeypatch.setattr(bpe, "CHUNK", size)
        assert gpt2.encode(text) == whole


@settings(deadline=None, derandomize=True)
@given(a=texts, b=texts)
def test_encoding_is_cut_where_words_end(gpt2: ByteLevelBPE, a: str, b: str) -> None:
    """Between a word and white space no token reaches across, whatever stands on either side."""
    a, b = a + "x", " " + b
    whole = gpt2.encode(a + b, disallowed_special=())
    assert gpt2.encode(a, disallowed_special=()) + gpt2.encode(b, disallowed_special=()) == whole


def test_the_cache_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch, gpt2: ByteLevelBPE) -> None:
    """Endless new words must not fill the memory."""
    monkeypatch.setattr(bpe, "CACHE", 1000)
    monkeypatch.setattr(bpe, "CHUNK", 100)
    ids = gpt2.encode(" ".join(map(str, range(10_000))))
    assert sum(map(len, gpt2._cache)) < 1300
    assert gpt2.decode(ids).endswith(" 9998 9999")


def test_special_tokens_as_in_tiktoken(gpt2: ByteLevelBPE) -> None:
    text = "a<|endoftext|>b"
    with pytest.raises(PicoGPTError, match=r"<\|endoftext\|> at character 2;"):
        gpt2.encode(text)
    assert gpt2.encode(text, allowed_special="all") == [64, 50256, 65]
    assert gpt2.encode(text, disallowed_special=()) == [64, 27, 91, 437, 1659, 5239, 91, 29, 65]
    with pytest.raises(PicoGPTError, match="special token b"):
        gpt2.encode(text, allowed_special="all", disallowed_special={"b"})


def test_of_two_special_tokens_at_one_place_the_longer_is_read() -> None:
    encoder = train_bpe(["ab ab"], 259, ["<x>", "<x>y>"])
    assert encoder.encode("<x>y><x>", allowed_special="all") == [258, 257]
    assert encoder.eot_token is None


@settings(deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 50256), max_size=30))
def test_decode_never_raises_on_valid_ids(gpt2: ByteLevelBPE, tiktoken_gpt2: tiktoken.Encoding, ids: list[int]) -> None:
    """Tokens may break UTF-8 anywhere: the text gets U+FFFD, the bytes are exact."""
    assert gpt2.decode_bytes(ids) == tiktoken_gpt2.decode_bytes(ids)
    assert gpt2.decode(ids) == tiktoken_gpt2.decode(ids)


@pytest.mark.parametrize("wrong", [-1, 50257, 10**12])
def test_decode_rejects_ids_outside_the_vocabulary(gpt2: ByteLevelBPE, wrong: int) -> None:
    """Python's lists would take −1 for the last token."""
    with pytest.raises(PicoGPTError, match=rf"token id {wrong} \(number 2 of 3\) .* 0 to 50256"):
        gpt2.decode([17, wrong, 18])


@pytest.mark.parametrize("layout", ["openai", "huggingface"])
def test_save_and_load_are_lossless(directory: Path, layout: Layout) -> None:
    encoder = train_bpe(["the thin thing; the other thing", "e\u0301 é"], 270, ["<|endoftext|>", "[PAD]"])
    encoder.save(directory, layout)
    loaded = load_tokenizer(directory)
    assert isinstance(loaded, ByteLevelBPE)
    assert (loaded.tokens, loaded.merges) == (encoder.tokens, encoder.merges)
    assert loaded.special_tokens == encoder.special_tokens
    more = ["tokenizer.json", "tokenizer_config.json"] if layout == "huggingface" else []
    assert sorted(path.name for path in directory.iterdir()) == sorted([*bpe_files.FILES[layout], *more])


def test_ids_are_read_from_the_file(directory: Path) -> None:
    """Hugging Face's trainer puts special tokens first: ids need not follow the order of the merges."""
    oracle = tokenizers.ByteLevelBPETokenizer()
    oracle.train_from_iterator(["the thin thing the thin thing"], special_tokens=["<pad>", "<|endoftext|>"])
    directory.mkdir(parents=True)
    oracle.save_model(str(directory))
    encoder = load_tokenizer(directory)
    assert encoder.eot_token == 1
    assert encoder.encode("the thing, then") == oracle.encode("the thing, then").ids


@pytest.mark.parametrize("pairs_as_text", [False, True])
def test_the_file_of_newer_transformers_loads(directory: Path, pairs_as_text: bool) -> None:
    """It has the vocabulary and the merges in one; older versions wrote a merge as one string."""
    oracle = tokenizers.ByteLevelBPETokenizer()
    oracle.train_from_iterator(["the thin thing the thin thing"], special_tokens=["<|endoftext|>"])
    oracle.add_special_tokens(["[PAD]"])
    directory.mkdir(parents=True)
    path = directory / "tokenizer.json"
    oracle.save(str(path))
    if pairs_as_text:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
        path.write_text(json.dumps(content), encoding="utf-8")
    encoder = load_tokenizer(directory)
    assert isinstance(encoder, ByteLevelBPE)
    text = "the thing, then[PAD]é"
    assert encoder.encode(text, allowed_special="all") == oracle.encode(text).ids
    assert encoder.n_vocab == oracle.get_vocab_size()
    encoder.save(directory / "copy")
    assert ByteLevelBPE.load(directory / "copy").special_tokens == {"<|endoftext|>": 0, "[PAD]": encoder.n_vocab - 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("model"), "does not describe a byte-level BPE tokenizer like GPT-2's"),
        (lambda content: content["model"].update(type="Unigram"), "does not describe"),
        (lambda content: content["model"].update(merges=[["a", 7]]), "does not describe"),
        (lambda content: content["pre_tokenizer"].update(use_regex=False), "does not describe"),
        (lambda content: content["model"].update(dropout=0.1), "does not describe"),
        (lambda content: content["model"].update(ignore_merges=True), "does not describe"),
        (lambda content: content["added_tokens"].append({"id": 259, "content": 7}), "has an added token without text"),
        (lambda content: content["pre_tokenizer"].update(type="Whitespace"), "does not describe"),
        (lambda content: content.update(normalizer={"type": "NFC"}), "does not describe"),
        (lambda content: content["model"]["vocab"].update(a=65), "'a' and 'b' have the same id 65"),
        (lambda content: content["model"]["merges"].insert(0, ["t", "he"]), ", merge 1: no merge above makes 'he'"),
    ],
)
def test_a_damaged_or_different_tokenizer_json_is_named(
    directory: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    oracle = tokenizers.ByteLevelBPETokenizer()
    oracle.train_from_iterator(["the the"])
    directory.mkdir(parents=True)
    path = directory / "tokenizer.json"
    oracle.save(str(path))
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PicoGPTError, match=re.escape(f"{path}") + ".*" + re.escape(message)):
        load_tokenizer(directory)


def damage_vocab(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "encoder.json"
        vocab = json.loads(path.read_text(encoding="utf-8"))
        change(vocab)
        path.write_text(json.dumps(vocab), encoding="utf-8")

    return damage


def damage_merges(change: Callable[[list[str]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "vocab.bpe"
        lines = path.read_text(encoding="utf-8").splitlines()
        change(lines)
        path.write_text("\n".join(lines), encoding="utf-8")

    return damage


# the vocabulary of the test has the merges t·h, th·e, i·n and th·in, in the lines 2 to 5
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda d: (d / "encoder.json").unlink(), r"cannot read .*encoder\.json: No such file"),
    (lambda d: (d / "vocab.bpe").unlink(), r"cannot read .*vocab\.bpe: No such file"),
    (shutil.rmtree, r"no vocabulary in .*: expected encoder\.json and vocab"),
    (lambda d: (d / "encoder.json").write_bytes(b'{"a": 0, "b"'), r"encoder\.json is not JSON: .* line 1, column 13"),
    (lambda d: (d / "encoder.json").write_bytes(b'{"a\xe9": 0}'), r"encoder\.json is not UTF-8: .* 0xe9 at offset 3"),
    (lambda d: (d / "encoder.json").write_bytes(b"[1, 2]"), r"encoder\.json should map tokens to whole numbers"),
    (damage_vocab(lambda v: v.update({"a": "64"})), r"encoder\.json should map tokens to whole numbers"),
    (damage_vocab(lambda v: v.update({"a": 65})), r"encoder\.json: 'a' and 'b' have the same id 65"),
    (damage_vocab(lambda v: v.update({"a": -1})), r"encoder\.json: 261 tokens need the ids 0 to 260, but 'a' has -1"),
    (damage_vocab(lambda v: v.pop("b")), r"260 tokens need the ids 0 to 259, but '<\|endoftext\|>' has 260"),
    (damage_vocab(lambda v: v.update({"é!": v.pop("Ġ")})), r"encoder\.json has no token for byte 0x20"),
    (
        damage_vocab(lambda v: v.update({"thou": v.pop("the")})),
        r"vocab\.bpe, line 3 .*: 'th e', but 'the' is not in",
    ),
    (damage_merges(lambda m: m.pop()), r"token 'thin' \(id 259\) is not a byte, not made by vocab\.bpe, .* complete\?"),
    (
        damage_merges(lambda m: m.insert(1, m.pop())),
        r"vocab\.bpe, line 2: no line above makes 'th'",
    ),
    (damage_merges(lambda m: m.append("q u")), r"vocab\.bpe, line 6 should be .*: 'q u', but 'qu' is not in encoder"),
    (
        damage_merges(lambda m: m.append("q")),
        r"vocab\.bpe, line 6 should be two tokens .*: 'q', but '' is not in",
    ),
    (
        damage_merges(lambda m: m.append("t h e")),
        r"vocab\.bpe, line 6 should be two tokens .*: 't h e', but 'h e' is",
    ),
    (
        damage_merges(lambda m: m.extend(["t h"] * 10_000)),
        r"vocab\.bpe, line \d\d\d: there are more merges than the tokens can be made by",
    ),
    (lambda d: os.truncate(d / "encoder.json", 1 << 33), r"encoder\.json has 8,589,934,592 bytes, and no such file"),
    (lambda d: os.truncate(d / "vocab.bpe", 1 << 33), r"vocab\.bpe has 8,589,934,592 bytes, and no such file"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[message for _, message in DAMAGES])
def test_damaged_files_are_named(directory: Path, damage: Callable[[Path], object], message: str) -> None:
    encoder = train_bpe(["the\nthin\nthe\nthin\nthe"], 261, ["<|endoftext|>"])
    assert encoder.tokens[256:] == [b"th", b"the", b"in", b"thin", b"<|endoftext|>"]
    encoder.save(directory)
    damage(directory)
    with pytest.raises(PicoGPTError, match=message):
        load_tokenizer(directory)


def test_files_with_windows_line_ends_load(gpt2: ByteLevelBPE, directory: Path) -> None:
    """git may have changed them on checkout."""
    encoder = train_bpe(["the thin the thin the"], 260)
    encoder.save(directory)
    path = directory / "vocab.bpe"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert ByteLevelBPE.load(directory).merges == encoder.merges
