"""What an entry of the catalogue is: a formula, its derivatives and its facts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from .language import Value

Formula: TypeAlias = Callable[..., Any]
FormulaT = TypeVar("FormulaT", bound=Formula)

# Error bounds in ULP, at the default parameters and, backward, with dy = 1. An entry's
# own are for float32, where all inputs are checked (`make accuracy`). float64 is observed
# at a fixed set; the 16-bit types are rounded once from float32. Other parameters are
# tested on samples.
BOUND_AT_OTHER_PARAMETERS = 2.0
FLOAT64_BOUND = 2.0
BOUND_OF_16_BITS = 0.51

CATALOGUE: dict[str, Activation] = {}
FUSED: dict[str, Fused] = {}


@dataclass(frozen=True)
class Parameter:
    """A parameter of an activation and, if it has one, its default."""

    name: str
    default: float | None


@dataclass(frozen=True)
class Requirement:
    """What a parameter must be: a relation (">" or ">=") to a number or a parameter."""

    name: str
    relation: str
    bound: float | str

    @classmethod
    def parse(cls, name: str, condition: str) -> Requirement:
        """From text such as "> 0" or ">= min_val"."""
        relation, bound = condition.split()
        if relation not in (">", ">="):
            raise ValueError(f"{name}: no relation {relation!r}")
        return cls(name, relation, bound if bound.isidentifier() else float(bound))

    def __str__(self) -> str:
        words = {">": "greater than", ">=": "at least"}
        bound = self.bound if isinstance(self.bound, str) else f"{self.bound:g}"
        return f"{self.name} must be {words[self.relation]} {bound}"


@dataclass
class Entry:
    """What all entries share.

    The forward formula is a function of the arrays and the parameters; its docstring is
    the summary.
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
    requirements: tuple[Requirement, ...] = ()
    notes: str = ""
    bound: float = 2.0
    backward_bound: float = 2.0
    # What to say of the errors, where it is not the bounds
    errors: str = ""
    # Names of the input arrays and of the results.
    arrays: tuple[str, ...] = ("x",)
    results: tuple[str, ...] = ("y",)

    @property
    def has_defaults(self) -> bool:
        """Whether it can be called without naming a parameter, though it has some."""
        return bool(self.parameters) and all(
            parameter.default is not None for parameter in self.parameters
        )


@dataclass
class Activation(Entry):
    """An elementwise function of one array, with all its derivatives.

    It is callable like its formula, so that formulas can use each other.
    """

    roots: tuple[str, ...] = ()
    derivative_roots: tuple[str, ...] = ()
    from_output_requirements: tuple[Requirement, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)
    accurate_up_to: float = math.inf
    derivative_formula: Formula | None = None
    from_output_formula: Formula | None = None
    parameter_formulas: dict[str, Formula] = field(default_factory=dict)

    def __call__(self, *arguments: object) -> Value:
        value: Value = self.forward(*arguments)
        return value

    @property
    def differentiable_parameters(self) -> bool:
        """Whether the gradient of every parameter is known."""
        return bool(self.parameters) and set(self.parameter_formulas) == {
            parameter.name for parameter in self.parameters
        }

    def error_bound(
        self, direction: str, dtype: str, parameters: tuple[float, ...] = ()
    ) -> float:
        """The promise, in ULP, "forward" or of the "derivative" (backward with dy = 1).

        No parameters stand for the default ones.
        """
        if dtype in ("float16", "bfloat16"):
            return BOUND_OF_16_BITS
        if dtype == "float64":
            return FLOAT64_BOUND
        if parameters:
            return BOUND_AT_OTHER_PARAMETERS
        return self.bound if direction == "forward" else self.backward_bound

    def derivative(self, function: FormulaT) -> FormulaT:
        """Decorate f'(x, *parameters)."""
        self.derivative_formula = function
        return function

    def derivative_from_output(self, function: FormulaT) -> FormulaT:
        """Decorate f' as a function of the output: g(y, *parameters)."""
        self.from_output_formula = function
        return function

    def parameter_derivative(self, name: str) -> Callable[[FormulaT], FormulaT]:
        """Decorate the partial derivative of f(x, *parameters) by one parameter."""

        def register(function: FormulaT) -> FormulaT:
            self.parameter_formulas[name] = function
            return function

        return register


@dataclass
class Fused(Entry):
    """An elementwise function of several arrays or with several results.

    `packed_gate` says which half of a packed array is activated, "first" or "second",
    for the functions that exist in that form.
    """

    packed_gate: str | None = None
    gradient_formula: Formula | None = None

    def gradient(self, function: FormulaT) -> FormulaT:
        """Decorate the gradients, from those of the results, the arrays, the parameters.

        A function g(dy..., array..., *parameters) that returns a tuple, one for each array.
        """
        self.gradient_formula = function
        return function


