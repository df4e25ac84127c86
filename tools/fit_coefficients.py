"""Compute the polynomial and rational coefficients used by the kernels.

    python tools/fit_coefficients.py [name ...]      (no name: everything)

Names: roots, exp, log1p, gelu_tail, gelu_slope.  Needs mpmath (gmpy2 makes it
faster) and NumPy; it is a development tool, nothing at run time imports it.

Every fit is a minimax fit (Remez exchange) followed by a rounding step that
picks the coefficients *jointly* on the grid of the target dtype.  The printed
error is measured afterwards, with the rounded coefficients, in multiprecision
arithmetic on a grid that the fit has not seen.  It is the approximation error
alone: rounding inside a kernel's own arithmetic comes on top of it.

Sources
  Remez exchange, weighted and rational: J.-M. Muller, "Elementary Functions",
    3rd ed. (2016), ch. 3; W. J. Cody, "Rational Chebyshev approximations for
    the error function", Math. Comp. 23 (1969).
  Joint rounding as a closest-vector problem: N. Brisebarre, S. Chevillard,
    "Efficient polynomial L-infinity approximations", ARITH-18 (2007); L. Babai,
    "On Lovasz' lattice reduction and the nearest lattice point problem",
    Combinatorica 6 (1986).
  The s = u/(2+u) form of log1p: fdlibm, e_log.c and s_log1p.c.
"""

import sys

import mpmath as mp
import numpy as np
from mpmath import mpf

# Powers up to 39^13 and the near-dependence of P and S cost some 40 digits of
# the linear systems; the rest must still be far below 2^-60.
mp.mp.dps = 90

DIGITS = {"float32": 9, "float64": 17}
MANTISSA = {"float32": 24, "float64": 53}
FIT_POINTS = 1200
CHECK_POINTS = 5003
ROUNDING_TRIALS = 3000


class Failed(Exception):
    """The exchange did not converge, or the result is unusable."""


# ---------------------------------------------------------------- functions

INV_SQRT_2PI = 1 / mp.sqrt(2 * mp.pi)


def mills(a):
    """R(a) = (1 - Phi(a)) exp(a^2/2)."""
    return mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2) / 2


GELU_ROOT = mp.findroot(lambda a: mills(a) - a * INV_SQRT_2PI, mpf("0.7518"))


# Each target function returns (f, w): the error of an approximation g is
# w*(g - f).  Points where f is a removable singularity get the limit.


def exp_target(r):
    if r == 0:
        return mpf(1) / 2, mpf(0)
    return (mp.expm1(r) - r) / r**2, r**2 / abs(mp.expm1(r))


def log1p_target(z):
    if z == 0:
        return mpf(1) / 3, mpf(0)
    s = mp.sqrt(z)
    ratio = mp.atanh(s) / s  # log1p(u) = 2 s ratio
    return (ratio - 1) / z, z / ratio


def gelu_tail_target(a):
    f = mills(a)
    return f, 1 / f


def gelu_slope_target(a):
    # The quotient loses -log10|a - r0| digits; no grid point is so near to r0
    # that this would matter at 90 digits.
    f = (mills(a) - a * INV_SQRT_2PI) / (GELU_ROOT - a)
    return f, 1 / f


# -------------------------------------------------------------------- grids


def grid(low, high, count, pull):
    """Points clustered at both ends.

    pull > 0 first maps [low, high] by t = x/(x + pull): over [0, 39] all the
    structure of the Mills ratio sits at small a, and a Moebius map takes
    rationals to rationals, so Chebyshev points in t suit a rational in x.
    """

    def forward(x):
        return x / (x + pull) if pull else x

    def backward(t):
        return pull * t / (1 - t) if pull else t

    a, b = forward(mpf(low)), forward(mpf(high))
    points = [
        backward((a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * k / (count - 1)))
        for k in range(count)
    ]
    points[0], points[-1] = mpf(low), mpf(high)
    return points


# -------------------------------------------------------------------- remez


def evaluate(coefficients, x):
    return mp.polyval(coefficients[::-1], x)


def ratio_at(p, s, x):
    return evaluate(p, x) / evaluate(s, x)


