"""The catalogue: each activation, written once.

An entry is the forward formula under `@activation(...)`, then its derivative, its
derivative as a function of the output where there is one, and the derivatives by its
parameters. Everything else follows: C and Numba kernels, ufuncs, docstrings, stubs,
tests and benchmark rows.

Conventions: NaN gives NaN everywhere, +-inf the mathematical limit, and a kink the
derivative that its entry names (those of PyTorch 2.13).
"""

from __future__ import annotations

from .elementary import (
    Pair,
    divide_by_one_plus,
    exp_lifted,
    exp_value,
    exp_value_lifted_where,
    expm1,
    fast_two_sum,
    fma_exact,
    half_of_one_minus_exp,
    lift,
    log1p_lifted,
    lower,
    lowest_exponent,
    multiply,
    one_plus,
    over_one_plus,
    quotient,
    reduce_exp,
    scale,
    select,
    total,
    two_product,
    two_sum,
    unlift,
)
from .entry import activation
from .language import (
    Real,
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    copysign,
    fma,
    nan_from,
    polynomial,
    power_of_two,
    real,
    split,
    where,
)

INFINITY = float("inf")


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


# ---------------------------------------------------------------- piecewise linear


@activation(
    formula="x",
    source="",
    aliases=("linear",),
    plain="np.positive(x)",
    plain_backward="np.positive(dy)",
)
def identity(x: Value) -> Value:
    """Identity."""
    return x


@identity.derivative
def identity_derivative(x: Value) -> Value:
    return nan_from(x, 1.0)


@identity.derivative_from_output
def identity_derivative_from_output(y: Value) -> Value:
    return nan_from(y, 1.0)


@activation(
    formula="1 for x >= 0, else 0",
    source="McCulloch and Pitts 1943, doi:10.1007/BF02478259",
    aliases=("heaviside", "binary_step"),
    kinks={"0": "0"},
    plain="np.heaviside(x, 1)",
    plain_backward="np.zeros_like(dy)",
    notes="The derivative is 0 everywhere, at the jump too.",
)
def step(x: Value) -> Value:
    """Unit step."""
    return nan_from(x, where(x >= 0, 1.0, 0.0))


@step.derivative
def step_derivative(x: Value) -> Value:
    return nan_from(x, 0.0)


@step.derivative_from_output
def step_derivative_from_output(y: Value) -> Value:
    return nan_from(y, 0.0)


@activation(
    formula="max(x, 0)",
    source="Nair and Hinton 2010, ICML",
    aliases=("rectifier",),
    kinks={"0": "0"},
    plain="np.maximum(x, 0)",
    plain_backward="dy * (x > 0)",
)
def relu(x: Value) -> Value:
    """Rectified linear unit."""
    return where(x < 0, 0.0, x)


@relu.derivative
def relu_derivative(x: Value) -> Value:
    return nan_from(x, where(x > 0, 1.0, 0.0))


@relu.derivative_from_output
def relu_derivative_from_output(y: Value) -> Value:
    return relu_derivative(y)


def slope_times(slope: Value, x: Value) -> Value:
    """slope * x, but 0 for a slope of 0 at -inf, which is the limit."""
    return where((slope == 0) & (x == -INFINITY), 0.0, slope * x)


@activation(
    formula="x for x > 0, else negative_slope x",
    source="Maas, Hannun and Ng 2013, ICML Workshop",
    aliases=("lrelu",),
    kinks={"0": "negative_slope"},
    from_output_minimum={"negative_slope": 0.0},
    plain="np.where(x > 0, x, negative_slope * x)",
    plain_backward="np.where(x > 0, dy, negative_slope * dy)",
    notes="TensorFlow's and Keras's default slopes are 0.2 and 0.3.",
)
def leaky_relu(x: Value, negative_slope: Real = 0.01) -> Value:
    """Leaky rectified linear unit."""
    return where(x > 0, x, slope_times(real(negative_slope), x))


@leaky_relu.derivative
def leaky_relu_derivative(x: Value, negative_slope: Real) -> Value:
    return nan_from(x, where(x > 0, 1.0, negative_slope))


