"""The comparison of errors with other libraries: its table is what was measured."""

from __future__ import annotations

import itertools

import pytest

from accuracy import peers_table
from accuracy.checker import DIRECTIONS
from accuracy.peer_functions import BACKWARD, FORWARD, NOTES, SYSTEMS, has, shared
from fastact.formulas.entry import CATALOGUE


def test_the_table_in_the_documentation_is_that_of_the_result() -> None:
    document = peers_table.DOCUMENT.read_text()
    assert peers_table.with_table(document) == document


def test_every_shared_function_was_measured() -> None:
    every = itertools.product(shared(), DIRECTIONS, SYSTEMS)
    expected = {f"{f} {d} {s}" for f, d, s in every if has(s, f, d)}
    errors = peers_table.read()["errors"]
    assert errors.keys() == expected
    for key, found in errors.items():
        assert found.keys() == peers_table.DATA.keys(), key
        assert all(facts["count"] for facts in found.values()), key


@pytest.mark.parametrize("table", [FORWARD, BACKWARD], ids=["forward", "backward"])
def test_peers_have_functions_of_the_catalogue(
    table: dict[str, dict[str, str]],
) -> None:
    assert {function for found in table.values() for function in found} <= {*CATALOGUE}


def test_every_footnote_belongs_to_a_function() -> None:
    assert all(has(system, function, way) for system, function, way in NOTES)


def _row(data: str, **errors: tuple[float | str, float | str]) -> str:
    result = {
        f"gelu forward {system}": {data: {"maximum": maximum, "percentile": percentile}}
        for system, (maximum, percentile) in errors.items()
    }
    footnotes = peers_table.Footnotes()
    return peers_table.row(result, "gelu", "forward", data, footnotes)


def test_the_smallest_number_is_bold_whoever_has_it() -> None:
    row = _row("N(0, 1)", fastact=(1.2345, 0.5), SciPy=(0.75, 0.5), thinc=("inf", ">9"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[1:6] == ["`gelu`", "1.23 / **0.5**", "", "", "**0.75** / **0.5**"]
    assert cells[6].startswith("inf / >9 <sup>1</sup>")


def test_footnotes_say_what_matters_for_the_arguments() -> None:
    footnotes = peers_table.Footnotes()
    for data in ("all", "N(0, 1)"):
        found = {data: {"maximum": 9.0, "percentile": 1.0}}
        errors = {"gelu forward PyTorch": found}
        peers_table.row(errors, "gelu", "forward", data, footnotes)
    everywhere, near_zero = footnotes.numbers
    assert everywhere.startswith(near_zero)
    assert "1e38" in everywhere
    assert "1e38" not in near_zero


def test_small_errors_need_no_footnote() -> None:
    assert "<sup>" in _row("all", PyTorch=(2.01, 1.0))
    assert "<sup>" not in _row("all", PyTorch=(2.0, 1.0))


def test_a_missing_function_has_no_row() -> None:
    row = peers_table.row({}, "gelu", "forward", "all", peers_table.Footnotes())
    assert row == ""
