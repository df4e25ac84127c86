"""`fastact.experimental` and `fastact.threadpool`: right results, no hang, all undone."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastact as fa
from fastact import experimental
from fastact.experimental import memory_pool, share_threads_with_blas

pytestmark = pytest.mark.usefixtures("time_limit")

SECONDS = 50
MIB = 2**20
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="cannot count threads"
)


def _why_not() -> str | None:
    try:
        share_threads_with_blas(False)
    except RuntimeError as error:
        return str(error)
    return None


WHY_NOT = _why_not()
needs_entry = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def _python(code: str, **variables: str) -> str:
    """Run a script; a hang or an error is a failure."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -------------------------------------------------------------------------------- BLAS

# Each product is large enough for OpenBLAS to split it; the truth is computed before
# anything is shared. With more threads than processors OpenBLAS is slow: few of those.
WORK = """
import ctypes, os, signal, sys, threading, time
import numpy as np
import fastact as fa

signal.alarm(45)  # a hang ends the process, whatever holds the GIL
share = fa.experimental.share_threads_with_blas
# The environment variable does not go beyond the number of processors.
openblas = ctypes.CDLL(np._core._multiarray_umath.__file__)
openblas.scipy_openblas_set_num_threads64_(int(os.environ["BLAS_THREADS"]))
rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 150, 170))
f, g = a.astype("f4"), b.astype("f4")
c = (a[:, :150] + 1j * b[:, :150]).astype("c8")
matrix, vector = rng.standard_normal((700, 600)), rng.standard_normal(600)
x = np.linspace(-9, 9, 200_000, dtype="f4")
WORK = {
    "dgemm nt": lambda: a @ b.T, "dgemm tn": lambda: a.T @ b,
    "sgemm nt": lambda: f @ g.T, "sgemm tn": lambda: f.T @ g, "cgemm": lambda: c @ c,
    "syrk": lambda: a @ a.T, "gemv n": lambda: matrix @ vector,
    "gemv t": lambda: vector @ matrix.T, "dot": lambda: x @ x,
    "solve": lambda: np.linalg.solve(matrix[:300, :300], vector[:300]),
    "cholesky": lambda: np.linalg.cholesky(np.eye(300) + 0 * matrix[:300, :300]),
    "gelu": lambda: fa.gelu(x), "softmax": lambda: fa.softmax(x.reshape(-1, 50)),
}
truth = {name: work() for name, work in WORK.items()}

def check(names=tuple(WORK)):
    for name in names:
        assert np.array_equal(WORK[name](), truth[name]), name

def check_on_threads(names, seconds, meanwhile=lambda: None):
    failures, end = [], time.monotonic() + seconds
    def run(name):
        try:
            while time.monotonic() < end:
                check([name])
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        meanwhile()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert not failures, failures

def in_child(names):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            check(names)
            fa.set_num_threads(3)
            check(names)
        finally:
            os._exit(sys.exc_info()[0] is not None)
    assert os.waitpid(pid, 0)[1] == 0
"""


@needs_entry
@pytest.mark.parametrize("blas_threads", [1, 2, 3])
def test_products_are_the_same_bits_whatever_the_threads(blas_threads: int) -> None:
    _python(
        WORK
        + """
share()
for threads in (1, 4):
    with fa.num_threads(threads):
        check()
share(False)
check(["dgemm nt", "gemv n"])
share()
check(["dgemm nt", "gemv n"])
""",
        BLAS_THREADS=str(blas_threads),
    )


@needs_entry
@needs_proc
def test_the_pool_grows_to_the_jobs_and_openblas_uses_it_only_while_shared() -> None:
    _python(
        WORK
        + """
def thread_count():
    return len(os.listdir("/proc/self/task"))
before = thread_count()
share()
share(False)
check(["dgemm nt", "gemv n"])
assert thread_count() == before  # OpenBLAS's own threads worked
share()
check(["dgemm nt", "gemv n", "gelu"])
assert thread_count() == before + 2  # and the thread that calls is the third
""",
        BLAS_THREADS="3",
        FASTACT_NUM_THREADS="1",
    )


