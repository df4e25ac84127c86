"""Activations that are an exponential function below zero."""

from __future__ import annotations

from ..elementary import (
    Pair,
    constant_pair,
    constant_times_expm1,
    exp_full_range,
    exp_within_ulp,
    expm1,
    expm1_value,
    expm1_value_of_sum,
    fast_two_sum,
    lift,
    line,
    lower,
    lowest_exponent,
    lowest_of_expm1,
    multiply,
    pair,
    reduce_exp,
    select,
    slope_times,
    slope_where,
    total,
    two_sum,
    two_to,
)
from ..entry import activation
from ..language import (
    INFINITY,
    Bool,
    Real,
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    correction,
    fma,
    nan_from,
    power_of_two,
    real,
    split,
    to_last_digit,
    where,
)


def expm1_below_zero(x: Value) -> Pair:
    """expm1(min(x, 0))."""
    return expm1(reduce_exp(clamp_low(clamp_high(x, 0.0), lowest_exponent())))


def lowest_lifted_exponent() -> float:
    """Where e^x is too small to be lifted. A factor of 2e11 (4e21) does not reach it."""
    return float(by_dtype(-130.0, -795.0))


def exp_below_zero(x: Value, factor: Real, x_low: Value | None = None) -> Value:
    """factor * e^(x + x_low) for x <= 0."""
    factor = real(factor)
    if factor.constant is not None:
        exponent = clamp_low(x, lowest_exponent())
        return exp_within_ulp(exponent, x_low, factor=factor, shift=lift()) * lower()
    # A large factor is lowered first, or the product would overflow; and it must not
    # bring back what has been clamped.
    exponent = clamp_low(x, lowest_lifted_exponent())
    first, last = lowered_by(factor)
    lifted = exp_within_ulp(exponent, x_low, factor=factor * first, shift=lift())
    return where(x <= lowest_lifted_exponent(), 0.0, lifted * last)


def lowered_by(factor: Value) -> tuple[Value, Value]:
    """What lowers a lifted product with a factor, before it is formed and after."""
    large = abs(factor) > power_of_two(lift() - 2)
    return where(large, lower(), 1.0), where(large, 1.0, lower())


@activation(
    formula="x for x > 0, else alpha (exp(x) - 1)",
    source="Clevert, Unterthiner and Hochreiter 2015, arXiv:1511.07289",
    kinks={"0": "alpha"},
    from_output_requires={"alpha": ">= 0"},
    plain="np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))",
    plain_backward="dy * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))",
)
def elu(x: Value, alpha: Real = 1.0) -> Value:
    """Exponential linear unit."""
    return where(x > 0, x, expm1_value(alpha, clamp_low(x, lowest_of_expm1())))


@elu.derivative
def elu_derivative(x: Value, alpha: Real) -> Value:
    return where(x > 0, 1.0, exp_below_zero(x, alpha))


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
    # With lambda as one number the largest results would be infinite. The low part's
    # product must stay finite: inf - inf would be NaN.
    right = fma(high, x, low * clamp_high(x, by_dtype(1e38, 1e308)))
    bounded = clamp_low(x, lowest_of_expm1())
    if to_last_digit():
        left = constant_times_expm1(SELU_LAMBDA_ALPHA, bounded)
    elif by_dtype(True, False):
        left = expm1_value(real(SELU_LAMBDA_ALPHA), bounded)
    else:  # the factor's rounding error would be too much
        left = total(multiply(constant_pair(SELU_LAMBDA_ALPHA), expm1_below_zero(x)))
    return where(x > 0, right, left)


@selu.derivative
def selu_derivative(x: Value) -> Value:
    factor, lost = split(SELU_LAMBDA_ALPHA)
    # factor + lost = factor e^(lost / factor), as good as exactly
    x_low = by_dtype(correction(lost / factor), None)
    negative = exp_below_zero(x, factor, x_low)
    return where(x > 0, real(SELU_LAMBDA), negative)


