"""Activations of the normal distribution function."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ..elementary import (
    Pair,
    clamp_size,
    constant_pair,
    distance_to,
    exact_quotient,
    exp_lifted,
    exp_of_half_square,
    exp_parts,
    fast_two_sum,
    fma_exact,
    lift,
    long_exp_coefficients,
    lower,
    multiply,
    one_minus_exp,
    pair,
    quotient,
    reduce_exp,
    rounded_product,
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
# gelu'(-a) = exp(-a^2/2) (root - a) (1 + SLOPE(a) / SLOPE_DIVISOR(a)) / 2
SLOPE_FLOAT32 = (
    "4.92654622e-01",
    "1.61515117e-01",
    "-5.55957668e-02",
    "-4.29236367e-02",
    "-7.86460470e-03",
)
SLOPE_DIVISOR_FLOAT32 = (
    "1.49218750e+00",
    "2.08602691e+00",
    "1.18204343e+00",
    "3.27813506e-01",
    "3.89123634e-02",
)
# With t = (a - k) / (a + k), for 0 <= a <= 39:
# (1 - Phi(a)) exp(a^2/2) = GELU_TAIL(t) / (a + k). GELU_TAIL varies little, so that its
# last rounding is nearly its only error.
GELU_K_FLOAT64 = 1.890625
GELU_TAIL_FLOAT64 = (
    "6.6258097317189624e-01",
    "-3.0469433273875757e-01",
    "7.2828766292961176e-03",
    "3.6953449016924614e-02",
    "4.5312551342859917e-03",
    "-5.8323843046103590e-03",
    "-3.0406000899164125e-03",
    "8.6157200873458026e-05",
    "8.2400761738441646e-04",
    "4.2678579245421759e-04",
    "1.5689936589668954e-05",
    "-1.1918877692912192e-04",
    "-8.5552274722157644e-05",
    "-2.1931217561882891e-05",
    "1.2544564166597913e-05",
    "1.7343928664914567e-05",
    "9.3792000584385953e-06",
    "1.2344736606750219e-06",
    "-2.4300048988444201e-06",
    "-2.2280683455317039e-06",
    "-1.0749564163246039e-06",
    "-6.2506707941432677e-07",
    "-9.1916296355720779e-08",
    "7.4233775057506814e-07",
    "6.9317714817513412e-07",
    "-7.5640181359613094e-08",
    "-3.3326001568965106e-07",
    "-7.7529560287124964e-08",
    "5.3272154234984891e-08",
    "2.0793411168083036e-08",
)
# gelu'(-a) = exp(-a^2/2) (r - a) GELU_SLOPE(t), r its root
GELU_SLOPE_FLOAT64 = (
    "5.0843449501283822e-01",
    "-1.3892205890067069e-01",
    "2.5267284395018727e-02",
    "6.9307030621881989e-03",
    "-1.6618556593815043e-03",
    "-1.2665174199281688e-03",
    "-1.1630650526732540e-04",
    "1.9207576670574318e-04",
    "1.0908774314863656e-04",
    "1.0474817449697395e-05",
    "-2.1082052318422400e-05",
    "-1.5226801272014950e-05",
    "-3.8066987397101894e-06",
    "1.8644404505071788e-06",
    "2.4608769985080591e-06",
    "1.2055538319781755e-06",
    "1.0792160133523292e-07",
    "-2.8617375099616350e-07",
    "-2.4457163801922874e-07",
    "-1.5339052669069862e-07",
    "-7.4413107256212879e-08",
    "4.9337606330972104e-08",
    "9.9614157896616041e-08",
    "2.5576026240116396e-08",
    "-3.1214521636116596e-08",
    "-1.5531447348011836e-08",
    "3.3175151230741519e-09",
    "2.2982075302928712e-09",
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


def normal_density_lifted(a: Value, a_low: Value | None = None) -> Pair:
    """exp(-(a + a_low)^2 / 2), lifted."""
    return exp_lifted(reduce_exp(*normal_exponent(a, a_low)))


def times_gaussian_lifted(factor: Real, x: Value) -> Value:
    """factor exp(-x^2), rounded once, lifted."""
    square, square_low = two_product(x, x)
    return times_exp(factor, -square, -square_low, shift=lift())


def gelu_variable(a: Value, a_low: Value | None = None) -> tuple[Value, Pair]:
    """t = (a - k) / (a + k) and, as a pair, 1 / (a + k)."""
    k = GELU_K_FLOAT64
    base, base_low = two_sum(a, k)
    if a_low is not None:
        base_low = base_low + a_low
    reciprocal = 1.0 / base
    missing = fma(-base_low, reciprocal, fma(-base, reciprocal, 1.0))
    return (a - k) * reciprocal, Pair(reciprocal, correction(reciprocal * missing))


def gelu_polynomial(t: Value, coefficients: tuple[str, ...]) -> Pair:
    """Estrin's scheme but for the last step, whose power of t would be rounded."""
    constant, *others = coefficients
    return fma_exact(polynomial(t, others), t, real(constant))


