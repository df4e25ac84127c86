"""Measure the errors of fastact and other libraries side by side: `make accuracy-peers`.

    python -m accuracy.peers [options] [function ...]

Everything in float32, forward and backward with dy = 1: on a fixed stride through all
bit patterns, and on normally distributed arguments. Every library runs in processes of
its own. What is finished is kept in `results/`, so that the command can be interrupted
and started again; the complete result goes to `accuracy/peers.json`, and as a table
into `docs/accuracy.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fastact as fa
from fastact import _kernels
from fastact.checking.adversarial import default_parameters
from fastact.formulas.entry import CATALOGUE, Activation

from .checker import (
    BINS_PER_UNIT,
    DIRECTIONS,
    Direction,
    Doubles,
    Floats,
    Tally,
    patterns,
    reference,
    source_files,
    widen,
)
from .peer_functions import BACKWARD, FORWARD, SYSTEMS, has, shared
from .peers_table import DATA, RESULT, table, write_table
from .results import machine

UNFINISHED = Path(__file__).parents[1] / "results" / "accuracy-peers.json"
STRIDE, SAMPLES, SEED = 17, 10_000_000, 20
PERCENT = 99.9
# Small enough for the second-level cache, large enough that calls cost nothing.
CHUNK = 1 << 18
PACKAGES = {"PyTorch": "torch", "JAX": "jax", "SciPy": "scipy", "thinc": "thinc"}
# The cores are used by processes. JAX would look for a GPU.
ENVIRONMENT = {
    "FASTACT_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}

Array: TypeAlias = NDArray[np.float32]
Function: TypeAlias = Callable[[Array], Array]


# ------------------------------------------------------------------------- the functions


def _of_numpy(expression: str, names: dict[str, Any]) -> Function:
    """A function from an expression in `x` and `dy`, on NumPy arrays."""
    code = compile(expression, expression, "eval")

    def function(x: Array) -> Array:
        with np.errstate(all="ignore"):
            y: Array = eval(code, names | {"x": x, "dy": np.ones_like(x)})
        return y

    return function


def _fastact(name: str, direction: Direction, p: tuple[float, ...]) -> Function:
    call = {"forward": f"{name}(x, *p)", "derivative": f"{name}_backward(dy, x, *p)"}
    return _of_numpy(f"fa.{call[direction]}", {"fa": fa, "p": p})


def _pytorch(name: str, direction: Direction, p: tuple[float, ...]) -> Function:
    import torch

    torch.set_num_threads(1)
    names = {"torch": torch, "F": torch.nn.functional, "p": p}
    code = compile(FORWARD["PyTorch"][name], name, "eval")

    def forward(array: Array) -> Array:
        y: Array = eval(code, names | {"x": torch.from_numpy(array)}).numpy()
        return y

    def derivative(array: Array) -> Array:
        x = torch.from_numpy(array).requires_grad_()
        y = eval(code, names | {"x": x})
        (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
        gradient: Array = dx.numpy()
        return gradient

    return forward if direction == "forward" else derivative


def _jax(name: str, direction: Direction, p: tuple[float, ...]) -> Function:
    import jax

    code = compile(FORWARD["JAX"][name], name, "eval")

    def forward(x: Any) -> Any:
        return eval(code, {"jax": jax, "p": p, "x": x})

    def derivative(x: Any) -> Any:
        y, pull_back = jax.vjp(forward, x)
        return pull_back(jax.numpy.ones_like(y))[0]

    compiled = jax.jit(forward if direction == "forward" else derivative)
    return lambda x: np.asarray(compiled(x))


def _scipy(name: str, direction: Direction, p: tuple[float, ...]) -> Function:
    from scipy import special

    return _of_numpy(FORWARD["SciPy"][name], {"special": special, "p": p})


def _thinc(name: str, direction: Direction, p: tuple[float, ...]) -> Function:
    from thinc.api import NumpyOps

    table = FORWARD if direction == "forward" else BACKWARD
    return _of_numpy(table["thinc"][name], {"ops": NumpyOps(), "p": p})


FUNCTIONS = {
    "fastact": _fastact,
    "PyTorch": _pytorch,
    "JAX": _jax,
    "SciPy": _scipy,
    "thinc": _thinc,
}


# ------------------------------------------------------------------------- the arguments


def _range(stride: int) -> Iterator[Array]:
    """Every float32 whose bits are a multiple of the stride."""
    count = -(-(2**32) // stride)
    for start in range(0, count, CHUNK):
        x = np.empty(min(CHUNK, count - start), np.float32)
        patterns(start * stride, stride, x)
        yield x


def _normal(samples: int) -> Iterator[Array]:
    """The same numbers, normally distributed, every time."""
    random = np.random.default_rng(SEED)
    for start in range(0, samples, CHUNK):
        yield random.standard_normal(min(CHUNK, samples - start), np.float32)


def _is_measured(x: Array, entry: Activation) -> NDArray[np.bool_]:
    """Where: at finite x in the domain; kinks are matters of definition."""
    lowest, highest = entry.domain
    measured = np.isfinite(x) & (lowest < x) & (x < highest)
    names = (parameter.name for parameter in entry.parameters)
    known = dict(zip(names, default_parameters(entry), strict=True))
    for kink in entry.kinks:
        measured &= x != np.float32(eval(kink, {}, known))
    return measured


# ----------------------------------------------------------------------- the measurement


@dataclass(frozen=True)
class Job:
    """A function of a library, in one direction."""

    system: str
    function: str
    direction: Direction

    @property
    def key(self) -> str:
        """Under which the result has it."""
        return f"{self.function} {self.direction} {self.system}"

    def measure(self, stride: int, samples: int) -> dict[str, Any]:
        """The errors, on each kind of arguments."""
        entry = CATALOGUE[self.function]
        values = default_parameters(entry)
        takes_defaults = entry.has_defaults or not entry.parameters
        parameters = () if takes_defaults else values
        function = FUNCTIONS[self.system](self.function, self.direction, parameters)
        rounded = tuple(float(np.float32(value)) for value in values)

        def results(chunks: Iterator[Array]) -> Iterator[tuple[Array, Array, Doubles]]:
            for chunk in chunks:
                x, y = chunk, function(chunk)
                if y.dtype != np.float32 or y.shape != x.shape:
                    raise TypeError(f"{self.key}: {y.dtype} of shape {y.shape}")
                measured = _is_measured(x, entry)
                if not measured.all():
                    x, y = x[measured], y[measured]
                yield x, y, reference(self.function, self.direction, widen(x), rounded)

        errors = {data: Tally() for data in DATA}
        for x, y, truth in results(_range(stride)):
            errors["all"].add(x, y, truth, np.float32)
            kept = ~(_is_subnormal(x) | _is_subnormal(truth))
            errors["normal numbers"].add(x[kept], y[kept], truth[kept], np.float32)
        for x, y, truth in results(_normal(samples)):
            errors["N(0, 1)"].add(x, y, truth, np.float32)
        return {data: _facts(found) for data, found in errors.items()}


def _is_subnormal(x: Floats) -> NDArray[np.bool_]:
    """Whether float32 would hold it as a subnormal number, or not at all."""
    subnormal: NDArray[np.bool_] = (x != 0) & (np.abs(x) < np.finfo(np.float32).tiny)
    return subnormal


def _facts(errors: Tally) -> dict[str, Any]:
    """What the result keeps; what JSON's numbers cannot say, texts do."""
    # the histogram ends there
    end = 2.0 ** (errors.histogram.size // BINS_PER_UNIT) - 1
    percentile = errors.percentile(PERCENT)
    return {
        "maximum": _rounded(errors.maximum) if errors.maximum < np.inf else "inf",
        "where": None if errors.where is None else errors.where.hex(),
        "percentile": _rounded(percentile) if percentile < end else f">{end:g}",
        "count": errors.count,
    }


def _rounded(error: float) -> float:
    return float(f"{error:.6g}")


def jobs(functions: list[str]) -> list[Job]:
    """What there is to measure, library after library."""
    everything = itertools.product(SYSTEMS, functions, DIRECTIONS)
    return [Job(*which) for which in everything if has(*which)]


# --------------------------------------------------------------------------- the command


def _settings(stride: int, samples: int) -> dict[str, Any]:
    """What results must have in common to stand in one table."""
    sources = (Path(_kernels.__file__), Path(__file__), *source_files())
    bytes_ = b"".join(path.read_bytes() for path in sources)
    return {
        "machine": {key: text for key, text in machine().items() if key != "date"},
        "peers": {system: version(package) for system, package in PACKAGES.items()},
        "build": hashlib.sha256(bytes_).hexdigest()[:16],
        "stride": stride,
        "samples": samples,
        "percent": PERCENT,
    }


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    unfinished.rename(path)


def _begin(settings: dict[str, Any]) -> dict[str, Any]:
    """What an interrupted run with the same settings has found, or nothing yet."""
    if UNFINISHED.exists():
        found: dict[str, Any] = json.loads(UNFINISHED.read_text())
        if found["settings"] == settings:
            return found
    return {"settings": settings, "errors": {}}


def _start_worker() -> None:
    """The main process alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(todo: list[Job], settings: dict[str, Any], workers: int) -> Iterator[Any]:
    """Each job with its result, as they finish; one library at a time."""
    context = multiprocessing.get_context("spawn")
    for _, group in itertools.groupby(todo, key=lambda job: job.system):
        executor = ProcessPoolExecutor(workers, context, _start_worker)
        try:
            started = {
                executor.submit(
                    job.measure, settings["stride"], settings["samples"]
                ): job
                for job in group
            }
            for future in as_completed(started):
                yield started[future], future.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m accuracy.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("function", nargs="*", help="show these only, write nothing")
    parser.add_argument(
        "--stride",
        type=int,
        default=STRIDE,
        help="every so many-th of the 2^32 bit patterns (%(default)s); 1: all",
    )
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="normally distributed: %(default)s"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes; all cores, here %(default)s",
    )
    parser.add_argument(
        "--table", action="store_true", help="write the table anew, measure nothing"
    )
    arguments = parser.parse_args()
    if arguments.table:
        write_table()
        return 0
    unknown = {*arguments.function} - {*shared()}
    if unknown:
        parser.error(f"no other library has {', '.join(sorted(unknown))}")

    os.environ.update(ENVIRONMENT)
    result = _begin(_settings(arguments.stride, arguments.samples))
    every = jobs(arguments.function or shared())
    errors = result["errors"]
    todo = [job for job in every if job.key not in errors]
    start = time.monotonic()
    try:
        for job, found in _run(todo, result["settings"], arguments.jobs):
            errors[job.key] = found
            _write(UNFINISHED, result)
            done = sum(job.key in errors for job in every)
            seconds = time.monotonic() - start
            print(f"{done:3} of {len(every)}, {seconds:4.0f} s: {job.key}", flush=True)
    except KeyboardInterrupt:
        print("Interrupted; the same command continues.")
        return 130
    # in one order, whatever the one in which they finished
    result["errors"] = {job.key: errors[job.key] for job in every}
    if arguments.function:
        print(table(result))
        return 0
    result["date"] = machine()["date"]
    _write(RESULT, result)
    UNFINISHED.unlink()
    write_table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
