"""Runs kernels over all their inputs, in units of work that a second run need not repeat.

float32 has 2^32 inputs, float16 and bfloat16 65,536, all of which are checked at the
default parameters; float64 is observed at the points of `adversarial`. At other
parameters float32 is sampled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastact as fa
from fastact import _core
from fastact.checking import adversarial
from fastact.checking import reference as mpmath_reference
from fastact.checking import truth as mpmath_truth
from fastact.formulas import kernels
from fastact.formulas.entry import CATALOGUE, Activation
from fastact.formulas.language import FLOAT16, FLOAT32, FLOAT64, Precision
from fastact.formulas.translate import c_kernel

from . import checker
from .checker import BUILD, Direction, Doubles, Floats, Tally

PROGRESS = BUILD / "sweep.jsonl"  # finished units

# What is checked: computes the results for x into another array.
Kernel = Callable[[Floats, Floats], object]

DTYPES = {dtype.name: dtype for dtype in _core.DTYPES.values()}
PRECISIONS = {"float32": FLOAT32, "float64": FLOAT64}  # others: FLOAT16
PATTERNS = 1 << 32
PARTS = 32  # units that all float32 are split into: a few seconds each
BLOCK = 1 << 14  # elements at a time: what is made of them stays in the cache
SAMPLE_STEP = 4099  # a prime: samples have all low bits


@dataclass(frozen=True)
class Subject:
    """A function or its derivative; no parameters stand for the default ones."""

    name: str
    direction: Direction
    parameters: tuple[float, ...] = ()

    @property
    def entry(self) -> Activation:
        """Its entry in the catalogue."""
        return CATALOGUE[self.name]

    @property
    def label(self) -> str:
        """The function, with its parameters where they are not the default ones."""
        values = ", ".join(f"{p:g}" for p in self.parameters)
        return f"{self.name}({values})" if values else self.name

    def values(self, dtype: np.dtype[Any]) -> tuple[float, ...]:
        """All parameters, as fastact rounds them."""
        kind = np.promote_types(np.float32, dtype).type
        values = self.parameters or adversarial.default_parameters(self.entry)
        return tuple(float(kind(value)) for value in values)

    def kernel(self) -> Kernel:
        """fastact's."""
        # with a name for every parameter another kernel runs than without
        values = self.parameters
        if not values and not self.entry.has_defaults:
            values = adversarial.default_parameters(self.entry)
        if self.direction == "forward":
            forward = getattr(fa, self.name)
            return lambda x, out: forward(x, *values, out=out)
        backward = getattr(fa, f"{self.name}_backward")
        return lambda x, out: backward(np.ones_like(x), x, *values, out=out)

    def truth(self, x: Doubles, values: Sequence[float]) -> Doubles:
        """The reference; NaN outside the domain."""
        found = checker.reference(self.name, self.direction, x, values)
        low, high = self.entry.domain
        if (low, high) != (-np.inf, np.inf):
            found[(x < low) | (x > high)] = np.nan
        return found


def count_errors(subject: Subject, kernel: Kernel, x: Floats) -> Tally:
    """Return the errors of a kernel at `x`, of float32 or 16 bits.

    Points beyond `accurate_up_to` are left out.
    """
    values = subject.values(x.dtype)
    limit = adversarial.accurate_up_to(subject.entry, values)
    if limit < np.inf:
        x = x[~(np.abs(x) > limit)]
    result = np.empty_like(x)
    kernel(x, result)
    truth = subject.truth(checker.widen(x), values)
    return checker.tally(x, result, truth, x.dtype)


def check_patterns(
    subject: Subject, kernel: Kernel, first: int, count: int, step: int = 1
) -> Tally:
    """Return a kernel's errors at the float32 of the bits first, first + step, ...

    Parameters
    ----------
    subject : Subject
        What the kernel should compute.
    kernel : callable
        Takes x and the array for the results.
    first, count, step : int
        Which bits; they wrap around at 2^32.

    Returns
    -------
    Tally
    """
    found = Tally()
    x = np.empty(BLOCK, np.float32)
    for start in range(0, count, BLOCK):
        block = x[: count - start]
        checker.patterns((first + start * step) % PATTERNS, step, block)
        found.merge(count_errors(subject, kernel, block))
    return found


