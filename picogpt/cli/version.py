"""`picogpt version`, `picogpt --version`: what a bug report should begin with."""

from __future__ import annotations

import argparse

from picogpt import __version__
from picogpt.cli.options import Parser


def parser() -> argparse.ArgumentParser:
    description = "Print the versions of picogpt, Python and NumPy, and which BLAS multiplies matrices."
    return Parser(prog="picogpt version", description=description)


def main(argv: list[str]) -> int:
    parser().parse_args(argv)
    import platform

    import numpy as np

    print(f"picogpt {__version__}")
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"NumPy {np.__version__} with {blas()}")
    return 0


def blas() -> str:
    """The libraries that are loaded, as they name themselves; where they do not, what NumPy was built with."""
    import numpy as np
    from threadpoolctl import threadpool_info

    loaded = [
        f"{library['internal_api']} {library['version']} ({library.get('architecture', 'unknown kernels')}, "
        f"threads: {library['num_threads']})"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return ", ".join(loaded) or f"{built['name']} {built['version']}"
