"""Activations that level off on both sides."""

from __future__ import annotations

import math
from fractions import Fraction

from ..elementary import (
    ARTANH_FLOAT32,
    ARTANH_FLOAT64,
    LN2,
    TANH_NEAR_FLOAT32,
    Pair,
    clamp_size,
    exact_product,
    exact_quotient,
    fast_two_sum,
    finite_times_pair,
    half_of_one_minus_exp_pair,
    lift,
    lower,
    lowest_exponent,
    over_one_plus,
    pair,
    quotient,
    scale,
    select,
    tanh_near_and_far,
    tanh_of_half_size,
    two_product,
    two_sum,
    with_sign,
)
from ..entry import activation
from ..language import (
    INFINITY,
    NAN,
    Real,
    Value,
    add_integers,
    all_digits,
    and_integers,
    bits,
    by_dtype,
    clamp_high,
    copysign,
    fma,
    from_bits,
    horner,
    nan_from,
    polynomial,
    power_of_two,
    real,
    shift_right,
    split,
    subtract_integers,
    to_last_digit,
    where,
)
from ..logistic import (
    logistic,
    logistic_slope,
    logistic_slope_times_lifted,
)


@activation(
    formula="1 / (1 + exp(-x))",
    bound=2.0,
    backward_bound=2.0,  # as of tanh
    source="Verhulst 1845; Rumelhart et al. 1986, doi:10.1038/323533a0",
    aliases=("logistic", "expit"),
    plain="1 / (1 + np.exp(-x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-x))) * (1 - s)",
)
def sigmoid(x: Value) -> Value:
    """Logistic sigmoid."""
    return logistic(x)


@sigmoid.derivative
def sigmoid_derivative(x: Value) -> Value:
    return logistic_slope(x)


@sigmoid.derivative_from_output
def sigmoid_derivative_from_output(y: Value) -> Value:
    return y * (1.0 - y)


@activation(
    formula="tanh(x)",
    backward_bound=2.0,  # within 1 PyTorch's, from the output, is faster
    source="LeCun et al. 1998, Efficient BackProp",
    plain="np.tanh(x)",
    plain_backward="dy * (1 - np.tanh(x) ** 2)",
)
def tanh(x: Value) -> Value:
    """Hyperbolic tangent."""
    if to_last_digit():
        return with_sign(tanh_near_and_far(abs(x)), x)
    # beyond 25 it is 1 to any precision here
    return copysign(tanh_of_half_size(clamp_high(abs(x + x), 50.0)), x)


@tanh.derivative
def tanh_derivative(x: Value) -> Value:
    return logistic_slope(x + x, factor=4.0)


@tanh.derivative_from_output
def tanh_derivative_from_output(y: Value) -> Value:
    return (1.0 - y) * (1.0 + y)


def tanh_of_sum(z: Value, z_low: Value | None) -> Pair:
    """tanh(z + z_low)."""
    rest = None if z_low is None else where(z < 0, -z_low, z_low)
    size = clamp_high(abs(z), 25.0)
    half = half_of_one_minus_exp_pair(size, rest, in_full=to_last_digit())
    m, m_low = fast_two_sum(*half)
    # The remainder of (m + m_low) - q (1 - m - m_low) as in `divide_by_one_plus`;
    # 1 + q = 1 / (1 - m).
    reciprocal = 1.0 / (1.0 - m)
    q = m * reciprocal
    remainder = fma(m_low, reciprocal, fma(q, m, m - q))
    far = Pair(copysign(q, z), remainder * copysign(reciprocal, z))
    if not to_last_digit():
        return far
    # Near zero the low part of m would be so large that its rounding errors count.
    square = z * z
    curve = z * square * horner(square, TANH_NEAR_FLOAT32)
    low = curve if z_low is None else curve + z_low
    return select(abs(z) < 5 / 16, Pair(z, low), far)


def twice(z: Value, z_low: Value | None) -> tuple[Value, Value | None]:
    """2 (z + z_low)."""
    return z + z, None if z_low is None else z_low + z_low


