"""picogpt: GPT-2 that you can read, with NumPy alone.

    encoder, hparams, params = picogpt.load("124M")
    ids = encoder.encode("Not all heroes wear")
    logits = picogpt.gpt2(ids, **params, n_head=hparams["n_head"])
    text = encoder.decode(picogpt.generate(ids, params, hparams["n_head"], 8))

Nothing here imports TensorFlow or torch, and nothing but `picogpt.download` touches the network.
"""

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself loads with what needs it

if TYPE_CHECKING:
    from picogpt.cache import KVCache
    from picogpt.decoding import generate
    from picogpt.errors import PicoGPTError
    from picogpt.performance import gpt2
    from picogpt.pretrained import GPT2, load, load_encoder_hparams_and_params, surprisal

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
    "surprisal",
]


if not TYPE_CHECKING:  # NumPy and the rest load when they are first asked for: the command line starts sooner
    _HOMES = {
        "KVCache": "cache",
        "generate": "decoding",
        "PicoGPTError": "errors",
        "gpt2": "performance",
        "GPT2": "pretrained",
        "load": "pretrained",
        "load_encoder_hparams_and_params": "pretrained",
        "surprisal": "pretrained",
    }
    _ROOMS = (
        "cache",
        "checkpoints",
        "corpus",
        "decoding",
        "download",
        "features",
        "inspection",
        "model",
        "performance",
        "scoring",
        "tokenizers",
        "training",
    )

    def __getattr__(name: str) -> object:
        if name in _ROOMS:
            return import_module(f"picogpt.{name}")
        if name in _HOMES:
            return getattr(import_module(f"picogpt.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_ROOMS})
