"""Models that are not read here: what they are, and what reads them or makes of them something that is."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from picogpt.errors import PicoGPTError, shown
from picogpt.files import Bytes

SAVE = "transformers 4 reads them, and save_pretrained then writes model.safetensors"
TAKE = "take the same model's model.safetensors or pytorch_model.bin"
KINDS = {  # names -> what such a file is, and what to do
    "tf_model*.h5": ("Keras weights", SAVE),
    "flax_model*.msgpack": ("Flax weights", SAVE),
    "*.onnx": ("an ONNX graph", f"onnxruntime runs it; {TAKE}"),
    "*.tflite": ("a TensorFlow Lite graph", f"LiteRT runs it; {TAKE}"),
    "*.mlmodel": ("a Core ML model", f"coremltools reads it; {TAKE}"),
    "*.mlpackage": ("a Core ML model", f"coremltools reads it; {TAKE}"),
    "*.ot": ("weights of rust-bert", f"rust-bert reads them; {TAKE}"),
    "saved_model.pb": ("a TensorFlow SavedModel", f"TensorFlow runs it; {TAKE}"),
    "adapter_model.*": ("an adapter without its model", "peft's merge_and_unload makes a whole model of both"),
    "*.ggml": ("llama.cpp's format before GGUF", "take the model that it was made from"),
    "*.ckpt": ("PyTorch Lightning's checkpoint, or a part of TensorFlow's", "call the former .pt"),
}
PARTS = ("model.safetensors", "pytorch_model.bin", "config.json", "hparams.json", "int8.safetensors", "checkpoint")
LAYOUTS = (
    "hparams.json (OpenAI's layout) nor config.json (Hugging Face's), nor is it a checkpoint of nanoGPT (ckpt.pt), "
    "llama.cpp (.gguf) or llm.c (.bin)"
)
POINTER = b"version https://git-lfs"


def describe(place: Path) -> str | None:
    """What a file of another format is, or the first one in a directory, and what to do; None where there is none."""
    paths = sorted(place.iterdir()) if place.is_dir() and not fnmatch(place.name, "*.mlpackage") else [place]
    for path in paths:
        for pattern, (what, advice) in KINDS.items():
            if fnmatch(path.name, pattern):
                name = path.name if path.name.isprintable() else shown(path.name)
                return f"{name} is {what}, which picogpt does not read; {advice}"
    return None


def explain(place: Path) -> str:
    """Why there is no model at `place`, in a line."""
    if description := describe(place):
        return f"{place} holds no model that is read here: {description}"
    if place.is_file():
        if place.name in PARTS or place.suffix == ".safetensors":
            return f"{place} is a part of a model; give its directory, {place.parent}"
        return f"{place} is not a model: its name tells no format of weights"
    return f"{place} holds no model: it has neither {LAYOUTS}"


def check_pointer(path: Path, file: Bytes) -> None:
    """Raise `PicoGPTError` where the file is what Git leaves of a large one without its LFS extension."""
    if file[: len(POINTER)].tobytes() == POINTER:
        raise PicoGPTError(f"{path} only points to the weights; `git lfs pull` in its directory fetches them")
