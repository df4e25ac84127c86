"""Functions that change the length of an axis, and of two results, on xarray's arrays.

Nothing of this has to be called: `fastact.maxout`, `fastact.crelu`, the packed gates and
`fastact.Activation` do when they get a DataArray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

try:
    import xarray
except ImportError as error:
    raise ImportError(
        "fastact.integrations.xarray needs xarray, which is not installed: "
        "pip install xarray"
    ) from error


def keep_labels(
    function: Callable[..., Any], arrays: Sequence[Any], axis: int, out: Any
) -> Any:
    """Call a function along an axis of xarray's arrays.

    Parameters
    ----------
    function : callable
        It takes the arrays, of NumPy or dask, with the axis as their last one.
    arrays : sequence of array_like
        The input, or the gradient of the output and then the input. Those without labels
        have the last dimensions of the others.
    axis : int
        The position of the axis in the last array that has labels.
    out : None
        Anything else is an error.

    Returns
    -------
    result : xarray.DataArray
        With the dimensions of the input. Of a gradient all labels are the input's; a
        result keeps those along other dimensions.

    Raises
    ------
    ValueError
        If labels along other dimensions differ, there is no such axis, or there is an
        out.
    """
    if out is not None:
        raise ValueError("out is not possible with xarray's arrays: assign the result")
    labelled = [a for a in arrays if isinstance(a, xarray.DataArray)][-1]
    dims = labelled.dims
    dimension = dims[normalize_axis_index(axis, len(dims))]
    found = xarray.apply_ufunc(
        function,
        *(
            a
            if isinstance(a, xarray.DataArray)
            else xarray.DataArray(a, dims=dims[len(dims) - np.ndim(a) :])
            for a in arrays
        ),
        input_core_dims=[[dimension]] * len(arrays),
        output_core_dims=[[dimension]],
        exclude_dims={dimension},
        dask="allowed",
        keep_attrs=True,
    ).transpose(*dims)
    if len(arrays) > 1 and labelled is arrays[-1]:
        return labelled.copy(data=found.data)
    return found


def two_results(function: Callable[..., Any], arrays: Sequence[Any]) -> tuple[Any, ...]:
    """Call an elementwise function that has two results on xarray's arrays.

    Parameters
    ----------
    function : callable
        It takes a tuple of arrays of NumPy or dask.
    arrays : sequence of array_like

    Returns
    -------
    results : tuple of xarray.DataArray
    """
    found: tuple[Any, ...] = xarray.apply_ufunc(
        lambda *given: function(given),
        *arrays,
        output_core_dims=[[], []],
        dask="allowed",
        keep_attrs=True,
    )
    return found