def scaled_tanh_of(
    x: Value, linear: Real, factor: Real, z: tuple[Value, Value | None]
) -> Value:
    """factor tanh(z), given that it is x linear near zero.

    There x linear keeps the digits that a subnormal z has lost.
    """
    near_zero = abs(x) < by_dtype(power_of_two(-64), power_of_two(-500))
    curve = finite_times_pair(real(factor), tanh_of_sum(*z))
    return where(near_zero, x * linear, curve)


@activation(
    formula="alpha tanh(beta x)",
    source="LeCun et al. 1998, Efficient BackProp",
    plain="alpha * np.tanh(beta * x)",
    plain_backward="dy * alpha * beta * (1 - np.tanh(beta * x) ** 2)",
    notes="Paddle's stanh has beta = 0.67.",
)
def scaled_tanh(x: Value, alpha: Real = 1.7159, beta: Real = 2 / 3) -> Value:
    """Scaled hyperbolic tangent."""
    z = exact_product(beta, x)
    return scaled_tanh_of(x, real(alpha) * beta, alpha, z)


@scaled_tanh.derivative
def scaled_tanh_derivative(x: Value, alpha: Real, beta: Real) -> Value:
    z, z_low = twice(*exact_product(beta, x))
    slope = logistic_slope_times_lifted(two_product(alpha, beta), z, z_low)
    # A large factor must not bring back what has been clamped.
    return where(abs(z) > -lowest_exponent(), 0.0, slope * (4.0 * lower()))


@scaled_tanh.derivative_from_output
def scaled_tanh_derivative_from_output(y: Value, alpha: Real, beta: Real) -> Value:
    # A function of the output even for alpha = 0: both are 0 everywhere.
    factor = where(real(alpha) == 0, 0.0, beta / real(alpha))
    return (alpha - y) * (alpha + y) * factor


@scaled_tanh.parameter_derivative("alpha")
def scaled_tanh_by_alpha(x: Value, alpha: Real, beta: Real) -> Value:
    return scaled_tanh_of(x, beta, 1.0, exact_product(beta, x))


@scaled_tanh.parameter_derivative("beta")
def scaled_tanh_by_beta(x: Value, alpha: Real, beta: Real) -> Value:
    z, z_low = exact_product(beta, x)
    z, z_low = twice(z, z_low)
    slope = x * logistic_slope(z, z_low, factor=4.0)
    # x grows much more slowly than e^-|z| falls, but inf * 0 would be NaN.
    return where(abs(z) > -lowest_exponent(), 0.0, alpha * slope)


@activation(
    formula="cap tanh(x / cap)",
    backward_bound=2.0,  # as of tanh
    source="Gemma Team 2024, arXiv:2408.00118; Bello et al. 2016, arXiv:1611.09940",
    requires={"cap": "> 0"},
    plain="cap * np.tanh(x / cap)",
    plain_backward="dy * (1 - np.tanh(x / cap) ** 2)",
    notes="Gemma 2 caps attention's logits at 50 and the final ones at 30.",
)
def softcap(x: Value, cap: Real) -> Value:
    """Soft cap of logits: between -cap and cap, near zero x itself."""
    return scaled_tanh_of(x, 1.0, cap, exact_quotient(pair(x), cap))


@softcap.derivative
def softcap_derivative(x: Value, cap: Real) -> Value:
    z = twice(*exact_quotient(pair(x), cap))
    return logistic_slope(*z, factor=4.0)


@softcap.derivative_from_output
def softcap_derivative_from_output(y: Value, cap: Real) -> Value:
    return tanh_derivative_from_output(y / cap)


# sinh(w) - w = w^3 SINH(w^2), for |w| < 1.5: Taylor's series
SINH_FLOAT32 = [f"1/{math.factorial(n)}" for n in range(3, 15, 2)]
SINH_FLOAT64 = [f"1/{math.factorial(n)}" for n in range(3, 25, 2)]


