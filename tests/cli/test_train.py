"""`picogpt train`."""

from __future__ import annotations

import csv
import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picogpt.training.trainer
from picogpt.checkpoints import flatten, nest, read_checkpoint
from picogpt.cli import main
from picogpt.pretrained import load, save
from picogpt.training.optimizer import adamw
from picogpt.training.run import Run

TEXT = "".join(f"{i} times {i} is {i * i}.\n" for i in range(200))
SMALL = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--n-ctx", "16", "--batch-size", "2", "--n-vocab", "270"]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT)
    return Path("text")


def train(*arguments: str | Path, steps: int = 6) -> int:
    return main(["train", *map(str, arguments), *SMALL, "--steps", str(steps), "--eval-every", "3"])


def test_it_leaves_a_model_its_losses_and_a_sample(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(text, "--out", "model") == 0
    out, err = capsys.readouterr()
    assert out.strip()
    assert "validation" not in out
    assert "bits a character" in err
    with Path("model/loss.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == list("012345")
    assert [i for i, row in enumerate(rows) if row["validation_loss"]] == [2, 5]
    assert Path("model/loss.png").read_bytes().startswith(b"\x89PNG")
    encoder, hparams, _ = load("model")
    assert hparams == {"n_vocab": 270, "n_ctx": 16, "n_embd": 8, "n_head": 2, "n_layer": 1}
    assert encoder.decode(encoder.encode("7 times")) == "7 times"


@pytest.mark.parametrize(
    ("kind", "pieces"), [("char", ["7", " ", "t"]), ("word", ["7", "times", "8"]), ("shakespeare", ["7", " t", "im"])]
)
def test_the_other_tokenizers(text: Path, kind: str, pieces: list[str]) -> None:
    """Characters are taken from all of the text, words from its training part, with an id for the unknown ones."""
    assert train(text, "--tokenizer", kind, steps=1) == 0
    encoder, hparams, _ = load("runs/text")
    assert encoder.n_vocab == hparams["n_vocab"]
    assert [encoder.decode([i]) for i in encoder.encode("7 times 8")[:3]] == pieces


def test_several_texts_are_one(text: Path) -> None:
    Path("more").write_text("and so on" * 50)
    assert train(text, "more", "--out", "model", "--tokenizer", "char", steps=1) == 0
    assert "d" in load("model").encoder.decode(range(20))


def interrupt_at(step: int, signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the signal while a step is made."""
    original: Callable[..., Any] = picogpt.training.trainer.batch_loss_and_grads

    def pressed(*arguments: Any) -> Any:
        if arguments[5] == step:
            os.kill(os.getpid(), signum)
        return original(*arguments)

    monkeypatch.setattr(picogpt.training.trainer, "batch_loss_and_grads", pressed)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_save_the_step_and_resume_goes_on(
    text: Path, signum: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of a step: it is finished first, or its weights would be half old and half new."""
    assert train(text, "--out", "whole") == 0
    with monkeypatch.context() as patch:
        interrupt_at(2, signum, patch)
        assert train(text, "--out", "stopped") == status
    assert "picogpt train --resume stopped" in capsys.readouterr().err
    assert Run.resume(Path("stopped")).state.step == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main(["train", "--resume", "stopped", "--eval-every", "3"]) == 0
    for name in ("model.safetensors", "training/state.npz"):
        assert Path("stopped", name).read_bytes() == Path("whole", name).read_bytes()


def test_a_resumed_run_keeps_its_settings(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Silently going on with the old learning rate would be worse than an error."""
    assert train(text, "--out", "model", steps=1) == 0
    assert main(["train", str(text), "--resume", "model", "--lr", "0.1"]) == 2
    assert "leave out text, --lr" in capsys.readouterr().err


def test_fine_tuning_starts_from_the_models_weights_and_size(text: Path) -> None:
    out = ["--init", "shakespeare", "--out", "model", "--batch-size", "1", "--steps", "1", "--lr", "1e-9"]
    assert main(["train", str(text), *out]) == 0
    assert read_checkpoint(Path("model"))[0] == load("shakespeare").hparams
    np.testing.assert_allclose(load("model").params["wte"], load("shakespeare").params["wte"], atol=1e-6)


def test_a_loss_that_is_no_number_names_the_step_and_the_last_checkpoint(
    text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original: Callable[..., Any] = picogpt.training.trainer.batch_loss_and_grads

    def diverging(*arguments: Any) -> Any:
        loss, grads = original(*arguments)
        return (float("nan") if arguments[5] == 3 else loss), grads

    monkeypatch.setattr(picogpt.training.trainer, "batch_loss_and_grads", diverging)
    assert train(text, "--out", "model", "--save-every", "2") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("picogpt: step 3: the loss is nan")
    assert message.endswith("The checkpoint of step 2 in model is whole")
    assert Run.resume(Path("model")).state.step == 2


@pytest.mark.parametrize("name", ["wte", "blocks.0.ln_1.g"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e38])
def test_weights_that_went_wrong_never_replace_good_ones(
    name: str, wrong: float, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step's loss is that of the weights before it: the weights after the last step were saved unseen."""

    def overshooting(params: Any, *others: Any, **settings: Any) -> None:
        adamw(params, *others, **settings)
        if others[3] == 3:  # the step
            params[name][:] = wrong

    monkeypatch.setattr(picogpt.training.trainer, "adamw", overshooting)
    for steps in (4, 6):  # it is the last step, or there would be others
        assert train(text, "--out", f"model{steps}", "--save-every", "2", "--eval-every", "1000", steps=steps) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("picogpt: step 4: ")
        assert message.endswith(f"try a smaller lr. The checkpoint of step 2 in model{steps} is whole")
        run = Run.resume(Path(f"model{steps}"))
        assert run.state.step == 2
        run.state.check()
        assert np.isfinite(load(f"model{steps}").params["wte"]).all()


def test_a_model_that_is_not_finite_is_not_trained(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load("shakespeare")
    flat = {name: array.copy() for name, array in flatten(model.params).items()}
    flat["blocks.1.attn.c_attn.b"][7] = np.nan
    save(model._replace(params=nest(flat)), "broken")
    capsys.readouterr()
    assert main(["train", str(text), "--init", "broken", "--out", "model", "--steps", "1"]) == 2
    message = capsys.readouterr().err
    assert "blocks.1.attn.c_attn.b has numbers that are not finite" in message
    assert message.count("\n") == 1
    assert not Path("model").exists()


def test_a_full_disk(text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was saved before stays; what was being written disappears."""
    saves: Iterator[int] = iter(range(100))
    original = np.savez

    def savez(file: Any, **arrays: Any) -> None:
        original(file, **arrays)
        if next(saves) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    assert train(text, "--out", "model", "--save-every", "2") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device. The checkpoint of step 2 in model is whole" in message
    assert Run.resume(Path("model")).state.step == 2
    assert not list(Path("model").rglob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which text?"),
        (["nowhere.txt"], "nowhere.txt: No such file"),
        (["text", "--n-embd", "9"], "--n-embd 9 cannot be divided by --n-head 2"),
        (["text", "--n-ctx", "5000"], "smaller --n-ctx"),
        (["text", "--n-vocab", "100"], "n_vocab"),
        (["text", "--tokenizer", "letters"], "letters"),
        (["text", "--dropout", "1"], "dropout"),
        (["text", "--steps", "0"], "steps must be 1 or more, not 0"),
        (["text", "--weight-decay", "nan"], "weight_decay must be from 0 to 1, not nan"),
        (["text", "--lr", "1e30"], "lr must be above 0 and at most 1, not 1e+30"),
        (["text", "--beta2", "inf"], "beta2 must be 0 or more and below 1, not inf"),
        (["text", "--n-layer", "0"], "--n-layer"),
        (["text", "--save-every", "0"], "--save-every"),
        (["text", "--threads", "0"], "--threads"),
        (["text", "--out", "text"], "is not a directory"),
        (["text", "--init", "shakespeare"], "leave out --n-vocab"),
        (["latin1"], "latin1 is not UTF-8"),
        (["--resume", "text"], "leave out"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    text: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("latin1").write_bytes("naïve".encode("latin-1"))
    assert main(["train", *SMALL, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()
