"""Numba's side: the bits of C, the protocol of ufuncs, and use inside @njit."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from calls import CALLS, DTYPES, Call, assert_same_bits
from conftest import NUMBA_SAMPLE

import fastact as fa
from fastact import _core
from fastact.checking.truth import bit_uniform
from fastact.formulas.kernels import kernels
from fastact.formulas.language import FLOAT64, Value
from fastact.formulas.translate import ordered, scheduled

numba = pytest.importorskip("numba", reason="needs Numba")
fn = pytest.importorskip("fastact.numba", exc_type=ImportError)
njit = numba.njit

pytestmark = [
    pytest.mark.numba,
    # It is about what the parallel loops of others may do; nothing here has any.
    pytest.mark.filterwarnings("ignore::numba.NumbaPerformanceWarning"),
]

needs_fma = pytest.mark.skipif(
    _core.available_instruction_sets() == ("baseline",),
    reason="without FMA instructions, C and Numba may round differently",
)

# A long formula, a quotient, one built on others, other parameters, a kink.
SAMPLE = (*NUMBA_SAMPLE, "mish_derivative", "softplus", "elu_backward(0.75)", "relu")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A sample of kernels, or all of them with --all-numba-kernels."""
    if "some_call" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--all-numba-kernels")
        calls = [c for c in CALLS if everything or str(c) in SAMPLE]
        metafunc.parametrize("some_call", calls, ids=str)


def _special(dtype: Any) -> np.ndarray[Any, Any]:
    return np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype)


@cache
def _points(dtype: Any) -> np.ndarray[Any, Any]:
    """Numbers of every magnitude, ordinary ones, infinities and NaN."""
    ordinary = 3 * np.random.default_rng(1).standard_normal(3_000)
    uniform = bit_uniform(dtype, 10_000, seed=11)
    return np.concatenate([uniform, ordinary.astype(dtype), _special(dtype)])


def _inputs(call: Call, dtype: Any) -> tuple[Any, ...]:
    x = _points(dtype)
    random = np.random.default_rng(2)
    return (*(random.permutation(x) for _ in range(call.array_count - 1)), x)


def _compiled(call: Call, dtype: Any) -> bool:
    """Whether the Numba kernel is there: without it C's would be compared with C's."""
    kind = "e" if np.dtype(dtype).itemsize == 2 else np.dtype(dtype).char
    record = fa.lib.fa_kernels[_core.kernel_index[call.kernel.name, kind]]
    return record.numba not in (fa.ffi.NULL, record.c)


# ------------------------------------------------------------------------- the bits


@needs_fma
def test_the_backend_gives_the_bits_of_c(some_call: Call) -> None:
    for dtype in DTYPES:
        arrays = _inputs(some_call, dtype)
        expected = some_call.results(*arrays)
        with fa.backend("numba"):
            found = some_call.results(*arrays)
        assert _compiled(some_call, dtype)
        assert_same_bits(found, expected, dtype)


@needs_fma
def test_the_functions_of_the_module_give_the_bits_of_c(some_call: Call) -> None:
    function = getattr(fn, some_call.name)
    for dtype in DTYPES:
        arrays = _inputs(some_call, dtype)
        found = function(*arrays, *some_call.parameters)
        found = found if isinstance(found, tuple) else (found,)
        assert _compiled(some_call, dtype)
        assert_same_bits(found, some_call.results(*arrays), dtype)


@needs_fma
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_for_any_number_of_threads(threads: int) -> None:
    x = np.linspace(-9, 9, 300_000, dtype=np.float32)
    with fa.num_threads(1):
        expected = fa.gelu_backward(np.cos(x), x)
    with fa.num_threads(threads):
        assert_same_bits(fn.gelu_backward(np.cos(x), x), expected)


# ---------------------------------------------------------------- the ufunc protocol


