"""fastact's functions on dask arrays: lazy, chunk by chunk, the same bits."""

from __future__ import annotations

import importlib
import re
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
    "a dy of fewer axes": lambda x, dy, where: fa.softmax_backward(dy[0], x),
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
    "one row of maxout": lambda x, dy, where: fa.maxout_backward(dy[0, :3], x, 3),
    "crelu": lambda x, dy, where: fa.crelu(x),
    "of crelu": lambda x, dy, where: fa.crelu_backward(fa.crelu(dy), x),
    "of a packed gate": lambda x, dy, where: fa.swiglu_oai_packed_backward(
        dy[:, :4], x[:, :8], gate="second", limit=2.0
    ),
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


def test_a_gradient_of_more_axes_is_an_error_with_the_remedy() -> None:
    for call in (
        lambda: fa.softmax_backward(np.stack([DY, DY]), chunked(X)),
        lambda: fa.logsumexp_backward(DY, chunked(X)),
    ):
        with pytest.raises(ValueError, match=r"dy .* more axes .* broadcast x first"):
            call()


def test_what_is_masked_stays_lazy() -> None:
    masked = np.ma.MaskedArray(X, SELECTION)
    for function in (
        lambda x: fa.softmax(masked, where=chunked(SELECTION[0], 5)),
        lambda x: fa.softmax_backward(masked, x),
        lambda x: fa.softmax_backward(x, masked),
    ):
        lazy = function(chunked(X))
        assert isinstance(lazy, da.Array)
        found = lazy.compute(scheduler="synchronous")
        assert np.array_equal(found.mask, SELECTION)
    expected = fa.softmax_backward(X, masked)
    np.testing.assert_array_equal(found.filled(0), expected.filled(0))


CHOSEN = X[:, 0] > 0


def of_unknown_number(array: Any) -> Any:
    """Those rows, of which dask does not know how many there are."""
    return chunked(array)[chunked(CHOSEN)]


def assert_lazily_equal_rows(lazy: Any, expected: Any) -> None:
    assert isinstance(lazy, da.Array)
    assert (lazy.dtype, lazy.ndim) == (expected.dtype, expected.ndim)
    assert np.isnan(lazy.shape[0])
    assert lazy.shape[1:] == expected.shape[1:]
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_array_equal(computed, expected)


ON_UNKNOWN_ROWS = {
    name: function
    for name, function in ALONG_AN_AXIS.items()
    # dask refuses to take one row of these
    if not re.match("a row|one|of a number|a dy of fewer", name)
} | {"one mask": lambda x, dy, where: fa.softmax(x, where=SELECTION[0], scale=2.0)}


@pytest.mark.parametrize("function", ON_UNKNOWN_ROWS.values(), ids=ON_UNKNOWN_ROWS)
def test_rows_of_unknown_number(function: Function) -> None:
    arrays = X, DY, SELECTION
    expected = function(*(array[CHOSEN] for array in arrays))
    assert_lazily_equal_rows(function(*map(of_unknown_number, arrays)), expected)


def test_an_axis_of_unknown_length_is_an_error_with_the_remedy() -> None:
    lazy = of_unknown_number(X)
    for call in (
        lambda: fa.softmax(lazy, axis=0),
        lambda: fa.maxout(lazy, 3, axis=0),
        lambda: fa.swiglu_packed(lazy, axis=0),
    ):
        with pytest.raises(
            ValueError, match=r"axis 0 of x.* x\.compute_chunk_sizes\(\)"
        ):
            call()


LAYERS = {
    "input": ("gelu", {}),
    "output": ("elu", {"save": "output"}),
    "derivative": ("elu", {"save": "derivative", "alpha": 0.5}),
    "buffers": ("mish", {"save": "derivative", "reuse_buffers": True}),
    "along an axis": ("softmax", {"scale": 0.5}),
    "from its output": ("softmax", {"save": "output"}),
    "keepdims": ("logsumexp", {"keepdims": True}),
    "maxout": ("maxout", {"pool_size": 3}),
    "crelu": ("crelu", {}),
    "gate": ("swiglu", {}),
    "gate with parameters": ("swiglu_oai", {"limit": 1.5}),
}


@pytest.mark.parametrize("rows", ["known", "unknown"])
@pytest.mark.parametrize(("name", "settings"), LAYERS.values(), ids=LAYERS)
def test_activation_objects(name: str, settings: dict[str, Any], rows: str) -> None:
    act = fa.Activation(name, **settings)
    count = 2 if name in fa.names("gates") else 1
    plain = (X, DY)[:count]
    lazy = tuple(map(chunked, plain))
    assert_equal = assert_lazily_equal
    if rows == "unknown":
        lazy = tuple(map(of_unknown_number, plain))
        plain = tuple(array[CHOSEN] for array in plain)
        assert_equal = assert_lazily_equal_rows
    y = act(*plain)
    expected = act.backward(y)
    lazy_y = act(*lazy)
    assert_equal(lazy_y, y)
    found = act.backward(lazy_y)
    for one, other in zip(
        *[(g if count == 2 else (g,)) for g in (found, expected)], strict=True
    ):
        assert_equal(one, other)


def test_a_gradient_of_another_known_shape_is_refused() -> None:
    act = fa.Activation("gelu")
    act(of_unknown_number(X))
    with pytest.raises(ValueError, match=r"dy must have the shape .*\(nan, 9\)"):
        act.backward(of_unknown_number(X[:, :8]))


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