@needs_entry
@pytest.mark.parametrize("blas_threads", [2, 3])
def test_many_python_threads(blas_threads: int) -> None:
    """LU factorisations stay on OpenBLAS's own threads, and run beside products."""
    _python(
        WORK
        + """
share()
names = [*WORK, "dgemm nt", "gemv n", "sgemm nt"]
turn = iter(range(10**9))
check_on_threads(names, 2, lambda: fa.set_num_threads(1 + next(turn) % 4))
""",
        BLAS_THREADS=str(blas_threads),
    )


@needs_entry
def test_switching_while_products_run() -> None:
    _python(
        WORK
        + """
turn = iter(range(10**9))
names = ["dgemm nt", "sgemm tn", "gemv n", "gelu", "dot"]
check_on_threads(names, 2, lambda: share(next(turn) % 2 == 0))
""",
        BLAS_THREADS="2",
    )


@needs_entry
@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork() -> None:
    _python(
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)"
        + WORK
        + """
share()
in_child(WORK)  # nothing has run on the pool yet
for _ in range(2):
    check()
    in_child(WORK)
names = ["dgemm nt", "sgemm nt", "gemv n", "gelu", "dot"]
check_on_threads(names, 2, lambda: in_child(names))
share(False)
in_child(WORK)
""",
        BLAS_THREADS="2",
    )


@needs_entry
def test_process_ends_in_the_middle_of_a_product() -> None:
    for _ in range(20):
        _python(
            WORK
            + """
share()
large = np.ones((2000, 2000))
out = np.empty((2000, 2000))
threading.Thread(target=np.matmul, args=(large, large, out), daemon=True).start()
time.sleep(0.03)
""",
            BLAS_THREADS="2",
        )


@needs_entry
def test_process_ends_while_products_run() -> None:
    _python(
        WORK
        + """
share()
def run():
    while True:
        check(["dgemm nt", "gemv n"])
for _ in range(3):
    threading.Thread(target=run, daemon=True).start()
time.sleep(0.3)
""",
        BLAS_THREADS="2",
    )


def test_a_blas_without_the_entry_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experimental, "_SET_CALLBACK", ("no_such_entry",))
    with pytest.raises(RuntimeError, match=r"no no_such_entry.*pip install numpy"):
        share_threads_with_blas()


@needs_entry
def test_an_old_openblas_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experimental, "_OLDEST_OPENBLAS", (99, 1, 2))
    with pytest.raises(RuntimeError, match=r"takes OpenBLAS 99\.1\.2 or later"):
        share_threads_with_blas()


@pytest.mark.parametrize("bad", [1, None, "yes", 0.0], ids=repr)
def test_sharing_is_switched_by_a_bool(bad: Any) -> None:
    with pytest.raises(TypeError, match="enable must be True or False"):
        share_threads_with_blas(bad)


# ------------------------------------------------------------------------- memory pool


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_and_kept_only_in_the_body() -> None:
    with memory_pool() as pool:
        assert pool.kept == 0
        first = np.empty(3 * MIB, np.uint8)
        where = _address(first)
        assert pool.kept == 0
        del first
        assert pool.kept == 3 * MIB
        second = np.empty(3 * MIB, np.uint8)
        assert _address(second) == where
        assert pool.kept == 0
        del second
    assert pool.kept == 0
    array = np.empty(3 * MIB, np.uint8)
    del array
    assert pool.kept == 0


@needs_proc
def test_from_the_third_call_on_no_page_is_new() -> None:
    resource = pytest.importorskip("resource")
    x = np.ones(5_000_000, np.float32)

    def faults() -> int:
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

    with memory_pool():
        y = fa.gelu(x)
        y = fa.gelu(x)
        before = faults()
        for _ in range(5):
            y = fa.gelu(x)
        pages = y.nbytes // 4096
        assert faults() - before < pages / 100


def test_one_array_fits_another_of_nearly_its_size() -> None:
    with memory_pool() as pool:
        kept = [np.empty(size, np.uint8) for size in (8 * MIB, 9 * MIB, 20 * MIB)]
        addresses = [_address(array) for array in kept]
        kept.clear()
        exact, smaller = np.empty(9 * MIB, np.uint8), np.empty(19 * MIB, np.uint8)
        assert [_address(exact), _address(smaller)] == addresses[1:]
        other = np.empty(4 * MIB, np.uint8)  # half of the block would lie idle
        assert _address(other) != addresses[0]
        assert pool.kept == 8 * MIB


