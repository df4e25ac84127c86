"""What custom activations may call: NumPy's and math's functions, and all of fastact's.

Each has a formula for kernels, its derivative by rule in a stable form, and a definition
in mpmath of its own, by which `fastact.check` measures both.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

import numpy as np

import fastact

from .. import families
from ..formulas import numpy_functions as formulas
from ..formulas.elementary import exp_full_range
from ..formulas.entry import Activation, Entry, Fused
from ..formulas.kernels import DERIVATIVE, ENTRIES, FORWARD
from ..formulas.language import Value, copysign, real, sqrt, where
from . import terms
from .terms import (
    AND,
    EQUAL,
    GREATER,
    GREATER_EQUAL,
    LESS,
    LESS_EQUAL,
    NOT_EQUAL,
    ONE,
    OR,
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
    opposite,
    subtract,
    times,
)

# The power of any float is within mpmath's reach, and may be a number again: log(1 + e^x).
# That of a power is not.
_LARGEST_EXPONENT = 2**1100
# From here on tanh and erf are 1 to as many bits as are ever computed.
_SATURATED = 10**6


def _exp(mp: Any, x: Any) -> Any:
    if mp.isnan(x) or abs(x) <= _LARGEST_EXPONENT:
        return mp.exp(x)
    return mp.inf if x > 0 else mp.zero


def _expm1(mp: Any, x: Any) -> Any:
    return mp.expm1(x) if abs(x) < 1 else _exp(mp, x) - 1


def _tanh(mp: Any, x: Any) -> Any:
    return mp.sign(x) if abs(x) > _SATURATED else mp.tanh(x)


def _log(mp: Any, x: Any) -> Any:
    if x == 0:
        return -mp.inf
    return mp.nan if x < 0 else mp.log(x)


def _real(function: Callable[..., Any]) -> Callable[..., Any]:
    """A definition that is NaN where mpmath's function is complex."""

    def definition(mp: Any, *arguments: Any) -> Any:
        if any(mp.isnan(a) for a in arguments):
            return mp.nan
        try:
            found = function(mp, *arguments)
        except (ValueError, ZeroDivisionError, OverflowError):
            return mp.nan
        return mp.nan if isinstance(found, mp.mpc) else found

    return definition


def _erf(mp: Any, x: Any) -> Any:
    return mp.sign(x) if abs(x) > _SATURATED else mp.erf(x)


def _erfc(mp: Any, x: Any) -> Any:
    return 1 - mp.sign(x) if abs(x) > 1000 else mp.erfc(x)


def _call(primitive: Primitive) -> Callable[..., Term]:
    return lambda *arguments: apply(primitive, *arguments)


def _square(u: Term) -> Term:
    return multiply(u, u)


# ------------------------------------------------------- functions of the catalogue

# Functions, and derivatives, of which all values are finite.
_BOUNDED = (
    "gaussian",
    "hardsigmoid",
    "ndtr",
    "erf",
    "relu6",
    "sigmoid",
    "softsign",
    "sparse_sigmoid",
    "tanh",
)
_UNBOUNDED_SLOPES = ("exp", "logit", "relu_squared")


def _as_values(arguments: Sequence[Any]) -> list[Value]:
    return [real(a) for a in arguments]


def _derivative_of_entry(entry: Activation) -> Primitive:
    """f'(x, parameters) of an activation; what its own derivative is nobody knows."""
    formula = entry.derivative_formula
    assert formula is not None
    return Primitive(
        f"{entry.name}_derivative",
        lambda *arguments: formula(*_as_values(arguments)),
        lambda mp, *arguments: _slope(mp, entry, arguments),
        (None,) * (1 + len(entry.parameters)),
        bounded=not entry.parameters and entry.name not in _UNBOUNDED_SLOPES,
    )


