"""The softmax family: functions along one axis, over generalised ufuncs."""

from __future__ import annotations

import inspect
import operator
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from . import _core, _ufuncs, ufuncs
from ._kernels import ffi, lib
from ._ufuncs import Function
from .foreign import along_axis, has_own_axes, is_dask
from .formulas.kernels import BACKWARD_FROM_OUTPUT, FORWARD
from .formulas.rows import ROW_FUNCTIONS, ROW_INPUTS, RowFunction
from .parameters import as_floating, as_parameter, check_axis, check_number

_DOCSTRING = """{lead}

Parameters
----------
{arrays}
{parameters}
out : ndarray, optional
    Where to store the result.

Returns
-------
{result} : ndarray
    Array of {shape}.
    float16, bfloat16, float32 and float64 stay so; integers and booleans promote as in
    `numpy.tanh`.

Raises
------
ValueError
    {errors}
TypeError
    For complex numbers, objects and strings.

Notes
-----
{notes}

Source: {source}.
"""

_NORMWISE = """The error is bounded beside the row's largest y (|dy| + sum(|dy| y)), not
beside each element, where the difference may cancel."""

_ARRAYS = {
    "x": "x : array_like\n    Input: floating-point, integers or booleans, of at least one "
    "axis.",
    "y": "y : array_like\n    Output of the function.",
    "dy": "dy : array_like\n    Gradient with respect to the output, of its shape.",
}
_AXIS = """axis : int, default -1
    The axis along which the function works."""
_KEEPDIMS = """
keepdims : bool, default False
    Whether the {array} has the axis, with length 1."""
_SELECTION = """
where : array_like of bool, optional
    {selected}
scale : float, default 1
    Factor on x (the inverse of a temperature)."""
_POOL_SIZE = """pool_size : int
    How many consecutive elements form a group.
"""


def _without_axis(name: str, array: Any, axis: int) -> Any:
    """An array that has the reduced axis, as keepdims wants it, without it."""
    array = _as_array(array)
    if array.shape[normalize_axis_index(axis, array.ndim)] != 1:
        raise ValueError(
            f"{name} must have length 1 along axis {axis} when keepdims is True, not "
            f"the shape {array.shape}"
        )
    return array.squeeze(axis)


def _along(axis: int, member: str, *, reduces: bool) -> list[tuple[int, ...]]:
    """The core axes of the arrays and the result, as a generalised ufunc takes them."""
    whole: list[tuple[int, ...]] = [(axis,)]
    if not reduces:
        return whole * (len(ROW_INPUTS[member]) + 1)
    return [*whole, ()] if member == FORWARD else [(), *whole, *whole]


def _result_like(x: Any, others: tuple[Any, ...], axis: int, *, reduces: bool) -> Any:
    """An array for the result that lies as x does; None to leave it to NumPy.

    NumPy would make the axis the contiguous one: the result would lie across x, and be
    slow to write and to use.
    """
    if not -x.ndim <= axis < x.ndim - 1 or axis == -1:
        return None
    if x.dtype.kind in "biu" or not x.dtype.isnative:
        return None
    axis = normalize_axis_index(axis, x.ndim)
    shape = x.shape[:axis] + x.shape[axis + 1 :] if reduces else x.shape
    if any(array.dtype != x.dtype or array.shape != shape for array in others):
        return None
    return np.empty_like(x)


def _check_dtypes(name: str, arrays: tuple[Any, ...]) -> None:
    """Raise for pandas' own dtypes, which hand over garbage where values are missing."""
    for array in arrays:
        columns = getattr(array, "dtypes", ())  # of a frame
        for dtype in [array.dtype] if hasattr(array, "dtype") else columns:
            if hasattr(dtype, "na_value"):
                raise TypeError(
                    f"{name} takes NumPy's dtypes, not {dtype}, whose missing values "
                    "would take part in the rows; convert with .astype(float), which "
                    "makes them NaN"
                )


