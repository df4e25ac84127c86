"""The plain NumPy expression for each activation: what the benchmark compares with.

``plain.NAME(x, *params)`` and ``plain.NAME_backward(dy, x, *params)`` evaluate the
one-liner that a careful user would write. They stand in the catalogue beside the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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


def softmin(x: Any, axis: int = -1) -> Any:
    """Plain NumPy softmin."""
    return softmax(-x, axis)


def softmin_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of softmin."""
    return -softmax_backward(dy, -x, axis)


def logsumexp(x: Any, axis: int = -1) -> Any:
    """Plain NumPy logsumexp."""
    largest = x.max(axis=axis, keepdims=True)
    total = np.exp(x - largest).sum(axis=axis)
    return np.log(total) + largest.squeeze(axis)


def logsumexp_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of logsumexp."""
    return np.expand_dims(dy, axis) * softmax(x, axis)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """Plain NumPy sparsemax, by sorting."""
    x = np.moveaxis(x, axis, -1)
    x = x - x.max(axis=-1, keepdims=True)
    z = -np.sort(-x, axis=-1)
    taus = (z.cumsum(axis=-1) - 1) / np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    last = (z > taus).sum(axis=-1, keepdims=True) - 1
    tau = np.take_along_axis(taus, last, -1)
    return np.moveaxis(np.maximum(x - tau, 0), -1, axis)


def sparsemax_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of sparsemax."""
    inside = sparsemax(x, axis) > 0
    total = np.where(inside, dy, 0).sum(axis=axis, keepdims=True)
    mean = total / inside.sum(axis=axis, keepdims=True, dtype=total.dtype)
    return np.where(inside, dy - mean, 0)


def entmax15(x: Any, axis: int = -1) -> Any:
    """Plain NumPy 1.5-entmax, by sorting."""
    x = np.moveaxis(x, axis, -1)
    x = (x - x.max(axis=-1, keepdims=True)) / 2
    z = -np.sort(-x, axis=-1)
    counts = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    means = z.cumsum(axis=-1) / counts
    spread = counts * ((z * z).cumsum(axis=-1) / counts - means * means)
    taus = means - np.sqrt(np.maximum((1 - spread) / counts, 0))
    last = (z >= taus).sum(axis=-1, keepdims=True) - 1
    tau = np.take_along_axis(taus, last, -1)
    return np.moveaxis(np.maximum(x - tau, 0) ** 2, -1, axis)


def entmax15_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of 1.5-entmax."""
    root = np.sqrt(entmax15(x, axis))
    mean = (root * dy).sum(axis=axis, keepdims=True) / root.sum(
        axis=axis, keepdims=True
    )
    return root * (dy - mean)


def hardmax(x: Any, axis: int = -1) -> Any:
    """Plain NumPy hardmax."""
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), 1, axis)
    return y


def hardmax_backward(dy: Any, x: Any, axis: int = -1) -> Any:
    """Plain NumPy gradient of hardmax."""
    return np.zeros_like(x)


def maxout(x: Any, pool_size: int) -> Any:
    """Plain NumPy maxout of the last axis."""
    return x.reshape(*x.shape[:-1], -1, pool_size).max(axis=-1)


def maxout_backward(dy: Any, x: Any, pool_size: int) -> Any:
    """Plain NumPy gradient of maxout of the last axis."""
    groups = x.reshape(*x.shape[:-1], -1, pool_size)
    return (hardmax(groups) * dy[..., np.newaxis]).reshape(x.shape)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the functions, made below


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
