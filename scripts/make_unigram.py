#!/usr/bin/env python
"""Make tests/data/unigram: a small random model with a vocabulary as Goldfish's, and what transformers makes of it.

    python scripts/make_unigram.py tests/data/unigram

It needs `pip install torch transformers`, and nothing of picogpt: what it writes is another program's opinion. The
files are those of goldfish-models, but for SentencePiece's own and its large table of characters, in whose place
stands NFKC. transformers 5 has no [CLS] for AlbertTokenizer where the model's vocabulary has none, so tokenizer.json
is read by the class that takes it as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

CORPUS = [
    "To be, or not to be: that is the question: whether it is nobler in the mind to suffer",
    "the slings and arrows of outrageous fortune, or to take arms against a sea of troubles",
    "die Größe der naïven Ångström, und das ist die Frage: sein oder nicht sein",
    "быть или не быть, вот в чём вопрос",
]
TEXTS = [
    "To be, or not to be",
    "  that   is the\tquestion\n",
    "``the'' naïve ﬁsh, 1,000 und die Größe",
    "не быть 日本 \U0001f600\U0001f600 x",
    "to be [MASK] or [SEP]not",
]
NAMES = ["[CLS]", "[SEP]", "<pad>", "[MASK]"]
MULTIPLE = 32  # Goldfish rounds its vocabularies up to 2048
SIZES = {"n_positions": 67, "n_embd": 12, "n_head": 3, "n_layer": 2}
N_WRITTEN = 12


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    write_json(out / "tokenizer.json", old_spelling(json.loads(tokenizer.to_str())))
    write_json(out / "tokenizer_config.json", {"tokenizer_class": "AlbertTokenizer", "keep_accents": True})
    roles = dict(zip(["cls_token", "sep_token", "pad_token"], NAMES, strict=False)) | {"unk_token": "<unk>"}
    write_json(out / "special_tokens_map.json", {**roles, "bos_token": "[CLS]", "eos_token": "[SEP]"})
    begin, end, pad = (tokenizer.token_to_id(name) for name in NAMES[:3])
    options = {"activation_function": "gelu", "bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad}
    config = GPT2Config(vocab_size=tokenizer.get_vocab_size(), **SIZES, **options)
    write_json(
        out / "config.json",
        {"model_type": "gpt2", "vocab_size": config.vocab_size, **SIZES, **options, "prefix": "[CLS]"},
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.normal_(0, 0.4).half())
    state = {name: tensor.half() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    torch.save(state, out / "pytorch_model.bin")
    theirs = PreTrainedTokenizerFast.from_pretrained(out)
    write_json(out / "expected.json", [expected(theirs, model, text) for text in TEXTS])


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=110, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
        ),
    )
    n_pieces = tokenizer.get_vocab_size() + len(NAMES)
    names = [*NAMES, *(f"[XXXXX{i}]" for i in range(-n_pieces % MULTIPLE))]
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []  # <s> and </s> are pieces like others in Goldfish's
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False, lstrip=name == "[MASK]") for name in ["<unk>", *names]]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in NAMES[:2]],
    )
    return tokenizer


def old_spelling(content: dict[str, Any]) -> dict[str, Any]:
    """Metaspace as tokenizers wrote it in 2022."""
    old = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"}
    content["pre_tokenizer"]["pretokenizers"][1] = content["decoder"] = old
    del content["model"]["byte_fallback"]
    return content


def expected(tokenizer: Any, model: Any, text: str) -> dict[str, Any]:
    """The ids, the log-probabilities of all after the first but the last, and what is written after these."""
    ids = tokenizer(text)["input_ids"]
    prompt = torch.tensor([ids[:-1]])
    with torch.no_grad():
        log_probs = model(prompt).logits[0].double().log_softmax(dim=-1)
        written = model.generate(prompt, do_sample=False, max_new_tokens=N_WRITTEN, eos_token_id=ids[-1])[0].tolist()
    return {
        "text": text,
        "ids": ids,
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "decoded": tokenizer.decode(ids),
        "logprobs": log_probs[torch.arange(len(ids) - 2), prompt[0, 1:]].tolist(),
        "written": written[len(ids) - 1 :],
        "whole": tokenizer.decode(written),
    }


if __name__ == "__main__":
    main()
