"""Tokens that were added to a vocabulary: the ids are those of transformers, or the files are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import ByteLevelBPE, begun, load_tokenizer, train_bpe
from tests.tokenizers.conftest import GPT2_PATTERN
from tests.tokenizers.strategies import texts

ROOT = Path(__file__).parents[2]
SHAKESPEARE = ROOT / "models" / "shakespeare"
GOLDEN = json.loads((ROOT / "tests" / "data" / "added_tokens.json").read_text(encoding="utf-8"))
TOKEN = {"content": "<x>", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}


def whole_tokenizer(content: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json with the Shakespeare model's vocabulary, in the way of older files: without use_regex."""
    vocab = json.loads((SHAKESPEARE / "vocab.json").read_text(encoding="utf-8"))
    merges = (SHAKESPEARE / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    cut = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {"pre_tokenizer": cut, "model": {"type": "BPE", "vocab": vocab, "merges": merges}} | content


def place(directory: Path, files: dict[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        (directory / name).symlink_to(SHAKESPEARE / name)
    for name, content in files.items():
        whole = whole_tokenizer(content) if name == "tokenizer" else content
        (directory / f"{name}.json").write_text(json.dumps(whole), encoding="utf-8")
    return directory


def load(directory: Path) -> ByteLevelBPE:
    encoder = load_tokenizer(directory)
    assert isinstance(encoder, ByteLevelBPE)
    return encoder


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_ids_are_those_of_transformers(directory: Path, case: dict[str, Any]) -> None:
    encoder = load(place(directory, case["files"]))
    begin, end = ([] if i is None else [i] for i in encoder.around)
    for text, all_ids in zip(case["texts"], case["ids"], strict=True):
        ids = encoder.encode(text, allowed_special="all")
        assert [*begin, *ids, *end] == all_ids
        assert begun(encoder, ids) == [*begin, *ids]
        assert encoder.decode(ids).replace(" ", "") == text.replace(" ", "")  # some put a space before
    made_of_text = encoder.added_tokens.items() & case["special"].items()
    assert encoder.special_tokens.items() == case["special"].items() - made_of_text


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
@pytest.mark.parametrize("layout", ["openai", "huggingface"])
def test_saving_keeps_what_was_added(directory: Path, case: dict[str, Any], layout: Any) -> None:
    encoder = load(place(directory / "theirs", case["files"]))
    encoder.save(directory / "ours", layout)
    again = load(directory / "ours")
    assert again._vocabulary == encoder._vocabulary


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"added_tokens": {"<x>": 1030}}, "the added token '<x>' the id 1030, but 1024 is what transformers reads"),
    ({"added_tokens": {"<x>": 7}}, "the added token '<x>' the id 7, but 1024"),
    ({"added_tokens": {"<x>": -1}}, "the added token '<x>' the id -1, but 1024"),
    ({"added_tokens": {"é": 1024}}, "the added token 'é' the id 1024, but"),  # which is how a byte is spelled
    ({"added_tokens": {"<x>": True}}, "'<x>' has the id True, which should be a whole number"),
    ({"added_tokens": {"<x>": "many"}}, "'<x>' has the id 'many', which"),
    ({"added_tokens": {"": 1024}}, "an added token without text"),
    ({"added_tokens": {"<\ud800>": 1024}}, "token '<\\ud800>' (id 1024) cannot be written in UTF-8"),
    ({"added_tokens": ["<x>"]}, "added_tokens.json should hold a JSON object"),
    ({"tokenizer_config": {"added_tokens_decoder": []}}, "added_tokens_decoder should be an object"),
    ({"tokenizer_config": {"added_tokens_decoder": {"1024": 7}}}, "an added token without text: 7"),
    ({"tokenizer_config": {"added_tokens_decoder": {"1024": {**TOKEN, "lstrip": True}}}}, "'<x>' has lstrip, which"),
    ({"tokenizer_config": {"added_tokens_decoder": {"1024": {**TOKEN, "single_word": True}}}}, "has single_word"),
    ({"tokenizer_config": {"add_prefix_space": 1.5}}, "add_prefix_space should be true or false, not 1.5"),
    ({"tokenizer_config": {"tokenizer_class": "BertTokenizer"}}, "those of 'BertTokenizer', which picogpt does not"),
    ({"added_tokens": {"<x>" * 99: 1024, "<x>": 1025}, "special_tokens_map": {"pad_token": "<x>" * 99}}, "too long"),
    ({"tokenizer": {"added_tokens": [7]}}, "tokenizer.json has an added token without text: 7"),
    ({"tokenizer": {"added_tokens": 7}}, "does not describe a byte-level BPE tokenizer"),
    (
        {"tokenizer": {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}},
        "tokenizer.json has add_prefix_space, and tokenizer_config.json does not say whether it counts",
    ),
    (
        {"tokenizer": {"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}}},
        "has a post_processor that is damaged",
    ),
    ({"tokenizer": {"post_processor": {"type": "TemplateProcessing", "single": []}}}, "puts tokens around a text in a"),
    ({"tokenizer": {"post_processor": {"type": "RobertaProcessing"}}}, "puts tokens around a text in a way that"),
    (
        {"added_tokens": {"<x>y": 1024}, "special_tokens_map": {"pad_token": "<x>"}},
        "the added tokens '<x>' and '<x>y' overlap",
    ),
]


@pytest.mark.parametrize(("files", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_not_done_is_refused_in_one_line(directory: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(PicoGPTError, match=re.escape(message)) as caught:
        load_tokenizer(place(directory, files))
    assert "\n" not in str(caught.value)


def test_added_words_are_found_in_ordinary_text_and_special_tokens_are_not(directory: Path) -> None:
    encoder = load(place(directory, {"added_tokens": {"<sep>": 1024}, "special_tokens_map": {"pad_token": "<pad>"}}))
    assert encoder.encode("a <sep> b") == [64, 220, 1024, 268]
    with pytest.raises(PicoGPTError, match="the text has the special token <pad> at character 2"):
        encoder.encode("a<pad><sep>")
    assert encoder.encode("<pad><sep>", disallowed_special=())[-1] == 1024
    assert len(encoder.encode("<pad><sep>", disallowed_special=())) > 2


def test_an_added_word_does_not_stand_in_for_a_token_of_the_same_bytes(directory: Path) -> None:
    """`Ġthe` of the vocabulary and an added " the" are two tokens; merges make the first."""
    plain = load(SHAKESPEARE)
    (the,) = plain.encode(" the")
    encoder = load(place(directory, {"added_tokens": {" th": 1024, " ": 1025}}))
    assert encoder.encode("in\nthe") == plain.encode("in\nthe")
    assert encoder.decode([the, 1024, 1025]) == " the th "
    assert encoder.tokens.index(b" ") == encoder._byte_ids[32]


special_tokens = st.lists(st.sampled_from(["<pad>", "<sep>", "<|x|>", "[MASK]"]), unique=True, max_size=3)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(corpus=st.text("abc e\n", min_size=30, max_size=100), added=special_tokens, parts=st.lists(texts, max_size=4))
def test_tokenizers_and_tiktoken_read_back_the_same_ids(
    tmp_path_factory: pytest.TempPathFactory, corpus: str, added: list[str], parts: list[str]
) -> None:
    """Special tokens lost their role: transformers split <pad> into four."""
    names = ["<|endoftext|>", *added]
    encoder = train_bpe([corpus], 266 + len(names), names)
    directory = tmp_path_factory.mktemp("saved")
    encoder.save(directory, "huggingface")
    text = "".join(part + name for part, name in zip([*parts, "a", "b", "c", "d"], names, strict=False))
    ids = encoder.encode(text, allowed_special="all")

    theirs = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert theirs.encode(text).ids == ids
    assert theirs.get_vocab_size() == encoder.n_vocab
    assert theirs.decode(ids, skip_special_tokens=False) == encoder.decode(ids)

    config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    special = {token["content"]: int(i) for i, token in config["added_tokens_decoder"].items()}
    ranks = {token: i for i, token in enumerate(encoder.tokens) if i not in special.values()}
    peer = tiktoken.Encoding("ours", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special)
    assert peer.encode(text, allowed_special="all") == ids
