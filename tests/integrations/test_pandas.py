"""fastact's functions on pandas' frames and series: labels stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact as fa

pd = pytest.importorskip("pandas", reason="needs pandas")

VALUES = np.random.default_rng(0).standard_normal((6, 3)) * 3
INDEX = pd.date_range("2026-01-01", periods=6, name="day")

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": fa.gelu,
    "derivative": fa.gelu_derivative,
    "backward": lambda x: fa.gelu_backward(x, x),
    "parameter": lambda x: fa.leaky_relu(x, 0.2),
    "parameter backward": lambda x: fa.leaky_relu_backward(x, x, 0.2),
    "two parameters": lambda x: fa.hardtanh(x, -0.5, 2),
    "dtype": lambda x: fa.leaky_relu(x, 0.2, dtype=np.float64),
    "bound": fa.get("swish", beta=1.5),
    "bound backward": lambda x: fa.get("swish", beta=1.5).backward(x, x),
    "gate": lambda x: fa.swiglu(x, x),
}
ALONG_AN_AXIS: dict[str, Callable[..., Any]] = {
    "softmax": fa.softmax,
    "sparsemax": fa.sparsemax,
    "log_softmax": lambda x, axis: fa.log_softmax(x, axis=axis),
    "scale": lambda x, axis: fa.softmax(x, axis=axis, scale=0.5),
    "where": lambda x, axis: fa.softmax(x, axis=axis, where=VALUES > -1),
    "backward": lambda x, axis: fa.softmax_backward(x, x, axis=axis),
}


def frame(dtype: Any) -> Any:
    return pd.DataFrame(VALUES.astype(dtype), index=INDEX, columns=["a", "b", "c"])


@pytest.mark.parametrize("dtype", ["e", "f", "d", "i1", "i8", "?"])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_labels_stay(function: Callable[[Any], Any], dtype: str) -> None:
    x = frame(dtype)
    expected = function(x.to_numpy())
    pd.testing.assert_frame_equal(
        function(x),
        pd.DataFrame(expected, index=INDEX, columns=x.columns),
        check_exact=True,
    )
    series = x["b"]
    pd.testing.assert_series_equal(
        function(series),
        pd.Series(function(series.to_numpy()), index=INDEX, name="b"),
        check_exact=True,
    )


@pytest.mark.parametrize("save", ["input", "output", "derivative"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_objects_keep_labels(save: Any, dtype: Any) -> None:
    x = frame(dtype)
    act = fa.Activation("elu", save=save)
    pd.testing.assert_frame_equal(act(x), fa.elu(x), check_exact=True)
    expected = pd.DataFrame(fa.elu_backward(*[x.to_numpy()] * 2), INDEX, x.columns)
    found = act.backward(x)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=2e-6)


def test_columns_keep_their_dtypes() -> None:
    x = frame(np.float32).astype({"b": np.float64})
    assert list(fa.gelu(x).dtypes) == [np.float32, np.float64, np.float32]


def test_labels_are_aligned() -> None:
    turned = frame(np.float32)[::-1]
    found = fa.gelu_backward(turned, frame(np.float32))
    expected = fa.gelu_backward(*[VALUES.astype(np.float32)] * 2)
    np.testing.assert_array_equal(found.loc[INDEX], expected)


def test_a_cast_that_loses_is_refused_as_in_numpy() -> None:
    with pytest.raises(TypeError, match="cannot cast from float64 to float32"):
        fa.leaky_relu(frame(np.float64), 0.2, dtype=np.float32, casting="safe")


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("function", ALONG_AN_AXIS.values(), ids=ALONG_AN_AXIS)
def test_functions_along_an_axis_keep_labels(
    function: Callable[..., Any], axis: int, mixed: bool
) -> None:
    x = frame(np.float32)
    if mixed:  # columns of several dtypes lie in several blocks
        x = x.astype({"b": np.float64})
    found = function(x, axis=axis)
    pd.testing.assert_frame_equal(
        found,
        pd.DataFrame(function(x.to_numpy(), axis=axis), INDEX, x.columns),
        check_exact=True,
    )


def test_softmax_of_a_frame_is_that_of_its_rows() -> None:
    # independent of fastact: pandas' own sums
    weights = np.exp(frame(np.float64))
    expected = weights.div(weights.sum(axis=1), axis=0)
    pd.testing.assert_frame_equal(fa.softmax(frame(np.float64)), expected, rtol=1e-14)
    pd.testing.assert_series_equal(
        fa.softmax(frame(np.float64)["a"]), weights["a"] / weights["a"].sum()
    )


def test_missing_values_of_pandas_own_dtypes() -> None:
    series = pd.Series([1, 2, None], dtype="Int64", name="a")
    found = fa.gelu(series)
    assert found.isna().tolist() == [False, False, True]
    assert found[:2].tolist() == fa.gelu([1, 2]).tolist()
    remedy = r"not Int64, .* convert with \.astype\(float\)"
    for numbers in (series, series.to_frame(), series.to_frame().assign(b=1.0)):
        with pytest.raises(TypeError, match=remedy):
            fa.softmax(numbers)
    assert fa.softmax(series.astype(float)).isna().all()


PARAMETRIC: list[Callable[[Any], Any]] = [
    lambda x: fa.elu(x, 0.5),
    lambda x: fa.elu_backward(x, x, 0.5),
    lambda x: fa.swiglu_oai(x, x, 2.0),
]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("Float32", "Float32"),
        ("Float64", "Float64"),
        ("Int16", "Float32"),
        ("Int64", "Float64"),
    ],
)
@pytest.mark.parametrize("function", PARAMETRIC)
def test_of_pandas_own_dtypes_missing_values_do_not_decide(
    function: Callable[[Any], Any], dtype: str, expected: str, missing: bool
) -> None:
    values = np.array([3, -1, 2])
    series = pd.Series(values, dtype=dtype)
    if missing:
        series[0] = pd.NA
    found = function(series)
    assert found.dtype == expected
    assert found.isna().tolist() == [missing, False, False]
    exact = function(values.astype(np.float64))
    np.testing.assert_allclose(found[1:].to_numpy(np.float64), exact[1:], rtol=2e-7)


@pytest.mark.parametrize(
    "dtype", ["float[pyarrow]", "double[pyarrow]", "int64[pyarrow]"]
)
def test_dtypes_of_pyarrow(dtype: str) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    values = np.array([3, -1, 2])
    series = pd.Series(values, dtype=dtype)
    for function in (fa.gelu, lambda x: fa.elu(x, 0.5)):
        exact = function(values.astype(np.float64))
        np.testing.assert_allclose(np.asarray(function(series)), exact, rtol=2e-7)
    with pytest.raises(TypeError, match=r"softmax takes NumPy's dtypes"):
        fa.softmax(series)


@pytest.mark.parametrize(
    "function",
    [
        fa.logsumexp,
        lambda x: fa.logsumexp(x, keepdims=True),
        lambda x: fa.maxout(x, 3),
        lambda x: fa.crelu(x),
        lambda x: fa.swiglu_packed(x, axis=0),
        lambda x: fa.swiglu_packed(x, axis=0, interleaved=True),
    ],
)
def test_what_changes_the_shape_is_a_plain_array(function: Any) -> None:
    found = function(frame(np.float64))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, function(VALUES))


def test_the_halves_of_a_series_are_not_aligned_by_their_labels() -> None:
    series = frame(np.float64)["a"]
    np.testing.assert_array_equal(
        fa.swiglu_packed(series), fa.swiglu_packed(series.to_numpy())
    )
