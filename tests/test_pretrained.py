"""Finding a model by its name, and loading all of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picogpt
from picogpt import pretrained
from picogpt.checkpoints import Layout, flatten, read_checkpoint, write_huggingface, write_openai
from picogpt.cli import main
from picogpt.download import verify
from picogpt.errors import PicoGPTError
from picogpt.places import user_models
from picogpt.pretrained import available_models, default_model, find_model, load, save
from picogpt.scoring import token_logprobs
from picogpt.tokenizers import load_tokenizer, train_bpe
from tests.random_model import HPARAMS, random_params

N_VOCAB = 257  # all bytes and one merge
REPOSITORY = Path(__file__).parents[1]
COMMIT = "0123456789abcdef" * 2 + "01234567"


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
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cached(model: Path, elsewhere: Path, repository: str) -> Path:
    """The model in Hugging Face's layout and cache, where a snapshot's files are links to blobs."""
    folder = elsewhere / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    save(load(model), elsewhere / "saved")
    for path in (elsewhere / "saved").iterdir():
        blob = folder / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(blob)
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", blob.name))
    (elsewhere / "saved").rmdir()
    return snapshot


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
    """--models-dir, else the environment's; ./models; the user's folder; what ships; the path that the name is."""
    place(model, elsewhere / "given" / "x", elsewhere / "set" / "x", elsewhere / "models" / "x", elsewhere / "x")
    place(model, user_models() / "x")
    monkeypatch.setenv("PICOGPT_MODELS_DIR", "set")
    assert find_model("x", "given") == Path("given/x")
    assert find_model("x") == Path("set/x")
    monkeypatch.delenv("PICOGPT_MODELS_DIR")
    assert find_model("x") == Path("models/x")
    shutil.rmtree("models")
    assert find_model("x") == user_models() / "x"
    shutil.rmtree(user_models())
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


@pytest.mark.parametrize("asked", ["some/gpt", "some/gpt@main", f"some/gpt@{COMMIT}"])
def test_a_model_in_hugging_faces_cache_is_found_by_its_name(model: Path, elsewhere: Path, asked: str) -> None:
    snapshot = cached(model, elsewhere, "some/gpt")
    assert find_model(asked) == snapshot
    assert load(asked).encoder.encode("not to be") == load(model).encoder.encode("not to be")
    assert available_models()["some/gpt"] == snapshot
    place(model, elsewhere / "models" / "some" / "gpt")
    assert find_model("some/gpt") == Path("models/some/gpt")
    assert available_models()["some/gpt"] == Path("models/some/gpt")


def test_the_cache_is_verified_by_its_names(model: Path, elsewhere: Path) -> None:
    snapshot = cached(model, elsewhere, "some/gpt")
    assert set(verify(snapshot).values()) == {"as SHA256SUMS has it"}
    (snapshot / "SHA256SUMS").unlink()
    assert set(verify(snapshot).values()) == {"as its name in Hugging Face's cache says"}
    weights = snapshot / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(PicoGPTError, match=r"model\.safetensors has the SHA-256 [0-9a-f]{64}, not [0-9a-f]{64}"):
        verify(snapshot)


@pytest.mark.parametrize("repository", ["gpt2", "openai-community/gpt2"])
@pytest.mark.parametrize("asked", ["124M", "gpt2", "openai-community/gpt2"])
def test_either_name_finds_it_in_the_cache_too(model: Path, elsewhere: Path, repository: str, asked: str) -> None:
    snapshot = cached(model, elsewhere, repository)
    assert find_model(asked) == snapshot
    assert default_model() == "124M"


def test_another_kind_of_model_in_the_cache_is_not_offered(model: Path, elsewhere: Path) -> None:
    config = cached(model, elsewhere, "some/llama") / "config.json"
    content = json.loads(config.read_text()) | {"model_type": "llama"}
    config.unlink()
    config.write_text(json.dumps(content))
    assert "some/llama" not in available_models()
    with pytest.raises(PicoGPTError, match="describes a model that is not GPT-2's: model_type = 'llama'"):
        load("some/llama")


def test_the_users_folder_is_searched_from_everywhere(
    model: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name was one model in one directory and another in the next."""
    place(model, user_models() / "124M", user_models() / "some" / "gpt")
    (elsewhere / "other").mkdir()
    for directory in (elsewhere, elsewhere / "other"):
        monkeypatch.chdir(directory)
        assert default_model() == "124M"
        assert find_model("gpt2") == user_models() / "124M"
        assert find_model("some/gpt") == user_models() / "some" / "gpt"


