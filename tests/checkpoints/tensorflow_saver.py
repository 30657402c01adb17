"""Checkpoints written by TensorFlow itself, under OpenAI's variable names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from picogpt.checkpoints import flatten


def save_openai_model(
    directory: Path, hparams: dict[str, int], params: dict[str, Any], *, prefix: str = "model.ckpt", n_shards: int = 1
) -> None:
    """Write `hparams.json`, `checkpoint` and the checkpoint itself, in one data file for each of `n_shards` devices."""
    import tensorflow as tf

    (directory / prefix).parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default():
        for i, (path, array) in enumerate(flatten(params).items()):
            name = "model/" + path.replace("blocks.", "h").replace(".", "/")
            value = array[None] if path.endswith(".w") else array  # OpenAI's are convolutions of width 1
            with tf.device(f"/cpu:{i % n_shards}"):
                tf.compat.v1.get_variable(name, initializer=value.astype("float32"))
        saver = tf.compat.v1.train.Saver(sharded=n_shards > 1, save_relative_paths=True)
        config = tf.compat.v1.ConfigProto(device_count={"CPU": n_shards})
        with tf.compat.v1.Session(config=config) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            saver.save(session, str(directory / prefix), write_meta_graph=False)
    if prefix != "model.ckpt":  # the saver puts `checkpoint` beside its files
        (directory / prefix).parent.joinpath("checkpoint").replace(directory / "checkpoint")
        (directory / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')
    (directory / "hparams.json").write_text(json.dumps(hparams))
