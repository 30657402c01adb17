"""Each rung of the ladder: its gradients, and the facts that the course notes state about it."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
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
from picogpt.training.ideas import count_bigrams, self_attention
from picogpt.training.ladder import IDEAS, Averaging, Bigram, Embedding, SelfAttention, generate, rungs, train
from picogpt.training.trainer import Settings
from tests.texts import read_text

Array = npt.NDArray[Any]

N_VOCAB, N_CTX, N_EMBD = 11, 7, 8
LADDER = rungs(N_VOCAB, N_CTX, N_EMBD)
NOTES = {  # the courses' models, which have no residual
    "GPTVer2, HeadVer1-3": Averaging(N_VOCAB, N_CTX, N_EMBD),
    "GPTVer2, HeadVer4": SelfAttention(N_VOCAB, N_CTX, N_EMBD),
    "GPTVer3": SelfAttention(N_VOCAB, N_CTX, N_EMBD, positions=True),
}
RUNGS = {**LADDER, **NOTES}


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


def test_an_embedding_is_one_hot_times_matrix() -> None:
    ids, wte = np.array([3, 1, 3]), np.random.default_rng(0).standard_normal((5, 7))
    np.testing.assert_array_equal(np.eye(5)[ids] @ wte, wte[ids])


def test_counted_bigrams_are_the_floor_that_training_comes_to() -> None:
    """On its own text nothing that looks at one token is better than the counts; AdamW comes within 1 % of it."""
    rng = np.random.default_rng(0)
    likely = softmax(2 * rng.standard_normal((N_VOCAB, N_VOCAB)))
    ids = [0]
    for _ in range(3000):
        ids.append(int(rng.choice(N_VOCAB, p=likely[ids[-1]])))
    text = np.array(ids)
    counted = count_bigrams(text, N_VOCAB)
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
    table = rung.forward(params, np.arange(N_VOCAB)[:, None])[:, 0]
    assert np.linalg.matrix_rank(table - params["head"]["b"]) == 3


def test_without_residual_what_is_mixed_takes_its_place() -> None:
    """The notes' GPTVer3: embedding, positions, head, linear layer; and GPTVer2, which has no positions."""
    rng, ids = np.random.default_rng(0), np.array([3, 1, 4, 1, 5])
    rung = SelfAttention(N_VOCAB, N_CTX, N_EMBD, positions=True)
    params = rung.init(rng)
    x = params["wte"][ids] + params["wpe"][:5]
    mixed = self_attention(x, **params["attention"])
    expected = model.linear(mixed, **params["head"])
    np.testing.assert_allclose(rung.forward(params, ids), expected, rtol=1e-5)
    with_residual = SelfAttention(N_VOCAB, N_CTX, N_EMBD, positions=True, residual=True)
    np.testing.assert_allclose(
        with_residual.forward(params, ids), model.linear(x + mixed, **params["head"]), rtol=1e-5, atol=1e-8
    )
    without_positions = {name: tree for name, tree in params.items() if name != "wpe"}
    np.testing.assert_allclose(
        SelfAttention(N_VOCAB, N_CTX, N_EMBD).forward(without_positions, ids),
        model.linear(self_attention(params["wte"][ids], **params["attention"]), **params["head"]),
        rtol=1e-5,
        atol=1e-8,
    )


def test_every_rung_has_its_idea() -> None:
    assert list(IDEAS) == list(LADDER)


@pytest.mark.parametrize("name", LADDER)
def test_a_saved_rung_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    params = LADDER[name].init(np.random.default_rng(0))
    ladder.save(tmp_path / "rung.npz", params)
    read = ladder.load(tmp_path / "rung.npz")
    ids = np.arange(N_CTX)
    np.testing.assert_array_equal(LADDER[name].forward(read, ids), LADDER[name].forward(params, ids))
