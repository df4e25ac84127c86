"""What `make bench` measures: the cases, and the implementations that it compares."""

from __future__ import annotations

from collections.abc import Iterator

import fastact as fa
from fastact import _core
from fastact.commands.cases import (
    ALL,
    CORE,
    DIRECTIONS,
    DTYPES,
    HAS_NUMBA,
    LOSS,
    NUMPY,
    POOL_SIZE,
    ROW,
    SMALL,
    WITHOUT_DEFAULT,
    YARDSTICK,
    Case,
    Implementation,
    parse_dtypes,
    parse_functions,
    parse_sizes,
)
from fastact.formulas.kernels import ENTRIES

__all__ = [
    "ALL",
    "ALL_THREADS",
    "CORE",
    "C_ALL",
    "C_ONE",
    "DIRECTIONS",
    "DTYPES",
    "HAS_NUMBA",
    "ISA",
    "LOSS",
    "NUMBA_ALL",
    "NUMBA_ONE",
    "NUMPY",
    "OUTPUTS",
    "POOL_SIZE",
    "ROW",
    "SIZES",
    "SMALL",
    "WITHOUT_DEFAULT",
    "YARDSTICK",
    "Case",
    "Implementation",
    "calls",
    "cases",
    "parse_dtypes",
    "parse_functions",
    "parse_sizes",
]

SIZES = (10, 100, 100_000)
# Of a comparison with peers: where a library can write to an array that is there already.
OUTPUTS = ("ready", "fresh")
# The cost of a call is compared with that of NumPy's own ufunc, on so many elements.
CALL_SIZE = 10

ALL_THREADS = fa.get_num_threads()
ISA: str = _core.instruction_set

C_ALL = Implementation("c-all", "c", ALL_THREADS)
C_ONE = Implementation("c-1", "c", 1)
NUMBA_ALL = Implementation("numba-all", "numba", ALL_THREADS)
NUMBA_ONE = Implementation("numba-1", "numba", 1)


def calls(
    functions: tuple[str, ...], size: int
) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Every function in every direction, with the parameters to pass.

    Where the cost of a call is measured, also the yardstick and calls with other
    parameters than the default ones.
    """
    for name in functions:
        parameters = ENTRIES[name].parameters if name in ENTRIES else ()
        needed = tuple(WITHOUT_DEFAULT for p in parameters if p.default is None)
        for direction in DIRECTIONS:
            yield name, direction, needed
        if size == CALL_SIZE and parameters and not needed:
            other = tuple(2.0 * p.default for p in parameters if p.default is not None)
            yield name, "forward", other
    if size == CALL_SIZE:
        yield YARDSTICK, "forward", ()


def implementations(function: str, size: int) -> tuple[Implementation, ...]:
    """What computes this function, in the order in which it is measured."""
    if function == YARDSTICK:
        return (NUMPY,)
    if size < SMALL:
        return (NUMPY, C_ALL)
    if function not in ENTRIES:  # they exist in C alone, whatever the backend
        return (NUMPY, C_ONE, C_ALL)
    return (NUMPY, C_ONE, NUMBA_ONE, C_ALL, NUMBA_ALL)


def cases(
    sizes: tuple[int, ...],
    dtypes: tuple[str, ...],
    functions: tuple[str, ...] = CORE,
) -> list[Case]:
    """All benchmarks; those that are compared with each other run one after another."""
    return [
        Case(function, direction, dtype, size, implementation, parameters)
        for dtype in dtypes
        for size in sizes
        for function, direction, parameters in calls(functions, size)
        for implementation in implementations(function, size)
    ]
