"""Self-gated activations: x times a sigmoid function of x."""

from __future__ import annotations

from fractions import Fraction

from ..elementary import (
    EXP_LONG_FLOAT32,
    Pair,
    chord_to_root,
    constant_pair,
    exact_product,
    exp_factors,
    exp_factors_of_product,
    exp_lifted,
    exp_over_one_plus_factors,
    exp_parts,
    exp_parts_of_minus,
    fast_two_sum,
    half_of_one_minus_exp_pair,
    lift,
    lower,
    lowest_exponent,
    multiply,
    near_root,
    one_plus,
    over_one_plus,
    pair,
    reduce_exp,
    scale,
    select,
    split_at,
    sum_over_one_plus,
    tanh_of_size,
    times_pair,
    total,
    two_sum,
    unlift,
)
from ..entry import activation
from ..language import (
    Real,
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    copysign,
    correction,
    fma,
    horner,
    power_of_two,
    real,
    to_last_digit,
    where,
)
from ..logistic import (
    SILU_ROOT,
    gate_slope,
    logistic_slope,
    one_minus_right,
    silu_slope,
    times_logistic,
    times_logistic_of_any,
    times_logistic_of_size,
)


@activation(
    formula="x / (1 + exp(-x))",
    # Within 1 ULP both would take longer than other libraries'.
    bound=2.0,
    backward_bound=2.0,
    source="Elfwing, Uchibe and Doya 2017, arXiv:1702.03118",
    aliases=("swish_1", "swish1", "sil"),
    derivative_roots=("-" + SILU_ROOT,),
    plain="x / (1 + np.exp(-x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-x))) * (1 + x * (1 - s))",
)
def silu(x: Value) -> Value:
    """Sigmoid linear unit."""
    # max(x, 0) - a e / (1 + e), a = |x|, e = e^-a
    a = clamp_high(abs(x), -lowest_exponent())
    power, denominator = exp_over_one_plus_factors(-a, shift=lift(), unlift=lower())
    left = a * power / denominator
    return fma(-left, lower(), clamp_low(x, 0.0))


@silu.derivative
def silu_derivative(x: Value) -> Value:
    return silu_slope(x)


@activation(
    formula="x / (1 + exp(-beta x))",
    bound=2.0,  # as of silu
    backward_bound=2.0,
    source="Ramachandran, Zoph and Le 2017, arXiv:1710.05941",
    derivative_roots=("-" + SILU_ROOT,),
    plain="x / (1 + np.exp(-beta * x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-beta * x))) * (1 + beta * x * (1 - s))",
    notes="At beta = 1 it is silu, whose gradient is computed faster.",
)
def swish(x: Value, beta: Real = 1.0) -> Value:
    """Swish: silu with a learnable sharpness."""
    z, z_low = exact_product(beta, x)
    if z_low is None:
        return silu(x)
    return times_logistic_of_any(x, z, z_low)


@swish.derivative
def swish_derivative(x: Value, beta: Real) -> Value:
    return silu_slope(*exact_product(beta, x))


@swish.parameter_derivative("beta")
def swish_by_beta(x: Value, beta: Real) -> Value:
    z, z_low = exact_product(beta, x)
    # x^2 grows much more slowly than e^-|z| falls, but inf * 0 would be NaN.
    slope = x * logistic_slope(z, z_low) * x
    return where(abs(z) > -lowest_exponent(), 0.0, slope)


QUICK_GELU_BETA = "1.702"


def quick_gelu_exponent(x: Value) -> tuple[Value, Pair]:
    """x, clamped where the function is zero, and 1.702 x."""
    limit = by_dtype(65.0, 446.0)
    x = clamp_low(x, -limit)
    return x, scale(clamp_high(x, limit), constant_pair(QUICK_GELU_BETA))


