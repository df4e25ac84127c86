"""Functions by their names: `get`, `names`, and attributes found when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import fastact

from . import families
from .bound import BoundActivation
from .formulas.entry import CATALOGUE, FUSED
from .formulas.kernels import ENTRIES, FAMILY
from .formulas.rows import ROW_FUNCTIONS

# Imported when they are first touched: not everybody needs them, or has what they need.
SUBMODULES = ("experimental", "init", "numba", "plain")
# Of fastact.custom, which needs Numba: a star import leaves them out, too.
CUSTOM = ("activation", "check")

KINDS: dict[str, Iterable[str]] = {
    "elementwise": CATALOGUE,
    "rows": ROW_FUNCTIONS,
    "gates": [name for name, entry in FUSED.items() if entry.packed_gate is not None],
    "other": ("crelu", "gumbel_softmax", "rrelu", "softmax_cross_entropy"),
}

# Names that other systems use for functions with other values: never guessed.
AMBIGUOUS = {
    "gelu_fast": "gelu_tanh (the tanh form) or swish with beta=1.702 (the sigmoid form)",
    "hard_sigmoid": "hardsigmoid (slope 1/6, as in JAX, Keras 3 and PyTorch) or "
    "clipped_linear with slope=0.2 and offset=0.5 (ONNX's default, Chainer's and thinc's)",
    "hard_swish": "hardswish (knees at -3 and 3, as in JAX and PyTorch); thinc's, with "
    "knees at -2.5 and 2.5, is not here",
}


def _split(name: str) -> tuple[str, str]:
    """The name of a function without the member's suffix, and the suffix."""
    member = max((m for m in FAMILY if name.endswith(m)), key=len)
    return name.removesuffix(member), member


def _letters(name: str) -> str:
    return name.lower().replace("_", "")


def _advice(name: str, known: Sequence[str]) -> str:
    """What to say of a name that is not there."""
    for ambiguous, meaning in AMBIGUOUS.items():
        if _letters(name) == _letters(ambiguous) or name.startswith(ambiguous + "_"):
            return f"; it may mean {meaning}"
    base, member = _split(name)
    if member and base in known:
        return (
            f"; {base} has no {member.removeprefix('_')}, see fastact.{base}_backward"
        )
    for candidate in known:  # names of classes, too: LeakyReLU
        if _letters(candidate) == _letters(name):
            return f"; did you mean {candidate!r}?"
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; did you mean {near[0]!r}?" if near else ""


def attribute(name: str, public: Sequence[str], module: str) -> object:
    """What `fastact.NAME` is where NAME is no ordinary attribute."""
    if name in SUBMODULES:
        return importlib.import_module(f"{module}.{name}")
    if name in CUSTOM:
        return getattr(importlib.import_module(f"{module}.custom"), name)
    aliases = dict(families.aliases())
    if name in aliases:
        return getattr(fastact, aliases[name])
    advice = _advice(name, [*public, *CUSTOM, *aliases])
    raise AttributeError(f"module {module!r} has no attribute {name!r}{advice}")


def canonical_names(kind: str | None = None) -> dict[str, str]:
    """Every name of every function of a kind, with the one it has here."""
    if kind is not None and kind not in KINDS:
        raise ValueError(
            f"kind must be None or one of {', '.join(KINDS)}, not {kind!r}"
        )
    found = {
        name: name
        for each, its_names in KINDS.items()
        if kind in (None, each)
        for name in its_names
    }
    aliases = {
        alias: name
        for name in found
        if name in ENTRIES
        for alias in ENTRIES[name].aliases
    }
    return found | aliases


def canonical_name(name: str, kind: str | None = None) -> str:
    """The name that a function has here; ValueError with advice if it has none."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an activation is a string, not {name!r}")
    known = canonical_names(kind)
    if name in known:
        return known[name]
    base, member = _split(name)
    others = [k for k in KINDS if kind and name in canonical_names(k)]
    if member and base in known:
        advice = f"; it is a member of {known[base]!r}"
    elif others:
        advice = f" among {kind!r}; it is among {others[0]!r}"
    else:
        advice = _advice(name, list(known)) or f"; there are {', '.join(names(kind))}"
    raise ValueError(f"there is no activation {name!r}{advice}")


def names(kind: str | None = None, *, aliases: bool = False) -> tuple[str, ...]:
    """Names of all functions that `get` finds.

    Parameters
    ----------
    kind : {None, "elementwise", "rows", "gates", "other"}, optional
        "elementwise" are the activations in the narrow sense, "rows" the functions along
        an axis (softmax and its like), "gates" those of a gate and a value; by default
        all.
    aliases : bool, default False
        Whether to list other systems' names for the same functions too.

    Returns
    -------
    names : tuple of str
        In alphabetical order.

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> fa.names("gates")
    ('bilinear', 'geglu', 'geglu_tanh', 'glu', 'reglu', 'swiglu', 'swiglu_oai')
    """
    known = canonical_names(kind)
    return tuple(sorted(known if aliases else set(known.values())))


def get(name: str, **parameters: Any) -> Any:
    """Look up an activation by its name, with parameters of its own if they are given.

    Parameters
    ----------
    name : str
        A name of `names`, or the name that another system has for the same function.
    **parameters
        Parameters of the activation: numbers or arrays that broadcast against x. For
        functions along an axis their keywords, ``axis`` and ``scale``.

    Returns
    -------
    activation : callable
        Without parameters the function itself, ``fa.get("gelu") is fa.gelu``. With
        parameters a `BoundActivation`: called with x alone, it can be pickled, hashed and
        compared, and its ``derivative(x)``, ``backward(dy, x)`` and the rest of the
        family have the same parameters.

    Raises
    ------
    ValueError
        If there is no activation of this name; the message suggests the nearest, or
        tells what an ambiguous name may mean. If it does not allow a parameter's value.
    TypeError
        If the activation has no such parameter, a parameter without default is missing,
        or a value is not a real number.

    Examples
    --------
    >>> swish = fa.get("swish", beta=1.5)
    >>> swish
    fastact.get('swish', beta=1.5)
    >>> x = np.linspace(-3, 3, 7)
    >>> y = swish(x)
    >>> dx = swish.backward(np.ones_like(x), x)
    """
    name = canonical_name(name)
    if parameters:
        return BoundActivation(name, parameters)
    return getattr(fastact, name)
