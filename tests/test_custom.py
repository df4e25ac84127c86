"""`fa.activation` and `fa.check`: formulas of one's own."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import linecache
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import ACTIVATIONS, assert_same_bits
from mpmath import mp
from test_numba import WITHOUT_NUMBA

import fastact as fa
from fastact.checking.reference import REFERENCES
from fastact.checking.truth import bit_uniform, split, ulp_error

numba = pytest.importorskip("numba", reason="needs Numba")
pytest.importorskip("fastact.custom", exc_type=ImportError)

from fastact.custom import forms, primitives, terms  # noqa: E402
from fastact.custom.reading import read_expression  # noqa: E402

pytestmark = [pytest.mark.numba, pytest.mark.usefixtures("kernels_are_kept")]

SLOPE = 0.5  # a number from outside


@fa.activation
def wave(x):
    """A wave.

    It comes and goes.
    """
    size = np.exp(-abs(x))
    return size * np.sin(x) if x > -3 else SLOPE * size


@fa.activation
def scaled(x, a=1.0, b=2.0):
    return b * x * np.tanh(np.exp(a * x))


@fa.activation
def bias_gelu(x, b):
    return fa.gelu(x + b)


@fa.activation
def mixed(x, weight, a=0.5):
    return fa.leaky_relu(weight * x, a) + x


def _values(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def _differences(function: Callable[..., Any], inputs: list[Any], index: int) -> Any:
    """The derivative of a function in float64 by one of its inputs."""
    step = 1e-6
    above, below = list(inputs), list(inputs)
    above[index], below[index] = inputs[index] + step, inputs[index] - step
    return (function(*above) - function(*below)) / (2 * step)


# ---------------------------------------------------------------- what is made


def test_one_array_and_no_parameter_make_a_ufunc_with_its_family() -> None:
    assert isinstance(wave, np.ufunc)
    for member in (wave.derivative, wave.backward, wave.with_derivative):
        assert isinstance(member, np.ufunc)
    assert wave.__module__ == __name__
    assert wave.__wrapped__.__name__ == "wave"
    assert list(inspect.signature(wave).parameters)[:2] == ["x", "out"]
    for text in ("A wave", "It comes and goes", "np.sin(x)", "wave.backward(dy, x)"):
        assert text in " ".join(wave.__doc__.split())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_and_derivatives(dtype: Any) -> None:
    x = _values(200, dtype=dtype)
    wide = x.astype(np.float64)
    plain = np.vectorize(wave.__wrapped__)
    expected, slope = plain(wide), _differences(plain, [wide], 0)
    tolerance = max(4 * float(np.finfo(dtype).eps), 1e-8)
    y, derivative = wave.with_derivative(x)
    assert y.dtype == derivative.dtype == dtype
    np.testing.assert_allclose(y, expected, tolerance, tolerance)
    np.testing.assert_allclose(derivative, slope, tolerance, tolerance)
    assert_same_bits(wave(x), y)
    assert_same_bits(wave.derivative(x), derivative)
    assert_same_bits(wave.backward(np.ones_like(x), x), derivative)


def test_it_is_called_as_every_ufunc() -> None:
    x = _values(4, 6)
    out = np.full((4, 6), 7, np.float32)
    assert wave(x, out=out, where=x > 0) is out
    np.testing.assert_array_equal(out, np.where(x > 0, wave(x), 7))
    assert wave(np.arange(3)).dtype == np.float64
    in_place = x.copy()
    assert_same_bits(wave(in_place, out=in_place), wave(x))
    gradients = x.copy()
    assert_same_bits(wave.backward(gradients, x, out=gradients), wave.backward(x, x))
    shifted = np.concatenate([x.ravel(), x.ravel()])
    wave(shifted[:-3], out=shifted[3:])
    assert_same_bits(shifted[3:27], wave(x.ravel()))
    assert_same_bits(wave(x[::2, ::-1]), wave(x)[::2, ::-1])
    assert np.isnan(wave(np.float32(np.nan)))
    assert np.isnan(wave.derivative(np.float32(np.nan)))
    with pytest.raises(TypeError):
        wave(1j)


def test_threads_give_the_same_bits() -> None:
    x = np.linspace(-9, 9, 300_000, dtype=np.float32)
    with fa.num_threads(1):
        expected = scaled(x, 0.7)
    with fa.num_threads(3):
        assert_same_bits(scaled(x, 0.7), expected)


def test_numbers_of_all_kinds_from_outside_and_as_defaults() -> None:
    third, two, three = Fraction(1, 3), np.array(2.0), np.int8(3)
    single = np.float32(2)

    @fa.activation
    def limited(x, most=math.inf, factor=single, shift=1):
        return np.minimum(factor * x + shift, most) * third * two * three

    x = np.array([-1.0, 0.5, 4.0])
    np.testing.assert_allclose(limited(x), 2 * (2 * x + 1), 1e-15)
    np.testing.assert_allclose(limited(x, 3.0), [-2, 4, 6], 1e-15)


def test_parameters_by_position_by_name_and_as_arrays() -> None:
    x = _values(5, 7)
    expected = 2 * x * np.tanh(np.exp(x))
    np.testing.assert_allclose(scaled(x), expected, 1e-5)
    assert scaled(x, 0.5).dtype == np.float32
    np.testing.assert_allclose(scaled(x, b=3.0), 1.5 * expected, 1e-5)
    a = np.linspace(0.1, 1, 7)
    np.testing.assert_allclose(scaled(x, a), 2 * x * np.tanh(np.exp(a * x)), 1e-5)
    with pytest.raises(TypeError, match="real number"):
        scaled(x, "a")


def test_gradients_of_parameters_are_summed_to_their_shapes() -> None:
    x, dy = _values(5, 7, dtype=np.float64), _values(5, 7, dtype=np.float64, seed=1)
    a = np.linspace(0.1, 1, 7)
    plain = scaled.__wrapped__
    dx, da, db = scaled.parameter_backward(dy, x, a, 1.5)
    np.testing.assert_allclose(dx, dy * _differences(plain, [x, a, 1.5], 0), 1e-7, 1e-8)
    by_a = (dy * _differences(plain, [x, a, 1.5], 1)).sum(axis=0)
    np.testing.assert_allclose(da, by_a, 1e-7)
    by_b = (dy * _differences(plain, [x, a, 1.5], 2)).sum()
    np.testing.assert_allclose(db, by_b, 1e-7)
    assert_same_bits(scaled.backward(dy, x, a, 1.5), dx)


def test_limits_where_a_factor_of_the_derivative_is_zero() -> None:
    x = np.float32([100, 1e30, np.inf, -100, -1e30, -np.inf])
    np.testing.assert_array_equal(scaled.derivative(x, 1.5), [2, 2, 2, 0, 0, 0])


# ---------------------------------------------------------------- several inputs


def test_gradients_of_several_inputs_have_their_shapes() -> None:
    x, dy = _values(60, 70, dtype=np.float64), _values(60, 70, dtype=np.float64, seed=1)
    bias, column, one = x[0].copy(), x[:, :1].copy(), np.float64(0.3)
    np.testing.assert_allclose(bias_gelu(x, bias), fa.gelu(x + bias), 1e-15)
    for b in (x.copy(), bias, column, one, x[:1].copy()):
        whole = dy * fa.gelu_derivative(x + b)
        dx, db = bias_gelu.backward(dy, x, b)
        np.testing.assert_allclose(dx, whole, 1e-13, 1e-15)
        axes = {(60, 70): (), (70,): (0,), (60, 1): (1,), (): (0, 1), (1, 70): (0,)}
        expected = whole.sum(axis=axes[np.shape(b)]).reshape(np.shape(b))
        assert np.shape(db) == np.shape(b)
        np.testing.assert_allclose(db, expected, 1e-12, 1e-13)
    # Neither has the shape of the result.
    dcolumn, dbias = bias_gelu.backward(dy, column, bias)
    whole = dy * fa.gelu_derivative(column + bias)
    np.testing.assert_allclose(dcolumn, whole.sum(axis=1, keepdims=True), 1e-12, 1e-13)
    np.testing.assert_allclose(dbias, whole.sum(axis=0), 1e-12, 1e-13)


def test_inputs_and_parameters_together() -> None:
    x, dy = _values(6, 8, dtype=np.float64), _values(6, 8, dtype=np.float64, seed=1)
    weight = np.linspace(-1, 1, 8)
    plain = np.vectorize(lambda x, w, a: (w * x if w * x > 0 else a * w * x) + x)
    np.testing.assert_allclose(mixed(x, weight, 0.2), plain(x, weight, 0.2), 1e-14)
    found = mixed.parameter_backward(dy, x, weight, 0.2)
    slopes = [dy * _differences(plain, [x, weight, 0.2], i) for i in range(3)]
    expected = (slopes[0], slopes[1].sum(axis=0), slopes[2].sum())
    for gradient, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, truth, 1e-6, 1e-8)
    for gradient, truth in zip(
        mixed.backward(dy, x, weight, a=0.2), expected[:2], strict=True
    ):
        np.testing.assert_allclose(gradient, truth, 1e-6, 1e-8)


def test_derivatives_by_several_inputs_are_not_summed() -> None:
    x, weight = _values(6, 8, dtype=np.float64), np.linspace(-1, 1, 8)
    plain = np.vectorize(lambda x, w, a: (w * x if w * x > 0 else a * w * x) + x)
    for made, inputs in ((mixed, [x, weight, 0.2]), (bias_gelu, [x, weight])):
        truth = plain if made is mixed else made
        y, *slopes = made.with_derivative(*inputs)
        np.testing.assert_array_equal(y, made(*inputs))
        for i, slope in enumerate(slopes):
            expected = _differences(truth, inputs, i)
            np.testing.assert_allclose(slope, expected, 1e-6, 1e-8)
        for slope, other in zip(made.derivative(*inputs), slopes, strict=True):
            assert_same_bits(slope, other)
    assert bias_gelu.derivative(x.astype(np.float32), 1.0)[0].dtype == np.float32


def test_sums_of_float16_do_not_overflow_and_can_be_stored() -> None:
    x = np.full((300, 300), 100, np.float16)
    dx, db = bias_gelu.backward(np.full_like(x, 10), x, np.float16(0))
    assert dx.dtype == np.float16
    assert db == 10 * 300 * 300
    target = np.zeros(300, np.float32)
    _, db = bias_gelu.backward(x, x, np.zeros(300, np.float16), out=(None, target))
    assert db is target
    np.testing.assert_array_equal(target, 100 * 300)
    with pytest.raises(ValueError, match=r"out: db must be an array of shape \(300,\)"):
        bias_gelu.backward(x, x, np.zeros(300, np.float16), out=(None, target[:2]))


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_of_a_broadcast_bias_are_those_of_the_ufunc(threads: int) -> None:
    x = _values(300, 200)
    with fa.num_threads(threads):
        for b in (x[0].copy(), x[:, :1].copy(), x[0].astype(np.float64)):
            assert_same_bits(bias_gelu(x, b), bias_gelu.ufunc(x, b))
        out = x.copy()
        assert bias_gelu(out, x[0].copy(), out=out) is out
        assert_same_bits(out, bias_gelu.ufunc(x, x[0]))
        selected = bias_gelu(x, x[0], where=x > 0, out=np.zeros_like(x))
        assert_same_bits(selected, np.where(x > 0, out, np.float32(0)))
    with pytest.raises(ValueError, match="broadcast"):
        bias_gelu(x, x[0, :7])


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="cannot count threads")
def test_a_bias_of_the_last_axis_uses_all_threads(tmp_path: Path) -> None:
    (tmp_path / "of_mine.py").write_text(
        "import fastact as fa\n"
        "@fa.activation\n"
        "def bias_gelu(x, b):\n"
        "    return fa.gelu(x + b)\n"
    )
    code = """
