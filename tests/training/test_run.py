"""A run on the disk: whenever it is killed, what is there is whole and leads to the same weights."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picogpt.checkpoints import flatten, read_checkpoint
from picogpt.errors import PicoGPTError
from picogpt.tokenizers import CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer, train_bpe
from picogpt.training.data import map_ids, split_text, write_ids
from picogpt.training.run import Run, loss_curves, read_state
from picogpt.training.trainer import Settings, gpt2_loss_and_grads, init_params, training_steps

ROOT = Path(__file__).parents[2]
TEXT = "".join(f"{i} times {i} is {i * i}.\n" for i in range(60))
HPARAMS = {"n_ctx": 13, "n_embd": 12, "n_head": 3, "n_layer": 2}
SETTINGS = Settings(steps=10_000, batch_size=3, parts=2, warmup=5, dropout=0.1, average=0.9)


def start(out: Path, settings: Settings = SETTINGS, text: str = TEXT, **sizes: int) -> Run:
    encoder = CharTokenizer.from_text(text)
    hparams = {**HPARAMS, "n_vocab": encoder.n_vocab, **sizes}
    return Run.start(out, text, encoder, hparams, init_params(hparams, np.random.default_rng(0)), settings)


def advance(run: Run, n_steps: int) -> None:
    """Make so many steps, and save."""
    model = gpt2_loss_and_grads(run.hparams["n_head"], run.settings.dropout)
    steps = training_steps(run.state, run.ids("train"), run.hparams["n_ctx"], model, run.settings)
    for step in itertools.islice(steps, n_steps):
        run.log.append((step.step, step.loss, "", step.lr, step.grad_norm))
    run.save()


def assert_same_files(first: Path, second: Path) -> None:
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_saved_run_is_read_as_it_was(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    advance(run, 3)
    again = Run.resume(tmp_path / "run")
    assert (again.state.step, again.settings, again.hparams) == (3, run.settings, run.hparams)
    assert again.n_characters == len(split_text(TEXT)[1])
    for tree in ("mean", "square", "averaged"):
        for name, array in getattr(run.state, tree).items():
            np.testing.assert_array_equal(getattr(again.state, tree)[name], array)
    assert [[float(x) for x in row if x != ""] for row in again.log] == [[x for x in row if x != ""] for row in run.log]


def test_the_directory_is_a_model_like_any_other(tmp_path: Path) -> None:
    """And it is the average that is saved, where one is kept."""
    run = start(tmp_path / "run")
    advance(run, 3)
    hparams, params = read_checkpoint(tmp_path / "run")
    assert hparams == run.hparams
    for name, array in flatten(params).items():
        np.testing.assert_array_equal(array, run.state.averaged[name])
    assert load_tokenizer(tmp_path / "run").decode(run.ids("train").tolist()) == split_text(TEXT)[0]


@pytest.mark.parametrize("step", [1, 2, 7])
def test_stopped_at_any_step_and_resumed_it_is_the_run_that_never_stopped(tmp_path: Path, step: int) -> None:
    settings = Settings(steps=9, batch_size=3, parts=2, warmup=2, hold=3, dropout=0.1, average=0.9)
    advance(start(tmp_path / "whole", settings), 9)
    advance(start(tmp_path / "stopped", settings), step)
    advance(Run.resume(tmp_path / "stopped"), 9 - step)
    assert_same_files(tmp_path / "whole", tmp_path / "stopped")


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from tests.training.test_run import Run, advance, read_checkpoint

out, rng, reached = Path(sys.argv[1]), random.Random(0), [0]
for _ in range(20):
    child = os.fork()
    if not child:
        run = Run.resume(out)
        while True:
            advance(run, 1)
    time.sleep(rng.uniform(0.02, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    reached.append(Run.resume(out).state.step)
    read_checkpoint(out)
assert reached == sorted(reached) and reached[-1], reached
"""