def check_sample(subject: Subject, kernel: Kernel) -> Tally:
    """Return a kernel's errors at a million float32 of evenly spaced bits."""
    return check_patterns(subject, kernel, 0, PATTERNS // SAMPLE_STEP, SAMPLE_STEP)


def check_16_bits(subject: Subject, kernel: Kernel, dtype: np.dtype[Any]) -> Tally:
    """Return a kernel's errors at all numbers of a 16-bit type."""
    return count_errors(
        subject, kernel, np.arange(1 << 16, dtype=np.uint16).view(dtype)
    )


def check_float64(subject: Subject, kernel: Kernel, points: Doubles) -> Tally:
    """Return a kernel's errors at points where it has a derivative, against mpmath."""
    cache = BUILD / "truth"
    cache.mkdir(parents=True, exist_ok=True)
    truth = mpmath_truth.truth(
        subject.name,
        subject.direction,
        np.float64,
        points,
        subject.values(points.dtype),
        cache=cache,
    )
    result = np.empty_like(points)
    kernel(points, result)
    errors = np.asarray(mpmath_truth.ulp_error(result, truth, np.float64), np.float64)
    found = Tally()
    found.add_errors(points, errors)
    return found


def check_points(subject: Subject, kernel: Kernel, points: Floats) -> Tally:
    """Return a kernel's errors at points of any dtype."""
    if points.dtype == np.float64:
        return check_float64(subject, kernel, np.asarray(points, np.float64))
    return count_errors(subject, kernel, points)


def float64_points(subject: Subject) -> Doubles:
    """The adversarial set."""
    count = adversarial.BIT_UNIFORM
    if subject.parameters:
        count = adversarial.BIT_UNIFORM_OTHER
    values = subject.values(np.dtype(np.float64))
    return adversarial.float64_points(subject.entry, values, count)


@dataclass(frozen=True)
class Unit:
    """A piece of work: all inputs of a dtype, or a part of them."""

    subject: Subject
    dtype: str
    part: int = 0

    @property
    def row(self) -> str:
        """Name of the row of the table that it belongs to."""
        return f"{self.subject.label} {self.subject.direction} {self.dtype}"

    @property
    def key(self) -> str:
        """Its name in the file that keeps finished units; another build has another."""
        precision = PRECISIONS.get(self.dtype, FLOAT16)
        return f"{self.row} {self.part} {_identity(self.subject, precision)}"

    def run(self) -> Tally:
        """Check fastact's kernel."""
        subject, kernel = self.subject, self.subject.kernel()
        match self.dtype:
            case "float64":
                return check_float64(subject, kernel, float64_points(subject))
            case "float32" if subject.parameters:
                return check_sample(subject, kernel)
            case "float32":
                size = PATTERNS // PARTS
                return check_patterns(subject, kernel, self.part * size, size)
            case _:
                return check_16_bits(subject, kernel, DTYPES[self.dtype])


def units(
    names: Iterable[str], directions: Iterable[Direction], dtypes: Iterable[str]
) -> list[Unit]:
    """All the work that there is for these functions, directions and dtypes."""
    found = []
    for name in names:
        for parameters in [(), *adversarial.OTHER_PARAMETERS.get(name, [])]:
            for direction in directions:
                subject = Subject(name, direction, parameters)
                for dtype in dtypes:
                    whole = dtype == "float32" and not parameters
                    parts = range(PARTS if whole else 1)
                    found += [Unit(subject, dtype, part) for part in parts]
    return found


def everything() -> list[Unit]:
    """The work for the whole catalogue."""
    return units(CATALOGUE, checker.DIRECTIONS, DTYPES)


@functools.cache
def _common_identity() -> bytes:
    """A hash of what all results follow from, but for the kernels themselves."""
    csrc = checker.HERE.parent / "csrc"
    names = ("kernels.c", "primitives.h", "conversions.h", "build_cffi.py")
    files = [*csrc.glob("isa/*.c"), *(csrc / name for name in names)]
    files += [*checker.source_files(), Path(__file__), Path(adversarial.__file__)]
    files += [Path(m.__file__ or "") for m in (mpmath_reference, mpmath_truth)]
    found = hashlib.sha256(_core.instruction_set.encode())
    for file in sorted(files):
        found.update(file.read_bytes())
    return found.digest()


@functools.cache
def _identity(subject: Subject, precision: Precision) -> str:
    """A hash of all that a subject's results follow from: others' are not used."""
    forward = subject.direction == "forward"
    kernel = kernels.Kernel(
        subject.entry,
        kernels.FORWARD if forward else kernels.BACKWARD,
        with_defaults=subject.entry.has_defaults and not subject.parameters,
    )
    source = c_kernel(kernel, precision).encode()
    return hashlib.sha256(_common_identity() + source).hexdigest()[:16]


def check_build() -> None:
    """Refuse to check what has not been compiled from the formulas as they are now.

    Raises
    ------
    RuntimeError
        If a formula is newer than the compiled module.
    """
    package = Path(fa.__file__).parent
    if not (package.parent / "setup.py").exists():
        return  # installed, all of it at once
    built = max(file.stat().st_mtime for file in package.glob("*.so"))
    newer = [
        file.name
        for file in package.glob("formulas/**/*.py")
        if file.stat().st_mtime > built
    ]
    if newer:
        raise RuntimeError(f"build first (make .venv/built): {newer[0]} has changed")


def finished(file: Path) -> dict[str, Tally]:
    """Read the units that have been finished; the last line may have been cut off."""
    found = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            continue
        key = fields.pop("unit")
        found[key] = Tally.from_json(fields)
    return found


def run(
    work: Sequence[Unit], file: Path, workers: int
) -> Iterator[tuple[Unit, Tally, bool]]:
    """Do the work, and keep what is finished.

    Parameters
    ----------
    work : sequence of Unit
        What to do.
    file : Path
        Keeps finished units, one a line; those that it has are not done again.
    workers : int
        How many processes.

    Yields
    ------
    unit : Unit
    tally : Tally
    computed : bool
        Whether it was not in the file.
    """
    known = finished(file)
    for unit in work:
        if unit.key in known:
            yield unit, known[unit.key], False
    missing = [unit for unit in work if unit.key not in known]
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as output:
        output.write("\n")  # what was cut off must not spoil the next line
        for unit, tally in _compute(missing, workers):
            print(json.dumps({"unit": unit.key, **tally.as_json()}), file=output)
            output.flush()
            yield unit, tally, True


def _compute(work: Sequence[Unit], workers: int) -> Iterator[tuple[Unit, Tally]]:
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _prepare_worker
    )
    try:
        futures = {pool.submit(unit.run): unit for unit in work}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:  # when interrupted: without the units that nobody has begun
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    fa.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