@activation(
    formula="x / (1 + exp(-1.702 x))",
    backward_bound=2.0,  # silu's
    source="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    aliases=("gelu_quick", "quickgelu", "gelu_fast_approx"),
    derivative_roots=("-0.75115425544128895129809561634722688333694329612221",),
    plain="x / (1 + np.exp(-1.702 * x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-1.702 * x)))"
    " * (1 + 1.702 * x * (1 - s))",
    notes="A function of its own, not an approximation of gelu to rely on: it is up to "
    "0.02 away.",
)
def quick_gelu(x: Value) -> Value:
    """Gaussian error linear unit, logistic form."""
    if to_last_digit():
        a = clamp_high(abs(x), 65.0)
        z = scale(a, constant_pair(QUICK_GELU_BETA))
        return times_logistic_of_size(x, a, *exp_parts_of_minus(*z))
    x, exponent = quick_gelu_exponent(x)
    return times_logistic(x, *exponent)


@quick_gelu.derivative
def quick_gelu_derivative(x: Value) -> Value:
    _, exponent = quick_gelu_exponent(x)
    return silu_slope(*exponent)


# ---------------------------------------------------------------- mish


# mish(x) = x MISH(x - MISH_MIDDLE) for -17/16 <= x <= 11/16. The middle is such that
# the first coefficient is close to a number of the format.
MISH_MIDDLE = -9 / 32
MISH_FLOAT32 = (
    "5.09739280e-01",
    "3.18380415e-01",
    "2.09058672e-02",
    "-3.98869403e-02",
    "-9.52407252e-03",
    "4.74780146e-03",
    "2.45951558e-03",
    "-3.14828416e-04",
    "-4.63135977e-04",
    "-1.56687893e-05",
    "5.85112830e-05",
)


MISH_LIFT_FLOAT32 = 40


def mish_exponential(x: Value) -> tuple[Value, Value, Value, Value]:
    """x, p, and a power of two, with what lowers it: e^x = lower power (1 + p).

    x is bounded where the function is zero, and where it is x, its derivative 1, to any
    precision here. The power lifts e^x to a normal number, and e^4x to no infinity.
    """
    x = clamp_low(clamp_high(x, by_dtype(15.0, 40.0)), lowest_exponent())
    shift = int(by_dtype(MISH_LIFT_FLOAT32, 128))
    power, p = exp_factors(x, shift=shift)
    return x, p, power, power_of_two(-shift)


@activation(
    formula="x tanh(log(1 + exp(x)))",
    source="Misra 2019, arXiv:1908.08681",
    derivative_roots=("-1.19243121451549521213758834042073940560068641",),
    plain="x * np.tanh(np.logaddexp(x, 0))",
    plain_backward="dy * ((t := np.tanh(np.logaddexp(x, 0)))"
    " + x * (1 - t * t) / (1 + np.exp(-x)))",
)
def mish(x: Value) -> Value:
    """Mish."""
    if to_last_digit():
        return mish_to_last_digit(x)
    # With e = e^x and D = e^2 + 2e + 2 it is x (1 - e (e + 1) / D) e on the left, and
    # x (1 - 2 / D) on the right. D is a polynomial in the small p.
    bounded, p, power, lower = mish_exponential(x)
    whole = power * lower
    rest = p * whole
    e = whole + rest
    plus_one = whole + 1.0
    base = fma(rest, fma(plus_one, 2.0, rest), fma(plus_one, plus_one, 1.0))
    left = x < -0.35
    ratio = where(left, fma(e, e, e), 2.0) / base
    p = where(left, p, 0.0)
    scaled = where(left, power * bounded, bounded)
    product = fma(scaled, fma(-ratio, p + 1.0, p), where(left, scaled, x))
    # The sum has lost the sign of a zero.
    return copysign(product * where(left, lower, 1.0), x)


