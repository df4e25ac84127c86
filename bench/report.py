"""Run the benchmark behind a progress bar and make tables and a picture of it.

    python bench/report.py [options of pytest]

This is what `make bench` runs. `read` turns pytest-benchmark's JSON into rows, the rest
shows them; everything lands in `results/`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any, TextIO

from implementations import (
    C_ALL,
    C_ONE,
    NUMBA_ALL,
    NUMBA_ONE,
    NUMPY,
    SMALL,
    YARDSTICK,
    Implementation,
)
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table as RichTable

from fastact.formulas.entry import CATALOGUE

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
JSON, LOG = RESULTS / "bench.json", RESULTS / "bench.txt"
MARKDOWN, PICTURE = RESULTS / "bench.md", RESULTS / "bench.png"

# The functions whose mean speed-up is the project's measure.
MEASURE = (
    "sigmoid",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "elu",
    "logsigmoid",
)


@dataclass(frozen=True)
class Row:
    """One function on one kind of array, and each implementation's shortest time.

    Noise on a machine that does other things too only ever adds to a time.
    """

    function: str
    direction: str
    dtype: str
    elements: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function, and the direction if it is not forward."""
        if self.direction == "forward":
            return self.function
        return f"{self.function} {self.direction}"

    def throughput(self, implementation: Implementation) -> float | None:
        """Billions of elements per second."""
        seconds = self.seconds.get(implementation.name)
        return None if seconds is None else self.elements / seconds / 1e9

    def speedup(
        self, implementation: Implementation, over: Implementation = NUMPY
    ) -> float | None:
        """How many times faster one implementation is than another."""
        fast, slow = (self.seconds.get(i.name) for i in (implementation, over))
        return None if fast is None or slow is None else slow / fast


@dataclass(frozen=True)
class Report:
    """What one run measured."""

    heading: str
    rows: list[Row]
    epoch: dict[str, float]

    def arrays(self) -> list[tuple[str, int]]:
        """The dtypes and sizes of arrays so large that throughput is what counts."""
        found = ((r.dtype, r.elements) for r in self.rows if r.elements >= SMALL)
        return list(dict.fromkeys(found))

    def of(self, dtype: str, elements: int) -> list[Row]:
        """The rows of one dtype and size."""
        return [r for r in self.rows if (r.dtype, r.elements) == (dtype, elements)]


