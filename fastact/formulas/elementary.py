"""What activations are made of: exp, log1p, tanh, ... with more digits than they return.

Numbers named `*_low` are what the rounded number beside them lacks: the pair is an
unevaluated sum with about twice the precision. Carrying the low parts of a kernel's few
decisive steps (Dekker 1971; Muller et al., Handbook of Floating-Point Arithmetic, ch. 4)
holds its result within 1 to 2 ULP without wider registers.

Coefficients come from tools/fit_coefficients.py.
"""

from __future__ import annotations

from typing import NamedTuple

from .language import (
    Bool,
    Real,
    Value,
    add_integers,
    bits,
    by_dtype,
    fma,
    from_bits,
    polynomial,
    power_of_two,
    real,
    shift_left,
    split,
    where,
)

LN2 = "0.693147180559945309417232121458176568075500134360255254120680009"
LOG2_E = "1.442695040888963407359924681001892137426645954152985934135449406"

# expm1(r) = r + r^2 EXP(r) for |r| <= ln(2)/2
EXP_FLOAT32 = (
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
# log1p(u) = 2 (s + s^3 LOG1P(s^2)), s = u / (2 + u), for 0 <= u <= 1
LOG1P_FLOAT32 = (
    "3.33333373e-01",
    "1.99994758e-01",
    "1.43075451e-01",
    "1.07227288e-01",
    "1.21194057e-01",
)
LOG1P_FLOAT64 = (
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


class Pair(NamedTuple):
    """The unevaluated sum of a number and the rounding error it lacks."""

    high: Value
    low: Value


def fast_two_sum(a: Real, b: Real) -> Pair:
    """a + b exactly, for |a| >= |b| or a = 0."""
    a, b = real(a), real(b)
    total = a + b
    return Pair(total, b - (total - a))


def two_sum(a: Real, b: Real) -> Pair:
    """a + b exactly (Knuth)."""
    a, b = real(a), real(b)
    total = a + b
    b_seen = total - a
    return Pair(total, (a - (total - b_seen)) + (b - b_seen))


def two_product(a: Real, b: Real) -> Pair:
    """a * b exactly."""
    a, b = real(a), real(b)
    product = a * b
    return Pair(product, fma(a, b, -product))


def multiply(a: Pair, b: Pair) -> Pair:
    """Product of two pairs, with a relative error of a few squared roundings."""
    high, low = two_product(a.high, b.high)
    return Pair(high, fma(a.high, b.low, fma(a.low, b.high, low)))


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
    reciprocal = 1.0 / denominator.high
    high = numerator.high * reciprocal
    remainder = fma(-high, denominator.high, numerator.high)
    missing = fma(-high, denominator.low, remainder + numerator.low)
    return Pair(high, missing * reciprocal)


def total(a: Pair) -> Value:
    """A pair rounded to one number."""
    return a.high + a.low


class Reduced(NamedTuple):
    """e^x as 2^n (1 + r + tail): what every exponential starts from."""

    n: Value
    n_bits: Value
    r: Value
    tail: Value


def reduce_exp(x: Real, x_low: Real | None = None) -> Reduced:
    """Split x = n ln 2 + r with |r| <= ln(2)/2, and e^r = 1 + r + tail.

    Adding 1.5 * 2^23 (2^52) rounds to an integer and leaves it in the sum's low bits.
    r = x - n LN2.high is exact: with one rounding, it keeps all bits of the difference.
    """
    x = real(x)
    magic = by_dtype(1.5 * 2.0**23, 1.5 * 2.0**52)
    ln2_high, ln2_low = split(LN2)
    shifted = fma(x, real(LOG2_E), magic)
    n = shifted - magic
    r = fma(-n, ln2_high, x)
    series = polynomial(r, by_dtype(EXP_FLOAT32, EXP_FLOAT64))
    rest = -n * ln2_low if x_low is None else fma(-n, ln2_low, x_low)
    # e^(r + rest) = e^r + rest e^r, up to rest^2, far below the last digit
    curve = r * r * series
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


def exp_times(factor: Value, reduced: Reduced) -> Pair:
    """e^r times a power of two."""
    high, low = fast_two_sum(1.0, reduced.r)
    high, low = fast_two_sum(high, low + reduced.tail)
    return Pair(high * factor, low * factor)


def exp_lifted(reduced: Reduced) -> Pair:
    """e^x times 2^lift(), for lowest_exponent() <= x and a moderate e^x."""
    return exp_times(two_to(reduced.n_bits, lift()), reduced)


def unlift(a: Pair) -> Pair:
    """A lifted pair at its true size."""
    return Pair(a.high * lower(), a.low * lower())


def expm1(reduced: Reduced) -> Pair:
    """e^x - 1, with full relative precision at 0, for any x whose e^x is small."""
    # Far below the last digit of 1 the factor no longer matters; nor may its exponent
    # leave the range of normal numbers.
    factor = where(reduced.n < -100.0, 0.0, two_to(reduced.n_bits, 0))
    r, r_low = fast_two_sum(reduced.r, reduced.tail)
    whole = factor - 1.0
    high = fma(factor, r, whole)
    low = fma(factor, r, whole - high)
    return Pair(high, fma(factor, r_low, low + (factor - (whole + 1.0))))


def log1p_lifted(u: Pair) -> Pair:
    """log(1 + u) of a lifted u between 0 and 1, lifted too."""
    true_u = unlift(u)
    high, low = fast_two_sum(2.0, true_u.high)
    s = quotient(u, Pair(high, low + true_u.low))
    s_true = s.high * lower()
    square = s_true * s_true
    series = polynomial(square, by_dtype(LOG1P_FLOAT32, LOG1P_FLOAT64))
    tail = fma(s.high * square, series, s.low)
    return Pair(2.0 * s.high, 2.0 * tail)