def mish_to_last_digit(x: Value) -> Value:
    """Mish in float32; near zero, where the ratio would count most, a polynomial.

    Left of 11/16 the result is lifted, so that a subnormal one is rounded once.
    """
    lift, lower = power_of_two(MISH_LIFT_FLOAT32), power_of_two(-MISH_LIFT_FLOAT32)
    d = x - MISH_MIDDLE
    first, *others = (real(c) for c in MISH_FLOAT32)
    curve = horner(d, others)
    # A high part that is too low leaves a positive low one, and -0 its sign.
    high = fma(d, curve, first - 2.0**-23)
    low = fma(d, curve, first - high)
    lifted = x * lift
    near = fma(lifted, high, lifted * low)

    left = x < 0
    bounded = clamp_low(clamp_high(x, 15.0), lowest_exponent())
    power, r, small = exp_parts(
        bounded, shift=MISH_LIFT_FLOAT32, series=EXP_LONG_FLOAT32
    )
    p = r + small
    e = fma(power, p, power) * lower
    ratio = where(left, fma(e, e, e), 2.0) / fma(e, e + 2.0, 2.0)
    factor = where(left, fma(-ratio, p + 1.0, small) + r, -ratio)
    scaled = power * bounded
    far = fma(where(left, scaled, bounded), factor, where(left, scaled, x))

    right = x >= 11 / 16
    result = where((x < -17 / 16) | right, far, near)
    return result * where(right, 1.0, lower)


MISH_ROOT = "1.19243121451549521213758834042073940560068641"
# mish'(x) = (x + MISH_ROOT) MISH_SLOPE(x + 7/8) for -2 <= x <= 1/2 in float32, and
# (x + MISH_ROOT) MISH_SLOPE(x + MISH_ROOT) for -11/8 <= x <= 1/8 in float64
MISH_SLOPE_FLOAT32 = (
    "3.35340351e-01",
    "2.23043084e-01",
    "1.22029129e-02",
    "-4.26561981e-02",
    "-1.82456262e-02",
    "1.16231747e-03",
    "3.75279877e-03",
    "1.22257636e-03",
    "-1.87998710e-04",
    "-2.87553645e-04",
    "-7.59804752e-05",
    "2.65300605e-05",
    "2.05843426e-05",
    "-2.62924033e-07",
    "-2.08398114e-06",
)
MISH_SLOPE_FLOAT64 = (
    "2.6694791404953450e-01",
    "2.0473126408010536e-01",
    "4.1907821043622902e-02",
    "-2.0271822716555948e-02",
    "-1.5821126563982255e-02",
    "-3.3606849316049209e-03",
    "1.0924056854767796e-03",
    "9.8981778070680003e-04",
    "2.5412631149402434e-04",
    "-4.1942927093425283e-05",
    "-5.5849473676283215e-05",
    "-1.7460414991399547e-05",
    "1.7982166367440852e-06",
    "7.3327257476244725e-07",
    "4.5955085977580158e-06",
    "-3.8629759126716420e-06",
    "2.8080397616442454e-06",
    "-1.5440319395109206e-06",
    "4.3801208328397974e-07",
    "-4.8161412885384570e-08",
)


