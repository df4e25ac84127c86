"""Expressions of custom activations, and their derivatives by rule.

A `Term` is an input, a constant, or a `Primitive` of other terms. Its derivative is a term
again, so that value, derivatives and gradients are all lowered in the same way: to the
values of `fastact.formulas.language`, by the formulas that the catalogue is made of.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..formulas.language import Value, fma, nan_from, real, truth, where

# From the arguments of a primitive and their derivatives to its own derivative
Rule: TypeAlias = Callable[[Sequence["Term"], Sequence["Term"]], "Term"]
Partial: TypeAlias = Callable[..., "Term"]


@dataclass(frozen=True, eq=False)
class Primitive:
    """A function that terms are made of.

    Parameters
    ----------
    name
        What messages call it.
    formula
        The function of values that kernels compute.
    partials
        For each argument the partial derivative as a term of all arguments, or None if
        it is not known.
    definition
        The function in mpmath, for `fastact.check`: independent of `formula`. Its first
        argument is mpmath's context.
    rule
        The derivative, where partial derivatives are not the best form of it.
    bounded
        Whether all its values are finite.
    keeps_nan
        Whether NaN in any argument makes the value NaN.
    is_condition
        Whether it is a truth value.
    """

    name: str
    formula: Callable[..., Any]
    definition: Callable[..., Any]
    partials: tuple[Partial | None, ...] = ()
    rule: Rule | None = None
    bounded: bool = False
    keeps_nan: bool = True
    is_condition: bool = False


class Term:
    """An expression; equal ones are the same object."""

    __slots__ = ("__weakref__", "arguments", "name", "number", "primitive")

    def __init__(
        self,
        primitive: Primitive | None,
        arguments: tuple[Term, ...],
        number: float | None,
        name: str,
    ) -> None:
        self.primitive = primitive
        self.arguments = arguments
        self.number = number
        self.name = name

    @property
    def is_condition(self) -> bool:
        """Whether it is a truth value, and not a number."""
        return self.primitive is not None and self.primitive.is_condition

    def is_call(self, primitive: Primitive) -> bool:
        """Whether it is this function of something."""
        return self.primitive is primitive


_known: weakref.WeakValueDictionary[Any, Term] = weakref.WeakValueDictionary()


def _term(
    primitive: Primitive | None,
    arguments: tuple[Term, ...] = (),
    number: float | None = None,
    name: str = "",
) -> Term:
    # As text: 0.0 == -0.0, and NaN is not NaN
    key = (primitive, arguments, None if number is None else number.hex(), name)
    found = _known.get(key)
    if found is None:
        found = _known[key] = Term(primitive, arguments, number, name)
    return found


def constant(number: float) -> Term:
    """A number."""
    return _term(None, number=float(number))


def variable(name: str) -> Term:
    """An input."""
    return _term(None, name=name)


def apply(primitive: Primitive, *arguments: Term) -> Term:
    """A function of terms, as it stands."""
    return _term(primitive, arguments)


ZERO, ONE, MINUS_ONE, TWO = map(constant, (0.0, 1.0, -1.0, 2.0))


# --------------------------------------------------------------------- arithmetic


def _fused_add(a: Value, b: Value) -> Value:
    """a + b, with the one product among them unrounded.

    Of two products neither: a b - a b must be 0.
    """
    if (a.operation == "mul") != (b.operation == "mul"):
        product, other = (a, b) if a.operation == "mul" else (b, a)
        u, v = product.arguments
        return fma(u, v, other)
    return a + b


def _fused_subtract(a: Value, b: Value) -> Value:
    if (a.operation == "mul") != (b.operation == "mul"):
        u, v = (a if a.operation == "mul" else b).arguments
        return fma(u, v, -b) if a.operation == "mul" else fma(-u, v, a)
    return a - b


def _quotient_rule(arguments: Sequence[Term], slopes: Sequence[Term]) -> Term:
    # (u' - (u/v) v') / v: no square of v, which would overflow
    (u, v), (u_slope, v_slope) = arguments, slopes
    return divide(subtract(u_slope, times(divide(u, v), v_slope)), v)


ADD = Primitive(
    "+", _fused_add, lambda mp, a, b: a + b, (lambda a, b: ONE, lambda a, b: ONE)
)
SUBTRACT = Primitive(
    "-",
    _fused_subtract,
    lambda mp, a, b: a - b,
    (lambda a, b: ONE, lambda a, b: MINUS_ONE),
)
MULTIPLY = Primitive(
    "*", lambda a, b: a * b, lambda mp, a, b: a * b, (lambda a, b: b, lambda a, b: a)
)
DIVIDE = Primitive(
    "/", lambda a, b: a / b, lambda mp, a, b: divided(mp, a, b), rule=_quotient_rule
)
NEGATE = Primitive("-", lambda a: -a, lambda mp, a: -a, (lambda a: MINUS_ONE,))


def divided(mp: Any, a: Any, b: Any) -> Any:
    """a / b as the dtypes divide: a number over zero is an infinity."""
    if b == 0:
        return mp.nan if a == 0 or mp.isnan(a) else mp.sign(a) * mp.inf
    return a / b


def _guarded(guards_a: bool, guards_b: bool) -> Primitive:
    """A product that is 0 where a guarded factor is, whatever the other one."""

    def formula(a: Value, b: Value) -> Value:
        zero = [factor == 0 for factor, on in ((a, guards_a), (b, guards_b)) if on]
        return where(zero[0] if len(zero) == 1 else zero[0] | zero[1], 0.0, a * b)

    def definition(mp: Any, a: Any, b: Any) -> Any:
        return mp.zero if a == 0 or b == 0 else a * b

    return Primitive("*", formula, definition, keeps_nan=False)


_GUARDED = {
    (a, b): _guarded(a, b) for a, b in ((True, False), (False, True), (True, True))
}


def _choose_rule(arguments: Sequence[Term], slopes: Sequence[Term]) -> Term:
    return choose(arguments[0], slopes[1], slopes[2])


CHOOSE = Primitive(
    "where",
    where,
    lambda mp, condition, a, b: a if condition else b,
    rule=_choose_rule,
    keeps_nan=False,
)


def _comparison(name: str, compare: Callable[[Any, Any], Any]) -> Primitive:
    return Primitive(
        name,
        compare,
        lambda mp, a, b: bool(compare(a, b)),
        bounded=True,
        keeps_nan=False,
        is_condition=True,
    )


LESS = _comparison("<", lambda a, b: a < b)
LESS_EQUAL = _comparison("<=", lambda a, b: a <= b)
GREATER = _comparison(">", lambda a, b: a > b)
GREATER_EQUAL = _comparison(">=", lambda a, b: a >= b)
EQUAL = _comparison("==", lambda a, b: a == b)
NOT_EQUAL = _comparison("!=", lambda a, b: a != b)
AND = _comparison("and", lambda a, b: a & b)
OR = _comparison("or", lambda a, b: a | b)
TRUE, FALSE = (
    apply(
        Primitive(
            str(value),
            lambda value=value: truth(value),
            lambda mp, value=value: value,
            bounded=True,
            is_condition=True,
        )
    )
    for value in (True, False)
)
_OPPOSITES = {EQUAL: NOT_EQUAL, NOT_EQUAL: EQUAL}


def opposite(condition: Term) -> Term:
    """The condition that holds where this one does not."""
    if condition in (TRUE, FALSE):
        return FALSE if condition is TRUE else TRUE
    primitive, arguments = condition.primitive, condition.arguments
    if primitive in (AND, OR):
        other = OR if primitive is AND else AND
        return apply(other, *map(opposite, arguments))
    if primitive in _OPPOSITES:
        return apply(_OPPOSITES[primitive], *arguments)
    # Not x < 0 holds for NaN, x >= 0 does not.
    return apply(EQUAL, choose(condition, ONE, ZERO), ZERO)


def add(a: Term, b: Term) -> Term:
    """a + b."""
    if a.number is not None and b.number is not None:
        return constant(a.number + b.number)
    if a is ZERO or b is ZERO:
        return b if a is ZERO else a
    if b.is_call(NEGATE):
        return subtract(a, b.arguments[0])
    return apply(ADD, a, b)


def subtract(a: Term, b: Term) -> Term:
    """a - b."""
    if a.number is not None and b.number is not None:
        return constant(a.number - b.number)
    if b is ZERO:
        return a
    return negate(b) if a is ZERO else apply(SUBTRACT, a, b)


def negate(a: Term) -> Term:
    """-a."""
    if a.number is not None:
        return constant(-a.number)
    return a.arguments[0] if a.is_call(NEGATE) else apply(NEGATE, a)


def multiply(a: Term, b: Term) -> Term:
    """a * b."""
    if a.number is not None and b.number is not None:
        return constant(a.number * b.number)
    for this, other in ((a, b), (b, a)):
        if this is ONE:
            return other
        if this is MINUS_ONE:
            return negate(other)
        if this.is_call(NEGATE):  # -x * x is -(x * x)
            return negate(multiply(this.arguments[0], other))
    return apply(MULTIPLY, a, b)


def divide(a: Term, b: Term) -> Term:
    """a / b."""
    if b is ONE:
        return a
    if a.number is not None and b.number:
        return constant(a.number / b.number)
    return ZERO if a is ZERO else apply(DIVIDE, a, b)


def times(a: Term, b: Term) -> Term:
    """The product of two factors of a derivative: 0 where either is 0.

    Where one levels off the other may be infinite: the derivative of tanh(exp(x)) is 0
    for a large x, and not 0 * inf.
    """
    if a is ZERO or b is ZERO:
        return ZERO
    if a.number is not None or b.number is not None:
        return multiply(a, b)
    guards = (not is_bounded(b), not is_bounded(a))
    return apply(_GUARDED[guards], a, b) if any(guards) else multiply(a, b)


def choose(condition: Term, a: Term, b: Term) -> Term:
    """a where the condition holds, else b."""
    if condition in (TRUE, FALSE):
        return a if condition is TRUE else b
    return a if a is b else apply(CHOOSE, condition, a, b)


# ------------------------------------------------------------------- walks


_ARITHMETIC = (ADD, SUBTRACT, MULTIPLY, NEGATE)


def is_bounded(term: Term) -> bool:
    """Whether a term is known to be finite, or NaN, everywhere."""
    found: dict[Term, bool] = {}
    for part in ordered([term]):
        if part.primitive in _ARITHMETIC or part.primitive is CHOOSE:
            found[part] = all(found[a] for a in part.arguments)
        elif part.primitive is None:
            found[part] = part.number is not None and math.isfinite(part.number)
        else:
            found[part] = part.primitive.bounded
    return found[term]


def ordered(terms: Iterable[Term]) -> Iterator[Term]:
    """Every term that these are made of, each after its arguments."""
    seen: set[Term] = set()
    stack = [(term, False) for term in reversed(list(terms))]
    while stack:
        term, ready = stack.pop()
        if ready:
            yield term
        elif term not in seen:
            seen.add(term)
            stack.append((term, True))
            stack += [(a, False) for a in reversed(term.arguments) if a not in seen]


def evaluate(
    terms: Sequence[Term],
    variables: Mapping[str, Any],
    number: Callable[[float], Any],
    call: Callable[[Primitive, Sequence[Any]], Any],
) -> list[Any]:
    """Compute terms from their variables, in any arithmetic."""
    found: dict[Term, Any] = {}
    for term in ordered(terms):
        if term.primitive is not None:
            arguments = [found[a] for a in term.arguments]
            found[term] = call(term.primitive, arguments)
        elif term.number is not None:
            found[term] = number(term.number)
        else:
            found[term] = variables[term.name]
    return [found[term] for term in terms]


def lower(terms: Sequence[Term], variables: Mapping[str, Any]) -> list[Value]:
    """Terms as values of the language that kernels are printed from."""
    values = {name: real(value) for name, value in variables.items()}
    return evaluate(terms, values, real, lambda p, arguments: p.formula(*arguments))


def substitute(
    term: Term,
    variables: Mapping[str, Term],
    rebuild: Callable[..., Term] = apply,
) -> Term:
    """The term with others in the place of its variables."""
    (found,) = evaluate(
        [term], variables, constant, lambda p, arguments: rebuild(p, *arguments)
    )
    assert isinstance(found, Term)
    return found


def keeps_nan(term: Term, name: str) -> bool:
    """Whether a term is NaN wherever the variable of this name is."""
    found: dict[Term, bool] = {}
    for part in ordered([term]):
        kept = [found[a] for a in part.arguments]
        if part.primitive is None:
            found[part] = part.name == name
        elif part.primitive is CHOOSE:
            found[part] = kept[1] and kept[2]
        elif part.primitive in _GUARDED.values():
            found[part] = all(kept)
        else:
            found[part] = part.primitive.keeps_nan and any(kept)
    return found[term]


def lower_slope(slope: Term, name: str, variables: Mapping[str, Any]) -> Value:
    """A derivative by a variable as a value; NaN where the variable is."""
    (value,) = lower([slope], variables)
    return value if keeps_nan(slope, name) else nan_from(variables[name], value)


class NotDifferentiable(Exception):
    """A function of a formula has no known derivative by one of its arguments."""


@dataclass
class Differentiation:
    """Derivatives by one variable; what terms share is done once."""

    name: str
    _known: dict[Term, Term] = field(default_factory=dict)

    def of(self, term: Term) -> Term:
        """The derivative of a term."""
        for part in ordered([term]):
            if part not in self._known:
                self._known[part] = self._of_part(part)
        return self._known[term]

    def _of_part(self, term: Term) -> Term:
        if term.primitive is None:
            return ONE if term.number is None and term.name == self.name else ZERO
        slopes = [self._known[a] for a in term.arguments]
        if all(slope is ZERO for slope in slopes) or term.is_condition:
            return ZERO
        if term.primitive.rule is not None:
            return term.primitive.rule(term.arguments, slopes)
        total = ZERO
        for partial, slope in zip(term.primitive.partials, slopes, strict=True):
            if slope is ZERO:
                continue
            if partial is None:
                raise NotDifferentiable(term.primitive.name)
            total = add(total, times(partial(*term.arguments), slope))
        return total
