"""Whole models: served, downloaded, verified, loaded, and made to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import flatten, read_checkpoint, write_huggingface, write_openai
from picogpt.checksums import check_checksums
from picogpt.cli import main
from picogpt.decoding.loop import generate
from picogpt.download import Collection, File, RetryPolicy, download, verify
from picogpt.download.catalogue import HUGGING_FACE_FILES, OPENAI_DATA, OPENAI_FILES
from picogpt.errors import NetworkError, PicoGPTError
from picogpt.pretrained import load
from picogpt.tokenizers import train_bpe
from picogpt.types import HParams, Params
from tests.checkpoints.tensorflow_saver import save_openai_model
from tests.download.server import Fault, Server
from tests.random_model import HPARAMS, random_params

N_VOCAB = 257
WIRE = RetryPolicy(tries=2, backoff=0, timeout=(10, 10))


def release(directory: Path, save: Callable[[Path, HParams, Params], None]) -> Path:
    """A model as OpenAI would release it, its checkpoint written by `save`."""
    hparams = HPARAMS | {"n_vocab": N_VOCAB}
    save(directory, hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    train_bpe(["to be or not to be"], N_VOCAB, []).save(directory)
    return directory


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("released") / "124M", write_openai)


def serve(server: Server, directory: Path, names: tuple[str, ...]) -> Collection:
    server.reset({f"/{directory.name}/{name}": (directory / name).read_bytes() for name in names})
    return Collection(directory.name, tuple(File(name, (f"{server.url}/{directory.name}/{name}",)) for name in names))


@pytest.fixture
def collection(server: Server, released: Path) -> Collection:
    return serve(server, released, (*OPENAI_FILES, OPENAI_DATA))


@pytest.mark.slow
@pytest.mark.tensorflow
def test_from_tensorflow_to_text(server: Server, tmp_path: Path) -> None:
    released, target = release(tmp_path / "released" / "124M", save_openai_model), tmp_path / "124M"
    download(serve(server, released, (*OPENAI_FILES, OPENAI_DATA)), target, policy=WIRE)
    assert {path.name for path in target.iterdir()} == {*OPENAI_FILES, OPENAI_DATA, "SHA256SUMS"}
    assert verify(target)[OPENAI_DATA] == "all of 28 tensors match their checksums"
    encoder, hparams, params = load("124M", tmp_path)
    expected = flatten(read_checkpoint(released)[1])
    for path, array in flatten(params).items():
        np.testing.assert_array_equal(array, expected[path], strict=True)
    ids = generate(encoder.encode("to be"), params, hparams["n_head"], 7)
    assert len(ids) == 7
    assert encoder.decode(ids)


def test_a_model_in_hugging_faces_layout(server: Server, released: Path, tmp_path: Path) -> None:
    encoder, hparams, params = load(released)
    source = released.with_name("gpt2")
    write_huggingface(source, hparams, params, "bfloat16")
    train_bpe(["to be or not to be"], N_VOCAB, []).save(source, "huggingface")
    download(serve(server, source, HUGGING_FACE_FILES), tmp_path / "gpt2", policy=WIRE)
    assert verify(tmp_path / "gpt2")["model.safetensors"] == "as SHA256SUMS has it"
    assert load("gpt2", tmp_path).encoder.encode("not to be") == encoder.encode("not to be")


def test_what_is_whole_is_never_fetched_again(server: Server, collection: Collection, tmp_path: Path) -> None:
    assert len(download(collection, tmp_path, policy=WIRE)) == 6
    server.requests.clear()
    assert download(collection, tmp_path, policy=WIRE) == []
    assert not server.requests


@pytest.mark.parametrize("name", [*OPENAI_FILES, OPENAI_DATA])
def test_what_was_deleted_is_fetched_alone(
    server: Server, collection: Collection, tmp_path: Path, released: Path, name: str
) -> None:
    """hparams.json too, which the others are checked against."""
    download(collection, tmp_path, policy=WIRE)
    (tmp_path / name).unlink()
    server.requests.clear()
    assert [file.name for file in download(collection, tmp_path, policy=WIRE)] == [name]
    assert [path for path, _, _ in server.requests] == [f"/124M/{name}"]
    assert (tmp_path / name).read_bytes() == (released / name).read_bytes()


def test_bit_rot_names_the_tensor_and_is_mended(server: Server, collection: Collection, tmp_path: Path) -> None:
    download(collection, tmp_path, policy=WIRE)
    path = tmp_path / OPENAI_DATA
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 4]))
    with pytest.raises(PicoGPTError, match=f"{OPENAI_DATA} is damaged: the bytes of model/wte do not match"):
        verify(tmp_path)
    server.requests.clear()
    assert [file.name for file in download(collection, tmp_path, policy=WIRE)] == [OPENAI_DATA]
    assert path.read_bytes() == whole


def test_bit_rot_that_no_format_shows_is_mended(server: Server, released: Path, tmp_path: Path) -> None:
    """Of a safetensors file whose hash nobody knew before it was downloaded."""
    _, hparams, params = load(released)
    source = tmp_path / "gpt2"
    write_huggingface(source, hparams, params, "bfloat16")
    train_bpe(["to be or not to be"], N_VOCAB, []).save(source, "huggingface")
    collection, target = serve(server, source, HUGGING_FACE_FILES), tmp_path / "target"
    download(collection, target, policy=WIRE)
    path = target / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 4]))
    assert [file.name for file in download(collection, target, policy=WIRE)] == ["model.safetensors"]
    assert path.read_bytes() == whole
    assert check_checksums(target).keys() == {*HUGGING_FACE_FILES}


@pytest.mark.parametrize("content", [None, "nonsense", f"{'0' * 64}  gone.txt\n"])
def test_a_list_of_checksums_that_is_no_use_is_made_again(
    server: Server, collection: Collection, tmp_path: Path, content: str | None
) -> None:
    """After a kill before the list, and of a list that would never be right again."""
    download(collection, tmp_path, policy=WIRE)
    sums = tmp_path / "SHA256SUMS"
    right = sums.read_bytes()
    sums.unlink()
    if content is not None:
        sums.write_text(content)
    server.requests.clear()
    assert download(collection, tmp_path, policy=WIRE) == []
    assert sums.read_bytes() == right
    assert not server.requests


def test_a_list_is_gone_while_the_model_is_not_whole(server: Server, collection: Collection, tmp_path: Path) -> None:
    download(collection, tmp_path, policy=WIRE)
    for name in ("hparams.json", OPENAI_DATA):
        (tmp_path / name).unlink()
    server.faults = [Fault("none"), *[Fault("404")] * 2]
    with pytest.raises(NetworkError):
        download(collection, tmp_path, policy=WIRE)
    assert (tmp_path / "hparams.json").exists()
    assert not (tmp_path / "SHA256SUMS").exists()


def test_what_follows_the_last_tensor_is_no_part_of_the_file(
    server: Server, collection: Collection, released: Path, tmp_path: Path
) -> None:
    """All checksums are right, and the file is not."""
    whole = (released / OPENAI_DATA).read_bytes()
    server.files[f"/124M/{OPENAI_DATA}"] = whole + b"\0"
    with pytest.raises(NetworkError, match=f"bytes, and its tensors end at {len(whole):,};"):
        download(collection, tmp_path, policy=WIRE)
    assert not (tmp_path / OPENAI_DATA).exists()


def test_weights_of_another_model_are_not_taken(
    server: Server, collection: Collection, released: Path, tmp_path: Path
) -> None:
    """An index that is whole, but of another width."""
    hparams = HPARAMS | {"n_vocab": N_VOCAB, "n_embd": 24}
    write_openai(tmp_path / "other", hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    server.files["/124M/model.ckpt.index"] = (tmp_path / "other" / "model.ckpt.index").read_bytes()
    with pytest.raises(NetworkError, match=r"mis-shaped: .*model/wte is \[257, 24\] and not \[257, 21\]"):
        download(collection, tmp_path / "target", policy=WIRE)
    assert not (tmp_path / "target" / "model.ckpt.index").exists()


@pytest.mark.parametrize("name", [*OPENAI_FILES, OPENAI_DATA])
def test_an_error_page_is_none_of_the_files(server: Server, collection: Collection, tmp_path: Path, name: str) -> None:
    """With status 200, and a length that agrees."""
    server.faults = [Fault("none")] * (*OPENAI_FILES, OPENAI_DATA).index(name) + [Fault("page")] * 2
    with pytest.raises(NetworkError, match=name):
        download(collection, tmp_path, policy=WIRE)
    assert not (tmp_path / name).exists()


def test_no_command_but_download_touches_the_network(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", fail)
    assert main(["info", str(released)]) == 0
    assert main(["verify", str(released)]) == 0
    assert main(["convert", str(released), "-o", str(tmp_path / "converted")]) == 0
    assert main(["generate", "to be", "--model", str(tmp_path / "converted"), "-n", "3"]) == 0
