"""The errors of fastact and its peers as a table in docs/accuracy.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fastact.formulas.kernels import DERIVATIVE, FORWARD

from .checker import DIRECTIONS, Direction
from .differences import differences
from .peer_functions import NOTES, SYSTEMS

RESULT = Path(__file__).with_name("peers.json")
DOCUMENT = Path(__file__).parents[1] / "docs" / "accuracy.md"
BEGIN, END = "<!-- peers: begin -->\n", "<!-- peers: end -->\n"
# The kinds of arguments.
DATA = {
    "all": "All sizes: every {stride}bit pattern",
    "normal numbers": "The same without subnormal arguments and results",
    "N(0, 1)": "{samples:,} normally distributed arguments, N(0, 1)",
}
# Errors that footnotes explain.
LARGE = 2.0
# About the largest of ten million normally distributed numbers, rounded up.
REACHED_BY_SAMPLES = 6
MEMBERS = {"forward": FORWARD, "derivative": DERIVATIVE}


def read() -> dict[str, Any]:
    """The committed result."""
    result: dict[str, Any] = json.loads(RESULT.read_text())
    return result


def _shown(error: float | str) -> str:
    if isinstance(error, str):
        return error
    mantissa, e, exponent = f"{error:.3g}".partition("e+")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def _size(shown: str) -> float:
    """Of a number as shown: ">4095" is the least that it can be."""
    return float(shown.removeprefix(">"))


def _remarks(system: str, function: str, direction: Direction, data: str) -> list[str]:
    """Why the error is what it is, where that is known."""
    known = [
        (place.point, difference.why)
        for place, difference in differences().items()
        if (place.system, place.function) == (system, function)
        and (place.member, place.dtype) == (MEMBERS[direction], np.float32)
        and (place.is_range or place.point.startswith("x just "))
    ]
    known += NOTES.get((system, function, direction), [])
    return [
        f"{point}: {why}"
        for point, why in known
        if data != "N(0, 1)" or abs(float(point.split()[-1])) <= REACHED_BY_SAMPLES
    ]


class Footnotes:
    """Numbered in the order in which they are first needed."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def marks(self, texts: list[str]) -> str:
        if not texts:
            return ""
        text = "; ".join(texts)
        number = self.numbers.setdefault(text, len(self.numbers) + 1)
        return f" <sup>{number}</sup>"

    def list(self) -> str:
        return "".join(f"{number}. {text}\n" for text, number in self.numbers.items())


def row(
    errors: dict[str, Any],
    function: str,
    direction: Direction,
    data: str,
    notes: Footnotes,
) -> str:
    """Both numbers of every library, the smallest of each emphasised."""
    pairs = {
        system: [_shown(found[data][which]) for which in ("maximum", "percentile")]
        for system in SYSTEMS
        if (found := errors.get(f"{function} {direction} {system}"))
    }
    if not pairs:
        return ""
    best = [min(column, key=_size) for column in zip(*pairs.values(), strict=True)]
    cells = [f"`{function}`" + ("" if direction == "forward" else " backward")]
    for system in SYSTEMS:
        if system not in pairs:
            cells.append("")
            continue
        numbers = " / ".join(
            f"**{number}**" if number == least else number
            for number, least in zip(pairs[system], best, strict=True)
        )
        is_large = _size(pairs[system][0]) > LARGE
        remarks = _remarks(system, function, direction, data) if is_large else []
        cells.append(numbers + notes.marks(remarks))
    return f"| {' | '.join(cells)} |\n"


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number // 10 % 10 == 1 else suffix}"


def table(result: dict[str, Any]) -> str:
    """Machine, versions, a table for each kind of arguments, and footnotes."""
    settings, errors = result["settings"], result["errors"]
    how = settings["machine"]
    facts = [
        f"fastact {how['fastact']}",
        *(f"{system} {version}" for system, version in settings["peers"].items()),
        f"NumPy {how['numpy']}",
        how["c_library"],
        f"{how['processor']} ({how['instruction_set']})",
    ]
    if "date" in result:
        facts.append(result["date"])
    text = f"Measured with {', '.join(facts)}.\n"
    stride = settings["stride"]
    functions = dict.fromkeys(key.split()[0] for key in sorted(errors))
    notes = Footnotes()
    for data, title in DATA.items():
        every = "" if stride == 1 else f"{_ordinal(stride)} "
        heading = title.format(stride=every, samples=settings["samples"])
        text += f"\n**{heading}**\n\n| | {' | '.join(SYSTEMS)} |\n"
        text += "| --- " * (len(SYSTEMS) + 1) + "|\n"
        for function in functions:
            for direction in DIRECTIONS:
                text += row(errors, function, direction, data, notes)
    return f"{text}\n{notes.list()}"


def with_table(document: str) -> str:
    """The text with its table made anew."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table(read())}{END}{after}"


def write_table() -> None:
    """Write the table of the committed result into the documentation."""
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
