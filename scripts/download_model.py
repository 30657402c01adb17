"""Get GPT-2's weights: `python scripts/download_model.py 124M`. The same as `picogpt download 124M`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it works where picogpt is not installed

from picogpt.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["download", *sys.argv[1:]]))
