"""Models by name: `load("124M")` -> `GPT2(encoder, hparams, params)`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Unpack, overload

from picogpt import checkpoints
from picogpt.checkpoints import Layout
from picogpt.decoding.loop import generate_stream
from picogpt.decoding.options import TextOptions, decoding_options
from picogpt.decoding.stopping import until_stop
from picogpt.errors import PicoGPTError, listed, what
from picogpt.files import leftovers, publish
from picogpt.performance.int8 import Int8Rows, quantize_params
from picogpt.places import cached_models, cached_snapshot, hub_cache, search_path
from picogpt.scoring.report import ScoreOptions, TextScore, rows_of, score_text
from picogpt.tokenizers import Tokenizer, begun, stream_text
from picogpt.types import HParams, Params

if TYPE_CHECKING:  # loads when it is first asked for
    from picogpt.features import FeatureOptions, Features
    from picogpt.inspection import Trace
    from picogpt.inspection.names import Names

ALIASES = (  # OpenAI's name of a released GPT-2, Hugging Face's, and its repository there. Each finds all of them.
    ("124M", "gpt2", "openai-community/gpt2"),
    ("355M", "gpt2-medium", "openai-community/gpt2-medium"),
    ("774M", "gpt2-large", "openai-community/gpt2-large"),
    ("1558M", "gpt2-xl", "openai-community/gpt2-xl"),
    ("distilgpt2", "distilbert/distilgpt2"),
)
PREFERRED, SHIPPED = "124M", "shakespeare"


class GPT2(NamedTuple):
    """A model, ready to use, for people who think in texts. It unpacks: `encoder, hparams, params = load(…)`."""

    encoder: Tokenizer
    hparams: HParams
    params: Params

    def generate(self, prompt: str, n_tokens: int = 40, **options: Unpack[TextOptions]) -> str:
        """The text that follows `prompt`: at most `n_tokens` tokens of it; `TextOptions` says what can be chosen.

        Without options the most likely token is taken at each step. Raises `PicoGPTError` for a prompt longer than the
        model's context and for values out of range, TypeError for an option that does not exist.
        """
        return "".join(self.stream(prompt, n_tokens, **options))

    def stream(self, prompt: str, n_tokens: int = 40, **options: Unpack[TextOptions]) -> Iterator[str]:
        """`generate`, piece by piece as it is decoded; no piece ends within a character."""
        if not isinstance(prompt, str):
            raise PicoGPTError(f"the prompt must be a text, not {type(prompt).__name__}; picogpt.generate takes ids")
        ids = self.prompt_ids(prompt, options.pop("allowed_special", ()))
        stops = options.get("stop", ())
        written = generate_stream(
            ids, self.params, self.hparams["n_head"], n_tokens, **decoding_options(self.encoder, **options)
        )
        return until_stop(stream_text(self.encoder, written, ids), [stops] if isinstance(stops, str) else stops)

    @overload
    def score(self, texts: str, **options: Unpack[ScoreOptions]) -> TextScore: ...

    @overload
    def score(self, texts: list[str] | tuple[str, ...], **options: Unpack[ScoreOptions]) -> list[TextScore]: ...

    def score(
        self, texts: str | list[str] | tuple[str, ...], **options: Unpack[ScoreOptions]
    ) -> TextScore | list[TextScore]:
        """How likely the model finds a text: its tokens, their surprisals, its words, and sums of these.

        A list of texts gives a list. Surprisals are in bits unless `nats` is given; `ScoreOptions` says what else can
        be chosen. Raises `PicoGPTError` for a text with nothing to score.
        """
        return score_text(self, texts, **options)

    def trace(
        self, prompt: str, names: Names | None = None, allowed_special: Literal["all"] | Collection[str] = ()
    ) -> Trace:
        """Every intermediate value of the pass over `prompt`, by name, with its tokens; or only the named ones.

        A name may be a pattern, such as "*.attn.pattern"; docs/inspection.md lists the names. Raises `PicoGPTError`
        for a name that matches nothing and for a prompt longer than the model's context.
        """
        from picogpt import inspection

        ids = self.prompt_ids(prompt, allowed_special)
        trace = inspection.trace(ids, self.params, self.hparams["n_head"], names)
        trace.model = self
        trace.tokens = inspection.token_texts(self.encoder, ids)
        return trace

    def features(self, texts: str | list[str] | tuple[str, ...], **options: Unpack[FeatureOptions]) -> Features:
        """Hidden states or attention statistics of texts, by token, word or text, with what each row is of.

        `picogpt.features.FeatureOptions` says what can be chosen. Raises `PicoGPTError` for a text without tokens.
        """
        from picogpt.features import features

        return features(self, texts, **options)

    def prompt_ids(self, prompt: str, allowed_special: Literal["all"] | Collection[str] = ()) -> list[int]:
        """The prompt's ids, after the token that the vocabulary puts before every text; of an empty one `bos_token`.

        Raises `PicoGPTError` for an empty prompt where the model has no such token.
        """
        if ids := begun(self.encoder, self.encoder.encode(prompt, allowed_special=allowed_special)):
            return ids
        if self.encoder.bos_token is None:
            raise PicoGPTError("the prompt is empty, and this model has no token that begins a text; give it a word")
        return [self.encoder.bos_token]

    def __repr__(self) -> str:
        sizes = " ".join(f"{name}={number}" for name, number in self.hparams.items())
        return f"<GPT2 {sizes}: {checkpoints.n_params(self.hparams):,} parameters, {type(self.encoder).__name__}>"


def load(
    name: str | os.PathLike[str] | None = None,
    models_dir: str | os.PathLike[str] | None = None,
    dtype: Literal["float32", "int8"] = "float32",
) -> GPT2:
    """Load a model by its name (`124M`, `gpt2-medium`, `shakespeare` …) or its directory.

    Without a name it is 124M where that is present, else the Shakespeare model that ships with the package. Models
    are looked for in `models_dir` (or else in $PICOGPT_MODELS_DIR), in `./models`, in the user's own folder, in the
    package, and in Hugging Face's cache. The params are float32 and, where they are mapped from the file, read-only;
    with `dtype` "int8", or where they are stored so, the weights are int8. Raises `PicoGPTError` when there is no such
    model or its files are not whole.
    """
    directory = find_model(name if name is not None else default_model(models_dir), models_dir)
    hparams, params = checkpoints.read_checkpoint(directory)
    encoder = checkpoints.read_encoder(directory, hparams["n_vocab"])
    if dtype == "int8":
        checkpoints.check_finite(params, str(directory))
        params = quantize_params(params)
    return GPT2(encoder, hparams, params)


def load_encoder_hparams_and_params(model_size: str = "124M", models_dir: str | os.PathLike[str] = "models") -> GPT2:
    """picoGPT's name for `load`, with its arguments."""
    return load(model_size, models_dir)


