"""The options of decoding under the names that people type, and what they make of the loop's own.

`SAMPLING_OPTIONS` is the one table of them: it gives the command line its flags, the logits their transforms, and says
which options ask for sampling. Whoever adds a transform adds a row here, its type to `SamplingOptions`, and its range
to `RANGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np

from picogpt.decoding import sampling
from picogpt.decoding.loop import Options
from picogpt.decoding.ranges import RANGES, check_range
from picogpt.decoding.sampling import Transform
from picogpt.decoding.stopping import stop_criterion
from picogpt.tokenizers import Tokenizer


class SamplingOption(NamedTuple):
    """One option: its name in Python (its flag has dashes), what it makes, and how the command line presents it."""

    name: str
    make: Callable[[Any], Transform]
    type: type
    metavar: str
    help: str
    samples: bool = False  # whether to give it asks for a draw instead of the most likely token
    repeats: bool = False  # whether its value is a list, and its flag may be given several times

    @property
    def help_with_range(self) -> str:
        return f"{self.help} ({RANGES[self.name].words})" if self.name in RANGES else self.help


class SamplingOptions(TypedDict, total=False):
    """The table's names and types, for whoever passes them on."""

    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram: int
    ban: Sequence[int]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float


class TextOptions(SamplingOptions, total=False):
    """How to continue a text: the options of sampling, and when it ends."""

    seed: int | None  # the same seed gives the same text again
    sample: bool  # draw tokens even where no other option asks for it
    stop: str | Sequence[str]  # the text ends before any of these
    min_length: int | None  # no end of text before so many tokens, those of the prompt included
    ignore_eos: bool  # continue after a token that ends the text
    allow_unused: bool  # write ids without a token too, which a padded vocabulary has
    slide: bool  # when the context is full, continue after the last half of it
    lookup: bool  # guess from earlier text: the same text, sooner where it repeats itself
    allowed_special: Literal["all"] | Collection[str]  # special tokens that the prompt may contain


# in the order in which Hugging Face's `generate` applies them
SAMPLING_OPTIONS = [
    SamplingOption("repetition_penalty", sampling.repetition_penalty, float, "X", "above 1: less of what was seen"),
    SamplingOption("presence_penalty", sampling.presence_penalty, float, "X", "less X for what was seen"),
    SamplingOption("frequency_penalty", sampling.frequency_penalty, float, "X", "less X for each time it was seen"),
    SamplingOption("no_repeat_ngram", sampling.no_repeat_ngram, int, "N", "no N tokens occur together twice"),
    SamplingOption("ban", sampling.banned_tokens, int, "ID", "never this token; may be repeated", repeats=True),
    SamplingOption("temperature", sampling.temperature, float, "T", "below 1 safer, above 1 wilder", samples=True),
    SamplingOption("top_k", sampling.top_k, int, "K", "only the K most likely tokens", samples=True),
    SamplingOption("top_p", sampling.top_p, float, "P", "only the most likely that together reach P", samples=True),
    SamplingOption("min_p", sampling.min_p, float, "P", "only those at least P times the best one's", samples=True),
    SamplingOption("typical_p", sampling.typical_p, float, "P", "only the most typical that reach P", samples=True),
]


def given(chosen: Mapping[str, Any]) -> list[SamplingOption]:
    """The options that have a value; raises TypeError for a name that is not in the table."""
    known = TextOptions.__annotations__
    if unknown := [name for name in chosen if name not in known]:
        raise TypeError(f"there is no option {', '.join(unknown)}; there are {', '.join(known)}")
    return [option for option in SAMPLING_OPTIONS if _has_value(option, chosen.get(option.name))]


def _has_value(option: SamplingOption, value: Any) -> bool:
    return value is not None and not (option.repeats and len(value) == 0)


def make_transforms(chosen: Mapping[str, Any]) -> list[Transform]:
    """The transforms of these options; raises `PicoGPTError` for a value out of its range."""
    return [option.make(chosen[option.name]) for option in given(chosen)]


def decoding_options(
    encoder: Tokenizer,
    *,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    min_length: int | None = None,
    ignore_eos: bool = False,
    allow_unused: bool = False,
    slide: bool = False,
    lookup: bool = False,
    sample: bool = False,
    **chosen: Any,
) -> Options:
    """`decode`'s options from those of `TextOptions`; one of the table that is None is as if it was not given.

    Tokens are drawn where a seed or an option that asks for it is given, or with `sample`; otherwise the most likely
    one is taken. Raises `PicoGPTError` for a value out of its range, and TypeError for an option that does not exist.
    """
    if seed is not None:
        check_range("the seed", seed)
    transforms = make_transforms(chosen)
    if min_length is not None and encoder.eos_tokens:
        transforms.insert(0, sampling.min_length(min_length, encoder.eos_tokens))
    if encoder.unused and not allow_unused:
        transforms.insert(0, sampling.banned_tokens(encoder.unused))
    options: Options = {"transforms": transforms, "slide": slide, "lookup": lookup}
    options["eot_token"] = () if ignore_eos else encoder.eos_tokens
    if sample or seed is not None or any(option.samples for option in given(chosen)):
        options["rng"] = np.random.default_rng(seed)
    if stops := [stop] if isinstance(stop, str) else list(stop):
        options["stop"] = stop_criterion(encoder, stops)
    return options