def test_it_is_bounded_and_what_was_freed_first_goes_first() -> None:
    with memory_pool(10 * MIB) as pool:
        assert pool.limit == 10 * MIB
        arrays = [np.empty(size * MIB, np.uint8) for size in (2, 3, 4, 5, 11)]
        newest = _address(arrays[3])
        while arrays:
            del arrays[0]
            assert pool.kept <= 10 * MIB
        assert pool.kept == 9 * MIB  # of 4 and 5; 11 is too large for ever
        assert _address(np.empty(5 * MIB, np.uint8)) == newest
    with memory_pool(0) as pool:
        np.empty(2 * MIB, np.uint8)
        assert pool.kept == 0


def test_release_keeps_nothing() -> None:
    with memory_pool() as pool:
        array = np.ones(64 * MIB, np.uint8)
        del array
        assert pool.kept == 64 * MIB
        assert "67108864 of at most 268435456 bytes" in repr(pool)
        pool.release()
        assert pool.kept == 0
        pool.release()


# In a process of its own: where much of the heap is free already, malloc takes an array
# from it, and keeps it when it is freed.
RELEASE = """
import os
import numpy as np
from fastact.experimental import memory_pool

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

with memory_pool() as pool:
    array = np.ones(1 << 26, np.uint8)
    del array
    before = resident()
    pool.release()
    print(before - resident())
"""


@needs_proc
def test_release_gives_the_memory_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RELEASE], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 60 * MIB


SIZES = [0, 1, 7, 100, 1023, 1024, 5000, MIB - 1, MIB, MIB + 1, 3 * MIB + 5]


def test_arrays_of_all_sizes_are_aligned_and_their_own() -> None:
    with memory_pool(8 * MIB):
        for turn in range(3):
            arrays = [np.full(size, i + turn, np.uint8) for i, size in enumerate(SIZES)]
            assert all(_address(array) % 64 == 0 for array in arrays)
            for i, array in enumerate(arrays):
                assert (array == i + turn).all()
            zeros = [np.zeros(size, np.uint8) for size in SIZES]
            assert not any(array.any() for array in zeros)


def test_zeros_are_zero_in_memory_that_was_used() -> None:
    with memory_pool():
        dirty = np.full(2 * MIB, 255, np.uint8)
        where = _address(dirty)
        del dirty
        zeros = np.zeros(2 * MIB, np.uint8)
        assert _address(zeros) == where
        assert not zeros.any()


def test_arrays_that_grow_and_shrink_keep_their_numbers() -> None:
    with memory_pool():
        array = np.arange(10)
        for size in (100, 1000, 300_000, 1_000_000, 200_000, 5, 0, 3):
            before = array[:size].copy()
            array.resize(size, refcheck=False)
            assert np.array_equal(array[: before.size], before)
            assert not array[before.size :].any()
            array[:] = np.arange(size)
        assert np.array_equal(np.fromiter(range(300_000), np.int64), np.arange(300_000))
        with pytest.raises(ZeroDivisionError):
            np.fromiter((1 / (200_000 - i) for i in range(300_000)), float)


def test_more_memory_than_there_is_is_an_error() -> None:
    with memory_pool():
        for make in (np.empty, np.zeros):
            with pytest.raises((MemoryError, ValueError)):
                make(2**62, np.uint8)


def test_arrays_outlive_the_pool() -> None:
    with memory_pool() as pool:
        arrays = [np.full(2 * MIB, i, np.uint8) for i in range(3)]
        small = np.arange(20)
    del pool
    for i, array in enumerate(arrays):
        assert (array == i).all()
    arrays[0].resize(5 * MIB, refcheck=False)
    assert not arrays[0][2 * MIB :].any()
    del array
    arrays.clear()
    assert small.sum() == 190
    del small


def test_pools_in_pools() -> None:
    with memory_pool() as outer:
        with memory_pool(3 * MIB) as inner:
            array = np.empty(2 * MIB, np.uint8)
            del array
            assert (inner.kept, outer.kept) == (2 * MIB, 0)
            inner.release()
            assert inner.kept == 0
            assert outer.kept > 2 * MIB
        del inner
        outer.release()
        array = np.empty(4 * MIB, np.uint8)
        del array
        assert outer.kept == 4 * MIB


