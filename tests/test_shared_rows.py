"""Rows that lie across memory, whose lanes threads share (csrc/rows.c).

Whatever the threads, they have the bits of rows by themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import DTYPES, assert_same_bits
from unusual_rows import ROW_MEMBERS, UNUSUAL, row_arrays

import fastact as fa

# Elements of a row, rows: ends of any kind; more rows than one tile has, in float64
SHAPES = [(256, 130), (300, 170), (1027, 333), (260, 16500)]
ENOUGH = (300, 230)  # that threads share them though calls do not follow one another

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
every_function = pytest.mark.parametrize("name", ROW_MEMBERS)


def _by_themselves(name: str, arrays: tuple[Any, ...], **keywords: Any) -> Any:
    with fa.num_threads(1):
        turned = [np.ascontiguousarray(a.T) for a in arrays]
        return getattr(fa, name)(*turned, **keywords).T


def _check(name: str, arrays: tuple[Any, ...], **keywords: Any) -> None:
    expected = _by_themselves(name, arrays, **keywords)
    for threads in (1, 2, 3, 16, 40):
        with fa.num_threads(threads):
            found = getattr(fa, name)(*arrays, axis=0, **keywords)
            assert_same_bits(found, expected, threads)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_function
def test_same_bits_for_every_number_of_threads(
    name: str, shape: tuple[int, int], dtype: Any
) -> None:
    _check(name, row_arrays(name, shape, dtype))


@every_dtype
@pytest.mark.parametrize("scale", [-1.0, 0.375, 0.0])
@every_function
def test_with_a_scale(name: str, scale: float, dtype: Any) -> None:
    _check(name, row_arrays(name, ENOUGH, dtype), scale=scale)


@every_dtype
@pytest.mark.parametrize("kind", UNUSUAL)
@every_function
def test_unusual_rows(name: str, kind: str, dtype: Any) -> None:
    """In x or y, and in dy: what a tile of usual rows goes without."""
    for k in range(len(row_arrays(name, (2, 2), dtype))):
        arrays = row_arrays(name, ENOUGH, dtype)
        UNUSUAL[kind](arrays[k])
        _check(name, arrays)


@every_dtype
@every_function
def test_columns_of_a_wider_array(name: str, dtype: Any) -> None:
    arrays = row_arrays(name, (300, 400), dtype)
    some = tuple(a[:, 7:333] for a in arrays)
    _check(name, some)
    if name == "logsumexp":
        return
    around = np.full((300, 400), 7, dtype)
    with fa.num_threads(3):
        getattr(fa, name)(*some, axis=0, out=around[:, 7:333])
    assert_same_bits(around[:, 7:333], _by_themselves(name, some))
    assert (around[:, :7] == 7).all()
    assert (around[:, 333:] == 7).all()


@every_dtype
@every_function
def test_in_place(name: str, dtype: Any) -> None:
    if name == "logsumexp":
        return
    expected = _by_themselves(name, row_arrays(name, (300, 170), dtype))
    for k in range(len(row_arrays(name, (2, 2), dtype))):
        arrays = row_arrays(name, (300, 170), dtype)
        with fa.num_threads(3):
            getattr(fa, name)(*arrays, axis=0, out=arrays[k])
        assert_same_bits(arrays[k], expected)
