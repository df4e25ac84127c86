"""Instructions per element of some functions on AVX2: tests/instructions.json.

    python tests/instructions.py            # compare
    python tests/instructions.py --update   # write the file anew

Unlike a time, a count is the same in every run: Valgrind's callgrind counts what the
loops of the built package execute. What a call costs by itself is not in it: the figure
is the difference of two calls, one with twice the elements of the other.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

import fastact as fa
from fastact import _kernels

FILE = Path(__file__).parent / "instructions.json"
INSTRUCTION_SET = "avx2"  # callgrind knows no AVX-512
TOLERANCE = 0.02  # of a figure: what another patch release of the compiler may change


# --------------------------------------------------------------------- what is counted

COUNT = 1 << 12  # elements of the shorter call
LENGTH = 64  # of a row

ELEMENTWISE = (
    *("sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "mish", "softplus", "elu"),
    *("relu", "logsigmoid"),
)


class Case(NamedTuple):
    """A public function in a dtype."""

    function: str
    dtype: str = "float32"
    axis: int | None = None

    def __str__(self) -> str:
        axis = "" if self.axis is None else f" axis={self.axis}"
        return f"{self.function}{axis} {self.dtype}"

    def run(self, count: int) -> None:
        """Call it once on arrays of this many elements."""
        function = getattr(fa, self.function)
        parameters = inspect.signature(function).parameters.values()
        arrays = sum(p.default is p.empty for p in parameters)
        shape = (LENGTH, -1) if self.axis == 0 else (-1, LENGTH)
        x = np.linspace(-8, 8, count).astype(self.dtype).reshape(shape)
        function(*[x] * arrays, **({} if self.axis is None else {"axis": self.axis}))


def _cases() -> list[Case]:
    found = []
    for member in ("", "_backward"):
        found += [Case(name + member) for name in (*ELEMENTWISE, "swiglu")]
        found += [Case("gelu" + member, dtype) for dtype in ("float16", "float64")]
        softmax = "softmax" + member
        found += [Case(softmax, axis=axis) for axis in (-1, 0)]
        found += [Case(softmax, dtype, -1) for dtype in ("float16", "float64")]
    return found


CASES = _cases()

# Of no matter to what is counted: it tells callgrind that a call has ended. A loop's own
# name cannot, because callgrind takes one option for a function.
LOOPS, END_OF_CALL = ("fa_elementwise", "fa_rows_in_blocks"), "fa_available_isa"


def run_all() -> None:
    """What runs under callgrind."""
    for case in CASES:
        for count in (COUNT, 2 * COUNT):
            case.run(count)
            getattr(fa.lib, END_OF_CALL)(0)


# ------------------------------------------------------------------------- the figures


def compilers() -> list[str]:
    """What the C code was built by, as "gcc 12.2.0"; from the ELF section .comment."""
    pattern = rb"(?:GCC: \([^()]*\)|(clang) version) (\d+[\d.]*)"
    matches = re.findall(pattern, Path(_kernels.__file__).read_bytes())
    found = {(clang or b"gcc") + b" " + version for clang, version in matches}
    return sorted(name.decode() for name in found)


def obstacle() -> str:
    """Why nothing can be counted on this machine; empty if it can."""
    if INSTRUCTION_SET not in fa._core.available_instruction_sets():
        return f"the processor has no {INSTRUCTION_SET}"
    if shutil.which("valgrind") is None:
        return "valgrind was not found (Debian, Ubuntu: apt install valgrind)"
    return ""


def other_compiler() -> str:
    """Why what is counted here cannot be compared with the file; empty if it can."""
    known = str(json.loads(FILE.read_text())["compiler"])
    built = ", ".join(compilers()) or "an unknown compiler"
    if {name.split(".")[0] for name in compilers()} != {known.split(".")[0]}:
        return f"the figures are those of {known}, and this is a build by {built}"
    return ""


def measure() -> dict[str, float]:
    """Instructions per element of every case."""
    settings = {
        "FASTACT_ISA": INSTRUCTION_SET,
        "FASTACT_BACKEND": "c",
        "FASTACT_NUM_THREADS": "1",
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={file}"]
        command += [f"--toggle-collect={loop}" for loop in LOOPS]
        command += [f"--dump-after={END_OF_CALL}", "--combine-dumps=yes"]
        command += [sys.executable, __file__, "--run"]
        done = subprocess.run(
            command, env=os.environ | settings, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"valgrind has failed:\n{done.stderr}")
        totals = [
            int(line.split()[1])
            for line in file.read_text().splitlines()
            if line.startswith("totals:")
        ]
    counts = [total for total in totals if total != 0]  # a call outside the loops is 0
    if len(counts) != 2 * len(CASES):
        raise RuntimeError(f"{len(counts)} calls were counted, not {2 * len(CASES)}")
    pairs = zip(CASES, counts[::2], counts[1::2], strict=True)
    return {str(case): (twice - once) / COUNT for case, once, twice in pairs}


# ------------------------------------------------------------------------- the file

ADVICE = """
More instructions are not always more time: measure it, and if the change is meant,
python tests/instructions.py --update"""


def difference(found: dict[str, float]) -> str:
    """What is not as in the file, and what to do; empty if all is.

    Fewer instructions are a difference, too: without the new figure, they could grow
    back unseen.
    """
    stored = json.loads(FILE.read_text())["instructions_per_element"]
    lines = [
        f"{name}: {found[name]:.2f} instructions per element, not {stored[name]:.2f}"
        for name in found.keys() & stored.keys()
        if abs(found[name] - stored[name]) > TOLERANCE * stored[name]
    ]
    lines += [f"not in {FILE.name}: {name}" for name in found.keys() - stored.keys()]
    lines += [f"only in {FILE.name}: {name}" for name in stored.keys() - found.keys()]
    return "\n".join(sorted(lines)) + ADVICE if lines else ""


def update() -> None:
    """Write the file; say what has changed."""
    if len(compilers()) != 1:
        raise SystemExit(
            "Figures need a build by one compiler whose name is known; this one names "
            f"{', '.join(compilers()) or 'none'}: build anew, with gcc."
        )
    found = measure()
    if FILE.exists():
        print(difference(found).removesuffix(ADVICE) or "all within the tolerance")
    figures = {name: round(figure, 3) for name, figure in found.items()}
    content = {"compiler": compilers()[0], "instructions_per_element": figures}
    FILE.write_text(json.dumps(content, indent=2) + "\n")


def main() -> int:
    """Compare, or write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help=f"write {FILE.name} anew")
    parser.add_argument("--run", action="store_true", help="what callgrind is to count")
    arguments = parser.parse_args()
    if arguments.run:
        run_all()
        return 0
    if reason := obstacle():
        raise SystemExit(f"Nothing can be counted: {reason}.")
    if arguments.update:
        update()
        return 0
    if reason := other_compiler():
        raise SystemExit(f"Nothing can be compared: {reason}.")
    complaint = difference(measure())
    print(complaint or f"all figures are those of {FILE.name}")
    return bool(complaint)


if __name__ == "__main__":
    raise SystemExit(main())
