"""Compiles the Numba form of a kernel when a loop first needs it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _core, _ufuncs
from ._kernels import ffi, lib

# By the type of a kernel: the suffix of its name, and whether it computes in float64.
_FORMS = {"e": ("f16", False), "f": ("f32", False), "d": ("f64", True)}
_lock = threading.Lock()
_kept: list[Any] = []  # Numba frees the code of a kernel that nothing refers to
# Of kernels that are not in the catalogue, by their records' address: what completes the
# record and gives the Python function
_sources: dict[int, Callable[[Any], Any]] = {}


def _builtin(record: Any, suffix: str) -> Any:
    from . import _numba_kernels

    name = ffi.string(record.name).decode()
    return getattr(_numba_kernels, f"{name}_{suffix}_kernel")


def _compile(address: int) -> None:
    """Compile the kernel of the record at this address and fill it in."""
    import numba
    from numba import types

    record = ffi.cast("fa_kernel *", address)
    with _lock:
        if record.numba != ffi.NULL:
            return
        suffix, is_double = _FORMS[record.type.decode()]
        source = _sources.get(address)
        function = _builtin(record, suffix) if source is None else source(record)
        pointer: Any = types.CPointer
        form = types.float64 if is_double else types.float32
        operands = record.input_count + record.output_count
        signature = types.void(types.size_t, *[pointer(form)] * operands)
        compiled = numba.cfunc(signature, cache=True)(function)
        _kept.append(compiled)
        record.numba = ffi.cast("fa_function", compiled.address)


def _compile_or_fall_back(address: int) -> None:
    """Called by a loop, which cannot raise: after a failure its C kernel stays."""
    try:
        _compile(address)
    except Exception:
        record = ffi.cast("fa_kernel *", address)
        record.numba = record.c if record.c != ffi.NULL else _all_nan(record)
        raise


def _all_nan(record: Any) -> Any:
    """A kernel for want of another: what has not been computed must not look as if."""
    number = ctypes.c_double if _FORMS[record.type.decode()][1] else ctypes.c_float
    inputs, operands = record.input_count, record.input_count + record.output_count

    def fill(n: int, *addresses: int) -> None:
        for address in addresses[inputs:]:
            np.ctypeslib.as_array((number * n).from_address(address))[:] = np.nan

    form = ctypes.CFUNCTYPE(None, ctypes.c_size_t, *[ctypes.c_void_p] * operands)
    callback = form(fill)
    _kept.append(callback)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    return ffi.cast("fa_function", address)


def new_record(
    name: str,
    type_: str,
    shape: tuple[int, int, int],
    source: Callable[[Any], Any],
) -> Any:
    """A kernel that only Numba has: an fa_kernel that stays for good.

    `shape` has the numbers of its inputs, its outputs, and of the parameters among the
    inputs. When it is needed, `source` fills in the record's operation_count and returns
    the Python function to compile.
    """
    record = ffi.new("fa_kernel *")
    kept_name = ffi.new("char[]", name.encode())
    _kept.append((record, kept_name))
    record.name = kept_name
    record.type = type_.encode()
    record.input_count, record.output_count, record.parameter_count = shape
    _sources[_core.address(record)] = source
    return record


def prepare() -> None:
    """Let the loops compile the Numba kernels they need."""
    lib.fa_set_compile_hook(_ufuncs.set_compiler(_compile_or_fall_back))
