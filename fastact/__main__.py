"""The command line: ``python -m fastact``; ``--help`` says what there is."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__, plotting
from .commands import accuracy, bench, cases, check
from .commands.text import progress
from .config import get_num_threads, num_threads, show_config
from .formulas.entry import CATALOGUE
from .lookup import canonical_name, canonical_names

PROGRAM = "python -m fastact"
NAMES = (
    f"Names: {', '.join(sorted(CATALOGUE))}; and the names that other systems have for "
    "them, such as hard_silu."
)


def activation_name(text: str) -> str:
    """The name in the catalogue for a name, or other systems' name, that was typed."""
    try:
        return canonical_name(text, "elementwise")
    except ValueError as error:
        if text in canonical_names():
            raise argparse.ArgumentTypeError(
                f"{text} takes more than one number for a result, and this command is for "
                "functions of one number (--help lists them); bench measures "
                f"{text}, too"
            ) from None
        raise argparse.ArgumentTypeError(str(error)) from None


def one_dtype(text: str) -> str:
    """The name of one dtype."""
    if "," in text:
        raise argparse.ArgumentTypeError(f"one dtype at a time; not {text!r}")
    return cases.parse_dtypes(text)[0]


def backends(text: str) -> tuple[str, ...]:
    """Names of backends, separated by commas."""
    found = tuple(dict.fromkeys(text.split(",")))
    if not set(found) <= set(bench.BACKENDS):
        raise argparse.ArgumentTypeError(
            f"backends are {', '.join(bench.BACKENDS)}; not {text!r}"
        )
    if "numba" in found and not cases.HAS_NUMBA:
        raise argparse.ArgumentTypeError(
            'Numba is not installed: pip install "fastact[numba]"'
        )
    return found


def count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"a whole number from 1; not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"a number of seconds; not {text!r}")
    return value


def make_parser() -> argparse.ArgumentParser:
    """What can be typed, with the help."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="fastact: activation functions for NumPy. These commands look at the "
        "installed package; they change nothing.",
        epilog=f"For more on one of them: {PROGRAM} COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"fastact {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND"
    )

    def add(
        name: str, help: str, description: str, *examples: str, more: str = ""
    ) -> argparse.ArgumentParser:
        lines = "".join(f"\n  {PROGRAM} {name}{example}" for example in examples)
        return commands.add_parser(
            name,
            help=help,
            description=description,
            epilog=f"examples:{lines}\n" + (f"\n{more}" if more else ""),
            formatter_class=_Help,
        )

    add(
        "info",
        "show version, instruction set, threads and backend",
        "Show what is installed and what it runs on: paste it into a report.",
        "",
    )
    plot = add(
        "plot",
        "draw activations and their derivatives",
        "Draw activations and their derivatives, into a PNG file or as text.",
        " gelu silu                 # writes gelu-silu.png",
        " gelu --terminal           # as text",
        " elu selu --output e.svg   # matplotlib's other formats, by the ending",
        more=NAMES,
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

    measure = add(
        "bench",
        "measure the speed beside plain NumPy",
        "Measure how fast functions are on this machine, beside the NumPy expressions "
        "that one would write for them, and print a table. Every result is compared "
        "before it is timed. The implementations take turns, and the shortest of many "
        "times counts. With the defaults it takes some ten seconds. On 1,000 elements "
        "and more fastact writes into an array that is there already (out=).",
        "                                           # some functions",
        " --functions gelu,mish,softmax --sizes 1000000",
        " --functions all --direction forward --dtypes float32,float64",
        " --functions gelu --sizes 100,10000,1000000 --output gelu.png",
        " --backends numpy,c --threads 1 --json times.json",
    )
    measure.add_argument(
        "--functions",
        type=cases.parse_functions,
        default=bench.FUNCTIONS,
        metavar="NAME,...",
        help="names separated by commas; core: the most used ones, all: all "
        f"(default: {','.join(bench.FUNCTIONS)})",
    )
    measure.add_argument(
        "--sizes",
        type=cases.parse_sizes,
        default=bench.SIZES,
        metavar="N,...",
        help="elements of an array, separated by commas "
        f"(default: {','.join(map(str, bench.SIZES))})",
    )
    measure.add_argument(
        "--dtypes",
        type=cases.parse_dtypes,
        default=("float32",),
        metavar="DTYPE,...",
        help=f"some of {','.join(cases.DTYPES)} (default: float32)",
    )
    measure.add_argument(
        "--backends",
        type=backends,
        default=bench.BACKENDS if cases.HAS_NUMBA else bench.BACKENDS[:2],
        metavar="NAME,...",
        help="some of numpy (the plain expressions), c, numba (default: all that are "
        "installed)",
    )
    measure.add_argument(
        "--direction",
        choices=(*cases.DIRECTIONS, "both"),
        default="both",
        help="the functions, their gradients, or both (default: both)",
    )
    measure.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="threads that fastact may use (default: as always, see info)",
    )
    measure.add_argument(
        "--seconds",
        type=seconds,
        default=bench.SECONDS,
        metavar="S",
        help="time for each number in the table (default: %(default)s)",
    )
    measure.add_argument(
        "--output",
        type=Path,
        metavar="FILE.png",
        help="draw the results as well (needs matplotlib)",
    )
    measure.add_argument(
        "--json", type=Path, metavar="FILE.json", help="write the times as well"
    )

    errors = add(
        "accuracy",
        "measure the errors of a function",
        "Measure how far results are from the exact values, which mpmath computes with "
        'many digits from the textbook definition (pip install "fastact[accuracy]"). '
        "The points are drawn from all numbers of the dtype, and more where errors are "
        "likely: at kinks, roots and limits. Exit status 1 if a documented bound is "
        "exceeded.",
        " gelu",
        " mish --dtype float64 --points 5000",
        more=NAMES,
    )
    errors.add_argument(
        "name", type=activation_name, metavar="NAME", help="an activation, such as gelu"
    )
    errors.add_argument(
        "--dtype",
        type=one_dtype,
        default="float32",
        help=f"one of {', '.join(cases.DTYPES)} (default: float32)",
    )
    errors.add_argument(
        "--points",
        type=count,
        default=accuracy.POINTS,
        metavar="N",
        help="numbers to draw, beside those where errors are likely (default: "
        "%(default)s; a thousand take some seconds)",
    )

    add(
        "check",
        "test this installation, in a few seconds",
        "Test whether what is installed works on this machine: values and gradients "
        "against NumPy's expressions, special values, the instruction sets and threads "
        "against each other, strides and the like. It prints a line for each check, and "
        "what is wrong. Exit status 1 if anything is.",
        "",
    )
    return parser


class _Help(argparse.HelpFormatter):
    """Fills paragraphs, and leaves lines that are indented as they are."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        # not within gelu-silu.png
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.split("\n\n")
        return "\n\n".join(
            part if "\n" in part else super(_Help, self)._fill_text(part, width, indent)
            for part in (p.strip("\n") for p in parts)
        )


