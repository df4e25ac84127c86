"""softmax_cross_entropy: a loss over rows of logits, with its gradient.

The rows are read once: csrc/cross_entropy.c has maximum, weights and sum of a row, and
its loss or gradient, while the row is in cache.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from . import _core, _ufuncs
from ._kernels import ffi, lib
from .parameters import as_native, as_real_array, check_axis, refuse_masked

_REDUCTIONS = ("mean", "sum", "none")
# A call that does not mention them has these very objects; call_loss knows their values.
_LAST_AXIS, _IGNORED, _NO_SMOOTHING, _MEAN = -1, -100, 0.0, "mean"

_ufuncs.set_loss(
    _core.address(ffi.addressof(lib, "fa_check_labels")),
    _core.address(ffi.addressof(lib, "fa_softmax_cross_entropy")),
)


def _as_targets(targets: Any, shape: tuple[int, ...], rows: tuple[int, ...]) -> Any:
    """Labels or probabilities of the shape that the logits ask for."""
    refuse_masked("targets", targets)
    array = np.asarray(targets)
    has_labels = array.dtype.kind in "iu"
    if not has_labels and array.dtype.char not in _core.DTYPES:
        raise TypeError(
            "targets must be integers (labels) or floating-point numbers "
            f"(probabilities), not {array.dtype}"
        )
    expected = rows if has_labels else shape
    if array.shape != expected:
        kind = "labels" if has_labels else "probabilities"
        raise ValueError(
            f"targets that are {kind} must have shape {expected} here, not {array.shape}"
        )
    return as_native(array)


def _without(values: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return values[:axis] + values[axis + 1 :]


def _describe(place: Any, array: Any, axis: int | None = None) -> None:
    """Tell C where an array of rows lies, or without `axis` one number for each row."""
    place.data = ffi.cast("char *", array.__array_interface__["data"][0])
    place.type = array.dtype.char.encode()
    strides = array.strides
    if axis is not None:
        place.step = strides[axis]
        strides = _without(strides, axis)
    place.strides[0 : len(strides)] = strides


def _check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(out, np.ndarray) or out.shape != shape:
        raise ValueError(f"out must be an array of shape {shape}")
    if out.dtype != dtype:
        raise TypeError(f"out must be an array of {dtype}, not {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")


def _same_place(a: Any, b: Any) -> bool:
    """Whether the elements of two arrays of one shape are the same memory."""
    return bool(
        a.dtype == b.dtype
        and a.strides == b.strides
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )


def _apart(array: Any, result: Any) -> Any:
    """The array, or a copy if it shares memory with the result."""
    return array.copy() if np.may_share_memory(array, result) else array


class _Call:
    """The arguments of a call, checked: nothing is written before that is done."""

    def __init__(
        self,
        logits: Any,
        targets: Any,
        axis: Any,
        ignore_index: Any,
        label_smoothing: Any,
        reduction: str,
    ) -> None:
        axis = check_axis(axis)
        self.logits = as_real_array("logits", logits)
        self.shape: tuple[int, ...] = self.logits.shape
        self.axis = normalize_axis_index(axis, len(self.shape))
        self.rows = _without(self.shape, self.axis)
        self.targets = _as_targets(targets, self.shape, self.rows)
        self.has_labels = self.targets.dtype.kind in "iu"
        if reduction not in _REDUCTIONS:
            allowed = ", ".join(map(repr, _REDUCTIONS))
            raise ValueError(f"reduction must be one of {allowed}, not {reduction!r}")
        if not isinstance(label_smoothing, numbers.Real):
            raise TypeError(
                f"label_smoothing must be a number, not {label_smoothing!r}"
            )
        smoothing = float(label_smoothing)
        if not 0 <= smoothing <= 1:
            raise ValueError(f"label_smoothing must be in [0, 1], not {smoothing}")
        if not isinstance(ignore_index, (int, np.integer)):
            raise TypeError(f"ignore_index must be an integer, not {ignore_index!r}")
        ignored = int(ignore_index)
        if not -(2**63) <= ignored < 2**63:
            raise ValueError(f"ignore_index must fit in 64 bits, not {ignored}")

        self.problem = ffi.new("fa_cross_entropy *")
        self.problem.dimensions = len(self.rows)
        self.problem.shape[0 : len(self.rows)] = self.rows
        self.problem.n = self.shape[self.axis]
        self.problem.has_labels = self.has_labels
        self.problem.ignore_index = ignored
        self.problem.smoothing = smoothing
        self.problem.factor = 1

    def keep_from(self, result: Any, *, in_place: bool) -> None:
        """Copy inputs that writing the result would change before they are read."""
        if not (in_place and _same_place(self.logits, result)):
            self.logits = _apart(self.logits, result)
        self.targets = _apart(self.targets, result)

    def count_rows(self) -> int:
        """How many rows the mean divides by; labels out of range are an error."""
        _describe(self.problem.logits, self.logits, self.axis)
        axis = None if self.has_labels else self.axis
        _describe(self.problem.targets, self.targets, axis)
        rows = math.prod(self.rows)
        if not self.has_labels:
            return rows
        counted = ffi.new("size_t *")
        bad = lib.fa_check_labels(self.problem, counted)
        if bad < rows:
            raise ValueError(
                f"targets must be labels in 0..{self.problem.n - 1} or ignore_index "
                f"({self.problem.ignore_index}), not {self.targets.flat[bad]}"
            )
        return int(counted[0])

    def run(self) -> None:
        if lib.fa_softmax_cross_entropy(self.problem) != 0:
            raise MemoryError("no memory for the rows that are being worked on")


def _is_usual(axis: Any, ignore_index: Any, smoothing: Any, reduction: Any) -> bool:
    """Whether C may do it all: of few rows, Python's part takes longest."""
    return (
        axis is _LAST_AXIS
        and ignore_index is _IGNORED
        and smoothing is _NO_SMOOTHING
        and reduction is _MEAN
    )


