"""Points to test at, the truth at these points, and the distance from it in ULP."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import reference

try:
    import ml_dtypes
except ImportError:
    finfo: Any = np.finfo
else:
    finfo = ml_dtypes.finfo  # knows bfloat16 beside NumPy's dtypes

FloatArray = NDArray[np.floating[Any]]
Kind = Literal["forward", "derivative"] | tuple[Literal["parameter"], int]

# Where exponents of the truth are cut off: far outside float64's -1074 and 1024.
EXPONENT_LIMIT = 5000


class Truth(NamedTuple):
    """Exact values, each ``(high + low) * 2**exponent``.

    0.5 <= abs(high) < 1, or 0; low has high's sign and the next 53 bits. The exponent
    is kept apart because float64 could hold no low part for subnormals.
    """

    high: NDArray[np.float64]
    low: NDArray[np.float64]
    exponent: NDArray[np.int64]

    def rounded(self) -> NDArray[np.float64]:
        """Return the values as float64."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(self.high + self.low, self.exponent)


# ---------------------------------------------------------------------------- points


def _from_ordinal(dtype: DTypeLike, ordinals: NDArray[np.int64]) -> FloatArray:
    """Number the floats in their order, 0.0 being 0 and neighbours differing by 1."""
    dtype = np.dtype(dtype)
    magnitude = np.abs(ordinals).astype(f"u{dtype.itemsize}").view(dtype)
    points: FloatArray = np.copysign(magnitude, ordinals).astype(dtype)
    return points


def _to_ordinal(points: FloatArray) -> NDArray[np.int64]:
    bits = np.abs(points).view(f"u{points.itemsize}").astype(np.int64)
    ordinals: NDArray[np.int64] = np.where(np.signbit(points), -bits, bits)
    return ordinals


def _largest_ordinal(dtype: DTypeLike) -> int:
    return int(_to_ordinal(np.array([finfo(dtype).max]))[0])


def bit_uniform(dtype: DTypeLike, count: int, seed: int) -> FloatArray:
    """Return floats drawn uniformly by bit pattern over all finite ones.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.
    count : int
        How many to draw.
    seed : int
        Of the random generator.

    Returns
    -------
    ndarray
        Sorted and unique, so possibly a few less than `count`.
    """
    largest = _largest_ordinal(dtype)
    draw = np.random.default_rng(seed).integers(-largest, largest, count, endpoint=True)
    return _from_ordinal(dtype, np.unique(draw))


def near(dtype: DTypeLike, points: ArrayLike, steps: int) -> FloatArray:
    """Return every point, rounded to `dtype`, with its neighbours.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.
    points : array_like
        Finite in `dtype`.
    steps : int
        How many consecutive floats on each side.

    Returns
    -------
    ndarray
        One-dimensional, finite, sorted and unique.
    """
    middle = _to_ordinal(np.atleast_1d(np.asarray(points)).astype(dtype))
    ordinals = np.add.outer(middle, np.arange(-steps, steps + 1))
    largest = _largest_ordinal(dtype)
    return _from_ordinal(dtype, np.unique(np.clip(ordinals, -largest, largest)))


# Where exponentials overflow, become subnormal or vanish, and where something rounds to
# 1 or to a power of x: in float16, float32 and float64. Used with both signs.
# fmt: off
_LIMITS = (
    # exp: float16
    8.3, 9.7, 10.4, 11.09, 16.6, 17.3,
    # exp: float32 subnormal, overflow, vanishing
    87.3, 87.33654, 88.0, 88.37626, 88.7, 88.72284, 89.4, 103.27893, 103.97208, 104.0,
    # exp: float64 subnormal, overflow, vanishing
    708.3964185322641, 708.4, 709.0895657128241, 709.782712893384, 710.4758600739439,
    744.4400719213812, 745.1332191019411, 745.1332191019412, 746.0,
    # exp(-2x) and exp(-x/2) of the same
    43.66827, 44.36142, 51.98604, 354.1982092661320, 354.891356446692, 372.5666,
    174.67309, 177.44568, 207.94415, 1416.792837064528, 1419.565425786768,
    # exp(-x*x/2), erfc: float32 and float64
    9.2, 13.2, 14.0, 14.16, 14.2, 14.42, 26.5, 26.64, 27.2, 37.5, 37.64, 38.4, 38.5,
    38.56, 38.6,
    # gelu_tanh's inner cubic: float32 and float64
    10.0, 10.05, 10.4, 10.8, 21.1, 21.4, 21.5, 21.7,
    # 1 + exp(-x) == 1, tanh == 1, erf == 1
    3.9, 5.5, 5.8, 5.9, 6.0, 8.3, 8.67, 9.01, 9.1, 15.9, 16.0, 16.5, 16.64, 17.0,
    17.4, 18.0, 18.37, 18.72, 19.0, 19.06, 20.0, 33.0, 36.04, 36.74, 37.43,
    # small numbers, halves of ln(2), where argument reductions change
    0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 100.0, 1000.0,
    0.34657359027997264, 0.6931471805599453, 1.0397207708399179,
)
# fmt: on


def interesting_points(dtype: DTypeLike) -> FloatArray:
    """Return limits of exponentials, powers of two, subnormals, the largest, +-0.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.

    Returns
    -------
    ndarray
        Sorted; unique but for -0.0, which comes before 0.0.
    """
    info = finfo(dtype)
    powers = np.ldexp(1.0, np.arange(info.minexp - info.nmant, info.maxexp))
    tiny = np.arange(1, 9) * float(info.smallest_subnormal)
    # float16's and float32's largest are points of the wider types too
    largest = [float(finfo(other).max) for other in (np.float16, np.float32, dtype)]
    everything = np.concatenate([_LIMITS, powers, tiny, largest])
    everything = everything[everything <= largest[-1]].astype(dtype)
    positive = np.unique(everything[everything > 0])
    zeros = np.array([-0.0, 0.0], dtype)
    return np.concatenate([-positive[::-1], zeros, positive])