@selu.derivative_from_output
def selu_derivative_from_output(y: Value) -> Value:
    negative = y + real(SELU_LAMBDA_ALPHA)
    return nan_from(y, where(y > 0, real(SELU_LAMBDA), negative))


@activation(
    formula="exp(x)",
    source="elementary mathematics",
    aliases=("exponential",),
    plain="np.exp(x)",
    plain_backward="dy * np.exp(x)",
)
def exp(x: Value) -> Value:
    """Exponential function."""
    return exp_full_range(x)


@exp.derivative
def exp_derivative(x: Value) -> Value:
    return exp_full_range(x)


@exp.derivative_from_output
def exp_derivative_from_output(y: Value) -> Value:
    return y


def ratio(
    x: Value, divisor: Real, lowest: float | None = None
) -> tuple[Value, Value | None]:
    """x / divisor below zero, clamped for exponentials, and what its rounding lost.

    For the constant 1 it has lost nothing.
    """
    quotient = x / divisor
    if lowest is None:
        lowest = lowest_lifted_exponent()
    clamped = clamp_low(quotient, lowest)
    if real(divisor).constant == 1:
        return clamped, None
    # What has been clamped, an infinity perhaps, has nothing to add.
    lost = correction(fma(-quotient, divisor, x) / divisor)
    return clamped, where((quotient > lowest) & (quotient < 0), lost, 0.0)


def linear_limit() -> float:
    """Where expm1(z) is z to any precision here, and the sign of x decides no more."""
    return float(by_dtype(-(2.0**-30), -(2.0**-60)))


@activation(
    formula="x for x > 0, else alpha (exp(x / alpha) - 1)",
    source="Barron 2017, arXiv:1704.07483",
    requires={"alpha": "> 0"},
    plain="np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))",
    plain_backward="dy * np.exp(np.minimum(x, 0) / alpha)",
    notes="The derivative is continuous: 1 at 0.",
)
def celu(x: Value, alpha: Real = 1.0) -> Value:
    """Continuously differentiable exponential linear unit."""
    curve = expm1_value_of_sum(alpha, *ratio(x, alpha, lowest_of_expm1()))
    return where(x / alpha > linear_limit(), x, curve)


@celu.derivative
def celu_derivative(x: Value, alpha: Real) -> Value:
    return where(x > 0, 1.0, exp_within_ulp(*ratio(x, alpha), shift=lift()) * lower())


@celu.derivative_from_output
def celu_derivative_from_output(y: Value, alpha: Real) -> Value:
    return nan_from(y, where(y > 0, 1.0, y / alpha + 1.0))


@celu.parameter_derivative("alpha")
def celu_by_alpha(x: Value, alpha: Real) -> Value:
    # (1 - z) e^z - 1 of z = x / alpha is (expm1(z) - z) - z expm1(z) around 0, where
    # the difference has all its digits, and expm1(z) - z e^z elsewhere.
    z = clamp_low(ratio(x, alpha)[0], by_dtype(-80.0, -700.0))
    reduced = reduce_exp(z)
    curve = expm1(reduced)
    power = two_to(reduced.n_bits, 0) * (1.0 + (reduced.r + reduced.tail))
    near = z > -1.0
    factor = where(near, curve.high, power)
    rest = where(near, (curve.high - z) + curve.low, curve.high)
    return where(x > 0, 0.0, fma(-z, factor, rest))


@activation(
    formula="a x / b for x > 0, else a (exp(x / b) - 1)",
    source="Trottier, Giguere and Chaib-draa 2016, arXiv:1605.09332",
    requires={"a": "> 0", "b": "> 0"},
    plain="np.where(x > 0, a / b * x, a * np.expm1(np.minimum(x, 0) / b))",
    plain_backward="dy * a / b * np.exp(np.minimum(x, 0) / b)",
    notes="The derivative is continuous: a / b at 0.",
)
def pelu(x: Value, a: Real = 1.0, b: Real = 1.0) -> Value:
    """Parametric exponential linear unit."""
    curve = expm1_value_of_sum(a, *ratio(x, b, lowest_of_expm1()))
    return where(x / b > linear_limit(), real(a) / b * x, curve)


