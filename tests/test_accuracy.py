"""The error bounds, against mpmath: bit-uniform points and all the difficult ones.

The truth is computed once for each function and dtype, and every instruction set that
this machine has is measured against it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import fastact as fa
from accuracy.results import SLACK, read_ratchet
from accuracy.sweep import Subject, Unit
from fastact.checking.adversarial import (
    BIT_UNIFORM,
    BIT_UNIFORM_OTHER,
    OTHER_PARAMETERS,
    VERSION,
    default_parameters,
    float64_points,
    points_for,
)
from fastact.checking.reference import REFERENCES
from fastact.checking.truth import truth, ulp_error
from fastact.formulas.entry import CATALOGUE

RATCHET = read_ratchet()
KINDS = ("forward", "derivative")


def measure(entry, kind, dtype, points, parameters, cache):
    """Largest error in ULP, and where it is."""
    expected = truth(entry.name, kind, points.dtype, points, parameters, cache=cache)
    if kind == "forward":
        result = getattr(fa, entry.name)(points, *parameters)
    else:
        result = getattr(fa, f"{entry.name}_derivative")(points, *parameters)
        backward = getattr(fa, f"{entry.name}_backward")
        ones = np.ones_like(points)
        # dy = 1 leaves the derivative as it is: what holds for one holds for the other
        np.testing.assert_array_equal(backward(ones, points, *parameters), result)
    assert result.dtype == dtype
    error = ulp_error(result, expected, points.dtype)
    worst = int(np.argmax(error))
    return error[worst], points[worst]


def bound_of(entry, kind, dtype, parameters=()):
    """The catalogue's bound, and today's largest error where that is smaller."""
    row = RATCHET[Unit(Subject(entry.name, kind, parameters), dtype).row]
    return min(entry.error_bound(kind, dtype, parameters), row["maximum"] + SLACK)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_error_at_default_parameters(name, dtype, kind, instruction_set, cache):
    entry = CATALOGUE[name]
    parameters = default_parameters(entry)
    points = points_for(entry, np.dtype(dtype), BIT_UNIFORM, parameters)
    assert len(points) >= BIT_UNIFORM / 2  # a period that is too fast is left out
    error, where = measure(entry, kind, dtype, points, parameters, cache)
    assert error <= bound_of(entry, kind, dtype), f"{error:.3f} ULP at x = {where!r}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (name, values)
        for name, several in OTHER_PARAMETERS.items()
        for values in several
    ],
)
def test_error_at_other_parameters(name, parameters, dtype, kind, cache):
    entry = CATALOGUE[name]
    points = points_for(entry, np.dtype(dtype), BIT_UNIFORM_OTHER, parameters)
    error, where = measure(entry, kind, dtype, points, parameters, cache)
    allowed = bound_of(entry, kind, dtype, parameters)
    assert error <= allowed, f"{error:.3f} ULP at x = {where!r}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "index"),
    [
        (name, index)
        for name, entry in CATALOGUE.items()
        if entry.differentiable_parameters
        for index in range(len(entry.parameters))
    ],
)
def test_parameter_gradients(name, index, dtype, cache):
    """The gradient of a parameter, one element at a time, against mpmath."""
    entry = CATALOGUE[name]
    parameters = default_parameters(entry)
    points = points_for(entry, np.dtype(dtype), BIT_UNIFORM_OTHER, parameters)
    expected = truth(
        name, ("parameter", index), points.dtype, points, parameters, cache=cache
    ).rounded()
    backward = getattr(fa, f"{name}_parameter_backward")
    whole = [np.full(points.shape, p, dtype) for p in parameters]
    result = backward(np.ones_like(points), points, *whole)[1 + index]
    tolerance = {"float32": 3e-6, "float64": 1e-14}[dtype]
    with np.errstate(over="ignore"):
        expected = expected.astype(dtype)
    smallest = np.finfo(dtype).tiny
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=smallest)


def test_the_points_are_those_of_their_version():
    """Another set of points has another version, or errors would seem to have changed."""
    digest = hashlib.sha256()
    for entry in CATALOGUE.values():
        parameters = default_parameters(entry)
        digest.update(float64_points(entry, parameters, BIT_UNIFORM))
    assert (VERSION, digest.hexdigest()[:16]) == (1, "9a4863d111fd97e3")


def test_every_activation_has_a_reference():
    assert set(CATALOGUE) <= set(REFERENCES)