def normal_tail_lifted(a: Value, a_low: Value | None = None) -> Value:
    """1 - Phi(a + a_low), lifted; Phi is the distribution function."""
    if by_dtype(True, False):
        return normal_tail_float32(a, a_low)
    t, reciprocal = gelu_variable(a, a_low)
    series = gelu_polynomial(t, GELU_TAIL_FLOAT64)
    product = multiply(normal_density_lifted(a, a_low), reciprocal)
    return rounded_product(product, series)


def normal_tail_float32(
    a: Value, a_low: Value | None = None, *, weight: Value | None = None
) -> Value:
    """The same in float32, times a weight: r (1 + TAIL) e^(-a^2 / 2).

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
    scaled = power if weight is None else weight * power  # exact
    factor = r * scaled
    constant, *others = (real(c) for c in short(TAIL_FLOAT16, coefficients))
    series, series_low = fma_exact(v, horner(v, others), constant)
    high, low = fma_exact(factor, series, factor)
    if weight is not None:
        factor_low = correction(fma(r, scaled, -factor))
        low = low + fma(factor_low, series, factor_low)
    if a_low is not None:  # a rounded a has errors of its own
        low = fma(factor, series_low, low)
    grown, grown_low = fma_exact(high, change, high)
    return grown + fma(high, rest, grown_low + fma(low, change, low))


def gelu_tail_lifted(a: Value) -> Value:
    """a (1 - Phi(a)), lifted."""
    if by_dtype(True, False):
        return normal_tail_float32(a, weight=a)
    # In fewer operations than by `normal_tail_lifted`
    base = a + GELU_K_FLOAT64
    base_low = a - (base - GELU_K_FLOAT64)  # exact
    reciprocal = 1.0 / base
    ratio = a * reciprocal
    remainder = fma(-ratio, base_low, fma(-ratio, base, a))
    ratio_low = remainder * reciprocal
    t = fma(2.0, ratio_low, fma(2.0, ratio, -1.0))
    high, low = gelu_polynomial(t, GELU_TAIL_FLOAT64)
    power, change = exp_of_half_square(a, shift=lift())
    product = fast_two_sum(high, fma(high, change, low))
    return rounded_product(Pair(ratio, ratio_low), product) * power


@activation(
    formula="x Phi(x), Phi the normal distribution function",
    # To 1 ULP its gradient would take longer than PyTorch's.
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
    below = gelu_tail_lifted(a)
    # -0.0, so that the result is, too, where a tiny a / (a + k) is zero
    return fma(-below, lower(), where(x < 0, -0.0, x))


@gelu.derivative
def gelu_derivative(x: Value) -> Value:
    a = clamp_high(abs(x), normal_limit())
    slope = by_dtype(gelu_slope_float32, gelu_slope_float64)
    return one_minus_right(x < 0, slope(a))


def gelu_slope_float64(a: Value) -> Value:
    """gelu'(-a), lifted."""
    t, _ = gelu_variable(a)
    series = gelu_polynomial(t, GELU_SLOPE_FLOAT64)
    factor = multiply(normal_density_lifted(a), distance_to(GELU_ROOT, a))
    return rounded_product(factor, series)


def gelu_slope_float32(a: Value) -> Value:
    """The same in fewer operations, to 2 ULP.

    The errors of the quotient count little beside 1, and so do those of the last but one
    sum. What the products before them lose is added to that.
    """
    power, p = exp_of_half_square(a, shift=lift() - 1)
    slope = horner(a, SLOPE_FLOAT32) / horner(a, SLOPE_DIVISOR_FLOAT32)
    # Few digits of the root: for an a > 0.26 the difference is exact.
    root, root_low, root_rest = split_in_three_at(GELU_ROOT, 20)
    distance, low = fma_exact(power, root_low, (root - a) * power)
    low = fma(power, correction(root_rest), low)
    product, product_low = fma_exact(distance, p, distance)
    low = fma(correction(low), 1.0 + p, product_low)
    return product + fma(product, slope, low)


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
