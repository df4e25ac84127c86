"""The kernels of an activation: which functions of which arrays it is compiled to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import activations as _entries  # noqa: F401 - enters them into the catalogue
from .entry import CATALOGUE, Activation, Formula
from .language import Precision, Real, Value, real, recording, where

# The family of an activation, in the order of the documentation. The suffix of the
# forward function is empty.
FORWARD = ""
DERIVATIVE = "_derivative"
BACKWARD = "_backward"
BACKWARD_FROM_OUTPUT = "_backward_from_output"
WITH_DERIVATIVE = "_with_derivative"
PARAMETER_BACKWARD = "_parameter_backward"
FAMILY = (
    FORWARD,
    DERIVATIVE,
    BACKWARD,
    BACKWARD_FROM_OUTPUT,
    WITH_DERIVATIVE,
    PARAMETER_BACKWARD,
)
# Kernels with the default parameters compiled in carry this suffix.
DEFAULT = "_default"


@dataclass(frozen=True)
class Kernel:
    """A function of contiguous arrays: elementwise, one formula, any precision."""

    activation: Activation
    member: str
    with_defaults: bool

    @property
    def name(self) -> str:
        """Name of the kernel, and of the ufunc over it."""
        suffix = DEFAULT if self.with_defaults else ""
        return f"{self.activation.name}{self.member}{suffix}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input arrays, parameters last."""
        parameters = tuple(p.name for p in self.activation.parameters)
        arrays = {
            BACKWARD: ("dy", "x"),
            BACKWARD_FROM_OUTPUT: ("dy", "y"),
            PARAMETER_BACKWARD: ("dy", "x"),
        }.get(self.member, ("x",))
        return arrays if self.with_defaults else arrays + parameters

    @property
    def parameter_count(self) -> int:
        """How many of the inputs are parameters."""
        return 0 if self.with_defaults else len(self.activation.parameters)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output arrays."""
        match self.member:
            case "_derivative":
                return ("derivative",)
            case "_backward" | "_backward_from_output":
                return ("dx",)
            case "_with_derivative":
                return ("y", "derivative")
            case "_parameter_backward":
                names = (p.name for p in self.activation.parameters)
                return ("dx", *(f"d{name}" for name in names))
            case _:
                return ("y",)

    def record(self, precision: Precision) -> tuple[list[Value], list[Value]]:
        """Run the formula on symbols: inputs and outputs."""
        with recording(precision) as graph:
            inputs = [graph.node("input", "real", name) for name in self.inputs]
            return inputs, self._outputs(inputs)

    def _outputs(self, inputs: list[Value]) -> list[Value]:
        entry = self.activation
        derivative, from_output = entry.derivative_formula, entry.from_output_formula
        parameters: list[Real] = list(inputs[len(inputs) - self.parameter_count :])
        if self.with_defaults:
            parameters = [p.default for p in entry.parameters if p.default is not None]
        match self.member:
            case "_derivative":
                return [_formula(derivative)(inputs[0], *parameters)]
            case "_backward":
                dy, x, *_ = inputs
                return [chain(dy, _formula(derivative)(x, *parameters))]
            case "_backward_from_output":
                dy, y, *_ = inputs
                return [chain(dy, _formula(from_output)(y, *parameters))]
            case "_with_derivative":
                x = inputs[0]
                slope = _formula(derivative)(x, *parameters)
                return [entry.forward(x, *parameters), slope]
            case "_parameter_backward":
                dy, x, *_ = inputs
                slopes = [_formula(derivative)(x, *parameters)]
                slopes += [
                    entry.parameter_formulas[p.name](x, *parameters)
                    for p in entry.parameters
                ]
                return [chain(dy, slope) for slope in slopes]
            case _:
                return [entry.forward(inputs[0], *parameters)]


def _formula(formula: Formula | None) -> Formula:
    if formula is None:
        raise ValueError("the activation has no such formula")
    return formula


def chain(dy: Value, slope: Real) -> Value:
    """dy * slope, but 0 where the slope is 0, whatever dy (NaN and inf included).

    Slopes that are chosen among constants are chosen after the product instead: the
    same values, and no arithmetic is left in piecewise linear functions.
    """
    slope = real(slope)
    if slope.constant is not None:
        return real(0.0) if slope.constant == 0 else dy * slope
    if slope.operation == "where":
        condition, a, b = slope.arguments
        if condition.operation == "ne" and condition.arguments == (a, a):  # a is NaN
            return where(condition, a, chain(dy, b))
        if a.constant is not None and b.constant is not None:
            return where(condition, chain(dy, a), chain(dy, b))
    return where(slope == 0, 0.0, dy * slope)


def members(entry: Activation) -> Iterator[str]:
    """The members of the family that this activation has."""
    for member in FAMILY:
        if member == BACKWARD_FROM_OUTPUT and entry.from_output_formula is None:
            continue
        if member == PARAMETER_BACKWARD and not entry.differentiable_parameters:
            continue
        if entry.derivative_formula is None:
            raise ValueError(f"{entry.name} has no derivative formula")
        yield member


def kernels() -> Iterator[Kernel]:
    """Every elementwise kernel of the catalogue."""
    for entry in CATALOGUE.values():
        for member in members(entry):
            yield Kernel(entry, member, with_defaults=False)
            if entry.has_defaults and member != PARAMETER_BACKWARD:
                yield Kernel(entry, member, with_defaults=True)