def remez(xs, fs, ws, m, n, fixed):
    """Minimax P/S of degrees (m, n) on the points xs; S[0] = 1.

    `fixed` is None, or a value for P[0].
    """
    free_p = range(0 if fixed is None else 1, m + 1)
    size = len(free_p) + n + 1  # coefficients and the levelled error E

    def solve(points, old_level, old_s):
        """One Newton step for P - f S -+ E S / w = 0 at the points.

        The product E S is linearised at the old values.  With old_s None the
        step is plain interpolation (E = 0), for which one point less is due.
        """
        unknowns = len(points)
        matrix, right = mp.matrix(unknowns, unknowns), mp.matrix(unknowns, 1)
        for row, i in enumerate(points):
            x, tilt = xs[i], (-1) ** row / ws[i]
            y = fs[i] + tilt * old_level
            for column, k in enumerate(free_p):
                matrix[row, column] = x**k
            for k in range(1, n + 1):
                matrix[row, len(free_p) + k - 1] = -y * x**k
            right[row] = y - (fixed or 0)
            if old_s is not None:
                bottom = evaluate(old_s, x)
                matrix[row, size - 1] = -tilt * bottom
                right[row] -= tilt * old_level * bottom
        try:
            solution = list(mp.lu_solve(matrix, right))
        except ZeroDivisionError:
            raise Failed("singular system")
        p = [] if fixed is None else [mpf(fixed)]
        p += solution[: len(free_p)]
        s = [mpf(1), *list(solution[len(free_p) : size - 1])]
        return p, s, solution[unknowns - 1]

    # Chebyshev nodes, as grid() makes the index an angle.  Interpolation there
    # is near-best, and gives Newton a sensible S: S spans many decades.
    last = len(xs) - 1
    nodes = [round(last * (i + 0.5) / (size - 1)) for i in range(size - 1)]
    reference = [round(last * (i + 0.5) / size) for i in range(size)]
    s = solve(nodes, mpf(0), None)[1]
    level, best = mpf(0), None
    for _ in range(60):
        for _ in range(20):
            previous = level
            p, s, level = solve(reference, level, s)
            if abs(level - previous) <= mpf(2) ** -30 * abs(level):
                break
        else:
            raise Failed("the levelled error does not settle")

        denominators = [evaluate(s, x) for x in xs]
        if min(denominators) <= 0:
            raise Failed("pole in the interval")
        error = [
            evaluate(p, x) / d - f for x, d, f in zip(xs, denominators, fs, strict=True)
        ]
        size_of = [abs(e * w) for e, w in zip(error, ws, strict=True)]
        worst = max(size_of)
        if best is None or worst < best[0]:
            best = worst, p, s
        if worst <= abs(level) * mpf("1.0005"):
            return best

        # The next reference: the largest error in each run of one sign.
        peaks, run_sign = [], 0
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
        # The first sign may have changed; Newton restarts from the same E.
        level = abs(level) * mp.sign(error[peaks[0]])
        reference = peaks
    return best


# ----------------------------------------------------------------- rounding


def ulp(value, bits):
    return mpf(2) ** (mp.floor(mp.log(abs(value), 2)) + 1 - bits)


def round_to(value, bits):
    unit = ulp(value, bits)
    return mp.nint(value / unit) * unit


def worst_error(p, s, sample):
    return max(abs(w * (ratio_at(p, s, x) - f)) for x, f, w in sample)


