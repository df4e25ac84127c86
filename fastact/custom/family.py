"""The functions that follow from a formula: ufuncs, and thin functions over them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core, documentation, families, ufuncs
from .._numba_compiler import new_record, prepare
from .._numba_overloads import register, register_sums
from ..formulas.elementary import chain
from ..formulas.entry import Activation, Fused, Parameter
from ..formulas.kernels import (
    BACKWARD,
    DERIVATIVE,
    FORWARD,
    PARAMETER_BACKWARD,
    WITH_DERIVATIVE,
    Kernel,
    members,
)
from ..formulas.language import PRECISIONS, Value, all_digits
from ..formulas.translate import ARRAYS, numba_module, operation_count
from ..parameters import parameter_backward
from . import cache
from .forms import recognise
from .primitives import defined_term
from .reading import Formula
from .terms import (
    Differentiation,
    NotDifferentiable,
    Primitive,
    Term,
    lower,
    lower_slope,
    substitute,
)

# Of dy, inputs, parameters and their gradients a loop takes at most
MOST_OPERANDS = 11
# Results from which on all rows are worth handing to the threads at once
_ELEMENTS_WORTH_ROWS = 1 << 14
_PRECISION_OF = {ARRAYS[p.name]: p for p in PRECISIONS}


@dataclass(frozen=True)
class Custom:
    """What a custom activation is made of; `slopes` are its derivatives by name."""

    formula: Formula
    term: Term
    slopes: Mapping[str, Term]
    primitive: Primitive


def differentiate(formula: Formula, overrides: Mapping[str, Term]) -> Custom:
    """A formula with its derivatives, by rule or as they are given."""
    term = recognise(formula.term)
    slopes = {}
    for name in formula.names:
        if name in overrides:
            slopes[name] = recognise(overrides[name])
            continue
        try:
            slopes[name] = recognise(Differentiation(name).of(term))
        except NotDifferentiable as error:
            raise TypeError(
                f"{formula.name} has no derivative by {name}: that of {error} is not "
                f"known; give one with fastact.activation(derivative={{{name!r}: ...}})"
            ) from None
    return Custom(formula, term, slopes, _as_primitive(formula, term, slopes))


def _as_primitive(
    formula: Formula, term: Term, slopes: Mapping[str, Term]
) -> Primitive:
    """A custom activation within the formula of another."""
    names = formula.names

    def value(*arguments: Any) -> Value:
        (found,) = lower([term], dict(zip(names, arguments, strict=True)))
        return found

    def partial(name: str) -> Callable[..., Term]:
        return lambda *arguments: substitute(
            slopes[name], dict(zip(names, arguments, strict=True))
        )

    return Primitive(
        formula.name,
        value,
        lambda mp, *arguments: defined_term(
            mp, formula.term, dict(zip(names, arguments, strict=True))
        ),
        tuple(map(partial, names)),
        keeps_nan=False,
    )


class Maker:
    """Makes the functions of one custom activation, and the kernels that they need."""

    def __init__(self, custom: Custom, module: str, qualname: str, doc: str) -> None:
        self.custom = custom
        self.formula = custom.formula
        self.module = module
        self.qualname = qualname
        self.entry = self._entry(doc)
        self._records: dict[tuple[str, str], Any] = {}
        self._ufuncs: dict[str, np.ufunc] = {}
        self.kernels: dict[str, Kernel] = {}
        self._sums: dict[tuple[str, ...], tuple[Kernel, np.ufunc]] = {}

    # ------------------------------------------------------------- the entry

    def _entry(self, doc: str) -> Activation | Fused:
        formula = self.formula
        summary, _, rest = inspect.cleandoc(doc).partition("\n")
        facts: dict[str, Any] = {
            "name": formula.name,
            "summary": summary or "Custom activation",
            "parameters": formula.parameters,
            "forward": self._value,
            "formula": formula.text,
            "source": "",
            "plain": "",
            "plain_backward": "",
            "notes": f"{rest.strip()}\n\n{self._family_text()}".strip(),
            "errors": "`fastact.check` measures the errors of the value and of the "
            "derivatives.",
            "arrays": formula.arrays,
        }
        if len(formula.arrays) > 1:
            return Fused(**facts, gradient_formula=self._gradients(formula.arrays))
        (x,) = formula.arrays
        return Activation(
            **facts,
            derivative_formula=self._slope(x),
            parameter_formulas={
                p.name: self._slope(p.name) for p in formula.parameters
            },
        )

    def _family_text(self) -> str:
        name, arrays = self.formula.name, ", ".join(self.formula.arrays)
        found = [f"{name}.{m}({arrays})" for m in ("derivative", "with_derivative")]
        found.append(f"{name}.backward(dy, {arrays})")
        if self.formula.parameters:
            found.append(f"{name}.parameter_backward(dy, {arrays})")
        family = ", ".join(f"``{call}``" for call in found)
        return f"Its family: {family}; ``{name}.__wrapped__`` is the function."

    def _variables(self, arguments: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.formula.names, arguments, strict=True))

    def _value(self, *arguments: Any) -> Value:
        (found,) = lower([self.custom.term], self._variables(arguments))
        return found

    def _slope(self, name: str) -> Callable[..., Value]:
        slope = self.custom.slopes[name]
        return lambda *arguments: lower_slope(slope, name, self._variables(arguments))

    def _gradients(
        self, wanted: Sequence[str], order: Sequence[str] = (), summed: int = 0
    ) -> Callable[..., tuple[Value, ...]]:
        """dy times the derivatives by some inputs, of inputs in an order.

        The last ones are summed, and so not rounded to 16 bits.
        """

        def formula(dy: Value, *arguments: Any) -> tuple[Value, ...]:
            variables = dict(zip(order or self.formula.names, arguments, strict=True))
            found = []
            for i, name in enumerate(wanted):
                is_summed = i >= len(wanted) - summed
                with all_digits() if is_summed else nullcontext():
                    slope = lower_slope(self.custom.slopes[name], name, variables)
                    found.append(chain(dy, slope))
            return tuple(found)

        return formula

    # ------------------------------------------------------------ the kernels

    def record(self, kernel: Kernel, type_: str) -> Any:
        """What the C loops know of a kernel; compiled when one of them needs it."""
        key = kernel.name, type_
        if key not in self._records:
            precision = _PRECISION_OF[type_]

            def source(record: Any) -> Any:
                _, outputs = kernel.record(precision)
                record.operation_count = operation_count(outputs)
                module = self.compiled_module(kernel, type_)
                return getattr(module, f"{kernel.name}_{precision}_kernel")

            shape = len(kernel.inputs), len(kernel.outputs), kernel.parameter_count
            self._records[key] = new_record(kernel.name, type_, shape, source)
        return self._records[key]

    def compiled_module(self, kernel: Kernel, type_: str) -> Any:
        """The module of one kernel in one precision."""
        text = numba_module([(kernel, _PRECISION_OF[type_])])
        return cache.load(kernel.name, text)

    def ufunc(self, name: str) -> Any:
        """The ufunc of a kernel; over several arrays, a function that finds rows."""
        kernel = self.kernels[name]
        path = self._path(kernel)
        plain = self._ufunc(kernel, path)
        if kernel.member != FORWARD or len(self.formula.arrays) == 1:
            return plain
        return by_rows(plain, self._ufunc(kernel, path, generalised=True))

    def _ufunc(self, kernel: Kernel, path: str, generalised: bool = False) -> np.ufunc:
        ufunc = ufuncs.elementwise(
            kernel,
            self.module,
            "numba",
            name=path,
            record=self.record,
            generalised=generalised,
        )
        if not generalised:
            self._ufuncs[kernel.name] = ufunc
        return ufunc

    def _path(self, kernel: Kernel) -> str:
        """Where pickle finds the ufunc of a kernel, from the module on."""
        path = self.qualname + kernel.member.replace("_", ".", 1)
        if kernel.with_defaults:
            return f"{path}.default_ufunc"
        is_public = not self.formula.parameters and len(self.formula.arrays) == 1
        return path if is_public else f"{path}.ufunc"

    # ---------------------------------------------------------- the functions

    def functions(self) -> dict[str, Any]:
        """All members of the family by name, with their attributes."""
        entry, name = self.entry, self.formula.name
        for member in members(entry):
            for with_defaults in (False, True) if entry.parameters else (False,):
                kernel = Kernel(entry, member, with_defaults)
                self.kernels[kernel.name] = kernel
        found = {
            name + member: families.member_function(
                entry, member, self.ufunc, self.module
            )
            for member in members(entry)
        }
        if isinstance(entry, Fused):
            self.elementwise = elementwise = found[name + BACKWARD]
            if not entry.parameters:
                doc = documentation.docstring(entry, FORWARD)
                found[name] = self._function(
                    found[name], doc, found[name].__signature__
                )
            found |= self._summing_functions(elementwise)
            found |= self._partial_derivatives(found[name], elementwise)
        _core.attach_members(name, found)
        for full_name, function in found.items():
            self._describe(full_name.removeprefix(name), function)
        return found

    def _describe(self, member: str, function: Any) -> None:
        """Names by which pickle finds a function, and the ufuncs below it."""
        path = self.qualname + member.replace("_", ".", 1)
        attributes: dict[str, Any] = {}
        if not isinstance(function, np.ufunc):
            attributes |= {"__name__": path, "__qualname__": path}
            base = self.formula.name + member
            for attribute, suffix in (("ufunc", ""), ("default_ufunc", "_default")):
                if base + suffix in self._ufuncs:
                    attributes[attribute] = self._ufuncs[base + suffix]
        if inspect.isfunction(function):
            function.__name__ = function.__qualname__ = path
        vars(function).update(attributes)

    def _function(
        self, python: Callable[..., Any], doc: str, shown: inspect.Signature
    ) -> Callable[..., Any]:
        """A function with a documentation and a signature."""

        def function(*arguments: Any, **keywords: Any) -> Any:
            return python(*arguments, **keywords)

        function.__module__ = self.module
        function.__doc__ = doc
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    # ------------------------------------------ gradients of several inputs

    def _summing_functions(self, elementwise: Any) -> dict[str, Any]:
        """`backward`, and with parameters `parameter_backward`, of several inputs."""
        arrays = self.formula.arrays
        parameters = tuple(p.name for p in self.formula.parameters)
        shown = inspect.signature(elementwise)
        named = [p for p in shown.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        bare = inspect.Signature([*named, out])

        def gradients(
            arguments: tuple[Any, ...], keywords: dict[str, Any], wanted: int
        ) -> tuple[Any, ...]:
            bound = bare.bind(*arguments, **keywords)
            bound.apply_defaults()
            given = dict(bound.arguments)
            found = self._summed(given, given.pop("out"))
            return found[:wanted]

        def backward(*arguments: Any, **keywords: Any) -> Any:
            every = [*arguments, *(keywords.get(name) for name in parameters)]
            shapes = [np.shape(a) for a in every[: 1 + len(arrays)]]
            whole = np.broadcast_shapes(*(np.shape(a) for a in every if a is not None))
            if all(shape == whole for shape in shapes):
                return elementwise(*arguments, **keywords)
            return gradients(arguments, keywords, len(arrays))

        def every_gradient(*arguments: Any, **keywords: Any) -> Any:
            return gradients(arguments, keywords, len(arrays) + len(parameters))

        name = self.formula.name
        doc = documentation.docstring(self.entry, BACKWARD)
        found = {name + BACKWARD: self._function(backward, doc, shown)}
        if parameters:
            doc = documentation.docstring(self.entry, PARAMETER_BACKWARD)
            found[name + PARAMETER_BACKWARD] = self._function(every_gradient, doc, bare)
        return found

    def _partial_derivatives(self, forward: Any, elementwise: Any) -> dict[str, Any]:
        """`derivative` and `with_derivative` of several inputs: tuples, not summed."""
        formula = self.formula
        _, *named = inspect.signature(elementwise).parameters.values()
        shown = inspect.Signature(
            [p for p in named if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        )

        def derivative(*arguments: Any, **keywords: Any) -> Any:
            return elementwise(1.0, *arguments, **keywords)

        def with_derivative(*arguments: Any, **keywords: Any) -> Any:
            slopes = derivative(*arguments, **keywords)
            return (forward(*arguments, **keywords), *slopes)

        arrays = ", ".join(formula.arrays)
        doc = (
            f"{{}} of {formula.name} by {arrays}, each in the shape of the result.\n\n"
            f"f({arrays}) = {formula.text}.\n"
        )
        first = doc.format("The derivatives")
        second = doc.format("The value, and the derivatives")
        return {
            formula.name + DERIVATIVE: self._function(derivative, first, shown),
            formula.name + WITH_DERIVATIVE: self._function(
                with_derivative, second, shown
            ),
        }

    def _summed(self, given: dict[str, Any], out: Any) -> tuple[Any, ...]:
        """The gradients of all arguments, each summed to its shape, in their order."""
        formula = self.formula
        given = {name: np.asanyarray(value) for name, value in given.items()}
        whole = np.broadcast_shapes(*(a.shape for a in given.values()))
        full = tuple(n for n in formula.arrays if given[n].shape == whole)
        rest = tuple(n for n in formula.names if n not in full)
        kernel, ufunc = self._sum(full, rest)
        order = (*full, *rest)
        if out is not None:
            places = dict(zip(formula.names, out, strict=False))
            out = tuple(places.get(name) for name in order)
        found = parameter_backward(
            kernel,
            ufunc,
            (given["dy"], *(given[name] for name in full)),
            {name: given[name] for name in rest},
            out,
        )
        by_name = dict(zip(order, found, strict=True))
        return tuple(by_name[name] for name in formula.names)

    def _sum(
        self, full: tuple[str, ...], rest: tuple[str, ...]
    ) -> tuple[Kernel, np.ufunc]:
        """The kernel that gives the gradients of some arrays and sums the others'."""
        if full not in self._sums:
            order = (*full, *rest)
            entry = Fused(
                name="_".join([self.formula.name, "sum", *rest]),
                summary=f"Gradients of {self.formula.name}",
                parameters=tuple(Parameter(name, None) for name in rest),
                forward=self._value,
                formula=self.formula.text,
                source="",
                plain="",
                plain_backward="",
                arrays=full,
                gradient_formula=self._gradients(order, order, len(rest)),
            )
            kernel = Kernel(entry, PARAMETER_BACKWARD, with_defaults=False)
            self._sums[full] = kernel, self._ufunc(kernel, kernel.name)
        return self._sums[full]


