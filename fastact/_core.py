"""The door to the compiled modules: instruction set, kernels, and ufuncs over them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _ufuncs
from ._kernels import ffi, lib
from .formulas.kernels import (
    BACKWARD_FROM_OUTPUT,
    FORWARD,
    PARAMETER_BACKWARD,
    Kernel,
)
from .formulas.rows import ROW_FUNCTIONS, ROW_INPUTS

# Types of the arrays a ufunc takes, in NumPy's order of promotion: what the arrays are
# (float16, float32, float64), what their parameters are, what the kernel computes in.
LOOP_TYPES = (("e", "f", "f"), ("f", "f", "f"), ("d", "d", "d"))

# Ufuncs hold plain addresses of what stands in these two.
_keep_alive: list[Any] = []
_row_loops: dict[tuple[str, str], Any] = {}


def _read(variable: str, allowed: Sequence[str]) -> str | None:
    value = os.environ.get(variable)
    if value is not None and value not in allowed:
        raise ImportError(
            f"{variable}={value!r} is not possible here; allowed: {', '.join(allowed)}"
        )
    return value


def available_instruction_sets() -> tuple[str, ...]:
    """Instruction sets with kernels that this processor has, best first."""
    names: list[str] = []
    while (name := lib.fa_available_isa(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode())
    return tuple(names)


def _select_instruction_set() -> str:
    available = available_instruction_sets()
    chosen = _read("FASTACT_ISA", available) or available[0]
    if lib.fa_select_isa(chosen.encode()) != 0:
        raise ImportError(f"cannot use the instruction set {chosen}")
    return chosen


def _default_threads() -> int:
    for variable in ("FASTACT_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one number for each level of nesting
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isascii() and text.isdigit() and int(text) > 0:
            return min(int(text), 2**31 - 1)
        if text and variable == "FASTACT_NUM_THREADS":
            raise ImportError(
                f"{variable}={text!r} is not a positive number of threads"
            )
    return int(lib.fa_available_cpus())


instruction_set = _select_instruction_set()
lib.fa_set_num_threads(_default_threads())
kernel_index: dict[tuple[str, str], int] = {
    (ffi.string(lib.fa_kernels[i].name).decode(), lib.fa_kernels[i].type.decode()): i
    for i in range(lib.fa_kernel_count)
}


def address(pointer: Any) -> int:
    """Address of a C object or function."""
    return int(ffi.cast("uintptr_t", pointer))


LOOP_ADDRESSES = {
    name: address(ffi.addressof(lib, name))
    for name in ("fa_elementwise", "fa_parameter_backward", "fa_rows")
}
_ENUM = {
    "current": lib.FA_BACKEND_CURRENT,
    "numba": lib.FA_BACKEND_NUMBA,
}


def _signature_of_reduction(kernel: Kernel) -> str:
    arrays = len(kernel.inputs) - kernel.parameter_count
    inputs = ",".join(["(n)"] * arrays + ["()"] * kernel.parameter_count)
    return f"{inputs}->(n)" + ",()" * kernel.parameter_count


def make_ufunc(kernel: Kernel, doc: str, *, backend: str = "current") -> np.ufunc:
    """The ufunc over one elementwise kernel, with loops for all dtypes."""
    summed = kernel.member == PARAMETER_BACKWARD
    arrays = len(kernel.inputs) - kernel.parameter_count
    types, data = "", []
    for array, parameter, compute in LOOP_TYPES:
        # A sum over an array is handed out in float64: it may be summed further.
        results = "d" * kernel.parameter_count if summed else ""
        operands = array * arrays + parameter * kernel.parameter_count
        operands += array * (len(kernel.outputs) - len(results)) + results
        index = kernel_index[kernel.name, compute]
        loop = ffi.new("fa_loop *")
        loop.kernel = lib.fa_kernels + index
        loop.backend = _ENUM[backend]
        loop.types = operands.encode()
        _keep_alive.append(loop)
        types += operands
        data.append(address(loop))
    c_loop = LOOP_ADDRESSES["fa_parameter_backward" if summed else "fa_elementwise"]
    ufunc: np.ufunc = _ufuncs.make_ufunc(
        kernel.name,
        doc,
        len(kernel.inputs),
        len(kernel.outputs),
        types.encode(),
        [c_loop] * len(data),
        data,
        _signature_of_reduction(kernel) if summed else None,
    )
    return ufunc


def make_row_ufunc(
    name: str, doc: str, *, function: str, member: str, masked: bool
) -> np.ufunc:
    """The generalised ufunc over a row function."""
    facts = ROW_FUNCTIONS[function]
    inputs = len(ROW_INPUTS[member])
    types, data = "", []
    for array, parameter, _ in LOOP_TYPES:
        types += array * inputs + (f"?{parameter}" if masked else "") + array
        loop = ffi.new("fa_row_loop *")
        loop.function = getattr(lib, f"FA_{function.upper()}")
        loop.input_count = inputs
        loop.from_output = member == BACKWARD_FROM_OUTPUT
        loop.masked = masked
        loop.excluded = facts.excluded_value
        loop.reduces = facts.reduces
        loop.type = array.encode()
        _row_loops[name, array] = loop
        data.append(address(loop))
    arrays, result = ["(n)"] * inputs, "(n)"
    if facts.reduces and member == FORWARD:
        result = "()"
    elif facts.reduces:
        arrays[0] = "()"
    selection = ["(n)", "()"] if masked else []
    ufunc: np.ufunc = _ufuncs.make_ufunc(
        name,
        doc,
        inputs + len(selection),
        1,
        types.encode(),
        [LOOP_ADDRESSES["fa_rows"]] * len(data),
        data,
        f"{','.join(arrays + selection)}->{result}",
    )
    return ufunc


def attach(ufunc: np.ufunc, attributes: Mapping[str, object]) -> None:
    """Give a ufunc attributes (NumPy 2.2 and later let it carry them)."""
    vars(ufunc).update(attributes)


def row_loop_address(name: str, kind: str) -> int:
    """The `data` of a row ufunc's loop, for those who call the loop by its address."""
    return address(_row_loops[name, kind])
