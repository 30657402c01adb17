"""GPT-2 in GGUF, for llama.cpp and back: one file with the weights, the model's numbers and its vocabulary.

llama.cpp's weights are `[n_out, n_in]`: the parameters are their transposes. Biases, norms and positions are always
float32 there. An output layer is in the file only where it is not the embedding.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.checkpoints import huggingface, single_file
from picogpt.checkpoints.gguf_file import BOOL, F32, I32, STRING, U32, Facts, Written, read_gguf, write_gguf
from picogpt.checkpoints.huggingface import OUTPUT, check_range, is_tied
from picogpt.checkpoints.names import (
    N_INNER,
    check_finite,
    check_hparams,
    huggingface_name,
    param_shapes,
)
from picogpt.checkpoints.safetensors import Stored, transposed
from picogpt.checkpoints.variants import EPSILON, config_of, named_arrays
from picogpt.errors import PicoGPTError, shown
from picogpt.files import replacing
from picogpt.tokenizers import ByteLevelBPE, Tokenizer, bpe_files
from picogpt.tokenizers.template import Around
from picogpt.types import HParams, Params

ARCHITECTURE = "general.architecture"
NUMBERS = {  # ours -> theirs
    "n_ctx": "gpt2.context_length",
    "n_embd": "gpt2.embedding_length",
    "n_layer": "gpt2.block_count",
    "n_head": "gpt2.attention.head_count",
    N_INNER: "gpt2.feed_forward_length",
}
NORM = "gpt2.attention.layer_norm_epsilon"
KIND, CUT, TOKENS, MERGES = (f"tokenizer.ggml.{name}" for name in ("model", "pre", "tokens", "merges"))
TYPES = "tokenizer.ggml.token_type"
BEGINS, ADDS_BEGIN = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token"
NORMAL, CONTROL, UNUSED = 1, 3, 5
LAYERS = {  # Hugging Face's names -> theirs
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
NAME = re.compile(r"(?:h\.(\d+)\.)?(.+)\.(weight|bias)")
DTYPES = {"float32": ("F32", 0), "float16": ("F16", 1), "bfloat16": ("BF16", 32), "int8": ("Q8_0", 7)}  # and file types


def find(place: Path) -> Path | None:
    """The GGUF file that `place` is or holds."""
    return single_file.find(place, lambda path: path.suffix == ".gguf")


def weight_files(place: Path) -> list[Path]:
    return [path] if (path := find(place)) else []


def read_hparams(path: Path) -> HParams:
    """The model's numbers. Raises `PicoGPTError` for a file of another architecture."""
    facts, stored = read_gguf(path)
    if facts.get(ARCHITECTURE) != "gpt2":
        raise PicoGPTError(f"{path} is a {shown(facts.get(ARCHITECTURE))} and not a 'gpt2'; llama.cpp may read it")
    said = {name: facts[key] for name, key in NUMBERS.items() if key in facts}
    embedding = stored.get("token_embd.weight")
    hparams = check_hparams(said | ({"n_vocab": embedding.shape[0]} if embedding else {}), str(path))
    if hparams.get(N_INNER) == 4 * hparams["n_embd"]:
        del hparams[N_INNER]
    return hparams


def read_params(place: Path, hparams: HParams) -> Params:
    """The parameters, views of the mapped file where it is float32."""
    [path] = weight_files(place)
    facts, tensors = read_gguf(path)
    ours = {gguf_name(huggingface_name(name)): huggingface_name(name) for name in param_shapes(hparams)}
    ours["output.weight"] = OUTPUT
    stored: dict[str, Stored] = {}
    for name, tensor in tensors.items():
        is_linear = name.startswith("blk.") and name.endswith(".weight")
        stored[ours.get(name, name)] = transposed(tensor) if is_linear else tensor
    config = {"layer_norm_epsilon": epsilon(facts, path), "tie_word_embeddings": is_tied(stored)}
    return huggingface.params_of(stored, hparams, config, path)


def epsilon(facts: Facts, path: Path) -> float:
    """A float32 in the file: of 1e-5 it is the float32 that is nearest."""
    value = facts.get(NORM, EPSILON)
    if not isinstance(value, float) or not 0 <= value <= 1:
        raise PicoGPTError(f"{path} has {NORM} = {shown(value)}; it must be a number from 0 to 1")
    return float(f"{value:.7g}")


def gguf_name(name: str) -> str:
    """`h.0.attn.c_attn.weight` -> `blk.0.attn_qkv.weight`."""
    match = NAME.fullmatch(name)
    assert match
    block, layer, leaf = match.groups()
    return f"{'' if block is None else f'blk.{block}.'}{LAYERS[layer]}.{leaf}"


