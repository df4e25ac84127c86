"""What a user writes, for type checkers: tests/test_typing.py runs them on this file.

It is valid as a program, too: that test runs it.
"""

from __future__ import annotations

import pickle
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastact as fa
import fastact.experimental
import fastact.init
from fastact import gelu, softmax_cross_entropy

x: NDArray[np.float32] = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
dy = np.ones_like(x)
out = np.empty_like(x)

# ---- forward, derivative, backward: of arrays, lists and numbers ----
y: NDArray[np.float32] = gelu(x)
fa.gelu(x, out=out)
fa.gelu(x, out=(out,), where=x > 0, dtype=np.float64, casting="unsafe")
fa.gelu([0.5, 1.5])
scalar: float = fa.sigmoid(0.5)
fa.gelu_derivative(x)
dx: NDArray[np.float32] = fa.gelu_backward(dy, x, out=out)
fa.sigmoid_backward_from_output(dy, fa.sigmoid(x))
value, slope = fa.gelu_with_derivative(x)
fa.gelu.backward(dy, x)
fa.gelu.with_derivative(x, out=(out, None))

# ---- they are ufuncs ----
assert_type(fa.gelu.__name__, str)
assert_type(fa.gelu.nin, int)
assert_type(fa.gelu_backward.types, list[str])
fa.gelu.at(out, [(0, 1), (1, 2)])
total: float = fa.gelu_backward.reduce(x[0])
fa.gelu_backward.outer(x[0], x[0])
assert_type(fa.gelu_backward.accumulate(x), NDArray[Any])
assert_type(fa.ufuncs.leaky_relu, np.ufunc)
assert_type(fa.ufuncs.get("gelu"), np.ufunc)

# ---- parameters: by position, by name, arrays ----
fa.leaky_relu(x, 0.2)
fa.leaky_relu(x, negative_slope=0.2, out=out)
fa.prelu(x, np.full(4, 0.25, np.float32))
fa.elu_backward(dy, x, alpha=0.5)
fa.swish.backward(dy, x, beta=1.5)
dx, dbeta = fa.swish_parameter_backward(dy, x, 1.5)
fa.log_sigmoid(x)  # another system's name

# ---- along an axis ----
p = fa.softmax(x, axis=0, where=x > -1, scale=0.5)
fa.softmax.backward(dy, x, axis=0)
fa.log_softmax_backward_from_output(dy, fa.log_softmax(x))
fa.logsumexp(x, keepdims=True)
fa.maxout(x, 2)
fa.gumbel_softmax(x, tau=0.5, hard=True, rng=np.random.default_rng(0))

# ---- gates, on two arrays and packed; crelu, rrelu ----
dgate, dvalue = fa.swiglu_backward(dy, x, x)
fa.swiglu_packed(x, -1, "second", interleaved=True)
fa.glu_packed_backward(dy[:, :2], x, gate="first")
fa.swiglu.packed.backward(dy[:, :2], x)
fa.swiglu_oai_packed(x, limit=6.0, alpha=1.5)
fa.crelu_backward(fa.crelu(x), x)
fa.rrelu(x, lower=0.1, upper=0.3, rng=1)
fa.rrelu.backward(dy, x)

# ---- the loss ----
labels = np.array([0, 3, 1])
loss: float = softmax_cross_entropy(x, labels, label_smoothing=0.1)
fa.softmax_cross_entropy(x, p, reduction="none", axis=1)
fa.softmax_cross_entropy_backward(1.0, x, labels, ignore_index=3)

# ---- by name ----
swish = fa.get("swish", beta=1.5)
swish(x)
swish.backward(dy, x)
assert_type(swish.parameters, dict[str, Any])
assert pickle.loads(pickle.dumps(swish)) == swish
fa.get("gelu")(x)
assert_type(fa.names("rows", aliases=True), tuple[str, ...])

# ---- gain and first weights ----
assert_type(fa.gain("leaky_relu", negative_slope=0.2), float)
assert_type(fa.gain(np.tanh), float)
weights: NDArray[np.float32] = fa.init.he_normal((3, 4), activation="gelu", rng=0)
fa.init.orthogonal((3, 4), rng=np.random.default_rng(0), dtype=np.float64)

# ---- settings ----
fa.set_num_threads(fa.get_num_threads())
with fa.num_threads(1), fa.backend("c"):
    fa.gelu(x)
assert_type(fa.get_num_threads(), int)
assert_type(fa.get_backend(), str)
assert_type(fa.__version__, str)
config = fa.show_config("dicts")
assert config is not None
assert_type(config["threads"], Any)
with fa.experimental.memory_pool(2**20) as pool:
    assert_type(pool.kept, int)
plain: NDArray[np.float32] = fa.plain.relu(x)


def on_numba(array: NDArray[np.float32]) -> Any:
    """Not run here, as Numba may be missing."""
    import fastact.numba as compiled

    fa.set_backend("numba")
    return compiled.gelu(array), fa.numba.gelu_backward(array, array)
