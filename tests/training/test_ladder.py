"""Each rung of the ladder: its gradients, and the facts that the course notes state about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt import model
from picogpt.checkpoints import flatten
from picogpt.model import softmax
from picogpt.tokenizers import CharTokenizer
from picogpt.training import ladder
from picogpt.training.backprop import cross_entropy
from picogpt.training.data import split_text, validation_loss
from picogpt.training.ladder import Bigram, Embedding, generate, rungs, self_attention, train
from picogpt.training.trainer import Settings
from tests.texts import read_text

Array = npt.NDArray[Any]

N_VOCAB, N_CTX, N_EMBD = 11, 7, 8
RUNGS = rungs(N_VOCAB, N_CTX, N_EMBD)
AVERAGES = [
    ladder.average_by_loops,
    ladder.average_by_matrix,
    ladder.average_by_softmax,
    ladder.average_by_attention,
]


def in_float64(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: in_float64(branch) for key, branch in tree.items()}
    return [in_float64(branch) for branch in tree] if isinstance(tree, list) else tree.astype(np.float64)


@pytest.mark.parametrize("name", RUNGS)
def test_loss_and_gradients_of_every_rung(name: str) -> None:
    """The loss is that of `forward`, and the gradients are what central differences say."""
    rung, rng = RUNGS[name], np.random.default_rng(0)
    params = in_float64(rung.init(rng))
    flat = flatten(params)
    for array in flat.values():
        array += rng.standard_normal(array.shape) / 4
    inputs, targets = (rng.integers(0, N_VOCAB, (3, N_CTX)) for _ in range(2))

    def loss_moved(array: Array, step: Array) -> float:
        before = array.copy()
        array += step
        loss, _ = cross_entropy(rung.forward(params, inputs), targets)
        array[...] = before
        return loss

    loss, grads = rung.loss_and_grads(params, inputs, targets)
    flat_grads = flatten(grads)
    assert flat_grads.keys() == flat.keys()
    assert loss == pytest.approx(cross_entropy(rung.forward(params, inputs), targets)[0], rel=1e-12)
    for key, array in flat.items():
        step = 1e-5 * rng.standard_normal(array.shape)
        expected = (loss_moved(array, step) - loss_moved(array, -step)) / 2
        assert np.sum(flat_grads[key] * step) == pytest.approx(expected, rel=1e-6, abs=1e-13), key


@pytest.mark.parametrize("name", RUNGS)
def test_no_rung_sees_the_future(name: str) -> None:
    rung, rng = RUNGS[name], np.random.default_rng(0)
    params = rung.init(rng)
    ids = rng.integers(0, N_VOCAB, N_CTX)
    changed = ids.copy()
    changed[4:] = (changed[4:] + 1) % N_VOCAB
    np.testing.assert_allclose(rung.forward(params, ids)[:4], rung.forward(params, changed)[:4], atol=1e-6)


@pytest.mark.parametrize("name", RUNGS)
def test_every_rung_writes_on_beyond_its_context(name: str) -> None:
    rung = RUNGS[name]
    params = rung.init(np.random.default_rng(0))
    ids = generate(rung, params, [1, 2], 2 * N_CTX, np.random.default_rng(1))
    assert len(ids) == 2 * N_CTX
    assert set(ids) <= set(range(N_VOCAB))
    assert ids == generate(rung, params, [1, 2], 2 * N_CTX, np.random.default_rng(1))


@pytest.mark.parametrize("average", AVERAGES)
def test_four_ways_to_average_the_past_agree(average: Callable[[Array], Array]) -> None:
    x = np.random.default_rng(0).standard_normal((13, 5))
    expected = [x[: i + 1].mean(axis=0) for i in range(13)]
    np.testing.assert_allclose(average(x), expected, atol=1e-6)


def linear_layers(rng: np.random.Generator) -> dict[str, Any]:
    return {name: {"w": rng.standard_normal((5, 3)), "b": rng.standard_normal(3)} for name in ("query", "key", "value")}


def test_self_attention_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    x, layers = rng.standard_normal((7, 5)), linear_layers(rng)
    q, k, v = (x @ layer["w"] + layer["b"] for layer in layers.values())
    scores = q @ k.T / math.sqrt(3)
    np.testing.assert_allclose(self_attention(x, **layers, causal=False), softmax(scores) @ v, atol=1e-12)
    scores[np.triu_indices(7, 1)] = -np.inf
    np.testing.assert_allclose(self_attention(x, **layers), softmax(scores) @ v, atol=1e-12)


def test_cross_attention_reads_all_of_its_source_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    x, source, layers = rng.standard_normal((7, 5)), rng.standard_normal((4, 5)), linear_layers(rng)
    q, k, v = (y @ layer["w"] + layer["b"] for y, layer in zip((x, source, source), layers.values(), strict=True))
    expected = softmax(q @ k.T / math.sqrt(3)) @ v
    np.testing.assert_allclose(self_attention(x, **layers, source=source), expected, atol=1e-12)
    np.testing.assert_allclose(self_attention(x, **layers, source=x), self_attention(x, **layers, causal=False))


def test_scaled_scores_keep_unit_variance() -> None:
    """Without the scale their variance is d, and the softmax looks at one key alone."""
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 500, 64))
    scores = q @ k.T
    assert scores.var() == pytest.approx(64, rel=0.05)
    assert (scores / math.sqrt(64)).var() == pytest.approx(1, rel=0.05)


def test_an_embedding_is_one_hot_times_matrix() -> None:
    ids, wte = np.array([3, 1, 3]), np.random.default_rng(0).standard_normal((5, 7))
    np.testing.assert_array_equal(np.eye(5)[ids] @ wte, wte[ids])


def test_sinusoidal_positions_are_the_papers() -> None:
    table = ladder.sinusoidal_positions(13, 6)
    assert table.shape == (13, 6)
    for pos in (0, 1, 12):
        for i in range(3):
            angle = pos / 10000 ** (2 * i / 6)
            assert table[pos, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[pos, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_counted_bigrams_are_the_floor_that_training_comes_to() -> None:
    """On its own text nothing that looks at one token is better than the counts; AdamW comes within 1 % of it."""
    rng = np.random.default_rng(0)
    likely = softmax(2 * rng.standard_normal((N_VOCAB, N_VOCAB)))
    ids = [0]
    for _ in range(3000):
        ids.append(int(rng.choice(N_VOCAB, p=likely[ids[-1]])))
    text = np.array(ids)
    counted = ladder.count_bigrams(text, N_VOCAB)
    np.testing.assert_allclose(counted.sum(axis=1), 1)
    floor = validation_loss(lambda ids: np.log(np.maximum(counted, 1e-30))[ids], text, N_CTX)
    rung = Bigram(N_VOCAB, N_CTX)
    settings = Settings(steps=400, batch_size=32, lr=0.05, warmup=0, weight_decay=0, parts=1)
    params, _ = train(rung, text, settings)
    trained = validation_loss(partial(rung.forward, params), text, N_CTX)
    assert floor < trained < 1.01 * floor


@pytest.mark.slow
def test_the_notes_figures_of_the_bigram_on_tiny_shakespeare() -> None:
    """ln 65 = 4.17 for a small new table, 4.88 for a unit-normal one; about 2.5 after training, the counts' floor."""
    text, _ = split_text(read_text("tinyshakespeare.txt"))
    encoder = CharTokenizer.from_text(text)
    assert encoder.n_vocab == 65
    ids = np.array(encoder.encode(text))

    def loss(rung: Bigram, params: dict[str, Array]) -> float:
        return validation_loss(partial(rung.forward, params), ids[:50_001], 1000)

    small, unit = Bigram(65, 8), Bigram(65, 8, deviation=1.0)
    assert loss(small, small.init(np.random.default_rng(0))) == pytest.approx(math.log(65), abs=0.01)
    assert loss(unit, unit.init(np.random.default_rng(0))) == pytest.approx(4.7, abs=0.25)
    settings = Settings(steps=2000, batch_size=32, lr=1e-2, warmup=0, weight_decay=0, parts=1)
    _, losses = train(small, ids, settings)
    assert np.mean(losses[-100:]) == pytest.approx(2.47, abs=0.05)


def test_gpt2_is_model_pys_own() -> None:
    rung = RUNGS["GPT-2"]
    params = rung.init(np.random.default_rng(0))
    ids = np.arange(N_CTX)
    np.testing.assert_allclose(rung.forward(params, ids), model.gpt2(ids, **params, n_head=4), rtol=0, atol=1e-6)


def test_a_word_can_only_be_known_through_its_embedding() -> None:
    """The second rung is the first with a table of rank n_embd."""
    rung = Embedding(N_VOCAB, N_CTX, 3)
    params = rung.init(np.random.default_rng(0))
    table = rung.forward(params, np.arange(N_VOCAB))
    assert np.linalg.matrix_rank(table - params["head"]["b"]) == 3