def test_functions_without_parameters_are_ufuncs_and_compile_nothing_yet() -> None:
    for call in CALLS:
        function = getattr(fn, call.name)
        assert function.__module__ == "fastact.numba"
        assert function is not getattr(fa, call.name)
        assert isinstance(function, np.ufunc) == (not call.entry.parameters)
        assert function.__doc__ == call.function.__doc__
        if call.member:
            forward = getattr(fn, call.entry.name)
            assert getattr(forward, call.member.removeprefix("_")) is function


@pytest.mark.parametrize(
    "name", ["gelu_backward", "leaky_relu", "tanh_with_derivative"]
)
def test_pickling_and_copying_give_the_same_object(name: str) -> None:
    function = getattr(fn, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function


@needs_fma
def test_out_where_dtype_and_strides() -> None:
    x, dy = _inputs(next(c for c in CALLS if str(c) == "gelu_backward"), np.float32)
    expected = fa.gelu_backward(dy, x)
    out = np.zeros_like(x)
    assert fn.gelu_backward(dy, x, out=out) is out
    assert_same_bits(out, expected)
    where = np.arange(x.size) % 3 == 0
    out = np.full_like(x, 7)
    fn.gelu_backward(dy, x, out=out, where=where)
    assert_same_bits(out, np.where(where, expected, np.float32(7)))
    assert_same_bits(fn.gelu_backward(dy[::-2], x[::-2]), expected[::-2])
    ordinary = x[np.isfinite(x)]
    assert_same_bits(
        fn.gelu_backward(ordinary, 1.0, dtype=np.float64),
        fa.gelu_backward(ordinary, 1.0, dtype=np.float64),
    )
    assert fn.gelu_backward(dy, x).dtype == np.float32
    assert fn.gelu_backward([1, 2], [3, 4]).dtype == np.float64
    with pytest.raises(TypeError):
        fn.gelu_backward(1j, x)


@needs_fma
def test_functions_with_parameters() -> None:
    x = _points(np.float32)
    assert_same_bits(fn.leaky_relu(x), fa.leaky_relu(x))
    assert_same_bits(fn.leaky_relu(x, 0.75), fa.leaky_relu(x, 0.75))
    slopes = np.linspace(0.1, 0.9, x.size)
    assert_same_bits(
        fn.leaky_relu(x, negative_slope=slopes), fa.leaky_relu(x, negative_slope=slopes)
    )
    out = np.empty_like(x)
    assert fn.leaky_relu(x, 0.75, out=out) is out
    with pytest.raises(ValueError, match="negative_slope must be at least 0"):
        fn.leaky_relu_backward_from_output(x, x, -1.0)


# -------------------------------------------------------------------------- in @njit


@njit
def _gelu(x):
    return fn.gelu(x)


@njit
def _gelu_backward(dy, x):
    return fn.gelu_backward(dy, x)


@njit
def _tanh_with_derivative(x):
    return fn.tanh_with_derivative(x)


@njit
def _tanh_backward_from_output(dy, y):
    return fn.tanh_backward_from_output(dy, y)


@njit
def _leaky_default(x):
    return fn.leaky_relu(x)


@njit
def _leaky(x, slope):
    return fn.leaky_relu(x, slope)


@njit
def _leaky_keyword(x, slope):
    return fn.leaky_relu(x, negative_slope=slope)


@njit
def _leaky_backward_from_output(dy, y, slope):
    return fn.leaky_relu_backward_from_output(dy, y, slope)


def _values(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    return np.asarray(3 * random.standard_normal(shape), dtype)


@needs_fma
@pytest.mark.parametrize("number", [0.7, -2.5, 3, -1, True, float("inf"), float("nan")])
def test_a_python_number(number: Any) -> None:
    found = _gelu(number)
    # booleans make float32 here: Numba has no float16 to promote to
    dtype = np.float32 if isinstance(number, bool) else np.float64
    assert_same_bits(dtype(found), fa.gelu(dtype(number)))


@needs_fma
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_numpy_scalar(dtype: Any) -> None:
    for number in _points(dtype)[::500]:
        # Numba hands a float32 out as a Python float, which holds it exactly
        assert_same_bits(dtype(_gelu(number)), fa.gelu(number))
        assert_same_bits(dtype(_gelu_backward(number, number)), _c_backward(number))
        pair = _tanh_with_derivative(number)
        assert_same_bits(tuple(map(dtype, pair)), fa.tanh_with_derivative(number))


def _c_backward(number: Any) -> Any:
    with np.errstate(all="ignore"):
        return fa.gelu_backward(number, number)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda a: a,
    "Fortran order": np.asfortranarray,
    "reversed": lambda a: a[..., ::-1],
    "every second": lambda a: a[..., ::2],
    "transposed": lambda a: a.T,
}


# Each dtype, dimension and layout is compiled anew, which takes seconds.
@needs_fma
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(0,), (1,), (33,), (3, 4, 6)], ids=str)
def test_arrays_of_any_layout(layout: str, shape: tuple[int, ...]) -> None:
    x = LAYOUTS[layout](_values(np.float32, shape))
    assert_same_bits(_gelu(x), fa.gelu(x))


