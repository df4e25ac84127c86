"""fastact's functions on xarray's objects: names, coordinates and attributes stay."""

from __future__ import annotations

import importlib
import sys
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


# ------------------------------------------------- an axis that gets another length

WIDE = np.random.default_rng(1).standard_normal((6, 4, 2)).astype(np.float32)
NEW_LENGTH: dict[str, Callable[..., Any]] = {
    "maxout": lambda x, axis: fa.maxout(x, 2, axis),
    "crelu": fa.crelu,
    "swiglu_packed": fa.swiglu_packed,
    "glu_packed": lambda x, axis: fa.glu_packed(x, axis, interleaved=True),
    "parameters": lambda x, axis: fa.swiglu_oai_packed(x, axis, limit=0.5),
}
GRADIENTS: dict[str, Callable[..., Any]] = {
    "maxout": lambda dy, x, axis: fa.maxout_backward(dy, x, 2, axis),
    "crelu": fa.crelu_backward,
    "swiglu_packed": fa.swiglu_packed_backward,
    "glu_packed": lambda dy, x, axis: fa.glu_packed_backward(
        dy, x, axis, interleaved=True
    ),
    "parameters": lambda dy, x, axis: fa.swiglu_oai_packed_backward(
        dy, x, axis, limit=0.5
    ),
}


@pytest.fixture
def wide() -> Any:
    return xr.DataArray(
        WIDE,
        dims=("row", "class", "side"),
        coords={
            "row": [10, 20, 30, 40, 50, 60],
            "class": ["a", "b", "c", "d"],
            "side": ["left", "right"],
            "size": ("class", [1, 2, 3, 4]),
        },
        name="logits",
        attrs={"unit": "nat"},
    )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", NEW_LENGTH)
def test_other_labels_stay_where_an_axis_gets_another_length(
    name: str, axis: int, lazy: bool, wide: Any
) -> None:
    dimension = wide.dims[axis]
    x = wide
    if lazy:
        pytest.importorskip("dask", reason="needs dask")
        x = wide.chunk({other: 2 for other in wide.dims if other != dimension})
    function, gradient = NEW_LENGTH[name], GRADIENTS[name]
    y = function(x, axis=axis)
    expected = xr.DataArray(
        function(WIDE, axis=axis),
        dims=wide.dims,
        coords={k: v for k, v in wide.coords.items() if dimension not in v.dims},
        name="logits",
        attrs={"unit": "nat"},
    )
    assert (y.chunks is not None) == lazy
    xr.testing.assert_identical(y.compute(), expected)
    for dy in (y, expected.data):
        dx = gradient(dy, x, axis=axis)
        assert (dx.chunks is not None) == lazy
        data = gradient(expected.data, WIDE, axis=axis)
        xr.testing.assert_identical(dx.compute(), wide.copy(data=data))


def test_a_gradient_without_labels_broadcasts(wide: Any) -> None:
    dy = np.float32([[1, 2], [3, 4]])
    dx = fa.maxout_backward(dy, wide, 2, axis=1)
    data = fa.maxout_backward(dy, WIDE, 2, axis=1)
    xr.testing.assert_identical(dx, wide.copy(data=data))


def test_the_gradient_and_the_input_must_have_the_same_labels(wide: Any) -> None:
    with pytest.raises(ValueError, match="row"):
        fa.crelu_backward(fa.crelu(wide)[::-1], wide)


@pytest.mark.parametrize("name", NEW_LENGTH)
def test_what_cannot_be_on_xarrays_objects_is_said(name: str, wide: Any) -> None:
    function, gradient = NEW_LENGTH[name], GRADIENTS[name]
    together = wide.to_dataset()
    for call in (
        lambda: function(together, axis=-1),
        lambda: gradient(WIDE, together, axis=-1),
    ):
        with pytest.raises(TypeError, match=r"not a Dataset.*xarray\.apply_ufunc"):
            call()
    with pytest.raises(ValueError, match="axis 3 is out of bounds"):
        function(wide, axis=3)
    with pytest.raises(ValueError, match="axis must be one integer"):
        function(wide, axis=None)
    with pytest.raises(ValueError, match="out is not possible with xarray"):
        fa.crelu(wide, out=np.empty((6, 4, 4), np.float32))


@pytest.mark.parametrize("save", ["input", "output", "derivative"])
def test_activation_objects(save: Any, labelled: Any) -> None:
    act = fa.Activation("elu", save=save)
    xr.testing.assert_identical(act(labelled), fa.elu(labelled))
    dx = act.backward(labelled)
    expected = labelled.copy(data=fa.elu_backward(VALUES, VALUES))
    xr.testing.assert_allclose(dx, expected, rtol=1e-6)
    if save != "derivative":
        together = labelled.to_dataset()
        xr.testing.assert_identical(act(together)["logits"], act(labelled))
        act(together)
        xr.testing.assert_allclose(act.backward(together)["logits"], expected)


def test_without_xarray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    monkeypatch.delitem(sys.modules, "fastact.integrations.xarray", raising=False)
    with pytest.raises(ImportError, match="pip install xarray"):
        importlib.import_module("fastact.integrations.xarray")


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


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gelu", {}),
        ("elu", {"save": "derivative"}),
        ("elu", {"save": "output", "alpha": 0.5}),
        ("swiglu", {}),
        ("swiglu_packed", {"axis": 0}),
        ("maxout", {"pool_size": 3}),
    ],
)
def test_activation_objects_stay_lazy(
    name: str, settings: dict[str, Any], labelled: Any, dask: Any
) -> None:
    act = fa.Activation(name, **settings)
    count = 2 if name == "swiglu" else 1
    y = act(*[labelled] * count)
    expected = act.backward(y)
    lazy = labelled.chunk(row=-1 if name == "swiglu_packed" else 4)
    with dask.config.set(scheduler=_refuse):
        lazy_y = act(*[lazy] * count)
        found = act.backward(lazy_y)
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(lazy_y.compute(), y)
        if count == 1:
            found, expected = (found,), (expected,)
        for one, other in zip(found, expected, strict=True):
            assert one.chunks is not None
            xr.testing.assert_identical(one.compute(), other)


def test_gates_of_a_data_set_stay_lazy(labelled: Any, dask: Any) -> None:
    act = fa.Activation("swiglu")
    together = xr.Dataset({"one": labelled, "other": labelled.isel(row=0)})
    y = act(together, together)
    expected = act.backward(y)
    lazy = together.chunk(row=4)
    with dask.config.set(scheduler=_refuse):
        lazy_y = act(lazy, lazy)
        found = act.backward(lazy_y)
    with dask.config.set(scheduler="synchronous"):
        for one, other in zip(found, expected, strict=True):
            xr.testing.assert_identical(one.compute(), other)


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