def _apply_to_masked(
    function: str,
    member: str,
    arrays: tuple[Any, ...],
    axis: int,
    where: Any,
    scale: Any,
    out: Any,
) -> Any:
    """Of masked arrays: what is masked takes no part, and is masked in the result."""
    if ROW_FUNCTIONS[function].pools:
        raise TypeError(
            f"{function}{member} takes no masked arrays; fill them first, say with "
            ".filled(-np.inf)"
        )
    *gradients, x = arrays
    mask: Any = np.ma.getmaskarray(x)
    included = ~mask if where is None else ~mask & np.asarray(where, bool)
    reduces = ROW_FUNCTIONS[function].reduces
    if reduces and member == FORWARD:
        mask = mask.all(axis)
    for dy in gradients:
        its_mask = np.ma.getmaskarray(dy)
        mask = mask | (np.expand_dims(its_mask, axis) if reduces else its_mask)
    values = (*(np.ma.filled(dy, 0) for dy in gradients), np.ma.getdata(x))
    target = None if out is None else np.ma.getdata(out)
    result = _apply(function, member, values, axis, included, scale, target)
    if out is None:
        return np.ma.MaskedArray(result, mask)[()]  # a scalar, not an array of no axes
    if np.ma.isMaskedArray(out):
        out[...] = np.ma.MaskedArray(target, mask)
    return out


def _apply(
    function: str,
    member: str,
    arrays: tuple[Any, ...],
    axis: Any,
    where: Any,
    scale: Any,
    out: Any,
) -> Any:
    """Call the ufunc that takes what is given."""
    axis = check_axis(axis)
    reduces = ROW_FUNCTIONS[function].reduces
    name = function + member
    plain = type(arrays[0]) is type(arrays[-1]) is np.ndarray
    if not plain:
        _check_dtypes(name, arrays)
    if (where is not None or not plain) and any(map(is_dask, (*arrays, where))):
        from .integrations.dask import along_axis as in_chunks

        return in_chunks(
            partial(_apply_to_chunks, function, member, axis, scale, where is not None),
            name,
            ROW_INPUTS[member],
            arrays,
            axis,
            where=where,
            out=out,
            leaves_out=reduces,
        )
    if not plain and any(map(np.ma.isMaskedArray, arrays)):  # dask's chunks may be
        return _apply_to_masked(function, member, arrays, axis, where, scale, out)
    if plain and out is None and not (reduces and member == FORWARD):
        out = _result_like(arrays[-1], arrays[:-1], axis, reduces=reduces)
    keywords = {} if out is None else {"out": out}
    if where is None and type(scale) is float and scale == 1.0:
        if reduces:
            keywords["axes"] = _along(axis, member, reduces=True)
        else:
            keywords["axis"] = axis
        return ufuncs.get(name)(*arrays, **keywords)
    check_number("scale", scale)
    arrays = as_floating(arrays, {})
    factor = as_parameter("scale", scale, arrays)
    shape = np.shape(arrays[-1])
    *axes, result = _along(axis, member, reduces=reduces)
    if where is None:  # one row for all
        mask = np.ones(shape[normalize_axis_index(axis, len(shape))], bool)
        axes += [(-1,), (), result]
    else:
        mask = np.broadcast_to(np.asarray(where, bool), shape)
        axes += [(axis,), (), result]
    masked = ufuncs.get(f"{name}_masked")
    return masked(*arrays, mask, factor, axes=axes, **keywords)


def _apply_to_chunks(
    function: str, member: str, axis: int, scale: Any, selects: bool, *chunks: Any
) -> Any:
    """Call the ufunc that takes what is given, with the selection as the last array."""
    *arrays, where = chunks if selects else (*chunks, None)
    return _apply(function, member, tuple(arrays), axis, where, scale, None)


def _notes(facts: RowFunction, member: str) -> str:
    formula = f"f(x) = {facts.formula}"
    if member != FORWARD:
        formula = f"dx = {facts.gradient}"
    kinks = "No kinks: the derivative is continuous"
    if facts.kinks:
        kinks = f"Kinks: {facts.kinks}"
    errors = facts.notes if member == FORWARD or facts.pools else _NORMWISE
    return "\n\n".join(
        [textwrap.fill(f"{formula}.", 80), textwrap.fill(f"{kinks}.", 80), errors]
    )


