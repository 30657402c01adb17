"""picogpt: GPT-2 that you can read, with NumPy alone.

    encoder, hparams, params = picogpt.load("124M")
    ids = encoder.encode("Not all heroes wear")
    logits = picogpt.gpt2(ids, **params, n_head=hparams["n_head"])
    text = encoder.decode(picogpt.generate(ids, params, hparams["n_head"], 8))

Nothing here imports TensorFlow or torch, and nothing but `picogpt.download` touches the network.
"""

from typing import TYPE_CHECKING

from picogpt.cache import KVCache
from picogpt.decoding import generate
from picogpt.errors import PicoGPTError
from picogpt.performance import gpt2

if TYPE_CHECKING:
    from picogpt.pretrained import GPT2, load, load_encoder_hparams_and_params

__version__ = "0.1.0"

__all__ = [
    "GPT2",
    "KVCache",
    "PicoGPTError",
    "__version__",
    "generate",
    "gpt2",
    "load",
    "load_encoder_hparams_and_params",
]


if not TYPE_CHECKING:  # what reads models is most of our part of the import: it loads when it is first asked for

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from picogpt import pretrained

        return getattr(pretrained, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
