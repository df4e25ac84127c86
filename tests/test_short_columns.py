"""Short rows side by side, whose sums are computed in registers (csrc/rows_template.h).

They have the bits of rows by themselves, as have those along an axis in the middle, which
form blocks (csrc/rows.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import DTYPES, assert_same_bits
from unusual_rows import ROW_MEMBERS, UNUSUAL, row_arrays

import fastact as fa

# Elements of a row: every number of elements in a lane, and lanes with and without the last
LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    8,
    9,
    12,
    13,
    16,
    17,
    31,
    32,
    33,
    48,
    49,
    63,
    64,
    65,
    80,
    81,
    100,
    128,
    129,
]
# Rows: fewer than a vector has; not turned, and a line more; more than are summed at a
# time; so many that the elements of a row share few sets of the cache
WIDTHS = [2, 7, 16, 31, 65, 300, 512]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
every_function = pytest.mark.parametrize("name", ROW_MEMBERS)


def _by_themselves(name: str, arrays: tuple[Any, ...], **keywords: Any) -> Any:
    function = getattr(fa, name)
    rows = [tuple(np.ascontiguousarray(a.T[r]) for a in arrays) for r in range(11, 14)]
    return [np.asarray(function(*row, **keywords)) for row in rows]


def _along_the_last_axis(name: str, arrays: tuple[Any, ...], **keywords: Any) -> Any:
    turned = [np.ascontiguousarray(a.T) for a in arrays]
    return getattr(fa, name)(*turned, **keywords).T


@every_dtype
@pytest.mark.parametrize("n", LENGTHS)
@every_function
def test_usual_rows(name: str, n: int, dtype: Any) -> None:
    for width in WIDTHS:
        arrays = row_arrays(name, (n, width), dtype)
        for scale in (1.0, -0.75):
            found = getattr(fa, name)(*arrays, axis=0, scale=scale)
            expected = _along_the_last_axis(name, arrays, scale=scale)
            assert_same_bits(found, expected, (width, scale))
            if width > 14:
                one_by_one = _by_themselves(name, arrays, scale=scale)
                assert_same_bits(found.T[11:14], np.stack(one_by_one), (width, scale))


@every_dtype
@pytest.mark.parametrize("kind", UNUSUAL)
@every_function
def test_unusual_rows(name: str, kind: str, dtype: Any) -> None:
    """In x or y, and in dy."""
    for shape in ((2, 17), (10, 130), (21, 64), (40, 20), (63, 300), (100, 512)):
        for k in range(len(row_arrays(name, (2, 2), dtype))):
            arrays = row_arrays(name, shape, dtype)
            UNUSUAL[kind](arrays[k])
            found = getattr(fa, name)(*arrays, axis=0)
            assert_same_bits(found, _along_the_last_axis(name, arrays), (shape, k))


@every_dtype
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_logarithms_where_one_element_leads_in_some_rows(
    share: float, dtype: Any
) -> None:
    """Few rows of a tile go through the sums beside their leader by themselves."""
    rng = np.random.default_rng(6)
    for n in LENGTHS:
        x = rng.standard_normal((n, 700)).astype(dtype)
        lead = np.resize(np.array([2, 5, 20, 40, 60, 80, 95, 400, 720], dtype), 700)
        x[rng.integers(0, n, 700), np.arange(700)] += np.where(
            rng.random(700) < share, lead, 0
        ).astype(dtype)
        for scale in (1.0, -0.5):
            found = fa.log_softmax(x, axis=0, scale=scale)
            expected = _along_the_last_axis("log_softmax", (x,), scale=scale)
            assert_same_bits(found, expected, (n, scale))


@every_dtype
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_losses_of_short_columns(direction: str, dtype: Any) -> None:
    rng = np.random.default_rng(3)
    # Some have factors of their own; some lie such that they share few sets of the cache.
    cases = [(n, s, m) for n in LENGTHS for s, m in [(2, (5, 31)), (20, (16, 64))]]
    for n, spread, image in cases:
        x = (spread * rng.standard_normal((3, n, *image))).astype(dtype)
        x[0, 0, 0, :3] = [np.inf, -np.inf, np.nan]
        labels = rng.integers(0, n, (3, *image))
        lead = np.resize(np.array([0, 0, 1, 3, 9, 20, 40, 80], dtype), labels.shape)
        at_labels = np.take_along_axis(x, labels[:, None], 1) + lead[:, None]
        np.put_along_axis(x, labels[:, None], at_labels, 1)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        dy = rng.standard_normal(labels.shape).astype(dtype)
        for smoothing in (0.0, 0.1):
            options: Any = {"reduction": "none", "label_smoothing": smoothing}
            if direction == "forward":
                found = fa.softmax_cross_entropy(x, labels, axis=1, **options)
                expected = fa.softmax_cross_entropy(last, labels, **options)
            else:
                gradient = fa.softmax_cross_entropy_backward
                found = gradient(dy, x, labels, axis=1, **options)
                expected = gradient(dy, last, labels, **options)
                expected = np.moveaxis(expected, -1, 1)
            assert_same_bits(found, expected, (n, spread, smoothing))


# Blocks, elements of a row, rows of a block; a shape may have axes of length 1
BLOCKS = [
    (5, 3, 2),
    (200, 8, 16),
    (3, 1, 7),
    (2, 300, 130),
    (3, 300, 1000),
    (3, 3000, 16),
    (3, 40, 1100),
    (9, 16, 1000),
    (2, 3, 10, 1, 28, 28),
    (1, 33, 65),
    (1200, 40, 1),
    (2, 48, 1024),
    (2, 100, 2048),
    # Up to 16 rows of a block: several blocks are one tile
    (1001, 3, 4),
    (64, 10, 8),
    (37, 16, 15),
    (60, 64, 3),
    (23, 7, 16),
    (2, 5, 2),
]


def _arrays_in_blocks(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    size = int(np.prod(shape))
    return tuple(a.reshape(shape) for a in row_arrays(name, (size, 1), dtype))


SHAPE_KEEPING = [name for name in ROW_MEMBERS if name != "logsumexp"]


@every_dtype
@pytest.mark.parametrize("shape", BLOCKS, ids=str)
@pytest.mark.parametrize("name", [*SHAPE_KEEPING, "sparsemax", "hardmax_backward"])
def test_an_axis_in_the_middle(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    axis = 2 if len(shape) > 3 else 1
    if name.endswith("_from_output"):  # no matter of what
        arrays = _arrays_in_blocks("softmax_backward", shape, dtype)
    else:
        arrays = _arrays_in_blocks(name, shape, dtype)
    function = getattr(fa, name)
    turned = [np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in arrays]
    expected = np.moveaxis(function(*turned), -1, axis)
    for threads in (1, 2, 3, 16):
        with fa.num_threads(threads):
            assert_same_bits(function(*arrays, axis=axis), expected, threads)
            out = np.empty_like(arrays[0])
            assert function(*arrays, axis - len(shape), out=out) is out
            assert_same_bits(out, expected, threads)
            in_place = [a.copy() for a in arrays]
            function(*in_place, axis=axis, out=in_place[-1])
            assert_same_bits(in_place[-1], expected, threads)


@every_dtype
@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("name", SHAPE_KEEPING)
def test_narrow_blocks_with_gaps(name: str, rows: int, dtype: Any) -> None:
    """Between blocks, elements or rows; turned; and results that have gaps, too.

    They go through NumPy's loop, block by block.
    """
    shape = (50, 9, rows)
    given = "softmax_backward" if name.endswith("_from_output") else name
    arrays = _arrays_in_blocks(given, shape, dtype)
    function = getattr(fa, name)
    turned = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in arrays]
    expected = np.moveaxis(function(*turned), -1, 1)
    spaced = [np.repeat(np.repeat(a, 2, axis=0), 3, axis=2) for a in arrays]
    with_gaps = [a[::2, :, ::3] for a in spaced]
    backwards = [np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1] for a in arrays]
    elements_first = [np.asfortranarray(a) for a in arrays]
    for some in (with_gaps, backwards, elements_first):
        assert_same_bits(function(*some, axis=1), expected, rows)
    out = np.zeros((50, 11, rows + 2), dtype)
    function(*arrays, axis=1, out=out[:, 1:10, 1:-1])
    assert_same_bits(out[:, 1:10, 1:-1], expected, rows)
    out[:, 1:10, 1:-1] = 0
    assert not out.any()


@pytest.mark.parametrize("rows", [20, 5])
@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("name", SHAPE_KEEPING)
def test_unusual_blocks(name: str, kind: str, rows: int) -> None:
    """Only the rows that need care get it, in whatever block."""
    arrays = row_arrays(name, (30, 200), np.float32)
    UNUSUAL[kind](arrays[-1])
    expected = _along_the_last_axis(name, arrays)
    in_blocks = [
        np.ascontiguousarray(np.moveaxis(a.reshape(30, 200 // rows, rows), 0, 1))
        for a in arrays
    ]
    found = np.moveaxis(getattr(fa, name)(*in_blocks, axis=1), 1, 0)
    assert_same_bits(found.reshape(30, 200), expected)
