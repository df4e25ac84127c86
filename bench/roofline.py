"""What the machine allows: its memory's bandwidth, and its fused multiply-adds.

    python bench/roofline.py --sizes 1000,10000000 --threads 2

Prints JSON. Bandwidth depends on where the arrays are: it is measured at every size. Both
are measured on one thread and on all, and what is better counts.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from implementations import parse_sizes

from accuracy.checker import build

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp")
WARNINGS = ("-Wall", "-Wextra")
C_TYPES = {"float32": "float", "float64": "double"}
SECONDS = 0.2  # for each of the measurements
FMA_REPETITIONS = 100_000


def _library() -> tuple[FFI, Any]:
    ffi = FFI()
    for real in C_TYPES.values():
        ffi.cdef(
            f"void copy_in_place_{real}({real} *x, size_t n, size_t passes, int threads);"
            f"size_t fma_in_registers_{real}({real} *sink, size_t n, int threads);"
        )
    path = build((SOURCE,), (SOURCE,), (*FLAGS, *WARNINGS))
    # never unloaded: OpenMP's threads outlive the last call
    return ffi, ffi.dlopen(str(path), ffi.RTLD_NOW | ffi.RTLD_NODELETE)


def _shortest(call: Callable[[], Any]) -> float:
    end = time.perf_counter() + SECONDS
    shortest = float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def measure(sizes: tuple[int, ...], threads: int) -> dict[str, Any]:
    """Measure bandwidth and arithmetic.

    Parameters
    ----------
    sizes : tuple of int
        Elements of the arrays that are passed over.
    threads : int
        How many threads to use.

    Returns
    -------
    dict
        By dtype: `bytes_per_second`, read and written together, by size; and
        `fma_per_second`, of single elements.
    """
    ffi, library = _library()
    found: dict[str, Any] = {}
    for dtype, real in C_TYPES.items():
        copy = getattr(library, f"copy_in_place_{real}")
        fma = getattr(library, f"fma_in_registers_{real}")
        bandwidth = {}
        for size in sizes:
            array = np.ones(size, dtype)
            at = ffi.from_buffer(f"{real}[]", array)
            # many at once, where one takes no longer than the clock's ticks
            passes = max(1, 1_000_000 // size)
            seconds = min(
                _shortest(functools.partial(copy, at, size, passes, used))
                for used in {1, threads}
            )
            bandwidth[str(size)] = 2 * array.nbytes * passes / seconds
        sink = ffi.new(f"{real} *")
        arithmetic = max(
            fma(sink, FMA_REPETITIONS, used)
            / _shortest(functools.partial(fma, sink, FMA_REPETITIONS, used))
            for used in {1, threads}
        )
        found[dtype] = {
            "bytes_per_second": bandwidth,
            "fma_per_second": arithmetic,
        }
    return found


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=parse_sizes, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    json.dump(measure(arguments.sizes, arguments.threads), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
