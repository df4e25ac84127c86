"""Reads a Python function of numbers into a term, from its source.

From the source and not by running it on symbols: so `math.exp` and `a if c else b` can be
used, and an error has the line. Names are looked up where the function would look them up.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import numbers
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, NoReturn

import numpy as np

import fastact

from ..documentation import counted
from ..formulas.entry import Parameter, Requirement
from . import primitives, terms
from .terms import Term, apply, choose, constant, variable

# Names that the generated functions give a meaning of their own
_RESERVED = {
    *("out", "where", "casting", "order", "dtype", "subok", "keywords"),  # of ufuncs
    *("as_floating", "as_parameter", "check", "default", "general", "kernel"),
    *("i", "implementation", "index", "np", "real", "scalar", "shape"),
    *("dy", "use_widest_vectors"),
}
_RESERVED_FOR_FUNCTIONS = ("bits", "from_bits")  # by the kernels' language
_SUFFIXES = ("_default", "_flat", "_wide")


@dataclass(frozen=True)
class Formula:
    """A function that has been read.

    `arrays` are the names of its arguments without a default, `parameters` the others;
    `text` is its source without names and documentation.
    """

    name: str
    arrays: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    term: Term
    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of all arguments."""
        return (*self.arrays, *(p.name for p in self.parameters))


@dataclass(frozen=True)
class Place:
    """Where the source stands: a file, and lines that start from another."""

    file: str
    before: int
    lines: Sequence[str]
    indent: int

    def error(self, node: Any, message: str) -> SyntaxError:
        """An error that shows the line."""
        line = getattr(node, "lineno", 1)
        column = getattr(node, "col_offset", 0) + self.indent + 1
        end = getattr(node, "end_col_offset", None)
        last = getattr(node, "end_lineno", line)
        end_column = end + self.indent + 1 if end and last == line else -1
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        where = (self.file, line + self.before, column, text)
        return SyntaxError(message, (*where, line + self.before, end_column))


def read_function(function: Any) -> Formula:
    """What a Python function computes.

    Raises
    ------
    TypeError
        If it is no plain Python function, or an argument is not a number or an array.
    ValueError
        If its source is not known.
    SyntaxError
        If it does what formulas may not do; with the file and the line.
    """
    if not inspect.isfunction(function):
        raise TypeError(
            f"fastact.activation takes a Python function of numbers, not {function!r}"
        )
    if function.__name__ in _RESERVED_FOR_FUNCTIONS:
        raise TypeError(f"the name {function.__name__} is taken: give it another one")
    if function.__name__ == "<lambda>":
        raise TypeError(
            "fastact.activation needs a name for the function: write "
            "`def f(x): return ...` in place of the lambda"
        )
    if hasattr(function, "__wrapped__"):
        raise TypeError(
            f"{function.__name__} is not what its source says: another decorator has made "
            "it; put @fastact.activation next to the def"
        )
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError) as error:
        raise ValueError(
            f"the source of {function.__name__} is not known, and formulas are read from "
            "it: define the function in a file or in a notebook's cell"
        ) from error
    source = textwrap.dedent("".join(lines))
    indent = len(lines[0]) - len(lines[0].lstrip())
    file = inspect.getsourcefile(function) or "<unknown>"
    place = Place(file, first - 1, [line.rstrip("\n") for line in lines], indent)
    node = _definition(source, function)
    if not isinstance(node, ast.FunctionDef):
        raise place.error(node, "a formula is an ordinary function: `def f(x): ...`")
    arrays, parameters = _arguments(function, node, place)
    names = [*arrays, *(p.name for p in parameters)]
    reader = _Reader(_scope(function), names, place)
    term = reader.body(node)
    body = [s for s in node.body if not _is_documentation(s)]
    text = "; ".join(ast.unparse(s).removeprefix("return ") for s in body)
    return Formula(function.__name__, arrays, parameters, term, text)


def _definition(source: str, function: Any) -> ast.stmt:
    """The statement that defines a function."""
    code = function.__code__
    try:
        (node,) = ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if (node.name, *(a.arg for a in given)) == (code.co_name, *known):
                return node
    except (SyntaxError, ValueError):
        pass
    raise ValueError(
        f"{code.co_filename} has changed since {code.co_name} was read from it: import it "
        "again"
    )