@needs_fma
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_arrays_or_two_results_in_two_dimensions(dtype: Any) -> None:
    x, dy = _values(dtype, (5, 9)), _values(dtype, (5, 9), seed=1)
    assert_same_bits(_gelu_backward(dy, x), fa.gelu_backward(dy, x))
    assert_same_bits(_gelu_backward(dy, x[::-1]), fa.gelu_backward(dy, x[::-1]))
    assert_same_bits(_tanh_with_derivative(x), fa.tanh_with_derivative(x))


@needs_fma
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_without_a_dimension(dtype: Any) -> None:
    x = _values(dtype, ())
    # Inside @njit the result is an array again; Numba knows no other 0-d result.
    assert_same_bits(np.asarray(_gelu(x), dtype), np.asarray(fa.gelu(x)))


@needs_fma
@pytest.mark.parametrize(
    ("first", "second"),
    [((5, 1), (1, 7)), ((4, 3), (3,)), ((2, 1, 3), (4, 1)), ((3,), ())],
    ids=str,
)
def test_two_arrays_broadcast(first: Any, second: Any) -> None:
    dy, x = _values(np.float32, first), _values(np.float32, second, seed=1)
    assert_same_bits(_gelu_backward(dy, x), fa.gelu_backward(dy, x))


@needs_fma
def test_an_array_and_a_number_broadcast() -> None:
    x = _values(np.float64, (5, 3))
    assert_same_bits(_gelu_backward(1.0, x), fa.gelu_backward(1.0, x))
    assert_same_bits(_gelu_backward(x, 1.0), fa.gelu_backward(x, 1.0))


def test_shapes_that_do_not_broadcast_are_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"broadcast|shape"):
        _gelu_backward(np.ones(3), np.ones(4))


@needs_fma
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_arrays_of_integers(dtype: Any) -> None:
    x = np.arange(-3, 4).astype(dtype)
    real = np.float64 if np.dtype(dtype).itemsize > 2 else np.float32
    assert_same_bits(_gelu(x), fa.gelu(x.astype(real)))


@needs_fma
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_by_default_and_by_position_and_by_name(dtype: Any) -> None:
    x = _values(dtype, (100,))
    assert_same_bits(_leaky_default(x), fa.leaky_relu(x))
    assert_same_bits(_leaky(x, 0.75), fa.leaky_relu(x, 0.75))
    assert_same_bits(_leaky(x, np.float32(0.25)), fa.leaky_relu(x, 0.25))
    assert_same_bits(_leaky_keyword(x, 0.75), fa.leaky_relu(x, 0.75))
    assert_same_bits(_leaky_keyword(x, 2), fa.leaky_relu(x, 2))
    # a parameter never decides the dtype, an array of them neither
    slopes = np.linspace(0.1, 0.9, 100)
    assert_same_bits(_leaky(x, slopes), fa.leaky_relu(x, slopes))
    one = x[0]
    assert_same_bits(dtype(_leaky_default(one)), fa.leaky_relu(one))
    assert_same_bits(dtype(_leaky(one, 0.75)), fa.leaky_relu(one, 0.75))


