"""Threads: right results and no hang, whatever else the process does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from calls import CALLS, DTYPES, assert_same_bits

import fastact as fa

pytestmark = [
    pytest.mark.usefixtures("time_limit"),
    # Python 3.12 and later warn of what is tested here.
    pytest.mark.filterwarnings(
        r"ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
    ),
]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="cannot count threads"
)

SECONDS = 30
LARGE = 400_000
X = np.linspace(-9, 9, LARGE, dtype=np.float32)
DY = np.cos(X)


@pytest.fixture(params=["c", pytest.param("numba", marks=pytest.mark.numba)])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both backends; the Numba kernel is compiled before anything forks."""
    if request.param == "numba":
        pytest.importorskip("numba")
        pytest.importorskip("fastact.numba", exc_type=ImportError)
    with fa.backend(request.param):
        _work()
        yield request.param


def _work() -> Any:
    return fa.gelu_backward(DY, X)


@pytest.fixture
def expected(backend: str) -> Any:
    with fa.num_threads(1):
        return _work()


def _in_child(check: Callable[[], None]) -> None:
    """Fork; the child runs a check and is killed if that takes too long."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code != -signal.SIGALRM, "the child hung"
    assert code == 0


# -------------------------------------------------------------------------------- fork


@needs_fork
def test_fork_between_calls(expected: Any) -> None:
    def check() -> None:
        for _ in range(20):
            assert_same_bits(_work(), expected)

    for threads in (2, 3):
        with fa.num_threads(threads):
            for _ in range(5):
                assert_same_bits(_work(), expected)
                _in_child(check)
                assert_same_bits(_work(), expected)


@needs_fork
def test_child_may_set_threads_and_fork_again(expected: Any) -> None:
    def grandchild() -> None:
        assert_same_bits(_work(), expected)

    def child() -> None:
        for threads in (1, 4, 2):
            fa.set_num_threads(threads)
            assert_same_bits(_work(), expected)
        _in_child(grandchild)
        assert_same_bits(_work(), expected)

    with fa.num_threads(2):
        _work()
        _in_child(child)
        assert fa.get_num_threads() == 2
        assert_same_bits(_work(), expected)


@needs_fork
def test_fork_while_another_thread_has_jobs(expected: Any) -> None:
    stop, failures = threading.Event(), []

    def run() -> None:
        while not stop.is_set():
            try:
                assert_same_bits(_work(), expected)
            except AssertionError as error:
                failures.append(error)

    def check() -> None:
        for _ in range(3):
            assert_same_bits(_work(), expected)

    with fa.num_threads(3):
        thread = threading.Thread(target=run)
        thread.start()
        try:
            for _ in range(25):
                _in_child(check)
        finally:
            stop.set()
            thread.join()
    assert not failures


def _in_process(seed: int) -> Any:
    x = np.random.default_rng(seed).standard_normal(LARGE).astype(np.float32)
    return fa.gelu(x), fa.softmax(x.reshape(-1, 100))


@needs_fork
def test_multiprocessing_with_fork() -> None:
    with fa.num_threads(2):
        alone = [_in_process(seed) for seed in range(6)]
        with multiprocessing.get_context("fork").Pool(3) as pool:
            job = pool.map_async(_in_process, range(6))
            assert_same_bits(_in_process(0), alone[0])
            for found, wanted in zip(job.get(SECONDS), alone, strict=True):
                assert_same_bits(found, wanted)


# ---------------------------------------------------------------------- Python threads


def test_eight_threads_call_while_the_setting_changes(expected: Any) -> None:
    stop = threading.Event()

    def change() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            fa.set_num_threads(1 + n % 5)

    def call(_: int) -> None:
        for _ in range(25):
            assert_same_bits(_work(), expected)

    before = fa.get_num_threads()
    changer = threading.Thread(target=change)
    changer.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(8), timeout=SECONDS))
    finally:
        stop.set()
        changer.join()
        fa.set_num_threads(before)


def test_row_functions_and_sums_from_many_threads() -> None:
    x, dy = X.reshape(-1, 50), DY.reshape(-1, 50)

    def functions() -> tuple[Any, ...]:
        return (
            fa.softmax(x),
            fa.log_softmax_backward(dy, x, axis=0),
            *fa.swish_parameter_backward(dy, x, np.float32(1.5)),
        )

    with fa.num_threads(1):
        wanted = functions()
    with fa.num_threads(3), ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: functions(), range(30), timeout=SECONDS):
            assert_same_bits(found, wanted)


@pytest.mark.parametrize("threads", [2, 7, 64])
def test_more_threads_than_processors(threads: int, expected: Any) -> None:
    with fa.num_threads(threads):
        for _ in range(10):
            assert_same_bits(_work(), expected)


def test_threads_that_come_and_go(expected: Any) -> None:
    found = []
    with fa.num_threads(2):
        for _ in range(30):
            thread = threading.Thread(target=lambda: found.append(_work()))
            thread.start()
            thread.join(SECONDS)
    assert len(found) == 30
    for result in found:
        assert_same_bits(result, expected)


def test_use_from_inside_another_librarys_callback(expected: Any) -> None:
    """A ufunc of NumPy's whose loop is a Python function that uses ours."""

    def nested(_: float) -> float:
        return float(np.array_equal(_work(), expected))

    with fa.num_threads(2):
        assert np.vectorize(nested)(np.arange(5.0)).all()


