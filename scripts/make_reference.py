#!/usr/bin/env python
"""Make the numbers that the tests compare with, from a model in Hugging Face's layout, by transformers and torch.

    python scripts/make_reference.py models/shakespeare data/tinyshakespeare.txt tests/data

It needs `pip install torch transformers`, and nothing of picogpt: what it writes is another program's opinion. Run it
when models/shakespeare has changed. gradients_small.npz, logits_processors.npz and torch_random.json do not depend on
the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, GPT2Tokenizer

PROMPTS = [
    "ROMEO:",
    "First Citizen:\nBefore we proceed any further, hear me speak.",
    "What light through yonder window breaks?",
    "\n\nKING RICHARD III:\n",
]
BEAMS: list[dict[str, Any]] = [
    {"num_beams": 4, "max_new_tokens": 24},
    {"num_beams": 3, "max_new_tokens": 30, "length_penalty": 0.6},
    {"num_beams": 5, "max_new_tokens": 20, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 4, "max_new_tokens": 40, "no_repeat_ngram_size": 2},
]
TEXTS = [
    "To be, or not to be, that is the question.",
    "Friends, Romans, countrymen, lend me your ears;",
    "The king is dead. Long live the king!",
    "I am a colourless green idea.",
]
STRIDES = (32, 64, 128, 255)
N_SCORED = 1500  # tokens for the sliding windows
N_CHECKED = 256  # tokens for the logits
EVERY = 5  # of which the logits at every fifth are kept
N_INSIDE = 5  # tokens of each of two rows for the hidden states
N_SAMPLED = 64  # entries kept of each gradient

WORDS = {"<sep>": 1024, "New York": 1025, "naïve": 1026}
TOKEN = {"lstrip": False, "rstrip": False, "single_word": False}
PAD = {**TOKEN, "content": "<pad>", "normalized": False, "special": True}
SEP = {**TOKEN, "content": "<sep>", "normalized": True, "special": False}
END = {**TOKEN, "content": "<|endoftext|>", "normalized": True, "special": True}
ONE_TOKEN = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}
BEFORE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<pad>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<pad>": {"id": "<pad>", "ids": [1024], "tokens": ["<pad>"]}},
}
# what lies beside vocab.json and merges.txt, or of tokenizer.json what is not the vocabulary and the merges
ADDED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "added_tokens.json": {"added_tokens": WORDS},
    "added_tokens.json in another order": {"added_tokens": dict(reversed(WORDS.items()))},
    "roles are special": {"added_tokens": WORDS, "special_tokens_map": {"sep_token": "<sep>"}},
    "roles without a token": {"special_tokens_map": {"pad_token": PAD, "additional_special_tokens": ["<sep>", "<x>"]}},
    "an older config": {
        "tokenizer_config": {"pad_token": {"__type": "AddedToken", **PAD}, "mask_token": "<x>", "my_token": "<y>"},
        "special_tokens_map": {"mask_token": "<sep>"},
    },
    "a config hides the older files": {
        "tokenizer_config": {"added_tokens_decoder": {"1023": END, "1024": PAD}},
        "added_tokens": WORDS,
        "special_tokens_map": {"sep_token": "<sep>"},
    },
    "another end": {"tokenizer_config": {"eos_token": "</s>", "extra_special_tokens": ["<x>"]}},
    "an ordinary token has a role": {"tokenizer_config": {"pad_token": "!", "sep_token": "th"}},
    "a token before, as the config says": {
        "tokenizer_config": {"add_bos_token": True, "bos_token": "<s>"},
        "added_tokens": WORDS,
    },
    "tokens before and after, as the config says": {"tokenizer_config": {"add_bos_token": True, "add_eos_token": True}},
    "a token before, as tokenizer.json says": {
        "tokenizer": {"added_tokens": [{"id": 1023, **END}, {"id": 1024, **PAD}], "post_processor": BEFORE},
        "tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": False},
    },
    "the config says nothing beside tokenizer.json": {
        "tokenizer": {"added_tokens": [{"id": 1023, **END}]},
        "tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_eos_token": True},
    },
    "a space before": {"tokenizer_config": {"add_prefix_space": True}, "added_tokens": WORDS},
    "tokenizer.json": {"tokenizer": {"added_tokens": [{"id": 1023, **END}, {"id": 1024, **SEP}]}},
    "tokenizer.json and the older files": {
        "tokenizer": {"added_tokens": [{"id": 1023, **END}, {"id": 1024, **SEP}]},
        "added_tokens": {"<pad>": 1024, "<x>": 1025},
    },
    "tokenizer.json and a config": {
        "tokenizer": {"added_tokens": [{"id": 1023, **END}, {"id": 1024, **SEP}], "post_processor": ONE_TOKEN},
        "tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {"1024": PAD}},
    },
    "tokenizer.json is all there is": {
        "tokenizer": {
            "added_tokens": [{"id": 1023, **END}, {"id": 1024, **SEP}],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        },
        "tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False},
    },
    "tokenizer.json comes first": {
        "tokenizer": {"added_tokens": [{"id": 1023, **END}, {"id": 1024, **SEP}]},
        "tokenizer_config": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "added_tokens_decoder": {"1025": PAD},
            "mask_token": "<x>",
        },
    },
}
ADDED_TEXTS = [
    "a <sep> b",
    "a<pad>b<sep>c<|endoftext|>d </s> e",
    "New Yorker in New York<x>",
    "  <sep>  then \n<y><pad> the end",
    "café naïve!! <sep>the!",
]

SEEDS = (0, 123, 1337, (1 << 32) + 5)
CHANCES = [[0.5, 0.25, 0.125, 0.125, 0, 1], [3, 0.5, 1, 2.5, 0.0625, 4]]
# one after another from one generator, so that what a call leaves behind counts too: an odd number of fewer than 16
# normal numbers keeps one for the next such call
RANDOM_CALLS: list[tuple[str, list[Any]]] = [
    ("rand", [3, 5]),
    ("randn", [7]),
    ("randint", [-3, 11, [2, 3]]),
    ("randn", [2, 8]),
    ("randn", [3, 7]),
    ("randn", [1]),
    ("randperm", [13]),
    ("randint", [0, (1 << 28) - 1, [5]]),
    ("randint", [0, 1 << 28, [5]]),
    ("randint", [-(1 << 40), 1 << 40, [5]]),
    ("multinomial", [CHANCES[1], 1]),
    ("multinomial", [CHANCES, 1]),
    ("multinomial", [CHANCES, 4]),
    ("multinomial", [CHANCES, 1, True]),
    ("multinomial", [CHANCES, 9, True]),
    ("embedding", [5, 3]),
    ("embedding", [11, 3]),
    ("linear", [5, 3, True]),
    ("linear", [13, 2, False]),
    ("randn", [16]),
]
MANY = 100_003  # normal numbers, of which only the digest is kept

Model = Any  # a GPT2LMHeadModel; torch is not there when types are checked
Ids = list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = GPT2LMHeadModel.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = GPT2Tokenizer.from_pretrained(args.model)
    text = args.text.read_text(encoding="utf-8")
    train, validation = (
        tokenizer.encode(part) for part in (text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :])
    )
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]

    write_json(args.out / "torch_random.json", random_numbers())
    np.savez_compressed(args.out / "shakespeare.npz", **logits(model, validation[:N_CHECKED], prompts))
    write_json(args.out / "shakespeare_greedy.json", greedy(model, tokenizer, prompts))
    write_json(args.out / "beam.json", beams(model, prompts))
    write_json(args.out / "scoring.json", scores(model, tokenizer, validation[:N_SCORED]))
    write_json(args.out / "added_tokens.json", added_tokens(args.model))
    batch = torch.tensor([train[i : i + 65] for i in range(0, 256, 64)])
    np.savez_compressed(args.out / "inspection.npz", **inside(model, validation))
    np.savez_compressed(args.out / "gradients_shakespeare.npz", **gradients(model, batch))


def random_numbers() -> dict[str, Any]:
    """What torch's generator on the CPU gives, one call after another, under each seed."""
    make: dict[str, Any] = {
        "rand": lambda *shape: [torch.rand(shape)],
        "randn": lambda *shape: [torch.randn(shape)],
        "randint": lambda low, high, shape: [torch.randint(low, high, shape)],
        "randperm": lambda n: [torch.randperm(n)],
        "multinomial": lambda probs, *options: [torch.multinomial(torch.tensor(probs), *options)],
        "embedding": lambda n, n_embd: [torch.nn.Embedding(n, n_embd).weight],
        "linear": lambda n_in, n_out, bias: [
            parameter.detach().numpy().T for parameter in torch.nn.Linear(n_in, n_out, bias=bias).parameters()
        ],
    }
    results: dict[int, Any] = {}
    digests: dict[int, str] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        results[seed] = [[array.tolist() for array in make[name](*args)] for name, args in RANDOM_CALLS]
        torch.manual_seed(seed)
        digests[seed] = hashlib.sha256(torch.randn(MANY).numpy().tobytes()).hexdigest()
    return {"calls": RANDOM_CALLS, "results": results, "many": MANY, "digests": digests}


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def logits(model: Model, ids: Ids, prompts: list[Ids]) -> dict[str, Any]:
    """Of a whole context, and at the end of each row of a batch with pads on the left."""
    eot, longest = model.config.eos_token_id, max(map(len, prompts))
    n_pad = np.array([longest - len(prompt) for prompt in prompts])
    padded = torch.tensor([[eot] * n + prompt for n, prompt in zip(n_pad, prompts, strict=True)])
    mask = torch.tensor([[0] * n + [1] * (longest - n) for n in n_pad])
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.no_grad():
        whole = model(torch.tensor([ids])).logits
        last = model(padded, attention_mask=mask, position_ids=positions).logits[:, -1]
    return {
        "ids": np.array(ids),
        "logits": whole[0, ::EVERY].numpy(),
        "logits_every": np.array(EVERY),
        "padded_ids": padded.numpy(),
        "padded_n_pad": n_pad,
        "padded_last_logits": last.numpy(),
    }


