"""What PyTorch and JAX call fastact's functions, and how to call theirs.

Neither system is imported here before a test asks for it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from accuracy.peer_functions import FORWARD

ELEMENTWISE = {name: FORWARD[name] for name in ("PyTorch", "JAX")}
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
