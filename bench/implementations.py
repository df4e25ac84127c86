"""What the benchmark measures: the cases, and the implementations that it compares."""

from __future__ import annotations

import argparse
import importlib.util
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import fastact as fa
from fastact import _core, plain
from fastact.formulas.entry import CATALOGUE
from fastact.formulas.kernels import ENTRIES
from fastact.lookup import canonical_name
from fastact.ufuncs import ROW_FUNCTIONS

# What is measured unless other functions are asked for.
CORE = (
    "identity",
    "step",
    "relu",
    "leaky_relu",
    "prelu",
    "hardswish",
    "sigmoid",
    "tanh",
    "softsign",
    "elu",
    "selu",
    "softplus",
    "logsigmoid",
    "silu",
    "swish",
    "mish",
    "gelu",
    "gelu_tanh",
    "swiglu",
    "softmax",
    "log_softmax",
    "softmax_cross_entropy",
)
LOSS = "softmax_cross_entropy"
ALL = (*ENTRIES, *ROW_FUNCTIONS, LOSS)
DTYPES = ("float16", "bfloat16", "float32", "float64")

SIZES = (10, 100, 100_000)
DIRECTIONS = ("forward", "backward")
# Of a comparison with peers: where a library can write to an array that is there already.
OUTPUTS = ("ready", "fresh")
# Below this many elements it is the call that costs: there every implementation is called
# as users write it, without `out=`, and threads and Numba's loops have nothing to do.
SMALL = 1000
# The length of the rows of the functions along an axis.
ROW = 1000
WITHOUT_DEFAULT = 0.25
# The group of the functions that pool: it divides every row.
POOL_SIZE = 2
# The cost of a call is compared with that of NumPy's own ufunc, on so many elements.
YARDSTICK, CALL_SIZE = "np.tanh", 10

HAS_NUMBA = importlib.util.find_spec("numba") is not None
ALL_THREADS = fa.get_num_threads()
ISA: str = _core.instruction_set


@dataclass(frozen=True)
class Implementation:
    """A way to compute an activation; `backend` is None for plain NumPy."""

    name: str
    backend: Literal["c", "numba"] | None
    threads: int

    def __str__(self) -> str:
        return self.name


NUMPY = Implementation("numpy", None, 1)
C_ALL = Implementation("c-all", "c", ALL_THREADS)
C_ONE = Implementation("c-1", "c", 1)
NUMBA_ALL = Implementation("numba-all", "numba", ALL_THREADS)
NUMBA_ONE = Implementation("numba-1", "numba", 1)


@dataclass(frozen=True)
class Case:
    """One benchmark: a call of one implementation of a function on one array."""

    function: str
    direction: str
    dtype: str
    size: int
    implementation: Implementation
    parameters: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The function, with its parameters if they are not the default ones."""
        if not self.parameters:
            return self.function
        return f"{self.function}(x, {', '.join(map(str, self.parameters))})"

    @property
    def group(self) -> str:
        """What pytest-benchmark compares in one table."""
        return f"{self.label} {self.direction}, {self.dtype}, {self.size:,} elements"

    def __str__(self) -> str:
        words = (self.function, *self.parameters, self.direction, self.dtype, self.size)
        return "-".join(map(str, (*words, self.implementation)))

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis, or as many rows as fill the size."""
        if self.function in ENTRIES:
            return (self.size,)
        row = min(self.size, ROW)
        return (self.size // row, row)

    def arguments(self) -> tuple[Any, ...]:
        """Random arrays, the same ones for all implementations, and the parameters."""
        # Not hash(): Python salts it anew in every process.
        rng = np.random.default_rng(zlib.crc32(self.group.encode()))
        entry = ENTRIES.get(self.function)
        facts = ROW_FUNCTIONS.get(self.function)
        rows, row = (*self.shape, 0)[:2]
        extra: tuple[Any, ...] = (POOL_SIZE,) if facts and facts.pools else ()
        shapes = [self.shape] * (len(entry.arrays) if entry else 1)
        gradient = self.shape
        if self.function == LOSS:
            extra, gradient = (rng.integers(0, row, rows),), ()
        elif facts and facts.reduces:
            gradient = (rows, row // POOL_SIZE) if facts.pools else (rows,)
        if self.direction == "backward":
            shapes = [gradient] * (len(entry.results) if entry else 1) + shapes
        arrays = [rng.standard_normal(shape).astype(self.dtype) for shape in shapes]
        if self.function in CATALOGUE and CATALOGUE[self.function].domain == (0, 1):
            arrays[-1] = rng.uniform(0.001, 0.999, self.shape).astype(self.dtype)
        return (*arrays, *extra, *self.parameters)

    def plain(self) -> Callable[..., Any]:
        """The plain NumPy function."""
        if self.function == YARDSTICK:
            return np.tanh
        function: Callable[..., Any] = plain.get(self._name)
        return function

    def callable(self) -> Callable[..., Any]:
        """The function to time."""
        if self.implementation.backend is None:
            return self.plain()
        function: Callable[..., Any] = getattr(fa, self._name)
        return function

    @property
    def _name(self) -> str:
        return self.function + ("_backward" if self.direction == "backward" else "")


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


# What the options of the benchmark say.


def parse_sizes(text: str) -> tuple[int, ...]:
    """Numbers of elements, separated by commas."""
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise argparse.ArgumentTypeError(
            f"sizes are whole numbers from 1, separated by commas; not {text!r}"
        )
    return tuple(map(int, words))


def parse_dtypes(text: str) -> tuple[str, ...]:
    """Names of dtypes, separated by commas."""
    dtypes = tuple(text.split(","))
    if not set(dtypes) <= set(DTYPES):
        raise argparse.ArgumentTypeError(
            f"dtypes are {', '.join(DTYPES)}; not {text!r}"
        )
    if "bfloat16" in dtypes and importlib.util.find_spec("ml_dtypes") is None:
        raise argparse.ArgumentTypeError(
            'bfloat16 needs ml_dtypes: pip install "fastact[bfloat16]"'
        )
    return dtypes


def parse_functions(text: str) -> tuple[str, ...]:
    """Names of functions, separated by commas, or `core` or `all`."""
    if text in ("core", "all"):
        return CORE if text == "core" else ALL
    try:
        return tuple(canonical_name(name) for name in text.split(","))
    except (AttributeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
