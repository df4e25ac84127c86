"""The error bounds, against mpmath: bit-uniform points and all the difficult ones.

The truth is computed once for each function and dtype, and every instruction set that
this machine has is measured against it.
"""

from __future__ import annotations

import numpy as np
import pytest
from reference import REFERENCES
from truth import bit_uniform, inside, interesting_points, near, truth, ulp_error

import fastact as fa
from fastact.formulas.entry import CATALOGUE

# Parameters beside the defaults; prelu has none.
OTHER_PARAMETERS = {
    "leaky_relu": [(0.2,), (-0.5,)],
    "prelu": [(0.25,), (1.5,)],
    "threshold": [(0.5, -1.0), (-2.0, 0.5)],
    "thresholded_relu": [(0.3,), (-0.5,)],
    "hardtanh": [(-0.3, 2.0), (0.0, 1.7)],
    "clipped_linear": [(0.2, 0.5, 0.0, 1.0), (-0.3, 0.1, -1.0, 1.0)],
    "hardshrink": [(0.3,), (0.0,)],
    "softshrink": [(0.3,), (0.0,)],
    "star_relu": [(0.8944, -0.4472), (-3.0, 0.1)],
    "elu": [(0.5,), (1.7,)],
    "celu": [(0.5,), (1.7,)],
    "pelu": [(0.5, 2.0), (1.7, 0.3)],
    "xielu": [(1.1, 0.3, 0.7, -1e-6), (0.5, 2.5, -0.2, -0.01)],
    "softplus": [(0.3,), (7.5,)],
    "swish": [(0.3,), (1.702,)],
    "scaled_tanh": [(1.1, 1.7), (-0.7, 0.3)],
    "softcap": [(30.0,), (1.9,)],
    "dyt": [(0.8, 1.3, 0.0), (2.1, -0.7, 0.0)],
    "laplace": [(0.3, 1.0), (-1.0, 7.3)],
    "squareplus": [(1e-3,), (40.0,)],
    "snake": [(0.3,), (-1.5,), (40.0,)],
}
KINDS = ("forward", "derivative")
BIT_UNIFORM = 10_000


def points_for(entry, dtype, count, parameters):
    """Where errors are looked for: everywhere, and where they are likely."""
    namespace = {p.name: v for p, v in zip(entry.parameters, parameters, strict=True)}
    kinks = [float(eval(point, namespace)) for point in entry.kinks]
    scale = abs(parameters[0]) if entry.name in ("swish", "snake") else 1.0
    roots = [float(root) / scale for root in (*entry.roots, *entry.derivative_roots)]
    if not np.isinf(entry.domain).all():
        count *= 5  # of all numbers a quarter lies between 0 and 1
    points = np.concatenate(
        [
            bit_uniform(dtype, count, seed=1),
            near(dtype, [*kinks, *roots], 200),
            interesting_points(dtype),
            near(dtype, [0.0, 1.0, -1.0, -0.25, 0.25], 20),
        ]
    )
    points = points[np.abs(points) <= entry.accurate_up_to / scale]
    return inside(entry.domain, points[~np.isin(points, np.array(kinks, dtype))])


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


def bound_of(entry, kind):
    return entry.bound if kind == "forward" else entry.backward_bound


@pytest.fixture(scope="session")
def cache(pytestconfig):
    """Where truths are kept from run to run."""
    return pytestconfig.cache.mkdir("truth")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_error_at_default_parameters(name, dtype, kind, instruction_set, cache):
    entry = CATALOGUE[name]
    parameters = tuple(
        0.25 if p.default is None else p.default for p in entry.parameters
    )
    points = points_for(entry, np.dtype(dtype), BIT_UNIFORM, parameters)
    assert len(points) >= BIT_UNIFORM / 2  # a period that is too fast is left out
    error, where = measure(entry, kind, dtype, points, parameters, cache)
    assert error <= bound_of(entry, kind), f"{error:.3f} ULP at x = {where!r}"


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
    points = points_for(entry, np.dtype(dtype), 1000, parameters)
    error, where = measure(entry, kind, dtype, points, parameters, cache)
    assert error <= bound_of(entry, kind), f"{error:.3f} ULP at x = {where!r}"


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
    parameters = tuple(
        0.25 if p.default is None else p.default for p in entry.parameters
    )
    points = points_for(entry, np.dtype(dtype), 1000, parameters)
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


def test_every_activation_has_a_reference():
    assert set(CATALOGUE) <= set(REFERENCES)
