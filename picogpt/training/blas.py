"""How many threads NumPy's matrix products use. NumPy itself cannot be asked, but the OpenBLAS inside it can."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

GET, SET = "scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Matrix products with one thread each, so that several run side by side; gives False where this cannot be had.

    Halves of a batch in two threads are faster than each product in two: the operations in between count too.
    """
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]  # no public name
    if not hasattr(library, SET):
        yield False
        return
    n_threads = getattr(library, GET)()
    getattr(library, SET)(1)
    try:
        yield True
    finally:
        getattr(library, SET)(n_threads)
