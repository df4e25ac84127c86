"""Functions of NumPy that no activation of the catalogue needs: log, sin, powers, ...

Custom activations (`fastact.custom`) are made of them. They hold about 1 ULP, and like
NumPy's they give infinities and NaN where the mathematical function has no value.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

from .activations.normal import normal_limit, normal_tail_lifted
from .activations.periodic import snake_limit
from .elementary import (
    HALF_PI,
    LN2,
    LOG2_E,
    TWO_OVER_PI,
    Pair,
    clamp_size,
    constant_pair,
    exp_factors,
    exp_full_range,
    fast_two_sum,
    lowest_of_expm1,
    multiply,
    rounded_product,
    select,
    sine,
    split_at,
    split_in_three,
    total,
    two_product,
    two_sum,
    with_sign,
)
from .language import (
    INFINITY,
    NAN,
    Bool,
    Value,
    add_integers,
    all_digits,
    and_integers,
    bits,
    by_dtype,
    clamp_high,
    clamp_low,
    fma,
    from_bits,
    is_excluded,
    polynomial,
    power_of_two,
    real,
    shift_left,
    shift_right,
    split,
    sqrt,
    subtract_integers,
    where,
)
from .logistic import one_minus_right

LOG10_E = "0.434294481903251827651128918916605082294397005803666566114453783"
# The first 1168 binary digits of 2/pi, as an integer
TWO_OVER_PI_DIGITS = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561"
    "b7246e3a424dd2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484"
    "e99c7026b45f7e413991d639835339f49c845f8bbdf9283b1ff897ffde05980f"
    "ef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d7527bac7ebe5f17b"
    "3d0739f78a5292ea6bfb5fb11f8d5d085603",
    16,
)
SQRT2 = "1.41421356237309504880168872420969807856967187537694807317667974"
# arctan(t) = t + t^3 ARCTAN(t^2) for |t| <= tan(pi/8)
TAN_EIGHTH_PI = 0.41421356237309503
ARCTAN_FLOAT32 = (
    "-3.33333164e-01",
    "1.99985266e-01",
    "-1.42443329e-01",
    "1.05985418e-01",
    "-6.08803034e-02",
)
ARCTAN_FLOAT64 = (
    "-3.3333333333333193e-01",
    "1.9999999999952250e-01",
    "-1.4285714280064990e-01",
    "1.1111110776992730e-01",
    "-9.0908975741471762e-02",
    "7.6920569814740589e-02",
    "-6.6630675651431978e-02",
    "5.8476252516328014e-02",
    "-5.0381193744725696e-02",
    "3.8034521734396899e-02",
    "-1.7874366815984023e-02",
)
# artanh(s) = s + s^3 ARTANH(s^2) for |s| <= 0.172: Taylor's series
ARTANH_FLOAT32 = [f"1/{n}" for n in range(3, 11, 2)]
ARTANH_FLOAT64 = [f"1/{n}" for n in range(3, 23, 2)]


# ------------------------------------------------------------------- exponentials


def expm1(x: Value) -> Value:
    """e^x - 1."""
    x = clamp_high(x, by_dtype(89.0, 710.0))
    return 4.0 * _quarter_of_expm1(clamp_low(x, lowest_of_expm1()))


def _quarter_of_expm1(x: Value) -> Value:
    """A quarter, so that 2^n is a number wherever e^x is."""
    power, p = exp_factors(x, shift=-2)
    return fma(power, p, power - 0.25)


def sinh(x: Value) -> Value:
    """Hyperbolic sine: (m + m / (1 + m)) / 2 with m = expm1(|x|)."""
    m = _quarter_of_expm1(clamp_high(abs(x), by_dtype(89.5, 710.6)))
    rest = m / fma(m, 4.0, 1.0)  # 0 where the denominator is infinite
    return with_sign((m + m) + (rest + rest), x)


def cosh(x: Value) -> Value:
    """Hyperbolic cosine: e^|x| / 2 and the reciprocal of e^|x|, over 2."""
    power, p = exp_factors(clamp_high(abs(x), by_dtype(89.5, 710.6)), shift=-2)
    quarter = fma(power, p, power)
    return fma(quarter, 2.0, 0.125 / quarter)


def power_of_constant(base: float, x: Value) -> Value:
    """base^x for a positive constant."""
    logarithm = constant_pair(str(Decimal(base).ln(Context(prec=60))))
    return _exp_of_product(logarithm, Pair(x, real(0.0)))


def _exp_of_product(a: Pair, b: Pair) -> Value:
    """e^(a b); what a product lacks has no meaning where it is beyond e's range."""
    with all_digits():
        high, low = multiply(a, b)
        in_range = abs(high) < by_dtype(200.0, 1500.0)
        return exp_full_range(high, where(in_range, low, 0.0))


