"""The page docs/course/figures.md: a table of figures for each of the five notes."""

from __future__ import annotations

from course.figure import Figure
from course.picogpt_notes import LEARNGPT, PICOGPT
from course.shakespeare import SCRATCH, STUDY_GROUP
from course.the_verdict import THE_VERDICT

NOTES: dict[str, tuple[str, list[Figure]]] = {  # title: the beginning of the note's file, and its figures
    "A study group's week 5: building a GPT (Korean)": ("000", STUDY_GROUP),
    "learnGPT, week 1 (Korean)": ("001", LEARNGPT),
    "Chapter 2 of Raschka's book (Korean)": ("002", THE_VERDICT),
    "Behind the scenes of ChatGPT: picoGPT (Korean)": ("003", PICOGPT),
    "GPT from scratch (English)": ("004", SCRATCH),
}
NOTEBOOKS = {
    1: "text to ids",
    2: "windows and batches",
    3: "the bigram",
    4: "averaging the past",
    5: "self-attention",
    6: "heads, blocks, and GPT-2's functions",
    7: "loading GPT-2, and decoding",
}
HEAD = """<!-- made by scripts/make_figures.py; the tests make it again -->

# The notes' figures

Five sets of notes lead from text to GPT-2. Here is everything they print, beside what picogpt computes in its place,
without torch: what torch would draw at random comes from `picogpt.training.torch_random`, which is equal to torch's
generator bit for bit. "Equal" means every printed digit, and every character up to white space. Long figures are cut
here, and compared whole.

The last column but one is the notebook of the course in which the figure comes:
{notebooks}.
"""
COUNT = """
{n} figures: {equal} are equal, and {nearly} to as many decimals as the row says. The other {others} differ, or there is
nothing to compute, for the reason that the row gives.
"""


def page() -> str:
    rows = {title: [(figure, *figure.row()) for figure in figures] for title, (_, figures) in NOTES.items()}
    verdicts = [verdict for of_note in rows.values() for *_, verdict in of_note]
    equal = verdicts.count("equal")
    nearly = sum(verdict.startswith("equal to") for verdict in verdicts)
    count = COUNT.format(n=len(verdicts), equal=equal, nearly=nearly, others=len(verdicts) - equal - nearly)
    notebooks = ", ".join(f"{number} {title}" for number, title in NOTEBOOKS.items())
    tables = [table(title, of_note) for title, of_note in rows.items()]
    return "\n".join([HEAD.format(notebooks=notebooks).rstrip(), count.rstrip(), *tables])


def table(title: str, rows: list[tuple[Figure, str, str, str]]) -> str:
    lines = [f"\n## {title}\n", "| what | theirs | ours | notebook | |", "|---|---|---|---|---|"]
    for figure, theirs, ours, verdict in rows:
        number = "–" if figure.notebook is None else figure.notebook
        lines.append(f"| {figure.what} | {code(theirs)} | {code(ours)} | {number} | {verdict} |")
    return "\n".join(lines) + "\n"


def code(words: str) -> str:
    """As code in a table's cell, where a bar would end it."""
    if not words:
        return "–"
    ticks = "``" if "`" in words else "`"
    return f"{ticks}{words}{ticks}".replace("|", "\\|")
