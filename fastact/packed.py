"""Functions of halves of one array: packed gates, and concatenated relu.

The halves are views; NumPy would pass them to a ufunc one row at a time. They go to the
kernel's row loop instead, which splits all rows over the threads and copies nothing.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

import fastact

from . import _core, ufuncs
from ._ufuncs import Function
from .foreign import along_axis, has_own_axes, is_dask, is_foreign, is_labelled
from .formulas.entry import FUSED, Fused
from .formulas.kernels import BACKWARD, FORWARD, Kernel
from .parameters import as_parameter, as_real_array, check, check_axis, check_number

PACKED = "_packed"
_HALVES = {"first": 1, "second": 2}  # by the default gate, for Function.along_axis


def _layout(
    arrays: Sequence[np.ndarray[Any, Any]],
) -> tuple[list[int], list[list[int]]]:
    """Lengths and strides of the fewest axes that walk all arrays, outermost first."""
    lengths: list[int] = []
    strides: list[list[int]] = []
    first = arrays[-1]
    for axis in sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis])):
        length = first.shape[axis]
        if length == 1:
            continue
        steps = [array.strides[axis] for array in arrays]
        if strides and strides[-1] == [length * step for step in steps]:
            lengths[-1] *= length
            strides[-1] = steps
        else:
            lengths.append(length)
            strides.append(steps)
    while len(lengths) < 2:
        lengths.insert(0, 1)
        strides.insert(0, [0] * len(arrays))
    return lengths, strides


def _run(
    kernel: Kernel,
    inputs: Sequence[np.ndarray[Any, Any]],
    parameters: Sequence[np.ndarray[Any, Any]],
    outputs: Sequence[np.ndarray[Any, Any]],
) -> None:
    """Run the kernel on arrays of one shape and dtype, and parameters without a shape."""
    if outputs[0].size == 0:
        return
    ufuncs.get(kernel.name)  # made with it: the record that the loop works on
    fixed = [np.broadcast_to(p, outputs[0].shape) for p in parameters]
    arrays = [*inputs, *fixed, *outputs]
    lengths, strides = _layout(arrays)
    *outer, rows, n = lengths
    *outer_strides, row_steps, steps = strides
    kind = outputs[0].dtype.char
    for index in itertools.product(*map(range, outer)):
        addresses = [
            array.__array_interface__["data"][0]
            + sum(
                i * strides[k] for i, strides in zip(index, outer_strides, strict=True)
            )
            for k, array in enumerate(arrays)
        ]
        _core.run_rows(
            kernel.name,
            kind,
            addresses,
            (rows, n),
            list(zip(row_steps, steps, strict=True)),
        )


def _axis_of(array: np.ndarray[Any, Any], axis: Any) -> int:
    if array.ndim == 0:
        raise ValueError("x must have at least one axis")
    return normalize_axis_index(check_axis(axis), array.ndim)


def _half(
    array: np.ndarray[Any, Any], axis: int, second: bool, interleaved: bool
) -> np.ndarray[Any, Any]:
    """One half of an array along an axis, as a view."""
    middle = array.shape[axis] // 2
    if interleaved:
        part = slice(int(second), None, 2)
    else:
        part = slice(middle, None) if second else slice(middle)
    return array[(slice(None),) * axis + (part,)]


def _result(
    out: Any,
    shape: tuple[int, ...],
    like: np.ndarray[Any, Any],
    sources: Sequence[np.ndarray[Any, Any]],
) -> tuple[np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]:
    """Where the result goes, and the arrays it is made of.

    Arrays that `out` overlaps in another way than by being the same are copied.
    """
    if out is None:
        return np.empty_like(like, shape=shape, subok=False), list(sources)
    if not isinstance(out, np.ndarray) or out.shape != shape:
        raise ValueError(f"out must be an array of shape {shape}")
    if out.dtype != like.dtype or not out.flags.aligned:
        raise TypeError(f"out must be an aligned array of {like.dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out, [
        source.copy()
        if np.may_share_memory(source, out) and not _same(source, out)
        else source
        for source in sources
    ]


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    data = "data"
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__[data] == b.__array_interface__[data]
    )


def _halves_of(
    array: np.ndarray[Any, Any], axis: int, gate: str, interleaved: bool
) -> list[np.ndarray[Any, Any]]:
    """The gate and the value."""
    second = gate == "second"
    return [
        _half(array, axis, second, interleaved),
        _half(array, axis, not second, interleaved),
    ]


def check_gate(gate: Any) -> None:
    """Raise unless it says which half is activated."""
    if gate not in ("first", "second"):
        raise ValueError(f"gate must be 'first' or 'second', not {gate!r}")


def _check_even(x: np.ndarray[Any, Any], axis: int) -> None:
    if x.shape[axis] % 2:
        raise ValueError(
            f"x must have an even length along axis {axis}, for two halves; "
            f"it has {x.shape[axis]}"
        )


def _check_shape(
    dy: np.ndarray[Any, Any], shape: tuple[int, ...], x: np.ndarray[Any, Any]
) -> None:
    if dy.shape != shape:
        raise ValueError(
            f"dy must have shape {shape} for x of shape {x.shape}, not {dy.shape}"
        )


def _parameters(
    kernel: Kernel, given: dict[str, Any], x: np.ndarray[Any, Any]
) -> tuple[Kernel, list[np.ndarray[Any, Any]]]:
    """The kernel for these parameters, and what it takes."""
    for name, value in given.items():
        check_number(name, value)
    defaults = {p.name: p.default for p in kernel.entry.parameters}
    if kernel.entry.has_defaults and given == defaults:
        return Kernel(kernel.entry, kernel.member, with_defaults=True), []
    check(kernel, given)
    return kernel, [as_parameter(name, given[name], (x,)) for name in defaults]


def _of_others(
    name: str, arrays: tuple[Any, ...], axis: int, out: Any, how: dict[str, Any]
) -> Any:
    """Call a packed function on xarray's or dask's arrays."""
    function = partial(getattr(fastact, name), **how)
    return along_axis(name, function, arrays, axis, out, lambda n: n // 2)


def gate_packed(
    entry: Fused,
    function: Callable[..., Any],
    x: Any,
    axis: int,
    gate: str,
    interleaved: bool,
    out: Any,
    parameters: dict[str, Any],
) -> Any:
    """The gate function of the two halves of x."""
    check_gate(gate)
    if is_labelled(x):
        how = {"gate": gate, "interleaved": interleaved, **parameters}
        return _of_others(entry.name + PACKED, (x,), axis, out, how)
    if is_foreign(x):
        axis = _axis_of(x, axis)
        if is_dask(x):
            from .integrations.dask import check_known

            check_known(entry.name + PACKED, "x", x, axis)
        _check_even(x, axis)
        halves = _halves_of(x, axis, gate, interleaved)
        return function(*halves, **parameters, **({} if out is None else {"out": out}))
    x = as_real_array("x", x)
    axis = _axis_of(x, axis)
    _check_even(x, axis)
    kernel = Kernel(entry, FORWARD, with_defaults=False)
    kernel, fixed = _parameters(kernel, parameters, x)
    halves = _halves_of(x, axis, gate, interleaved)
    y, halves = _result(out, halves[0].shape, halves[0], halves)
    _run(kernel, halves, fixed, [y])
    return y


def gate_packed_backward(
    entry: Fused,
    dy: Any,
    x: Any,
    axis: int,
    gate: str,
    interleaved: bool,
    out: Any,
    parameters: dict[str, Any],
) -> Any:
    """The gradient of x, packed as x is."""
    check_gate(gate)
    if has_own_axes(dy, x):
        how = {"gate": gate, "interleaved": interleaved, **parameters}
        return _of_others(entry.name + PACKED + BACKWARD, (dy, x), axis, out, how)
    dy, x = _same_dtype(as_real_array("dy", dy), as_real_array("x", x))
    axis = _axis_of(x, axis)
    _check_even(x, axis)
    kernel = Kernel(entry, BACKWARD, with_defaults=False)
    kernel, fixed = _parameters(kernel, parameters, x)
    _check_shape(dy, _half(x, axis, False, interleaved).shape, x)
    dx, (dy, x) = _result(out, x.shape, x, [dy, x])
    halves = _halves_of(x, axis, gate, interleaved)
    _run(kernel, [dy, *halves], fixed, _halves_of(dx, axis, gate, interleaved))
    return dx


def _same_dtype(
    *arrays: np.ndarray[Any, Any],
) -> list[np.ndarray[Any, Any]]:
    dtype = np.result_type(*arrays)
    return [array.astype(dtype, copy=False) for array in arrays]


def crelu(x: Any, axis: int = -1, *, out: Any = None) -> Any:
    """Concatenated relu: max(x, 0) and max(-x, 0), joined along an axis.

    Parameters
    ----------
    x : array_like
        Input: floating-point, integers or booleans, with at least one axis.
    axis : int, default -1
        The axis along which the two are joined. (Chainer's default is 1.)
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    y : ndarray
        Of x's dtype, twice as long along the axis: first max(x, 0), then max(-x, 0).

    Raises
    ------
    ValueError
        If x has no such axis, or out another shape.
    TypeError
        For complex numbers, objects and strings, or an out of another dtype.

    Notes
    -----
    f(x) = (max(x, 0), max(-x, 0)).

    Kinks: in both halves f'(0) = 0.

    Exact. NaN gives NaN in both halves. float16, bfloat16, float32 and float64 stay what
    they are; integers and booleans promote as in `numpy.tanh`.

    Source: Shang et al. 2016, arXiv:1603.05201.
    """
    if has_own_axes(x):
        return along_axis("crelu", crelu, (x,), axis, out, lambda n: 2 * n)
    x = as_real_array("x", x)
    axis = _axis_of(x, axis)
    shape = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    y, (x,) = _result(out, shape, x, [x])
    kernel = Kernel(FUSED["crelu_parts"], FORWARD, with_defaults=False)
    _run(kernel, [x], [], _halves_of(y, axis, "first", False))
    return y


def crelu_backward(dy: Any, x: Any, axis: int = -1, *, out: Any = None) -> Any:
    """Gradient of crelu with respect to its input x.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, twice as long as x along the axis.
    x : array_like
        Input.
    axis : int, default -1
        The axis along which the two halves of the output are joined.
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    dx : ndarray
        Of x's shape: dy's first half where x > 0, minus its second half where x < 0, and
        0 where x is 0.

    Raises
    ------
    ValueError
        If the shapes do not fit, or x has no such axis.
    TypeError
        For complex numbers, objects and strings, or an out of another dtype.

    Notes
    -----
    Kinks: dx = 0 at x = 0.

    Exact; dtypes as for `crelu`.

    Source: Shang et al. 2016, arXiv:1603.05201.
    """
    if has_own_axes(dy, x):
        name = "crelu_backward"
        return along_axis(name, crelu_backward, (dy, x), axis, out, lambda n: 2 * n)
    dy, x = _same_dtype(as_real_array("dy", dy), as_real_array("x", x))
    axis = _axis_of(x, axis)
    _check_shape(dy, (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :]), x)
    dx, (dy, x) = _result(out, x.shape, x, [dy, x])
    kernel = Kernel(FUSED["crelu_parts"], BACKWARD, with_defaults=False)
    _run(kernel, [*_halves_of(dy, axis, "first", False), x], [], [dx])
    return dx


_DOCSTRING = """{lead}

Parameters
----------
{arrays}axis : int, default -1
    The axis that holds the two halves; its length is even.
gate : {{"first", "second"}}, default "{gate}"
    Which half is activated.
interleaved : bool, default False
    Whether gate and value alternate, instead of lying in two blocks.
{parameters}out : ndarray, optional
    Where to store the result.

Returns
-------
{result}

Raises
------
ValueError
    For an odd length along the axis, shapes that do not fit, or another `gate`.{broken}
TypeError
    For complex numbers, objects and strings, or an out of another dtype.

Notes
-----
f(gate, value) = {formula}.

Kinks and error bound are those of `fastact.{name}`. float16, bfloat16, float32 and float64
stay what they are; integers and booleans promote as in `numpy.tanh`. No array is allocated
but the result.{notes}

Source: {source}.
"""


def _docstring(entry: Fused, member: str) -> str:
    arrays = "x : array_like\n    Gate and value in one array.\n"
    lead = f"{entry.summary.rstrip('.')}, of the two halves of one array."
    result = "y : ndarray\n    Of x's dtype, half as long as x along the axis."
    if member == BACKWARD:
        arrays = "dy : array_like\n    Gradient with respect to the output.\n" + arrays
        lead = f"Gradient of {entry.name}_packed with respect to its input x."
        result = "dx : ndarray\n    Gradient of gate and value, packed as x is."
    requirements = "".join(f" Unless {r}." for r in entry.requirements)
    return _DOCSTRING.format(
        lead=lead,
        arrays=arrays,
        gate=entry.packed_gate,
        parameters="".join(
            f"{p.name} : float, default {p.default:g}\n    Parameter.\n"
            for p in entry.parameters
        ),
        result=result,
        broken=requirements,
        formula=entry.formula,
        name=entry.name,
        notes=f" {entry.notes}" if entry.notes else "",
        source=entry.source,
    )


def _packed_function(entry: Fused, member: str, plain: Any) -> Callable[..., Any]:
    """The public `NAME_packed` or `NAME_packed_backward`."""
    default_gate: Any = entry.packed_gate

    def forward(
        x: Any,
        axis: int = -1,
        gate: str = default_gate,
        interleaved: bool = False,
        *,
        out: Any = None,
        **parameters: Any,
    ) -> Any:
        given = _given(entry, parameters)
        return gate_packed(entry, plain, x, axis, gate, interleaved, out, given)

    def backward(
        dy: Any,
        x: Any,
        axis: int = -1,
        gate: str = default_gate,
        interleaved: bool = False,
        *,
        out: Any = None,
        **parameters: Any,
    ) -> Any:
        given = _given(entry, parameters)
        return gate_packed_backward(entry, dy, x, axis, gate, interleaved, out, given)

    function: Any = forward if member == FORWARD else backward
    *shown, _ = inspect.signature(function).parameters.values()
    kernel = Kernel(entry, member, with_defaults=entry.has_defaults)
    if not kernel.parameter_count:
        find = partial(ufuncs.elementwise, kernel, __name__, generalised=True)
        arrays = 1 if member == FORWARD else 2
        function = Function.along_axis(find, function, arrays, _HALVES[default_gate])
    shown += [
        inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY, default=p.default)
        for p in entry.parameters
    ]
    function.__signature__ = inspect.Signature(shown)
    function.__name__ = function.__qualname__ = entry.name + PACKED + member
    function.__module__ = __package__
    function.__doc__ = _docstring(entry, member)
    return function  # type: ignore[no-any-return]


def _given(entry: Fused, parameters: dict[str, Any]) -> dict[str, Any]:
    defaults = {p.name: p.default for p in entry.parameters}
    for name in parameters:
        if name not in defaults:
            allowed = ", ".join(["out", *defaults])
            raise TypeError(
                f"{entry.name}{PACKED} has no argument {name!r}; keywords are {allowed}"
            )
    return defaults | parameters


def packed_names() -> dict[str, Fused]:
    """Names of the packed functions, with the entry each belongs to."""
    return {
        entry.name + PACKED + member: entry
        for entry in FUSED.values()
        if entry.packed_gate is not None
        for member in (FORWARD, BACKWARD)
    }


def packed_family(entry: Fused, plain: Any) -> dict[str, Callable[..., Any]]:
    """The packed functions of an entry; `plain` is that of two arrays."""
    forward: Any = _packed_function(entry, FORWARD, plain)
    backward = _packed_function(entry, BACKWARD, plain)
    forward.backward = backward
    vars(plain)["packed"] = forward
    return {forward.__name__: forward, backward.__name__: backward}


vars(crelu)["backward"] = crelu_backward
for _function in (crelu, crelu_backward):
    _function.__module__ = __package__
