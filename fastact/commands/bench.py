"""`python -m fastact bench`: this installation beside plain NumPy, on this machine."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import fastact as fa

from .. import _core, plotting
from ..documentation import counted
from ..formulas.kernels import ENTRIES
from . import cases
from .cases import NUMPY, SMALL, Case, Implementation
from .text import aligned, progress

FUNCTIONS = ("relu", "sigmoid", "tanh", "gelu", "silu", "softmax")
SIZES = (100, 100_000)
BACKENDS = ("numpy", "c", "numba")
NO_MATPLOTLIB = 'pictures need matplotlib: pip install "fastact[plot]"'
PANELS_ABREAST = 4  # of a picture, at most
LEAST_ROUNDS = 5
SECONDS = 0.1  # for each implementation of a case
COLOURS = {"numpy": "#8a8f98", "c": "#1559a6", "numba": "#f08a3c"}
LABELS = {"numpy": "NumPy", "c": "C", "numba": "Numba"}


@dataclass
class Row:
    """A function on arrays of one kind: the shortest time of each backend."""

    function: str
    direction: str
    dtype: str
    size: int
    elements: int
    seconds: dict[str, float] = field(default_factory=dict)
    remark: str = ""

    @property
    def label(self) -> str:
        """The function, and the direction if it is not forward."""
        backward = self.direction != "forward"
        return f"{self.function} {self.direction}" if backward else self.function

    def shown(self, backend: str) -> float:
        """Microseconds of a call, or of large arrays billions of elements a second."""
        seconds = self.seconds[backend]
        return seconds * 1e6 if self.size < SMALL else self.elements / seconds / 1e9


@contextmanager
def _settings(implementation: Implementation) -> Any:
    """Threads and backend that an implementation runs with."""
    if implementation.backend is None:
        yield
        return
    with fa.num_threads(implementation.threads), fa.backend(implementation.backend):
        yield


def _needed_parameters(function: str) -> tuple[float, ...]:
    parameters = ENTRIES[function].parameters if function in ENTRIES else ()
    return tuple(cases.WITHOUT_DEFAULT for p in parameters if p.default is None)


def _check(found: Any, case: Case, arguments: tuple[Any, ...]) -> None:
    try:
        cases.check(found, case, arguments)
    except AssertionError as error:
        raise ValueError(f"the result is wrong:{error}") from None


def measure(row: Row, backends: Sequence[str], seconds: float) -> None:
    """Time a function on all backends, which take turns, after a check of the results.

    Parameters
    ----------
    row : Row
        What to measure; gets the times. Where NumPy's expression needs SciPy, and there
        is none, it gets a remark in place of NumPy's time.
    backends : sequence of {"numpy", "c", "numba"}
        What to measure it on.
    seconds : float
        How long each of them is measured.

    Raises
    ------
    ValueError
        If a result is wrong, or the function cannot be called on arrays of this size.
    """
    calls = {}
    for name in backends:
        if name == "numba" and row.function not in ENTRIES:
            continue  # functions along an axis exist in C alone
        implementation = NUMPY
        if name != "numpy":
            implementation = Implementation(name, name, fa.get_num_threads())  # type: ignore[arg-type]
        parameters = _needed_parameters(row.function)
        case = Case(
            row.function, row.direction, row.dtype, row.size, implementation, parameters
        )
        row.elements = math.prod(case.shape)
        arguments = case.arguments()
        with _settings(implementation):
            try:
                keywords = case.keywords(arguments)
                call = _bound(case.callable(), arguments, keywords)
                _check(call(), case, arguments)
            except ModuleNotFoundError as error:
                if error.name is None or not error.name.startswith("scipy"):
                    raise
                row.remark = (
                    "NumPy's expression needs SciPy (pip install scipy); without it "
                    "results are not compared"
                )
                if name == "numpy":
                    continue
            iterations = math.ceil(cases.ROUND / cases.duration(call, seconds))
        calls[name] = implementation, call, iterations
    rounds = dict.fromkeys(calls, 0)
    spent = dict.fromkeys(calls, 0.0)

    def unfinished(name: str) -> bool:
        return rounds[name] < LEAST_ROUNDS or spent[name] < seconds

    while waiting := [name for name in calls if unfinished(name)]:
        for name in waiting:
            implementation, call, iterations = calls[name]
            with _settings(implementation):
                start = time.perf_counter()
                for _ in range(iterations):
                    call()
                taken = time.perf_counter() - start
            rounds[name] += 1
            spent[name] += taken
            shortest = row.seconds.get(name, math.inf)
            row.seconds[name] = min(shortest, taken / iterations)


def _bound(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return lambda: function(*arguments, **keywords)


def heading() -> str:
    """What was measured with."""
    names = ["numpy", *(["numba"] if cases.HAS_NUMBA else [])]
    versions = [f"{n} {importlib.metadata.version(n)}" for n in names]
    return ", ".join(
        [
            f"fastact {fa.__version__}",
            *versions,
            f"Python {platform.python_version()}",
            f"{_core.instruction_set}",
            counted(fa.get_num_threads(), "thread"),
        ]
    )


def _kinds(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """The rows by dtype and size."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row.dtype, row.size), []).append(row)
    return found