def read_expression(text: str, names: Sequence[str]) -> Term:
    """An expression in the functions of np and fa, erf and erfc as a term."""
    functions = {"np": np, "fa": fastact, "erf": math.erf, "erfc": math.erfc}
    place = Place("<expression>", 0, [text], 0)
    reader = _Reader(vars(builtins) | functions, names, place)
    return reader.number(ast.parse(text, mode="eval").body)


def _scope(function: Any) -> Mapping[str, Any]:
    """What the names in a function stand for: closure, module, builtins."""
    closure: dict[str, Any] = {}
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            closure[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    scope: dict[str, Any] = vars(builtins) | function.__globals__ | closure
    return scope


def _arguments(
    function: Any, node: ast.FunctionDef, place: Place
) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    arrays: list[str] = []
    parameters: list[Parameter] = []
    for argument in inspect.signature(function).parameters.values():
        if argument.kind is not argument.POSITIONAL_OR_KEYWORD:
            raise place.error(
                node,
                f"the argument {argument.name!r} must be an ordinary one: neither *, ** "
                "nor keyword-only or positional-only",
            )
        name = argument.name
        if name in _RESERVED or name.startswith("out_") or name.endswith(_SUFFIXES):
            raise place.error(
                node,
                f"the argument {argument.name!r} has a meaning of its own in the "
                "functions that follow from the formula: give it another name",
            )
        if argument.default is argument.empty:
            arrays.append(argument.name)
        elif isinstance(argument.default, numbers.Real) and (
            argument.default == argument.default
        ):
            parameters.append(Parameter(argument.name, float(argument.default)))
        else:
            raise TypeError(
                f"the default of {argument.name!r} must be a number, not "
                f"{argument.default!r}: leave it out for an array"
            )
    if not arrays:
        raise place.error(
            node, "a formula needs an argument without a default, its input x"
        )
    return tuple(arrays), tuple(parameters)


def _is_documentation(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and (
        isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


_ARITHMETIC = {
    ast.Add: terms.add,
    ast.Sub: terms.subtract,
    ast.Mult: terms.multiply,
    ast.Div: terms.divide,
    ast.Pow: primitives.general_power,
}
_COMPARISONS = {
    ast.Lt: terms.LESS,
    ast.LtE: terms.LESS_EQUAL,
    ast.Gt: terms.GREATER,
    ast.GtE: terms.GREATER_EQUAL,
    ast.Eq: terms.EQUAL,
    ast.NotEq: terms.NOT_EQUAL,
}
_LOGIC = {
    ast.And: terms.AND,
    ast.Or: terms.OR,
    ast.BitAnd: terms.AND,
    ast.BitOr: terms.OR,
}
# NumPy's functions that are often written and not needed, or written in another way
_HINTS = {
    "asarray": "leave it out, the inputs are arrays already",
    "array": "a formula works on each element by itself; leave it out",
    "zeros_like": "write 0",
    "ones_like": "write 1",
    "full_like": "write the number",
    "select": "write np.where(condition, a, np.where(another, b, c))",
    "piecewise": "write np.where(condition, a, np.where(another, b, c))",
    "nan_to_num": "write np.where(np.isfinite(x), x, another)",
    "sum": "a formula works on each element by itself; write a + b",
    "mean": "a formula works on each element by itself; pass the mean as an argument",
    "max": "a formula works on each element by itself; write np.maximum(a, b)",
    "min": "a formula works on each element by itself; write np.minimum(a, b)",
}
_OTHER_OPERATORS = {
    ast.BitXor: "`^` is not a power: write `**`",
    ast.FloorDiv: "`//` is not allowed: formulas have no rounding; write `/`",
    ast.Mod: "`%` is not allowed: formulas have no rounding",
    ast.MatMult: "`@` is not allowed: a formula works on each element by itself",
}
_STATEMENTS = {
    ast.If: "`if` is not allowed: write np.where(condition, a, b), or "
    "`a if condition else b`",
    ast.While: "`while` is not allowed: a formula has no loops; write its terms out",
    ast.For: "`for` is not allowed: a formula has no loops; write its terms out",
    ast.Import: "`import` is not allowed here: import outside the function",
    ast.ImportFrom: "`import` is not allowed here: import outside the function",
    ast.FunctionDef: "a function inside a formula is not allowed: write it outside, with "
    "a @fastact.activation of its own",
    ast.Assert: "`assert` is not allowed: a formula is computed for all elements at once",
    ast.Raise: "`raise` is not allowed: a formula gives NaN where it has no value",
}


class _Reader:
    def __init__(
        self, scope: Mapping[str, Any], names: Sequence[str], place: Place
    ) -> None:
        self.scope = scope
        self.place = place
        self.locals = {name: variable(name) for name in names}

    def fail(self, node: Any, message: str) -> NoReturn:
        raise self.place.error(node, message) from None

    # ------------------------------------------------------------- statements

    def body(self, node: ast.FunctionDef) -> Term:
        """The term that the function returns."""
        *before, last = node.body
        for statement in before:
            if not _is_documentation(statement):
                self.statement(statement)
        if not isinstance(last, ast.Return) or last.value is None:
            if not isinstance(last, ast.Expr | ast.Return):
                self.statement(last)
            self.fail(last, "the last line of a formula is `return` and an expression")
        return self.number(last.value)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.locals[name] = self.expression(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.locals[name] = self.expression(value)
            case ast.AugAssign(target=ast.Name(id=name) as target, value=value):
                whole = ast.BinOp(ast.Name(name, ast.Load()), node.op, value)
                ast.copy_location(whole.left, target)
                self.locals[name] = self.expression(ast.copy_location(whole, node))
            case ast.Assign():
                self.fail(node, "one name is assigned at a time: write `name = ...`")
            case ast.Return():
                self.fail(node, "`return` stands in the last line alone")
            case ast.Expr():
                self.fail(
                    node,
                    f"`{ast.unparse(node)}` by itself is not allowed: a formula is "
                    "assignments and `return`",
                )
            case _:
                word = type(node).__name__.lower()
                self.fail(
                    node,
                    _STATEMENTS.get(
                        type(node),
                        f"`{word}` is not allowed: a formula is assignments and `return`",
                    ),
                )

    # ------------------------------------------------------------ expressions

    def number(self, node: ast.expr) -> Term:
        """An expression where a number is needed: a condition is 1 or 0."""
        found = self.expression(node)
        return choose(found, terms.ONE, terms.ZERO) if found.is_condition else found

    def condition(self, node: ast.expr) -> Term:
        """An expression where a condition is needed: a number holds if it is not 0."""
        found = self.expression(node)
        if found.is_condition:
            return found
        return apply(terms.NOT_EQUAL, found, terms.ZERO)

    def expression(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant(value=bool(value)):
                return terms.TRUE if value else terms.FALSE
            case ast.Constant(value=int() | float() as value):
                return self.constant(node, value)
            case ast.Name() | ast.Attribute():
                return self.name(node)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self.locals[name] = self.expression(value)
                return self.locals[name]
            case ast.IfExp():
                condition = self.condition(node.test)
                return choose(
                    condition, self.number(node.body), self.number(node.orelse)
                )
            case ast.UnaryOp(op=ast.USub()):
                return terms.negate(self.number(node.operand))
            case ast.UnaryOp(op=ast.UAdd()):
                return self.number(node.operand)
            case ast.UnaryOp(op=ast.Not()):
                return terms.opposite(self.condition(node.operand))
            case ast.UnaryOp():  # ~
                return terms.opposite(self.operand_of_logic(node.operand))
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr() as op):
                return self.logic(op, [node.left, node.right])
            case ast.BoolOp(op=op, values=values):
                return self.logic(op, values)
            case ast.BinOp():
                return self.arithmetic(node)
            case ast.Compare():
                return self.comparison(node)
            case ast.Call():
                return self.call(node)
            case ast.Constant(value=complex()):
                self.fail(node, "a complex number is not allowed: formulas are real")
            case _:
                word = ast.unparse(node)
                self.fail(
                    node,
                    f"`{word}` is not allowed: a formula has numbers, names, arithmetic, "
                    "comparisons, np.where and calls of functions",
                )

    def logic(self, op: ast.AST, nodes: Sequence[ast.expr]) -> Term:
        """Conditions that are combined."""
        return reduce(
            partial(apply, _LOGIC[type(op)]), map(self.operand_of_logic, nodes)
        )

    def operand_of_logic(self, node: ast.expr) -> Term:
        """A condition, and no number: of numbers Python's `and` and `or` give one."""
        found = self.expression(node)
        if not found.is_condition:
            self.fail(
                node,
                f"`{ast.unparse(node)}` is a number, and conditions alone are combined: "
                "compare it, or write np.where(condition, a, b) to choose a number",
            )
        return found

    def constant(self, node: ast.expr, number: Any) -> Term:
        """A number that is written down, or comes from outside."""
        try:
            return constant(float(number))
        except OverflowError:
            self.fail(node, f"`{ast.unparse(node)}` is too large for a float")

    def arithmetic(self, node: ast.BinOp) -> Term:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            known = _OTHER_OPERATORS.get(type(node.op))
            self.fail(node, known or "integers' operators are not allowed in a formula")
        a, b = self.number(node.left), self.number(node.right)
        try:
            return operation(a, b)
        except OverflowError:
            self.fail(node, f"`{ast.unparse(node)}` is too large for a float")
        except (ValueError, ArithmeticError) as error:
            self.fail(node, str(error))

    def comparison(self, node: ast.Compare) -> Term:
        found = None
        left = self.number(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            primitive = _COMPARISONS.get(type(op))
            if primitive is None:
                self.fail(node, "`in` and `is` are not allowed: compare numbers")
            right = self.number(right_node)
            compared = apply(primitive, left, right)
            found = compared if found is None else apply(terms.AND, found, compared)
            left = right
        assert found is not None
        return found

    # ------------------------------------------------------- names and calls

    def name(self, node: ast.expr) -> Term:
        if isinstance(node, ast.Name) and node.id in self.locals:
            return self.locals[node.id]
        found = self.object(node)
        if isinstance(found, (bool, np.bool_)):
            return terms.TRUE if found else terms.FALSE
        if isinstance(found, numbers.Real):
            return self.constant(node, found)
        if isinstance(found, np.ndarray):
            if found.ndim == 0 and found.dtype.kind in "fiu":
                return self.constant(node, found)
            self.fail(
                node,
                f"`{ast.unparse(node)}` is an array: pass it as an argument of the formula",
            )
        self.fail(
            node, f"`{ast.unparse(node)}` is {type(found).__name__}, and not a number"
        )

    def object(self, node: ast.expr) -> Any:
        """What a name, or an attribute of one, stands for outside the function."""
        match node:
            case ast.Name(id=name):
                if name in self.scope:
                    return self.scope[name]
                self.fail(node, f"`{name}` is not defined where the formula stands")
            case ast.Attribute(value=value, attr=attribute):
                if isinstance(value, ast.Name) and value.id in self.locals:
                    self.fail(node, self.advice_for_attribute(value.id, attribute))
                owner = self.object(value)
                try:
                    return getattr(owner, attribute)
                except AttributeError as error:
                    self.fail(node, str(error))
            case _:
                self.fail(node, f"`{ast.unparse(node)}` is not allowed in a formula")

    def advice_for_attribute(self, name: str, attribute: str) -> str:
        if name == "self":
            return (
                "a formula is no method: write the function outside the class, and give it "
                f"self.{attribute} as a parameter"
            )
        advice = f"`{name}.{attribute}` is not allowed: {name} stands for one number"
        if attribute in primitives.NUMPY:
            advice += f"; write np.{attribute} as a function of it"
        return advice

    def call(self, node: ast.Call) -> Term:
        if isinstance(node.func, ast.Name) and node.func.id in self.locals:
            self.fail(node, f"`{node.func.id}` is a number here, and not a function")
        function = self.object(node.func)
        name = ast.unparse(node.func)
        hint = _HINTS.get(getattr(function, "__name__", ""))
        if hint is not None and getattr(np, function.__name__, None) is function:
            self.fail(node, f"`{name}` is not allowed: {hint}")
        if any(isinstance(a, ast.Starred) for a in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            self.fail(node, "`*` and `**` are not allowed in a call: write them out")
        custom = getattr(function, "_custom", None)
        entry = primitives.entry_of(function)
        if custom is not None:
            return apply(custom.primitive, *self.bound(node, custom.formula))
        if entry is not None:
            return self.call_of_entry(node, *entry)
        known = primitives.known_function(function)
        arguments = [self.expression(a) for a in node.args]
        if not node.keywords and all(a.number is not None for a in arguments):
            return self.constant_call(node, function, [a.number for a in arguments])
        if known is None:
            self.fail(node, self.advice(node, function))
        if node.keywords:
            self.fail(node, "the arguments of NumPy's functions are given by position")
        count, build = known
        if count not in (-1, len(arguments)):
            taken = counted(count, "argument")
            self.fail(node, f"`{name}` takes {taken} here")
        conditions = self.wants_conditions(function)
        numbers_ = [
            self.condition(a) if conditions(i) else self.number(a)
            for i, a in enumerate(node.args)
        ]
        try:
            return build(*numbers_)
        except ValueError as error:
            self.fail(node, str(error))

    @staticmethod
    def wants_conditions(function: Any) -> Callable[[int], bool]:
        """Which arguments of a function are conditions."""
        if function is np.where:
            return lambda i: i == 0
        logical = function in (np.logical_and, np.logical_or, np.logical_not)
        return lambda i: logical

    def advice(self, node: ast.Call, function: Any) -> str:
        name = ast.unparse(node.func)
        if str(getattr(function, "__module__", "")).split(".")[0] == "fastact":
            return f"`{name}` is not an elementwise function with one result"
        if inspect.isfunction(function):
            return f"`{name}` is a Python function: decorate it with fastact.activation"
        if isinstance(function, type):
            return f"`{name}(...)` is not allowed: the dtype is that of the arrays"
        allowed = ", ".join(sorted({*primitives.NUMPY, "erf", "erfc", "min", "max"}))
        return (
            f"`{name}` is not among the functions of formulas: these are {allowed}, and "
            "all elementwise functions of fastact"
        )

    def constant_call(
        self, node: ast.Call, function: Any, arguments: Sequence[Any]
    ) -> Term:
        """A call of numbers alone is done once, now."""
        owner = getattr(function, "__self__", None)
        if not arguments or not (owner is None or inspect.ismodule(owner)):
            self.fail(
                node,
                f"`{ast.unparse(node)}` would be computed once, when the formula is read: "
                "if that is meant, give its result a name outside the function",
            )
        try:
            with np.errstate(all="ignore"):
                found = function(*arguments)
        except Exception as error:
            self.fail(node, f"`{ast.unparse(node)}`: {error}")
        if isinstance(found, (bool, np.bool_)):
            return terms.TRUE if found else terms.FALSE
        if isinstance(found, np.ndarray) and found.ndim == 0:
            found = found[()]
        if not isinstance(found, numbers.Real):
            self.fail(node, f"`{ast.unparse(node)}` is not a number")
        return self.constant(node, found)

    def bound(self, node: ast.Call, formula: Any) -> list[Term]:
        """The arguments of a call by the names of a formula or an entry."""
        names = [*formula.arrays, *(p.name for p in formula.parameters)]
        given = dict(zip(names, node.args, strict=False))
        if len(node.args) > len(names):
            taken = counted(len(names), "argument")
            self.fail(node, f"`{ast.unparse(node.func)}` takes {taken}")
        for keyword in node.keywords:
            if keyword.arg not in names or keyword.arg in given:
                self.fail(
                    node,
                    f"`{ast.unparse(node.func)}` takes {', '.join(names)}, each once; "
                    f"{keyword.arg!r} is not allowed here",
                )
            given[keyword.arg] = keyword.value
        defaults = {p.name: p.default for p in formula.parameters}
        found = []
        for name in names:
            if name in given:
                found.append(self.number(given[name]))
            elif defaults.get(name) is not None:
                found.append(constant(defaults[name]))
            else:
                self.fail(node, f"`{ast.unparse(node.func)}` needs {name}")
        return found

    def call_of_entry(self, node: ast.Call, entry: Any, member: str) -> Term:
        """A function of the catalogue."""
        if member not in primitives.MEMBERS or len(entry.results) > 1:
            self.fail(
                node,
                f"`{ast.unparse(node.func)}` is not allowed in a formula, only functions "
                "of one result; derivatives follow by themselves",
            )
        arguments = self.bound(node, entry)
        names = [*entry.arrays, *(p.name for p in entry.parameters)]
        values = {n: a.number for n, a in zip(names, arguments, strict=True)}
        for requirement in entry.requirements:
            if is_broken(requirement, values):
                self.fail(node, f"{requirement}")
        return apply(primitives.of_entry(entry, member), *arguments)


def is_broken(requirement: Requirement, values: Mapping[str, float | None]) -> bool:
    """Whether constants do not meet a requirement of an activation."""
    value, bound = values[requirement.name], requirement.bound
    limit = values[bound] if isinstance(bound, str) else bound
    if value is None or limit is None:
        return False
    return value <= limit if requirement.relation == ">" else value < limit
