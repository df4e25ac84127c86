"""The command line: ``python -m fastact info`` and ``python -m fastact plot NAME...``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import plotting
from .config import show_config
from .formulas.entry import CATALOGUE
from .lookup import canonical_name


def activation_name(text: str) -> str:
    """The name in the catalogue for a name, or other systems' name, that was typed."""
    try:
        return canonical_name(text, "elementwise")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def make_parser() -> argparse.ArgumentParser:
    """What can be typed, with the help."""
    parser = argparse.ArgumentParser(
        prog="python -m fastact",
        description="fastact: activation functions for NumPy.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "info",
        help="show version, instruction set, threads and backend",
        description="Show what is installed and what it runs on: paste it into a report.",
    )
    plot = commands.add_parser(
        "plot",
        help="draw activations and their derivatives",
        description="Draw activations and their derivatives, into a PNG file or as text.",
        epilog="Names: " + ", ".join(CATALOGUE) + ".",
    )
    plot.add_argument(
        "names",
        nargs="+",
        type=activation_name,
        metavar="NAME",
        help="an activation, such as gelu; several are drawn into one picture",
    )
    where = plot.add_mutually_exclusive_group()
    where.add_argument(
        "--output",
        type=Path,
        metavar="FILE.png",
        help="where to write it (default: the names, such as gelu-silu.png, in this "
        "folder)",
    )
    where.add_argument(
        "--terminal",
        action="store_true",
        help="print it as text instead; needs no matplotlib",
    )
    return parser


def plot_names(names: list[str], output: Path | None, terminal: bool) -> str | None:
    """Draw; returns what went wrong, if anything."""
    if terminal:
        print("\n\n".join(map(plotting.text_picture, names)))
        return None
    path = output or Path("-".join(names) + ".png")
    try:
        plotting.write_picture(names, path)
    except ImportError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"cannot write {path}: {error}"
    print(f"written: {path}")
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    status : int
        0, or 1 if the picture could not be drawn.

    Raises
    ------
    SystemExit
        With status 2 if the arguments are wrong, after saying why.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.command == "info":
        show_config()
    elif options.command == "plot":
        # A name may be given twice, perhaps as an alias.
        names = list(dict.fromkeys(options.names))
        problem = plot_names(names, options.output, options.terminal)
        if problem:
            print(f"{parser.prog}: {problem}", file=sys.stderr)
            return 1
    else:
        parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