def softmax_cross_entropy(
    logits: Any,
    targets: Any,
    axis: int = _LAST_AXIS,
    *,
    ignore_index: int = _IGNORED,
    label_smoothing: float = _NO_SMOOTHING,
    reduction: str = _MEAN,
    out: Any = None,
) -> Any:
    """Cross-entropy between targets and the softmax of logits along one axis.

    Parameters
    ----------
    logits : array_like
        Unnormalised logarithms of probabilities.
    targets : array_like
        Labels: integers of the shape of logits without `axis`, from 0 to C - 1, where C
        is the length of `axis`. Or probabilities: floating-point numbers of the shape of
        logits; they need not sum to 1.
    axis : int, default -1
        The axis of the classes.
    ignore_index : int, default -100
        Rows with this label count for nothing. It has no effect on probabilities.
    label_smoothing : float, default 0
        How much of the target, from 0 to 1, is spread evenly over all classes.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean over the rows that count, their sum, or every row's loss. The mean of no
        rows is NaN.
    out : ndarray, optional
        Where to store the result: of the dtype and shape that it has.

    Returns
    -------
    loss : ndarray or scalar
        The losses in the shape of logits without `axis`, or one number. float16, float32
        and float64 stay what they are; integers and booleans promote as in `numpy.tanh`.

    Raises
    ------
    ValueError
        If a label is out of range, a shape does not match, `reduction` or
        `label_smoothing` is not possible, or `axis` is None or a tuple.
    TypeError
        If logits, targets or out have a dtype that is not possible.

    Notes
    -----
    f(logits, targets) = -sum(p log(softmax(logits))); p = (1 - label_smoothing) q +
    label_smoothing / C, q the probabilities, or 1 for the label and 0 elsewhere.

    No kinks: the derivative is continuous.

    Where p is 0, an infinite logarithm counts 0. One +inf among the logits gives the limit
    (softmax one-hot); several, or nothing but -inf, NaN.

    Each row's loss is within 5 ULP where p is not negative, also where the label has nearly
    all the weight: there it is log1p of what the others have. Means and sums are
    accumulated in float64 with a fixed tree: the same bits whatever the threads. No array
    is allocated but the result, unless an argument has to be converted (integer logits,
    foreign byte order) or overlaps out.

    Source: `torch.nn.functional.cross_entropy`, whose semantics these are, save that the
    limit is NaN there.
    """
    if out is None and _is_usual(axis, ignore_index, label_smoothing, reduction):
        loss = _ufuncs.call_loss(logits, targets)
        if loss is not NotImplemented:
            return loss
    call = _Call(logits, targets, axis, ignore_index, label_smoothing, reduction)
    dtype, every = call.logits.dtype, reduction == "none"
    shape = call.rows if every else ()
    if out is not None:
        _check_out(out, shape, dtype)
        call.keep_from(out, in_place=False)
    counted = call.count_rows()
    if every:
        losses = np.empty(shape, dtype) if out is None else out
        _describe(call.problem.output, losses)
        call.run()
        return losses if losses.ndim or out is not None else losses[()]
    call.run()
    total = call.problem.sum
    if reduction == "mean":
        total = total / counted if counted else math.nan
    with np.errstate(all="ignore"):  # a loss beyond the dtype is an infinity
        loss = np.float64(total).astype(dtype)
    if out is None:
        return loss
    out[()] = loss
    return out