@mish.derivative
def mish_derivative(x: Value) -> Value:
    """Derivative; around its root a polynomial.

    With e = e^x and D = e^2 / 2 + e + 1 it is e K / D^2 on the left,
    K = 1 + x + e (3/2 + x + e + e^2 / 4), where 1 + x is exact, and on the right
    1 - J / D^2, J = 1 + e (1 - x) + e^2 (1/2 - x). Between them it is the polynomial.
    """
    bounded, p, power, lower = mish_exponential(x)
    r, small = None, p
    if to_last_digit():
        power, r, small = exp_parts(bounded, shift=MISH_LIFT_FLOAT32)
        p = r + small
    lifted = fma(p, power, power)
    e = lifted * lower
    e_low = correction(fma(p, power, power - lifted) * lower)
    inner = fma(e, 0.25, 1.0)
    right = x > by_dtype(1 / 2, 1 / 8)
    # K or -J
    start = where(right, -1.0, bounded + 1.0)
    curve = where(
        right, fma(e, bounded - 0.5, bounded - 1.0), fma(e, inner, bounded + 1.5)
    )
    top = fma(e, curve, start)
    top_low = correction(fma(e_low, curve, fma(e, curve, start - top)))
    scaled = power * top
    low = fma(small, scaled, lifted * top_low)
    # D^2 - 1 = 2e + e^2 (2 + e + e^2 / 4), and roughly its derivative
    square, rest = e * e, fma(e, inner, 2.0)
    whole = fma(square, rest, e + e)
    slope = fma(e * rest, 2.5, 2.0)
    lost = correction(fma(e_low, slope, fma(square, rest, e + e - whole)))
    quotient = sum_over_one_plus(
        where(right, top, scaled),
        where(right, top_low, low),
        Pair(whole, lost),
        None if r is None else where(right, 0.0, r),
    )
    if by_dtype(True, False):
        middle = chord_to_root("-" + MISH_ROOT, x, -7 / 8, MISH_SLOPE_FLOAT32)
    else:
        middle = near_root("-" + MISH_ROOT, x, MISH_SLOPE_FLOAT64, beyond=0.55)
    left = x < by_dtype(-63 / 32, -11 / 8)
    return where(left, quotient * lower, where(right, 1.0 + quotient, middle))


# The exponent v(x) = 2 sqrt(2/pi) (x + 0.044715 x^3) is
# GELU_TANH_UNIT x (GELU_TANH_LINEAR + GELU_TANH_CUBIC x^2), two of them exact and of
# few bits: 0.044715 = 8943 / 200000.
GELU_TANH_LINEAR = 200000 / 2**17
GELU_TANH_CUBIC = 8943 / 2**17
GELU_TANH_UNIT = "1.04580325153553167925889219935438600529735485"
GELU_TANH_C1 = "1.59576912160573071175978423973752747390343452"  # 2 sqrt(2/pi)
GELU_TANH_3_C3 = "0.214064448817800746329016256839590622986776224"  # 3 0.044715 C1
GELU_TANH_ROOT = "0.752461422071016258487954443288916090605392178"
# exp(-v) at the root, rounded
GELU_TANH_AT_CENTER = 0.29195521191476714
# gelu_tanh'(x) = (x + GELU_TANH_ROOT) GELU_TANH_SLOPE(x + 13/16) for -21/16 <= x <= 3/8
GELU_TANH_SLOPE_FLOAT32 = (
    "4.07101572e-01",
    "3.88197064e-01",
    "4.33938159e-03",
    "-1.09267741e-01",
    "-2.22261064e-02",
    "1.76169369e-02",
    "6.18220959e-03",
    "-1.95552851e-03",
    "-1.04647479e-03",
    "2.04471857e-04",
    "1.25442108e-04",
    "-3.48364665e-05",
)


def gelu_tanh_limit() -> float:
    """Where x e^v(x) has been rounded to zero."""
    return float(by_dtype(11.0, 22.0))


def gelu_tanh_exponent(a: Value, multiple: float = 1.0, power: int = 1) -> Pair:
    """v(a) / a over GELU_TANH_UNIT, times a number of few bits.

    With the cubic term times its power it is the derivative v'(a).
    """
    linear, cubic = GELU_TANH_LINEAR * multiple, GELU_TANH_CUBIC * multiple * power
    square = a * a
    v = fma(cubic, square, linear)
    # The difference is exact: v has bits for all of the linear term's few.
    v_low = fma(cubic, square, linear - v)
    v_low = fma(cubic, fma(a, a, -square), v_low)
    return Pair(v, correction(v_low))


def gelu_tanh_exponential(a: Value) -> tuple[Value, Value]:
    """2^n, lifted, and p with exp(-v(a)) = 2^n (1 + p)."""
    exponent = gelu_tanh_exponent(a)
    return exp_factors_of_product(GELU_TANH_UNIT, a, exponent, shift=lift())