def activation(
    *,
    formula: str,
    bound: float = 1.0,
    backward_bound: float = 1.0,
    source: str,
    plain: str,
    plain_backward: str,
    aliases: tuple[str, ...] = (),
    kinks: Mapping[str, str] | None = None,
    roots: tuple[str, ...] = (),
    derivative_roots: tuple[str, ...] = (),
    requires: Mapping[str, str] | None = None,
    from_output_requires: Mapping[str, str] | None = None,
    domain: tuple[float, float] = (-math.inf, math.inf),
    accurate_up_to: float = math.inf,
    notes: str = "",
) -> Callable[[Callable[..., Value]], Activation]:
    """Enter the decorated forward formula into the catalogue.

    Parameters
    ----------
    formula
        The textbook formula, for people.
    bound, backward_bound
        The largest error in ULP, of the value and of the derivative, over all float32 at
        the default parameters: 1 or 2. ``python -m accuracy NAME`` tells.
    source
        Where the function comes from.
    plain, plain_backward
        The NumPy expression a careful user would write for y, from ``x`` and the
        parameters, and for dx, from ``dy`` too; NumPy's functions and
        ``erf`` and ``erfc`` (SciPy's) stand ready. They are `fastact.plain` and the
        baseline of the benchmark.
    aliases
        Names other systems have for the same function at the same defaults.
    kinks
        Points where f' jumps, and the value taken there (expressions in the parameters).
    roots, derivative_roots
        Where f and f' cross zero at the default parameters, other than at x = 0, to 30
        digits: tests look at their neighbourhood.
    requires
        What parameters must be, such as {"cap": "> 0", "max_val": ">= min_val"}.
    from_output_requires
        The same for the gradient from the output, where f' must be a function of it.
    domain
        Ends of the interval outside which the function has no value.
    accurate_up_to
        The size of the argument (x times its factor) beyond which the error is bounded
        beside the function's largest values only: for periodic functions.
    notes
        Anything else a user must know: differences from other systems, limits.
    """

    def enter(function: Callable[..., Value]) -> Activation:
        _, *parameters = inspect.signature(function).parameters.values()
        entry = Activation(
            name=function.__name__,
            summary=inspect.cleandoc(function.__doc__ or ""),
            parameters=_parameters(parameters),
            forward=function,
            formula=formula,
            bound=bound,
            backward_bound=backward_bound,
            source=source,
            plain=plain,
            plain_backward=plain_backward,
            aliases=aliases,
            kinks=kinks or {},
            roots=roots,
            derivative_roots=derivative_roots,
            requirements=_requirements(requires),
            from_output_requirements=_requirements(from_output_requires),
            domain=domain,
            accurate_up_to=accurate_up_to,
            notes=notes,
        )
        _enter(CATALOGUE, entry)
        return entry

    return enter


def fused(
    *,
    formula: str,
    source: str,
    plain: str,
    plain_backward: str,
    arrays: int,
    results: tuple[str, ...] = ("y",),
    aliases: tuple[str, ...] = (),
    kinks: Mapping[str, str] | None = None,
    requires: Mapping[str, str] | None = None,
    packed_gate: str | None = None,
    notes: str = "",
    errors: str = "",
) -> Callable[[Callable[..., Any]], Fused]:
    """Enter the decorated formula of several arrays; see `activation`.

    `arrays` is how many of its first arguments are arrays; the others are parameters.
    `plain_backward` is a tuple where there are several arrays.
    """

    def enter(function: Callable[..., Any]) -> Fused:
        arguments = list(inspect.signature(function).parameters.values())
        entry = Fused(
            name=function.__name__,
            summary=inspect.cleandoc(function.__doc__ or ""),
            parameters=_parameters(arguments[arrays:]),
            forward=function,
            formula=formula,
            source=source,
            plain=plain,
            plain_backward=plain_backward,
            aliases=aliases,
            kinks=kinks or {},
            requirements=_requirements(requires),
            notes=notes,
            errors=errors,
            arrays=tuple(argument.name for argument in arguments[:arrays]),
            results=results,
            packed_gate=packed_gate,
        )
        _enter(FUSED, entry)
        return entry

    return enter


def _parameters(arguments: list[inspect.Parameter]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(a.name, None if a.default is a.empty else float(a.default))
        for a in arguments
    )


def _requirements(conditions: Mapping[str, str] | None) -> tuple[Requirement, ...]:
    return tuple(Requirement.parse(*item) for item in (conditions or {}).items())


def _enter(table: dict[str, Any], entry: Entry) -> None:
    if entry.name in CATALOGUE or entry.name in FUSED:
        raise ValueError(f"{entry.name} is in the catalogue already")
    table[entry.name] = entry
