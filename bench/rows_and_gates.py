"""Rows of any length, also along an axis in the middle, the loss and gates beside PyTorch
and JAX: their times over ours.

    PYTHONPATH=. build/peers-venv/bin/python bench/rows_and_gates.py

Float32, all threads, forward and gradient; a wrong result is not timed. Each library runs
in a process of its own, several times in turns; the minimum counts. fastact writes into
ready arrays where there is something to write; the others return fresh ones. PyTorch's
gradients start from what its forward pass keeps, fastact's and JAX's from the inputs; those
of softmax and log_softmax from the output in fastact, too.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

TURNS, SECONDS = 3, 0.15  # of each library, and of each case in a turn
ROWS = [(12_000, 10), (3_750, 32), (1_200, 100), (120, 1_000)]
# Channels of images: rows of 10 and 21 elements, each an image's size apart
IMAGES = [(32, 10, 784), (8, 21, 4_096), (16, 100, 200)]
ROW_NAMES = ("softmax", "log_softmax")
LOSSES = [(4, 10), (1024, 10), (128, 100), (1024, 100), (64, 32_000)]
GATES = [(4, 10), (32, 128), (512, 1024), (4096, 1024)]
GATE_NAMES = ("swiglu", "glu")

Case = tuple[str, str, tuple[int, ...]]  # function, direction, shape; along axis 1


def cases() -> list[Case]:
    """What is measured, in the order of the table."""
    functions: list[Any] = [(name, ROWS + IMAGES) for name in ROW_NAMES]
    functions += [("softmax_cross_entropy", LOSSES)]
    functions += [(name, GATES) for name in GATE_NAMES]
    functions += [(name + "_packed", GATES) for name in GATE_NAMES]
    return [
        (function, direction, shape)
        for function, shapes in functions
        for direction in ("forward", "backward")
        for shape in shapes
    ]


# ------------------------------------------------------------------ inputs and the truth


def inputs(function: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """The arrays by name, the same in every process."""
    random = np.random.default_rng(0)
    if function == "softmax_cross_entropy":
        logits = random.standard_normal(shape, np.float32)
        return {"x": logits, "labels": random.integers(0, shape[1], shape[0])}
    a, b, dy = random.standard_normal((3, *shape), np.float32)
    if function in ROW_NAMES:
        return {"x": a, "dy": dy}
    first, second = (b, a) if function.startswith("glu") else (a, b)
    packed = np.concatenate([first, second], axis=1)
    return {"a": a, "b": b, "dy": dy, "x": packed}


def truth(function: str, direction: str, shape: tuple[int, ...]) -> list[Any]:
    """The results in float64: of gates' gradients those of gate and value."""
    arrays = {k: v.astype(float) for k, v in inputs(function, shape).items()}
    if function == "softmax_cross_entropy":
        x, labels = arrays["x"], arrays["labels"].astype(int)
        rows = np.arange(len(labels))
        log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        if direction == "forward":
            return [-log_p[rows, labels].mean()]
        gradient = np.exp(log_p)
        gradient[rows, labels] -= 1
        return [gradient / len(labels)]
    if function in ROW_NAMES:
        y = np.exp(arrays["x"])
        y /= y.sum(axis=1, keepdims=True)
        if direction == "forward":
            return [y if function == "softmax" else np.log(y)]
        dy = arrays["dy"]
        if function == "softmax":
            return [y * (dy - (dy * y).sum(axis=1, keepdims=True))]
        return [dy - y * dy.sum(axis=1, keepdims=True)]
    a, b, dy = arrays["a"], arrays["b"], arrays["dy"]
    s = 1 / (1 + np.exp(-a))
    swish = function.startswith("swiglu")
    activated = a * s if swish else s
    if direction == "forward":
        return [activated * b]
    slope = s * (1 + a * (1 - s)) if swish else s * (1 - s)
    return [dy * b * slope, dy * activated]