def test_an_unknown_model_says_where_it_was_looked_for(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICOGPT_MODELS_DIR", "set")
    with pytest.raises(PicoGPTError) as caught:
        find_model("gpt5", "given")
    for place in ("given", "models", str(user_models()), str(REPOSITORY / "models"), str(elsewhere / "hf" / "hub")):
        assert place in str(caught.value).partition("Looked in ")[2].split(", ")
    with pytest.raises(PicoGPTError, match="if it is Hugging Face's, `picogpt download some/gpt` fetches it"):
        find_model("some/gpt")


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


def test_a_model_continues_a_text() -> None:
    """In texts what `picogpt.generate` does in ids."""
    model = picogpt.load("shakespeare")
    encoder, hparams, params = model
    ids = picogpt.generate(encoder.encode("ROMEO:"), params, hparams["n_head"], 12)
    assert model.generate("ROMEO:", 12) == encoder.decode(ids)
    assert "".join(model.stream("ROMEO:", 12)) == model.generate("ROMEO:", 12)
    sampled = [model.generate("ROMEO:", 12, temperature=0.8, top_k=40, seed=seed) for seed in (7, 7, 8)]
    assert sampled[0] == sampled[1] != sampled[2]
    whole = model.generate("ROMEO:", 30)
    assert model.generate("ROMEO:", 30, stop=[whole[9:12]]) == whole[:9]
    assert model.generate("ROMEO:", 30, stop=whole[9:12]) == whole[:9]
    assert model.generate("<|endoftext|>ROMEO:", 5, allowed_special="all")
    assert model.generate("", 5)


def test_wrong_options_and_prompts_are_errors_at_once() -> None:
    """And not when the first piece is asked for."""
    model = picogpt.load("shakespeare")
    with pytest.raises(TypeError, match="there is no option temprature"):
        model.stream("ROMEO:", 5, temprature=1.0)  # type: ignore[call-arg]
    with pytest.raises(PicoGPTError, match="temperature must be 0 or from 1e-10 to 1e10"):
        model.stream("ROMEO:", 5, temperature=-1.0)
    with pytest.raises(PicoGPTError, match="the prompt must be a text, not list"):
        model.stream([1, 2])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="temperature"):
        picogpt.generate([1], model.params, 4, 5, temperature=1.0)  # type: ignore[call-arg]
    with pytest.raises(PicoGPTError, match="the inputs are text"):
        picogpt.generate("To be", model.params, 4, 5)  # type: ignore[arg-type]


def test_a_model_scores_texts() -> None:
    model = picogpt.load("shakespeare")
    score = model.score("The king is dead.")
    assert score.surprisal == pytest.approx(30.737, abs=1e-3)
    assert sum(score.surprisals) == pytest.approx(score.surprisal)
    assert [row["word"] for row in score.words] == ["The", "king", "is", "dead."]
    assert [one.n_tokens for one in model.score(["The king is dead.", "The king"])] == [5, 2]


def test_a_model_shows_itself_in_one_line() -> None:
    """Its arrays would be 220 KB."""
    shown = repr(picogpt.load("shakespeare"))
    assert len(shown) < 120
    assert "\n" not in shown
    assert "2,470,464 parameters" in shown


def test_picogpts_own_loader_takes_its_arguments() -> None:
    encoder, hparams, _ = picogpt.load_encoder_hparams_and_params(model_size="shakespeare", models_dir="models")
    assert encoder.n_vocab == hparams["n_vocab"]


@pytest.fixture
def padded(model: Path, elsewhere: Path) -> Path:
    """A model with four ids more than tokens, the first of which is what it would write."""
    directory = elsewhere / "padded"
    hparams = HPARAMS | {"n_vocab": N_VOCAB + 4}
    params = random_params(np.random.default_rng(0), np.float32, hparams)
    params["wte"][N_VOCAB:] = 0
    params["wte"][N_VOCAB] = 100 * params["ln_f"]["b"]
    params["ln_f"]["g"][:] = 0
    write_huggingface(directory, hparams, params)
    load(model).encoder.save(directory, "huggingface")
    return directory


