"""`picogpt download NAME`: get GPT-2, or a course text, so that it is whole or not there."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.cli.options import Parser
from picogpt.places import download_place

if TYPE_CHECKING:
    from tqdm import tqdm

    from picogpt.download import Collection

DESCRIPTION = """\
Get a model into MODELS/NAME, or a text into data/. Files that are here and whole are not fetched again, and what was
interrupted resumes where it stopped: run the same command again. Every file is verified before it gets its name, and
a model's SHA256SUMS are kept beside it. HF_ENDPOINT is Hugging Face's hub or a mirror of it, and HF_TOKEN opens what is
private there. Where a file's size is not known beforehand, no more than 8 GiB of weights and
16 MiB of anything else are taken.
"""


def parser() -> argparse.ArgumentParser:
    from picogpt.download.catalogue import HUGGING_FACE_MODELS, OPENAI_MODELS, TEXTS

    parser = Parser(prog="picogpt download", description=DESCRIPTION)
    parser.add_argument(
        "name",
        metavar="NAME",
        help=f"{', '.join(OPENAI_MODELS)} (OpenAI's files), {', '.join(HUGGING_FACE_MODELS)} (Hugging Face's), "
        f"OWNER/NAME or OWNER/NAME@REVISION (any GPT-2 at Hugging Face), {', '.join(TEXTS)} (texts)",
    )
    parser.add_argument("--source", choices=["openai", "hf"], help="whose files, whichever name was given")
    parser.add_argument(
        "--base-url",
        default=os.environ.get("PICOGPT_BASE_URL"),
        metavar="URL",
        help="take them from here instead, under the same paths (default: $PICOGPT_BASE_URL)",
    )
    parser.add_argument(
        "--models-dir",
        "--models_dir",
        dest="models_dir",
        metavar="MODELS",
        help="where the model's directory shall be (default: $PICOGPT_MODELS_DIR, else ./models where there is one, "
        "else your own folder, in which every command looks)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the files, their sizes and the target; fetch nothing"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt.download import download, find

    collection = find(args.name, args.source, args.base_url and args.base_url.rstrip("/"))
    directory = download_place(args.models_dir) / collection.name if collection.is_model else Path("data")
    if args.dry_run:
        print_plan(collection, directory)
        return 0
    reporter = Terminal(args.quiet)
    start = time.monotonic()
    try:
        fetched = download(collection, directory, reporter=reporter)
    finally:
        reporter.close()
    if fetched:
        seconds, n_bytes = time.monotonic() - start, reporter.n_bytes
        speed = n_bytes / max(seconds, 1e-3) / 1e6
        reporter.note(
            f"{collection.name} is whole in {directory}: {len(fetched)} files fetched, "
            f"{n_bytes:,} bytes in {seconds:.1f} s ({speed:.1f} MB/s)"
        )
    else:
        reporter.note(f"{collection.name} is whole in {directory} already")
    return 0


def print_plan(collection: Collection, directory: Path) -> None:
    from picogpt.download import plan
    from picogpt.download.http import without_secrets

    sizes = plan(collection, directory)
    width = max(map(len, sizes))
    for name, (size, present) in sizes.items():
        shown = "?" if size is None else f"{size:,}"
        print(f"{name:{width}}  {shown:>15}{'  here already' if present else ''}")
    to_fetch = [size for size, present in sizes.values() if not present]
    total = f"{sum(size or 0 for size in to_fetch):,} bytes"
    print(f"to fetch  {'at least ' if None in to_fetch else ''}{total}")
    print(f"from      {without_secrets(collection.files[0].urls[0]).rpartition('/')[0]}")
    print(f"into      {directory}")


class Terminal:
    """Reports progress on stderr: a line for what happens, and on a terminal a bar for each file."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.file, self.done, self.n_bytes = "", 0, 0
        self.bar: tqdm[Any] | None = None

    def note(self, line: str) -> None:
        if not self.quiet:
            from tqdm import tqdm

            tqdm.write(f"picogpt: {line}", file=sys.stderr)

    def progress(self, name: str, done: int, size: int | None) -> None:
        if name != self.file or self.bar is None:
            self.close()
            self.file, self.done, self.bar = name, done, self.new_bar(name, done, size)
        self.n_bytes += max(0, done - self.done)
        self.bar.update(done - self.done)
        self.done = done

    def new_bar(self, name: str, done: int, size: int | None) -> tqdm[Any]:
        from tqdm import tqdm

        silent = self.quiet or not sys.stderr.isatty()
        return tqdm(desc=name, initial=done, total=size, unit="B", unit_scale=True, file=sys.stderr, disable=silent)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
