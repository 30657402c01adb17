"""The ids that stand before a text and end it, and those without a token: a model's files say which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import CharTokenizer, WordTokenizer, load_tokenizer, stream_text, train_bpe
from picogpt.tokenizers.base import Layout

EOT, N_VOCAB = 257, 258  # of the vocabulary below


def place(directory: Path, config: dict[str, Any] | None = None, generation: dict[str, Any] | None = None) -> Path:
    train_bpe(["to be or not to be"], N_VOCAB, ["<|endoftext|>"]).save(directory)
    for name, content in ("config", config), ("generation_config", generation):
        if content is not None:
            (directory / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return directory


@pytest.mark.parametrize(
    ("config", "generation", "bos", "eos"),
    [
        (None, None, EOT, (EOT,)),
        ({}, {}, EOT, (EOT,)),
        ({"bos_token_id": 3, "eos_token_id": 5}, None, 3, (5,)),
        ({"bos_token_id": 3, "eos_token_id": [5, 7]}, {}, 3, (5, 7)),
        ({"eos_token_id": 5}, {"eos_token_id": [7, 11]}, 7, (7, 11)),  # the file that counts in transformers
        ({"eos_token_id": 5}, {"eos_token_id": None}, None, ()),
        ({"bos_token_id": None, "eos_token_id": 5}, None, 5, (5,)),
        ({"bos_token_id": None, "eos_token_id": None}, None, None, ()),
        ({"bos_token_id": 50256, "eos_token_id": 50256}, None, EOT, (EOT,)),  # GPT-2's, which this model does not have
        ({"eos_token_id": [50256, 5]}, None, 5, (5,)),
        ({"eos_token_id": 258}, None, 258, (258,)),  # an id without a token
        ({"eos_token_id": 262}, None, EOT, (EOT,)),
    ],
)
def test_the_configs_ids_count_before_the_name(
    directory: Path, config: dict[str, Any] | None, generation: dict[str, Any] | None, bos: int | None, eos: Any
) -> None:
    encoder = load_tokenizer(place(directory, config, generation), n_vocab=261)
    assert (encoder.bos_token, encoder.eos_tokens) == (bos, eos)
    assert encoder.eot_token == EOT


@pytest.mark.parametrize("wrong", ["5", -1, True, 5.0, [5, None], {}])
def test_what_is_no_id_is_one_line(directory: Path, wrong: Any) -> None:
    with pytest.raises(PicoGPTError, match=r"config\.json: eos_token_id should be an id or a list of ids, not"):
        load_tokenizer(place(directory, {"eos_token_id": wrong}))


@pytest.mark.parametrize("layout", ["openai", "huggingface"])
def test_saving_keeps_the_ids_in_either_layout(directory: Path, layout: Layout) -> None:
    """OpenAI's layout has no config that could have them."""
    encoder = load_tokenizer(place(directory, {"bos_token_id": 3, "eos_token_id": [5, 260]}), n_vocab=261)
    encoder.save(directory / "copy", layout)
    copy = load_tokenizer(directory / "copy", n_vocab=261)
    assert (copy.bos_token, copy.eos_tokens) == (3, (5, 260))
    plain = load_tokenizer(place(directory / "plain"))
    plain.save(directory / "plain copy", layout)
    assert not (directory / "plain copy" / "generation_config.json").exists()


def test_ids_without_a_token_decode_to_nothing(directory: Path) -> None:
    encoder = load_tokenizer(place(directory), n_vocab=263)
    ids = encoder.encode("to be")
    assert (encoder.n_vocab, encoder.unused) == (263, range(258, 263))
    assert encoder.decode([258, *ids, 262]) == "to be"
    assert "".join(stream_text(encoder, [258, *ids, 262])) == "to be"
    with pytest.raises(PicoGPTError, match=r"token id 263 .* 0 to 262"):
        encoder.decode([263])
    encoder.save(directory / "copy", "huggingface")
    assert load_tokenizer(directory / "copy").n_vocab == 258


def test_between_words_they_decode_to_nothing_too(directory: Path) -> None:
    """What a word adds depends on the token before it, and an id without a token is none."""
    WordTokenizer.from_text("to be or").save(directory)
    encoder = load_tokenizer(directory, n_vocab=5)
    to, be = encoder.encode("to be")
    for ids, text in ([to, 4, be], "to be"), ([4, to, be], "to be"), ([4, 3, to], "to"), ([to, 3], "to"):
        assert encoder.decode(ids) == text
        assert "".join(stream_text(encoder, ids)) == text


def test_a_token_more_than_the_model_has_is_no_reason_not_to_load(directory: Path) -> None:
    """A pad was added to the vocabulary, and the model was not resized. Ordinary tokens it must have."""
    train_bpe(["to be or not to be"], 259, ["<|endoftext|>", "<pad>"]).save(directory)
    encoder = load_tokenizer(directory, n_vocab=258)
    assert (encoder.n_vocab, encoder.eos_tokens, encoder.unused) == (259, (257,), range(259, 259))
    without_end = load_tokenizer(directory, n_vocab=257)
    assert (without_end.bos_token, without_end.eos_tokens) == (None, ())
    with pytest.raises(PicoGPTError, match=r"mine has a vocabulary of 259 tokens, and a model that knows 256; the"):
        load_tokenizer(directory, n_vocab=256)
    CharTokenizer.from_text("abc").save(directory / "char")
    with pytest.raises(PicoGPTError, match="char has a vocabulary of 3 tokens, and a model that knows 2; the"):
        load_tokenizer(directory / "char", n_vocab=2)
