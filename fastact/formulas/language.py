"""The language formulas are written in: ordinary Python, run once on symbols.

A formula is a Python function of numbers. Calling it with `Value` objects records what
it does as an expression graph, which `translate` prints as C or as Numba source.
Because the graph is recorded and not parsed, formulas may call helpers, return tuples
and loop over coefficients; what they must not do is branch on a value: `where` selects.

Equal expressions are recorded once (hash-consing), so a kernel that needs a function
and its derivative computes what they share one time. Only rewritings that keep every
bit are done: constants are folded in the kernel's own precision.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NoReturn, TypeAlias

Real: TypeAlias = "Value | float"
Bool: TypeAlias = "Value | bool"
Integer: TypeAlias = "Value | int"

INFINITY = math.inf
NAN = math.nan

REAL, BOOL, INTEGER = "real", "bool", "integer"

ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
LOGIC = {"and": "&", "or": "|"}
INTEGER_ARITHMETIC = {"iadd": "+", "isub": "-", "iand": "&", "shl": "<<", "shr": ">>"}


class Precision:
    """What kernels compute in, and for which arrays.

    Parameters
    ----------
    name
        Suffix of the kernels' names.
    code, bits
        The format's character and size.
    arithmetic
        Name of the format.
    keeps_lost_digits
        Whether results need what roundings on the way to them have lost.
    """

    def __init__(
        self,
        name: str,
        code: str,
        bits: int,
        *,
        arithmetic: str = "",
        keeps_lost_digits: bool = True,
    ) -> None:
        self.name = name
        self.bits = bits
        self.arithmetic = arithmetic or name
        self.keeps_lost_digits = keeps_lost_digits
        self._struct = struct.Struct("<" + code)
        self._struct_bits = struct.Struct("<" + ("I" if bits == 32 else "Q"))

    def round(self, number: float | Fraction | str) -> float:
        """Nearest number of this format; overflow gives an infinity."""
        nearest = float(Fraction(number) if isinstance(number, str) else number)
        try:
            (rounded,) = self._struct.unpack(self._struct.pack(nearest))
        except OverflowError:
            return math.copysign(math.inf, nearest)
        return float(rounded)

    def to_bits(self, number: float) -> int:
        """Pattern of bits of a number of this format."""
        (pattern,) = self._struct_bits.unpack(self._struct.pack(number))
        return int(pattern)

    def from_bits(self, pattern: int) -> float:
        """Number with this pattern of bits."""
        (number,) = self._struct.unpack(
            self._struct_bits.pack(pattern & (2**self.bits - 1))
        )
        return float(number)

    def __repr__(self) -> str:
        return self.name


# float16 and bfloat16 arrays are computed in float32. Their results are rounded to 11 or
# 8 bits of its 24: an error of a hundred ULP of float32 hardly shows, so their kernels do
# without the digits that roundings lose.
FLOAT16 = Precision("f16", "f", 32, arithmetic="f32", keeps_lost_digits=False)
FLOAT32 = Precision("f32", "f", 32)
FLOAT64 = Precision("f64", "d", 64)
FORMATS = (FLOAT32, FLOAT64)
PRECISIONS = (FLOAT16, *FORMATS)


class Graph:
    """The expressions recorded while one kernel's formula runs.

    `excludes` is whether conditions of `is_excluded` never hold; `excluded` are these.
    """

    def __init__(self, precision: Precision, excludes: bool = False) -> None:
        self.precision = precision
        self.excludes = excludes
        self.excluded: list[Value] = []
        # A zero in the place of digits that a kernel does without: see `correction`
        self.nothing = Value("constant", REAL, (0.0,))
        self._nodes: dict[tuple[Any, ...], Value] = {}

    def node(self, operation: str, kind: str, *arguments: Any) -> Value:
        """Value of this expression, recorded once however often it is asked for."""
        key = (operation, kind, *(_key(argument) for argument in arguments))
        if key not in self._nodes:
            self._nodes[key] = Value(operation, kind, arguments)
        return self._nodes[key]


def _key(argument: Any) -> Any:
    if isinstance(argument, Value):
        return id(argument)
    if isinstance(argument, float):  # 0.0 == -0.0, but they are different constants
        return ("float", struct.pack("<d", argument))
    return argument


_graphs: list[Graph] = []


@contextmanager
def recording(precision: Precision, *, excludes: bool = False) -> Iterator[Graph]:
    """Record every expression made in the body, in this precision."""
    graph = Graph(precision, excludes)
    _graphs.append(graph)
    try:
        yield graph
    finally:
        _graphs.pop()


def _graph() -> Graph:
    if not _graphs:
        raise RuntimeError("formulas run inside `recording(precision)` only")
    return _graphs[-1]


class Value:
    """A number, truth value or integer that the kernel will compute."""

    __slots__ = ("arguments", "kind", "operation")

    def __init__(self, operation: str, kind: str, arguments: tuple[Any, ...]) -> None:
        self.operation = operation
        self.kind = kind
        self.arguments = arguments

    @property
    def constant(self) -> Any:
        """The number of a constant; None of anything else."""
        return self.arguments[0] if self.operation == "constant" else None

    def __add__(self, other: Real) -> Value:
        return _arithmetic("add", self, other)

    def __radd__(self, other: Real) -> Value:
        return _arithmetic("add", other, self)

    def __sub__(self, other: Real) -> Value:
        return _arithmetic("sub", self, other)

    def __rsub__(self, other: Real) -> Value:
        return _arithmetic("sub", other, self)

    def __mul__(self, other: Real) -> Value:
        return _arithmetic("mul", self, other)

    def __rmul__(self, other: Real) -> Value:
        return _arithmetic("mul", other, self)

    def __truediv__(self, other: Real) -> Value:
        return _arithmetic("div", self, other)

    def __rtruediv__(self, other: Real) -> Value:
        return _arithmetic("div", other, self)

    def __neg__(self) -> Value:
        if self is _graph().nothing:
            return self
        if self.constant is not None:
            return real(-self.constant)
        return _graph().node("neg", REAL, self)

    def __abs__(self) -> Value:
        if self.constant is not None:
            return real(abs(self.constant))
        return _graph().node("abs", REAL, self)

    def __lt__(self, other: Real) -> Value:
        return _comparison("lt", self, other)

    def __le__(self, other: Real) -> Value:
        return _comparison("le", self, other)

    def __gt__(self, other: Real) -> Value:
        return _comparison("gt", self, other)

    def __ge__(self, other: Real) -> Value:
        return _comparison("ge", self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return _comparison("eq", self, other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return _comparison("ne", self, other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Bool) -> Value:
        return _logic("and", self, other)

    def __or__(self, other: Bool) -> Value:
        return _logic("or", self, other)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a formula cannot branch on a value (if, and, or, not, while); "
            "select with where(condition, a, b), combine conditions with & and |"
        )


def real(number: Real | str) -> Value:
    """A number as a value; a decimal string is rounded once, to the kernel's format."""
    if isinstance(number, Value):
        if number.kind != REAL:
            raise TypeError(f"expected a number, not a {number.kind}")
        return number
    graph = _graph()
    return graph.node("constant", REAL, graph.precision.round(number))


