"""Throughput of every activation, forward and backward, against plain NumPy.

Inputs are random numbers, N(0, 1). fastact writes into an output that is there already
(`out=`); the plain NumPy expressions cannot, they allocate their results as they do in
their users' programs. Every implementation is compared with the plain expression in
float64 before it is timed, which also warms it up and lets Numba compile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from implementations import HAS_NUMBA, ISA, SMALL, Case

import fastact as fa

# Time for the measurement of one case, and the least duration of one round in it: the
# clock's resolution must not matter, yet short rounds find the quiet moments of a
# machine that others use too.
SECONDS, SECONDS_SMALL = 0.22, 0.05
ROUND = 100e-6


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


def test_throughput(case: Case, benchmark: Any) -> None:
    implementation = case.implementation
    if implementation.backend == "numba" and not HAS_NUMBA:
        pytest.skip('Numba is not installed: pip install "fastact[numba]"')
    arguments = case.arguments()
    elements = math.prod(case.shape)
    function = case.callable()
    benchmark.group = case.group
    benchmark.extra_info.update(
        implementation=implementation.name,
        function=case.label,
        direction=case.direction,
        dtype=case.dtype,
        elements=elements,
        threads=implementation.threads,
        isa=ISA,
        checked=False,
    )
    keywords = {}
    function = case.callable()
    if implementation.backend is not None:
        fa.set_backend(implementation.backend)
        fa.set_num_threads(implementation.threads)
        if elements >= SMALL:
            # Written to, so that no page of it is touched for the first time later.
            out = tuple(map(np.array, _as_tuple(function(*arguments))))
            if out[0].ndim:  # a mean loss has no array to write to
                keywords["out"] = out if len(out) > 1 else out[0]

    def call() -> Any:
        return function(*arguments, **keywords)

    check(call(), case, arguments)
    benchmark.extra_info["checked"] = True
    benchmark.pedantic(
        function,
        arguments,
        keywords,
        warmup_rounds=2,
        **rounds(call, SECONDS if elements >= SMALL else SECONDS_SMALL),
    )