def inside(model: Model, ids: Ids) -> dict[str, Any]:
    """Hidden states and attentions of two rows; their last logits without a head, without an MLP, and patched."""
    batch = torch.tensor([ids[:N_INSIDE], ids[N_INSIDE : 2 * N_INSIDE]])
    layer, head, position = 1, 2, 2
    block = model.transformer.h[layer]
    d_head = model.config.n_embd // model.config.n_head

    def last_logits(hook: Any) -> Any:
        with torch.no_grad():
            logits = model(batch).logits[:, -1].numpy()
        hook.remove()
        return logits

    def without_head(_: Any, inputs: tuple[Any, ...]) -> Any:
        z = inputs[0].clone()
        z[..., head * d_head : (head + 1) * d_head] = 0
        return (z,)

    def swapped(_: Any, __: Any, output: Any) -> Any:
        output = output.clone()
        output[:, position] = output[:, position].flip(0)
        return output

    with torch.no_grad():
        out = model(batch, output_hidden_states=True, output_attentions=True)
    return {
        "ids": batch.numpy(),
        "hidden_states": torch.stack(out.hidden_states).numpy(),
        "attentions": torch.stack(out.attentions).numpy(),
        "layer": np.array(layer),
        "head": np.array(head),
        "position": np.array(position),
        "without_head": last_logits(block.attn.c_proj.register_forward_pre_hook(without_head)),
        "without_mlp": last_logits(block.mlp.register_forward_hook(lambda *_: torch.zeros(()))),
        "mlps_swapped": last_logits(block.mlp.register_forward_hook(swapped)),
    }


