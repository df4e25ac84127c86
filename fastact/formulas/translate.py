"""Prints recorded formulas as C and as Numba source.

Both printers walk the same graph in the same order, so C and Numba perform the same
operations: on processors with FMA they give the same bits.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from textwrap import indent
from typing import Any

from .kernels import Kernel, kernels
from .language import (
    ARITHMETIC,
    COMPARISONS,
    FORMATS,
    INTEGER_ARITHMETIC,
    LOGIC,
    PRECISIONS,
    Precision,
    Value,
    recording,
)
from .rows import ROW_FORMULAS

C_TYPES = {"f32": "float", "f64": "double"}
# NumPy's character of the arrays that a kernel is for, 'e' for both 16-bit types
ARRAYS = {"f16": "e", "f32": "f", "f64": "d"}
# From so many operations on a kernel computes two vectors in each pass of its loop: while
# one waits for a result the other goes on. Below, memory is the limit, which is best read
# in order.
HEAVY = 10
# A processor has no more than some hundred instructions in work. Where it is a long way, in
# cycles, to the outputs, most of these wait for each other. Then a kernel has two steps
# or more, each with a loop over some vectors, if their ways are as much shorter; what one
# needs of those before goes through memory, and counts as a way, too.
LONG_WAY = 80
SHORTER_WAY = 20
KEPT_COST = 3
MOST_KEPT = 6
# LLVM keeps constants in registers, the others in memory. With more of them than these
# two vectors leave each other too few registers.
MOST_CONSTANTS = 48
# Elements that are looked at together, where a kernel has a form for usual ones
BLOCK = 512
HEADER = "Generated from fastact/formulas by translate.py; do not edit."


def ordered(outputs: Iterable[Value], known: Iterable[Value] = ()) -> Iterator[Value]:
    """Every value the outputs need beside known ones, each after what it needs itself."""
    seen = {id(value) for value in known}
    stack = [(value, False) for value in reversed(list(outputs))]
    while stack:
        value, ready = stack.pop()
        if ready:
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            arguments = [a for a in value.arguments if isinstance(a, Value)]
            stack += [(a, False) for a in reversed(arguments) if id(a) not in seen]


def _cycles(value: Value) -> int:
    """About how long a processor takes for the operation."""
    if value.operation in ("input", "constant"):
        return 0
    if value.operation in ("div", "sqrt"):
        return 24
    return 4 if value.operation in ("add", "sub", "mul", "fma") else 1


def scheduled(outputs: Iterable[Value]) -> Iterator[Value]:
    """The values of `ordered` in the order in which a processor best begins with them.

    That is, of the values whose arguments are there, the one from which it is longest to
    the results. LLVM by and large keeps the order that it is given, and a processor looks
    ahead in it no further than one pass of a long loop.
    """
    values = list(ordered(outputs))
    places = {id(value): i for i, value in enumerate(values)}
    needs = [
        {places[id(a)] for a in value.arguments if isinstance(a, Value)}
        for value in values
    ]
    users: list[list[int]] = [[] for _ in values]
    until_end = [0] * len(values)
    for i in reversed(range(len(values))):
        for argument in needs[i]:
            users[argument].append(i)
            way = until_end[i] + _cycles(values[i])
            until_end[argument] = max(until_end[argument], way)
    begins = [0] * len(values)
    waiting = [(0, i) for i in range(len(values)) if not needs[i]]
    ready: list[tuple[int, int]] = []
    cycle = 0
    while waiting or ready:
        if not ready:
            cycle = max(cycle, waiting[0][0])
        while waiting and waiting[0][0] <= cycle:
            _, i = heappop(waiting)
            heappush(ready, (-until_end[i], i))
        _, i = heappop(ready)
        yield values[i]
        for user in users[i]:
            begins[user] = max(begins[user], cycle + _cycles(values[i]))
            needs[user].remove(i)
            if not needs[user]:
                heappush(waiting, (begins[user], user))
        cycle += min(_cycles(values[i]), 1)


def steps(outputs: list[Value], known: Sequence[Value] = ()) -> list[list[Value]]:
    """What each step of a kernel computes: what later ones need, at last the outputs."""
    kept = _kept_between_halves(outputs, known)
    if not kept:
        return [outputs]
    return [*steps(kept, known), *steps(outputs, [*known, *kept])]


def _kept_between_halves(outputs: list[Value], known: Sequence[Value]) -> list[Value]:
    """The values by which to divide the way to the outputs; none if it is short.

    The first half is what one value needs, or two. What takes an operation or two is
    computed again rather than kept.
    """
    free = ("input", "constant")
    values = [v for v in ordered(outputs, known) if v.operation not in free]
    places = {id(value): i for i, value in enumerate(values)}
    arguments = [
        [places[id(a)] for a in v.arguments if id(a) in places] for v in values
    ]
    cycles = [_cycles(value) for value in values]
    needs: list[int] = []  # sets of places, as bits
    users = [0] * len(values)
    ends: list[int] = []  # cycles from the inputs
    for i, those in enumerate(arguments):
        needs.append(1 << i)
        for argument in those:
            needs[i] |= needs[argument]
            users[argument] |= 1 << i
        ends.append(cycles[i] + max((ends[a] for a in those), default=0))
    way = max(ends, default=0)
    if way < LONG_WAY:
        return []
    shortest, best = way - SHORTER_WAY, list[Value]()
    dear = [i for i, need in enumerate(needs) if need.bit_count() > 2]
    middle = [i for i in dear if 0.3 * way < ends[i] < 0.7 * way]
    for first in {
        needs[i] | needs[j] for i in middle for j in dear if ends[j] <= ends[i]
    }:
        kept = [i for i in dear if first >> i & 1 and users[i] & ~first]
        is_real = all(values[i].kind == "real" for i in kept)
        is_even = 0.25 < first.bit_count() / len(values) < 0.75
        if not (0 < len(kept) <= MOST_KEPT and is_real and is_even):
            continue
        first_way = max(ends[i] for i in kept)
        if first_way + KEPT_COST * len(kept) >= shortest:
            continue
        again: list[int] = []  # as `ends`, from what is kept, too
        for i, those in enumerate(arguments):
            begin = max((again[a] for a in those), default=0)
            again.append(0 if i in kept else cycles[i] + begin)
        second_way = max(again[places[id(v)]] for v in outputs if id(v) in places)
        length = max(first_way, second_way) + KEPT_COST * len(kept)
        if length < shortest:
            shortest, best = length, [values[i] for i in kept]
    return best


def operation_count(outputs: Iterable[Value]) -> int:
    """How many operations the outputs take: what decides when threads pay off."""
    free = ("input", "constant")
    return sum(value.operation not in free for value in ordered(outputs))


def clamp_bounds(outputs: Iterable[Value]) -> list[Value]:
    """The constants that values are clamped to."""
    found = {}
    for value in ordered(outputs):
        if value.operation == "where":
            condition, bound, x = value.arguments
            ordering = condition.operation in ("lt", "gt")
            clamps = condition.arguments[0] is x and condition.arguments[1] is bound
            if ordering and clamps and bound.constant is not None:
                found[id(bound)] = bound
    return list(found.values())


class _Printer(ABC):
    """What the printers share: names of temporaries and the walk over the graph."""

    keyword = ""
    end = ""

    def __init__(self, precision: Precision, suffix: str = "") -> None:
        self.precision = precision
        self.suffix = suffix  # of every name
        self.names: dict[int, str] = {}
        self.used: set[str] = set()

    def statements(
        self, outputs: list[Value], known: Iterable[Value] = ()
    ) -> Iterator[str]:
        """One assignment for each value beside known ones, which have names."""
        for value in self.sequence(outputs, known):
            match value.operation:
                case "input":
                    self.names[id(value)] = self.input_name(value.arguments[0])
                case "constant":
                    self.names[id(value)] = self.literal(value)
                case _:
                    name = f"t{len(self.names)}{self.suffix}"
                    arguments = [self.name(a) for a in value.arguments]
                    expression = self.expression(value, arguments)
                    if value.kind == "bool":
                        # gcc keeps a condition as a mask only where it is written in
                        # place: stored in an int it costs a conversion and a compare
                        self.names[id(value)] = f"({expression})"
                        continue
                    self.names[id(value)] = name
                    yield f"{self.declaration(value)}{name} = {expression}{self.end}"

    def sequence(
        self, outputs: Iterable[Value], known: Iterable[Value]
    ) -> Iterable[Value]:
        """Every value the outputs need, each after what it needs itself."""
        return ordered(outputs, known)

    def name(self, argument: Any) -> str:
        self.used.add(self.names[id(argument)])
        return self.names[id(argument)]

    def input_name(self, name: str) -> str:
        """What an input of the formula is called."""
        return name + self.suffix

    @abstractmethod
    def literal(self, value: Value) -> str:
        """A constant as the language writes it."""

    @abstractmethod
    def declaration(self, value: Value) -> str:
        """What stands before a new name."""

    @abstractmethod
    def expression(self, value: Value, arguments: list[str]) -> str:
        """An operation on arguments that have names."""


class CPrinter(_Printer):
    """Prints C for the macros of csrc/primitives.h."""

    end = ";"

    def __init__(
        self, precision: Precision, bounds: Iterable[Value] = (), suffix: str = ""
    ) -> None:
        super().__init__(precision, suffix)
        self.bounds = {id(bound): f"bound{i}" for i, bound in enumerate(bounds)}

    def literal(self, value: Value) -> str:
        return self.bounds.get(id(value)) or self.number(value)

    def number(self, value: Value) -> str:
        """A constant's digits."""
        if value.kind != "real":
            integer = int(value.constant)
            # Decimal digits alone would be a signed number, which has one bit less.
            return f"{integer}u" if integer >= 2**63 else f"{integer}"
        number: float = value.constant
        if number != number:
            return f"FA_NAN({self.precision.arithmetic})"
        if number in (float("inf"), float("-inf")):
            return (
                f"({'-' if number < 0 else ''}FA_INFINITY({self.precision.arithmetic}))"
            )
        return f"({number.hex()}{'f' if self.precision.bits == 32 else ''})"

    def declaration(self, value: Value) -> str:
        ctype = {
            "real": f"fa_{self.precision.arithmetic}",
            "integer": f"fa_bits_{self.precision.arithmetic}",
        }
        return f"const {ctype[value.kind]} "

    def expression(self, value: Value, arguments: list[str]) -> str:
        operation = value.operation
        for table in (ARITHMETIC, COMPARISONS, LOGIC, INTEGER_ARITHMETIC):
            if operation in table:
                return f"{arguments[0]} {table[operation]} {arguments[1]}"
        match operation:
            case "neg":
                return f"-{arguments[0]}"
            case "where":
                return "{} ? {} : {}".format(*arguments)
            case _:
                joined = ", ".join(arguments)
                name = "bits_of" if operation == "bits" else operation
                return f"fa_{name}_{self.precision.arithmetic}({joined})"


