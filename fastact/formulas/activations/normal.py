"""Activations of the normal distribution function."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ..elementary import (
    Pair,
    clamp_size,
    constant_pair,
    exact_quotient,
    exp_of_half_square,
    exp_parts,
    fma_exact,
    lift,
    long_exp_coefficients,
    lower,
    one_minus_exp,
    pair,
    quotient,
    rounded_down,
    scale,
    split_in_three_at,
    times_exp,
    two_product,
    two_sum,
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
    polynomial,
    real,
    short,
    split,
    to_last_digit,
    where,
)
from ..logistic import one_minus_right


class Reciprocal(NamedTuple):
    """A function of a, 0 <= a <= 14.5: a polynomial of r - middle, r = scale / (a + k)."""

    k: float
    scale: float
    middle: float
    coefficients: tuple[str, ...]


# (1 - Phi(a)) exp(a^2/2) = r (1 + TAIL). k has few digits; the scale makes |TAIL| < 1/4.
TAIL_FLOAT16 = (
    "-4.71078418e-02",
    "1.81155980e+00",
    "-1.75475705e+00",
    "-7.66172028e+00",
    "2.13146515e+01",
    "1.51043816e+01",
    "-1.97827972e+02",
    "4.36538483e+02",
    "-3.34488281e+02",
)
TAIL_FLOAT32 = Reciprocal(
    47 / 32,
    301 / 512,
    151 / 1024,
    (
        "-4.71072681e-02",
        "1.81159222e+00",
        "-1.75570142e+00",
        "-7.67753744e+00",
        "2.16168480e+01",
        "1.63720036e+01",
        "-2.32419769e+02",
        "5.14901184e+02",
        "7.79144714e+02",
        "-7.83195605e+03",
        "1.76119180e+04",
        "4.26361768e+03",
        "-8.24423594e+04",
        "1.02441000e+05",
    ),
)


class Quotient(NamedTuple):
    """A quotient of polynomials of a."""

    numerator: tuple[str, ...]
    denominator: tuple[str, ...]

    def at(self, a: Value) -> Value:
        """Its value. In float32 no powers of a: a kernel waits for others meanwhile."""
        scheme = by_dtype(horner, polynomial)
        value: Value = scheme(a, self.numerator) / scheme(a, self.denominator)
        return value


# (1 - Phi(a)) exp(a^2/2) = 7/16 (1 + TAIL_QUOTIENT(a)) / (a + 13/16), the quotient < 1/10
TAIL_K = 13 / 16
TAIL_SCALE = 7 / 16
TAIL_QUOTIENT_FLOAT32 = Quotient(
    (
        "-7.14285746e-02",
        "2.80368298e-01",
        "1.47655949e-01",
        "2.79780217e-02",
        "-9.32645577e-04",
        "-1.06180133e-03",
    ),
    (
        "1.00000000e+00",
        "1.70234799e+00",
        "1.24657750e+00",
        "4.99050409e-01",
        "1.11825638e-01",
        "1.20486841e-02",
    ),
)
TAIL_QUOTIENT_FLOAT64 = Quotient(
    (
        "-1.8068603739478080e+04",
        "5.8964539953937492e+04",
        "8.0207350983278899e+04",
        "4.6976295564605847e+04",
        "1.6034065782624939e+04",
        "3.2958384187137649e+03",
        "3.2607908289913286e+02",
        "-2.0183922713958264e+01",
        "-1.1386420609099389e+01",
        "-1.5671109992181111e+00",
        "-8.8131930512607259e-02",
    ),
    (
        "2.5296045235269319e+05",
        "5.9803156575095037e+05",
        "6.5743125631702074e+05",
        "4.4374236455296678e+05",
        "2.0429404964745953e+05",
        "6.7293179433024852e+04",
        "1.6138133619643895e+04",
        "2.7995386644547266e+03",
        "3.3900419047017334e+02",
        "2.6188054574899823e+01",
        "1.0000000000000000e+00",
    ),
)
# gelu'(-a) = exp(-a^2/2) (root - a) (7/8 + SLOPE(a)) / 2
SLOPE_FLOAT32 = Quotient(
    (
        "7.46740282e-01",
        "4.64260757e-01",
        "1.01321682e-01",
        "-2.14094063e-03",
        "-3.29884887e-03",
    ),
    (
        "1.64062500e+00",
        "2.29350781e+00",
        "1.29959345e+00",
        "3.60407650e-01",
        "4.27806862e-02",
    ),
)
SLOPE_FLOAT64 = Quotient(
    (
        "4.2554290083912805e+04",
        "5.7674441714699824e+04",
        "3.6647004158265387e+04",
        "1.3706674448112029e+04",
        "3.1153749928665193e+03",
        "3.6681472501778273e+02",
        "-6.1146629441175007e+00",
        "-9.3419588091494514e+00",
        "-1.3812059036826785e+00",
        "-7.7115439206405526e-02",
        "4.3118620907151575e-14",
    ),
    (
        "9.3493859235679207e+04",
        "1.9928655015037258e+05",
        "1.9512728999966406e+05",
        "1.1549914596786273e+05",
        "4.5694435975362860e+04",
        "1.2579969693311979e+04",
        "2.4219925629109580e+03",
        "3.1646878252147019e+02",
        "2.5689392107499923e+01",
        "1.0000000000000000e+00",
    ),
)
GELU_ROOT = "0.7517915246935644574579049467795240396645"
# erf(t) = 1 - exp(-2t (1/sqrt(pi) + t ERF(t))), for 0 <= t <= 4 (6 in float64)
ERF_FLOAT32 = (
    "3.18309754e-01",
    "5.13884276e-02",
    "-9.57490690e-03",
    "-8.29726996e-05",
    "8.36117717e-04",
    "-3.17769707e-04",
    "5.91824537e-05",
    "-4.66697838e-06",
)
ERF_FLOAT64 = (
    "3.1830988618379141e-01",
    "5.1386301650909995e-02",
    "-9.5642235028228686e-03",
    "-1.0459734440695421e-04",
    "8.4810317273788108e-04",
    "-2.9506268430033858e-04",
    "1.2938998729218313e-05",
    "3.2246674687152944e-05",
    "-1.4863418311500806e-05",
    "1.7056698403740549e-06",
    "1.4152210954916895e-06",
    "-8.6861281325085646e-07",
    "1.6658566595878672e-07",
    "6.9542255940084612e-08",
    "-7.1338338411134740e-08",
    "3.3043894398521379e-08",
    "-1.0536306490260103e-08",
    "2.5123963301401837e-09",
    "-4.5672019003677931e-10",
    "6.2804397011440300e-11",
    "-6.3471193516093459e-12",
    "4.4540769969843087e-13",
    "-1.9398166649347200e-14",
    "3.9486068079625894e-16",
)

INVERSE_SQRT_2PI = "0.3989422804014326779399460599343818684759"
TWO_OVER_SQRT_PI = "1.128379167095512573896158903121545171688"


def normal_limit() -> float:
    """Where exp(-x^2 / 2) has long been rounded to zero."""
    return float(by_dtype(15.0, 39.0))


def gaussian_limit() -> float:
    """Where exp(-x^2) and x exp(-x^2) have long been rounded to zero."""
    return float(by_dtype(10.5, 27.5))


def normal_exponent(a: Value, a_low: Value | None = None) -> Pair:
    """-(a + a_low)^2 / 2: the rounding error of a square is large in an exponent."""
    square, square_low = two_product(a, a)
    rest = square_low * -0.5
    return Pair(square * -0.5, rest if a_low is None else fma(-a, a_low, rest))


def times_gaussian_lifted(factor: Real, x: Value) -> Value:
    """factor exp(-x^2), rounded once, lifted."""
    square, square_low = two_product(x, x)
    return times_exp(factor, -square, -square_low, shift=lift())


def normal_tail_lifted(a: Value, a_low: Value | None = None) -> Value:
    """1 - Phi(a + a_low), lifted; Phi is the distribution function."""
    if by_dtype(True, False):
        return normal_tail_float32(a, a_low)
    power, growth, r = normal_tail_factors(a, a_low)
    part = power * r  # exact
    return fma(part, growth, part)


def normal_tail_factors(
    a: Value, a_low: Value | None = None, *, scale: float = 1.0
) -> tuple[Value, Value, Value]:
    """A power of two, a growth and r: power (1 + growth) r is the same.

    r, times the scale, is 7/16 / (a + 13/16) in so few digits that what it lacks is known
    exactly. The exponential takes care of that.
    """
    scaled = TAIL_SCALE * scale
    r = scaled / (a + TAIL_K)
    missing = None
    if by_dtype(to_last_digit(), True):
        r = rounded_down(r, by_dtype(8, 16))
        missing = fma(-a, r, fma(r, -TAIL_K, scaled))  # the inner fma is exact
        if a_low is not None:
            # (a + a_low) r, and a a_low in the exponent
            missing = fma(-a_low, fma(a, scaled, r), missing)
    power, h, series = exp_of_half_square(a, missing, unit=1.0 / scaled, shift=lift())
    quotient = by_dtype(TAIL_QUOTIENT_FLOAT32, TAIL_QUOTIENT_FLOAT64)
    return power, growth_of(h, series, quotient.at(a)), r


def growth_of(h: Value, series: Value, ratio: Value) -> Value:
    """(1 + h series) (1 + ratio) - 1."""
    return fma(h, series, fma(h * series, ratio, ratio))


def normal_tail_float32(a: Value, a_low: Value | None = None) -> Value:
    """`normal_tail_lifted` in float32, within 1 ULP: r (1 + TAIL) e^(-a^2 / 2).

    (1 - Phi) exp(a^2 / 2) is about proportional to r^1.16. The exponential takes care of
    what r lacks, which would change TAIL, too; so r may have as few digits as v.
    """
    k, numerator, middle, coefficients = TAIL_FLOAT32
    base = a + k
    base_low = correction(a - (base - k))  # exact: k has few digits
    square, square_low = two_product(-0.5 * a, a)
    if a_low is not None:
        base_low = base_low + a_low
        square_low = fma(-a, a_low, square_low)
    v = numerator / base - middle
    r = v + middle
    missing = correction(fma(-base_low, r, fma(-base, r, numerator)))
    exponent_low = fma(missing, 1.16 / numerator, square_low)
    power, change, rest = exp_parts(
        square, exponent_low, shift=lift(), series=long_exp_coefficients()
    )
    factor = r * power  # exact
    constant, *others = (real(c) for c in short(TAIL_FLOAT16, coefficients))
    series, series_low = fma_exact(v, horner(v, others), constant)
    high, low = fma_exact(factor, series, factor)
    if a_low is not None:  # a rounded a has errors of its own
        low = fma(factor, series_low, low)
    grown, grown_low = fma_exact(high, change, high)
    return grown + fma(high, rest, grown_low + fma(low, change, low))


@activation(
    formula="x Phi(x), Phi the normal distribution function",
    # Within 1 ULP both would take longer than other libraries'.
    bound=2.0,
    backward_bound=2.0,
    source="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    aliases=("gelu_exact", "gelu_erf"),
    derivative_roots=("-" + GELU_ROOT,),
    plain="0.5 * x * (1 + erf(x / 2**0.5))",
    plain_backward="dy * (0.5 * (1 + erf(x / 2**0.5))"
    " + x * np.exp(-0.5 * x * x) * 0.3989422804014327)",
    notes="The exact function, as PyTorch's and ONNX's default; JAX's default is "
    "gelu_tanh.",
)
def gelu(x: Value) -> Value:
    """Gaussian error linear unit."""
    # max(x, 0) - a (1 - Phi(a)), a = |x|
    a = clamp_high(abs(x), normal_limit())
    power, growth, r = normal_tail_factors(a, scale=-(2.0 ** -lift()))
    part = a * power  # exact
    grown = fma(part, growth, part)
    # -0.0, so that the result is, too, where a tiny a (1 - Phi(a)) is zero
    rest = clamp_low(x, -0.0)
    if to_last_digit():
        rest = fma(fma(part, growth, part - grown), r, rest)
    return fma(grown, r, rest)


@gelu.derivative
def gelu_derivative(x: Value) -> Value:
    a = clamp_high(abs(x), normal_limit())
    return one_minus_right(x < 0, gelu_slope(a))


def gelu_slope(a: Value) -> Value:
    """gelu'(-a), lifted."""
    power, h, series = exp_of_half_square(a, shift=lift() - 1)
    slope = by_dtype(SLOPE_FLOAT32, SLOPE_FLOAT64)
    growth = growth_of(h, series, slope.at(a) - 1 / 8)
    # Few digits of the root: for an a > root / 3 the difference is exact.
    root, root_low, root_rest = split_in_three_at(GELU_ROOT, by_dtype(20, 47))
    difference = root - a
    lost = (root - difference) - a
    distance, low = fma_exact(power, root_low, difference * power)
    low = fma(power, correction(lost + root_rest), low)
    return distance + fma(distance, growth, fma(low, growth, low))


