"""Finding a model by its name, and loading all of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import picogpt
from picogpt import pretrained
from picogpt.checkpoints import flatten, read_checkpoint, write_huggingface, write_openai
from picogpt.errors import PicoGPTError
from picogpt.pretrained import available_models, default_model, find_model, load
from picogpt.tokenizers import load_tokenizer, train_bpe
from tests.random_model import HPARAMS, random_params

N_VOCAB = 257  # all bytes and one merge
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model in OpenAI's layout."""
    directory = tmp_path_factory.mktemp("whole") / "model"
    hparams = HPARAMS | {"n_vocab": N_VOCAB}
    write_openai(directory, hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    train_bpe(["to be or not to be"], N_VOCAB, []).save(directory)
    return directory


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own, and no setting from outside."""
    monkeypatch.delenv("PICOGPT_MODELS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place(model: Path, *directories: Path) -> None:
    for directory in directories:
        shutil.copytree(model, directory)


def test_loads_everything(model: Path) -> None:
    encoder, hparams, params = load(model)
    assert encoder.decode(encoder.encode("not to be")) == "not to be"
    assert hparams == read_checkpoint(model)[0]
    assert picogpt.gpt2([1, 2, 3], **params, n_head=hparams["n_head"]).shape == (3, N_VOCAB)


def test_the_seeds_call_works(model: Path, elsewhere: Path) -> None:
    place(model, elsewhere / "weights" / "124M")
    encoder, hparams, params = picogpt.load_encoder_hparams_and_params("124M", "weights")
    assert encoder.n_vocab == hparams["n_vocab"] == len(params["wte"])


def test_both_layouts_load_alike(model: Path, elsewhere: Path) -> None:
    ours = load(model)
    other = elsewhere / "other"
    write_huggingface(other, ours.hparams, ours.params)
    ours.encoder.save(other)
    theirs = load(other)
    assert theirs.hparams == ours.hparams
    expected = flatten(ours.params)
    for path, array in flatten(theirs.params).items():
        np.testing.assert_array_equal(array, expected[path], strict=True)


def test_search_order(model: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--models-dir, else the environment's; then ./models; then what ships; last the path that the name is."""
    place(model, elsewhere / "given" / "x", elsewhere / "set" / "x", elsewhere / "models" / "x", elsewhere / "x")
    monkeypatch.setenv("PICOGPT_MODELS_DIR", "set")
    assert find_model("x", "given") == Path("given/x")
    assert find_model("x") == Path("set/x")
    monkeypatch.delenv("PICOGPT_MODELS_DIR")
    assert find_model("x") == Path("models/x")
    shutil.rmtree("models")
    assert find_model("x") == Path("x")
    assert find_model("./x") == Path("x")
    assert find_model(elsewhere / "x") == elsewhere / "x"


def test_the_model_that_ships_is_found_from_anywhere() -> None:
    assert find_model("shakespeare") == REPOSITORY / "models" / "shakespeare"
    assert default_model() == "shakespeare"
    encoder, hparams, _ = load()
    assert encoder.n_vocab == hparams["n_vocab"]


def test_without_a_name_it_is_124m_where_that_is(model: Path, elsewhere: Path) -> None:
    place(model, elsewhere / "models" / "124M")
    assert default_model() == "124M"
    assert load().hparams["n_vocab"] == N_VOCAB


@pytest.mark.parametrize(("asked", "there"), [("gpt2", "124M"), ("124M", "gpt2"), ("gpt2-xl", "1558M")])
def test_either_name_finds_either_directory(model: Path, elsewhere: Path, asked: str, there: str) -> None:
    place(model, elsewhere / "models" / there)
    assert find_model(asked) == Path("models", there)


def test_half_a_model_does_not_hide_a_whole_one(model: Path, elsewhere: Path) -> None:
    place(model, elsewhere / "given" / "124M", elsewhere / "models" / "gpt2")
    (elsewhere / "given" / "124M" / "model.ckpt.index").unlink()
    assert find_model("124M", "given") == Path("models/gpt2")


def test_half_a_model_is_not_the_default(model: Path, elsewhere: Path) -> None:
    place(model, elsewhere / "models" / "124M")
    (elsewhere / "models" / "124M" / "model.ckpt.data-00000-of-00001").unlink()
    assert default_model() == "shakespeare"
    with pytest.raises(PicoGPTError, match=r"missing: models/124M/model\.ckpt\.data-00000-of-00001"):
        load("124M")


def test_an_unknown_model_lists_what_is_there(model: Path, elsewhere: Path) -> None:
    place(model, elsewhere / "models" / "mine")
    assert list(available_models()) == ["mine", "shakespeare"]
    with pytest.raises(PicoGPTError) as caught:
        find_model("gpt5")
    message = str(caught.value)
    assert "there is no model 'gpt5'" in message
    assert "mine (models/mine), shakespeare (" in message
    assert "picogpt download 124M" in message
    assert "\n" not in message


def test_a_released_model_that_is_not_here_says_how_to_fetch_it() -> None:
    with pytest.raises(PicoGPTError, match="gpt2-medium is not here; `picogpt download gpt2-medium` fetches it"):
        find_model("gpt2-medium")


def test_a_vocabulary_of_another_model_is_refused(model: Path, elsewhere: Path) -> None:
    """Its larger ids would be outside the embedding, and the smaller ones mean other tokens."""
    place(model, elsewhere / "mixed")
    load_tokenizer(pretrained.find_model("shakespeare")).save(elsewhere / "mixed")
    with pytest.raises(PicoGPTError, match=r"mixed has a vocabulary of \d+ tokens, and a model that knows 257;"):
        load("mixed")
