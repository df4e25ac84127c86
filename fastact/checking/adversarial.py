"""Where errors are looked for if not everywhere: arguments and parameters.

The tests check their bounds at these points, and the accuracy table observes float64 at
them. A change of the points changes `VERSION`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..formulas.entry import Activation
from .truth import bit_uniform, inside, interesting_points, near

VERSION = 1
BIT_UNIFORM = 10_000  # points at the default parameters
BIT_UNIFORM_OTHER = 1_000  # and at others
ORDINARY = range(-15, 11)  # exponents of the numbers where functions curve

# Parameters beside the defaults; prelu has none.
OTHER_PARAMETERS: dict[str, list[tuple[float, ...]]] = {
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


def default_parameters(entry: Activation) -> tuple[float, ...]:
    """The defaults, and a quarter for prelu's weight, which has none (as PyTorch's)."""
    return tuple(0.25 if p.default is None else p.default for p in entry.parameters)


def accurate_up_to(entry: Activation, parameters: Sequence[float]) -> float:
    """The size of x beyond which the function has no bound in ULP."""
    return entry.accurate_up_to / _scale(entry, parameters)


def _scale(entry: Activation, parameters: Sequence[float]) -> float:
    """What x is multiplied by before anything else happens to it."""
    return abs(parameters[0]) if entry.name in ("swish", "snake") else 1.0


def points_for(
    entry: Activation, dtype: DTypeLike, count: int, parameters: Sequence[float]
) -> NDArray[np.floating[Any]]:
    """Return points everywhere, and more where errors are likely.

    Parameters
    ----------
    entry : Activation
        A function of the catalogue.
    dtype : dtype
        Of the points.
    count : int
        How many to draw uniformly by bit pattern.
    parameters : sequence of float
        All of the function's parameters.

    Returns
    -------
    ndarray
        Inside the domain, and where the bounds hold; kinks are left out, because their
        derivative means nothing to mpmath.
    """
    namespace = {p.name: v for p, v in zip(entry.parameters, parameters, strict=True)}
    kinks = [float(eval(point, namespace)) for point in entry.kinks]
    scale = _scale(entry, parameters)
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
    points = points[np.abs(points) <= accurate_up_to(entry, parameters)]
    return inside(entry.domain, points[~np.isin(points, np.array(kinks, dtype))])


def float64_points(
    entry: Activation, parameters: Sequence[float], count: int
) -> NDArray[np.float64]:
    """Return the points at which float64 is observed.

    Those of `points_for`, and more of ordinary size: of 2046 binades the functions curve
    in two dozen.

    Parameters
    ----------
    entry : Activation
        A function of the catalogue.
    parameters : sequence of float
        All of its parameters.
    count : int
        How many to draw uniformly by bit pattern; twice as many are of ordinary size.

    Returns
    -------
    ndarray of float64
    """
    random = np.random.default_rng(2)
    mantissas = random.uniform(1, 2, 2 * count) * random.choice([-1, 1], 2 * count)
    ordinary = np.ldexp(mantissas, random.choice(ORDINARY, 2 * count))
    ordinary = ordinary[np.abs(ordinary) <= accurate_up_to(entry, parameters)]
    special = points_for(entry, np.float64, count, parameters)
    return np.concatenate([special, inside(entry.domain, ordinary)], dtype=np.float64)
