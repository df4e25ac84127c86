"""All ufuncs, as NumPy sees them.

Activations without parameters are here under their public names. Of one with parameters,
`NAME` takes them as further inputs that broadcast, and `NAME_default` has the default
values compiled in; the public function chooses between the two.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any

import numpy as np

from . import _core, documentation
from .formulas.kernels import Kernel, kernels, members
from .formulas.rows import ROW_FUNCTIONS, ROW_INPUTS


def signature(
    inputs: tuple[str, ...], output_count: int, *, generalised: bool = False
) -> inspect.Signature:
    """What `inspect.signature` shows: NumPy 2.2 cannot tell it of a ufunc."""
    positional = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in inputs
    ]
    out = None if output_count == 1 else (None,) * output_count
    keywords: dict[str, Any] = {"out": out}
    keywords |= {} if generalised else {"where": True}
    keywords |= {"casting": "same_kind", "order": "K", "dtype": None, "subok": True}
    return inspect.Signature(
        positional
        + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in keywords.items()
        ]
    )


def describe(ufunc: np.ufunc, module: str, shown: inspect.Signature) -> np.ufunc:
    """Say where a ufunc is found (pickle asks for it) and how it is called."""
    _core.attach(
        ufunc,
        {
            "__module__": module,
            "__qualname__": ufunc.__name__,
            "__signature__": shown,
        },
    )
    return ufunc


def elementwise(
    kernel: Kernel, module: str, backend: str = "current", **how: Any
) -> np.ufunc:
    """The ufunc over a kernel, documented; for `how` see `_core.make_ufunc`."""
    doc = documentation.docstring(kernel.entry, kernel.member)
    ufunc = _core.make_ufunc(kernel, doc, backend=backend, **how)
    shown = signature(
        kernel.inputs, len(kernel.outputs), generalised=ufunc.signature is not None
    )
    return describe(ufunc, module, shown)


def _row_names(function: str) -> list[str]:
    """Names of the ufuncs of a row function."""
    facts = ROW_FUNCTIONS[function]
    suffixes = ("",) if facts.pools else ("", "_masked")
    return [function + member + s for member in facts.members for s in suffixes]


def _row_family(function: str) -> dict[str, np.ufunc]:
    family = {}
    facts = ROW_FUNCTIONS[function]
    for member in facts.members:
        for masked in (False,) if facts.pools else (False, True):
            name = function + member + ("_masked" if masked else "")
            doc = (
                f"{function}{member} along one axis; see `fastact.{function}{member}`."
            )
            ufunc = _core.make_row_ufunc(
                name, doc, function=function, member=member, masked=masked
            )
            operands = ROW_INPUTS[member] + (("mask", "scale") if masked else ())
            shown = signature(operands, 1, generalised=True)
            family[name] = describe(ufunc, __name__, shown)
    return family


_KERNELS = {kernel.name: kernel for kernel in kernels()}
_ROWS = {name: function for function in ROW_FUNCTIONS for name in _row_names(function)}
__all__ = sorted([*_KERNELS, *_ROWS])

_made: dict[str, np.ufunc] = {}
_lock = threading.RLock()


def _make(name: str) -> None:
    """Make a ufunc, and those that belong to it: importing fastact makes none."""
    if name in _ROWS:
        _made.update(_row_family(_ROWS[name]))
        return
    entry = _KERNELS[name].entry
    if entry.parameters:
        _made[name] = elementwise(_KERNELS[name], __name__)
        return
    # Public under its own name, with the rest of the family as attributes.
    family = {
        entry.name + member: elementwise(_KERNELS[entry.name + member], __name__)
        for member in members(entry)
    }
    _core.attach_members(entry.name, family)
    _made.update(family)


def get(name: str) -> np.ufunc:
    """The ufunc of this name."""
    if name not in _made:
        with _lock:
            if name not in _made:
                _make(name)
    return _made[name]


def __getattr__(name: str) -> np.ufunc:
    if name in _KERNELS or name in _ROWS:
        return get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