def split(decimal: str) -> tuple[Value, Value]:
    """A constant to twice the precision: its nearest number and what that lacks."""
    exact = Fraction(decimal)
    high = _graph().precision.round(exact)
    return real(high), real(_graph().precision.round(exact - Fraction(high)))


def by_dtype(float32: Any, float64: Any) -> Any:
    """The first in a kernel that computes in float32, the second in a float64 one."""
    return float32 if _graph().precision.bits == 32 else float64


def to_last_digit() -> bool:
    """Whether it is a kernel for float32 arrays, all of whose results are checked."""
    return _graph().precision is FLOAT32


def short(coefficients: Sequence[str], longer: Sequence[str]) -> Sequence[str]:
    """A polynomial for 16-bit arrays, and the one for others."""
    return longer if _graph().precision.keeps_lost_digits else coefficients


@contextmanager
def all_digits() -> Iterator[None]:
    """In the body, record what a kernel for float32 arrays would compute."""
    graph = _graph()
    precision = graph.precision
    if precision is FLOAT16:
        graph.precision = FLOAT32
    try:
        yield
    finally:
        graph.precision = precision


def correction(lost: Value) -> Value:
    """What roundings have lost; in kernels for 16-bit arrays nothing.

    Adding nothing, or multiplying by it, leaves no operation.
    """
    return lost if _graph().precision.keeps_lost_digits else _graph().nothing


