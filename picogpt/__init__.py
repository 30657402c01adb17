"""picogpt: GPT-2 that you can read, with NumPy alone.

    encoder, hparams, params = picogpt.load("124M")
    logits = picogpt.gpt2(encoder.encode("Not all heroes"), **params, n_head=hparams["n_head"])

Nothing here imports TensorFlow or torch, and nothing but `picogpt.download` touches the network.
"""

from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from picogpt.pretrained import GPT2, load, load_encoder_hparams_and_params

__version__ = "0.1.0"

__all__ = ["GPT2", "KVCache", "PicoGPTError", "__version__", "gpt2", "load", "load_encoder_hparams_and_params"]