class NumbaPrinter(_Printer):
    """Prints Python for Numba, where every constant is a global of the kernel's dtype."""

    def __init__(self, precision: Precision, constants: dict[str, str]) -> None:
        super().__init__(precision)
        self.constants = constants

    def sequence(
        self, outputs: Iterable[Value], known: Iterable[Value]
    ) -> Iterable[Value]:
        return scheduled(outputs)

    def input_name(self, name: str) -> str:
        return f"v_{name}"  # whatever a user calls it, no other name is like this

    def literal(self, value: Value) -> str:
        if value.kind == "bool":
            return str(value.constant)
        if value.kind == "integer":
            number = int(value.constant)
            name, text = (
                f"U{self.precision.bits}_{number}",
                f"np.uint{self.precision.bits}",
            )
        else:
            number = value.constant
            pattern = self.precision.to_bits(number)
            name, text = (
                f"F{self.precision.bits}_{pattern:x}",
                f"np.float{self.precision.bits}",
            )
        self.constants[name] = f'{text}("{number!r}")'
        return name

    def declaration(self, value: Value) -> str:
        return ""

    def expression(self, value: Value, arguments: list[str]) -> str:
        operation = value.operation
        for table in (ARITHMETIC, COMPARISONS, LOGIC):
            if operation in table:
                return f"{arguments[0]} {table[operation]} {arguments[1]}"
        if operation in INTEGER_ARITHMETIC:
            # Numba widens small integers; the cast brings back the kernel's modulus.
            sign = INTEGER_ARITHMETIC[operation]
            return f"np.uint{self.precision.bits}({arguments[0]} {sign} {arguments[1]})"
        match operation:
            case "neg":
                return f"-{arguments[0]}"
            case "where":
                condition, a, b = arguments
                return f"{a} if {condition} else {b}"
            case "bits" | "from_bits":
                return f"{operation}_{self.precision.arithmetic}({arguments[0]})"
            case _:
                return f"{operation}({', '.join(arguments)})"


