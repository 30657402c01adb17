"""OpenAI's layout around the bundle: `hparams.json` and `checkpoint`, and how it compares to Hugging Face's."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import (
    flatten,
    is_complete,
    layout,
    read_checkpoint,
    weight_files,
    write_huggingface,
    write_openai,
)
from picogpt.checkpoints.tf_bundle import read_bundle, write_bundle
from picogpt.cli import main
from picogpt.errors import PicoGPTError
from tests.random_model import HPARAMS, random_params


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_openai(tmp_path / "openai", HPARAMS, random_params(np.random.default_rng(7), np.float32))
    return tmp_path / "openai"


def test_both_layouts_give_the_same_bits(model: Path) -> None:
    hparams, params = read_checkpoint(model)
    other = model.with_name("huggingface")
    write_huggingface(other, hparams, params)
    assert (layout(model), layout(other)) == ("openai", "huggingface")
    other_hparams, other_params = read_checkpoint(other)
    assert other_hparams == hparams
    ours, theirs = flatten(params), flatten(other_params)
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(array.view(np.uint32), theirs[path].view(np.uint32), strict=True)


def test_a_checkpoint_moved_from_another_machine(model: Path) -> None:
    """TensorFlow may write the path as it was where the model was trained."""
    (model / "checkpoint").write_text('model_checkpoint_path: "/home/x/models/model.ckpt"\n')
    assert is_complete(model)
    read_checkpoint(model)


def test_a_checkpoint_file_that_says_nothing(model: Path) -> None:
    (model / "checkpoint").write_text("<Error>BlobNotFound</Error>")
    with pytest.raises(PicoGPTError, match="checkpoint has no line like model_checkpoint_path"):
        read_checkpoint(model)


@pytest.mark.parametrize("name", ["hparams.json", "checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_without_any_one_file_it_is_not_complete(model: Path, name: str) -> None:
    assert is_complete(model)
    (model / name).unlink()
    assert not is_complete(model)
    with pytest.raises(PicoGPTError, match=name):
        read_checkpoint(model)


def test_a_file_that_may_not_be_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is acted."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("picogpt.checkpoints.tf_bundle.map_file", refuse)
    with pytest.raises(PicoGPTError, match=r"cannot read .*model\.ckpt\.data-00000-of-00001: Permission denied"):
        read_checkpoint(model)


def test_names_its_weight_files(model: Path) -> None:
    names = [path.name for path in weight_files(model)]
    assert names == ["checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"]


def test_all_that_is_wrong_stands_in_one_message(model: Path) -> None:
    flat = flatten(random_params(np.random.default_rng(7), np.float32))
    tensors = {f"model/{path.replace('blocks.', 'h').replace('.', '/')}": array for path, array in flat.items()}
    tensors["model/extra"] = tensors.pop("model/ln_f/b")
    write_bundle(model / "model.ckpt", tensors)  # and no weight has the leading axis of one
    with pytest.raises(PicoGPTError) as caught:
        read_checkpoint(model)
    message = str(caught.value)
    assert "missing: model/ln_f/b;" in message
    assert "unexpected: model/extra;" in message
    assert "model/h1/mlp/c_fc/w is [21, 84] and not [1, 21, 84]" in message


def test_hparams_of_another_model(model: Path) -> None:
    (model / "hparams.json").write_text(json.dumps(HPARAMS | {"n_layer": 3}))
    with pytest.raises(PicoGPTError, match=r"model\.ckpt\.index .*missing: model/h2/attn/c_attn/w, "):
        read_checkpoint(model)


def test_the_two_shakespeares_are_one(shared: Path) -> None:
    """The same weights as transformers wrote them in float16, and as TensorFlow did in float32."""
    _, ours = read_checkpoint(shared / "models" / "shakespeare-openai")
    _, theirs = read_checkpoint(shared / "models" / "shakespeare")
    expected = flatten(theirs)
    for path, array in flatten(ours).items():
        np.testing.assert_array_equal(array, expected[path], strict=True)


def test_the_two_shakespeares_convert_into_each_other(shared: Path, tmp_path: Path) -> None:
    source = shared / "models" / "shakespeare-openai"
    write_openai(tmp_path, *read_checkpoint(shared / "models" / "shakespeare"))
    written = [path for path in tmp_path.iterdir() if path.name != "SHA256SUMS"]
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (source / path.name).read_bytes()


def test_what_the_optimizer_left_is_listed_and_not_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint from training has a step, powers of the betas and two moments of every variable."""
    params = random_params(np.random.default_rng(3), np.float32)
    write_openai(tmp_path, HPARAMS, params)
    model = {name: np.array(array) for name, array in read_bundle(tmp_path / "model.ckpt").items()}
    moments = {f"{name}/{slot}": array for name, array in model.items() for slot in ("Adam", "Adam_1")}
    others = {name: np.array(1, np.float32) for name in ("global_step", "beta1_power", "beta2_power")}
    write_bundle(tmp_path / "model.ckpt", {**model, **moments, **others})
    _, read = read_checkpoint(tmp_path)
    for path, array in flatten(read).items():
        np.testing.assert_array_equal(array, flatten(params)[path])
    assert main(["info", str(tmp_path)]) == 0
    n_variables = len(moments) + len(others)
    assert f"{n_variables} variables of the optimizer: beta1_power, beta2_power, " in capsys.readouterr().out
    write_bundle(tmp_path / "model.ckpt", {**model, "model/extra": np.array(1, np.float32)})
    with pytest.raises(PicoGPTError, match="unexpected: model/extra"):
        read_checkpoint(tmp_path)
