"""Functions along an axis, and of several results, on dask arrays.

Nothing of this has to be called: `fastact.softmax` and its like and `fastact.Activation`
do when they get a dask array. They stay lazy, and no chunk is loaded before the result is
computed. The number of rows may be unknown.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

try:
    import dask.array as da
except ImportError as error:
    raise ImportError(
        "fastact.integrations.dask needs dask, which is not installed: "
        'pip install "dask[array]"'
    ) from error


def check_known(name: str, argument: str, array: Any, axis: int) -> None:
    """Raise where the lengths of the chunks along an axis have not been computed."""
    if math.isnan(array.shape[axis]):
        raise ValueError(
            f"{name} needs the length of axis {axis} of {argument}, which dask does not "
            f"know yet: call {argument}.compute_chunk_sizes() first"
        )


def along_axis(
    function: Callable[..., Any],
    name: str,
    arguments: Sequence[str],
    arrays: tuple[Any, ...],
    axis: int,
    *,
    where: Any = None,
    out: Any = None,
    leaves_out: bool = False,
    new_length: Callable[[int], int] | None = None,
) -> Any:
    """Call a function along an axis chunk by chunk.

    Parameters
    ----------
    function : callable
        It takes the arrays, and then the selection if there is one.
    name : str
        The function, for error messages, as are the next.
    arguments : sequence of str
        The names of the arrays.
    arrays : tuple of array_like
        x, or dy and x.
    axis : int
        The axis along which the function works.
    where : array_like of bool, optional
        Which elements are included.
    out : None
        Anything else is an error.
    leaves_out : bool, default False
        Whether the result lacks the axis; of two arrays, whether dy does.
    new_length : callable, optional
        The length of the axis in the result, of that in the array, where it is another
        one; or where dy's is.

    Returns
    -------
    result : dask.array.Array

    Raises
    ------
    ValueError
        If an array has several chunks along the axis, its length is not known, dy has
        more axes than x has for it, or there is an out.
    """
    if out is not None:
        raise ValueError(
            "out is not possible with dask arrays: assign the result instead"
        )
    arrays = tuple(map(da.asanyarray, arrays))
    x = arrays[-1]
    whole = normalize_axis_index(axis, x.ndim)
    check_known(name, arguments[-1], x, axis)
    labels = list(range(x.ndim))
    others = [label for label in labels if label != whole]
    pairs: list[Any] = []
    for argument, array in zip(arguments, arrays, strict=True):
        its_labels = labels
        if array is not x and leaves_out:
            its_labels = others
        elif array is not x and new_length:  # an axis of its own length
            its_labels = [x.ndim if label == whole else label for label in labels]
        missing = len(its_labels) - array.ndim
        if missing < 0:
            raise ValueError(
                f"{name} takes no {argument} of more axes than {arguments[-1]} has for "
                f"it on dask arrays: broadcast {arguments[-1]} first"
            )
        its_labels = its_labels[missing:]
        for label, blocks in zip(its_labels, array.numblocks, strict=True):
            if label in (whole, x.ndim) and blocks > 1:
                place = whole - x.ndim if missing else axis
                raise ValueError(
                    f"{name} needs axis {place} of {argument} in one chunk, not in "
                    f"{blocks}: pass {argument}.rechunk({{{place}: -1}})"
                )
        pairs += [array, its_labels]
    if where is not None:
        mask = da.asanyarray(where).astype(np.bool_)
        if not math.isnan(sum(x.shape)):  # else each chunk does it
            mask = da.broadcast_to(mask, x.shape)
        axes = labels[x.ndim - mask.ndim :]
        if whole in axes:
            mask = mask.rechunk({axes.index(whole): -1})
        pairs += [mask, axes]
    # Of one row it tells the dtype, and raises what it would raise of all.
    rows = (
        tuple(
            n if i in (whole, x.ndim) else 1 for n, i in zip(a.shape, axes, strict=True)
        )
        for a, axes in zip(pairs[::2], pairs[1::2], strict=True)
    )
    result = function(
        *(np.ones(row, a.dtype) for row, a in zip(rows, pairs[::2], strict=True))
    )
    return da.blockwise(
        function,
        others if leaves_out and len(arrays) == 1 else labels,
        *pairs,
        dtype=result.dtype,
        meta=np.empty((0,) * result.ndim, result.dtype),
        adjust_chunks={whole: new_length} if new_length and len(arrays) == 1 else None,
        concatenate=True,
    )


def several_results(function: Callable[..., Any], arrays: Sequence[Any]) -> Any:
    """Call an elementwise function that has several results.

    Parameters
    ----------
    function : callable
        It takes the arrays.
    arrays : sequence of array_like
        They broadcast to the shape of the results.

    Returns
    -------
    results : tuple of dask.array.Array
    """
    arrays = tuple(map(da.asanyarray, arrays))
    ndim = max(a.ndim for a in arrays)
    pairs: list[Any] = []
    for array in arrays:
        pairs += [array, range(ndim)[ndim - array.ndim :]]
    examples = function(*(np.ones((1,) * a.ndim, a.dtype) for a in arrays))
    # An array of dask's cannot have tuples for its chunks: this one is for the next only.
    together = da.blockwise(
        function,
        range(ndim),
        *pairs,
        dtype=np.object_,
        meta=np.empty((0,) * ndim, np.object_),
    )
    return tuple(
        together.map_blocks(
            operator.itemgetter(i),
            dtype=example.dtype,
            meta=np.empty((0,) * ndim, example.dtype),
        )
        for i, example in enumerate(examples)
    )
