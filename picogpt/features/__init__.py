"""Texts as vectors, for a study: hidden states or attention statistics of each token, word or text.

found = features(model, texts, layer=3, words=True)  # or model.features(texts, …), for any that picogpt.load gives
found["hidden"], found.rows  # [n_rows, n_embd], and what each row is of
"""

from __future__ import annotations

from picogpt.features.extractor import Extractor, FeatureOptions, Features, Layers, Units, features

__all__ = ["Extractor", "FeatureOptions", "Features", "Layers", "Units", "features"]
