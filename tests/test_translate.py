"""How recorded formulas become kernels (formulas/translate.py)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from fastact.formulas.kernels import kernels
from fastact.formulas.language import FLOAT16, FLOAT32, FLOAT64, Precision, Value
from fastact.formulas.translate import (
    MOST_KEPT,
    SHORTER_WAY,
    _cycles,
    ordered,
    steps,
)


def _way(outputs: Iterable[Value], known: Iterable[Value]) -> int:
    """Cycles from inputs and known values to the last of the outputs."""
    ends = {id(value): 0 for value in known}
    for value in ordered(outputs, known):
        begins = [ends[id(a)] for a in value.arguments if isinstance(a, Value)]
        ends[id(value)] = max(begins, default=0) + _cycles(value)
    return max(ends.values())


@pytest.mark.parametrize("precision", [FLOAT16, FLOAT32, FLOAT64], ids=str)
def test_steps_shorten_the_way(precision: Precision) -> None:
    for kernel in kernels():
        _, outputs = kernel.record(precision)
        parts = steps(outputs)
        assert parts[-1] == outputs
        kept: list[Value] = []
        ways = []
        for part in parts:
            ways.append(_way(part, kept))
            kept += part
        assert len(parts) == 1 or max(ways) < _way(outputs, ()) - SHORTER_WAY
        for part in parts[:-1]:
            assert 0 < len(part) <= MOST_KEPT
            assert all(value.kind == "real" for value in part)


def test_long_kernels_have_steps_and_short_ones_have_one() -> None:
    counts = {k.name: len(steps(k.record(FLOAT32)[1])) for k in kernels()}
    assert counts["relu"] == counts["sigmoid"] == 1
    assert counts["silu_backward"] > 1
    assert counts["gelu_tanh"] > 1