def _arrays(dtype: str, size: int) -> str:
    return f"{counted(size, 'element')} of {dtype}"


def _title(dtype: str, size: int) -> str:
    unit = "microseconds per call" if size < SMALL else "billion elements per second"
    return f"{_arrays(dtype, size)}: {unit}"


def tables(rows: Sequence[Row], backends: Sequence[str]) -> str:
    """One table for each dtype and size, in Markdown."""
    gained = [b for b in backends if b != "numpy"] if "numpy" in backends else []
    text = ""
    for kind, some in _kinds(rows).items():
        head = [LABELS[b] for b in backends] + [f"{LABELS[b]} gains" for b in gained]
        lines = [("function", *head)]
        for row in some:
            cells = [
                f"{row.shown(b):.3g}" if b in row.seconds else "-" for b in backends
            ]
            for b in gained:
                known = {"numpy", b} <= set(row.seconds)
                gain = row.seconds["numpy"] / row.seconds[b] if known else None
                cells.append("-" if gain is None else f"{gain:.3g} x")
            lines.append((row.label, *cells))
        text += f"\n{_title(*kind)}\n\n{aligned(lines)}"
    remarks = dict.fromkeys(f"{r.function}: {r.remark}\n" for r in rows if r.remark)
    return text + "\n" * bool(remarks) + "".join(remarks)


def write_picture(
    rows: Sequence[Row], backends: Sequence[str], path: Path, caption: str
) -> None:
    """Draw the throughput of every row, a panel for each dtype and size.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If matplotlib cannot write this format.
    OSError
        If the file cannot be written.
    """
    try:
        # Figure itself, not pyplot: no window system, no state left behind.
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
    except ModuleNotFoundError as error:
        raise ImportError(NO_MATPLOTLIB) from error
    kinds = _kinds(rows)
    # A line for each dtype, so that what stands above each other has one size.
    columns = min(len({size for _, size in kinds}), PANELS_ABREAST)
    lines = -(-len(kinds) // columns)
    height = 1.1 + 0.3 * max(map(len, kinds.values()))
    figure = Figure(
        figsize=(1 + 4.5 * columns, 0.8 + lines * height), layout="constrained"
    )
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for empty in panels[len(kinds) :]:
        empty.set_visible(False)
    for axes, (kind, some) in zip(panels, kinds.items(), strict=False):
        for y, row in enumerate(some):
            rates = {b: row.elements / s / 1e9 for b, s in row.seconds.items()}
            ends = min(rates.values()), max(rates.values())
            axes.hlines(y, *ends, color="#d5d9e0", linewidth=2)
            for backend, rate in rates.items():
                size = 14 if backend == "numba" else 48  # Numba's often lie on C's
                axes.scatter(rate, y, s=size, color=COLOURS[backend], zorder=3)
        axes.set_yticks(range(len(some)), [row.label for row in some])
        axes.set_ylim(len(some) - 0.4, -0.6)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        crowded = high / low > 50  # labels at 2 and 5 would run into each other
        subs = (1,) if crowded else (1, 2, 5)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlabel("billion elements per second", color="#555b66")
        axes.set_title(_arrays(*kind), fontsize=11)
        axes.tick_params(length=0)
        axes.grid(axis="x", color="#eceef2")
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
    for backend in backends:
        panels[0].scatter([], [], color=COLOURS[backend], label=LABELS[backend])
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(backends),
        frameon=False,
    )
    figure.supxlabel(caption, color="#777d88", fontsize=8)
    plotting.save(figure, path)


def as_json(rows: Sequence[Row], caption: str) -> str:
    """All times, in seconds per call."""
    found = [
        {
            "function": row.function,
            "direction": row.direction,
            "dtype": row.dtype,
            "elements": row.elements,
            "backend": backend,
            "seconds": seconds,
        }
        for row in rows
        for backend, seconds in row.seconds.items()
    ]
    facts = {"measured with": caption, "processor": platform.processor()}
    return json.dumps({**facts, "results": found}, indent=1) + "\n"


def run(
    functions: Iterable[str],
    directions: Iterable[str],
    dtypes: Iterable[str],
    sizes: Iterable[int],
    backends: Sequence[str],
    seconds: float,
) -> tuple[list[Row], list[str]]:
    """Measure everything, behind a progress bar.

    Returns
    -------
    rows : list of Row
        What has been measured.
    problems : list of str
        What could not be measured, and why.
    """
    rows = [
        Row(function, direction, dtype, size, size)
        for dtype in dtypes
        for size in sizes
        for function in functions
        for direction in directions
    ]
    measured, problems = [], []
    with progress(len(rows)) as step, np.errstate(all="ignore"):
        for row in rows:
            array = _arrays(row.dtype, row.size)
            step(f"{row.label}, {array}")
            try:
                measure(row, backends, seconds)
            except (ValueError, MemoryError) as error:  # the others are still wanted
                problems.append(f"{row.label} on {array} cannot be measured: {error}")
            else:
                measured.append(row)
    return measured, problems