@dataclass(frozen=True)
class Table:
    """A table that both the terminal and Markdown can show."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """The table in Markdown; all columns but the first are numbers."""
        rule = ("---", *["---:"] * (len(self.columns) - 1))
        lines = (f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows))
        return "\n".join([f"**{self.title}**", "", *lines])

    def rich(self) -> RichTable:
        """The table for the terminal."""
        table = RichTable(
            title=self.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for i, column in enumerate(self.columns):
            table.add_column(
                column,
                justify="right" if i else "left",
                no_wrap=i == 0,
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*row)
        return table


def read(path: Path) -> Report:
    """Read the JSON that `pytest bench/ --benchmark-json=...` wrote."""
    data = json.loads(path.read_text())
    rows: dict[tuple[str, str, str, int], Row] = {}
    epoch = {}
    for benchmark in data["benchmarks"]:
        info = benchmark["extra_info"]
        seconds = benchmark["stats"]["min"]
        if info.get("end_to_end"):
            epoch[info["implementation"]] = seconds
            continue
        key = info["function"], info["direction"], info["dtype"], info["elements"]
        row = rows.setdefault(key, Row(*key))
        row.seconds[info["implementation"]] = seconds
    return Report(_heading(data), list(rows.values()), epoch)


def _heading(data: dict[str, Any]) -> str:
    machine, ours = data["machine_info"], data["fastact"]
    shown = {"fastact": "fastact", "numpy": "NumPy", "numba": "Numba"}
    versions = [f"{shown[name]} {text}" for name, text in ours["versions"].items()]
    words = [
        machine["cpu"].get("brand_raw", machine["machine"]),
        ours["isa"],
        f"{ours['threads']} thread{'s' if ours['threads'] > 1 else ''}",
        *versions,
        f"Python {machine['python_version']}",
        data["datetime"][:10],
    ]
    return ", ".join(words)


def _number(value: float | None, pattern: str = "{:.2f}") -> str:
    return "-" if value is None else pattern.format(value)


def _times(value: float | None) -> str:
    return _number(value, "{:.1f} x" if value is None or value < 9.95 else "{:.0f} x")


def throughput_table(report: Report, dtype: str, elements: int) -> Table:
    """The main table: a row per function and direction."""
    rows = [
        (
            row.name,
            *(_number(row.throughput(i)) for i in (NUMPY, C_ONE, C_ALL, NUMBA_ALL)),
            *(_times(row.speedup(i)) for i in (C_ONE, C_ALL)),
        )
        for row in report.of(dtype, elements)
    ]
    columns = (
        "",
        "NumPy",
        "C one",
        "C all",
        "Numba all",
        "gain one",
        "gain all",
    )
    title = (
        f"Gelem/s on one thread and on all, and the gain of C over NumPy: {elements:,} "
        f"elements of {dtype}"
    )
    return Table(title, columns, rows)


def call_table(report: Report) -> Table | None:
    """Small arrays, where the call costs more than the arithmetic."""
    small = [row for row in report.rows if row.elements < SMALL]
    if not small:
        return None
    kinds = sorted({(row.dtype, row.elements) for row in small})
    many_dtypes = len({dtype for dtype, _ in kinds}) > 1
    columns = [""]
    for dtype, elements in kinds:
        array = f"{dtype} {elements}" if many_dtypes else str(elements)
        columns += [f"NumPy {array}", f"fastact {array}", "gain"]
    by_kind = {(r.name, r.dtype, r.elements): r for r in small}
    rows = []
    for name in dict.fromkeys(row.name for row in small):
        cells = [name]
        for dtype, elements in kinds:
            row = by_kind.get((name, dtype, elements))
            times = row.seconds if row else {}
            cells += [
                _number(times[i.name] * 1e6 if i.name in times else None)
                for i in (NUMPY, C_ALL)
            ]
            cells.append(_times(row.speedup(C_ALL) if row else None))
        rows.append(tuple(cells))
    return Table(
        "Microseconds per call on few elements, and the gain over NumPy",
        tuple(columns),
        rows,
    )


def _geometric_mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return geometric_mean(known) if known else None


def _least(values: list[float | None], rows: list[Row]) -> str:
    known = [(v, r.name) for v, r in zip(values, rows, strict=True) if v is not None]
    if not known:
        return "-"
    least, name = min(known)
    return f"{least:.2f} ({name})"


def summary(report: Report) -> list[str]:
    """The numbers that the project sets itself as goals."""
    lines = []
    for dtype, elements in report.arrays():
        rows = report.of(dtype, elements)
        array = f"{dtype}, {elements:,} elements"
        measured = [
            r for r in rows if r.direction == "forward" and r.function in MEASURE
        ]
        if measured:
            one, both = (
                _times(_geometric_mean(row.speedup(i) for row in measured))
                for i in (C_ONE, C_ALL)
            )
            lines.append(
                f"{array}: geometric mean of the forward speed-ups of "
                f"{', '.join(r.function for r in measured)}: "
                f"{one} on one thread, {both} on all."
            )
        for words, numba, c in (
            ("one thread", NUMBA_ONE, C_ONE),
            ("all threads", NUMBA_ALL, C_ALL),
        ):
            ratios = [row.speedup(numba, c) for row in rows]
            mean = _geometric_mean(ratios)
            if mean is not None:
                least = _least(ratios, rows)
                lines.append(
                    f"{array}: Numba's speed over C's on {words}: "
                    f"geometric mean {mean:.2f}, least {least}."
                )
    for dtype, elements in dict.fromkeys((r.dtype, r.elements) for r in report.rows):
        rows = report.of(dtype, elements)
        least = _least([row.speedup(C_ALL) for row in rows], rows)
        lines.append(
            f"{dtype}, {elements:,} elements: least speed-up over NumPy: {least}."
        )
        yardstick = next((r for r in rows if r.function == YARDSTICK), None)
        if yardstick:
            lines.append(_call_cost(rows, yardstick))
    return lines


def _call_cost(rows: list[Row], yardstick: Row) -> str:
    unit = yardstick.seconds[NUMPY.name]
    calls = [
        row
        for row in rows
        if row.direction == "forward"
        and C_ALL.name in row.seconds
        and row.function.split("(")[0]
        in CATALOGUE  # the others are not of np.tanh's kind
    ]
    costs = {row.function: row.seconds[C_ALL.name] / unit for row in calls}
    # A label that shows its parameters is a call with other values than the defaults.
    default, other = (
        max(((v, k) for k, v in costs.items() if ("(" in k) is shown), default=None)
        for shown in (False, True)
    )
    words = [
        f"{what} at most {cost[0]:.2f} ({cost[1]})"
        for what, cost in (("default parameters", default), ("other ones", other))
        if cost
    ]
    return (
        f"{yardstick.dtype}, {yardstick.elements} elements: time of a forward call over "
        f"that of {YARDSTICK}: {', '.join(words)}."
    )


def end_to_end(report: Report) -> str | None:
    """The row on real data."""
    if not {NUMPY.name, C_ALL.name} <= set(report.epoch):
        return None
    numpy, fastact = report.epoch[NUMPY.name], report.epoch[C_ALL.name]
    return (
        "End to end: one epoch of examples/digits.py with gelu: "
        f"NumPy {numpy:.3f} s, fastact {fastact:.3f} s, {_times(numpy / fastact)} as fast."
    )


# Of each implementation in the picture: its name, colour and other looks. One thread is
# a ring, to be seen around the others where all coincide.
LOOKS: dict[Implementation, dict[str, Any]] = {
    NUMPY: {"label": "NumPy", "color": "#8a8f98", "s": 48},
    C_ONE: {
        "label": "C, 1 thread",
        "facecolors": "none",
        "edgecolors": "#6aa7e0",
        "linewidths": 1.6,
        "s": 105,
    },
    C_ALL: {"label": "C, all threads", "color": "#1559a6", "s": 52},
    NUMBA_ALL: {
        "label": "Numba, all threads",
        "color": "#f08a3c",
        "marker": "D",
        "s": 14,
    },
}


def _draw_panel(axes: Any, rows: list[Row]) -> None:
    """One line of dots per row, the greatest speed-up on top."""
    gains = {row.function: row.speedup(C_ALL) or 0.0 for row in rows}
    rows = sorted(rows, key=lambda row: gains[row.function])
    for y, row in enumerate(rows):
        rates = [rate for i in LOOKS if (rate := row.throughput(i)) is not None]
        axes.hlines(y, min(rates), max(rates), color="#d5d9e0", linewidth=2)
        gain = gains[row.function]
        axes.annotate(
            _times(gain).replace(" x", "\N{MULTIPLICATION SIGN}"),
            (max(rates), y),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color="#1559a6" if gain >= 1 else "#c0392b",
            fontsize=9,
            fontweight="bold",
        )
    for implementation, look in LOOKS.items():
        rates_at = {y: row.throughput(implementation) for y, row in enumerate(rows)}
        points = [(rate, y) for y, rate in rates_at.items() if rate is not None]
        axes.scatter([x for x, _ in points], [y for _, y in points], zorder=3, **look)
    axes.set_yticks(range(len(rows)), [row.function for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xscale("log")
    axes.set_xlabel("billion elements per second (log scale)", color="#555b66")
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#eceef2")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def draw(report: Report, dtype: str, elements: int, path: Path) -> None:
    """Draw the throughput of every function and its speed-up over NumPy."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    rows = [row for row in report.of(dtype, elements) if row.speedup(C_ALL)]
    directions = list(dict.fromkeys(row.direction for row in rows))
    if not rows:
        return
    height = 2.4 + 0.3 * len(rows) / len(directions)
    figure = Figure(figsize=(6.2 * len(directions), height))
    panels = figure.subplots(1, len(directions), sharex=True, squeeze=False)[0]
    for axes, direction in zip(panels, directions, strict=True):
        _draw_panel(axes, [row for row in rows if row.direction == direction])
        axes.set_title(direction, loc="left", fontsize=11, fontweight="bold")
        axes.xaxis.set_major_locator(
            FixedLocator([m * 10.0**e for e in range(-4, 4) for m in (1, 2, 5)])
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    low, high = panels[0].get_xlim()
    panels[0].set_xlim(low, high * 1.35)  # room for the labels at the right
    figure.suptitle(
        f"{elements:,} elements of {dtype}: throughput, and how many times faster than "
        "NumPy",
        fontsize=13,
        fontweight="bold",
    )
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.4 / height),
        ncols=len(LOOKS),
        frameon=False,
    )
    figure.supxlabel(report.heading, color="#777d88", fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / height), w_pad=3)
    figure.savefig(path, dpi=150)


