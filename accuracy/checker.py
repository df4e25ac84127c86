"""The C side of the accuracy check: references in float64 and errors in ULP.

`references.c` (the truth) and `checker.c` (the counting) are compiled on first use, into
`build/accuracy/`, for the processor of this machine.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cffi import FFI
from numpy.typing import DTypeLike, NDArray

Direction = Literal["forward", "derivative"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "derivative")
Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "accuracy"
SOURCES = (HERE / "references.c", HERE / "checker.c")
# Vectorised like the kernels under test (csrc/build_cffi.py), and as faithful.
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-fopenmp-simd"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"),
    *("-Wall", "-Wextra"),
    *(["-Werror"] if os.environ.get("FASTACT_WERROR") else []),
)
REFERENCES = """
typedef void reference_loop(size_t n, const double *x, const double *p, double *y);
typedef struct {
    const char *name;
    reference_loop *forward, *derivative;
} reference;
extern const reference references[];
extern size_t reference_count;
"""
# Bits of precision, the hidden one included, and the smallest normal's exponent.
FORMATS = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126)}
BINS_PER_UNIT = 128  # of the histogram, up to 1 ULP; see checker.c


def compiler() -> list[str]:
    """The C compiler's command, the one that builds fastact."""
    return (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()


def source_files() -> list[Path]:
    """All files that the truth and the count follow from."""
    headers = [*HERE.glob("*.h"), *HERE.glob("references/*.h")]
    return [*SOURCES, *sorted(headers), Path(__file__)]


def build(
    sources: Sequence[Path], depends: Sequence[Path], flags: Sequence[str]
) -> Path:
    """Compile a shared library, unless the same one has been compiled before.

    Parameters
    ----------
    sources : sequence of Path
        C files.
    depends : sequence of Path
        All files that are read, the sources included.
    flags : sequence of str
        Of the compiler.

    Returns
    -------
    Path
        The library.
    """
    command = [*compiler(), *flags]
    # the compiler's version and what it takes "native" for
    predefined = subprocess.run(
        [*command, "-E", "-dM", "-xc", os.devnull], capture_output=True, check=True
    )
    key = hashlib.sha256(repr(command).encode() + predefined.stdout)
    for path in depends:
        key.update(path.read_bytes())
    library = BUILD / f"{sources[-1].stem}-{key.hexdigest()[:16]}.so"
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(library.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes wait for the first
        if not library.exists():
            unfinished = library.with_suffix(".unfinished")
            command += ["-shared", "-fPIC", *map(str, sources), "-o", str(unfinished)]
            subprocess.run([*command, "-lm"], check=True)
            unfinished.rename(library)
    return library


@functools.cache
def _library() -> tuple[FFI, Any]:
    ffi = FFI()
    ffi.cdef(REFERENCES)
    header = (HERE / "checker.h").read_text()
    shared = header.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]
    ffi.cdef(shared)
    return ffi, ffi.dlopen(str(build(SOURCES, source_files(), FLAGS)))


@functools.cache
def _references() -> dict[str, Any]:
    ffi, lib = _library()
    table = (lib.references[i] for i in range(lib.reference_count))
    return {ffi.string(entry.name).decode(): entry for entry in table}


def names() -> list[str]:
    """The functions that have a reference."""
    return list(_references())


@functools.cache
def _format(dtype: np.dtype[Any]) -> Any:
    if dtype.name not in FORMATS:
        raise ValueError(f"the references in float64 are no truth for {dtype}")
    bits, smallest_exponent = FORMATS[dtype.name]
    # half a ULP above the largest number
    overflow = 2.0 ** (2 - smallest_exponent) * (1 - 2.0 ** -(bits + 1))
    return _library()[0].new("checker_format *", (bits, smallest_exponent, overflow))


def _pointer(array: NDArray[Any], kind: str) -> Any:
    ffi, _ = _library()
    return ffi.from_buffer(f"{kind}[]", array)


def _as_float32(numbers: Floats) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):  # signalling NaNs of 16-bit types
        return np.ascontiguousarray(numbers, np.float32)


def widen(x: Floats) -> Doubles:
    """Return float32 or 16-bit numbers as float64; signalling NaNs raise no warning."""
    wide = np.empty(x.shape)
    narrow = _pointer(_as_float32(x), "float")
    _library()[1].checker_widen(x.size, narrow, _pointer(wide, "double"))
    return wide


def patterns(first: int, step: int, out: NDArray[np.float32]) -> None:
    """Fill an array with the float32 numbers of the bits first, first + step, ..."""
    _library()[1].checker_patterns(first, step, out.size, _pointer(out, "float"))


def reference(
    name: str,
    direction: Direction,
    x: Doubles,
    parameters: Sequence[float] = (),
) -> Doubles:
    """Return the truth for float32 and narrower types: good to 2^-10 ULP of float32.

    Parameters
    ----------
    name : str
        A function of the catalogue.
    direction : "forward" or "derivative"
        The value or df/dx, which at kinks is the value that the catalogue documents.
    x : ndarray of float64
        Numbers of the narrow type.
    parameters : sequence of float
        All of the function's parameters, in the catalogue's order.

    Returns
    -------
    ndarray of float64
    """
    x = np.ascontiguousarray(x, np.float64)
    values = np.array(parameters, np.float64)
    y = np.empty(x.shape)
    loop = getattr(_references()[name], direction)
    loop(x.size, *(_pointer(array, "double") for array in (x, values, y)))
    return y


