"""Features that reach into NumPy itself: opt-in, and with risks that are documented.

`share_threads_with_blas` runs NumPy's OpenBLAS on fastact's threads, and `memory_pool`
lets NumPy use the memory of large arrays again. Both may change between releases.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _memory_pool
from ._core import address
from ._kernels import ffi, lib

__all__ = ["MemoryPool", "memory_pool", "share_threads_with_blas"]

# Of the OpenBLAS in NumPy's wheels; the second name is that of before 0.3.31.
_SET_CALLBACK = (
    "scipy_openblas_set_threads_callback_function64_",
    "openblas_set_threads_callback_function",
)
_GET_CONFIG = "scipy_openblas_get_config64_"
# Older ones have no scratch buffer for a job whose number is not below the thread setting
# (https://github.com/OpenMathLib/OpenBLAS/pull/4871).
_OLDEST_OPENBLAS = (0, 3, 29)


def _openblas() -> tuple[Any, int]:
    """The function that sets OpenBLAS's callback, and for how many threads it was built."""
    # Symbols are looked up in the libraries that an extension module needs, too.
    module = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(module.__file__)
    reason = "share_threads_with_blas is not possible here: "
    found = [getattr(library, name, None) for name in _SET_CALLBACK]
    set_callback = next(filter(None, found), None)
    get_config = getattr(library, _GET_CONFIG, None)
    if set_callback is None or get_config is None:
        raise RuntimeError(
            f"{reason}the BLAS of this NumPy has no {_SET_CALLBACK[0]}; the OpenBLAS in "
            "NumPy's wheels on PyPI has it (pip install numpy); numpy.show_config() "
            "tells which BLAS this is"
        )
    set_callback.restype = None
    set_callback.argtypes = [ctypes.c_void_p]
    get_config.restype = ctypes.c_char_p
    config = get_config().decode()
    version = re.search(r"OpenBLAS (\d+)\.(\d+)\.(\d+)", config)
    threads = re.search(r"MAX_THREADS=(\d+)", config)
    if version is None or threads is None:
        raise RuntimeError(
            f"{reason}the BLAS of this NumPy describes itself as {config!r}, without a "
            "version and a number of threads"
        )
    if tuple(map(int, version.groups())) < _OLDEST_OPENBLAS:
        raise RuntimeError(
            f"{reason}it takes OpenBLAS {'.'.join(map(str, _OLDEST_OPENBLAS))} or later, "
            f"and this NumPy has {version.group()}; a later NumPy has a later one"
        )
    return set_callback, int(threads.group(1))


def share_threads_with_blas(enable: bool = True) -> None:
    """Run NumPy's matrix products on fastact's threads, in this process, from now on.

    By itself, OpenBLAS keeps threads of its own, which go on spinning for a while when a
    product is done. An activation that follows then shares the processor with them, and
    gains nothing from its own threads.

    Parameters
    ----------
    enable : bool, default True
        False: OpenBLAS uses its own threads again.

    Raises
    ------
    RuntimeError
        If the BLAS of this NumPy has no entry for this. It is there in the OpenBLAS that
        NumPy's wheels contain, from version 0.3.29 on.
    TypeError
        If enable is not a bool.

    Notes
    -----
    How many threads a product uses is still OpenBLAS's setting (``OPENBLAS_NUM_THREADS``,
    ``threadpoolctl``), as its results depend on it; the pool grows to that number whatever
    `set_num_threads` says. Results stay the same bits.

    Risks: products of several Python threads run one after the other, where OpenBLAS by
    itself lets some overlap, and activations meanwhile on one thread. A fork waits for
    the products of other threads, and the end of the process for what they compute just
    then (without this function either may never come), up to 10 ms longer. If the
    operating system refuses a thread that a product needs, the process ends with a
    message. LU factorisations (`numpy.linalg.solve`, ``inv``, ``det``) stay on
    OpenBLAS's own threads, and so does the OpenBLAS that SciPy brings. As without this
    function, OpenBLAS's number of threads must not change, and the process not fork
    during an LU factorisation, while another Python thread is inside OpenBLAS.

    Examples
    --------
    >>> x = np.ones((600, 600), np.float32)
    >>> fa.experimental.share_threads_with_blas()  # doctest: +SKIP
    >>> y = fa.gelu(x @ x)
    >>> fa.experimental.share_threads_with_blas(False)  # doctest: +SKIP
    """
    if not isinstance(enable, (bool, np.bool_)):
        raise TypeError(f"enable must be True or False, not {enable!r}")
    set_callback, slots = _openblas()
    lib.fa_prepare_blas(slots)
    callback = address(ffi.addressof(lib, "fa_run_blas_jobs"))
    set_callback(callback if enable else None)


