"""TensorFlow as the oracle: it writes checkpoints and we read them, and it computes the same model.

To import it takes seconds, so the functions that need it do; where it is missing they fail.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picogpt.checkpoints import flatten, nest, read_checkpoint, weight_files, write_openai
from picogpt.model import gpt2
from tests.checkpoints.tensorflow_saver import save_openai_model
from tests.random_model import HPARAMS, N_HEAD, random_params

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

Params = dict[str, Any]


@pytest.fixture(scope="module")
def params() -> Params:
    return random_params(np.random.default_rng(5), np.float32)


@pytest.mark.parametrize(
    ("prefix", "n_shards"), [("model.ckpt", 1), ("model.ckpt", 3), ("model.ckpt-1009", 1), ("run/model-7", 2)]
)
def test_reads_bit_for_bit_what_tensorflow_wrote(tmp_path: Path, params: Params, prefix: str, n_shards: int) -> None:
    save_openai_model(tmp_path, HPARAMS, params, prefix=prefix, n_shards=n_shards)
    assert len(weight_files(tmp_path)) == 2 + n_shards, "TensorFlow wrote another number of data files"
    hparams, read = read_checkpoint(tmp_path)
    assert hparams == HPARAMS
    expected, flat = flatten(params), flatten(read)
    assert flat.keys() == expected.keys()
    for path, array in flat.items():
        assert array.dtype == np.float32
        assert array.flags.aligned
        assert not array.flags.owndata, f"{path} was copied from the file"
        np.testing.assert_array_equal(array, expected[path], strict=True)


def test_writes_byte_for_byte_what_tensorflow_writes(tmp_path: Path, params: Params) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    save_openai_model(theirs, HPARAMS, params)
    write_openai(ours, HPARAMS, params)
    for name in ("checkpoint", "hparams.json", "model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_tensorflow_reads_what_we_write(tmp_path: Path, params: Params) -> None:
    import tensorflow as tf

    write_openai(tmp_path, HPARAMS, params)
    reader = tf.train.load_checkpoint(str(tmp_path))
    np.testing.assert_array_equal(reader.get_tensor("model/wte"), params["wte"])
    c_fc = params["blocks"][1]["mlp"]["c_fc"]["w"]
    np.testing.assert_array_equal(reader.get_tensor("model/h1/mlp/c_fc/w"), c_fc[None])


def tensorflow_logits(directory: Path, ids: list[list[int]], n_head: int, n_layer: int) -> Any:
    """GPT-2 in TensorFlow's operations and float64, straight from the names in the checkpoint."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(directory))

    def get(name: str) -> Any:
        return tf.cast(tf.constant(reader.get_tensor(f"model/{name}")), tf.float64)

    def norm(x: Any, name: str) -> Any:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-5) * get(f"{name}/g") + get(f"{name}/b")

    def conv1d(x: Any, name: str) -> Any:
        return tf.nn.conv1d(x, get(f"{name}/w"), stride=1, padding="VALID") + get(f"{name}/b")

    n_batch, n_seq = len(ids), len(ids[0])
    wte = get("wte")
    x = tf.gather(wte, ids) + get("wpe")[:n_seq]
    n_embd = x.shape[-1]
    above = tf.linalg.band_part(tf.ones((n_seq, n_seq), tf.bool), -1, 0)
    for i in range(n_layer):
        qkv = conv1d(norm(x, f"h{i}/ln_1"), f"h{i}/attn/c_attn")
        heads = tf.reshape(qkv, (n_batch, n_seq, 3, n_head, n_embd // n_head))
        q, k, v = tf.unstack(tf.transpose(heads, (2, 0, 3, 1, 4)))
        scores = tf.where(above, tf.matmul(q, k, transpose_b=True) / math.sqrt(n_embd // n_head), -math.inf)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))
        x += conv1d(tf.reshape(mixed, (n_batch, n_seq, n_embd)), f"h{i}/attn/c_proj")
        hidden = conv1d(norm(x, f"h{i}/ln_2"), f"h{i}/mlp/c_fc")
        # not tf.nn.gelu, whose 0.044715 is a float32 even in float64
        gate = tf.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3))
        x += conv1d(0.5 * hidden * (1 + gate), f"h{i}/mlp/c_proj")
    return tf.matmul(norm(x, "ln_f"), wte, transpose_b=True).numpy()


def test_tensorflow_computes_the_same_logits(tmp_path: Path, params: Params) -> None:
    save_openai_model(tmp_path, HPARAMS, params)
    ids = np.random.default_rng(0).integers(HPARAMS["n_vocab"], size=(2, 23)).tolist()
    expected = tensorflow_logits(tmp_path, ids, N_HEAD, HPARAMS["n_layer"])
    _, read = read_checkpoint(tmp_path)
    np.testing.assert_allclose(gpt2(ids, **read, n_head=N_HEAD), expected, atol=1e-4, rtol=0)
    in_float64 = nest({path: array.astype(np.float64) for path, array in flatten(read).items()})
    np.testing.assert_allclose(gpt2(ids, **in_float64, n_head=N_HEAD), expected, atol=1e-12, rtol=0)