def gelu_tanh_parts(a: Value) -> tuple[Value, Value, Value]:
    """The same in float32, with p as a sum: see `exp_parts_of_minus`."""
    # With a unit of less than 1 the last of the summands is positive near zero.
    v = scale(a, gelu_tanh_exponent(a, 67 / 64))
    unit = str(Fraction(GELU_TANH_UNIT) / Fraction(67, 64))
    return exp_parts_of_minus(*v, unit=unit)


@activation(
    formula="x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2",
    source="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    aliases=("gelu_new", "gelu_pytorch_tanh", "gelu_approx", "approxgelu"),
    derivative_roots=("-" + GELU_TANH_ROOT,),
    plain="0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))",
    plain_backward="dy * 0.5 * (1 + "
    "(t := np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))"
    " + x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x))",
    notes="A function of its own, not an approximation of gelu to rely on: it is up to "
    "4.8e-4 away.",
)
def gelu_tanh(x: Value) -> Value:
    """Gaussian error linear unit, tanh form."""
    # max(x, 0) - a e / (1 + e), a = |x|, e = exp(-v(a))
    a = clamp_high(abs(x), gelu_tanh_limit())
    if to_last_digit():
        return times_logistic_of_size(x, a, *gelu_tanh_parts(a))
    power, p = gelu_tanh_exponential(a)
    e = fma(p, power, power) * lower()
    scaled = power * a
    left = sum_over_one_plus(scaled, p * scaled, pair(e))
    return fma(-left, lower(), clamp_low(x, 0.0))


@gelu_tanh.derivative
def gelu_tanh_derivative(x: Value) -> Value:
    """With a = |x|, e = exp(-v(a)), w = a v'(a), left of zero it is
    e (1 + e - w) / (1 + e)^2, and right of zero 1 minus that.
    """
    if to_last_digit():
        return gelu_tanh_slope_to_last_digit(x)
    a = clamp_high(abs(x), gelu_tanh_limit())
    v = scale(a, gelu_tanh_exponent(a))
    w = multiply(
        scale(a, gelu_tanh_exponent(a, power=3)), constant_pair(GELU_TANH_UNIT)
    )
    parts = gate_slope(*v, *w, GELU_TANH_AT_CENTER, unit=GELU_TANH_UNIT)
    return one_minus_right(x < 0, parts.slope)


def gelu_tanh_slope_to_last_digit(x: Value) -> Value:
    """The derivative in float32, within 1 ULP; around its root a polynomial."""
    a = clamp_high(abs(x), gelu_tanh_limit())
    power, r, small = gelu_tanh_parts(a)
    lifted = fma(r + small, power, power)
    e = lifted * lower()
    # v'(a) is a pair, and c1 has so few bits that the difference is exact.
    c3 = real(GELU_TANH_3_C3)
    c1, c1_low = split_at(GELU_TANH_C1, 15)
    square = a * a
    v = fma(c3, square, c1)
    v_low = fma(c3, fma(a, a, -square), fma(c3, square, c1 - v) + c1_low)
    w = a * v
    w_low = fma(a, v_low, fma(a, v, -w))
    factor = 1.0 - w
    factor_low = (1.0 - (factor + w)) - w_low
    scaled = power * factor
    low = fma(lifted, factor_low + e, small * scaled)
    left = sum_over_one_plus(scaled, low, pair(fma(e, e, e + e)), r) * lower()
    middle = chord_to_root("-" + GELU_TANH_ROOT, x, -13 / 16, GELU_TANH_SLOPE_FLOAT32)
    return where(x < -1.3125, left, where(x >= 0.375, 1.0 - left, middle))