def _slope(mp: Any, entry: Activation, arguments: Sequence[Any]) -> Any:
    """A derivative as a difference of values of the definition."""
    x, *parameters = arguments
    if not mp.isfinite(x):
        return mp.nan
    with mp.workprec(3 * mp.prec):
        step = mp.ldexp(1, mp.mag(x) - mp.prec // 3 if x else -mp.prec // 3)
        above = defined(mp, entry, [x + step, *parameters])
        return (above - defined(mp, entry, [x - step, *parameters])) / (2 * step)


_definitions: dict[str, Term] = {}


def defined(mp: Any, entry: Entry, arguments: Sequence[Any]) -> Any:
    """The value of an activation in mpmath, from its plain expression."""
    from .reading import read_expression

    names = [*entry.arrays, *(p.name for p in entry.parameters)]
    if entry.name not in _definitions:
        _definitions[entry.name] = read_expression(entry.plain, names)
    variables = dict(zip(names, arguments, strict=True))
    return defined_term(mp, _definitions[entry.name], variables)


def defined_term(mp: Any, term: Term, variables: dict[str, Any]) -> Any:
    """The value of a term in mpmath."""
    (found,) = terms.evaluate(
        [term], variables, mp.mpf, lambda p, arguments: p.definition(mp, *arguments)
    )
    return found


def _parameter_partial(entry: Activation, name: str) -> Callable[..., Term] | None:
    formula = entry.parameter_formulas.get(name)
    if formula is None:
        return None
    known = formula
    return _call(
        Primitive(
            f"the derivative of {entry.name} by {name}",
            lambda *arguments: known(*_as_values(arguments)),
            lambda mp, *arguments: mp.nan,
            (None,) * (1 + len(entry.parameters)),
        )
    )


def _gate_partial(entry: Fused, index: int) -> Callable[..., Term]:
    gradient = entry.gradient_formula
    assert gradient is not None
    count = len(entry.arrays) + len(entry.parameters)
    return _call(
        Primitive(
            f"the derivative of {entry.name} by {entry.arrays[index]}",
            lambda *arguments: gradient(real(1.0), *_as_values(arguments))[index],
            lambda mp, *arguments: mp.nan,
            (None,) * count,
        )
    )


# Which members of an activation's family a formula may call
MEMBERS = (FORWARD, DERIVATIVE)
_primitives: dict[tuple[str, str], Primitive] = {}


def of_entry(entry: Entry, member: str) -> Primitive:
    """An activation of the catalogue, or its derivative, as a primitive."""
    key = entry.name, member
    if key not in _primitives:
        _primitives[key] = _of_entry(entry, member)
    return _primitives[key]


def _of_entry(entry: Entry, member: str) -> Primitive:
    if isinstance(entry, Activation):
        if member == DERIVATIVE:
            return _derivative_of_entry(entry)
        partials: list[Any] = [_call(of_entry(entry, DERIVATIVE))]
        partials += [_parameter_partial(entry, p.name) for p in entry.parameters]
    else:
        assert isinstance(entry, Fused)
        partials = [_gate_partial(entry, i) for i in range(len(entry.arrays))]
        partials += [None] * len(entry.parameters)
    return Primitive(
        entry.name,
        lambda *arguments: entry.forward(*_as_values(arguments)),
        lambda mp, *arguments: defined(mp, entry, arguments),
        tuple(partials),
        bounded=entry.name in _BOUNDED,
    )


def entry_of(function: Any) -> tuple[Entry, str] | None:
    """The entry and the member of a function of fastact, under whatever name."""
    name = getattr(function, "__name__", None)
    module = getattr(function, "__module__", None)
    if module not in ("fastact", "fastact.ufuncs", "fastact.numba"):
        return None
    found = families.NAMES.get(name or "")
    place: Any = fastact if module != "fastact.numba" else sys.modules[module]
    if found is None or getattr(place, name or "") is not function:
        return None
    return found, str(name).removeprefix(found.name)


# ---------------------------------------------------------------- NumPy's functions

EXP: Primitive = Primitive("exp", exp_full_range, _exp, (lambda u: apply(EXP, u),))
EXPM1 = Primitive("expm1", formulas.expm1, _expm1, (lambda u: apply(EXP, u),))
LOG = Primitive("log", formulas.log, _real(_log), (lambda u: divide(ONE, u),))
LOG1P = Primitive(
    "log1p",
    formulas.log1p,
    _real(lambda mp, u: mp.log1p(u) if abs(u) < 0.5 else _log(mp, 1 + u)),
    (lambda u: divide(ONE, add(ONE, u)),),
)
LOG2 = Primitive(
    "log2",
    formulas.log2,
    _real(lambda mp, u: _log(mp, u) / mp.log(2)),
    (lambda u: divide(constant(1 / math.log(2)), u),),
)
LOG10 = Primitive(
    "log10",
    formulas.log10,
    _real(lambda mp, u: _log(mp, u) / mp.log(10)),
    (lambda u: divide(constant(1 / math.log(10)), u),),
)
SQRT: Primitive = Primitive(
    "sqrt",
    sqrt,
    _real(lambda mp, u: mp.sqrt(u)),
    (lambda u: divide(constant(0.5), apply(SQRT, u)),),
)
CBRT: Primitive = Primitive(
    "cbrt",
    formulas.cbrt,
    _real(lambda mp, u: mp.sign(u) * mp.cbrt(abs(u))),
    (lambda u: divide(constant(1 / 3), _square(apply(CBRT, u))),),
)
SINH = Primitive(
    "sinh",
    formulas.sinh,
    _real(lambda mp, u: (_exp(mp, u) - _exp(mp, -u)) / 2 if abs(u) > 1 else mp.sinh(u)),
    (lambda u: apply(COSH, u),),
)
COSH: Primitive = Primitive(
    "cosh",
    formulas.cosh,
    _real(lambda mp, u: (_exp(mp, u) + _exp(mp, -u)) / 2),
    (lambda u: apply(SINH, u),),
)
SIN = Primitive(
    "sin",
    formulas.sin,
    _real(lambda mp, u: mp.sin(u)),
    (lambda u: apply(COS, u),),
    bounded=True,
)
COS: Primitive = Primitive(
    "cos",
    formulas.cos,
    _real(lambda mp, u: mp.cos(u)),
    (lambda u: negate(apply(SIN, u)),),
    bounded=True,
)
ARCTAN = Primitive(
    "arctan",
    formulas.arctan,
    _real(lambda mp, u: mp.atan(u)),
    (lambda u: apply(_ARCTAN_DERIVATIVE, u),),
    bounded=True,
)
_ARCTAN_DERIVATIVE: Primitive = Primitive(
    "arctan's derivative",
    formulas.arctan_derivative,
    lambda mp, u: 1 / (1 + u * u),
    (None,),
    bounded=True,
)
ARCSINH = Primitive(
    "arcsinh",
    formulas.arcsinh,
    _real(lambda mp, u: mp.asinh(u)),
    (lambda u: apply(_ARCSINH_DERIVATIVE, u),),
)
_ARCSINH_DERIVATIVE: Primitive = Primitive(
    "arcsinh's derivative",
    formulas.arcsinh_derivative,
    lambda mp, u: 1 / mp.sqrt(1 + u * u),
    (None,),
    bounded=True,
)
ARCTANH = Primitive(
    "arctanh",
    formulas.arctanh,
    _real(lambda mp, u: mp.atanh(u)),
    (lambda u: divide(ONE, multiply(subtract(ONE, u), add(ONE, u))),),
)
_TANH_DERIVATIVE = of_entry(ENTRIES["tanh"], DERIVATIVE)
_ERF_DERIVATIVE = of_entry(ENTRIES["erf"], DERIVATIVE)
TANH = Primitive(
    "tanh",
    ENTRIES["tanh"].forward,
    _real(_tanh),
    (_call(_TANH_DERIVATIVE),),
    bounded=True,
)
ERF = Primitive(
    "erf",
    ENTRIES["erf"].forward,
    _real(_erf),
    (_call(_ERF_DERIVATIVE),),
    bounded=True,
)
ERFC = Primitive(
    "erfc",
    formulas.erfc,
    _real(_erfc),
    (lambda u: negate(apply(_ERF_DERIVATIVE, u)),),
    bounded=True,
)


def _absolute_rule(arguments: Sequence[Term], slopes: Sequence[Term]) -> Term:
    return times(apply(SIGN, arguments[0]), slopes[0])


ABSOLUTE = Primitive("abs", abs, lambda mp, u: abs(u), rule=_absolute_rule)
SIGN = Primitive(
    "sign",
    lambda u: where(u > 0, 1.0, where(u < 0, -1.0, u)),
    lambda mp, u: mp.nan if mp.isnan(u) else mp.sign(u),
    (lambda u: ZERO,),
    bounded=True,
)


def _copysign_rule(arguments: Sequence[Term], slopes: Sequence[Term]) -> Term:
    u, v = arguments
    return times(apply(COPYSIGN, ONE, multiply(apply(SIGN, u), v)), slopes[0])


COPYSIGN = Primitive(
    "copysign",
    copysign,
    lambda mp, u, v: abs(u) * (1 if v >= 0 else -1),
    rule=_copysign_rule,
)


def _extremum(name: str, is_other: Callable[[Any, Any], Any]) -> Primitive:
    """The larger or the smaller of two; NaN if either is."""

    def formula(u: Value, v: Value) -> Value:
        if u.constant is not None:
            u, v = v, u
        takes_v = is_other(v, u)
        if v.constant is None:
            takes_v = takes_v | (v != v)
        return where(takes_v, v, u)

    def definition(mp: Any, u: Any, v: Any) -> Any:
        return mp.nan if mp.isnan(u) or mp.isnan(v) else v if is_other(v, u) else u

    def rule(arguments: Sequence[Term], slopes: Sequence[Term]) -> Term:
        (u, v), (u_slope, v_slope) = arguments, slopes
        if u_slope is ZERO:  # where both are equal, as relu at 0: the constant's
            (u, v), (u_slope, v_slope) = (v, u), (v_slope, u_slope)
        takes_u = apply(GREATER if name == "maximum" else LESS, u, v)
        return choose(takes_u, u_slope, v_slope)

    return Primitive(name, formula, definition, rule=rule)


MAXIMUM = _extremum("maximum", operator.gt)
MINIMUM = _extremum("minimum", operator.lt)


@cache
def raised_to(exponent: float) -> Primitive:
    """u to the power of a constant."""

    def definition(mp: Any, u: Any) -> Any:
        if u == 0 and exponent < 0:
            return mp.inf
        return mp.power(u, mp.mpf(exponent))

    return Primitive(
        f"** {exponent:g}",
        lambda u: formulas.power(u, exponent),
        _real(definition),
        (lambda u: multiply(constant(exponent), power(u, exponent - 1)),),
    )


@cache
def constant_to(base: float) -> Primitive:
    """A positive constant to the power of u."""
    return Primitive(
        f"{base:g} **",
        lambda u: formulas.power_of_constant(base, u),
        _real(lambda mp, u: _exp(mp, u * mp.log(mp.mpf(base)))),
        (lambda u: multiply(constant(math.log(base)), apply(constant_to(base), u)),),
    )


# ------------------------------------------------ functions that are made of others


def power(u: Term, exponent: float) -> Term:
    """u ** exponent for a constant."""
    if exponent == 0:
        return ONE
    if exponent == 1:
        return u
    if exponent == 2:
        return _square(u)
    return apply(SQRT, u) if exponent == 0.5 else apply(raised_to(exponent), u)


def general_power(u: Term, v: Term) -> Term:
    """u ** v, where one of them is a constant."""
    if v.number is not None:
        if u.number is not None:
            value = u.number**v.number
            if isinstance(value, complex):
                raise ValueError(
                    "a negative number to the power of a fraction is complex"
                )
            return constant(value)
        return power(u, v.number)
    if u.number is not None and u.number > 0:
        return apply(constant_to(u.number), v)
    raise ValueError(
        "the exponent of a power must be a constant: write np.exp(a * np.log(x)) for x ** a"
    )


def _softplus(mp: Any, u: Any) -> Any:
    return (u if u > 0 else mp.zero) + mp.log1p(_exp(mp, -abs(u)))


SOFTPLUS = Primitive(
    "softplus",
    lambda u: ENTRIES["softplus"].forward(u, 1.0),
    _real(_softplus),
    (lambda u: apply(of_entry(ENTRIES["softplus"], DERIVATIVE), u, ONE),),
)


def softplus(u: Term) -> Term:
    """log(1 + exp(u))."""
    return apply(SOFTPLUS, u)


def sigmoid(u: Term) -> Term:
    """1 / (1 + exp(-u))."""
    return apply(of_entry(ENTRIES["sigmoid"], FORWARD), u)


def _logaddexp(u: Term, v: Term) -> Term:
    if u.number is not None:
        u, v = v, u
    return add(v, softplus(subtract(u, v)))


def _tan(u: Term) -> Term:
    return divide(apply(SIN, u), apply(COS, u))


def _clip(u: Term, low: Term, high: Term) -> Term:
    return apply(MINIMUM, apply(MAXIMUM, u, low), high)


def _heaviside(u: Term, at_zero: Term) -> Term:
    stepped = choose(apply(EQUAL, u, ZERO), at_zero, u)
    stepped = choose(apply(GREATER, u, ZERO), ONE, stepped)
    return choose(apply(LESS, u, ZERO), ZERO, stepped)


def _several(primitive: Primitive) -> Callable[..., Term]:
    return lambda *arguments: reduce(_call(primitive), arguments)


def _hypot(u: Term, v: Term) -> Term:
    return apply(SQRT, add(_square(u), _square(v)))


def _unary(primitive: Primitive) -> tuple[int, Callable[..., Term]]:
    return 1, _call(primitive)


def _condition(primitive: Primitive) -> tuple[int, Callable[..., Term]]:
    return 2, _call(primitive)


# How many arguments, and the term. By NumPy's name; math has some others.
NUMPY: dict[str, tuple[int, Callable[..., Term]]] = {
    "exp": _unary(EXP),
    "exp2": (1, lambda u: apply(constant_to(2.0), u)),
    "expm1": _unary(EXPM1),
    "log": _unary(LOG),
    "log1p": _unary(LOG1P),
    "log2": _unary(LOG2),
    "log10": _unary(LOG10),
    "sqrt": _unary(SQRT),
    "cbrt": _unary(CBRT),
    "sinh": _unary(SINH),
    "cosh": _unary(COSH),
    "tanh": _unary(TANH),
    "sin": _unary(SIN),
    "cos": _unary(COS),
    "tan": (1, _tan),
    "arctan": _unary(ARCTAN),
    "arcsinh": _unary(ARCSINH),
    "arctanh": _unary(ARCTANH),
    "absolute": _unary(ABSOLUTE),
    "fabs": _unary(ABSOLUTE),
    "sign": _unary(SIGN),
    "square": (1, _square),
    "reciprocal": (1, lambda u: divide(ONE, u)),
    "negative": (1, negate),
    "positive": (1, lambda u: u),
    "add": (2, add),
    "subtract": (2, subtract),
    "multiply": (2, multiply),
    "divide": (2, divide),
    "maximum": (2, _call(MAXIMUM)),
    "minimum": (2, _call(MINIMUM)),
    "clip": (3, _clip),
    "copysign": (2, _call(COPYSIGN)),
    "heaviside": (2, _heaviside),
    "power": (2, general_power),
    "hypot": (2, _hypot),
    "logaddexp": (2, _logaddexp),
    "where": (3, choose),
    "greater": _condition(GREATER),
    "greater_equal": _condition(GREATER_EQUAL),
    "less": _condition(LESS),
    "less_equal": _condition(LESS_EQUAL),
    "equal": _condition(EQUAL),
    "not_equal": _condition(NOT_EQUAL),
    "logical_and": _condition(AND),
    "logical_or": _condition(OR),
    "logical_not": (1, opposite),
    "isnan": (1, lambda u: apply(NOT_EQUAL, u, u)),
    "isfinite": (1, lambda u: apply(LESS, apply(ABSOLUTE, u), constant(math.inf))),
    "isinf": (1, lambda u: apply(EQUAL, apply(ABSOLUTE, u), constant(math.inf))),
}
# math's names where they differ, and what it has beyond NumPy
_MATH = {"pow": "power", "atan": "arctan", "asinh": "arcsinh", "atanh": "arctanh"}
_SAME_IN_MATH = (
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "cbrt"),
    *("sinh", "cosh", "tanh", "sin", "cos", "tan", "fabs", "copysign", "hypot"),
    *("isnan", "isfinite", "isinf"),
)
_SPECIAL = {"erf": _unary(ERF), "erfc": _unary(ERFC)}