@activation(
    formula="Phi(x), the normal distribution function",
    source="Abramowitz and Stegun 1964, 26.2.2",
    plain="0.5 * erfc(-x / 2**0.5)",
    plain_backward="dy * np.exp(-0.5 * x * x) * 0.3989422804014327",
)
def ndtr(x: Value) -> Value:
    """Normal distribution function."""
    a = clamp_high(abs(x), normal_limit())
    return one_minus_right(x < 0, normal_tail_lifted(a))


@ndtr.derivative
def ndtr_derivative(x: Value) -> Value:
    exponent = normal_exponent(clamp_size(x, normal_limit()))
    return pair_times_exp(constant_pair(INVERSE_SQRT_2PI), exponent)


def pair_times_exp(factor: Pair, x: Pair) -> Value:
    """factor e^x, which may be a subnormal number; the low part adds to the exponent."""
    exponent_low = x.low + correction(factor.low / factor.high)
    return times_exp(factor.high, x.high, exponent_low, shift=lift()) * lower()


@activation(
    formula="2/sqrt(pi) times the integral of exp(-t^2) from 0 to x",
    source="Abramowitz and Stegun 1964, 7.1.1",
    plain="erf(x)",
    plain_backward="dy * np.exp(-x * x) * 1.1283791670955126",
)
def erf(x: Value) -> Value:
    """Error function."""
    t = clamp_high(abs(x), by_dtype(4.0, 6.0))
    high, low = split(TWO_OVER_SQRT_PI)
    doubled = [f"{2 * Fraction(c)}" for c in by_dtype(ERF_FLOAT32, ERF_FLOAT64)]
    slope = fma_exact(t, by_dtype(horner, polynomial)(t, doubled), high)
    exponent = scale(t, Pair(slope.high, slope.low + low))
    return copysign(one_minus_exp(*exponent), x)