def round_jointly(p, s, bits, sample, frozen):
    """Round P and S to `bits` bits so that the rounding errors cancel.

    To first order the error is e + J d, d being the change of the coefficients
    in ulps.  Rounding one coefficient and refitting the others, one after the
    other, is Babai's nearest-plane method on the lattice spanned by J; the
    order matters, so many are tried.  Independent rounding would leave up to
    half an ulp in the leading terms, above the float32 targets.
    """
    coefficients = p + s
    units = [ulp(c, bits) for c in coefficients]
    nearest = [mp.nint(c / u) for c, u in zip(coefficients, units, strict=True)]
    offset = np.array(
        [float(k - c / u) for k, c, u in zip(nearest, coefficients, units, strict=True)]
    )
    free = [i for i in range(len(coefficients)) if i not in frozen]
    scale = mpf(2) ** (bits + 3)  # keeps the float64 arithmetic below near 1
    base = np.empty(len(sample))
    jacobian = np.empty((len(sample), len(coefficients)))
    for row, (x, f, w) in enumerate(sample):
        bottom = evaluate(s, x)
        value = evaluate(p, x) / bottom
        base[row] = float(scale * w * (value - f))
        for k in range(len(p)):
            jacobian[row, k] = float(scale * w * x**k / bottom * units[k])
        for k in range(len(s)):
            j = len(p) + k
            jacobian[row, j] = float(-scale * w * value * x**k / bottom * units[j])
    pushed = jacobian[:, frozen] @ offset[frozen]

    rng = np.random.default_rng(0)
    norms = np.linalg.norm(jacobian[:, free], axis=0)
    candidates = {}
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
        total = np.zeros(len(coefficients))
        total[order] = steps
        candidates[tuple(total)] = np.abs(error).max()
    best = None
    for steps in sorted(candidates, key=candidates.get)[:6]:
        rounded = [
            (k + int(d)) * u for k, d, u in zip(nearest, steps, units, strict=True)
        ]
        # A coefficient that crossed a power of two may need one bit more.
        rounded = [round_to(c, bits) for c in rounded]
        result = rounded[: len(p)], rounded[len(p) :]
        error = worst_error(*result, sample)
        if best is None or error < best[0]:
            best = error, *result
    return best[1:]


# ---------------------------------------------------------------------- fits

LN2_HALF = mp.log(2) / 2 * (1 + mpf(2) ** -12)

FITS = {
    "exp": dict(
        what="e^r = 1 + r + r^2 P(r), |r| <= 0.5 ln2 (1 + 2^-12); "
        "error relative to expm1(r)",
        target=exp_target,
        interval={d: (-LN2_HALF, LN2_HALF) for d in DIGITS},
        bits={"float32": 27.5, "float64": 57},
        degrees=[(m, 0) for m in range(2, 15)],
        # P[0] = 1/2 is exact; tried before a free P[0].
        fixed=[mpf(1) / 2, None],
    ),
    "log1p": dict(
        what="log1p(u) = 2 (s + s^3 P(s^2)), s = u/(2+u), u in [0, 1]; "
        "error relative to log1p(u)",
        target=log1p_target,
        interval={d: (mpf(0), mpf(1) / 9) for d in DIGITS},
        bits={"float32": 28, "float64": 57},
        degrees=[(m, 0) for m in range(1, 15)],
        fixed=[None],
    ),
    "gelu_tail": dict(
        what="(1 - Phi(a)) exp(a^2/2) = P(a)/S(a); relative error",
        target=gelu_tail_target,
        interval={"float32": (0, mpf("14.5")), "float64": (0, 39)},
        bits={"float32": 27, "float64": 56},
        degrees=[(m, m + 1) for m in range(2, 14)],
        # Exact at 0, where a free P[0] would have to be 1/2 +- one ulp anyway.
        fixed=[mpf(1) / 2],
        pull=2,
    ),
    "gelu_slope": dict(
        what="((1 - Phi(a)) exp(a^2/2) - a/sqrt(2 pi)) / (r0 - a) = P(a)/S(a)"
        ", r0 the root of the numerator; relative error",
        target=gelu_slope_target,
        interval={"float32": (0, mpf("14.5")), "float64": (0, 39)},
        bits={"float32": 26.5, "float64": 55.5},
        degrees=[(m, m) for m in range(2, 14)],
        fixed=[None],
        pull=2,
    ),
}


def sample_of(spec, dtype, count):
    points = grid(*spec["interval"][dtype], count, spec.get("pull", 0))
    rows = [(x, *spec["target"](x)) for x in points]
    return [row for row in rows if row[2] != 0]


def normalisations(p, s, fixed):
    """Scalings of P/S to try, each with the indices it leaves exact."""
    if len(s) == 1:
        yield p, s, [0, len(p)] if fixed is not None else [len(p)]
        return
    if fixed is not None:
        yield p, s, [0, len(p)]
        return
    # Which coefficient is 1 changes where the others land on the dtype's
    # grid, hence how well they can be rounded: S's constant term first.
    both = p + s
    for i in [len(p), len(both) - 1, 0, len(p) - 1, *range(len(both))]:
        yield [c / both[i] for c in p], [c / both[i] for c in s], [i]


