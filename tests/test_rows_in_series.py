"""Several short rows at once (csrc/rows_series_template.h) have the bits of each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import DTYPES, assert_same_bits
from unusual_rows import ROW_MEMBERS, UNUSUAL, row_arrays

import fastact as fa

# Turned into columns; less than 16 partial sums; whole blocks and not; where two rows are
# just few enough to be taken at once, and no two
LENGTHS = [2, 7, 8, 13, 16, 17, 64, 100, 333, 512, 513, 1024, 1025]
ROWS = 129  # one more than twice as many as are taken at once

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
every_function = pytest.mark.parametrize("name", ROW_MEMBERS)


def _rows(name: str, n: int, dtype: Any) -> tuple[Any, ...]:
    """What the function takes, row after row."""
    return tuple(np.ascontiguousarray(a.T) for a in row_arrays(name, (n, ROWS), dtype))


def _one_by_one(name: str, arrays: tuple[Any, ...], **keywords: Any) -> Any:
    function = getattr(fa, name)
    return np.concatenate(
        [function(*(a[r : r + 1] for a in arrays), **keywords) for r in range(ROWS)]
    )


@every_dtype
@pytest.mark.parametrize("n", LENGTHS)
@every_function
def test_usual_rows(name: str, n: int, dtype: Any) -> None:
    arrays = _rows(name, n, dtype)
    for scale in (1.0, -1.0, 0.375, 0.0, 1e30, np.inf, np.nan):
        found = getattr(fa, name)(*arrays, scale=scale)
        assert_same_bits(found, _one_by_one(name, arrays, scale=scale), scale)


@every_dtype
@pytest.mark.parametrize("kind", UNUSUAL)
@every_function
def test_unusual_rows(name: str, kind: str, dtype: Any) -> None:
    """In x or y, and in dy; also as the first one, which decides for others."""
    for n in (13, 64, 100):
        for k in range(len(_rows(name, 2, dtype))):
            arrays = _rows(name, n, dtype)
            UNUSUAL[kind](arrays[k].T)
            for first in (0, 11):
                rolled = tuple(np.roll(a, -first, axis=0) for a in arrays)
                expected = _one_by_one(name, rolled)
                assert_same_bits(getattr(fa, name)(*rolled), expected, (n, first))


@every_dtype
@pytest.mark.parametrize("size", [1e-28, 1e-5, 1e4, 1e20])
def test_rows_that_do_not_look_like_what_they_are(size: float, dtype: Any) -> None:
    """Where three elements are looked at there is little, and dy is large or small."""
    dy, x = _rows("softmax_backward", 64, dtype)
    with np.errstate(over="ignore"):
        dy = (dy * np.float64(size)).astype(dtype)
    x[1:, [0, 32, 63]] = -20
    for name in ("softmax_backward", "softmin_backward", "log_softmax_backward"):
        found = getattr(fa, name)(dy, x)
        assert_same_bits(found, _one_by_one(name, (dy, x)), name)
    labels = np.arange(ROWS) % 64
    expected = _loss_one_by_one("backward", x, labels, dy[:, 0])
    assert_same_bits(_loss("backward", x, labels, dy[:, 0]), expected)


@every_dtype
@every_function
def test_rows_with_gaps(name: str, dtype: Any) -> None:
    arrays = tuple(a[::-1, 3:-5] for a in _rows(name, 100, dtype))
    expected = _one_by_one(name, arrays)
    assert_same_bits(getattr(fa, name)(*arrays), expected)
    if name == "logsumexp":
        return
    around = np.full((ROWS, 100), 7, dtype)
    getattr(fa, name)(*arrays, out=around[:, 4:-4])
    assert_same_bits(around[:, 4:-4], expected)
    assert (around[:, :4] == 7).all()
    assert (around[:, -4:] == 7).all()


@every_dtype
@every_function
def test_one_row_for_all(name: str, dtype: Any) -> None:
    """Broadcast: the distance from row to row is 0."""
    first, *others = _rows(name, 64, dtype)
    arrays = (np.broadcast_to(first[:1], first.shape), *others)
    assert_same_bits(getattr(fa, name)(*arrays), _one_by_one(name, arrays))


@every_dtype
@every_function
def test_in_place(name: str, dtype: Any) -> None:
    if name == "logsumexp":
        return
    expected = _one_by_one(name, _rows(name, 100, dtype))
    for k in range(len(_rows(name, 2, dtype))):
        arrays = _rows(name, 100, dtype)
        getattr(fa, name)(*arrays, out=arrays[k])
        assert_same_bits(arrays[k], expected, k)


def _loss_one_by_one(
    direction: str, x: Any, labels: Any, dy: Any, **options: Any
) -> Any:
    rows = [slice(r, r + 1) for r in range(len(x))]
    if direction == "forward":
        found = [
            fa.softmax_cross_entropy(x[r], labels[r], reduction="none", **options)
            for r in rows
        ]
    else:
        found = [
            fa.softmax_cross_entropy_backward(
                dy[r], x[r], labels[r], reduction="none", **options
            )
            for r in rows
        ]
    return np.concatenate(found)


def _loss(direction: str, x: Any, labels: Any, dy: Any, **options: Any) -> Any:
    if direction == "forward":
        return fa.softmax_cross_entropy(x, labels, reduction="none", **options)
    return fa.softmax_cross_entropy_backward(dy, x, labels, reduction="none", **options)


@every_dtype
@pytest.mark.parametrize("kind", ["usual", "labels that lead", *UNUSUAL])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_losses_of_labels(direction: str, kind: str, dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for n in LENGTHS:
        x = (2 * rng.standard_normal((ROWS, n))).astype(dtype)
        labels = rng.integers(0, n, ROWS)
        dy = rng.standard_normal(ROWS).astype(dtype)
        if kind in UNUSUAL:
            UNUSUAL[kind](x.T)
        elif kind == "labels that lead":
            lead = np.resize(np.array([1, 3, 9, 20, 40, 80], dtype), ROWS)
            x[np.arange(ROWS), labels] += lead
        for options in ({}, {"label_smoothing": 0.1}, {"ignore_index": int(labels[0])}):
            expected = _loss_one_by_one(direction, x, labels, dy, **options)
            found = _loss(direction, x, labels, dy, **options)
            assert_same_bits(found, expected, (n, options))
            found = _loss(direction, x[::-1], labels[::-1], dy[::-1], **options)
            assert_same_bits(found, expected[::-1], (n, options, "backwards"))
            if direction == "backward":
                in_place = x.copy()
                _loss(direction, in_place, labels, dy, out=in_place, **options)
                assert_same_bits(in_place, expected, (n, options, "in place"))


@every_dtype
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_losses_of_labels_of_unusual_logits(direction: str, dtype: Any) -> None:
    x, dy = _rows("softmax_backward", 64, dtype)
    labels = np.arange(ROWS) % 64
    values = [np.inf, -np.inf, np.nan, 37, 90, -90]
    for r in range(0, ROWS, 3):
        x[r, labels[r]] = values[r // 3 % len(values)]
    dy[5:9, 0] = [np.inf, -np.inf, np.nan, 0]
    expected = _loss_one_by_one(direction, x, labels, dy[:, 0])
    assert_same_bits(_loss(direction, x, labels, dy[:, 0]), expected)


@every_dtype
def test_several_threads(dtype: Any) -> None:
    """Which begin anywhere in a series."""
    x = np.tile(_rows("softmax", 40, dtype)[0], (20, 1))
    for name in ("softmax", "log_softmax"):
        with fa.num_threads(3):
            found = getattr(fa, name)(x)
        expected = np.tile(_one_by_one(name, (x[:ROWS],)), (20, 1))
        assert_same_bits(found, expected, name)
