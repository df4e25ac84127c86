"""Derivatives of formulas: a recorded formula run on NumPy arrays, with tangents.

Each value of the graph has, beside its array, the derivative by one of the arguments. That
a formula approximates its function, and is in parts, makes no difference beyond rounding,
except where it rounds on purpose or works on bits: see `_rounds` and `_number_behind`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from .language import BOOL, FLOAT64, INTEGER, REAL, Value, real, recording
from .translate import ordered

Array: TypeAlias = Any  # of float64, bool or uint64; NumPy's types help little here
Formula: TypeAlias = Callable[..., Value]

_OPERATIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "iadd": np.add,
    "isub": np.subtract,
    "iand": np.bitwise_and,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "copysign": np.copysign,
    "where": np.where,
    "fma": lambda a, b, c: a * b + c,
    "bits": lambda x: np.asarray(x).view(np.uint64),
    "from_bits": lambda x: np.asarray(x).view(np.float64),
}
_CONSTANTS = {BOOL: np.bool_, INTEGER: np.uint64}
# Of every operation a block is kept: all of them together should stay in cache.
_BLOCK = 8192
_lock = threading.Lock()  # one formula is recorded at a time


def evaluate(formula: Formula, arguments: Sequence[Any]) -> Array:
    """The formula of arrays that broadcast, computed by NumPy in float64."""
    return _run(formula, arguments, None)


def partial(formula: Formula, arguments: Sequence[Any], index: int) -> Array:
    """The derivative of a formula by one of its arguments, at arrays that broadcast.

    Parameters
    ----------
    formula
        A formula of the catalogue, of which the same object gives the same graph.
    arguments
        What it is a function of: x and the parameters.
    index
        Which of them to differentiate by.

    Returns
    -------
    derivative : ndarray of float64
        Of the shape to which the arguments broadcast. At kinks it is that of the piece
        to which the formula gives the point; where the formula is NaN it is, too.
    """
    return _run(formula, arguments, index)


@lru_cache(maxsize=256)
def _recorded(formula: Formula, count: int) -> tuple[list[Value], Value]:
    with _lock, recording(FLOAT64) as graph:
        inputs = [graph.node("input", "real", str(i)) for i in range(count)]
        return inputs, real(formula(*inputs))


def _run(formula: Formula, arguments: Sequence[Any], index: int | None) -> Array:
    arrays = [np.asarray(argument, np.float64) for argument in arguments]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    result = np.empty(shape)
    flat = result.reshape(-1)
    arrays = [
        array.reshape(()) if array.size == 1 else np.broadcast_to(array, shape).ravel()
        for array in arrays
    ]
    for begin in range(0, flat.size, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        block = [array[part] if array.ndim else array for array in arrays]
        flat[part] = _run_block(formula, block, index)
    return result


def _run_block(formula: Formula, arrays: Sequence[Array], index: int | None) -> Array:
    inputs, output = _recorded(formula, len(arrays))
    values: dict[int, Array] = {}
    tangents: dict[int, Array] = {}  # what is not in it does not depend on the argument
    for i, (symbol, array) in enumerate(zip(inputs, arrays, strict=True)):
        values[id(symbol)] = array
        if i == index:
            tangents[id(symbol)] = np.float64(1)
    with np.errstate(all="ignore"):
        for value in ordered([output]):
            if value.operation == "constant":
                kind = _CONSTANTS.get(value.kind, np.float64)
                values[id(value)] = kind(value.constant)
            elif value.operation != "input":
                operands = [values[id(argument)] for argument in value.arguments]
                values[id(value)] = _OPERATIONS[value.operation](*operands)
                tangent = _tangent(value, values, tangents)
                if tangent is not None:
                    tangents[id(value)] = tangent
    value = values[id(output)]
    if index is None:
        return value
    # Pieces are chosen by comparisons, which a NaN fails: it would get one's slope.
    return np.where(np.isnan(value), value, tangents.get(id(output), np.float64(0)))


def _tangent(
    value: Value, values: dict[int, Array], tangents: dict[int, Array]
) -> Array | None:
    """The derivative of one operation's result; None where that is constant."""
    arguments = value.arguments
    if value.operation == "from_bits":
        arguments = (_number_behind(arguments[0]),)
    given = [tangents.get(id(argument)) for argument in arguments]
    if value.kind != REAL or all(tangent is None for tangent in given):
        return None
    if value.operation in ("add", "sub", "fma") and any(map(_rounds, arguments)):
        return None
    found = values[id(value)]
    x = [values[id(argument)] for argument in arguments]
    d = [np.float64(0) if tangent is None else tangent for tangent in given]
    match value.operation:
        case "add":
            return d[0] + d[1]
        case "sub":
            return d[0] - d[1]
        case "mul":
            return d[0] * x[1] + x[0] * d[1]
        case "div":
            return (d[0] - found * d[1]) / x[1]
        case "fma":
            return d[0] * x[1] + x[0] * d[1] + d[2]
        case "neg":
            return -d[0]
        case "sqrt":
            return d[0] / (2 * found)
        case "abs" | "copysign" | "from_bits":  # these change the sign at most
            return np.where(np.signbit(found) == np.signbit(x[0]), d[0], -d[0])
        case "where":
            return np.where(x[0], d[1], d[2])
        case operation:
            # None would pass for a constant, whose derivative is 0.
            raise NotImplementedError(f"_tangent has no rule for {operation}")


def _number_behind(pattern: Value) -> Value:
    """The number whose bits a pattern has, but for the sign; else the pattern.

    Other patterns, such as powers of two and numbers without their last bits, are
    constant between the places where they jump: formulas use them as steps from which
    they go on exactly.
    """
    if pattern.operation == "iadd":
        first, second = pattern.arguments
        if first.operation == "bits" and _is_sign(second):
            number: Value = first.arguments[0]
            return number
    return pattern


def _is_sign(pattern: Value) -> bool:
    return pattern.operation == "iand" and any(
        argument.constant == 1 << 63 for argument in pattern.arguments
    )


def _rounds(addend: Value) -> bool:
    """Whether adding this constant rounds to an integer, which is a step function."""
    if addend.operation == "where":
        return all(map(_rounds, addend.arguments[1:]))
    number = addend.constant if addend.kind == REAL else None
    return number is not None and 2.0**51 <= abs(number) < 2.0**53
