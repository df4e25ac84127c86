"""Automatic derivatives of the catalogue's formulas, beside differences in mpmath."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from calls import ACTIVATIONS, CATALOGUE, other_values
from mpmath import mp

import fastact as fa
from fastact.checking.reference import REFERENCES
from fastact.formulas import duals
from fastact.formulas.entry import Activation
from fastact.formulas.language import Value

X = np.array([-8.3, -2.2, -0.61, -0.011, 0.013, 0.7, 2.3, 9.9])
EXTREMES = np.array([-1e6, -800, -100, -0.0, 0, 1e-300, 100, 800, 1e6])


def _formulas(entry: Activation) -> Iterator[tuple[int, Callable[..., Value]]]:
    """The formulas of the first derivatives, with the argument each is by."""
    assert entry.derivative_formula is not None
    yield 0, entry.derivative_formula
    for i, parameter in enumerate(entry.parameters):
        if parameter.name in entry.parameter_formulas:
            yield 1 + i, entry.parameter_formulas[parameter.name]


def _second(name: str, arguments: tuple[float, ...], i: int, k: int) -> float:
    """The derivative by arguments i and k, from four values of the definition."""
    step = mp.mpf(10) ** -15
    total = mp.zero
    for a in (-1, 1):
        for b in (-1, 1):
            shifted = [mp.mpf(float(argument)) for argument in arguments]
            shifted[i] += a * step
            shifted[k] += b * step
            total += a * b * REFERENCES[name](*shifted)
    return float(total / (4 * step**2))


@pytest.mark.parametrize("entry", ACTIVATIONS, ids=lambda entry: entry.name)
def test_second_derivatives_by_all_arguments(entry: Activation) -> None:
    values = other_values(entry)
    x = (X + 9) / 20 if entry.name == "logit" else X
    for i, formula in _formulas(entry):
        for k in range(1 + len(values)):
            found = duals.partial(formula, (x, *values), k)
            with mp.workdps(70):
                truth = [_second(entry.name, (v, *values), i, k) for v in x]
            np.testing.assert_allclose(found, truth, rtol=1e-13, atol=4e-15)


# exp and logit have no finite values there.
FINITE = [entry for entry in ACTIVATIONS if entry.name not in ("exp", "logit")]


@pytest.mark.parametrize("entry", FINITE, ids=lambda entry: entry.name)
def test_they_are_finite_where_the_function_is_flat_or_steep(entry: Activation) -> None:
    values = other_values(entry)
    for _, formula in _formulas(entry):
        for k in range(1 + len(values)):
            found = duals.partial(formula, (EXTREMES, *values), k)
            assert np.isfinite(found).all()


@pytest.mark.parametrize("entry", ACTIVATIONS, ids=lambda entry: entry.name)
def test_values_are_those_of_the_kernels(entry: Activation) -> None:
    values = other_values(entry)
    x = (X + 9) / 20 if entry.name == "logit" else X
    formulas = dict(_formulas(entry))
    found = duals.evaluate(formulas[0], (x, *values))
    expected = getattr(fa, entry.name + "_derivative")(x, *values)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_arguments_broadcast_and_constants_have_no_derivative() -> None:
    def formula(x: Value, a: Value) -> Value:
        return a * a

    x, a = np.zeros((2, 3)), np.float64(3)
    np.testing.assert_array_equal(duals.partial(formula, (x, a), 0), np.zeros((2, 3)))
    np.testing.assert_array_equal(duals.partial(formula, (x, a), 1), np.full((2, 3), 6))


@pytest.mark.parametrize("entry", ACTIVATIONS, ids=lambda entry: entry.name)
def test_of_nan_they_are_nan(entry: Activation) -> None:
    values = other_values(entry)
    for _, formula in _formulas(entry):
        for k in range(1 + len(values)):
            found = duals.partial(formula, (np.array([np.nan, 0.5]), *values), k)
            assert np.isnan(found).tolist() == [True, False]


def test_large_arrays_are_run_in_blocks() -> None:
    formula = CATALOGUE["swish"].derivative_formula
    assert formula is not None
    x = np.linspace(-5, 5, 60_000).reshape(3, 20_000).T
    beta = np.array([0.5, 1, 2])
    found = duals.partial(formula, (x, beta), 0)
    assert found.shape == (20_000, 3)
    for row in (0, 7_777, 19_999):  # of other blocks each
        expected = duals.partial(formula, (x[row], beta), 0)
        np.testing.assert_array_equal(found[row], expected)
    assert duals.partial(formula, (x[:0], beta), 0).shape == (0, 3)
    assert duals.partial(formula, (0.0, 1.0), 0) == pytest.approx(0.5, rel=1e-15)
