"""Measures a custom activation against multiprecision arithmetic and differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .family import Custom
from .primitives import defined_term
from .terms import Term, ordered

# Bits that truths are good for, those that a formula may lose on the way, and with which
# the search for them begins and ends
_GOOD_BITS, _LOST_BITS = 70, 40
_FIRST_BITS, _LAST_BITS = 240, 8000
# The step of a difference, beside the argument
_STEP_BITS = 90
# Beyond this many ULP an error is worth a line of its own
_MANY_ULP = 4.0
_MOST_REGIONS = 4
# Below it an agreement with the function itself is one: floats lose some digits
_AGREEMENT = 1e-4


@dataclass(frozen=True)
class Region:
    """Neighbouring values of the first argument where digits are lost; and how many ULP."""

    low: float
    high: float
    ulp: float


@dataclass(frozen=True)
class Accuracy:
    """The errors of one quantity in one dtype.

    Attributes
    ----------
    quantity : str
        "value", or "d/dx" for the derivative by the argument x.
    dtype : str
        "float32" or "float64".
    points : int
        How many points have been compared.
    ulp : float
        The largest error, in units of the last place; infinite for NaN or an infinity
        where there is a finite result.
    at : dict
        The arguments where it is.
    found, expected : float
        The result there, and the truth rounded to a float.
    regions : tuple of Region
        Where the error is more than 4 ULP.
    """

    quantity: str
    dtype: str
    points: int
    ulp: float
    at: dict[str, float]
    found: float
    expected: float
    regions: tuple[Region, ...]


@dataclass(frozen=True, repr=False)
class Report:
    """What `fastact.check` has found; printing it gives a table.

    Attributes
    ----------
    name : str
        Of the activation.
    accuracies : tuple of Accuracy
        For each dtype the value and the derivatives.
    disagreements : dict of str to float
        By quantity, how far the results in float64 are at most from the function itself,
        run by Python, and from its finite differences; beside the largest of both.
    """

    name: str
    accuracies: tuple[Accuracy, ...]
    disagreements: dict[str, float]

    def __getitem__(self, key: tuple[str, str]) -> Accuracy:
        """The accuracy of a quantity in a dtype: ``report["d/dx", "float32"]``."""
        for accuracy in self.accuracies:
            if key == (accuracy.quantity, accuracy.dtype):
                return accuracy
        raise KeyError(key)

    def __repr__(self) -> str:
        header = ("", "dtype", "points", "ULP", "at", "found", "expected")
        rows = [header] + [
            (
                a.quantity,
                a.dtype,
                str(a.points),
                f"{a.ulp:.2f}",
                ", ".join(f"{name}={x:.9g}" for name, x in a.at.items()),
                f"{a.found:.9g}",
                f"{a.expected:.9g}",
            )
            for a in self.accuracies
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{self.name}: largest errors, against multiprecision arithmetic"]
        for row in rows:
            cells = zip(row, widths, strict=True)
            lines.append("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
        losses = [
            f"  {a.quantity} in {a.dtype}: up to {r.ulp:.3g} ULP from {r.low:.6g} "
            f"to {r.high:.6g}"
            for a in self.accuracies
            for r in a.regions
        ]
        if losses:
            lines += [f"Digits are lost (more than {_MANY_ULP:g} ULP):", *losses]
        for quantity, size in self.disagreements.items():
            what = "finite differences of the function" if quantity != "value" else (
                "the function"
            )  # fmt: skip
            verdict = "agrees with" if size <= _AGREEMENT else "DISAGREES with"
            lines.append(f"{quantity} {verdict} {what} run by Python: {size:.1e}")
        return "\n".join(lines)


def check(
    activation: Any,
    *,
    points: int = 500,
    seed: int = 0,
    dtypes: Sequence[Any] = (np.float32, np.float64),
    **parameters: float,
) -> Report:
    """Measure a custom activation and its derivatives, and show where they lose digits.

    Parameters
    ----------
    activation : callable
        What `fastact.activation` has made.
    points : int, default 500
        How many points to draw: half of them of every magnitude, half around 0. The
        numbers in the formula and their neighbours are added.
    seed : int, default 0
        Of the points.
    dtypes : sequence of dtype, optional
        float32 and float64, or one of them.
    **parameters : float
        Values of parameters in place of the defaults.

    Returns
    -------
    report : Report
        With an `Accuracy` for each dtype, of the value and of each derivative.

    Raises
    ------
    TypeError
        If it is no custom activation, has no such parameter, or a dtype is another.
    ImportError
        If mpmath is not installed.

    Notes
    -----
    The truth is the formula in mpmath, with as many digits as it takes; of derivatives it
    is a difference of two such values, so it does not depend on the rules by which they
    were made. Points without a truth (kinks, poles, values that are complex) are left out.

    Examples
    --------
    >>> print(fa.check(telu, a=0.5))
    """
    custom = getattr(activation, "_custom", None)
    if not isinstance(custom, Custom):
        raise TypeError(
            f"check takes what fastact.activation makes, not {activation!r}"
        )
    try:
        from mpmath import mp
    except ImportError as error:  # pragma: no cover - tested in a subprocess
        raise ImportError(
            "fastact.check needs mpmath, which is not installed: pip install mpmath"
        ) from error
    formula = custom.formula
    defaults = {p.name: p.default for p in formula.parameters}
    for name in parameters:
        if name not in defaults:
            allowed = ", ".join(defaults) or "it has none"
            raise TypeError(
                f"{formula.name} has no parameter {name!r}; allowed: {allowed}"
            )
    values = {n: float(v) for n, v in (defaults | parameters).items() if v is not None}
    accuracies: list[Accuracy] = []
    for dtype in map(np.dtype, dtypes):
        if dtype.char not in "fd":
            raise TypeError(f"dtypes must be float32 or float64, not {dtype}")
        rng = np.random.default_rng(seed)
        arrays = _points(formula.arrays, formula.term, dtype, points, rng)
        accuracies += _measure(mp, activation, custom, arrays, values, dtype)
    disagreements = _disagreements(activation, custom, values, seed)
    return Report(formula.name, tuple(accuracies), disagreements)


def _points(
    names: Sequence[str],
    term: Term,
    dtype: np.dtype[Any],
    count: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """Numbers of all magnitudes, ordinary ones, and those in the formula."""
    named = [t.number for t in ordered([term]) if t.number is not None]
    near = np.array([0.0, 1.0, *named, *(-n for n in named)]).astype(dtype)
    around = [np.nextafter(near, dtype.type(side)) for side in (-np.inf, np.inf)]
    special = np.unique(np.concatenate([near, *around]))
    found = {}
    integer = np.dtype(f"u{dtype.itemsize}")
    for name in names:
        bits = rng.integers(
            0, np.iinfo(integer).max, count // 2, integer, endpoint=True
        )
        drawn = [bits.view(dtype), 4 * rng.standard_normal(count - count // 2)]
        every = np.concatenate([*(d.astype(dtype) for d in drawn), special])
        # Several arguments: each meets every kind of the others
        found[name] = every if len(names) == 1 else rng.permutation(every)
    finite = np.logical_and.reduce([np.isfinite(a) for a in found.values()])
    return {name: a[finite] for name, a in found.items()}


def _results(
    activation: Any,
    custom: Custom,
    arrays: Mapping[str, NDArray[Any]],
    values: Mapping[str, float],
) -> dict[str, NDArray[Any]]:
    """The value and all derivatives, from the public functions."""
    inputs = [*arrays.values(), *values.values()]
    one = np.ones_like(next(iter(arrays.values())))
    found = {"value": activation(*inputs)}
    if len(arrays) == 1:
        (x,) = arrays
        found[f"d/d{x}"] = activation.derivative(*inputs)
    else:
        gradients = activation.backward(one, *inputs)
        found |= {f"d/d{n}": g for n, g in zip(arrays, gradients, strict=True)}
    if values:
        # Of one value for each element nothing is summed.
        wide = [np.full(one.shape, value) for value in values.values()]
        gradients = activation.parameter_backward(one, *arrays.values(), *wide)
        slopes = gradients[len(arrays) :]
        found |= {f"d/d{n}": g for n, g in zip(values, slopes, strict=True)}
    return found


def _measure(
    mp: Any,
    activation: Any,
    custom: Custom,
    arrays: Mapping[str, NDArray[Any]],
    values: Mapping[str, float],
    dtype: np.dtype[Any],
) -> list[Accuracy]:
    results = _results(activation, custom, arrays, values)
    # Parameters are cast to the dtype, too
    constants = {name: float(dtype.type(value)) for name, value in values.items()}
    limits = np.finfo(dtype)
    floor = int(limits.minexp) - int(limits.nmant)
    accuracies = []
    for quantity, result in results.items():
        name = quantity.removeprefix("d/d") if quantity != "value" else None
        compared = []
        for i, found in enumerate(result.tolist()):
            at = {n: float(a[i]) for n, a in arrays.items()}
            truth = _truth(mp, custom.formula.term, at | constants, name, floor)
            if truth is not None:
                error = _ulp(mp, found, truth, limits)
                compared.append((error, at, found, float(truth)))
        accuracies.append(_summary(quantity, dtype.name, compared))
    return accuracies


def _truth(
    mp: Any, term: Term, at: Mapping[str, float], name: str | None, floor: int
) -> Any:
    """The exact value or derivative, or None if there is none."""
    bits = _FIRST_BITS
    while bits <= _LAST_BITS:
        with mp.workprec(bits):
            exact = {n: mp.mpf(v) for n, v in at.items()}
            if name is None:
                found, good = _value(mp, term, exact, floor)
            else:
                found, good = _difference(mp, term, exact, name, floor)
            if good:
                return found
        bits *= 2
    return None


def _value(mp: Any, term: Term, at: Mapping[str, Any], floor: int) -> tuple[Any, bool]:
    """A value, and whether half the digits would have given the same."""
    found = _defined(mp, term, at)
    if found is None or mp.isinf(found):
        return found, True
    with mp.workprec(mp.prec // 2):
        less = _defined(mp, term, at)
    if less is None:
        return found, False
    close = max(mp.mag(found) - _GOOD_BITS, floor - 10)
    return found, found == less or mp.mag(found - less) <= close


def _defined(mp: Any, term: Term, at: Mapping[str, Any]) -> Any:
    found = mp.mpf(defined_term(mp, term, dict(at)))
    return None if mp.isnan(found) else found


def _difference(
    mp: Any, term: Term, at: Mapping[str, Any], name: str, floor: int
) -> tuple[Any, bool]:
    """The derivative as a difference, None at a kink or where there are no values.

    And whether the digits of the values suffice.
    """
    x = at[name]
    exponent = (mp.mag(x) if x else floor) - _STEP_BITS
    step = mp.ldexp(1, exponent)
    values = [_defined(mp, term, {**at, name: x + k * step}) for k in (-1, 0, 1)]
    if any(v is None or mp.isinf(v) for v in values):
        return None, True
    below, middle, above = values
    error = max(map(mp.mag, values)) + _LOST_BITS - mp.prec
    difference = above - below
    good = error <= max(mp.mag(difference) - _GOOD_BITS, floor - 10 + exponent)
    bend = abs((above - middle) - (middle - below))
    if good and mp.mag(bend) > max(mp.mag(difference) - 20, error + 4):
        return None, True
    return difference / (2 * step), good


def _ulp(mp: Any, found: float, truth: Any, limits: Any) -> float:
    """The distance of a result from the truth in units of the last place."""
    bits, smallest = int(limits.nmant) + 1, int(limits.minexp) - int(limits.nmant)
    largest = mp.mpf(float(limits.max))
    unit = mp.ldexp(1, max(mp.mag(truth) - bits, smallest)) if truth else (
        mp.ldexp(1, smallest)
    )  # fmt: skip
    overflows = abs(truth) >= largest + mp.ldexp(1, mp.mag(largest) - bits - 1)
    if overflows or not np.isfinite(found):
        right = overflows and found == float(mp.sign(truth)) * np.inf
        return 0.0 if right else np.inf
    return float(abs(mp.mpf(found) - truth) / unit)


def _summary(quantity: str, dtype: str, compared: list[Any]) -> Accuracy:
    if not compared:
        nowhere: dict[str, float] = {}
        return Accuracy(quantity, dtype, 0, np.nan, nowhere, np.nan, np.nan, ())
    worst = max(compared, key=lambda found: found[0])
    error, at, found, expected = worst
    regions = _regions([(next(iter(c[1].values())), c[0]) for c in compared])
    return Accuracy(quantity, dtype, len(compared), error, at, found, expected, regions)


def _regions(errors: list[tuple[float, float]]) -> tuple[Region, ...]:
    """Runs of neighbouring points with a large error, the worst first."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in sorted(errors):
        if point[1] > _MANY_ULP:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    regions = [
        Region(run[0][0], run[-1][0], max(error for _, error in run))
        for run in runs
        if run
    ]
    regions.sort(key=lambda region: -region.ulp)
    return tuple(regions[:_MOST_REGIONS])