# --------------------------------------------------------------------- logarithms


def log_pair(x: Value) -> Pair:
    """log(x) of a positive finite number, as a sum.

    With x = 2^k z, z between sqrt(1/2) and sqrt(2), f = z - 1 is exact. log(z) is
    2 artanh(s), s = f / (2 + f), of which 2 s = f - h + s h, h = f^2 / 2: only the small
    terms beside f are rounded.
    """
    bias, places = by_dtype((127, 23), (1023, 52))
    smallest_normal = power_of_two(1 - bias)
    tiny = x < smallest_normal
    x = where(tiny, x * power_of_two(places), x)
    # A fraction from sqrt(2) - 1 on carries into the exponent.
    carry = round((2 - 2**0.5) * 2**places)
    exponent = and_integers(add_integers(bits(x), carry), bits(INFINITY))
    z = from_bits(add_integers(subtract_integers(bits(x), exponent), bits(1.0)))
    # An integer in the low bits of 2^23 (2^52) adds to it.
    magic = 2.0**places
    shifted = from_bits(add_integers(shift_right(exponent, places), bits(magic)))
    k = shifted - where(tiny, magic + bias + places, magic + bias)

    f = z - 1.0
    s = f / (z + 1.0)
    square = s * s
    half = 0.5 * f * f
    series = by_dtype(ARTANH_FLOAT32, ARTANH_FLOAT64)
    curve = square * polynomial(square, [f"{2 * Fraction(c)}" for c in series])
    small = fma(s, half + curve, -half)
    ln2_high, ln2_low = split_at(LN2, by_dtype(15, 41))
    high, lost = fast_two_sum(k * ln2_high, f)  # the product is exact
    return fast_two_sum(high, fma(k, ln2_low, small) + lost)


def _of_positive(x: Value, value: Value) -> Value:
    """A logarithm, with its values at the ends and outside."""
    finite = where(x == INFINITY, INFINITY, value)
    return where(x > 0, finite, where(x == 0, -INFINITY, NAN))


def log(x: Value) -> Value:
    """Natural logarithm."""
    return _of_positive(x, total(log_pair(x)))


def log2(x: Value) -> Value:
    """Logarithm to the base 2."""
    return _of_positive(x, rounded_product(log_pair(x), constant_pair(LOG2_E)))


def log10(x: Value) -> Value:
    """Logarithm to the base 10."""
    return _of_positive(x, rounded_product(log_pair(x), constant_pair(LOG10_E)))


def log1p(x: Value) -> Value:
    """log(1 + x), with full relative precision near 0."""
    with all_digits():  # what 1 + x lacks is everything where x is small
        whole, lost = two_sum(1.0, x)
        high, low = log_pair(whole)
        value = high + (low + lost / whole)
    return _of_positive(whole, value)


def _is_large(a: Value) -> Value:
    """Whether 1 beside the square of a number is nothing."""
    limit: float = by_dtype(2.0**30, 2.0**60)
    return a > limit


def arcsinh(x: Value) -> Value:
    """Inverse hyperbolic sine: log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x|."""
    a = abs(x)
    large = _is_large(a)
    square = a * a
    near = a + square / (1.0 + sqrt(1.0 + square))
    value = log1p(where(large, a, near)) + where(large, real(LN2), 0.0)
    return with_sign(value, x)


def arcsinh_derivative(x: Value) -> Value:
    """1 / sqrt(1 + x^2)."""
    a = abs(x)
    return 1.0 / where(_is_large(a), a, sqrt(fma(a, a, 1.0)))


def arctanh(x: Value) -> Value:
    """Inverse hyperbolic tangent."""
    a = abs(x)
    return with_sign(0.5 * log1p((a + a) / (1.0 - a)), x)


