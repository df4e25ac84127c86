"""The door to the compiled modules: instruction set, kernels, and ufuncs over them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

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
# (float16, float32, float64), what their parameters are, and the type of their kernels.
LOOP_TYPES = [("e", "f", "e"), ("f", "f", "f"), ("d", "d", "d")]
DTYPES = {array: np.dtype(array) for array, _, _ in LOOP_TYPES}

# NumPy has no bfloat16 of its own, and no character: 'E' is one among us.
try:
    import ml_dtypes
except ImportError:
    pass
else:
    LOOP_TYPES.append(("E", "f", "e"))
    DTYPES["E"] = np.dtype(ml_dtypes.bfloat16)
    _ufuncs.set_bfloat16(DTYPES["E"].num)

# What loops work on, by kernel and array type. Ufuncs hold plain addresses of it.
_loops: dict[tuple[str, str, str], Any] = {}
_row_loops: dict[tuple[str, str], Any] = {}
_other_loops: list[Any] = []


def refuse_setting(variable: str, value: str, reason: str) -> NoReturn:
    """Say that a variable of the environment cannot have its value, and end the import."""
    message = f"the environment variable {variable}={value!r} is not possible; {reason}"
    # `python -m fastact` imports the package before its own code can catch anything.
    # Until then Python has "-m" in the place of the program's name.
    module = sys.orig_argv[-len(sys.argv)] if sys.argv[:1] == ["-m"] else ""
    if module.removeprefix("-m") == "fastact":
        print(f"python -m fastact: {message}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(message)


def available_instruction_sets() -> tuple[str, ...]:
    """Instruction sets with kernels that this processor has, best first."""
    names: list[str] = []
    while (name := lib.fa_available_isa(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode())
    return tuple(names)


def _select_instruction_set() -> str:
    available = available_instruction_sets()
    chosen = os.environ.get("FASTACT_ISA", available[0])
    if chosen not in available:
        refuse_setting("FASTACT_ISA", chosen, f"allowed here: {', '.join(available)}")
    if lib.fa_select_isa(chosen.encode()) != 0:
        raise ImportError(f"cannot use the instruction set {chosen}")
    return chosen


def _default_threads() -> int:
    for variable in ("FASTACT_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one number for each level of nesting
        value = os.environ.get(variable, "")
        text = value.split(",")[0].strip()
        if text.isascii() and text.isdigit() and int(text) > 0:
            return min(int(text), 2**31 - 1)
        if text and variable == "FASTACT_NUM_THREADS":
            refuse_setting(variable, value, "allowed: whole numbers from 1")
    return int(lib.fa_available_cpus())


instruction_set = _select_instruction_set()
lib.fa_set_num_threads(_default_threads())
kernel_index: dict[tuple[str, str], int] = {
    (ffi.string(lib.fa_kernels[i].name).decode(), lib.fa_kernels[i].type.decode()): i
    for i in range(lib.fa_kernel_count)
}


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether it is ml_dtypes' bfloat16, whose kind is not "f"."""
    return "E" in DTYPES and dtype.type is DTYPES["E"].type  # in any byte order


def address(pointer: Any) -> int:
    """Address of a C object or function."""
    return int(ffi.cast("uintptr_t", pointer))


LOOP_ADDRESSES = {
    name: address(ffi.addressof(lib, name))
    for name in (
        "fa_elementwise",
        "fa_elementwise_core",
        "fa_parameter_backward",
        "fa_rows",
    )
}
_ENUM = {
    "current": lib.FA_BACKEND_CURRENT,
    "numba": lib.FA_BACKEND_NUMBA,
}


def _core_signature(kernel: Kernel) -> str:
    """All have a core axis, but parameters and their gradients where these are summed."""
    summed = kernel.member == PARAMETER_BACKWARD
    single = ["()"] * kernel.parameter_count if summed else []
    inputs = ["(n)"] * (len(kernel.inputs) - len(single)) + single
    outputs = ["(n)"] * (len(kernel.outputs) - len(single)) + single
    return f"{','.join(inputs)}->{','.join(outputs)}"


def _make(
    name: str,
    doc: str,
    shape: tuple[int, int],
    c_loop: str,
    loops: Sequence[tuple[str, Any]],
    signature: str | None,
) -> np.ufunc:
    """The ufunc of this many inputs and outputs; each loop has its types and its data."""
    builtin = [loop for loop in loops if "E" not in loop[0]]
    ufunc: np.ufunc = _ufuncs.make_ufunc(
        name,
        doc,
        *shape,
        "".join(types for types, _ in builtin).encode(),
        [LOOP_ADDRESSES[c_loop]] * len(builtin),
        [address(data) for _, data in builtin],
        signature,
    )
    for types, data in loops:
        if "E" in types:
            _ufuncs.add_bfloat16_loop(
                ufunc, types, LOOP_ADDRESSES[c_loop], address(data)
            )
    return ufunc