def _disagreements(
    activation: Any, custom: Custom, values: Mapping[str, float], seed: int
) -> dict[str, float]:
    """How far the results are from the function itself and its finite differences."""
    rng = np.random.default_rng(seed)
    names = custom.formula.arrays
    arrays = {name: 2 * rng.standard_normal(200) for name in names}
    results = _results(activation, custom, arrays, values)
    inputs = arrays | {n: np.full(200, value) for n, value in values.items()}

    def python(changed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        function: Callable[..., Any] = activation.__wrapped__
        rows = zip(*{**inputs, **changed}.values(), strict=True)
        with np.errstate(all="ignore"):
            return np.array([_or_nan(function, row) for row in rows], float)

    found = {"value": _disagreement(results["value"], python({}))}
    step = 2.0**-17
    for name, x in inputs.items():
        above, below = python({name: x + step}), python({name: x - step})
        difference = (above - below) / (2 * step)
        found[f"d/d{name}"] = _disagreement(results[f"d/d{name}"], difference)
    return found


def _or_nan(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return function(*arguments)
    except (ValueError, ArithmeticError):  # math raises where NumPy gives NaN
        return np.nan


def _disagreement(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The typical largest distance; a few points may lie at a kink."""
    known = np.isfinite(found) & np.isfinite(expected)
    if not known.any():
        return float("nan")
    distance = np.abs(found[known] - expected[known])
    scale = max(float(np.abs(expected[known]).max()), 1e-300)
    return float(np.quantile(distance, 0.98)) / scale
