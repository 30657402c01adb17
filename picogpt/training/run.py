"""A training run on the disk: a model that loads like any other, and beside it all that is needed to continue.

    OUT/            the model: weights, config, vocabulary; loss.csv and loss.png
    OUT/training/   run.json (model and settings), train.ids and validation.ids, state.npz

Every file is written aside, synced and renamed, so whenever a run is killed, what is there is whole. The state is the
truth: whoever resumes writes the losses and the model once more from it. `training/unfinished` is there from before
the first file to after the last one, run.json; a start that was killed in between can be made again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from picogpt.checkpoints import flatten, nest, openai, param_shapes, write_huggingface, write_openai
from picogpt.checkpoints.names import check_hparams, check_shapes
from picogpt.checkpoints.variants import is_plain
from picogpt.errors import PicoGPTError, what
from picogpt.files import CHECKSUMS, leftovers, read_object, read_text, replacing
from picogpt.lock import locked
from picogpt.tokenizers import SAVED_FILES as TOKENIZER_FILES
from picogpt.tokenizers import Tokenizer, load_tokenizer
from picogpt.training.data import map_ids, split_text, write_ids
from picogpt.training.optimizer import Flat
from picogpt.training.trainer import Settings, State
from picogpt.types import HParams, Params

PARTS = ("train", "validation")
UNFINISHED = Path("training", "unfinished")
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
        if not is_plain(params):
            raise PicoGPTError("only GPT-2 itself can be trained: this model has another activation, epsilon or output")
        clear_unfinished(out)
        if not is_free(out):
            raise PicoGPTError(f"{out} is not empty; choose another --out, or continue a run there with --resume {out}")
        parts = dict(zip(PARTS, split_text(text), strict=True))
        # between documents <|endoftext|> is the token of that name
        ids = {name: tokenizer.encode(part, allowed_special="all") for name, part in parts.items()}
        for name, needed in ("train", hparams["n_ctx"] + 1), ("validation", 2):
            if len(ids[name]) < needed:
                raise PicoGPTError(
                    f"the {name} part of the text has {len(ids[name])} tokens, but a context of {hparams['n_ctx']} "
                    f"needs {needed}; give more text or a smaller --n-ctx"
                )
        with replacing(out / UNFINISHED):
            pass
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
        (out / UNFINISHED).unlink()
        return run

    @classmethod
    def resume(cls, out: Path) -> Run:
        """The run as its last state left it, and its model written anew from that.

        Raises `PicoGPTError` when there is none, or it is damaged.
        """
        path = out / "training" / "run.json"
        if not path.is_file():
            unfinished = (out / UNFINISHED).is_file()
            what = "the start of a run that was cut off; make it again" if unfinished else "no training run; start one"
            raise PicoGPTError(f"{out} holds {what} with --out {out}")
        facts = read_object(path)
        try:
            hparams = facts["hparams"]
            check_hparams(hparams, str(path))
            settings = Settings(**facts["settings"])
            n_characters = int(facts["n_characters"])
            if facts["format"] not in FORMATS or n_characters < 1:
                raise ValueError("its format or n_characters cannot be")
        except (KeyError, TypeError, ValueError) as error:
            raise PicoGPTError(f"{path} does not describe a training run: {error}") from error
        state = read_state(out / "training" / "state.npz", hparams)
        log = read_log(out / "loss.csv", state.step)
        tokenizer = load_tokenizer(out, hparams["n_vocab"])
        run = cls(out, hparams, settings, tokenizer, facts["format"], n_characters, state, log)
        for name in PARTS:
            run.ids(name)  # damage shows now, and not after hours of training
        run.save_model()
        (out / UNFINISHED).unlink(missing_ok=True)
        return run

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
        self.save_model()

    def save_model(self) -> None:
        """The model to use. In OpenAI's layout its files have the step in their names, and earlier ones go after it."""
        if self.format == "tf":
            prefix = f"{openai.PREFIX}-{self.state.step}"
            write_openai(self.out, self.hparams, self.params, prefix)
            for path in self.out.glob(f"*{openai.PREFIX}-*"):
                if not path.name.startswith(f"{prefix}."):
                    path.unlink(missing_ok=True)
        else:
            ends = self.tokenizer.bos_token, self.tokenizer.eos_tokens
            write_huggingface(self.out, self.hparams, self.params, self.format, ends=ends)