@needs_fma
def test_gradients_from_the_output() -> None:
    y, dy = np.tanh(_values(np.float32, (50,))), _values(np.float32, (50,), 1)
    expected = fa.tanh_backward_from_output(dy, y)
    assert_same_bits(_tanh_backward_from_output(dy, y), expected)
    expected = fa.leaky_relu_backward_from_output(dy, y, 0.25)
    assert_same_bits(_leaky_backward_from_output(dy, y, 0.25), expected)
    scalar = _leaky_backward_from_output(2.0, -1.0, 0.25)
    assert scalar == fa.leaky_relu_backward_from_output(2.0, -1.0, 0.25)


@pytest.mark.parametrize("slope", [-0.5, np.float32(-1)])
def test_a_negative_slope_is_a_value_error_from_the_output(slope: Any) -> None:
    y = _values(np.float32, (50,))
    with pytest.raises(ValueError, match="negative_slope must be at least 0"):
        _leaky_backward_from_output(y, y, slope)
    with pytest.raises(ValueError, match="negative_slope must be at least 0"):
        _leaky_backward_from_output(1.0, 1.0, slope)
    slopes = np.full(50, 0.5)
    slopes[30] = slope
    with pytest.raises(ValueError, match="negative_slope must be at least 0"):
        _leaky_backward_from_output(y, y, slopes)


@pytest.mark.parametrize("kind", ["complex", "text"])
def test_what_is_no_real_number_is_a_type_error(kind: str) -> None:
    x: Any = {"complex": 1j, "text": "one"}[kind]
    with pytest.raises(TypeError, match="real numbers"):
        _gelu(x)


@njit
def _softmax(x, axis):
    return fn.softmax(x, axis)


@njit
def _softmax_last(x):
    return fn.softmax(x)


@njit
def _log_softmax(x, axis):
    return fn.log_softmax(x, axis)


@njit
def _softmax_backward(dy, x, axis):
    return fn.softmax_backward(dy, x, axis)


@njit
def _log_softmax_backward_from_output(dy, y, axis):
    return fn.log_softmax_backward_from_output(dy, y, axis)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (5, 40), (3, 4, 6), (0, 3)], ids=str)
def test_softmax_along_every_axis(dtype: Any, shape: tuple[int, ...]) -> None:
    x, dy = _values(dtype, shape), _values(dtype, shape, 1)
    assert_same_bits(_softmax_last(x), fa.softmax(x))
    for axis in range(-len(shape), len(shape)):
        y = fa.log_softmax(x, axis=axis)
        assert_same_bits(_softmax(x, axis), fa.softmax(x, axis=axis))
        assert_same_bits(_log_softmax(x, axis), y)
        expected = fa.softmax_backward(dy, x, axis=axis)
        assert_same_bits(_softmax_backward(dy, x, axis), expected)
        expected = fa.log_softmax_backward_from_output(dy, y, axis=axis)
        assert_same_bits(_log_softmax_backward_from_output(dy, y, axis), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_softmax_of_any_layout(layout: str) -> None:
    x = LAYOUTS[layout](_values(np.float32, (6, 8)))
    for axis in (0, 1):
        assert_same_bits(_softmax(x, axis), fa.softmax(x, axis=axis))


@njit
def _logsumexp(x, axis):
    return fn.logsumexp(x, axis)


@njit
def _logsumexp_backward(dy, x, axis):
    return fn.logsumexp_backward(dy, x, axis)


@njit
def _sparsemax_backward(dy, x, axis):
    return fn.sparsemax_backward(dy, x, axis)


@njit
def _maxout(x, axis):
    return fn.maxout(x, 2, axis)


@njit
def _maxout_backward(dy, x, axis):
    return fn.maxout_backward(dy, x, 2, axis)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(8,), (6, 40), (4, 2, 6)], ids=str)
