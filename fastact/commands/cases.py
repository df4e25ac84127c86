"""What benchmarks measure: a call of a function on arrays, and whether it is right.

`python -m fastact bench` and `make bench` share it.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import fastact as fa

from .. import plain
from ..documentation import counted
from ..formulas.entry import CATALOGUE
from ..formulas.kernels import ENTRIES
from ..formulas.rows import ROW_FUNCTIONS
from ..lookup import canonical_name

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
# What does the work of the functions that are not measured themselves.
RUNS_ON = {"crelu": "crelu_parts", "rrelu": "prelu", "gumbel_softmax": "softmax"}
DTYPES = ("float16", "bfloat16", "float32", "float64")

DIRECTIONS = ("forward", "backward")
# Below this many elements it is the call that costs: there every implementation is called
# as users write it, without `out=`, and threads and Numba's loops have nothing to do.
SMALL = 1000
# The length of the rows of the functions along an axis.
ROW = 1000
WITHOUT_DEFAULT = 0.25
# The group of the functions that pool: it divides every row.
POOL_SIZE = 2
# The cost of a call is compared with that of NumPy's own ufunc.
YARDSTICK = "np.tanh"

HAS_NUMBA = importlib.util.find_spec("numba") is not None
# The least duration of one round of a measurement: the clock's resolution must not
# matter, yet short rounds find the quiet moments of a machine that others use too.
ROUND = 100e-6


@dataclass(frozen=True)
class Implementation:
    """A way to compute an activation; `backend` is None for plain NumPy."""

    name: str
    backend: Literal["c", "numba"] | None
    threads: int

    def __str__(self) -> str:
        return self.name


NUMPY = Implementation("numpy", None, 1)


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
        size = counted(self.size, "element")
        return f"{self.label} {self.direction}, {self.dtype}, {size}"

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
        extra: tuple[Any, ...] = ()
        if facts and facts.pools:
            if row % POOL_SIZE:
                raise ValueError(
                    f"{row} is no multiple of {POOL_SIZE}, the group's size"
                )
            extra = (POOL_SIZE,)
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

    def keywords(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Arrays that are there already, for the result of a call that is not small."""
        if self.implementation.backend is None or math.prod(self.shape) < SMALL:
            return {}
        # Written to, so that no page of it is touched for the first time later.
        out = tuple(map(np.array, _as_tuple(self.callable()(*arguments))))
        if not out[0].ndim:  # a mean loss has no array to write to
            return {}
        return {"out": out if len(out) > 1 else out[0]}

    @property
    def _name(self) -> str:
        return self.function + ("_backward" if self.direction == "backward" else "")


def check(result: Any, case: Case, arguments: tuple[Any, ...]) -> None:
    """Compare a result with the plain NumPy expression in float64.

    This is no test of accuracy: the tolerance is what the plain expressions themselves
    lose, such as all digits of 1 - tanh(x)**2 where tanh(x) is almost 1.
    """
    wide = [a if np.asarray(a).dtype.kind == "i" else np.float64(a) for a in arguments]
    eps = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10}
    near = eps.get(case.dtype, 2.0**-7)  # bfloat16's
    results, expected = _as_tuple(result), _as_tuple(case.plain()(*wide))
    for found, exact in zip(results, expected, strict=True):
        # NumPy makes float32 of a bfloat16 beside a Python float, in a plain expression.
        assert found.dtype == case.dtype or case.implementation.backend is None
        np.testing.assert_allclose(
            np.float64(found), exact, rtol=100 * near, atol=20 * near
        )


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def duration(call: Callable[[], object], seconds: float) -> float:
    """How long a call takes: the shortest of a few, fewer where they exceed the time."""
    durations: list[float] = []
    while len(durations) < 5 and sum(durations) < seconds:
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return min(durations)


def rounds(
    call: Callable[[], object], seconds: float, least: int = 5
) -> dict[str, int]:
    """How many rounds of how many calls fit into the time."""
    one = duration(call, seconds)
    iterations = math.ceil(ROUND / one)
    return {
        "iterations": iterations,
        "rounds": max(least, round(seconds / (iterations * one))),
    }


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
        names = tuple(
            name if name in ALL else canonical_name(name)
            for name in text.split(",")
            if name
        )
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not names:
        raise argparse.ArgumentTypeError("at least one name, such as gelu")
    for name in names:
        if name not in ALL:
            raise argparse.ArgumentTypeError(
                f"{name} is not measured itself; {RUNS_ON[name]}, on which it runs, is"
            )
    return names
