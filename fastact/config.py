"""Settings of the process: threads, backend, and what is in use."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _core
from ._kernels import lib

BACKENDS = ("c", "numba")


def set_num_threads(n: int) -> None:
    """Set how many threads one call may use, in this process, from now on.

    Parameters
    ----------
    n : int
        At least 1. Arrays too small to gain from threads are never split.

    Raises
    ------
    ValueError
        If n is below 1.
    TypeError
        If n is not an integer.

    Notes
    -----
    The first value is ``FASTACT_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number
    of CPUs that the process may use. The Numba backend obeys the same setting.
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise TypeError(f"n must be an integer, not {type(n).__name__}")
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    lib.fa_set_num_threads(min(int(n), 2**31 - 1))


def get_num_threads() -> int:
    """How many threads one call may use.

    Returns
    -------
    n : int
        At least 1.
    """
    return int(lib.fa_get_num_threads())


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Set the number of threads for the body of a ``with`` statement.

    Parameters
    ----------
    n : int
        At least 1.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If n is below 1.
    TypeError
        If n is not an integer.

    Notes
    -----
    A setting of the process, as that of `set_num_threads`: other Python threads have it,
    too, while the body runs.

    Examples
    --------
    >>> with fa.num_threads(1):
    ...     y = fa.gelu(x)
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def set_backend(name: str) -> None:
    """Choose what the ufuncs run on, in this process, from now on.

    Parameters
    ----------
    name : {"c", "numba"}
        C kernels (the start value, or ``FASTACT_BACKEND``), or kernels that Numba
        compiles from the same formulas, each when it is first needed.

    Raises
    ------
    ValueError
        If there is no such backend.
    ImportError
        If Numba is not installed.

    Notes
    -----
    The ufuncs stay the same objects, and on processors with FMA the results the same
    bits. The row functions (softmax) always run in C.
    """
    if name not in BACKENDS:
        raise ValueError(f"name must be one of {', '.join(BACKENDS)}, not {name!r}")
    if name == "numba":
        from . import numba

        numba.prepare()
    lib.fa_set_backend(BACKENDS.index(name))


def get_backend() -> str:
    """What the ufuncs run on.

    Returns
    -------
    name : str
        "c" or "numba".
    """
    return BACKENDS[lib.fa_get_backend()]


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Choose the backend for the body of a ``with`` statement.

    Parameters
    ----------
    name : {"c", "numba"}
        As for `set_backend`.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If there is no such backend.
    ImportError
        If Numba is not installed.

    Notes
    -----
    A setting of the process, as that of `set_backend`: other Python threads have it,
    too, while the body runs.

    Examples
    --------
    >>> with fa.backend("c"):
    ...     y = fa.gelu(x)
    """
    before = get_backend()
    set_backend(name)
    try:
        yield
    finally:
        set_backend(before)


def backend_from_environment() -> None:
    """Start on the backend that ``FASTACT_BACKEND`` names."""
    name = os.environ.get("FASTACT_BACKEND")
    if not name:
        return
    if name not in BACKENDS:
        allowed = ", ".join(BACKENDS)
        _core.refuse_setting("FASTACT_BACKEND", name, f"allowed: {allowed}")
    try:
        set_backend(name)
    except ImportError as error:  # there is no Numba, or it refuses this NumPy
        _core.refuse_setting("FASTACT_BACKEND", name, str(error))


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show what this installation is and what it uses.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        Print it, or return it as a dictionary.

    Returns
    -------
    config : dict or None
        With ``mode="dicts"``: version, backend, instruction set in use and available,
        threads, dtypes (bfloat16 if ml_dtypes is installed), versions of Python and
        NumPy, platform.

    Raises
    ------
    ValueError
        If mode is something else.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", not {mode!r}')
    from . import __version__  # fastact imports this module first

    config = {
        "fastact": __version__,
        "backend": get_backend(),
        "instruction set": _core.instruction_set,
        "available": list(_core.available_instruction_sets()),
        "threads": get_num_threads(),
        "dtypes": [dtype.name for dtype in _core.DTYPES.values()],
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{key:16} {text}")
    return None