def read_encoder(place: Path) -> Tokenizer:
    """The file's own vocabulary; of a file without one, as of any checkpoint."""
    [path] = weight_files(place)
    facts, stored = read_gguf(path)
    if TOKENS not in facts and "token_embd.weight" in stored:
        return single_file.read_encoder(path, stored["token_embd.weight"].shape[0])
    kind, cut, tokens, merges = (facts.get(name) for name in (KIND, CUT, TOKENS, MERGES))
    if kind != "gpt2" or cut not in ("gpt-2", "gpt2", None):
        raise PicoGPTError(f"{path} has a vocabulary of the kind {shown(kind)}, {shown(cut)}, which is not GPT-2's")
    if not isinstance(tokens, list) or not isinstance(merges, list) or not all(map(is_text, tokens + merges)):
        raise PicoGPTError(f"{path} should have {TOKENS} and {MERGES} that are lists of texts")
    used = np.flatnonzero(np.asarray(facts.get(TYPES, [])) != UNUSED)
    tokens = tokens[: used[-1] + 1] if len(used) else tokens  # without those that only round the vocabulary up
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) < len(tokens):
        raise PicoGPTError(f"{path} has a token twice")
    begin = facts.get(BEGINS) if facts.get(ADDS_BEGIN) is True else None
    if not (begin is None or (isinstance(begin, int) and 0 <= begin < len(tokens))):
        raise PicoGPTError(f"{path} puts the token {shown(begin)} before every text ({BEGINS}), which there is not")
    vocabulary = bpe_files.combine(bpe_files.check_vocab(ids, path), enumerate(merges, 1), path, path, "merge")
    return ByteLevelBPE(*vocabulary._replace(around=Around(begin)))


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def write(path: Path, hparams: HParams, params: Params, dtype: str, encoder: Tokenizer) -> None:
    """Write the file, whole or not at all. `dtype` is of the matrices; int8 is Q8_0, float16 where a row is no blocks.

    Raises `PicoGPTError` for what GGUF or llama.cpp's GPT-2 has no place for.
    """
    if not isinstance(encoder, ByteLevelBPE):
        raise PicoGPTError(f"GGUF has no place for a {type(encoder).__name__}; only byte-level BPE can be written")
    options = config_of(params)
    if options["activation_function"] != "gelu_new":
        raise PicoGPTError(f"llama.cpp's GPT-2 has gelu_new, and this model {options['activation_function']}")
    flat = named_arrays(hparams, params)
    check_finite(params, "the model")
    check_range(flat, dtype)
    code, file_type = DTYPES[dtype]
    tensors = {}
    for name, array in flat.items():
        is_linear = name.endswith(".w")
        array = array.T if is_linear else array
        narrowed = is_linear or name in ("wte", "lm_head")
        own = "F16" if code == "Q8_0" and array.shape[-1] % 32 else code
        theirs = "output.weight" if name == "lm_head" else gguf_name(huggingface_name(name))
        tensors[theirs] = Written(array, own if narrowed else "F32")
    facts: dict[str, tuple[int, Any]] = {
        ARCHITECTURE: (STRING, "gpt2"),
        "general.name": (STRING, path.stem),
        "general.file_type": (U32, file_type),
        "general.quantization_version": (U32, 2),
        **{key: (U32, hparams.get(name, 4 * hparams["n_embd"])) for name, key in NUMBERS.items()},
        NORM: (F32, options["layer_norm_epsilon"]),
        **vocabulary(encoder, hparams["n_vocab"]),
    }
    with replacing(path) as file:
        write_gguf(file, facts, tensors)


def vocabulary(encoder: ByteLevelBPE, n_vocab: int) -> dict[str, tuple[int, Any]]:
    """The facts that describe it; ids that have no token get one that no text has."""
    names = list(encoder.decoder.values())
    padding = [f"[PAD{i}]" for i in range(len(names), n_vocab)]
    special = set(encoder.special_tokens.values())
    begin, end = encoder.around.begin, encoder.eot_token
    ends = {} if end is None else {BEGINS: (U32, end), "tokenizer.ggml.eos_token_id": (U32, end)}
    ends |= {} if begin is None else {BEGINS: (U32, begin)}
    return {
        KIND: (STRING, "gpt2"),
        CUT: (STRING, "gpt-2"),
        TOKENS: (STRING, names + padding),
        TYPES: (I32, [CONTROL if i in special else NORMAL for i in range(len(names))] + [UNUSED] * len(padding)),
        MERGES: (STRING, [f"{names[left]} {names[right]}" for left, right in encoder.merges]),
        ADDS_BEGIN: (BOOL, begin is not None),
        **ends,
    }
