"""The kernels of an activation: which functions of which arrays it is compiled to."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

from . import activations as _entries  # noqa: F401 - enters them into the catalogue
from .elementary import chain
from .entry import CATALOGUE, FUSED, Activation, Entry, Formula, Fused, Requirement
from .language import Graph, Precision, Real, Value, all_digits, recording

# All entries, by name.
ENTRIES: dict[str, Entry] = {**CATALOGUE, **FUSED}

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

    entry: Entry
    member: str
    with_defaults: bool

    @property
    def name(self) -> str:
        """Name of the kernel, and of the ufunc over it."""
        suffix = DEFAULT if self.with_defaults else ""
        return f"{self.entry.name}{self.member}{suffix}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input arrays, parameters last."""
        parameters = tuple(p.name for p in self.entry.parameters)
        arrays = self.entry.arrays
        if self.member == BACKWARD_FROM_OUTPUT:
            arrays = self.entry.results
        if self.member in (BACKWARD, BACKWARD_FROM_OUTPUT, PARAMETER_BACKWARD):
            arrays = (*(f"d{name}" for name in self.entry.results), *arrays)
        return arrays if self.with_defaults else arrays + parameters

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """What its parameters must be."""
        found = self.entry.requirements
        if self.member == BACKWARD_FROM_OUTPUT and isinstance(self.entry, Activation):
            found += self.entry.from_output_requirements
        return found

    @property
    def parameter_count(self) -> int:
        """How many of the inputs are parameters."""
        return 0 if self.with_defaults else len(self.entry.parameters)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output arrays."""
        gradients = tuple(f"d{name}" for name in self.entry.arrays)
        match self.member:
            case "_derivative":
                return ("derivative",)
            case "_backward" | "_backward_from_output":
                return gradients
            case "_with_derivative":
                return (*self.entry.results, "derivative")
            case "_parameter_backward":
                return (*gradients, *(f"d{p.name}" for p in self.entry.parameters))
            case _:
                return self.entry.results

    def record(self, precision: Precision) -> tuple[list[Value], list[Value]]:
        """Run the formula on symbols: inputs and outputs."""
        with recording(precision) as graph:
            return self._record(graph)

    def record_usual(self, precision: Precision) -> tuple[list[Value], Value | None]:
        """The outputs for usual inputs, and the condition that inputs are others.

        None if all are usual: see `is_excluded`.
        """
        with recording(precision, excludes=True) as graph:
            _, outputs = self._record(graph)
            if not graph.excluded:
                return outputs, None
            return outputs, reduce(operator.or_, graph.excluded)

    def _record(self, graph: Graph) -> tuple[list[Value], list[Value]]:
        inputs = [graph.node("input", "real", name) for name in self.inputs]
        # An output may be any number, also one that no x gives: such come out as NaN
        # in 16-bit kernels only where they do in float32.
        if self.member == BACKWARD_FROM_OUTPUT:
            with all_digits():
                return inputs, self._outputs(inputs)
        return inputs, self._outputs(inputs)

    def _outputs(self, inputs: list[Value]) -> list[Value]:
        entry = self.entry
        parameters: list[Real] = list(inputs[len(inputs) - self.parameter_count :])
        arrays: list[Value] = inputs[: len(inputs) - self.parameter_count]
        if self.with_defaults:
            parameters = [p.default for p in entry.parameters if p.default is not None]
        if self.member == FORWARD:
            return _several(entry.forward(*arrays, *parameters))
        if isinstance(entry, Fused):
            return _several(_formula(entry.gradient_formula)(*arrays, *parameters))
        assert isinstance(entry, Activation)
        derivative, from_output = entry.derivative_formula, entry.from_output_formula
        match self.member:
            case "_derivative":
                return [_formula(derivative)(*arrays, *parameters)]
            case "_backward":
                dy, x = arrays
                return [chain(dy, _formula(derivative)(x, *parameters))]
            case "_backward_from_output":
                dy, y = arrays
                return [chain(dy, _formula(from_output)(y, *parameters))]
            case "_with_derivative":
                (x,) = arrays
                slope = _formula(derivative)(x, *parameters)
                return [entry.forward(x, *parameters), slope]
            case _:
                dy, x = arrays
                slopes = [_formula(derivative)(x, *parameters)]
                with all_digits():  # they are summed, and not rounded to 16 bits
                    slopes += [
                        entry.parameter_formulas[p.name](x, *parameters)
                        for p in entry.parameters
                    ]
                return [chain(dy, slope) for slope in slopes]


def _several(found: Value | tuple[Value, ...]) -> list[Value]:
    return list(found) if isinstance(found, tuple) else [found]


def _formula(formula: Formula | None) -> Formula:
    if formula is None:
        raise ValueError("the activation has no such formula")
    return formula


def members(entry: Entry) -> Iterator[str]:
    """The members of the family that this entry has."""
    if isinstance(entry, Fused):
        yield FORWARD
        yield BACKWARD
        return
    assert isinstance(entry, Activation)
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
    for entry in ENTRIES.values():
        for member in members(entry):
            yield Kernel(entry, member, with_defaults=False)
            if entry.has_defaults and member != PARAMETER_BACKWARD:
                yield Kernel(entry, member, with_defaults=True)