def by_rows(plain: np.ufunc, core: np.ufunc) -> Callable[..., Any]:
    """The ufunc, or where arrays are broadcast to rows its generalised form.

    NumPy calls a ufunc's loop once for each row then, which is too little for threads;
    the generalised form is called once for all rows.
    """

    def function(*arguments: Any, **keywords: Any) -> Any:
        if "where" not in keywords:
            rows = _as_rows(arguments)
            if rows is not None:
                return core(*rows, **keywords)
        return plain(*arguments, **keywords)

    function.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]
    return function


def _as_rows(arguments: tuple[Any, ...]) -> list[Any] | None:
    """Operands with a last axis each, if there are many rows to compute."""
    if not all(type(a) in (np.ndarray, int, float) for a in arguments):
        return None
    operands = [np.asarray(a) for a in arguments]
    try:
        shape = np.broadcast_shapes(*(a.shape for a in operands))
    except ValueError:  # the ufunc says so
        return None
    if len(shape) < 2 or int(np.prod(shape)) < _ELEMENTS_WORTH_ROWS:
        return None
    whole = [a for a in operands if a.shape == shape]
    # Where all are whole, or numbers, NumPy makes one row of them.
    if all(a.shape == shape or a.ndim == 0 for a in operands) or not all(
        abs(a.strides[-1]) == min(map(abs, a.strides)) for a in whole
    ):
        return None
    return [
        np.broadcast_to(a, (*a.shape[:-1], shape[-1]))
        if a.ndim == 0 or a.shape[-1] != shape[-1]
        else a
        for a in operands
    ]


