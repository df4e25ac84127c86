"""Self-gated activations: x times a sigmoid function of x."""

from __future__ import annotations

from ..elementary import (
    Pair,
    around_root,
    constant_pair,
    exact_product,
    exp_factors,
    exp_factors_of_product,
    exp_lifted,
    half_of_one_minus_exp_pair,
    lift,
    lower,
    lowest_exponent,
    multiply,
    near_root,
    one_plus,
    over_one_plus,
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
    power_of_two,
    real,
    where,
)
from ..logistic import (
    SILU_ROOT,
    logistic_slope,
    silu_slope,
    silu_slope_of_sum,
    times_logistic,
    times_logistic_of_any,
)


@activation(
    formula="x / (1 + exp(-x))",
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
    # Its exponential is the one in the derivative: a kernel of both computes it once.
    return times_logistic(clamp_low(x, lowest_exponent()), x)


@silu.derivative
def silu_derivative(x: Value) -> Value:
    return silu_slope(x)


@activation(
    formula="x / (1 + exp(-beta x))",
    bound=2.0,
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
    # Not silu's own for beta = 1: a default gives the bits of the same beta given.
    return silu_slope_of_sum(*exact_product(beta, x))


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
    bound=2.0,
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
    x, exponent = quick_gelu_exponent(x)
    return times_logistic(x, *exponent)


@quick_gelu.derivative
def quick_gelu_derivative(x: Value) -> Value:
    _, exponent = quick_gelu_exponent(x)
    return silu_slope_of_sum(*exponent)


# ---------------------------------------------------------------- mish


def mish_exponential(x: Value) -> tuple[Value, Value, Value, Value]:
    """x, p, and a power of two, with what lowers it: e^x = lower power (1 + p).

    x is bounded where the function is zero, and where it is x, its derivative 1, to any
    precision here. The power lifts e^x to a normal number, and e^4x to no infinity.
    """
    x = clamp_low(clamp_high(x, by_dtype(15.0, 40.0)), lowest_exponent())
    shift = int(by_dtype(40, 128))
    power, p = exp_factors(x, shift=shift)
    return x, p, power, power_of_two(-shift)


@activation(
    formula="x tanh(log(1 + exp(x)))",
    bound=2.0,
    backward_bound=2.0,
    source="Misra 2019, arXiv:1908.08681",
    derivative_roots=("-1.19243121451549521213758834042073940560068641",),
    plain="x * np.tanh(np.logaddexp(x, 0))",
    plain_backward="dy * ((t := np.tanh(np.logaddexp(x, 0)))"
    " + x * (1 - t * t) / (1 + np.exp(-x)))",
)
def mish(x: Value) -> Value:
    """Mish."""
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


MISH_ROOT = "1.19243121451549521213758834042073940560068641"
# mish'(x) = d MISH_SLOPE(d), d = x + MISH_ROOT, for -1.375 <= x <= 0.125
MISH_SLOPE_FLOAT32 = (
    "2.66947925e-01",
    "2.04731271e-01",
    "4.19071577e-02",
    "-2.02684496e-02",
    "-1.58212632e-02",
    "-3.44083854e-03",
    "1.47545466e-03",
    "1.51603977e-04",
    "1.22999516e-03",
    "-6.24664535e-04",
    "7.11909743e-05",
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
    lifted = fma(p, power, power)
    e = lifted * lower
    inner = fma(e, 0.25, 1.0)
    curve = fma(e, inner, bounded + 1.5)
    k = fma(e, curve, bounded + 1.0)
    k_low = correction(fma(e, curve, (bounded + 1.0) - k))
    minus_j = fma(e, fma(e, bounded - 0.5, bounded - 1.0), -1.0)
    scaled = power * k
    right = x > 0.125
    quotient = sum_over_one_plus(
        where(right, minus_j, scaled),
        where(right, 0.0, fma(p, scaled, lifted * k_low)),
        e * fma(e, fma(e, inner, 2.0), 2.0),
    )
    series = by_dtype(MISH_SLOPE_FLOAT32, MISH_SLOPE_FLOAT64)
    middle = near_root("-" + MISH_ROOT, x, series, 0.55)
    return where(x < -1.375, quotient * lower, where(right, 1.0 + quotient, middle))


# The exponent v(x) = 2 sqrt(2/pi) (x + 0.044715 x^3) is
# GELU_TANH_UNIT x (GELU_TANH_LINEAR + GELU_TANH_CUBIC x^2), two of them exact and of
# few bits: 0.044715 = 8943 / 200000.
GELU_TANH_LINEAR = 200000 / 2**17
GELU_TANH_CUBIC = 8943 / 2**17
GELU_TANH_UNIT = "1.04580325153553167925889219935438600529735485"
GELU_TANH_C1 = "1.59576912160573071175978423973752747390343452"  # 2 sqrt(2/pi)
GELU_TANH_3_C3 = "0.214064448817800746329016256839590622986776224"  # 3 0.044715 C1
GELU_TANH_ROOT = "0.752461422071016258487954443288916090605392178"
# gelu_tanh'(x) = d GELU_TANH_SLOPE(d), d = x + GELU_TANH_ROOT, for -1.2 <= x <= 0
GELU_TANH_SLOPE_FLOAT32 = (
    "4.30400103e-01",
    "3.87518525e-01",
    "-1.57842785e-02",
    "-1.13947749e-01",
    "-1.65914018e-02",
    "1.97075289e-02",
    "5.06857643e-03",
    "-2.42420356e-03",
    "-4.60692769e-04",
)
GELU_TANH_SLOPE_FLOAT64 = (
    "4.3040009102485849e-01",
    "3.8751844613578906e-01",
    "-1.5782853521844564e-02",
    "-1.1394448308099211e-01",
    "-1.6619328343339325e-02",
    "1.9682309461674454e-02",
    "5.2610592638275061e-03",
    "-2.4227318922487189e-03",
    "-9.2744214793801698e-04",
    "2.6392827686663885e-04",
    "1.2425308876666701e-04",
    "-3.4961206589253984e-05",
    "-1.5952406430479403e-05",
    "5.9412956623397364e-06",
    "2.4246343254265124e-06",
    "-1.0426279109272675e-06",
    "-3.8100109266228609e-07",
    "1.8529790810112513e-07",
)


def gelu_tanh_limit() -> float:
    """Where x e^v(x) has been rounded to zero."""
    return float(by_dtype(11.0, 22.0))


def gelu_tanh_exponential(a: Value) -> tuple[Value, Value]:
    """2^n, lifted, and p with exp(-v(a)) = 2^n (1 + p)."""
    square = a * a
    v = fma(GELU_TANH_CUBIC, square, GELU_TANH_LINEAR)
    # The difference is exact: v has bits for all of LINEAR's few.
    v_low = fma(GELU_TANH_CUBIC, square, GELU_TANH_LINEAR - v)
    v_low = fma(GELU_TANH_CUBIC, fma(a, a, -square), v_low)
    exponent = Pair(v, correction(v_low))
    return exp_factors_of_product(GELU_TANH_UNIT, a, exponent, shift=lift())


@activation(
    formula="x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2",
    bound=2.0,
    backward_bound=2.0,
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
    power, p = gelu_tanh_exponential(a)
    e = fma(p, power, power) * lower()
    scaled = power * a
    left = sum_over_one_plus(scaled, p * scaled, e)
    return fma(-left, lower(), clamp_low(x, 0.0))


@gelu_tanh.derivative
def gelu_tanh_derivative(x: Value) -> Value:
    """Derivative; around its root a polynomial.

    With a = |x|, e = exp(-v(a)), w = a v'(a), left of zero it is
    e (1 + e - w) / (1 + e)^2, and right of zero 1 minus that.
    """
    a = clamp_high(abs(x), gelu_tanh_limit())
    power, p = gelu_tanh_exponential(a)
    lifted = fma(p, power, power)
    e = lifted * lower()
    # v'(a) is a pair, and c1 has so few bits that the difference is exact.
    c3 = real(GELU_TANH_3_C3)
    c1, c1_low = split_at(GELU_TANH_C1, by_dtype(15, 44))
    square = a * a
    v = fma(c3, square, c1)
    v_low = fma(c3, fma(a, a, -square), fma(c3, square, c1 - v) + c1_low)
    w = a * v
    w_low = fma(a, v_low, fma(a, v, -w))
    factor = 1.0 - w
    factor_low = (1.0 - (factor + w)) - w_low
    scaled = power * factor
    low = fma(lifted, correction(factor_low) + e, p * scaled)
    left = sum_over_one_plus(scaled, low, e * (e + 2.0)) * lower()
    series = by_dtype(GELU_TANH_SLOPE_FLOAT32, GELU_TANH_SLOPE_FLOAT64)
    middle = near_root("-" + GELU_TANH_ROOT, x, series, 0.75)
    return where(x < -1.0625, left, where(x >= 0, 1.0 - left, middle))


TELU_ROOT = "1.0788600584646240566506673701720774760725540318078"
# telu'(d - TELU_ROOT) = d TELU_SLOPE(d) for |d| <= 2^-5
TELU_SLOPE_FLOAT32 = (
    "3.52503628e-01",
    "3.25226933e-01",
    "1.07883364e-01",
    "-2.29211356e-02",
    "-6.45183399e-02",
)
TELU_SLOPE_FLOAT64 = (
    "3.5250363316030620e-01",
    "3.2522691388753083e-01",
    "1.0786032936426479e-01",
    "-2.2875972059962512e-02",
    "-4.5645387109152988e-02",
    "-2.5487706323420373e-02",
    "-5.6305876944004792e-03",
    "2.7752944886440174e-03",
    "3.7636276972709427e-03",
)


def telu_far_left() -> float:
    """Where tanh(e^x) = e^x to the last digit: that may be a subnormal, and is lifted."""
    return -20.0


def telu_exponential(x: Value) -> Pair:
    """e^x, lifted; for x > 4, where tanh(e^x) is 1 to any precision here, e^4."""
    return exp_lifted(reduce_exp(clamp_high(clamp_low(x, lowest_exponent()), 4.0)))


@activation(
    formula="x tanh(exp(x))",
    bound=2.0,
    backward_bound=2.0,
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
    m = total(half_of_one_minus_exp_pair(clamp_high(e.high, 25.0), e.low))
    far = x < telu_far_left()
    t = select(far, lifted, over_one_plus(m, -m))
    x = clamp_low(x, lowest_exponent())
    return times_pair(x, t) * where(far, lower(), 1.0)


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
    return around_root("-" + TELU_ROOT, x, series, slope, 2.0**-5)
