"""Activations of the normal distribution function."""

from __future__ import annotations

from ..elementary import (
    Pair,
    distance_to,
    exp_lifted,
    lower,
    multiply,
    reduce_exp,
    scale,
    two_product,
    two_sum,
)
from ..entry import activation
from ..language import (
    Value,
    by_dtype,
    clamp_high,
    fma,
    polynomial,
    real,
    where,
)
from ..logistic import one_minus_right

# With t = (a - k) / (a + k), for 0 <= a <= 14.5 (39 in float64):
# (1 - Phi(a)) exp(a^2/2) = GELU_TAIL(t) / (a + k). GELU_TAIL varies little, so that its
# last rounding is nearly its only error.
GELU_K_FLOAT32 = 1.4921875
GELU_K_FLOAT64 = 1.890625
GELU_TAIL_FLOAT32 = (
    "6.16237819e-01",
    "-1.92679942e-01",
    "-5.84941618e-02",
    "1.72112137e-02",
    "1.77251864e-02",
    "4.24927333e-03",
    "-2.31790124e-03",
    "-2.73643760e-03",
    "-1.09841581e-03",
    "2.29429614e-04",
    "4.70274885e-04",
    "1.55510963e-04",
)
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
GELU_SLOPE_FLOAT32 = (
    "5.25136054e-01",
    "-1.42570391e-01",
    "5.28231217e-03",
    "1.04557481e-02",
    "2.34557176e-03",
    "-7.66744779e-04",
    "-8.39958317e-04",
    "-2.88752897e-04",
    "5.35271793e-05",
    "1.03249578e-04",
    "3.35985569e-05",
)
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


def normal_density_lifted(a: Value) -> Pair:
    """exp(-a^2 / 2), lifted; the rounding error of the square goes into the exponent."""
    square, square_low = two_product(a, a)
    return exp_lifted(reduce_exp(square * -0.5, square_low * -0.5))


def gelu_variable(a: Value) -> tuple[Value, Pair]:
    """t = (a - k) / (a + k) and, as a pair, 1 / (a + k)."""
    k = by_dtype(GELU_K_FLOAT32, GELU_K_FLOAT64)
    base, base_low = two_sum(a, k)
    reciprocal = 1.0 / base
    missing = fma(-base_low, reciprocal, fma(-base, reciprocal, 1.0))
    return (a - k) * reciprocal, Pair(reciprocal, reciprocal * missing)


def gelu_polynomial(t: Value, coefficients: tuple[str, ...]) -> Value:
    """Estrin's scheme but for the last step, whose power of t would be rounded."""
    constant, *others = coefficients
    return fma(polynomial(t, others), t, real(constant))


@activation(
    formula="x Phi(x), Phi the normal distribution function",
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
    # max(x, 0) - a Q(a), a = |x|, Q(a) = 1 - Phi(a) = exp(-a^2/2) GELU_TAIL(t) / (a + k)
    a = clamp_high(abs(x), by_dtype(15.0, 39.0))
    t, reciprocal = gelu_variable(a)
    series = gelu_polynomial(t, by_dtype(GELU_TAIL_FLOAT32, GELU_TAIL_FLOAT64))
    factor = multiply(normal_density_lifted(a), scale(a, reciprocal))
    below = fma(factor.high, series, factor.low * series)
    return fma(-below, lower(), where(x >= 0, x, 0.0))


@gelu.derivative
def gelu_derivative(x: Value) -> Value:
    a = clamp_high(abs(x), by_dtype(15.0, 39.0))
    t, _ = gelu_variable(a)
    series = gelu_polynomial(t, by_dtype(GELU_SLOPE_FLOAT32, GELU_SLOPE_FLOAT64))
    factor = multiply(normal_density_lifted(a), distance_to(GELU_ROOT, a))
    left = fma(factor.high, series, factor.low * series)
    return one_minus_right(x < 0, left)


# gelu_tanh is x / (1 + exp(-v)), v = C1 x + C3 x^3
