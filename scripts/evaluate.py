#!/usr/bin/env python
"""How well a model predicts the last tenth of a text, in bits a character.

    python scripts/evaluate.py [MODEL] [--text FILE]

The text's last 10 %, by characters, is cut into windows of the model's context that do not overlap. Every token but
the very first is predicted, from those before it in its window. The model is used as it is stored.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from picogpt.performance import gpt2
from picogpt.pretrained import load
from picogpt.training.data import bits_per_character, split_text, validation_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="shakespeare", help="a model's name or directory (shakespeare)")
    parser.add_argument("--text", type=Path, default=Path("data/tinyshakespeare.txt"), help="its file, UTF-8")
    args = parser.parse_args()
    encoder, hparams, params = load(args.model)
    _, validation = split_text(args.text.read_text(encoding="utf-8"))
    ids = np.array(encoder.encode(validation))
    forward = partial(gpt2, **params, n_head=hparams["n_head"])
    loss = validation_loss(forward, ids, hparams["n_ctx"])
    bits = bits_per_character(loss, len(ids), len(validation))
    print(f"{loss:.4f} nats a token, {bits:.4f} bits a character ({len(validation)} characters, {len(ids)} tokens)")


if __name__ == "__main__":
    main()
