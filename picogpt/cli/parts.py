"""`--output-dir`: a file of rows for each input, on whichever machine it is made."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from picogpt.cli.description import Description, compare
from picogpt.cli.progress import Progress
from picogpt.cli.workers import spread
from picogpt.errors import PicoGPTError
from picogpt.files import parse_json

if TYPE_CHECKING:
    from picogpt.corpus.model import ModelJob
    from picogpt.corpus.shape import Shape

META = "meta.json"  # beside the files


def run_parts(
    args: argparse.Namespace, job: ModelJob[Any, Any], description: Description, shape: Shape, needed: Sequence[str]
) -> None:
    """Make a file of rows of each input that has none yet."""
    from picogpt.corpus.partitions import PartsJob, parts_of
    from picogpt.corpus.storage import expand, names_in

    parts = parts_of([name for pattern in args.inputs for name in expand(pattern)], args.output_dir, args.form)
    there = names_in(args.output_dir)
    describe_parts(args.output_dir, description, META in there)
    to_do = [part for part in parts if Path(part.target).name not in there]
    work = PartsJob(job, shape, needed, args.format, getattr(args, "column", "text"), args.strict)
    n_bad = 0
    with (
        Progress(len(parts), unit="files") as progress,
        spread(args, job, len(to_do) > 1) as side_by_side,
    ):
        progress.advance(len(parts) - len(to_do), worked=False)
        for report in side_by_side(work, to_do):
            for message in report.bad:
                progress.say(f"{message}; left out")
            n_bad += report.n_bad
            progress.advance(1)
    if n_bad:
        print(f"picogpt: {n_bad} bad row{'s' if n_bad > 1 else ''} left out", file=sys.stderr)


def describe_parts(directory: str, description: Description, is_there: bool) -> None:
    """Write the description beside the parts, or hold it against that of the parts that are there."""
    from picogpt.corpus.storage import inside, keep, open_source

    path = inside(directory, META)
    if is_there:
        with open_source(path) as file:
            old = parse_json(file.read().decode("utf-8", "replace"), path)
        if differences := compare(old, description):
            raise PicoGPTError(f"{directory} was made with something else: {'; '.join(differences)}; name another one")
        return
    with TemporaryDirectory() as folder:
        finished = Path(folder) / META
        finished.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        keep(finished, path)
