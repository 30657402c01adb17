"""Trees of arrays, such as a model's parameters: dictionaries and lists with arrays as leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from picogpt.model import Array


def named_leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Array]]:
    """Every array with its dotted path, keys in alphabetical order: equal forms, equal orders.

    >>> [name for name, _ in named_leaves({"wte": wte, "blocks": [{"ln_1": {"g": g}}]})]
    ["blocks.0.ln_1.g", "wte"]
    """
    if isinstance(tree, dict | list):
        for key, branch in sorted(tree.items()) if isinstance(tree, dict) else enumerate(tree):
            yield from named_leaves(branch, f"{name}.{key}" if name else str(key))
    else:
        yield name, tree


def leaves(tree: Any) -> Iterator[Array]:
    return (array for _, array in named_leaves(tree))


def map_tree(function: Callable[..., Array], tree: Any, *others: Any) -> Any:
    """A tree of the same form, with `function` of the leaves that stand in the same place of all the trees."""
    if isinstance(tree, dict):
        return {key: map_tree(function, branch, *(other[key] for other in others)) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [map_tree(function, *branches) for branches in zip(tree, *others, strict=True)]
    return function(tree, *others)
