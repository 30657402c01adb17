"""The names of the arrays and trees that every room of the house passes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]  # float32 or float64; a function returns the dtype it was given
Ids = npt.NDArray[np.integer[Any]]  # token ids
HParams = dict[str, int]  # n_vocab, n_ctx, n_embd, n_head, n_layer
Params = dict[str, Any]  # the parameter tree, with the names of OpenAI's checkpoint
Tap = Callable[[str, Array], Array]  # gets an intermediate value and its name; what it returns is used instead
