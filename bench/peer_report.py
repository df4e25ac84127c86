"""Measure fastact and its peers side by side: `make bench-peers`.

    build/peers-venv/bin/python bench/peer_report.py [options]

Every library runs in a process of its own, one at a time and in turns: each turn is a
whole pytest-benchmark run (`bench/peer_throughput.py`), and of all turns the shortest
time counts. Finished runs are kept, so that the command can be interrupted and goes on
where it was. The merged JSON, a table of ratios and a picture land in `results/`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from implementations import (
    ALL,
    DTYPES,
    OUTPUTS,
    SMALL,
    parse_dtypes,
    parse_functions,
    parse_sizes,
)
from peer_implementations import FROM_OUTPUT, PEERS, measurable
from report import RESULTS, ROOT, Table, follow
from rich.console import Console

import fastact as fa
from fastact import _kernels, _ufuncs
from fastact.formulas.entry import CATALOGUE
from fastact.formulas.kernels import Kernel
from fastact.formulas.language import FORMATS
from fastact.formulas.translate import operation_count

FUNCTIONS = (
    *("relu", "leaky_relu", "sigmoid", "tanh", "elu", "softplus", "logsigmoid", "silu"),
    *("mish", "gelu", "gelu_tanh", "softmax"),
)
SIZES = (10, 1000, 100_000, 10_000_000)
# `make bench` compares with plain NumPy.
DEFAULT_PEERS = tuple(peer for peer in PEERS if peer != "numpy")
TURNS = 2
RUNS = RESULTS / "bench-peers"
JSON, LOG = RESULTS / "bench-peers.json", RESULTS / "bench-peers.txt"
MARKDOWN, PICTURE = RESULTS / "bench-peers.md", RESULTS / "bench-peers.png"
# What libraries read the number of threads from; some heed the affinity instead. JAX would
# look for a GPU. What torch.compile and JAX compile is kept for the next turn.
THREADS = (
    *("FASTACT_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS"),
)
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / "build" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "TORCHINDUCTOR_CACHE_DIR": str(ROOT / "build" / "torchinductor"),
}


# ------------------------------------------------------------------------------ the runs


@dataclass(frozen=True)
class Run:
    """One turn of one library."""

    peer: str
    dtype: str
    threads: int
    outputs: str
    turn: int

    @property
    def name(self) -> str:
        """Of its file, and of its bar."""
        return f"{self.turn}-{self.peer}-{self.dtype}-{self.outputs}-{self.threads}"


def runs(options: argparse.Namespace) -> list[Run]:
    """Everything that is asked for; after the first turn there is a result already."""
    return [
        Run(peer, dtype, threads, outputs, turn)
        for turn in range(1, options.turns + 1)
        for threads in options.threads
        for outputs in options.outputs
        for dtype in options.dtypes
        for peer in options.peers
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    found = lines.read_text().splitlines() if lines.exists() else []
    names = (line.split(":")[1].strip() for line in found if "model name" in line)
    return next(names, platform.machine())


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What runs must have in common to stand in one table."""
    sources = [
        Path(__file__).with_name(f"peer_{n}.py")
        for n in ("implementations", "throughput")
    ]
    sources += [Path(module.__file__) for module in (_kernels, _ufuncs)]
    bytes_ = b"".join(path.read_bytes() for path in sources)
    packages = dict.fromkeys(peer.package for peer in PEERS.values())
    return {
        "functions": options.functions,
        "sizes": options.sizes,
        "processor": _processor(),
        "versions": {
            name: fa.__version__ if name == "fastact" else version(name)
            for name in packages
        },
        "build": hashlib.sha256(bytes_).hexdigest()[:16],
    }


def _folder(options: argparse.Namespace) -> Path:
    text = json.dumps(settings(options), sort_keys=True)
    return RUNS / hashlib.sha256(text.encode()).hexdigest()[:16]


def _process(threads: int) -> dict[str, Any]:
    """What keeps a process to so many threads: environment and affinity."""
    processors = sorted(os.sched_getaffinity(0))[:threads]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        "cwd": ROOT,
        "env": {
            **os.environ,
            **ENVIRONMENT,
            **dict.fromkeys(THREADS, str(threads)),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        "preexec_fn": lambda: os.sched_setaffinity(0, processors),
    }