@softcap.parameter_derivative("cap")
def softcap_by_cap(x: Value, cap: Real) -> Value:
    # tanh(z) - z sech(z)^2, z = x / cap; near zero with sech(z)^2 = 4 s, w = 2z:
    # (sinh(w) - w) 2 s, without the difference of nearly equal numbers
    z, z_low = exact_quotient(pair(x), cap)
    z = clamp_size(z, -lowest_exponent())
    w, w_low = z + z, z_low + z_low
    s = logistic_slope(w, w_low)
    series = polynomial(w * w, by_dtype(SINH_FLOAT32, SINH_FLOAT64))
    high, low = tanh_of_sum(z, z_low)
    far = fma(z * -4.0, s, high) + fma(z_low * -4.0, s, low)
    return where(abs(w) < 1.5, w * w * w * series * (s + s), far)


@activation(
    formula="gamma tanh(alpha x) + beta",
    source="Zhu et al. 2025, arXiv:2503.10622",
    aliases=("dynamic_tanh",),
    plain="gamma * np.tanh(alpha * x) + beta",
    plain_backward="dy * gamma * alpha * (1 - np.tanh(alpha * x) ** 2)",
    notes="Where beta cancels gamma tanh(alpha x), the error is bounded beside beta. "
    "Parameters broadcast like any NumPy operand: gamma and beta of one value per channel "
    "belong to the last axis.",
)
def dyt(x: Value, alpha: Real = 0.5, gamma: Real = 1.0, beta: Real = 0.0) -> Value:
    """Dynamic tanh, in the place of a normalisation layer."""
    with all_digits():  # gamma tanh(alpha x) and beta may cancel
        z, z_low = exact_product(alpha, x)
        product = scale(gamma, tanh_of_sum(z, z_low))
        # At infinity nothing must be left over.
        rest = where(abs(z) < 25.0, product.low, 0.0)
        high, low = two_sum(product.high, beta)
        shifted = high + (low + rest)
    return where(real(beta) == 0, scaled_tanh(x, gamma, alpha), shifted)


@dyt.derivative
def dyt_derivative(x: Value, alpha: Real, gamma: Real, beta: Real) -> Value:
    return scaled_tanh_derivative(x, gamma, alpha)


@dyt.parameter_derivative("alpha")
def dyt_by_alpha(x: Value, alpha: Real, gamma: Real, beta: Real) -> Value:
    return scaled_tanh_by_beta(x, gamma, alpha)


@dyt.parameter_derivative("gamma")
def dyt_by_gamma(x: Value, alpha: Real, gamma: Real, beta: Real) -> Value:
    return scaled_tanh_by_alpha(x, gamma, alpha)


@dyt.parameter_derivative("beta")
def dyt_by_beta(x: Value, alpha: Real, gamma: Real, beta: Real) -> Value:
    return nan_from(x, 1.0)


@activation(
    formula="log(x / (1 - x))",
    source="Berkson 1944, doi:10.1080/01621459.1944.10500699",
    roots=("0.5",),
    domain=(0.0, 1.0),
    plain="np.log(x / (1 - x))",
    plain_backward="dy / (x * (1 - x))",
    notes="The inverse of sigmoid. NaN outside 0 <= x <= 1; PyTorch's `eps` is "
    "logit(np.clip(x, eps, 1 - eps)).",
)
def logit(x: Value) -> Value:
    """Logarithm of the odds."""
    p = where(x > 0.5, 1.0 - x, x)
    size = where(p > 0, log_odds(p), where(p == 0, -INFINITY, NAN))
    return copysign(size, x - 0.5)


