"""Unigram: the ids are those of tokenizers, of a model of SentencePiece's own those of sentencepiece."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

import picogpt
from picogpt.checkpoints import write_huggingface
from picogpt.cli import main
from picogpt.decoding.loop import generate_stream
from picogpt.errors import PicoGPTError
from picogpt.pretrained import save
from picogpt.scoring.words import beginnings
from picogpt.tokenizers import UnigramTokenizer, load_tokenizer, stream_text, tokenizer_files
from picogpt.tokenizers.normalizers import make_normalizer
from tests.random_model import HPARAMS, random_params
from tests.tokenizers import unigram_model
from tests.tokenizers.strategies import contractions, emoji, letters, runs, white_space

TEXT = "To be, or not to be: that is the question. Whether 'tis nobler in the mind to suffer\n" * 3 + (
    "The slings and arrows of outrageous fortune, (or) to take arms against a sea of troubles\n" * 2
    + "die Größe der naïve Ångström, ﬁne ½ Ａ 한국어 日本 — to sleep; no more\n" * 3
)
GOLDEN = Path(__file__).parents[1] / "data" / "unigram"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
# without those whose cases have come since 2020, which libraries know or do not know
RANGES = (
    (1, 0x250),
    (0x300, 0x500),
    (0x500, 0xA7C0),
    (0xAC00, 0xFFF0),
    (0x10000, 0x10500),
    (0x11000, 0x12000),
    (
        0x1D000,
        0x1FAFF,
    ),
)
old = st.sampled_from(
    [chr(c) for begin, end in RANGES for c in range(begin, end) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
)
written = st.text("tobe rnisha.,''``()-▁  ", max_size=20)
texts = st.lists(old | written | white_space | contractions | letters | emoji | runs, max_size=20).map("".join)
SPIECES: dict[str, dict[str, Any]] = {
    "plain": {"vocab_size": 120},
    "bytes": {"byte_fallback": True, "normalization_rule_name": "nmt_nfkc_cf"},
    "user-defined": {
        "vocab_size": 110,
        "user_defined_symbols": ["(", "be", "ﬁ"],
        "normalization_rule_name": "identity",
    },
    "as it is": {"vocab_size": 130, "remove_extra_whitespaces": False, "add_dummy_prefix": False},
}


@cache
def spiece(name: str) -> bytes:
    return unigram_model.train(TEXT, **SPIECES[name])


def tokenizer_json(name: str) -> dict[str, Any]:
    """A file of each kind that models have."""
    model = spiece("bytes" if name == "bytes" else "plain")
    table = unigram_model.charsmap(model)
    metaspace, bare = pre_tokenizers.Metaspace(), pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    make = unigram_model.tokenizer_json
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "albert": lambda: make(
            model, unigram_model.albert(table, keep_accents=False, lower=True), unigram_model.as_words()
        ),
        "accents": lambda: make(
            model, unigram_model.albert(table, keep_accents=True, lower=False), unigram_model.as_words()
        ),
        "bytes": lambda: make(
            model, unigram_model.albert(table, keep_accents=True, lower=False), metaspace, byte_fallback=True
        ),
        "bare": lambda: make(model, None, bare),
    }
    return kinds[name]()


JSONS = ["albert", "accents", "bytes", "bare"]


def pair(directory: Path, content: dict[str, Any]) -> tuple[UnigramTokenizer, tokenizers.Tokenizer]:
    path = unigram_model.write(directory, content)
    encoder = load_tokenizer(path)
    assert isinstance(encoder, UnigramTokenizer)
    return encoder, tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))


@pytest.mark.parametrize("name", JSONS)
def test_ids_and_texts_are_those_of_tokenizers(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    ours, theirs = pair(tmp_path_factory.mktemp("unigram"), tokenizer_json(name))

    @settings(max_examples=400)
    @given(texts)
    def same(text: str) -> None:
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, disallowed_special=()) == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)

    same()


@pytest.mark.parametrize("name", SPIECES)
def test_ids_of_a_model_file_alone_are_those_of_sentencepiece(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = load_tokenizer(unigram_model.write(tmp_path_factory.mktemp("unigram"), spiece(name)))
    theirs = sentencepiece.SentencePieceProcessor(model_proto=spiece(name))

    @settings(max_examples=400)
    @given(texts.filter(lambda text: "\0" not in text))
    def same(text: str) -> None:
        assert ours.encode(text, disallowed_special=()) == theirs.encode(text)

    same()


@pytest.mark.parametrize("case", EXPECTED, ids=[case["text"] for case in EXPECTED])
def test_a_model_as_goldfish_has_it_reads_scores_and_writes_as_with_transformers(case: dict[str, Any]) -> None:
    """[CLS] is put before what is scored and continued, as transformers puts it, and no [SEP] after a prompt."""
    model = picogpt.load(GOLDEN)
    encoder = model.encoder
    begin, *ids, end = case["ids"]
    assert encoder.encode(case["text"], allowed_special="all") == ids
    assert (encoder.begin_token, encoder.bos_token, encoder.eos_tokens) == (begin, begin, (end,))
    assert encoder.decode(case["ids"]) == case["decoded"]
    score = model.score(case["text"], allowed_special="all")
    np.testing.assert_allclose(score.scores.logprob, case["logprobs"], rtol=1e-4, atol=1e-4)
    prompt = model.prompt_ids(case["text"], "all")
    assert prompt == [begin, *ids]
    assert list(generate_stream(prompt, model.params, 3, len(case["written"]))) == case["written"]
    text = model.generate(case["text"], len(case["written"]), allowed_special="all", ignore_eos=True)
    assert encoder.decode(prompt) + text == case["whole"]


def test_words_are_corrected_for_where_they_begin() -> None:
    """A token by itself decodes to a word without its space, so no token seemed to begin a word."""
    model = picogpt.load(GOLDEN)
    spaced = beginnings(model.encoder, model.hparams["n_vocab"])[:, 0]
    pieces = json.loads((GOLDEN / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert {i for i, (piece, _) in enumerate(pieces) if piece[0] == "▁"} | set(model.encoder.eos_tokens) == set(
        np.flatnonzero(spaced)
    )
    plain, corrected = (model.score("to be or not to be", bow=bow) for bow in (False, True))
    # what the correction takes from a word it gives to the one before it
    log_mass = corrected.scores.log_mass[:, 0]
    total = sum(word["surprisal"] for word in plain.words) * np.log(2)
    assert sum(word["surprisal"] for word in corrected.words) * np.log(2) == pytest.approx(
        total + log_mass[0] - log_mass[-1]
    )


def test_a_continuation_begins_with_its_space(capsys: pytest.CaptureFixture[str]) -> None:
    """Its first token was decoded as if it began a text: `to be` and `or` gave `to beor`."""
    model = picogpt.load(GOLDEN)
    assert isinstance(model.encoder, UnigramTokenizer)
    spaces = [i for i, text in enumerate(model.encoder.vocabulary.texts) if text[:1] == b" " and len(text) > 1]
    ids = model.encoder.encode("to be")
    for i in spaces:
        whole = model.encoder.decode([*ids, i])
        assert "".join(stream_text(model.encoder, [i], ids)) == whole.removeprefix("to be")
    options = ["--model", str(GOLDEN), "-n", "9", "--seed", "3"]
    main(["generate", "to be", *options])
    streamed = capsys.readouterr().out
    main(["generate", "to be", *options, "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == streamed.removesuffix("\n")
    assert "".join(token["text"] for token in record["tokens"]).startswith(record["text"])


def test_text_comes_back_but_for_its_spaces(tmp_path: Path) -> None:
    ours = load_tokenizer(unigram_model.write(tmp_path, tokenizer_json("accents")))
    assert ours.decode(ours.encode("  To be,  or not to be ")) == "To be, or not to be"


def test_forms_are_those_of_unicode_9() -> None:
    """A mark of a newer version was taken away, or put in order among others; tokenizers does neither."""
    steps: dict[str, normalizers.Normalizer] = {
        "NFC": normalizers.NFC(),
        "NFD": normalizers.NFD(),
        "NFKC": normalizers.NFKC(),
        "NFKD": normalizers.NFKD(),
        "StripAccents": normalizers.StripAccents(),
    }
    # each character between marks, among which it has a place; a letter after it keeps it from the next one's
    every = "".join(f"a\u0301{chr(c)}\u0301\u0323 " for c in range(1, 0x20000) if not 0xD800 <= c < 0xE000)
    for name, theirs in steps.items():
        assert make_normalizer({"type": name}, "")(every) == theirs.normalize_str(every), name


def test_a_special_token_takes_white_space_before_it_and_no_control_character(tmp_path: Path) -> None:
    ours, theirs = pair(tmp_path, tokenizer_json("bytes"))
    for text in ("be \x1d[MASK]", "be\u3000\t [MASK]", "be \x1d \n[MASK]"):
        assert ours.encode(text, allowed_special="all") == theirs.encode(text, add_special_tokens=False).ids


def test_special_tokens_are_found_where_they_are_allowed_and_take_their_spaces(tmp_path: Path) -> None:
    ours, theirs = pair(tmp_path, tokenizer_json("albert"))
    text = "To be  [MASK] not [SEP][CLS]to <unk>"
    assert ours.encode(text, allowed_special="all") == theirs.encode(text, add_special_tokens=False).ids
    with pytest.raises(PicoGPTError, match=r"special token \[MASK\] at character 8"):
        ours.encode("To be  [MASK]")


def test_what_the_file_puts_around_a_text_begins_and_ends_it(tmp_path: Path) -> None:
    """[CLS] is put before every text, whatever a config says; [SEP] ends one, unless a config says what does."""
    ours = load_tokenizer(unigram_model.write(tmp_path, tokenizer_json("albert")))
    ids = {name: ours.special_tokens[name] for name in ("[CLS]", "[SEP]", "[MASK]")}
    assert (ours.bos_token, ours.eos_tokens) == (ids["[CLS]"], (ids["[SEP]"],))
    (tmp_path / "config.json").write_text(json.dumps({"bos_token_id": 50256, "eos_token_id": 50256}))
    ours = load_tokenizer(tmp_path)
    assert ours.bos_token == ids["[CLS]"]
    (tmp_path / "config.json").write_text(json.dumps({"bos_token_id": ids["[MASK]"], "eos_token_id": ids["[CLS]"]}))
    ours = load_tokenizer(tmp_path)
    assert (ours.begin_token, ours.bos_token, ours.eos_tokens) == (ids["[CLS]"], ids["[CLS]"], (ids["[CLS]"],))


def test_a_model_with_it_writes_scores_and_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = load_tokenizer(unigram_model.write(tmp_path / "mine", tokenizer_json("albert")))
    hparams = {**HPARAMS, "n_vocab": ours.n_vocab + 3}  # padded
    write_huggingface(tmp_path / "model", hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    ours.save(tmp_path / "model", "huggingface")
    model = picogpt.load(tmp_path / "model")
    assert model.encoder.encode("to be") == ours.encode("to be")
    assert model.generate("to be", 5)
    score = model.score("to be or not", bos=True)
    assert len(score.tokens) == len(ours.encode("to be or not"))
    save(model, tmp_path / "again")
    assert picogpt.load(tmp_path / "again").encoder.encode("to be") == ours.encode("to be")
    assert tokenizers.Tokenizer.from_file(str(tmp_path / "again" / "tokenizer.json")).get_vocab_size() == ours.n_vocab
    assert main(["convert", str(tmp_path / "model"), "-o", str(tmp_path / "x.gguf"), "--to", "gguf"]) == 2
    assert "no place for a UnigramTokenizer" in capsys.readouterr().err


def test_tokens_of_other_files_are_special_too(tmp_path: Path) -> None:
    """[CLS] of Goldfish's training, which is in added_tokens.json alone, was not found, and its id had no token."""
    n = sentencepiece.SentencePieceProcessor(model_proto=spiece("plain")).get_piece_size()
    unigram_model.write(tmp_path, spiece("plain"))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<y>": n + 1, "<x>": n}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["<x>", "<y>"]}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    ours = load_tokenizer(tmp_path)
    assert ours.n_vocab == n + 2
    assert ours.encode("be <y>", allowed_special="all")[-1] == n + 1
    assert ours.decode([n, n + 1]) == "<x><y>"
    ours.save(tmp_path / "again", "huggingface")
    assert load_tokenizer(tmp_path / "again").special_tokens == ours.special_tokens
    assert {"added_tokens.json", "special_tokens_map.json", "spiece.model"} <= set(tokenizer_files(tmp_path / "again"))