def ulp_errors(result: Floats, truth: Doubles, dtype: DTypeLike) -> Doubles:
    """Return the distance of every result from the truth, in ULP.

    The definition is that of `ulp_error` in fastact/checking/truth.py, and where the
    truth is NaN, so must be the result.

    Parameters
    ----------
    result : ndarray
        As computed, in `dtype`.
    truth : ndarray of float64
        As many values.
    dtype : dtype
        float16, bfloat16 or float32.

    Returns
    -------
    ndarray of float64
    """
    errors = np.empty(result.shape)
    _library()[1].checker_errors(
        result.size,
        _pointer(_as_float32(result), "float"),
        _pointer(np.ascontiguousarray(truth, np.float64), "double"),
        _format(np.dtype(dtype)),
        _pointer(errors, "double"),
    )
    return errors


def _no_histogram() -> NDArray[np.int64]:
    return np.zeros(_library()[1].CHECKER_BINS, np.int64)


@dataclass
class Tally:
    """Errors of many results, in ULP.

    Attributes
    ----------
    count, correct : int
        How many results, and how many of them are the truth correctly rounded.
    total, maximum : float
        The sum of all errors, and the largest.
    where : float or None
        The argument at which the largest error is; None as long as all errors are 0.
    histogram : ndarray of int64
        Bins of 1/128 ULP up to 1 ULP, twice as wide up to 3, and so on; the last bin has
        all that is larger.
    """

    count: int = 0
    correct: int = 0
    total: float = 0.0
    maximum: float = 0.0
    where: float | None = None
    histogram: NDArray[np.int64] = field(default_factory=_no_histogram)

    @property
    def mean(self) -> float:
        """The mean error."""
        return self.total / self.count if self.count else 0.0

    @property
    def share_correct(self) -> float:
        """The share of results that are correctly rounded."""
        return self.correct / self.count if self.count else 1.0

    def percentile(self, percent: float) -> float:
        """An error that `percent` per cent do not exceed, to the width of a bin."""
        if not self.count:
            return 0.0
        reached = np.cumsum(self.histogram) >= self.count * percent / 100
        bin_above = int(np.argmax(reached)) + 1
        if bin_above == self.histogram.size:
            return self.maximum
        octave, place = divmod(bin_above, BINS_PER_UNIT)
        edge = 2.0**octave * (1 + place / BINS_PER_UNIT) - 1
        return min(edge, self.maximum)

    def add(self, x: Floats, result: Floats, truth: Doubles, dtype: DTypeLike) -> None:
        """Count the errors of results at `x`; see `ulp_errors`."""
        ffi, lib = _library()
        found = ffi.new("checker_tally *")
        where = lib.checker_add(
            result.size,
            _pointer(_as_float32(result), "float"),
            _pointer(np.ascontiguousarray(truth, np.float64), "double"),
            _format(np.dtype(dtype)),
            found,
        )
        counts = np.frombuffer(ffi.buffer(found.histogram), np.int64)
        self.merge(
            Tally(
                found.count,
                found.correct,
                found.sum,
                found.maximum,
                float(x[where]) if where < x.size else None,
                counts,
            )
        )

    def add_errors(self, x: Floats, errors: Doubles) -> None:
        """Count errors that have been measured otherwise, those of float64."""
        if not errors.size:
            return
        worst = int(np.argmax(errors))
        octave_and_place = (1.0 + errors).view(np.int64) >> (52 - 7)
        bins = np.minimum(octave_and_place - (1023 << 7), self.histogram.size - 1)
        self.merge(
            Tally(
                errors.size,
                int(np.count_nonzero(errors <= 0.5)),
                float(errors.sum()),
                float(errors[worst]),
                float(x[worst]) if errors[worst] else None,
                np.bincount(bins, minlength=self.histogram.size),
            )
        )

    def merge(self, other: Tally) -> None:
        """Add the errors of another tally; of two equal maxima the first one's stays."""
        self.count += other.count
        self.correct += other.correct
        self.total += other.total
        self.histogram = self.histogram + other.histogram
        if other.maximum > self.maximum:
            self.maximum, self.where = other.maximum, other.where

    def as_json(self) -> dict[str, Any]:
        """The tally as JSON can hold it, the histogram without its last zeros."""
        length = int(np.max(np.flatnonzero(self.histogram), initial=-1)) + 1
        fields = {**vars(self), "histogram": self.histogram[:length].tolist()}
        return {**fields, "where": None if self.where is None else self.where.hex()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Tally:
        """The tally that `as_json` was made from."""
        found = cls(**fields)
        if fields["where"] is not None:
            found.where = float.fromhex(fields["where"])
        found.histogram = _no_histogram()
        found.histogram[: len(fields["histogram"])] = fields["histogram"]
        return found


def tally(x: Floats, result: Floats, truth: Doubles, dtype: DTypeLike) -> Tally:
    """Return the errors of results at `x`, counted; see `ulp_errors`."""
    found = Tally()
    found.add(x, result, truth, dtype)
    return found
