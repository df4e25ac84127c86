"""Plain arrays go to the loop without NumPy (csrc/ufuncs.c): the same, but sooner."""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import (
    DTYPES,
    NUMPY_DTYPES,
    PARAMETRIC,
    Call,
    assert_same_bits,
    other_values,
)

import fastact as fa
from fastact.formulas.entry import Entry
from fastact.formulas.rows import ROW_FUNCTIONS
from fastact.packed import packed_names

X = np.linspace(-4, 4, 10, dtype=np.float32)


# ---------------------------------------------------------------------------- the same


@pytest.mark.parametrize("shape", [1, 10, (3, 5, 7), 1000], ids=str)
def test_results_are_those_of_the_way_through_numpy(call: Call, shape: Any) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, shape)
        expected = call.results(*arrays, where=True)  # a keyword that NumPy has to see
        found = call.results(*arrays)
        assert_same_bits(found, expected)
        for fresh in found:
            assert type(fresh) is np.ndarray
            assert fresh.flags.c_contiguous
            assert fresh.flags.owndata
            assert fresh.flags.writeable
        out = tuple(np.full(shape, 7, dtype) for _ in expected)
        returned = call.results(*arrays, out=out)
        assert all(a is b for a, b in zip(returned, out, strict=True))
        assert_same_bits(out, expected)


def test_out_by_position_and_in_a_tuple() -> None:
    expected = fa.gelu(X)
    for call in (lambda out: fa.gelu(X, out), lambda out: fa.gelu(X, out=(out,))):
        out = np.empty_like(X)
        assert call(out) is out
        assert_same_bits(out, expected)
    value, slope = np.empty_like(X), np.empty_like(X)
    returned = fa.gelu_with_derivative(X, value, slope)
    assert returned[0] is value
    assert returned[1] is slope
    assert_same_bits(returned, fa.gelu_with_derivative(X))


def test_two_results_in_one_array_are_as_numpy_leaves_them() -> None:
    for shift in (0, 1):
        found, expected = np.zeros((2, X.size + 1), X.dtype)
        fa.gelu_with_derivative(X, out=(found[:-1], found[shift:][: X.size]))
        outs = expected[:-1], expected[shift:][: X.size]
        fa.gelu_with_derivative(X, out=outs, where=True)
        assert_same_bits(found, expected)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "softmax", "swiglu_packed"])
def test_arrays_that_numpy_warns_of(name: str) -> None:
    # Views that might repeat elements; these do not, but NumPy wants to be told.
    row = np.ones((1, 10), np.float32)
    x = np.hstack([row, row]) if name.endswith("_packed") else row
    for function, array in ((np.negative, row), (getattr(fa, name), x)):
        _, out = np.broadcast_arrays(np.ones((1, 10)), np.zeros(10, np.float32))
        with pytest.warns(DeprecationWarning, match="broadcast_arrays"):
            function(array, out=out)


def test_metadata_of_a_dtype_stays_as_in_numpy() -> None:
    x = np.ones((2, 4), np.dtype(np.float32, metadata={"unit": "m"}))
    assert np.negative(x).dtype.metadata == {"unit": "m"}
    for function in (fa.relu, fa.leaky_relu, fa.softmax, fa.swiglu_packed):
        assert function(x).dtype.metadata == {"unit": "m"}


