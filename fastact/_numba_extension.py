"""Numba's entry point ``numba_extensions``: ``fastact.gelu`` itself in @njit code.

Numba calls `init` before its first compilation in every process, also where nobody uses
fastact. So it only leaves word: the Numba side, a second of imports, is loaded when
compiled code first mentions a function of fastact.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from ._ufuncs import Function

_done = False


def init() -> None:
    """Let Numba type the public functions of fastact; a second call does nothing."""
    from numba.extending import typeof_impl

    global _done
    if _done:
        return
    _done = True
    for kind in (np.ufunc, Function, FunctionType):
        typeof_impl.register(kind)(_typeof(typeof_impl.dispatch(kind)))


def _typeof(otherwise: Any) -> Any:
    """What Numba asks first about a value: register it, if it is a function of ours."""

    def typeof(value: Any, context: Any) -> Any:
        from numba.core.typing.typeof import Purpose

        module = str(getattr(value, "__module__", ""))
        if (
            module.partition(".")[0] == "fastact"
            and context.purpose is Purpose.constant  # not an argument
        ):
            from . import numba as numba_side

            numba_side.register_public(value)
        # It knows no such value; Numba then looks among the functions registered.
        return otherwise(value, context)

    return typeof