@pytest.mark.slow
def test_killed_twenty_times_it_comes_to_the_same_weights(tmp_path: Path) -> None:
    """SIGKILL at random moments, many of them within a write, as the process does little else."""
    out = tmp_path / "killed"
    start(out)
    subprocess.run(
        [sys.executable, "-c", KILLER, str(out)], cwd=ROOT, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, check=True
    )
    run = Run.resume(out)
    advance(run, 5)
    start(tmp_path / "whole")
    whole = Run.resume(tmp_path / "whole")
    advance(whole, run.state.step)
    for path in out.rglob(".*"):
        path.unlink()  # what a killed process was writing; nobody reads it
    assert_same_files(tmp_path / "whole", out)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    start(tmp_path / "run")
    path = tmp_path / "run" / "training" / "state.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PicoGPTError, match=r"state\.npz is damaged"):
        read_state(path, {**HPARAMS, "n_vocab": CharTokenizer.from_text(TEXT).n_vocab})


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PicoGPTError, match="not empty"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("text", "message"), [("too short", "train part"), ("0123456789" * 2, "n-ctx")])
def test_a_text_too_small_for_the_context(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        start(tmp_path / "run", text=text, n_ctx=100)
    assert not (tmp_path / "run").exists()


def test_there_is_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(PicoGPTError, match="holds no training run"):
        Run.resume(tmp_path)


@pytest.mark.parametrize(("n_vocab", "n_bytes"), [(65536, 6), (65537, 12)])
def test_ids_take_two_bytes_while_they_fit(tmp_path: Path, n_vocab: int, n_bytes: int) -> None:
    """GPT-2's 50257 fit; an id beyond 65535 must not wrap around."""
    ids = [0, 50256, n_vocab - 1]
    write_ids(tmp_path / "ids", ids, n_vocab)
    assert (tmp_path / "ids").stat().st_size == n_bytes
    mapped = map_ids(tmp_path / "ids", n_vocab)
    assert isinstance(mapped, np.memmap)
    assert mapped.tolist() == ids


@pytest.mark.parametrize(
    ("format", "files"),
    [
        ("float32", {"config.json", "model.safetensors", "vocab.json", "merges.txt"}),
        ("float16", {"config.json", "model.safetensors", "vocab.json", "merges.txt"}),
        ("tf", {"hparams.json", "model.ckpt-0.index", "checkpoint", "encoder.json", "vocab.bpe"}),
    ],
)
def test_weights_and_vocabulary_are_saved_in_the_same_layout(tmp_path: Path, format: str, files: set[str]) -> None:
    """Under the names by which transformers, or OpenAI's code, find them."""
    encoder = train_bpe([TEXT], 300, ["<|endoftext|>"])
    hparams = {**HPARAMS, "n_vocab": encoder.n_vocab}
    params = init_params(hparams, np.random.default_rng(0))
    Run.start(tmp_path / "run", TEXT, encoder, hparams, params, SETTINGS, format)
    assert {path.name for path in (tmp_path / "run").iterdir()} >= files
    loaded = flatten(read_checkpoint(tmp_path / "run")[1])
    for name, array in flatten(params).items():
        np.testing.assert_allclose(loaded[name], array, rtol=1e-3, atol=1e-7)
    assert Run.resume(tmp_path / "run").format == format


@pytest.mark.parametrize("kind", ["bpe", "char", "word"])
def test_the_end_of_a_document_is_one_token(tmp_path: Path, kind: str) -> None:
    """And no error, nor thirteen characters: what a user types is another matter than what separates documents."""
    text = " <|endoftext|> ".join(["some words"] * 20)
    special = ["<|endoftext|>"]
    encoder: Tokenizer
    if kind == "bpe":
        encoder = train_bpe([text], 300, special)
    else:
        encoder = (CharTokenizer if kind == "char" else WordTokenizer).from_text(text, special)
    hparams = {**HPARAMS, "n_vocab": encoder.n_vocab}
    params = init_params(hparams, np.random.default_rng(0))
    run = Run.start(tmp_path / "run", text, encoder, hparams, params, SETTINGS)
    n_ends = sum(int(np.sum(run.ids(name) == encoder.eot_token)) for name in ("train", "validation"))
    assert n_ends == sum(part.count("<|endoftext|>") for part in split_text(text)) > 10


def test_the_log_as_curves() -> None:
    rows: list[tuple[Any, ...]] = [(i, 2.0 + i % 2, 1.5 if i == 149 else "", 0.1, 1.0) for i in range(150)]
    curves = loss_curves(rows)
    assert curves == {"training": [(99, 2.5), (149, 2.5)], "validation": [(149, 1.5)]}
