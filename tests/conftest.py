"""What every test can rely on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

# A shell starts background jobs with Ctrl-C ignored, and programs inherit that: the commands that tests interrupt would
# never stop. A handler, unlike "ignored", is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def tensorflow_is_for_its_own_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `-m "not tensorflow"` needs no TensorFlow, whatever is installed here."""
    if request.node.get_closest_marker("tensorflow") is None:
        monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.fixture(autouse=True, scope="session")
def nobodys_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models of whoever runs the tests, in a folder of theirs or in Hugging Face's cache, are not the tests'."""
    nowhere = str(tmp_path_factory.mktemp("nowhere"))
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("PICOGPT_MODELS_DIR", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"):
            patch.delenv(variable, raising=False)
        for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "HF_HOME"):
            patch.setenv(variable, nowhere)
        yield
