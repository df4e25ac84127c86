"""One training step of a network, and what of it are activations.

    build/peers-venv/bin/python bench/training_step.py [--batch 4096] [--width 1024]

Three layers of `width` units with an activation after each of the first two, float32: the
forward pass, the backward pass and the update, on all threads. In turns, each in a process
of its own: NumPy with the expressions of `fastact.plain`; NumPy in place, keeping what the
forward pass has computed for the backward pass, which is the best it offers without new
functions; NumPy with fastact, without and with `share_threads_with_blas`; and PyTorch,
where it is installed, as by `make bench-peers`. Prints the milliseconds of the fastest step
and of its activations, forward and backward.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

import fastact as fa
from fastact.experimental import share_threads_with_blas

ACTIVATIONS = ("gelu", "silu")
SHARING = "fastact, sharing threads"
EXPRESSIONS, IN_PLACE = "NumPy, expressions", "NumPy, in place"
LIBRARIES = (EXPRESSIONS, IN_PLACE, "fastact", SHARING, "PyTorch")
LAYERS = 3
LEARNING_RATE = np.float32(1e-3)


class Stopwatch:
    """Adds up the time of what is called through it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments)
        self.seconds += time.perf_counter() - begin
        return result


class InPlaceGelu:
    """gelu with SciPy's erf; the distribution function is kept."""

    def __init__(self, like: Any) -> None:
        self.cdf, self.scratch = np.empty_like(like), np.empty_like(like)

    def forward(self, z: Any, h: Any) -> None:
        from scipy.special import erf

        np.multiply(z, np.float32(0.5**0.5), out=self.cdf)
        erf(self.cdf, out=self.cdf)
        np.add(self.cdf, 1, out=self.cdf)
        np.multiply(self.cdf, 0.5, out=self.cdf)
        np.multiply(z, self.cdf, out=h)

    def backward(self, d: Any, z: Any) -> None:
        np.multiply(z, z, out=self.scratch)
        np.multiply(self.scratch, np.float32(-0.5), out=self.scratch)
        np.exp(self.scratch, out=self.scratch)
        np.multiply(self.scratch, z, out=self.scratch)
        np.multiply(self.scratch, np.float32(0.3989422804014327), out=self.scratch)
        np.add(self.scratch, self.cdf, out=self.scratch)
        np.multiply(d, self.scratch, out=d)


class InPlaceSilu:
    """silu; the logistic function is kept."""

    def __init__(self, like: Any) -> None:
        self.logistic, self.scratch = np.empty_like(like), np.empty_like(like)

    def forward(self, z: Any, h: Any) -> None:
        np.negative(z, out=self.logistic)
        np.exp(self.logistic, out=self.logistic)
        np.add(self.logistic, 1, out=self.logistic)
        np.reciprocal(self.logistic, out=self.logistic)
        np.multiply(z, self.logistic, out=h)

    def backward(self, d: Any, z: Any) -> None:
        # s (1 + z (1 - s)) = s + h (1 - s)
        np.subtract(1, self.logistic, out=self.scratch)
        np.multiply(self.scratch, z, out=self.scratch)
        np.add(self.scratch, 1, out=self.scratch)
        np.multiply(self.scratch, self.logistic, out=self.scratch)
        np.multiply(d, self.scratch, out=d)


class Expressions:
    """The one-line expressions of `fastact.plain`."""

    def __init__(self, name: str) -> None:
        self.function = getattr(fa.plain, name)
        self.gradient = getattr(fa.plain, f"{name}_backward")

    def forward(self, z: Any, h: Any) -> None:
        h[:] = self.function(z)

    def backward(self, d: Any, z: Any) -> None:
        d[:] = self.gradient(d, z)


class Fastact:
    """An activation and its gradient, in place."""

    def __init__(self, name: str) -> None:
        self.function = getattr(fa, name)
        self.gradient = getattr(fa, f"{name}_backward")

    def forward(self, z: Any, h: Any) -> None:
        self.function(z, out=h)

    def backward(self, d: Any, z: Any) -> None:
        self.gradient(d, z, out=d)


