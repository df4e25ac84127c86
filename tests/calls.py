"""Everything there is to test, read from the catalogue: no test keeps a list of names.

A `Call` is a public function with its parameters chosen, so that every member of every
family can be called in the same way, with arrays alone. `CALLS` has all of them, with
the default parameters (which run kernels of their own) and with others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastact as fa
from fastact.formulas.entry import CATALOGUE, FUSED, Entry
from fastact.formulas.kernels import (
    BACKWARD,
    BACKWARD_FROM_OUTPUT,
    DERIVATIVE,
    FORWARD,
    PARAMETER_BACKWARD,
    WITH_DERIVATIVE,
    Kernel,
    members,
)

__all__ = [
    "ACTIVATIONS",
    "BACKWARD",
    "BACKWARD_FROM_OUTPUT",
    "BFLOAT16",
    "CALLS",
    "CATALOGUE",
    "DERIVATIVE",
    "DTYPES",
    "ENTRIES",
    "FORWARD",
    "NUMPY_DTYPES",
    "PARAMETER_BACKWARD",
    "PARAMETRIC",
    "WITH_DERIVATIVE",
    "Call",
    "members",
    "other_values",
]

try:
    from ml_dtypes import bfloat16 as BFLOAT16
except ImportError:
    BFLOAT16 = None

# Tests with long loops in Python leave out bfloat16 where nothing in it differs from
# float16: both are converted at the same two places.
NUMPY_DTYPES = (np.float16, np.float32, np.float64)
DTYPES = (*NUMPY_DTYPES, *([] if BFLOAT16 is None else [BFLOAT16]))
ACTIVATIONS = list(CATALOGUE.values())
ENTRIES: list[Entry] = [*ACTIVATIONS, *FUSED.values()]
PARAMETRIC = [entry for entry in ENTRIES if entry.parameters]

# Values that parameters may have, in their order, and that none has as its default; exact
# in all dtypes, so that all of them compute the same function; exact are its kinks, too,
# such as those of clipped_linear at (0.875 - 1.25) / 0.75 and (2.375 - 1.25) / 0.75.
OTHERS = (0.75, 1.25, 0.875, 2.375)


def other_values(entry: Entry) -> tuple[float, ...]:
    """Parameters that are not the default ones."""
    return OTHERS[: len(entry.parameters)]


# csrc/loops.c splits arrays that cost this many operations, also in a single call;
# test_threads.py fails if these sizes stop being large enough.
OPERATIONS_WORTH_THREADS, OPERATIONS_PER_OPERAND = 3 << 20, 4


@dataclass(frozen=True)
class Call:
    """A member of a family with its parameters chosen; () stands for the defaults."""

    entry: Entry
    member: str
    parameters: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.name + (f"({self.parameters[0]})" if self.parameters else "")

    @property
    def name(self) -> str:
        return self.entry.name + self.member

    @property
    def function(self) -> Any:
        return getattr(fa, self.name)

    @property
    def kernel(self) -> Kernel:
        return Kernel(
            self.entry,
            self.member,
            with_defaults=self.entry.has_defaults and not self.parameters,
        )

    @property
    def ufunc(self) -> np.ufunc:
        return fa.ufuncs.get(self.kernel.name)

    @property
    def array_count(self) -> int:
        return len(self.kernel.inputs) - self.kernel.parameter_count

    @property
    def output_count(self) -> int:
        return len(self.kernel.outputs)

    def of(self, member: str) -> Call:
        """Another member of the same family, with the same parameters."""
        return Call(self.entry, member, self.parameters)

    def values(self) -> tuple[float, ...]:
        """The parameters' values, defaults written out."""
        return self.parameters or tuple(
            float(p.default) for p in self.entry.parameters if p.default is not None
        )

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        return self.function(*arrays, *self.parameters, **keywords)

    def results(self, *arrays: Any, **keywords: Any) -> tuple[Any, ...]:
        """The outputs, as a tuple even if there is only one; `out` is a tuple, too."""
        if self.output_count == 1 and "out" in keywords:
            (keywords["out"],) = keywords["out"]
        found = self(*arrays, **keywords)
        return found if self.output_count > 1 else (found,)

    def operands(self, dtype: Any, shape: Any, seed: int = 0) -> tuple[Any, ...]:
        """Random arrays to call it with: around the curves of all activations."""
        random = np.random.default_rng(seed)
        return tuple(
            (3 * random.standard_normal(shape)).astype(dtype)
            for _ in range(self.array_count)
        )

    def bit_patterns(self, dtype: Any, count: int, seed: int = 0) -> tuple[Any, ...]:
        """Arrays of random bits: tiny, huge, NaN, all of it."""
        random = np.random.default_rng(seed)
        size = np.dtype(dtype).itemsize
        return tuple(
            np.frombuffer(random.bytes(count * size), dtype).copy()
            for _ in range(self.array_count)
        )

    def size_worth_threads(self) -> int:
        """A number of elements that is split over threads."""
        operations = min(
            fa.lib.fa_kernels[
                fa._core.kernel_index[self.kernel.name, t]
            ].operation_count
            for t in "efd"
        )
        operands = len(self.kernel.inputs) + self.output_count
        cost = operations + OPERATIONS_PER_OPERAND * operands
        return OPERATIONS_WORTH_THREADS // cost * 5 // 4 + 7