def lock(out: Path) -> Path:
    """The lock file of a run: see `only_one`."""
    return out / ".lock"


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keep other processes from training in the directory; raises `PicoGPTError` when one does so now."""

    def refuse() -> None:
        raise PicoGPTError(f"another process is training in {out}; wait for it to end, or stop it")

    new = [directory for directory in (out, *out.parents) if not directory.exists()]
    try:
        with locked(lock(out), on_wait=refuse):
            yield
    finally:
        with suppress(OSError):  # what is not empty stays
            for directory in new:
                directory.rmdir()


def is_free(out: Path) -> bool:
    """Whether a run may start in the directory: nothing is there, or no more than a killed start leaves first."""
    nothing = {lock(out), *leftovers(out / UNFINISHED)}
    return not out.exists() or (out.is_dir() and {path for path in out.rglob("*") if not path.is_dir()} <= nothing)


def clear_unfinished(out: Path) -> None:
    """Remove what a start that was cut off has left in the directory, and nothing else."""
    if not (out / UNFINISHED).is_file() or (out / "training" / "run.json").is_file():
        return
    names = [CHECKSUMS, "loss.csv", "config.json", "model.safetensors", "hparams.json", "checkpoint", *TOKENIZER_FILES]
    for pattern in [*names, *(f".{name}.*" for name in names), f"*{openai.PREFIX}-*"]:
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)
    for path in (out / "training").iterdir():
        if path != out / UNFINISHED:
            path.unlink(missing_ok=True)
    (out / UNFINISHED).unlink()


def write_state(path: Path, state: State) -> None:
    trees = {"params": flatten(state.params), "mean": state.mean, "square": state.square, "averaged": state.averaged}
    arrays = {f"{tree}/{name}": array for tree, flat in trees.items() for name, array in flat.items()}
    with replacing(path) as file:
        np.savez(file, step=np.array(state.step), **arrays)  # type: ignore[arg-type]  # the names are not "allow_pickle"


def read_state(path: Path, hparams: HParams) -> State:
    """What `write_state` wrote. Raises `PicoGPTError` when the file is missing, damaged, or another model's."""
    trees: dict[str, Flat] = {"params": {}, "mean": {}, "square": {}, "averaged": {}}
    shapes = param_shapes(hparams)
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            step = int(arrays["step"])
            for key in arrays.files:
                tree, _, name = key.partition("/")
                if name:
                    trees[tree][name] = arrays[key]
    except OSError as error:
        raise PicoGPTError(f"cannot read {path}: {what(error)}") from error
    except Exception as error:  # zipfile, zlib and NumPy have a dozen ways of saying that bytes are wrong
        raise PicoGPTError(f"{path} is damaged: {error}; the run cannot be resumed") from error
    for tree, flat in trees.items():
        if flat or tree != "averaged":
            check_shapes({name: array.shape for name, array in flat.items()}, shapes, f"{path}, {tree},")
        for name, array in flat.items():
            if array.dtype != np.float32:
                raise PicoGPTError(f"{path} is damaged: {tree}/{name} has dtype {array.dtype}, not float32")
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
    rows = list(csv.reader(io.StringIO(read_text(path)))) if path.is_file() else []
    try:
        for row in rows[1:]:
            [float(number) for name, number in zip(COLUMNS, row, strict=True) if number or name != "validation_loss"]
    except ValueError as error:
        raise PicoGPTError(f"{path} is damaged: {error}; remove it to resume without the losses so far") from error
    return [tuple(row) for row in rows[1 : 1 + n_steps]]


def loss_curves(rows: Iterable[tuple[float | str, ...]]) -> dict[str, list[tuple[float, float]]]:
    """Steps and losses from the log: of the batches, in means of a hundred, and of the validation part."""
    rows = list(rows)
    batches = [(float(row[0]), float(row[1])) for row in rows]
    hundreds = [batches[i : i + 100] for i in range(0, len(batches), 100)]
    means = [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in hundreds]
    validation = [(float(row[0]), float(row[2])) for row in rows if row[2] != ""]
    return {"training": means, "validation": validation}