def _write(write: Callable[[Path], object], path: Path) -> str | None:
    """Write a file; returns what went wrong, if anything."""
    try:
        write(path)
    except ImportError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"cannot write {path}: {error}"
    print(f"written: {path}")
    return None


def _unwritable(picture: Path | None, text: Path | None) -> str | None:
    """Why one of two files could not be written, as far as that can be told before."""
    for path in filter(None, (picture, text)):
        reason = ""
        if path.is_dir():
            reason = "it is a folder"
        elif not path.parent.is_dir():
            reason = f"there is no folder {path.parent}"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            reason = "it is not permitted"
        if reason:
            return f"cannot write {path}: {reason}"
    if picture:
        if text and picture.resolve() == text.resolve():
            return f"{picture} cannot be both the picture and the times"
        if importlib.util.find_spec("matplotlib") is None:
            return bench.NO_MATPLOTLIB
        try:
            plotting.picture_format(picture)
        except ValueError as error:
            return f"cannot write {picture}: {error}"
    return None


def plot_names(names: list[str], output: Path | None, terminal: bool) -> str | None:
    """Draw; returns what went wrong, if anything."""
    if terminal:
        columns = shutil.get_terminal_size().columns
        try:
            print("\n\n".join(plotting.text_picture(n, columns) for n in names))
        except UnicodeEncodeError:
            return (
                f"the encoding {sys.stdout.encoding} has no Braille dots: set "
                "PYTHONIOENCODING=utf-8, or leave --terminal out"
            )
        return None
    path = output or Path("-".join(names) + ".png")
    if problem := _unwritable(path, None):
        without = problem is bench.NO_MATPLOTLIB
        return problem + ("; --terminal does without" if without else "")
    with progress(1) as step:  # importing matplotlib takes most of the time
        step(f"drawing {', '.join(names)}")
        return _write(lambda path: plotting.write_picture(names, path), path)


def run_bench(options: argparse.Namespace) -> str | None:
    """Measure, print and draw; returns what went wrong, if anything."""
    # Said before, not after all that has been measured.
    if problem := _unwritable(options.output, options.json):
        return problem
    if "numba" in options.backends:
        try:
            importlib.import_module("fastact.numba")
        except ImportError as error:  # it may refuse this NumPy
            return f"Numba cannot be used ({error}): leave it out, --backends numpy,c"
    both = options.direction == "both"
    directions = cases.DIRECTIONS if both else (options.direction,)
    with num_threads(options.threads or get_num_threads()):
        caption = bench.heading()
        print(caption)
        rows, problems = bench.run(
            dict.fromkeys(options.functions),
            directions,
            dict.fromkeys(options.dtypes),
            dict.fromkeys(options.sizes),
            options.backends,
            options.seconds,
        )
    print(bench.tables(rows, options.backends), end="")
    writers: list[tuple[Callable[[Path], object], Path | None]] = [
        (lambda path: path.write_text(bench.as_json(rows, caption)), options.json),
        (
            lambda path: bench.write_picture(rows, options.backends, path, caption),
            options.output,
        ),
    ]
    for write, path in writers:
        if path and rows:
            problems += filter(None, [_write(write, path)])
    return "\n".join(problems) or None


def run_accuracy(name: str, dtype: str, points: int) -> str | None:
    """Measure and print errors; returns what went wrong, if anything."""
    try:
        rows = accuracy.measure(name, dtype, points)
    except (ImportError, MemoryError) as error:
        return str(error)
    print(accuracy.report(name, dtype, rows), end="")
    if any(row["largest"] > row["bound"] for row in rows):
        return f"{name} exceeds its documented bound"
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
        0, or 1 if something could not be done or a check has failed.

    Raises
    ------
    SystemExit
        With status 2 if the arguments are wrong, after saying why.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    problem = None
    match options.command:
        case "info":
            show_config()
        case "plot":
            # A name may be given twice, perhaps as an alias.
            names = list(dict.fromkeys(options.names))
            problem = plot_names(names, options.output, options.terminal)
        case "bench":
            problem = run_bench(options)
        case "accuracy":
            problem = run_accuracy(options.name, options.dtype, options.points)
        case "check":
            return 0 if check.run() else 1
        case _:
            parser.print_help()
    if problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads what is printed has enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
