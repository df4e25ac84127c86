"""Assembles the public functions: each activation with its family and aliases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _core, ufuncs
from .formulas.entry import Activation, Entry, Fused
from .formulas.kernels import ENTRIES, PARAMETER_BACKWARD, Kernel, members
from .functions import with_parameters
from .packed import packed_family, packed_names
from .parameters import make_parameter_backward


def member_function(
    entry: Entry, member: str, ufunc: Callable[[str], np.ufunc], module: str
) -> Any:
    """The public function of one member: a ufunc, or a function over two of them."""
    if member == PARAMETER_BACKWARD:
        assert isinstance(entry, Activation)
        name = Kernel(entry, member, with_defaults=False).name
        return make_parameter_backward(entry, ufunc(name), module)
    if entry.parameters:
        return with_parameters(entry, member, ufunc, module)
    return ufunc(entry.name + member)


def family(
    entry: Entry, ufunc: Callable[[str], np.ufunc], module: str
) -> dict[str, Any]:
    """All members of an activation, also attached to the forward function."""
    functions = {
        entry.name + member: member_function(entry, member, ufunc, module)
        for member in members(entry)
    }
    _core.attach_members(entry.name, functions)
    return functions


def aliases() -> Iterator[tuple[str, str]]:
    """Other systems' names, with the name used here, for the whole family."""
    for entry in ENTRIES.values():
        for alias in entry.aliases:
            for member in members(entry):
                yield alias + member, entry.name + member


# Every function of every family, packed forms included, with the entry it belongs to.
NAMES: dict[str, Entry] = {
    entry.name + member: entry
    for entry in ENTRIES.values()
    for member in members(entry)
} | packed_names()

_made: dict[str, dict[str, Any]] = {}
_lock = threading.RLock()


def public_family(name: str) -> dict[str, Any]:
    """The public functions of the family to which this one belongs, made once."""
    entry = NAMES[name]
    with _lock:
        if entry.name not in _made:
            functions = family(entry, ufuncs.get, "fastact")
            if isinstance(entry, Fused) and entry.packed_gate is not None:
                functions |= packed_family(entry, functions[entry.name])
            _made[entry.name] = functions
        return _made[entry.name]
