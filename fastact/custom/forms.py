"""Finds functions of the catalogue in formulas, and stable forms of what overflows.

x / (1 + exp(-x)) is silu: its exp is infinite from -89 on in float32, and the quotient
rule would make NaN of that. Written out, an activation of the catalogue has that one's
accuracy, derivative and speed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from ..formulas.entry import CATALOGUE, Activation
from ..formulas.kernels import FORWARD
from .primitives import (
    ERF,
    ERFC,
    EXP,
    EXPM1,
    LOG,
    LOG1P,
    MAXIMUM,
    MINIMUM,
    TANH,
    of_entry,
    sigmoid,
    softplus,
)
from .reading import is_broken, read_expression
from .terms import (
    ADD,
    CHOOSE,
    DIVIDE,
    GREATER,
    GREATER_EQUAL,
    MULTIPLY,
    NEGATE,
    ONE,
    SUBTRACT,
    TWO,
    ZERO,
    Primitive,
    Term,
    add,
    apply,
    choose,
    constant,
    divide,
    multiply,
    negate,
    ordered,
    substitute,
    subtract,
    variable,
)

# Ways to write a function other than its plain expression in the catalogue
_SPELLINGS = {
    "gelu": ("x * fa.ndtr(x)",),
    "gelu_tanh": (
        "0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x ** 3)))",
    ),
    "hardsigmoid": ("np.clip(x / 6 + 0.5, 0, 1)",),
    "hardswish": ("x * np.clip(x + 3, 0, 6) / 6", "x * fa.hardsigmoid(x)"),
    "logcosh": ("np.log(np.cosh(x))",),
    "squareplus": ("(x + np.sqrt(x * x + b)) / 2",),
    "telu": ("x * np.tanh(np.exp(x))",),
}
# A formula's own functions, and what is as good written out
_NOT_SOUGHT = (
    *("identity", "exp", "tanh", "erf", "scaled_tanh", "dyt", "softcap"),
    *("threshold", "thresholded_relu", "prelu", "hardtanh", "clipped_linear"),
)
_MOST_FACTORS = 5  # of a product in the catalogue
_SIMPLIFYING: dict[Primitive, Callable[..., Term]] = {
    ADD: add,
    SUBTRACT: subtract,
    MULTIPLY: multiply,
    DIVIDE: divide,
    NEGATE: negate,
    CHOOSE: choose,
}
_SIGMOID = of_entry(CATALOGUE["sigmoid"], FORWARD)
_LOGSIGMOID = of_entry(CATALOGUE["logsigmoid"], FORWARD)


def recognise(term: Term) -> Term:
    """The same function, of functions of the catalogue and in stable forms."""
    term = substitute(term, _Variables(), _stable)
    found: dict[Term, Term] = {}
    # From the whole to its parts: relu in relu6 is no relu
    stack = [term]
    while stack:
        part = stack[-1]
        if part in found:
            stack.pop()
            continue
        primitive, arguments = _activation_in(part)
        missing = [a for a in arguments if a not in found]
        stack += missing
        if not missing:
            rebuilt = (found[a] for a in arguments)
            found[part] = part if primitive is None else _build(primitive, *rebuilt)
    return found[term]


def _activation_in(term: Term) -> tuple[Primitive | None, tuple[Term, ...]]:
    """The activation that the term is of something, or else what it is anyway."""
    if term.primitive is not None and not term.is_condition:
        for pattern in _patterns():
            arguments = pattern.arguments_in(term)
            if arguments is not None:
                return of_entry(pattern.entry, FORWARD), arguments
    return term.primitive, term.arguments


class _Variables(dict[str, Term]):
    def __missing__(self, name: str) -> Term:
        return variable(name)


# ------------------------------------------------------------------- stable forms


def _build(primitive: Primitive, *arguments: Term) -> Term:
    simplifying = _SIMPLIFYING.get(primitive)
    return simplifying(*arguments) if simplifying else apply(primitive, *arguments)


def _stable(primitive: Primitive, *arguments: Term) -> Term:
    """A function of terms, in a form that neither overflows nor cancels if there is one."""
    if primitive is ADD:
        for name, found in ((ERF, _one_plus_erf), (TANH, _one_plus_tanh)):
            u = _beside_one(arguments, name)
            if u is not None:
                return found(u)
    elif primitive is SUBTRACT:
        first, second = arguments
        if first.is_call(EXP) and second is ONE:
            return apply(EXPM1, *first.arguments)
        if first is ONE and second.is_call(ERF):
            return apply(ERFC, *second.arguments)
        if first is ONE and second.is_call(TANH):
            return _one_plus_tanh(negate(second.arguments[0]))
        if first is ONE and second.is_call(_SIGMOID):
            return sigmoid(negate(second.arguments[0]))
    elif primitive is DIVIDE:
        top, bottom = arguments
        u = _beside_one(bottom.arguments, EXP) if bottom.is_call(ADD) else None
        if u is not None:
            is_exp = top.is_call(EXP) and top.arguments[0] is u
            return sigmoid(u) if is_exp else multiply(top, sigmoid(negate(u)))
    elif primitive in (LOG, LOG1P):
        (inner,) = arguments
        if primitive is LOG and inner.is_call(_SIGMOID):
            return apply(_LOGSIGMOID, *inner.arguments)
        if primitive is LOG and inner.is_call(ADD) and ONE in inner.arguments:
            a, b = inner.arguments
            return _stable(LOG1P, b if a is ONE else a)
        if primitive is LOG1P and inner.is_call(EXP):
            return softplus(*inner.arguments)
    elif primitive is CHOOSE:
        condition, a, b = arguments
        if condition.primitive in (GREATER, GREATER_EQUAL):
            x, bound = condition.arguments
            if bound is ZERO:  # where x is not greater it is its own minimum
                lower = apply(MINIMUM, x, ZERO)
                b = _replaced(b, lower, x)
        return choose(condition, a, b)
    return _build(primitive, *arguments)


def _beside_one(summands: tuple[Term, ...], primitive: Primitive) -> Term | None:
    """u of a sum of 1 and primitive(u)."""
    for one, other in (summands, summands[::-1]):
        if one is ONE and other.is_call(primitive):
            return other.arguments[0]
    return None


def _one_plus_erf(u: Term) -> Term:
    return apply(ERFC, negate(u))


def _one_plus_tanh(u: Term) -> Term:
    return multiply(TWO, sigmoid(multiply(TWO, u)))


def _replaced(term: Term, old: Term, new: Term) -> Term:
    """The term with another in the place of a part."""
    found: dict[Term, Term] = {}
    for part in ordered([term]):
        if part is old:
            found[part] = new
        elif part.primitive is None:
            found[part] = part
        else:
            arguments = (found[a] for a in part.arguments)
            found[part] = _build(part.primitive, *arguments)
    return found[term]


# ----------------------------------------------------------------------- patterns


@dataclass(frozen=True)
class _Pattern:
    """A way to write an activation; `fixed` are parameters with their default values."""

    entry: Activation
    term: Term
    fixed: bool

    def arguments_in(self, term: Term) -> tuple[Term, ...] | None:
        """What the activation is of, if the term is written like that."""
        names = _parameters(self.entry)
        for bound in _matches(self.term, term, {}, set(names)):
            values = {
                p.name: constant(p.default) if p.default is not None else ZERO
                for p in self.entry.parameters
            } | bound
            numbers = {name: value.number for name, value in values.items()}
            if all(
                numbers[r.name] is not None and not is_broken(r, numbers)
                for r in self.entry.requirements
            ):
                return tuple(values[name] for name in ("x", *names))
        return None


def _parameters(entry: Activation) -> list[str]:
    return [p.name for p in entry.parameters]


@cache
def _patterns() -> list[_Pattern]:
    """All that is sought, the longest first."""
    found = []
    for name, entry in CATALOGUE.items():
        if name in _NOT_SOUGHT:
            continue
        for text in (entry.plain, *_SPELLINGS.get(name, ())):
            written = read_expression(text, ["x", *_parameters(entry)])
            general = substitute(written, _Variables(), _stable)
            defaults = {
                p.name: constant(p.default)
                for p in entry.parameters
                if p.default is not None
            }
            if entry.has_defaults:
                special = substitute(general, _Variables(defaults), _stable)
                found.append(_Pattern(entry, special, True))
            found.append(_Pattern(entry, general, False))
    # silu before swish, which it is for a parameter of 1
    found.sort(
        key=lambda p: (
            bool(p.entry.parameters) and not p.fixed,
            -_size(p.term),
            len(p.entry.parameters),
        )
    )
    return found


def _size(term: Term) -> int:
    return sum(1 for _ in ordered([term]))


_Bound = dict[str, Term]


def _matches(
    pattern: Term, term: Term, bound: _Bound, parameters: set[str]
) -> Iterator[_Bound]:
    """What the pattern's variables stand for, in every way in which it is the term.

    Parameters stand for constants and variables only.
    """
    if pattern.primitive is None:
        if pattern.number is not None:
            if term.number is not None and _equal(term.number, pattern.number):
                yield bound
        elif pattern.name in bound:
            if bound[pattern.name] is term:
                yield bound
        elif pattern.name not in parameters or term.primitive is None:
            yield bound | {pattern.name: term}
    elif _is_product(pattern):
        yield from _matching_products(pattern, term, bound, parameters)
    elif term.primitive is pattern.primitive:
        orders = [term.arguments]
        if pattern.primitive in (ADD, MAXIMUM, MINIMUM):
            orders.append(term.arguments[::-1])
        for arguments in orders:
            yield from _all_match(pattern.arguments, arguments, bound, parameters)


def _all_match(
    patterns: tuple[Term, ...],
    arguments: tuple[Term, ...],
    bound: _Bound,
    parameters: set[str],
) -> Iterator[_Bound]:
    if not patterns:
        yield bound
        return
    for found in _matches(patterns[0], arguments[0], bound, parameters):
        yield from _all_match(patterns[1:], arguments[1:], found, parameters)


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-15)


def _is_product(term: Term) -> bool:
    by_constant = term.is_call(DIVIDE) and term.arguments[1].number is not None
    return term.primitive in (MULTIPLY, NEGATE) or by_constant


def _factors(term: Term) -> tuple[float, list[Term]]:
    """A product's constant and its other factors; of too many only some."""
    number, stack = 1.0, [term]
    factors: list[Term] = []
    while stack and len(factors) <= _MOST_FACTORS:
        part = stack.pop()
        if part.number is not None:
            number *= part.number
        elif not _is_product(part):
            factors.append(part)
        elif part.is_call(DIVIDE):
            top, bottom = part.arguments
            number = number / bottom.number if bottom.number else math.nan
            stack.append(top)
        else:
            number = -number if part.is_call(NEGATE) else number
            stack += part.arguments
    return number, factors


def _matching_products(
    pattern: Term, term: Term, bound: _Bound, parameters: set[str]
) -> Iterator[_Bound]:
    """The same factors in any order; one that is a parameter may be the constant."""
    number, patterns = _factors(pattern)
    constant_there, factors = _factors(term)
    left = len(patterns) - len(factors)
    if left == 0 and _equal(number, constant_there):
        for order in itertools.permutations(factors):
            yield from _all_match(tuple(patterns), order, bound, parameters)
    elif left == 1:
        for free in patterns:
            if free.name in parameters and free.name not in bound:
                others = tuple(p for p in patterns if p is not free)
                value = {free.name: constant(constant_there / number)}
                for order in itertools.permutations(factors):
                    yield from _all_match(others, order, bound | value, parameters)