def log_odds(p: Value) -> Value:
    """log(p / (1 - p)) for 0 < p <= 1/2.

    With q = 1 - p and c the power of two such that p / q is near c, it is
    2 artanh(s) + log(c), s = (p/q - c) / (p/q + c) = (p (1 + c) - c) / (p (1 - c) + c).
    Near 1/2 c is 1, and s = 2p - 1 exact.
    """
    bias, places, far_shift = by_dtype((127, 23, 30), (1023, 52, 60))
    # Far below, where q is 1, p is multiplied by a power of two: p may be subnormal.
    far = p < by_dtype(power_of_two(-100), power_of_two(-1000))
    p = where(far, p * power_of_two(far_shift), p)
    # The difference of the bits is a piecewise linear log2(p / q), off by at most 0.09;
    # with 0.8 before rounding down, c/1.9 < p/q < 1.3c: |s| < 0.31.
    offset = (bias << places) + (4 << places) // 5
    biased = add_integers(subtract_integers(bits(p), bits(1.0 - p)), offset)
    c = from_bits(and_integers(biased, bits(INFINITY)))
    # An integer in the low bits of 2^23 (2^52) adds to it.
    magic = 2.0**places
    exponent = from_bits(add_integers(shift_right(biased, places), bits(magic)))
    k = exponent - where(far, magic + bias + far_shift, magic + bias)
    numerator, denominator = fma(p, 1.0 + c, -c), fma(p, 1.0 - c, c)
    ln2_high, ln2_low = split(LN2)
    if to_last_digit():
        # The two largest terms, 2s and k log(2), may cancel to less than their size: what
        # their sum and the division lack is added to the small ones.
        double, missing = quotient(pair(numerator + numerator), pair(denominator))
        high = fma(k, ln2_high, double)
        low = fma(k, ln2_low, double + fma(k, ln2_high, -high)) + missing
        square = double * double
        quartered = [f"{Fraction(c) / 4**i}" for i, c in enumerate(ARTANH_FLOAT32, 1)]
        return high + fma(double * square, polynomial(square, quartered), low)
    s = numerator / denominator
    square = s * s
    series = polynomial(square, by_dtype(ARTANH_FLOAT32, ARTANH_FLOAT64))
    log_of_rest = 2.0 * fma(s * square, series, s)
    return fma(k, ln2_high, fma(k, ln2_low, log_of_rest))


@logit.derivative
def logit_derivative(x: Value) -> Value:
    if not to_last_digit():
        product = fma(-x, x, x)  # x (1 - x), rounded once
        return where(product >= 0, 1.0 / abs(product), NAN)
    other = 1.0 - x  # exact where it is the smaller one
    p = where(x < other, x, other)
    product = fma(-p, p, p)
    excess = fma(p, p, product - p)  # of the rounded product
    reciprocal = 1.0 / product
    # Where the reciprocal is infinite the excess is zero, their product NaN: any positive
    # number in its place leaves the infinity.
    change = excess * reciprocal
    change = where(change < 1, change, 1.0)
    size = abs(fma(change, reciprocal, reciprocal))
    return where(product >= 0, size, NAN)


@logit.derivative_from_output
def logit_derivative_from_output(y: Value) -> Value:
    # 2 + e^y + e^-y = (1 + e)^2 / e, e = e^-|y|
    return power_of_two(lift()) / logistic_slope(y, factor=2.0 ** lift())


@activation(
    formula="x / (1 + |x|)",
    source="Turian, Bergstra and Bengio 2009",
    aliases=("soft_sign",),
    plain="x / (1 + np.abs(x))",
    plain_backward="dy / (1 + np.abs(x)) ** 2",
)
def softsign(x: Value) -> Value:
    """Softsign."""
    finite = clamp_size(x, softsign_limit())
    a = abs(finite)
    if to_last_digit():
        # For a > 1 the difference in the remainder is rounded, by 2^-25 at most.
        return finite_times_pair(finite, over_one_plus(real(1.0), a))
    return finite / (1.0 + a)


def softsign_limit() -> float:
    """Where x / (1 + |x|) has long been 1 and 1 / (1 + |x|)^2 long been zero."""
    return float(by_dtype(1e30, 1e200))


@softsign.derivative
def softsign_derivative(x: Value) -> Value:
    high, low = two_sum(1.0, clamp_high(abs(x), softsign_limit()))
    reciprocal, missing = quotient(pair(1.0), Pair(high, low))
    return fma(reciprocal, reciprocal, 2.0 * reciprocal * missing)


@softsign.derivative_from_output
def softsign_derivative_from_output(y: Value) -> Value:
    root = 1.0 - abs(y)
    return root * root
