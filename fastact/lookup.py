"""Attributes of the package that are found by other names, or only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from . import families

# Imported when they are first touched: they need what is not always installed.
SUBMODULES = ("numba", "plain")

# Names that other systems use for functions with other values: never guessed.
AMBIGUOUS = {
    "gelu_fast": "gelu_tanh (the tanh form) or swish with beta=1.702 (the sigmoid form)",
    "hard_sigmoid_keras2": "no function of fastact: its slope is 0.2",
}


def attribute(name: str, public: Mapping[str, object], module: str) -> object:
    """What `fastact.NAME` is where NAME is no ordinary attribute."""
    if name in SUBMODULES:
        return importlib.import_module(f"{module}.{name}")
    aliases = dict(families.aliases())
    if name in aliases:
        return public[aliases[name]]
    message = f"module {module!r} has no attribute {name!r}"
    if name in AMBIGUOUS:
        raise AttributeError(f"{message}; it may mean {AMBIGUOUS[name]}")
    import difflib

    near = difflib.get_close_matches(name, [*public, *aliases], n=1, cutoff=0.75)
    if near:
        message += f"; did you mean {near[0]!r}?"
    raise AttributeError(message)
