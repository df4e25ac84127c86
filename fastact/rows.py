"""The softmax family: functions along one axis, over generalised ufuncs."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import families, ufuncs
from .parameters import as_floating


def _check_axis(axis: Any) -> int:
    if axis is None or isinstance(axis, tuple):
        raise ValueError(
            f"axis must be one integer, not {axis!r}; for several axes reshape them into "
            "one first, for the whole array pass x.reshape(-1)"
        )
    return operator.index(axis)


def _apply(
    name: str, arrays: tuple[Any, ...], axis: Any, where: Any, scale: Any, out: Any
) -> Any:
    axis = _check_axis(axis)
    keywords = {} if out is None else {"out": out}
    if where is None and type(scale) is float and scale == 1.0:
        return ufuncs.get(name)(*arrays, axis=axis, **keywords)
    if np.ndim(scale) != 0:
        raise ValueError("scale must be a number, not an array")
    arrays = as_floating(tuple(map(np.asanyarray, arrays)), {})
    mask = True if where is None else where
    *_, last = arrays
    mask = np.broadcast_to(np.asarray(mask, bool), np.shape(last))
    axes = [(axis,)] * (len(arrays) + 1) + [(), (axis,)]
    masked = ufuncs.get(f"{name}_masked")
    return masked(*arrays, mask, float(scale), axes=axes, **keywords)


def softmax(
    x: Any, axis: int = -1, *, where: Any = None, scale: float = 1.0, out: Any = None
) -> Any:
    """Softmax along one axis: exp(scale x) / sum(exp(scale x)).

    Parameters
    ----------
    x : array_like
        Input; float16, float32 and float64 stay what they are.
    axis : int, default -1
        The axis along which the results sum to 1.
    where : array_like of bool, optional
        Which elements are included; the others get 0. A row with nothing included
        gives zeros.
    scale : float, default 1
        Factor on x (the inverse of a temperature).
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    y : ndarray
        Array of x's shape.

    Raises
    ------
    ValueError
        If axis is None or a tuple.

    Notes
    -----
    One +inf in a row gives the limit (one-hot), several, or nothing but -inf, NaN. An
    empty row gives an empty row. The rounding error of x - max(x) is carried along, so
    that results stay within 4 ULP for any spread of the row.
    """
    return _apply("softmax", (x,), axis, where, scale, out)


def softmax_backward(
    dy: Any,
    x: Any,
    axis: int = -1,
    *,
    where: Any = None,
    scale: float = 1.0,
    out: Any = None,
) -> Any:
    """Gradient of softmax with respect to x: scale y (dy - sum(dy y)), y = softmax(x).

    Parameters
    ----------
    dy, x : array_like
        Gradient with respect to the output, and the input.
    axis, where, scale, out
        As for `softmax`.

    Returns
    -------
    dx : ndarray
        Gradient with respect to x; 0 where y is 0, whatever dy.

    Raises
    ------
    ValueError
        If axis is None or a tuple.

    Notes
    -----
    The error is bounded beside the row's largest y (|dy| + sum(|dy| y)), not beside each
    element, where the difference may cancel.
    """
    return _apply("softmax_backward", (dy, x), axis, where, scale, out)


def softmax_backward_from_output(
    dy: Any,
    y: Any,
    axis: int = -1,
    *,
    where: Any = None,
    scale: float = 1.0,
    out: Any = None,
) -> Any:
    """Gradient of softmax with respect to x, from its output y.

    Parameters
    ----------
    dy, y : array_like
        Gradient with respect to the output, and the output.
    axis, where, scale, out
        As for `softmax`.

    Returns
    -------
    dx : ndarray
        Gradient with respect to x; 0 where y is 0, whatever dy.

    Raises
    ------
    ValueError
        If axis is None or a tuple.
    """
    return _apply("softmax_backward_from_output", (dy, y), axis, where, scale, out)


def log_softmax(
    x: Any, axis: int = -1, *, where: Any = None, scale: float = 1.0, out: Any = None
) -> Any:
    """Logarithm of the softmax along one axis.

    Parameters
    ----------
    x : array_like
        Input; float16, float32 and float64 stay what they are.
    axis : int, default -1
        The axis along which the exponentials of the results sum to 1.
    where : array_like of bool, optional
        Which elements are included; the others get -inf.
    scale : float, default 1
        Factor on x (the inverse of a temperature).
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    y : ndarray
        Array of x's shape.

    Raises
    ------
    ValueError
        If axis is None or a tuple.

    Notes
    -----
    Uses log1p of the sum of all weights but the largest, which keeps its digits where one
    element dominates. Infinities as in `softmax`.
    """
    return _apply("log_softmax", (x,), axis, where, scale, out)


def log_softmax_backward(
    dy: Any,
    x: Any,
    axis: int = -1,
    *,
    where: Any = None,
    scale: float = 1.0,
    out: Any = None,
) -> Any:
    """Gradient of log_softmax with respect to x: scale (dy - softmax(x) sum(dy)).

    Parameters
    ----------
    dy, x : array_like
        Gradient with respect to the output, and the input.
    axis, where, scale, out
        As for `log_softmax`.

    Returns
    -------
    dx : ndarray
        Gradient with respect to x.

    Raises
    ------
    ValueError
        If axis is None or a tuple.
    """
    return _apply("log_softmax_backward", (dy, x), axis, where, scale, out)


def log_softmax_backward_from_output(
    dy: Any,
    y: Any,
    axis: int = -1,
    *,
    where: Any = None,
    scale: float = 1.0,
    out: Any = None,
) -> Any:
    """Gradient of log_softmax with respect to x, from its output y.

    Parameters
    ----------
    dy, y : array_like
        Gradient with respect to the output, and the output.
    axis, where, scale, out
        As for `log_softmax`.

    Returns
    -------
    dx : ndarray
        Gradient with respect to x.

    Raises
    ------
    ValueError
        If axis is None or a tuple.
    """
    return _apply("log_softmax_backward_from_output", (dy, y), axis, where, scale, out)


FUNCTIONS: dict[str, Any] = {
    function.__name__: function
    for function in (
        softmax,
        softmax_backward,
        softmax_backward_from_output,
        log_softmax,
        log_softmax_backward,
        log_softmax_backward_from_output,
    )
}
for _name in ufuncs.ROW_FUNCTIONS:
    families.attach_members(
        _name, {k: f for k, f in FUNCTIONS.items() if k.startswith(_name)}
    )
