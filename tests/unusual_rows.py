"""Rows to test the functions along an axis with, usual and unusual ones.

Arrays have the shape (elements of a row, rows): rows lie across memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastact as fa
from fastact.checking.truth import finfo

__all__ = ["ROW_MEMBERS", "UNUSUAL", "row_arrays"]

# Functions of several rows at once, which have ways of their own to be computed
ROW_MEMBERS = [
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


def row_arrays(name: str, shape: tuple[int, int], dtype: Any) -> tuple[Any, ...]:
    """What the function takes: x, or dy and x, or dy and y."""
    rng = np.random.default_rng(1)
    x = (2 * rng.standard_normal(shape)).astype(dtype)
    if "_backward" not in name:
        return (x,)
    if name.endswith("_from_output"):
        x = getattr(fa, name.removesuffix("_backward_from_output"))(x, axis=0)
    return rng.standard_normal(shape).astype(dtype), x


def _one(value: float) -> Callable[[Any], None]:
    def put(a: Any) -> None:
        a[70 % len(a), 11] = value

    return put


def _the_largest(a: Any) -> None:
    a[70 % len(a), 11] = finfo(a.dtype).max


def _a_far_row(a: Any) -> None:
    a[:, 11] += 1000


def _one_element_far_above(a: Any) -> None:
    a[70 % len(a), 11] = 90


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
    a[70 % len(a), 11] = np.nan


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
