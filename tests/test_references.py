"""The references of the accuracy check, against mpmath and the catalogue.

They judge float32 kernels, so that their own error counts in ULP of float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import ACTIVATIONS, CATALOGUE, other_values

import fastact as fa
from accuracy.checker import DIRECTIONS, Direction, names, reference
from fastact.checking.adversarial import (
    BIT_UNIFORM,
    BIT_UNIFORM_OTHER,
    OTHER_PARAMETERS,
    default_parameters,
    points_for,
)
from fastact.checking.truth import truth, ulp_error
from fastact.formulas.entry import Activation

BOUND = 2.0**-10
OVERFLOW = 2.0**128 - 2.0**103  # from here on numbers round to infinity

Parameters = tuple[float, ...]

DEFAULT = [(entry, default_parameters(entry)) for entry in ACTIVATIONS]
OTHER = [
    (CATALOGUE[name], values)
    for name, several in OTHER_PARAMETERS.items()
    for values in several
]
# Those of the other tests, at which kinks are exact.
EXACT = [(entry, other_values(entry)) for entry in ACTIVATIONS if entry.parameters]
# A factor of 0 meets an infinite x.
ZERO = [
    (entry, (0.0,) * len(entry.parameters))
    for entry in ACTIVATIONS
    if entry.parameters and all(r.relation == ">=" for r in entry.requirements)
]


def _label(value: Any) -> str:
    return value.name if isinstance(value, Activation) else str(value)


def _rounded(parameters: Parameters) -> Parameters:
    """Parameters as a float32 kernel gets them."""
    return tuple(float(np.float32(value)) for value in parameters)


every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def test_every_activation_has_one() -> None:
    assert sorted(names()) == sorted(CATALOGUE)


@every_direction
@pytest.mark.parametrize(("entry", "parameters"), DEFAULT + OTHER, ids=_label)
def test_error(
    entry: Activation, parameters: Parameters, direction: Direction, cache: Path
) -> None:
    # The points of test_accuracy.py: one truth serves both.
    count = BIT_UNIFORM if (entry, parameters) in DEFAULT else BIT_UNIFORM_OTHER
    points = points_for(entry, np.dtype(np.float32), count, parameters)
    exact = truth(entry.name, direction, np.float32, points, parameters, cache=cache)
    found = reference(entry.name, direction, points.astype(float), _rounded(parameters))
    overflows = np.abs(found) >= OVERFLOW
    found[overflows] = np.copysign(np.inf, found[overflows])
    error = ulp_error(found, exact, np.float32)
    worst = int(np.argmax(error))
    assert error[worst] <= BOUND, f"{error[worst]:.3g} ULP at {points[worst]!r}"


@pytest.mark.parametrize(("entry", "parameters"), DEFAULT + EXACT, ids=_label)
def test_kinks_have_the_derivative_that_the_entry_names(
    entry: Activation, parameters: Parameters
) -> None:
    parameters = _rounded(parameters)
    known = dict(zip([p.name for p in entry.parameters], parameters, strict=True))
    for point, slope in entry.kinks.items():
        x = float(eval(point, {}, known))
        found = reference(entry.name, "derivative", np.array([x, x + 0.0]), parameters)
        np.testing.assert_allclose(found, eval(slope, {}, known), rtol=1e-15, atol=0)


@every_direction
@pytest.mark.parametrize(
    ("entry", "parameters"), DEFAULT + EXACT + OTHER + ZERO, ids=_label
)
def test_limits_and_zeros(
    entry: Activation, parameters: Parameters, direction: Direction
) -> None:
    """As the kernels have them, which test_special_values.py holds against mpmath."""
    suffix = "" if direction == "forward" else "_derivative"
    x = np.array([-np.inf, -0.0, 0.0, np.inf], np.float32)
    expected = getattr(fa, entry.name + suffix)(x, *parameters)
    found = reference(entry.name, direction, x.astype(float), _rounded(parameters))
    with np.errstate(over="ignore", under="ignore"):
        found = found.astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=2.0**-22, atol=0)


@every_direction
@pytest.mark.parametrize(("entry", "parameters"), DEFAULT + EXACT, ids=_label)
def test_nan_gives_nan(
    entry: Activation, parameters: Parameters, direction: Direction
) -> None:
    x = np.array([np.nan, 1.0, -np.nan, 0.5] * 9)  # vectors and a rest
    found = reference(entry.name, direction, x[:-1], _rounded(parameters))
    assert np.array_equal(np.isnan(found[::2]), np.isnan(x[:-1:2]))
