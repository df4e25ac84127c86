"""The Numba side: the same formulas, compiled by Numba when they are first needed.

``fastact.numba.NAME`` is a ufunc (or a function over two) like ``fastact.NAME``, whose
kernels Numba compiles. ``@njit`` code may call it too, on scalars and on arrays.

Numba's kernels have the C kernels' form and run in the C loops: strides, dtypes, overlap
and threads are handled in one place, and a fork or several Python threads are as safe as
with C kernels.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from . import _ufuncs, families, rows, ufuncs
from ._kernels import ffi, lib
from .formulas.kernels import ENTRIES, PARAMETER_BACKWARD, kernels
from .formulas.rows import ROW_FUNCTIONS

try:
    import numba
except ImportError as error:  # pragma: no cover - tested in a subprocess
    raise ImportError(
        "fastact.numba and the Numba backend need Numba, which is not installed: "
        'pip install "fastact[numba]"'
    ) from error

from numba import types
from numba.core.registry import cpu_target

from . import _numba_kernels
from ._numba_overloads import register, register_rows

# By the type of a kernel: what it computes in, and the suffix of its name.
_FORMS = {
    "e": (types.float32, "f16"),
    "f": (types.float32, "f32"),
    "d": (types.float64, "f64"),
}
if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the functions, made below


_lock = threading.Lock()
_compiled: list[Any] = []  # Numba frees the code of a kernel that nothing refers to


def _compile(address: int) -> None:
    """Compile the Numba form of the kernel record at this address and fill it in."""
    record = ffi.cast("fa_kernel *", address)
    with _lock:
        if record.numba != ffi.NULL:
            return
        form, suffix = _FORMS[record.type.decode()]
        name = f"{ffi.string(record.name).decode()}_{suffix}_kernel"
        operands = record.input_count + record.output_count
        pointer: Any = types.CPointer
        signature = types.void(types.size_t, *[pointer(form)] * operands)
        compiled = numba.cfunc(signature, cache=True)(getattr(_numba_kernels, name))
        _compiled.append(compiled)
        record.numba = ffi.cast("fa_function", compiled.address)


def _compile_or_fall_back(address: int) -> None:
    """Called by a loop, which cannot raise: after a failure its C kernel stays."""
    try:
        _compile(address)
    except Exception:
        record = ffi.cast("fa_kernel *", address)
        record.numba = record.c
        raise


def prepare() -> None:
    """Let the loops compile the Numba kernels they need."""
    lib.fa_set_compile_hook(_ufuncs.set_compiler(_compile_or_fall_back))


prepare()
# All names stand in the module from the start: Numba looks in its dictionary only. That
# makes ufuncs, it compiles nothing.
_made = {
    kernel.name: ufuncs.elementwise(kernel, __name__, backend="numba")
    for kernel in kernels()
}
globals().update(_made)
_kernel_of = {kernel.name: kernel for kernel in kernels() if not kernel.with_defaults}
for _entry in ENTRIES.values():
    for _name, _function in families.family(
        _entry, _made.__getitem__, __name__
    ).items():
        if not _name.endswith(PARAMETER_BACKWARD):  # its sums are in C
            register(_function, _kernel_of[_name], _numba_kernels)
        globals()[_name] = _function
# The row functions exist once, in C: these are fastact's own, usable in @njit too.
for _name, _facts in ROW_FUNCTIONS.items():
    for _member in _facts.members:
        register_rows(rows.FUNCTIONS[_name + _member], _name, _member)
globals().update(rows.PUBLIC)

for _alias, _name in families.aliases():
    globals()[_alias] = globals()[_name]

# Where the first touch of this module is inside an @njit function, Numba has begun typing
# it: let it see what has just been registered.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
