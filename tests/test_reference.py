"""The truth itself, checked against other sources before anything rests on it."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import CATALOGUE, DTYPES
from mpmath import mp

from fastact.checking import reference
from fastact.checking import truth as truth_module
from fastact.checking.reference import REFERENCES
from fastact.checking.truth import (
    Truth,
    bit_uniform,
    finfo,
    inside,
    interesting_points,
    near,
    split,
    truth,
    ulp_error,
)

special = pytest.importorskip("scipy.special")

Function = Callable[..., Any]
FLOAT64_FLOOR = -1074

MODERATE = np.linspace(-30.0, 30.0, 241)
# Both tails, where derivatives sink to 1e-300, saturation, and tiny arguments.
ARGUMENTS = (
    *(-1e308, -1e9, -744.0, -700.25, -100.0, -38.1, -21.0, -9.5, -3.5, -1.25, -0.3),
    *(-1e-10, -1e-40, -1e-310, 5e-324, 1e-300, 1e-40, 1e-9, 0.1, 0.75, 2.5, 6.0),
    *(13.0, 20.0, 37.9, 80.0, 300.5, 744.5, 1e5, 1e200, 1.7e308),
)
# The digits that shared research computed independently, to 27 digits or more.
ROOTS = {
    "silu": "-1.27846454276107379510935873902",
    "gelu": "-0.751791524693564457457904947",
    "gelu_tanh": "-0.752461422071016258487954443",
    "mish": "-1.19243121451549521213758834",
    "hardswish": "-1.5",
    "hardmish": "-1",
}
# Beyond this a period is shorter than any step that is relative to the argument.
LARGEST = {"snake": 1e6}


def _params(name: str) -> list[float]:
    """Return some parameter values that are exact in every dtype."""
    count = len(inspect.signature(REFERENCES[name]).parameters) - 1
    return [1.5, 2.25, 1.25, 3.5][:count]


def _domain(name: str) -> tuple[float, float]:
    entry = CATALOGUE.get(name)  # those of several arrays are elsewhere
    return (-np.inf, np.inf) if entry is None else entry.domain


def _arguments(name: str, *others: float) -> list[float]:
    x: list[float] = inside(_domain(name), np.array([*ARGUMENTS, *others])).tolist()
    return x


def _bound(exact: Any) -> Any:
    """Return 1/10000 of a float64 ULP, of the smallest one below all of them."""
    floor = mp.ldexp(1, FLOAT64_FLOOR)
    return max(abs(exact) * mp.ldexp(1, -53), floor) / 10_000


def _exact(truth: Truth) -> list[Any]:
    return [
        mp.ldexp(mp.mpf(high) + mp.mpf(low), int(exponent))
        for high, low, exponent in zip(*truth, strict=True)
    ]


# ------------------------------------------------------------ values, from elsewhere


OTHERS: dict[str, Function] = {
    "sigmoid": special.expit,
    "logsigmoid": special.log_expit,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0.0, 1.5 * x) / 1.5,
    "silu": lambda x: x * special.expit(x),
    "swish": lambda x: x * special.expit(1.5 * x),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: (
        x * special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    ),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "elu": lambda x: np.where(x >= 0, x, 1.5 * np.expm1(x)),
    "selu": lambda x: (
        1.0507009873554805 * np.where(x >= 0, x, 1.6732632423543772 * np.expm1(x))
    ),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "scaled_tanh": lambda x: 1.5 * np.tanh(2.25 * x),
    "softcap": lambda x: 1.5 * np.tanh(x / 1.5),
    "dyt": lambda x: 2.25 * np.tanh(1.5 * x) + 1.25,
    "logit": special.logit,
    "ndtr": special.ndtr,
    "erf": special.erf,
    "laplace": lambda x: special.ndtr((x - 1.5) / 2.25),
    "gaussian": lambda x: np.exp(-x * x),
    "relu": lambda x: np.maximum(x, 0),
    "quick_gelu": lambda x: x * special.expit(1.702 * x),
    "telu": lambda x: x * np.tanh(np.exp(x)),
    "squareplus": lambda x: (
        np.where(
            x > 0, x + np.hypot(x, np.sqrt(1.5)), 1.5 / (np.hypot(x, np.sqrt(1.5)) - x)
        )
        / 2
    ),
    "dish": lambda x: x / 2 * (1 + x / np.hypot(1, x)),
    "lisht": lambda x: x * np.tanh(x),
    "snake": lambda x: x + np.sin(1.5 * x) ** 2 / 1.5,
    "leaky_relu": lambda x: np.where(x >= 0, x, 1.5 * x),
    "prelu": lambda x: np.where(x >= 0, x, 1.5 * x),
    "step": lambda x: np.heaviside(x, 1.0),
    "identity": lambda x: x,
    "relu6": lambda x: np.clip(x, 0, 6),
    "threshold": lambda x: np.where(x > 1.5, x, 2.25),
    "thresholded_relu": lambda x: np.where(x > 1.5, x, 0),
    "hardtanh": lambda x: np.clip(x, 1.5, 2.25),
    "clipped_linear": lambda x: np.clip(1.5 * x + 2.25, 1.25, 3.5),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "sparse_sigmoid": lambda x: np.clip(x + 1, 0, 2) / 2,
    "sparse_plus": lambda x: np.where(x >= 1, x, np.clip(x + 1, 0, 2) ** 2 / 4),
    "hardmish": lambda x: x * np.clip(x + 2, 0, 2) / 2,
    "hardshrink": lambda x: np.where(np.abs(x) > 1.5, x, 0),
    "softshrink": lambda x: x - np.clip(x, -1.5, 1.5),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "star_relu": lambda x: 1.5 * np.maximum(x, 0) ** 2 + 2.25,
    "exp": np.exp,
    "celu": lambda x: np.where(x > 0, x, 1.5 * np.expm1(x / 1.5)),
    "pelu": lambda x: np.where(x > 0, 1.5 / 2.25 * x, 1.5 * np.expm1(x / 2.25)),
    "xielu": lambda x: np.where(
        x > 0, (1.5 * x + 1.25) * x, 2.25 * (np.expm1(x) - x) + 1.25 * x
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_values_agree_with_scipy(name: str) -> None:
    x = inside(_domain(name), MODERATE)
    found = truth(name, "forward", float, x, _params(name), cache=None)
    # float64 exponentials of a rounded argument lose up to 30 * 30 * 27 ULP
    expected = OTHERS[name](x)
    np.testing.assert_allclose(found.rounded(), expected, rtol=2e-12, atol=1e-305)


def test_gelu_is_half_an_erfc() -> None:
    x = np.linspace(-20.0, 20.0, 81)
    expected = 0.5 * x * special.erfc(-x / np.sqrt(2))
    found = truth("gelu", "forward", float, x, cache=None).rounded()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# ------------------------------------------------------------- precision, everywhere


@pytest.mark.parametrize("name", REFERENCES)
def test_definitions_are_accurate_at_every_argument(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More precision changes nothing: a definition that cancels fails here."""
    params = _params(name)
    calls = [(x, *params) for x in _arguments(name, 0.0)]
    found = [reference.value(name, arguments) for arguments in calls]
    monkeypatch.setattr(reference, "RELATIVE_BITS", 3000)
    for arguments, value in zip(calls, found, strict=True):
        exact = reference.value(name, arguments)
        with mp.workprec(3000):
            assert abs(value - exact) <= _bound(exact), arguments