def run(arguments: list[str], console: Console) -> int:
    """Run `pytest bench/` in a process of its own, show how far it is.

    A bar in the same process would take its share of the time that is measured.
    """
    RESULTS.mkdir(exist_ok=True)
    for old in (JSON, MARKDOWN, PICTURE):
        old.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "bench/", "-q"]
    command += [f"--benchmark-json={JSON}", *arguments]
    with LOG.open("w") as log:
        return follow(command, log, console, "benchmark")


def follow(
    command: list[str], log: TextIO, console: Console, title: str, **process: Any
) -> int:
    """Run pytest with a bar that shows how far it is, and return its exit status.

    `process` are further arguments of `subprocess.Popen`.
    """
    reader, writer = os.pipe()
    progress = Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        refresh_per_second=2,
        transient=True,
    )
    with progress:
        task = progress.add_task("collecting", total=None)
        child = subprocess.Popen(
            [*command, f"--progress-fd={writer}"],
            stdout=log,
            stderr=log,
            pass_fds=[writer],
            **{"cwd": ROOT, **process},
        )
        os.close(writer)
        with open(reader) as lines:
            for count, line in enumerate(lines):
                if count == 0:
                    progress.update(task, total=int(line))
                else:
                    name = line.strip()
                    progress.update(task, completed=count - 1, description=name)
        return child.wait()


