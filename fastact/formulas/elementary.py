"""What activations are made of: exp, log1p, tanh, ... with more digits than they return.

Numbers named `*_low` are what the rounded number beside them lacks: the pair is an
unevaluated sum with about twice the precision. Carrying the low parts of a kernel's few
decisive steps (Dekker 1971; Muller et al., Handbook of Floating-Point Arithmetic, ch. 4)
holds its result within 1 to 2 ULP without wider registers.

Coefficients come from tools/fit_coefficients.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

from .language import (
    INFINITY,
    Bool,
    Real,
    Value,
    add_integers,
    and_integers,
    bits,
    by_dtype,
    clamp_high,
    clamp_low,
    correction,
    fma,
    from_bits,
    horner,
    nan_from,
    polynomial,
    power_of_two,
    real,
    shift_left,
    short,
    split,
    to_last_digit,
    where,
)

LN2 = "0.693147180559945309417232121458176568075500134360255254120680009"
HALF_PI = "1.57079632679489661923132169163975144209858469968755291048747229615"
QUARTER_PI = "0.785398163397448309615660845819875721049292349843776455243736148077"
TWO_OVER_PI = "0.636619772367581343075535053490057448137838582961825794990669376236"
LOG2_E = "1.442695040888963407359924681001892137426645954152985934135449406"

# expm1(r) = r + r^2 EXP(r) for |r| <= ln(2)/2
EXP_FLOAT16 = (
    "4.99994010e-01",
    "1.66668296e-01",
    "4.18727733e-02",
    "8.33817944e-03",
)
EXP_FLOAT32 = (
    "4.99999970e-01",
    "1.66665435e-01",
    "4.16675024e-02",
    "8.36653635e-03",
    "1.38645445e-03",
)
# The same with a smaller error, and exactly 1/2
EXP_LONG_FLOAT32 = (
    "5.00000000e-01",
    "1.66666359e-01",
    "4.16665114e-02",
    "8.34161602e-03",
    "1.39305030e-03",
    "1.49208005e-04",
)
EXP_FLOAT64 = (
    "5.0000000000000000e-01",
    "1.6666666666666677e-01",
    "4.1666666666666706e-02",
    "8.3333333333211034e-03",
    "1.3888888888849761e-03",
    "1.9841269888044402e-04",
    "2.4801587422546988e-05",
    "2.7557241817887377e-06",
    "2.7557166695884906e-07",
    "2.5110000987810989e-08",
    "2.0954697580267195e-09",
)
# The same, with a small error beside e^r instead of expm1(r)
EXP_BY_VALUE_FLOAT32 = (
    "5.00000000e-01",
    "1.66664883e-01",
    "4.16655503e-02",
    "8.37228913e-03",
    "1.40358217e-03",
)
EXP_BY_VALUE_FLOAT64 = (
    "5.0000000000000111e-01",
    "1.6666666666666421e-01",
    "4.1666666666526908e-02",
    "8.3333333334888529e-03",
    "1.3888888944369243e-03",
    "1.9841269518635864e-04",
    "2.4801492412740406e-05",
    "2.7557575602590016e-06",
    "2.7630472627663889e-07",
    "2.5003484030137261e-08",
)
# log1p(u) = u + u^2 LOG1P(u) for 0 <= u <= 1
LOG1P_FLOAT16 = (
    "-4.99907464e-01",
    "3.31404209e-01",
    "-2.36113176e-01",
    "1.51027143e-01",
    "-6.78506717e-02",
    "1.45881288e-02",
)
LOG1P_FLOAT32 = (
    "-4.99999315e-01",
    "3.33304793e-01",
    "-2.49582961e-01",
    "1.96940482e-01",
    "-1.53518140e-01",
    "1.06749274e-01",
    "-5.76125942e-02",
    "2.01787148e-02",
    "-3.31307552e-03",
)
# log(1 + f) = f + f^2 (f LOG(f) - 1/2) for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG_FLOAT32 = (
    "3.33333075e-01",
    "-2.49999762e-01",
    "2.00024590e-01",
    "-1.66701883e-01",
    "1.42142266e-01",
    "-1.23619922e-01",
    "1.18841909e-01",
    "-1.19445987e-01",
    "7.08894804e-02",
)
# artanh(s) = s + s^3 ARTANH(s^2) for |s| <= 1/3; with 53 digits it makes the faster
# logarithm: log1p(u) = 2 artanh(u / (2 + u))
ARTANH_FLOAT32 = (
    "3.33333373e-01",
    "1.99994758e-01",
    "1.43075451e-01",
    "1.07227288e-01",
    "1.21194057e-01",
)
ARTANH_FLOAT64 = (
    "3.3333333333333154e-01",
    "2.0000000000077839e-01",
    "1.4285714274029759e-01",
    "1.1111111978387718e-01",
    "9.0908721908059861e-02",
    "7.6932751305323607e-02",
    "6.6505495112606977e-02",
    "6.0525538233382838e-02",
    "4.1721560410463633e-02",
    "8.5054486173725533e-02",
)
# tanh(a) = a + a^3 TANH(a^2) for |a| <= 11/16
TANH_FLOAT32 = (
    "-3.33332121e-01",
    "1.33296251e-01",
    "-5.35953492e-02",
    "2.01927293e-02",
    "-5.23358723e-03",
)
# The same for |a| <= 5/16
TANH_NEAR_FLOAT32 = (
    "-3.33333284e-01",
    "1.33328304e-01",
    "-5.38100973e-02",
    "1.98931433e-02",
)
# sin(e) = e + e^3 SINE(e^2) for |e| <= pi/4
SINE_FLOAT16 = (
    "-1.66666552e-01",
    "8.33218824e-03",
    "-1.95180735e-04",
)
SINE_FLOAT32 = (
    "-1.66666672e-01",
    "8.33337195e-03",
    "-1.98499038e-04",
    "2.80040740e-06",
)
SINE_FLOAT64 = (
    "-1.6666666666666630e-01",
    "8.3333333333218892e-03",
    "-1.9841269829421561e-04",
    "2.7557313566283531e-06",
    "-2.5050739441666550e-08",
    "1.5895758995750130e-10",
)


def exp_coefficients() -> Sequence[str]:
    """EXP."""
    coefficients: Sequence[str] = by_dtype(short(EXP_FLOAT16, EXP_FLOAT32), EXP_FLOAT64)
    return coefficients


def long_exp_coefficients() -> Sequence[str]:
    """EXP where its error would count, with a first coefficient of 1/2."""
    short_series = ("0.5", *EXP_FLOAT16[1:])
    coefficients: Sequence[str] = by_dtype(
        short(short_series, EXP_LONG_FLOAT32), EXP_FLOAT64
    )
    return coefficients


class Pair(NamedTuple):
    """The unevaluated sum of a number and the rounding error it lacks."""

    high: Value
    low: Value


def fast_two_sum(a: Real, b: Real) -> Pair:
    """a + b exactly, for |a| >= |b| or a = 0."""
    a, b = real(a), real(b)
    total = a + b
    return Pair(total, correction(b - (total - a)))


def two_sum(a: Real, b: Real) -> Pair:
    """a + b exactly (Knuth)."""
    a, b = real(a), real(b)
    total = a + b
    b_seen = total - a
    return Pair(total, correction((a - (total - b_seen)) + (b - b_seen)))


def two_product(a: Real, b: Real) -> Pair:
    """a * b exactly."""
    a, b = real(a), real(b)
    product = a * b
    return Pair(product, correction(fma(a, b, -product)))


def fma_exact(a: Value, b: Value, c: Value) -> Pair:
    """a b + c exactly, for a c within a factor of 2 of the sum."""
    high = fma(a, b, c)
    return Pair(high, correction(fma(a, b, c - high)))


def multiply(a: Pair, b: Pair) -> Pair:
    """Product of two pairs, with a relative error of a few squared roundings."""
    high, low = two_product(a.high, b.high)
    return Pair(high, fma(a.high, b.low, fma(a.low, b.high, low)))


def rounded_product(a: Pair, b: Pair) -> Value:
    """Product of two pairs, rounded once."""
    return fma(a.high, b.high, fma(a.high, b.low, a.low * b.high))


def scale(factor: Real, a: Pair) -> Pair:
    """Product of a number and a pair."""
    high, low = two_product(factor, a.high)
    return Pair(high, fma(factor, a.low, low))


def one_plus(a: Pair) -> Pair:
    """1 + a for a pair with 0 <= a <= 1 (or at least |a| <= 1)."""
    high, low = fast_two_sum(1.0, a.high)
    return Pair(high, low + a.low)


def select(condition: Bool, a: Pair, b: Pair) -> Pair:
    """A pair chosen as by `where`."""
    return Pair(where(condition, a.high, b.high), where(condition, a.low, b.low))


def quotient(numerator: Pair, denominator: Pair) -> Pair:
    """Numerator over denominator: a division and one Newton step on its remainder."""
    high, remainder, reciprocal = _quotient(numerator, denominator)
    return Pair(high, correction(remainder * reciprocal))


def divide(numerator: Pair, denominator: Pair) -> Value:
    """`quotient` rounded to one number."""
    high, remainder, reciprocal = _quotient(numerator, denominator)
    return fma(correction(remainder), reciprocal, high)


def _quotient(numerator: Pair, denominator: Pair) -> tuple[Value, Value, Value]:
    reciprocal = 1.0 / denominator.high
    high = numerator.high * reciprocal
    remainder = fma(-high, denominator.high, numerator.high)
    if numerator.low.constant != 0:
        remainder = remainder + numerator.low
    if denominator.low.constant != 0:
        remainder = fma(-high, denominator.low, remainder)
    return high, remainder, reciprocal


def over_one_plus(numerator: Value, e: Value) -> Pair:
    """numerator / (1 + e), for a numerator of 1 or e up to a power of two, |e| <= 1.

    The remainder is numerator - q (1 + e) = (numerator - q) - q e, where the difference
    is exact: q is within a factor of 2 of the numerator (Sterbenz).
    """
    high, remainder, reciprocal = _over_one_plus(numerator, e)
    return Pair(high, correction(remainder * reciprocal))


def divide_by_one_plus(numerator: Value, e: Value) -> Value:
    """`over_one_plus` rounded to one number."""
    high, remainder, reciprocal = _over_one_plus(numerator, e)
    return fma(correction(remainder), reciprocal, high)


def sum_over_one_plus(
    high: Value, low: Value, e: Pair, r: Value | None = None
) -> Value:
    """(high + low) / (1 + e), nearly rounded once, for e >= 0.

    The low part may be nearly as large as the high one, and e a few times 1. A part of
    it, high r, may be given by its factors, which spares it a rounding.
    """
    reciprocal = 1.0 / (1.0 + e.high)
    nearly = (high + (low if r is None else fma(high, r, low))) * reciprocal
    remainder = high - nearly if r is None else fma(high, r, high - nearly)
    if e.low.constant != 0:
        low = fma(-nearly, e.low, low)
    remainder = remainder + fma(-nearly, e.high, low)
    return fma(correction(remainder), reciprocal, nearly)


def _over_one_plus(numerator: Value, e: Value) -> tuple[Value, Value, Value]:
    reciprocal = 1.0 / (1.0 + e)
    high = numerator * reciprocal
    return high, fma(-high, e, numerator - high), reciprocal


def total(a: Pair) -> Value:
    """A pair rounded to one number."""
    return a.high + a.low


class Reduced(NamedTuple):
    """e^x as 2^n (1 + r + tail): what every exponential starts from."""

    n: Value
    n_bits: Value
    r: Value
    tail: Value


def reduce_exp(x: Real, x_low: Real | None = None, *, closely: bool = False) -> Reduced:
    """Split x = n ln 2 + r with |r| <= ln(2)/2, and e^r = 1 + r + tail.

    Adding 1.5 * 2^23 (2^52) rounds to an integer and leaves it in the sum's low bits.
    r = x - n LN2.high is exact: with one rounding, it keeps all bits of the difference.
    Closely, the tail has fewer errors in float32, for sums with e^x that cancel.
    """
    x = real(x)
    magic = by_dtype(1.5 * 2.0**23, 1.5 * 2.0**52)
    ln2_high, _ = split(LN2)
    shifted = fma(x, real(LOG2_E), magic)
    n = shifted - magic
    r = fma(-n, ln2_high, x)
    if closely and to_last_digit():
        half, *others = (real(c) for c in long_exp_coefficients())
        curve = fma(r * r, half, r * r * (r * horner(r, others)))
    else:
        curve = r * r * polynomial(r, exp_coefficients())
    rest = _rest_of_reduced(n, x_low)
    # e^(r + rest) = e^r + rest e^r, up to rest^2, far below the last digit
    tail = fma(rest, (1.0 + r) + curve, curve)
    return Reduced(n, bits(shifted), r, tail)


def two_to(n_bits: Value, shift: int) -> Value:
    """2^(n + shift) for n as `reduce_exp` gives it; the sum must be a normal exponent."""
    biased = add_integers(n_bits, by_dtype(127, 1023) + shift)
    return from_bits(shift_left(biased, by_dtype(23, 52)))


# A factor that lifts every e^x a kernel meets out of the subnormal range. It is taken
# back by the kernel's last product, so that a subnormal result is rounded once.
LIFT = {"float32": 64, "float64": 128}


def lift() -> int:
    """Exponent of the power of two that `exp_lifted` is multiplied by."""
    return int(by_dtype(LIFT["float32"], LIFT["float64"]))


def lower() -> Value:
    """The factor 2^-lift() that undoes the lifting."""
    return power_of_two(-lift())


def lowest_exponent() -> float:
    """Where e^x, and any moderate multiple of it, has long been rounded to zero.

    Arguments of exponentials are clamped here, so that nothing overflows on the way.
    """
    return float(by_dtype(-112.0, -760.0))


def exp_lifted(reduced: Reduced) -> Pair:
    """e^x times 2^lift(), for lowest_exponent() <= x and a moderate e^x."""
    factor = two_to(reduced.n_bits, lift())
    high, low = fast_two_sum(1.0, reduced.r)
    high, low = fast_two_sum(high, low + reduced.tail)
    return Pair(high * factor, low * factor)


def unlift(a: Pair) -> Pair:
    """A lifted pair at its true size."""
    return Pair(a.high * lower(), a.low * lower())


def exp_value(
    x: Real,
    x_low: Real | None = None,
    *,
    factor: Real = 1.0,
    shift: int = 0,
    only: Bool | None = None,
) -> Value:
    """factor e^(x + x_low) 2^shift as one number, to about 1 ULP, in fewer operations.

    For a result that is a normal number. The shift may apply only where something holds.
    """
    return _exp_value(factor, real(x), x_low, _biased_magic(shift, only))


def magic_beside(peak: Value) -> Value:
    """For `exp_beside`: what makes e^peak a number between 2^lift() and 2^(lift() + 1).

    About, that is. The difference of two integers that are small beside the magic number
    is exact.
    """
    magic: Value = _biased_magic(lift()) - _nearest_power(peak)
    return magic


def exponent_beside(peak: Value) -> Value:
    """What makes e^x of `exp_beside`: two to this."""
    exponent: Value = _nearest_power(peak) - float(lift())
    return exponent


def _nearest_power(x: Value) -> Value:
    """n of the power of two that is nearest to e^x."""
    plain = by_dtype(1.5 * 2.0**23, 1.5 * 2.0**52)
    n: Value = fma(x, real(LOG2_E), plain) - plain
    return n


def exp_beside(x: Value, x_low: Value | None, magic: Value) -> Value:
    """e^(x + x_low) times a power of two, to about 1 ULP, for x >= peak - 112 (-760)."""
    return _exp_value(1.0, x, x_low, magic)


def exp_within_ulp(
    x: Value, x_low: Value | None = None, *, factor: Real = 1.0, shift: int = 0
) -> Value:
    """`exp_value`, in two operations more within 1 ULP in float32 too."""
    return _exp_within_ulp(factor, x, x_low, _biased_magic(shift))


def one_plus_exp_lowered(
    x: Value, x_low: Value | None = None, scheme: Callable[..., Value] = polynomial
) -> Pair:
    """1 + e^(x + x_low) over 2^lift(), for a clamped x; its high part to 0.8 ULP.

    With e^r = c + (e^r - c) it is (c 2^n + 1) + 2^n (e^r - c). For c = 1 the first sum
    would lose the 1 at n = 24 (53), where it is half a ULP; just below 1 it is exact
    for 0 <= n <= 24, and what it loses beyond is small beside the result's ULP.
    """
    r, n_bits = _reduce_to_value(x, x_low, _biased_magic(-lift()))
    power = _power(n_bits)
    epsilon = by_dtype(2.0**-23, 2.0**-52)
    curve = scheme(r, (epsilon, 1.0, *exp_coefficients()))
    whole = fma(power, 1.0 - epsilon, lower())
    high = fma(curve, power, whole)
    return Pair(high, correction(fma(curve, power, whole - high)))


def exp_factors(
    x: Real, x_low: Real | None = None, *, shift: int = 0
) -> tuple[Value, Value]:
    """2^n 2^shift and p with e^(x + x_low) = 2^n (1 + p), for a normal 2^n 2^shift.

    For a factor f, (f 2^n) p + f 2^n by fma spares the sum 1 + p its rounding.
    """
    r, n_bits = _reduce_to_value(real(x), x_low, _biased_magic(shift))
    return _power(n_bits), _expm1_of_reduced(r)


def exp_factors_and_rest(
    x: Value, x_low: Value | None = None, *, shift: int = 0
) -> tuple[Value, Value, Value]:
    """2^n 2^shift, p and what they lack: e^(x + x_low) = 2^n (1 + p) (1 + lost).

    Lost is what x and n times ln 2 lack. Not added to the argument of p, which would
    have to be rounded, p is rounded only once.
    """
    r, n, n_bits = _reduce_exactly(x, _biased_magic(shift))
    lost = correction(_rest_of_reduced(n, x_low))
    p = fma(r * r, polynomial(r, exp_coefficients()), r)
    return _power(n_bits), p, lost


def times_exp(
    factor: Real, x: Value, x_low: Value | None = None, *, shift: int = 0
) -> Value:
    """factor e^(x + x_low) 2^shift, rounded once, to about 1 ULP.

    For a result that is a normal number.
    """
    return _times_exp(factor, x, x_low, _biased_magic(shift))


def exp_factors_of_product(
    unit: str, a: Value, b: Pair, *, shift: int = 0
) -> tuple[Value, Value]:
    """2^n 2^shift and p with e^(-unit a b) = 2^n (1 + p).

    -a b = n ln(2) / unit + r, so that the unit multiplies coefficients alone.
    """
    ln2 = Fraction(LN2) / Fraction(unit)
    # So few bits that a product with any n is exact
    ln2_high, ln2_low = split_at(str(ln2), by_dtype(16, 42))
    magic = _biased_magic(shift)
    shifted = fma(a * b.high, real(str(-1 / ln2)), magic)
    n = shifted - magic
    rest = fma(-a, b.low, -n * ln2_low)
    r = fma(-a, b.high, -n * ln2_high) + rest
    series = exp_coefficients()
    scaled = [Fraction(c) * Fraction(unit) ** (i + 2) for i, c in enumerate(series)]
    terms = [str(c) for c in (Fraction(unit) - 1, *scaled)]
    return _power(bits(shifted)), fma(r, by_dtype(horner, polynomial)(r, terms), r)


def exp_parts(
    x: Value,
    x_low: Value | None = None,
    *,
    shift: int,
    only: Bool | None = None,
    series: Sequence[str] | None = None,
) -> tuple[Value, Value, Value]:
    """2^n 2^shift, an exact r and a small p, with e^(x + x_low) = 2^n (1 + r + p).

    A product with 1 + r + p need not round r + p. The shift may apply only where
    something holds.
    """
    return _exp_parts(x, x_low, _biased_magic(shift, only), series)


def exp_parts_of_minus(
    a: Value, a_low: Value, *, unit: str = "1"
) -> tuple[Value, Value, Value]:
    """`exp_parts` of -unit (a + a_low), lifted, in float32, by a longer series.

    -a = n ln(2) / unit + r, so that a unit of nearly 1 multiplies coefficients alone.
    """
    ln2 = Fraction(LN2) / Fraction(unit)
    ln2_high, ln2_low = split(str(ln2))
    magic = _biased_magic(lift())
    shifted = fma(a, real(str(-1 / ln2)), magic)
    n = shifted - magic
    r = fma(-n, ln2_high, -a)
    rest = fma(-n, ln2_low, -a_low)
    whole = r + rest
    if unit == "1":
        curve = whole * horner(whole, EXP_LONG_FLOAT32)
    else:
        scaled = (
            Fraction(c) * Fraction(unit) ** i for i, c in enumerate(EXP_LONG_FLOAT32, 2)
        )
        curve = horner(whole, [str(c) for c in (Fraction(unit) - 1, *scaled)])
    return _power(bits(shifted)), r, fma(whole, curve, rest)


def exp_of_half_square(
    a: Value,
    low: Value | None = None,
    *,
    unit: float = 1.0,
    shift: int,
) -> tuple[Value, Value, Value]:
    """2^n 2^shift, h and a series: e^(unit low - a^2 / 2) = 2^n (1 + h series).

    -h / 2 is what the exponent has beside n ln 2. n times the high part of 2 ln 2 is
    exact, and fma adds it to the exact square of a.
    """
    places = by_dtype(15, 41)
    two_ln2 = 2 * Fraction(LN2)
    high = Fraction(round(two_ln2 * 2**places), 2**places)
    rest = real(f"{two_ln2 - high}")
    magic = _biased_magic(shift)
    shifted = fma(a * a, real(f"{Fraction(LOG2_E) / -2}"), magic)
    n = shifted - magic
    h = fma(a, a, n * float(high))
    h = fma(n, rest, h) if low is None else h + fma(low, -2.0 * unit, n * rest)
    series = by_dtype(EXP_BY_VALUE_FLOAT32, EXP_BY_VALUE_FLOAT64)
    halved = [f"{Fraction(c) / (-2) ** i}" for i, c in enumerate(series, 2)]
    return _power(bits(shifted)), h, by_dtype(horner, polynomial)(h, ["-0.5", *halved])


def exp_over_one_plus_factors(
    x: Value,
    x_low: Value | None = None,
    *,
    shift: int,
    only: Bool | None = None,
    unlift: Real,
) -> tuple[Value, Value]:
    """2^n 2^shift and 2^n + e^-r: e^x / (1 + e^x) is 2^n over that, e^x = 2^n e^r, x <= 0.

    A multiple of the quotient is rounded twice, as the power is exact. With e^-r as
    (1 - c) + (c + expm1(-r)), c one unit of 1's last place, the sum of 2^n and 1 - c is
    exact but for n = -25 (-54), where half a unit is lost; some of that is added to c,
    so little that other sums hardly suffer. The shift, which unlift takes back, may apply
    only where something holds.
    """
    r, n_bits = _reduce_to_value(x, None, _biased_magic(shift, only))
    if x_low is not None:
        r = r + x_low
    power = _power(n_bits)
    c = by_dtype(2.0**-23, 2.0**-52)
    series = [f"{Fraction(e) * (-1) ** i}" for i, e in enumerate(exp_coefficients())]
    curve = horner(r, [c * (1 + 2.0**-5), -1.0, *series])
    return power, fma(power, unlift, 1.0 - c) + curve


def exp_beside_center(
    at_center: float | Fraction, a: Value, a_low: Value | None, *, unit: str = "1"
) -> tuple[Value, Value]:
    """2^n, lifted, and p: e^(-unit (a + a_low)) = at_center 2^n (1 + p).

    p is expm1(unit r), r = center - a - a_low - n ln(2) / unit. However near the center,
    r has its full relative precision: n is 0 there. A unit of nearly 1 multiplies
    coefficients alone.
    """
    digits = Context(prec=60)
    numerator, denominator = Fraction(at_center).as_integer_ratio()
    ln = Fraction(digits.ln(digits.divide(Decimal(numerator), Decimal(denominator))))
    ln2 = Fraction(LN2) / Fraction(unit)
    # Of so few digits that what is not small in r is exact
    places = by_dtype(16, 42)
    ln2_high, ln2_low = split_at(f"{ln2}", places)
    center = f"{-ln / Fraction(unit)}"
    high, middle, last = split_in_three_at(center, places)
    if a_low is not None:
        last = last - a_low
    magic = _biased_magic(lift())
    shifted = fma(high - a, real(f"{1 / ln2}"), magic)
    n = shifted - magic
    r = ((fma(-n, ln2_high, high) - a) + fma(-n, ln2_low, middle)) + last
    series = by_dtype(exp_coefficients(), EXP_BY_VALUE_FLOAT64)
    if unit == "1":
        return _power(bits(shifted)), fma(r * r, polynomial(r, series), r)
    scaled = (Fraction(c) * Fraction(unit) ** i for i, c in enumerate(series, 2))
    terms = [f"{Fraction(unit) - 1}", *(f"{c}" for c in scaled)]
    return _power(bits(shifted)), fma(r, polynomial(r, terms), r)


def exp_full_range(x: Value, x_low: Value | None = None) -> Value:
    """e^(x + x_low) of any x: infinite where it is too large, a subnormal number or zero
    where it is that small. x_low is small beside 1.

    Left of zero e^x is lifted by lift(), right of it lowered by 2^2, so that 2^n is a
    normal number on both sides; the last product takes that back.
    """
    x = clamp_low(clamp_high(x, by_dtype(89.0, 710.0)), lowest_exponent())
    negative = x < 0
    magic = where(negative, _biased_magic(lift()), _biased_magic(-2))
    scaled = _exp_within_ulp(1.0, x, x_low, magic)
    return scaled * where(negative, lower(), 4.0)


def expm1_value(factor: Real, x: Value) -> Value:
    """factor (e^x - 1), rounded twice, for an x >= lowest_of_expm1().

    factor 2^n is exact, and the sum of factor (2^n - 1) and factor 2^n expm1(r) does
    not cancel.
    """
    r, n_bits = _reduce_to_value(x, None, _biased_magic(0))
    power = factor * _power(n_bits)
    return fma(power, _expm1_of_reduced(r), power - factor)


def expm1_value_of_sum(factor: Real, x: Value, x_low: Value | None) -> Value:
    """The same of x + x_low: what x lacks may not be rounded as a part of r."""
    r, n, n_bits = _reduce_exactly(x, _biased_magic(0))
    power = factor * _power(n_bits)
    series = horner(r, exp_coefficients())
    whole = power - factor
    if to_last_digit():
        # The low part of ln 2 would count only where n is large and the power small
        # beside 1. What the curve lacks counts where n is 0, and not for a factor of 1:
        # no result is another then.
        curve, low = fma_exact(r * r, series, r)
        if x_low is not None:
            low = low + fma(x_low, r, x_low)
        if real(factor).constant != 1:
            whole = fma(power, low, whole)
        return fma(power, curve, whole)
    rest = _rest_of_reduced(n, x_low)
    tail = fma(r * r, series, fma(rest, r, rest))
    return fma(power, r, fma(power, tail, whole))


def constant_times_expm1(factor: str, x: Value) -> Value:
    """factor (e^x - 1) in float32, rounded once, for an x >= lowest_of_expm1().

    What the factor lacks counts in factor expm1(r), not in factor (2^n - 1). The low
    part of ln 2 would count only where n is large and the power small beside 1.
    """
    high, low = split(factor)
    r, _, n_bits = _reduce_exactly(x, _biased_magic(0))
    power = _power(n_bits)
    # factor expm1(r) = high r + rest
    series = [f"{Fraction(c) * Fraction(factor)}" for c in long_exp_coefficients()]
    rest = r * horner(r, [low, *series])
    whole = power - 1.0
    nearly = fma(power, r, whole)
    lost = fma(power, r, whole - nearly)
    return fma(high, nearly, fma(power, rest, high * lost))


def lowest_of_expm1() -> float:
    """Where e^x no longer counts beside 1."""
    return float(by_dtype(-30.0, -60.0))


def tanh_of_half_size(b: Value) -> Value:
    """tanh(b / 2) for b >= 0 and a normal e^-b, to about 1.5 ULP.

    The quotient of 1 - e^-b = (1 - 2^n) - 2^n expm1(r) and 1 + e^-b, -b = n ln 2 + r,
    neither of which cancels. The low part of ln 2, 0.03 ULP in float32 and 0.2 in
    float64, counts only where n is small: where it is large, the power is not.
    """
    r, n, n_bits = _reduce_exactly(-b, _biased_magic(0))
    r = by_dtype(r, fma(-n, split(LN2)[1], r))
    power, curve = _power(n_bits), _expm1_of_reduced(r)
    difference = fma(-power, curve, 1.0 - power)
    total = fma(power, curve, 1.0 + power)
    ratio = difference / total
    if by_dtype(True, False):
        return ratio
    # What both have lost, over the sum, which is 2 / (1 + ratio)
    lost = fma(-power, curve, (1.0 - power) - difference)
    lost_of_total = fma(power, curve, (1.0 + power) - total)
    return fma(fma(-ratio, lost_of_total, lost), fma(ratio, 0.5, 0.5), ratio)


def tanh_near_and_far(a: Value) -> Value:
    """tanh(a) in float32 for a >= 0, to 1 ULP.

    Near zero the rounding errors of a polynomial are those of the small term after a.
    Beyond, with D = 1 + e^2a, it is (D - 2) / D, where the difference is exact, and what
    D has lost counts less the larger it is. From D = 2^25, where D - 2 would be rounded
    to D - 4, the number before 2 leaves it D.
    """
    a = clamp_high(a, 25.0)  # where it has long been 1
    square = a * a
    near = fma(a * square, horner(square, TANH_FLOAT32), a)
    base = one_plus_exp_of_double(a)
    return where(a < 11 / 16, near, (base - (2.0 - 2.0**-23)) / base)


def one_plus_exp_of_double(a: Value) -> Value:
    """1 + e^2a in float32 for 0 <= a <= 25, to divide by.

    The larger a is, the less its errors count: that of its sums, and what ln 2 lacks.
    """
    shifted = fma(a, real(f"{2 * Fraction(LOG2_E)}"), _biased_magic(0))
    n = shifted - _biased_magic(0)
    power = _power(bits(shifted))
    h = fma(n, real(f"{Fraction(LN2) / -2}"), a)
    # e^2a = 2^n (1 + expm1(2h))
    doubled = [f"{Fraction(c) * 2**i}" for i, c in enumerate(EXP_FLOAT32, 2)]
    return fma(power * h, horner(h, ["2.0", *doubled]), 1.0 + power)


def exp_of_minus_double(a: Value) -> Value:
    """e^(-2a) for a >= 0 and a normal e^(-2a), accurate beside 1 if not by itself."""
    power, h, series = _reduce_half(a)
    return fma(fma(h * h, series, h), -2.0 * power, power)


def half_of_one_minus_exp_pair(
    a: Value, a_low: Value | None, *, in_full: bool = False
) -> Pair:
    """(1 - e^(-2 (a + a_low))) / 2 as a sum, to about a quarter of an ULP.

    The low part may be a sixth of the high one. In full it also has what (1 - 2^n) / 2
    lacks, which counts for n = -25 (-54 in float64), and a_low e^(-2a) instead of
    a_low 2^n.
    """
    power, h, series = _reduce_half(a)
    if in_full and a_low is not None:
        a_low = fma(-2.0 * a_low, h, a_low)
    curve_low = h * h * series if a_low is None else fma(h * h, series, a_low)
    whole = fma(power, -0.5, 0.5)
    high = fma(power, h, whole)
    lost = correction(fma(power, h, whole - high))
    if in_full:
        lost = lost + correction(fma(power, -0.5, 0.5 - whole))
    return Pair(high, fma(power, curve_low, lost))


def one_minus_exp(a: Value, a_low: Value) -> Value:
    """1 - e^-(a + a_low) for a >= 0, nearly rounded once.

    The low part of ln 2 would count only where n is large and the power small beside 1.
    """
    magic = _biased_magic(0)
    shifted = fma(a, real(f"-{LOG2_E}"), magic)
    h = fma(shifted - magic, split(LN2)[0], a)
    power = _power(bits(shifted))
    whole = 1.0 - power
    high = fma(power, h, whole)
    lost = correction(fma(power, h, whole - high))
    # -expm1(-(h + low)) = h - h^2 / 2 + h^3 CUBIC(h) + (1 - h) low
    series = enumerate(long_exp_coefficients())
    _, *cubic = (f"{Fraction(c) * -((-1) ** i)}" for i, c in series)
    low = correction(a_low)
    if by_dtype(True, False):
        rest = fma(h * h * h, horner(h, cubic), fma(-h, low, low))
        curve = fma(h, -0.5 * h, rest)
    else:
        curve = fma(h * h, polynomial(h, ["-0.5", *cubic]), low)
    return high + fma(power, curve, lost)


def _reduce_half(a: Value) -> tuple[Value, Value, Value]:
    """2^n, h and P with -2a = n ln 2 - 2h and -expm1(-2h) / 2 = h + h^2 P.

    The low part of ln 2 would count only where n is large and the power small beside 1.
    """
    half_ln2, _ = split(f"{Fraction(LN2) / 2}")
    magic = _biased_magic(0)
    shifted = fma(a, split(f"{Fraction(LOG2_E) * -2}")[0], magic)
    n = shifted - magic
    h = fma(n, half_ln2, a)
    series = exp_coefficients()
    # expm1(-2h) = -2h + 4h^2 EXP(-2h)
    halved = [f"{Fraction(c) * -2 * (-2) ** i}" for i, c in enumerate(series)]
    return _power(bits(shifted)), h, polynomial(h, halved)


def _biased_magic(shift: int, only: Bool | None = None) -> Real:
    """What rounds a sum to an integer and adds the exponent's bias and a shift to it.

    The shift may apply only where something holds.
    """
    magic = float(by_dtype(1.5 * 2.0**23 + 127, 1.5 * 2.0**52 + 1023))
    return magic + shift if only is None else where(only, magic + shift, magic)


def _reduce_to_value(x: Value, x_low: Real | None, magic: Real) -> tuple[Value, Value]:
    """r and the bits of n with x + x_low = n ln 2 + r; for `_power`."""
    r, n, n_bits = _reduce_exactly(x, magic)
    if x_low is None:
        return fma(-n, correction(split(LN2)[1]), r), n_bits
    return r + _rest_of_reduced(n, x_low), n_bits


def _reduce_exactly(x: Value, magic: Real) -> tuple[Value, Value, Value]:
    """r, n and the bits of n with x = n LN2.high + r exactly."""
    ln2_high, _ = split(LN2)
    shifted = fma(x, real(LOG2_E), magic)
    n = shifted - magic
    return fma(-n, ln2_high, x), n, bits(shifted)


def _power(n_bits: Value) -> Value:
    """2^n, from the bits that `_reduce_to_value` leaves."""
    return from_bits(shift_left(n_bits, by_dtype(23, 52)))


def _exp_within_ulp(factor: Real, x: Value, x_low: Value | None, magic: Real) -> Value:
    if not to_last_digit():
        return _exp_value(factor, x, x_low, magic)
    power, r, small = _exp_parts(x, x_low, magic)
    power = factor * power  # exact
    return fma(r + small, power, power)


def _exp_parts(
    x: Value, x_low: Value | None, magic: Real, series: Sequence[str] | None = None
) -> tuple[Value, Value, Value]:
    r, n, n_bits = _reduce_exactly(x, magic)
    rest = _rest_of_reduced(n, x_low)
    whole = r + rest
    # Eleven steps of Horner's, one after the other, would take longer than Estrin's.
    scheme = by_dtype(horner, polynomial)
    curve = scheme(whole, series or exp_coefficients())
    # The rest is added to the smaller summand, and so not rounded as a part of r.
    return _power(n_bits), r, fma(whole * whole, curve, rest)


def _exp_value(factor: Real, x: Value, x_low: Real | None, magic: Real) -> Value:
    r, n_bits = _reduce_to_value(x, x_low, magic)
    power = factor * _power(n_bits)  # exact
    return fma(_expm1_of_reduced(r), power, power)


def _times_exp(factor: Real, x: Value, x_low: Value | None, magic: Real) -> Value:
    r, n, n_bits = _reduce_exactly(x, magic)
    rest = _rest_of_reduced(n, x_low)
    whole = r + rest
    series = polynomial(whole, exp_coefficients())
    # The rest is added to the smaller summand, and so not rounded as a part of r.
    expm1_of_reduced = r + fma(whole * whole, series, rest)
    scaled = factor * _power(n_bits)  # exact
    return fma(expm1_of_reduced, scaled, scaled)


def _rest_of_reduced(n: Value, x_low: Real | None) -> Value:
    """What x and ln 2 lack."""
    ln2_low = correction(split(LN2)[1])
    return -n * ln2_low if x_low is None else fma(-n, ln2_low, x_low)


def _expm1_of_reduced(r: Value) -> Value:
    series = by_dtype(horner, polynomial)(r, exp_coefficients())  # see `_exp_parts`
    return fma(r * r, series, r)


def expm1(reduced: Reduced) -> Pair:
    """e^x - 1, with full relative precision at 0, for any x whose e^x is small."""
    factor = _normal_or_zero(reduced.n, two_to(reduced.n_bits, 0))
    r, r_low = fast_two_sum(reduced.r, reduced.tail)
    whole = factor - 1.0
    high = fma(factor, r, whole)
    lost = fma(factor, r, whole - high) + (factor - (whole + 1.0))
    return Pair(high, fma(factor, r_low, lost))


def _normal_or_zero(n: Value, power: Value) -> Value:
    """2^n where it counts beside 1; elsewhere its exponent may leave the normal range."""
    return where(n < -100.0, 0.0, power)


def tanh_of_size(a: Value, a_low: Real | None = None) -> Pair:
    """tanh(a + a_low) for a >= 0; beyond 25 it is 1 to any precision here."""
    # -m / (2 + m), m = expm1(-2a)
    rest = None if a_low is None else -2.0 * real(a_low)
    m = expm1(reduce_exp(-2.0 * clamp_high(a, 25.0), rest))
    base = fast_two_sum(2.0, m.high)
    return quotient(Pair(-m.high, -m.low), Pair(base.high, base.low + m.low))


def log1p_lifted(u: Value) -> Value:
    """log(1 + u) of a lifted u between 0 and 1, lifted too."""
    tail = log1p_lifted_pair(u)
    value: Value = by_dtype(tail.high, total(tail))
    return value


def log1p_lifted_pair(u: Value) -> Pair:
    """The same as a sum; in float32 the high part alone is within about 1 ULP."""
    if by_dtype(True, False):
        u_true = u * lower()
        return fma_exact(
            u * u_true, horner(u_true, short(LOG1P_FLOAT16, LOG1P_FLOAT32)), u
        )
    double_s, missing = over_one_plus(u, u * (0.5 * lower()))
    s = double_s * (0.5 * lower())
    square = s * s
    series = polynomial(square, ARTANH_FLOAT64)
    return Pair(double_s, fma(double_s * square, series, missing))


def split_at(decimal: str, places: int) -> tuple[Value, Value]:
    """A constant as a multiple of 2^-places, of few bits, and the rest."""
    exact = Fraction(decimal)
    high = Fraction(round(exact * 2**places), 2**places)
    return real(str(high)), real(str(exact - high))


def split_in_three(decimal: str) -> tuple[Value, Value, Value]:
    """A constant to three times the precision."""
    high, middle = split(decimal)
    rest = Fraction(decimal) - Fraction(high.constant) - Fraction(middle.constant)
    return high, middle, real(str(rest))


def split_in_three_at(decimal: str, places: int) -> tuple[Value, Value, Value]:
    """A constant as a multiple of 2^-places, what that lacks, and the rest."""
    exact = Fraction(decimal)
    high, middle = split_at(decimal, places)
    rest = exact - Fraction(high.constant) - Fraction(middle.constant)
    return high, middle, real(str(rest))


def nearest_quarter_turn(z: Value, offset: float) -> tuple[Value, Value]:
    """The integer n nearest to z / (pi/2) + offset, and whether it is odd.

    For |n| < 2^22 (2^51 in float64): see `reduce_exp`.
    """
    magic = by_dtype(1.5 * 2.0**23, 1.5 * 2.0**52)
    if offset == 0:
        shifted = fma(z, real(TWO_OVER_PI), magic)
    else:
        shifted = fma(z, real(TWO_OVER_PI), offset) + magic
    # n's lowest bit becomes the highest of the exponent: 2.0 or 0.0, of any sign
    odd = from_bits(shift_left(bits(shifted), by_dtype(30, 62))) != 0.0
    return shifted - magic, odd


def sine(e: Pair) -> Pair:
    """sin(e) for |e| <= pi/4."""
    square = e.high * e.high
    coefficients = by_dtype(short(SINE_FLOAT16, SINE_FLOAT32), SINE_FLOAT64)
    # Estrin's scheme would round its first term twice
    series = by_dtype(horner, polynomial)(square, coefficients)
    high, low = fma_exact(e.high * square, series, e.high)
    cos = by_dtype(fma(square, -0.5, 1.0), 1.0)
    return Pair(high, fma(correction(e.low), cos, low))


def pair(x: Real) -> Pair:
    """A number as a pair."""
    return Pair(real(x), real(0.0))


def constant_pair(decimal: str) -> Pair:
    """A constant as a pair."""
    return Pair(*split(decimal))


def add_same_sign(a: Pair, b: Pair) -> Pair:
    """Sum of two pairs that do not cancel."""
    high, low = two_sum(a.high, b.high)
    return Pair(high, low + (a.low + b.low))


def distance_to(root: str, a: Value, a_low: Value | None = None) -> Pair:
    """root - (a + a_low), with full relative precision however near the root."""
    root_high, root_low = split(root)
    high, low = two_sum(root_high, -a)
    low = low + (root_low if a_low is None else root_low - a_low)
    return fast_two_sum(high, low)


def near_root(
    root: str,
    x: Value,
    slope: Sequence[str],
    *,
    beyond: float | None = None,
    x_low: Value | None = None,
) -> Value:
    """(x - root) SLOPE(x - root) of x + x_low, in fewer operations than `around_root`.

    From half the root to twice the root x - root_high is exact (Sterbenz). For an x
    nearer to zero what it loses is made up for, given about the derivative there.
    """
    root_high, root_low = split(root)
    difference = x - root_high
    lost = -root_low if x_low is None else x_low - root_low
    d, d_low = fast_two_sum(difference, lost)
    # d times the first coefficient is by far the largest term, and is rounded only once
    first, *others = (real(c) for c in slope)
    rest = d_low * first
    if beyond is not None:
        rest = fma(correction(x - (difference + root_high)), beyond, rest)
    return fma(d, first, fma(d, d * polynomial(d, others), rest))


def chord_to_root(root: str, x: Value, middle: float, slope: Sequence[str]) -> Value:
    """(x - root) SLOPE(x - middle) for an x between -root and 2 root.

    Far from the root a polynomial in x - root would cancel.
    """
    root_high, root_low = split(root)
    d, lost = fast_two_sum(-root_high, x)  # exact for |x| > |root|, too
    first, second, *others = (real(c) for c in slope)
    v = x - middle
    curve, curve_low = fma_exact(v, horner(v, others), second)
    chord, chord_low = fma_exact(v, curve, first)
    chord_low = fma(v, curve_low, chord_low)
    return fma(d, chord, fma(d, chord_low, correction(lost - root_low) * chord))


def around_root(
    root: str, x: Value, slope: Sequence[str], elsewhere: Value, radius: float
) -> Value:
    """(x - root) SLOPE(x - root) within the radius of a root, another value elsewhere."""
    d, d_low = distance_to(root, x)
    # d times the first coefficient is by far the largest term, and is rounded only once
    first, *others = slope
    rest = fma(d, -d * polynomial(-d, others), d_low * real(first))
    return where(abs(d) <= radius, -fma(d, real(first), rest), elsewhere)


def times_pair(x: Value, a: Pair) -> Value:
    """x a, rounded once; infinite for an infinite x (inf a.low may be inf or NaN)."""
    return fma(x, a.high, clamp_size(x, by_dtype(1e30, 1e300)) * a.low)


def finite_times_pair(x: Value, a: Pair) -> Value:
    """x a, rounded once, for a finite product."""
    return fma(x, a.high, x * a.low)


def exact_product(beta: Real, x: Value) -> tuple[Value, Value | None]:
    """beta x and what its rounding lost; for the constant 1, x and nothing."""
    beta = real(beta)
    if beta.constant == 1:
        return x, None
    # f(x) = x / 2 for beta = 0, at infinity too
    product = where((beta == 0) & (abs(x) == INFINITY), 0.0, beta * x)
    # Beyond the range of exponentials what was lost no longer matters, but grows large.
    in_range = (abs(product) < by_dtype(200.0, 1500.0)) & (abs(x) < INFINITY)
    lost = where(in_range, correction(fma(beta, x, -product)), 0.0)
    return product, lost


def exact_quotient(numerator: Pair, divisor: Real) -> Pair:
    """A pair over a number; the low part is 0 where it no longer matters."""
    high, low = quotient(numerator, pair(divisor))
    in_range = abs(high) < by_dtype(200.0, 1500.0)
    return Pair(high, where(in_range, low, 0.0))  # inf - inf is NaN


def clamp_size(x: Value, largest: float) -> Value:
    """x, but at most `largest` on either side of zero; NaN stays NaN."""
    return clamp_low(clamp_high(x, largest), -largest)


def with_sign(size: Value, x: Value) -> Value:
    """A number without a sign, with that of x: one operation less than `copysign`."""
    sign = and_integers(bits(x), bits(-0.0))
    return from_bits(add_integers(bits(size), sign))


def rounded_down(x: Value, digits: int) -> Value:
    """x without its last binary digits, of which it then has that many less."""
    kept = 2 ** by_dtype(32, 64) - 2**digits
    return from_bits(and_integers(bits(x), kept))


def chain(dy: Value, slope: Real) -> Value:
    """dy * slope, but 0 where the slope is 0, whatever dy (NaN and inf included).

    Slopes that are chosen among constants are chosen after the product instead: the
    same values, and no arithmetic is left in piecewise linear functions.
    """
    slope = real(slope)
    if slope.constant is not None:
        return real(0.0) if slope.constant == 0 else dy * slope
    if slope.operation == "where":
        condition, a, b = slope.arguments
        if condition.operation == "ne" and all(c is a for c in condition.arguments):
            # a is NaN
            return where(condition, a, chain(dy, b))
        if a.constant is not None and b.constant is not None:
            return where(condition, chain(dy, a), chain(dy, b))
    return where(slope == 0, 0.0, dy * slope)


def slope_times(slope: Real, x: Value) -> Value:
    """slope * x, but 0 for a slope of 0 at +-inf, which is the limit."""
    slope = real(slope)
    return where((slope == 0) & (abs(x) == INFINITY), 0.0, slope * x)


def line(slope: Real, x: Value, offset: Real) -> Value:
    """slope * x + offset, but the offset for a slope of 0 at +-inf."""
    slope = real(slope)
    flat = (slope == 0) & (abs(x) == INFINITY)
    return where(flat, offset, fma(slope, x, offset))


def slope_where(condition: Bool, slope: Real, x: Value) -> Value:
    """The slope where the condition holds, else 0, and NaN where x is."""
    return nan_from(x, where(condition, slope, 0.0))
