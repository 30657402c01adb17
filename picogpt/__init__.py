"""picogpt: GPT-2 that you can read, with NumPy alone.

    encoder, hparams, params = picogpt.load("124M")
    ids = encoder.encode("Not all heroes wear")
    logits = picogpt.gpt2(ids, **params, n_head=hparams["n_head"])
    text = encoder.decode(picogpt.generate(ids, params, hparams["n_head"], 8))

Nothing here imports TensorFlow or torch, and nothing but `picogpt.download` touches the network.
"""

from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from picogpt.generation import generate
from picogpt.model import gpt2
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