import os
import numpy as np
import fastact as fa
from of_mine import bias_gelu
x, b = np.ones((5000, 64), np.float32), np.ones(64, np.float32)
count = lambda: len(os.listdir("/proc/self/task"))
fa.set_num_threads(3)
bias_gelu(x[:2], b)
before = count()
bias_gelu(x, b)
assert count() == before + 2
"""
    done = _python(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{_ROOT}")
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------ what may be called

# By the name of NumPy's function: its definition, and an interval for the points
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "exp": (mp.exp, -80, 80),
    "expm1": (mp.expm1, -80, 80),
    "log": (mp.log, 1e-30, 1e30),
    "log1p": (mp.log1p, -0.99, 1e10),
    "log2": (lambda x: mp.log(x, 2), 1e-30, 1e30),
    "log10": (mp.log10, 1e-30, 1e30),
    "sqrt": (mp.sqrt, 1e-30, 1e30),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), -1e30, 1e30),
    "sinh": (mp.sinh, -80, 80),
    "cosh": (mp.cosh, -80, 80),
    "tanh": (mp.tanh, -80, 80),
    "sin": (mp.sin, -3000, 3000),
    "cos": (mp.cos, -3000, 3000),
    "arctan": (mp.atan, -1e20, 1e20),
    "arcsinh": (mp.asinh, -1e30, 1e30),
    "arctanh": (mp.atanh, -0.9999, 0.9999),
    "exp2": (lambda x: mp.power(2, x), -100, 100),
}


@fa.activation
def every_function(x, k=0.0):
    first = np.where(k == 0, np.exp(x), np.where(k == 1, np.expm1(x), np.log(x)))
    second = np.where(k == 3, np.log1p(x), np.where(k == 4, np.log2(x), np.log10(x)))
    third = np.where(k == 6, np.sqrt(x), np.where(k == 7, np.cbrt(x), np.sinh(x)))
    fourth = np.where(k == 9, np.cosh(x), np.where(k == 10, np.tanh(x), np.sin(x)))
    fifth = np.where(k == 12, np.cos(x), np.where(k == 13, np.arctan(x), np.arcsinh(x)))
    sixth = np.where(k == 15, np.arctanh(x), np.exp2(x))
    left = np.where(k < 3, first, np.where(k < 6, second, third))
    right = np.where(k < 12, fourth, np.where(k < 15, fifth, sixth))
    return left if k < 9 else right


def _points(low: float, high: float, dtype: Any) -> np.ndarray:
    """Numbers of all magnitudes within an interval, and evenly spread ones."""
    uniform = bit_uniform(dtype, 400, seed=5)
    even = np.linspace(low, high, 101).astype(dtype)
    points = np.concatenate([uniform, even, np.linspace(-4, 4, 101).astype(dtype)])
    # A difference at a smaller one would take more digits than there are
    return points[(points >= low) & (points <= high) & (abs(points) > 1e-30)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_numpy_are_within_2_ulp_and_their_derivatives_within_4(
    dtype: Any,
) -> None:
    found: dict[str, tuple[float, float]] = {}
    for k, (name, (define, low, high)) in enumerate(FUNCTIONS.items()):
        x = _points(low, high, dtype)
        y, slope = every_function.with_derivative(x, float(k))
        with mp.workprec(400):
            values = [mp.mpf(v) for v in x.tolist()]
            truth = split([define(v) for v in values])
            # Far below a ULP; a step within the domain
            step = [mp.ldexp(v, -100) for v in values]
            rise = split(
                [
                    (define(v + h) - define(v - h)) / (2 * h)
                    for v, h in zip(values, step, strict=True)
                ]
            )
        found[name] = (
            float(ulp_error(y, truth, dtype).max()),
            float(ulp_error(slope, rise, dtype).max()),
        )
    worst = {name: errors for name, errors in found.items() if errors[0] > 2}
    assert not worst
    worst = {name: errors for name, errors in found.items() if errors[1] > 4}
    assert not worst


@fa.activation
def tangent(x):
    return np.tan(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sine_and_cosine_are_those_of_numbers_of_any_size(dtype: Any) -> None:
    limits = np.finfo(dtype)
    powers_of_two = np.ldexp(dtype(1), np.arange(20, limits.maxexp))
    x = np.concatenate(
        [
            bit_uniform(dtype, 2000, seed=8),
            powers_of_two,
            np.nextafter(powers_of_two, dtype(0)),
            [limits.max, -limits.max],
        ]
    ).astype(dtype)
    x = x[abs(x) > 2**20]
    assert len(x) > 500
    names = list(FUNCTIONS)
    with mp.workprec(1400):
        values = [mp.mpf(v) for v in x.tolist()]
        sine, cosine = (split([f(v) for v in values]) for f in (mp.sin, mp.cos))
        quotient = split([mp.tan(v) for v in values])
    y, slope = every_function.with_derivative(x, float(names.index("sin")))
    assert ulp_error(y, sine, dtype).max() < 1
    assert ulp_error(slope, cosine, dtype).max() < 1
    y, slope = every_function.with_derivative(x, float(names.index("cos")))
    assert ulp_error(y, cosine, dtype).max() < 1
    assert ulp_error(-slope, sine, dtype).max() < 1
    assert ulp_error(tangent(x), quotient, dtype).max() < 2


def test_beside_a_large_number_others_keep_their_bits() -> None:
    x = _values(3000, dtype=np.float64)
    y, slope = wave.with_derivative(x)
    x[700] = 1e300
    beside = np.arange(3000) != 700
    found, found_slope = wave.with_derivative(x)
    assert_same_bits(found[beside], y[beside])
    assert_same_bits(found_slope[beside], slope[beside])
    assert tangent(x)[700] == pytest.approx(float(mp.tan(mp.mpf(1e300))), rel=1e-15)
    for value in (math.inf, -math.inf, math.nan):
        assert np.isnan(tangent(value))


def test_values_outside_the_domains_and_at_their_ends() -> None:
    def of(name: str, *values: float) -> list[float]:
        return every_function(
            np.array(values), float(list(FUNCTIONS).index(name))
        ).tolist()

    inf = math.inf
    assert of("exp", inf, -inf, 1000) == [inf, 0, inf]
    assert of("log", 0, inf) == [-inf, inf]
    assert of("log1p", -1, inf) == [-inf, inf]
    assert of("sinh", inf, -inf, 800, -800) == [inf, -inf, inf, -inf]
    assert of("cosh", inf, -inf, 800, -800) == [inf] * 4
    assert of("arctanh", 1, -1) == [inf, -inf]
    assert of("arctan", inf, -inf) == [math.pi / 2, -math.pi / 2]
    assert of("exp2", 3, -1, inf, -inf) == [8, 0.5, inf, 0]
    for name, value in (("log", -1), ("log1p", -2), ("sqrt", -1), ("arctanh", 2)):
        assert np.isnan(of(name, value)), name


@fa.activation
def powers(x, k=0.0):
    low = np.where(k == 0, x**3, np.where(k == 1, x**-2, x**2.5))
    high = np.where(k == 3, x**1.7, np.where(k == 4, x**-0.3, 0.3**x))
    return low if k < 3 else high


def test_powers_with_constants() -> None:
    x = np.array([0.1, 0.5, 1.0, 1.7, 9.0])
    exponents = (3, -2, 2.5, 1.7, -0.3)
    for k, exponent in enumerate(exponents):
        y, slope = powers.with_derivative(x, float(k))
        np.testing.assert_allclose(y, x**exponent, 1e-15)
        np.testing.assert_allclose(slope, exponent * x ** (exponent - 1), 1e-15)
    np.testing.assert_allclose(powers(x, 5.0), 0.3**x, 1e-15)
    np.testing.assert_array_equal(powers(np.array([-2.0]), 0.0), [-8])
    assert np.isnan(powers(np.array([-2.0]), 3.0))


@fa.activation
def kinks(x, k=0.0):
    low = np.where(k == 0, np.maximum(x, 0), np.where(k == 1, max(0, x), abs(x)))
    high = np.where(k == 3, np.clip(x, 0, 2), np.where(k == 4, min(x, 0), np.sign(x)))
    return low if k < 3 else high


def test_at_kinks_the_derivative_is_that_of_the_catalogue() -> None:
    x = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    slopes = [kinks.derivative(x, float(k)).tolist() for k in range(6)]
    assert slopes == [
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [-1, 0, 1, 1, 1],
        [0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    for k in range(6):
        assert np.isnan(kinks(math.nan, float(k)))
        assert np.isnan(kinks.derivative(math.nan, float(k)))


@pytest.mark.parametrize("entry", ACTIVATIONS, ids=lambda entry: entry.name)
def test_definitions_of_the_catalogue_for_check_are_those_of_the_tests(
    entry: Any,
) -> None:
    parameters = [0.75 if p.default is None else p.default for p in entry.parameters]
    low, high = entry.domain
    points = [v for v in (-2.75, -0.375, 0.125, 0.75, 3.25) if low < v < high]
    with mp.workprec(200):
        for x in points:
            arguments = [mp.mpf(v) for v in (x, *parameters)]
            found = primitives.defined(mp, entry, arguments)
            expected = REFERENCES[entry.name](*arguments)
            assert float(found) == pytest.approx(float(expected), rel=1e-14)


def test_conditions_of_what_is_finite() -> None:
    @fa.activation
    def without_nan(x):
        size = np.where(np.isinf(x), 3.0, np.where(np.isnan(x), 2.0, 1.0))
        return size if math.isfinite(x) else -size

    x = np.array([1.0, -math.inf, math.nan, math.inf])
    assert without_nan(x).tolist() == [1, -3, -2, -3]


def test_members_of_the_catalogue_and_other_custom_activations() -> None:
    @fa.activation
    def combined(x):
        return wave(x) + 2 * scaled(x, b=0.5) + fa.swiglu(x, 3) + fa.swish(x, beta=x)

    x = _values(50, dtype=np.float64)
    parts = wave(x) + 2 * scaled(x, b=0.5) + fa.swiglu(x, 3) + fa.swish(x, x)
    np.testing.assert_allclose(combined(x), parts, 1e-14, 1e-15)
    np.testing.assert_allclose(
        combined.derivative(x), _differences(combined, [x], 0), 1e-6, 1e-8
    )


def test_a_derivative_that_is_not_known_must_be_given() -> None:
    def slope(x):
        return fa.gelu_derivative(x)

    with pytest.raises(
        TypeError, match="slope has no derivative by x: that of gelu_der"
    ):
        fa.activation(slope)

    def of_mine(z):
        return -z * fa.gaussian(z / np.sqrt(2)) + SLOPE

    given = fa.activation(derivative=of_mine)(slope)
    x = _values(50, dtype=np.float64)
    np.testing.assert_array_equal(given(x), fa.gelu_derivative(x))
    np.testing.assert_allclose(
        given.derivative(x), -x * np.exp(-x * x / 2) + SLOPE, 1e-14
    )
    with pytest.raises(ValueError, match="has no argument 'y'; it has x"):
        fa.activation(derivative={"y": of_mine})(slope)
    with pytest.raises(TypeError, match="must take the arguments of slope, x"):
        fa.activation(derivative=of_two)(slope)


def of_two(x, y):
    return x + y


def test_derivatives_by_name_take_the_place_of_the_rules() -> None:
    def by_b(x, b, a):
        return a * x + 7

    @fa.activation(derivative={"b": by_b})
    def product(x, b, a=2.0):
        return a * x * b

    x, b = _values(20, dtype=np.float64), _values(20, dtype=np.float64, seed=1)
    dx, db = product.backward(np.ones(20), x, b, a=3.0)
    np.testing.assert_allclose(dx, 3 * b, 1e-15)
    np.testing.assert_allclose(db, 3 * x + 7, 1e-15)


# ------------------------------------------------------------- recognised forms

WRITTEN_OUT = {
    "silu": ["x / (1 + np.exp(-x))", "x * (1 / (1.0 + np.exp(-x)))"],
    "mish": ["x * np.tanh(np.log1p(np.exp(x)))", "np.tanh(np.log(np.exp(x) + 1)) * x"],
    "gelu": ["0.5 * x * (1 + erf(x / np.sqrt(2)))", "x / 2 * (1 + erf(x * 0.5**0.5))"],
    "sigmoid": ["1 / (1 + np.exp(-x))", "np.exp(x) / (1 + np.exp(x))"],
    "softplus": ["np.log(1 + np.exp(x))", "np.logaddexp(0, x)"],
    "elu": ["np.where(x > 0, x, np.exp(x) - 1)"],
    "relu": ["np.maximum(x, 0)", "np.maximum(0, x)"],
    "hardswish": ["x * np.clip(x + 3, 0, 6) / 6"],
    "gelu_tanh": ["x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2"],
    "softsign": ["x / (abs(x) + 1)"],
    "telu": ["x * np.tanh(np.exp(x))"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, t) for name, ts in WRITTEN_OUT.items() for t in ts]
)
def test_an_activation_written_out_is_the_one_of_the_catalogue(
    name: str, text: str
) -> None:
    scope = {"np": np, "erf": math.erf}
    term = forms.recognise(read_expression(text, ["x"]))
    assert term.primitive is not None
    assert term.primitive.name == name
    # and it is the same function
    entry = fa.get(name)
    for x in (-2.5, -0.5, 0.75, 3.0):
        assert eval(text, scope, {"x": x}) == pytest.approx(float(entry(x)), rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "x / (2 + np.exp(-x))",
        "x * np.tanh(np.log1p(np.exp(2 * x)))",
        "0.5 * x * (1 + erf(x / 1.5))",
        "np.maximum(x, 1)",
        "np.where(x > 0, x, np.exp(x) - 2)",
        "np.where(x > 1, x, np.expm1(x))",
        "x / (1 - abs(x))",
        "x * np.clip(x + 3, 0, 6) / 5",
    ],
)
def test_what_is_only_similar_is_not(text: str) -> None:
    term = forms.recognise(read_expression(text, ["x"]))
    for x in (-2.5, -0.5, 0.75, 3.0):
        with mp.workprec(100):
            found = float(primitives.defined_term(mp, term, {"x": mp.mpf(x)}))
        expected = eval(text, {"np": np, "erf": math.erf}, {"x": x})
        assert found == pytest.approx(expected, rel=1e-12)


def test_written_out_derivatives_are_finite_far_out() -> None:
    @fa.activation
    def quotient(x):
        return (x + 1) / (1 + np.exp(-2 * x))

    x = np.float32([-1e4, -100, 100, 1e4])
    np.testing.assert_array_equal(quotient.derivative(x), [0, 0, 1, 1])


# ---------------------------------------------------------------------- errors

ERRORS = [
    ("while x > 1:\n        x = x / 2\n    return x", 4, "`while` is not allowed"),
    ("for i in range(3):\n        x = x * x\n    return x", 4, "write its terms out"),
    ("if x > 0:\n        return x\n    return -x", 4, r"np.where\(condition, a, b\)"),
    ("y = 1\n    return x // 2", 5, "`//` is not allowed"),
    ("return x ^ 2", 4, r"write `\*\*`"),
    ("return x ** x", 4, r"np.exp\(a \* np.log\(x\)\)"),
    ("return np.fft(x)", 4, "not among the functions of formulas"),
    ("return np.round(x)", 4, "all elementwise functions of fastact"),
    ("return helper(x)", 4, "decorate it with fastact.activation"),
    ("return unknown(x)", 4, "`unknown` is not defined"),
    ("return np.exp(x, out=x)", 4, "given by position"),
    ("return fa.gelu(x, 1)", 4, "`fa.gelu` takes 1 argument"),
    ("return fa.leaky_relu(x, slope=1)", 4, "x, negative_slope, each once"),
    ("return fa.softcap(x, -1.0)", 4, "cap must be greater than 0"),
    ("return fa.prelu(x)", 4, "needs weight"),
    ("return fa.gelu_backward(x, x)", 4, "derivatives follow by themselves"),
    ("return fa.softmax(x)", 4, "not an elementwise function"),
    ("return x.mean()", 4, "x stands for one number"),
    ("return x * TABLE", 4, "`TABLE` is an array: pass it as an argument"),
    ("return x * NAME", 4, "`NAME` is str, and not a number"),
    ("return x[0]", 4, "is not allowed: a formula has numbers"),
    ("return np.float32(x)", 4, "the dtype is that of the arrays"),
    ("return x * 1j", 4, "formulas are real"),
    ("y, z = x, x\n    return y", 4, "one name is assigned at a time"),
    ("y = x", 4, "the last line of a formula is `return`"),
    ("return math.log(-1) * x", 4, "math domain error"),
    ("import numpy\n    return x", 4, "import outside the function"),
    ("return (\n        x\n        @ x)", 5, "each element by itself"),
    ("return x > 0 and x or 0.1 * x", 4, "`x` is a number, and conditions alone"),
    ("return np.where(x & (x > 1), x, 1)", 4, "`x` is a number"),
    ("return ~x", 4, "`x` is a number"),
    ("return x * np.random.rand()", 4, "would be computed once"),
    ("return x * np.random.normal(0, 1)", 4, "would be computed once"),
    ("return x * 10 ** 400", 4, r"`10 \*\* 400` is too large"),
    ("return x * HUGE", 4, "`HUGE` is too large for a float"),
    ("print(x)\n    return x", 4, r"`print\(x\)` by itself is not allowed"),
    ("return x * (-8.0) ** (1 / 3)", 4, "to the power of a fraction is complex"),
    ("return", 4, "the last line of a formula is `return` and an expression"),
    ("2 * x", 4, "the last line of a formula is `return`"),
    ("return x.dtype", 4, r"x stands for one number \("),
    ("return x.clip(0, 1)", 4, "write np.clip as a function of it"),
    ("return np.asarray(x)", 4, "leave it out"),
    ("return np.select([x > 0], [x], 0)", 4, r"write np.where\(condition, a, np.where"),
    ("return np.where(x > 0, x, np.zeros_like(x))", 4, "write 0"),
    ("return math.log(x, 2)", 4, "takes 1 argument here"),
]
HEADER = """import math, numpy as np, fastact as fa
TABLE, NAME, HUGE = np.ones(3), "one", 10 ** 400
def f(x):
    BODY