@leaky_relu.derivative_from_output
def leaky_relu_derivative_from_output(y: Value, negative_slope: Real) -> Value:
    return leaky_relu_derivative(y, negative_slope)


@leaky_relu.parameter_derivative("negative_slope")
def leaky_relu_by_negative_slope(x: Value, negative_slope: Real) -> Value:
    return where(x > 0, 0.0, x)


@activation(
    formula="x for x > 0, else weight x",
    source="He et al. 2015, arXiv:1502.01852",
    aliases=("parametric_relu",),
    kinks={"0": "weight"},
    from_output_minimum={"weight": 0.0},
    plain="np.where(x > 0, x, weight * x)",
    plain_backward="np.where(x > 0, dy, weight * dy)",
    notes="The weight broadcasts like any NumPy operand, so one weight per channel "
    "belongs to the last axis; for PyTorch's axis 1 give it the shape (C, 1, 1).",
)
def prelu(x: Value, weight: Real) -> Value:
    """Rectified linear unit with a learnable slope below zero."""
    return leaky_relu(x, weight)


@prelu.derivative
def prelu_derivative(x: Value, weight: Real) -> Value:
    return leaky_relu_derivative(x, weight)


@prelu.derivative_from_output
def prelu_derivative_from_output(y: Value, weight: Real) -> Value:
    return leaky_relu_derivative(y, weight)


@prelu.parameter_derivative("weight")
def prelu_by_weight(x: Value, weight: Real) -> Value:
    return leaky_relu_by_negative_slope(x, weight)


@activation(
    formula="x clip(x/6 + 1/2, 0, 1)",
    source="Howard et al. 2019, arXiv:1905.02244",
    aliases=("hard_silu", "hardsilu"),
    kinks={"-3": "0", "3": "1"},
    derivative_roots=("-1.5",),
    plain="x * np.clip(x / 6 + 0.5, 0, 1)",
    plain_backward="dy * np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))",
    notes="thinc's hard_swish has its knees at -2.5 and 2.5.",
)
def hardswish(x: Value) -> Value:
    """Piecewise quadratic approximation of silu."""
    shifted = fast_two_sum(3.0, clamp_low(clamp_high(x, 3.0), -3.0))
    inner = fma(x, shifted.high, x * shifted.low) / 6.0
    return where(x >= 3, x, where(x <= -3, -0.0, inner))


@hardswish.derivative
def hardswish_derivative(x: Value) -> Value:
    return where(x >= 3, 1.0, where(x <= -3, 0.0, (x + x + 3.0) / 6.0))


# ---------------------------------------------------------------- sigmoidal


def exp_of_minus_abs(z: Value, z_low: Value | None = None) -> Value:
    """e^-|z + z_low|, lifted."""
    rest = None if z_low is None else where(z < 0, z_low, -z_low)
    return exp_value(clamp_low(-abs(z), lowest_exponent()), rest, shift=lift())


def logistic(z: Value, z_low: Value | None = None) -> Value:
    """1 / (1 + e^-(z + z_low)), accurate in both tails.

    With e = e^-|z| it is 1 / (1 + e) on the right and e / (1 + e) on the left.
    """
    lifted = exp_of_minus_abs(z, z_low)
    numerator = where(z < 0, lifted, power_of_two(lift()))
    return divide_by_one_plus(numerator, lifted * lower()) * lower()


def logistic_slope_lifted(z: Value, z_low: Value | None = None) -> Value:
    """e / (1 + e)^2 of e = e^-|z + z_low|, lifted."""
    lifted = exp_of_minus_abs(z, z_low)
    reciprocal, missing = over_one_plus(real(1.0), lifted * lower())
    high, low = two_product(lifted, reciprocal)
    rest = fma(low, reciprocal, (high + high) * missing)
    return fma(high, reciprocal, rest)