@pytest.mark.parametrize("layout", ["openai", "huggingface"])
def test_saving_keeps_the_file(tmp_path: Path, layout: Any) -> None:
    contents: dict[str, dict[str, Any] | bytes] = {"json": tokenizer_json("albert"), "spiece": spiece("plain")}
    for name, content in contents.items():
        ours = load_tokenizer(unigram_model.write(tmp_path / name, content))
        ours.save(tmp_path / layout / name, layout)
        again = load_tokenizer(tmp_path / layout / name)
        assert again.encode("To be or not") == ours.encode("To be or not")
        assert (again.bos_token, again.eos_tokens) == (ours.bos_token, ours.eos_tokens)


def changed(**parts: Any) -> dict[str, Any]:
    return {**tokenizer_json("albert"), **parts}


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "normalizer": (lambda: changed(normalizer={"type": "Nmt"}), "has the normalizer 'Nmt', which picogpt does not do"),
    "damaged normalizer": (lambda: changed(normalizer={"type": "Replace"}), "is damaged"),
    "expression": (
        lambda: changed(normalizer={"type": "Replace", "pattern": {"Regex": r"\s"}, "content": ""}),
        r"replaces what matches '\\\\s'",
    ),
    "table": (
        lambda: changed(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "the table of characters is damaged",
    ),
    "cut": (lambda: changed(pre_tokenizer={"type": "Whitespace"}), "cuts a text in a way"),
    "scheme": (
        lambda: changed(pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}),
        "has the prepend_scheme 'first'",
    ),
    "decoder": (lambda: changed(decoder={"type": "WordPiece"}), "decodes in a way"),
    "around": (lambda: changed(post_processor={"type": "BertProcessing"}), "puts tokens around a text in a way"),
    "added": (lambda: changed(added_tokens=[{"id": 83, "content": "x", "special": False}]), "is not special"),
    "id": (lambda: changed(added_tokens=[{"id": 5, "content": "<x>", "special": True}]), "the id 5, but"),
    "unknown": (
        lambda: changed(added_tokens=[], model={"type": "Unigram", "vocab": [["a", 0.0]]}),
        "no token for what is not in",
    ),
    "score": (lambda: changed(model={"type": "Unigram", "vocab": [["a", "0"]], "unk_id": 0}), "should be a logarithm"),
    "twice": (
        lambda: changed(model={"type": "Unigram", "vocab": [["a", 0], ["a", 1]], "unk_id": 0}),
        "in the vocabulary twice",
    ),
    "damaged": (lambda: changed(model={"type": "Unigram", "vocab": 5, "unk_id": 0}), "is damaged"),
    "wordpiece": (lambda: changed(model={"type": "WordPiece", "vocab": {}}), "of the kind WordPiece, which picogpt"),
    "wordlevel": (lambda: changed(model={"type": "WordLevel", "vocab": {}}), "of the kind WordLevel, which picogpt"),
    "llama": (
        lambda: changed(model={"type": "BPE", "vocab": {}, "merges": [], "byte_fallback": True}),
        "of the kind SentencePiece's BPE, as Llama has it",
    ),
    "no model": (lambda: b"\xff\xff", "is not a model of SentencePiece's"),
    "empty model": (lambda: b"", "has no pieces"),
    "bpe model": (
        lambda: unigram_model.small_spiece({"<unk>": 2, "a": 1}) + b"\x12\x02\x18\x02",
        "SentencePiece's for BPE",
    ),
    "long": (
        lambda: changed(model={"type": "Unigram", "vocab": [["a" * 1001, 0.0]], "unk_id": 0}),
        "a piece of 1,001 characters",
    ),
    "no unknown": (lambda: unigram_model.small_spiece({"b": 1, "a": 1}), "no token for what is not among them"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_done_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    with pytest.raises(PicoGPTError, match=message) as caught:
        load_tokenizer(unigram_model.write(tmp_path, content()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"tokenizer_config": {"tokenizer_class": "AlbertTokenizer"}},
            "of 'AlbertTokenizer', whose ids are not",
        ),
        ({"tokenizer_config": {"tokenizer_class": "T5Tokenizer"}}, "the vocabulary of 'T5Tokenizer', whose ids"),
        ({"added_tokens": {"<x>": 999}}, "the added token '<x>' the id 999, but"),
        ({"added_tokens": {"<x>": 83}}, "is not special"),
    ],
)
def test_what_is_beside_sentencepieces_own_file_is_read_or_refused(
    files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """XLM-R's and ALBERT's ids are not those of SentencePiece; they were taken for them."""
    directory = unigram_model.write(tmp_path, spiece("plain"))
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(PicoGPTError, match=message):
        load_tokenizer(directory)


def test_a_vocabulary_of_berts_is_told_by_what_it_is(tmp_path: Path) -> None:
    """uer's Chinese models have GPT-2's shape and BERT's vocabulary."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with pytest.raises(PicoGPTError, match="WordPiece's vocabulary"):
        load_tokenizer(tmp_path)
    unigram_model.write(tmp_path, changed(model={"type": "WordPiece", "vocab": {}}))
    with pytest.raises(PicoGPTError, match="of the kind WordPiece"):
        load_tokenizer(tmp_path)