TELU_ROOT = "1.0788600584646240566506673701720774760725540318078"
# telu'(k + v) = (k + v + TELU_ROOT) TELU_SLOPE(v), k = -47/32 in float32 for
# -2 <= k + v <= -7/8, and k = -69/64 in float64 for |v| <= 2^-5
TELU_SLOPE_FLOAT32 = (
    "2.42605835e-01",
    "2.38906175e-01",
    "1.05876498e-01",
    "1.71961933e-02",
    "-1.06580192e-02",
    "-1.07457461e-02",
    "-5.23692090e-03",
    "-1.43377774e-03",
    "2.49460893e-04",
    "4.35655063e-04",
)
TELU_SLOPE_FLOAT64 = (
    "3.5274275222530066e-01",
    "3.2538544403075809e-01",
    "1.0780973575622189e-01",
    "-2.3010317931915186e-02",
    "-4.5739107915343157e-02",
    "-2.5512504095301137e-02",
    "-5.6156527812204309e-03",
    "2.7952952574609251e-03",
    "3.4914248192397077e-03",
)


def telu_far_left() -> float:
    """Where tanh(e^x) = e^x to the last digit: that may be a subnormal, and is lifted."""
    return -20.0


def telu_exponential(x: Value) -> Pair:
    """e^x, lifted; for x > 4, where tanh(e^x) is 1 to any precision here, e^4."""
    return exp_lifted(reduce_exp(clamp_high(clamp_low(x, lowest_exponent()), 4.0)))


@activation(
    formula="x tanh(exp(x))",
    source="Fernandez and Mali 2024, arXiv:2412.20269",
    derivative_roots=("-" + TELU_ROOT,),
    plain="x * np.tanh(np.exp(np.minimum(x, 4)))",
    plain_backward="dy * ((t := np.tanh(e := np.exp(np.minimum(x, 4))))"
    " + x * e * (1 - t * t))",
)
def telu(x: Value) -> Value:
    """Hyperbolic tangent exponential linear unit."""
    lifted = telu_exponential(x)
    e = unlift(lifted)
    # tanh(e) = m / (1 - m)
    half = half_of_one_minus_exp_pair(
        clamp_high(e.high, 25.0), e.low, in_full=to_last_digit()
    )
    far = x < telu_far_left()
    bounded = clamp_low(x, lowest_exponent())
    if to_last_digit():
        m, m_low = fast_two_sum(*half)
        # The remainder of (m + m_low) - q (1 - m - m_low); 1 + q = 1 / (1 - m)
        reciprocal = 1.0 / (1.0 - m)
        q = m * reciprocal
        remainder = fma(m_low, reciprocal, fma(q, m, m - q))
        t = select(far, lifted, Pair(q, remainder * reciprocal))
        # Near zero x is lifted: beside a subnormal result a low part would be rounded.
        right = x > 1.0
        scaled = bounded * where(far | right, 1.0, power_of_two(lift()))
        return times_pair(scaled, t) * where(right, 1.0, lower())
    m = total(half)
    t = select(far, lifted, over_one_plus(m, -m))
    return times_pair(bounded, t) * where(far, lower(), 1.0)


@telu.derivative
def telu_derivative(x: Value) -> Value:
    """tanh(e) + x e (1 - tanh(e)^2), e = e^x; around its root a polynomial."""
    lifted = telu_exponential(x)
    e = unlift(lifted)
    t = tanh_of_size(e.high, e.low)
    square = multiply(t, t)
    sech_squared = one_plus(Pair(-square.high, -square.low))
    far = x < telu_far_left()
    e, t = select(far, lifted, e), select(far, lifted, t)
    bounded = clamp_high(clamp_low(x, lowest_exponent()), 4.0)
    product = multiply(scale(bounded, e), sech_squared)
    high, low = two_sum(t.high, product.high)
    slope = (high + (low + (t.low + product.low))) * where(far, lower(), 1.0)
    series = by_dtype(TELU_SLOPE_FLOAT32, TELU_SLOPE_FLOAT64)
    middle, low, high = by_dtype(
        (-47 / 32, -2.0, -7 / 8), (-69 / 64, -71 / 64, -67 / 64)
    )
    near = chord_to_root("-" + TELU_ROOT, x, middle, series)
    return where((x >= low) & (x <= high), near, slope)
