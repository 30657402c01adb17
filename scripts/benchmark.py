"""How fast picogpt is, beside the memory's own speed and beside its peers, all measured in one run.

    python scripts/benchmark.py [--quick] [--peers transformers,llama.cpp] [--json FILE] [--plot FILE]

The contenders of a row take turns (A B A B …), so that a busy moment of the machine meets them all; what counts is the
median, and the ratio to another contender of the same row. The model is random, of GPT-2 124M's shape, in float32.
`--compare FILE` sets a run beside an earlier one's JSON, if their settings are the same.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("transformers", "llama.cpp", "ctranslate2", "tokenizers", "tiktoken")
PICOGPT = (sys.executable, "-m", "picogpt")
PAUSE = 0.2  # seconds between contenders: an idle thread pool keeps spinning for about half of that

Contender = Callable[[], float]  # does the work once; returns the figure


class Goal(NamedTuple):
    """`ours` should be at most (for a rate: at least) `ratio` times `other`."""

    ours: str
    other: str
    ratio: float


@dataclass
class Row:
    """One kind of work, and who does it. A unit "… / s" is a rate, better when higher; any other, when lower."""

    title: str
    unit: str
    contenders: Mapping[str, Contender]
    goals: list[Goal] = field(default_factory=list)
    repeats: int = 5

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/ s")


def measure(row: Row, pause: float) -> dict[str, list[float]]:
    """Every contender's figures, taken in turns `pause` seconds apart; the first turn only warms up."""
    figures: dict[str, list[float]] = {name: [] for name in row.contenders}
    for turn in range(row.repeats + 1):
        for name, contender in row.contenders.items():
            time.sleep(pause)
            figure = contender()
            if turn > 0:
                figures[name].append(figure)
    return figures


def report(row: Row, figures: Mapping[str, list[float]]) -> list[str]:
    """Lines of Markdown: the row's table, and how the goals stand."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    lines = [f"### {row.title}", "", f"| | {row.unit} | from – to |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {medians[name]:.4g} | {min(values):.4g} – {max(values):.4g} |" for name, values in figures.items()
    ]
    lines.append("")
    for ours, other, wanted in row.goals:
        if ours in medians and other in medians:
            ratio = medians[ours] / medians[other]
            met = ratio >= wanted if row.is_rate else ratio <= wanted
            bound = "at least" if row.is_rate else "at most"
            lines.append(f"- {ours} is {ratio:.2f} × {other}; wanted {bound} {wanted:g}: {'met' if met else 'MISSED'}")
    return [*lines, ""] if row.goals else lines


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """All that two runs must have in common to be compared."""
    import numpy as np
    from engines import PEERS as PACKAGES
    from engines import versions

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return {
        "processor": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "python": platform.python_version(),
        "numpy": f"{np.__version__} with {blas['name']} {blas['version']}",
        "peers": {peer: versions(PACKAGES[peer]) for peer in args.peers},
        "shape": args.hparams,
    }


class Machine:
    """The model on the disk, and every engine that could be built on it."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        import numpy as np
        from engines import CTranslate2, LlamaCpp, PicoGPT, Transformers

        from picogpt.checkpoints import read_checkpoint, write_huggingface
        from picogpt.performance.int8 import quantize_params
        from picogpt.performance.layout import for_decoding
        from picogpt.tokenizers import ByteLevelBPE
        from picogpt.training.trainer import init_params

        self.hparams, self.n_threads, self.quick, self.peers = args.hparams, args.threads, args.quick, args.installed
        self.n_ctx, n_head = self.hparams["n_ctx"], self.hparams["n_head"]
        self.rng = np.random.default_rng(0)
        self.checkpoint = folder
        write_huggingface(folder, self.hparams, init_params(self.hparams, self.rng))
        ByteLevelBPE.gpt2().save(folder, "huggingface")
        _, mapped = read_checkpoint(folder)
        self.params = for_decoding(mapped)

        self.mapped = PicoGPT(mapped, n_head, "picogpt, mapped")
        self.picogpt = PicoGPT(self.params, n_head)
        self.int8 = PicoGPT(quantize_params(mapped), n_head, "picogpt int8")
        self.engines: list[Any] = [self.picogpt]
        if "transformers" in self.peers:
            self.engines.append(Transformers(folder, args.threads))
        if "llama.cpp" in self.peers:
            self.engines += [LlamaCpp(folder, args.threads, dtype) for dtype in ("f32", "f16")]
        self.ctranslate2 = []
        if "ctranslate2" in self.peers:
            self.ctranslate2 = [CTranslate2(folder, args.threads, dtype) for dtype in ("float32", "int8")]

    def prompt(self, n: int) -> list[int]:
        return self.rng.integers(self.hparams["n_vocab"], size=n).tolist()

    def weights(self) -> list[Any]:
        """The arrays that a token's pass multiplies by, in its order."""
        layers = [
            block[room][name]["w"]
            for block in self.params["blocks"]
            for room, name in (("attn", "c_attn"), ("attn", "c_proj"), ("mlp", "c_fc"), ("mlp", "c_proj"))
        ]
        return [*layers, self.params["wte"].T]

    def floor(self, n_past: int, n: int) -> Contender:
        """ms to read the weights once by BLAS's own matrix-vector product, and `n_past` keys and values as fast.

        They are read once for each of `n` tokens; the first time does not count, as for the tokens.
        """
        import numpy as np
        from engines import seconds_a_step

        weights = self.weights()
        vectors = {len(w): np.ones((1, len(w)), np.float32) for w in weights}
        n_cached = 2 * self.hparams["n_layer"] * n_past * self.hparams["n_embd"]
        scale = 1 + n_cached / sum(w.size for w in weights)

        def read() -> float:
            times = []
            for _ in range(n + 1):
                for w in weights:
                    vectors[len(w)] @ w
                times.append(time.perf_counter())
            return 1e3 * scale * seconds_a_step(times)

        return read