def test_row_functions_that_reduce_or_pool(dtype: Any, shape: tuple[int, ...]) -> None:
    x, dy = _values(dtype, shape), _values(dtype, shape, 1)
    for axis in range(-len(shape), len(shape)):
        y = fa.logsumexp(x, axis)
        # Numba hands a float32 scalar out as a Python float
        assert_same_bits(np.asarray(_logsumexp(x, axis), dtype), np.asarray(y))
        expected = fa.logsumexp_backward(y, x, axis)
        assert_same_bits(_logsumexp_backward(y, x, axis), expected)
        expected = fa.sparsemax_backward(dy, x, axis)
        assert_same_bits(_sparsemax_backward(dy, x, axis), expected)
        y = fa.maxout(x, 2, axis)
        assert_same_bits(_maxout(x, axis), y)
        expected = fa.maxout_backward(y, x, 2, axis)
        assert_same_bits(_maxout_backward(y, x, axis), expected)


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_not_there_is_a_value_error(axis: int) -> None:
    with pytest.raises(ValueError, match="axis"):
        _softmax(np.ones((2, 3)), axis)


# ---------------------------------------------------------------------- the switch


def test_the_backend_is_switched_back_and_forth() -> None:
    x = _points(np.float32)
    expected = fa.gelu(x)
    ufunc = fa.gelu
    assert fa.get_backend() == "c"
    for _ in range(3):
        with fa.backend("numba"):
            assert fa.get_backend() == "numba"
            assert fa.gelu is ufunc
            numba_result = fa.gelu(x)
            with fa.backend("c"):
                assert_same_bits(fa.gelu(x), expected)
            assert fa.get_backend() == "numba"
        assert fa.get_backend() == "c"
        np.testing.assert_allclose(numba_result, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="must be one of c, numba"):
        fa.set_backend("cuda")


@pytest.mark.usefixtures("time_limit")
@needs_fma
def test_the_backend_is_switched_while_threads_compute() -> None:
    x = np.linspace(-9, 9, 30_000, dtype=np.float32)
    functions = (fa.gelu, fa.softplus, fa.mish_derivative, fa.leaky_relu)
    expected = [function(x) for function in functions]
    done = threading.Event()
    failures: list[BaseException] = []

    def compute(which: int) -> None:
        try:
            while not done.is_set():
                assert_same_bits(functions[which](x), expected[which])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=compute, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            with fa.backend("numba"):
                assert_same_bits(fa.gelu(x), expected[0])
            assert_same_bits(fa.gelu(x), expected[0])
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[0]


# ------------------------------------------------------------------------ processes


def _python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "FASTACT_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_fastact_imports_numba_only_when_it_is_asked_for() -> None:
    code = """
import sys
import fastact as fa
fa.gelu([1.0]); fa.show_config(); fa.leaky_relu([1.0], 0.5)
assert "numba" not in sys.modules
assert "llvmlite" not in sys.modules
fa.numba.gelu
assert "numba" in sys.modules
"""
    answer = _python(code)
    assert answer.returncode == 0, answer.stderr


def test_the_environment_can_choose_numba() -> None:
    code = "import fastact as fa; print(fa.get_backend(), fa.gelu(1.0))"
    answer = _python(code, FASTACT_BACKEND="numba")
    assert answer.stdout.split() == ["numba", str(fa.gelu(1.0))], answer.stderr
    answer = _python(code, FASTACT_BACKEND="cuda")
    assert answer.stderr.splitlines()[-1].startswith(
        "ImportError: the environment variable FASTACT_BACKEND"
    )


WITHOUT_NUMBA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def test_without_numba_the_error_names_the_extra_and_all_else_works() -> None:
    code = (
        WITHOUT_NUMBA
        + """
import fastact as fa
import numpy as np

def fails(function):
    try:
        function()
    except ImportError as error:
        assert "fastact[numba]" in str(error), error
    else:
        raise AssertionError("no ImportError")

def by_name():
    import fastact.numba

def from_package():
    from fastact import numba

for attempt in range(2):
    fails(by_name)
    fails(from_package)
    fails(lambda: fa.numba)
    fails(lambda: fa.set_backend("numba"))
    fails(lambda: fa.backend("numba").__enter__())
    assert fa.get_backend() == "c"
assert fa.gelu(np.float32([1, 2])).dtype == np.float32
assert fa.leaky_relu(np.float32([-1]), 0.5) == -0.5
assert fa.softmax(np.zeros(4)).sum() == 1
fa.show_config(mode="dicts")
"""
    )
    answer = _python(code)
    assert answer.returncode == 0, answer.stderr


