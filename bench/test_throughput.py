"""Throughput of every activation, forward and backward, against plain NumPy.

Inputs are random numbers, N(0, 1). fastact writes into an output that is there already
(`out=`); the plain NumPy expressions cannot, they allocate their results as they do in
their users' programs. Every implementation is compared with the plain expression in
float64 before it is timed, which also warms it up and lets Numba compile.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from implementations import HAS_NUMBA, ISA, SMALL, Case

import fastact as fa
from fastact.commands.cases import check, rounds

# Time for the measurement of one case.
SECONDS, SECONDS_SMALL = 0.22, 0.05


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
    if implementation.backend is not None:
        fa.set_backend(implementation.backend)
        fa.set_num_threads(implementation.threads)
    keywords = case.keywords(arguments)

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