def inside(domain: tuple[float, float], points: FloatArray) -> FloatArray:
    """Return those of the points that lie inside a domain, its ends excluded.

    Parameters
    ----------
    domain : pair of float
        Its ends.
    points : ndarray
        Numbers of any dtype.

    Returns
    -------
    ndarray
    """
    low, high = domain
    return points[(points > low) & (points < high)]


# ----------------------------------------------------------------------------- truth


def split(values: Iterable[Any]) -> Truth:
    """Return mpmath numbers as a `Truth`, cut (not rounded) to 106 bits."""
    high, low, exponents = [], [], []
    for number in values:
        # man_exp has no sign; arithmetic on the number would round it to mp.prec
        mantissa, exponent = map(int, number.man_exp)
        length = mantissa.bit_length()
        # 106 bits exactly, so that both halves are exact floats
        shift = length - 106
        digits = mantissa >> shift if shift > 0 else mantissa << -shift
        sign = -1.0 if number < 0 else 1.0
        high.append(sign * (digits >> 53))
        low.append(sign * (digits & (2**53 - 1)))
        top = exponent + length if mantissa else -EXPONENT_LIMIT
        exponents.append(max(-EXPONENT_LIMIT, min(EXPONENT_LIMIT, top)))
    return Truth(
        np.array(high) * 2.0**-53,
        np.array(low) * 2.0**-106,
        np.array(exponents, np.int64),
    )


def _compute(
    name: str, kind: Kind, floor: int, points: FloatArray, params: Sequence[float]
) -> Truth:
    if kind == "forward":
        return split(reference.value(name, (x, *params)) for x in points.tolist())
    index = 0 if kind == "derivative" else 1 + int(kind[1])
    return split(
        reference.partial(name, (x, *params), index, floor) for x in points.tolist()
    )


def truth(
    name: str,
    kind: Kind,
    dtype: DTypeLike,
    points: ArrayLike,
    params: Sequence[float] = (),
    *,
    cache: Path | None,
) -> Truth:
    """Return the truth at `points`, computed once and kept on disk.

    Parameters
    ----------
    name : str
        The activation, a key of ``reference.REFERENCES``.
    kind : "forward", "derivative" or ("parameter", k)
        The value, df/dx, or df/d(parameter k), the first being 0. A derivative
        at a kink means nothing: leave these points out.
    dtype : dtype
        Of the result that will be judged. `points` are rounded to it, and `params` as
        fastact does it: to float32 for the 16-bit types, else to `dtype`.
    points : array_like
        Finite numbers, one-dimensional.
    params : sequence of float
        The activation's parameters, all of them.
    cache : pathlib.Path or None
        An existing folder, such as ``pytestconfig.cache.mkdir("truth")``. Processes
        that ask for the same truth at once wait for the first. None: no cache.

    Returns
    -------
    Truth
    """
    dtype = np.dtype(dtype)
    points = np.asarray(points).astype(dtype)
    params_dtype = np.promote_types(dtype, np.float32)
    params = [float(params_dtype.type(parameter)) for parameter in params]
    info = finfo(dtype)
    floor = int(info.minexp) - int(info.nmant)
    if cache is None:
        return _compute(name, kind, floor, points, params)

    sources = [Path(file).read_bytes() for file in (reference.__file__, __file__)]
    key = hashlib.sha256(repr((name, kind, dtype.name, params, sources)).encode())
    key.update(points.tobytes())
    file = cache / f"{name}-{key.hexdigest()[:32]}.npy"
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            found = _compute(name, kind, floor, points, params)
            # renamed when complete: a killed process leaves no half of a file
            unfinished = file.with_suffix(f".{os.getpid()}.npy")
            np.save(unfinished, np.stack(found))
            unfinished.rename(file)
    high, low, exponent = np.load(file)
    return Truth(high, low, exponent.astype(np.int64))


def ulp_error(result: ArrayLike, truth: Truth, dtype: DTypeLike) -> FloatArray:
    """Return the distance of every result from the truth, in ULP.

    A ULP is the spacing of `dtype`'s floats in the truth's binade, and of subnormals
    below. NaN is infinitely wrong. An infinity is right where the truth rounds to
    it, and infinitely wrong elsewhere.

    Parameters
    ----------
    result : array_like
        As computed, in `dtype`.
    truth : Truth
        As many values.
    dtype : dtype
        float16, bfloat16, float32 or float64.

    Returns
    -------
    ndarray of float64
    """
    info = finfo(dtype)
    bits = int(info.nmant) + 1
    result = np.asarray(result, np.float64)
    unit = np.maximum(truth.exponent - bits, int(info.minexp) - int(info.nmant))
    with np.errstate(all="ignore"):
        # Everything in ULP. The subtraction of high is exact where the two are close,
        # and where they are not, its rounding is far below a thousandth of the error.
        high = np.ldexp(truth.high, truth.exponent - unit)
        low = np.ldexp(truth.low, truth.exponent - unit)
        error = np.abs((np.ldexp(result, -unit) - high) - low)
        # half a ULP above the largest number, rounding goes to infinity
        beyond = (np.abs(high) - 2.0**bits) + np.abs(low) >= -0.5
    overflows = (truth.exponent > info.maxexp) | (
        (truth.exponent == info.maxexp) & beyond
    )
    right = overflows & (np.signbit(result) == np.signbit(truth.high))
    error = np.where(np.isinf(result), np.where(right, 0.0, np.inf), error)
    return np.where(np.isnan(result), np.inf, error)