def _docstring(name: str, member: str) -> str:
    facts = ROW_FUNCTIONS[name]
    origin = " from its output y" if member == BACKWARD_FROM_OUTPUT else ""
    parameters = _AXIS
    errors = ["If axis is None or a tuple, or there is no such axis"]
    if facts.pools:
        parameters = _POOL_SIZE + parameters
        errors += ["or pool_size does not divide the axis"]
    else:
        if facts.reduces:
            parameters += _KEEPDIMS.format(
                array="result" if member == FORWARD else "dy given"
            )
        parameters += _SELECTION.format(
            selected=textwrap.fill(
                "Which elements are included; the others "
                + (facts.excluded if member == FORWARD else "take no part and get 0")
                + ".",
                84,
                subsequent_indent="    ",
            )
        )
        errors += ["or scale an array"]
    shape = "the input's shape"
    if facts.reduces and member == FORWARD:
        shape += " without the axis"
        if facts.pools:
            shape = "the input's shape, the axis divided by pool_size"
    return _DOCSTRING.format(
        lead=textwrap.fill(f"{facts.summary}: {facts.formula}.", 88)
        if member == FORWARD
        else f"Gradient of {name} with respect to its input{origin}.",
        arrays="\n".join(_ARRAYS[array] for array in ROW_INPUTS[member]),
        parameters=parameters,
        result="y" if member == FORWARD else "dx",
        shape=shape,
        errors=", ".join(errors) + ".",
        notes=_notes(facts, member),
        source=textwrap.fill(facts.source, 80, break_on_hyphens=False),
    )


def _elementwise_function(name: str, member: str) -> Any:
    """A function whose result has the input's shape.

    Others' arrays need it: pandas would call a ufunc of one frame without keywords block
    by block, along the wrong axis.
    """

    def one(
        x: Any,
        /,
        axis: int = -1,
        *,
        where: Any = None,
        scale: float = 1.0,
        out: Any = None,
    ) -> Any:
        return _apply(name, member, (x,), axis, where, scale, out)

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
        return _apply(name, member, (dy, x), axis, where, scale, out)

    return one if member == FORWARD else two


def _reducing_function(name: str, member: str) -> Any:
    """A function that leaves out the axis."""

    def forward(
        x: Any,
        /,
        axis: int = -1,
        *,
        keepdims: bool = False,
        where: Any = None,
        scale: float = 1.0,
        out: Any = None,
    ) -> Any:
        if not keepdims:
            return _apply(name, member, (x,), axis, where, scale, out)
        axis = check_axis(axis)
        target: Any = None if out is None else _without_axis("out", out, axis)
        y = _apply(name, member, (x,), axis, where, scale, target)
        if out is not None:
            if np.ma.isMaskedArray(out):  # without the axis it has a mask of its own
                out.mask = np.ma.getmaskarray(target).reshape(out.shape)
            return out
        # Not np.expand_dims, which asks dask for lengths that it may not know.
        before = (slice(None),) * normalize_axis_index(axis, y.ndim + 1)
        return y[(*before, np.newaxis)]

    def backward(
        dy: Any,
        x: Any,
        /,
        axis: int = -1,
        *,
        keepdims: bool = False,
        where: Any = None,
        scale: float = 1.0,
        out: Any = None,
    ) -> Any:
        axis = check_axis(axis)
        dy = _without_axis("dy", dy, axis) if keepdims else dy
        return _apply(name, member, (dy, x), axis, where, scale, out)

    return forward if member == FORWARD else backward


def _as_array(x: Any) -> Any:
    """What can be reshaped as it is (a dask array stays lazy)."""
    return x if hasattr(x, "reshape") else np.asanyarray(x)


def check_pool_size(pool_size: Any) -> int:
    """The length of a group; whether it divides the axis is not known here."""
    try:
        size = operator.index(pool_size)
    except TypeError:
        raise TypeError(f"pool_size must be an integer, not {pool_size!r}") from None
    if size < 1:
        raise ValueError(
            f"pool_size must be a positive divisor of the axis's length, not {size}"
        )
    return size


