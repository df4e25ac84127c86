"""Smooth rectifiers made of logarithms."""

from __future__ import annotations

from ..elementary import (
    exact_product,
    expm1,
    lower,
    lowest_exponent,
    reduce_exp,
    total,
)
from ..entry import activation
from ..language import (
    INFINITY,
    Real,
    Value,
    clamp_high,
    clamp_low,
    fma,
    power_of_two,
    real,
    to_last_digit,
    where,
)
from ..logistic import (
    exact_logistic,
    logistic,
    logsigmoid_near_and_far,
    softplus_tail,
    softplus_tail_pair,
)


@activation(
    formula="log(1 + exp(beta x)) / beta",
    bound=2.0,
    source="Dugas et al. 2001, NeurIPS 13",
    aliases=("soft_relu", "smooth_relu", "log1p_exp"),
    plain="np.logaddexp(beta * x, 0) / beta",
    plain_backward="dy / (1 + np.exp(-beta * x))",
    notes="Unlike PyTorch's it has no threshold: it is exact for every beta x.",
)
def softplus(x: Value, beta: Real = 1.0) -> Value:
    """Softplus, a smooth rectifier."""
    z, z_low = exact_product(beta, x)
    base = where(z > 0, x, 0.0)
    if z_low is None:
        return fma(softplus_tail(z), lower(), base)
    # A small beta must not bring back what has been clamped; a tiny one not overflow.
    tiny = abs(real(beta)) < power_of_two(-60)
    first, last = where(tiny, lower(), 1.0), where(tiny, 1.0, lower())
    first = where(z < lowest_exponent(), 0.0, first)
    high, low = softplus_tail_pair(z, z_low)
    tail, tail_low = first * high, first * low
    ratio = tail / beta
    lost = (fma(-ratio, beta, tail) + tail_low) / beta
    lost = where(abs(ratio) < INFINITY, lost, 0.0)  # inf - inf would be NaN
    return fma(ratio + lost, last, base)


@softplus.derivative
def softplus_derivative(x: Value, beta: Real) -> Value:
    return exact_logistic(*exact_product(beta, x))


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
    source="torch.nn.functional.logsigmoid",
    aliases=("log_sigmoid", "log_expit"),
    plain="-np.logaddexp(0, -x)",
    plain_backward="dy / (1 + np.exp(x))",
)
def logsigmoid(x: Value) -> Value:
    """Logarithm of the logistic sigmoid."""
    if to_last_digit():
        return logsigmoid_near_and_far(x)
    return fma(-softplus_tail(x), lower(), where(x < 0, x, 0.0))


@logsigmoid.derivative
def logsigmoid_derivative(x: Value) -> Value:
    return exact_logistic(-x)


@logsigmoid.derivative_from_output
def logsigmoid_derivative_from_output(y: Value) -> Value:
    return -total(expm1(reduce_exp(clamp_low(y, lowest_exponent()))))
