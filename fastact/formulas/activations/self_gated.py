"""Self-gated activations: x times a sigmoid function of x."""

from __future__ import annotations

from ..elementary import (
    Pair,
    add_same_sign,
    around_root,
    constant_pair,
    distance_to,
    exact_product,
    exp_factors_of_product,
    exp_lifted,
    expm1,
    fma_exact,
    half_of_one_minus_exp_pair,
    lift,
    lower,
    lowest_exponent,
    multiply,
    near_root,
    one_plus,
    over_one_plus,
    pair,
    quotient,
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
    fma,
    real,
    where,
)
from ..logistic import (
    SILU_ROOT,
    exp_of_minus_abs,
    logistic_slope_lifted,
    silu_slope,
    times_logistic,
    times_logistic_of_any,
)


@activation(
    formula="x / (1 + exp(-x))",
    bound=2.0,
    source="Elfwing, Uchibe and Doya 2017, arXiv:1702.03118",
    aliases=("swish_1", "swish1", "sil"),
    derivative_roots=("-" + SILU_ROOT,),
    plain="x / (1 + np.exp(-x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-x))) * (1 + x * (1 - s))",
)
def silu(x: Value) -> Value:
    """Sigmoid linear unit."""
    x = clamp_low(x, lowest_exponent())
    return times_logistic(x, x)


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
    notes="At beta = 1 it is silu.",
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
    slope = x * logistic_slope_lifted(z, z_low) * lower() * x
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
    return silu_slope(*exponent)


# ---------------------------------------------------------------- mish


@activation(
    formula="x tanh(log(1 + exp(x)))",
    bound=2.0,
    source="Misra 2019, arXiv:1908.08681",
    derivative_roots=("-1.19243121451549521213758834042073940560068641",),
    plain="x * np.tanh(np.logaddexp(x, 0))",
    plain_backward="dy * ((t := np.tanh(np.logaddexp(x, 0)))"
    " + x * (1 - t * t) / (1 + np.exp(-x)))",
)
def mish(x: Value) -> Value:
    """Mish."""
    # tanh(log(1 + e^x)) = n / (n + 2), n = e^x (e^x + 2); right of zero divided by
    # e^2x: n = 1 + 2e, and n / (n + 2e^2), e = e^-x. Each sum keeps its rounding error.
    negative = x < 0
    x = clamp_low(x, lowest_exponent())
    lifted = exp_of_minus_abs(x)
    e = lifted * lower()
    unlift_left = where(negative, lower(), 1.0)
    n = fma_exact(
        where(negative, lifted, e),
        where(negative, e, 2.0),
        where(negative, lifted + lifted, 1.0),
    )
    base = fma_exact(
        where(negative, n.high, e + e),
        where(negative, lower(), e),
        where(negative, 2.0, n.high),
    )
    base_low = fma(n.low, unlift_left, base.low)
    return times_pair(x, quotient(n, Pair(base.high, base_low))) * unlift_left


MISH_ROOT = "1.19243121451549521213758834042073940560068641"
MISH_EXP_AT_ROOT = "0.303482535281528928821436743539643058364490752"
MISH_A = "3.93444037185296393522630131155355812359426681"  # 3e^2 + 8e + 6 - 4r there
MISH_B = "4.91044760584458678646431023061892917509347226"  # 3e + 4 there


@mish.derivative
def mish_derivative(x: Value) -> Value:
    """Derivative, accurate around its root too.

    Left of zero, with a = -x, e = e^-a and n = e (e + 2), it is e K / (n + 2)^2,
    K = (e + 2) (n + 2) - 4 a (1 + e). K is 0 at a = r. With h = e - e^-r and d = r - a,
    K = h (A + B h + h^2) + 4 d (1 + e): two terms of one sign.
    Right of zero, with e = e^-x, T = 1 + 2e and D = T + 2e^2, it is
    (T D + 4 x e^2 (1 + e)) / D^2: no term is negative.
    """
    negative = x < 0
    size = clamp_high(abs(x), -lowest_exponent())
    distance = distance_to(MISH_ROOT, size)
    reduced = reduce_exp(*distance)
    at_root = constant_pair(MISH_EXP_AT_ROOT)
    lifted = multiply(at_root, exp_lifted(reduced))
    e = unlift(lifted)
    one_plus_e = one_plus(e)

    h = multiply(at_root, expm1(reduced))
    slope = add_same_sign(
        constant_pair(MISH_A),
        multiply(h, add_same_sign(constant_pair(MISH_B), h)),
    )
    k = add_same_sign(multiply(h, slope), multiply(scale(4.0, distance), one_plus_e))
    left_top = multiply(lifted, k)
    left_base = add_same_sign(multiply(e, add_same_sign(pair(2.0), e)), pair(2.0))

    t = add_same_sign(pair(1.0), scale(2.0, e))
    square = multiply(e, e)
    right_base = add_same_sign(t, scale(2.0, square))
    rising = multiply(scale(4.0 * size, square), one_plus_e)
    right_top = add_same_sign(multiply(t, right_base), rising)

    base = select(negative, left_base, right_base)
    top = select(negative, left_top, right_top)
    slope_of_x = total(quotient(top, multiply(base, base)))
    return slope_of_x * where(negative, lower(), 1.0)


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
    """p and a power of two with exp(-v(a)) 2^lift() = power (1 + p)."""
    square = a * a
    v = fma(GELU_TANH_CUBIC, square, GELU_TANH_LINEAR)
    # The difference is exact: v has bits for all of LINEAR's few.
    v_low = fma(GELU_TANH_CUBIC, square, GELU_TANH_LINEAR - v)
    v_low = fma(GELU_TANH_CUBIC, fma(a, a, -square), v_low)
    return exp_factors_of_product(GELU_TANH_UNIT, a, Pair(v, v_low), shift=lift())


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
    p, power = gelu_tanh_exponential(a)
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
    p, power = gelu_tanh_exponential(a)
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
    low = fma(lifted, factor_low + e, p * scaled)
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