def make(custom: Custom, module: str, qualname: str, doc: str) -> Any:
    """The public function of a custom activation, with its family."""
    formula = custom.formula
    operands = 1 + 2 * len(formula.names)
    if operands > MOST_OPERANDS:
        most = (MOST_OPERANDS - 1) // 2
        raise TypeError(
            f"{formula.name} has {len(formula.names)} arguments; at most {most} are "
            "possible: write the ones that never change as numbers from outside"
        )
    prepare()
    maker = Maker(custom, module, qualname, doc)
    functions = maker.functions()
    scalars = _Scalars(maker)
    for full_name, function in functions.items():
        member = full_name.removeprefix(formula.name)
        if member == PARAMETER_BACKWARD:
            continue
        if len(formula.arrays) == 1 or member == FORWARD:
            register(function, maker.kernels[full_name], scalars)
        elif member == BACKWARD:
            register(maker.elementwise, maker.kernels[full_name], scalars)
            register_sums(function, maker.elementwise, maker.kernels[full_name])
    return functions[formula.name]


class _Scalars:
    """The kernels as scalar functions for @njit code, by name; made when asked for."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker

    def __getattr__(self, name: str) -> Any:
        kernel_name, _, suffix = name.rpartition("_")
        types = {p.name: ARRAYS[p.name] for p in PRECISIONS}
        kernel = self._maker.kernels[kernel_name]
        return getattr(self._maker.compiled_module(kernel, types[suffix]), name)