def test_many_threads_make_the_first_call() -> None:
    code = """
import sys, threading
import numpy as np
import fastact as fa
sys.setswitchinterval(1e-6)
x, barrier, failures = np.ones((4, 8), np.float32), threading.Barrier(8), []
def run():
    for name in ("softmax", "log_softmax", "swiglu_packed", "glu_packed", "elu"):
        barrier.wait()
        try:
            getattr(fa, name)(x)
        except BaseException as error:
            failures.append(error)
threads = [threading.Thread(target=run) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


@pytest.mark.parametrize("layout", ["F", "reversed", "gaps"])
def test_layouts_of_the_result_are_numpys(layout: str) -> None:
    x = np.ones((4, 6), np.float32)
    x = {"F": np.asfortranarray(x), "reversed": x[::-1], "gaps": x[:, ::2]}[layout]
    for function in (fa.relu, fa.leaky_relu, lambda x: fa.leaky_relu(x, 0.5)):
        assert function(x).strides == np.negative(x).strides


# -------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("entry", PARAMETRIC, ids=lambda e: e.name)
def test_parameters_by_position_and_by_name(entry: Entry, dtype: Any) -> None:
    function, values = getattr(fa, entry.name), other_values(entry)
    named = dict(zip((p.name for p in entry.parameters), values, strict=True))
    count = len(Call(entry, "", values).kernel.inputs) - len(values)
    arrays = [np.linspace(-4, 4, 10).astype(dtype)] * count
    expected = function(*arrays, *values, where=True)
    out = np.empty_like(arrays[0])
    assert_same_bits(function(*arrays, **named), expected)
    assert_same_bits(function(*arrays, **dict(reversed(named.items()))), expected)
    assert_same_bits(
        function(*arrays, values[0], **dict(list(named.items())[1:])), expected
    )
    assert function(*arrays, out=out, **named) is out
    assert_same_bits(out, expected)
    assert function(*arrays, *values, out=out) is out


@pytest.mark.parametrize("entry", PARAMETRIC, ids=lambda e: e.name)
def test_parameters_that_are_left_out_have_their_defaults(entry: Entry) -> None:
    function, (first, *others) = getattr(fa, entry.name), entry.parameters
    if any(p.default is None for p in others):
        with pytest.raises(TypeError, match="missing"):
            function(X, 0.75)
        return
    arrays = [X] * (len(Call(entry, "", (0.75,)).kernel.inputs) - len(entry.parameters))
    defaults = [float(p.default) for p in others if p.default is not None]
    expected = function(*arrays, 0.75, *defaults, where=True)
    assert_same_bits(function(*arrays, 0.75), expected)
    assert_same_bits(function(*arrays, **{first.name: 0.75}), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fa.leaky_relu(X, 0.1, negative_slope=0.2), "multiple values"),
        (lambda: fa.leaky_relu(X, slope=0.2), "slope"),
        (lambda: fa.leaky_relu(), "missing"),
        (lambda: fa.leaky_relu(negative_slope=0.1), "missing"),
        (lambda: fa.leaky_relu(X, 0.1, 0.2), "positional"),
        (lambda: fa.leaky_relu(X, 0.1, out=X, unknown=1), "unknown"),
        (lambda: fa.relu(), "positional"),
        (lambda: fa.relu(X, X, X), "positional"),
        (lambda: fa.relu(X, X, out=X), "out"),
        (lambda: fa.softmax(), "missing"),
        (lambda: fa.softmax(X, 0, axis=0), "multiple values"),
        (lambda: fa.softmax(X, 0, X), "positional"),
        (lambda: fa.softmax(X, unknown=0), "unknown"),
    ],
)
def test_wrong_arguments_are_errors(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda out: fa.celu(X, 0.0, out=out),
        lambda out: fa.celu(X, alpha=-1.0, out=out),
        lambda out: fa.celu(X, alpha=1e-60, out=out),
    ],
)
def test_parameters_that_are_not_allowed(call: Callable[[Any], Any]) -> None:
    out = np.full_like(X, 7)
    with pytest.raises(ValueError, match="alpha must be greater than 0"):
        call(out)
    assert (out == 7).all()


# -------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "name", [n for n, facts in ROW_FUNCTIONS.items() if not facts.reduces]
)
def test_rows_are_those_of_the_way_through_numpy(name: str) -> None:
    x = np.random.default_rng(0).standard_normal((4, 5, 6), dtype=np.float32)
    for axis in (0, 1, 2, -1, -3):
        function, backward = getattr(fa, name), getattr(fa, name + "_backward")
        # An array of another order takes NumPy's way.
        expected = function(np.asfortranarray(x), axis)
        for found in (function(x, axis), function(x, axis=axis)):
            assert_same_bits(found, expected)
        out = np.empty_like(x)
        assert function(x, axis, out=out) is out
        assert_same_bits(out, expected)
        expected = backward(np.asfortranarray(x), np.asfortranarray(x), axis)
        assert_same_bits(backward(x, x, axis=axis), expected)
    assert_same_bits(function(x), function(x, -1))


# -------------------------------------------------------------------- halves, the loss


@pytest.mark.parametrize("name", sorted(packed_names()))
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_halves_are_those_of_the_way_through_python(name: str, dtype: Any) -> None:
    function, backward = getattr(fa, name), name.endswith("_backward")
    x = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(dtype)
    for axis in (1, -2, 2, -1):
        half = [n // (2 if i == axis % 3 else 1) for i, n in enumerate(x.shape)]
        arrays = (np.full(half, 3, dtype), x) if backward else (x,)
        # An array of another order takes Python's way.
        expected = function(*map(np.asfortranarray, arrays), axis)
        assert_same_bits(function(*arrays, axis), expected)
        out = np.empty(expected.shape, dtype)
        assert function(*arrays, axis=axis, out=out) is out
        assert_same_bits(out, expected)
    assert_same_bits(function(*arrays), function(*arrays, -1, interleaved=False))
    for wrong in (3, -4, 10**30):
        with pytest.raises((ValueError, OverflowError)):
            function(*arrays, axis=wrong)


def test_the_gradient_of_halves_may_replace_them_but_not_what_it_reads() -> None:
    x, dy = np.linspace(-3, 3, 40, dtype=np.float32).reshape(4, 10), np.ones((4, 5))
    dy = dy.astype(np.float32)
    expected = fa.swiglu_packed_backward(dy, x)
    inside = np.concatenate([np.ravel(dy), np.zeros(40, np.float32)])
    overlapping = inside[10:50].reshape(4, 10)
    fa.swiglu_packed_backward(inside[:20].reshape(4, 5), x, out=overlapping)
    assert_same_bits(overlapping, expected)
    assert fa.swiglu_packed_backward(dy, x, out=x) is x
    assert_same_bits(x, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labels", ["int8", "uint16", "int64"])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (400, 100)], ids=str)
def test_the_loss_is_that_of_the_way_through_python(
    shape: tuple[int, ...], labels: str, dtype: Any
) -> None:
    random = np.random.default_rng(0)
    logits = random.standard_normal(shape).astype(dtype)
    targets = np.asarray(random.integers(0, shape[-1], shape[:-1])).astype(labels)
    if labels == "int64" and targets.ndim:
        targets[0] = -100  # ignored
    axis = len(shape) - 1  # an axis that is given takes Python's way
    loss = fa.softmax_cross_entropy(logits, targets)
    assert type(loss) is dtype
    assert_same_bits(loss, fa.softmax_cross_entropy(logits, targets, axis))
    for dy in (0.7, np.float32(0.7), np.float64(0.7), np.asarray(0.7), 1):
        expected = fa.softmax_cross_entropy_backward(dy, logits, targets, axis)
        found = fa.softmax_cross_entropy_backward(dy, logits, targets)
        assert_same_bits(found, expected)
        out = np.empty_like(logits)
        returned = fa.softmax_cross_entropy_backward(dy, logits, targets, out=out)
        assert returned is out
        assert_same_bits(out, expected)
    place = logits.copy()
    fa.softmax_cross_entropy_backward(0.7, place, targets, out=place)
    assert_same_bits(
        place, fa.softmax_cross_entropy_backward(0.7, logits, targets, axis)
    )


def test_a_loss_of_no_rows_that_count_and_labels_that_are_none() -> None:
    logits = np.ones((3, 4), np.float32)
    ignored = np.full(3, -100)
    assert np.isnan(fa.softmax_cross_entropy(logits, ignored))
    assert (fa.softmax_cross_entropy_backward(1.0, logits, ignored) == 0).all()
    out = np.full_like(logits, 7)
    for bad in (4, -1):
        targets = np.array([0, bad, 1])
        with pytest.raises(ValueError, match=rf"targets must be labels.*not {bad}"):
            fa.softmax_cross_entropy(logits, targets)
        with pytest.raises(ValueError, match=rf"targets must be labels.*not {bad}"):
            fa.softmax_cross_entropy_backward(1.0, logits, targets, out=out)
    assert (out == 7).all()
    with pytest.raises((TypeError, OverflowError)):
        fa.softmax_cross_entropy_backward(10**400, logits, np.array([0, 1, 2]))
    with np.errstate(all="raise"):
        huge = np.array([[-3e38, 3e38]], np.float32)
        assert fa.softmax_cross_entropy(huge, np.array([0])) == np.inf


# ------------------------------------------------------------------------------- speed


@pytest.mark.parametrize(
    "call",
    [
        lambda out: fa.relu(X),
        lambda out: fa.gelu(X, out=out),
        lambda out: fa.gelu_backward(X, X, out=out),
        lambda out: fa.leaky_relu(X, out=out),
        lambda out: fa.leaky_relu(X, negative_slope=0.2),
        lambda out: fa.softmax(X, out=out),
        lambda out: fa.swiglu(X, X, out=out),
        lambda out: fa.swiglu_packed(X),
    ],
)
def test_a_small_call_is_no_slower_than_one_of_numpys_own(
    call: Callable[[Any], Any],
) -> None:
    out, calls = np.empty_like(X), 2000
    ours, numpys = [], []
    for _ in range(10):
        ours.append(timeit.timeit(lambda: call(out), number=calls))
        numpys.append(timeit.timeit(lambda: np.negative(X, out=out), number=calls))
    assert min(ours) < min(numpys)
