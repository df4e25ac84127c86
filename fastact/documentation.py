"""Docstrings of everything that follows from the catalogue."""

from __future__ import annotations

import math

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
    FORWARD,
    PARAMETER_BACKWARD,
    WITH_DERIVATIVE,
    Kernel,
)

_ARRAYS = {
    "x": "Input.",
    "y": "Output of the activation.",
    "dy": "Gradient with respect to the output.",
    "gate": "What is activated.",
    "value": "What the activated gate multiplies.",
}
_RESULTS = {
    "y": "The activation of x.",
    "derivative": "Its derivative at x.",
    "dx": "Gradient with respect to x: dy times the derivative, and 0 where the "
    "derivative is 0, whatever dy.",
}


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
    lines = [_lead(entry, member), "", "Parameters", "----------"]
    for name in kernel.inputs:
        if name not in parameters:
            text = _ARRAYS.get(name) or (
                "Input."
                if name in entry.arrays
                else f"Gradient with respect to {name[1:]}."
            )
            lines += [f"{name} : array_like", f"    {text}"]
        else:
            default = parameters[name].default
            text = "" if default is None else f", default {default:g}"
            must = "; ".join(str(r) for r in kernel.requirements if r.name == name)
            lines += [
                f"{name} : array_like{text}",
                "    Parameter; broadcasts against x and never changes the dtype."
                + (f" {must}." if must else ""),
            ]
    if member == PARAMETER_BACKWARD:
        lines += ["out : tuple of ndarray or None, optional", "    Where to store."]
    else:
        lines += [
            "out, where, dtype, casting, order, subok",
            "    As for every `numpy.ufunc`.",
        ]
    lines += ["", "Returns", "-------"]
    for name in kernel.outputs:
        text = _RESULTS.get(name) or (
            f"Gradient with respect to {name[1:]}"
            + (
                ", summed to its shape, in float32 or float64."
                if name[1:] in parameters
                else "."
            )
        )
        lines += [f"{name} : ndarray", f"    {text}"]
    lines += ["", "Raises", "------", "TypeError"]
    lines += ["    For complex numbers, objects and strings."]
    if kernel.requirements:
        lines += ["ValueError"]
        lines += [f"    Unless {r}." for r in kernel.requirements]
    variables = ", ".join(entry.arrays)
    lines += ["", "Notes", "-----", f"f({variables}) = {entry.formula}.", ""]
    if entry.kinks and member != "":
        kinks = ", ".join(f"f'({x}) = {value}" for x, value in entry.kinks.items())
        lines += [f"At kinks: {kinks}.", ""]
    lines += [_bound(entry, member)]
    lines += [
        "float16, bfloat16, float32 and float64 stay what they are; integers and booleans "
        "promote as in `numpy.tanh`. NaN gives NaN"
        + ("." if entry.errors else ", infinities the limit.")
    ]
    if entry.notes:
        lines += ["", entry.notes]
    if entry.source:
        lines += ["", f"Source: {entry.source}."]
    return "\n".join(lines) + "\n"
