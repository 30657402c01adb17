"""Features of tokens, words and texts: transformers' numbers, pooled by hand, in the rows that scores have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from picogpt import inspection, pretrained
from picogpt.errors import PicoGPTError
from picogpt.features import Extractor, features
from picogpt.features import extractor as module
from picogpt.scoring.tokens import windows
from picogpt.tokenizers import CharTokenizer, Tokenizer
from picogpt.types import HParams, Params
from tests.random_model import HPARAMS, N_CTX, N_EMBD, N_HEAD, N_LAYER, random_params

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "inspection.npz")
MODEL = pretrained.load("shakespeare")
BOS = 1023  # the model's token that begins a text
TEXTS = ["My kingdom for a horse, é!", "O", "  To be,\tor not  to be \n"]
LETTERS = "abcdefghijklmnopqrstuvw "


class Small(NamedTuple):
    """A random model of characters, in float64, without a token that begins a text."""

    encoder: Tokenizer
    hparams: HParams
    params: Params


def small() -> Small:
    encoder = CharTokenizer.from_text(LETTERS)
    hparams = HPARAMS | {"n_vocab": encoder.n_vocab}
    return Small(encoder, hparams, random_params(np.random.default_rng(3), hparams=hparams))


def filled(extractor: Extractor, rows: list[list[int]], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    texts = [(ids, extractor.units(ids)) for ids in rows]
    out = np.zeros((sum(len(units.end) for _, units in texts), *extractor.shape), dtype)
    extractor.fill(texts, out)
    return out


def states(text: str) -> npt.NDArray[Any]:  # -> [n_layer + 1, n_tokens, n_embd]
    """Of a text's tokens after the one that begins a text, by the trace."""
    ids = [BOS, *MODEL.encoder.encode(text)]
    return np.stack(inspection.hidden_states(ids, MODEL.params, MODEL.hparams["n_head"]))[:, 1:]


def test_tokens_have_the_numbers_of_transformers() -> None:
    out = filled(Extractor(MODEL, layer="all", pool="none", bos=False), GOLDEN["ids"].tolist())
    np.testing.assert_allclose(
        out[:, 0].swapaxes(0, 1).reshape(GOLDEN["hidden_states"].shape), GOLDEN["hidden_states"], atol=1e-4
    )
    out = filled(Extractor(MODEL, attention=True, pool="none", bos=False), GOLDEN["ids"].tolist())
    out = out.reshape(*GOLDEN["ids"].shape, *out.shape[1:])
    for layer, patterns in enumerate(GOLDEN["attentions"]):
        for row, pattern in enumerate(patterns):  # [n_head, n_q, n_k]
            for i in range(pattern.shape[-1]):
                looks = pattern[:, i, : i + 1].astype(np.float64)
                np.testing.assert_allclose(out[row, i, 0, layer], -(looks * np.log(looks)).sum(axis=-1), atol=1e-4)
                if i:
                    np.testing.assert_allclose(out[row, i, 1, layer], looks[:, i - 1], atol=1e-4)
    assert np.isnan(out[:, 0, 1]).all()  # the first token has none before it


@pytest.mark.parametrize("layer", [0, 2, 5, [0, 4], "all", None])
def test_pooled_by_hand(layer: Any) -> None:
    chosen = range(6) if layer == "all" else [5] if layer is None else [layer] if isinstance(layer, int) else layer
    for text in TEXTS:
        expected = states(text)[list(chosen)].swapaxes(0, 1)  # [n_tokens, n_layers, n_embd]
        expected = expected[:, 0] if layer is None or isinstance(layer, int) else expected
        score = MODEL.score(text)
        ends = np.cumsum([word["n_tokens"] for word in score.words])
        spans = list(zip([0, *ends.tolist()], ends.tolist(), strict=False))
        for options, rows in (
            ({"pool": "none"}, list(expected)),
            ({}, [expected.mean(axis=0)]),
            ({"pool": "last"}, [expected[-1]]),
            ({"words": True}, [expected[a:b].mean(axis=0) for a, b in spans]),
            ({"words": True, "pool": "last"}, [expected[b - 1] for a, b in spans]),
        ):
            hidden = features(MODEL, text, layer=layer, **options)["hidden"]
            assert hidden.dtype == np.float32
            np.testing.assert_allclose(hidden, rows, rtol=0, atol=2e-5)


def test_rows_are_those_of_the_scores() -> None:
    scores = MODEL.score(TEXTS)
    words, tokens = (MODEL.features(TEXTS, words=True), MODEL.features(TEXTS, pool="none"))
    for found, unit, of_texts in (
        (words, "word", [score.words for score in scores]),
        (tokens, "token", [score.tokens for score in scores]),
    ):
        rows = [{"text": i, "index": n, unit: row[unit]} for i, of in enumerate(of_texts) for n, row in enumerate(of)]
        assert found.rows == rows
        assert len(found["hidden"]) == len(rows)
    assert MODEL.features(TEXTS).rows == [{"text": 0}, {"text": 1}, {"text": 2}]
    assert MODEL.features("   ", words=True)["hidden"].shape == (0, 192)
    assert repr(words) == f"<Features of {len(words.rows)} rows: hidden ({len(words.rows)}, 192)>"