def generated(model: Model, prompt: Ids, eot: int | list[int] | None, **options: Any) -> Any:
    """transformers' `generate` without sampling, which pads what has ended with the model's own end token."""
    model.generation_config.eos_token_id = eot
    pad = model.config.eos_token_id
    return model.generate(torch.tensor([prompt]), do_sample=False, pad_token_id=pad, **options)


def greedy(model: Model, tokenizer: Any, prompts: list[Ids]) -> dict[str, Any]:
    written = [generated(model, prompt, None, max_new_tokens=200)[0, len(prompt) :].tolist() for prompt in prompts]
    return {
        "prompts": PROMPTS,
        "prompt_ids": prompts,
        "greedy_ids_200": written,
        "greedy_text": [tokenizer.decode(ids) for ids in written],
    }


def beams(model: Model, prompts: list[Ids]) -> list[dict[str, Any]]:
    """Each prompt by its own settings: without an end token, with the line's end as one, and with more of them."""
    cases = []
    for prompt, options in zip(prompts, BEAMS, strict=True):
        for eot in (None, 198, [198, 11, 13]):
            found = generated(
                model,
                prompt,
                eot,
                num_return_sequences=options["num_beams"],
                output_scores=True,
                return_dict_in_generate=True,
                **options,
            )
            results = {"sequences": found.sequences.tolist(), "scores": found.sequences_scores.tolist()}
            cases.append({"prompt_ids": prompt, "eos_token_id": eot, **options, **results})
    return cases


