"""Arrays of other libraries, which keep labels or stay lazy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .parameters import check_axis


def _is_of(array: Any, module: str, kind: str) -> bool:
    """Whether it is a library's; if there are any, somebody has imported the library."""
    # Another thread may be importing it, and not have come to the class yet.
    found = getattr(sys.modules.get(module), kind, None)
    return found is not None and isinstance(array, found)


def is_dask(array: Any) -> bool:
    """Whether it is a dask array."""
    return _is_of(array, "dask.array", "Array")


def is_labelled(array: Any) -> bool:
    """Whether it is an array of xarray, or several of them."""
    return _is_of(array, "xarray", "DataArray") or _is_of(array, "xarray", "Dataset")


def is_lazy(array: Any) -> bool:
    """Whether it is a dask array, or of xarray's kinds and has one."""
    if _is_of(array, "xarray", "Dataset"):
        return any(map(is_lazy, array.values()))
    labelled = _is_of(array, "xarray", "DataArray")
    return is_dask(array) or (labelled and array.chunks is not None)


def two_results(function: Callable[..., Any], arrays: tuple[Any, ...]) -> Any:
    """Call an elementwise function that has two results on lazy arrays."""
    from .integrations.dask import several_results

    function = partial(several_results, function)
    if not any(map(is_labelled, arrays)):
        return function(arrays)
    from .integrations import xarray

    return xarray.two_results(function, arrays)


def is_foreign(array: Any) -> bool:
    """Whether an array (dask's, a masked one) has a way of its own through ufuncs.

    It can be sliced by position: pandas' frames and series cannot, and count as NumPy's.
    """
    plain = type(array) is np.ndarray or isinstance(array, np.generic)
    return (
        not plain
        and hasattr(array, "__array_ufunc__")
        and not _is_of(array, "pandas", "DataFrame")
        and not _is_of(array, "pandas", "Series")
    )


def has_own_axes(*arrays: Any) -> bool:
    """Whether `along_axis` has to call a function that changes the length of an axis."""
    return any(
        type(array) is not np.ndarray and (is_dask(array) or is_labelled(array))
        for array in arrays
    )


def along_axis(
    name: str,
    function: Callable[..., Any],
    arrays: tuple[Any, ...],
    axis: int,
    out: Any,
    new_length: Callable[[int], int],
) -> Any:
    """Call a function that changes the length of an axis of xarray's or dask's arrays.

    Parameters
    ----------
    name : str
        The function, for error messages.
    function : callable
        It takes the arrays, and ``axis``, which is the last one by default.
    arrays : tuple of array_like
        x, or dy and x.
    axis : int
        The axis along which the function works.
    out : None
        Anything else is an error.
    new_length : callable
        The length of the axis after the function, of that before.

    Returns
    -------
    result : xarray.DataArray or dask.array.Array
        Labels along the axis are those of x if it is as long, else there are none.

    Raises
    ------
    TypeError
        If there is a Dataset.
    ValueError
        If there is an out; the axis is in several chunks, or of unknown length.
    """
    axis = check_axis(axis)
    if any(_is_of(array, "xarray", "Dataset") for array in arrays):
        raise TypeError(
            f"{name} takes an xarray.DataArray, not a Dataset, whose variables have axes "
            "of their own: use xarray.apply_ufunc, or call it for each variable"
        )
    if any(map(is_labelled, arrays)):
        from .integrations.xarray import keep_labels

        return keep_labels(function, arrays, axis, out)
    from .integrations.dask import along_axis as in_chunks

    function = partial(function, axis=axis)
    names = ("dy", "x")[-len(arrays) :]
    return in_chunks(
        function, name, names, arrays, axis, out=out, new_length=new_length
    )
