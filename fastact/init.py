"""First weights of layers: NumPy arrays drawn such that signals keep their size.

The axes follow JAX: for layers ``x @ weight`` the shape is ``(n_in, n_out)``, for
convolutions ``(..., n_in, n_out)``, and all further axes count as the receptive field.
For PyTorch's ``(n_out, n_in, ...)`` say ``in_axis=1, out_axis=0``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from numpy.typing import DTypeLike, NDArray

from . import quadrature

__all__ = [
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "uniform",
]

Shape: TypeAlias = int | Sequence[int]
Random: TypeAlias = np.random.Generator | int | None
Function = TypeVar("Function", bound=Callable[..., Any])

_SHAPE = """shape : int or sequence of int
    Shape of the weight."""
_ACTIVATION = """activation : str or callable, default "relu"
    The activation that the layer's input has come through: a name, or a function such
    as ``fastact.get("leaky_relu", negative_slope=0.2)`` or your own. Its exact gain
    (`fastact.gain`) takes the place of relu's sqrt(2)."""
_GAIN = """gain : float, default 1
    Factor on the weight."""
_DRAW = """rng : numpy.random.Generator or int, optional
    Where the random numbers come from, or a seed; by default they differ each time.
dtype : dtype, default float32
    float16, bfloat16, float32 or float64. float32 and float64 are drawn as such, the
    16-bit types rounded from float32."""
_AXES = """in_axis, out_axis : int, default -2 and -1
    The axes of the inputs and the outputs of the layer."""
_RESULT = """weight : ndarray
    Array of this shape and dtype."""
_FAN_ERRORS = """ValueError
    If the shape has fewer than two axes, an axis is not there, both are the same, or a
    number is out of range.
TypeError
    If the dtype is none of the four."""
_ERRORS = """ValueError
    If a number is out of range.
TypeError
    If the dtype is none of the four."""


def _documented(function: Function) -> Function:
    """Fill in what the docstrings have in common."""
    function.__doc__ = (function.__doc__ or "").format(
        shape=_indented(_SHAPE),
        activation=_indented(_ACTIVATION),
        gain=_indented(_GAIN),
        draw=_indented(_DRAW),
        axes=_indented(_AXES),
        result=_indented(_RESULT),
        fan_errors=_indented(_FAN_ERRORS),
        errors=_indented(_ERRORS),
    )
    return function


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _as_shape(shape: Shape) -> tuple[int, ...]:
    given = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    lengths = tuple(operator.index(length) for length in given)
    if any(length < 0 for length in lengths):
        raise ValueError(f"shape must not have negative lengths: {lengths}")
    return lengths


def _fans(shape: Shape, in_axis: int, out_axis: int) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input goes to."""
    lengths = _as_shape(shape)
    if len(lengths) < 2:
        raise ValueError(
            f"shape must have at least two axes, inputs and outputs, not {lengths}; "
            "a bias may start at zero, or with init.normal or init.uniform"
        )
    ins = normalize_axis_index(in_axis, len(lengths), "in_axis")
    outs = normalize_axis_index(out_axis, len(lengths), "out_axis")
    if ins == outs:
        raise ValueError(f"in_axis and out_axis must differ; both are axis {ins}")
    receptive_field = math.prod(
        length for axis, length in enumerate(lengths) if axis not in (ins, outs)
    )
    # An empty weight has no numbers to draw, so any fan will do for it.
    return (
        max(lengths[ins] * receptive_field, 1),
        max(lengths[outs] * receptive_field, 1),
    )


def _check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, not {value!r}")


def _drawn_dtype(dtype: DTypeLike) -> type[np.float32 | np.float64]:
    """The dtype to draw in, for a result of this one."""
    wanted = np.dtype(dtype)
    if wanted == np.float64:
        return np.float64
    if wanted in (np.float16, np.float32) or wanted.name == "bfloat16":
        return np.float32
    raise TypeError(
        f"dtype must be float16, bfloat16, float32 or float64, not {wanted}"
    )


@_documented
def normal(
    shape: Shape, std: float, *, rng: Random = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Draw a weight from the normal distribution N(0, std^2).

    Parameters
    ----------
    {shape}
    std : float
        Standard deviation.
    {draw}

    Returns
    -------
    {result}

    Raises
    ------
    {errors}
    """
    _check_not_negative("std", std)
    drawn = np.random.default_rng(rng).standard_normal(
        _as_shape(shape), _drawn_dtype(dtype)
    )
    drawn *= std
    return drawn.astype(dtype, copy=False)