def builtin_record(kernel: Kernel, type_: str) -> Any:
    """What C knows of a kernel of the catalogue."""
    return lib.fa_kernels + kernel_index[kernel.name, type_]


def make_ufunc(
    kernel: Kernel,
    doc: str,
    *,
    backend: str = "current",
    name: str = "",
    record: Callable[[Kernel, str], Any] = builtin_record,
    generalised: bool = False,
) -> np.ufunc:
    """The ufunc over one elementwise kernel, with loops for all dtypes.

    `name` is the kernel's unless another is given; `record` finds the fa_kernel for a
    type of arrays. A generalised ufunc has the same results, with one call of its loop
    for all rows; where the kernel's outputs are summed the ufunc always is one.
    """
    summed = kernel.member == PARAMETER_BACKWARD
    arrays = len(kernel.inputs) - kernel.parameter_count
    loops = []
    for array, parameter, type_ in LOOP_TYPES:
        # A sum over an array is handed out in float64: it may be summed further.
        results = "d" * kernel.parameter_count if summed else ""
        operands = array * arrays + parameter * kernel.parameter_count
        operands += array * (len(kernel.outputs) - len(results)) + results
        loop = ffi.new("fa_loop *")
        loop.kernel = record(kernel, type_)
        loop.backend = _ENUM[backend]
        loop.types = operands.encode()
        if record is builtin_record and not generalised:
            _loops[kernel.name, backend, array] = loop
        else:
            _other_loops.append(loop)
        loops.append((operands, loop))
    if summed:
        c_loop = "fa_parameter_backward"
    else:
        c_loop = "fa_elementwise_core" if generalised else "fa_elementwise"
    return _make(
        name or kernel.name,
        doc,
        (len(kernel.inputs), len(kernel.outputs)),
        c_loop,
        loops,
        _core_signature(kernel) if summed or generalised else None,
    )


def make_row_ufunc(
    name: str, doc: str, *, function: str, member: str, masked: bool
) -> np.ufunc:
    """The generalised ufunc over a row function."""
    facts = ROW_FUNCTIONS[function]
    inputs = len(ROW_INPUTS[member])
    loops = []
    for array, parameter, _ in LOOP_TYPES:
        types = array * inputs + (f"?{parameter}" if masked else "") + array
        loop = ffi.new("fa_row_loop *")
        loop.function = getattr(lib, f"FA_{function.upper()}")
        loop.input_count = inputs
        loop.from_output = member == BACKWARD_FROM_OUTPUT
        loop.masked = masked
        loop.excluded = facts.excluded_value
        loop.reduces = facts.reduces
        loop.type = array.encode()
        _row_loops[name, array] = loop
        loops.append((types, loop))
    arrays, result = ["(n)"] * inputs, "(n)"
    if facts.reduces and member == FORWARD:
        result = "()"
    elif facts.reduces:
        arrays[0] = "()"
    selection = ["(n)", "()"] if masked else []
    return _make(
        name,
        doc,
        (inputs + len(selection), 1),
        "fa_rows",
        loops,
        f"{','.join(arrays + selection)}->{result}",
    )


def run_rows(
    name: str,
    kind: str,
    addresses: Sequence[int],
    shape: tuple[int, int],
    steps: Sequence[tuple[int, int]],
) -> None:
    """Run an elementwise kernel over rows of arrays of a type, given by their addresses.

    `steps` has, for each array, the bytes from row to row and from element to element.
    """
    lib.fa_elementwise_rows(
        [ffi.cast("char *", a) for a in addresses],
        shape,
        [outer for outer, _ in steps],
        [inner for _, inner in steps],
        _loops[name, "current", kind],
    )


def attach(ufunc: np.ufunc, attributes: Mapping[str, object]) -> None:
    """Give a ufunc attributes (NumPy 2.2 and later let it carry them)."""
    vars(ufunc).update(attributes)


def attach_members(name: str, functions: Mapping[str, Any]) -> None:
    """Make `NAME_backward` the attribute `backward` of `NAME`, and so on."""
    attributes = {
        full_name.removeprefix(name + "_"): function
        for full_name, function in functions.items()
        if full_name != name
    }
    vars(functions[name]).update(attributes)


def row_loop_address(name: str, kind: str) -> int:
    """The `data` of a row ufunc's loop, for those who call the loop by its address.

    It is made with the ufunc (`fastact.ufuncs.get`).
    """
    return address(_row_loops[name, kind])
