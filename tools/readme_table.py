"""Writes the tables of functions into README.md, from the catalogue.

    python tools/readme_table.py

`tests/test_readme.py` fails when they are not what the catalogue says.
"""

from __future__ import annotations

from pathlib import Path

from fastact.formulas.entry import CATALOGUE, FUSED, Activation, Entry
from fastact.formulas.rows import ROW_FUNCTIONS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- functions: begin -->\n", "<!-- functions: end -->\n"

MODULES = {
    "piecewise": "Piecewise linear and quadratic",
    "sigmoidal": "Sigmoidal",
    "normal": "Normal distribution",
    "exponential": "Exponentials",
    "softplus": "Logarithms",
    "self_gated": "x times a sigmoid",
    "smooth": "Square roots and hyperbolic functions",
    "periodic": "Periodic",
}


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _parameters(entry: Entry) -> str:
    shown = tuple(
        p.name if p.default is None else f"{p.name}={p.default:g}"
        for p in entry.parameters
    )
    must = "; ".join(str(r) for r in entry.requirements)
    return _code(shown) + (f"; {must}" if must else "")


def _from_output(entry: Activation) -> str:
    if entry.from_output_formula is None:
        return "no"
    conditions = (
        f"{r.name} {r.relation} {r.bound}" for r in entry.from_output_requirements
    )
    return ", ".join(["yes", *(c.removesuffix(".0") for c in conditions)])


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def elementwise_table() -> str:
    """Activations of one array, by the module that holds their formulas."""
    text = ""
    for module, title in MODULES.items():
        rows = [
            (
                f"`{entry.name}`",
                entry.formula,
                _parameters(entry),
                _code(entry.aliases),
                _from_output(entry),
            )
            for entry in CATALOGUE.values()
            if entry.forward.__module__.endswith("." + module)
        ]
        header = (title, "Formula", "Parameters", "Other names", "Gradient from output")
        text += _table(header, rows) + "\n"
    return text


def gate_table() -> str:
    """Functions of a gate and a value."""
    rows = [
        (f"`{e.name}`", e.formula, _parameters(e), e.packed_gate)
        for e in FUSED.values()
        if e.packed_gate is not None
    ]
    return _table(("Gates", "Formula", "Parameters", "Packed: gate is"), rows) + "\n"


def row_table() -> str:
    """Functions along an axis."""
    rows = [
        (f"`{name}`", facts.formula, "yes" if facts.from_output else "no")
        for name, facts in ROW_FUNCTIONS.items()
    ]
    return _table(("Along an axis", "Formula", "Gradient from output"), rows)


def tables() -> str:
    """All tables, as README.md has them."""
    return elementwise_table() + gate_table() + row_table()


def with_tables(readme: str) -> str:
    """The text with its tables made anew."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + tables() + END + after


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