@erf.derivative
def erf_derivative(x: Value) -> Value:
    x = clamp_size(x, gaussian_limit())
    square, square_low = two_product(x, x)
    exponent = Pair(-square, -square_low)
    return pair_times_exp(constant_pair(TWO_OVER_SQRT_PI), exponent)


@activation(
    formula="(1 + erf((x - mu) / (sigma sqrt(2)))) / 2",
    source="Ma et al. 2022, arXiv:2209.10655",
    requires={"sigma": "> 0"},
    plain="0.5 * erfc((mu - x) / (sigma * 2**0.5))",
    plain_backward="dy * np.exp(-0.5 * ((x - mu) / sigma) ** 2)"
    " * 0.3989422804014327 / sigma",
    notes="The normal distribution function of (x - mu) / sigma; the defaults approximate "
    "relu(x)^2.",
)
def laplace(x: Value, mu: Real = 0.707107, sigma: Real = 0.282095) -> Value:
    """Laplace's attention function, a shifted normal distribution function."""
    z, z_low = standardised(x, mu, sigma)
    tail = normal_tail_lifted(abs(z), where(z < 0, -z_low, z_low))
    return one_minus_right(z < 0, tail)


def standardised(x: Value, mu: Real, sigma: Real) -> Pair:
    """(x - mu) / sigma, within the limits of the normal distribution."""
    z, z_low = exact_quotient(two_sum(x, -mu), sigma)
    return Pair(clamp_size(z, normal_limit()), z_low)


