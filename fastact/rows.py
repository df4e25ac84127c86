"""The softmax family: functions along one axis, over generalised ufuncs."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from . import _core, ufuncs
from .formulas.kernels import BACKWARD, BACKWARD_FROM_OUTPUT, FORWARD
from .formulas.rows import ROW_FUNCTIONS
from .parameters import as_floating, as_parameter

_DOCSTRING = """{lead}

Parameters
----------
{arrays}
axis : int, default -1
    The axis along which the function works.
where : array_like of bool, optional
    Which elements are included; the others {excluded}.
scale : float, default 1
    Factor on x (the inverse of a temperature).
out : ndarray, optional
    Where to store the result.

Returns
-------
{result} : ndarray
    Array of the input's shape. float16, bfloat16, float32 and float64 stay so.

Raises
------
ValueError
    If axis is None or a tuple, or scale an array.
TypeError
    For complex numbers, objects and strings.

Notes
-----
{notes}
"""

_SPECIAL = """

One +inf in a row gives the limit (one-hot), several, or nothing but -inf, NaN. An
empty row gives an empty row."""

_NORMWISE = """The error is bounded beside the row's largest y (|dy| + sum(|dy| y)), not
beside each element, where the difference may cancel."""

_ARRAYS = {
    "x": "x : array_like\n    Input.",
    "y": "y : array_like\n    Output of the function.",
    "dy": "dy : array_like\n    Gradient with respect to the output.",
}


def _check_axis(axis: Any) -> int:
    if axis is None or isinstance(axis, tuple):
        raise ValueError(
            f"axis must be one integer, not {axis!r}; for several axes reshape them "
            "into one first, for the whole array pass x.reshape(-1)"
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
    arrays = as_floating(arrays, {})
    factor = as_parameter("scale", scale, arrays)
    shape = np.shape(arrays[-1])
    axes: list[tuple[int, ...]] = [(axis,)] * len(arrays)
    if where is None:  # one row for all: dask can split the others as it likes
        mask = np.ones(shape[normalize_axis_index(axis, len(shape))], bool)
        axes += [(-1,), (), (axis,)]
    else:
        mask = np.broadcast_to(np.asarray(where, bool), shape)
        axes += [(axis,), (), (axis,)]
    masked = ufuncs.get(f"{name}_masked")
    return masked(*arrays, mask, factor, axes=axes, **keywords)


def _docstring(name: str, member: str, arrays: tuple[str, ...]) -> str:
    facts = ROW_FUNCTIONS[name]
    origin = " from its output y" if member == BACKWARD_FROM_OUTPUT else ""
    return _DOCSTRING.format(
        lead=facts.summary
        if member == FORWARD
        else f"Gradient of {name} with respect to x{origin}: {facts.gradient}.",
        arrays="\n".join(_ARRAYS[array] for array in arrays),
        excluded=facts.excluded if member == FORWARD else "take no part and get 0",
        result="y" if member == FORWARD else "dx",
        notes=facts.notes + _SPECIAL if member == FORWARD else _NORMWISE,
    )


def _row_function(name: str, member: str) -> Callable[..., Any]:
    full_name = name + member
    arrays = ufuncs.row_inputs(full_name)

    def one(
        x: Any,
        /,
        axis: int = -1,
        *,
        where: Any = None,
        scale: float = 1.0,
        out: Any = None,
    ) -> Any:
        return _apply(full_name, (x,), axis, where, scale, out)

    def two(
        dy: Any,
        x: Any,
        /,
        axis: int = -1,
        *,
        where: Any = None,
        scale: float = 1.0,
        out: Any = None,
    ) -> Any:
        return _apply(full_name, (dy, x), axis, where, scale, out)

    function: Any = one if len(arrays) == 1 else two
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    parameters[: len(arrays)] = [
        parameter.replace(name=array)
        for parameter, array in zip(parameters, arrays, strict=False)
    ]
    function.__name__ = function.__qualname__ = full_name
    function.__module__ = __package__
    function.__doc__ = _docstring(name, member, arrays)
    function.__signature__ = signature.replace(parameters=parameters)
    return function  # type: ignore[no-any-return]


FUNCTIONS: dict[str, Any] = {}
for _name in ROW_FUNCTIONS:
    _family = {
        _name + member: _row_function(_name, member)
        for member in (FORWARD, BACKWARD, BACKWARD_FROM_OUTPUT)
    }
    _core.attach_members(_name, _family)
    FUNCTIONS |= _family
