"""fastact's functions on xarray's objects: names, coordinates and attributes stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact as fa

xr = pytest.importorskip("xarray", reason="needs xarray")

VALUES = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)

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


@pytest.fixture
def labelled() -> Any:
    return xr.DataArray(
        VALUES,
        dims=("row", "class"),
        coords={"class": ["a", "b", "c"]},
        name="logits",
        attrs={"unit": "nat"},
    )


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_data_array(function: Callable[[Any], Any], labelled: Any) -> None:
    found = function(labelled)
    xr.testing.assert_identical(found, labelled.copy(data=function(VALUES)))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_data_set_of_several_dtypes(
    function: Callable[[Any], Any], labelled: Any
) -> None:
    doubles = labelled.astype(np.float64).rename("doubles")
    halves = labelled.isel(row=0).astype(np.float16).rename("halves")
    whole = (labelled * 3).astype(np.int64).rename("whole")
    together = xr.merge([labelled, doubles, halves, whole], compat="equals")
    found = function(together)
    assert isinstance(found, xr.Dataset)
    for name, array in together.items():
        expected = function(array)
        assert found[name].dtype == expected.dtype, name
        xr.testing.assert_equal(found[name], expected)


def test_labels_are_aligned(labelled: Any) -> None:
    turned = labelled.isel({"class": [2, 0, 1]})
    found = fa.gelu_backward(labelled, turned)
    np.testing.assert_array_equal(found, fa.gelu_backward(VALUES, VALUES))


ALONG_CLASS = {"input_core_dims": [["class"]], "output_core_dims": [["class"]]}


def test_softmax_through_apply_ufunc(labelled: Any) -> None:
    found = xr.apply_ufunc(fa.softmax, labelled, **ALONG_CLASS)
    xr.testing.assert_equal(found, labelled.copy(data=fa.softmax(VALUES)))
    # whatever the order of the dimensions
    found = xr.apply_ufunc(fa.softmax, labelled.T, **ALONG_CLASS)
    xr.testing.assert_equal(found, labelled.copy(data=fa.softmax(VALUES)))
    found = xr.apply_ufunc(
        fa.logsumexp, labelled, input_core_dims=[["class"]], kwargs={"scale": 0.5}
    )
    assert found.dims == ("row",)
    np.testing.assert_array_equal(found, fa.logsumexp(VALUES, scale=0.5))


def test_softmax_alone_says_to_use_apply_ufunc(labelled: Any) -> None:
    for function in (fa.softmax, fa.logsumexp):
        with pytest.raises(NotImplementedError, match=r"xarray\.apply_ufunc"):
            function(labelled)


# ------------------------------------------------------------------------- with dask


@pytest.fixture
def dask() -> Any:
    return pytest.importorskip("dask", reason="needs dask")


def _refuse(*arguments: Any, **keywords: Any) -> None:
    raise AssertionError("something was computed that should have stayed lazy")


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_chunks_stay_lazy(
    function: Callable[[Any], Any], labelled: Any, dask: Any
) -> None:
    lazy = labelled.chunk(row=4)
    with dask.config.set(scheduler=_refuse):
        found = function(lazy)
        data_set = function(lazy.to_dataset())
    assert found.chunks == data_set["logits"].chunks == ((4, 2), (3,))
    expected = labelled.copy(data=function(VALUES))
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(found.compute(), expected)
        xr.testing.assert_identical(data_set["logits"].compute(), expected)


@pytest.mark.parametrize("mode", ["parallelized", "allowed"])
def test_softmax_of_chunks(mode: str, labelled: Any, dask: Any) -> None:
    options = {"dask": mode, **ALONG_CLASS}
    if mode == "parallelized":
        options["output_dtypes"] = [labelled.dtype]
    with dask.config.set(scheduler=_refuse):
        found = xr.apply_ufunc(fa.softmax, labelled.chunk(row=4), **options)
        assert found.chunks == ((4, 2), (3,))
        with pytest.raises(ValueError, match=r"one chunk|multiple chunks"):
            xr.apply_ufunc(fa.softmax, labelled.chunk({"class": 2}), **options)
    with dask.config.set(scheduler="synchronous"):
        expected = labelled.copy(data=fa.softmax(VALUES))
        xr.testing.assert_equal(found.compute(), expected)
