"""Functions along an axis on dask arrays.

Nothing of this has to be called: `fastact.softmax` and its like do when they get a dask
array. They stay lazy, and no chunk is loaded before the result is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def aligned(
    name: str,
    arguments: Sequence[str],
    arrays: tuple[Any, ...],
    axis: int,
    where: Any,
    out: Any,
) -> tuple[tuple[Any, ...], Any]:
    """The arrays of a call, and its selection, with the same chunks.

    Parameters
    ----------
    name : str
        The function, for error messages, as are the next.
    arguments : sequence of str
        The names of the arrays.
    arrays : tuple of array_like
        The last one has the axis; what functions that leave out the axis get as dy has
        not.
    axis : int
        The axis along which the function works.
    where : array_like of bool or None
        Which elements are included.
    out : None
        Anything else is an error.

    Returns
    -------
    arrays : tuple of dask.array.Array
    where : dask.array.Array or None

    Raises
    ------
    ValueError
        If an array has several chunks along the axis, or there is an out.
    """
    if out is not None:
        raise ValueError(
            "out is not possible with dask arrays: assign the result instead"
        )
    arrays = tuple(map(da.asanyarray, arrays))
    x = arrays[-1]
    whole = normalize_axis_index(axis, x.ndim)
    labels = list(range(x.ndim))
    others = [label for label in labels if label != whole]
    pairs = []
    for argument, array in zip(arguments, arrays, strict=True):
        if array.ndim == x.ndim and array.numblocks[whole] > 1:
            raise ValueError(
                f"{name} needs axis {axis} of {argument} in one chunk, not in "
                f"{array.numblocks[whole]}: pass {argument}.rechunk({{{axis}: -1}})"
            )
        its_labels = (
            labels if array.ndim == x.ndim else others[x.ndim - array.ndim - 1 :]
        )
        pairs += [array, its_labels]
    if where is not None:
        mask = da.broadcast_to(da.asanyarray(where).astype(np.bool_), x.shape)
        pairs += [mask.rechunk({whole: -1}), labels]
    _, unified = da.unify_chunks(*pairs)
    return tuple(unified[: len(arrays)]), None if where is None else unified[-1]