def _fold(operation: str, a: float, b: float) -> float:
    """The operation in exact arithmetic, rounded once, as the processor does it."""
    match operation:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case _:
            return a / b


def _arithmetic(operation: str, a: Real, b: Real) -> Value:
    graph, a, b = _graph(), real(a), real(b)
    if a is graph.nothing or b is graph.nothing:
        return _with_nothing(operation, a, b)
    x, y = a.constant, b.constant
    if x is not None and y is not None and not (operation == "div" and y == 0):
        # Sums, products and quotients of float32 numbers done in float64 and rounded
        # again are correctly rounded (Figueroa 1995), so this is the kernel's result.
        return real(graph.precision.round(_fold(operation, x, y)))
    if y == 1 and operation in ("mul", "div"):
        return a
    if x == 1 and operation == "mul":
        return b
    if operation == "mul" and y == -1:
        return -a
    return graph.node(operation, REAL, a, b)


def _with_nothing(operation: str, a: Value, b: Value) -> Value:
    """The operation where `correction` has left out one operand or both."""
    nothing = _graph().nothing
    match operation:
        case "mul":
            return nothing
        case "add":
            return b if a is nothing else a
        case "sub":
            return -b if a is nothing else a
        case _:
            assert a is nothing, "a lost part is no divisor"
            return nothing


def _comparison(operation: str, a: Any, b: Any) -> Value:
    a, b = real(a), real(b)
    x, y = a.constant, b.constant
    if x is not None and y is not None:
        holds = {
            "lt": x < y,
            "le": x <= y,
            "gt": x > y,
            "ge": x >= y,
            "eq": x == y,
            "ne": x != y,
        }[operation]
        return truth(holds)
    return _graph().node(operation, BOOL, a, b)


def truth(value: Bool) -> Value:
    """A truth value as a value."""
    if isinstance(value, Value):
        return value
    return _graph().node("constant", BOOL, value)


def _logic(operation: str, a: Bool, b: Bool) -> Value:
    a, b = truth(a), truth(b)
    decides = operation == "or"  # what settles the result whatever the other side is
    for this, other in ((a, b), (b, a)):
        if this.constant is not None:
            return this if this.constant is decides else other
    return _graph().node(operation, BOOL, a, b)


def where(condition: Bool, a: Real, b: Real) -> Value:
    """a where the condition holds, else b."""
    condition, a, b = truth(condition), real(a), real(b)
    if condition.constant is not None:
        return a if condition.constant else b
    if a is b:
        return a
    nothing = _graph().nothing
    if (a is nothing or b is nothing) and a.constant == b.constant == 0:
        return nothing
    return _graph().node("where", REAL, condition, a, b)


def is_excluded(condition: Bool) -> bool:
    """Whether the kernel that is recorded does without what is seldom needed.

    A kernel that may need what takes long has two forms: one that can do everything, and
    one for blocks of numbers for none of which the condition holds.
    """
    graph = _graph()
    if graph.excludes:
        graph.excluded.append(truth(condition))
    return graph.excludes


def fma(a: Real, b: Real, c: Real) -> Value:
    """a * b + c, rounded once."""
    graph, a, b, c = _graph(), real(a), real(b), real(c)
    if a is graph.nothing or b is graph.nothing:
        return c
    if c is graph.nothing:
        return a * b
    x, y, z = a.constant, b.constant, c.constant
    if x is not None and y is not None:
        if z is not None:
            return real(graph.precision.round(Fraction(x) * Fraction(y) + Fraction(z)))
        if Fraction(x) * Fraction(y) == Fraction(graph.precision.round(x * y)):
            return _arithmetic("add", x * y, c)
    if x == 1:
        return b + c
    if y == 1:
        return a + c
    return graph.node("fma", REAL, a, b, c)


