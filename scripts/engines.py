"""What the benchmark compares: picogpt and its peers, each with the same few methods, all with the same weights.

`token_times(prompt, n)` decodes n tokens greedily and returns when each was there; `batch_times(prompts, n)` does so
for several prompts at once; `read(prompt)` computes the logits after it; `score(texts)` gives every token's
log-probability, text by text; `look_inside(ids)` gives hidden states and attention patterns. An engine lacks the
methods that its library has no counterpart for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from picogpt import KVCache
from picogpt.checkpoints import nest, param_shapes, read_checkpoint
from picogpt.corpus.jobs import Job, Result
from picogpt.corpus.loop import CHUNK
from picogpt.corpus.records import Record
from picogpt.decoding.loop import decode
from picogpt.inspection import attentions, trace
from picogpt.inspection import hidden_states as hidden_states_of
from picogpt.performance import hidden_states, project
from picogpt.performance.int8 import Int8Rows, is_quantized
from picogpt.performance.layout import for_decoding
from picogpt.scoring.tokens import score_tokens
from picogpt.tokenizers import ByteLevelBPE
from picogpt.types import Array, Params

Ids = list[int]

# peer -> the packages it needs; CTranslate2 and llama.cpp get their weights through the others
PEERS = {
    "transformers": ["torch", "transformers"],
    "llama.cpp": ["llama_cpp_python", "gguf"],
    "ctranslate2": ["ctranslate2", "torch", "transformers"],
    "tokenizers": ["tokenizers"],
    "tiktoken": ["tiktoken"],
}


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The installed versions; None for a package that is not there."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {package: installed(package) for package in packages}


class PicoGPT:
    def __init__(self, params: Params, n_head: int, name: str = "picogpt") -> None:
        self.params, self.n_head, self.name = params, n_head, name

    def token_times(self, prompt: Ids, n: int) -> list[float]:
        return self.batch_times([prompt], n)

    def batch_times(self, prompts: list[Ids], n: int) -> list[float]:
        times = [time.perf_counter() for _ in decode(prompts, self.params, self.n_head, n)]
        return times[len(prompts) - 1 :: len(prompts)]  # a step is done when its last row is there

    def read(self, prompt: Ids) -> None:
        cache = KVCache.for_params(self.params, self.n_head, n_ctx=len(prompt))
        project(hidden_states(prompt, **self.params, n_head=self.n_head, cache=cache)[-1:], self.params["wte"])

    def look_inside(self, ids: Ids) -> list[Array]:
        values = trace([ids], self.params, self.n_head)
        return [*hidden_states_of(values, self.params, self.n_head), *attentions(values, self.params, self.n_head)]

    def score(self, texts: list[Ids]) -> None:
        score_tokens(texts, self.params, self.n_head, details=False)


def print_decoding(checkpoint: str) -> None:
    """The milliseconds that a token took, of a model in float32."""
    hparams, params = read_checkpoint(Path(checkpoint))
    print_ms_a_token(PicoGPT(for_decoding(params), hparams["n_head"]), 65)


def print_reading(checkpoint: str) -> None:
    """The milliseconds that 512 tokens took, read for the second time."""
    hparams, params = read_checkpoint(Path(checkpoint))
    engine = PicoGPT(params, hparams["n_head"])
    prompt = list(range(512))
    engine.read(prompt)
    start = time.perf_counter()
    engine.read(prompt)
    print(1e3 * (time.perf_counter() - start))


def print_int8_decoding(hparams: dict[str, int]) -> None:
    """The milliseconds that a token took, of a random model in int8."""
    rng = np.random.default_rng(0)

    def random(path: str, shape: tuple[int, ...]) -> Any:
        if not is_quantized(path):
            return 0.02 * rng.standard_normal(shape, np.float32)
        n_rows, n_columns = shape if path == "wte" else shape[::-1]
        q = rng.integers(-127, 128, (n_rows, n_columns), np.int8)
        rows = Int8Rows(q, np.full(n_rows, 3e-4, np.float32))
        return rows if path == "wte" else rows.T

    params = nest({path: random(path, shape) for path, shape in param_shapes(hparams).items()})
    print_ms_a_token(PicoGPT(params, hparams["n_head"]), 9)


def print_ms_a_token(engine: PicoGPT, n: int) -> None:
    print(1e3 * seconds_a_step(engine.token_times(list(range(16)), n)))


def seconds_a_step(times: list[float]) -> float:
    """Of `token_times` or `batch_times`; reading the prompt, which the first of them includes, does not count."""
    return (times[-1] - times[0]) / (len(times) - 1)


class Transformers:
    name = "transformers"

    def __init__(self, checkpoint: Path, n_threads: int) -> None:
        import torch
        from transformers import GPT2LMHeadModel

        torch.set_num_threads(n_threads)
        self.torch = torch
        self.model = GPT2LMHeadModel.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def token_times(self, prompt: Ids, n: int) -> list[float]:
        return self.batch_times([prompt], n)

    def batch_times(self, prompts: list[Ids], n: int) -> list[float]:
        inputs = self.torch.tensor(prompts)
        mask = self.torch.ones_like(inputs)
        limits = {"max_new_tokens": n, "min_new_tokens": n, "do_sample": False, "pad_token_id": 0}
        clock = Clock()
        self.model.generate(inputs, attention_mask=mask, streamer=clock, **limits)
        return clock.times[1:]  # the first call brings the prompt

    def read(self, prompt: Ids) -> None:
        with self.torch.inference_mode():
            self.model(self.torch.tensor([prompt]), logits_to_keep=1, use_cache=True)

    def look_inside(self, ids: Ids) -> list[Array]:
        self.model.set_attn_implementation("eager")  # the others do not have the patterns
        try:
            with self.torch.inference_mode():
                out = self.model(self.torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
        finally:
            self.model.set_attn_implementation("sdpa")
        return [array.numpy() for array in (*out.hidden_states, *out.attentions)]

    def score(self, texts: list[Ids]) -> None:
        with self.torch.inference_mode():
            for text in texts:
                ids = self.torch.tensor([text])
                log_probs = self.model(ids, use_cache=False).logits[:, :-1].log_softmax(-1)
                log_probs.gather(-1, ids[:, 1:, None])


class Clock:
    """A streamer for transformers' `generate` that writes down when each step was done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


