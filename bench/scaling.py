"""How throughput grows with threads: fastact's own, and those of the program.

    python bench/scaling.py
    python bench/scaling.py --functions mish,np.exp --sizes 10000,1000000 --threads 1,2

The first table has one call at a time on 1, 2, 4 ... of fastact's threads, the second one
several Python threads that call at once, each on arrays of its own, with fastact's threads
left as they are. Both are float32, in turns, medians of several rounds: billions of
elements per second in the first column, multiples of it in the others.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from implementations import parse_sizes
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

import fastact as fa
from fastact.commands.text import progress

FUNCTIONS = "sigmoid,gelu,gelu_backward,softmax,relu"
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
ROW = 100  # elements of a row of softmax
ROUNDS = 5
SECONDS = 0.2  # of each measurement
CALLERS = (1, 2, 4)

Call = Callable[[], object]


def make_call(name: str, count: int, seed: int) -> Call:
    """A call that works on arrays of its own and writes to one that is there."""
    function = getattr(np, name[3:]) if name.startswith("np.") else getattr(fa, name)
    rng = np.random.default_rng(seed)
    row = min(count, ROW)
    shape = (count // row, row) if name.startswith("softmax") else (count,)
    arrays = [
        rng.standard_normal(shape, np.float32)
        for _ in range(2 if "_backward" in name else 1)
    ]
    out = np.empty(shape, np.float32)
    # Once, so that what takes other arguments fails here, and not in a thread.
    function(*arrays, out=out)
    return lambda: function(*arrays, out=out)


def throughput(groups: list[list[Call]]) -> float:
    """Calls per second; each group's calls take turns in a thread of their own."""
    done = [0] * len(groups)
    together = threading.Barrier(len(groups) + 1)
    stopped = threading.Event()

    def work(i: int) -> None:
        together.wait()
        while not stopped.is_set():
            for call in groups[i]:
                call()
            done[i] += len(groups[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(groups))]
    for thread in threads:
        thread.start()
    together.wait()
    begin = time.perf_counter()
    time.sleep(SECONDS)
    stopped.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - begin)


def row(name: str, count: int, medians: list[float]) -> list[str]:
    """A line of a table: the first throughput, and the others as multiples of it."""
    first, *others = medians
    multiples = [f"{other / first:.2f}" for other in others]
    return [name, f"{count:,}", f"{first * count / 1e9:.2f}", *multiples]


def medians(measure: Callable[[int], float], numbers: tuple[int, ...]) -> list[float]:
    """The median of each, measured in turns."""
    rounds = [[measure(n) for n in numbers] for _ in range(ROUNDS)]
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


def own_threads(name: str, count: int, threads: tuple[int, ...]) -> list[float]:
    """Throughput of one caller on these numbers of fastact's threads."""
    call = make_call(name, count, seed=0)

    def measure(n: int) -> float:
        with fa.num_threads(n):
            return throughput([[call]])

    return medians(measure, threads)


def callers(name: str, count: int) -> list[float]:
    """Throughput of several Python threads; all have the same memory to go through."""
    calls = [make_call(name, count, seed) for seed in range(max(CALLERS))]
    return medians(lambda n: throughput([calls[i::n] for i in range(n)]), CALLERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    available = fa.get_num_threads()
    powers = [1 << i for i in range(available.bit_length())]
    parser.add_argument("--functions", default=FUNCTIONS, help=f"default: {FUNCTIONS}")
    parser.add_argument("--sizes", type=parse_sizes, default=SIZES)
    parser.add_argument("--threads", type=parse_sizes, default=tuple(powers))
    options = parser.parse_args()
    cells: list[tuple[str, int]] = [
        (name, size) for name in options.functions.split(",") for size in options.sizes
    ]
    own = table("threads of fastact", options.threads)
    python = table(f"Python threads, {available} of fastact", CALLERS)
    with progress(2 * len(cells)) as step:
        for name, count in cells:
            step(f"{name}, {count:,} elements, threads of fastact")
            own.add_row(*row(name, count, own_threads(name, count, options.threads)))
            step(f"{name}, {count:,} elements, Python threads")
            python.add_row(*row(name, count, callers(name, count)))
    for finished in (own, python):
        Console(width=100).print(finished)


def table(title: str, numbers: tuple[int, ...]) -> Table:
    """An empty table with a column for each number of threads."""
    made: Any = Table(title=title, box=MARKDOWN)
    made.add_column("")
    for heading in ("elements", *map(str, numbers)):
        made.add_column(heading, justify="right")
    return made


if __name__ == "__main__":
    main()