def surprisal(
    texts: str | Sequence[str],
    model: GPT2 | str | os.PathLike[str] | None = None,
    by: Literal["text", "word", "token"] = "word",
    **options: Unpack[ScoreOptions],
) -> list[dict[str, Any]]:
    """The surprisal of each word of texts, as a table: a list of rows that pandas and polars take as they are.

    A row has `text`, the number of its text from 0, and `index`, that of the word in it; `by` "token" has rows of
    tokens, and "text" one for each text. `model` is one that is loaded, or what `load` takes.
    """
    loaded = model if isinstance(model, GPT2) else load(model)
    scores = score_text(loaded, [texts] if isinstance(texts, str) else list(texts), **options)
    return [
        {"text": number, "index": index, **row} if by != "text" else {"text": number, **row}
        for number, score in enumerate(scores)
        for index, row in enumerate(rows_of(score, by))
    ]


def save(
    model: GPT2, directory: str | os.PathLike[str], layout: Layout = "huggingface", dtype: str = "float32"
) -> None:
    """Write a whole model; the directory appears with all of its files, or not at all.

    The layouts gguf and llmc are a file, which `directory` then is. OpenAI's layout is float32. Raises `PicoGPTError`
    when there is something already, and for weights that the dtype cannot hold, or that are int8 and should become
    another dtype.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise PicoGPTError(f"{directory} exists already; choose another name, or remove it first")
    partial = directory.with_name(f".{directory.name}.{os.getpid()}")
    encoder, hparams, params = model
    ends = encoder.bos_token, encoder.eos_tokens
    if layout != "int8" and isinstance(params["wte"], Int8Rows):
        raise PicoGPTError("the model's weights are int8 already; convert the model that it was made from")
    try:
        if layout == "gguf":
            return checkpoints.write_gguf(directory, hparams, params, dtype, encoder)
        if layout == "llmc":
            return checkpoints.write_llmc(directory, hparams, params, dtype)
        for leftover in leftovers(directory):  # of conversions that were killed
            shutil.rmtree(leftover, ignore_errors=True)
        encoder.save(partial, "openai" if layout == "openai" else "huggingface")  # first: the model lists its checksums
        if layout == "openai":
            checkpoints.write_openai(partial, hparams, params)
        elif layout == "int8":
            checkpoints.write_int8(partial, hparams, params, ends=ends)
        else:
            checkpoints.write_huggingface(partial, hparams, params, dtype, ends=ends)
        if directory.exists():
            directory.rmdir()
        publish(partial, directory)
    except PicoGPTError as error:
        raise PicoGPTError(str(error).replace(str(partial), str(directory))) from error
    except OSError as error:
        raise PicoGPTError(f"cannot write {directory}: {what(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def default_model(models_dir: str | os.PathLike[str] | None = None) -> str:
    """The name that stands for no name: 124M where it is present, else shakespeare."""
    return PREFERRED if any(map(checkpoints.is_complete, possible_places(PREFERRED, models_dir))) else SHIPPED


def find_model(name: str | os.PathLike[str], models_dir: str | os.PathLike[str] | None = None) -> Path:
    """The directory or file of a model that is called `name`, or that is `name`; raises `PicoGPTError` for none."""
    places = possible_places(str(name), models_dir)
    for whole in filter(checkpoints.is_complete, places):
        return whole
    for partial in filter(Path.exists, places):
        return partial  # whoever reads it will say what it lacks
    raise PicoGPTError(explain_absence(str(name), models_dir))


def possible_places(name: str, models_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Where the model can be, the likeliest first.

    That is under its names in the search path, the path that `name` is, or under its names in Hugging Face's cache.
    What begins with a dot is a path and nothing else.
    """
    if name.startswith("."):
        return [Path(name)]
    names = [name, *(other for row in ALIASES if name in row for other in row if other != name)]
    cached = filter(None, map(cached_snapshot, names))
    return [*(root / alias for root in search_path(models_dir) for alias in names), Path(name), *cached]


