"""Activations of pieces of lines and parabolas."""

from __future__ import annotations

from ..elementary import (
    constant_pair,
    fast_two_sum,
    line,
    rounded_product,
    scale,
    slope_times,
    slope_where,
    two_sum,
)
from ..entry import activation
from ..language import (
    INFINITY,
    Real,
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    copysign,
    fma,
    nan_from,
    real,
    split,
    sqrt,
    where,
)


@activation(
    formula="x",
    source="elementary mathematics",
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


def clip(x: Value, lowest: Real, highest: Real) -> Value:
    """x, but at least `lowest` and at most `highest`; NaN stays NaN."""
    return clamp_high(clamp_low(x, lowest), highest)


@activation(
    formula="min(max(x, 0), 6)",
    source="Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
    kinks={"0": "0", "6": "0"},
    plain="np.clip(x, 0, 6)",
    plain_backward="dy * ((x > 0) & (x < 6))",
)
def relu6(x: Value) -> Value:
    """Rectified linear unit, at most 6."""
    return clip(x, 0.0, 6.0)


@relu6.derivative
def relu6_derivative(x: Value) -> Value:
    return slope_where((x > 0) & (x < 6), 1.0, x)


@relu6.derivative_from_output
def relu6_derivative_from_output(y: Value) -> Value:
    return relu6_derivative(y)


@activation(
    formula="x for x > threshold, else value",
    source="torch.nn.functional.threshold",
    kinks={"threshold": "0"},
    plain="np.where(x > threshold, x, value)",
    plain_backward="dy * (x > threshold)",
    notes="The derivative by threshold is taken for 0, as it is but at a jump: gradient "
    "descent does not move it.",
)
def threshold(x: Value, threshold: Real, value: Real) -> Value:
    """x above a threshold, a fixed value elsewhere."""
    return where(x <= threshold, value, x)


@threshold.derivative
def threshold_derivative(x: Value, threshold: Real, value: Real) -> Value:
    return slope_where(x > threshold, 1.0, x)


@threshold.parameter_derivative("threshold")
def threshold_by_threshold(x: Value, threshold: Real, value: Real) -> Value:
    return nan_from(x, 0.0)


@threshold.parameter_derivative("value")
def threshold_by_value(x: Value, threshold: Real, value: Real) -> Value:
    return slope_where(x <= threshold, 1.0, x)


@activation(
    formula="x for x > theta, else 0",
    source="Konda, Memisevic and Krueger 2014, arXiv:1402.3337",
    aliases=("trelu",),
    kinks={"theta": "0"},
    from_output_requires={"theta": ">= 0"},
    plain="np.where(x > theta, x, 0)",
    plain_backward="dy * (x > theta)",
    notes="The derivative by theta is taken for 0, as it is but at a jump: gradient "
    "descent does not move it.",
)
def thresholded_relu(x: Value, theta: Real = 1.0) -> Value:
    """Thresholded rectified linear unit."""
    return threshold(x, theta, 0.0)


@thresholded_relu.derivative
def thresholded_relu_derivative(x: Value, theta: Real) -> Value:
    return threshold_derivative(x, theta, 0.0)


@thresholded_relu.derivative_from_output
def thresholded_relu_derivative_from_output(y: Value, theta: Real) -> Value:
    return threshold_derivative(y, theta, 0.0)


@thresholded_relu.parameter_derivative("theta")
def thresholded_relu_by_theta(x: Value, theta: Real) -> Value:
    return threshold_by_threshold(x, theta, 0.0)


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
    return where(x > 0, x, slope_times(negative_slope, x))


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
    inner = rounded_product(constant_pair("1/6"), scale(x, fast_two_sum(3.0, x)))
    return where(x >= 3, x, where(x <= -3, -0.0, inner))


@hardswish.derivative
def hardswish_derivative(x: Value) -> Value:
    return where(x >= 3, 1.0, where(x <= -3, 0.0, (x + x + 3.0) / 6.0))


@activation(
    formula="min(max(x, min_val), max_val)",
    source="Collobert 2004, Large Scale Machine Learning",
    aliases=("hard_tanh",),
    kinks={"min_val": "0", "max_val": "0"},
    requires={"max_val": ">= min_val"},
    plain="np.clip(x, min_val, max_val)",
    plain_backward="dy * ((x > min_val) & (x < max_val))",
)
def hardtanh(x: Value, min_val: Real = -1.0, max_val: Real = 1.0) -> Value:
    """Piecewise linear tanh: x between two bounds."""
    return clip(x, min_val, max_val)


@hardtanh.derivative
def hardtanh_derivative(x: Value, min_val: Real, max_val: Real) -> Value:
    return slope_where((x > min_val) & (x < max_val), 1.0, x)


@hardtanh.derivative_from_output
def hardtanh_derivative_from_output(y: Value, min_val: Real, max_val: Real) -> Value:
    return hardtanh_derivative(y, min_val, max_val)


@hardtanh.parameter_derivative("min_val")
def hardtanh_by_min_val(x: Value, min_val: Real, max_val: Real) -> Value:
    return slope_where(x <= min_val, 1.0, x)


@hardtanh.parameter_derivative("max_val")
def hardtanh_by_max_val(x: Value, min_val: Real, max_val: Real) -> Value:
    return slope_where(x >= max_val, 1.0, x)


@activation(
    formula="min(max(slope x + offset, min_val), max_val)",
    source="thinc.api.clipped_linear",
    kinks={"(min_val - offset) / slope": "0", "(max_val - offset) / slope": "0"},
    requires={"max_val": ">= min_val"},
    plain="np.clip(slope * x + offset, min_val, max_val)",
    plain_backward="dy * slope * ("
    "((z := slope * x + offset) > min_val) & (z < max_val))",
    notes="ONNX's, Chainer's and thinc's hard sigmoid has slope=0.2 and offset=0.5.",
)
def clipped_linear(
    x: Value,
    slope: Real = 1.0,
    offset: Real = 0.0,
    min_val: Real = 0.0,
    max_val: Real = 1.0,
) -> Value:
    """A line between two bounds."""
    return clip(line(slope, x, offset), min_val, max_val)


def distance_above(bound: Real, x: Value, slope: Real, offset: Real) -> Value:
    """A number with the sign of slope x + offset - bound, which is seldom exact."""
    shift, shift_low = two_sum(offset, -real(bound))
    return fma(slope, x, shift) + shift_low


def is_on_the_line(
    x: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    """Whether slope x + offset lies strictly between the bounds."""
    above = distance_above(min_val, x, slope, offset) > 0
    return above & (distance_above(max_val, x, slope, offset) < 0)


@clipped_linear.derivative
def clipped_linear_derivative(
    x: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    inside = is_on_the_line(x, slope, offset, min_val, max_val)
    return slope_where(inside, slope, x)


@clipped_linear.derivative_from_output
def clipped_linear_derivative_from_output(
    y: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    return slope_where((y > min_val) & (y < max_val), slope, y)


@clipped_linear.parameter_derivative("slope")
def clipped_linear_by_slope(
    x: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    return slope_where(is_on_the_line(x, slope, offset, min_val, max_val), x, x)


@clipped_linear.parameter_derivative("offset")
def clipped_linear_by_offset(
    x: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    return slope_where(is_on_the_line(x, slope, offset, min_val, max_val), 1.0, x)


@clipped_linear.parameter_derivative("min_val")
def clipped_linear_by_min_val(
    x: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    return slope_where(distance_above(min_val, x, slope, offset) <= 0, 1.0, x)


@clipped_linear.parameter_derivative("max_val")
def clipped_linear_by_max_val(
    x: Value, slope: Real, offset: Real, min_val: Real, max_val: Real
) -> Value:
    return slope_where(distance_above(max_val, x, slope, offset) >= 0, 1.0, x)


@activation(
    formula="min(max(x + 3, 0), 6) / 6",
    source="Howard et al. 2019, arXiv:1905.02244",
    kinks={"-3": "0", "3": "0"},
    plain="np.clip(x + 3, 0, 6) / 6",
    plain_backward="dy * ((x > -3) & (x < 3)) / 6",
    notes="ONNX's, Chainer's and thinc's hard_sigmoid has a slope of 0.2: "
    "clipped_linear with slope=0.2 and offset=0.5.",
)
def hardsigmoid(x: Value) -> Value:
    """Piecewise linear sigmoid."""
    sixth, sixth_low = split("1/6")
    shifted = clip(x, -3.0, 3.0) + 3.0
    return fma(shifted, sixth, shifted * sixth_low)


@hardsigmoid.derivative
def hardsigmoid_derivative(x: Value) -> Value:
    return slope_where((x > -3) & (x < 3), real("1/6"), x)


@hardsigmoid.derivative_from_output
def hardsigmoid_derivative_from_output(y: Value) -> Value:
    return slope_where((y > 0) & (y < 1), real("1/6"), y)


@activation(
    formula="0 for x <= -1, x for x >= 1, else (x + 1)^2 / 4",
    source="Blondel, Martins and Niculae 2020, arXiv:1901.02324",
    aliases=("sparseplus",),
    kinks={"-1": "0"},  # f'' jumps
    plain="np.where(x >= 1, x, np.maximum((x + 1) / 2, 0) ** 2)",
    plain_backward="dy * np.clip((x + 1) / 2, 0, 1)",
)
def sparse_plus(x: Value) -> Value:
    """Softplus's piecewise quadratic twin."""
    bounded = clamp_low(x, -1.0)
    half = fma(bounded, 0.5, 0.5)
    half_low = fma(bounded, 0.5, 0.5 - half)
    return where(x >= 1, x, fma(half, half, (half + half) * half_low))


@sparse_plus.derivative
def sparse_plus_derivative(x: Value) -> Value:
    return sparse_sigmoid(x)


@sparse_plus.derivative_from_output
def sparse_plus_derivative_from_output(y: Value) -> Value:
    return sqrt(clip(y, 0.0, 1.0))


@activation(
    formula="min(max((x + 1) / 2, 0), 1)",
    source="Blondel, Martins and Niculae 2020, arXiv:1901.02324",
    kinks={"-1": "0", "1": "0"},
    plain="np.clip((x + 1) / 2, 0, 1)",
    plain_backward="dy * ((x > -1) & (x < 1)) / 2",
    notes="JAX's derivative is 0.25 at the kinks.",
)
def sparse_sigmoid(x: Value) -> Value:
    """Sigmoid's piecewise linear twin: the derivative of sparse_plus."""
    return fma(clip(x, -1.0, 1.0), 0.5, 0.5)


@sparse_sigmoid.derivative
def sparse_sigmoid_derivative(x: Value) -> Value:
    return slope_where((x > -1) & (x < 1), 0.5, x)


@sparse_sigmoid.derivative_from_output
def sparse_sigmoid_derivative_from_output(y: Value) -> Value:
    return slope_where((y > 0) & (y < 1), 0.5, y)


@activation(
    formula="x/2 min(max(x + 2, 0), 2)",
    source="Misra 2019, github.com/digantamisra98/H-Mish",
    aliases=("hard_mish",),
    kinks={"-2": "0"},
    derivative_roots=("-1",),
    plain="0.5 * x * np.clip(x + 2, 0, 2)",
    plain_backward="dy * np.where(x <= -2, 0, np.where(x < 0, x + 1, 1))",
)
def hardmish(x: Value) -> Value:
    """Piecewise quadratic approximation of mish."""
    curved = fma(0.5 * x, x, x)  # rounded once
    return where(x >= 0, x, where(x <= -2, -0.0, curved))


@hardmish.derivative
def hardmish_derivative(x: Value) -> Value:
    return where(x >= 0, 1.0, where(x <= -2, 0.0, x + 1.0))


@activation(
    formula="x for |x| > lambd, else 0",
    source="Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425",
    aliases=("hard_shrink",),
    kinks={"-lambd": "0", "lambd": "0"},
    requires={"lambd": ">= 0"},
    plain="np.where(np.abs(x) > lambd, x, 0)",
    plain_backward="dy * (np.abs(x) > lambd)",
    notes="The derivative by lambd is taken for 0, as it is but at jumps: gradient descent "
    "does not move it.",
)
def hardshrink(x: Value, lambd: Real = 0.5) -> Value:
    """Hard shrinkage: x where it is large."""
    return where(abs(x) <= lambd, copysign(0.0, x), x)


@hardshrink.derivative
def hardshrink_derivative(x: Value, lambd: Real) -> Value:
    return slope_where(abs(x) > lambd, 1.0, x)


@hardshrink.derivative_from_output
def hardshrink_derivative_from_output(y: Value, lambd: Real) -> Value:
    return slope_where(y != 0, 1.0, y)


@hardshrink.parameter_derivative("lambd")
def hardshrink_by_lambd(x: Value, lambd: Real) -> Value:
    return nan_from(x, 0.0)


@activation(
    formula="x - lambd for x > lambd, x + lambd for x < -lambd, else 0",
    source="Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425",
    aliases=("soft_shrink",),
    kinks={"-lambd": "0", "lambd": "0"},
    requires={"lambd": ">= 0"},
    plain="np.copysign(np.maximum(np.abs(x) - lambd, 0), x)",
    plain_backward="dy * (np.abs(x) > lambd)",
)
def softshrink(x: Value, lambd: Real = 0.5) -> Value:
    """Soft shrinkage: x, but closer to 0."""
    return copysign(clamp_low(abs(x) - lambd, 0.0), x)


@softshrink.derivative
def softshrink_derivative(x: Value, lambd: Real) -> Value:
    return hardshrink_derivative(x, lambd)


@softshrink.derivative_from_output
def softshrink_derivative_from_output(y: Value, lambd: Real) -> Value:
    return hardshrink_derivative_from_output(y, lambd)


@softshrink.parameter_derivative("lambd")
def softshrink_by_lambd(x: Value, lambd: Real) -> Value:
    return slope_where(abs(x) > lambd, -copysign(1.0, x), x)


@activation(
    formula="max(x, 0)^2",
    source="So et al. 2021, arXiv:2109.08668",
    aliases=("relu2", "squared_relu"),
    plain="np.maximum(x, 0) ** 2",
    plain_backward="dy * 2 * np.maximum(x, 0)",
)
def relu_squared(x: Value) -> Value:
    """Squared rectified linear unit."""
    positive = relu(x)
    return positive * positive


@relu_squared.derivative
def relu_squared_derivative(x: Value) -> Value:
    positive = clamp_low(x, 0.0)
    return positive + positive


@relu_squared.derivative_from_output
def relu_squared_derivative_from_output(y: Value) -> Value:
    return 2.0 * sqrt(clamp_low(y, 0.0))


@activation(
    formula="scale max(x, 0)^2 + bias",
    source="Yu et al. 2022, arXiv:2210.13452",
    plain="scale * np.maximum(x, 0) ** 2 + bias",
    plain_backward="dy * 2 * scale * np.maximum(x, 0)",
    notes="The paper starts from scale=0.8944 and bias=-0.4472, which keep the mean and "
    "the variance of normal data.",
)
def star_relu(x: Value, scale: Real = 1.0, bias: Real = 0.0) -> Value:
    """Squared rectified linear unit with a learnable scale and bias."""
    if real(scale).constant == 1:
        positive = clamp_low(x, 0.0)
        return fma(positive, positive, bias)
    # Beyond this bound the square is infinite; an infinite x would give inf * 0.
    positive = clip(x, 0.0, by_dtype(1e38, 1e308))
    scaled = scale * positive
    scaled_low = fma(scale, positive, -scaled)
    rounded = fma(scaled, positive, bias)
    # Around a root the digits that scale * x has lost count.
    return where(abs(scaled) < INFINITY, fma(scaled_low, positive, rounded), rounded)


@star_relu.derivative
def star_relu_derivative(x: Value, scale: Real, bias: Real) -> Value:
    return slope_times(real(scale) + scale, clamp_low(x, 0.0))


@star_relu.parameter_derivative("scale")
def star_relu_by_scale(x: Value, scale: Real, bias: Real) -> Value:
    return relu_squared(x)


@star_relu.parameter_derivative("bias")
def star_relu_by_bias(x: Value, scale: Real, bias: Real) -> Value:
    return nan_from(x, 1.0)