def _groups(x: Any, pool_size: Any, axis: int) -> Any:
    """A view of the array with the axis split in groups: never a copy."""
    size = check_pool_size(pool_size)
    axis = normalize_axis_index(axis, x.ndim)
    length = x.shape[axis]
    if length % size:
        raise ValueError(
            f"pool_size must be a positive divisor of the axis's length {length}, "
            f"not {size}"
        )
    return x.reshape(*x.shape[:axis], length // size, size, *x.shape[axis + 1 :])


def _pooling_function(name: str, member: str) -> Any:
    """A function of groups of consecutive elements."""

    def after(axis: int) -> int:
        """The axis of a group's elements, once the axis is split."""
        return axis + 1 if axis >= 0 else axis

    def of_others(
        function: Any, arrays: tuple[Any, ...], pool_size: int, axis: int, out: Any
    ) -> Any:
        function = partial(function, pool_size=pool_size)
        return along_axis(
            name + member, function, arrays, axis, out, lambda n: n // pool_size
        )

    def forward(x: Any, /, pool_size: int, axis: int = -1, *, out: Any = None) -> Any:
        axis = check_axis(axis)
        if has_own_axes(x):
            return of_others(forward, (x,), pool_size, axis, out)
        groups = _groups(_as_array(x), pool_size, axis)
        return _apply(name, member, (groups,), after(axis), None, 1.0, out)

    def backward(
        dy: Any, x: Any, /, pool_size: int, axis: int = -1, *, out: Any = None
    ) -> Any:
        axis = check_axis(axis)
        if has_own_axes(dy, x):
            return of_others(backward, (dy, x), pool_size, axis, out)
        x = _as_array(x)
        arrays = dy, _groups(x, pool_size, axis)
        target = None if out is None else _groups(out, pool_size, axis)
        dx = _apply(name, member, arrays, after(axis), None, 1.0, target)
        return dx.reshape(x.shape) if out is None else out

    return forward if member == FORWARD else backward


_ROWS = 0  # for Function.along_axis
_ufuncs.set_rows(_core.address(ffi.addressof(lib, "fa_rows_in_blocks")))


def _row_function(name: str, member: str) -> Callable[..., Any]:
    facts = ROW_FUNCTIONS[name]
    make = _elementwise_function
    if facts.reduces:
        make = _pooling_function if facts.pools else _reducing_function
    function: Any = make(name, member)
    arrays = ROW_INPUTS[member]
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    parameters[: len(arrays)] = [
        parameter.replace(name=array)
        for parameter, array in zip(parameters, arrays, strict=False)
    ]
    if not facts.reduces:
        find = partial(ufuncs.get, name + member)
        function = Function.along_axis(find, function, len(arrays), _ROWS)
    function.__name__ = function.__qualname__ = name + member
    function.__module__ = __package__
    function.__doc__ = _docstring(name, member)
    function.__signature__ = signature.replace(parameters=parameters)
    return function  # type: ignore[no-any-return]


FUNCTIONS: dict[str, Any] = {}
for _name, _facts in ROW_FUNCTIONS.items():
    _family = {
        _name + member: _row_function(_name, member) for member in _facts.members
    }
    _core.attach_members(_name, _family)
    FUNCTIONS |= _family


_NOISE_ELEMENTS = 1 << 16


def inverse_temperature(tau: Any) -> float:
    """The scale that belongs to a temperature."""
    if np.ndim(tau) != 0 or not tau > 0:
        raise ValueError(f"tau must be a positive number, not {tau!r}")
    return 1.0 / float(tau)


def _noise_like(x: Any, rng: np.random.Generator | int | None) -> Any:
    """Gumbel noise in the dtype and shape of x; the generator only makes float64."""
    rng = np.random.default_rng(rng)
    noise = np.empty(x.shape, x.dtype)
    flat = noise.reshape(-1)
    for begin in range(0, flat.size, _NOISE_ELEMENTS):
        part = flat[begin : begin + _NOISE_ELEMENTS]
        part[:] = rng.gumbel(size=part.size)
    return noise


def gumbel_softmax(
    x: Any,
    /,
    axis: int = -1,
    *,
    tau: float = 1.0,
    hard: bool = False,
    noise: Any = None,
    rng: np.random.Generator | int | None = None,
    where: Any = None,
    out: Any = None,
) -> Any:
    """Sample of a Gumbel-softmax along one axis: softmax((x + noise) / tau).

    Parameters
    ----------
    x : array_like
        Input: unnormalised log-probabilities.
    axis : int, default -1
        The axis along which the function works.
    tau : float, default 1
        Temperature, positive.
    hard : bool, default False
        Whether to return the one-hot of the sample.
    noise : array_like, optional
        Standard Gumbel noise of x's shape. For the gradient draw it yourself, say
        ``rng.gumbel(size=x.shape).astype(x.dtype)``, and give it to both functions.
    rng : numpy.random.Generator or int, optional
        What the noise is drawn from if there is none, or its seed; by default a fresh
        ``numpy.random.default_rng()``.
    where : array_like of bool, optional
        Which elements are included; the others get 0.
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    y : ndarray
        Array of the input's shape. float16, float32 and float64 stay what they are.

    Raises
    ------
    ValueError
        If tau is not positive, or axis is None or a tuple.
    TypeError
        For complex numbers, objects and strings.

    Notes
    -----
    f(x) = softmax((x + noise) / tau); with hard, 1 for the largest and 0 for the others.

    No kinks: the derivative, which is that of the soft sample, is continuous.

    Errors and special values are those of `softmax` and `hardmax` at x + noise.

    Source: E. Jang, S. Gu and B. Poole, Categorical reparameterization with
    Gumbel-softmax, 2017, arXiv:1611.01144.
    """
    scale = inverse_temperature(tau)
    (x,) = as_floating((np.asanyarray(x),), {})
    if noise is None:
        noise = _noise_like(x, rng)
        logits = np.add(x, noise, out=None if np.ma.isMaskedArray(x) else noise)
    else:
        logits = np.add(x, noise, dtype=x.dtype)
    if hard:
        return FUNCTIONS["hardmax"](logits, axis, where=where, out=out)
    return FUNCTIONS["softmax"](logits, axis, where=where, scale=scale, out=out)


def gumbel_softmax_backward(
    dy: Any,
    x: Any,
    noise: Any,
    /,
    axis: int = -1,
    *,
    tau: float = 1.0,
    where: Any = None,
    out: Any = None,
) -> Any:
    """Gradient of gumbel_softmax with respect to x: that of the soft sample.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, soft or (straight-through) hard.
    x : array_like
        Input.
    noise : array_like
        The noise that the sample was made with.
    axis : int, default -1
        The axis along which the function works.
    tau : float, default 1
        Temperature, positive.
    where : array_like of bool, optional
        Which elements are included; the others take no part and get 0.
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    dx : ndarray
        Array of the input's shape. float16, float32 and float64 stay what they are.

    Raises
    ------
    ValueError
        If tau is not positive, or axis is None or a tuple.
    TypeError
        For complex numbers, objects and strings.

    Notes
    -----
    dx = y (dy - sum(dy y)) / tau, y = softmax((x + noise) / tau): no kinks. Its error is
    bounded as that of `softmax_backward`.

    Source: E. Jang, S. Gu and B. Poole, Categorical reparameterization with
    Gumbel-softmax, 2017, arXiv:1611.01144.
    """
    scale = inverse_temperature(tau)
    (x,) = as_floating((np.asanyarray(x),), {})
    logits = np.add(x, noise, dtype=x.dtype)
    backward = FUNCTIONS["softmax_backward"]
    return backward(dy, logits, axis, where=where, scale=scale, out=out)


_family = {
    function.__name__: function
    for function in (gumbel_softmax, gumbel_softmax_backward)
}
for _function in _family.values():
    _function.__module__ = __package__
_core.attach_members("gumbel_softmax", _family)
PUBLIC: dict[str, Any] = FUNCTIONS | _family