class MemoryPool:
    """Memory kept for large arrays; `memory_pool` makes one."""

    def __init__(self, limit: int) -> None:
        self._handler = _memory_pool.make(limit)
        self._limit = limit

    @property
    def limit(self) -> int:
        """How many bytes are kept at most."""
        return self._limit

    @property
    def kept(self) -> int:
        """How many bytes are kept now, for arrays to come."""
        return _memory_pool.kept(self._handler)

    def release(self) -> None:
        """Give the memory that is kept back to the operating system."""
        _memory_pool.release(self._handler)

    def __repr__(self) -> str:
        return f"<MemoryPool: {self.kept} of at most {self.limit} bytes kept>"


@contextmanager
def memory_pool(limit: int = 256 * 2**20) -> Iterator[MemoryPool]:
    """Keep the memory of large arrays for the next ones, for the body of a ``with``.

    The first use of a page of new memory costs a page fault; for a large array they can
    take longer than the arithmetic. In the body every array of NumPy, whoever makes it,
    gets memory of 1 MiB and more from a pool that keeps what arrays free, so that a loop
    with ``y = fa.gelu(x)`` is nearly as fast as with ``out=``.

    Parameters
    ----------
    limit : int, default 256 MiB
        How many bytes the pool keeps at most for arrays to come; memory in use does not
        count. When there is more, what was freed first goes back to the operating system.

    Yields
    ------
    pool : MemoryPool
        ``pool.kept`` is the number of bytes kept, ``pool.release()`` gives them back.

    Raises
    ------
    ValueError
        If limit is negative or more than the machine can address.
    TypeError
        If limit is not an integer.

    Notes
    -----
    It is a memory handler as of NEP 49, and holds for the current context: a thread that
    starts in the body has NumPy's own handler, unless it runs in a copy of the context
    (`contextvars.copy_context`), and an asyncio task has the pool if it starts in the
    body. Arrays may outlive the body; after it the pool keeps nothing.

    Risks: memory kept is not there for others, and memory read by mistake after its array
    was freed holds old numbers where it would otherwise crash. Code in C that frees the
    memory of an array by itself, as NEP 49 warns, must not get arrays from the pool. An
    array that grows in place (`numpy.ndarray.resize`, `numpy.fromiter`) is copied.

    Examples
    --------
    >>> x = np.ones((1000, 1000), np.float32)
    >>> with fa.experimental.memory_pool() as pool:
    ...     for _ in range(3):
    ...         y = fa.gelu(x)
    """
    if not isinstance(limit, (int, np.integer)) or isinstance(limit, bool):
        raise TypeError(f"limit must be an integer, not {type(limit).__name__}")
    if not 0 <= limit <= np.iinfo(np.intp).max:
        raise ValueError(
            f"limit must be a number of bytes from 0 to {np.iinfo(np.intp).max}, "
            f"not {limit}"
        )
    pool = MemoryPool(int(limit))
    before = _memory_pool.set_handler(pool._handler)
    try:
        yield pool
    finally:
        _memory_pool.set_handler(before)
        _memory_pool.close(pool._handler)
