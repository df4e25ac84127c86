"""Gates: two arrays or two halves of one; and concatenated and randomised relu."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from calls import BACKWARD, DTYPES, Call, assert_same_bits, other_values
from numpy.testing import assert_allclose

import fastact as fa
from fastact.checking import reference
from fastact.checking.truth import interesting_points, truth, ulp_error
from fastact.formulas.entry import FUSED, Fused

GATES = [entry for entry in FUSED.values() if entry.packed_gate is not None]
every_gate = pytest.mark.parametrize("entry", GATES, ids=lambda entry: entry.name)


def _default(entry: Fused) -> tuple[float, ...]:
    return tuple(float(p.default) for p in entry.parameters if p.default is not None)


def _sets_of_parameters(entry: Fused) -> list[tuple[float, ...]]:
    return [_default(entry), other_values(entry)] if entry.parameters else [()]


def test_every_gate_has_a_reference() -> None:
    assert {entry.name for entry in GATES} <= set(reference.REFERENCES)


# ------------------------------------------------------------------------------ values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_gate
def test_values_and_gradients_are_those_of_the_definition(
    entry: Fused, dtype: str
) -> None:
    random = np.random.default_rng(3)
    gate, value = (3 * random.standard_normal((2, 300))).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    floor = int(np.finfo(dtype).minexp) - int(np.finfo(dtype).nmant)
    for values in _sets_of_parameters(entry):
        exact = [float(np.dtype(dtype).type(p)) for p in values]
        points = [
            (g, v, *exact) for g, v in zip(gate.tolist(), value.tolist(), strict=True)
        ]
        found = getattr(fa, entry.name)(gate, value, *values)
        wanted = [float(reference.value(entry.name, point)) for point in points]
        # The activation is within 2 ULP; a product adds half a ULP, and ULP vary by 2.
        assert_allclose(found, wanted, rtol=2.5 * eps, atol=0)
        gradients = getattr(fa, entry.name + BACKWARD)(
            np.ones_like(gate), gate, value, *values
        )
        for index, gradient in enumerate(gradients):
            wanted = [
                float(reference.partial(entry.name, point, index, floor))
                for point in points
            ]
            assert_allclose(gradient, wanted, rtol=4 * eps, atol=0)


@every_gate
def test_gradients_are_the_products_of_dy(entry: Fused) -> None:
    random = np.random.default_rng(4)
    dy, gate, value = random.standard_normal((3, 200))
    backward = getattr(fa, entry.name + BACKWARD)
    alone = backward(np.ones_like(dy), gate, value)
    for found, slope in zip(backward(dy, gate, value), alone, strict=True):
        assert_allclose(found, dy * slope, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("glu", "sigmoid"),
        ("swiglu", "silu"),
        ("geglu", "gelu"),
        ("geglu_tanh", "gelu_tanh"),
    ],
)
def test_factors_of_gradients_are_within_the_activations_bounds(
    name: str, activation: str, dtype: Any
) -> None:
    random = np.random.default_rng(5)
    size = np.dtype(dtype).itemsize
    lowest = -100 if size < 8 else -740
    gate = np.concatenate(
        [
            3 * random.standard_normal(500),
            random.uniform(lowest, 20, 300),
            np.ldexp(random.uniform(-1, 1, 100), -random.integers(0, 30, 100)),
        ]
    ).astype(dtype)
    slope, activated = getattr(fa, name + BACKWARD)(dtype(1), gate, dtype(1))
    bound = 0.51 if size == 2 else 2.0
    for found, kind in ((activated, "forward"), (slope, "derivative")):
        exact = truth(activation, kind, dtype, gate, cache=None)
        assert ulp_error(found, exact, dtype).max() <= bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "activation"), [("glu", fa.sigmoid), ("swiglu", fa.silu)]
)
def test_the_activation_beside_its_slope_is_the_activation_of_unusual_gates(
    name: str, activation: Any, dtype: Any
) -> None:
    gate = interesting_points(dtype)
    gate = np.concatenate([gate, np.array([np.inf, -np.inf, np.nan], dtype)])
    _, found = getattr(fa, name + BACKWARD)(dtype(1), gate, dtype(1))
    wanted = activation(gate).astype(float)
    info = ml_dtypes.finfo(dtype)  # both are within 2 ULP
    eps, least = float(info.eps), float(info.smallest_subnormal)
    assert_allclose(found.astype(float), wanted, rtol=4 * eps, atol=4 * least)


@every_gate
def test_nan_in_one_array_is_nan_in_what_depends_on_it(entry: Fused) -> None:
    forward, backward = getattr(fa, entry.name), getattr(fa, entry.name + BACKWARD)
    for dtype in DTYPES:
        nan, two = dtype(np.nan), dtype(2)
        assert np.isnan(forward(nan, two))
        assert np.isnan(forward(two, nan))
        assert np.isnan(backward(nan, two, two)).all()
        assert np.isnan(backward(two, nan, two)).all()
        by_gate, by_value = backward(two, two, nan)
        assert np.isnan(by_gate)
        # only swiglu_oai's factor has a derivative that is not a constant
        assert np.isnan(by_value) == (entry.name == "swiglu_oai")


def test_where_the_gate_is_shut_gradients_are_zero_whatever_dy() -> None:
    dy = np.array([np.nan, np.inf, -np.inf], np.float32)
    for found in fa.reglu_backward(dy, np.float32(-1), np.float32(3)):
        assert (found == 0).all()
    by_gate, by_value = fa.swiglu_oai_backward(dy, np.float32(9), np.float32(9))
    assert (by_gate == 0).all()
    assert (by_value == 0).all()


def test_gradients_at_the_limits_of_swiglu_oai_are_zero() -> None:
    one = np.ones(1)
    assert fa.swiglu_oai_backward(one, 7 * one, one)[0] == 0
    for edge in (7.0, -7.0):
        assert fa.swiglu_oai_backward(one, one, edge * one)[1] == 0


def test_the_activated_array_comes_first() -> None:
    gate, value = np.array([-2.0, 0.5, 3.0]), np.array([1.0, -2.0, 0.25])
    for name, activation in [
        ("glu", fa.sigmoid),
        ("swiglu", fa.silu),
        ("geglu", fa.gelu),
        ("geglu_tanh", fa.gelu_tanh),
        ("reglu", fa.relu),
        ("bilinear", fa.identity),
    ]:
        assert_same_bits(getattr(fa, name)(gate, value), activation(gate) * value)


# ------------------------------------------------------------------------------ packed

SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "rows": ((6, 8), -1),
    "columns": ((6, 8), 0),
    "middle": ((4, 6, 5), 1),
    "a vector": ((8,), 0),
    "many axes": ((3, 4, 2, 6), -1),
    "a negative axis": ((3, 4, 2, 6), -3),
    "long rows": ((3, 9000), 1),
    "two in a row": ((5, 2), 1),
    "no rows": ((0, 4), 1),
    "empty rows": ((3, 0), 1),
}


def _layouts(x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    wide = np.repeat(x, 2, axis=-1)[..., ::2]
    swapped = np.ascontiguousarray(np.swapaxes(x, 0, -1)).swapaxes(0, -1)
    unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    return [
        x,
        wide,
        swapped,
        np.flip(np.flip(x).copy()),
        unaligned,
        read_only,
        x.astype(x.dtype.newbyteorder(">")) if x.dtype.kind == "f" else x,
    ]


def _parts(shape: tuple[int, ...], axis: int, gate: str, interleaved: bool) -> Any:
    """Where in a packed array the gate is, and the value."""
    half = shape[axis] // 2
    slices = [slice(half), slice(half, None)]
    if interleaved:
        slices = [slice(0, None, 2), slice(1, None, 2)]
    if gate == "second":
        slices.reverse()
    before = (slice(None),) * (axis % len(shape))
    return [(*before, part) for part in slices]


@pytest.mark.parametrize("interleaved", [False, True], ids=["blocks", "interleaved"])
@pytest.mark.parametrize("gate", ["first", "second"])
@pytest.mark.parametrize("case", SHAPES)
@every_gate
def test_packed_is_the_function_of_the_halves(
    entry: Fused, case: str, gate: str, interleaved: bool
) -> None:
    shape, axis = SHAPES[case]
    random = np.random.default_rng(5)
    function, packed = getattr(fa, entry.name), getattr(fa, f"{entry.name}_packed")
    backward = getattr(fa, f"{entry.name}_packed_backward")
    by_gate, by_value = _parts(shape, axis, gate, interleaved)
    for dtype in DTYPES:
        x = (2 * random.standard_normal(shape)).astype(dtype)
        expected = function(x[by_gate], x[by_value])
        dy = random.standard_normal(expected.shape).astype(dtype)
        wanted = np.empty_like(x)
        wanted[by_gate], wanted[by_value] = function.backward(
            dy, x[by_gate], x[by_value]
        )
        for laid_out in _layouts(x):
            assert_same_bits(packed(laid_out, axis, gate, interleaved), expected)
            dx = backward(dy, laid_out, axis, gate, interleaved)
            assert_same_bits(dx, wanted)
        out = np.full(shape, 9, dtype)
        assert backward(dy, x, axis, gate, interleaved, out=out) is out
        assert_same_bits(out, wanted)
        # over its own input, as memory-saving trainers do
        backward(dy, x, axis, gate, interleaved, out=x)
        assert_same_bits(x, wanted)


@every_gate
def test_the_default_half_is_the_origins(entry: Fused) -> None:
    x = np.linspace(-3, 3, 12).reshape(2, 6)
    halves = [x[:, :3], x[:, 3:]]
    if entry.name == "glu":  # PyTorch's F.glu
        halves.reverse()
    expected = getattr(fa, entry.name)(*halves)
    assert_same_bits(getattr(fa, f"{entry.name}_packed")(x), expected)


def test_packed_parameters() -> None:
    x = np.linspace(-9, 9, 12).reshape(2, 6)
    gate, value = x[:, :3], x[:, 3:]
    found = fa.swiglu_oai_packed(x, limit=2.0, alpha=0.5)
    assert_same_bits(found, fa.swiglu_oai(gate, value, 2.0, 0.5))
    dy = np.ones((2, 3))
    expected = fa.swiglu_oai_backward(dy, gate, value, 2.0, 1.702)
    found = fa.swiglu_oai_packed_backward(dy, x, limit=2.0)
    assert_same_bits(found, np.concatenate(expected, axis=1))
    with pytest.raises(ValueError, match="limit must be greater than 0"):
        fa.swiglu_oai_packed(x, limit=0.0)
    with pytest.raises(ValueError, match="limit must be a number"):
        fa.swiglu_oai_packed(x, limit=np.ones(3))
    with pytest.raises(TypeError, match="'alfa'"):
        fa.swiglu_oai_packed(x, alfa=1.0)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_packed_has_the_same_bits_for_any_number_of_threads(threads: int) -> None:
    x = np.random.default_rng(6).standard_normal((700, 1200)).astype(np.float32)
    dy = np.ones((700, 600), np.float32)
    with fa.num_threads(threads):
        y, dx = fa.swiglu_packed(x), fa.swiglu_packed_backward(dy, x)
    assert_same_bits(y, fa.swiglu(x[:, :600], x[:, 600:]))
    expected = fa.swiglu_backward(dy, x[:, :600], x[:, 600:])
    assert_same_bits(dx, np.concatenate(expected, axis=1))


def test_packed_allocates_nothing_but_the_result() -> None:
    x, dy = np.ones((500, 2000), np.float32), np.ones((500, 1000), np.float32)
    y, dx = np.empty_like(dy), np.empty_like(x)
    fa.geglu_packed(x[:2]), fa.geglu_packed_backward(dy[:2], x[:2])
    for axis in (0, 1):
        gradient = dy if axis else dy.reshape(250, 2000)
        target = y if axis else y.reshape(250, 2000)
        tracemalloc.start()
        fa.geglu_packed(x, axis, out=target)
        fa.geglu_packed(x, axis, interleaved=True, out=target)
        fa.geglu_packed_backward(gradient, x, axis, out=dx)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 50_000


def test_overlapping_out_reads_nothing_that_was_written() -> None:
    buffer = np.random.default_rng(7).standard_normal(4000)
    x = buffer[:2000].reshape(10, 200)
    expected = fa.swiglu_packed(x)
    for start in (0, 1, 500, 1500):
        copy = buffer.copy()
        x, out = copy[:2000].reshape(10, 200), copy[start : start + 1000]
        fa.swiglu_packed(x, out=out.reshape(10, 100))
        assert_same_bits(out.reshape(10, 100), expected)


@pytest.mark.parametrize("function", ["swiglu_packed", "glu_packed"])
def test_errors_of_packed_name_the_argument(function: str) -> None:
    call, backward = getattr(fa, function), getattr(fa, function + BACKWARD)
    x, dy, out = np.ones((4, 6)), np.ones((4, 3)), np.full((4, 3), 9.0)
    with pytest.raises(ValueError, match="x must have an even length along axis 1"):
        call(np.ones((4, 5)), out=out)
    with pytest.raises(ValueError, match="x must have an even length"):
        backward(dy, np.ones((4, 7)))
    with pytest.raises(ValueError, match="gate must be 'first' or 'second'"):
        call(x, gate="third", out=out)
    with pytest.raises(ValueError, match="dy must have shape"):
        backward(np.ones((4, 4)), x)
    with pytest.raises(ValueError, match="axis"):
        call(x, 2)
    with pytest.raises(ValueError, match="at least one axis"):
        call(1.0)
    with pytest.raises(ValueError, match="out must be an array of shape"):
        call(x, out=np.ones((4, 6)))
    with pytest.raises(TypeError, match="out must be an aligned array of float64"):
        call(x, out=out.astype(np.float32))
    with pytest.raises(TypeError):
        call(x + 1j)
    with pytest.raises(TypeError):
        call(np.array([["1", "2"]]))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(x, out=out)
    assert (out == 9).all()


def test_packed_on_a_dask_array_stays_lazy() -> None:
    dask_array = pytest.importorskip("dask.array")
    x = np.linspace(-3, 3, 60).reshape(10, 6)
    lazy = fa.swiglu_packed(dask_array.from_array(x, chunks=(5, 6)))
    assert isinstance(lazy, dask_array.Array)
    assert_same_bits(lazy.compute(), fa.swiglu_packed(x))


def test_packed_on_a_masked_array_keeps_the_mask() -> None:
    x = np.ma.masked_less(np.linspace(-3, 3, 12).reshape(2, 6), 0)
    found = fa.swiglu_packed(x)
    assert np.array_equal(found.mask, fa.swiglu(x[:, :3], x[:, 3:]).mask)


def test_what_would_ignore_the_mask_is_refused() -> None:
    x = np.ma.masked_less(np.linspace(-3, 3, 12).reshape(2, 6), 0)
    plain = x.filled(0)
    for call in (
        lambda: fa.crelu(x),
        lambda: fa.crelu_backward(fa.crelu(plain), x),
        lambda: fa.swiglu_packed_backward(fa.swiglu_packed(plain), x),
        lambda: fa.swiglu_packed_backward(fa.swiglu_packed(x), plain),
    ):
        with pytest.raises(TypeError, match="must not be a masked array"):
            call()


def test_integers_become_floats() -> None:
    found = fa.swiglu_packed(np.array([[1, 2, 3, 4]], np.int8))
    assert found.dtype == np.tanh(np.int8(1)).dtype


# ------------------------------------------------------------- concatenated relu, rrelu


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_crelu_joins_both_halves(axis: int) -> None:
    for dtype in DTYPES:
        x = interesting_points(np.float16).astype(dtype)
        x = np.stack([x, -x, x + 1])
        y = fa.crelu(x, axis)
        joined = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis)
        assert np.array_equal(y, joined)
        assert y.dtype == dtype
        dy = np.random.default_rng(8).standard_normal(y.shape).astype(dtype)
        first, second = np.split(dy, 2, axis)
        expected = np.where(x > 0, first, np.where(x < 0, -second, 0))
        assert np.array_equal(fa.crelu_backward(dy, x, axis), expected)
        assert np.array_equal(fa.crelu.backward(dy, x, axis), expected)
    assert np.isnan(fa.crelu([np.nan])).all()
    assert np.isnan(fa.crelu_backward([1.0, 1.0], [np.nan])).all()
    with pytest.raises(ValueError, match="dy must have shape"):
        fa.crelu_backward(np.ones(3), np.ones(2))


def test_rrelu_takes_slopes_or_draws_them() -> None:
    x = np.array([[-2.0, 3.0], [-0.5, 0.0]])
    slopes = np.array([[0.2, 0.3], [0.25, 0.15]])
    assert_same_bits(fa.rrelu(x, slopes), fa.prelu(x, slopes))
    assert_same_bits(fa.rrelu_backward(x, x, slopes), fa.prelu_backward(x, x, slopes))
    middle = (1 / 8 + 1 / 3) / 2
    assert_same_bits(fa.rrelu(x), fa.leaky_relu(x, middle))
    assert_same_bits(fa.rrelu_backward(x, x), fa.leaky_relu_backward(x, x, middle))
    for dtype in DTYPES:
        below = np.full(20_000, -1, dtype)
        y = fa.rrelu(below, rng=np.random.default_rng(1), lower=0.25, upper=0.5)
        assert y.dtype == dtype
        assert -0.5 <= y.min() < -0.49
        assert -0.26 < y.max() <= -0.25
        assert abs(float(y.mean(dtype=np.float64)) + 0.375) < 0.005
        again = fa.rrelu(below, rng=np.random.default_rng(1), lower=0.25, upper=0.5)
        assert_same_bits(y, again)
    out = np.empty_like(x)
    assert fa.rrelu(x, slopes, out=out) is out
    with pytest.raises(ValueError, match="upper must be at least lower"):
        fa.rrelu(x, lower=0.5, upper=0.25)
    seeded = fa.rrelu([-1.0, 2.0], rng=3)
    assert_same_bits(fa.rrelu([-1.0, 2.0], rng=np.random.default_rng(3)), seeded)
    with pytest.raises(ValueError, match="slopes or rng"):
        fa.rrelu(x, slopes, rng=np.random.default_rng(1))


def test_others_libraries_may_be_only_half_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As while another thread imports them."""
    for name in ("dask.array", "pandas", "xarray"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    np.testing.assert_array_equal(fa.crelu([1.0, -2.0]), [1, 0, 0, 2])
    np.testing.assert_array_equal(fa.bilinear_packed([[3.0, 2.0]]), [[6]])
    np.testing.assert_array_equal(fa.maxout([1.0, 2.0], 2), [2])


@pytest.mark.parametrize(
    "name", ["swiglu_packed", "glu_packed_backward", "crelu", "rrelu", "rrelu_backward"]
)
def test_functions_pickle(name: str) -> None:
    function = getattr(fa, name)
    assert pickle.loads(pickle.dumps(function)) is function


def test_calls_cover_the_gates() -> None:
    assert Call(FUSED["swiglu"], BACKWARD).output_count == 2
