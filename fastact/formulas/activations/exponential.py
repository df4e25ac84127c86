"""Activations that are an exponential function below zero."""

from __future__ import annotations

from ..elementary import (
    Pair,
    constant_pair,
    exp_lifted,
    expm1,
    lower,
    lowest_exponent,
    multiply,
    pair,
    reduce_exp,
    total,
)
from ..entry import activation
from ..language import (
    Real,
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    fma,
    nan_from,
    real,
    split,
    where,
)


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
    from_output_requires={"alpha": ">= 0"},
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