def show(report: Report, console: Console) -> None:
    """Print the report, write it as Markdown and draw it."""
    tables = [throughput_table(report, *array) for array in report.arrays()]
    calls = call_table(report)
    tables += [calls] if calls else []
    lines = summary(report)
    epoch = end_to_end(report)
    lines += [epoch] if epoch else []

    console.print(report.heading, highlight=False)
    for table in tables:
        console.print()
        console.print(table.rich())
    for line in lines:
        console.print(line, highlight=False)

    parts = [report.heading, *(table.markdown() for table in tables)]
    parts.append("\n".join(f"- {line}" for line in lines))
    MARKDOWN.write_text("\n\n".join(parts) + "\n")
    if report.arrays():
        # README's picture: 100,000 elements if they were measured, else what was.
        usual = ("float32", 100_000)
        array = usual if usual in report.arrays() else report.arrays()[-1]
        draw(report, *array, PICTURE)


def main(arguments: list[str]) -> int:
    """Run, report, and return pytest's exit status."""
    console = Console()
    status = run(arguments, console)
    if status != 0:
        console.print(LOG.read_text(), markup=False, highlight=False)
    if JSON.exists() and JSON.stat().st_size:
        show(read(JSON), console)
    written = [path for path in (MARKDOWN, PICTURE, JSON, LOG) if path.exists()]
    console.print("\nWritten:")
    for path in written:
        console.print(f"  {path.relative_to(ROOT)}", highlight=False)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
