"""Look inside: every number of the pass by name, to see and to change. docs/inspection.md is a tour.

values = trace(ids, params, n_head)  # or model.trace(text), for any model that picogpt.load gives
logits = run_with(ids, params, n_head, {"blocks.2.mlp_out": lambda out: 0 * out})

What reads values takes ids or a trace of them, which spares the pass if it has what is asked for.
"""

from __future__ import annotations

from picogpt.inspection.ablation import ablate_heads, ablate_mlp, patch, without_heads, without_mlps
from picogpt.inspection.attribution import Attribution, direct_logit_attribution
from picogpt.inspection.heads import (
    attention_entropy,
    duplicate_token_scores,
    induction_scores,
    prefix_matching_scores,
    previous_token_scores,
    previous_token_weights,
)
from picogpt.inspection.lens import LogitLens, logit_lens
from picogpt.inspection.names import value_names
from picogpt.inspection.page import page
from picogpt.inspection.patching import ActivationPatching, activation_patching
from picogpt.inspection.targets import token_id, token_texts
from picogpt.inspection.trace import Trace, attentions, hidden_states, run_with, trace

__all__ = [
    "ActivationPatching",
    "Attribution",
    "LogitLens",
    "Trace",
    "ablate_heads",
    "ablate_mlp",
    "activation_patching",
    "attention_entropy",
    "attentions",
    "direct_logit_attribution",
    "duplicate_token_scores",
    "hidden_states",
    "induction_scores",
    "logit_lens",
    "page",
    "patch",
    "prefix_matching_scores",
    "previous_token_scores",
    "previous_token_weights",
    "run_with",
    "token_id",
    "token_texts",
    "trace",
    "value_names",
    "without_heads",
    "without_mlps",
]