# ------------------------------------------------------------------------ small arrays


def _thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


@needs_fork
@needs_proc
def test_workers_start_for_large_arrays_only(call: Any) -> None:
    """A forked child has no workers: the number of its threads tells who worked."""
    arrays = {d: call.operands(d, call.size_worth_threads()) for d in DTYPES}
    call(*(a[:3] for a in arrays[np.float32]))
    call(*(a[:3] for a in arrays[np.float64]))  # compiled by now, if by Numba

    def check() -> None:
        fa.set_num_threads(2)
        before = _thread_count()
        for operands in arrays.values():
            for n in (1, 10, 1000, 2000):
                call(*(a[:n] for a in operands))
        assert _thread_count() == before, "a small array started a thread"
        call(*arrays[np.float32])
        assert _thread_count() == before + 1, "a large array did not"

    _in_child(check)


@needs_fork
@needs_proc
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_sizes_used_by_the_other_tests_use_threads(dtype: Any) -> None:
    def check() -> None:
        fa.set_num_threads(2)
        call(*arrays)
        assert _thread_count() > before, f"{call}: {arrays[0].size} elements"

    before = 1  # of a forked child
    for call in CALLS[::7]:
        arrays = call.operands(dtype, call.size_worth_threads())
        _in_child(check)


@needs_fork
@needs_proc
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, -1), -1), ((-1, 100), 0)],
    ids=["few long rows", "tall columns"],
)
@pytest.mark.parametrize("function", [fa.softmax, fa.log_softmax, fa.logsumexp])
def test_rows_of_any_shape_use_threads(function: Any, shape: Any, axis: int) -> None:
    """One row for each thread is enough, and rows beside each other are shared."""
    x = X.reshape(shape)

    def check() -> None:
        fa.set_num_threads(2)
        function(x, axis=axis)
        assert _thread_count() == 2

    function(x[:2, :2])
    _in_child(check)


@needs_fork
@needs_proc
def test_one_thread_means_none_is_started() -> None:
    def check() -> None:
        fa.set_num_threads(1)
        before = _thread_count()
        for call in CALLS:
            call(*call.operands(np.float32, call.size_worth_threads()))
        fa.softmax(X.reshape(-1, 10))
        fa.swish_parameter_backward(DY, X, 1.5)
        assert _thread_count() == before

    _in_child(check)


# ---------------------------------------------------------------------------- settings


