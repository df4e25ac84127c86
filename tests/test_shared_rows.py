"""Rows that lie across memory, whose lanes threads share (csrc/rows.c).

Whatever the threads, they have the bits of rows by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import DTYPES, assert_same_bits

import fastact as fa
from fastact.checking.truth import finfo

# Elements of a row, rows: ends of any kind; more rows than one tile has, in float64
SHAPES = [(256, 130), (300, 170), (1027, 333), (260, 16500)]
ENOUGH = (300, 230)  # that threads share them though calls do not follow one another
FUNCTIONS = [
    "softmax",
    "softmax_backward",
    "softmax_backward_from_output",
    "softmin",
    "softmin_backward",
    "log_softmax",
    "log_softmax_backward",
    "log_softmax_backward_from_output",
    "logsumexp",
]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def _arrays(name: str, shape: tuple[int, int], dtype: Any) -> tuple[Any, ...]:
    """What the function takes: x, or dy and x, or dy and y."""
    rng = np.random.default_rng(1)
    x = (2 * rng.standard_normal(shape)).astype(dtype)
    if "_backward" not in name:
        return (x,)
    if name.endswith("_from_output"):
        x = getattr(fa, name.removesuffix("_backward_from_output"))(x, axis=0)
    return rng.standard_normal(shape).astype(dtype), x


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
    _check(name, _arrays(name, shape, dtype))


@every_dtype
@pytest.mark.parametrize("scale", [-1.0, 0.375, 0.0])
@every_function
def test_with_a_scale(name: str, scale: float, dtype: Any) -> None:
    _check(name, _arrays(name, ENOUGH, dtype), scale=scale)


def _one(value: float) -> Callable[[Any], None]:
    def put(a: Any) -> None:
        a[70, 11] = value

    return put


def _the_largest(a: Any) -> None:
    a[70, 11] = finfo(a.dtype).max


def _a_far_row(a: Any) -> None:
    a[:, 11] += 1000


def _one_element_far_above(a: Any) -> None:
    a[70, 11] = 90


def _all_the_same(a: Any) -> None:
    a[:, 11] = -np.inf


def _levels(a: Any) -> None:
    """Of every level, and some with an element that has most of the weight."""
    rows = np.arange(a.shape[1])
    far = min(3e5, float(finfo(a.dtype).max) / 4)
    a += np.resize(np.array([0, -30, 1000, 36, -700, far], a.dtype), rows.size)
    a[rows % len(a), rows] += np.resize(
        np.array([0, 3, 20, 60, 90], a.dtype), rows.size
    )


def _far_with_nan(a: Any) -> None:
    a += 1000
    a[70, 11] = np.nan


UNUSUAL: dict[str, Callable[[Any], None]] = {
    "+inf": _one(np.inf),
    "-inf": _one(-np.inf),
    "NaN": _one(np.nan),
    "the largest number": _the_largest,
    "a far row": _a_far_row,
    "one element far above": _one_element_far_above,
    "only -inf": _all_the_same,
    "many levels": _levels,
    "far rows, one with NaN": _far_with_nan,
}


@every_dtype
@pytest.mark.parametrize("kind", UNUSUAL)
@every_function
def test_unusual_rows(name: str, kind: str, dtype: Any) -> None:
    """In x or y, and in dy: what a tile of usual rows goes without."""
    for k in range(len(_arrays(name, (2, 2), dtype))):
        arrays = _arrays(name, ENOUGH, dtype)
        UNUSUAL[kind](arrays[k])
        _check(name, arrays)


@every_dtype
@every_function
def test_columns_of_a_wider_array(name: str, dtype: Any) -> None:
    arrays = _arrays(name, (300, 400), dtype)
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
    expected = _by_themselves(name, _arrays(name, (300, 170), dtype))
    for k in range(len(_arrays(name, (2, 2), dtype))):
        arrays = _arrays(name, (300, 170), dtype)
        with fa.num_threads(3):
            getattr(fa, name)(*arrays, axis=0, out=arrays[k])
        assert_same_bits(arrays[k], expected)