def halves(function: str, direction: str, result: Any) -> list[Any]:
    """A result as `truth` has it."""
    if direction == "forward" or function in (*ROW_NAMES, "softmax_cross_entropy"):
        return [np.asarray(result)]
    if function.endswith("_packed"):
        first, second = np.split(np.asarray(result), 2, axis=1)
        result = (second, first) if function.startswith("glu") else (first, second)
    return [np.asarray(part) for part in result]


# ------------------------------------------------------------------------- the libraries

# A library's way of one case: what is called, and its result as arrays.
Way = tuple[Callable[[], Any], Callable[[Any], Any]]


def _fastact(function: str, direction: str, shape: tuple[int, ...]) -> Iterator[Way]:
    import fastact as fa

    v = inputs(function, shape)
    if function in ROW_NAMES:
        x, dy, out = v["x"], v["dy"], np.empty_like(v["x"])
        forward = getattr(fa, function)
        if direction == "forward":
            yield lambda: forward(x, axis=1, out=out), np.asarray
        else:
            backward, y = getattr(fa, function + "_backward_from_output"), forward(x, 1)
            yield lambda: backward(dy, y, axis=1, out=out), np.asarray
        return
    call = getattr(fa, function + ("" if direction == "forward" else "_backward"))
    if function == "softmax_cross_entropy":
        x, labels, out = v["x"], v["labels"], np.empty_like(v["x"])
        if direction == "forward":
            yield lambda: call(x, labels), np.asarray
        else:
            yield lambda: call(1.0, x, labels, out=out), np.asarray
        return
    packed = function.endswith("_packed")
    arrays = (v["x"],) if packed else (v["a"], v["b"])
    out = np.empty_like(v["dy"])
    if direction == "backward":
        arrays = (v["dy"], *arrays)
        out = np.empty_like(v["x"]) if packed else (out, np.empty_like(out))
    yield lambda: call(*arrays, out=out), lambda result: result


def _torch_formula(function: str) -> Callable[..., Any]:
    import torch
    from torch.nn import functional as F

    if function == "softmax_cross_entropy":
        return F.cross_entropy
    if function in ROW_NAMES:
        softmax = getattr(torch, function)
        return lambda x: softmax(x, 1)
    if function == "glu_packed":
        return F.glu
    activation = F.silu if function.startswith("swiglu") else torch.sigmoid
    if not function.endswith("_packed"):
        return lambda a, b: activation(a) * b

    def packed(x: Any) -> Any:
        gate, value = x.chunk(2, 1)
        return activation(gate) * value

    return packed


def _torch(function: str, direction: str, shape: tuple[int, ...]) -> Iterator[Way]:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    v = {name: torch.from_numpy(a) for name, a in inputs(function, shape).items()}
    formula = _torch_formula(function)
    names = ("a", "b") if "a" in v and not function.endswith("_packed") else ("x",)
    rest = (v["labels"],) if "labels" in v else ()
    variables = [v[name] for name in names]
    torch.compiler.reset()  # it gives up where a function has had many shapes
    compiled = torch.compile(formula, dynamic=False)
    if direction == "forward":
        for how in (formula, compiled):

            def run(how: Any = how) -> Any:
                with torch.no_grad():
                    return how(*variables, *rest)

            yield run, lambda result: result.numpy()
        return
    for variable in variables:
        variable.requires_grad_()
    for how in (formula, compiled):
        y = how(*variables, *rest)
        dy = torch.ones_like(y) if rest else v["dy"]

        def run(y: Any = y, dy: Any = dy) -> Any:
            return torch.autograd.grad(y, variables, dy, retain_graph=True)

        yield run, lambda g: g[0].numpy() if len(g) == 1 else [t.numpy() for t in g]


