"""Gains: how much an activation shrinks the signal that a network passes on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .bound import BoundActivation
from .formulas.entry import CATALOGUE
from .lookup import canonical_name, get

Array: TypeAlias = NDArray[np.float64]

# Edges of the first panels, right of 0: dense at 0, where parameters make activations
# change fast, and so far out that the square root of the normal density, by which the
# function is multiplied before anything is squared, is still a normal number.
_EDGES = np.concatenate([[0], 2.0 ** np.arange(-40, -1), np.arange(0.5, 50.5, 0.5)])
_MOST_PANELS = 20_000
_NODES = 20
_TOLERANCE = 1e-13  # of the integral over one panel, beside the whole


def gain(name: str | Callable[..., Any], **parameters: Any) -> float:
    """Factor that keeps the mean square of a signal through an activation.

    Weights of variance ``gain**2 / fan_in`` after the activation f keep the mean square
    of standard normal values z from layer to layer: the gain is 1 / sqrt(E f(z)^2).

    Parameters
    ----------
    name : str or callable
        Name of an elementwise activation, or a function of float64 arrays: one of
        fastact's, what `get` returns, or your own.
    **parameters
        Parameters of the activation, numbers.

    Returns
    -------
    gain : float
        With a relative error below 1e-10.

    Raises
    ------
    ValueError
        If there is no such activation, it is not elementwise, it is undefined (NaN) for
        some real x, or E f(z)^2 is zero or infinite.
    TypeError
        If the activation has no such parameter, or needs one that is not given.

    Notes
    -----
    The integral over the normal density is computed by adaptive Gauss-Legendre
    quadrature, whatever the function: kinks and jumps need not be known. (Of your own
    functions, a peak that is narrower than 0.01 and far from 0 may be missed.)

    PyTorch's ``calculate_gain`` has a table of a few activations. It is the same for
    relu and leaky_relu (sqrt(2), sqrt(2 / (1 + slope^2))), and of the others tanh is 5/3
    there and 1.5925 here, sigmoid 1 and 1.8462, and selu 3/4 and 1.

    Source: He et al. 2015, arXiv:1502.01852 (for relu).

    Examples
    --------
    >>> round(fa.gain("relu"), 6)
    1.414214
    >>> round(fa.gain("leaky_relu", negative_slope=0.2), 6)
    1.38675
    """
    if isinstance(name, str):
        if canonical_name(name) not in CATALOGUE:
            raise ValueError(
                f"{name} has no gain: it is not elementwise, a function of one number"
            )
        function: Callable[..., Any] = get(name, **parameters)
    else:
        function = functools.partial(name, **parameters) if parameters else name
    if isinstance(function, BoundActivation):
        for parameter, value in function.parameters.items():
            if np.ndim(value) != 0:
                raise ValueError(
                    f"{parameter} must be a number, not an array: a gain is one number"
                )
    with np.errstate(all="ignore"):  # the user's own function may overflow, or be NaN
        mean_square = _mean_square(function)
    if mean_square < np.finfo(np.float64).tiny:
        raise ValueError(f"{_label(function)} has no gain: E f(z)^2 is zero")
    return float(1 / np.sqrt(mean_square))


def _label(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", None) or repr(function)


def _mean_square(function: Callable[..., Any]) -> float:
    """E f(z)^2: panels are halved until halving one more does not matter."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)

    def integrate(left: Array, right: Array) -> Array:
        half = (right - left)[:, np.newaxis] / 2
        z = left[:, np.newaxis] + half * (1 + nodes)
        values = _evaluate(function, z.ravel()).reshape(z.shape)
        squares = (values * np.exp(-z * z / 4)) ** 2 / np.sqrt(2 * np.pi)
        integrals: Array = half[:, 0] * (squares @ weights)
        return integrals

    edges = np.concatenate([-_EDGES[:0:-1], _EDGES])
    left, right = edges[:-1], edges[1:]
    coarse = integrate(left, right)
    total = coarse.sum()
    # What lies at the ends would go on beyond them.
    infinite = max(coarse[0], coarse[-1]) > _TOLERANCE * total
    settled_sum = 0.0
    while left.size and not infinite:
        if left.size > _MOST_PANELS:
            raise ValueError(
                f"{_label(function)} has no gain: E f(z)^2 is still uncertain with "
                f"{left.size} panels"
            )
        middle = (left + right) / 2
        first, second = integrate(left, middle), integrate(middle, right)
        fine = first + second
        total = settled_sum + fine.sum()
        infinite = not np.isfinite(total)
        rough = np.abs(fine - coarse) > _TOLERANCE * total
        settled_sum += fine[~rough].sum()
        left, right = (
            np.concatenate([left[rough], middle[rough]]),
            np.concatenate([middle[rough], right[rough]]),
        )
        coarse = np.concatenate([first[rough], second[rough]])
    if infinite:
        raise ValueError(f"{_label(function)} has no gain: E f(z)^2 is infinite")
    return float(total)


def _evaluate(function: Callable[..., Any], z: Array) -> Array:
    """The function at z, which must be one of real numbers, element by element."""
    values = np.asarray(function(z), np.float64)
    alone = np.asarray(function(z[:1]), np.float64)
    undefined = np.isnan(values)
    if undefined.any():
        raise ValueError(
            f"{_label(function)} has no gain: it is undefined (NaN) for some x, such as "
            f"{z[undefined.argmax()]:.3g}"
        )
    if values.shape != z.shape or not np.allclose(alone, values[:1], rtol=1e-6):
        raise ValueError(f"{_label(function)} has no gain: it is not elementwise")
    return values
