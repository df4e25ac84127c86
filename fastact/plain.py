"""The plain NumPy expression for each activation: what the benchmark compares with.

`plain.NAME(x, *params)` and `plain.NAME_backward(dy, x, *params)` evaluate the one-liner
that a careful user would write. They stand in the catalogue beside the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .formulas.entry import Entry
from .formulas.kernels import ENTRIES


def erf(x: Any) -> Any:
    """SciPy's error function; imported when it is called."""
    from scipy.special import erf as scipy_erf

    return scipy_erf(x)


def erfc(x: Any) -> Any:
    """SciPy's complementary error function; imported when it is called."""
    from scipy.special import erfc as scipy_erfc

    return scipy_erfc(x)


def _function(entry: Entry, name: str, arrays: str, expression: str) -> Any:
    parameters = [
        p.name if p.default is None else f"{p.name}={p.default!r}"
        for p in entry.parameters
    ]
    arguments = ", ".join([arrays, *parameters])
    # Apart, so that a function may have the name of one that it calls: erf.
    helpers: dict[str, Any] = {"np": np, "erf": erf, "erfc": erfc}
    helpers["__name__"] = __name__
    made: dict[str, Any] = {}
    exec(f"def {name}({arguments}):\n    return {expression}\n", helpers, made)
    function = made[name]
    function.__doc__ = f"Plain NumPy: ``{expression}``."
    return function


def softmax(x: Any, axis: int = -1) -> Any:
    """Plain NumPy softmax."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of softmax."""
    y = softmax(x, axis)
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Plain NumPy log_softmax."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of log_softmax."""
    return dy - softmax(x, axis) * dy.sum(axis=axis, keepdims=True)


def softmax_cross_entropy(logits: Any, targets: Any, axis: int = -1) -> Any:
    """Plain NumPy cross-entropy of labels, its mean over the rows."""
    labels = np.expand_dims(targets, axis)
    return -np.take_along_axis(log_softmax(logits, axis), labels, axis).mean()


def softmax_cross_entropy_backward(
    dy: Any, logits: Any, targets: Any, axis: int = -1
) -> Any:
    """Plain NumPy gradient of softmax_cross_entropy."""
    labels = np.expand_dims(targets, axis)
    gradient = softmax(logits, axis)
    weight = np.take_along_axis(gradient, labels, axis)
    np.put_along_axis(gradient, labels, weight - 1, axis)
    return gradient * (dy / labels.size)


_functions: dict[str, Callable[..., Any]] = {}
for _entry in ENTRIES.values():
    _arrays = ", ".join(_entry.arrays)
    _gradients = ", ".join(f"d{_result}" for _result in _entry.results)
    for _name, _arguments, _text in (
        (_entry.name, _arrays, _entry.plain),
        (f"{_entry.name}_backward", f"{_gradients}, {_arrays}", _entry.plain_backward),
    ):
        _functions[_name] = _function(_entry, _name, _arguments, _text)
globals().update(_functions)


def get(name: str) -> Callable[..., Any]:
    """The plain function of this name."""
    function: Callable[..., Any] = globals()[name]
    return function