class LlamaCpp:
    def __init__(self, checkpoint: Path, n_threads: int, dtype: str) -> None:
        from llama_cpp import Llama

        self.name = f"llama.cpp {dtype}"
        path = checkpoint / f"{dtype}.gguf"
        if not path.exists():
            write_gguf(path, checkpoint, dtype)
        self.model = Llama(
            str(path), n_ctx=1024, n_batch=1024, n_threads=n_threads, n_threads_batch=n_threads, verbose=False
        )

    def token_times(self, prompt: Ids, n: int) -> list[float]:
        self.model.reset()
        stream = self.model.generate(prompt, temp=0.0, repeat_penalty=1.0)
        return [time.perf_counter() for _, _ in zip(range(n), stream, strict=False)]

    def read(self, prompt: Ids) -> None:
        self.model.reset()
        self.model.eval(prompt)


def write_gguf(path: Path, checkpoint: Path, dtype: str) -> None:
    """llama.cpp's file of a checkpoint in Hugging Face's layout. Its weights are `[n_out, n_in]`."""
    import gguf

    hparams, params = read_checkpoint(checkpoint)
    tokenizer = ByteLevelBPE.load(checkpoint)
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(hparams["n_ctx"])
    writer.add_embedding_length(hparams["n_embd"])
    writer.add_block_count(hparams["n_layer"])
    writer.add_feed_forward_length(4 * hparams["n_embd"])
    writer.add_head_count(hparams["n_head"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"[{i}]" for i in range(hparams["n_vocab"])])
    writer.add_token_types([gguf.TokenType.NORMAL] * hparams["n_vocab"])
    writer.add_token_merges([f"[{left}] [{right}]" for left, right in tokenizer.merges])
    writer.add_eos_token_id(hparams["n_vocab"] - 1)

    def add(name: str, array: Any, is_weight: bool = True) -> None:
        writer.add_tensor(name, np.ascontiguousarray(array, np.float16 if is_weight and dtype == "f16" else np.float32))

    def add_layer(name: str, layer: Params) -> None:
        add(f"{name}.weight", layer["w"].T)
        add(f"{name}.bias", layer["b"], is_weight=False)

    def add_norm(name: str, norm: Params) -> None:
        add(f"{name}.weight", norm["g"], is_weight=False)
        add(f"{name}.bias", norm["b"], is_weight=False)

    add("token_embd.weight", params["wte"])
    add("position_embd.weight", params["wpe"], is_weight=False)
    add_norm("output_norm", params["ln_f"])
    for i, block in enumerate(params["blocks"]):
        add_norm(f"blk.{i}.attn_norm", block["ln_1"])
        add_layer(f"blk.{i}.attn_qkv", block["attn"]["c_attn"])
        add_layer(f"blk.{i}.attn_output", block["attn"]["c_proj"])
        add_norm(f"blk.{i}.ffn_norm", block["ln_2"])
        add_layer(f"blk.{i}.ffn_up", block["mlp"]["c_fc"])
        add_layer(f"blk.{i}.ffn_down", block["mlp"]["c_proj"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class CTranslate2:
    def __init__(self, checkpoint: Path, n_threads: int, dtype: str) -> None:
        import ctranslate2

        self.name = f"ctranslate2 {dtype}"
        converted = checkpoint / "ctranslate2"
        if not converted.exists():
            ctranslate2.converters.TransformersConverter(str(checkpoint)).convert(str(converted))
        self.model = ctranslate2.Generator(str(converted), compute_type=dtype, intra_threads=n_threads)
        self.names = list(json.loads((checkpoint / "vocab.json").read_text(encoding="utf-8")))

    def token_times(self, prompt: Ids, n: int) -> list[float]:
        names = [self.names[i] for i in prompt]
        options = {"max_length": n, "min_length": n, "sampling_topk": 1}
        return [time.perf_counter() for _ in self.model.generate_tokens(names, **options)]


class Nothing(Job[Record]):
    """A job without work."""

    def prepare(self, record: Record) -> Record:
        return record

    def measure(self, prepared: Sequence[Record]) -> list[Result]:
        return [Result({}) for _ in prepared]


def dask_task_seconds(n_tasks: int) -> float:
    """How long a batch takes from the client to a worker of this machine and back, when there are many."""
    from picogpt.corpus.cluster import connected, in_cluster

    batch = [Record("lines.txt", line, {"text": "a line of a text"}) for line in range(CHUNK)]
    with connected("local", 1) as client:
        list(in_cluster(Nothing(), [batch] * 20, client))
        start = time.perf_counter()
        list(in_cluster(Nothing(), [batch] * n_tasks, client))
        return (time.perf_counter() - start) / n_tasks
