"""What `picogpt inside` found, drawn for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from picogpt.cli import grid
from picogpt.cli.grid import Cell, Grid, fit, paint, shade
from picogpt.errors import printable

Row = dict[str, Any]
TOKEN_WIDTH = 7  # of a token in a cell: five layers then fit into 80 columns
N_NAMED = 5  # heads that were switched off; of more it says how many
PICTURE = 12  # the most cells along a side of a head in small


def lines(report: Row, colour: bool, width: int) -> Iterator[str]:
    """Each part of the report with its heading, and an empty line between them."""
    for i, name in enumerate(name for name in VIEWS if name in report):
        if i > 0:
            yield ""
        yield from VIEWS[name](report[name], report["tokens"], colour, width)


def next_lines(found: Sequence[Sequence[Row]], tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """The tokens with their ids, and the likeliest next ones."""
    yield "next tokens, probability in %"
    labels = [f"{label}  {token['id']:>5}" for label, token in zip(padded_labels(tokens), tokens, strict=True)]
    headings = [f"no. {i + 1}" for i in range(len(found[0]))]
    yield from grid.lines(Grid(labels, headings, [[likely(row) for row in rows] for rows in found], " "), colour, width)


def lens_lines(found: Sequence[Any], tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """What each layer would predict after each token."""
    yield "the logit lens: what each layer would predict"
    headings = [f"layer {i}" for i in range(len(found))]
    rows = [[likely(layer[i][0]) for layer in found] for i in range(len(tokens))]
    yield from grid.lines(Grid(padded_labels(tokens), headings, rows, " "), colour, width)


def likely(row: Row) -> Cell:
    percent = f"{100 * row['probability']:.0f}"
    return Cell(f"{fit(printable(row['token']), TOKEN_WIDTH)} {percent:>3}", row["probability"])


def padded_labels(tokens: Sequence[Row]) -> list[str]:
    """The position and the text of each token, all equally wide."""
    texts = [printable(token["token"]) for token in tokens]
    width = min(12, max(map(grid.columns, texts)))
    n_digits = len(str(len(texts) - 1))
    return [f"{i:>{n_digits}} {fit(text, width)}" for i, text in enumerate(texts)]


def ablated_lines(found: Row, tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """What the prediction after the last token becomes."""
    heads = [f"{layer}.{head}" for layer, head in found["heads"]]
    without = ", ".join(heads) if len(heads) <= N_NAMED else f"{len(heads)} heads"
    yield f"what comes after the prompt, in %, with all heads and without {without}"
    labels = [f"{row['id']:>5} {printable(row['token'])}" for row in found["next"]]
    rows = [[Cell(f"{100 * row[when]:7.2f}", row[when]) for when in ("before", "after")] for row in found["next"]]
    yield from grid.lines(Grid(labels, ["before", "after"], rows), colour, width)


def attention_lines(found: Row, tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """One head: a row for each query, a column for each key, and beside the query where it looks most."""
    yield f"attention of head {found['layer']}.{found['head']}: each row looks at the columns to the left of it"
    pattern, labels = found["pattern"], padded_labels(tokens)
    n_digits = len(str(len(tokens) - 1))
    most = [max(range(len(row)), key=row.__getitem__) for row in pattern]
    labels = [
        f"{label} → {best:>{n_digits}} {100 * row[best]:3.0f}%"
        for label, best, row in zip(labels, most, pattern, strict=True)
    ]
    rows = [
        [Cell("" if colour else 2 * shade(p), p) if key <= query else Cell("") for key, p in enumerate(row)]
        for query, row in enumerate(pattern)
    ]
    headings = [f"{key % 100:>2}" for key in range(len(tokens))]
    yield from grid.lines(Grid(labels, headings, rows, ""), colour, width)


def heads_lines(found: Sequence[Any], tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """All heads in small, those of a layer side by side; of a long prompt a cell is the most of several positions."""
    side = min(PICTURE, len(tokens))
    box = max(side, 5)
    n_beside = max(1, (width + 1) // (box + 1))
    yield "attention of all heads: queries downward, keys to the right"
    for layer, patterns in enumerate(found):
        for start in range(0, len(patterns), n_beside):
            part = range(start, min(start + n_beside, len(patterns)))
            yield " ".join(fit(f"{layer}.{head}", box) for head in part).rstrip()
            pictures = [picture(patterns[head], side, colour) for head in part]
            for cells in zip(*pictures, strict=True):
                yield " ".join(row + " " * (box - side) for row in cells).rstrip()


def picture(pattern: Sequence[Sequence[float]], side: int, colour: bool) -> list[str]:
    """A pattern in `side` rows of as many characters."""
    n = len(pattern)
    bins = [range(i * n // side, (i + 1) * n // side) for i in range(side)]
    rows = []
    for i, queries in enumerate(bins):
        most = [max(pattern[q][k] for q in queries for k in keys) for keys in bins[: i + 1]]
        rows.append("".join(paint(" ", p, True) if colour else shade(p) for p in most) + " " * (side - i - 1))
    return rows


def attribution_lines(found: Row, tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """A row for each layer: what its heads, its feed-forward network and the bias of its attention add to the logit."""
    yield f"what adds to the logit of {found['token']!r} after the prompt"
    parts = [
        [*heads, mlp, bias]
        for heads, mlp, bias in zip(found["heads"], found["mlps"], found["attn_biases"], strict=True)
    ]
    largest = max(abs(part) for row in parts for part in row) or 1
    headings = [*(f"head {i}" for i in range(len(found["heads"][0]))), "mlp", "bias"]
    rows = [[Cell(f"{part:+7.2f}", part / largest) for part in row] for row in parts]
    yield from grid.lines(Grid([f"layer {i}" for i in range(len(rows))], headings, rows), colour, width)
    yield ""
    for name, part in (("embed", "embed"), ("pos_embed", "pos_embed"), ("bias of ln_f", "ln_f_bias")):
        yield f"{name:<14}{found[part]:+8.2f}"
    yield f"{'logit, the sum':<14}{found['logit']:+8.2f}"


def shapes_lines(found: Sequence[Row], tokens: Sequence[Row], colour: bool, width: int) -> Iterator[str]:
    """The way of the data, a line for each value; where the terminal is narrow the source is cut off."""
    name_width = max(len(row["name"]) for row in found)
    shapes = ["×".join(map(str, row["shape"])) for row in found]
    shape_width = max(map(len, shapes))
    yield f"{'value':<{name_width}}  {'shape':<{shape_width}}  {'norm':>9}  model.py"
    for row, shape in zip(found, shapes, strict=True):
        start = f"{row['name']:<{name_width}}  {shape:<{shape_width}}  {row['norm']:>9.4g}  {row['line']:>4}"
        rest = width - len(start) - 2
        yield f"{start}  {fit(row['source'], rest)}".rstrip() if rest > 1 else start


VIEWS: dict[str, Callable[[Any, Sequence[Row], bool, int], Iterator[str]]] = {  # in the order in which they are shown
    "next": next_lines,
    "lens": lens_lines,
    "ablated": ablated_lines,
    "attention": attention_lines,
    "heads": heads_lines,
    "attribution": attribution_lines,
    "shapes": shapes_lines,
}
