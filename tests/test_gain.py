"""Gains are 1 / sqrt(E f(z)^2), by mpmath's quadrature of the textbook definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from calls import ACTIVATIONS, other_values
from mpmath import mp

import fastact as fa
from fastact.checking.reference import REFERENCES
from fastact.formulas.entry import Activation

PRECISION = 1e-10


def _truth(entry: Activation, parameters: dict[str, float]) -> float:
    """1 / sqrt(E f(z)^2), or NaN for a function that is not defined everywhere."""
    reference = REFERENCES[entry.name]
    # Tanh-sinh quadrature wants kinks, of the derivative too, at the ends.
    kinks = {
        -1.0,
        0.0,
        1.0,
        *(float(eval(point, {}, parameters)) for point in entry.kinks),
    }

    def integrand(z: Any) -> Any:
        return reference(z, *map(mp.mpf, parameters.values())) ** 2 * mp.npdf(z)

    with mp.workdps(20):
        try:
            if any(isinstance(integrand(mp.mpf(z)), mp.mpc) for z in (-9, 9)):
                return math.nan
            mean_square = mp.quad(integrand, [-mp.inf, *sorted(kinks), mp.inf])
        except (ValueError, ZeroDivisionError):
            return math.nan
        return float(1 / mp.sqrt(mean_square))


def _cases() -> list[Any]:
    cases = []
    for entry in ACTIVATIONS:
        names = [p.name for p in entry.parameters]
        defaults = {p.name: p.default for p in entry.parameters}
        chosen = [dict(zip(names, other_values(entry), strict=True))]
        chosen += [defaults] if entry.has_defaults else []
        cases += [pytest.param(entry, c, id=f"{entry.name}{c}") for c in chosen]
    return cases


@pytest.mark.parametrize(("entry", "parameters"), _cases())
def test_gain_is_exact(entry: Activation, parameters: dict[str, float]) -> None:
    expected = _truth(entry, parameters)
    if math.isnan(expected):
        with pytest.raises(ValueError, match="undefined"):
            fa.gain(entry.name, **parameters)
    else:
        found = fa.gain(entry.name, **parameters)
        assert found == pytest.approx(expected, rel=PRECISION)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda z: np.exp(z), math.exp(-1)),
        (lambda z: np.exp(-z * z), 5**0.25),
        (lambda z: z**3, 15**-0.5),
        (lambda z: np.abs(z), 1.0),
        (lambda z: np.sin(100 * z), (2 / (1 - math.exp(-20000))) ** 0.5),
        (
            lambda z: np.where(z > 0.3, 1.0, 0.0),
            (0.5 * math.erfc(0.3 / 2**0.5)) ** -0.5,
        ),
        (lambda z: np.log(np.abs(z)), 0.7815467641228835),
        (lambda z: 1e100 * z, 1e-100),
        (lambda z: np.exp(-((1e4 * z) ** 2)), (1 + 4e8) ** 0.25),
        (fa.get("swish", beta=1e9), math.sqrt(2)),
        (fa.get("elu", alpha=1e-9), math.sqrt(2)),
        (fa.relu.derivative, math.sqrt(2)),
    ],
)
def test_gain_of_ones_own_function(function: Any, expected: float) -> None:
    assert fa.gain(function) == pytest.approx(expected, rel=PRECISION)


def test_relu_and_leaky_relu_have_the_well_known_gains() -> None:
    assert fa.gain("relu") == pytest.approx(math.sqrt(2), rel=1e-14)
    for slope in (0.01, 0.2, 1.0, 3.0):
        expected = math.sqrt(2 / (1 + slope**2))
        found = fa.gain("leaky_relu", negative_slope=slope)
        assert found == pytest.approx(expected, rel=1e-14)


def test_names_functions_and_bound_functions_agree() -> None:
    expected = fa.gain("swish", beta=1.5)
    assert fa.gain(fa.swish, beta=1.5) == expected
    assert fa.gain(fa.get("swish", beta=1.5)) == expected
    assert fa.gain(lambda z: fa.swish(z, 1.5)) == expected
    assert fa.gain(fa.gelu) == fa.gain("gelu")
    assert fa.gain("lrelu") == fa.gain("leaky_relu")
    assert type(expected) is float


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda z: 0 * z, "is zero"),
        (lambda z: np.where(np.abs(z) > 40, z, 0), "is zero"),
        (lambda z: np.exp(z * z / 4), "is infinite"),
        (lambda z: np.exp(z * z), "is infinite"),
        (lambda z: 1 / z, "is infinite"),
        (np.log, "undefined .NaN. for some x, such as -"),
        (lambda z: np.arctanh(z), "undefined"),
        (fa.softmax, "not elementwise"),
        (lambda z: z / np.abs(z).max(), "not elementwise"),
        (np.sum, "not elementwise"),
        (lambda z: np.random.default_rng().random(z.shape), "not elementwise"),
        (lambda z: np.sin(1e8 * z), "uncertain"),
        ("softmax", "not elementwise"),
        ("glu", "not elementwise"),
        ("maxout", "not elementwise"),
        ("gelru", "did you mean 'gelu'"),
    ],
)
def test_what_has_no_gain_says_why(function: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fa.gain(function)


def test_parameters_must_be_numbers_that_the_activation_has() -> None:
    with pytest.raises(ValueError, match="weight must be a number"):
        fa.gain("prelu", weight=[0.1, 0.2])
    with pytest.raises(TypeError, match="weight"):
        fa.gain("prelu")
    with pytest.raises(TypeError, match="allowed: beta"):
        fa.gain("swish", alpha=1.0)