def c_element(
    kernel: Kernel,
    printer: CPrinter,
    index: str,
    stored: Mapping[str, Value],
    known: list[Value],
) -> tuple[str, str]:
    """What a kernel, or a step of it, does with one element: computes, and stores.

    `stored` has values by their arrays, `known` those that earlier steps have kept.
    """
    suffix, real = printer.suffix, f"fa_{printer.precision.arithmetic}"
    printer.names |= {id(v): f"known{k}{suffix}" for k, v in enumerate(known)}
    statements = list(printer.statements(list(stored.values()), known))
    stores = [f"{a}[{index}] = {printer.name(v)};" for a, v in stored.items()]
    arrays = {name: f"a_{name}" for name in kernel.inputs}
    arrays |= {f"known{k}": f"kept{k}" for k in range(len(known))}
    loads = [
        f"const {real} {name}{suffix} = {array}[{index}];"
        for name, array in arrays.items()
        if name + suffix in printer.used
    ]
    return "\n".join([*loads, *statements, ""]), "\n".join([*stores, ""])


def c_pass(
    kernel: Kernel,
    printers: Iterable[CPrinter],
    begin: str,
    stored: Mapping[str, Value],
    known: list[Value],
) -> str:
    """One pass over a block of elements; the text for one of them by each printer."""
    printers = list(printers)
    length = f"FA_BLOCK({printers[0].precision.arithmetic})"
    length += f" / {len(printers)}" if len(printers) > 1 else ""
    elements = [
        c_element(kernel, printer, f"{begin}i" + f" + {length}" * k, stored, known)
        for k, printer in enumerate(printers)
    ]
    body = "".join(part for parts in zip(*elements, strict=True) for part in parts)
    return f"""FA_INDEPENDENT
for (int i = 0; i < {length}; i++) {{
{indent(body, "    ")}}}
"""