def test_setting_is_of_the_process_and_comes_back() -> None:
    before = fa.get_num_threads()
    with fa.num_threads(3):
        assert fa.get_num_threads() == 3
        seen = []
        thread = threading.Thread(target=lambda: seen.append(fa.get_num_threads()))
        thread.start()
        thread.join()
        assert seen == [3]
        with fa.num_threads(np.int64(5)):
            assert fa.get_num_threads() == 5
        assert fa.get_num_threads() == 3
    assert fa.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), fa.num_threads(before + 1):
        1 / 0  # noqa: B018 - raises
    assert fa.get_num_threads() == before


@pytest.mark.parametrize("bad", [0, -1, -(10**30), np.int8(0)], ids=str)
def test_fewer_than_one_thread_is_a_value_error(bad: Any) -> None:
    before = fa.get_num_threads()
    with pytest.raises(ValueError, match="at least 1"):
        fa.set_num_threads(bad)
    with pytest.raises(ValueError, match="at least 1"), fa.num_threads(bad):
        pass
    assert fa.get_num_threads() == before


@pytest.mark.parametrize(
    "bad", [1.5, 2.0, "2", None, True, [2], np.float32(2)], ids=str
)
def test_no_integer_is_a_type_error(bad: Any) -> None:
    before = fa.get_num_threads()
    with pytest.raises(TypeError, match="integer"):
        fa.set_num_threads(bad)
    assert fa.get_num_threads() == before


def test_absurdly_many_threads_are_not_started() -> None:
    with fa.num_threads(10**30):
        assert fa.get_num_threads() <= 2**16
        with fa.num_threads(2):
            fa.gelu(X)


def _python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    names = ("FASTACT_NUM_THREADS", "OMP_NUM_THREADS", "FASTACT_ISA", "FASTACT_BACKEND")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


BAD_VARIABLES = [
    ("FASTACT_NUM_THREADS", "0"),
    ("FASTACT_NUM_THREADS", "-2"),
    ("FASTACT_NUM_THREADS", "many"),
    ("FASTACT_NUM_THREADS", "1.5"),
    ("FASTACT_ISA", "sse9"),
    ("FASTACT_ISA", ""),
    ("FASTACT_BACKEND", "fortran"),
]


@pytest.mark.parametrize(
    ("name", "value"), BAD_VARIABLES, ids=map("=".join, BAD_VARIABLES)
)
def test_bad_environment_variable_is_named_at_import(name: str, value: str) -> None:
    done = _python("import fastact", **{name: value})
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert name in done.stderr.splitlines()[-1]
    assert repr(value) in done.stderr.splitlines()[-1]


CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
GOOD_VARIABLES = [
    ({"FASTACT_NUM_THREADS": "3"}, 3),
    ({"FASTACT_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
    ({"OMP_NUM_THREADS": "5"}, 5),
    ({"OMP_NUM_THREADS": "4,2"}, 4),
    # not ours to judge, and OpenMP's own libraries go on, too
    ({"OMP_NUM_THREADS": "many"}, CPUS),
    ({}, CPUS),
]


@pytest.mark.parametrize(("variables", "threads"), GOOD_VARIABLES, ids=str)
def test_environment_variables_set_the_threads(
    variables: dict[str, str], threads: int | None
) -> None:
    done = _python("import fastact as fa; print(fa.get_num_threads())", **variables)
    assert done.returncode == 0, done.stderr
    assert threads is None or int(done.stdout) == threads


def test_process_ends_while_threads_work() -> None:
    done = _python(
        "import threading, numpy as np, fastact as fa\n"
        "fa.set_num_threads(3)\n"
        "x = np.ones(1_000_000, np.float32)\n"
        "def run():\n"
        "    while True: fa.gelu(x, out=x)\n"
        "for _ in range(3): threading.Thread(target=run, daemon=True).start()\n"
        "for _ in range(10): fa.gelu(x)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