def sqrt(x: Real) -> Value:
    """Square root, correctly rounded."""
    return _graph().node("sqrt", REAL, real(x))


def copysign(magnitude: Real, sign: Real) -> Value:
    """The magnitude with the sign of the second number."""
    return _graph().node("copysign", REAL, real(magnitude), real(sign))


def integer(number: Integer) -> Value:
    """An integer, kept modulo 2^32 in float32 kernels and 2^64 in float64 ones."""
    if isinstance(number, Value):
        return number
    return _graph().node("constant", INTEGER, int(number))


def bits(x: Real) -> Value:
    """The number's pattern of bits."""
    x = real(x)
    if x.constant is not None:
        return integer(_graph().precision.to_bits(x.constant))
    return _graph().node("bits", INTEGER, x)


def from_bits(pattern: Integer) -> Value:
    """The number with this pattern of bits."""
    pattern = integer(pattern)
    if pattern.constant is not None:
        return real(_graph().precision.from_bits(pattern.constant))
    return _graph().node("from_bits", REAL, pattern)


def add_integers(a: Integer, b: Integer) -> Value:
    """Sum of two integers."""
    return _graph().node("iadd", INTEGER, integer(a), integer(b))


def subtract_integers(a: Integer, b: Integer) -> Value:
    """Difference of two integers."""
    return _graph().node("isub", INTEGER, integer(a), integer(b))


def and_integers(a: Integer, b: Integer) -> Value:
    """The bits that are set in both integers."""
    return _graph().node("iand", INTEGER, integer(a), integer(b))


def shift_left(a: Integer, places: int) -> Value:
    """An integer times 2^places."""
    return _graph().node("shl", INTEGER, integer(a), integer(places))


def shift_right(a: Integer, places: int) -> Value:
    """An integer over 2^places, rounded down."""
    return _graph().node("shr", INTEGER, integer(a), integer(places))


def power_of_two(exponent: int) -> Value:
    """2^exponent as a constant."""
    return real(2.0**exponent)


def nan_from(x: Real, value: Real) -> Value:
    """The value, or NaN where x is NaN: for formulas that only compare x."""
    x = real(x)
    return where(x != x, x, value)


def clamp_low(x: Real, lowest: Real) -> Value:
    """x, but at least `lowest`; NaN stays NaN."""
    x = real(x)
    return where(x < lowest, lowest, x)


def clamp_high(x: Real, highest: Real) -> Value:
    """x, but at most `highest`; NaN stays NaN."""
    x = real(x)
    return where(x > highest, highest, x)


def polynomial(x: Real, coefficients: Sequence[str | Real]) -> Value:
    """Polynomial with coefficients from the constant term up, by Estrin's scheme.

    Estrin's halves depend less on each other than Horner's chain, and these kernels
    wait for results more than for free arithmetic units.
    """
    x = real(x)
    terms = [real(coefficient) for coefficient in coefficients]
    power = x
    while len(terms) > 1:
        if (
            len(terms) % 2
        ):  # an odd last term joins its neighbour: no higher power needed
            last = terms.pop()
            terms[-1] = fma(last, power, terms[-1])
        terms = [
            fma(terms[i + 1], power, terms[i]) if i + 1 < len(terms) else terms[i]
            for i in range(0, len(terms), 2)
        ]
        if len(terms) > 1:
            power = power * power
    return terms[0]


def horner(x: Real, coefficients: Sequence[str | Real]) -> Value:
    """Polynomial with coefficients from the constant term up, by Horner's scheme.

    No powers of x: fewer operations than `polynomial`, one after the other. For long
    polynomials beside which a kernel has other work that does not wait for them.
    """
    *others, last = [real(coefficient) for coefficient in coefficients]
    for term in reversed(others):
        last = fma(last, x, term)
    return last