@pelu.derivative
def pelu_derivative(x: Value, a: Real, b: Real) -> Value:
    slope = real(a) / b
    z, z_low = ratio(x, b)
    return where(x > 0, slope, exp_below_zero(z, slope, z_low))


@pelu.derivative_from_output
def pelu_derivative_from_output(y: Value, a: Real, b: Real) -> Value:
    return nan_from(y, where(y > 0, real(a) / b, (y + a) / b))


@pelu.parameter_derivative("a")
def pelu_by_a(x: Value, a: Real, b: Real) -> Value:
    curve = total(expm1(reduce_exp(*ratio(x, b))))
    return where(x / b > linear_limit(), x / b, curve)


@pelu.parameter_derivative("b")
def pelu_by_b(x: Value, a: Real, b: Real) -> Value:
    z, z_low = ratio(x, b)
    falling = z * exp_within_ulp(z, z_low, shift=lift()) * lower()
    return -(real(a) / b) * where(x > 0, x / b, falling)


# Where xielu and its derivative cross zero at the default parameters, which are not the
# same numbers in float32 and float64, and an e^root there.
XIELU_ROOT = (
    "-2.43248419804660988146759739329724761234216798796208746945588",
    "-2.43248427693144793509534323595276686615594304627306926447155",
)
XIELU_FACTOR_AT_ROOT = (
    "0.0702547235094746813740217784622346592680115734856605542776652",
    "0.0702547169205655558563159627016706610404487748333760649330812",
)
XIELU_DERIVATIVE_ROOT = (
    "-0.980829228176458258913297059117558157484395705606165758782043",
    "-0.980829253011726144337865742022301713267210064175025423907148",
)


def has_xielu_roots(an: Real, beta: Real, eps: Real) -> Value:
    """Whether the parameters are the default ones, whose roots are known."""
    return (real(an) == real(0.8)) & (real(beta) == 0.5) & (real(eps) == real(-1e-6))


def where_pair(condition: Bool, decimals: tuple[str, str], other: Real) -> Pair:
    """A constant of the dtype, to twice the precision, where the condition holds."""
    return select(condition, constant_pair(by_dtype(*decimals)), pair(other))


def minus(a: Value, b: Pair) -> Pair:
    """a - b with full relative precision however near they are."""
    high, low = two_sum(a, -b.high)
    return fast_two_sum(high, low - b.low)


@activation(
    formula="ap x^2 + beta x for x > 0, else an (exp(min(x, eps)) - 1 - x) + beta x",
    source="Huang and Schlag 2024, arXiv:2411.13010",
    kinks={"0": "beta - an * (eps < 0)"},
    roots=("-2.43248427693144822896427659227287142437236827200609724304768",),
    derivative_roots=(
        "-0.980829253011726236856451127452003999579009845258016310627346",
    ),
    plain="np.where(x > 0, (ap * x + beta) * x, "
    "an * (np.expm1(np.minimum(x, eps)) - x) + beta * x)",
    plain_backward="dy * np.where(x > 0, 2 * ap * x + beta, "
    "np.where(x <= eps, an * np.expm1(x) + beta, beta - an))",
    notes="A negative eps makes f(0) = an (exp(eps) - 1), a jump of -8e-7 at the default "
    "parameters; the derivative between eps and 0 is beta - an, at eps that of the left. "
    "Around a root that lies below zero the error is bounded at the default parameters "
    "only.",
)
def xielu(
    x: Value, ap: Real = 0.8, an: Real = 0.8, beta: Real = 0.5, eps: Real = -1e-6
) -> Value:
    """Expanded integral of the exponential linear unit.

    Below zero it is an expm1(min(x, eps)) - (an - beta) x. With d = x - root, it is
    an e^root expm1(d) - (an - beta) d too, which does not cancel around the root.
    """
    exponent = clamp_low(clamp_high(x, eps), lowest_exponent())
    unclamped = x == exponent
    near_root = has_xielu_roots(an, beta, eps) & unclamped & (x < -0.8)
    d = minus(exponent, where_pair(near_root, XIELU_ROOT, 0.0))
    curve = multiply(
        where_pair(near_root, XIELU_FACTOR_AT_ROOT, an),
        expm1(reduce_exp(*d, closely=True)),
    )
    slope = two_sum(an, -real(beta))
    run = where(unclamped, d.high, x)
    rise = slope_times(slope.high, run)
    lost = fma(slope.high, run, -rise) + fma(slope.high, d.low, slope.low * run)
    if to_last_digit():
        return xielu_rounded_once(x, ap, beta, curve, Pair(rise, lost))
    # Far out the product is infinite or as good as exact.
    lost = where(x > by_dtype(-1e30, -1e300), lost, 0.0)
    left = (curve.high - rise) + (curve.low - lost)
    return where(x > 0, slope_times(line(ap, x, beta), x), left)


