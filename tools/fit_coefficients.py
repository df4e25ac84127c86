"""Compute the polynomial coefficients used by the kernels.

    python tools/fit_coefficients.py [name ...]

Names: roots, exp, exp_long, exp_by_value, log1p, log, artanh, normal_tail,
normal_tail_quotient, gelu_slope_quotient, erf, logcosh, logcosh_tail,
tanhshrink, tanhshrink_divisor, tanh_squared_divisor, tanh, tanh_near, lisht, lisht_slope,
sine, arctan, telu_slope, dish_slope, gelu_tanh_slope, mish, mish_slope,
softplus, softplus_tail; all of them when no name is given.
Needs mpmath (gmpy2 makes it faster) and NumPy; it is a development tool,
nothing at run time imports it.

Every fit is a minimax fit (Remez exchange) followed by a rounding step that
picks the coefficients *jointly* on the grid of the target dtype.  The printed
error is measured afterwards, with the rounded coefficients, in multiprecision
arithmetic on a grid that the fit has not seen.  It is the approximation error
alone: rounding inside a kernel's own arithmetic comes on top of it.

Sources
  Remez exchange, weighted, also for quotients of polynomials: J.-M. Muller,
    "Elementary Functions", 3rd ed. (2016), ch. 3.
  Joint rounding as a closest-vector problem: N. Brisebarre, S. Chevillard,
    "Efficient polynomial L-infinity approximations", ARITH-18 (2007); L. Babai,
    "On Lovasz' lattice reduction and the nearest lattice point problem",
    Combinatorica 6 (1986).
  log1p as 2 artanh(u/(2+u)): fdlibm, e_log.c and s_log1p.c.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import mpmath as mp
import numpy as np
from mpmath import mpf

# The linear systems in powers of t lose some 20 digits at degree 30; the rest
# must still be far below 2^-60.
mp.mp.dps = 90

DIGITS = {"float32": 9, "float64": 17}
MANTISSA = {"float32": 24, "float64": 53}
# 16-bit types are computed in float32, with shorter polynomials.
FORMATS = {"float16": "float32", "float32": "float32", "float64": "float64"}
FIT_POINTS = 1200
CHECK_POINTS = 5003
ROUNDING_TRIALS = 3000


class Failed(Exception):
    """The exchange did not converge."""


class Point(NamedTuple):
    """The error of an approximation p at x is w*(p(x) - f)."""

    x: mpf
    f: mpf
    w: mpf


# ---------------------------------------------------------------- functions

# Each target function returns (f, w); points where f is a removable
# singularity get the limit.
Target = Callable[[mpf], tuple[mpf, mpf]]

INV_SQRT_2PI = 1 / mp.sqrt(2 * mp.pi)


def mills(a: mpf) -> mpf:
    """R(a) = (1 - Phi(a)) exp(a^2/2)."""
    return mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2) / 2


GELU_ROOT = mp.findroot(lambda a: mills(a) - a * INV_SQRT_2PI, mpf("0.7518"))

GELU_LARGEST_A = {"float32": mpf("14.5"), "float64": mpf(39)}


def exp_target(r: mpf) -> tuple[mpf, mpf]:
    if r == 0:
        return mpf(1) / 2, mpf(0)
    return (mp.expm1(r) - r) / r**2, r**2 / abs(mp.expm1(r))


def exp_by_value_target(r: mpf) -> tuple[mpf, mpf]:
    f, _ = exp_target(r)
    return f, r**2 * mp.exp(-r)


def log1p_target(u: mpf) -> tuple[mpf, mpf]:
    if u == 0:
        return mpf(-1) / 2, mpf(0)
    return (mp.log1p(u) - u) / u**2, u**2 / abs(mp.log1p(u))


def artanh_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(1) / 3, mpf(0)
    s = mp.sqrt(z)
    ratio = mp.atanh(s) / s
    return (ratio - 1) / z, z / ratio


ERF_SLOPE = 1 / mp.sqrt(mp.pi)


def erf_target(t: mpf) -> tuple[mpf, mpf]:
    if t == 0:
        return 1 / mp.pi, mpf(0)
    rest = mp.erfc(t)
    f = (-mp.log(rest) / (2 * t) - ERF_SLOPE) / t
    return f, 2 * t * t * rest / mp.erf(t)


class Reciprocal(NamedTuple):
    """The variable r - middle, r = scale / (a + k)."""

    k: mpf
    scale: mpf
    middle: mpf

    def interval(self, dtype: str) -> tuple[mpf, mpf]:
        low, high = GELU_LARGEST_A[dtype] + self.k, self.k
        return self.scale / low - self.middle, self.scale / high - self.middle

    def target(self, value: Callable[[mpf], mpf]) -> Target:
        """For 1 + P, of a relative error."""

        def target(v: mpf) -> tuple[mpf, mpf]:
            f = value(self.scale / (v + self.middle) - self.k)
            return f - 1, 1 / f

        return target


# k and the scale are such that |P| < 1/4, a quarter of what it is added to; the middle
# such that high powers of r - middle do not cancel at either end.
NORMAL_TAIL = Reciprocal(mpf(47) / 32, mpf(301) / 512, mpf(151) / 1024)


def normal_tail_target(v: Reciprocal) -> Target:
    return v.target(lambda a: (a + v.k) * mills(a) / v.scale)


def gelu_slope(a: mpf) -> mpf:
    return 2 * (mills(a) - a * INV_SQRT_2PI) / (GELU_ROOT - a)


# (a + k) (1 - Phi(a)) exp(a^2/2) varies least for a k of about 13/16, and is then within
# a tenth of the scale.
TAIL_K, TAIL_SCALE = mpf(13) / 16, mpf(7) / 16


# Far from zero the slope, relative to its value at zero, is about 7/8.
SLOPE_MIDDLE = mpf(1) / 8


def normal_tail_quotient_target(a: mpf) -> tuple[mpf, mpf]:
    f = (a + TAIL_K) * mills(a) / TAIL_SCALE
    return f - 1, 1 / f


def gelu_slope_quotient_target(a: mpf) -> tuple[mpf, mpf]:
    # The quotient loses -log10|a - GELU_ROOT| digits; no point of a sample is so near to
    # the root that this would matter at 90 digits.
    f = gelu_slope(a)
    return f - 1 + SLOPE_MIDDLE, 1 / f


def logcosh_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(-1) / 12, mpf(0)
    exact = mp.log(mp.cosh(mp.sqrt(z)))
    return (exact - z / 2) / z**2, z**2 / exact


def logcosh_tail_target(u: mpf) -> tuple[mpf, mpf]:
    if u == 0:
        return mpf(1), mpf(0)
    a = -mp.log(u) / 2
    return mp.log1p(u) / u, u / mp.log(mp.cosh(a))


# Where log1p(exp(-a)) happens to lie close to a number of the dtype
SOFTPLUS_MIDDLE = mpf(15) / 32
SOFTPLUS_EDGE = mpf(17) / 16


def softplus_target(v: mpf) -> tuple[mpf, mpf]:
    exact = mp.log1p(mp.exp(-SOFTPLUS_MIDDLE - v))
    if abs(v) < mpf(10) ** -40:
        return -1 / (1 + mp.exp(SOFTPLUS_MIDDLE)), mpf(0)
    return (exact - mp.log1p(mp.exp(-SOFTPLUS_MIDDLE))) / v, abs(v) / exact


def tanhshrink_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(-2) / 15, mpf(0)
    a = mp.sqrt(z)
    f = (a - mp.tanh(a)) / a**3
    return (f - mpf(1) / 3) / z, z / f


def tanhshrink_divisor_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(6) / 5, mpf(0)
    a = mp.sqrt(z)
    f = a**3 / (a - mp.tanh(a))
    return (f - 3) / z, z / f


def tanh_squared_divisor_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(2) / 3, mpf(0)
    f = z / mp.tanh(mp.sqrt(z)) ** 2
    return (f - 1) / z, z / f


def tanh_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(-1) / 3, mpf(0)
    a = mp.sqrt(z)
    return (mp.tanh(a) - a) / a**3, a**3 / mp.tanh(a)


def lisht_slope_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(-4) / 3, mpf(0)
    a = mp.sqrt(z)
    slope = mp.tanh(a) + a * mp.sech(a) ** 2
    return (slope - 2 * a) / a**3, a**3 / slope


def sine_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(-1) / 6, mpf(0)
    a = mp.sqrt(z)
    return (mp.sin(a) - a) / a**3, a**3 / mp.sin(a)


def arctan_target(z: mpf) -> tuple[mpf, mpf]:
    if z == 0:
        return mpf(-1) / 3, mpf(0)
    t = mp.sqrt(z)
    return (mp.atan(t) - t) / t**3, t**3 / mp.atan(t)


def telu_slope(x: mpf) -> mpf:
    e = mp.exp(x)
    return mp.tanh(e) + x * e * mp.sech(e) ** 2


def dish_slope(x: mpf) -> mpf:
    s = x / mp.sqrt(1 + x * x)
    return (1 + s) * (1 + s - s * s) / 2


def gelu_tanh_slope(x: mpf) -> mpf:
    c, k = mp.sqrt(2 / mp.pi), mpf("0.044715")
    t = mp.tanh(c * (x + k * x**3))
    return ((1 + t) + x * (1 - t * t) * c * (1 + 3 * k * x * x)) / 2


def mish_slope(x: mpf) -> mpf:
    t = mp.tanh(mp.log1p(mp.exp(x)))
    return t + x * (1 - t * t) / (1 + mp.exp(-x))


GELU_TANH_ROOT = mp.findroot(gelu_tanh_slope, mpf("-0.7525"))
# Where mish(x) / x happens to lie close to a number of the dtype
MISH_MIDDLE = mpf(-9) / 32


def mish_target(d: mpf) -> tuple[mpf, mpf]:
    f = mp.tanh(mp.log1p(mp.exp(d + MISH_MIDDLE)))
    return f, 1 / f


MISH_ROOT = mp.findroot(mish_slope, mpf("-1.1924"))
TELU_ROOT = mp.findroot(telu_slope, mpf("-1.08"))
DISH_ROOT = mp.findroot(dish_slope, mpf("-0.79"))


def near_root_target(slope: Callable[[mpf], mpf], root: mpf) -> Target:
    def target(d: mpf) -> tuple[mpf, mpf]:
        # The quotient loses -log10|d| digits; the middle of a grid may be 1e-90.
        at_root = abs(d) < mpf(10) ** -40
        f = mp.diff(slope, root) if at_root else slope(root + d) / d
        return f, 1 / f

    return target


def chord_target(slope: Callable[[mpf], mpf], root: mpf, middle: mpf) -> Target:
    target = near_root_target(slope, root)
    return lambda v: target(middle + v - root)


# As for mish; telu's in float64 is close to the root
TELU_MIDDLE = {"float32": mpf(-47) / 32, "float64": mpf(-69) / 64}
GELU_TANH_SLOPE_MIDDLE = mpf(-13) / 16
MISH_SLOPE_MIDDLE = mpf(-7) / 8


def sample_of(target: Target, interval: tuple[mpf, mpf], count: int) -> list[Point]:
    """The target on Chebyshev points, which cluster at both ends."""
    low, high = interval
    middle, half = (low + high) / 2, (high - low) / 2
    xs = [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]
    xs[0], xs[-1] = low, high
    points = [Point(x, *target(x)) for x in xs]
    return [point for point in points if point.w != 0]


# -------------------------------------------------------------------- remez


def sample_of_tail(target: Target, largest: mpf, count: int) -> list[Point]:
    """The target for 0 <= a <= largest, on points that are dense where it curves.

    They are Chebyshev points of t = (a - k) / (a + k).
    """
    k = mpf(3) / 2
    edge = (largest - k) / (largest + k)
    places = sample_of(lambda t: (t, mpf(1)), (mpf(-1), edge), count)
    sizes = [k * (1 + t) / (1 - t) for t, _, _ in places]
    return [Point(a, *target(a)) for a in sizes]


def evaluate(coefficients: list[mpf], x: mpf) -> mpf:
    return mp.polyval(coefficients[::-1], x)


def worst_error(p: list[mpf], sample: list[Point]) -> mpf:
    return max(abs(w * (evaluate(p, x) - f)) for x, f, w in sample)


def alternation(error: list[mpf], size_of: list[mpf], size: int) -> list[int]:
    """The next reference: the largest error in each run of one sign."""
    peaks: list[int] = []
    run_sign = 0
    for i, e in enumerate(error):
        sign = mp.sign(e)
        if sign == 0 or size_of[i] == 0:
            continue
        if sign != run_sign:
            peaks.append(i)
            run_sign = sign
        elif size_of[i] > size_of[peaks[-1]]:
            peaks[-1] = i
    if len(peaks) < size:
        raise Failed("too few alternations")
    while len(peaks) > size:
        # Dropping an end keeps the alternation, as does dropping a pair.
        if len(peaks) == size + 1:
            peaks.pop(0 if size_of[peaks[0]] < size_of[peaks[-1]] else -1)
        else:
            k = min(
                range(len(peaks) - 1),
                key=lambda k: max(size_of[peaks[k]], size_of[peaks[k + 1]]),
            )
            del peaks[k : k + 2]
    return peaks


def remez(
    sample: list[Point], degree: int, fixed: mpf | None = None
) -> tuple[mpf, list[mpf]]:
    """The minimax error on the sample, and the polynomial.

    `fixed` is None, or a value for the constant coefficient.
    """
    free = range(0 if fixed is None else 1, degree + 1)
    size = len(free) + 1  # coefficients and the levelled error

    def solve(points: list[int]) -> tuple[list[mpf], mpf]:
        """p and E such that w (p - f) = +-E at the points."""
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
        for row, (x, f, w) in enumerate(sample[i] for i in points):
            for column, k in enumerate(free):
                matrix[row, column] = x**k
            matrix[row, size - 1] = -((-1) ** row) / w
            right[row] = f - (fixed or 0)
        *p, level = mp.lu_solve(matrix, right)
        return ([] if fixed is None else [fixed]) + p, level

    # Start from Chebyshev nodes: the sample makes the index an angle.
    last = len(sample) - 1
    reference = [round(last * (i + 0.5) / size) for i in range(size)]
    best: tuple[mpf, list[mpf]] = mp.inf, []
    for _ in range(60):
        p, level = solve(reference)
        error = [evaluate(p, x) - f for x, f, _ in sample]
        size_of = [abs(e * w) for e, (_, _, w) in zip(error, sample, strict=True)]
        worst = max(size_of)
        if worst < best[0]:
            best = worst, p
        if worst <= abs(level) * mpf("1.0005"):
            break

        reference = alternation(error, size_of, size)
    return best


def remez_quotient(
    sample: list[Point], degrees: tuple[int, int]
) -> tuple[mpf, list[mpf], list[mpf]]:
    """The minimax error on the sample, and P and D of the quotient P / D, D[0] = 1."""
    of_p, of_d = degrees
    size = of_p + of_d + 2  # coefficients and the levelled error

    def step(
        points: list[int], level: mpf, d: list[mpf]
    ) -> tuple[mpf, list[mpf], list[mpf]]:
        """A Newton step to P and D with P - (f +- level/w) D = 0 at the points."""
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
        for row, (x, f, w) in enumerate(sample[i] for i in points):
            unit = (-1) ** row / w
            for k in range(of_p + 1):
                matrix[row, k] = x**k
            for k in range(1, of_d + 1):
                matrix[row, of_p + k] = -(f + level * unit) * x**k
            matrix[row, size - 1] = -unit * evaluate(d, x)
            right[row] = f + level * unit
        *p_and_d, change = mp.lu_solve(matrix, right)
        return level + change, p_and_d[: of_p + 1], [mpf(1), *p_and_d[of_p + 1 :]]

    last = len(sample) - 1
    reference = [round(last * (i + 0.5) / size) for i in range(size)]
    level, d = mpf(0), [mpf(1)]
    best: tuple[mpf, list[mpf], list[mpf]] = mp.inf, [], []
    for _ in range(40):
        for _ in range(8):
            before = level
            level, p, d = step(reference, level, d)
            if abs(level - before) < abs(level) * mpf("1e-8"):
                break
        error = [evaluate(p, x) / evaluate(d, x) - f for x, f, _ in sample]
        size_of = [abs(e * w) for e, (_, _, w) in zip(error, sample, strict=True)]
        worst = max(size_of)
        if worst < best[0]:
            best = worst, p, d
        if worst <= abs(level) * mpf("1.0005"):
            break
        reference = alternation(error, size_of, size)
    return best


# ----------------------------------------------------------------- rounding


def ulp(value: mpf, bits: int) -> mpf:
    return mpf(2) ** (mp.floor(mp.log(abs(value), 2)) + 1 - bits)


def round_to(value: mpf, bits: int) -> mpf:
    unit = ulp(value, bits)
    return mp.nint(value / unit) * unit


def round_jointly(
    p: list[mpf], bits: int, sample: list[Point], frozen: list[int]
) -> list[mpf]:
    """Round p to `bits` bits so that the rounding errors cancel.

    The error is e + J d, d being the change of the coefficients in ulps.
    Rounding one coefficient and refitting the others, one after the other, is
    Babai's nearest-plane method on the lattice spanned by J; the order matters,
    so many are tried.  Independent rounding would leave up to half an ulp in
    the leading terms, above the float32 targets.
    """
    units = [ulp(c, bits) for c in p]
    nearest = [mp.nint(c / u) for c, u in zip(p, units, strict=True)]
    offset = np.array(
        [float(k - c / u) for k, c, u in zip(nearest, p, units, strict=True)]
    )
    free = [i for i in range(len(p)) if i not in frozen]
    scale = mpf(2) ** (bits + 3)  # keeps the float64 arithmetic below near 1
    base = np.empty(len(sample))
    jacobian = np.empty((len(sample), len(p)))
    for row, (x, f, w) in enumerate(sample):
        base[row] = float(scale * w * (evaluate(p, x) - f))
        for k in range(len(p)):
            jacobian[row, k] = float(scale * w * x**k * units[k])
    pushed = jacobian[:, frozen] @ offset[frozen]

    rng = np.random.default_rng(0)
    norms = np.linalg.norm(jacobian[:, free], axis=0)
    candidates: dict[tuple[int, ...], float] = {}
    for trial in range(ROUNDING_TRIALS):
        # The last column is rounded first and its error absorbed by the rest,
        # so the most sensitive belongs there; perturb that order at random.
        noise = rng.normal(scale=min(2.0, trial / 300), size=len(free))
        order = [free[i] for i in np.argsort(np.log(norms) + noise)]
        q, r = np.linalg.qr(jacobian[:, order])
        start = offset[order]
        wanted = q.T @ -(pushed + jacobian[:, order] @ start)
        steps = np.zeros(len(order))
        for i in range(len(order) - 1, -1, -1):
            steps[i] = np.rint((wanted[i] - r[i, i + 1 :] @ steps[i + 1 :]) / r[i, i])
        error = base + pushed + jacobian[:, order] @ (start + steps)
        total = np.zeros(len(p), dtype=np.int64)
        total[order] = steps
        candidates[tuple(total.tolist())] = float(np.abs(error).max())
    results = []
    for chosen in sorted(candidates, key=candidates.__getitem__)[:6]:
        rounded = [(k + d) * u for k, d, u in zip(nearest, chosen, units, strict=True)]
        # A coefficient that crossed a power of two may need one bit more.
        results.append([round_to(c, bits) for c in rounded])
    return min(results, key=lambda result: worst_error(result, sample))


# ---------------------------------------------------------------------- fits


@dataclass
class Fit:
    what: str
    target: dict[str, Target]
    interval: dict[str, tuple[mpf, mpf]]
    bits: dict[str, float]  # the error must be at most 2^-bits
    start: dict[str, int]  # the first degree to try
    # Values for P[0], tried in this order; None leaves it free.
    fixed: list[mpf | None] = field(default_factory=lambda: [None])
    k: dict[str, mpf] | None = None


LN2_HALF = mp.log(2) / 2 * (1 + mpf(2) ** -12)


FITS = {
    "exp": Fit(
        what="e^r = 1 + r + r^2 P(r), |r| <= 0.5 ln2 (1 + 2^-12); "
        "error relative to expm1(r)",
        target=dict.fromkeys(FORMATS, exp_target),
        interval=dict.fromkeys(FORMATS, (-LN2_HALF, LN2_HALF)),
        bits={"float16": 20, "float32": 26.0, "float64": 57},
        start={"float16": 1, "float32": 2, "float64": 7},
        # 1/2 is exact; tried before a free P[0].
        fixed=[mpf(1) / 2, None],
    ),
    "exp_long": Fit(
        what="e^r = 1 + r + r^2 P(r), |r| <= 0.5 ln2 (1 + 2^-12); "
        "error relative to expm1(r)",
        target={"float32": exp_target},
        interval={"float32": (-LN2_HALF, LN2_HALF)},
        bits={"float32": 28},
        start={"float32": 4},
        fixed=[mpf(1) / 2],
    ),
    "exp_by_value": Fit(
        what="e^r = 1 + r + r^2 P(r), |r| <= 0.5 ln2 (1 + 2^-12); relative error",
        target=dict.fromkeys(DIGITS, exp_by_value_target),
        interval=dict.fromkeys(DIGITS, (-LN2_HALF, LN2_HALF)),
        bits={"float32": 27.5, "float64": 57.5},
        start={"float32": 2, "float64": 8},
        fixed=[mpf(1) / 2, None],
    ),
    "log1p": Fit(
        what="log1p(u) = u + u^2 P(u), u in [0, 1]; error relative to log1p(u)",
        target={"float16": log1p_target, "float32": log1p_target},
        interval={"float16": (mpf(0), mpf(1)), "float32": (mpf(0), mpf(1))},
        bits={"float16": 19, "float32": 27},
        start={"float16": 4, "float32": 7},
    ),
    "log": Fit(
        what="log(1 + f) = f + f^2 P(f), 1 + f in [sqrt(1/2), sqrt(2)]; "
        "error relative to log(1 + f)",
        target={"float32": log1p_target},
        interval={"float32": (mp.sqrt(0.5) - 1, mp.sqrt(2) - 1)},
        bits={"float32": 27},
        start={"float32": 5},
        fixed=[mpf(-1) / 2],
    ),
    "artanh": Fit(
        what="artanh(s) = s + s^3 P(s^2), |s| <= 1/3; error relative to artanh(s)",
        target=dict.fromkeys(DIGITS, artanh_target),
        interval=dict.fromkeys(DIGITS, (mpf(0), mpf(1) / 9)),
        bits={"float32": 28, "float64": 57},
        start={"float32": 1, "float64": 5},
    ),
    "erf": Fit(
        what="erf(t) = 1 - exp(-2t (1/sqrt(pi) + t P(t))), 0 <= t <= 4 (6 in float64); "
        "error relative to erf(t)",
        target=dict.fromkeys(DIGITS, erf_target),
        interval={"float32": (mpf(0), mpf(4)), "float64": (mpf(0), mpf(6))},
        bits={"float32": 27, "float64": 56.5},
        start={"float32": 6, "float64": 22},
    ),
    "normal_tail": Fit(
        what="(1 - Phi(a)) exp(a^2/2) = r (1 + P(r - 151/1024)), "
        "r = 301/512 / (a + 47/32); relative error",
        target=dict.fromkeys(("float16", "float32"), normal_tail_target(NORMAL_TAIL)),
        interval=dict.fromkeys(("float16", "float32"), NORMAL_TAIL.interval("float32")),
        bits={"float16": 20, "float32": 28},
        start={"float16": 7, "float32": 13},
    ),
    "logcosh": Fit(
        what="log(cosh(a)) = a^2/2 + a^4 P(a^2), |a| <= 1; relative error",
        target=dict.fromkeys(DIGITS, logcosh_target),
        interval=dict.fromkeys(DIGITS, (mpf(0), mpf(1))),
        bits={"float32": 27, "float64": 56},
        start={"float32": 3, "float64": 10},
    ),
    "logcosh_tail": Fit(
        what="log1p(u) = u P(u), u = exp(-2a), a >= 1; error relative to log(cosh(a))",
        target=dict.fromkeys(DIGITS, logcosh_tail_target),
        interval=dict.fromkeys(DIGITS, (mpf(0), mp.exp(-2) * (1 + mpf(2) ** -20))),
        bits={"float32": 27, "float64": 56},
        start={"float32": 2, "float64": 7},
        fixed=[mpf(1), None],
    ),
    "softplus": Fit(
        what="log1p(exp(-k - v)) = log1p(exp(-k)) + v P(v), 0 <= k + v <= 17/16; "
        "relative error",
        target={"float32": softplus_target},
        interval={"float32": (-SOFTPLUS_MIDDLE, SOFTPLUS_EDGE - SOFTPLUS_MIDDLE)},
        bits={"float32": 26},
        start={"float32": 4},
    ),
    "softplus_tail": Fit(
        what="log1p(u) = u + u^2 P(u), u = exp(-a), a >= 17/16; error relative to log1p(u)",
        target={"float32": log1p_target},
        interval={"float32": (mpf(0), mp.exp(mpf(-17) / 16))},
        bits={"float32": 27},
        start={"float32": 3},
    ),
    "tanhshrink": Fit(
        what="a - tanh(a) = a^3/3 + a^5 P(a^2), |a| <= 1; relative error",
        target={"float64": tanhshrink_target},
        interval={"float64": (mpf(0), mpf(1))},
        bits={"float64": 56},
        start={"float64": 12},
    ),
    "tanhshrink_divisor": Fit(
        what="a - tanh(a) = a^3 / (3 + a^2 P(a^2)), |a| <= 11/8; relative error",
        target={"float32": tanhshrink_divisor_target},
        interval={"float32": (mpf(0), (mpf(11) / 8) ** 2)},
        bits={"float32": 27},
        start={"float32": 2},
    ),
    "tanh_squared_divisor": Fit(
        what="tanh(a)^2 = a^2 / (1 + a^2 P(a^2)), |a| <= 21/16; relative error",
        target={"float32": tanh_squared_divisor_target},
        interval={"float32": (mpf(0), (mpf(21) / 16) ** 2)},
        bits={"float32": 27},
        start={"float32": 2},
    ),
    "tanh": Fit(
        what="tanh(a) = a + a^3 P(a^2), |a| <= 11/16; relative error",
        target={"float32": tanh_target},
        interval={"float32": (mpf(0), (mpf(11) / 16) ** 2)},
        bits={"float32": 26},
        start={"float32": 3},
    ),
    "tanh_near": Fit(
        what="tanh(a) = a + a^3 P(a^2), |a| <= 5/16; relative error",
        target={"float32": tanh_target},
        interval={"float32": (mpf(0), (mpf(5) / 16) ** 2)},
        bits={"float32": 26},
        start={"float32": 1},
    ),
    "lisht": Fit(
        what="a tanh(a) = a^2 + a^4 P(a^2), |a| <= 25/32; relative error",
        target={"float32": tanh_target},
        interval={"float32": (mpf(0), (mpf(25) / 32) ** 2)},
        bits={"float32": 26},
        start={"float32": 4},
    ),
    "lisht_slope": Fit(
        what="tanh(a) + a sech(a)^2 = 2a + a^3 P(a^2), |a| <= 17/32; relative error",
        target={"float32": lisht_slope_target},
        interval={"float32": (mpf(0), (mpf(17) / 32) ** 2)},
        bits={"float32": 26},
        start={"float32": 2},
    ),
    "sine": Fit(
        what="sin(e) = e + e^3 P(e^2), |e| <= pi/4 (1 + 2^-10); relative error",
        target=dict.fromkeys(FORMATS, sine_target),
        interval=dict.fromkeys(
            FORMATS, (mpf(0), (mp.pi / 4 * (1 + mpf(2) ** -10)) ** 2)
        ),
        bits={"float16": 27, "float32": 30, "float64": 56},
        start={"float16": 2, "float32": 3, "float64": 4},
    ),
    "arctan": Fit(
        what="arctan(t) = t + t^3 P(t^2), |t| <= tan(pi/8) (1 + 2^-10); relative error",
        target=dict.fromkeys(DIGITS, arctan_target),
        interval=dict.fromkeys(
            DIGITS, (mpf(0), (mp.tan(mp.pi / 8) * (1 + mpf(2) ** -10)) ** 2)
        ),
        bits={"float32": 28, "float64": 56},
        start={"float32": 3, "float64": 7},
    ),
    "telu_slope": Fit(
        what="telu'(k + v) = (k + v - r) P(v), r its root, -2 <= k + v <= -7/8 in "
        "float32, |v| <= 2^-5 in float64; relative error",
        target={
            d: chord_target(telu_slope, TELU_ROOT, k) for d, k in TELU_MIDDLE.items()
        },
        interval={
            "float32": (mpf(-17) / 32, mpf(19) / 32),
            "float64": (-(mpf(2) ** -5), mpf(2) ** -5),
        },
        bits={"float32": 26, "float64": 54.7},
        start={"float32": 4, "float64": 3},
        k=TELU_MIDDLE,
    ),
    "dish_slope": Fit(
        what="dish'(r + d) = d P(d), r its root, |d| <= 2^-10; relative error",
        target=dict.fromkeys(DIGITS, near_root_target(dish_slope, DISH_ROOT)),
        interval=dict.fromkeys(DIGITS, (-(mpf(2) ** -10), mpf(2) ** -10)),
        bits={"float32": 25.4, "float64": 54.5},
        start={"float32": 1, "float64": 3},
    ),
    "gelu_tanh_slope": Fit(
        what="gelu_tanh'(x) = (x - r) P(x - k), r its root, -21/16 <= x <= 3/8; "
        "relative error",
        target={
            "float32": chord_target(
                gelu_tanh_slope, GELU_TANH_ROOT, GELU_TANH_SLOPE_MIDDLE
            )
        },
        interval={
            "float32": (
                mpf(-21) / 16 - GELU_TANH_SLOPE_MIDDLE,
                mpf(3) / 8 - GELU_TANH_SLOPE_MIDDLE,
            )
        },
        bits={"float32": 27.5},
        start={"float32": 8},
        k={"float32": GELU_TANH_SLOPE_MIDDLE},
    ),
    "mish": Fit(
        what="mish(x) = x P(x - k), -17/16 <= x <= 11/16; relative error",
        target={"float32": mish_target},
        interval={"float32": (mpf(-25) / 32, mpf(31) / 32)},
        bits={"float32": 27},
        start={"float32": 6},
    ),
    "mish_slope": Fit(
        what="mish'(x) = (x - r) P(x - k), r its root, -2 <= x <= 1/2, in float32; "
        "(x - r) P(x - r), -11/8 <= x <= 1/8, in float64; relative error",
        target={
            "float32": chord_target(mish_slope, MISH_ROOT, MISH_SLOPE_MIDDLE),
            "float64": near_root_target(mish_slope, MISH_ROOT),
        },
        interval={
            "float32": (
                mpf(-2) - MISH_SLOPE_MIDDLE,
                mpf(1) / 2 - MISH_SLOPE_MIDDLE,
            ),
            "float64": (mpf(-11) / 8 - MISH_ROOT, mpf(1) / 8 - MISH_ROOT),
        },
        bits={"float32": 26.5, "float64": 53},
        start={"float32": 9, "float64": 18},
        k={"float32": MISH_SLOPE_MIDDLE},
    ),
}


@dataclass
class QuotientFit:
    what: str
    target: Target
    degrees: dict[str, tuple[int, int]]  # of P and D
    # D[0], for which rounding costs little; where there is none, D's last coefficient is 1.
    first: dict[str, mpf]


QUOTIENT_FITS = {
    "normal_tail_quotient": QuotientFit(
        what="(1 - Phi(a)) exp(a^2/2) = 7/16 (1 + P(a)/D(a)) / (a + 13/16); "
        "relative error",
        target=normal_tail_quotient_target,
        degrees={"float32": (5, 5), "float64": (10, 10)},
        first={"float32": mpf(1)},
    ),
    "gelu_slope_quotient": QuotientFit(
        what="2 ((1 - Phi(a)) exp(a^2/2) - a/sqrt(2 pi)) / (r0 - a) = 7/8 + P(a)/D(a), "
        "r0 the root of the numerator; relative error",
        target=gelu_slope_quotient_target,
        degrees={"float32": (4, 4), "float64": (10, 9)},
        first={"float32": mpf(105) / 64},
    ),
}


def fit_quotient(name: str, dtype: str) -> None:
    """Fit P / D. P is fitted again, and rounded jointly, after D has been rounded."""
    spec, bits = QUOTIENT_FITS[name], MANTISSA[dtype]
    degrees, largest = spec.degrees[dtype], GELU_LARGEST_A[dtype]
    sample, check = (
        sample_of_tail(spec.target, largest, count)
        for count in (FIT_POINTS, CHECK_POINTS)
    )
    ideal, _, d = remez_quotient(sample, degrees)
    unit = d[0] / spec.first[dtype] if dtype in spec.first else d[-1]
    d = [round_to(c / unit, bits) for c in d]

    def times_d(points: list[Point]) -> list[Point]:
        """What P alone has to be, given D."""
        return [Point(x, f * evaluate(d, x), w / evaluate(d, x)) for x, f, w in points]

    _, p = remez(times_d(sample), degrees[0])
    p = round_jointly(p, bits, times_d(sample[::3]), [])
    error = worst_error(p, times_d(check))
    print(f"{name} {dtype}: degrees {degrees}")
    print(f"  {spec.what}")
    print(f"  0 <= a <= {mp.nstr(largest, 10)}")
    print(f"  max error 2^{log2(error)} (2^{log2(ideal)} before rounding)")
    for letter, coefficients in (("P", p), ("D", d)):
        print(f"  {letter} =")
        print_coefficients(coefficients, dtype)
    print(flush=True)


def fit(name: str, dtype: str) -> None:
    spec, bits = FITS[name], MANTISSA[FORMATS[dtype]]
    limit = mpf(2) ** -spec.bits[dtype]
    sample = sample_of(spec.target[dtype], spec.interval[dtype], FIT_POINTS)
    check = sample_of(spec.target[dtype], spec.interval[dtype], CHECK_POINTS)
    for degree in range(spec.start[dtype], spec.start[dtype] + 15):
        for fixed in spec.fixed:
            try:
                ideal, p = remez(sample, degree, fixed)
            except Failed as reason:
                note(name, dtype, degree, str(reason))
                continue
            if ideal > limit:
                note(name, dtype, degree, f"2^{log2(ideal)} before rounding")
                continue
            frozen = [] if fixed is None else [0]
            p = round_jointly(p, bits, sample[::3], frozen)
            error = worst_error(p, check)
            if error <= limit:
                report(name, dtype, ideal, error, p, check)
                return
            note(name, dtype, degree, f"2^{log2(error)} after rounding")
    print(f"{name} {dtype}: no fit meets the target\n", flush=True)


def log2(value: mpf) -> str:
    return str(mp.nstr(mp.log(value, 2), 5))


def note(name: str, dtype: str, degree: int, text: str) -> None:
    print(f"  {name} {dtype} {degree}: {text}", file=sys.stderr, flush=True)


def report(
    name: str, dtype: str, ideal: mpf, error: mpf, p: list[mpf], check: list[Point]
) -> None:
    spec = FITS[name]
    low, high = spec.interval[dtype]
    print(f"{name} {dtype}: degree {len(p) - 1}")
    print(f"  {spec.what}")
    print(f"  interval [{mp.nstr(low, 10)}, {mp.nstr(high, 10)}]")
    print(f"  max error 2^{log2(error)} (2^{log2(ideal)} before rounding)")
    if spec.k and dtype in spec.k:
        print(f"  k = {mp.nstr(spec.k[dtype], 17)}")
        print(f"  {shape(p, check)}")
    print("  P =")
    print_coefficients(p, FORMATS[dtype])
    print(flush=True)


def print_coefficients(p: list[mpf], format_: str) -> None:
    for value in p:
        number = np.dtype(format_).type(float(value))
        # Exact by construction; this guards the printed digits.
        assert mpf(float(number)) == value
        text = f"{float(number):.{DIGITS[format_] - 1}e}"
        assert np.dtype(format_).type(text) == number
        print(f"    {text}")


def shape(p: list[mpf], sample: list[Point]) -> str:
    """How much the rounding errors of t and of the terms can matter."""
    fs = [point.f for point in sample]
    slope = [k * c for k, c in enumerate(p)]  # of t p'(t)
    sizes = [abs(c) for c in p]
    of_t = max(abs(evaluate(slope, x) / f) for x, f, _ in sample)
    ends = [evaluate(sizes, abs(x)) / f for x, f, _ in (sample[0], sample[-1])]
    return (
        f"max P/min P {mp.nstr(max(fs) / min(fs), 3)}, max |t P'/P| "
        f"{mp.nstr(of_t, 3)}, sum |c t^i|/P at the ends "
        f"{mp.nstr(ends[0], 3)}, {mp.nstr(ends[1], 3)}"
    )


# --------------------------------------------------------------------- roots


def roots() -> None:
    """Positive a with f'(-a) = 0, the minimum of each function at -a."""

    def silu(a: mpf) -> mpf:  # f'(x) = sigma(x) (1 + x sigma(-x))
        return 1 - a / (1 + mp.exp(-a))

    print("roots: a > 0 with f'(-a) = 0")
    print(f"  silu      {mp.nstr(mp.findroot(silu, mpf('1.278')), 40)}")
    print(f"  gelu      {mp.nstr(GELU_ROOT, 40)}")
    print(f"  gelu_tanh {mp.nstr(-GELU_TANH_ROOT, 40)}")
    print(f"  mish      {mp.nstr(-MISH_ROOT, 40)}")
    print(flush=True)


def main(names: list[str]) -> None:
    everything = ["roots", *FITS, *QUOTIENT_FITS]
    unknown = set(names) - set(everything)
    if unknown:
        sys.exit(f"unknown name: {', '.join(sorted(unknown))}")
    for name in names or everything:
        if name == "roots":
            roots()
        elif name in QUOTIENT_FITS:
            for dtype in QUOTIENT_FITS[name].degrees:
                fit_quotient(name, dtype)
        else:
            for dtype in FITS[name].target:
                fit(name, dtype)


if __name__ == "__main__":
    main(sys.argv[1:])