def decoding(machine: Machine) -> Iterator[Row]:
    from engines import seconds_a_step

    from picogpt.performance.thresholds import MANY_TOKENS

    def decode(engine: Any, prompt: list[int], n: int) -> float:
        return 1e3 * seconds_a_step(engine.token_times(prompt, n + 1))

    first_goals = [
        Goal("picogpt", "floor", 1.15),
        Goal("picogpt", "transformers", 0.8),
        Goal("picogpt", "llama.cpp f32", 1.0),
        Goal("picogpt int8", "picogpt", 1 / 0.7),
    ]
    for n_past, n, goals, repeats in ((16, 64, first_goals, 15), (900, 32, [Goal("picogpt", "floor", 1.25)], 9)):
        prompt = machine.prompt(n_past)
        as_mapped = [machine.mapped] if n < MANY_TOKENS else []  # more tokens arrange the weights themselves
        engines = [*machine.engines, *as_mapped, machine.int8, *machine.ctranslate2]
        contenders: dict[str, Contender] = {"floor": machine.floor(n_past + n // 2, n)}
        contenders |= {engine.name: partial(decode, engine, prompt, n) for engine in engines}
        yield Row(f"Decode one token at a time, {n} tokens after {n_past}", "ms / token", contenders, goals, repeats)


def reading(machine: Machine) -> Iterator[Row]:

    def read(engine: Any, prompt: list[int]) -> float:
        return 1e3 * seconds(lambda: engine.read(prompt))

    for n in (128, 512, 1024):
        prompt = machine.prompt(n)
        contenders = {engine.name: partial(read, engine, prompt) for engine in machine.engines}
        goals = [Goal("picogpt", "transformers", 1.25), Goal("picogpt", "llama.cpp f32", 0.9)]
        yield Row(f"Read a prompt of {n} tokens, last logits", "ms", contenders, goals)


def many_rows(machine: Machine) -> Iterator[Row]:
    from engines import seconds_a_step

    n_prompt, n = 16, 64

    def rate(engine: Any, n_rows: int) -> float:
        prompts = [machine.prompt(n_prompt) for _ in range(n_rows)]
        return n_rows / seconds_a_step(engine.batch_times(prompts, n + 1))

    contenders = {
        f"{engine.name}, {n_rows} row{'s' * (n_rows > 1)}": partial(rate, engine, n_rows)
        for n_rows in (1, 16, 32)
        for engine in machine.engines
        if hasattr(engine, "batch_times")
    }
    goals = [Goal("picogpt, 16 rows", "picogpt, 1 row", 5), Goal("picogpt, 32 rows", "picogpt, 1 row", 8)]
    goals += [Goal(f"picogpt, {i} rows", f"transformers, {i} rows", 1) for i in (16, 32)]
    yield Row(f"Decode several rows at once, {n} tokens after {n_prompt}", "tokens / s", contenders, goals)


def beside_a_busy_process(machine: Machine) -> Iterator[Row]:
    """Another process keeps one core busy; "one thread" is what BLAS does when it is told to use one."""
    from engines import seconds_a_step

    from picogpt.performance.threads import one_blas_thread

    def busy(contender: Contender, one_thread: bool = False) -> float:
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.5)
            with one_blas_thread() if one_thread else nullcontext():
                return contender()
        finally:
            other.kill()
            other.wait()

    def decode(engine: Any, prompts: list[list[int]], n: int) -> float:
        return 1e3 * seconds_a_step(engine.batch_times(prompts, n + 1))

    def read(engine: Any, prompt: list[int]) -> float:
        return 1e3 * statistics.mean(seconds(lambda: engine.read(prompt)) for _ in range(4))

    prompts = [machine.prompt(16) for _ in range(16)]
    works: list[tuple[str, str, Callable[[Any], float]]] = [
        (
            "decode one token at a time, 64 tokens after 16",
            "ms / token",
            lambda engine: decode(engine, prompts[:1], 64),
        ),
        ("decode 16 rows at once", "ms / step", lambda engine: decode(engine, prompts, 24)),
        ("read a prompt of 128 tokens", "ms", lambda engine: read(engine, machine.prompt(128))),
    ]
    for title, unit, work in works:
        contenders: dict[str, Contender] = {
            "picogpt": partial(busy, partial(work, machine.picogpt)),
            "picogpt, one thread": partial(busy, partial(work, machine.picogpt), one_thread=True),
        }
        contenders |= {
            engine.name: partial(busy, partial(work, engine))
            for engine in machine.engines[1:]
            if hasattr(engine, "batch_times")
        }
        goals = [Goal("picogpt", "picogpt, one thread", 1.15)]
        yield Row(f"Beside one busy process: {title}", unit, contenders, goals, repeats=5)


def scoring(machine: Machine) -> Iterator[Row]:
    n_texts = 2 if machine.quick else 8
    texts = [machine.prompt(1024) for _ in range(n_texts)]

    def rate(engine: Any) -> float:
        return sum(map(len, texts)) / seconds(lambda: engine.score(texts))

    contenders = {engine.name: partial(rate, engine) for engine in machine.engines if hasattr(engine, "score")}
    goals = [Goal("picogpt", "transformers", 0.8)]
    yield Row(f"Score {n_texts} texts of {len(texts[0])} tokens", "tokens / s", contenders, goals, repeats=2)


def inspection(machine: Machine) -> Iterator[Row]:
    import numpy as np

    from picogpt import gpt2, model
    from picogpt.inspection import activation_patching, trace

    params, n_head, ids = machine.mapped.params, machine.hparams["n_head"], machine.prompt(64)

    def milliseconds(work: Callable[[], object]) -> Contender:
        return lambda: 1e3 * seconds(work)

    contenders = {
        "picogpt, no values": milliseconds(lambda: gpt2(ids, **params, n_head=n_head)),
        "model.py, no values": milliseconds(lambda: model.gpt2(ids, **params, n_head=n_head)),
        "picogpt": milliseconds(lambda: trace(ids, params, n_head)),
        "picogpt, patterns": milliseconds(lambda: trace(ids, params, n_head, "*.pattern")),
    }
    for engine in machine.engines:
        if engine.name == "transformers":
            for ours, theirs in zip(machine.mapped.look_inside(ids), engine.look_inside(ids), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
            contenders["transformers, states and patterns"] = milliseconds(partial(engine.look_inside, ids))
    goals = [Goal("picogpt", f"{name}, no values", 1.5) for name in ("picogpt", "model.py")]
    yield Row("Trace every value of 64 tokens", "ms", contenders, goals, repeats=9)

    clean, corrupted = machine.prompt(16), machine.prompt(16)

    def patch_all() -> float:
        return seconds(lambda: activation_patching(clean, corrupted, params, n_head, target=0, foil=1))

    title = "Patch every layer, position and head of a 16-token prompt"
    yield Row(title, "s", {"picogpt": patch_all}, repeats=2)


def lookup(machine: Machine) -> Iterator[Row]:
    from picogpt.decoding.loop import generate_stream

    n_head, n = machine.hparams["n_head"], machine.n_ctx // 4
    prompt = machine.prompt(32) * 4  # the random model repeats itself too

    def decode(lookup: bool) -> float:
        stream = generate_stream(prompt, machine.params, n_head, n, lookup=lookup)
        next(stream)
        return 1e3 * seconds(lambda: list(stream)) / (n - 1)

    contenders = {"picogpt": partial(decode, False), "picogpt, lookup": partial(decode, True)}
    yield Row("Decode text that repeats itself", "ms / token", contenders, repeats=3)


def scheduler(machine: Machine) -> Iterator[Row]:
    """What serving costs besides HTTP; all in the scheduler's thread, as BLAS heeds one thread's number of threads."""
    from engines import seconds_a_step

    from picogpt.server.scheduler import Done, Event, Failure, Request, Scheduler, Token

    served = Scheduler(machine.params, machine.hparams["n_head"])

    def token_times(prompts: list[list[int]], n: int, *later: list[int]) -> list[list[float]]:
        """When each prompt's n tokens come; the `later` prompts are submitted with the fifth token of the first."""
        times: list[list[float]] = [[] for _ in prompts]
        ended: SimpleQueue[Event] = SimpleQueue()

        def submit(prompts: Sequence[list[int]], n: int, times: list[list[float]]) -> None:
            for prompt, own in zip(prompts, times, strict=True):
                served.submit(Request(prompt, n, partial(receive, own)))

        def receive(own: list[float], event: Event) -> None:
            if isinstance(event, Token):
                own.append(time.perf_counter())
                if own is times[0] and len(own) == 5:
                    submit(later, 1, [[] for _ in later])
            elif isinstance(event, (Done, Failure)):
                ended.put(event)

        served.run(lambda: submit(prompts, n, times)).result()
        for _ in [*prompts, *later]:
            if isinstance(event := ended.get(), Failure):
                raise event.error
        return times

    n_prompt, n = 16, 64

    def rate(n_rows: int) -> float:
        times = token_times([machine.prompt(n_prompt) for _ in range(n_rows)], n + 1)
        return n_rows / seconds_a_step(times[-1])

    def offline(n_rows: int) -> float:
        prompts = [machine.prompt(n_prompt) for _ in range(n_rows)]
        return n_rows / served.run(lambda: seconds_a_step(machine.picogpt.batch_times(prompts, n + 1))).result()

    def longest_gap(*later: list[int]) -> float:
        times = token_times([machine.prompt(n_prompt) for _ in range(15)], 24, *later)
        return 1e3 * max(after - before for own in times for before, after in pairwise(own))

    def first_token(prompt: list[int]) -> float:
        return 1e3 * seconds(lambda: token_times([prompt], 1))

    for n_rows, ratio in ((1, 1 / 1.1), (4, 0.85), (16, 0.85)):
        contenders: dict[str, Contender] = {
            "picogpt, served": partial(rate, n_rows),
            "picogpt, offline": partial(offline, n_rows),
        }
        streams = f"{n_rows} stream{'s' * (n_rows > 1)}"
        goals = [Goal("picogpt, served", "picogpt, offline", ratio)]
        yield Row(f"Decode {streams} in the scheduler, {n} tokens after {n_prompt}", "tokens / s", contenders, goals)

    long = machine.n_ctx // 2
    contenders = {
        "nobody joins": longest_gap,
        f"{long} tokens are read": lambda: longest_gap(machine.prompt(long)),
    }
    yield Row("The longest time between two tokens of 15 streams", "ms", contenders)

    known = machine.prompt(long)
    contenders = {
        "known": lambda: first_token([*known, *machine.prompt(8)]),
        "new": lambda: first_token(machine.prompt(long + 8)),
    }
    goals = [Goal("known", "new", 0.2)]
    yield Row(f"The first token after {long} tokens that were read before, and 8 others", "ms", contenders, goals)
    served.close(0)


class Process(NamedTuple):
    output: str
    seconds: float
    peak: float  # MiB resident


# Started by this process a command would begin with our memory as its peak; a small process in between has little.
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
output = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True).stdout
seconds = time.perf_counter() - start
print(json.dumps([output, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""


def run(*command: str, threads: int) -> Process:
    """Run a command to its end."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}", **thread_variables(threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # once installed, picogpt has its byte code, as its peers have
    launched = [sys.executable, "-c", LAUNCHER, *command]
    result = subprocess.run(launched, stdout=subprocess.PIPE, env=environment, check=True)
    return Process(*json.loads(result.stdout))


class Load:
    """Some streams at once. A run has several figures: each row takes its own of the same runs."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.runs: list[Any] = []

    def figure(self, name: str) -> Contender:
        turns = itertools.count()

        def of_next_run() -> float:
            turn = next(turns)
            if turn == len(self.runs):
                self.runs.append(self.run())
            return float(getattr(self.runs[turn], name))

        return of_next_run


WORDS = ("time", "way", "day", "man", "life", "work", "part", "place", "case", "week", "group", "point", "hand", "fact")


def serving(machine: Machine) -> Iterator[Row]:
    """Servers in processes of their own and clients on the loopback, beside decoding without a server."""
    import clients
    from engines import seconds_a_step

    n_prompt, n = 16, 16 if machine.quick else 64

    def body(prompt: list[int]) -> dict[str, Any]:
        options = {"temperature": 0, "max_tokens": n, "ignore_eos": True}
        return {"model": str(machine.checkpoint), "prompt": text(prompt), **options}

    def text(prompt: list[int]) -> str:
        return "".join(f" {WORDS[i % len(WORDS)]}" for i in prompt)

    def offline(n_streams: int) -> float:
        prompts = [machine.prompt(n_prompt) for _ in range(n_streams)]
        return n_streams / seconds_a_step(machine.picogpt.batch_times(prompts, n + 1))

    def several(place: clients.Place, n_streams: int) -> clients.Figures:
        return clients.measure(place, [body(machine.prompt(n_prompt)) for _ in range(n_streams)])

    with ExitStack() as stack:
        threads = thread_variables(machine.n_threads)
        name = str(machine.checkpoint)
        places = {
            "picogpt": stack.enter_context(
                clients.serving("--model", name, "--served-model-name", name, environment=threads)
            )
        }
        for peer, command in peer_servers(machine).items():
            places[peer] = stack.enter_context(clients.another(*command, environment=threads))
        for n_streams in (1, 4, 16):
            streams = f"{n_streams} stream{'s' * (n_streams > 1)}"
            loads = {peer: Load(partial(several, place, n_streams)) for peer, place in places.items()}
            rates = {peer: load.figure("rate") for peer, load in loads.items()}
            goals = [Goal("picogpt", "picogpt, offline", 0.85 if n_streams == 16 else 1 / 1.1)]
            offline_too = {"picogpt, offline": partial(offline, n_streams)}
            yield Row(f"Serve {streams}, {n} tokens after {n_prompt}", "tokens / s", rates | offline_too, goals, 3)
            times = {"first": "first token, median", "first_p95": "first token, p95", "gap_p95": "between tokens, p95"}
            waits = {
                f"{peer}: {what}": load.figure(field) for field, what in times.items() for peer, load in loads.items()
            }
            yield Row(f"Serve {streams}: what they wait for", "ms", waits, repeats=3)

        long = machine.n_ctx // 2
        tails = itertools.count()

        def first(is_known: bool) -> float:
            prompt = [7] * long if is_known else machine.prompt(long)
            tail = [next(tails) % machine.hparams["n_vocab"] for _ in range(4)]
            asked = {**body([]), "prompt": [*prompt, *tail], "max_tokens": 1}
            return clients.first_token(places["picogpt"], asked)

        contenders = {"picogpt, known": partial(first, True), "picogpt, new": partial(first, False)}
        goals = [Goal("picogpt, known", "picogpt, new", 0.2)]
        yield Row(f"The first token after {long} tokens that were read before, and 4 more", "ms", contenders, goals)


def peer_servers(machine: Machine) -> dict[str, list[str]]:
    """The commands of other servers, as far as they are installed; a port comes after them."""
    found = {}
    if "llama.cpp" in machine.peers and find_spec("llama_cpp.server") and find_spec("fastapi"):
        options = [
            "--n_ctx",
            "1024",
            "--n_threads",
            str(machine.n_threads),
            "--model",
            str(machine.checkpoint / "f32.gguf"),
        ]
        found["llama.cpp f32"] = [sys.executable, "-m", "llama_cpp.server", *options, "--port"]
    command = Path(sys.executable).with_name("transformers")
    if "transformers" in machine.peers and command.exists() and find_spec("fastapi"):
        found["transformers"] = [str(command), "serve", "--host", "127.0.0.1", "--port"]
    return found


def int8_memory(machine: Machine) -> Iterator[Row]:
    """In a process of its own, whose memory is the model's. The weights are random bytes: only their number matters."""
    hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 1600, "n_head": 25, "n_layer": 48}
    if machine.quick:
        hparams |= {"n_embd": 50, "n_layer": 1}
    program = f"import engines; engines.print_int8_decoding({hparams})"

    def start() -> Process:
        return run(sys.executable, "-c", program, threads=machine.n_threads)

    shape = f"{hparams['n_layer']} layers of width {hparams['n_embd']} (GPT-2 XL's) in int8"
    yield Row(f"Decode with {shape}", "ms / token", {"picogpt int8": lambda: float(start().output)}, repeats=1)
    yield Row(f"Decode with {shape}: peak memory", "MiB resident", {"picogpt int8": lambda: start().peak}, repeats=1)


def cold_starts(machine: Machine) -> Iterator[Row]:
    python, folder = sys.executable, str(machine.checkpoint)
    one_token = (
        "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
        f"m, t = M.from_pretrained({folder!r}), T.from_pretrained({folder!r})\n"
        "print(t.decode(m.generate(**t('Not all heroes', return_tensors='pt'), max_new_tokens=1)[0]))"
    )
    commands: dict[str, tuple[str, ...]] = {
        "picogpt": (python, "-m", "picogpt", "--model", folder, "-n", "1", "Not all heroes")
    }
    if "transformers" in machine.peers:
        commands["transformers"] = (python, "-c", one_token)

    def wall(*command: str) -> float:
        return run(*command, threads=machine.n_threads).seconds

    def peak(*command: str) -> float:
        return run(*command, threads=machine.n_threads).peak

    title = "Start, load the model from the page cache, write one token"
    goals = [Goal("picogpt", "transformers", 0.25)]
    yield Row(title, "s", {name: partial(wall, *command) for name, command in commands.items()}, goals)
    peaks = {name: partial(peak, *command) for name, command in commands.items()}
    yield Row(f"{title}: peak memory", "MiB resident", peaks, repeats=1)

    shakespeare = (python, "-m", "picogpt", "--model", str(ROOT / "models" / "shakespeare"), "-n", "40", "ROMEO:")
    small = {
        "python -m picogpt -n 40, the committed model": partial(wall, *shakespeare),
        "import picogpt": partial(wall, python, "-c", "import picogpt"),
        "import numpy": partial(wall, python, "-c", "import numpy"),
        "python alone": partial(wall, python, "-c", ""),
    }
    yield Row("Start", "s", small)


def tokenizers(machine: Machine) -> Iterator[Row]:
    from picogpt.tokenizers import ByteLevelBPE, train_bpe
    from picogpt.tokenizers.bpe import WORD

    places = [folder / "tinyshakespeare.txt" for folder in (ROOT.parent / "shared" / "data", ROOT / "data")]
    found = next((path for path in places if path.exists()), None)
    text = found.read_text(encoding="utf-8") if found else "\n".join(p.read_text() for p in ROOT.glob("picogpt/*.py"))
    if machine.quick:
        text = text[:50_000]
    megabytes = len(text.encode()) / 1e6
    ours = ByteLevelBPE.gpt2()
    ids = ours.encode(text)

    def rate(work: Callable[[], object]) -> float:
        return megabytes / seconds(work)

    def cold() -> float:
        tokenizer = ByteLevelBPE.gpt2()
        return rate(lambda: tokenizer.encode(text))

    encoders = {
        "picogpt, first time": cold,
        "picogpt, words seen before": lambda: rate(lambda: ours.encode(text)),
        "the regular expression alone": lambda: rate(lambda: WORD.findall(text)),
    }
    decoders = {"picogpt": lambda: rate(lambda: ours.decode(ids))}
    trainers = {"picogpt": lambda: seconds(lambda: train_bpe([text], 1024))}
    if "tokenizers" in machine.peers:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from tokenizers.decoders import ByteLevel
        from tokenizers.trainers import BpeTrainer

        names = (str(machine.checkpoint / name) for name in ("vocab.json", "merges.txt"))
        theirs = Tokenizer(models.BPE.from_file(*names))
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        theirs.decoder = ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()

        def train() -> None:
            learner = Tokenizer(models.BPE())
            learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            trainer = BpeTrainer(vocab_size=1024, initial_alphabet=alphabet, show_progress=False)
            learner.train_from_iterator([text], trainer)

        encoders["tokenizers"] = lambda: rate(lambda: theirs.encode(text))
        decoders["tokenizers"] = lambda: rate(lambda: theirs.decode(ids))
        trainers["tokenizers"] = lambda: seconds(train)
    if "tiktoken" in machine.peers:
        import tiktoken

        ranks = {token: i for i, token in enumerate(ours.tokens[:-1])}
        encoding = tiktoken.Encoding(
            "gpt2", pat_str=WORD.pattern, mergeable_ranks=ranks, special_tokens=ours.special_tokens
        )
        encoders["tiktoken"] = lambda: rate(lambda: encoding.encode(text))
        decoders["tiktoken"] = lambda: rate(lambda: encoding.decode(ids))
    source = "Tiny Shakespeare" if found else "our own source"
    yield Row(f"Encode {source} with GPT-2's vocabulary", "MB / s", encoders)
    yield Row(f"Decode {source} with GPT-2's vocabulary", "MB / s", decoders)
    yield Row(f"Learn 1024 tokens from {source}", "s", trainers, repeats=3)


def training_step(machine: Machine) -> Iterator[Row]:
    import numpy as np

    from picogpt.performance.threads import one_blas_thread
    from picogpt.training.trainer import Settings, State, gpt2_loss_and_grads, init_params, training_steps

    hparams = {"n_vocab": 1024, "n_ctx": 256, "n_embd": 192, "n_head": 6, "n_layer": 6}
    batch_size = 16
    if machine.quick:
        hparams, batch_size = {**hparams, "n_ctx": 32, "n_layer": 1}, 2
    ids = machine.rng.integers(hparams["n_vocab"], size=10_000).astype(np.uint16)
    plan = Settings(steps=1000, batch_size=batch_size, parts=machine.n_threads, dropout=0.0)
    state = State.start(init_params(hparams, machine.rng), plan)
    model_step = gpt2_loss_and_grads(hparams["n_head"])
    steps = training_steps(state, ids, hparams["n_ctx"], model_step, plan, machine.n_threads)

    def our_step() -> None:
        with one_blas_thread():
            next(steps)

    contenders: dict[str, Contender] = {"picogpt": lambda: 1e3 * seconds(our_step)}
    if "transformers" in machine.peers:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel

        names = {"n_ctx": "n_positions", "n_vocab": "vocab_size"}
        config = GPT2Config(
            **{names.get(k, k): v for k, v in hparams.items()}, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
        model = GPT2LMHeadModel(config).train()
        optimizer = torch.optim.AdamW(model.parameters())
        batch = torch.randint(hparams["n_vocab"], (batch_size, hparams["n_ctx"]))

        def step() -> None:
            optimizer.zero_grad()
            model(batch, labels=batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        contenders["torch, transformers' model"] = lambda: 1e3 * seconds(step)
    shape = f"{hparams['n_layer']} layers, width {hparams['n_embd']}, {batch_size} × {hparams['n_ctx']} tokens"
    yield Row(f"One training step, {shape}", "ms", contenders)


def scaling(machine: Machine) -> Iterator[Row]:
    """Each number of threads in a process of its own. More threads than cores only show that nothing breaks."""

    def alone(method: str, threads: int) -> float:
        program = f"import engines; engines.{method}({str(machine.checkpoint)!r})"
        return float(run(sys.executable, "-c", program, threads=threads).output)

    counts = (1,) if machine.quick else (1, 2, 4)
    for title, method, unit in (
        ("Decode, by threads", "print_decoding", "ms / token"),
        ("Read a prompt of 512 tokens, by threads", "print_reading", "ms"),
    ):
        contenders = {f"{n} thread{'s' * (n > 1)}": partial(alone, method, n) for n in counts}
        yield Row(title, unit, contenders, repeats=3)


def workers(machine: Machine) -> Iterator[Row]:
    """The whole command, from its start to the last row, over lines of text; and what a task of Dask's costs."""
    from engines import dask_task_seconds

    from tests.texts import read_text

    lines = [line for line in read_text("tinyshakespeare.txt").splitlines() if line]

    def rate(model: Path, n_lines: int, *options: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            texts, rows = Path(folder) / "texts.txt", Path(folder) / "rows.csv"
            texts.write_text("\n".join(lines[:n_lines]), encoding="utf-8")
            command = (*PICOGPT, "score", str(texts), "--lines", "--no-bos", "--model", str(model))
            duration = run(*command, "--output", str(rows), *options, threads=machine.n_threads).seconds
            with rows.open(encoding="utf-8", newline="") as file:
                return sum(int(row["n_tokens"]) for row in csv.DictReader(file)) / duration

    ways: dict[str, tuple[str, ...]] = {
        f"{n} process{'es' * (n > 1)}": ("--workers", str(n)) for n in (1, machine.n_threads)
    }
    if importlib.util.find_spec("distributed"):
        ways["Dask, as many workers"] = ("--dask", "local", "--workers", str(machine.n_threads))
    for name, model, n_lines in (
        ("the committed model", ROOT / "models" / "shakespeare", 300 if machine.quick else 6_000),
        ("124M's shape", machine.checkpoint, 100 if machine.quick else 600),
    ):
        contenders = {way: partial(rate, model, n_lines, *options) for way, options in ways.items()}
        yield Row(f"Score {n_lines:,} lines, {name}, the whole command", "tokens / s", contenders, repeats=3)
    if importlib.util.find_spec("distributed"):
        n_tasks = 20 if machine.quick else 2000
        cost = {"a worker that has nothing to do": lambda: 1e3 * dask_task_seconds(n_tasks)}
        yield Row("A batch by way of Dask", "ms", cost, repeats=2)


ROWS: dict[str, Callable[[Machine], Iterator[Row]]] = {
    "decoding": decoding,
    "reading": reading,
    "many_rows": many_rows,
    "serving": serving,
    "busy": beside_a_busy_process,
    "scoring": scoring,
    "inspection": inspection,
    "lookup": lookup,
    "scheduler": scheduler,
    "int8_memory": int8_memory,
    "cold_starts": cold_starts,
    "tokenizers": tokenizers,
    "training_step": training_step,
    "scaling": scaling,
    "workers": workers,
}


def thread_variables(n: int) -> dict[str, str]:
    return dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(n))


def comparison(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines that set every figure beside its earlier one."""
    lines = ["### Beside the earlier run", "", "| | now | before | now / before |", "|---|---:|---:|---:|"]
    before = {row["title"]: row["figures"] for row in old["rows"]}
    for row in new["rows"]:
        for name, figures in row["figures"].items():
            if earlier := before.get(row["title"], {}).get(name):
                a, b = statistics.median(figures), statistics.median(earlier)
                lines.append(f"| {row['title']}: {name}, {row['unit']} | {a:.4g} | {b:.4g} | {a / b:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model and one turn: shows only that all runs")
    parser.add_argument(
        "--peers", default=None, help=f"comma-separated, of {', '.join(PEERS)} (default: all; quick: none)"
    )
    parser.add_argument("--rows", default=",".join(ROWS), help="comma-separated, of %(default)s (default: all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every library (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write settings and figures there")
    parser.add_argument("--compare", type=Path, help="an earlier run's --json, of the same settings")
    parser.add_argument("--plot", type=Path, help="draw the rows with peers there; needs matplotlib")
    args = parser.parse_args()
    peers = args.peers if args.peers is not None else "" if args.quick else ",".join(PEERS)
    args.peers, args.rows = ([name for name in names.split(",") if name] for names in (peers, args.rows))
    for kind, chosen, known in (("peer", args.peers, PEERS), ("row", args.rows, ROWS)):
        if unknown := set(chosen) - set(known):
            parser.error(f"unknown {kind}: {', '.join(unknown)}; known are {', '.join(known)}")
    args.hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    if args.quick:
        args.hparams |= {"n_embd": 32, "n_head": 2, "n_layer": 2}

    os.environ.update(thread_variables(args.threads))  # before NumPy is loaded
    sys.path.insert(0, str(ROOT))
    run_settings = settings(args)
    earlier = json.loads(args.compare.read_text(encoding="utf-8")) if args.compare else None
    if earlier and (different := [name for name in run_settings if run_settings[name] != earlier["settings"][name]]):
        parser.error(f"{args.compare} was measured with other {', '.join(different)}; it cannot be compared")
    packages = run_settings["peers"]
    args.installed = [peer for peer in args.peers if all(packages[peer].values())]
    for name, value in run_settings.items():
        parts = value.values() if name == "peers" else [value] if isinstance(value, dict) else []
        facts = dict(item for part in parts for item in part.items())
        print(f"- {name}: {', '.join(f'{key} {fact}' for key, fact in facts.items()) if facts else value}")
    for peer in sorted(set(args.peers) - set(args.installed)):
        print(f"- not measured, since not installed: {peer} (needs {', '.join(packages[peer])})")
    print(flush=True)

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(args, Path(folder))
        for name in args.rows:
            for row in ROWS[name](machine):
                if args.quick:
                    row.repeats, row.goals = 1, []
                figures = measure(row, 0 if args.quick else PAUSE)
                rows.append({"title": row.title, "unit": row.unit, "figures": figures})
                print("\n".join(report(row, figures)), flush=True)
    run_figures = {"settings": run_settings, "rows": rows}
    if args.json:
        args.json.write_text(json.dumps(run_figures, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        from performance_plot import draw

        draw(args.plot, rows)
    if earlier:
        print("\n".join(comparison(earlier, run_figures)))


if __name__ == "__main__":
    main()