# ------------------------------------------------------------------------- powers


def power(x: Value, exponent: float) -> Value:
    """x^exponent for a constant exponent.

    Whole and half exponents up to 8 are products and square roots.
    """
    if exponent in (-1, -0.5):
        return 1.0 / (x if exponent == -1 else sqrt(x))
    if 0 < exponent <= 8 and (2 * exponent).is_integer():
        result = _product_power(x, int(exponent))
        return result if exponent.is_integer() else result * sqrt(x)
    return _general_power(x, Fraction(exponent), exponent)


def cbrt(x: Value) -> Value:
    """Cube root, of negative numbers too."""
    return with_sign(_general_power(abs(x), Fraction(1, 3), 1 / 3), x)


def _product_power(x: Value, exponent: int) -> Value:
    result, square = real(1.0), x
    while exponent:
        if exponent % 2:
            result = square * result
        exponent //= 2
        if exponent:
            square = square * square
    return result


def _general_power(x: Value, exact: Fraction, exponent: float) -> Value:
    """e^(exponent log|x|), the exponent as a sum: its rounding error would count."""
    a = abs(x)
    value = _exp_of_product(constant_pair(str(exact)), log_pair(a))
    at_zero, at_infinity = (0.0, INFINITY) if exponent > 0 else (INFINITY, 0.0)
    value = where(a == 0, at_zero, where(a == INFINITY, at_infinity, value))
    if not float(exponent).is_integer():
        return where(x >= 0, value, NAN)
    value = value if exponent % 2 == 0 else with_sign(value, x)
    return where(x == x, value, x)


# --------------------------------------------------------------- angles and others


def _quarter_turns(x: Value) -> tuple[Pair, Value]:
    """x - n pi/2 and the bits of n, whose lowest are those of an integer."""
    is_far = abs(x) >= snake_limit()
    with all_digits():  # e may be much smaller than x
        near, n = _near_quarter_turns(x)
        if is_excluded(is_far):
            return near, bits(n)
        far, far_n = _far_quarter_turns(x)
    return select(is_far, far, near), bits(where(is_far, far_n, n))


def _magic() -> float:
    """Adding it rounds to an integer, which the lowest bits of the sum are."""
    return float(by_dtype(1.5 * 2.0**23, 1.5 * 2.0**52))


def _near_quarter_turns(x: Value) -> tuple[Pair, Value]:
    shifted = fma(x, real(TWO_OVER_PI), _magic())
    n = shifted - _magic()
    first, second, third = split_in_three(HALF_PI)
    rest = fma(-n, first, x)  # exact
    product, product_low = two_product(n, second)
    high, lost = two_sum(rest, -product)
    return fast_two_sum(high, lost - fma(n, third, product_low)), shifted


def _digits_of_two_over_pi(digits: int, count: int) -> list[Value]:
    """The first digits as an integer, the next ones, and so on; each over 2^digits."""
    size = TWO_OVER_PI_DIGITS.bit_length()
    ends = [size - digits * (i + 1) for i in range(count)]
    return [real((TWO_OVER_PI_DIGITS >> e) % 2**digits / 2.0**digits) for e in ends]


def _far_quarter_turns(x: Value) -> tuple[Pair, Value]:
    """The same for a large x, by the digits of 2/pi that matter for it (Payne and Hanek).

    In x 2/pi the first digits of 2/pi give multiples of 4: whole turns. Left out, they
    leave three parts of 2/pi and a bit to multiply by, whatever the size of x.
    """
    digits: int = by_dtype(24, 53)
    shifts = by_dtype((4, 2, 1), (16, 8, 4, 2, 1))
    parts = _digits_of_two_over_pi(digits, by_dtype(8, 22))
    for shift in shifts:
        skips = abs(x) >= 2.0 ** (digits * (shift + 1) + 1)
        x = where(skips, x * 2.0 ** (-digits * shift), x)
        skipped = parts[shift:]
        parts = [where(skips, *pair) for pair in zip(skipped, parts, strict=False)] + (
            parts[len(skipped) :]
        )
        del parts[shift + 3 :]  # what no later one brings to the front
    scaled = [x * 2.0 ** (-digits * i) for i in range(4)]
    first, first_low = two_product(scaled[0], parts[0])
    second, second_low = two_product(scaled[1], parts[1])
    third, third_low = two_product(scaled[2], parts[2])
    fourth = scaled[3] * parts[3]

    def without_turns(value: Value) -> Value:
        """A value of at most 2^(digits + 1), modulo 8."""
        magic = real(1.5 * 2.0 ** (digits + 2))
        return value - ((value + magic) - magic)

    # A larger one is a multiple of 4
    first = where(abs(first) < 2.0 ** (digits + 1), without_turns(first), 0.0)
    quarters, lost = two_sum(first, without_turns(first_low))
    for value in (without_turns(second), third, second_low):
        quarters, also_lost = two_sum(quarters, value)
        lost = lost + also_lost
    shifted = quarters + _magic()
    fraction = two_sum(quarters - (shifted - _magic()), lost + (third_low + fourth))
    return multiply(fraction, constant_pair(HALF_PI)), shifted


