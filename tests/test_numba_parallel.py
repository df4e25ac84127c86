"""Users' parallel @njit code, and fastact's own functions in @njit code.

Under ``@njit(parallel=True)`` neighbouring calls become one parallel loop: the test is how
many loops Numba counts after it has joined what it can.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import assert_same_bits

import fastact as fa
from fastact import _core

numba = pytest.importorskip("numba", reason="needs Numba")
fn = pytest.importorskip("fastact.numba", exc_type=ImportError)

pytestmark = [
    pytest.mark.numba,
    pytest.mark.filterwarnings("ignore::numba.NumbaPerformanceWarning"),
    pytest.mark.skipif(
        _core.available_instruction_sets() == ("baseline",),
        reason="without FMA instructions, C and Numba may round differently",
    ),
]
parallel = numba.njit(parallel=True)
X = 3 * np.random.default_rng(1).standard_normal(1_001).astype(np.float32)
DY = np.random.default_rng(2).standard_normal(1_001).astype(np.float32)


def loops(function: Any) -> int:
    """How many parallel loops Numba made of what was called once."""
    (compiled,) = function.overloads.values()
    return int(compiled.metadata["parfor_diagnostics"].count_parfors())


# Each is plain Python too, over NumPy's arrays: that is what it has to return.


def expression(x):
    return fa.gelu(x) * fa.sigmoid(x + np.float32(1))


def statements(x):
    hidden = fa.gelu(x)
    gate = fa.sigmoid(hidden)
    return hidden * gate + fa.tanh(x)


def backward(dy, x):
    return fa.gelu_backward(dy, x) * fa.sigmoid_derivative(x)


def parameters(dy, x):
    hidden = fa.leaky_relu(x, negative_slope=0.25)
    dx = fa.elu_backward(dy, x, 0.5) + fa.leaky_relu_backward(dy, x)
    return hidden * dx


def checked_parameters(x):
    hidden = fa.celu(x, 2.0)
    return fa.softcap(hidden, cap=1.5) + fa.softplus(x)


def from_output(dy, x):
    return fa.elu_backward_from_output(dy, fa.elu(x), 1.0)


def gate_with_gradients(dy, x):
    return fa.swiglu_backward(dy, x, dy)


def with_derivative(x):
    return fa.tanh_with_derivative(x)


def unpacked(dy, x):
    y, slope = fa.tanh_with_derivative(x)
    dgate, dvalue = fa.swiglu_backward(dy, y, slope)
    return dgate * dvalue + y


def unpacked_later(dy, x):
    pair = fa.tanh_with_derivative(x)
    return pair[1] * dy + pair[0], pair[:1] + pair[1:]


def two_dimensions(dy, x):
    x = np.reshape(x[:999], (37, 27))
    dy = np.reshape(dy[:999], (37, 27))
    return fa.mish(x) * dy + fa.leaky_relu_backward(dy, x, 0.25)


@pytest.mark.parametrize(
    "function",
    [
        expression,
        statements,
        backward,
        parameters,
        checked_parameters,
        from_output,
        gate_with_gradients,
        with_derivative,
        unpacked,
        two_dimensions,
    ],
)
def test_several_calls_are_one_loop_with_the_same_bits(function: Any) -> None:
    arrays = (DY, X)[-function.__code__.co_argcount :]
    compiled = parallel(function)
    assert_same_bits(compiled(*arrays), function(*arrays))
    assert loops(compiled) == 1


def test_a_pair_that_is_kept_is_a_pair() -> None:
    (y, pair), expected = parallel(unpacked_later)(DY, X), unpacked_later(DY, X)
    assert_same_bits((y, *pair), (expected[0], *expected[1]))


def test_pairs_in_branches_and_loops_stay_what_they_are() -> None:
    @parallel
    def compiled(x, count):
        y, slope = fa.tanh_with_derivative(x)
        for i in range(count):
            before = slope
            y, slope = fa.tanh_with_derivative(y + before)
            if i == 1:
                y, slope = slope, y
        return y, slope

    expected = compiled.py_func(X, 4)
    assert_same_bits(compiled(X, 4), expected)


def test_the_functions_of_fastact_numba_are_joined_too() -> None:
    @parallel
    def compiled(dy, x):
        return fn.gelu_backward(dy, x) * fn.leaky_relu(x, 0.25)

    expected = fa.gelu_backward(DY, X) * fa.leaky_relu(X, 0.25)
    assert_same_bits(compiled(DY, X), expected)
    assert loops(compiled) == 1


def test_a_sum_is_in_the_loop_as_well() -> None:
    @parallel
    def compiled(x):
        return np.sum(fa.gelu(x) * fa.celu(x))

    x = X.astype(np.float64)
    np.testing.assert_allclose(compiled(x), np.sum(fa.gelu(x) * fa.celu(x)), rtol=1e-12)
    assert loops(compiled) == 1


def test_numbers_in_a_loop_of_the_users() -> None:
    @parallel
    def compiled(dy, x):
        out = np.empty_like(x)
        for i in numba.prange(x.size):
            out[i] = fa.gelu_backward(dy[i], x[i]) + fa.elu(x[i], 0.5)
        return out

    assert_same_bits(compiled(DY, X), fa.gelu_backward(DY, X) + fa.elu(X, 0.5))
    assert loops(compiled) == 1


def test_integers_and_float64_keep_their_rules() -> None:
    @parallel
    def compiled(x):
        return fa.leaky_relu(x, 0.25) + fa.gelu(x)

    for dtype, real in ((np.int16, np.float32), (np.int64, np.float64)):
        x = np.arange(-50, 50).astype(dtype)
        wide = x.astype(real)
        assert_same_bits(compiled(x), fa.leaky_relu(wide, 0.25) + fa.gelu(wide))
    x = X.astype(np.float64)
    assert_same_bits(compiled(x), fa.leaky_relu(x, 0.25) + fa.gelu(x))


def test_a_parameter_out_of_range_is_a_value_error() -> None:
    @parallel
    def compiled(x, alpha):
        return fa.celu(x, alpha) + fa.gelu(x)

    with pytest.raises(ValueError, match="alpha must be greater than 0"):
        compiled(X, -1.0)
    assert_same_bits(compiled(X, 0.5), fa.celu(X, 0.5) + fa.gelu(X))


def test_parameters_that_are_arrays_and_other_dimensions_broadcast() -> None:
    @parallel
    def slopes(x, slope):
        return fa.leaky_relu(x, slope)

    @parallel
    def gradients(dy, gate, value):
        return fa.swiglu_backward(dy, gate, value)

    slope = np.array([0.5])
    assert_same_bits(slopes(X, slope), fa.leaky_relu(X, slope))
    gate = X[:12].reshape(2, 2, 3)
    value = DY[:6].reshape(2, 3)
    found = gradients(gate, gate, value)
    assert_same_bits(found, fa.swiglu_backward(gate, gate, value))


def test_parallel_and_other_callers_do_not_disturb_each_other() -> None:
    @parallel
    def inner(x):
        return fa.tanh_with_derivative(x)[0] + fa.leaky_relu(x, 0.1)

    @numba.njit
    def outer(x):
        before = fa.leaky_relu(fa.tanh_with_derivative(x)[1], 0.1)
        return inner(before)

    def expected(x):
        before = fa.leaky_relu(fa.tanh_derivative(x), 0.1)
        return fa.tanh(before) + fa.leaky_relu(before, 0.1)

    assert_same_bits(outer(X), expected(X))


# ------------------------------------------------------- fastact's own functions, and the
# entry point through which Numba finds them


def test_every_kind_of_function_of_fastact() -> None:
    @numba.njit
    def compiled(dy, x, rows):
        return (
            fa.gelu(x[0]),
            fa.expit(x),  # another system's name
            fa.leaky_relu_backward(dy, x, negative_slope=0.25),
            fa.geglu(x, dy),
            fa.softmax(rows),
        )

    rows = X[:1000].reshape(20, 50)
    number, *arrays = compiled(DY, X, rows)
    assert np.float32(number) == fa.gelu(X[0])
    expected = (
        fa.sigmoid(X),
        fa.leaky_relu_backward(DY, X, 0.25),
        fa.geglu(X, DY),
        fa.softmax(rows),
    )
    assert_same_bits(tuple(arrays), expected)


def test_a_function_that_compiled_code_cannot_call_is_an_error() -> None:
    with pytest.raises(numba.TypingError, match="elu_parameter_backward"):
        numba.njit(lambda x: fa.elu_parameter_backward(x, x))(X)


def _entry_point() -> tuple[str, str]:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["numba_extensions"]["init"]
    module, function = entry.split(":")
    return module, function


def test_the_entry_point_names_a_function() -> None:
    module, function = _entry_point()
    assert callable(getattr(import_module(module), function))


def test_the_entry_point_loads_nothing_until_it_is_needed() -> None:
    module, function = _entry_point()
    code = f"""
import sys
from {module} import {function}
assert "numba" not in sys.modules
{function}()
{function}()
import numba, numpy as np, fastact as fa
assert numba.njit(lambda x: np.sin(x) + 1)(0.0) == 1
assert "fastact.numba" not in sys.modules
x = np.ones(3)
assert np.array_equal(numba.njit(lambda x: fa.gelu(x))(x), fa.gelu(x))
assert "fastact.numba" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