def _random(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _weights(width: int) -> list[Any]:
    return [
        _random((width, width), seed) / np.float32(width**0.5) for seed in range(LAYERS)
    ]


def numpy_steps(library: str, name: str, batch: int, width: int) -> Callable[[], Any]:
    """A function that does one step in NumPy and returns the seconds of activations."""
    weights = _weights(width)
    biases = [np.zeros(width, np.float32) for _ in weights]
    x, target = _random((batch, width), 10), _random((batch, width), 11)
    z = [np.empty_like(x) for _ in weights]
    h = [np.empty_like(x) for _ in weights[1:]]
    slopes = [np.empty_like(x) for _ in weights]
    changes = [np.empty_like(w) for w in weights]
    if library == SHARING:
        share_threads_with_blas()
    make: Callable[[], Any] = {
        EXPRESSIONS: lambda: Expressions(name),
        IN_PLACE: lambda: {"gelu": InPlaceGelu, "silu": InPlaceSilu}[name](x),
    }.get(library, lambda: Fastact(name))
    activations = [make() for _ in h]

    def step() -> tuple[float, float]:
        watch = Stopwatch()
        entering = [x, *h]
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            np.matmul(entering[k], weight, out=z[k])
            np.add(z[k], bias, out=z[k])
            if k < len(h):
                watch(activations[k].forward, z[k], h[k])
        np.subtract(z[-1], target, out=slopes[-1])
        loss = float(np.mean(np.square(slopes[-1])))
        np.multiply(slopes[-1], np.float32(2 / target.size), out=slopes[-1])
        for k in reversed(range(LAYERS)):
            np.matmul(entering[k].T, slopes[k], out=changes[k])
            if k > 0:
                np.matmul(slopes[k], weights[k].T, out=slopes[k - 1])
                watch(activations[k - 1].backward, slopes[k - 1], z[k - 1])
            biases[k] -= LEARNING_RATE * slopes[k].sum(axis=0)
            changes[k] *= LEARNING_RATE
            weights[k] -= changes[k]
        return watch.seconds, loss

    return step


def torch_steps(name: str, batch: int, width: int) -> Callable[[], Any]:
    """The same in PyTorch, with its modules; it does not time the activations."""
    import torch

    module = {"gelu": torch.nn.GELU, "silu": torch.nn.SiLU}[name]
    layers: list[Any] = []
    for k, weight in enumerate(_weights(width)):
        linear = torch.nn.Linear(width, width)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.zero_()
        layers += [linear, module()] if k < LAYERS - 1 else [linear]
    network = torch.nn.Sequential(*layers)
    optimiser = torch.optim.SGD(network.parameters(), lr=float(LEARNING_RATE))
    x, target = (torch.from_numpy(_random((batch, width), seed)) for seed in (10, 11))

    def step() -> tuple[float, float]:
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x), target)
        loss.backward()
        optimiser.step()
        return float("nan"), float(loss)

    return step


def measure(library: str, name: str, batch: int, width: int, rounds: int) -> Any:
    """The milliseconds of the fastest step, and of the fastest activations."""
    if library == LIBRARIES[-1]:
        step = torch_steps(name, batch, width)
    else:
        step = numpy_steps(library, name, batch, width)
    _, loss = step()
    whole, activations = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        seconds, _ = step()
        whole.append(time.perf_counter() - begin)
        activations.append(seconds)
    return {
        "step": min(whole) * 1e3,
        "activations": min(activations) * 1e3,
        "loss": loss,
    }


def _in_a_process(arguments: argparse.Namespace, library: str, name: str) -> Any:
    command = [sys.executable, __file__, "--only", library, "--activation", name]
    for option in ("batch", "width", "rounds"):
        command += [f"--{option}", str(getattr(arguments, option))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> int:
    """Measure all libraries in turns, or one, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=6, help="steps that are timed")
    parser.add_argument(
        "--turns", type=int, default=2, help="processes of each library"
    )
    parser.add_argument("--only", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--activation", choices=ACTIVATIONS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        what = arguments.only, arguments.activation
        found = measure(*what, arguments.batch, arguments.width, arguments.rounds)
        print(json.dumps(found))
        return 0

    libraries = LIBRARIES if find_spec("torch") else LIBRARIES[:-1]
    shortest: dict[tuple[str, str], Any] = {}
    console = Console(stderr=True)
    turns = [
        (library, name)
        for _ in range(arguments.turns)
        for name in ACTIVATIONS
        for library in libraries
    ]
    for number, (library, name) in enumerate(turns, 1):
        console.print(f"{number} of {len(turns)}: {library}, {name}")
        now = _in_a_process(arguments, library, name)
        before = shortest.get((library, name), now)
        shortest[library, name] = {k: min(v, before[k]) for k, v in now.items()}
    for name in ACTIVATIONS:
        losses = [shortest[library, name]["loss"] for library in libraries]
        np.testing.assert_allclose(losses, losses[0], rtol=1e-4)
    _show(shortest, libraries)
    return 0


def _show(shortest: dict[tuple[str, str], Any], libraries: tuple[str, ...]) -> None:
    columns = [(name, what) for name in ACTIVATIONS for what in ("step", "activations")]
    table = Table(title="Milliseconds", box=MARKDOWN)
    table.add_column("")
    for name, what in columns:
        table.add_column(f"{name}: {what}", justify="right")
    for library in libraries:
        cells = [shortest[library, name][what] for name, what in columns]
        table.add_row(library, *("-" if c != c else f"{c:.1f}" for c in cells))
    Console(width=100).print(table)
    spent = {
        library: sum(shortest[library, name]["activations"] for name in ACTIVATIONS)
        for library in libraries
    }
    print("Activations, gelu and silu together, time over that of fastact:")
    for library in libraries[:4]:
        print(f"  {library}: {spent[library] / spent['fastact']:.1f}")


if __name__ == "__main__":
    sys.exit(main())
