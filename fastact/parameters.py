"""What may be a parameter, and the gradients of parameters."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core, documentation
from ._core import is_bfloat16
from .formulas.entry import Activation
from .formulas.kernels import PARAMETER_BACKWARD, Kernel

_FLOATING = {1: np.float16, 2: np.float32}  # by the size of an integer, as np.tanh


def as_floating(arrays: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """The arrays in the dtype that decides the result's.

    NumPy resolves loops of mixed types differently: a Python float beside an int8 array
    would make float64 of it, and `dtype=` would have to name the parameter's dtype too.
    """
    dtype = keywords.get("dtype")
    casting = keywords.get("casting", "same_kind")
    if dtype is not None and np.dtype(dtype).char in "efd":
        del keywords["dtype"]
        return tuple(_cast(array, np.dtype(dtype), casting) for array in arrays)
    if any(map(_has_many_dtypes, arrays)):
        return arrays
    if any(is_bfloat16(_dtype_of(array)) for array in arrays):
        return arrays  # NumPy's older rules for such a type mind no parameters
    if any(hasattr(array, "dtype") for array in arrays):  # Python numbers are weak
        arrays = tuple(float(a) if type(a) in (bool, int) else a for a in arrays)
    return tuple(
        _cast(array, np.dtype(_FLOATING.get(found.itemsize, np.float64)), casting)
        if (found := _dtype_of(array)).kind in "biu" and not _may_miss_values(array)
        else array
        for array in arrays
    )


def as_native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array in the byte order and with the alignment that kernels read."""
    if array.dtype.isnative and array.flags.aligned:
        return array
    native: np.ndarray[Any, Any] = np.require(array, array.dtype.newbyteorder("="), "A")
    return native


def as_real_array(name: str, value: Any) -> np.ndarray[Any, Any]:
    """A floating-point array that kernels can read where it lies."""
    refuse_masked(name, value)
    array = np.asarray(value)
    if array.dtype.kind in "biu":
        (array,) = as_floating((array,), {})
    if array.dtype.char not in _core.DTYPES:
        raise TypeError(f"{name} must be an array of real numbers, not {array.dtype}")
    return as_native(array)


def refuse_masked(name: str, value: Any) -> None:
    """Raise for an array with a mask, where that would be ignored."""
    if np.ma.isMaskedArray(value):
        raise TypeError(
            f"{name} must not be a masked array, whose mask would be ignored: fill it "
            "first, say with .filled(0)"
        )


def _cast(array: Any, dtype: np.dtype[Any], casting: Any) -> Any:
    """The array in another dtype; what has a way of its own keeps labels and laziness."""
    if isinstance(array, (np.ndarray, np.generic)) or not hasattr(array, "astype"):
        return np.asanyarray(array).astype(dtype, casting=casting, copy=False)
    if _has_many_dtypes(array):
        return array.astype(dtype, casting=casting)
    found = _dtype_of(array)
    if not np.can_cast(found, dtype, casting):  # pandas' astype has no such argument
        raise TypeError(f"cannot cast from {found} to {dtype} with casting={casting!r}")
    return array.astype(dtype)


def _has_many_dtypes(array: Any) -> bool:
    """Whether it is a mapping of arrays, each with a dtype of its own: xarray's Dataset."""
    return (
        not isinstance(array, np.ndarray)  # the quick answer
        and isinstance(array, Mapping)
        and hasattr(array, "__array_ufunc__")
    )


def _kernel_dtype(arrays: Sequence[Any]) -> np.dtype[Any]:
    """float64 where the kernel computes in float64, else float32."""
    strong = [a for a in arrays if type(a) not in (bool, int, float)] or arrays
    wide = any(
        dtype.itemsize >= (8 if dtype.kind == "f" else 4)
        for dtype in map(_dtype_of, strong)
    )
    return np.dtype(np.float64 if wide else np.float32)


def _dtype_of(array: Any) -> np.dtype[Any]:
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, np.dtype):
        return dtype
    if _may_miss_values(array):  # where values are missing it would be that of objects
        return np.dtype(getattr(dtype, "numpy_dtype", object))
    return np.asarray(array).dtype


def _may_miss_values(array: Any) -> bool:
    """Whether it has one of pandas' own dtypes, which keeps missing values as such."""
    return hasattr(getattr(array, "dtype", None), "na_value")


def check_real(name: str, dtype: np.dtype[Any]) -> None:
    """Raise unless a parameter may have this dtype."""
    if dtype.kind not in "fiub" and not is_bfloat16(dtype):
        raise TypeError(
            f"{name} must be a real number or an array of them, not {dtype}; "
            "convert it first"
        )


def check_number(name: str, value: Any) -> None:
    """Raise unless it is one real number."""
    if np.ndim(value) != 0:
        raise ValueError(f"{name} must be a number, not an array")
    check_real(name, _dtype_of(value))


