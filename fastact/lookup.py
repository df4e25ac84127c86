"""Attributes of the package that are found by other names, or only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from . import families
from .formulas.kernels import FAMILY

# Imported when they are first touched: they need what is not always installed.
SUBMODULES = ("numba", "plain")

# Names that other systems use for functions with other values: never guessed.
AMBIGUOUS = {
    "gelu_fast": "gelu_tanh (the tanh form) or swish with beta=1.702 (the sigmoid form)",
    "hard_sigmoid": "hardsigmoid (slope 1/6, as in JAX, Keras 3 and PyTorch) or "
    "clipped_linear with slope=0.2 and offset=0.5 (ONNX's default, Chainer's and thinc's)",
    "hard_swish": "hardswish (knees at -3 and 3, as in JAX and PyTorch); thinc's, with "
    "knees at -2.5 and 2.5, is not here",
}


def _advice(name: str, known: Sequence[str]) -> str:
    """What to say of a name that is not there."""
    for ambiguous, meaning in AMBIGUOUS.items():
        if name == ambiguous or name.startswith(ambiguous + "_"):
            return f"; it may mean {meaning}"
    member = next((m for m in FAMILY if m and name.endswith(m)), "")
    base = name.removesuffix(member)
    if member and base in known:
        return (
            f"; {base} has no {member.removeprefix('_')}, see fastact.{base}_backward"
        )
    for candidate in known:
        if candidate.lower() == name.lower():
            return f"; did you mean {candidate!r}?"
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; did you mean {near[0]!r}?" if near else ""


def attribute(name: str, public: Mapping[str, object], module: str) -> object:
    """What `fastact.NAME` is where NAME is no ordinary attribute."""
    if name in SUBMODULES:
        return importlib.import_module(f"{module}.{name}")
    aliases = dict(families.aliases())
    if name in aliases:
        return public[aliases[name]]
    advice = _advice(name, [*public, *aliases])
    raise AttributeError(f"module {module!r} has no attribute {name!r}{advice}")
