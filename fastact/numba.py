"""The Numba side: the same formulas, compiled by Numba when they are first needed.

``fastact.numba.NAME`` is a ufunc (or a function over two) like ``fastact.NAME``, whose
kernels Numba compiles. ``@njit`` code may call it too, on scalars and on arrays, and
``fastact.NAME`` as well, which there means the same.

Numba's kernels have the C kernels' form and run in the C loops: strides, dtypes, overlap
and threads are handled in one place, and a fork or several Python threads are as safe as
with C kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastact

from . import _numba_extension, families, rows, ufuncs
from ._numba_compiler import prepare as prepare
from .formulas.kernels import ENTRIES, PARAMETER_BACKWARD, kernels
from .formulas.rows import ROW_FUNCTIONS

try:
    import numba  # noqa: F401
except ImportError as error:  # pragma: no cover - tested in a subprocess
    raise ImportError(
        "fastact.numba and the Numba backend need Numba, which is not installed: "
        'pip install "fastact[numba]"'
    ) from error

from numba.core.registry import cpu_target

from . import _numba_kernels
from ._numba_overloads import register, register_rows

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the functions, made below


prepare()
# All names stand in the module from the start: Numba looks in its dictionary only. That
# makes ufuncs, it compiles nothing.
_made = {
    kernel.name: ufuncs.elementwise(kernel, __name__, backend="numba")
    for kernel in kernels()
}
globals().update(_made)
_kernel_of = {kernel.name: kernel for kernel in kernels() if not kernel.with_defaults}
_callable_in_njit: set[str] = set()
for _entry in ENTRIES.values():
    for _name, _function in families.family(
        _entry, _made.__getitem__, __name__
    ).items():
        if not _name.endswith(PARAMETER_BACKWARD):  # its sums are in C
            register(_function, _kernel_of[_name], _numba_kernels)
            _callable_in_njit.add(_name)
        globals()[_name] = _function
# The row functions exist once, in C: these are fastact's own, usable in @njit too.
for _name, _facts in ROW_FUNCTIONS.items():
    for _member in _facts.members:
        register_rows(rows.FUNCTIONS[_name + _member], _name, _member)
globals().update(rows.PUBLIC)

for _alias, _name in families.aliases():
    globals()[_alias] = globals()[_name]

_public: set[str] = set()


def register_public(function: Any) -> None:
    """Let @njit code call a function of fastact itself, if it is one that can.

    Numba's compiler lock is held. `_lock` must not be taken: it is held while a kernel is
    compiled, which takes the compiler lock.
    """
    name = function.__name__
    if name in _public or name not in _callable_in_njit:
        return
    if function is getattr(fastact, name, None):
        register(function, _kernel_of[name], _numba_kernels)
        _public.add(name)
        _show_to_numba()


def _show_to_numba() -> None:
    """Let Numba see what has been registered, if it is typing a function already."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


_show_to_numba()
_numba_extension.init()