def c_loop(
    kernel: Kernel, precision: Precision, outputs: list[Value], fetches: list[str]
) -> str:
    """The loop of a kernel over whole blocks; of several steps, over some at a time."""
    form = precision.arithmetic
    block = f"FA_BLOCK({form})"
    bounds = clamp_bounds(outputs)
    suffixes = ("", "_2") if operation_count(outputs) >= HEAVY else ("",)
    parts = steps(outputs)
    begin, place = ("j + ", " + j") if len(parts) > 1 else ("", "")
    known: list[Value] = []
    passes = ["".join(fetch.format(place) for fetch in fetches)]
    for part in parts:
        is_last = part is parts[-1]
        kept = [f"kept{len(known) + k}" for k in range(len(part))]
        results = [f"a_out_{name}" for name in kernel.outputs]
        stored = dict(zip(results if is_last else kept, part, strict=True))
        printers = [CPrinter(precision, bounds, suffix) for suffix in suffixes]
        passes[-1] += c_pass(kernel, printers, begin, stored, known)
        if not is_last:
            passes.append("")
            known = [*known, *part]
    count = "count" if known else block
    arrays = [*kernel.inputs, *(f"out_{name}" for name in kernel.outputs)]
    advance = f"n -= {count}" + "".join(f", a_{array} += {count}" for array in arrays)
    if not known:
        return f"for (; n > 0; {advance}) {{\n{indent(passes[0], '    ')}}}\n"
    loops = "".join(
        f"for (size_t j = 0; j < count; j += {block}) {{\n{indent(text, '    ')}}}\n"
        for text in passes
    )
    buffers = ", ".join(f"kept{k}[FA_KEPT({form})]" for k in range(len(known)))
    return f"""fa_{form} {buffers};
for (size_t count; n > 0; {advance}) {{
    count = n < FA_KEPT({form}) ? n : FA_KEPT({form});
{indent(loops, "    ")}}}
"""