@activation(
    formula="1 / (1 + exp(-x))",
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
    return logistic_slope_lifted(x) * lower()


@sigmoid.derivative_from_output
def sigmoid_derivative_from_output(y: Value) -> Value:
    return y * (1.0 - y)


@activation(
    formula="tanh(x)",
    source="LeCun et al. 1998, Efficient BackProp",
    plain="np.tanh(x)",
    plain_backward="dy * (1 - np.tanh(x) ** 2)",
)
def tanh(x: Value) -> Value:
    """Hyperbolic tangent."""
    # tanh(a) = m / (1 - m), m = -expm1(-2a) / 2; beyond 25 it is 1 to any precision here
    m = half_of_one_minus_exp(clamp_high(abs(x), 25.0))
    return copysign(divide_by_one_plus(m, -m), x)


@tanh.derivative
def tanh_derivative(x: Value) -> Value:
    return logistic_slope_lifted(x + x) * (4.0 * lower())


@tanh.derivative_from_output
def tanh_derivative_from_output(y: Value) -> Value:
    return (1.0 - y) * (1.0 + y)


@activation(
    formula="x / (1 + |x|)",
    source="Turian, Bergstra and Bengio 2009",
    aliases=("soft_sign",),
    plain="x / (1 + np.abs(x))",
    plain_backward="dy / (1 + np.abs(x)) ** 2",
)
def softsign(x: Value) -> Value:
    """Softsign."""
    finite = clamp_low(clamp_high(x, softsign_limit()), -softsign_limit())
    return finite / (1.0 + abs(finite))


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


# ---------------------------------------------------------------- softplus


def softplus_tail(z: Value, z_low: Value | None = None) -> Value:
    """log(1 + e^-|z + z_low|), lifted."""
    return log1p_lifted(exp_of_minus_abs(z, z_low))


def exact_product(beta: Real, x: Value) -> tuple[Value, Value | None]:
    """beta x and what its rounding lost; for the constant 1, x and nothing."""
    beta = real(beta)
    if beta.constant == 1:
        return x, None
    # f(x) = x / 2 for beta = 0, at infinity too
    product = where((beta == 0) & (abs(x) == INFINITY), 0.0, beta * x)
    # Beyond the range of exponentials what was lost no longer matters, but grows large.
    in_range = (abs(product) < by_dtype(200.0, 1500.0)) & (abs(x) < INFINITY)
    lost = where(in_range, fma(beta, x, -product), 0.0)
    return product, lost


@activation(
    formula="log(1 + exp(beta x)) / beta",
    source="Dugas et al. 2001, NeurIPS 13",
    aliases=("soft_relu", "smooth_relu", "log1p_exp"),
    plain="np.logaddexp(beta * x, 0) / beta",
    plain_backward="dy / (1 + np.exp(-beta * x))",
    notes="Unlike PyTorch's it has no threshold: it is exact for every beta x.",
)
def softplus(x: Value, beta: Real = 1.0) -> Value:
    """Softplus, a smooth rectifier."""
    z, z_low = exact_product(beta, x)
    tail = softplus_tail(z, z_low)
    base = where(z > 0, x, 0.0)
    if z_low is None:
        return fma(tail, lower(), base)
    # A small beta must not bring back what has been clamped; a tiny one not overflow.
    tail = where(z < lowest_exponent(), 0.0, tail)
    tiny = abs(real(beta)) < power_of_two(-60)
    first, last = where(tiny, lower(), 1.0), where(tiny, 1.0, lower())
    return fma(tail * first / beta, last, base)


@softplus.derivative
def softplus_derivative(x: Value, beta: Real) -> Value:
    return logistic(*exact_product(beta, x))


@softplus.derivative_from_output
def softplus_derivative_from_output(y: Value, beta: Real) -> Value:
    return -total(expm1(reduce_exp(clamp_low(-beta * y, lowest_exponent()))))


@softplus.parameter_derivative("beta")
def softplus_by_beta(x: Value, beta: Real) -> Value:
    # (z s(z) - softplus(z)) / beta^2 without its cancellation, z = beta x
    z, z_low = exact_product(beta, x)
    weighted = clamp_high(abs(z), -lowest_exponent()) * logistic(-abs(z))
    return -fma(softplus_tail(z, z_low), lower(), weighted) / beta / beta


@activation(
    formula="log(1 / (1 + exp(-x)))",
    source="",
    aliases=("log_sigmoid", "log_expit"),
    plain="-np.logaddexp(0, -x)",
    plain_backward="dy / (1 + np.exp(x))",
)
def logsigmoid(x: Value) -> Value:
    """Logarithm of the logistic sigmoid."""
    return fma(-softplus_tail(x), lower(), where(x < 0, x, 0.0))


@logsigmoid.derivative
def logsigmoid_derivative(x: Value) -> Value:
    return logistic(-x)


@logsigmoid.derivative_from_output
def logsigmoid_derivative_from_output(y: Value) -> Value:
    return -total(expm1(reduce_exp(clamp_low(y, lowest_exponent()))))


# ---------------------------------------------------------------- exponential units


def expm1_below_zero(x: Value) -> Pair:
    """expm1(min(x, 0))."""
    return expm1(reduce_exp(clamp_low(clamp_high(x, 0.0), lowest_exponent())))


def exp_below_zero(x: Value, factor: Pair) -> Value:
    """factor * e^min(x, 0)."""
    exponent = clamp_low(clamp_high(x, 0.0), lowest_exponent())
    lifted = exp_lifted(reduce_exp(exponent))
    if factor.high.constant is not None:
        return total(multiply(factor, lifted)) * lower()
    # A large factor is lowered first, or the product would overflow; and it must not
    # bring back what has been clamped.
    large = abs(factor.high) > 1
    first, last = where(large, lower(), 1.0), where(large, 1.0, lower())
    lowered = Pair(factor.high * first, factor.low * first)
    return where(x < lowest_exponent(), 0.0, total(multiply(lowered, lifted)) * last)


@activation(
    formula="x for x > 0, else alpha (exp(x) - 1)",
    source="Clevert, Unterthiner and Hochreiter 2015, arXiv:1511.07289",
    kinks={"0": "alpha"},
    from_output_minimum={"alpha": 0.0},
    plain="np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))",
    plain_backward="dy * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))",
)
def elu(x: Value, alpha: Real = 1.0) -> Value:
    """Exponential linear unit."""
    return where(x > 0, x, alpha * total(expm1_below_zero(x)))


@elu.derivative
def elu_derivative(x: Value, alpha: Real) -> Value:
    return where(x > 0, 1.0, exp_below_zero(x, pair(alpha)))


@elu.derivative_from_output
def elu_derivative_from_output(y: Value, alpha: Real) -> Value:
    return nan_from(y, where(y > 0, 1.0, y + alpha))


@elu.parameter_derivative("alpha")
def elu_by_alpha(x: Value, alpha: Real) -> Value:
    return where(x > 0, 0.0, total(expm1_below_zero(x)))


SELU_LAMBDA = "1.0507009873554804934193349852946"
SELU_LAMBDA_ALPHA = "1.75809934084737685994021752081231934206024581"


@activation(
    formula="lambda x for x > 0, else lambda alpha (exp(x) - 1); lambda = 1.0507009873554"
    "805, alpha = 1.6732632423543772",
    source="Klambauer et al. 2017, arXiv:1706.02515",
    kinks={"0": "1.75809934084737685994021752081231934206024581"},
    plain="1.0507009873554805 * np.where("
    "x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))",
    plain_backward="dy * np.where("
    "x > 0, 1.0507009873554805, 1.7580993408473766 * np.exp(np.minimum(x, 0)))",
)
def selu(x: Value) -> Value:
    """Self-normalising exponential linear unit."""
    high, low = split(SELU_LAMBDA)
    # The low part's product must stay finite: inf - inf would be NaN.
    right = fma(high, x, low * clamp_high(x, by_dtype(1e38, 1e308)))
    negative = multiply(constant_pair(SELU_LAMBDA_ALPHA), expm1_below_zero(x))
    return where(x > 0, right, total(negative))


@selu.derivative
def selu_derivative(x: Value) -> Value:
    negative = exp_below_zero(x, constant_pair(SELU_LAMBDA_ALPHA))
    return where(x > 0, real(SELU_LAMBDA), negative)


@selu.derivative_from_output
def selu_derivative_from_output(y: Value) -> Value:
    negative = y + real(SELU_LAMBDA_ALPHA)
    return nan_from(y, where(y > 0, real(SELU_LAMBDA), negative))


# ---------------------------------------------------------------- silu and swish


def times_logistic(x: Value, z: Value, z_low: Value | None = None) -> Value:
    """x / (1 + e^-(z + z_low)) for an x that is clamped where this is zero."""
    negative = z < 0
    lifted = exp_of_minus_abs(z, z_low)
    top = where(negative, lifted, 1.0)
    logistic_z = over_one_plus(top, lifted * lower())
    return times_pair(x, logistic_z) * where(negative, lower(), 1.0)


def times_pair(x: Value, a: Pair) -> Value:
    """x a, rounded once; infinite for an infinite x (inf a.low may be inf or NaN)."""
    largest = by_dtype(1e30, 1e300)
    finite = clamp_low(clamp_high(x, largest), -largest)
    return fma(x, a.high, finite * a.low)


def times_logistic_of_any(x: Value, z: Value, z_low: Value) -> Value:
    """x / (1 + e^-(z + z_low)) for x and z of any size each.

    Far on the left x e^z is still a normal number where e^z no longer is: there, and
    only there (a lifted quotient times a large x would overflow), e^z is lifted.
    """
    negative = z < 0
    edge, lowest = by_dtype((-86.0, -174.0), (-700.0, -1400.0))
    far = z < edge
    shift = by_dtype(126, 1022)
    unlift_far = where(far, power_of_two(-shift), 1.0)
    # On the right e^-|z| only has to be negligible, and must not need lifting.
    exponent = clamp_low(-abs(z), where(negative, lowest, edge))
    rest = where(negative, z_low, -z_low)
    e = exp_value_lifted_where(far, exponent, rest, shift=shift)
    logistic_z = over_one_plus(where(negative, e, 1.0), e * unlift_far)
    product = times_pair(x, logistic_z) * unlift_far
    return where(z <= lowest, copysign(0.0, x), product)


SILU_ROOT = "1.27846454276107379510935873902298015543947749"
SILU_EXP_AT_ROOT = "0.278464542761073795109358739022980155439477489"


def silu_slope(z: Value, z_low: Value | None = None) -> Value:
    """Derivative of z / (1 + e^-z), accurate around its root too.

    With a = |z| and e = e^-a, left of zero it is e (1 + e - a) / (1 + e)^2, and right of
    zero 1 minus that. At the root, a = r, 1 + e = a, so e^-r = r - 1, and
    1 + e - a = (r - 1) expm1(r - a) + (r - a): two terms of one sign.
    """
    negative = z < 0
    size_low = None if z_low is None else where(negative, -z_low, z_low)
    size = clamp_high(abs(z), -lowest_exponent())
    distance = distance_to(SILU_ROOT, size, size_low)
    reduced = reduce_exp(*distance)
    at_root = constant_pair(SILU_EXP_AT_ROOT)
    lifted = multiply(at_root, exp_lifted(reduced))
    factor = add_same_sign(multiply(at_root, expm1(reduced)), distance)
    base = one_plus(unlift(lifted))
    left = total(quotient(multiply(lifted, factor), multiply(base, base)))
    return one_minus_right(negative, left)


def one_minus_right(negative: Value, left_lifted: Value) -> Value:
    """g(|x|) left of zero and 1 - g(|x|) right of it, from a lifted g."""
    signed = where(negative, left_lifted, -left_lifted)
    return fma(signed, lower(), where(negative, 0.0, 1.0))


@activation(
    formula="x / (1 + exp(-x))",
    source="Elfwing, Uchibe and Doya 2017, arXiv:1702.03118",
    aliases=("swish_1", "swish1", "sil"),
    derivative_roots=("-" + SILU_ROOT,),
    plain="x / (1 + np.exp(-x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-x))) * (1 + x * (1 - s))",
)
def silu(x: Value) -> Value:
    """Sigmoid linear unit."""
    x = clamp_low(x, lowest_exponent())
    return times_logistic(x, x)


@silu.derivative
def silu_derivative(x: Value) -> Value:
    return silu_slope(x)


@activation(
    formula="x / (1 + exp(-beta x))",
    source="Ramachandran, Zoph and Le 2017, arXiv:1710.05941",
    derivative_roots=("-" + SILU_ROOT,),
    plain="x / (1 + np.exp(-beta * x))",
    plain_backward="dy * (s := 1 / (1 + np.exp(-beta * x))) * (1 + beta * x * (1 - s))",
    notes="At beta = 1 it is silu.",
)
def swish(x: Value, beta: Real = 1.0) -> Value:
    """Swish: silu with a learnable sharpness."""
    z, z_low = exact_product(beta, x)
    if z_low is None:
        return silu(x)
    return times_logistic_of_any(x, z, z_low)


@swish.derivative
def swish_derivative(x: Value, beta: Real) -> Value:
    return silu_slope(*exact_product(beta, x))


@swish.parameter_derivative("beta")
def swish_by_beta(x: Value, beta: Real) -> Value:
    z, z_low = exact_product(beta, x)
    # x^2 grows much more slowly than e^-|z| falls, but inf * 0 would be NaN.
    slope = x * logistic_slope_lifted(z, z_low) * lower() * x
    return where(abs(z) > -lowest_exponent(), 0.0, slope)


# ---------------------------------------------------------------- mish


@activation(
    formula="x tanh(log(1 + exp(x)))",
    source="Misra 2019, arXiv:1908.08681",
    derivative_roots=("-1.19243121451549521213758834042073940560068641",),
    plain="x * np.tanh(np.logaddexp(x, 0))",
    plain_backward="dy * ((t := np.tanh(np.logaddexp(x, 0)))"
    " + x * (1 - t * t) / (1 + np.exp(-x)))",
)
def mish(x: Value) -> Value:
    """Mish."""
    # tanh(log(1 + e^x)) = n / (n + 2), n = e^x (e^x + 2); right of zero divided by
    # e^2x: n = 1 + 2e, and n / (n + 2e^2), e = e^-x. Each sum keeps its rounding error.
    negative = x < 0
    x = clamp_low(x, lowest_exponent())
    lifted = exp_of_minus_abs(x)
    e = lifted * lower()
    unlift_left = where(negative, lower(), 1.0)
    n = fma_exact(
        where(negative, lifted, e),
        where(negative, e, 2.0),
        where(negative, lifted + lifted, 1.0),
    )
    base = fma_exact(
        where(negative, n.high, e + e),
        where(negative, lower(), e),
        where(negative, 2.0, n.high),
    )
    base_low = fma(n.low, unlift_left, base.low)
    return times_pair(x, quotient(n, Pair(base.high, base_low))) * unlift_left


MISH_ROOT = "1.19243121451549521213758834042073940560068641"
MISH_EXP_AT_ROOT = "0.303482535281528928821436743539643058364490752"
MISH_A = "3.93444037185296393522630131155355812359426681"  # 3e^2 + 8e + 6 - 4r there
MISH_B = "4.91044760584458678646431023061892917509347226"  # 3e + 4 there


@mish.derivative
def mish_derivative(x: Value) -> Value:
    """Derivative, accurate around its root too.

    Left of zero, with a = -x, e = e^-a and n = e (e + 2), it is e K / (n + 2)^2,
    K = (e + 2) (n + 2) - 4 a (1 + e). K is 0 at a = r. With h = e - e^-r and d = r - a,
    K = h (A + B h + h^2) + 4 d (1 + e): two terms of one sign.
    Right of zero, with e = e^-x, T = 1 + 2e and D = T + 2e^2, it is
    (T D + 4 x e^2 (1 + e)) / D^2: no term is negative.
    """
    negative = x < 0
    size = clamp_high(abs(x), -lowest_exponent())
    distance = distance_to(MISH_ROOT, size)
    reduced = reduce_exp(*distance)
    at_root = constant_pair(MISH_EXP_AT_ROOT)
    lifted = multiply(at_root, exp_lifted(reduced))
    e = unlift(lifted)
    one_plus_e = one_plus(e)

    h = multiply(at_root, expm1(reduced))
    slope = add_same_sign(
        constant_pair(MISH_A),
        multiply(h, add_same_sign(constant_pair(MISH_B), h)),
    )
    k = add_same_sign(multiply(h, slope), multiply(scale(4.0, distance), one_plus_e))
    left_top = multiply(lifted, k)
    left_base = add_same_sign(multiply(e, add_same_sign(pair(2.0), e)), pair(2.0))

    t = add_same_sign(pair(1.0), scale(2.0, e))
    square = multiply(e, e)
    right_base = add_same_sign(t, scale(2.0, square))
    rising = multiply(scale(4.0 * size, square), one_plus_e)
    right_top = add_same_sign(multiply(t, right_base), rising)

    base = select(negative, left_base, right_base)
    top = select(negative, left_top, right_top)
    slope_of_x = total(quotient(top, multiply(base, base)))
    return slope_of_x * where(negative, lower(), 1.0)


# ---------------------------------------------------------------- gelu

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
GELU_TANH_C1 = "1.59576912160573071175978423973752747390343452"  # 2 sqrt(2/pi)
GELU_TANH_C3 = "0.0713548162726002487763387522798635409955920748"  # 0.044715 C1
GELU_TANH_ROOT = "0.752461422071016258487954443288916090605392178"
GELU_TANH_EXP_AT_ROOT = "0.291955211914767134594976833278125805842226171"
GELU_TANH_CHORD = "1.63617008954872919046907026376825292728031743"  # C1 + C3 r^2
GELU_TANH_SLOPE = "1.71697202543472614788764231182970383403408325"  # C1 + 3 C3 r^2


def gelu_tanh_limit() -> float:
    """Where x e^v(x) has been rounded to zero."""
    return float(by_dtype(11.0, 22.0))


@activation(
    formula="x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2",
    source="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    aliases=("gelu_new", "gelu_pytorch_tanh", "gelu_approx", "approxgelu"),
    derivative_roots=("-" + GELU_TANH_ROOT,),
    plain="0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))",
    plain_backward="dy * 0.5 * (1 + "
    "(t := np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))"
    " + x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x))",
    notes="A function of its own, not an approximation of gelu to rely on: it is up to "
    "4.8e-4 away.",
)
def gelu_tanh(x: Value) -> Value:
    """Gaussian error linear unit, tanh form."""
    limit = gelu_tanh_limit()
    x = clamp_low(x, -limit)
    bounded = clamp_high(x, limit)
    cubic = scale_constant(GELU_TANH_C3, two_product(bounded, bounded))
    factor = add_same_sign(constant_pair(GELU_TANH_C1), cubic)
    return times_logistic(x, *scale(bounded, factor))


def scale_constant(decimal: str, a: Pair) -> Pair:
    """A constant, to twice the precision, times a pair."""
    return multiply(constant_pair(decimal), a)


@gelu_tanh.derivative
def gelu_tanh_derivative(x: Value) -> Value:
    """Derivative, accurate around its root too.

    With a = |x|, e = exp(-v(a)), w = a v'(a), left of zero it is
    e (1 + e - w) / (1 + e)^2, and right of zero 1 minus that. At the root a = r,
    1 + e = w. With d = r - a and t = a (a + r), v(r) - v(a) = d (CHORD + C3 t) and
    1 + e - w = e^-v(r) expm1(v(r) - v(a)) + d (SLOPE + 3 C3 t): two terms of one sign.
    """
    a = clamp_high(abs(x), gelu_tanh_limit())
    distance = distance_to(GELU_TANH_ROOT, a)
    root_high, root_low = split(GELU_TANH_ROOT)
    high, low = two_sum(root_high, a)
    t = scale_constant(GELU_TANH_C3, scale(a, Pair(high, low + root_low)))
    chord = add_same_sign(constant_pair(GELU_TANH_CHORD), t)
    slope = add_same_sign(constant_pair(GELU_TANH_SLOPE), scale(3.0, t))
    reduced = reduce_exp(*multiply(distance, chord))
    at_root = constant_pair(GELU_TANH_EXP_AT_ROOT)
    lifted = multiply(at_root, exp_lifted(reduced))
    factor = add_same_sign(multiply(at_root, expm1(reduced)), multiply(distance, slope))
    base = one_plus(unlift(lifted))
    left = total(quotient(multiply(lifted, factor), multiply(base, base)))
    return one_minus_right(x < 0, left)