def check_axis(axis: Any) -> int:
    """The axis of a function along one; where the arrays lack it is not known here."""
    if axis is None or isinstance(axis, tuple):
        raise ValueError(
            f"axis must be one integer, not {axis!r}; for several axes reshape them "
            "into one first, for the whole array pass x.reshape(-1)"
        )
    try:
        return operator.index(axis)
    except TypeError:
        raise TypeError(f"axis must be an integer, not {axis!r}") from None


def as_parameter(name: str, value: Any, arrays: Sequence[Any]) -> Any:
    """A parameter in the dtype that the kernel computes in: it never promotes."""
    check_real(name, _dtype_of(value))
    if any(map(_has_many_dtypes, arrays)):  # a Python number promotes none of them
        return float(value) if np.ndim(value) == 0 else value
    target = _kernel_dtype(arrays)
    with np.errstate(all="ignore"):  # a parameter beyond float32 is an infinity or 0
        if hasattr(value, "astype") and np.ndim(value) > 0:
            return value.astype(target)
        return np.asarray(value).astype(target)


# A requirement is broken where the opposite relation holds: not where a value is NaN.
_BROKEN = {">": np.less_equal, ">=": np.less}


def check(kernel: Kernel, values: Mapping[str, Any]) -> None:
    """Raise a ValueError for parameters that are outside what the function allows."""
    for requirement in kernel.requirements:
        value, bound = values[requirement.name], requirement.bound
        if isinstance(bound, str):
            bound = values[bound]
        broken = _BROKEN[requirement.relation](value, bound)
        if np.any(broken):
            offending = np.broadcast_to(value, np.shape(broken))[broken].flat[0]
            reason = ""
            if requirement not in kernel.entry.requirements:
                reason = (
                    " for the gradient from the output: otherwise the output does not "
                    "tell the input; call the form that takes x"
                )
            raise ValueError(f"{requirement}{reason}; it is {float(offending):g}")


def _reduced_axes(
    shape: tuple[int, ...], parameter_shapes: Sequence[tuple[int, ...]]
) -> list[bool]:
    """For each axis of the result, whether every parameter is constant along it."""
    reduced = [True] * len(shape)
    for parameter_shape in parameter_shapes:
        offset = len(shape) - len(parameter_shape)
        for axis, length in enumerate(parameter_shape):
            reduced[offset + axis] &= length == 1
    return reduced


def _longest_run(flags: Sequence[bool], shape: tuple[int, ...]) -> tuple[int, int]:
    """The run of neighbouring flagged axes with the most elements: [begin, end)."""
    best, best_size, begin = (0, 0), 0, 0
    for axis in range(len(flags) + 1):
        if axis == len(flags) or not flags[axis]:
            size = int(np.prod(shape[begin:axis])) if axis > begin else 0
            if size > best_size:
                best, best_size = (begin, axis), size
            begin = axis + 1
    return best


def _core_axis_last(array: Any, begin: int, end: int) -> Any:
    """The axes [begin, end) merged to one, and that one last."""
    shape = array.shape
    merged = array.reshape(*shape[:begin], -1 if array.size else 0, *shape[end:])
    return np.moveaxis(merged, begin, -1)


def parameter_backward(
    kernel: Kernel,
    ufunc: np.ufunc,
    arrays: Sequence[Any],
    parameters: Mapping[str, Any],
    out: tuple[Any, ...] | None,
) -> tuple[Any, ...]:
    """Gradients of the arrays after dy, and of each parameter summed to its shape."""
    if any(map(np.ma.isMaskedArray, arrays)):
        return _of_masked_arrays(kernel, ufunc, arrays, parameters, out)
    arrays = as_floating(tuple(map(np.asanyarray, arrays)), {})
    casts = {
        name: np.asarray(as_parameter(name, value, arrays))
        for name, value in parameters.items()
    }
    check(kernel, casts)
    operands = (*(a.dtype for a in arrays), *[float] * len(casts), *[None] * ufunc.nout)
    dtypes = ufunc.resolve_dtypes(operands)
    wide = np.dtype(np.float64 if dtypes[0] == np.float64 else np.float32)
    shapes = [p.shape for p in casts.values()]
    shape = np.broadcast_shapes(*(a.shape for a in arrays), *shapes)
    whole = len(kernel.outputs) - len(casts)
    _check_out(out, [shape] * whole + shapes, kernel.outputs)

    begin, end = _longest_run(_reduced_axes(shape, shapes), shape)
    if begin == end:  # nothing to sum in one go: a core axis of length 1
        begin = end = len(shape)

    def in_core_form(array: Any) -> Any:
        if begin < end:
            return _core_axis_last(array, begin, end)
        return array[..., np.newaxis]

    given = (out or (None,) * whole)[:whole]
    results = [_result(array, shape, dtypes[ufunc.nin], arrays) for array in given]
    core = [in_core_form(np.broadcast_to(array, shape)) for array in arrays]
    outer = [
        p.reshape(_kept(p.shape, shape, begin, end)).astype(wide)
        for p in casts.values()
    ]
    targets = [in_core_form(result) for result in results]
    found = ufunc(*core, *outer, out=(*targets, *[None] * len(casts)))
    sums = found[whole:] if ufunc.nout > 1 else (found,)
    with np.errstate(all="ignore"):  # a sum beyond float32 is an infinity
        gradients = [
            _sum_to(total, parameter.shape, shape, begin, end).astype(wide)
            for total, parameter in zip(sums, casts.values(), strict=True)
        ]
    return _store((*results, *gradients), out)