def c_kernel(kernel: Kernel, precision: Precision) -> str:
    """One kernel as C: a loop over whole blocks, and the function that adds the tail."""
    _, outputs = kernel.record(precision)
    form = precision.arithmetic
    real = f"fa_{form}"
    # gcc makes a clamp one instruction, and not a comparison and a blend, only where it
    # does not know the bound.
    bounds = clamp_bounds(outputs)
    printer = CPrinter(precision, bounds)
    begin = "".join(
        f"{real} {printer.literal(bound)} = {printer.number(bound)};\n"
        f"FA_OPAQUE({printer.literal(bound)});\n"
        for bound in bounds
    )
    arrays = [*kernel.inputs, *(f"out_{name}" for name in kernel.outputs)]
    # Kernels of the 16-bit types work on buffers, which are in the cache.
    fetches = [
        f"FA_FETCH(a_{array}{{}}, ahead, {int(array not in kernel.inputs)});\n"
        for array in arrays
        if str(precision) == form
    ]
    if fetches:
        begin += f"const size_t ahead = FA_AHEAD({form}, n);\n"
    loop = c_loop(kernel, precision, outputs, fetches)
    declared = ", ".join(
        [f"const {real} *a_{name}" for name in kernel.inputs]
        + [f"{real} *a_out_{name}" for name in kernel.outputs]
    )
    name = f"{kernel.name}_{precision}"
    whole = ", ".join(f"a_{array}" for array in arrays)
    tail = ", ".join(f"tail_{array}" for array in arrays)
    buffers = "".join(f"        FA_TAIL({form}, {array});\n" for array in arrays)
    fills = "".join(
        f"        FA_FILL_TAIL({form}, {array});\n" for array in kernel.inputs
    )
    copies = "".join(
        f"        FA_STORE_TAIL(out_{array});\n" for array in kernel.outputs
    )
    return f"""
static FA_NOINLINE void
{name}_blocks(size_t n, {declared})
{{
{indent(begin + loop, "    ")}}}

static void
{name}(size_t n, {declared})
{{
    const size_t whole = n - n % FA_BLOCK({form});
    {name}_blocks(whole, {whole});
    if (whole < n) {{
{buffers}{fills}        {name}_blocks(FA_BLOCK({form}), {tail});
{copies}    }}
}}
"""


def c_kernels() -> str:
    """The file that is compiled once per instruction set."""
    every = [(kernel, precision) for kernel in kernels() for precision in PRECISIONS]
    bodies = "".join(c_kernel(kernel, precision) for kernel, precision in every)
    table = "".join(f"    (fa_function){k.name}_{p},\n" for k, p in every)
    return f"""/* {HEADER} */
{bodies}
static const fa_function all_kernels[] = {{
{table}}};
"""


def prototype(kernel: Kernel, precision: Precision) -> str:
    """The public C function of a kernel, without the closing semicolon."""
    real = C_TYPES[precision.arithmetic]
    arrays = [f"const {real} *{name}" for name in kernel.inputs]
    arrays += [f"{real} *out_{name}" for name in kernel.outputs]
    return f"void fa_{kernel.name}_{precision}(size_t n, {', '.join(arrays)})"


def c_table() -> str:
    """The table of all kernels, and the public functions that call them."""
    rows, functions = "", ""
    every = [(kernel, precision) for kernel in kernels() for precision in PRECISIONS]
    for i, (kernel, precision) in enumerate(every):
        _, outputs = kernel.record(precision)
        fields = (
            f'"{kernel.name}"',
            f"'{ARRAYS[precision.name]}'",
            str(len(kernel.inputs)),
            str(len(kernel.outputs)),
            str(kernel.parameter_count),
            str(operation_count(outputs)),
            "0",
            "0",
        )
        rows += f"    {{{', '.join(fields)}}},\n"
        if precision not in FORMATS:
            continue
        head = prototype(kernel, precision)
        types = head[head.index("(") :]
        names = [*kernel.inputs, *(f"out_{name}" for name in kernel.outputs)]
        functions += f"""
{head}
{{
    ((void (*){types})fa_kernels[{i}].c)(n, {", ".join(names)});
}}
"""
    return f"""/* {HEADER} */
#include "fastact.h"

fa_kernel fa_kernels[] = {{
{rows}}};
const int fa_kernel_count = {len(every)};
{functions}"""


def c_declarations() -> str:
    """Declarations of the public functions, for cffi and for C users."""
    return "".join(
        f"{prototype(kernel, precision)};\n"
        for kernel in kernels()
        for precision in FORMATS
    )