def helper(x):
    return x
"""
_ROOT = Path(__file__).resolve().parent.parent


def _module(path: Path, text: str) -> Any:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("body", "line", "message"), ERRORS)
def test_what_is_not_allowed_is_named_with_the_line(
    body: str, line: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "formula_with_an_error.py"
    module = _module(path, HEADER.replace("BODY", body))
    with pytest.raises(SyntaxError, match=message) as raised:
        fa.activation(module.f)
    assert raised.value.filename == str(path)
    assert raised.value.lineno == line
    assert raised.value.text is not None


def test_arguments_that_are_not_possible() -> None:
    def starred(*x):
        return x

    def reserved(x, out=1.0):
        return x * out

    def textual(x, a="b"):
        return x

    def no_number(x, a=math.nan):
        return x * a

    def nothing(a=1.0):
        return a

    def many(x, a=1.0, b=1.0, c=1.0, d=1.0, e=1.0):
        return x * a * b * c * d * e

    def method(self, x):
        return self.scale * x

    @functools.wraps(textual)
    def doubled(x):
        return 2 * textual(x)

    for function, error, message in (
        (method, SyntaxError, "a formula is no method"),
        (doubled, TypeError, "put @fastact.activation next to the def"),
        (starred, SyntaxError, "ordinary"),
        (reserved, SyntaxError, "give it another name"),
        (textual, TypeError, "must be a number, not 'b'"),
        (no_number, TypeError, "must be a number, not nan"),
        (nothing, SyntaxError, "without a default"),
        (many, TypeError, "at most 5"),
        (lambda x: x, TypeError, "def f"),
        (3, TypeError, "a Python function"),
        (np.exp, TypeError, "a Python function"),
    ):
        with pytest.raises(error, match=message):
            fa.activation(function)  # type: ignore[arg-type]


def test_a_function_without_its_source_is_a_value_error() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(x):\n    return x", namespace)
    with pytest.raises(ValueError, match="source of f is not known"):
        fa.activation(namespace["f"])


def test_a_file_that_has_changed_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "changed_activations.py"
    module = _module(path, "def f(x):\n    return x\n")
    for text in ("def g(x):\n    return 2 * x\n", "def f(y):\n    return y\n", "1 +\n"):
        path.write_text(text)
        linecache.clearcache()
        with pytest.raises(
            ValueError, match=r"changed_activations.py has changed since f"
        ):
            fa.activation(module.f)


# ------------------------------------------------------------- Numba, processes


wave_backward = wave.backward


@numba.njit
def _in_njit(x, b):
    return scaled(x, 0.5) + scaled(x) + bias_gelu(x, b)


@numba.njit
def _backward_in_njit(dy, x):
    return wave_backward(dy, x)


def test_usable_in_njit() -> None:
    x, b = _values(6, 5), _values(5, seed=1)
    expected = scaled(x, 0.5) + scaled(x) + bias_gelu(x, b)
    np.testing.assert_allclose(_in_njit(x, b), expected, 1e-6)
    assert _in_njit(0.5, 0.25) == pytest.approx(
        scaled(0.5, 0.5) + scaled(0.5) + bias_gelu(0.5, 0.25)
    )
    assert_same_bits(_backward_in_njit(x, x), wave.backward(x, x))


bias_gelu_backward, mixed_backward = bias_gelu.backward, mixed.backward


@numba.njit
def _gradients_in_njit(dy, x, b):
    return bias_gelu_backward(dy, x, b)


@numba.njit
def _gradients_with_a_parameter_in_njit(dy, x, weight):
    return mixed_backward(dy, x, weight, a=0.2)


def test_gradients_of_several_inputs_in_njit_have_their_shapes() -> None:
    x, dy = _values(3, 5, 4), _values(3, 5, 4, seed=1)
    for b in (x, x[0], x[:, :1].copy(), 0.25):
        found = _gradients_in_njit(dy, x, b)
        for gradient, expected in zip(found, bias_gelu.backward(dy, x, b), strict=True):
            assert np.shape(gradient) == np.shape(expected)
            np.testing.assert_allclose(gradient, expected, 1e-5, 1e-6)
    column = x[:, :, :1].copy()
    dcolumn, drow = _gradients_in_njit(dy, column, x[0])
    expected = bias_gelu.backward(dy, column, x[0])
    np.testing.assert_allclose(dcolumn, expected[0], 1e-5, 1e-6)
    np.testing.assert_allclose(drow, expected[1], 1e-5, 1e-6)
    assert dcolumn.dtype == drow.dtype == np.float32
    assert _gradients_in_njit(1.0, 0.5, 0.25) == bias_gelu.backward(1.0, 0.5, 0.25)
    found = _gradients_with_a_parameter_in_njit(dy[0], x[0], x[0, 0])
    expected = mixed.backward(dy[0], x[0], x[0, 0], a=0.2)
    for gradient, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, truth, 1e-5, 1e-6)


MODULE = """
import numpy as np
import fastact as fa