@laplace.derivative
def laplace_derivative(x: Value, mu: Real, sigma: Real) -> Value:
    exponent = normal_exponent(*standardised(x, mu, sigma))
    factor = quotient(constant_pair(INVERSE_SQRT_2PI), pair(sigma))
    return pair_times_exp(factor, exponent)


@laplace.parameter_derivative("mu")
def laplace_by_mu(x: Value, mu: Real, sigma: Real) -> Value:
    return -laplace_derivative(x, mu, sigma)


@laplace.parameter_derivative("sigma")
def laplace_by_sigma(x: Value, mu: Real, sigma: Real) -> Value:
    z, _ = standardised(x, mu, sigma)
    return -z * laplace_derivative(x, mu, sigma)


@activation(
    formula="exp(-x^2)",
    source="Moody and Darken 1989, doi:10.1162/neco.1989.1.2.281",
    plain="np.exp(-x * x)",
    plain_backward="dy * -2 * x * np.exp(-x * x)",
)
def gaussian(x: Value) -> Value:
    """Gaussian radial basis function."""
    return times_gaussian_lifted(1.0, clamp_size(x, gaussian_limit())) * lower()


@gaussian.derivative
def gaussian_derivative(x: Value) -> Value:
    x = clamp_size(x, gaussian_limit())
    scale_back = -2.0 * lower()
    if not to_last_digit():
        return times_gaussian_lifted(x, x) * scale_back
    # Three terms, so that expm1 of the reduced argument is not rounded as one number
    square, square_low = two_product(x, x)
    power, r, rest = exp_parts(-square, -square_low, shift=lift())
    scaled = x * power
    high, low = fma_exact(scaled, r, scaled)
    return (high + fma(scaled, rest, low)) * scale_back