def test_ids_without_a_token_are_not_written_unless_asked_for(padded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of them aborted the run, and with --json the whole batch."""
    model = load(padded)
    assert model.hparams["n_vocab"] == model.encoder.n_vocab == N_VOCAB + 4
    assert model.generate("to be", 5, allow_unused=True) == ""
    assert len(model.generate("to be", 5).encode()) >= 5
    for options, n_unused in ([], 0), (["--allow-unused"], 3):
        assert main(["to be", "--model", str(padded), "-n", "3", "--json", *options]) == 0
        tokens = json.loads(capsys.readouterr().out)["tokens"]
        assert [token["id"] for token in tokens].count(N_VOCAB) == n_unused
        assert all(token["text"] == "" for token in tokens if token["id"] >= N_VOCAB)
    beams = main(["to be", "--model", str(padded), "-n", "3", "--beams", "2"])
    assert (beams, len(capsys.readouterr().out.encode()) >= 3) == (0, True)


def test_what_saving_writes_loads_with_the_same_ids(padded: Path, elsewhere: Path) -> None:
    """An eos_token_id without a token, and several, in either layout."""
    model = load(place_config(padded, {"bos_token_id": 3, "eos_token_id": [5, N_VOCAB + 1]}))
    layouts: tuple[Layout, ...] = ("openai", "huggingface", "int8")
    for layout in layouts:
        save(model, elsewhere / layout, layout)
        encoder = load(elsewhere / layout).encoder
        assert (encoder.bos_token, encoder.eos_tokens) == (3, (5, N_VOCAB + 1))
        assert encoder.n_vocab == N_VOCAB + 4
    with pytest.raises(PicoGPTError, match="no token that begins a text"):
        load(place_config(padded, {"bos_token_id": None, "eos_token_id": None})).score("to be")
    assert load(place_config(padded, {"bos_token_id": 7})).prompt_ids("") == [7]


def place_config(directory: Path, entries: dict[str, Any]) -> Path:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | entries))
    return directory


def test_a_text_is_scored_after_the_configs_bos_token(padded: Path) -> None:
    model = load(place_config(padded, {"bos_token_id": 7, "eos_token_id": 5}))
    ids = model.encoder.encode("not to be")
    expected = token_logprobs([7, *ids], model.params, model.hparams["n_head"])
    assert model.score("not to be").logprob == pytest.approx(expected.sum())


def test_a_token_that_the_model_lacks_is_one_line_where_it_is_used(model: Path, elsewhere: Path) -> None:
    """A pad was added to the vocabulary, and the model was not resized."""
    place(model, elsewhere / "more")
    train_bpe(["to be or not to be"], N_VOCAB + 1, ["<pad>"]).save(elsewhere / "more")
    more = load(elsewhere / "more")
    assert more.generate("to be", 3)
    with pytest.raises(PicoGPTError, match=f"token id {N_VOCAB} is outside the vocabulary"):
        more.generate("to be<pad>", 3, allowed_special="all")


def test_surprisal_is_a_table_that_pandas_takes() -> None:
    import pandas

    rows = picogpt.surprisal(["The king is dead.", "Long live"], model="shakespeare")
    table = pandas.DataFrame(rows)
    assert list(table.columns) == ["text", "index", "word", "n_tokens", "surprisal", "entropy"]
    assert list(table["text"]) == [0, 0, 0, 0, 1, 1]
    assert list(table["index"]) == [0, 1, 2, 3, 0, 1]
    model = load("shakespeare")
    score = model.score("The king is dead.")
    assert list(table["surprisal"][:4]) == pytest.approx([word["surprisal"] for word in score.words], abs=1e-4)
    (whole,) = picogpt.surprisal("The king is dead.", model, by="text", nats=True)
    assert whole["surprisal"] == pytest.approx(-score.logprob)
    assert len(picogpt.surprisal("The king is dead.", model, by="token", bos=False)) == 5
