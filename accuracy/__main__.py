"""Checks the accuracy of the elementwise functions and prints a table.

    python -m accuracy                     # all of them
    python -m accuracy gelu mish           # some
    python -m accuracy --dtypes float32    # in one dtype

This is what `make accuracy` runs. It may be interrupted: a second call continues.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fastact.formulas.entry import CATALOGUE

from . import results, sweep, table
from .checker import DIRECTIONS, HERE, Direction, Tally

TABLE = HERE.parent / "results" / "accuracy.md"


def _choice(text: str, allowed: Sequence[str], what: str) -> str:
    if text in allowed:
        return text
    near = difflib.get_close_matches(text, allowed, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(allowed)}"
    raise argparse.ArgumentTypeError(f"no {what} {text!r}: {hint}")


def _arguments(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m accuracy",
        description="Check kernels on all their inputs; a second call continues.",
    )

    def several(text: str, allowed: Sequence[str], what: str) -> list[str]:
        return [_choice(part, allowed, what) for part in text.split(",")]

    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        type=lambda text: _choice(text, list(CATALOGUE), "function"),
        help="functions (default: all)",
    )
    parser.add_argument(
        "--dtypes",
        default=list(sweep.DTYPES),
        type=lambda text: several(text, list(sweep.DTYPES), "dtype"),
        help=f"some of {','.join(sweep.DTYPES)}",
    )
    parser.add_argument(
        "--directions",
        default=DIRECTIONS,
        type=lambda text: several(text, DIRECTIONS, "direction"),
        help=f"some of {','.join(DIRECTIONS)} (the derivative: backward with dy = 1)",
    )
    parser.add_argument(
        "--restart", action="store_true", help="forget what has been finished"
    )
    parser.add_argument(
        "--update-ratchet",
        action="store_true",
        help="make the maxima found the ones that the tests allow",
    )
    return parser.parse_args(command_line)


def _sweep(work: list[sweep.Unit]) -> dict[str, Tally]:
    """Do the work behind a progress bar; return the rows of the table."""
    done: dict[str, Tally] = {}
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        speed_estimate_period=300,  # seconds: functions differ in what they take
    )
    workers = len(os.sched_getaffinity(0))
    with progress:
        bar = progress.add_task("accuracy", total=len(work))
        for unit, tally, computed in sweep.run(work, sweep.progress_file(), workers):
            done[unit.key] = tally
            if not computed:  # took no time, and says nothing of what is left
                progress.reset(bar, completed=len(done))
            progress.update(bar, completed=len(done), description=unit.row)
    rows: dict[str, Tally] = {}
    for unit in work:  # in order: among equal maxima the first input stands
        rows.setdefault(unit.row, Tally()).merge(done[unit.key])
    return rows


def main(command_line: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = _arguments(command_line)
    names: list[str] = arguments.names or list(CATALOGUE)
    directions: list[Direction] = arguments.directions
    if arguments.restart:
        sweep.progress_file().unlink(missing_ok=True)
    work = sweep.units(names, directions, arguments.dtypes)
    try:
        rows = _sweep(work)
    except KeyboardInterrupt:
        print("Interrupted. The same command continues.", file=sys.stderr)
        return 130
    text = table.tables({name: results.facts(t) for name, t in rows.items()}, names)
    print(text, end="")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text)
    if set(rows) == {unit.row for unit in sweep.everything()}:
        results.write_results(rows)
        table.PAGE.write_text(table.with_tables(table.PAGE.read_text()))
    if arguments.update_ratchet:
        results.update_ratchet(rows)
    worse = results.grown(rows)
    print("".join(f"Has grown: {line}\n" for line in worse), end="", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
