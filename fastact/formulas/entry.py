"""What an entry of the catalogue is: a formula, its derivatives and its facts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .language import Value

Formula: TypeAlias = Callable[..., Value]

CATALOGUE: dict[str, Activation] = {}


@dataclass(frozen=True)
class Parameter:
    """A parameter of an activation and, if it has one, its default."""

    name: str
    default: float | None


@dataclass
class Activation:
    """An elementwise activation: everything the project knows about it.

    The forward formula is the function that `activation` decorates; its signature gives
    the parameters, its docstring the summary. The entry is callable like its formula,
    so that formulas can use each other.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    forward: Formula
    formula: str
    source: str
    plain: str
    plain_backward: str
    aliases: tuple[str, ...] = ()
    kinks: Mapping[str, str] = field(default_factory=dict)
    derivative_roots: tuple[str, ...] = ()
    from_output_minimum: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    bound: float = 2.0
    backward_bound: float = 4.0
    derivative_formula: Formula | None = None
    from_output_formula: Formula | None = None
    parameter_formulas: dict[str, Formula] = field(default_factory=dict)

    def __call__(self, *arguments: object) -> Value:
        return self.forward(*arguments)

    @property
    def has_defaults(self) -> bool:
        """Whether it can be called without naming a parameter, though it has some."""
        return bool(self.parameters) and all(
            parameter.default is not None for parameter in self.parameters
        )

    @property
    def differentiable_parameters(self) -> bool:
        """Whether the gradient of every parameter is known."""
        return bool(self.parameters) and set(self.parameter_formulas) == {
            parameter.name for parameter in self.parameters
        }

    def derivative(self, function: Formula) -> Formula:
        """Decorate f'(x, *parameters)."""
        self.derivative_formula = function
        return function

    def derivative_from_output(self, function: Formula) -> Formula:
        """Decorate f' as a function of the output: g(y, *parameters)."""
        self.from_output_formula = function
        return function

    def parameter_derivative(self, name: str) -> Callable[[Formula], Formula]:
        """Decorate the partial derivative of f(x, *parameters) by one parameter."""

        def register(function: Formula) -> Formula:
            self.parameter_formulas[name] = function
            return function

        return register


def activation(
    *,
    formula: str,
    source: str,
    plain: str,
    plain_backward: str,
    aliases: tuple[str, ...] = (),
    kinks: Mapping[str, str] | None = None,
    derivative_roots: tuple[str, ...] = (),
    from_output_minimum: Mapping[str, float] | None = None,
    notes: str = "",
) -> Callable[[Formula], Activation]:
    """Enter the decorated forward formula into the catalogue.

    Parameters
    ----------
    formula
        The textbook formula, for people.
    source
        Where the function comes from.
    plain, plain_backward
        The NumPy expression a careful user would write for y, from ``x`` and the
        parameters, and for dx, from ``dy`` too; NumPy's functions, ``erf`` and ``expit``
        (SciPy's) stand ready. They are `fastact.plain` and the baseline of the benchmark.
    aliases
        Names other systems have for the same function at the same defaults.
    kinks
        Points where f' jumps, and the value taken there (expressions in the parameters).
    derivative_roots
        Where f' crosses zero, to 30 digits: tests look at their neighbourhood.
    from_output_minimum
        Least value of a parameter for which f' is a function of the output.
    notes
        Anything else a user must know: differences from other systems, limits.
    """

    def enter(function: Formula) -> Activation:
        _, *parameters = inspect.signature(function).parameters.values()
        entry = Activation(
            name=function.__name__,
            summary=inspect.cleandoc(function.__doc__ or ""),
            parameters=tuple(
                Parameter(p.name, None if p.default is p.empty else float(p.default))
                for p in parameters
            ),
            forward=function,
            formula=formula,
            source=source,
            plain=plain,
            plain_backward=plain_backward,
            aliases=aliases,
            kinks=kinks or {},
            derivative_roots=derivative_roots,
            from_output_minimum=from_output_minimum or {},
            notes=notes,
        )
        if entry.name in CATALOGUE:
            raise ValueError(f"{entry.name} is in the catalogue already")
        CATALOGUE[entry.name] = entry
        return entry

    return enter
