"""What follows from the logistic function: its slope, its products, silu's derivative."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from .elementary import (
    Pair,
    clamp_size,
    exp_beside_center,
    exp_factors_and_rest,
    exp_lifted,
    exp_over_one_plus_factors,
    exp_parts,
    exp_value,
    fast_two_sum,
    fma_exact,
    lift,
    log1p_lifted,
    log1p_lifted_pair,
    lower,
    lowest_exponent,
    multiply,
    one_plus,
    one_plus_exp_lowered,
    over_one_plus,
    quotient,
    reduce_exp,
    times_pair,
    total,
    two_product,
    unlift,
)
from .language import (
    Value,
    and_integers,
    bits,
    by_dtype,
    clamp_high,
    clamp_low,
    copysign,
    correction,
    fma,
    from_bits,
    horner,
    polynomial,
    power_of_two,
    real,
    split,
    to_last_digit,
    where,
)


def exp_of_minus_abs(z: Value, z_low: Value | None = None) -> Value:
    """e^-|z + z_low|, lifted."""
    rest = None if z_low is None else where(z < 0, z_low, -z_low)
    return exp_value(-clamp_high(abs(z), -lowest_exponent()), rest, shift=lift())


def logistic(z: Value, z_low: Value | None = None) -> Value:
    """1 / (1 + e^-(z + z_low)), rounded twice: 1 + e^-z and the quotient.

    Both are lowered, so that e^-z stays finite where the result is subnormal.
    """
    highest = by_dtype(30.0, 60.0)  # from here on it is 1
    clamped = clamp_low(clamp_high(z, highest), lowest_exponent())
    low = None if z_low is None else -z_low
    # In float32 there is so little to do that a processor waits for nothing.
    scheme = by_dtype(horner, polynomial)
    return lower() / one_plus_exp_lowered(-clamped, low, scheme).high


def logistic_slope(
    z: Value, z_low: Value | None = None, *, factor: float = 1.0
) -> Value:
    """A power of two times y (1 - y), y being the logistic function of -|z + z_low|."""
    return _logistic_of_minus_abs_and_slope(z, z_low, factor)[1]


def logistic_and_slope(z: Value) -> tuple[Value, Value]:
    """1 / (1 + e^-z), in fewer operations beside its derivative than by itself."""
    y, slope = _logistic_of_minus_abs_and_slope(z, None, 1.0)
    return where(z < 0, y, 1.0 - y), slope


def _logistic_of_minus_abs_and_slope(
    z: Value, z_low: Value | None, factor: float
) -> tuple[Value, Value]:
    """The logistic function y of -|z + z_low|, and the factor times y (1 - y).

    With what its denominator has lost, y would be (1 - lost) y, and the slope
    y - y (y + lost (1 - 2y)). A constant in the place of 1 - 2y, which lies between 0
    and 1, leaves at most half of the error where y is small, and adds no more than the
    error would be where y is 1/2 and hardly depends on it.
    """
    rest = None if z_low is None else where(z < 0, -z_low, z_low)
    size = clamp_high(abs(z), -lowest_exponent())
    denominator = one_plus_exp_lowered(size, rest)
    multiple = (factor * lower()) / denominator.high
    y = multiple * (1 / factor)
    lost = y * denominator.low  # lowered
    half_lost_and_y = fma(lost, power_of_two(lift() - 1), y)
    return y, fma(-multiple, half_lost_and_y, multiple)


def exact_logistic(z: Value, z_low: Value | None = None) -> Value:
    """`logistic`, in float32 to 1 ULP.

    With e^|z| = 2^n (1 + p), y = 1 / (1 + e^|z|) lacks 1 - y - y 2^n - y 2^n p, where
    y 2^n is exact and between 0.35 and 1.42: taking y away last, from what is nearly y,
    leaves no rounding errors to speak of. Right of zero the result is 1 - y.
    """
    if not to_last_digit():
        return logistic(z, z_low)
    rest = None if z_low is None else where(z < 0, -z_low, z_low)
    size = clamp_high(abs(z), -lowest_exponent())
    power, p, lost = exp_factors_and_rest(size, rest, shift=-lift())
    lifted = 1.0 / (fma(power, p, power) + lower())
    part = lifted * power
    high, low = fast_two_sum(1.0, -part)
    missing = fma(lifted, -lower(), fma(-part, p, high)) + (low - lost)
    return one_minus_right(z < 0, fma(missing, lifted, lifted))


def logistic_slope_times_lifted(
    factor: Pair, z: Value, z_low: Value | None = None
) -> Value:
    """The factor times e / (1 + e)^2 of e = e^-|z + z_low|, lifted, to about 0.6 ULP.

    Other factors than powers of two make more of an exponential's rounding error.
    """
    rest = None if z_low is None else where(z < 0, z_low, -z_low)
    lifted = exp_lifted(reduce_exp(clamp_low(-abs(z), lowest_exponent()), rest))
    base = one_plus(unlift(lifted))
    return total(quotient(multiply(factor, lifted), multiply(base, base)))


# log1p(e^-a) = log1p(e^-k) + v SOFTPLUS_NEAR(v), v = a - k, for 0 <= a <= 17/16. k is such
# that the constant is near to a number of the format.
SOFTPLUS_MIDDLE = 15 / 32
SOFTPLUS_AT_MIDDLE = "0.485990166880682184212891697288670685512865496"
SOFTPLUS_NEAR_FLOAT32 = (
    "-3.84912133e-01",
    "1.18377373e-01",
    "-9.08277277e-03",
    "-4.14787559e-03",
    "8.37381987e-04",
    "2.01019648e-04",
    "-7.60544208e-05",
)
# log1p(u) = u + u^2 SOFTPLUS_FAR(u) for 0 <= u <= e^-17/16
SOFTPLUS_FAR_FLOAT32 = (
    "-4.99999344e-01",
    "3.33295405e-01",
    "-2.49260530e-01",
    "1.93225399e-01",
    "-1.33889258e-01",
    "5.62768690e-02",
)


def logsigmoid_near_and_far(x: Value) -> Value:
    """-log(1 + e^-x) in float32, to 1 ULP.

    Near zero log(1 + e^-|x|) is a number and a smaller polynomial, added to it last.
    Beyond, with u = e^-|x| = 2^n (1 + r + small), it is
    2^n (1 + (r + (small + (1 + r + small) u P(u)))), where r is exact.
    """
    a = abs(x)
    base = where(x < 0, x, 0.0)
    v = a - SOFTPLUS_MIDDLE
    first, *others = [-real(c) for c in SOFTPLUS_NEAR_FLOAT32]
    curve = fma(v, first, v * v * horner(v, others))
    near = (curve + base) - real(SOFTPLUS_AT_MIDDLE)

    exponent = -clamp_high(a, -lowest_exponent())
    power, r, small = exp_parts(exponent, shift=lift())
    p = r + small
    u = fma(power, p, power) * lower()
    rest = r + fma(fma(u, p, u), horner(u, SOFTPLUS_FAR_FLOAT32), small)
    far = fma(fma(power, rest, power), -lower(), base)

    return where(a < 17 / 16, near, far)


def softplus_tail(z: Value, z_low: Value | None = None) -> Value:
    """log(1 + e^-|z + z_low|), lifted."""
    return log1p_lifted(exp_of_minus_abs(z, z_low))


def softplus_tail_pair(z: Value, z_low: Value | None) -> Pair:
    """log(1 + e^-|z + z_low|) as a sum, lifted."""
    return log1p_lifted_pair(exp_of_minus_abs(z, z_low))


def times_logistic_of_size(
    x: Value, a: Value, power: Value, r: Value, small: Value
) -> Value:
    """x / (1 + e), or x e / (1 + e) left of zero; a = |x|, e = power (1 + r + small).

    The power is lifted. The result is max(x, 0) - a e / (1 + e).
    """
    left = times_exp_over_one_plus(a, power, r, small, lower())
    return fma(-left, lower(), clamp_low(x, 0.0))


def times_exp_over_one_plus(
    a: Value, power: Value, r: Value, small: Value, unlift: Value
) -> Value:
    """a e / (1 + e) in float32, nearly rounded once; e = unlift power (1 + r + small).

    The result is lifted as the power is. With e = w (1 + p) a quotient q lacks a
    remainder over 1 + e, which is (a w - q) - q w + (a - q) w p. Without its last bit
    q leaves the first difference exact even where it is less than half of a w (w = 1
    and a negative p).
    """
    lifted = fma(power, r + small, power)
    reciprocal = 1.0 / fma(lifted, unlift, 1.0)
    q = from_bits(and_integers(bits((lifted * a) * reciprocal), 2**32 - 2))
    w = power * unlift
    scaled = power * a
    factor = fma(-q, w, scaled)
    remainder = fma(-q, w, fma(factor, r, scaled - q))
    return fma(fma(factor, small, remainder), reciprocal, q)


def times_logistic(x: Value, z: Value, z_low: Value | None = None) -> Value:
    """x / (1 + e^-(z + z_low)) for an x that is clamped where this is zero."""
    negative = z < 0
    lifted = exp_of_minus_abs(z, z_low)
    top = where(negative, lifted, 1.0)
    logistic_z = over_one_plus(top, lifted * lower())
    return times_pair(x, logistic_z) * where(negative, lower(), 1.0)


def times_logistic_of_any(x: Value, z: Value, z_low: Value) -> Value:
    """x / (1 + e^-(z + z_low)) for x and z of any size each.

    Far on the left x e^z is still a normal number where e^z no longer is: there e^z is
    lifted, and x lowered, which may be large.
    """
    negative = z < 0
    edge, lowest = by_dtype((-86.0, -174.0), (-700.0, -1400.0))
    shift, lowering = by_dtype((126, 64), (1022, 512))
    far = z < edge
    unlift = where(far, power_of_two(-shift), 1.0)
    scale = where(far, power_of_two(-lowering), 1.0)
    back = where(far, power_of_two(lowering - shift), 1.0)
    # On the right e^-|z| only has to be negligible, and must not need lifting.
    exponent = clamp_low(-abs(z), where(negative, lowest, edge))
    rest = where(negative, z_low, -z_low)
    # Elsewhere a small x is lifted, so that a subnormal result is rounded once.
    small = abs(x) < where(far, 0.0, by_dtype(power_of_two(60), power_of_two(500)))
    scale = where(small, power_of_two(lowering), scale)
    back = where(small, power_of_two(-lowering), back)
    largest = by_dtype((2.0 - 2.0**-23) * 2.0**127, (2.0 - 2.0**-52) * 2.0**1023)
    a = clamp_size(where(negative, x, -x) * scale, largest)
    power, denominator = exp_over_one_plus_factors(
        exponent, rest, shift=shift, only=far, unlift=unlift
    )
    part = a * power / denominator
    product = copysign(fma(part, back, where(negative, 0.0, x)), x)
    return where(z <= lowest, copysign(0.0, x), product)


SILU_ROOT = "1.27846454276107379510935873902298015543947749"


def silu_slope(z: Value, z_low: Value | None = None) -> Value:
    """Derivative of z / (1 + e^-z) at z + z_low, accurate around its root too."""
    a = clamp_high(abs(z), -lowest_exponent())
    a_low = None if z_low is None else where(z < 0, -z_low, z_low)
    return one_minus_right(z < 0, _silu_slope_of_size(a, a_low).slope)


def silu_and_slope(x: Value) -> tuple[Value, Value]:
    """x / (1 + e^-x), in fewer operations beside its derivative than by itself."""
    a = clamp_high(abs(x), -lowest_exponent())
    parts = _silu_slope_of_size(a, None)
    return parts.gated(x, a), one_minus_right(x < 0, parts.slope)


def _silu_slope_of_size(a: Value, a_low: Value | None) -> SlopeAndParts:
    at_root, _ = split(f"{Fraction(SILU_ROOT) - 1}")
    # In float64 the root is so near to a number that the sums would cancel beside it if e0
    # were one, too.
    at_center = by_dtype(at_root.constant, Fraction(SILU_ROOT) - 1)
    return gate_slope(a, a_low, a, a_low, at_center)


class SlopeAndParts(NamedTuple):
    """The derivative of x e / (1 + e), lifted, and what it has been made of."""

    slope: Value
    lifted_e: Value
    e: Value
    reciprocal: Value  # 1 / (1 + e)^2

    def gated(self, x: Value, a: Value) -> Value:
        """x / (1 + e), or x e / (1 + e) left of zero, within 2 ULP; a = |x|, clamped.

        As `over_one_plus`, with a reciprocal that is near enough for its remainder.
        """
        reciprocal = fma(self.reciprocal, self.e, self.reciprocal)
        nearly = (a * self.lifted_e) * reciprocal
        remainder = fma(-nearly, self.e, fma(a, self.lifted_e, -nearly))
        left = fma(correction(remainder), reciprocal, nearly)
        return fma(-left, lower(), clamp_low(x, 0.0))


def gate_slope(
    v: Value,
    v_low: Value | None,
    w: Value,
    w_low: Value | None,
    at_center: float | Fraction,
    *,
    unit: str = "1",
) -> SlopeAndParts:
    """e = e^(-unit (v + v_low)), and the slope e (1 + e - w) / (1 + e)^2, for v, w >= 0.

    That is the derivative of x / (1 + e^-V(x)), V odd, left of zero, for V(|x|) = unit v
    and w = |x| V'(x); right of zero it is missing from 1. At the root e is w - 1. With a
    value e0 next to it and its v, the center c, e = e0 e^(unit (c - v)), and the factor
    is (1 - w + e0) + e0 expm1(unit (c - v)): near the root the first sum is exact, and has
    the sign of the second. Products lack nothing: what they have lost is a part of the
    quotient's remainder.
    """
    e0, e0_low = split(f"{Fraction(at_center)}")
    rest = e0_low if e0_low.constant != 0 else None
    if w_low is not None:
        rest = -w_low if rest is None else rest - w_low
    power, growth = exp_beside_center(at_center, v, v_low, unit=unit)
    scaled = power * e0
    e = fma(scaled, growth, scaled)

    whole = scaled * lower()
    # Near zero, where 1 - w is smaller, a quarter of a ULP is lost.
    begun, lost = fast_two_sum(1.0 - w, whole)
    factor = fma(whole, growth, begun if rest is None else begun + rest)
    lost = lost if rest is None else lost + rest
    factor_low = fma(whole, growth, begun - factor) + lost

    unlifted = fma(whole, growth, whole)
    square, square_low = fma_exact(unlifted, unlifted + 2.0, real(1.0))
    reciprocal = 1.0 / square
    product, product_low = two_product(e, factor)
    q = product * reciprocal
    remainder_low = fma(-q, square_low, fma(e, factor_low, product_low))
    remainder = fma(-q, square, product) + remainder_low
    slope = fma(correction(remainder), reciprocal, q)
    return SlopeAndParts(slope, e, unlifted, reciprocal)


def one_minus_right(negative: Value, left_lifted: Value) -> Value:
    """g(|x|) left of zero and 1 - g(|x|) right of it, from a lifted g."""
    sign = where(negative, lower(), -lower())
    zero_or_one = fma(sign, -power_of_two(lift() - 1), 0.5)
    return fma(left_lifted, sign, zero_or_one)
