"""The names of values: which there are, and what is said about others."""

from __future__ import annotations

import numpy as np
import pytest

from picogpt.errors import PicoGPTError
from picogpt.inspection import trace, value_names
from picogpt.inspection.names import select, without_hook
from tests.random_model import N_HEAD, N_LAYER, random_params


def test_the_names_are_those_of_the_pass() -> None:
    """A value that model.py taps under another name could not be asked for."""
    values = trace([3, 1, 4], random_params(np.random.default_rng(0)), N_HEAD)
    assert list(values) == value_names(N_LAYER)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("hook_embed", "embed"),
        ("blocks.0.hook_resid_pre", "blocks.0.resid_pre"),
        ("blocks.0.ln1.hook_normalized", "blocks.0.ln1.normalized"),
        ("blocks.1.attn.hook_attn_scores", "blocks.1.attn.scores"),
        ("blocks.1.hook_attn_out", "blocks.1.attn_out"),
        ("blocks.1.mlp.hook_post", "blocks.1.mlp.post"),
        ("ln_final.hook_normalized", "ln_final.normalized"),
    ],
)
def test_transformer_lenss_spellings_are_ours_with_hook(theirs: str, ours: str) -> None:
    assert without_hook(theirs) == ours
    assert select(theirs, 2) == {ours}


def test_patterns_select_what_they_match() -> None:
    assert select("*.pattern", 2) == {"blocks.0.attn.pattern", "blocks.1.attn.pattern"}
    assert select(["*.hook_z", "logits"], 2) == {"blocks.0.attn.z", "blocks.1.attn.z", "logits"}
    assert select("blocks.1.mlp*", 2) == {"blocks.1.mlp.pre", "blocks.1.mlp.post", "blocks.1.mlp_out"}
    assert select(None, 2) == select("*", 2) == set(value_names(2))
    assert select([], 2) == set()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "blocks.0.attn.patern",
            r"no value is called 'blocks.0.attn.patern'; the nearest names are blocks.0.attn.pattern",
        ),
        ("pattern", r"the nearest names are \*\.attn\.pattern"),
        ("*.paterns", r"the nearest names are \*\.attn\.pattern"),
        ("blocks.*.atn.q", r"the nearest names are blocks\.\*\.attn\.q"),
        ("blocks.2.attn.q", r"'blocks.2.attn.q': there is no layer 2, the model has layers 0 to 1"),
        ("ΩΩΩ", "no value is called 'ΩΩΩ'; picogpt.inspection.value_names lists the names"),
    ],
)
def test_a_name_that_matches_nothing_gets_the_nearest(name: str, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message) as caught:
        select(["logits", name], 2)
    assert "\n" not in str(caught.value)
