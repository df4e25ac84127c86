"""What `make bench-peers` measures: the cases, and how each library is called.

A library is imported when its `spellings` are asked for, so that each is alone in its
process. What the libraries call fastact's functions stands in
`accuracy/peer_functions.py`; here stand the calls that only speed asks for: those that
write into an output, and the gradients as functions of their own.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from implementations import C_ALL, DIRECTIONS, Case, calls

import fastact as fa
from accuracy.peer_functions import BACKWARD, FORWARD
from fastact import plain
from fastact.formulas.entry import CATALOGUE
from fastact.formulas.kernels import BACKWARD_FROM_OUTPUT
from fastact.ufuncs import ROW_FUNCTIONS

FROM_OUTPUT = BACKWARD_FROM_OUTPUT.removeprefix("_")


# ----------------------------------------------------------------------------- the cases


@dataclass(frozen=True)
class PeerCase(Case):
    """A call on arrays that are the same for every library."""

    axis: int = -1

    @property
    def label(self) -> str:
        """The function, and the axis if it is not the last one."""
        label = super().label
        return label if self.axis == -1 else f"{label}, axis {self.axis}"

    def __str__(self) -> str:
        words = (self.label.replace(", ", "-"), self.direction, self.dtype, self.size)
        return "-".join(map(str, words))

    @property
    def shape(self) -> tuple[int, ...]:
        """Along the first axis the rows are columns: as long, and as many."""
        shape = super().shape
        return shape if self.axis == -1 else shape[::-1]

    @functools.cached_property
    def inputs(self) -> dict[str, Any]:
        """The arrays by name: `x`, `dy` for a gradient, and the `y` that belongs to `x`."""
        entry = CATALOGUE.get(self.function)
        inside = entry is not None and entry.domain == (0, 1)
        x = _random("x", self.shape, self.dtype, inside)
        if self.direction == "forward":
            return {"x": x}
        dy = _random("dy", self.shape, self.dtype)
        along = {"axis": self.axis} if self.function in ROW_FUNCTIONS else {}
        y = getattr(fa, self.function)(x, *self.parameters, **along)
        return {"x": x, "dy": dy, "y": y}

    @property
    def expected_arguments(self) -> tuple[Any, ...]:
        """Those of `plain`: a gradient's truth is the one at x, not at the rounded y."""
        names = ("x",) if self.direction == "forward" else ("dy", "x")
        return (*(self.inputs[name] for name in names), *self.parameters)

    def plain(self) -> Callable[..., Any]:
        """The plain NumPy function, along the axis."""
        return self._plain(self.direction)

    def _plain(self, direction: str) -> Callable[..., Any]:
        suffix = "" if direction == "forward" else "_backward"
        function: Callable[..., Any] = plain.get(self.function + suffix)
        if self.function in ROW_FUNCTIONS:
            return functools.partial(function, axis=self.axis)
        return function

    def empty(self) -> Any:
        """A ready output; it is written to first when the result is checked."""
        return np.zeros_like(self.inputs["x"])

    def some(self, array: Any, count: int) -> Any:
        """About so many elements, evenly spread; whole rows where rows are computed."""
        if np.ndim(array) == 0 or array.size <= count:
            return array
        if array.ndim == 1:
            return array[:: array.size // count]
        across = 0 if self.axis == -1 else 1
        step = array.size // count
        return array[::step] if across == 0 else array[:, ::step]


@functools.lru_cache
def _random(name: str, shape: tuple[int, ...], dtype: str, inside: bool = False) -> Any:
    """N(0, 1), or between 0 and 1: the same in every process, and for every function."""
    # Not hash(): Python salts it anew in every process.
    rng = np.random.default_rng(zlib.crc32(f"{name} {shape} {dtype}".encode()))
    numbers = rng.uniform(0.001, 0.999, shape) if inside else rng.standard_normal(shape)
    return numbers.astype(dtype)


def _has_from_output(name: str) -> bool:
    if name in CATALOGUE:
        return CATALOGUE[name].from_output_formula is not None
    return name in ROW_FUNCTIONS and ROW_FUNCTIONS[name].from_output


def measurable(name: str) -> bool:
    """Whether a function is of one array of any shape: the kind that peers have, too."""
    if name in ROW_FUNCTIONS:
        facts = ROW_FUNCTIONS[name]
        return not (facts.reduces or facts.pools)
    return name in CATALOGUE


def cases(
    sizes: tuple[int, ...], dtypes: tuple[str, ...], functions: tuple[str, ...]
) -> list[PeerCase]:
    """All calls; their order is that of the tables."""
    found = []
    for dtype in dtypes:
        for name in functions:
            parameters = next(calls((name,), max(sizes)))[2]
            directions = (
                *DIRECTIONS,
                *([FROM_OUTPUT] if _has_from_output(name) else []),
            )
            for axis in (-1, 0) if name in ROW_FUNCTIONS else (-1,):
                found += [
                    PeerCase(name, direction, dtype, size, C_ALL, parameters, axis)
                    for direction in directions
                    for size in sizes
                ]
    return found


# ------------------------------------------------------------------------- the spellings


@dataclass(frozen=True)
class Spelling:
    """One way to make a library compute a case; the fastest one of a library counts."""

    text: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    ready: bool = False
    # given what the forward pass returned, instead of what it was given
    from_output: bool = False
    # given what else the forward pass keeps
    from_kept: bool = False
    # the result of the call as an array
    result: Callable[[Any], Any] = np.asarray
    # within which it is called
    settings: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __call__(self) -> Any:
        return self.function(*self.arguments, **self.keywords)


def _spelling(
    text: str, names: Mapping[str, Any], result: Callable[[Any], Any] = np.asarray
) -> Spelling:
    """The outermost call of an expression; its arguments are computed here, once."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError(f"{text!r} must be a call")
    function = _evaluate(call.func, names)
    collected = ast.Call(ast.Name("_collect", ast.Load()), call.args, call.keywords)
    arguments, keywords = _evaluate(
        collected, {**names, "_collect": lambda *a, **k: (a, k)}
    )
    used = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    return Spelling(
        text,
        function,
        arguments,
        keywords,
        ready="out" in used,
        from_output="y" in used,
        from_kept="_forward(" in text,
        result=result,
    )


def _evaluate(tree: ast.expr, names: Mapping[str, Any]) -> Any:
    expression = ast.fix_missing_locations(ast.Expression(tree))
    return eval(compile(expression, "<spelling>", "eval"), dict(names))


def _fastact(case: PeerCase) -> Iterator[Spelling]:
    name = case.function
    suffix = "" if case.direction == "forward" else f"_{case.direction}"
    arrays = {"forward": "x", "backward": "dy, x", FROM_OUTPUT: "dy, y"}[case.direction]
    axis = f", axis={case.axis}" if name in ROW_FUNCTIONS else ""
    names = {"fa": fa, "p": case.parameters, "out": case.empty(), **case.inputs}
    parameters = ", *p" if case.parameters else ""
    for out in ("", ", out=out"):
        yield _spelling(f"fa.{name}{suffix}({arrays}{parameters}{axis}{out})", names)


def _numpy(case: PeerCase) -> Iterator[Spelling]:
    if case.direction != FROM_OUTPUT:
        function = case.plain()
        yield Spelling(f"plain.{case.function}", function, case.expected_arguments)


def _scipy(case: PeerCase) -> Iterator[Spelling]:
    from scipy import special

    rows = {name: f"special.{name}(x, axis={case.axis})" for name in ROW_FUNCTIONS}
    table = FORWARD["SciPy"] | {k: v for k, v in rows.items() if hasattr(special, k)}
    if case.direction != "forward" or case.function not in table:
        return
    names = {"special": special, "out": case.empty(), **case.inputs}
    text = table[case.function]
    yield _spelling(text, names)
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    if isinstance(_evaluate(call.func, names), np.ufunc):
        yield _spelling(text[:-1] + ", out=out)", names)


# --- PyTorch: `nn` is torch._C._nn, where torch.nn.functional takes its functions from.

_SELU = "1.6732632423543772, 1.0507009873554805, 1"
TORCH_READY = {
    "elu": "nn.elu(x, *p, out=out)",
    "erf": "torch.erf(x, out=out)",
    "exp": "torch.exp(x, out=out)",
    "gelu": "nn.gelu(x, out=out)",
    "gelu_tanh": "nn.gelu(x, approximate='tanh', out=out)",
    "hardsigmoid": "nn.hardsigmoid(x, out=out)",
    "hardswish": "nn.hardswish(x, out=out)",
    "hardtanh": "nn.hardtanh(x, *p, out=out)",
    "leaky_relu": "nn.leaky_relu(x, *p, out=out)",
    "logit": "torch.logit(x, out=out)",
    "logsigmoid": "nn.log_sigmoid(x, out=out)",
    "mish": "nn.mish(x, out=out)",
    "ndtr": "torch.special.ndtr(x, out=out)",
    "relu": "torch.clamp_min(x, 0, out=out)",
    "relu6": "torch.clamp(x, 0, 6, out=out)",
    "selu": f"nn.elu(x, {_SELU}, out=out)",
    "sigmoid": "torch.sigmoid(x, out=out)",
    "silu": "nn.silu(x, out=out)",
    "softplus": "nn.softplus(x, *p, out=out)",
    "softshrink": "nn.softshrink(x, *p, out=out)",
    "tanh": "torch.tanh(x, out=out)",
    "softmax": "aten._softmax.out(x, axis, False, out=out)",
    "log_softmax": "aten._log_softmax.out(x, axis, False, out=out)",
}
# PyTorch 2.13, native_functions.yaml: gradients, as its derivatives.yaml calls them. Those
# without `out` have no overload that computes into an output: where one is listed, it is
# generated and copies.
TORCH_BACKWARD = {
    "elu": "aten.elu_backward.grad_input(dy, 1, 1, 1, False, x, grad_input=out)",
    "gelu": "aten.gelu_backward.grad_input(dy, x, grad_input=out)",
    "gelu_tanh": (
        "aten.gelu_backward.grad_input(dy, x, approximate='tanh', grad_input=out)"
    ),
    "hardshrink": "aten.hardshrink_backward.grad_input(dy, x, 0.5, grad_input=out)",
    "hardsigmoid": "aten.hardsigmoid_backward.grad_input(dy, x, grad_input=out)",
    "hardswish": "aten.hardswish_backward(dy, x)",
    "hardtanh": "aten.hardtanh_backward.grad_input(dy, x, -1, 1, grad_input=out)",
    "leaky_relu": (
        "aten.leaky_relu_backward.grad_input(dy, x, 0.01, False, grad_input=out)"
    ),
    "logit": "aten.logit_backward.grad_input(dy, x, grad_input=out)",
    # the buffer is what the forward pass keeps
    "logsigmoid": (
        "aten.log_sigmoid_backward.grad_input"
        "(dy, x, aten.log_sigmoid_forward(x)[1], grad_input=out)"
    ),
    "mish": "aten.mish_backward(dy, x)",
    "relu": "aten.threshold_backward.grad_input(dy, x, 0, grad_input=out)",
    "relu6": "aten.hardtanh_backward.grad_input(dy, x, 0, 6, grad_input=out)",
    "selu": f"aten.elu_backward.grad_input(dy, {_SELU}, False, x, grad_input=out)",
    "sigmoid": "aten.sigmoid_backward.grad_input(dy, y, grad_input=out)",
    "silu": "aten.silu_backward.grad_input(dy, x, grad_input=out)",
    "softplus": "aten.softplus_backward.grad_input(dy, x, 1, 20, grad_input=out)",
    "softshrink": "aten.softshrink_backward.grad_input(dy, x, 0.5, grad_input=out)",
    "tanh": "aten.tanh_backward.grad_input(dy, y, grad_input=out)",
    "softmax": (
        "aten._softmax_backward_data.out(dy, y, axis, x.dtype, grad_input=out)"
    ),
    "log_softmax": (
        "aten._log_softmax_backward_data.out(dy, y, axis, x.dtype, out=out)"
    ),
}
# Those that can be given either; the others that are given `y` stand above.
TORCH_FROM_OUTPUT = {
    "elu": "aten.elu_backward.grad_input(dy, 1, 1, 1, True, y, grad_input=out)",
    "leaky_relu": (
        "aten.leaky_relu_backward.grad_input(dy, y, 0.01, True, grad_input=out)"
    ),
    "relu": "aten.threshold_backward.grad_input(dy, y, 0, grad_input=out)",
    "selu": f"aten.elu_backward.grad_input(dy, {_SELU}, True, y, grad_input=out)",
}
TORCH_ROWS = {
    "softmax": "torch.softmax(x, axis)",
    "log_softmax": "torch.log_softmax(x, axis)",
    "softmin": "F.softmin(x, axis)",
}


def _torch_names(case: PeerCase) -> dict[str, Any]:
    import torch

    arrays = {**case.inputs, "out": case.empty()}
    return {
        "torch": torch,
        "F": torch.nn.functional,
        "nn": torch._C._nn,
        "aten": torch.ops.aten,
        "p": case.parameters,
        "axis": case.axis,
        **{name: _to_torch(array) for name, array in arrays.items()},
    }


def _to_torch(array: Any) -> Any:
    import torch

    if array.dtype.name == "bfloat16":  # the same bits; NumPy's is not known to PyTorch
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _from_torch(tensor: Any) -> Any:
    import torch

    if tensor.dtype == torch.bfloat16:
        from ml_dtypes import bfloat16

        return tensor.view(torch.int16).numpy().view(bfloat16)
    return tensor.numpy()


def _torch(case: PeerCase) -> Iterator[Spelling]:
    forward = FORWARD["PyTorch"] | TORCH_ROWS
    if case.function not in forward:
        return
    names = _torch_names(case)
    gradients = TORCH_BACKWARD
    if case.direction == FROM_OUTPUT:
        gradients = TORCH_BACKWARD | TORCH_FROM_OUTPUT
    if case.direction == "forward":
        texts = [forward[case.function], TORCH_READY.get(case.function)]
        found = [_spelling(text, names, _from_torch) for text in texts if text]
    elif case.function in gradients:
        text = gradients[case.function]
        found = [_spelling(text, names, _from_torch)]
        if found[0].ready:  # without the overload and its `out`: what allocates
            operator, _, arguments = text.partition("(")
            operator, arguments = (
                operator.rpartition(".")[0],
                arguments.rpartition(",")[0],
            )
            found.append(_spelling(f"{operator}({arguments})", names, _from_torch))
    elif case.direction == "backward":
        found = [_torch_autograd(forward[case.function], names)]
    else:
        return
    # oneDNN's primitives serve gelu and cost more than they save on small arrays
    for enabled, words in ((True, ""), (False, ", without oneDNN")):
        settings = functools.partial(_torch_settings, enabled)
        for spelling in found:
            yield replace(spelling, text=spelling.text + words, settings=settings)


def _torch_autograd(forward: str, names: dict[str, Any]) -> Spelling:
    """For what has no gradient of its own: autograd, the forward pass done before."""
    import torch

    x = names["x"].requires_grad_()
    return Spelling(
        f"torch.autograd.grad({forward}, x, dy)",
        torch.autograd.grad,
        (_evaluate(ast.parse(forward, mode="eval").body, names), x, names["dy"]),
        {"retain_graph": True},
        result=lambda gradients: _from_torch(gradients[0]),
    )


@contextmanager
def _torch_settings(onednn: bool) -> Iterator[None]:
    import torch

    was = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(onednn)
    try:
        with torch.no_grad():
            yield
    finally:
        torch._C._set_mkldnn_enabled(was)


@functools.cache
def _torch_compiled(text: str, p: tuple[float, ...], axis: int, backward: bool) -> Any:
    """Compiled once for all sizes; it writes into `out`."""
    import torch

    names = {"torch": torch, "F": torch.nn.functional, "p": p, "axis": axis}
    function = eval(f"lambda x: {text}", names)

    def forward_into(x: Any, out: Any) -> None:
        out.copy_(function(x))

    def backward_into(dy: Any, x: Any, out: Any) -> None:
        out.copy_(torch.func.vjp(function, x)[1](dy)[0])

    return torch.compile(backward_into if backward else forward_into, dynamic=True)


def _torch_compile(case: PeerCase) -> Iterator[Spelling]:
    forward = FORWARD["PyTorch"] | TORCH_ROWS
    if case.function not in forward or case.direction == FROM_OUTPUT:
        return
    import torch

    names = _torch_names(case)
    text, backward = forward[case.function], case.direction == "backward"
    names["compiled"] = _torch_compiled(text, case.parameters, case.axis, backward)
    call = f"compiled({'dy, ' if backward else ''}x, out)"
    yield replace(
        _spelling(call, names),
        text=f"torch.compile({text})",
        settings=torch.no_grad,
        result=lambda _: _from_torch(names["out"]),
    )


# --- JAX


JAX_ROWS = {
    "softmax": "jax.nn.softmax(x, axis)",
    "log_softmax": "jax.nn.log_softmax(x, axis)",
}


def _jax(case: PeerCase) -> Iterator[Spelling]:
    forward = FORWARD["JAX"] | JAX_ROWS
    if case.function not in forward or case.direction == FROM_OUTPUT:
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    text = forward[case.function]
    names = {"jax": jax, "p": case.parameters, "axis": case.axis}
    function = eval(f"lambda x: {text}", names)
    arrays = [case.inputs["x"]]
    if case.direction == "forward":
        compiled = jax.jit(function)
    else:
        arrays.insert(0, case.inputs["dy"])
        compiled = jax.jit(lambda dy, x: jax.vjp(function, x)[1](dy)[0])

    def call(*arrays: Any) -> Any:
        return compiled(*arrays).block_until_ready()

    vjp = "vjp of " if case.direction == "backward" else ""
    yield Spelling(f"jax.jit({vjp}{text})", call, tuple(map(jax.numpy.asarray, arrays)))


# --- MKL's vector mathematics: calls one after another, the later ones in place.

# Functions, each of the array that it is given and the numbers or array beside it.
MKL = {
    "exp": [("Exp", "x")],
    "erf": [("Erf", "x")],
    "ndtr": [("CdfNorm", "x")],
    "tanh": [("Tanh", "x")],
    "gelu": [("CdfNorm", "x"), ("Mul", "out", "x")],
    "sigmoid": [
        ("LinearFrac", "x", 0.5, 0.0),
        ("Tanh", "out"),
        ("LinearFrac", "out", 0.5, 0.5),
    ],
    "softplus": [("Exp", "x"), ("Log1p", "out")],
    "mish": [("Exp", "x"), ("Log1p", "out"), ("Tanh", "out"), ("Mul", "out", "x")],
}
MKL["silu"] = [*MKL["sigmoid"], ("Mul", "out", "x")]
# mkl_vml_defines.h. The third one, "enhanced performance", has half the digits.
MKL_MODES = {"high accuracy": 0x2, "low accuracy": 0x1}


@functools.cache
def _mkl_library() -> tuple[FFI, Any]:
    ffi = FFI()
    steps = {step[0]: len(step) for steps in MKL.values() for step in steps}
    for letter, kind in (("s", "float"), ("d", "double")):
        for name, length in steps.items():
            second = f"const {kind} *b, " if length > 1 + 1 else ""
            numbers = f"{kind} sa, {kind} ta, {kind} sb, {kind} tb, " * (length > 3)
            ffi.cdef(
                f"void vm{letter}{name}(int n, const {kind} *a, {second}{numbers}"
                f"{kind} *r, long long mode);"
            )
    return ffi, ffi.dlopen(str(next(Path(sys.prefix, "lib").glob("libmkl_rt.so.*"))))


def _mkl(case: PeerCase) -> Iterator[Spelling]:
    letter = {"float32": "s", "float64": "d"}.get(case.dtype)
    if case.direction != "forward" or case.function not in MKL or letter is None:
        return
    ffi, library = _mkl_library()
    arrays = {"x": case.inputs["x"], "out": case.empty()}
    kind = "float[]" if letter == "s" else "double[]"
    at = {name: ffi.from_buffer(kind, array) for name, array in arrays.items()}
    for words, mode in MKL_MODES.items():
        made = []
        for name, operand, *beside in MKL[case.function]:
            others = [
                at[other] if isinstance(other, str) else other for other in beside
            ]
            if name == "LinearFrac":  # of a over one
                others = [at[operand], *others, 0.0, 1.0]
            function = getattr(library, f"vm{letter}{name}")
            made.append((function, (case.size, at[operand], *others, at["out"], mode)))
        yield Spelling(
            f"{', '.join(f'vm{letter}{step[0]}' for step in MKL[case.function])}, {words}",
            *(made[0] if len(made) == 1 else (_one_after_another, (made,))),
            ready=True,
            result=lambda _, out=arrays["out"]: out,
        )


def _one_after_another(calls: list[tuple[Any, tuple[Any, ...]]]) -> None:
    for function, arguments in calls:
        function(*arguments)


# --- numexpr; it has neither erf nor functions along an axis.

_TANH_OF_GELU = "tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))"
NUMEXPR = {
    "forward": {
        "elu": "where(x > 0, x, expm1(x))",
        "exp": "exp(x)",
        "gelu_tanh": f"0.5 * x * (1 + {_TANH_OF_GELU})",
        "leaky_relu": "where(x > 0, x, 0.01 * x)",
        "logsigmoid": "where(x < 0, x, 0) - log1p(exp(-abs(x)))",
        "mish": "x * tanh(log1p(exp(x)))",
        "relu": "where(x > 0, x, 0)",
        "sigmoid": "1 / (1 + exp(-x))",
        "silu": "x / (1 + exp(-x))",
        "softplus": "where(x > 0, x, 0) + log1p(exp(-abs(x)))",
        "softsign": "x / (1 + abs(x))",
        "tanh": "tanh(x)",
    },
    "backward": {
        "elu": "where(x > 0, dy, dy * exp(x))",
        "gelu_tanh": (
            f"dy * 0.5 * (1 + {_TANH_OF_GELU} + x * (1 - {_TANH_OF_GELU} ** 2)"
            " * 0.7978845608028654 * (1 + 0.134145 * x * x))"
        ),
        "leaky_relu": "where(x > 0, dy, 0.01 * dy)",
        "logsigmoid": "dy / (1 + exp(x))",
        "mish": (
            "dy * (tanh(log1p(exp(x)))"
            " + x * (1 - tanh(log1p(exp(x))) ** 2) / (1 + exp(-x)))"
        ),
        "relu": "where(x > 0, dy, 0)",
        "sigmoid": "dy / (2 + exp(x) + exp(-x))",
        "silu": "dy * (1 + exp(-x) * (1 + x)) / (1 + exp(-x)) ** 2",
        "softplus": "dy / (1 + exp(-x))",
        "softsign": "dy / (1 + abs(x)) ** 2",
        "tanh": "dy * (1 - tanh(x) ** 2)",
    },
    FROM_OUTPUT: {
        "elu": "where(y > 0, dy, dy * (y + 1))",
        "logsigmoid": "-dy * expm1(y)",
        "relu": "where(y > 0, dy, 0)",
        "sigmoid": "dy * y * (1 - y)",
        "softplus": "-dy * expm1(-y)",
        "tanh": "dy * (1 - y * y)",
    },
}


class _Constants(ast.NodeTransformer):
    """Names for numbers with a point, which numexpr would compute in float64."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, float):
            return node
        name = f"c{len(self.numbers)}"
        self.numbers[name] = node.value
        return ast.Name(name, ast.Load())


def _numexpr(case: PeerCase) -> Iterator[Spelling]:
    text = NUMEXPR[case.direction].get(case.function)
    if text is None or case.dtype not in ("float32", "float64"):
        return
    import numexpr

    constants = _Constants()
    expression = ast.unparse(constants.visit(ast.parse(text, mode="eval")))
    numbers = {k: case.inputs["x"].dtype.type(v) for k, v in constants.numbers.items()}
    arrays = {**case.inputs, **numbers}
    for out in (None, case.empty()):
        # the shortest call: that of the expression compiled last
        yield Spelling(
            text,
            numexpr.re_evaluate,
            (),
            {"local_dict": arrays},
            ready=out is not None,
            from_output=case.direction == FROM_OUTPUT,
            settings=functools.partial(_numexpr_settings, expression, arrays, out),
        )


@contextmanager
def _numexpr_settings(expression: str, arrays: Any, out: Any) -> Iterator[None]:
    import numexpr

    failure = numexpr.validate(expression, local_dict=arrays, out=out)
    if failure:
        raise failure
    yield


# --- onnxruntime: the bodies of models in ONNX's text form; it has no gradients.

ONNX = {
    "celu": "y = Celu(x)",
    "elu": "y = Elu(x)",
    "erf": "y = Erf(x)",
    "exp": "y = Exp(x)",
    "gelu": "y = Gelu(x)",
    "gelu_tanh": 'y = Gelu<approximate="tanh">(x)',
    "hardshrink": "y = Shrink<lambd=0.5>(x)",
    "hardsigmoid": "y = HardSigmoid<alpha=0.16666667, beta=0.5>(x)",
    "hardswish": "y = HardSwish(x)",
    "identity": "y = Identity(x)",
    "leaky_relu": "y = LeakyRelu<alpha=0.01>(x)",
    "log_softmax": "y = LogSoftmax<axis={axis}>(x)",
    "mish": "y = Mish(x)",
    "relu": "y = Relu(x)",
    "selu": "y = Selu(x)",
    "sigmoid": "y = Sigmoid(x)",
    "silu": "s = Sigmoid(x) y = Mul(x, s)",
    "softmax": "y = Softmax<axis={axis}>(x)",
    "softplus": "y = Softplus(x)",
    "softshrink": "y = Shrink<lambd=0.5, bias=0.5>(x)",
    "softsign": "y = Softsign(x)",
    "tanh": "y = Tanh(x)",
    "thresholded_relu": "y = ThresholdedRelu<alpha=1.0>(x)",
}
ONNX_TYPES = {"float16": "float16", "float32": "float", "float64": "double"}


def _onnxruntime(case: PeerCase) -> Iterator[Spelling]:
    if (
        case.direction != "forward"
        or case.function not in ONNX
        or case.dtype not in ONNX_TYPES
    ):
        return
    import onnx
    import onnxruntime

    array = f"{ONNX_TYPES[case.dtype]}[{', '.join(map(str, case.shape))}]"
    body = ONNX[case.function].format(axis=case.axis)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> '
        f"g ({array} x) => ({array} y) {{ {body} }}"
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return  # not in this dtype
    x, out = case.inputs["x"], case.empty()
    bound = session.io_binding()
    for bind, name, array in (
        (bound.bind_input, "x", x),
        (bound.bind_output, "y", out),
    ):
        bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    yield Spelling(
        f"run_with_iobinding: {body}",
        session.run_with_iobinding,
        (bound,),
        ready=True,
        result=lambda _: out,
    )
    yield Spelling(
        f"run: {body}", session.run, (None, {"x": x}), result=lambda found: found[0]
    )


# --- thinc

THINC_ROWS = {
    "forward": {"softmax": "ops.softmax(x, axis=axis)"},
    "backward": {"softmax": "ops.backprop_softmax(y, dy, axis=axis)"},
}


def _thinc(case: PeerCase) -> Iterator[Spelling]:
    table = FORWARD if case.direction == "forward" else BACKWARD
    rows = THINC_ROWS["forward" if case.direction == "forward" else "backward"]
    text = (table["thinc"] | rows).get(case.function)
    if text is None:
        return
    from thinc.api import NumpyOps

    names = {"ops": NumpyOps(), "p": case.parameters, "axis": case.axis, **case.inputs}
    spelling = _spelling(text, names)
    if "ops" in text.partition("(")[2]:  # the forward pass, done before
        spelling = replace(spelling, from_output=True)
    yield spelling


# --------------------------------------------------------------------------- the library


@dataclass(frozen=True)
class Peer:
    """A library, or a way to use one."""

    name: str
    package: str
    spellings: Callable[[PeerCase], Iterator[Spelling]]


PEERS = {
    "fastact": Peer("fastact", "fastact", _fastact),
    "numpy": Peer("NumPy", "numpy", _numpy),
    "torch": Peer("PyTorch", "torch", _torch),
    "torch-compile": Peer("torch.compile", "torch", _torch_compile),
    "jax": Peer("JAX", "jax", _jax),
    "mkl": Peer("MKL", "mkl", _mkl),
    "scipy": Peer("SciPy", "scipy", _scipy),
    "numexpr": Peer("numexpr", "numexpr", _numexpr),
    "onnxruntime": Peer("onnxruntime", "onnxruntime", _onnxruntime),
    "thinc": Peer("thinc", "thinc", _thinc),
}


def spellings(peer: str, case: PeerCase) -> list[Spelling]:
    """The ways in which a library computes a case: none where it cannot."""
    found = PEERS[peer].spellings(case)
    if case.direction == FROM_OUTPUT:
        return [spelling for spelling in found if spelling.from_output]
    return list(found)