@pytest.mark.parametrize("stride", [None, 3, N_CTX])
@pytest.mark.parametrize("attention", [False, True])
def test_a_long_text_is_read_in_the_windows_of_its_score(stride: int | None, attention: bool) -> None:
    """Each token from the window in which it is scored, the first one from the first; means across windows."""
    model = small()
    ids = np.random.default_rng(0).integers(0, len(LETTERS), 3 * N_CTX + 5).tolist()
    ids[-1] = model.encoder.encode("a")[0]
    layer: Any = "all" if attention else [0, 1, N_LAYER]
    n_layers = N_LAYER if attention else 3
    expected = np.full((len(ids), 2 if attention else 1, n_layers, N_HEAD if attention else N_EMBD), np.nan)
    for begin, first, end in windows(len(ids), N_CTX, stride):
        first = first if begin else 0
        values = inspection.trace(ids[begin:end], model.params, N_HEAD)
        if attention:
            patterns = inspection.attentions(values, model.params, N_HEAD)
            both = np.stack((inspection.attention_entropy(patterns), inspection.previous_token_weights(patterns)))
            of_window = both.transpose(3, 0, 1, 2)
        else:
            of_window = np.stack(inspection.hidden_states(values, model.params, N_HEAD))[[0, 1, N_LAYER], None]
            of_window = of_window.transpose(2, 1, 0, 3)
        expected[first:end] = of_window[first - begin :]
    options: Any = {"bos": False, "stride": stride, "attention": attention, "layer": layer}
    out = filled(Extractor(model, pool="none", **options), [ids, ids[:2]], np.float64)
    np.testing.assert_allclose(out[: len(ids)], expected, rtol=0, atol=1e-12)
    (mean, _) = filled(Extractor(model, **options), [ids, ids[:2]], np.float64)
    np.testing.assert_allclose(mean, np.nanmean(expected, axis=0), rtol=0, atol=1e-12)
    extractor = Extractor(model, words=True, **options)
    units = extractor.units(ids)
    assert (np.diff(units.first // N_CTX) > 0).any()
    words = filled(extractor, [ids, ids[:2]], np.float64)
    for row, a, b in zip(words, units.first, units.end, strict=False):
        if b > 1:  # of a word that is the text's first token nothing can be said of the one before
            np.testing.assert_allclose(row, np.nanmean(expected[a:b], axis=0), rtol=0, atol=1e-12)


def test_the_mean_of_a_text_is_what_previous_token_scores_say() -> None:
    model = small()
    ids = model.encoder.encode("to be or not to be")
    patterns = inspection.attentions(ids, model.params, N_HEAD)
    found = features(model, "to be or not to be", attention=True, bos=False)
    np.testing.assert_allclose(found["previous"][0], inspection.previous_token_scores(patterns), atol=1e-12)
    assert np.isnan(features(model, "t", attention=True, bos=False)["previous"]).all()
    with_bos = MODEL.features("To", attention=True)
    patterns = inspection.attentions([BOS, *MODEL.encoder.encode("To")], MODEL.params, MODEL.hparams["n_head"])
    np.testing.assert_allclose(with_bos["previous"][0], [pattern[:, -1, -2] for pattern in patterns], atol=1e-6)


@pytest.mark.parametrize("attention", [False, True])
def test_texts_in_many_batches_are_as_alone(attention: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    texts = [LETTERS[:n] * times for n, times in ((5, 1), (24, 3), (1, 1), (23, 1), (9, 2), (24, 1))]
    monkeypatch.setattr(module, "BATCH_TOKENS", 40)
    monkeypatch.setattr(module, "ATTENTION_TOKENS", 40)
    options: Any = {"bos": False, "pool": "none", "attention": attention}
    together = features(model, texts, **options)
    for name, values in together.items():
        alone = np.concatenate([features(model, text, **options)[name] for text in texts])
        np.testing.assert_allclose(values, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("attention", "n_blocks"), [(False, 1), (True, 2)])
def test_the_pass_ends_with_the_last_layer_that_is_asked_for(attention: bool, n_blocks: int) -> None:
    model = small()
    expected = features(model, "to be", layer=1, attention=attention, bos=False)
    model.params["blocks"][n_blocks:] = [{}] * (N_LAYER - n_blocks)
    found = features(model, "to be", layer=1, attention=attention, bos=False)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("a", {"layer": 3}, "no layer 3: hidden states have layers 0, the embedding, to 2, after ln_f"),
        ("a", {"layer": [0, -1]}, "no layer -1: hidden"),
        ("a", {"layer": 2, "attention": True}, "no layer 2: attention has layers 0 to 1"),
        ("a", {"layer": []}, "no layer is chosen"),
        ("a", {"layer": "last"}, "no layer 'l'"),
        ("a", {"pool": "max"}, "pool must be mean, last or none, not 'max'"),
        ("a", {"pool": "none", "words": True}, "a row is a word or a token"),
        ("a", {"stride": 0}, "the stride must be from 1"),
        ("a", {"bos": None}, r"no token that begins a text, .*leave it out \(--no-bos, bos=False\)"),
        (["a", ""], {}, "text 2 of 2: the text has no tokens"),
        ([7], {}, "text 1 of 1: expected a text or a list of texts, not int"),
    ],
)
def test_mistakes_are_named(texts: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        features(small(), texts, **{"bos": False, **options})


def test_weights_that_are_not_finite_are_named() -> None:
    model = small()
    model.params["blocks"][1]["attn"]["c_attn"]["b"][:] = np.nan
    features(model, "to be", layer=1, bos=False)
    for options in ({}, {"attention": True}):
        with pytest.raises(PicoGPTError, match="attn"):
            features(model, "to be", bos=False, **options)  # type: ignore[arg-type]
