"""Ratios that are promised to be near 1, on one thread.

    python bench/ratios.py axes      # along the first axis, to along the last one
    python bench/ratios.py dtypes    # float32's speed to that of the 16-bit types

`axes` takes the functions along an axis, on float32 arrays of a million elements;
`dtypes` all elementwise ones, forward and backward, on ten million elements. What is
compared runs in turns, and the shortest times count. A name after the command, or
several, restrict it.
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
from fastact.formulas.entry import CATALOGUE
from fastact.ufuncs import ROW_FUNCTIONS

Array = np.ndarray[Any, Any]
SHAPES = ((1000, 1000), (1024, 1024), (2048, 512), (512, 2048))
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
ELEMENTS = 10_000_000


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
    numbers = [rng.standard_normal(ELEMENTS, np.float32) for _ in range(2)]
    print(" " * 32, *(f"{dtype:>12}" for dtype in DTYPES))
    for name in names or CATALOGUE:
        entry = CATALOGUE[name]
        x = (
            numbers[0]
            if entry.domain != (0, 1)
            else np.abs(numbers[0]).clip(0.01, 0.99)
        )
        needed = (
            () if entry.has_defaults else (WITHOUT_DEFAULT,) * len(entry.parameters)
        )
        for member in ("", "_backward"):
            calls = []
            for dtype in DTYPES.values():
                arrays = [x.astype(dtype)]
                if member:
                    arrays.insert(0, numbers[1].astype(dtype))
                calls.append(elementwise(name + member, arrays, needed))
            base, *others = shortest(calls, 5)
            ratios = (f"{base / other:12.2f}" for other in others)
            print(f"{name + member:32}", f"{base * 1e3:9.1f} ms", *ratios)


def elementwise(
    name: str, arrays: list[Array], parameters: tuple[float, ...]
) -> Callable[[], object]:
    """A call that writes to an array that is there already."""
    function, out = getattr(fa, name), np.ones_like(arrays[0])
    return lambda: function(*arrays, *parameters, out=out)


def main(arguments: list[str]) -> None:
    """Print one of the tables."""
    commands = {"axes": axes, "dtypes": dtypes}
    if not arguments or arguments[0] not in commands:
        sys.exit(__doc__)
    fa.set_num_threads(1)
    commands[arguments[0]](arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
