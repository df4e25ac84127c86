"""The same bits, however the elements lie in memory and whoever computes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from calls import CALLS, DTYPES, Call, assert_same_bits, each

import fastact as fa

COLUMNS = 37


def _shifted(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Aligned to the element, but not to the vector that the original starts with."""
    view = np.empty(array.size + 1, array.dtype)[1:]
    view[...] = array
    return view


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda a: a,
    "every second element": lambda a: np.repeat(a, 2)[::2],
    "reversed in memory": lambda a: a[::-1].copy()[::-1],
    "shifted by one element": _shifted,
}


def _operands(call: Call, dtype: Any) -> tuple[Any, ...]:
    """Enough elements for threads."""
    size = call.size_worth_threads() // COLUMNS * COLUMNS + COLUMNS
    return each(lambda a: a[:size].copy(), _pool(dtype)[: call.array_count])


@cache
def _pool(dtype: Any) -> tuple[Any, ...]:
    """Random bits, every third element replaced by an ordinary number."""
    size = max(call.size_worth_threads() for call in CALLS) + COLUMNS
    widest = max(CALLS, key=lambda call: call.array_count)
    pool = widest.bit_patterns(dtype, size)
    for patterns, ordinary in zip(pool, widest.operands(dtype, size), strict=True):
        patterns[::3] = ordinary[::3]
    return pool


# csrc/loops.c writes this much past the caches.
STREAMED_BYTES = 32 << 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("first", [0, 1, 6])
@pytest.mark.parametrize(
    "name", ["relu", "relu_backward", "leaky_relu_with_derivative"]
)
def test_results_too_large_for_the_caches(
    name: str, first: int, threads: int, dtype: Any
) -> None:
    # Operands that begin anywhere in a cache line, and those with different beginnings
    function = getattr(fa, name)
    size = STREAMED_BYTES // np.dtype(dtype).itemsize + 77
    x = np.random.default_rng(3).standard_normal(size + first).astype(dtype)[first:]
    arrays = (x[::-1].copy(), x) if name.endswith("_backward") else (x,)
    outputs = 2 if name.endswith("_with_derivative") else 1
    out = tuple(np.full(size + 9 * first + 9, 7, dtype) for _ in range(outputs))
    views = tuple(o[k * first : k * first + size] for k, o in enumerate(out, 1))
    with fa.num_threads(threads):
        function(*arrays, out=views if outputs == 2 else views[0])
    piece = 1000
    for begin in (0, size // 2 - 13, size - piece):
        part = each(lambda a, b=begin: a[b : b + piece], arrays)
        expected = function(*part)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = each(lambda a, b=begin: a[b : b + piece], views)
        assert_same_bits(found, expected)
    for k, o in enumerate(out, 1):
        assert (o[: k * first] == 7).all()
        assert (o[k * first + size :] == 7).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_for_every_layout_and_number_of_threads(call: Call, layout: str) -> None:
    for dtype in DTYPES:
        arrays = _operands(call, dtype)
        with fa.num_threads(1):
            expected = call.results(*arrays)
        laid_out = each(LAYOUTS[layout], arrays)
        for threads in (2, 3) if layout == "contiguous" else (1, 2):
            with fa.num_threads(threads):
                assert_same_bits(call.results(*laid_out), expected, (dtype, threads))


def test_for_two_dimensions_and_fortran_order(call: Call) -> None:
    for dtype in DTYPES:
        arrays = each(lambda a: a.reshape(-1, COLUMNS), _operands(call, dtype))
        expected = call.results(*arrays)
        fortran = each(np.asfortranarray, arrays)
        assert_same_bits(call.results(*fortran), expected, dtype)
        if call.array_count > 1:  # one in C order, the others not: no common long loop
            assert_same_bits(call.results(arrays[0], *fortran[1:]), expected, dtype)


def test_in_place_and_into_strided_out(call: Call) -> None:
    for dtype in DTYPES:
        arrays = _operands(call, dtype)
        with fa.num_threads(1):
            expected = call.results(*arrays)
        for threads in (1, 3):
            with fa.num_threads(threads):
                wide = np.zeros(2 * arrays[0].size, dtype)
                rest = (None,) * (call.output_count - 1)
                call.results(*arrays, out=(wide[::2], *rest))
                assert_same_bits(wide[::2], expected[0], dtype)
                for place in range(call.array_count):
                    copies = each(np.copy, arrays)
                    call.results(*copies, out=(copies[place], *rest))
                    assert_same_bits(copies[place], expected[0], dtype)


def test_one_element_at_a_time(call: Call) -> None:
    for dtype in DTYPES:
        arrays = each(lambda a: a[:400], _operands(call, dtype))
        expected = call.results(*arrays)
        alone = tuple(map(np.empty_like, expected))
        for i in range(400):
            one = slice(i, i + 1)
            call.results(*(a[one] for a in arrays), out=tuple(a[one] for a in alone))
        assert_same_bits(alone, expected, dtype)


def test_at_every_position_and_length(call: Call) -> None:
    for dtype in DTYPES:
        arrays = each(lambda a: a[:90], _operands(call, dtype))
        expected = call.results(*arrays)
        for start in range(17):
            for stop in range(start + 1, start + 72, 7):
                part = call.results(*each(lambda a, s=slice(start, stop): a[s], arrays))
                cut = each(lambda e, s=slice(start, stop): e[s], expected)
                assert_same_bits(part, cut, (dtype, start, stop))


def test_members_agree_with_each_other(call: Call) -> None:
    """f' is one number: alone, beside f, and times dy = 1."""
    if call.member != "_with_derivative":
        pytest.skip("seen from _with_derivative")
    for dtype in DTYPES:
        (x,) = _operands(call, dtype)
        value, slope = call(x)
        assert_same_bits(value, call.of("")(x), dtype)
        assert_same_bits(slope, call.of("_derivative")(x), dtype)
        gradient = call.of("_backward")(np.ones_like(x), x)
        assert np.array_equal(gradient, slope, equal_nan=True)  # 0 may stand for -0