@fa.activation
def f(x, a=1.0):
    return x * np.arctan(np.exp(a * x))

@fa.activation
def g(x):
    return f(x, 0.5) * np.cos(x)

@fa.activation
def h(x, b):
    return g(x + b)
"""


def _python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_everything_of_an_importable_module_can_be_pickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = _module(tmp_path / "pickled_activations.py", MODULE)
    monkeypatch.setitem(sys.modules, "pickled_activations", module)
    f, g, h = module.f, module.g, module.h
    for made in (
        *(f, f.ufunc, f.default_ufunc, f.derivative, f.derivative.ufunc),
        *(f.backward, f.with_derivative, f.parameter_backward),
        *(g, g.derivative, g.backward, g.with_derivative),
        *(h, h.ufunc, h.backward, h.backward.ufunc, h.derivative),
    ):
        assert pickle.loads(pickle.dumps(made)) is made


COMPILES = """
import numpy as np
from fastact import _numba_compiler
from numba.core import event
from cached_activations import f, g

compiled = []
class Listener(event.Listener):
    def on_start(self, event): compiled.append(event)
    def on_end(self, event): pass
event.register("numba:compile", Listener())
x = np.linspace(-2, 2, 5, dtype=np.float32)
f(x), f.backward(x, x, 0.5), g(x)
kernels = [kept for kept in _numba_compiler._kept if hasattr(kept, "cache_hits")]
print(len(kernels), sum(kernel.cache_hits for kernel in kernels), len(compiled))
"""


def test_a_second_process_compiles_nothing_and_two_at_once_do_no_harm(
    tmp_path: Path,
) -> None:
    (tmp_path / "cached_activations.py").write_text(MODULE)
    variables = {
        "FASTACT_CACHE_DIR": str(tmp_path / "new" / "cache"),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{_ROOT}",
    }
    environment = os.environ | variables
    command = [sys.executable, "-c", COMPILES]
    both = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    third = _python(COMPILES, **variables)
    fourth = _python(COMPILES, **variables)
    assert third.returncode == 0, third.stderr
    # Two that write at once may both leave what the other cannot use.
    assert fourth.stdout.split() == ["3", "3", "0"], fourth.stderr
    assert not list((tmp_path / "new" / "cache").glob("*.part"))


def test_without_a_folder_to_write_to_it_works(tmp_path: Path) -> None:
    (tmp_path / "cached_activations.py").write_text(MODULE)
    (tmp_path / "file").write_text("")
    code = "from cached_activations import g; print(g(0.0))"
    done = _python(
        code,
        FASTACT_CACHE_DIR=str(tmp_path / "file" / "below"),
        PYTHONPATH=f"{tmp_path}{os.pathsep}{_ROOT}",
    )
    assert done.stdout == "0.0\n", done.stderr


def test_a_kernel_that_does_not_compile_gives_nan_and_tells_why(tmp_path: Path) -> None:
    (tmp_path / "broken_activations.py").write_text(MODULE)
    code = """
