"""Assembles the public functions: each activation with its family and aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _core
from .formulas.entry import Activation, Entry
from .formulas.kernels import ENTRIES, FORWARD, PARAMETER_BACKWARD, Kernel, members
from .functions import with_parameters
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
    attach_members(entry.name, functions)
    return functions


def attach_members(name: str, functions: dict[str, Any]) -> None:
    """Make `NAME_backward` the attribute `backward` of `NAME`, and so on."""
    attributes = {
        full_name.removeprefix(name + "_"): function
        for full_name, function in functions.items()
        if full_name != name + FORWARD
    }
    forward = functions[name]
    if isinstance(forward, np.ufunc):
        _core.attach(forward, attributes)
    else:
        vars(forward).update(attributes)


def aliases() -> Iterator[tuple[str, str]]:
    """Other systems' names, with the name used here, for the whole family."""
    for entry in ENTRIES.values():
        for alias in entry.aliases:
            for member in members(entry):
                yield alias + member, entry.name + member