def test_an_exception_ends_the_pool() -> None:
    with pytest.raises(ZeroDivisionError), memory_pool() as pool:
        1 / 0  # noqa: B018 - raises
    array = np.empty(2 * MIB, np.uint8)
    del array
    assert pool.kept == 0


def test_it_holds_for_the_context() -> None:
    def use_and_free() -> None:
        np.empty(2 * MIB, np.uint8)

    def on_a_thread(call: Callable[[], object]) -> None:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    with memory_pool() as pool:
        on_a_thread(lambda: contextvars.Context().run(use_and_free))
        assert pool.kept == 0
        context = contextvars.copy_context()
        on_a_thread(lambda: context.run(use_and_free))
        assert pool.kept == 2 * MIB


def test_many_threads_share_a_pool() -> None:
    def run(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        held: list[Any] = []
        good = True
        for _ in range(150):
            held.append(np.full(int(rng.integers(1, 3 * MIB)), seed, np.uint8))
            good &= all((array[::4096] == seed).all() for array in held)
            if len(held) > 4:
                del held[int(rng.integers(4))]
        return good

    with memory_pool(16 * MIB) as pool, ThreadPoolExecutor(6) as threads:
        contexts = [contextvars.copy_context() for _ in range(6)]
        jobs = [threads.submit(c.run, run, i) for i, c in enumerate(contexts)]
        assert all(job.result(SECONDS) for job in jobs)
        assert pool.kept <= 16 * MIB


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_its_own_copy() -> None:
    with memory_pool() as pool:
        array = np.full(2 * MIB, 7, np.uint8)
        spare = np.empty(4 * MIB, np.uint8)
        del spare
        pid = os.fork()
        if pid == 0:
            good = (array[::4096] == 7).all() and pool.kept == 4 * MIB
            del array
            good &= pool.kept == 6 * MIB
            pool.release()
            os._exit(0 if good and pool.kept == 0 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert pool.kept == 4 * MIB
        assert (array == 7).all()


@pytest.mark.parametrize("bad", [1.5, "1", None, True], ids=repr)
def test_no_integer_is_no_limit(bad: Any) -> None:
    with pytest.raises(TypeError, match="limit must be an integer"), memory_pool(bad):
        pass


@pytest.mark.parametrize("bad", [-1, 2**63, -(2**70)])
def test_no_number_of_bytes_is_no_limit(bad: int) -> None:
    with (
        pytest.raises(ValueError, match="limit must be a number of bytes"),
        memory_pool(bad),
    ):
        pass


# ----------------------------------------------------------------------- threadpoolctl


@pytest.fixture
def threadpoolctl() -> Iterator[Any]:
    module = pytest.importorskip("threadpoolctl")
    import fastact.threadpool  # noqa: F401 - registers

    return module


def test_threadpoolctl_sees_the_threads(threadpoolctl: Any) -> None:
    with fa.num_threads(3):
        (info,) = (
            info
            for info in threadpoolctl.threadpool_info()
            if info["user_api"] == "fastact"
        )
    assert info["num_threads"] == 3
    assert info["version"] == fa.__version__
    assert info["filepath"] == os.path.realpath(fa._kernels.__file__)


def test_threadpoolctl_sets_the_threads(threadpoolctl: Any) -> None:
    with fa.num_threads(3):
        with threadpoolctl.threadpool_limits(1):
            assert fa.get_num_threads() == 1
        assert fa.get_num_threads() == 3
        with threadpoolctl.threadpool_limits(2, user_api="fastact"):
            assert fa.get_num_threads() == 2
        with threadpoolctl.threadpool_limits(2, user_api="blas"):
            assert fa.get_num_threads() == 3
        assert fa.get_num_threads() == 3


def test_without_threadpoolctl_the_error_says_what_to_install() -> None:
    _python(
        "import sys; sys.modules['threadpoolctl'] = None\n"
        "try: import fastact.threadpool\n"
        "except ImportError as error: assert 'pip install threadpoolctl' in str(error)\n"
        "else: raise AssertionError\n"
    )
