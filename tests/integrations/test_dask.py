"""fastact's functions on dask arrays: lazy, chunk by chunk, the same bits."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastact as fa

dask = pytest.importorskip("dask", reason="needs dask")
da = pytest.importorskip("dask.array", reason="needs dask")

X = np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32)
DY = np.random.default_rng(1).standard_normal((40, 9)).astype(np.float32)
SELECTION = X > -0.5

Function = Callable[..., Any]


class ComputedError(Exception):
    """Something was computed that should have stayed lazy."""


@pytest.fixture(autouse=True)
def _nothing_is_computed() -> Iterator[None]:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise ComputedError

    with dask.config.set(scheduler=refuse):
        yield


def assert_lazily_equal(lazy: Any, expected: Any) -> None:
    """A dask array that has these bits when it is computed."""
    assert isinstance(lazy, da.Array)
    assert (lazy.dtype, lazy.shape) == (expected.dtype, expected.shape)
    computed = lazy.compute(scheduler="synchronous")
    assert computed.dtype == expected.dtype
    np.testing.assert_array_equal(computed, expected)


def chunked(array: Any, rows: int = 13, columns: int = -1) -> Any:
    return da.from_array(array, chunks=(rows, columns)[: array.ndim])


def test_the_fixture_notices_what_is_computed() -> None:
    with pytest.raises(ComputedError):
        np.asarray(chunked(X))


@pytest.mark.parametrize(
    "function",
    [
        fa.gelu,
        fa.gelu_derivative,
        lambda x: fa.leaky_relu(x, 0.2),
        lambda x: fa.leaky_relu(x, negative_slope=0.2, dtype=np.float64),
        lambda x: fa.leaky_relu((x > 0).astype(np.int8), 0.2),
        lambda x: fa.gelu_backward(x, x),
        lambda x: fa.gelu_backward(DY, x),
        lambda x: fa.tanh_backward_from_output(DY, x),
        lambda x: fa.prelu(x, X[0]),
        lambda x: fa.get("swish", beta=1.5)(x),
        lambda x: fa.get("swish", beta=1.5).backward(DY, x),
        lambda x: fa.swiglu(x, x),
        lambda x: fa.swiglu_packed(x[:, :8]),
    ],
)
def test_functions_of_one_result(function: Function) -> None:
    expected = function(X)
    assert_lazily_equal(function(chunked(X, 13, 4)), expected)
    graph = function(chunked(X, 13, 4))
    assert graph.numblocks[0] == 4


ALONG_AN_AXIS: dict[str, Function] = {
    "softmax": lambda x, dy, where: fa.softmax(x),
    "axis": lambda x, dy, where: fa.softmax(x, axis=1),
    "scale": lambda x, dy, where: fa.softmax(x, scale=0.5),
    "integers": lambda x, dy, where: fa.softmax(x > 0),
    "where": lambda x, dy, where: fa.softmax(x, where=where),
    "a row for all": lambda x, dy, where: fa.softmax(x, where=where[0]),
    "backward": lambda x, dy, where: fa.softmax_backward(dy, x),
    "backward where": lambda x, dy, where: fa.softmax_backward(dy, x, where=where),
    "from output": lambda x, dy, where: fa.softmax_backward_from_output(dy, x),
    "one dy for all": lambda x, dy, where: fa.softmax_backward(dy[:1], x),
    "log_softmax": lambda x, dy, where: fa.log_softmax(x),
    "sparsemax": lambda x, dy, where: fa.sparsemax(x),
    "logsumexp": lambda x, dy, where: fa.logsumexp(x, where=where),
    "keepdims": lambda x, dy, where: fa.logsumexp(x, keepdims=True),
    "of logsumexp": lambda x, dy, where: fa.logsumexp_backward(dy[:, 0], x),
    "of a number": lambda x, dy, where: fa.logsumexp_backward(dy[0, 0], x),
    "of keepdims": lambda x, dy, where: fa.logsumexp_backward(
        dy[:, :1], x, keepdims=True
    ),
    "maxout": lambda x, dy, where: fa.maxout(x, 3),
    "of maxout": lambda x, dy, where: fa.maxout_backward(dy[:, :3], x, 3),
}


@pytest.mark.parametrize("function", ALONG_AN_AXIS.values(), ids=ALONG_AN_AXIS)
def test_functions_along_an_axis(function: Function) -> None:
    expected = function(X, DY, SELECTION)
    lazy = chunked(X), chunked(DY, 20), chunked(SELECTION, 7, 5)
    assert_lazily_equal(function(*lazy), expected)
    assert_lazily_equal(function(lazy[0], DY, SELECTION), expected)


def test_one_lazy_argument_is_enough() -> None:
    expected = fa.softmax_backward(DY, X, where=SELECTION)
    assert_lazily_equal(fa.softmax_backward(chunked(DY), X, where=SELECTION), expected)
    lazy = chunked(SELECTION, 7, 5)
    assert_lazily_equal(fa.softmax_backward(DY, X, where=lazy), expected)


def test_along_the_first_axis() -> None:
    lazy = chunked(X, -1, 4)
    assert_lazily_equal(fa.softmax(lazy, axis=0), fa.softmax(X, axis=0))
    assert fa.softmax(lazy, axis=0).chunks == lazy.chunks
    dy = np.float32([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expected = fa.logsumexp_backward(dy, X, axis=0)
    assert_lazily_equal(
        fa.logsumexp_backward(da.from_array(dy, chunks=2), lazy, axis=0), expected
    )


@pytest.mark.parametrize("axis", [-1, 1])
def test_an_axis_of_several_chunks_is_an_error_with_the_remedy(axis: int) -> None:
    lazy = chunked(X, 13, 4)
    message = rf"softmax needs axis {axis} of x in one chunk, not in 3: pass "
    message += rf"x\.rechunk\(\{{{axis}: -1\}}\)$"
    with pytest.raises(ValueError, match=message):
        fa.softmax(lazy, axis=axis)
    assert_lazily_equal(fa.softmax(lazy.rechunk({axis: -1}), axis=axis), fa.softmax(X))
    for call in (
        lambda: fa.softmax_backward(lazy, chunked(X)),
        lambda: fa.softmax_backward(lazy, X, where=SELECTION),
    ):
        with pytest.raises(ValueError, match=r"axis -1 of dy .* dy\.rechunk"):
            call()
    with pytest.raises(ValueError, match=r"axis 0 of y .* y\.rechunk\(\{0: -1\}\)"):
        fa.softmax_backward_from_output(DY, chunked(X), axis=0)


def test_rows_of_unknown_number() -> None:
    lazy = chunked(X)
    chosen = fa.softmax(lazy[lazy[:, 0] > 0])
    assert isinstance(chosen, da.Array)
    computed = chosen.compute(scheduler="synchronous")
    np.testing.assert_array_equal(computed, fa.softmax(X[X[:, 0] > 0]))


def test_no_out() -> None:
    with pytest.raises(ValueError, match="out is not possible with dask arrays"):
        fa.softmax(chunked(X), out=np.empty_like(X))


def test_two_results_through_apply_gufunc() -> None:
    lazy = chunked(X)
    with pytest.raises(TypeError, match="gelu_with_derivative"):
        fa.gelu_with_derivative(lazy)
    both = da.apply_gufunc(
        fa.gelu_with_derivative, "()->(),()", lazy, output_dtypes=(X.dtype, X.dtype)
    )
    for found, expected in zip(both, fa.gelu_with_derivative(X), strict=True):
        assert_lazily_equal(found, expected)


def test_a_chunk_is_loaded_only_when_its_result_is_computed() -> None:
    loaded = []

    def load(block_id: Any) -> Any:
        loaded.append(block_id)
        return X[:10]

    lazy = da.map_blocks(load, chunks=((10,) * 4, (9,)), dtype=X.dtype, meta=X[:0])
    loaded.clear()
    result = fa.softmax(fa.leaky_relu(lazy, 0.2))
    assert loaded == []
    result[20:30].compute(scheduler="synchronous")
    assert loaded == [(2, 0)]


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "fastact.integrations.dask"
    importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r'pip install "dask\[array\]"'):
        importlib.import_module(name)
