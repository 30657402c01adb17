"""Models of other formats: the message says what they are, and what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from picogpt.checkpoints import huggingface, read_checkpoint
from picogpt.cli import main
from picogpt.errors import PicoGPTError
from picogpt.pretrained import load

CONFIG = {"model_type": "gpt2", "vocab_size": 7, "n_positions": 5, "n_embd": 3, "n_head": 1, "n_layer": 1}


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("tf_model.h5", r"tf_model\.h5 is Keras weights, which picogpt does not read; transformers 4 reads them, and "),
        ("flax_model.msgpack", "is Flax weights, which picogpt does not read; transformers 4 reads them"),
        ("rust_model.ot", "is weights of rust-bert"),
        (
            "model.onnx",
            "is an ONNX graph, which picogpt does not read; onnxruntime runs it; take the same ",
        ),
        ("64.tflite", "is a TensorFlow Lite graph"),
        ("adapter_model.safetensors", "is an adapter without its model, .* merge_and_unload"),
        ("saved_model.pb", "is a TensorFlow SavedModel"),
    ],
)
@pytest.mark.parametrize("config", [True, False])
def test_weights_of_other_formats(
    tmp_path: Path, name: str, match: str, config: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never "download it again", which would fetch the same."""
    if config:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / name).write_bytes(b"something")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(PicoGPTError, match=match) as caught:
            load(place)
        assert "download" not in str(caught.value)
    assert main(["--model", str(tmp_path), "x"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_foreign_weights_beside_ours_do_no_harm(tmp_path: Path) -> None:
    from tests.checkpoints import mutations

    mutations.huggingface(tmp_path)
    (tmp_path / "tf_model.h5").write_bytes(b"something")
    read_checkpoint(tmp_path)


def test_the_config_of_another_architecture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 4096}))
    with pytest.raises(PicoGPTError, match=r"model_type = 'llama' \(not 'gpt2'\); transformers may read it"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", [huggingface.WEIGHTS, huggingface.CONFIG, "model-00001-of-00002.safetensors"])
def test_a_part_of_a_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(PicoGPTError, match=f"is a part of a model; give its directory, {tmp_path}$"):
        load(tmp_path / name)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(PicoGPTError, match=r"notes\.txt is not a model: its name tells no format of weights$"):
        load(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "ckpt.pt"])
def test_what_git_leaves_of_a_large_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 548105171\n")
    with pytest.raises(PicoGPTError, match=r"only points to the weights; `git lfs pull` in its directory fetches them"):
        read_checkpoint(tmp_path)


def test_weights_that_are_not_there_at_all_are_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(PicoGPTError, match=r"missing: .*model\.safetensors"):
        read_checkpoint(tmp_path)
