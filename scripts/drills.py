"""What could go wrong, tried often: crashes, full disks, cut files, mutated files, closed streams, interrupts.

    python scripts/drills.py [NAME ...]

The suite has a short form of each of these drills. This script tries every point, and prints a line of the table in
docs/reliability.md for each. It ends with 1 when anything was lost or wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # children are forked
PICOGPT = [sys.executable, "-m", "picogpt"]


class Result(NamedTuple):
    """What was tried, how often, and what went wrong."""

    tried: str
    n: int
    wrong: list[str]


def training(work: Path) -> Iterator[Result]:
    """A run dies at, or finds the disk full at, each write, sync, rename and removal; then it is taken up again."""
    from picogpt.training.run import FORMATS
    from tests.training.crash_driver import main

    for format, full_disk in itertools.product(FORMATS, (False, True)):
        wrong, n = [], 0
        try:
            n = main(work / f"{format}-{full_disk}", format, full_disk)
        except AssertionError as error:
            wrong.append(str(error))
        what = "finds the disk full" if full_disk else "is killed"
        yield Result(f"`train --format {format}` {what} at each file operation, then resumed", n, wrong)


def vocabularies(work: Path) -> Iterator[Result]:
    """`train-tokenizer` likewise."""
    from picogpt.cli import main
    from picogpt.tokenizers import load_tokenizer
    from tests.crashes import crashes

    (work / "text").write_text("the thin thing " * 30)
    out = work / "out"
    argv = ["train-tokenizer", str(work / "text"), "-o", str(out), "--n-vocab", "262"]

    def learn() -> None:
        if main(argv):
            raise OSError("No space left")

    for full_disk in False, True:
        wrong, n = [], 0
        with contextlib.redirect_stderr(io.StringIO()):
            for n in crashes(learn, full_disk):
                if not ((out / "encoder.json").exists() and (out / "vocab.bpe").exists()) and main(argv):
                    wrong.append(f"operation {n}: a second attempt failed")
                elif load_tokenizer(out).n_vocab != 262:
                    wrong.append(f"operation {n}: another vocabulary")
                shutil.rmtree(out)
        yield Result(
            f"`train-tokenizer`, {'disk full' if full_disk else 'killed'} at each file operation", n + 1, wrong
        )


def scores(work: Path) -> Iterator[Result]:
    """An output of `score` is cut after each of its bytes, and continued."""
    import picogpt
    from picogpt.cli import main, score
    from picogpt.corpus import loop

    model = picogpt.load("shakespeare")  # once for many runs
    patch.object(score, "load_model", lambda args: model).start()
    patch.object(loop, "CHUNK", 3).start()
    texts = work / "te\\xts.txt"
    texts.write_text('To be\nor "not" to be\n\nthat is\n')
    for suffix, unit in itertools.product((".csv", ".jsonl"), ("--texts", "--words", "--tokens")):
        argv = ["score", str(texts), str(texts), "--lines", unit, "--model", "shakespeare", "--output"]
        whole, part = work / f"whole{unit}{suffix}", work / f"part{unit}{suffix}"
        with contextlib.redirect_stderr(io.StringIO()):
            main([*argv, str(whole)])
            expected = whole.read_bytes()
            wrong = []
            for n in range(len(expected) + 1):
                part.write_bytes(expected[:n])
                shutil.copy(f"{whole}.meta.json", f"{part}.meta.json")
                if main([*argv, str(part), "--resume"]) or part.read_bytes() != expected:
                    wrong.append(f"cut after {n} bytes")
        yield Result(
            f"`score {unit} --output x{suffix}` cut after each byte, then `--resume`", len(expected) + 1, wrong
        )


def streams(work: Path) -> Iterator[Result]:
    """Commands whose streams are closed, full, or read by nobody: no traceback, the documented status."""
    (work / "text").write_text("to be or not to be, that is the question. " * 40)
    small = "--steps 2 --n-layer 1 --n-embd 8 --n-head 2 --n-ctx 8 --n-vocab 260"
    commands = {
        "ROMEO: -n 3": 1,
        "score hello": 1,
        "compare a b": 1,
        "tokenize hello": 1,
        "info shakespeare": 1,
        "verify shakespeare": 1,
        "--help": 1,
        "--version": 1,
        f"ladder --data {work}/text --steps 1": 1,
        f"train {work}/text {small} --out {work}/run$RANDOM$RANDOM": 1,
        f"train-tokenizer {work}/text -o {work}/v$RANDOM$RANDOM --n-vocab 260": 0,
        f"convert shakespeare -o {work}/c$RANDOM$RANDOM": 0,
    }
    failing = (">/dev/full", ">&-", ">&- 2>&-", ">&- 2>&- <&-")
    harmless = ("2>&-", "2>/dev/full", "<&-", "| true", "2>&1 >/dev/null | true")
    n, wrong = 0, []
    for (command, status), how in itertools.product(commands.items(), failing + harmless):
        expected = status if how in failing else 0
        shell = f"{sys.executable} -m picogpt {command} {how}; exit ${{PIPESTATUS[0]}}"
        result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
        n += 1
        if result.returncode != expected or "Traceback" in result.stderr + result.stdout:
            wrong.append(f"{command} {how}: {result.returncode} {result.stderr[-200:]}")
    yield Result("commands with a stream that is closed, full, or read by nobody", n, wrong)


def interrupts(work: Path) -> Iterator[Result]:
    """Ctrl-C at any moment, that of the interpreter's own start included, where a traceback is not ours."""
    rng, wrong, n = random.Random(0), [], 300
    for _ in range(n):
        delay = rng.uniform(0, 0.6)
        process = subprocess.Popen([*PICOGPT, "ROMEO:", "-n", "200"], stdout=-3, stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        is_ours = not err.startswith("Fatal Python error") and f"{ROOT}/picogpt/" in err
        if ("Traceback" in err and is_ours) or process.returncode not in (0, 1, 130, -signal.SIGINT):
            wrong.append(f"after {delay:.3f} s: {process.returncode} {err[-200:]}")
    yield Result("Ctrl-C in the first 0.6 s of a command: a traceback of ours", n, wrong)


def readers(work: Path) -> Iterator[Result]:
    """Every file that a model is read from, mutated: read right or refused in one line, within a second."""
    from tests.checkpoints.mutations import READERS, drill

    for name, reader in READERS.items():
        outcomes = drill(name, 20_000, work / name, limit=1)
        what = f"{reader.file}, its checksums put right" if "checksums" in name else reader.file
        yield Result(
            f"mutated `{what}`: {outcomes.n_read:,} read, {outcomes.n_refused:,} refused, the slowest in "
            f"{1000 * outcomes.slowest:.0f} ms",
            20_000,
            outcomes.wrong,
        )


def serving(work: Path) -> Iterator[Result]:
    """Requests of all kinds, sixteen at a time, some of whose clients go away: none is lost, and no memory is.

    The cache of prompts is small, so that it is full after the first hundred.
    """
    import httpx
    from clients import serving as served

    import picogpt

    model = picogpt.load("shakespeare")
    words = ["ROMEO:", "JULIET:", "My kingdom for a", "To be, or not to be", "Once more unto the breach"]
    expected = {word: model.generate(word, 24) for word in words}
    wrong: list[str] = []

    def request(number: int) -> None:
        rng = random.Random(number)
        word = rng.choice(words)
        body = {"prompt": word, "max_tokens": 24, "temperature": 0}
        kind = rng.choice(["whole", "stream", "gone", "gone", "echo", "many", "score", "inside", "embed", "bad"])
        try:
            if kind == "whole":
                found = post("/v1/completions", body).json()["choices"][0]["text"]
            elif kind == "stream":
                lines = post("/v1/completions", {**body, "stream": True}).text.split("\n\n")
                parts = [json.loads(line[6:])["choices"][0]["text"] for line in lines[:-2]]
                found = "".join(parts) if lines[-2] == "data: [DONE]" else lines[-2]
            elif kind == "gone":
                long = {
                    **body,
                    "stream": rng.random() < 0.8,
                    "max_tokens": 200,
                    "temperature": 1,
                    "n": rng.randint(1, 3),
                }
                left = client.stream("POST", "/v1/completions", json=long, timeout=rng.uniform(0.05, 1))
                with contextlib.suppress(httpx.ReadTimeout), left as answer:
                    for _ in zip(range(rng.randint(1, 40)), answer.iter_lines(), strict=False):
                        pass
                return
            elif kind == "echo":
                answer = post("/v1/completions", {**body, "echo": True, "logprobs": 2}).json()["choices"][0]
                found = answer["text"].removeprefix(word)
                assert answer["logprobs"]["token_logprobs"][0] is None
            elif kind == "many":
                long = {**body, "n": 4, "temperature": 0.9, "seed": number}
                assert len(post("/v1/completions", long).json()["choices"]) == 4
                return
            elif kind == "bad":
                assert client.post("/v1/completions", json={**body, "top_p": 7}).status_code == 400
                return
            else:
                route = {"score": "/v1/score", "inside": "/inside", "embed": "/v1/embeddings"}[kind]
                post(route, {{"score": "text", "inside": "prompt", "embed": "input"}[kind]: word})
                return
            if found != expected[word]:
                wrong.append(f"request {number}, {kind}: {found!r}")
        except Exception as error:
            wrong.append(f"request {number}, {kind}: {error!r}")

    def post(route: str, body: dict[str, object]) -> httpx.Response:
        return client.post(route, json=body).raise_for_status()

    def resident(pid: int) -> int:  # kB
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    n, n_first = 1000, 100
    with (
        served("--model", "shakespeare", "--cache-mb", "2", "--queue", "1000") as place,
        httpx.Client(base_url=f"http://{place.host}:{place.port}", timeout=120) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        list(pool.map(request, range(n_first)))
        before = resident(place.pid)
        list(pool.map(request, range(n_first, n)))
        time.sleep(1)
        after, stats = resident(place.pid), client.get("/metrics").text
    if after > 1.05 * before:
        wrong.append(f"memory has grown from {before} to {after} kB")
    if "picogpt_batch_size 0" not in stats or "picogpt_queue 0" not in stats:
        wrong.append("something still runs")
    yield Result(f"requests of mixed kinds, a fifth of them left; {before >> 10} MB, then {after >> 10} MB", n, wrong)


DRILLS: dict[str, Callable[[Path], Iterator[Result]]] = {
    "training": training,
    "vocabularies": vocabularies,
    "scores": scores,
    "streams": streams,
    "interrupts": interrupts,
    "readers": readers,
    "serving": serving,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DRILLS)} (default: all)")
    names = parser.parse_args().names or list(DRILLS)
    print("| tried | how often | wrong | minutes |\n|---|---:|---:|---:|")
    all_wrong: list[str] = []
    for name in names:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            for result in DRILLS[name](Path(work)):
                minutes, start = (time.perf_counter() - start) / 60, time.perf_counter()
                print(f"| {result.tried} | {result.n:,} | {len(result.wrong)} | {minutes:.1f} |", flush=True)
                all_wrong += [f"{result.tried}: {what}" for what in result.wrong]
    print(*all_wrong, sep="\n", file=sys.stderr)
    return 1 if all_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