import sys
import numpy as np
from fastact.custom import cache
from broken_activations import g

told = []
sys.unraisablehook = told.append
def broken(name, text):
    raise OSError("no space left")
cache.load = broken
assert np.isnan(g(np.ones(3))).all()
assert np.isnan(g(np.ones(3))).all()
assert len(told) == 1 and "no space left" in str(told[0].exc_value)
"""
    done = _python(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{_ROOT}")
    assert done.returncode == 0, done.stderr


def test_without_numba_the_error_names_the_extra() -> None:
    code = (
        WITHOUT_NUMBA
        + """
import fastact as fa
for name in ("activation", "check"):
    try:
        getattr(fa, name)
    except ImportError as error:
        assert "fastact[numba]" in str(error)
    else:
        raise AssertionError(name)
"""
    )
    done = _python(code)
    assert done.returncode == 0, done.stderr


# ----------------------------------------------------------------------- fa.check


def test_check_measures_value_and_derivatives() -> None:
    report = fa.check(scaled, points=60, a=0.5)
    quantities = ("value", "d/dx", "d/da", "d/db")
    assert [(a.quantity, a.dtype) for a in report.accuracies] == [
        (quantity, dtype) for dtype in ("float32", "float64") for quantity in quantities
    ]
    for dtype in ("float32", "float64"):
        assert 0 < report["value", dtype].ulp < 4
        assert report["value", dtype].points > 60
    assert set(report.disagreements) == set(quantities)
    assert max(report.disagreements.values()) < 1e-6
    for text in ("scaled", "d/da", "float64", "agrees with the function run by Python"):
        assert text in str(report)
    assert "DISAGREES" not in str(report)


def test_check_shows_where_digits_are_lost() -> None:
    @fa.activation
    def cancels(x):
        return (np.exp(x) - (1 + x)) / (2 + abs(x))

    accuracy = fa.check(cancels, points=200, dtypes=[np.float32])["value", "float32"]
    assert accuracy.ulp > 1000
    assert abs(accuracy.at["x"]) < 1e-2
    assert accuracy.regions[0].low < 0.01
    assert accuracy.regions[0].high > -0.01
    for region in accuracy.regions:
        assert max(abs(region.low), abs(region.high)) < 2
    report = fa.check(cancels, points=200)
    assert "Digits are lost" in str(report)


def test_a_function_without_a_module_can_be_shown() -> None:
    @fa.activation
    def shifted(x, a=1.0):
        return x + a

    shifted.__module__ = None
    assert repr(shifted).startswith("<function None.")


def test_check_knows_what_is_finite_through_a_power_that_is_not() -> None:
    @fa.activation
    def leaky_softplus(x):
        return 0.1 * x + np.log(1 + np.exp(x))

    report = fa.check(leaky_softplus, points=60)
    assert max(a.ulp for a in report.accuracies) < 4


def test_check_finds_a_wrong_derivative() -> None:
    def twice(x):
        return 2 / np.cosh(x) ** 2

    @fa.activation(derivative=twice)
    def wrong(x):
        return np.tanh(x)

    report = fa.check(wrong, points=50)
    assert report["value", "float64"].regions == ()
    assert report["d/dx", "float64"].ulp > 1e12
    assert report.disagreements["d/dx"] > 0.5
    assert "d/dx DISAGREES with finite differences" in str(report)


def test_check_of_several_inputs_and_of_points_without_a_truth() -> None:
    report = fa.check(bias_gelu, points=40, dtypes=[np.float32])
    assert set(report["d/db", "float32"].at) == {"x", "b"}
    # The sum of x and b is rounded.
    assert 2 < report["value", "float32"].ulp < 100
    # Kinks are left out, and where there is no value
    report = fa.check(kinks, points=40, dtypes=[np.float64], k=2.0)
    assert report["d/dx", "float64"].ulp == 0
    assert "x" in report["d/dx", "float64"].at


def test_without_mpmath_check_names_it(tmp_path: Path) -> None:
    (tmp_path / "checked_activations.py").write_text(MODULE)
    code = """
