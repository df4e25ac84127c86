"""No error grows: a sample of all inputs, and all known worst cases.

`accuracy/ratchet.json` has the maxima that `python -m accuracy` found on all inputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastact as fa
from accuracy import results, sweep, table
from accuracy.checker import Tally
from accuracy.sweep import DTYPES, Unit
from fastact import _core
from fastact.formulas.entry import CATALOGUE

RATCHET = results.read_ratchet()
ROWS = [unit for unit in sweep.everything() if unit.part == 0]


@pytest.fixture(params=_core.available_instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run on this instruction set, and go back to the best one."""
    assert fa.lib.fa_select_isa(request.param.encode()) == 0
    yield request.param
    fa.lib.fa_select_isa(_core.instruction_set.encode())


def _errors(unit: Unit) -> Tally:
    subject, dtype = unit.subject, DTYPES[unit.dtype]
    kernel = subject.kernel()
    cases = results.cases(RATCHET[unit.row], dtype)
    if unit.dtype == "float64":  # the rest of its points are in test_accuracy.py
        return sweep.check_float64(subject, kernel, cases)
    if unit.dtype != "float32":
        return sweep.check_16_bits(subject, kernel, dtype)
    found = sweep.check_sample(subject, kernel)
    found.merge(sweep.count_errors(subject, kernel, cases))
    return found


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_error_has_grown(name: str, instruction_set: str) -> None:
    rows = {unit.row: _errors(unit) for unit in ROWS if unit.subject.name == name}
    assert not results.grown(rows)


def test_every_function_has_its_maxima() -> None:
    assert set(RATCHET) == {unit.row for unit in ROWS}


def test_maxima_are_within_the_bounds_of_the_catalogue() -> None:
    beyond = {
        unit.row: RATCHET[unit.row]["maximum"]
        for unit in ROWS
        if RATCHET[unit.row]["maximum"]
        > table.bound(unit.subject.entry, unit.subject.direction, unit.dtype)
    }
    assert not beyond


def test_the_page_says_what_was_measured() -> None:
    text = table.PAGE.read_text()
    assert table.with_tables(text) == text, "run python -m accuracy.table"
