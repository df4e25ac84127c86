"""The tables of the accuracy check, in Markdown, for the terminal and docs/accuracy.md.

    python -m accuracy.table

writes them into docs/accuracy.md from results.json; tests/test_ratchet.py fails when
they are not what it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastact.checking import adversarial
from fastact.commands.text import aligned
from fastact.formulas.entry import CATALOGUE

from .checker import DIRECTIONS
from .results import read_results
from .sweep import DTYPES, PATTERNS, Subject, Unit, units

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
BEGIN, END = "<!-- accuracy: begin -->\n", "<!-- accuracy: end -->\n"

TITLES = {
    "float32": "float32: all 2^32 inputs, or the number that is given",
    "float64": f"float64: observed at adversarial set {adversarial.VERSION}",
    "float16": "float16: all 65,536 inputs, or the number that is given",
    "bfloat16": "bfloat16: all 65,536 inputs, or the number that is given",
}
INPUTS = {"float32": PATTERNS, "float16": 1 << 16, "bfloat16": 1 << 16}
COLUMNS = ("bound", "max", "at", "mean", "correct")


def _inputs(subject: Subject, dtype: str, count: int) -> str:
    """Which inputs were checked, where it is not all of them."""
    limit = adversarial.accurate_up_to(subject.entry, subject.values(DTYPES[dtype]))
    some = count != INPUTS.get(dtype)
    parts = [f"{count:,} points"] * some + [f"abs(x) <= {limit:g}"] * math.isfinite(
        limit
    )
    return ", ".join(parts)


def _cells(unit: Unit, row: Mapping[str, Any] | None) -> tuple[str, ...]:
    if row is None:
        return ("",) * len(COLUMNS)
    subject, where = unit.subject, ""
    if row["where"] is not None:
        where = str(np.float64(float.fromhex(row["where"])).astype(DTYPES[unit.dtype]))
    return (
        f"{subject.entry.error_bound(subject.direction, unit.dtype, subject.parameters):g}",
        # rounded up: what stands there has not been exceeded
        f"{math.ceil(row['maximum'] * 1000) / 1000:.3f}"
        if math.isfinite(row["maximum"])
        else "inf",
        where,
        f"{row['mean']:.4f}",
        f"{math.floor(row['share_correct'] * 10_000) / 100:.2f} %",
    )


def tables(rows: Mapping[str, Mapping[str, Any]], names: list[str]) -> str:
    """Return one table for each dtype that occurs in the rows.

    Parameters
    ----------
    rows : mapping
        What was found, by `Unit.row`: a mapping with `count`, `maximum`, `where` (as
        hexadecimal text), `mean` and `share_correct`.
    names : list of str
        The functions, in the order of the tables.

    Returns
    -------
    str
        Markdown.
    """
    text = ""
    heads = [f"{d} {column}" for d in ("forward", "backward") for column in COLUMNS]
    for dtype, title in TITLES.items():
        lines = [("function", *heads, "inputs")]
        for unit in units(names, ["forward"], [dtype] if dtype in DTYPES else []):
            if unit.part:
                continue
            both = [
                Unit(Subject(unit.subject.name, d, unit.subject.parameters), dtype)
                for d in DIRECTIONS
            ]
            found = [rows.get(one.row) for one in both]
            counts = [row["count"] for row in found if row is not None]
            if counts:
                cells = [
                    c for pair in zip(both, found, strict=True) for c in _cells(*pair)
                ]
                inputs = _inputs(unit.subject, dtype, counts[0])
                lines.append((unit.subject.label, *cells, inputs))
        if len(lines) > 1:
            text += f"### {title}\n\n{aligned(lines)}\n"
    return text


def with_tables(page: str) -> str:
    """The text with its tables made anew."""
    measured, rows = read_results()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    how = ", ".join(f"{name.replace('_', ' ')} {how}" for name, how in measured.items())
    text = f"Measured with: {how}.\n\n{tables(rows, list(CATALOGUE))}"
    return before + BEGIN + text + END + after


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