def _calls() -> list[Call]:
    found = []
    for entry in ENTRIES:
        other = other_values(entry)
        for member in members(entry):
            if member == PARAMETER_BACKWARD:
                continue  # sums over arrays: not elementwise, see test_parameters.py
            if entry.has_defaults or not entry.parameters:
                found.append(Call(entry, member))
            if entry.parameters:
                found.append(Call(entry, member, other))
    return found


CALLS = _calls()


def same_bits(actual: Any, expected: Any) -> np.ndarray[Any, Any]:
    """Where two arrays hold the same bits; all NaNs count as equal."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    native = actual.dtype.newbyteorder("=")
    integer = f"u{native.itemsize}"
    a = np.ascontiguousarray(actual, native).reshape(actual.shape)
    b = np.ascontiguousarray(expected, native).reshape(expected.shape)
    same = a.view(integer) == b.view(integer)
    return same if same.all() else same | ((a != a) & (b != b))


def assert_same_bits(actual: Any, expected: Any, hint: object = "") -> None:
    """Fail unless two results, or tuples of results, hold the same bits."""
    if isinstance(expected, tuple):
        assert isinstance(actual, tuple), hint
        assert len(actual) == len(expected), hint
        for a, e in zip(actual, expected, strict=True):
            assert_same_bits(a, e, hint)
        return
    same = same_bits(actual, expected)
    if not same.all():
        wrong = np.flatnonzero(~same.ravel())
        a, e = np.ravel(actual)[wrong[:5]], np.ravel(expected)[wrong[:5]]
        raise AssertionError(
            f"{hint}: {wrong.size} of {same.size} {a.dtype} differ, first at "
            f"{wrong[:5]}: got {a}, expected {e}"
        )


def each(function: Callable[[Any], Any], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Apply something to every array of a tuple."""
    return tuple(map(function, arrays))


# How far one element of a row is above the others: it has little of the weight, most,
# nearly all.
LEADS = (
    *(0, 1, 2, 5, 12, 16, 17, 18, 20, 25, 30, 36, 37, 40, 60),
    *(75, 85, 90, 95, 104, 720, 735, 744),
)

# Lengths and levels of `lone_rows`.
LONE_ROWS = [(n, level) for n in (10, 500, 100_000) for level in (-6.75, 0, 30, 400)]


def lone_rows(length: int, level: float) -> np.ndarray[Any, Any]:
    """Rows whose first element has all the weight there is in float32."""
    x = np.full((20, length), -3000, np.float32)
    x[:, 0] = level
    return x
