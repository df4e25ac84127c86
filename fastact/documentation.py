"""Docstrings of everything that follows from the catalogue."""

from __future__ import annotations

import functools
import math
import textwrap

from .formulas.entry import (
    BOUND_OF_16_BITS,
    FLOAT64_BOUND,
    Activation,
    Entry,
    Fused,
)
from .formulas.kernels import (
    BACKWARD,
    BACKWARD_FROM_OUTPUT,
    DERIVATIVE,
    ENTRIES,
    FORWARD,
    PARAMETER_BACKWARD,
    WITH_DERIVATIVE,
    Kernel,
)

WIDTH = 88  # of a docstring's lines
_ARRAYS = {
    "y": "Output of the activation, of any shape.",
    "dy": "Gradient with respect to the output; broadcasts against {like}.",
    "gate": "What is activated: floating-point, integers or booleans, of any shape.",
    "value": "What the activated gate multiplies; broadcasts against gate.",
}
_INPUT = "Input: floating-point, integers or booleans, of any shape."
_SHAPE = "the arguments' broadcast shape"
_ORDINALS = ("first", "second")


@functools.cache  # a family says many things more than once
def _wrapped(text: str, indent: str = "") -> str:
    """Paragraphs in lines that `help` shows whole; those that have lines keep them."""
    return "\n\n".join(
        part
        if "\n" in part
        else textwrap.fill(
            part,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for part in text.split("\n\n")
    )


def _result(entry: Entry, name: str) -> str:
    """What is said of one of the results."""
    if name in entry.results:
        arrays = f"f({', '.join(entry.arrays)})"
        which = ""
        if len(entry.results) > 1:
            which = f"The {_ORDINALS[entry.results.index(name)]} result of "
        dtype = "dtype" if len(entry.arrays) == 1 else "common dtype"
        of = " and ".join(entry.arrays)
        return f"{which}{arrays}, in {_SHAPE} and the {dtype} of {of}."
    x = entry.arrays[0] if entry.arrays else ""
    if name == "derivative":
        return f"f'({x}), in {_SHAPE} and the dtype of {x}."
    of = name[1:]
    if entry.arrays == (of,):
        return (
            f"Gradient with respect to {x}: dy times the derivative, and 0 where the "
            f"derivative is 0, whatever dy. In {_SHAPE}."
        )
    if of in {p.name for p in entry.parameters}:
        return f"Gradient with respect to {of}, summed to its shape, in float32 or float64."
    return f"Gradient with respect to {of}, in {_SHAPE}."


def _kinks(entry: Entry) -> str:
    """Where f' jumps, and what is returned there."""
    if entry.kinks:
        kinks = (
            f"{value} at {x}" if " = " in x else f"f'({x}) = {value}"
            for x, value in entry.kinks.items()
        )
        return f"At kinks: {', '.join(kinks)}."
    if ENTRIES.get(entry.name) is entry:  # of others nobody knows
        return "No kinks: the derivative is continuous."
    return ""


def counted(count: int, noun: str) -> str:
    """A number with its noun, for messages: "1 element", "1,000 elements"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _lead(entry: Entry, member: str) -> str:
    summary = entry.summary.splitlines()[0].rstrip(".")
    return {
        DERIVATIVE: f"Derivative of {entry.name}, by x.",
        BACKWARD: f"Gradient of {entry.name} with respect to {_and(entry.arrays)}.",
        BACKWARD_FROM_OUTPUT: f"Gradient of {entry.name}, from its output y alone.",
        WITH_DERIVATIVE: f"The value of {entry.name} and its derivative in one pass.",
        PARAMETER_BACKWARD: f"Gradients of {entry.name}: input and parameters.",
    }.get(member, f"{summary}: {entry.formula}.")


def _and(names: tuple[str, ...]) -> str:
    return "its input x" if names == ("x",) else " and ".join(names)


def _bound(entry: Entry, member: str) -> str:
    if entry.errors and member != PARAMETER_BACKWARD:
        return entry.errors
    if isinstance(entry, Fused):
        return (
            f"Each product's factor of one array alone is within {entry.bound:g} ULP "
            "(float32 and float64, default parameters)."
        )
    if member == BACKWARD_FROM_OUTPUT:
        return (
            "The derivative follows from the rounded output, so the error is small "
            "beside the largest derivative, not beside each result."
        )
    if member == PARAMETER_BACKWARD:
        return (
            "A parameter's gradient is summed in float64 with a fixed tree: the same "
            "bits whatever the threads."
        )
    forward = f"{entry.bound:g} ULP"
    backward = f"{entry.backward_bound:g} ULP"
    size = {
        FORWARD: forward,
        WITH_DERIVATIVE: f"{forward}, the derivative {backward}",
    }.get(member, backward)
    dy = ", dy = 1" if member == BACKWARD else ""
    limit = entry.accurate_up_to if isinstance(entry, Activation) else math.inf
    part = f" of at most {limit:g} on either side of 0" if limit < math.inf else ""
    return (
        f"At most {size} from the exact result for every float32{part}, and "
        f"{BOUND_OF_16_BITS:g} ULP in float16 and bfloat16; in float64 at most "
        f"{FLOAT64_BOUND:g} ULP were observed (default parameters{dy})."
    )


def docstring(entry: Entry, member: str) -> str:
    """numpydoc text for one member of an activation's family."""
    kernel = Kernel(entry, member, with_defaults=False)
    parameters = {p.name: p for p in entry.parameters}
    # none, where all arrays of a custom activation are summed
    first = entry.arrays[0] if entry.arrays else "dy"
    lines = [_wrapped(_lead(entry, member)), "", "Parameters", "----------"]
    for name in kernel.inputs:
        kind = "array_like"
        if name in parameters:
            default = parameters[name].default
            kind += "" if default is None else f", default {default:g}"
            must = (f" {r}." for r in kernel.requirements if r.name == name)
            text = (
                f"Parameter: a number, or an array that broadcasts against {first}. "
                f"It never changes the dtype.{''.join(must)}"
            )
        elif name in entry.arrays:
            text = _ARRAYS.get(name, _INPUT)
        else:
            text = _ARRAYS.get(name, f"Gradient with respect to {name[1:]}.")
        like = "y" if member == BACKWARD_FROM_OUTPUT else first
        lines += [f"{name} : {kind}", _wrapped(text.format(like=like), "    ")]
    if member == PARAMETER_BACKWARD:
        lines += ["out : tuple of ndarray or None, optional"]
        lines += ["    Where to store the results."]
    else:
        lines += [
            "out, where, dtype, casting, order, subok : optional",
            "    As for every `numpy.ufunc`.",
        ]
    lines += ["", "Returns", "-------"]
    for name in kernel.outputs:
        text = _result(entry, name)
        lines += [f"{name} : ndarray or scalar", _wrapped(text, "    ")]
    lines += ["", "Raises", "------", "TypeError"]
    lines += ["    For complex numbers, objects and strings."]
    refused = "If shapes do not broadcast"
    if kernel.requirements:
        allowed = ", ".join(map(str, kernel.requirements))
        refused += f", or a parameter is not allowed: {allowed}"
    lines += ["ValueError", _wrapped(f"{refused}.", "    ")]
    variables = ", ".join(entry.arrays)
    limits = "" if entry.errors else ", infinities the limit"
    notes = [
        f"f({variables}) = {entry.formula}.",
        _kinks(entry),
        _bound(entry, member),
        "float16, bfloat16, float32 and float64 stay what they are; integers and "
        f"booleans promote as in `numpy.tanh`. NaN gives NaN{limits}.",
        entry.notes,
        f"Source: {entry.source}." if entry.source else "",
    ]
    lines += ["", "Notes", "-----", "\n\n".join(_wrapped(n) for n in notes if n)]
    return "\n".join(lines) + "\n"