def c_row_formulas() -> str:
    """The formulas of the row functions as inline C functions."""
    text = f"/* {HEADER} */\n"
    for formula in ROW_FORMULAS:
        names = list(inspect.signature(formula).parameters)
        for precision in FORMATS:
            real = f"fa_{precision}"
            with recording(precision) as graph:
                inputs = [graph.node("input", "real", name) for name in names]
                output = formula(*inputs)
            printer = CPrinter(precision)
            body = "".join(f"    {line}\n" for line in printer.statements([output]))
            declared = ", ".join(f"{real} {name}" for name in names) or "void"
            text += f"""
FA_INLINE {real}
{formula.__name__}_{precision}({declared})
{{
{body}    return {printer.name(output)};
}}
"""
    return text


def _computes_two_vectors(outputs: list[Value]) -> bool:
    """Whether LLVM's kernels gain by it, as gcc's do."""
    constants = sum(value.operation == "constant" for value in ordered(outputs))
    return operation_count(outputs) >= HEAVY and constants <= MOST_CONSTANTS


def numba_kernel(
    kernel: Kernel, precision: Precision, constants: dict[str, str]
) -> str:
    """One kernel as Python: scalar functions, loops over arrays, a C entry point."""
    name = f"{kernel.name}_{precision}"
    arrays = [f"a_{name}" for name in kernel.inputs]
    elements = ", ".join(f"{array}[i]" for array in arrays)
    printer = NumbaPrinter(precision, constants)
    inputs = ", ".join(printer.input_name(name) for name in kernel.inputs)
    outputs = [f"out_{output}" for output in kernel.outputs]
    every = ", ".join([*arrays, *outputs])
    targets = ", ".join(f"{output}[i]" for output in outputs)

    def loop(name: str, results: list[Value]) -> str:
        printer = NumbaPrinter(precision, constants)
        body = "".join(f"    {line}\n" for line in printer.statements(results))
        two = "    compute_two_vectors()\n" if _computes_two_vectors(results) else ""
        return f"""

@scalar
def {name}({inputs}):
{body}    return {", ".join(printer.name(result) for result in results)}


@loop
def {name}_loop(n, {every}):
    use_widest_vectors()
    ignore_overlap()
    for i in range(n):
        {targets} = {name}({elements})
{two}"""

    _, results = kernel.record(precision)
    usual, is_unusual = kernel.record_usual(precision)
    text = loop(name, results)
    if is_unusual is None:
        views = ", ".join(f"carray({array}, n)" for array in [*arrays, *outputs])
        return f"""{text}

def {name}_kernel(n, {every}):
    {name}_loop(n, {views})
"""
    text += loop(f"{name}_usual", usual)
    body = "".join(f"        {line}\n" for line in printer.statements([is_unusual]))
    looked_at = ", ".join(f"carray(behind({array}, i), size)" for array in arrays)
    parts = ", ".join(
        f"carray(behind({array}, i), size)" for array in [*arrays, *outputs]
    )
    return f"""{text}

@loop
def {name}_any_unusual(n, {", ".join(arrays)}):
    use_widest_vectors()
    found = False
    for i in range(n):
        {inputs} = {elements}
{body}        found |= {printer.name(is_unusual)}
    return found


def {name}_kernel(n, {every}):
    for i in range(0, n, {BLOCK}):
        size = min(n - i, {BLOCK})
        if {name}_any_unusual(size, {looked_at}):
            {name}_loop(size, {parts})
        else:
            {name}_usual_loop(size, {parts})
"""


def numba_module(every: Iterable[tuple[Kernel, Precision]] | None = None) -> str:
    """The module of these Numba kernels, or of all of the catalogue."""
    if every is None:
        every = ((kernel, p) for kernel in kernels() for p in PRECISIONS)
    constants: dict[str, str] = {}
    bodies = "".join(
        numba_kernel(kernel, precision, constants) for kernel, precision in every
    )
    lines = "".join(f"{name} = {text}\n" for name, text in sorted(constants.items()))
    return f'''"""{HEADER}"""

import numpy as np
from numba import carray

from fastact._numba_language import (
    abs,
    behind,
    bits_f32,
    bits_f64,
    compute_two_vectors,
    copysign,
    fma,
    from_bits_f32,
    from_bits_f64,
    ignore_overlap,
    loop,
    scalar,
    sqrt,
    use_widest_vectors,
)

{lines}{bodies}'''
