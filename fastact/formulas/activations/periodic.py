"""Periodic activations."""

from __future__ import annotations

from ..elementary import (
    HALF_PI,
    QUARTER_PI,
    Pair,
    fast_two_sum,
    nearest_quarter_turn,
    pair,
    quotient,
    sine,
    split_in_three,
    total,
    two_sum,
)
from ..entry import activation
from ..language import (
    Real,
    Value,
    by_dtype,
    fma,
    nan_from,
    real,
    split,
    sqrt,
    where,
)

THREE_QUARTERS_PI = "2.35619449019234492884698253745962716314787704953132936573120"


def snake_limit() -> float:
    """The largest a x that is reduced: there, a period is a few floats."""
    return float(by_dtype(6.5e6, 3.5e15))


def angle(x: Value, a: Real) -> tuple[Value, Value | None]:
    """a x and what its rounding lost; for a = 1, x and nothing."""
    a = real(a)
    if a.constant == 1:
        return x, None
    product = a * x
    return product, fma(a, x, -product)


def reduced_angle(z: Value, z_low: Value | None) -> tuple[Pair, Value]:
    """z - n pi/2, and whether n is odd."""
    n, odd = nearest_quarter_turn(z, 0.0)
    half_pi, half_pi_low = split(HALF_PI)
    rest = fma(-n, half_pi, z)  # exact
    high = fma(-n, half_pi_low, rest)
    low = fma(-n, half_pi_low, rest - high)
    return Pair(high, low if z_low is None else low + z_low), odd


@activation(
    formula="x + sin(a x)^2 / a",
    source="Ziyin, Hartwig and Ueda 2020, arXiv:2006.08195",
    derivative_roots=("-" + QUARTER_PI, THREE_QUARTERS_PI),
    accurate_up_to=8192.0,
    plain="x + np.sin(a * x) ** 2 / a",
    plain_backward="dy * (1 + np.sin(2 * a * x))",
    notes="At a = 0 it is its limit, x. Its derivative has no limit at infinity and is "
    "NaN there; where a x is so large that floats lie further apart than the period, it "
    "is 1, its mean.",
)
def snake(x: Value, a: Real = 1.0) -> Value:
    """Snake: a line with a periodic ripple of learnable frequency."""
    # (z + sin(z)^2) / a, z = a x = n pi/2 + e: sin(z)^2 is sin(e)^2, for an odd n
    # 1 - sin(e)^2
    z, z_low = angle(x, a)
    e, odd = reduced_angle(z, z_low)
    sin, sin_low = sine(e)
    signed = where(odd, -sin, sin)
    rest = 2.0 * signed * sin_low
    start, start_low = fast_two_sum(z, where(odd, 1.0, 0.0))
    base = fma(signed, sin, start)
    in_range = abs(z) < snake_limit()
    if z_low is None:
        return where(in_range, base + rest, x)
    base_low = fma(signed, sin, start - base) + start_low + (rest + z_low)
    value = where(in_range, total(quotient(Pair(base, base_low), pair(a))), x)
    # x (1 + z) to the last digit, where a x may be subnormal
    return where(abs(z) < snake_nearly_linear(), fma(z, x, x), value)


def snake_nearly_linear() -> float:
    """Up to where sin(z) is z, as far as it counts."""
    return float(by_dtype(2.0**-9, 2.0**-18))


@snake.derivative
def snake_derivative(x: Value, a: Real) -> Value:
    """1 + sin(2z) = 2 sin(z + pi/4)^2, z = a x, accurate around its double roots too.

    z = m pi/4 + e, m odd: it is 2 sin(e)^2 or 2 - 2 sin(e)^2. pi/4 has three parts, so
    that e keeps its digits when it is small.
    """
    z, z_low = angle(x, a)
    z = where(abs(z) < snake_limit(), z, 0.0 * x)
    n, odd = nearest_quarter_turn(z, 0.5)
    m = fma(2.0, n, -1.0)
    first, second, third = split_in_three(QUARTER_PI)
    rest = fma(-m, first, z)  # exact, but for |m| = 1
    lost = where(abs(m) == 1, z - (rest + m * first), 0.0)
    if z_low is not None:
        rest, rest_low = two_sum(rest, z_low)
        lost = lost + rest_low
    product = m * second
    high, low = fast_two_sum(rest, -product)
    low = fma(-m, third, low - fma(m, second, -product) + lost)
    sin, sin_low = sine(Pair(high, low))
    double = where(odd, -2.0 * sin, 2.0 * sin)
    slope = fma(double, sin, fma(2.0 * double, sin_low, where(odd, 2.0, 0.0)))
    return where(real(a) == 0, nan_from(x, 1.0), slope)


@snake.parameter_derivative("a")
def snake_by_a(x: Value, a: Real) -> Value:
    # sin(z) (2z cos(z) - sin(z)) / a^2, z = a x
    z, z_low = angle(x, a)
    bounded = where(abs(z) < snake_limit(), z, 0.0 * x)
    e, odd = reduced_angle(bounded, z_low)
    sin_e = total(sine(e))
    cos_e = sqrt(fma(-sin_e, sin_e, 1.0))
    sin, cos = where(odd, cos_e, sin_e), where(odd, -sin_e, cos_e)
    value = sin / a * (fma(2.0 * bounded, cos, -sin) / a)
    nearly = x * fma(-z * z, x, x)
    return where(abs(z) < snake_nearly_linear(), nearly, value)
