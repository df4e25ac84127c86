"""Ratios that are promised to be near 1, on one thread.

    python bench/ratios.py axes      # along the first axis, to along the last one
    python bench/ratios.py dtypes    # float32's speed to that of the 16-bit types

`axes` takes the functions along an axis, on float32 arrays of a million elements;
`dtypes` all functions, forward and backward, on ten million elements. What is compared
runs in turns, and the shortest times count. A name after the command, or several,
restrict it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from implementations import WITHOUT_DEFAULT

import fastact as fa
from fastact.formulas.entry import Activation
from fastact.formulas.kernels import ENTRIES
from fastact.ufuncs import ROW_FUNCTIONS

Array = np.ndarray[Any, Any]
SHAPES = (
    (1000, 1000),
    (1024, 1024),
    (2048, 512),
    (512, 2048),
    (64, 15_625),
    (16, 62_500),
)
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
ROWS = (10_000, 1_000)
POOL = 4  # elements of a group


def shortest(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """The least time of each call, in seconds."""
    times = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            times[i] = min(times[i], time.perf_counter() - begin)
    return times


def axes(names: list[str]) -> None:
    """Print the time along the first axis over that along the last one."""
    rng = np.random.default_rng(0)
    print(" " * 32, *(f"{' x '.join(map(str, shape)):>12}" for shape in SHAPES))
    for name in names or ROW_FUNCTIONS:
        facts = ROW_FUNCTIONS[name]
        for member in () if facts.pools else facts.members:
            ratios = []
            for shape in SHAPES:
                last = rng.standard_normal(shape[::-1], np.float32)
                dy = rng.standard_normal(shape[::-1], np.float32)
                if member.endswith("from_output"):
                    last = getattr(fa, name)(last)
                first, dy_first = last.T.copy(), dy.T.copy()
                if facts.reduces:
                    dy = dy_first = dy[:, 0].copy()
                calls = [
                    along(name + member, dy_first, first, 0),
                    along(name + member, dy, last, -1),
                ]
                one, other = shortest(calls, 20)
                ratios.append(one / other)
            print(f"{name + member:32}", *(f"{ratio:12.2f}" for ratio in ratios))


def along(name: str, dy: Array, x: Array, axis: int) -> Callable[[], object]:
    """A call along an axis, to an array that is there already."""
    function = getattr(fa, name)
    arrays = (dy, x) if "_backward" in name else (x,)
    out = np.array(function(*arrays, axis=axis))
    return lambda: function(*arrays, axis=axis, out=out)


def dtypes(names: list[str]) -> None:
    """Print float32's time over that of the 16-bit types."""
    rng = np.random.default_rng(0)
    normal = [rng.standard_normal(ROWS, np.float32) for _ in range(3)]
    print(" " * 32, *(f"{dtype:>12}" for dtype in DTYPES))
    for name in names or (*ENTRIES, *ROW_FUNCTIONS):
        calls = along_rows if name in ROW_FUNCTIONS else elementwise
        for member in ("", "_backward"):
            base, *others = shortest(
                [calls(name, member, normal, dtype) for dtype in DTYPES.values()], 5
            )
            ratios = (f"{base / other:12.2f}" for other in others)
            print(f"{name + member:32}", f"{base * 1e3:9.1f} ms", *ratios)


def elementwise(
    name: str, member: str, normal: list[Array], dtype: Any
) -> Callable[[], object]:
    """A call that writes to arrays that are there already."""
    entry = ENTRIES[name]
    function = getattr(fa, name + member, None) or getattr(fa.ufuncs, name + member)
    dys = normal[: len(entry.results)] if member else []
    xs = normal[len(dys) : len(dys) + len(entry.arrays)]
    if isinstance(entry, Activation) and entry.domain == (0, 1):
        xs = [np.abs(x).clip(0.01, 0.99) for x in xs]
    arrays = [a.astype(dtype) for a in (*dys, *xs)]
    missing = 0 if entry.has_defaults else len(entry.parameters)
    parameters = (WITHOUT_DEFAULT,) * missing
    results = entry.arrays if member else entry.results
    out = tuple(np.ones_like(arrays[0]) for _ in results)
    return lambda: function(*arrays, *parameters, out=out)


def along_rows(
    name: str, member: str, normal: list[Array], dtype: Any
) -> Callable[[], object]:
    """The same along the last axis."""
    facts = ROW_FUNCTIONS[name]
    dy, x = (array.astype(dtype) for array in normal[:2])
    if facts.pools:
        groups = x.shape[1] // POOL
        out = x.copy() if member else dy[:, :groups].copy()
        arrays = (dy[:, :groups].copy(), x) if member else (x,)
        function = getattr(fa, name + member)
        return lambda: function(*arrays, POOL, out=out)
    return along(name + member, dy[:, 0].copy() if facts.reduces else dy, x, -1)


def main(arguments: list[str]) -> None:
    """Print one of the tables."""
    commands = {"axes": axes, "dtypes": dtypes}
    if not arguments or arguments[0] not in commands:
        sys.exit(__doc__)
    fa.set_num_threads(1)
    commands[arguments[0]](arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
