"""A training run on the disk: a model that loads like any other, and beside it all that is needed to continue.

    OUT/            the model: weights, config, vocabulary; loss.csv and loss.png
    OUT/training/   run.json (model and settings), train.ids and validation.ids, state.npz

Every file is written aside, synced and renamed. So whenever a run is killed, what is there is whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from picogpt.checkpoints import flatten, nest, write_huggingface, write_openai
from picogpt.errors import PicoGPTError
from picogpt.files import read_object, replacing
from picogpt.tokenizers import Tokenizer, load_tokenizer
from picogpt.training.data import map_ids, split_text, write_ids
from picogpt.training.optimizer import Flat
from picogpt.training.trainer import Settings, State
from picogpt.types import HParams, Params

FORMATS = ("float32", "float16", "bfloat16", "tf")  # Hugging Face's layout, or OpenAI's
COLUMNS = ("step", "loss", "validation_loss", "lr", "grad_norm")


@dataclass
class Run:
    """A model, its settings, and where it stands. Make one with `start` or `resume`."""

    out: Path
    hparams: HParams
    settings: Settings
    tokenizer: Tokenizer
    format: str  # of FORMATS
    n_characters: int  # of the validation text
    state: State
    log: list[tuple[float | str, ...]]  # a row of COLUMNS for each step

    @classmethod
    def start(
        cls,
        out: Path,
        text: str,
        tokenizer: Tokenizer,
        hparams: HParams,
        params: Params,
        settings: Settings,
        format: str = "float32",
    ) -> Run:
        """Make the directory, with the ids of the text in it and a first checkpoint.

        Raises `PicoGPTError` when there is something in the directory, or the text is too short for the context.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise PicoGPTError(f"{out} is not empty; choose another --out, or continue a run there with --resume {out}")
        parts = dict(zip(("train", "validation"), split_text(text), strict=True))
        # between documents <|endoftext|> is the token of that name
        ids = {name: tokenizer.encode(part, allowed_special="all") for name, part in parts.items()}
        for name, needed in ("train", hparams["n_ctx"] + 1), ("validation", 2):
            if len(ids[name]) < needed:
                raise PicoGPTError(
                    f"the {name} part of the text has {len(ids[name])} tokens, but a context of {hparams['n_ctx']} "
                    f"needs {needed}; give more text or a smaller --n-ctx"
                )
        state = State.start(params, settings)
        run = cls(out, hparams, settings, tokenizer, format, len(parts["validation"]), state, [])
        for name in parts:
            write_ids(run.ids_path(name), ids[name], hparams["n_vocab"])
        tokenizer.save(out, layout="openai" if format == "tf" else "huggingface")
        run.save()
        facts = {
            "hparams": hparams,
            "settings": asdict(settings),
            "format": format,
            "n_characters": run.n_characters,
        }
        with replacing(out / "training" / "run.json") as file:
            file.write((json.dumps(facts, indent=2) + "\n").encode())
        return run

    @classmethod
    def resume(cls, out: Path) -> Run:
        """The run as its last checkpoint left it. Raises `PicoGPTError` when there is none."""
        if not (out / "training" / "run.json").is_file():
            raise PicoGPTError(f"{out} holds no training run; start one with --out {out}")
        facts = read_object(out / "training" / "run.json")
        state = read_state(out / "training" / "state.npz")
        log = read_log(out / "loss.csv", state.step)
        settings = Settings(**facts["settings"])
        tokenizer = load_tokenizer(out)
        return cls(out, facts["hparams"], settings, tokenizer, facts["format"], facts["n_characters"], state, log)

    def ids_path(self, name: str) -> Path:
        return self.out / "training" / f"{name}.ids"

    def ids(self, name: str) -> np.ndarray:
        """The ids of the part "train" or "validation"."""
        return map_ids(self.ids_path(name), self.hparams["n_vocab"])

    @property
    def params(self) -> Params:
        """The model as it would be used: its averaged weights, where they are averaged."""
        return nest(self.state.averaged) if self.state.averaged else self.state.params

    def save(self) -> None:
        """The losses so far, the state to continue from, and the model to use.

        In this order: losses that the state knows nothing of are left out when the run continues. Raises
        `PicoGPTError`, before anything is written, where the state is not finite.
        """
        self.state.check()
        write_log(self.out / "loss.csv", self.log)
        write_state(self.out / "training" / "state.npz", self.state)
        if self.format == "tf":
            write_openai(self.out, self.hparams, self.params)
        else:
            eot_token = self.tokenizer.eot_token
            write_huggingface(self.out, self.hparams, self.params, self.format, eot_token=eot_token)


def write_state(path: Path, state: State) -> None:
    trees = {"params": flatten(state.params), "mean": state.mean, "square": state.square, "averaged": state.averaged}
    arrays = {f"{tree}/{name}": array for tree, flat in trees.items() for name, array in flat.items()}
    with replacing(path) as file:
        np.savez(file, step=np.array(state.step), **arrays)  # type: ignore[arg-type]  # the names are not "allow_pickle"


def read_state(path: Path) -> State:
    """What `write_state` wrote. Raises `PicoGPTError` when the file is missing or damaged."""
    trees: dict[str, Flat] = {"params": {}, "mean": {}, "square": {}, "averaged": {}}
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            step = int(arrays["step"])
            for key in arrays.files:
                tree, _, name = key.partition("/")
                if name:
                    trees[tree][name] = arrays[key]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise PicoGPTError(f"{path} cannot be read: {error}") from error
    return State(step, nest(trees["params"]), trees["mean"], trees["square"], trees["averaged"])


def write_log(path: Path, rows: Iterable[tuple[float | str, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def read_log(path: Path, n_steps: int) -> list[tuple[float | str, ...]]:
    """The rows of the first `n_steps` steps; what was logged after them will be done again."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [tuple(row) for row in list(csv.reader(file))[1 : 1 + n_steps]]


def loss_curves(rows: Iterable[tuple[float | str, ...]]) -> dict[str, list[tuple[float, float]]]:
    """Steps and losses from the log: of the batches, in means of a hundred, and of the validation part."""
    rows = list(rows)
    batches = [(float(row[0]), float(row[1])) for row in rows]
    hundreds = [batches[i : i + 100] for i in range(0, len(batches), 100)]
    means = [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in hundreds]
    validation = [(float(row[0]), float(row[2])) for row in rows if row[2] != ""]
    return {"training": means, "validation": validation}
