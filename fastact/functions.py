"""The public functions of activations with parameters.

Default values go to a ufunc that has them compiled in, others to the ufunc that takes
them as inputs. Parameters never take part in promotion: the dtype comes from the arrays.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import documentation
from ._ufuncs import Function
from .formulas.entry import Entry
from .formulas.kernels import Kernel
from .parameters import as_floating, as_parameter, check


def _template(kernel: Kernel) -> str:
    """Source of the function: a signature of its own cannot be had from **keywords."""
    entry = kernel.entry
    names = [p.name for p in entry.parameters]
    arrays = kernel.inputs[: -len(names)]
    declared = [
        name if p.default is None else f"{name}={name}_default"
        for name, p in zip(names, entry.parameters, strict=True)
    ]
    values = ", ".join(f"{name!r}: {name}" for name in names)
    checks = f"    check(kernel, {{{values}}})\n" if kernel.requirements else ""
    casts = "".join(
        f"    {name} = as_parameter({name!r}, {name}, ({', '.join(arrays)},))\n"
        for name in names
    )
    passed = ", ".join(arrays)
    targets = passed + ("," if len(arrays) == 1 else "")
    floats = f"    {targets} = as_floating(({targets}), keywords)\n"
    fast = ""
    if entry.has_defaults:
        same = " and ".join(f"{name} is {name}_default" for name in names)
        fast = f"    if {same}:\n        return default({passed}, **keywords)\n"
    return (
        f"def {entry.name}{kernel.member}({', '.join([*arrays, *declared])}, **keywords):\n"
        f"{fast}{floats}{casts}{checks}"
        f"    return general({passed}, {', '.join(names)}, **keywords)\n"
    )


def with_parameters(
    entry: Entry, member: str, ufunc: Callable[[str], np.ufunc], module: str
) -> Callable[..., Any]:
    """The public function for one member of the family of an activation.

    `ufunc` finds ufuncs by name: those of `fastact.ufuncs`, or of `fastact.numba`.
    """
    kernel = Kernel(entry, member, with_defaults=False)
    namespace: dict[str, Any] = {
        "general": ufunc(kernel.name),
        "as_floating": as_floating,
        "as_parameter": as_parameter,
        "check": check,
        "kernel": kernel,
        "__name__": module,
    }
    if entry.has_defaults:
        namespace["default"] = ufunc(Kernel(entry, member, with_defaults=True).name)
    defaults = {p.name: p.default for p in entry.parameters}
    namespace |= {f"{name}_default": value for name, value in defaults.items()}
    exec(_template(kernel), namespace)
    python: Any = namespace[entry.name + member]
    function = Function(
        namespace.get("default"),
        namespace["general"],
        python,
        len(kernel.inputs) - kernel.parameter_count,
        tuple(map(sys.intern, defaults)),
        tuple(None if d is None else float(d) for d in defaults.values()),
        _as_numbers(kernel),
    )
    vars(function).update(
        __name__=python.__name__,
        __qualname__=python.__name__,
        __module__=module,
        __doc__=documentation.docstring(entry, member),
        __signature__=_signature(python, len(kernel.outputs)),
    )
    return function


def _as_numbers(kernel: Kernel) -> tuple[tuple[int, bool, int, float], ...]:
    """The requirements as `Function` takes them."""
    names = [p.name for p in kernel.entry.parameters]
    found = []
    for r in kernel.requirements:
        if isinstance(r.bound, str):
            other, bound = names.index(r.bound), 0.0
        else:
            other, bound = -1, r.bound
        found.append((names.index(r.name), r.relation == ">", other, bound))
    return tuple(found)


def _signature(function: Callable[..., Any], output_count: int) -> inspect.Signature:
    """The signature with the keywords of a ufunc spelt out."""
    *named, _ = inspect.signature(function).parameters.values()
    out = None if output_count == 1 else (None,) * output_count
    keywords: dict[str, Any] = {"out": out, "where": True, "casting": "same_kind"}
    keywords |= {"order": "K", "dtype": None, "subok": True}
    return inspect.Signature(
        named
        + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in keywords.items()
        ]
    )
