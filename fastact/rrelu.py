"""Randomised leaky relu: leaky relu with a slope of its own for every element."""

from __future__ import annotations

from typing import Any

import numpy as np

LOWER, UPPER = 1 / 8, 1 / 3


def rrelu(
    x: Any,
    slopes: Any = None,
    *,
    lower: float = LOWER,
    upper: float = UPPER,
    rng: np.random.Generator | int | None = None,
    out: Any = None,
) -> Any:
    """Randomised leaky relu: x for x > 0, else a slope of its own times x.

    Parameters
    ----------
    x : array_like
        Input.
    slopes : array_like, optional
        Slopes, broadcast against x. Draw them yourself where you need the gradient too:
        ``slopes = rng.uniform(lower, upper, x.shape)``.
    lower, upper : float, default 1/8 and 1/3
        Between which slopes are drawn.
    rng : numpy.random.Generator or int, optional
        Draws a slope for every element (training); an integer is a seed. With neither
        slopes nor rng, every slope is (lower + upper) / 2 (evaluation).
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    y : ndarray
        Of x's shape and dtype.

    Raises
    ------
    ValueError
        If both slopes and rng are given, or upper is less than lower.
    TypeError
        For complex numbers, objects and strings.

    Notes
    -----
    f(x) = x for x > 0, else slope x; every element has its own slope.

    Kinks: at 0 the derivative is the slope.

    At most 1 ULP from the exact result. NaN gives NaN. float16, bfloat16, float32 and
    float64 stay what they are; integers and booleans promote as in `numpy.tanh`.

    Source: Xu et al. 2015, arXiv:1505.00853.
    """
    if slopes is not None and rng is not None:
        raise ValueError("give either slopes or rng, not both")
    if slopes is None:
        slopes = _middle(lower, upper)
    if rng is not None:
        x = x if hasattr(x, "dtype") else np.asarray(x)
        dtype = np.float32 if x.dtype.itemsize < 8 else np.float64
        slopes = np.random.default_rng(rng).random(x.shape, dtype)
        slopes *= dtype(upper - lower)
        slopes += dtype(lower)
    from . import prelu

    return prelu(x, slopes, out=out)


def rrelu_backward(
    dy: Any,
    x: Any,
    slopes: Any = None,
    *,
    lower: float = LOWER,
    upper: float = UPPER,
    out: Any = None,
) -> Any:
    """Gradient of rrelu with respect to its input x.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output.
    x : array_like
        Input.
    slopes : array_like, optional
        The slopes that rrelu was given. None: (lower + upper) / 2 for every element.
    lower, upper : float, default 1/8 and 1/3
        Between which slopes are drawn.
    out : ndarray, optional
        Where to store the result.

    Returns
    -------
    dx : ndarray
        dy where x > 0, else the slope times dy; of x's shape and dtype: float16, bfloat16,
        float32 or float64.

    Raises
    ------
    ValueError
        If upper is less than lower.
    TypeError
        For complex numbers, objects and strings.

    Notes
    -----
    At a kink, x = 0, the derivative is the slope. At most 1 ULP from the exact result;
    NaN in x gives NaN.

    Source: Xu et al. 2015, arXiv:1505.00853.
    """
    from . import prelu_backward

    if slopes is None:
        slopes = _middle(lower, upper)
    return prelu_backward(dy, x, slopes, out=out)


def _middle(lower: float, upper: float) -> float:
    if not lower <= upper:
        raise ValueError(
            f"upper must be at least lower: lower is {lower!r}, upper {upper!r}"
        )
    return (lower + upper) / 2


vars(rrelu)["backward"] = rrelu_backward
for _function in (rrelu, rrelu_backward):
    _function.__module__ = __package__
