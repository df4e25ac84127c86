"""Activations of pieces of lines and parabolas."""

from __future__ import annotations

from ..elementary import fast_two_sum
from ..entry import activation
from ..language import (
    INFINITY,
    Real,
    Value,
    clamp_high,
    clamp_low,
    fma,
    nan_from,
    real,
    where,
)


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
    from_output_requires={"negative_slope": ">= 0"},
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
    from_output_requires={"weight": ">= 0"},
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
