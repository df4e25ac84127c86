"""Activations that level off on both sides."""

from __future__ import annotations

from ..elementary import (
    Pair,
    divide_by_one_plus,
    half_of_one_minus_exp,
    lower,
    pair,
    quotient,
    two_sum,
)
from ..entry import activation
from ..language import (
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    copysign,
    fma,
)
from ..logistic import logistic, logistic_slope_lifted


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
    m, _ = half_of_one_minus_exp(clamp_high(abs(x), 25.0))
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