@cache
def _functions() -> dict[Any, tuple[int, Callable[..., Term]]]:
    """By the function itself: how many arguments it takes (-1: any), and its term."""
    found: dict[Any, Any] = {getattr(np, name): how for name, how in NUMPY.items()}
    found |= {getattr(math, name): NUMPY[name] for name in _SAME_IN_MATH}
    found |= {getattr(math, name): NUMPY[other] for name, other in _MATH.items()}
    found |= {getattr(math, name): how for name, how in _SPECIAL.items()}
    found |= {
        abs: NUMPY["absolute"],
        max: (-1, _several(MAXIMUM)),
        min: (-1, _several(MINIMUM)),
    }
    return found


def known_function(function: Any) -> tuple[int, Callable[..., Term]] | None:
    """What a function of NumPy, math or SciPy is as a term."""
    try:
        found = _functions().get(function)
    except TypeError:  # not hashable
        return None
    special = sys.modules.get("scipy.special")
    if found is None and special is not None:
        for name, how in _SPECIAL.items():
            if function is getattr(special, name):
                return how
        for name, entry in {
            "expit": "sigmoid",
            "ndtr": "ndtr",
            "logit": "logit",
        }.items():
            if function is getattr(special, name):
                return _unary(of_entry(ENTRIES[entry], FORWARD))
    return found
