"""Multiple choice and cloze: which of several continuations does a model prefer, and is it the right one?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from picogpt.checkpoints.loaded import Model
from picogpt.corpus.jobs import Result, Row
from picogpt.corpus.model import Check, no_check
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError, shown
from picogpt.scoring.jobs import ScoringJob, between

GAP = "{}"  # where a choice goes; without it, after the text
RANKS = {"": "logprob", "_norm": "per_character", "_bytes": "per_byte"}  # as lm-evaluation-harness has acc, acc_norm …


class Question(NamedTuple):
    prefix: str
    separator: str
    choices: list[str]
    suffix: str
    answer: int | None


class ChoicesJob(ScoringJob[Question]):
    """Scores what each record has to choose from, and whether `answer`, a column, is what the model prefers.

    A choice takes the place of `{}` in the text, and is scored with all that comes after it; without `{}` it stands
    after the text, with a space or the `separator` between them. `acc` goes by the sum of the log-probabilities,
    `acc_norm` by that divided by the choice's characters, and `acc_bytes` by its bytes in UTF-8, as in
    lm-evaluation-harness.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        check: Check = no_check,
        *,
        column: str = "text",
        choices: str = "choices",
        answer: str | None = None,
        separator: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(load, check, details=False, **options)
        self.column, self.choices, self.answer, self.separator = column, choices, answer, separator
        figures = ("n_tokens", *RANKS.values(), "per_token", *(f"rank{name}" for name in RANKS))
        self.part_columns = (*figures, *(("is_answer",) if answer else ()), "choice")
        self.columns = (
            *self.part_columns,
            "n_choices",
            *(f"{kind}{name}" for kind in ("best", "acc") for name in RANKS),
        )

    def prepare(self, record: Record) -> Question:
        text = record.text(self.column)
        choices, labels = read_choices(record.fields.get(self.choices), self.choices)
        answer = None if self.answer is None else find_answer(record.fields.get(self.answer), choices, labels)
        for choice in choices:
            self.check(self.reader.encoder, text + choice)
        if GAP in text:
            prefix, _, suffix = text.partition(GAP)
            return Question(prefix, "", choices, suffix, answer)
        return Question(text, between(text, choices[0], self.separator), choices, "", answer)

    def measure(self, prepared: Sequence[Question]) -> Iterable[Result]:
        return map(self.result, prepared)

    def result(self, question: Question) -> Result:
        prefix, separator, choices, suffix, answer = question
        try:
            rows = self.reader.continuations(prefix, choices, separator, suffix)
        except PicoGPTError as error:  # it does not fit into the context
            return Result({}, (), str(error))
        summary: Row = {"n_choices": len(rows)}
        for name, figure in RANKS.items():
            order = sorted(range(len(rows)), key=lambda i: -rows[i][figure])  # of equals the first, as argmax has it
            summary[f"best{name}"] = choices[order[0]]
            for rank, i in enumerate(order, 1):
                rows[i][f"rank{name}"] = rank
            if answer is not None:
                summary[f"acc{name}"] = int(order[0] == answer)
        for i, row in enumerate(rows):
            row["is_answer"] = int(i == answer)
        return Result(summary, [{column: row[column] for column in self.part_columns} for row in rows])


def read_choices(value: Any, column: str) -> tuple[list[str], list[str]]:
    """The choices, and their labels where they have any.

    They are a list, also as JSON in a cell; or texts with bars between them; or `{"text": …, "label": …}`, as ARC has
    them. Raises `PicoGPTError` for anything else.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise PicoGPTError(f"the choices {shown(value)} are not JSON") from None
    elif isinstance(value, str):
        value = [choice.strip() for choice in value.split("|")]
    labels = []
    if isinstance(value, dict):
        labels, value = value.get("label", []), value.get("text")
    if not is_list_of_texts(value) or not is_list_of_texts(labels) or not value or not all(value):
        raise PicoGPTError(f"no choices in {column!r}: they are a list of texts, or texts with bars between them")
    return value, labels


def is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def find_answer(value: Any, choices: list[str], labels: list[str]) -> int:
    """The number of the right choice, from 0: that number itself, its label, its text, or its letter."""
    numbers, letters = [str(i) for i in range(len(choices))], [chr(65 + i) for i in range(len(choices))]
    if isinstance(value, int | str) and not isinstance(value, bool):
        for names in (labels, choices, numbers, letters) if isinstance(value, str) else (numbers,):
            if (text := str(value).strip()) in names:
                return names.index(text)
    raise PicoGPTError(f"the answer {shown(value)} is none of the {len(choices)} choices, nor the number of one from 0")
