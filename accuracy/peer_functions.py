"""What other libraries call fastact's elementwise functions.

None of them is imported here.
"""

from __future__ import annotations

from .checker import Direction

# The calls as expressions: `p` is a tuple of the parameters, empty for the defaults. A
# call without `p` is the function at the default parameters only.
FORWARD = {
    "PyTorch": {
        "celu": "F.celu(x, *p)",
        "elu": "F.elu(x, *p)",
        "erf": "torch.erf(x)",
        "exp": "torch.exp(x)",
        "gelu": "F.gelu(x)",
        "gelu_tanh": "F.gelu(x, approximate='tanh')",
        "hardshrink": "F.hardshrink(x, *p)",
        "hardsigmoid": "F.hardsigmoid(x)",
        "hardswish": "F.hardswish(x)",
        "hardtanh": "F.hardtanh(x, *p)",
        "identity": "torch.nn.Identity()(x)",
        "leaky_relu": "F.leaky_relu(x, *p)",
        "logit": "torch.logit(x)",
        "logsigmoid": "F.logsigmoid(x)",
        "mish": "F.mish(x)",
        "ndtr": "torch.special.ndtr(x)",
        "prelu": "F.prelu(x, torch.tensor(p, dtype=x.dtype))",
        "relu": "F.relu(x)",
        "relu6": "F.relu6(x)",
        "selu": "F.selu(x)",
        "sigmoid": "torch.sigmoid(x)",
        "silu": "F.silu(x)",
        "softplus": "F.softplus(x, *p)",
        "softshrink": "F.softshrink(x, *p)",
        "softsign": "F.softsign(x)",
        "tanh": "torch.tanh(x)",
        "tanhshrink": "F.tanhshrink(x)",
        "threshold": "F.threshold(x, *p)",
    },
    "JAX": {
        "celu": "jax.nn.celu(x, *p)",
        "elu": "jax.nn.elu(x, *p)",
        "erf": "jax.scipy.special.erf(x)",
        "exp": "jax.numpy.exp(x)",
        "gelu": "jax.nn.gelu(x, approximate=False)",
        "gelu_tanh": "jax.nn.gelu(x, approximate=True)",
        "hardsigmoid": "jax.nn.hard_sigmoid(x)",
        "hardswish": "jax.nn.hard_swish(x)",
        "hardtanh": "jax.nn.hard_tanh(x)",
        "identity": "jax.nn.identity(x)",
        "leaky_relu": "jax.nn.leaky_relu(x, *p)",
        "logit": "jax.scipy.special.logit(x)",
        "logsigmoid": "jax.nn.log_sigmoid(x)",
        "mish": "jax.nn.mish(x)",
        "ndtr": "jax.scipy.special.ndtr(x)",
        "relu": "jax.nn.relu(x)",
        "relu6": "jax.nn.relu6(x)",
        "selu": "jax.nn.selu(x)",
        "sigmoid": "jax.nn.sigmoid(x)",
        "silu": "jax.nn.silu(x)",
        "softplus": "jax.nn.softplus(x)",
        "softsign": "jax.nn.soft_sign(x)",
        "sparse_plus": "jax.nn.sparse_plus(x)",
        "sparse_sigmoid": "jax.nn.sparse_sigmoid(x)",
        "squareplus": "jax.nn.squareplus(x, *p)",
        "tanh": "jax.nn.tanh(x)",
    },
    "SciPy": {
        "erf": "special.erf(x)",
        "logit": "special.logit(x)",
        "logsigmoid": "special.log_expit(x)",
        "ndtr": "special.ndtr(x)",
        "sigmoid": "special.expit(x)",
        "softplus": "special.softplus(x)",
    },
    # Its hard_sigmoid and hard_swish are other functions, lines of slope 0.2.
    "thinc": {
        "clipped_linear": "ops.clipped_linear(x, *p)",
        "dish": "ops.dish(x)",
        "erf": "ops.erf(x)",
        "gelu": "ops.gelu(x)",
        "gelu_tanh": "ops.gelu_approx(x)",
        "hardswish": "ops.hard_swish_mobilenet(x)",
        "hardtanh": "ops.hard_tanh(x)",
        "mish": "ops.mish(x)",
        "relu": "ops.relu(x)",
        "relu6": "ops.relu_k(x)",
        "sigmoid": "ops.sigmoid(x)",
        "silu": "ops.swish(x)",
    },
}
# dx where it is a function of its own: PyTorch and JAX differentiate, SciPy has none.
BACKWARD = {
    "thinc": {
        "clipped_linear": "ops.backprop_clipped_linear(dy, x, *p)",
        "dish": "ops.backprop_dish(dy, x)",
        "gelu": "ops.backprop_gelu(dy, x)",
        "gelu_tanh": "ops.backprop_gelu_approx(dy, x)",
        "hardswish": "ops.backprop_hard_swish_mobilenet(dy, x)",
        "hardtanh": "ops.backprop_hard_tanh(dy, x)",
        "mish": "ops.backprop_mish(dy, x)",
        "relu": "ops.backprop_relu(dy, ops.relu(x))",
        "relu6": "ops.backprop_relu_k(dy, x)",
        "sigmoid": "ops.backprop_sigmoid(dy, ops.sigmoid(x))",
        "silu": "ops.backprop_swish(dy, x, ops.swish(x))",
    },
}
# Where and why the errors of others are large; of PyTorch and JAX docs/differences.md says
# it. All of it stands in thinc/backends/ops.py and cpu_kernels.hh.
_CLIPPED = ("|x| > 20", "thinc clips the argument of its sigmoid to [-20, 20]")
_APPROXIMATE = ("|x| > 0", "erf has an absolute error of up to 1.5e-7")
NOTES: dict[tuple[str, str, Direction], list[tuple[str, str]]] = {
    ("thinc", "dish", "forward"): [
        ("x < -1", "1 + x / sqrt(x^2 + 1) cancels"),
        ("|x| > 1e19", "x^2 overflows"),
    ],
    ("thinc", "dish", "derivative"): [
        ("x < 0", "its terms cancel"),
        ("|x| > 6e12", "x^3 overflows"),
    ],
    ("thinc", "erf", "forward"): [_APPROXIMATE],
    ("thinc", "gelu", "forward"): [_APPROXIMATE],
    ("thinc", "gelu", "derivative"): [_APPROXIMATE],
    ("thinc", "gelu_tanh", "forward"): [("x < -2.5", "1 + tanh cancels")],
    ("thinc", "gelu_tanh", "derivative"): [
        ("x < 0", "its terms cancel, and its constants have six digits"),
        ("|x| > 6e12", "x^3 overflows"),
    ],
    ("thinc", "mish", "forward"): [("x < -20", "1 + exp(x) loses exp(x)")],
    ("thinc", "mish", "derivative"): [
        ("x < -1", "its terms cancel at the root"),
        ("x < -8e37", "4 x overflows"),
    ],
    ("thinc", "sigmoid", "forward"): [_CLIPPED],
    ("thinc", "sigmoid", "derivative"): [("x > 3", "y (1 - y) cancels"), _CLIPPED],
    ("thinc", "silu", "forward"): [_CLIPPED],
    ("thinc", "silu", "derivative"): [
        ("x < -1", "its terms cancel at the root"),
        _CLIPPED,
    ],
}
SYSTEMS = ("fastact", *FORWARD)


def shared() -> list[str]:
    """The functions that fastact shares with another library, by name."""
    return sorted({function for table in FORWARD.values() for function in table})


def has(system: str, function: str, direction: Direction) -> bool:
    """Whether a library has a function, or its derivative."""
    if system == "fastact":
        return True
    if direction == "derivative":
        if system == "SciPy":
            return False
        if system in BACKWARD:
            return function in BACKWARD[system]
    return function in FORWARD[system]
