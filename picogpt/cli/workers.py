"""The options that say who does the work: one process, several, or the machines of a Dask cluster."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.cli.options import model_name
from picogpt.corpus.loop import Spread
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.corpus.model import ModelJob
    from picogpt.pretrained import GPT2

MANY = 300  # texts; processes that have to be started and to load the model win nothing on fewer
COPIES = 1 << 30  # bytes of weights that are not mapped from a file, in all processes, unless --workers asks for more


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes side by side (default: one for each core, for more than a few hundred texts)",
    )
    add("--dask", metavar="ADDRESS|local", help="workers of a Dask cluster, or of one that is started here")


@contextmanager
def spread(args: argparse.Namespace, job: ModelJob[Any, Any], is_much: bool) -> Iterator[Spread]:
    """What maps the job over batches, and whatever it needs for that."""
    if args.workers is not None and args.workers < 1:
        raise PicoGPTError(f"--workers must be at least 1, not {args.workers}")
    if args.dask is not None:
        with on_cluster(args, job) as side_by_side:
            yield side_by_side
    elif (n := args.workers or (default_workers(job) if is_much else 1)) > 1:
        from picogpt.corpus.processes import in_processes

        yield partial(in_processes, n_processes=n)
    else:
        yield map


def default_workers(job: ModelJob[Any, Any]) -> int:
    """A process for each core, unless their copies of the weights would take much memory."""
    from picogpt.corpus.processes import n_cores

    return n_cores() if n_cores() * job.n_bytes_of_copy() <= COPIES else 1


@contextmanager
def on_cluster(args: argparse.Namespace, job: ModelJob[Any, Any]) -> Iterator[Spread]:
    from picogpt.checkpoints.fingerprint import fingerprint
    from picogpt.corpus.cluster import connected, in_cluster, slow_workers

    if args.workers is not None and args.dask != "local":
        raise PicoGPTError(f"the cluster at {args.dask} has workers of its own: leave out --workers")
    name, models_dir = model_name(args), args.models_dir and str(Path(args.models_dir).resolve())
    place = str(Path(name).resolve()) if Path(name).exists() else name
    job.load = partial(load_there, place, models_dir, args.dtype, fingerprint(job.reader.params))
    with connected(args.dask, args.workers) as client:
        for handler in logging.getLogger("distributed").handlers:
            handler.setLevel(logging.CRITICAL)  # what is lost is told in one line
        for line in slow_workers(client):
            print(f"picogpt: {line}", file=sys.stderr)
        yield partial(in_cluster, client=client)


def load_there(name: str, models_dir: str | None, dtype: Any, digest: str) -> GPT2:
    """The model on another machine, downloaded if need be; raises `PicoGPTError` where its weights are not `digest`."""
    from picogpt.checkpoints.fingerprint import fingerprint
    from picogpt.pretrained import find_model, is_released, load

    try:
        find_model(name, models_dir)
    except PicoGPTError:
        if not is_released(name) and (name.count("/") != 1 or name.startswith((".", "/"))):
            raise
        from picogpt.download import download, find
        from picogpt.places import download_place

        collection = find(name)
        download(collection, download_place(models_dir) / collection.name)
    model = load(name, models_dir, dtype)
    if fingerprint(model.params) != digest:
        raise PicoGPTError(f"{name} on {socket.gethostname()} has other weights than it has here")
    return model
