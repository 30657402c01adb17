"""`picogpt convert` and `picogpt verify`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import flatten, write_openai
from picogpt.cli import main
from picogpt.pretrained import load
from picogpt.tokenizers import CharTokenizer, train_bpe
from tests.random_model import HPARAMS, random_params

N_VOCAB = 257


@pytest.fixture
def model(tmp_path: Path) -> Path:
    hparams = HPARAMS | {"n_vocab": N_VOCAB}
    train_bpe(["to be or not to be"], N_VOCAB, []).save(tmp_path / "openai")
    write_openai(tmp_path / "openai", hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    return tmp_path / "openai"


def test_there_and_back_again_is_the_same_to_the_byte(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back = model.with_name("there"), model.with_name("back")
    assert main(["convert", str(model), "-o", str(there)]) == 0
    assert sorted(path.name for path in there.iterdir()) == [
        "SHA256SUMS",
        "config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    assert main(["convert", str(there), "-o", str(back)]) == 0
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines()[0] == f"picogpt: {there} has {model} in Hugging Face's layout"
    assert main(["verify", str(there)]) == 0
    assert "model.safetensors      as SHA256SUMS has it" in capsys.readouterr().out


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0), ("float16", 2**-11), ("bfloat16", 2**-8)])
def test_dtypes(model: Path, dtype: str, error: float) -> None:
    target = model.with_name(dtype)
    assert main(["convert", str(model), "-o", str(target), "--dtype", dtype]) == 0
    expected = flatten(load(model).params)
    for path, array in flatten(load(target).params).items():
        np.testing.assert_allclose(array, expected[path], rtol=error, atol=1e-7 if error else 0)


def test_int8_is_what_quantizing_gives(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = model.with_name("int8")
    assert main(["convert", str(model), "-o", str(target), "--dtype", "int8"]) == 0
    assert sorted(path.name for path in target.iterdir()) == [
        "SHA256SUMS",
        "config.json",
        "int8.safetensors",
        "merges.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    stored, expected = (flatten(m.params) for m in (load(target), load(model, dtype="int8")))
    assert stored.keys() == expected.keys()
    for path, param in expected.items():
        if isinstance(param, np.ndarray):
            np.testing.assert_array_equal(stored[path], param)
        else:
            x = np.ones((1, param.shape[1 if path == "wte" else 0]), np.float32)
            np.testing.assert_array_equal(*(x @ (p.T if path == "wte" else p) for p in (stored[path], param)))
    texts = []
    for options in (["--model", str(target)], ["--model", str(model), "--dtype", "int8"]):
        assert main([*options, "-n", "5", "to be"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert main(["info", str(target)]) == 0
    assert "picogpt's int8" in capsys.readouterr().out
    assert main(["verify", str(target)]) == 0
    for dtype in ("float32", "bfloat16"):
        assert main(["convert", str(target), "-o", str(model.with_name("back")), "--dtype", dtype]) == 2
    assert "int8 already; convert the model that it was made from" in capsys.readouterr().err


def test_other_tokenizers_come_along(model: Path) -> None:
    for name in ("encoder.json", "vocab.bpe"):
        (model / name).unlink()
    CharTokenizer.from_text("to be or not to be").save(model)
    assert main(["convert", str(model), "-o", str(model.with_name("chars"))]) == 0
    assert load(model.with_name("chars")).encoder.encode("tob") == load(model).encoder.encode("tob")


def test_what_is_there_is_not_touched(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = model.with_name("target")
    target.mkdir()
    (target / "note").write_text("mine")
    assert main(["convert", str(model), "-o", str(target)]) == 2
    assert f"{target} exists already" in capsys.readouterr().err
    assert [path.name for path in target.iterdir()] == ["note"]


def test_a_conversion_that_fails_leaves_nothing(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a weight that float16 cannot hold, and of a place that cannot be written."""
    hparams = HPARAMS | {"n_vocab": N_VOCAB}
    params = random_params(np.random.default_rng(0), np.float32, hparams)
    params["wpe"][0, 0] = 1e6
    write_openai(model, hparams, params)
    before = sorted(model.parent.iterdir())
    assert main(["convert", str(model), "-o", str(model.with_name("half")), "--dtype", "float16"]) == 2
    assert "larger than float16's 65504" in capsys.readouterr().err
    assert main(["convert", str(model), "-o", str(model / "vocab.bpe" / "x")]) == 2
    assert "cannot write " in capsys.readouterr().err
    assert sorted(model.parent.iterdir()) == before


def test_openais_layout_is_float32(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = model.with_name("there")
    assert main(["convert", str(model), "-o", str(there)]) == 0
    capsys.readouterr()
    assert main(["convert", str(there), "-o", str(model.with_name("back")), "--dtype", "float16"]) == 2
    assert "becomes OpenAI's layout, which is not float16" in capsys.readouterr().err


def test_verify_names_the_tensor(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(model)]) == 0
    assert "all of 28 tensors match" in capsys.readouterr().out
    path = model / "model.ckpt.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert main(["verify", str(model)]) == 2
    assert "is damaged: the bytes of model/h0/attn/c_attn/b do not match" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["huggingface", "int8", "openai"])
def test_verify_names_the_file_that_differs(model: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A flipped bit of a weight, for which safetensors has no checksum, a space in a JSON, and a file that is gone."""
    if layout != "openai":
        dtype = "int8" if layout == "int8" else "float32"
        assert main(["convert", str(model), "-o", str(model.with_name(layout)), "--dtype", dtype]) == 0
        model = model.with_name(layout)
    name = {"huggingface": "model.safetensors", "int8": "int8.safetensors", "openai": "encoder.json"}[layout]
    assert main(["verify", str(model)]) == 0
    capsys.readouterr()
    data = bytearray((model / name).read_bytes())
    if layout == "openai":
        data += b" "
    else:
        data[-2] ^= 1
    (model / name).write_bytes(data)
    with (model / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  README.md\n")
    assert main(["verify", str(model)]) == 2
    expected = f"{model}/SHA256SUMS has other checksums: {name} differs, README.md is missing; download or"
    assert capsys.readouterr().err.startswith(f"picogpt: {expected}")


def test_verify_without_a_list_says_what_it_cannot_see(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(model), "-o", str(model.with_name("hf"))]) == 0
    (model.with_name("hf") / "SHA256SUMS").unlink()
    assert main(["verify", str(model.with_name("hf"))]) == 0
    assert "model.safetensors      whole, but the format has no checksums" in capsys.readouterr().out
