"""No error grows: a sample of all inputs, and all known worst cases.

`accuracy/ratchet.json` has the maxima that `python -m accuracy` found on all inputs.
"""

from __future__ import annotations

import pytest

import fastact as fa
from accuracy import results, sweep, table
from accuracy.checker import Tally
from accuracy.sweep import DTYPES, Unit
from fastact.formulas.entry import CATALOGUE

RATCHET = results.read_ratchet()
ROWS = [unit for unit in sweep.everything() if unit.part == 0]


def _errors(unit: Unit) -> Tally:
    subject, dtype = unit.subject, DTYPES[unit.dtype]
    kernel = subject.kernel()
    found = sweep.check_points(subject, kernel, results.cases(unit.row, dtype))
    if unit.dtype == "float32":
        found.merge(sweep.check_sample(subject, kernel))
    elif unit.dtype != "float64":  # its points are in test_accuracy.py
        found.merge(sweep.check_16_bits(subject, kernel, dtype))
    return found


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("name", CATALOGUE)
def test_no_error_has_grown(name: str) -> None:
    rows = {unit.row: _errors(unit) for unit in ROWS if unit.subject.name == name}
    assert not results.grown(rows)


def test_every_function_has_its_maxima() -> None:
    assert set(RATCHET) == {unit.row for unit in ROWS}


def test_maxima_are_within_the_bounds_of_the_catalogue() -> None:
    """At the default parameters, for which they are given."""
    beyond = {
        unit.row: RATCHET[unit.row]["maximum"]
        for unit in ROWS
        if not unit.subject.parameters
        and RATCHET[unit.row]["maximum"]
        > unit.subject.entry.error_bound(unit.subject.direction, unit.dtype)
    }
    assert not beyond


@pytest.mark.parametrize("name", CATALOGUE)
def test_docstrings_say_the_bounds_of_the_catalogue(name: str) -> None:
    entry = CATALOGUE[name]
    forward, backward = f"{entry.bound:g} ULP", f"{entry.backward_bound:g} ULP"
    for member, text in (
        ("", f"At most {forward} from the exact"),
        ("_derivative", f"At most {backward} from the exact"),
        ("_backward", f"At most {backward} from the exact"),
        ("_with_derivative", f"At most {forward}, the derivative {backward} from the"),
    ):
        assert text in _words(name + member)
    assert "default parameters, dy = 1" in _words(f"{name}_backward")


def _words(function: str) -> str:
    """A docstring without its line breaks."""
    return " ".join(getattr(fa, function).__doc__.split())


def test_the_page_says_what_was_measured() -> None:
    text = table.PAGE.read_text()
    assert table.with_tables(text) == text, "run python -m accuracy.table"