def added_tokens(model: Path) -> list[dict[str, Any]]:
    """The ids that transformers gives to texts, with files beside the model's vocabulary."""
    cases = []
    for name, files in ADDED.items():
        with tempfile.TemporaryDirectory() as directory:
            for file in ("config.json", "vocab.json", "merges.txt"):
                shutil.copy(model / file, directory)
            for file, content in files.items():
                whole = whole_tokenizer(model, content) if file == "tokenizer" else content
                (Path(directory) / f"{file}.json").write_text(json.dumps(whole), encoding="utf-8")
            tokenizer = AutoTokenizer.from_pretrained(directory)
        special = {str(token): i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        ids = [tokenizer.encode(text) for text in ADDED_TEXTS]
        cases.append({"name": name, "files": files, "texts": ADDED_TEXTS, "ids": ids, "special": special})
    return cases


def whole_tokenizer(model: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json, of which `content` gives what is not the vocabulary."""
    vocab = json.loads((model / "vocab.json").read_text(encoding="utf-8"))
    merges = (model / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    bpe = {"type": "BPE", "vocab": vocab, "merges": merges}
    return {
        "version": "1.0",
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": bpe,
    } | content


def log_probabilities(model: Model, ids: Ids) -> list[float]:
    """Of every token but the first."""
    with torch.no_grad():
        log_probs = model(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
    return log_probs[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].tolist()


def scores(model: Model, tokenizer: Any, window_ids: Ids) -> dict[str, Any]:
    ids = [tokenizer.encode(text) for text in TEXTS]
    eot, n_ctx = model.config.eos_token_id, model.config.n_positions
    return {
        "texts": TEXTS,
        "ids": ids,
        "logprobs": [log_probabilities(model, row) for row in ids],
        "logprobs_bos": [log_probabilities(model, [eot, *row]) for row in ids],
        "windows": [{"stride": stride, **perplexities(model, window_ids, n_ctx, stride)} for stride in STRIDES],
        "window_ids": window_ids,
        "n_ctx": n_ctx,
    }


def perplexities(model: Model, ids: Ids, n_ctx: int, stride: int) -> dict[str, float]:
    """Sliding windows, each scoring the tokens that are new in it: exactly, and as transformers' documentation does,
    which takes one token off every window but weighs its mean loss as if it had not."""
    nll, n_scored, doc_nll, doc_n, before = 0.0, 0, 0.0, 0, 0
    for start in range(0, len(ids), stride):
        end = min(start + n_ctx, len(ids))
        new = log_probabilities(model, ids[start:end])[-(end - before) :]
        nll, n_scored = nll - sum(new), n_scored + len(new)
        weight = end - before - 1
        doc_nll, doc_n = doc_nll - sum(new) / len(new) * weight, doc_n + weight
        before = end
        if end == len(ids):
            break
    return {
        "exact_nll": nll,
        "exact_tokens": n_scored,
        "exact_ppl": math.exp(nll / n_scored),
        "hf_doc_ppl": math.exp(doc_nll / doc_n),
    }


def gradients(model: Model, batch: Any) -> dict[str, Any]:
    """The length of every gradient and some of its entries; then the losses of ten AdamW steps on the same batch."""
    inputs, targets = batch[:, :-1], batch[:, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"inputs": inputs.numpy(), "targets": targets.numpy()}
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        logits = model(inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            for name, parameter in model.transformer.named_parameters():
                assert parameter.grad is not None
                grad = parameter.grad.numpy().reshape(-1)
                index = rng.integers(0, len(grad), N_SAMPLED)
                arrays[f"norm/{name}"] = np.float64(np.linalg.norm(grad.astype(np.float64)))
                arrays[f"index/{name}"] = index
                arrays[f"value/{name}"] = grad[index]
        optimizer.step()
    settings = "AdamW lr=1e-4 betas=(0.9,0.999) eps=1e-8 weight_decay=0.01 on every parameter, no clipping, no dropout"
    return {**arrays, "losses": np.array(losses), "optimizer": np.array(settings)}


if __name__ == "__main__":
    main()