def xielu_rounded_once(
    x: Value, ap: Real, beta: Real, curve: Pair, rise: Pair
) -> Value:
    """(ap x + beta) x for x > 0, else curve - rise, each rounded once.

    Both have a sum, which is done for both in one.
    """
    right = x > 0
    steep = slope_times(ap, x)
    steep_low = fma(ap, x, -steep)
    high, low = two_sum(where(right, steep, curve.high), where(right, beta, -rise.high))
    low = low + where(right, steep_low, curve.low - rise.low)
    factor = where(right, x, 1.0)
    # What is infinite has lost nothing, or inf - inf; and 0 times infinity is 0 here.
    product = where(high == 0, 0.0, high * factor)
    finite = (abs(x) < INFINITY) & (abs(product) < INFINITY)
    return where(finite, fma(high, factor, low * factor), product)


@xielu.derivative
def xielu_derivative(x: Value, ap: Real, an: Real, beta: Real, eps: Real) -> Value:
    """Derivative.

    Left of eps it is an expm1(x) + beta, which is (an - beta) expm1(x - root).
    """
    right = line(real(ap) + ap, x, beta)
    known = has_xielu_roots(an, beta, eps)
    exponent = clamp_low(clamp_high(x, 0.0), lowest_exponent())
    d = minus(exponent, where_pair(known, XIELU_DERIVATIVE_ROOT, 0.0))
    slope = real(an) - beta
    curve = multiply(pair(where(known, slope, an)), expm1(reduce_exp(*d, closely=True)))
    left = (curve.high + where(known, 0.0, beta)) + curve.low
    return where(x > 0, right, where(x > eps, -slope, left))


@xielu.parameter_derivative("ap")
def xielu_by_ap(x: Value, ap: Real, an: Real, beta: Real, eps: Real) -> Value:
    return slope_where(x > 0, x * x, x)


@xielu.parameter_derivative("an")
def xielu_by_an(x: Value, ap: Real, an: Real, beta: Real, eps: Real) -> Value:
    exponent = clamp_low(clamp_high(x, eps), lowest_exponent())
    curve = expm1(reduce_exp(exponent))
    return where(x > 0, 0.0, (curve.high - x) + curve.low)


@xielu.parameter_derivative("beta")
def xielu_by_beta(x: Value, ap: Real, an: Real, beta: Real, eps: Real) -> Value:
    return x


@xielu.parameter_derivative("eps")
def xielu_by_eps(x: Value, ap: Real, an: Real, beta: Real, eps: Real) -> Value:
    slope = an * exp_full_range(clamp_high(real(eps), 0.0))
    return slope_where((x <= 0) & (x > eps), slope, x)
