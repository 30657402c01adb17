#!/usr/bin/env python
"""Write docs/course/figures.md: every figure of the five notes beside ours.

    python scripts/make_figures.py

It needs the two course texts, beside the repository in shared/data or in data/ (`picogpt download tinyshakespeare`,
`picogpt download the-verdict`), and takes some seconds, most of them for 10,000 steps of training.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from course.page import page  # noqa: E402

if __name__ == "__main__":
    path = ROOT / "docs" / "course" / "figures.md"
    path.write_text(page(), encoding="utf-8")
    print(f"wrote {path}")