def fit(name, dtype):
    spec, bits = FITS[name], MANTISSA[dtype]
    limit = mpf(2) ** -spec["bits"][dtype]
    sample = sample_of(spec, dtype, FIT_POINTS)
    check = sample_of(spec, dtype, CHECK_POINTS)
    xs, fs, ws = zip(*sample, strict=True)
    for m, n in spec["degrees"]:
        for fixed in spec["fixed"]:
            try:
                ideal, p, s = remez(xs, fs, ws, m, n, fixed)
            except Failed as reason:
                note(name, dtype, m, n, str(reason))
                continue
            if ideal > limit:
                note(name, dtype, m, n, f"2^{log2(ideal)} before rounding")
                continue
            # No subtraction for a >= 0, hence no cancellation in the kernel.
            if n and min(p + s) <= 0:
                note(name, dtype, m, n, "a coefficient is not positive")
                continue
            for scaled in normalisations(p, s, fixed):
                P, S = round_jointly(*scaled[:2], bits, sample[::3], scaled[2])
                if n and min(P + S) <= 0:
                    continue
                error = worst_error(P, S, check)
                if error <= limit:
                    report(name, dtype, m, n, ideal, error, P, S)
                    return
                note(name, dtype, m, n, f"2^{log2(error)} after rounding")
    print(f"{name} {dtype}: no fit meets the target\n", flush=True)


def log2(value):
    return mp.nstr(mp.log(value, 2), 5)


def note(name, dtype, m, n, text):
    print(f"  {name} {dtype} ({m}, {n}): {text}", file=sys.stderr, flush=True)


def report(name, dtype, m, n, ideal, error, p, s):
    low, high = FITS[name]["interval"][dtype]
    print(f"{name} {dtype}: degree {f'({m}, {n})' if n else m}")
    print(f"  {FITS[name]['what']}")
    print(f"  interval [{mp.nstr(low, 10)}, {mp.nstr(high, 10)}]")
    print(f"  max error 2^{log2(error)} (2^{log2(ideal)} before rounding)")
    for label, values in [("P", p), ("S", s)][: 2 if n else 1]:
        print(f"  {label} =")
        for value in values:
            number = np.dtype(dtype).type(float(value))
            # Exact by construction; this guards the printed digits.
            assert mpf(float(number)) == value
            text = f"{float(number):.{DIGITS[dtype] - 1}e}"
            assert np.dtype(dtype).type(text) == number
            print(f"    {text}")
    print(flush=True)


# --------------------------------------------------------------------- roots


def roots():
    """Positive a with f'(-a) = 0, the minimum of each function at -a."""

    def silu(a):  # f'(x) = sigma(x) (1 + x sigma(-x))
        return 1 - a / (1 + mp.exp(-a))

    def gelu_tanh(a):
        c = mp.sqrt(2 / mp.pi)
        k = mpf("0.044715")
        t = mp.tanh(c * (-a - k * a**3))
        return (1 + t) - a * (1 - t * t) * c * (1 + 3 * k * a * a)

    def mish(a):
        t = mp.tanh(mp.log1p(mp.exp(-a)))
        return t - a * (1 - t * t) / (1 + mp.exp(a))

    print("roots: a > 0 with f'(-a) = 0")
    print(f"  silu      {mp.nstr(mp.findroot(silu, mpf('1.278')), 40)}")
    print(f"  gelu      {mp.nstr(GELU_ROOT, 40)}")
    print(f"  gelu_tanh {mp.nstr(mp.findroot(gelu_tanh, mpf('0.7525')), 40)}")
    print(f"  mish      {mp.nstr(mp.findroot(mish, mpf('1.1924')), 40)}")
    print(flush=True)


def main(names):
    unknown = set(names) - {"roots", *FITS}
    if unknown:
        sys.exit(f"unknown name: {', '.join(sorted(unknown))}")
    for name in names or ["roots", *FITS]:
        if name == "roots":
            roots()
        else:
            for dtype in DIGITS:
                fit(name, dtype)


if __name__ == "__main__":
    main(sys.argv[1:])