def test_without_numba_the_environment_variable_is_an_import_error_too() -> None:
    answer = _python(WITHOUT_NUMBA + "import fastact", FASTACT_BACKEND="numba")
    assert answer.returncode != 0
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("ImportError")
    assert "fastact[numba]" in last


def test_a_kernel_that_does_not_compile_is_told_once_and_runs_in_c() -> None:
    code = """
import sys
import numpy as np
import fastact as fa

told = []
sys.unraisablehook = told.append
expected = fa.gelu(np.float32([1, 2, 3]))

def broken(n, x, y):
    return no_such_name(x)

fa.numba._numba_kernels.gelu_f32_kernel = broken
with fa.backend("numba"):
    for i in range(3):
        assert np.array_equal(fa.gelu(np.float32([1, 2, 3])), expected)
    assert np.array_equal(fa.numba.gelu(np.float32([1, 2, 3])), expected)
    assert len(told) == 1, told
    assert "broken" in str(told[0].exc_value), told[0]
    # only that one: others, and the same in float64, are compiled
    fa.gelu(1.0)
    index = fa._core.kernel_index
    record = fa.lib.fa_kernels[index["gelu", "d"]]
    assert record.numba != record.c and record.numba != fa.ffi.NULL
assert len(told) == 1
"""
    answer = _python(code)
    assert answer.returncode == 0, answer.stderr
    assert "Error" not in answer.stderr


def test_the_first_touch_of_the_numba_side_may_be_inside_njit() -> None:
    code = (
        "import numpy as np, numba, fastact as fa\n"
        "f = numba.njit(lambda x: fa.numba.gelu(x))\n"
        "assert np.array_equal(f(np.ones(3)), fa.gelu(np.ones(3)))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_row_functions_need_not_be_touched_before() -> None:
    code = """
import numba, numpy as np
import fastact.numba as fnb
@numba.njit
def f(x):
    return fnb.sparsemax(x), fnb.softmax_backward(x, x)
y, dx = f(np.ones((2, 4), np.float32))
assert (y == 0.25).all() and (dx == 0).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def _divisions_by_width(loop: Any) -> dict[int, int]:
    """How many divisions of vectors LLVM's code of a loop has, by numbers in a vector."""
    real = numba.float64 if "_f64_" in loop.__name__ else numba.float32
    compiled = numba.njit(error_model="numpy")(loop.py_func)
    compiled.compile((numba.uint64, real[::1], real[::1]))
    (text,) = compiled.inspect_llvm().values()
    widths = re.findall(r"= fdiv (?:\w+ )*<(\d+) x ", text)
    return {int(width): widths.count(width) for width in set(widths)}


def test_each_pass_of_a_loop_computes_two_vectors_where_registers_suffice() -> None:
    from fastact import _numba_kernels

    # One division each; mish' in float64 has more constants than registers
    for loop, vectors in (
        (_numba_kernels.silu_f32_loop, 2),
        (_numba_kernels.silu_f64_loop, 2),
        (_numba_kernels.mish_derivative_f64_loop, 1),
    ):
        divisions = _divisions_by_width(loop)
        assert divisions[max(divisions)] == vectors, loop.__name__


def test_operations_are_printed_after_what_they_need() -> None:
    for kernel in kernels():
        _, outputs = kernel.record(FLOAT64)
        done: set[int] = set()
        for value in scheduled(outputs):
            assert all(
                id(a) in done for a in value.arguments if isinstance(a, Value)
            ), kernel.name
            done.add(id(value))
        assert done == {id(value) for value in ordered(outputs)}
