"""Texts to rows and figures: `score_text`, and the `Scorer` under it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from picogpt import pretrained
from picogpt.errors import PicoGPTError
from picogpt.scoring import Scorer, beginnings, score_text, score_tokens, token_logprobs, word_surprisals
from picogpt.tokenizers import CharTokenizer, Tokenizer, WordTokenizer
from picogpt.types import HParams, Params
from tests.random_model import HPARAMS, random_params

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "scoring.json").read_text())
MODEL = pretrained.load("shakespeare")
N_HEAD = MODEL.hparams["n_head"]
BITS = 1 / math.log(2)  # in a nat
TEXT = "My kingdom for a horse, é!"


class Model(NamedTuple):
    """A model that `picogpt.load` did not give."""

    encoder: Tokenizer
    hparams: HParams
    params: Params


def model_of(encoder: Tokenizer) -> Model:
    hparams = HPARAMS | {"n_vocab": encoder.n_vocab}
    return Model(encoder, hparams, random_params(np.random.default_rng(3), hparams=hparams))


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


@pytest.mark.parametrize("i", range(len(GOLDEN["texts"])))
@pytest.mark.parametrize(("bos", "name"), [(None, "logprobs_bos"), (True, "logprobs_bos"), (False, "logprobs")])
def test_tokens_equal_transformers(i: int, bos: bool | None, name: str) -> None:
    score = score_text(MODEL, GOLDEN["texts"][i], bos=bos)
    expected = GOLDEN[name][i]
    assert column(score.tokens, "id") == GOLDEN["ids"][i]
    assert "".join(column(score.tokens, "token")) == GOLDEN["texts"][i]
    assert column(score.tokens, "logprob")[-len(expected) :] == pytest.approx(expected, abs=1e-4)
    assert score.n_tokens == len(expected)
    assert score.logprob == pytest.approx(sum(expected), abs=1e-3)


def test_columns_stand_in_this_order() -> None:
    score = score_text(MODEL, TEXT)
    assert list(score.tokens[0]) == ["id", "token", "logprob", "surprisal", "rank", "entropy"]
    assert list(score.words[0]) == ["word", "n_tokens", "surprisal", "entropy"]


def test_ranks_entropies_and_units() -> None:
    in_bits, in_nats = score_text(MODEL, TEXT), score_text(MODEL, TEXT, nats=True)
    assert MODEL.encoder.eot_token is not None
    (scores,) = score_tokens([[MODEL.encoder.eot_token, *in_bits.ids]], MODEL.params, N_HEAD)
    for score, factor in (in_bits, BITS), (in_nats, 1):
        assert column(score.tokens, "rank") == scores.rank.tolist()
        np.testing.assert_allclose(column(score.tokens, "logprob"), scores.logprob, rtol=1e-6)
        np.testing.assert_allclose(column(score.tokens, "surprisal"), -factor * scores.logprob, rtol=1e-6)
        np.testing.assert_allclose(column(score.tokens, "entropy"), factor * scores.entropy, rtol=1e-6)
        assert score.surprisal == pytest.approx(-factor * score.logprob)
        assert score.mean_surprisal == pytest.approx(score.surprisal / len(score.ids))


def test_figures_of_the_whole_text() -> None:
    """Bits per character and per byte are in bits even where surprisal is in nats, and é has two bytes."""
    score = score_text(MODEL, TEXT, nats=True)
    bits = -score.logprob * BITS
    assert score.summary == {
        "n_tokens": len(score.ids),
        "logprob": score.logprob,
        "surprisal": score.surprisal,
        "mean_surprisal": score.mean_surprisal,
        "perplexity": pytest.approx(math.exp(-score.logprob / len(score.ids))),
        "bits_per_character": pytest.approx(bits / 26),
        "bits_per_byte": pytest.approx(bits / 27),
    }


def test_without_an_end_of_text_token_the_first_token_has_no_score() -> None:
    score = score_text(MODEL, TEXT, bos=False)
    first, second = score.tokens[:2]
    assert [math.isnan(first[name]) for name in ("logprob", "surprisal", "entropy")] == [True] * 3
    assert first["rank"] is None
    assert math.isnan(score.words[0]["surprisal"])
    assert second["logprob"] == pytest.approx(token_logprobs(score.ids, MODEL.params, N_HEAD)[0], abs=1e-5)
    assert score.n_tokens == len(score.ids) - 1
    assert score.logprob == pytest.approx(sum(column(score.tokens[1:], "logprob")))


@pytest.mark.parametrize("bow", [False, True])
def test_words(bow: bool) -> None:
    score = score_text(MODEL, TEXT, bow=bow)
    assert column(score.words, "word") == TEXT.split()
    assert sum(column(score.words, "n_tokens")) == len(score.ids)
    assert MODEL.encoder.eot_token is not None
    sets = beginnings(MODEL.encoder, MODEL.hparams["n_vocab"])
    (scores,) = score_tokens([[MODEL.encoder.eot_token, *score.ids]], MODEL.params, N_HEAD, sets=sets)
    expected = [nats * BITS for _, nats in word_surprisals(MODEL.encoder, score.ids, scores, corrected=bow)]
    assert column(score.words, "surprisal") == pytest.approx(expected, abs=1e-4)


def test_a_list_of_texts_gives_a_list_in_their_order() -> None:
    """They are sorted by length to be read."""
    texts = ["be " * n for n in (9, 1, 40, 2)]
    model = model_of(CharTokenizer.from_text("be ", ["<|endoftext|>"]))
    scores = score_text(model, texts)
    assert [score.text for score in scores] == texts
    for score in scores:
        assert score.logprob == pytest.approx(score_text(model, score.text).logprob, rel=1e-12)
    assert [score.text for score in score_text(model, tuple(texts))] == texts
    assert score_text(model, []) == []


def test_the_stride_decides_how_much_context_there_is() -> None:
    model = model_of(CharTokenizer.from_text("be "))
    text = "bee be " * 10
    ids = model.encoder.encode(text)
    logprobs = [score_text(model, text, bos=False, stride=stride).logprob for stride in (1, None)]
    expected = [token_logprobs(ids, model.params, model.hparams["n_head"], stride).sum() for stride in (1, None)]
    assert logprobs == pytest.approx(expected, rel=1e-12)
    assert logprobs[0] != pytest.approx(logprobs[1], rel=1e-3)


def test_special_tokens_are_an_error_or_a_token_or_text() -> None:
    text = "To be<|endoftext|>"
    with pytest.raises(PicoGPTError, match=r"special token <\|endoftext\|> at character 6"):
        score_text(MODEL, text)
    assert score_text(MODEL, text, allowed_special="all").ids[-1] == MODEL.encoder.eot_token
    as_text = score_text(MODEL, text, disallowed_special=())
    assert MODEL.encoder.eot_token not in as_text.ids
    assert "".join(column(as_text.tokens, "token")) == text


def test_words_as_tokens() -> None:
    """Each token but the first brings a space along, and an unknown word is <|unk|>."""
    model = model_of(WordTokenizer.from_text("a horse, my kingdom", ["<|endoftext|>", "<|unk|>"]))
    score = score_text(model, "my horse, my crown")
    assert column(score.tokens, "token") == ["my", " horse", ",", " my", " <|unk|>"]
    assert column(score.words, "word") == ["my", "horse,", "my", "<|unk|>"]
    assert score.n_tokens == 5


def test_without_a_token_that_begins_a_text_the_first_score_is_not_left_out_silently() -> None:
    model = model_of(CharTokenizer.from_text("to be"))
    score = score_text(model, "to be", bos=False)
    assert (len(score.ids), score.n_tokens) == (5, 4)
    assert score.tokens[0]["rank"] is None
    for bos in (None, True):
        with pytest.raises(PicoGPTError, match=r"no token that begins a text, .* leave it out \(--no-bos, bos=False\)"):
            score_text(model, "to be", bos=bos)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "^nothing to score: the text has no tokens"),
        ("a", {"bos": False}, "^nothing to score: the text has one token"),
        (["To be", ""], {}, "^text 2 of 2: nothing to score: the text has no tokens"),
        (7, {}, "^expected a text or a list of texts, not int"),
        ([7, 8], {}, "^text 1 of 2: expected a text or a list of texts, not int; .* takes ids"),
        ("To be", {"stride": 0}, "^the stride must be from 1 to the model's context of"),
    ],
)
def test_mistakes_get_one_line(text: Any, options: Any, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message) as caught:
        score_text(MODEL, text, **options)
    assert "\n" not in str(caught.value)


def test_a_surrogate_that_stands_alone_is_scored_as_it_is_read() -> None:
    """Text from os.fsdecode may have them; their length in UTF-8 cannot be had."""
    score, as_read = score_text(MODEL, "a\udce9b"), score_text(MODEL, "a\ufffdb")
    assert score.ids == as_read.ids
    assert score.bits_per_byte == as_read.bits_per_byte


def test_the_repr_is_one_short_line() -> None:
    """Of a text as long as a book, too; a notebook shows it wherever a cell ends with a score."""
    text = "My kingdom\nfor a horse! " * 100
    (score,) = score_text(MODEL, [text], bow=True)
    assert "\n" not in repr(score)
    assert len(repr(score)) < 120
    assert repr(score).startswith(r"<TextScore 'My kingdom\nfor a horse! My kingdom\nfor")
    tokens = token_logprobs(MODEL.encoder.encode("To be"), MODEL.params, N_HEAD)
    nats = f"{-tokens.sum():.4g} nats"
    assert repr(score_text(MODEL, "To be", bos=False, nats=True)).startswith(f"<TextScore 'To be': 1 token, {nats}, ")


def test_rows_are_made_once() -> None:
    """A loop over `score.tokens[i]` would otherwise make all rows for each of them."""
    score = score_text(MODEL, TEXT)
    assert score.tokens is score.tokens
    assert score.words is score.words


def test_without_details_the_figures_are_the_same() -> None:
    text = "To be, or not"
    (score,) = Scorer(MODEL, details=False).score([text])
    whole = score_text(MODEL, text)
    assert score.summary == pytest.approx(whole.summary, rel=1e-6)
    assert column(score.tokens, "rank") == [None] * len(score.ids)  # and not 0, which would be better than the best


def test_choices_are_ranked_by_the_probability_of_the_whole_text() -> None:
    scorer = Scorer(MODEL)
    choices = [" are dead", " is dead", " is"]
    rows = scorer.choices("The king", choices)
    assert list(rows[0]) == ["choice", "n_tokens", "logprob", "per_token", "per_character", "per_byte"]
    whole = {choice: score_text(MODEL, "The king" + choice).logprob for choice in choices}
    context = score_text(MODEL, "The king").logprob
    assert column(rows, "choice") == sorted(choices, key=lambda choice: -whole[choice])
    for row in rows:
        assert row["logprob"] == pytest.approx(whole[row["choice"]] - context, abs=1e-4)
        assert row["per_token"] == pytest.approx(row["logprob"] / row["n_tokens"])
        assert row["per_byte"] == row["per_character"] == pytest.approx(row["logprob"] / len(row["choice"]))
    assert scorer.choices("The king", []) == []
    with pytest.raises(PicoGPTError, match="a choice must not be empty"):
        scorer.choices("The king", [" is", ""])
