"""What commands print: tables, and a bar that shows how far something is."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

WIDTH = 30  # of the bar, in characters, at most


def aligned(lines: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose columns line up as text too; all but the first are numbers.

    The first line is the heading.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = tuple(
        "-" * (width - 1) + (":" if i else "-") for i, width in enumerate(widths)
    )
    text = ""
    for line in (lines[0], rule, *lines[1:]):
        cells = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        text += f"| {' | '.join(cells)} |\n"
    return text


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, which goes away at the end; nothing where stderr is no terminal.

    It is drawn only when it is called, so that it takes no time from a measurement.

    Parameters
    ----------
    total : int
        How many steps there are.

    Yields
    ------
    step : callable
        To be called, before each step, with what it is.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    start = time.monotonic()
    begun = 0

    def step(what: str) -> None:
        nonlocal begun
        columns = shutil.get_terminal_size().columns
        width = min(WIDTH, columns // 4)
        filled = "#" * (width * begun // total)
        passed = time.monotonic() - start
        line = f"[{filled:.<{width}}] {begun}/{total}  {passed:.0f} s  {what}"
        # back to the start of the line, which is then cleared
        # a line that is wrapped could not be cleared
        fits = line[: columns - 1]
        print(f"\r\x1b[K{fits}", end="", file=sys.stderr, flush=True)
        begun += 1

    try:
        yield step
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