def is_released(name: str) -> bool:
    """Whether this is the name of a GPT-2 that OpenAI or Hugging Face released."""
    return any(name in row for row in ALIASES)


def available_models(models_dir: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Every whole model in the search path and in Hugging Face's cache: name -> directory."""
    found: dict[str, Path] = {}
    for root in search_path(models_dir):
        for directory in sorted([*root.glob("*"), *root.glob("*/*")]):
            if is_model(directory):
                found.setdefault(directory.relative_to(root).as_posix(), directory)
    for name in cached_models():
        if (snapshot := cached_snapshot(name)) and is_model(snapshot):
            found.setdefault(name, snapshot)
    return found


def is_model(directory: Path) -> bool:
    """Whether the directory holds a whole model, and one of a kind that is read here."""
    try:
        return checkpoints.is_complete(directory) and bool(checkpoints.read_hparams(directory))
    except PicoGPTError:
        return False


def explain_absence(name: str, models_dir: str | os.PathLike[str] | None) -> str:
    """One line: what is missing, where it was looked for, what is there, and how to get it or GPT-2."""
    looked = ", ".join(dict.fromkeys(map(str, [*search_path(models_dir), hub_cache()])))
    here = listed(f"{model} ({directory})" for model, directory in available_models(models_dir).items()) or "none"
    if is_released(name):
        said = f"{name} is not here; `picogpt download {name}` fetches it"
    elif name.count("/") == 1 and not name.startswith((".", "~", "/")):
        said = f"there is no model {name!r}; if it is Hugging Face's, `picogpt download {name}` fetches it"
    else:
        said = f"there is no model {name!r}; to fetch GPT-2: `picogpt download {PREFERRED}`"
    return f"{said}. Models here: {here}. Looked in {looked}"