def _sine_of_quarter(e: Pair, is_cosine: Bool, sign: Value) -> Value:
    """sin(e), or cos(e) = 1 - 2 sin(e/2)^2, with one polynomial; a sign of +-0."""
    half = where(is_cosine, 0.5, 1.0)
    s, s_low = sine(Pair(e.high * half, e.low * half))
    cos = fma(-2.0 * s, s, 1.0) - 4.0 * s * s_low
    return from_bits(add_integers(bits(where(is_cosine, cos, s + s_low)), sign))


def _sign_of_second_bit(n: Value) -> Value:
    """-0.0 or 0.0 by the second lowest bit of an integer."""
    return and_integers(shift_left(n, by_dtype(30, 62)), bits(-0.0))


def sin(x: Value) -> Value:
    """Sine; NaN for an infinity."""
    e, n = _quarter_turns(x)
    odd = from_bits(shift_left(n, by_dtype(30, 62))) != 0.0
    return _sine_of_quarter(e, odd, _sign_of_second_bit(n))


def cos(x: Value) -> Value:
    """Cosine; NaN for an infinity."""
    e, n = _quarter_turns(x)
    even = from_bits(shift_left(n, by_dtype(30, 62))) == 0.0
    sign = _sign_of_second_bit(add_integers(n, 1))
    return _sine_of_quarter(e, even, sign)


def arctan(x: Value) -> Value:
    """Inverse tangent.

    From tan(pi/8) on it is pi/4 + arctan((a - 1) / (a + 1)), from 1 / tan(pi/8) on
    pi/2 - arctan(1 / a).
    """
    a = clamp_size(abs(x), by_dtype(1e30, 1e300))
    middle, far = a > TAN_EIGHTH_PI, a > 1 / TAN_EIGHTH_PI
    top = where(far, -1.0, where(middle, a - 1.0, a))
    bottom = where(far, a, where(middle, a + 1.0, 1.0))
    t = top / bottom
    quarter, quarter_low = split(f"{Fraction(HALF_PI) / 2}")
    offset = where(far, quarter + quarter, where(middle, quarter, 0.0))
    offset_low = where(far, quarter_low + quarter_low, where(middle, quarter_low, 0.0))
    square = t * t
    series = polynomial(square, by_dtype(ARCTAN_FLOAT32, ARCTAN_FLOAT64))
    return with_sign(offset + (fma(t * square, series, offset_low) + t), x)


def arctan_derivative(x: Value) -> Value:
    """1 / (1 + x^2)."""
    a = abs(x)
    large = _is_large(a)
    reciprocal = 1.0 / where(large, a, fma(a, a, 1.0))
    return reciprocal * where(large, reciprocal, 1.0)


def erfc(x: Value) -> Value:
    """Complementary error function: 2 (1 - Phi(sqrt(2) x)), Phi the normal distribution."""
    high, low = split(SQRT2)
    bounded = clamp_size(x, normal_limit())
    z, z_low = two_product(bounded, high)
    z_low = fma(bounded, low, z_low)
    z = clamp_size(z, normal_limit())
    tail = normal_tail_lifted(abs(z), where(z < 0, -z_low, z_low))
    return 2.0 * one_minus_right(z > 0, tail)
