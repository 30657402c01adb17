"""`picogpt train-tokenizer FILE… -o DIR`: take a vocabulary from text."""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

from picogpt.cli.options import Parser
from picogpt.errors import PicoGPTError

DEFAULT_N_VOCAB = 1024
# kind -> the special tokens that are of use with it
SPECIAL_TOKENS = {
    "bpe": ["<|endoftext|>"],
    "char": [],
    "whitespace": ["<|endoftext|>", "<|unk|>"],
    "word": ["<|endoftext|>", "<|unk|>"],
}


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt train-tokenizer",
        description="Learn a byte-pair vocabulary from text files, or list their characters or words.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="text in UTF-8")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where the vocabulary goes")
    parser.add_argument("--kind", choices=SPECIAL_TOKENS, default="bpe", help="what a token is (default: bpe)")
    parser.add_argument(
        "--n-vocab", type=int, metavar="N", help=f"tokens of a bpe vocabulary (default: {DEFAULT_N_VOCAB})"
    )
    parser.add_argument(
        "--special-token",
        dest="special_tokens",
        action="append",
        metavar="TOKEN",
        help="add TOKEN; may be repeated (default: <|endoftext|>, and <|unk|> where words are tokens)",
    )
    return parser


def is_half(directory: Path, there: list[str]) -> bool:
    """Whether an earlier attempt was killed after the first of a vocabulary's two files had its name."""
    from picogpt.files import leftovers
    from picogpt.tokenizers.bpe_files import FILES

    pair = FILES["openai"]
    return len(there) == 1 and any(there == [one] and leftovers(directory / other) for one, other in (pair, pair[::-1]))


def main(argv: list[str]) -> int:
    from picogpt import tokenizers
    from picogpt.files import read_parts

    args = parser().parse_args(argv)
    if args.n_vocab is not None and args.kind != "bpe":
        raise PicoGPTError(f"--n-vocab is for --kind bpe; a {args.kind} vocabulary has as many tokens as the text")
    if (there := tokenizers.vocabulary_files(args.out)) and not is_half(args.out, there):
        raise PicoGPTError(f"{args.out} already has a vocabulary, {there[0]}; choose another directory")
    texts = chain.from_iterable(map(read_parts, args.files))
    special_tokens = SPECIAL_TOKENS[args.kind] if args.special_tokens is None else args.special_tokens
    tokenizer: tokenizers.Tokenizer
    if args.kind == "bpe":
        n_vocab = DEFAULT_N_VOCAB if args.n_vocab is None else args.n_vocab
        tokenizer = tokenizers.train_bpe(texts, n_vocab, special_tokens, progress=sys.stderr.isatty())
        if tokenizer.n_vocab < n_vocab:
            print(f"picogpt: the text has no more than {tokenizer.n_vocab} tokens to learn", file=sys.stderr)
    else:
        kinds = {
            "char": tokenizers.CharTokenizer,
            "whitespace": tokenizers.WhitespaceTokenizer,
            "word": tokenizers.WordTokenizer,
        }
        tokenizer = kinds[args.kind].from_texts(texts, special_tokens)
    tokenizer.save(args.out)
    files = " and ".join(str(args.out / name) for name in tokenizers.vocabulary_files(args.out))
    print(f"picogpt: {tokenizer.n_vocab} tokens, in {files}", file=sys.stderr)
    return 0