def softmax_cross_entropy_backward(
    dy: Any,
    logits: Any,
    targets: Any,
    axis: int = _LAST_AXIS,
    *,
    ignore_index: int = _IGNORED,
    label_smoothing: float = _NO_SMOOTHING,
    reduction: str = _MEAN,
    out: Any = None,
) -> Any:
    """Gradient of softmax_cross_entropy with respect to the logits.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the loss: a number, or with reduction "none" an array of
        the shape of logits without `axis`.
    logits, targets, axis, ignore_index, label_smoothing, reduction
        As for `softmax_cross_entropy`.
    out : ndarray, optional
        Where to store the result: of the dtype and shape of logits, and possibly logits
        itself.

    Returns
    -------
    dlogits : ndarray
        The gradient, in the shape and dtype of logits; 0 in the rows that do not count.

    Raises
    ------
    ValueError
        If a label is out of range, a shape does not match, `reduction` or
        `label_smoothing` is not possible, or `axis` is None or a tuple.
    TypeError
        If dy, logits, targets or out have a dtype that is not possible.

    Notes
    -----
    dlogits = dy (sum(p) softmax(logits) - p), divided by the number of rows that count if
    the loss was their mean: no kinks; p and dtypes as for `softmax_cross_entropy`.

    Of a label without smoothing, each element is within 5 ULP, also where the label has
    nearly all the weight; or within 1e-45 dy (float64: 1e-340 dy), if that is more, which
    shows only where dy is large. Otherwise the error is bounded beside the row's largest
    dy sum(p) softmax(logits) and dy p, not beside each element, where the difference may
    cancel. No array is allocated but the result, unless an argument has to be converted
    (integer logits, foreign byte order) or overlaps out; logits may be out itself.

    Source: `torch.nn.functional.cross_entropy`, whose gradient this is.
    """
    if _is_usual(axis, ignore_index, label_smoothing, reduction):
        gradient = _ufuncs.call_loss(logits, targets, dy, out)
        if gradient is not NotImplemented:
            return gradient
    call = _Call(logits, targets, axis, ignore_index, label_smoothing, reduction)
    dy = as_real_array("dy", dy)
    shape = call.rows if reduction == "none" else ()
    if dy.shape != shape:
        raise ValueError(
            f"dy must have shape {shape} for reduction {reduction!r}, not {dy.shape}"
        )
    if out is not None:
        _check_out(out, call.shape, call.logits.dtype)
        call.keep_from(out, in_place=True)
        dy = _apart(dy, out)
    counted = call.count_rows()
    gradient = np.empty_like(call.logits) if out is None else out
    call.problem.backward = 1
    if reduction == "none":
        _describe(call.problem.dy, dy)
    else:
        call.problem.factor = float(dy)
        if reduction == "mean" and counted:
            call.problem.factor /= counted
    _describe(call.problem.output, gradient, call.axis)
    call.run()
    return gradient


FUNCTIONS: dict[str, Any] = {
    function.__name__: function
    for function in (softmax_cross_entropy, softmax_cross_entropy_backward)
}
_core.attach_members("softmax_cross_entropy", FUNCTIONS)
