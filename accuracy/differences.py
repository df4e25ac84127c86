"""The table of intended differences from PyTorch and JAX, docs/differences.md, read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastact.formulas.kernels import DERIVATIVE, FORWARD

TABLE = Path(__file__).resolve().parent.parent / "docs" / "differences.md"
COLUMNS = ["function", "system", "where", "that system", "fastact", "why"]


class Place(NamedTuple):
    """Where two systems differ: what a row of the table is looked up by.

    `point` is as in the table, such as "x = inf", "x < -3", "default of approximate".
    """

    function: str
    system: str
    point: str
    member: str
    dtype: type[np.floating[Any]]

    @property
    def is_range(self) -> bool:
        """Whether `point` is a range of x."""
        return self.point.split()[1] in ("<", ">")

    @property
    def bound(self) -> float:
        """Where the range ends."""
        return float(self.point.split()[2])

    def contains(self, x: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Which elements of x are in the range."""
        variable, relation, _ = self.point.split()
        size = {"x": x, "|x|": np.abs(x)}[variable]
        inside: NDArray[np.bool_] = (
            size < self.bound if relation == "<" else size > self.bound
        )
        return inside


class Difference(NamedTuple):
    """What a row of the table says of a place."""

    theirs: str
    ours: str
    why: str


def _places(function: str, system: str, where: str) -> Iterator[Place]:
    point, _, qualifiers = where.removesuffix(")").partition(" (")
    words = qualifiers.split()
    unknown = {*words} - {"derivative", "float32", "float64"}
    if unknown or len(point.split()) < 3:
        raise ValueError(f"{TABLE}: no place: {where!r}")
    member = DERIVATIVE if "derivative" in words else FORWARD
    for dtype in (np.float32, np.float64):
        if dtype.__name__ in words or not {"float32", "float64"} & {*words}:
            yield Place(function, system, point, member, dtype)


def read_table(text: str) -> dict[Place, Difference]:
    """The rows of the Markdown table in `text`, for every function and system alone."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [
        [cell.strip().replace(r"\|", "|") for cell in line.strip("|").split(" | ")]
        for line in lines
    ]
    if cells[0] != COLUMNS:
        raise ValueError(f"{TABLE}: the columns must be {COLUMNS}, not {cells[0]}")
    found: dict[Place, Difference] = {}
    for functions, systems, where, theirs, ours, why in cells[2:]:
        for function, system in product(functions.split(", "), systems.split(", ")):
            for place in _places(function.strip("`"), system, where):
                if place in found:
                    raise ValueError(f"{TABLE}: two rows for {place}")
                found[place] = Difference(theirs, ours, why)
    return found


@cache
def differences() -> dict[Place, Difference]:
    """The rows of docs/differences.md."""
    return read_table(TABLE.read_text())