@pytest.mark.parametrize("name", REFERENCES)
def test_differences_do_not_depend_on_their_step(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = _params(name)
    cases = [
        ((x, *params), index)
        for x in _arguments(name, float(ROOTS.get(name, -1.625)))
        if abs(x) <= LARGEST.get(name, np.inf)
        for index in range(1 + len(params))
    ]
    found = [reference.partial(name, *case, FLOAT64_FLOOR) for case in cases]
    monkeypatch.setattr(reference, "STEP_BITS", 200)
    monkeypatch.setattr(reference, "RELATIVE_BITS", 200)
    for case, value in zip(cases, found, strict=True):
        exact = reference.partial(name, *case, FLOAT64_FLOOR)
        with mp.workprec(3000):
            assert abs(value - exact) <= _bound(exact), case


# ------------------------------------------------------- derivatives, derived by hand


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _slope_of_swish(x: Any, beta: Any) -> Any:
    return _sigmoid(beta * x) * (1 + beta * x * (1 - _sigmoid(beta * x)))


def _slope_of_gelu_tanh(x: Any) -> Any:
    root, cubic = mp.sqrt(2 / mp.pi), mp.mpf(44715) / 10**6
    t = mp.tanh(root * (x + cubic * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * cubic * x**2)


def _slope_of_mish(x: Any) -> Any:
    t = mp.tanh(mp.log(1 + mp.exp(x)))
    return t + x * _sigmoid(x) * (1 - t * t)


# At 6000 bits these need no care about cancellation.
DERIVATIVES: dict[str, Function] = {
    "sigmoid": lambda x: _sigmoid(x) * (1 - _sigmoid(x)),
    "logsigmoid": lambda x: 1 - _sigmoid(x),
    "tanh": lambda x: 1 - mp.tanh(x) ** 2,
    "softsign": lambda x: 1 / (1 + abs(x)) ** 2,
    "softplus": lambda x, beta: _sigmoid(beta * x),
    "silu": lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    "swish": _slope_of_swish,
    "gelu": lambda x: mp.ncdf(x) + x * mp.npdf(x),
    "gelu_tanh": _slope_of_gelu_tanh,
    "mish": _slope_of_mish,
    "quick_gelu": lambda x: _slope_of_swish(x, mp.mpf(851) / 500),
    "telu": lambda x: (
        mp.tanh(mp.exp(x)) + x * mp.exp(x) / mp.cosh(mp.exp(x)) ** 2 if x < 30 else 1
    ),
    "squareplus": lambda x, b: (1 + x / mp.sqrt(x * x + b)) / 2,
    "dish": lambda x: (1 + x / mp.sqrt(1 + x * x) + x / mp.sqrt(1 + x * x) ** 3) / 2,
    "logcosh": mp.tanh,
    "tanhshrink": lambda x: mp.tanh(x) ** 2,
    "lisht": lambda x: mp.tanh(x) + x / mp.cosh(x) ** 2,
    "snake": lambda x, a: 1 + mp.sin(2 * a * x),
    "elu": lambda x, alpha: mp.one if x > 0 else alpha * mp.exp(x),
    "leaky_relu": lambda x, slope: mp.one if x > 0 else slope,
    "relu": lambda x: mp.mpf(x > 0),
    "step": lambda x: mp.zero,
    "identity": lambda x: mp.one,
    "hardswish": lambda x: mp.mpf(x > 3) if abs(x) > 3 else (2 * x + 3) / 6,
    "selu": lambda x: (
        reference.SELU_SCALE
        * (mp.one if x > 0 else mp.mpf(reference.SELU_ALPHA) * mp.exp(x))
    ),
    "celu": lambda x, alpha: mp.exp(min(x, 0) / alpha),
    "pelu": lambda x, a, b: a / b * mp.exp(min(x, 0) / b),
    "xielu": lambda x, ap, an, beta, eps: (
        2 * ap * x + beta if x > 0 else an * mp.expm1(x) + beta
    ),
    "hardmish": lambda x: mp.mpf(x > -2) * min(x + 1, mp.one),
    "relu_squared": lambda x: 2 * max(x, mp.zero),
    "clipped_linear": lambda x, *_: mp.mpf(1.5) * (-2 / mp.mpf(3) < x < 5 / mp.mpf(6)),
    "softshrink": lambda x, lambd: mp.mpf(abs(x) > lambd),
    "scaled_tanh": lambda x, a, b: a * b * (1 - mp.tanh(b * x) ** 2),
    "softcap": lambda x, cap: 1 - mp.tanh(x / cap) ** 2,
    "dyt": lambda x, alpha, gamma, _: gamma * alpha * (1 - mp.tanh(alpha * x) ** 2),
    "logit": lambda x: 1 / (x * (1 - x)),
    "ndtr": lambda x: mp.npdf(x),
    "erf": lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x),
    "laplace": lambda x, mu, sigma: mp.npdf((x - mu) / sigma) / sigma,
    "gaussian": lambda x: -2 * x * mp.exp(-x * x),
}
PARAMETERS: dict[str, Function] = {
    "leaky_relu": lambda x, slope: min(x, mp.zero),
    "prelu": lambda x, weight: min(x, mp.zero),
    "elu": lambda x, alpha: mp.zero if x > 0 else mp.exp(x) - 1,
    "softplus": lambda x, b: (
        (x * b * _sigmoid(b * x) - mp.log(1 + mp.exp(b * x))) / b**2
    ),
    "swish": lambda x, b: x * x * _sigmoid(b * x) * (1 - _sigmoid(b * x)),
    "celu": lambda x, alpha: (
        mp.zero if x > 0 else (1 - x / alpha) * mp.exp(x / alpha) - 1
    ),
    "pelu": lambda x, a, b: x / b if x > 0 else mp.expm1(x / b),
    "xielu": lambda x, *_: max(x, mp.zero) ** 2,
    "star_relu": lambda x, *_: max(x, mp.zero) ** 2,
    "softshrink": lambda x, lambd: -mp.sign(x) * (abs(x) > lambd),
    "softcap": lambda x, cap: mp.tanh(x / cap) - x / cap * (1 - mp.tanh(x / cap) ** 2),
    "laplace": lambda x, mu, sigma: -mp.npdf((x - mu) / sigma) / sigma,
    "squareplus": lambda x, b: 1 / (4 * mp.sqrt(x * x + b)),
    "snake": lambda x, a: (a * x * mp.sin(2 * a * x) - mp.sin(a * x) ** 2) / a**2,
}


def _compare(name: str, kind: Any, formula: Function) -> None:
    params = _params(name)
    # mp.exp(1e200) at 6000 bits would take seconds
    points = [x for x in _arguments(name) if abs(x) < 1e6]
    if name in ROOTS:
        points += near(float, float(ROOTS[name]), 2).tolist()
    found = truth(name, kind, float, points, params, cache=None)
    with mp.workprec(6000):
        for x, value in zip(points, _exact(found), strict=True):
            expected = formula(*map(mp.mpf, (x, *params)))
            assert abs(value - expected) <= _bound(expected), x


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_agree_with_hand_derived_ones(name: str) -> None:
    _compare(name, "derivative", DERIVATIVES[name])


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_derivatives_agree_with_hand_derived_ones(name: str) -> None:
    _compare(name, ("parameter", 0), PARAMETERS[name])


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_change_sign_at_the_published_roots(name: str, dtype: Any) -> None:
    root = ROOTS[name]
    points = near(dtype, float(root), 2)
    found = truth(name, "derivative", dtype, points, cache=None)
    with mp.workdps(40):
        # where the tangent through two neighbouring floats meets 0
        x0, x1 = (mp.mpf(float(x)) for x in points[2:4])
        slope0, slope1 = _exact(found)[2:4]
        zero = x0 - (x1 - x0) * slope0 / (slope1 - slope0)
        assert abs(zero - mp.mpf(root)) < max((x1 - x0) ** 2, mp.mpf(10) ** -26)
        below = [mp.mpf(float(x)) < mp.mpf(root) for x in points]
    np.testing.assert_array_equal(found.high < 0, below)


def test_derivatives_near_kinks_are_one_sided() -> None:
    around_zero = np.array([-1e-310, -5e-324, 5e-324, 1e-310])
    relu = truth("relu", "derivative", float, around_zero, cache=None).rounded()
    np.testing.assert_array_equal(relu, [0, 0, 1, 1])
    elu = truth("elu", "derivative", float, around_zero, [0.5], cache=None).rounded()
    np.testing.assert_array_equal(elu, [0.5, 0.5, 1, 1])
    kinks = near(float, [-3.0, 3.0], 1)[[0, 2, 3, 5]]
    slopes = truth("hardswish", "derivative", float, kinks, cache=None).rounded()
    np.testing.assert_allclose(slopes, [0, -0.5, 1.5, 1], rtol=1e-15)


def test_tails_as_small_as_subnormals() -> None:
    found = truth("sigmoid", "derivative", float, [740.0, -740.0], cache=None)
    np.testing.assert_array_equal(found.high, found.high[0])
    np.testing.assert_array_equal(found.exponent, -1067)
    with mp.workprec(200):
        exact = split([mp.exp(-740)])
    # sigmoid' = exp(-x) - 2 exp(-2x) + ...: the same to 1000 bits
    assert found.low[1] == pytest.approx(exact.low[0], abs=2.0**-70)


def test_parameter_at_zero() -> None:
    found = truth("swish", ("parameter", 0), float, [2.0, -1e3], [0.0], cache=None)
    np.testing.assert_array_equal(found.rounded(), [1.0, 250000.0])


def test_missing_reference_says_what_to_do() -> None:
    with pytest.raises(KeyError, match=r"'cosine'.*add one line"):
        truth("cosine", "forward", float, [0.5], cache=None)


# ---------------------------------------------------------------------------- points


@pytest.mark.parametrize("dtype", DTYPES)
def test_bit_uniform_points(dtype: Any) -> None:
    points = bit_uniform(dtype, 20_000, seed=1)
    assert points.dtype == dtype
    assert np.isfinite(points).all()
    assert (np.diff(points) > 0).all()
    np.testing.assert_array_equal(points, bit_uniform(dtype, 20_000, seed=1))
    subnormal = np.abs(points) < finfo(dtype).tiny
    expected = 1 / (finfo(dtype).maxexp - finfo(dtype).minexp + 1)
    assert subnormal.mean() == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbourhoods(dtype: Any) -> None:
    around = near(dtype, [0.0, 1.0], 2)
    tiny, eps = finfo(dtype).smallest_subnormal, finfo(dtype).eps
    expected = [-2 * tiny, -tiny, 0, tiny, 2 * tiny]
    expected += [1 - eps, 1 - eps / 2, 1, 1 + eps, 1 + 2 * eps]
    assert around.dtype == dtype
    np.testing.assert_array_equal(around, np.array(expected, dtype))
    largest = finfo(dtype).max
    assert near(dtype, largest, 3)[-1] == largest


@pytest.mark.parametrize("dtype", DTYPES)
def test_interesting_points(dtype: Any) -> None:
    points = interesting_points(dtype)
    info = finfo(dtype)
    assert points.dtype == dtype
    assert np.isfinite(points).all()
    assert (np.diff(points) >= 0).all()
    np.testing.assert_array_equal(points, -points[::-1])
    np.testing.assert_array_equal(np.signbit(points[points == 0]), [True, False])
    assert {info.max, info.tiny, info.smallest_subnormal} <= set(points)


# ----------------------------------------------------------------------- ULP, caching


def test_split_keeps_106_bits() -> None:
    with mp.workprec(300):
        numbers = [mp.mpf(1), -mp.mpf(1) / 3, mp.ldexp(mp.pi, -1090)]
        numbers += [mp.exp(-1e9), mp.zero]
        found = split(numbers)
        high, low, exponent = found
        for i, number in enumerate(numbers[:3]):
            assert abs(_exact(found)[i] - number) <= mp.ldexp(abs(number), -105)
    assert (np.abs(high[:4]) >= 0.5).all()
    assert exponent[3] == -truth_module.EXPONENT_LIMIT
    assert high[4] == low[4] == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_ulp_error_of_hand_made_cases(dtype: Any) -> None:
    info = finfo(dtype)
    eps, tiny, largest = map(float, (info.eps, info.smallest_subnormal, info.max))
    with mp.workprec(4000):
        half = mp.mpf(1) / 2
        rounds_to_infinity = mp.ldexp(1 - mp.mpf(eps) / 4, int(info.maxexp))
        cases = [
            # computed, exact, error
            (1.0, mp.mpf(1), 0.0),
            (1.0, 1 + half * eps, 0.5),
            (1.0 + eps, 1 + half * eps, 0.5),
            (-1.0, -1 - mp.mpf(eps) / 1024, 1 / 1024),
            # one float below a power of two, where the spacing is half
            (1.0, 1 - mp.mpf(eps) / 2, 1.0),
            (2.0, mp.mpf(1), 1 / eps),
            (-1.0, mp.mpf(1), 2 / eps),
            (0.0, mp.mpf(0), 0.0),
            (tiny, mp.mpf(0), 1.0),
            (-0.0, mp.mpf(tiny) / 3, 1 / 3),
            (tiny, mp.mpf(tiny) * 5 / 4, 0.25),
            (3 * tiny, mp.mpf(tiny) * 3.001, 0.001),
            (0.0, mp.exp(-(10**6)), 0.0),
            (np.inf, rounds_to_infinity, 0.0),
            (np.inf, rounds_to_infinity * (1 - mp.ldexp(1, -60)), np.inf),
            (-np.inf, -2 * mp.mpf(largest), 0.0),
            (-np.inf, 2 * mp.mpf(largest), np.inf),
            (np.inf, mp.mpf(1), np.inf),
            (largest, rounds_to_infinity, 0.5),
            (np.inf, mp.exp(10**6), 0.0),
            (np.nan, mp.mpf(1), np.inf),
            (np.nan, 2 * mp.mpf(largest), np.inf),
        ]
        exact = split(case[1] for case in cases)
    computed = np.array([case[0] for case in cases], dtype)
    error = ulp_error(computed, exact, dtype)
    np.testing.assert_allclose(error, [case[2] for case in cases], atol=1e-12)


def test_cache_computes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def identity(x: Any) -> Any:
        calls.append(float(x))
        return x

    monkeypatch.setitem(REFERENCES, "identity", identity)

    def ask(_: int = 0, points: tuple[float, ...] = (1.0, 2.0)) -> list[float]:
        found = truth("identity", "forward", "f4", points, cache=tmp_path)
        return list(map(float, found.rounded()))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(8))) == [[1.0, 2.0]] * 8
    assert calls == [1.0, 2.0]
    assert ask(points=(1.0, 3.0)) == [1.0, 3.0]
    assert len(calls) == 4


def test_parameters_are_rounded_as_fastact_does() -> None:
    for dtype, weight_dtype in (("f2", "f4"), ("f4", "f4"), ("f8", "f8")):
        found = truth("prelu", "forward", dtype, [-1.0], [0.1], cache=None)
        np.testing.assert_array_equal(found.rounded(), -np.array([0.1], weight_dtype))