import sys
sys.modules["mpmath"] = None
import fastact as fa
from checked_activations import g
try:
    fa.check(g)
except ImportError as error:
    assert "pip install mpmath" in str(error)
else:
    raise AssertionError
"""
    done = _python(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{_ROOT}")
    assert done.returncode == 0, done.stderr


def test_what_check_does_not_take() -> None:
    with pytest.raises(TypeError, match=r"what fastact\.activation makes"):
        fa.check(fa.gelu)
    with pytest.raises(TypeError, match="no parameter 'c'; allowed: a, b"):
        fa.check(scaled, c=1.0)
    with pytest.raises(TypeError, match="float32 or float64"):
        fa.check(wave, dtypes=[np.float16])


def test_long_formulas_take_no_longer_than_their_length() -> None:
    term = read_expression("np.tanh(x)", ["x"])
    for _ in range(60):
        term = terms.multiply(term, term)
    slope = terms.Differentiation("x").of(forms.recognise(term))
    assert terms.is_bounded(slope)
    assert len(list(terms.ordered([forms.recognise(slope)]))) < 500


def test_terms_are_shared_and_derivatives_of_constants_vanish() -> None:
    x = terms.variable("x")
    assert terms.add(x, terms.ZERO) is x
    assert terms.apply(primitives.EXP, x) is terms.apply(primitives.EXP, x)
    assert terms.Differentiation("y").of(terms.apply(primitives.EXP, x)) is terms.ZERO
    assert terms.constant(0.0) is not terms.constant(-0.0)
