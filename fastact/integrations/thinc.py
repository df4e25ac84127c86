"""A backend for thinc: its activations, forward and backward, by fastact.

Where fastact is installed, thinc finds the backend by its entry point. A model belongs to
the backend that was in use when it was made:

>>> from thinc.api import Mish, Softmax, chain, use_ops
>>> with use_ops("fastact"):
...     model = chain(Mish(128), Softmax())

It needs thinc 9.1 or later (``pip install thinc``). thinc imports all backends that it
finds when it looks for one by name.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import fastact as fa

try:
    from thinc.api import NumpyOps, Ops, registry
    from thinc.backends.ops import FloatsT
    from thinc.types import (
        Floats2d,
        Floats3d,
        FloatsXdT,
        Ints1d,
        Ints2d,
    )
except ModuleNotFoundError as error:
    raise ImportError(
        "fastact.integrations.thinc needs thinc; install it with: pip install thinc"
    ) from error

# From here on mish is x to the last digit of float64: thinc's default.
_MISH_IS_LINEAR = 20.0


@registry.ops("FastactOps")
class FastactOps(NumpyOps):
    """thinc's NumPy backend, with the activations of fastact.

    Everything else is thinc's. Functions and parameters have thinc's definitions: its
    `hard_sigmoid` has the slope 0.2, its `hard_swish` knees at -2.5 and 2.5, and at a knee
    the derivative is the one that thinc takes there. Arrays of float16, float32 and
    float64 are computed by fastact, other ones, and mixed dtypes, by the NumPy expressions
    of `thinc.api.Ops`.

    Notes
    -----
    Arrays may have any strides. thinc's own `backprop_relu` and `backprop_mish`, and its
    `relu` and `mish` in place, take the memory of an array that is not contiguous for
    contiguous; its `maxout` and `backprop_maxout` refuse such an array, and one of no
    examples.

    Results differ from thinc's where it approximates: by up to 6e-7 in `erf` and `gelu`
    (2e-7 in float64), and by 2e-9 in `sigmoid`, for which it clips x to [-20, 20]. NaN in
    x gives NaN in all gradients.

    ``inplace=True`` writes to the array that thinc would write to. thinc's `softmax`,
    `backprop_hard_sigmoid` and `backprop_hard_tanh` ignore it, and so do these.
    """

    name = "fastact"
    xp = np

    def sigmoid(self, X: FloatsXdT, *, inplace: bool = False) -> Any:
        return _forward(fa.sigmoid, Ops.sigmoid, self, X, inplace)

    def backprop_sigmoid(
        self, dY: FloatsXdT, Y: FloatsXdT, *, inplace: bool = False
    ) -> Any:
        if not _alike(dY, Y):
            return Ops.backprop_sigmoid(self, dY, Y, inplace=inplace)
        # thinc writes over Y here, not over dY
        return fa.sigmoid_backward_from_output(dY, Y, out=Y if inplace else None)

    def dsigmoid(self, Y: FloatsXdT, *, inplace: bool = False) -> Any:
        return _forward(_dsigmoid, Ops.dsigmoid, self, Y, inplace)

    def dtanh(self, Y: FloatsT, *, inplace: bool = False) -> Any:
        return _forward(_dtanh, Ops.dtanh, self, Y, inplace)

    def softmax(
        self,
        x: FloatsT,
        *,
        inplace: bool = False,
        axis: int = -1,
        temperature: float = 1.0,
    ) -> Any:
        if not _alike(x):
            return Ops.softmax(self, x, axis=axis, temperature=temperature)
        return fa.softmax(x, axis, scale=1.0 / temperature)

    def backprop_softmax(
        self, Y: FloatsT, dY: FloatsT, *, axis: int = -1, temperature: float = 1.0
    ) -> Any:
        if not _alike(Y, dY):
            return Ops.backprop_softmax(self, Y, dY, axis=axis, temperature=temperature)
        return fa.softmax_backward_from_output(dY, Y, axis, scale=1.0 / temperature)

    def softmax_sequences(
        self, Xs: Floats2d, lengths: Ints1d, *, inplace: bool = False, axis: int = -1
    ) -> Any:
        return super().softmax_sequences(self.as_contig(Xs), lengths, axis=axis)

    def backprop_softmax_sequences(
        self, dY: Floats2d, Y: Floats2d, lengths: Ints1d
    ) -> Any:
        dY, Y = self.as_contig(dY), self.as_contig(Y)
        return super().backprop_softmax_sequences(dY, Y, lengths)

    def maxout(self, X: Floats3d) -> Any:
        if not X.size:  # thinc's C code looks at the first element
            best, which = Ops.maxout(self, X)
            return best, which.astype(np.int32)
        return super().maxout(self.as_contig(X))

    def backprop_maxout(self, dY: Floats2d, which: Ints2d, P: int) -> Any:
        if not dY.size:
            return Ops.backprop_maxout(self, dY, which, P)
        return super().backprop_maxout(self.as_contig(dY), self.as_contig(which), P)

    def relu(self, X: Floats2d, inplace: bool = False) -> Any:
        return _forward(fa.relu, Ops.relu, self, X, inplace)

    def backprop_relu(self, dY: Floats2d, Y: Floats2d, inplace: bool = False) -> Any:
        _check_shapes(dY, Y)
        return _backward(fa.relu_backward, Ops.backprop_relu, self, dY, Y, inplace)

    def clipped_linear(
        self,
        X: FloatsXdT,
        slope: float = 1.0,
        offset: float = 0.0,
        min_val: float = 0.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> Any:
        line = slope, offset, min_val, max_val
        if not _alike(X):
            return Ops.clipped_linear(self, X, *line, inplace)
        return fa.clipped_linear(X, *line, out=X if inplace else None)

    def backprop_clipped_linear(
        self,
        dY: FloatsXdT,
        X: FloatsXdT,
        slope: float = 1.0,
        offset: float = 0.0,
        min_val: float = 0.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> Any:
        line = slope, offset, min_val, max_val
        if not _alike(dY, X):
            return Ops.backprop_clipped_linear(self, dY, X, *line, inplace)
        return fa.clipped_linear_backward(dY, X, *line, out=dY if inplace else None)

    def swish(self, X: FloatsXdT, inplace: bool = False) -> Any:
        return _forward(fa.silu, Ops.swish, self, X, inplace)

    def backprop_swish(
        self, dY: FloatsXdT, X: FloatsXdT, Y: FloatsXdT, inplace: bool = False
    ) -> Any:
        _check_shapes(X, Y)
        if not _alike(dY, X, Y):
            return Ops.backprop_swish(self, dY, X, Y, inplace)
        return fa.silu_backward(dY, X, out=dY if inplace else None)

    def hard_swish(self, X: FloatsXdT, inplace: bool = False) -> Any:
        if not _alike(X):
            return Ops.hard_swish(self, X, inplace)
        return fa.bilinear(X, self.hard_sigmoid(X), out=X if inplace else None)

    def backprop_hard_swish(
        self, dY: FloatsXdT, X: FloatsXdT, inplace: bool = False
    ) -> Any:
        if not _alike(dY, X):
            return Ops.backprop_hard_swish(self, dY, X, inplace)
        _check_shapes(dY, X)
        return _backprop_hard_swish(dY, X, 2.5, inplace)

    def hard_swish_mobilenet(self, X: FloatsXdT, inplace: bool = False) -> Any:
        return _forward(fa.hardswish, Ops.hard_swish_mobilenet, self, X, inplace)

    def backprop_hard_swish_mobilenet(
        self, dY: FloatsXdT, X: FloatsXdT, inplace: bool = False
    ) -> Any:
        if not _alike(dY, X):
            return Ops.backprop_hard_swish_mobilenet(self, dY, X, inplace)
        _check_shapes(dY, X)
        return _backprop_hard_swish(dY, X, 3.0, inplace)

    def dish(self, X: FloatsXdT, inplace: bool = False) -> Any:
        return _forward(fa.dish, Ops.dish, self, X, inplace)

    def backprop_dish(self, dY: FloatsXdT, X: FloatsXdT, inplace: bool = False) -> Any:
        return _backward(fa.dish_backward, Ops.backprop_dish, self, dY, X, inplace)

    def erf(self, X: FloatsXdT) -> Any:
        return fa.erf(X) if _alike(X) else Ops.erf(self, X)

    def gelu_approx(self, X: FloatsXdT, inplace: bool = False) -> Any:
        return _forward(fa.gelu_tanh, Ops.gelu_approx, self, X, inplace)

    def backprop_gelu_approx(
        self, dY: FloatsXdT, X: FloatsXdT, inplace: bool = False
    ) -> Any:
        slow = Ops.backprop_gelu_approx
        return _backward(fa.gelu_tanh_backward, slow, self, dY, X, inplace)

    def gelu(self, X: FloatsXdT, inplace: bool = False) -> Any:
        return _forward(fa.gelu, Ops.gelu, self, X, inplace)

    def backprop_gelu(self, dY: FloatsXdT, X: FloatsXdT, inplace: bool = False) -> Any:
        return _backward(fa.gelu_backward, Ops.backprop_gelu, self, dY, X, inplace)

    def mish(self, X: FloatsXdT, threshold: float = 20.0, inplace: bool = False) -> Any:
        if threshold < _MISH_IS_LINEAR or not _alike(X):
            return Ops.mish(self, X, threshold, inplace)
        return fa.mish(X, out=X if inplace else None)

    def backprop_mish(
        self, dY: FloatsXdT, X: Floats2d, threshold: float = 20.0, inplace: bool = False
    ) -> Any:
        _check_shapes(dY, X)
        if threshold < _MISH_IS_LINEAR or not _alike(dY, X):
            return Ops.backprop_mish(self, dY, X, threshold, inplace)
        return fa.mish_backward(dY, X, out=dY if inplace else None)


def _alike(*arrays: Any) -> bool:
    """Whether fastact computes these arrays, and their dtypes decide the result's."""
    dtype = arrays[0].dtype
    return dtype.char in "efd" and all(array.dtype == dtype for array in arrays)