def measure(options: argparse.Namespace, folder: Path, console: Console) -> list[Run]:
    """Do what has not been done yet, and return what failed."""
    todo = [run for run in runs(options) if not (folder / f"{run.name}.json").exists()]
    failed = []
    for number, run in enumerate(todo, 1):
        unfinished = folder / "unfinished.json"
        unfinished.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "bench/peer_throughput.py", "-q"]
        # what other libraries warn of is not our defect
        command += ["-W", "ignore", f"--benchmark-json={unfinished}"]
        command += [f"--peer={run.peer}", f"--dtypes={run.dtype}"]
        command += [
            f"--outputs={run.outputs}",
            f"--functions={','.join(options.functions)}",
        ]
        command += [f"--sizes={','.join(map(str, options.sizes))}"]
        title = f"{number} of {len(todo)}, {run.name}"
        with LOG.open("a") as log:
            status = follow(command, log, console, title, **_process(run.threads))
        if status == 0:
            unfinished.touch()  # none is written where a library has no such function
            unfinished.rename(folder / f"{run.name}.json")
        else:
            failed.append(run)
        console.print(f"{title}: {'failed' if status else 'done'}", highlight=False)
    return failed


def rooflines(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the machine allows, by the number of threads."""
    sizes = [size for size in options.sizes if size >= SMALL]
    found = {}
    for threads in options.threads if sizes else ():
        path = folder / f"roofline-{threads}.txt"
        if not path.exists():
            command = [sys.executable, "bench/roofline.py", f"--threads={threads}"]
            command += [f"--sizes={','.join(map(str, sizes))}"]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, **_process(threads)
            )
            path.write_text(done.stdout)
        found[str(threads)] = json.loads(path.read_text())
    return found


def merge(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One pytest-benchmark JSON of several: of each call the turn that was shortest.

    Noise on a machine that does other things too only ever adds to a time.
    """
    merged: dict[str, Any] = {}
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    rejected: dict[str, Any] = {}
    for data in found:
        merged = merged or {**data, "fastact": {**data["fastact"]}}
        for benchmark in data["benchmarks"]:
            info = benchmark["extra_info"]
            # pytest's name of it has all of the case but these
            key = (benchmark["name"], info["peer"], info["threads"], info["outputs"])
            if key not in best or benchmark["stats"]["min"] < best[key]["stats"]["min"]:
                best[key] = benchmark
        for case, spellings in data["fastact"]["rejected"].items():
            rejected.setdefault(case, {}).update(spellings)
    if merged:
        merged["benchmarks"] = list(best.values())
        merged["fastact"]["rejected"] = rejected
    return merged


# ---------------------------------------------------------------------------- the tables


@dataclass(frozen=True)
class Timing:
    """The shortest time of one library."""

    seconds: float
    ready: bool
    from_output: bool


@dataclass(frozen=True)
class Cell:
    """One call, and how long it takes each library."""

    label: str
    direction: str
    dtype: str
    elements: int
    threads: int
    outputs: str
    timings: dict[str, Timing] = field(default_factory=dict)

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        peers = self.timings.keys() - {"fastact"}
        return min(sorted(peers), key=lambda p: self.timings[p].seconds, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the best peer fastact is."""
        if self.best is None or "fastact" not in self.timings:
            return None
        return self.timings[self.best].seconds / self.timings["fastact"].seconds

    @property
    def row(self) -> str:
        """What the table calls it."""
        direction = self.direction.replace("_", " ")
        return (
            self.label if self.direction == "forward" else f"{self.label} {direction}"
        )

    def marks(self, peer: str) -> str:
        """How a peer's call differs from what the row says."""
        timing = self.timings[peer]
        fresh = self.elements >= SMALL and self.outputs == "ready" and not timing.ready
        from_output = timing.from_output and self.direction != FROM_OUTPUT
        return "†" * from_output + "‡" * fresh

    def throughput(self, peer: str) -> float:
        """Billions of elements per second."""
        return self.elements / self.timings[peer].seconds / 1e9


MARKS = (
    "Ratio: the time of the fastest peer, which is named, over that of fastact; bold "
    "where fastact is slower. † The peer is given the forward pass's output, or what that "
    "has kept; fastact its input. ‡ The peer returns a fresh array, fastact writes into a "
    f"ready one. At fewer than {SMALL:,} elements every library is called in the way that "
    "is fastest for it."
)


def cells(data: dict[str, Any]) -> list[Cell]:
    """The calls that a merged JSON has, in its order."""
    found: dict[tuple[Any, ...], Cell] = {}
    names = ("label", "direction", "dtype", "elements", "threads", "outputs")
    for benchmark in data["benchmarks"]:
        info = benchmark["extra_info"]
        key = tuple(info[name] for name in names)
        cell = found.setdefault(key, Cell(*key))
        cell.timings[info["peer"]] = Timing(
            benchmark["stats"]["min"], info["ready"], info["from_output"]
        )
    return list(found.values())


Group = tuple[str, int, str]  # dtype, threads, outputs


def groups(found: list[Cell]) -> Iterator[tuple[Group, list[Cell]]]:
    """The cells of each table."""
    tables: dict[Group, list[Cell]] = {}
    for cell in found:
        tables.setdefault((cell.dtype, cell.threads, cell.outputs), []).append(cell)
    yield from tables.items()


def _title(group: Group) -> str:
    dtype, threads, outputs = group
    return f"{dtype}, {threads} thread{'s' * (threads > 1)}, {outputs} outputs"


def ratio_table(group: Group, found: list[Cell]) -> Table:
    """A row per function and direction, a column per size."""
    sizes = sorted({cell.elements for cell in found})
    by_place = {(cell.row, cell.elements): cell for cell in found}
    rows = [
        (row, *(_ratio(by_place.get((row, size))) for size in sizes))
        for row in dict.fromkeys(cell.row for cell in found)
    ]
    return Table(
        f"fastact over its best peer: {_title(group)}",
        ("", *(f"{n:,}" for n in sizes)),
        rows,
    )


def _ratio(cell: Cell | None) -> str:
    if cell is None or cell.best is None or cell.ratio is None:
        return "-"
    number = f"{cell.ratio:.2f}" if cell.ratio < 9.995 else f"{cell.ratio:.0f}"
    if cell.ratio < 1:
        number = f"**{number}**"
    return f"{number} {PEERS[cell.best].name}{cell.marks(cell.best)}"


def table_of_libraries(group: Group, elements: int, found: list[Cell]) -> Table:
    """All libraries at one size."""
    here = [cell for cell in found if cell.elements == elements]
    peers = [peer for peer in PEERS if any(peer in cell.timings for cell in here)]
    many = elements >= SMALL

    def number(cell: Cell, peer: str) -> str:
        if peer not in cell.timings:
            return "-"
        seconds = cell.timings[peer].seconds
        value = cell.throughput(peer) if many else seconds * 1e6
        return f"{value:.3g}{cell.marks(peer)}"

    rows = [(cell.row, *(number(cell, peer) for peer in peers)) for cell in here]
    unit = "Gelem/s" if many else "Microseconds per call"
    title = f"{unit}: {elements:,} elements, {_title(group)}"
    return Table(title, ("", *(PEERS[peer].name for peer in peers)), rows)


def summary(group: Group, found: list[Cell]) -> list[str]:
    """How often fastact wins, by how much, and where it loses.

    Apart, the mean of what has the same task for both: a peer that is given the forward
    pass's output has less to do.
    """
    lines = []
    for size in sorted({cell.elements for cell in found}):
        compared = [(c.ratio, c) for c in found if c.elements == size and c.ratio]
        if not compared:
            continue
        lost = sorted(((r, c.row) for r, c in compared if r < 1))
        mean = geometric_mean(ratio for ratio, _ in compared)
        line = (
            f"{_title(group)}, {size:,} elements: geometric mean of the ratios "
            f"{mean:.2f}, slower in {len(lost)} of {len(compared)} cells"
        )
        named = ", ".join(f"{row} {ratio:.2f}" for ratio, row in lost)
        lines.append(f"{line}{': ' if lost else ''}{named}.")
        alike = [
            ratio for ratio, c in compared if c.best and "†" not in c.marks(c.best)
        ]
        if 0 < len(alike) < len(compared):
            lines[-1] += f" Without those marked †: {geometric_mean(alike):.2f}."
    return lines


# --------------------------------------------------------------------------- the picture

COLORS = {
    "fastact": "#1559a6",
    "numpy": "#8a8f98",
    "torch": "#e4572e",
    "torch-compile": "#f5a08a",
    "jax": "#7b3fa0",
    "mkl": "#1b998b",
    "scipy": "#5c8001",
    "numexpr": "#c9a227",
    "onnxruntime": "#3a3a3a",
    "thinc": "#d16ba5",
}


def ceilings(cell: Cell, roofline: dict[str, Any]) -> tuple[float | None, float | None]:
    """Billions of elements per second that memory and arithmetic allow fastact.

    Memory: every array passes once. Arithmetic: each of the formula's operations takes the
    place of a fused multiply-add. Only of elementwise functions are they known.
    """
    machine = roofline.get(str(cell.threads), {}).get(cell.dtype)
    if machine is None or str(cell.elements) not in machine["bytes_per_second"]:
        return None, None
    (precision,) = (p for p in FORMATS if p.bits == 8 * _itemsize(cell.dtype))
    arrays = 2 if cell.direction == "forward" else 3
    bandwidth = machine["bytes_per_second"][str(cell.elements)]
    memory = bandwidth / (arrays * _itemsize(cell.dtype)) / 1e9
    name = cell.label.partition("(")[0]
    if name not in CATALOGUE:
        return memory, None
    entry = CATALOGUE[name]
    member = "" if cell.direction == "forward" else f"_{cell.direction}"
    kernel = Kernel(entry, member, with_defaults=entry.has_defaults)
    operations = operation_count(kernel.record(precision)[1])
    return memory, machine["fma_per_second"] / max(operations, 1) / 1e9


def _itemsize(dtype: str) -> int:
    return {"float32": 4, "float64": 8}[dtype]


def draw(
    group: Group, found: list[Cell], roofline: dict[str, Any], heading: str, path: Path
) -> None:
    """Draw throughput against size, a panel for each function and direction."""
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(cell.row for cell in found))
    across = 6
    down = -(-len(rows) // across)
    figure = Figure(figsize=(3.1 * across, 2.5 * down + 1.2))
    panels = figure.subplots(down, across, sharex=True, squeeze=False).flat
    for axes, row in itertools.zip_longest(panels, rows):
        if row is None:
            axes.set_visible(False)
            continue
        _draw_panel(axes, [cell for cell in found if cell.row == row], roofline)
        axes.set_title(row, fontsize=9, loc="left", fontweight="bold")
    # A name for each line, from all panels: not every library is in each.
    handles = {}
    for axes in figure.axes:
        lines, labels = axes.get_legend_handles_labels()
        handles.update(zip(labels, lines, strict=True))
    order = [PEERS[peer].name for peer in PEERS] + ["memory", "arithmetic"]
    shown = [name for name in order if name in handles]
    figure.legend(
        [handles[name] for name in shown],
        shown,
        loc="lower center",
        ncols=len(shown),
        frameon=False,
        fontsize=9,
    )
    figure.suptitle(
        f"Billions of elements per second against elements: {_title(group)}"
    )
    figure.text(0.5, 0.045, heading, ha="center", color="#777d88", fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 0.99))
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Any, found: list[Cell], roofline: dict[str, Any]) -> None:
    found = sorted(found, key=lambda cell: cell.elements)
    for peer, color in COLORS.items():
        points = [(c.elements, c.throughput(peer)) for c in found if peer in c.timings]
        if points:
            ours = peer == "fastact"
            axes.plot(
                *zip(*points, strict=True),
                label=PEERS[peer].name,
                color=color,
                marker="o",
                markersize=3,
                linewidth=2.2 if ours else 1,
                zorder=4 if ours else 3,
            )
    for which, (name, style) in enumerate((("memory", "--"), ("arithmetic", ":"))):
        limits = [(c.elements, ceilings(c, roofline)[which]) for c in found]
        limits = [(size, limit) for size, limit in limits if limit is not None]
        if limits:
            axes.plot(
                *zip(*limits, strict=True),
                style,
                label=name,
                color="#999999",
                linewidth=1,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(color="#eceef2")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


# --------------------------------------------------------------------------- the command


def heading(data: dict[str, Any]) -> str:
    """The machine and the versions."""
    facts = data["fastact"]["settings"]
    versions = [f"{name} {text}" for name, text in facts["versions"].items()]
    return ", ".join(
        (facts["processor"], data["fastact"]["isa"], *versions, data["datetime"][:10])
    )


def show(data: dict[str, Any], console: Console) -> None:
    """Print the ratios, write all tables as Markdown and draw the picture."""
    parts = [heading(data)]
    details = []
    lines = []
    for group, found in groups(cells(data)):
        table = ratio_table(group, found)
        parts.append(table.markdown())
        console.print()
        console.print(table.rich())
        lines += summary(group, found)
        details += [
            table_of_libraries(group, elements, found).markdown()
            for elements in sorted({cell.elements for cell in found})
        ]
        if not PICTURE.exists():  # of the first table
            draw(group, found, data["fastact"]["roofline"], heading(data), PICTURE)
    wrong = data["fastact"]["rejected"]
    if wrong:
        lines.append(
            f"Not timed, because the result is wrong or there is none (the JSON says why): "
            f"{', '.join(wrong)}."
        )
    for line in (*lines, MARKS):
        console.print(line, highlight=False, markup=False)
    parts += ["\n".join(f"- {line}" for line in lines), MARKS, *details]
    MARKDOWN.write_text("\n\n".join(parts) + "\n")


def _names(known: Iterable[str], what: str, text: str) -> tuple[str, ...]:
    known = tuple(known)
    names = tuple(text.split(","))
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(
            f"{what} are {', '.join(known)}, separated by commas; not {text!r}"
        )
    return names


def _functions(text: str) -> tuple[str, ...]:
    if text == "all":
        return tuple(filter(measurable, ALL))
    names = parse_functions(text)
    several = [name for name in names if not measurable(name)]
    if several:
        raise argparse.ArgumentTypeError(
            f"{', '.join(several)}: not from one array to one of the same shape; leave it "
            "out, bench/report.py measures it against NumPy"
        )
    return names


def _threads(text: str) -> tuple[int, ...]:
    most = len(os.sched_getaffinity(0))
    words = [str(most) if word == "all" else word for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= most for word in words):
        raise argparse.ArgumentTypeError(
            f"threads are numbers from 1 to {most}, or all, separated by commas; "
            f"not {text!r}"
        )
    return tuple(dict.fromkeys(map(int, words)))


def _turns(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"turns are at least 1; not {text!r}")
    return int(text)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    full = "--full" in arguments
    add = parser.add_argument
    add(
        "--full",
        action="store_true",
        help="all functions, dtypes and outputs, all threads and one",
    )
    add(
        "--functions",
        type=_functions,
        default=_functions("all") if full else FUNCTIONS,
        help="names separated by commas, or all (default: twelve that most peers have)",
    )
    add("--sizes", type=parse_sizes, default=SIZES, help="(default: 10 to ten million)")
    add(
        "--dtypes",
        type=parse_dtypes,
        default=DTYPES if full else ("float32", "float64"),
        help=f"{','.join(DTYPES)} or some of them (default: float32,float64)",
    )
    add(
        "--threads",
        type=_threads,
        default=_threads("all,1" if full else "all"),
        help="numbers separated by commas, or all (default: all)",
    )
    add(
        "--outputs",
        type=lambda text: _names(OUTPUTS, "outputs", text),
        default=OUTPUTS if full else OUTPUTS[:1],
        help="ready: written to an array that is there already, where a library can; "
        "fresh: to a new one (default: ready)",
    )
    add(
        "--peers",
        type=lambda text: _names(PEERS, "peers", text),
        default=tuple(PEERS) if full else DEFAULT_PEERS,
        help=f"{','.join(PEERS)} or some of them (default: all but numpy)",
    )
    add("--turns", type=_turns, default=TURNS, help="(default: %(default)s)")
    add("--restart", action="store_true", help="do not go on from finished runs")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure, merge and show."""
    console = Console()
    options = parse(arguments)
    folder = _folder(options)
    if options.restart and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in (JSON, MARKDOWN, PICTURE, LOG):
        old.unlink(missing_ok=True)
    try:
        roofline = rooflines(options, folder)
        failed = measure(options, folder, console)
    except KeyboardInterrupt:
        console.print("Interrupted; the same command continues.")
        return 130
    paths = [folder / f"{run.name}.json" for run in runs(options)]
    written = [path.read_text() for path in paths if path.exists()]
    merged = merge(json.loads(text) for text in written if text)
    if merged:
        merged["fastact"] |= {"roofline": roofline, "settings": settings(options)}
        JSON.write_text(json.dumps(merged, indent=1) + "\n")
        show(merged, console)
    for run in failed:
        console.print(f"Failed: {run.name}; see {LOG.relative_to(ROOT)}.")
    console.print("\nWritten:")
    for path in (MARKDOWN, PICTURE, JSON, LOG):
        if path.exists():
            console.print(f"  {path.relative_to(ROOT)}", highlight=False)
    return 1 if failed or not merged else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
