"""How recorded formulas become kernels (formulas/translate.py)."""

from __future__ import annotations

import pytest

from fastact.formulas.kernels import kernels
from fastact.formulas.language import FLOAT32, FLOAT64, Precision, Value
from fastact.formulas.translate import MOST_KEPT, ordered, steps


@pytest.mark.parametrize("precision", [FLOAT32, FLOAT64], ids=str)
def test_steps_have_what_they_need(precision: Precision) -> None:
    """Every value is computed once or again, from inputs or from what was kept."""
    for kernel in kernels():
        _, outputs = kernel.record(precision)
        parts = steps(outputs)
        assert parts[-1] == outputs
        kept: list[Value] = []
        for part in parts:
            done = {id(value) for value in kept}
            for value in ordered(part, kept):
                needed = [a for a in value.arguments if isinstance(a, Value)]
                assert all(id(a) in done for a in needed), kernel.name
                done.add(id(value))
            assert {id(value) for value in part} <= done
            kept += part
        for part in parts[:-1]:
            assert 0 < len(part) <= MOST_KEPT
            assert all(value.kind == "real" for value in part)


def test_long_kernels_have_steps_and_short_ones_have_one() -> None:
    counts = {k.name: len(steps(k.record(FLOAT32)[1])) for k in kernels()}
    assert counts["relu"] == counts["sigmoid"] == 1
    assert counts["silu_backward"] > 1
    assert counts["gelu_tanh"] > 1
