"""What `fastact.experimental` gains: on its own, because it changes NumPy's own ways.

    python bench/experimental.py [rounds]

Prints medians and minima of milliseconds. What is compared runs in turns, so that all
have the same share of what else the machine does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np

import fastact as fa
from fastact.experimental import memory_pool, share_threads_with_blas

LONGER_THAN_OPENBLAS_SPINS = 0.3  # seconds; 2**28 ticks of the processor


def _milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def _show(times: dict[str, list[float]], unit: str) -> None:
    print(f"{'':42}    median   minimum   median / {unit}")
    base = median(times[unit])
    for name, values in times.items():
        print(
            f"{name:42}{median(values):10.2f}{min(values):10.2f}"
            f"{median(values) / base:10.2f}"
        )


def beside_blas(rounds: int) -> None:
    """Gelu right after a matrix product, on one thread and on all."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((600, 600), np.float32)
    product = np.empty_like(matrix)
    x = rng.standard_normal(1_000_000, np.float32)
    y = np.empty_like(x)
    threads = fa.get_num_threads()
    settings = [
        (f"{who}, gelu on {n} thread{'s' if n > 1 else ''}", share, n)
        for who, share in (("OpenBLAS's threads", False), ("shared threads", True))
        for n in dict.fromkeys((1, threads))
    ]
    times: dict[str, list[float]] = {name: [] for name, _, _ in settings}
    products: dict[str, list[float]] = {name: [] for name, _, _ in settings}
    for _ in range(rounds):
        for name, share, n in settings:
            share_threads_with_blas(share)
            time.sleep(LONGER_THAN_OPENBLAS_SPINS)
            with fa.num_threads(n):
                for turn in range(12):
                    product_time = _milliseconds(
                        lambda: np.matmul(matrix, matrix, out=product)
                    )
                    gelu_time = _milliseconds(lambda: fa.gelu(x, out=y))
                    if turn >= 2:  # by then all threads have started
                        products[name].append(product_time)
                        times[name].append(gelu_time)
    share_threads_with_blas(False)
    print("gelu of 1,000,000 float32 right after a product of 600 x 600, ms")
    _show(times, settings[-2][0] if threads > 1 else settings[-1][0])
    print("\nthat product, ms")
    _show(products, settings[0][0])


def new_arrays(rounds: int) -> None:
    """Gelu into a new array, with and without the pool, and into one that is there."""
    x = np.random.default_rng(0).standard_normal(10_000_000, np.float32)
    out = np.empty_like(x)

    def calls() -> Iterator[tuple[str, float]]:
        for _ in range(3):
            yield "out=", _milliseconds(lambda: fa.gelu(x, out=out))
        y = fa.gelu(x)
        for _ in range(3):
            begin = time.perf_counter()
            y = fa.gelu(x)  # while the last one is still there, as in a loop
            yield "a new array", (time.perf_counter() - begin) * 1e3
        with memory_pool():
            for turn in range(5):
                begin = time.perf_counter()
                y = fa.gelu(x)
                if turn >= 2:
                    passed = (time.perf_counter() - begin) * 1e3
                    yield "a new array in memory_pool(), from the third", passed
        del y

    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in calls():
            times.setdefault(name, []).append(value)
    print("\ny = gelu(x) of 10,000,000 float32, ms")
    _show(times, "out=")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    beside_blas(count)
    new_arrays(count)