def _check_shapes(first: Any, second: Any) -> None:
    if first.shape != second.shape:
        raise ValueError(
            f"arrays must have the same shape, not {first.shape} and {second.shape}"
        )


def _forward(
    fast: Callable[..., Any],
    slow: Callable[..., Any],
    ops: Ops,
    X: Any,
    inplace: bool,
) -> Any:
    if not _alike(X):
        return slow(ops, X, inplace=inplace)
    return fast(X, out=X if inplace else None)


def _backward(
    fast: Callable[..., Any],
    slow: Callable[..., Any],
    ops: Ops,
    dY: Any,
    X: Any,
    inplace: bool,
) -> Any:
    if not _alike(dY, X):
        return slow(ops, dY, X, inplace=inplace)
    return fast(dY, X, out=dY if inplace else None)


def _dsigmoid(Y: Any, out: Any) -> Any:
    return fa.sigmoid_backward_from_output(1.0, Y, out=out)


def _dtanh(Y: Any, out: Any) -> Any:
    return fa.tanh_backward_from_output(1.0, Y, out=out)


def _backprop_hard_swish(dY: Any, X: Any, knee: float, inplace: bool) -> Any:
    """Gradient of x clip(x / (2 knee) + 1/2, 0, 1): hardswish with knees elsewhere."""
    ends = [(x == X, slope) for x, slope in ((-knee, -0.5), (knee, 1.5))]
    # At a knee itself thinc takes the slope of the parabola.
    exact = [(at, slope * dY[at]) for at, slope in ends if at.any()]
    scaled = X if knee == 3 else X * (3 / knee)
    dX = fa.hardswish_backward(dY, scaled, out=dY if inplace else None)
    for at, gradient in exact:
        dX[at] = gradient
    return dX