def _of_masked_arrays(
    kernel: Kernel,
    ufunc: np.ufunc,
    arrays: Sequence[Any],
    parameters: Mapping[str, Any],
    out: tuple[Any, ...] | None,
) -> tuple[Any, ...]:
    """What is masked adds nothing to the sums, and is masked in the arrays' gradients."""
    masks = map(np.ma.getmaskarray, arrays)
    mask = functools.reduce(np.logical_or, masks)
    values = []
    for array in arrays:
        value = np.array(np.broadcast_to(np.ma.getdata(array), mask.shape))
        value[mask] = 0
        values.append(value)
    results = parameter_backward(kernel, ufunc, values, parameters, out)
    whole = len(results) - len(parameters)
    masked = []
    for result, target in zip(results[:whole], out or [None] * whole, strict=False):
        its_mask = np.array(np.broadcast_to(mask, result.shape))
        if target is None:
            masked.append(np.ma.MaskedArray(result, its_mask))
        else:
            masked.append(target)
            if np.ma.isMaskedArray(target):
                target.mask = its_mask
    return (*masked, *results[whole:])


def _kept(
    shape: tuple[int, ...], full: tuple[int, ...], begin: int, end: int
) -> tuple[int, ...]:
    """Shape of a parameter without the axes that are summed in one go."""
    padded = (1,) * (len(full) - len(shape)) + shape
    return padded[:begin] + padded[end:]


def _sum_to(
    total: Any, shape: tuple[int, ...], full: tuple[int, ...], begin: int, end: int
) -> Any:
    """Sum what the core axis has left over, down to the parameter's shape."""
    padded = (1,) * (len(full) - len(shape)) + shape
    rest = padded[:begin] + padded[end:]
    axes = tuple(i for i, length in enumerate(rest) if length == 1)
    return np.add.reduce(np.asarray(total), axis=axes).reshape(shape)


def _check_out(
    out: tuple[Any, ...] | None,
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
) -> None:
    if out is None:
        return
    if not isinstance(out, tuple) or len(out) != len(names):
        raise ValueError(
            f"out must be a tuple of {len(names)} arrays or None: ({', '.join(names)})"
        )
    for name, array, shape in zip(names, out, shapes, strict=True):
        if array is None:
            continue
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise ValueError(f"out: {name} must be an array of shape {shape}")
        if not array.flags.writeable:
            raise ValueError(f"out: {name} is read-only")
        if array.dtype.kind != "f" and not is_bfloat16(array.dtype):
            raise TypeError(f"out: {name} must be a floating-point array")


def _result(
    given: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[Any]
) -> Any:
    """The array given for a result if the kernel can write there, else a new one."""
    if (
        type(given) is np.ndarray
        and given.dtype == dtype
        and given.flags.c_contiguous
        and given.flags.aligned
        and not any(np.may_share_memory(given, array) for array in inputs)
    ):
        return given
    return np.empty(shape, dtype)


def _store(results: tuple[Any, ...], out: tuple[Any, ...] | None) -> tuple[Any, ...]:
    stored = []
    for result, target in zip(results, out or (None,) * len(results), strict=True):
        if target is None:
            stored.append(result if result.ndim else result[()])
        else:
            if target is not result:
                np.copyto(target, result, casting="same_kind")
            stored.append(target)
    return tuple(stored)


def make_parameter_backward(
    entry: Activation, ufunc: np.ufunc, module: str
) -> Callable[..., tuple[Any, ...]]:
    """The public `NAME_parameter_backward`."""
    names = [p.name for p in entry.parameters]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shown = inspect.Signature(
        [inspect.Parameter(name, positional) for name in ("dy", "x")]
        + [
            inspect.Parameter(
                p.name,
                positional,
                default=inspect.Parameter.empty if p.default is None else p.default,
            )
            for p in entry.parameters
        ]
        + [inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)]
    )

    kernel = Kernel(entry, PARAMETER_BACKWARD, with_defaults=False)

    def function(*arguments: Any, **keywords: Any) -> tuple[Any, ...]:
        bound = shown.bind(*arguments, **keywords)
        bound.apply_defaults()
        given = bound.arguments
        parameters = {name: given[name] for name in names}
        return parameter_backward(
            kernel, ufunc, (given["dy"], given["x"]), parameters, given["out"]
        )

    function.__name__ = function.__qualname__ = entry.name + PARAMETER_BACKWARD
    function.__module__ = module
    function.__doc__ = documentation.docstring(entry, PARAMETER_BACKWARD)
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function