def _jax(function: str, direction: str, shape: tuple[int, ...]) -> Iterator[Way]:
    import jax
    import jax.numpy as jnp

    v = {name: jnp.asarray(a) for name, a in inputs(function, shape).items()}
    arrays = (
        [v["a"], v["b"]] if not function.endswith("_packed") and "a" in v else [v["x"]]
    )
    formula: Callable[..., Any]
    if function == "softmax_cross_entropy":
        labels = v["labels"]

        def formula(x: Any) -> Any:
            log_p = jax.nn.log_softmax(x, axis=1)
            return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()

    elif function in ROW_NAMES:
        formula = functools.partial(getattr(jax.nn, function), axis=1)
    else:
        activation = jax.nn.silu if function.startswith("swiglu") else jax.nn.sigmoid

        def formula(*arrays: Any) -> Any:
            if len(arrays) == 1:
                arrays = tuple(jnp.split(arrays[0], 2, axis=1))
                arrays = arrays if function.startswith("swiglu") else arrays[::-1]
            return activation(arrays[0]) * arrays[1]

    if direction == "forward":
        compiled = jax.jit(formula)
    else:
        dy = v.get("dy", jnp.float32(1))
        arrays.insert(0, dy)

        def gradient(dy: Any, *arrays: Any) -> Any:
            return jax.vjp(formula, *arrays)[1](dy)

        compiled = jax.jit(gradient)

    def result(found: Any) -> Any:
        return found[0] if isinstance(found, tuple) and len(found) == 1 else found

    yield lambda: jax.block_until_ready(compiled(*arrays)), result


LIBRARIES = {"fastact": _fastact, "PyTorch": _torch, "JAX": _jax}


# ------------------------------------------------------------------------------ measuring


def _seconds(call: Callable[[], Any]) -> float:
    count = max(1, int(SECONDS / 5 / timeit.timeit(call, number=3) * 3))
    return min(timeit.repeat(call, number=count, repeat=5)) / count


def measure(library: str) -> list[float]:
    """Seconds of every case, of the library's fastest way."""
    found = []
    for function, direction, shape in cases():
        expected = truth(function, direction, shape)
        seconds = []
        for call, as_arrays in LIBRARIES[library](function, direction, shape):
            parts = halves(function, direction, as_arrays(call()))
            pairs = zip(parts, expected, strict=True)
            if all(np.allclose(*pair, rtol=2e-4, atol=1e-6) for pair in pairs):
                seconds.append(_seconds(call))
            else:
                what = f"{library}, {function} {direction} {shape}"
                print(f"{what}: a wrong result is not timed", file=sys.stderr)
        found.append(min(seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=LIBRARIES, help="measure this one alone")
    peer = parser.parse_args().peer
    if peer is not None:
        print(json.dumps(measure(peer)))
        return
    best: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for name in LIBRARIES:
            command = [sys.executable, __file__, "--peer", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            seconds = json.loads(done.stdout.splitlines()[-1])
            before = best.setdefault(name, seconds)
            best[name] = list(map(min, before, seconds))
    print("| | shape | fastact, µs | PyTorch | JAX |")
    print("| --- | ---: | ---: | ---: | ---: |")
    ratios = []
    for k, (function, direction, shape) in enumerate(cases()):
        own, *others = (best[name][k] for name in LIBRARIES)
        ratios.append(min(others) / own)
        words = function + (" backward" if direction == "backward" else "")
        cells = (f"{t / own:.2f}" if t >= own else f"**{t / own:.2f}**" for t in others)
        size = " x ".join(f"{n:,}" for n in shape)
        print(f"| {words} | {size} | {own * 1e6:.2f} | {' | '.join(cells)} |")
    mean = float(np.exp(np.mean(np.log(ratios))))
    slower = sum(ratio < 1 for ratio in ratios)
    print(
        f"\nBeside the faster of the two: {mean:.2f} in the geometric mean; slower in"
    )
    print(f"{slower} of {len(ratios)} cases.")


if __name__ == "__main__":
    main()
