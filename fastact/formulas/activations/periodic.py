"""Periodic activations."""

from __future__ import annotations

from ..elementary import (
    HALF_PI,
    QUARTER_PI,
    Pair,
    fast_two_sum,
    multiply,
    nearest_quarter_turn,
    one_plus,
    pair,
    quotient,
    select,
    sine,
    split_in_three,
    total,
    two_product,
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
    to_last_digit,
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


def bounded_angle(x: Value, a: Real) -> tuple[Value, Value | None]:
    """The same, but 0 where floats lie too far apart, and NaN for an infinity."""
    z, z_low = angle(x, a)
    in_range = abs(z) < snake_limit()
    z_low = None if z_low is None else where(in_range, z_low, 0.0)
    return where(in_range, z, 0.0 * x), z_low


def reduced_angle(z: Value, z_low: Value | None) -> tuple[Pair, Value]:
    """z - n pi/2, and whether n is odd."""
    n, odd = nearest_quarter_turn(z, 0.0)
    half_pi, half_pi_low = split(HALF_PI)
    rest = fma(-n, half_pi, z)  # exact
    high = fma(-n, half_pi_low, rest)
    low = fma(-n, half_pi_low, rest - high)
    # Where z is large and the rest small, z_low may exceed the last digits of high.
    e = Pair(high, low) if z_low is None else fast_two_sum(high, low + z_low)
    return e, odd


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
    # In this order: for |z| < 1 start - 1 is exact, but start - z is not.
    start, start_low = fast_two_sum(where(odd, 1.0, 0.0), z)
    base = fma(signed, sin, start)
    base_low = fma(signed, sin, start - base) + start_low
    if z_low is None:
        value = base + (base_low + rest)
    else:
        value = total(quotient(Pair(base, base_low + (rest + z_low)), pair(a)))
    in_range = (abs(z) > snake_straight()) & (abs(z) < snake_limit())
    return where(in_range, value, x)


def snake_straight() -> float:
    """Up to where it is x to the last digit: there, a x may be subnormal."""
    return float(by_dtype(2.0**-40, 2.0**-80))


@snake.derivative
def snake_derivative(x: Value, a: Real) -> Value:
    """1 + sin(2z) = 2 sin(z + pi/4)^2, z = a x, accurate around its double roots too.

    z = m pi/4 + e, m odd: it is 2 sin(e)^2 or 2 - 2 sin(e)^2. pi/4 has three parts, so
    that e keeps its digits when it is small.
    """
    z, z_low = bounded_angle(x, a)
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
    factor = where(odd, -2.0, 2.0)
    if to_last_digit():
        # Beside 1 and 3, not 0 and 2: for an n that is off by a little, 2 - 2 sin(e)^2
        # falls below 1, and its difference from 2 would be rounded.
        double, offset = factor * sin, where(odd, 3.0, 1.0)
        sum_ = fma(double, sin, offset)
        lost = fma(double + double, sin_low, fma(double, sin, offset - sum_))
        slope = (sum_ - 1.0) + lost
    else:
        square = fma(sin, sin, 2.0 * sin * sin_low)
        slope = fma(factor, square, where(odd, 2.0, 0.0))
    return where(real(a) == 0, nan_from(x, 1.0), slope)


@snake.parameter_derivative("a")
def snake_by_a(x: Value, a: Real) -> Value:
    # sin(z) (2z cos(z) - sin(z)) / a^2, z = a x
    z, z_low = bounded_angle(x, a)
    e, odd = reduced_angle(z, z_low)
    sin_e = sine(e)
    square, square_low = two_product(sin_e.high, -sin_e.high)
    remainder = one_plus(Pair(square, fma(-2.0 * sin_e.high, sin_e.low, square_low)))
    cos_high = sqrt(remainder.high)
    cos_rest = fma(-cos_high, cos_high, remainder.high) + remainder.low
    cos_e = Pair(cos_high, cos_rest / (cos_high + cos_high))
    sin = select(odd, cos_e, sin_e)
    cos = select(odd, Pair(-sin_e.high, -sin_e.low), cos_e)
    # The difference has roots: both terms with their low parts, so that it keeps digits
    twice_low = real(0.0) if z_low is None else z_low + z_low
    term = multiply(Pair(z + z, twice_low), cos)
    high, low = two_sum(term.high, -sin.high)
    difference = high + (low + (term.low - sin.low))
    value = sin.high / a * (difference / a)
    straight = abs(a * x) <= snake_straight()
    return where(straight, x * x, value)
