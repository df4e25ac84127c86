"""What PyTorch and JAX call fastact's functions, and the table of intended differences.

Neither system is imported here before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from catalogue import DERIVATIVE, FORWARD

# The calls as expressions: `p` is a tuple of the parameters, empty for the defaults. A
# call without `p` is compared at the default parameters only.
ELEMENTWISE = {
    "PyTorch": {
        "celu": "F.celu(x, *p)",
        "elu": "F.elu(x, *p)",
        "erf": "torch.erf(x)",
        "exp": "torch.exp(x)",
        "gelu": "F.gelu(x)",
        "gelu_tanh": "F.gelu(x, approximate='tanh')",
        "hardshrink": "F.hardshrink(x, *p)",
        "hardsigmoid": "F.hardsigmoid(x)",
        "hardswish": "F.hardswish(x)",
        "hardtanh": "F.hardtanh(x, *p)",
        "identity": "torch.nn.Identity()(x)",
        "leaky_relu": "F.leaky_relu(x, *p)",
        "logit": "torch.logit(x)",
        "logsigmoid": "F.logsigmoid(x)",
        "mish": "F.mish(x)",
        "ndtr": "torch.special.ndtr(x)",
        "prelu": "F.prelu(x, torch.tensor(p, dtype=x.dtype))",
        "relu": "F.relu(x)",
        "relu6": "F.relu6(x)",
        "selu": "F.selu(x)",
        "sigmoid": "torch.sigmoid(x)",
        "silu": "F.silu(x)",
        "softplus": "F.softplus(x, *p)",
        "softshrink": "F.softshrink(x, *p)",
        "softsign": "F.softsign(x)",
        "tanh": "torch.tanh(x)",
        "tanhshrink": "F.tanhshrink(x)",
        "threshold": "F.threshold(x, *p)",
    },
    "JAX": {
        "celu": "jax.nn.celu(x, *p)",
        "elu": "jax.nn.elu(x, *p)",
        "erf": "jax.scipy.special.erf(x)",
        "exp": "jax.numpy.exp(x)",
        "gelu": "jax.nn.gelu(x, approximate=False)",
        "gelu_tanh": "jax.nn.gelu(x, approximate=True)",
        "hardsigmoid": "jax.nn.hard_sigmoid(x)",
        "hardswish": "jax.nn.hard_swish(x)",
        "hardtanh": "jax.nn.hard_tanh(x)",
        "identity": "jax.nn.identity(x)",
        "leaky_relu": "jax.nn.leaky_relu(x, *p)",
        "logit": "jax.scipy.special.logit(x)",
        "logsigmoid": "jax.nn.log_sigmoid(x)",
        "mish": "jax.nn.mish(x)",
        "ndtr": "jax.scipy.special.ndtr(x)",
        "relu": "jax.nn.relu(x)",
        "relu6": "jax.nn.relu6(x)",
        "selu": "jax.nn.selu(x)",
        "sigmoid": "jax.nn.sigmoid(x)",
        "silu": "jax.nn.silu(x)",
        "softplus": "jax.nn.softplus(x)",
        "softsign": "jax.nn.soft_sign(x)",
        "sparse_plus": "jax.nn.sparse_plus(x)",
        "sparse_sigmoid": "jax.nn.sparse_sigmoid(x)",
        "squareplus": "jax.nn.squareplus(x, *p)",
        "tanh": "jax.nn.tanh(x)",
    },
}
# Neither has a gate of two arrays, nor swiglu, as one function.
GATES = {
    "PyTorch": {
        "glu": "F.glu(torch.cat([value, gate], -1))",
        "swiglu": "F.silu(gate) * value",
    },
    "JAX": {
        "glu": "jax.nn.glu(jax.numpy.concatenate([value, gate], -1))",
        "swiglu": "jax.nn.silu(gate) * value",
    },
}
# Along an axis.
PACKED = {
    "PyTorch": {"glu": "F.glu(x, *axis)"},
    "JAX": {"glu": "jax.nn.glu(x, *axis)"},
}
ROWS = {
    "PyTorch": {
        "log_softmax": "F.log_softmax(x, axis)",
        "logsumexp": "torch.logsumexp(x, axis)",
        "softmax": "F.softmax(x, axis)",
        "softmin": "F.softmin(x, axis)",
    },
    "JAX": {
        "log_softmax": "jax.nn.log_softmax(x, axis)",
        "logsumexp": "jax.nn.logsumexp(x, axis)",
        "softmax": "jax.nn.softmax(x, axis)",
    },
}
# Where they return the gradient by a parameter too: `w`, one for each column of x.
PARAMETRIC = {
    "PyTorch": {"prelu": "F.prelu(x, w)"},
    "JAX": {
        "celu": "jax.nn.celu(x, w)",
        "elu": "jax.nn.elu(x, w)",
        "leaky_relu": "jax.nn.leaky_relu(x, w)",
    },
}
SYSTEMS = tuple(ELEMENTWISE)


class PyTorch:
    """Values and gradients by torch.autograd."""

    def __init__(self) -> None:
        self.torch: Any = pytest.importorskip("torch", reason="compares with PyTorch")
        self.functions = self.torch.nn.functional
        self.namespace = {"torch": self.torch, "F": self.functions}

    def __call__(self, expression: str, dy: Any, **arrays: Any) -> list[Any]:
        """The value, and its gradient by each array; other arguments stay as they are."""
        known = {
            name: self.torch.tensor(a, requires_grad=True) if _is_array(a) else a
            for name, a in arrays.items()
        }
        leaves = [known[name] for name, a in arrays.items() if _is_array(a)]
        y = eval(expression, self.namespace | known)
        gradients = self.torch.autograd.grad(y, leaves, self.torch.tensor(dy))
        return [tensor.detach().numpy() for tensor in (y, *gradients)]


class JAX:
    """Values and gradients by jax.vjp, on the processor."""

    def __init__(self) -> None:
        self.jax: Any = pytest.importorskip("jax", reason="compares with JAX")
        self.functions = self.jax.nn
        self.namespace = {"jax": self.jax}

    def __call__(self, expression: str, dy: Any, **arrays: Any) -> list[Any]:
        """The value, and its gradient by each array; other arguments stay as they are."""
        others = {name: a for name, a in arrays.items() if not _is_array(a)}
        names = [name for name in arrays if name not in others]

        def function(*leaves: Any) -> Any:
            known = others | dict(zip(names, leaves, strict=True))
            return eval(expression, self.namespace | known)

        jax = self.jax
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            leaves = [jax.numpy.asarray(arrays[name]) for name in names]
            y, gradients = jax.vjp(function, *leaves)
            return [np.asarray(a) for a in (y, *gradients(jax.numpy.asarray(dy)))]


def _is_array(argument: object) -> bool:
    return isinstance(argument, np.ndarray)


@cache
def system(name: str) -> Any:
    """The system of this name; skips the test where it is not installed."""
    return {"PyTorch": PyTorch, "JAX": JAX}[name]()


# ------------------------------------------------------------------- docs/differences.md

TABLE = Path(__file__).resolve().parent.parent / "docs" / "differences.md"
COLUMNS = ["function", "system", "where", "that system", "fastact", "why"]


class Place(NamedTuple):
    """Where two systems differ: what a row of the table is looked up by.

    `point` is as in the table, such as "x = inf", "x < -3", "default of approximate".
    """

    function: str
    system: str
    point: str
    member: str
    dtype: type[np.floating[Any]]

    @property
    def is_range(self) -> bool:
        """Whether `point` is a range of x."""
        return self.point.split()[1] in ("<", ">")

    @property
    def bound(self) -> float:
        """Where the range ends."""
        return float(self.point.split()[2])

    def contains(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which elements of x are in the range."""
        variable, relation, _ = self.point.split()
        size = {"x": x, "|x|": np.abs(x)}[variable]
        return size < self.bound if relation == "<" else size > self.bound