@_documented
def uniform(
    shape: Shape,
    low: float,
    high: float,
    *,
    rng: Random = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Draw a weight from the uniform distribution between low and high.

    Parameters
    ----------
    {shape}
    low, high : float
        The ends; rounding may reach both of them.
    {draw}

    Returns
    -------
    {result}

    Raises
    ------
    {errors}
    """
    if not -math.inf < low <= high < math.inf:
        raise ValueError(
            f"low and high must be finite, and low at most high, not {low!r}, {high!r}"
        )
    drawn = np.random.default_rng(rng).random(_as_shape(shape), _drawn_dtype(dtype))
    drawn *= high - low
    drawn += low
    return drawn.astype(dtype, copy=False)


def _uniform_of_std(
    shape: Shape, std: float, rng: Random, dtype: DTypeLike
) -> NDArray[Any]:
    """The uniform distribution around 0 with this standard deviation."""
    bound = math.sqrt(3) * std
    return uniform(shape, -bound, bound, rng=rng, dtype=dtype)


def _he_std(
    shape: Shape, activation: str | Callable[..., Any], in_axis: int, out_axis: int
) -> float:
    fan_in, _ = _fans(shape, in_axis, out_axis)
    return quadrature.gain(activation) / math.sqrt(fan_in)


def _lecun_std(shape: Shape, gain: float, in_axis: int, out_axis: int) -> float:
    _check_not_negative("gain", gain)
    fan_in, _ = _fans(shape, in_axis, out_axis)
    return gain / math.sqrt(fan_in)


def _glorot_std(shape: Shape, gain: float, in_axis: int, out_axis: int) -> float:
    _check_not_negative("gain", gain)
    return gain / math.sqrt(sum(_fans(shape, in_axis, out_axis)) / 2)


@_documented
def he_normal(
    shape: Shape,
    *,
    activation: str | Callable[..., Any] = "relu",
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> NDArray[Any]:
    """He initialisation with the exact gain of any activation: N(0, gain^2 / fan_in).

    Outputs have the mean square 1 if the inputs are the activation of values that have.

    Parameters
    ----------
    {shape}
    {activation}
    {draw}
    {axes}

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    The normal distribution is not truncated (PyTorch's is not, JAX's and Keras's are).

    Source: He et al. 2015, arXiv:1502.01852.

    Examples
    --------
    >>> weight = fa.init.he_normal((784, 256), activation="gelu", rng=0)
    """
    std = _he_std(shape, activation, in_axis, out_axis)
    return normal(shape, std, rng=rng, dtype=dtype)


@_documented
def he_uniform(
    shape: Shape,
    *,
    activation: str | Callable[..., Any] = "relu",
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> NDArray[Any]:
    """He initialisation from a uniform distribution of variance gain^2 / fan_in.

    Its bound is gain sqrt(3 / fan_in).

    Parameters
    ----------
    {shape}
    {activation}
    {draw}
    {axes}

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    Source: He et al. 2015, arXiv:1502.01852.
    """
    std = _he_std(shape, activation, in_axis, out_axis)
    return _uniform_of_std(shape, std, rng, dtype)


@_documented
def glorot_normal(
    shape: Shape,
    *,
    gain: float = 1.0,
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> NDArray[Any]:
    """Glorot (Xavier) initialisation: N(0, 2 gain^2 / (fan_in + fan_out)).

    Parameters
    ----------
    {shape}
    {gain}
    {draw}
    {axes}

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    Source: Glorot and Bengio 2010, AISTATS, proceedings.mlr.press/v9/glorot10a.
    """
    std = _glorot_std(shape, gain, in_axis, out_axis)
    return normal(shape, std, rng=rng, dtype=dtype)


@_documented
def glorot_uniform(
    shape: Shape,
    *,
    gain: float = 1.0,
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> NDArray[Any]:
    """Glorot (Xavier) initialisation from a uniform distribution.

    Its bound is gain sqrt(6 / (fan_in + fan_out)).

    Parameters
    ----------
    {shape}
    {gain}
    {draw}
    {axes}

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    Source: Glorot and Bengio 2010, AISTATS, proceedings.mlr.press/v9/glorot10a.
    """
    std = _glorot_std(shape, gain, in_axis, out_axis)
    return _uniform_of_std(shape, std, rng, dtype)


@_documented
def lecun_normal(
    shape: Shape,
    *,
    gain: float = 1.0,
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> NDArray[Any]:
    """LeCun initialisation: N(0, gain^2 / fan_in). The one for selu.

    Parameters
    ----------
    {shape}
    {gain}
    {draw}
    {axes}

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    Source: LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp, section 4.6.
    """
    std = _lecun_std(shape, gain, in_axis, out_axis)
    return normal(shape, std, rng=rng, dtype=dtype)


@_documented
def lecun_uniform(
    shape: Shape,
    *,
    gain: float = 1.0,
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> NDArray[Any]:
    """LeCun initialisation from a uniform distribution.

    Its bound is gain sqrt(3 / fan_in).

    Parameters
    ----------
    {shape}
    {gain}
    {draw}
    {axes}

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    Source: LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp, section 4.6.
    """
    std = _lecun_std(shape, gain, in_axis, out_axis)
    return _uniform_of_std(shape, std, rng, dtype)


@_documented
def orthogonal(
    shape: Shape,
    *,
    gain: float = 1.0,
    rng: Random = None,
    dtype: DTypeLike = np.float32,
    out_axis: int = -1,
) -> NDArray[Any]:
    """Draw a random orthogonal matrix, times the gain.

    All axes but the one of the outputs are taken together as rows. The columns are then
    orthogonal and of length gain, Q^T Q = gain^2 I, if there are no more of them than
    rows; else the rows are, Q Q^T = gain^2 I.

    Parameters
    ----------
    {shape}
    {gain}
    {draw}
    out_axis : int, default -1
        The axis of the outputs of the layer.

    Returns
    -------
    {result}

    Raises
    ------
    {fan_errors}

    Notes
    -----
    From the QR decomposition of a normal matrix with R's diagonal positive, which makes
    all orthogonal matrices equally likely (Mezzadri 2007, arXiv:math-ph/0609050).

    Source: Saxe, McClelland and Ganguli 2014, arXiv:1312.6120.
    """
    _check_not_negative("gain", gain)
    lengths = _as_shape(shape)
    if len(lengths) < 2:
        raise ValueError(f"shape must have at least two axes, not {lengths}")
    outs = normalize_axis_index(out_axis, len(lengths), "out_axis")
    others = lengths[:outs] + lengths[outs + 1 :]
    rows, columns = math.prod(others), lengths[outs]
    tall = np.random.default_rng(rng).standard_normal(
        (max(rows, columns), min(rows, columns)), _drawn_dtype(dtype)
    )
    q, r = np.linalg.qr(tall)
    q *= np.copysign(gain, np.diagonal(r))
    matrix = q if rows >= columns else q.T
    weight = np.moveaxis(matrix.reshape(*others, columns), -1, outs)
    return np.ascontiguousarray(weight, dtype)