class Difference(NamedTuple):
    """What a row of the table says of a place."""

    theirs: str
    ours: str


def _places(function: str, system: str, where: str) -> Iterator[Place]:
    point, _, qualifiers = where.removesuffix(")").partition(" (")
    words = qualifiers.split()
    unknown = {*words} - {"derivative", "float32", "float64"}
    if unknown or len(point.split()) < 3:
        raise ValueError(f"{TABLE}: no place: {where!r}")
    member = DERIVATIVE if "derivative" in words else FORWARD
    for dtype in (np.float32, np.float64):
        if dtype.__name__ in words or not {"float32", "float64"} & {*words}:
            yield Place(function, system, point, member, dtype)


def read_table(text: str) -> dict[Place, Difference]:
    """The rows of the Markdown table in `text`, for every function and system alone."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [
        [cell.strip().replace(r"\|", "|") for cell in line.strip("|").split(" | ")]
        for line in lines
    ]
    if cells[0] != COLUMNS:
        raise ValueError(f"{TABLE}: the columns must be {COLUMNS}, not {cells[0]}")
    found: dict[Place, Difference] = {}
    for functions, systems, where, theirs, ours, _ in cells[2:]:
        for function, system in product(functions.split(", "), systems.split(", ")):
            for place in _places(function.strip("`"), system, where):
                if place in found:
                    raise ValueError(f"{TABLE}: two rows for {place}")
                found[place] = Difference(theirs, ours)
    return found


@cache
def differences() -> dict[Place, Difference]:
    """The rows of docs/differences.md."""
    return read_table(TABLE.read_text())
