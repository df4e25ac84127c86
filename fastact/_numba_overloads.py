"""Makes fastact's functions callable inside @njit code.

Numba turns calls of ufuncs with one result into array expressions: one loop for the whole
expression, parallel under ``@njit(parallel=True)``, where it also joins the loops of
neighbouring statements. What it cannot see as a ufunc (several results, parameters by
name) is taken apart into such calls where the caller is parallel, and has a loop of its
own elsewhere.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import ir, ir_utils, targetconfig
from numba.core.rewrites import registry
from numba.core.typing import templates
from numba.extending import lower_builtin, overload

from . import _core, _numba_language, ufuncs
from .formulas.kernels import FORWARD, Kernel
from .formulas.rows import ROW_FUNCTIONS, ROW_INPUTS

# Numba has no annotations.
_infer_global: Any = templates.infer_global
_signature: Any = templates.signature
_lower_builtin: Any = lower_builtin
_ConfigStack: Any = targetconfig.ConfigStack
_Assign: Any = ir.Assign
_Rewrite: Any = registry.Rewrite
_register_rewrite: Any = registry.rewrite_registry.register


def _is_wide(kind: Any) -> bool:
    """Whether an argument of this Numba type makes the kernel a float64 one."""
    scalar: Any = kind.dtype if isinstance(kind, types.Array) else kind
    bits = getattr(scalar, "bitwidth", 0)
    if isinstance(scalar, types.Float):
        return bool(bits == 64)
    if isinstance(scalar, types.Integer):
        return bool(bits > 16)
    if isinstance(scalar, types.Boolean):
        return False
    raise TypeError(f"fastact functions take real numbers, not {kind}")


def _has_elements(kind: Any) -> bool:
    """Whether it is an array with a dimension; one without is a scalar, as to a ufunc."""
    return isinstance(kind, types.Array) and kind.ndim > 0


def _number(name: str, kinds: Mapping[str, Any]) -> str:
    """A scalar argument as the kernel's dtype."""
    return (
        f"real({name}[()])" if isinstance(kinds[name], types.Array) else f"real({name})"
    )


def _scalar_source(
    kernel: Kernel, declared: str, checks: str, kinds: Mapping[str, Any]
) -> str:
    arguments = ", ".join(_number(name, kinds) for name in kernel.inputs)
    return f"def implementation({declared}):\n{checks}    return scalar({arguments})\n"


def _array_source(
    kernel: Kernel, declared: str, checks: str, kinds: Mapping[str, Any]
) -> str:
    """A flat loop where all arrays have one shape, else one over the broadcast shape."""
    arrays = tuple(name for name, kind in kinds.items() if _has_elements(kind))

    def call(suffix: str, index: str) -> str:
        return ", ".join(
            f"real({name}{suffix}[{index}])" if name in arrays else _number(name, kinds)
            for name in kernel.inputs
        )

    outputs = [f"out_{name}" for name in kernel.outputs]
    shapes = ", ".join(f"{name}.shape" for name in arrays)
    first, *others = arrays
    same = " and ".join(f"{name}.shape == {first}.shape" for name in others) or "True"
    lines = [
        f"def implementation({declared}):",
        "    use_widest_vectors()",
        f"{checks}    shape = np.broadcast_shapes({shapes})",
        *(f"    {out} = np.empty(shape, real)" for out in outputs),
    ]
    flat_targets = ", ".join(f"flat_{out}[i]" for out in outputs)
    targets = ", ".join(f"{out}[index]" for out in outputs)
    lines += [
        f"    if {same}:",
        *(f"        {name}_flat = {name}.ravel()" for name in arrays),
        *(f"        flat_{out} = {out}.ravel()" for out in outputs),
        f"        for i in range({first}_flat.size):",
        f"            {flat_targets} = scalar({call('_flat', 'i')})",
        "    else:",
        *(f"        {name}_wide = np.broadcast_to({name}, shape)" for name in arrays),
        "        for index in np.ndindex(shape):",
        f"            {targets} = scalar({call('_wide', 'index')})",
        f"    return {', '.join(outputs)}",
    ]
    return "\n".join(lines) + "\n"


def _declaration(kernel: Kernel) -> str:
    defaults = {p.name: p.default for p in kernel.entry.parameters}
    # repr() of an infinity is a name
    return ", ".join(
        name
        if defaults.get(name) is None
        else f"{name}={repr(defaults[name]).replace('inf', '1e999')}"
        for name in kernel.inputs
    )


def _checks(kernel: Kernel, kinds: Mapping[str, Any]) -> str:
    """Statements that raise for parameters that the function does not allow."""
    broken = {">": ("<=", "less_equal"), ">=": ("<", "less")}
    source = ""
    for r in kernel.requirements:
        operator, function = broken[r.relation]
        compared = (kinds.get(str(name)) for name in (r.name, r.bound))
        if any(isinstance(kind, types.Array) for kind in compared):
            condition = f"np.any(np.{function}({r.name}, {r.bound}))"
        else:
            condition = f"{r.name} {operator} {r.bound}"
        source += f"    if {condition}:\n        raise ValueError('{r}')\n"
    return source


def _is_given(kind: Any) -> bool:
    """Whether an argument was passed; else its type stands for the default."""
    return isinstance(kind, types.Type) and not isinstance(kind, types.Omitted)


def _in_parallel(kernel: Kernel, kinds: Mapping[str, Any]) -> bool:
    """Whether a call is to become part of the caller's parallel loops.

    Numba's parallel loops do not broadcast a parameter of shape (1,), nor arrays of
    different numbers of dimensions: such calls keep a loop of their own.
    """
    parameters = {p.name for p in kernel.entry.parameters}
    arrays = {name: kind for name, kind in kinds.items() if _has_elements(kind)}
    dimensions = {kind.ndim for kind in arrays.values()}
    if parameters & set(arrays) or len(dimensions) != 1:
        return False
    flags = _ConfigStack.top_or_none()
    return flags is not None and bool(flags.auto_parallel.enabled)


def _is_wide_call(kernel: Kernel, kinds: Mapping[str, Any]) -> bool:
    """Whether a kernel computes in float64: its parameters have no say."""
    parameters = {p.name for p in kernel.entry.parameters}
    return any(_is_wide(kind) for name, kind in kinds.items() if name not in parameters)


def _register_element(
    ufunc: Any, kernel: Kernel, module: Any, output: int | None = None
) -> None:
    """Let compiled code call a ufunc on numbers, as array expressions do.

    An overload would be a function of its own; here the call of the kernel stands in the
    function that has the loop, which can then be told to use the widest vectors.
    `output` is the result to take of a kernel with several.
    """

    class Element(templates.AbstractTemplate):
        key = ufunc

        def generic(self, args: Any, kws: Any) -> Any:
            if kws or len(args) != len(kernel.inputs):
                return None
            real = (
                types.float64
                if _is_wide_call(kernel, dict(zip(kernel.inputs, args, strict=True)))
                else types.float32
            )
            if not any(isinstance(kind, types.Array) for kind in args):
                return _signature(real, *[real] * len(args))
            if ufunc not in _PART_UFUNCS:
                return None  # the overload's
            ndim = max(kind.ndim for kind in args if isinstance(kind, types.Array))
            return _signature(types.Array(real, ndim, "C"), *args)

    _infer_global(ufunc, types.Function(Element))

    def call(context: Any, builder: Any, found: Any, arguments: Any) -> Any:
        _numba_language.prefer_widest_vectors(builder.function)
        suffix = "f64" if found.return_type == types.float64 else "f32"
        scalar = types.Dispatcher(getattr(module, f"{kernel.name}_{suffix}"))
        form = scalar.get_call_type(context.typing_context, found.args, {})
        result = context.get_function(scalar, form)(builder, arguments)
        return result if output is None else builder.extract_value(result, output)

    _lower_builtin(ufunc, *[types.Any] * len(kernel.inputs))(call)


# For each kernel that Numba cannot take for a ufunc, one ufunc per result. Compiled code
# alone calls them; that they are ufuncs is what makes array expressions of them.
_parts: dict[str, tuple[np.ufunc, ...]] = {}
_PART_UFUNCS: set[np.ufunc] = set()


def _parts_of(kernel: Kernel, module: Any) -> tuple[np.ufunc, ...]:
    if kernel.name not in _parts:
        count = len(kernel.outputs)
        made = tuple(
            np.frompyfunc(lambda *_: None, len(kernel.inputs), 1) for _ in range(count)
        )
        _PART_UFUNCS.update(made)
        for i, ufunc in enumerate(made):
            _register_element(ufunc, kernel, module, i if count > 1 else None)
        _parts[kernel.name] = made
    return _parts[kernel.name]


@_register_rewrite("after-inference")
class _Unpacking(_Rewrite):  # type: ignore[misc]
    """``y, slope = fa.gelu_with_derivative(x)``: from the parts, not out of a tuple.

    A tuple between two loops would keep Numba from joining them.
    """

    def __init__(self, state: Any = None) -> None:
        self._is_parallel = bool(state.flags.auto_parallel.enabled)

    def match(self, func_ir: Any, block: Any, _types: Any, _calls: Any) -> bool:
        """Find what is taken out of tuples that are made in the same block."""
        self._block = block
        self._taken: dict[Any, Any] = {}
        if not self._is_parallel:
            return False
        assignments = Counter(
            statement.target.name
            for each in func_ir.blocks.values()
            for statement in each.find_insts(_Assign)
        )
        parts: set[str] = set()
        tuples: dict[str, Any] = {}  # what they are made of, by the variable's name
        for statement in block.find_insts(_Assign):
            target, value = statement.target.name, statement.value
            if assignments[target] != 1:
                continue  # it may be another one when it is used
            op = getattr(value, "op", "")
            if op == "arrayexpr" and value.expr[0] in _PART_UFUNCS:
                parts.add(target)
            elif op == "build_tuple" and parts >= {item.name for item in value.items}:
                tuples[target] = value.items
            elif isinstance(value, ir.Var) and value.name in tuples:
                tuples[target] = tuples[value.name]
            elif op == "exhaust_iter" and value.value.name in tuples:
                tuples[target] = tuples[value.value.name]
            elif (
                op == "static_getitem"
                and value.value.name in tuples
                and isinstance(value.index, int)  # not a slice
            ):
                self._taken[statement] = tuples[value.value.name][value.index]
        return bool(self._taken)

    def apply(self) -> Any:
        """The block with the parts themselves."""
        block = self._block.copy()
        block.clear()
        for statement in self._block.body:
            if statement in self._taken:
                item, target = self._taken[statement], statement.target
                block.append(_Assign(item, target, statement.loc))
            elif not isinstance(statement, ir.Del):  # Numba puts them in anew
                block.append(statement)
        return block


def _is_check(_call: Any, _lives: Any, called: list[Any]) -> bool:
    """Whether a call checks parameters: it may be moved, which lets loops be joined."""
    return getattr(getattr(called[0], "py_func", None), "__name__", "") == _CHECK


_CHECK = "fastact_checked_parameter"
ir_utils.remove_call_handlers.append(_is_check)


def _parallel_source(kernel: Kernel, kinds: Mapping[str, Any]) -> str:
    """One array expression for each result; a check that fits into one block of code."""
    names = [p.name for p in kernel.entry.parameters]
    given = {name for name in names if _is_given(kinds[name])}
    checked = [r.name for r in kernel.requirements if {r.name, r.bound} & given]
    source = ""
    passed = list(kernel.inputs)
    if checked:
        source = f"def {_CHECK}({', '.join(names)}):\n{_checks(kernel, kinds)}"
        source += f"    return {checked[0]}\n"
        passed[passed.index(checked[0])] = f"check({', '.join(names)})"
    results = ", ".join(
        f"part_{i}({', '.join(passed)})" for i in range(len(kernel.outputs))
    )
    declared = _declaration(kernel)
    return f"{source}def implementation({declared}):\n    return {results}\n"


def register(function: Any, kernel: Kernel, module: Any) -> None:
    """Let @njit code call a function: a public one of fastact or of fastact.numba."""
    is_ufunc = isinstance(function, np.ufunc) and len(kernel.outputs) == 1

    def choose(**kinds: Any) -> Callable[..., Any] | None:
        if is_ufunc and not any(isinstance(k, types.Array) for k in kinds.values()):
            return None  # `_register_element`'s
        wide = _is_wide_call(kernel, kinds)
        namespace: dict[str, Any] = {
            "np": np,
            "real": np.float64 if wide else np.float32,
            "scalar": getattr(module, f"{kernel.name}_{'f64' if wide else 'f32'}"),
            "use_widest_vectors": _numba_language.use_widest_vectors,
        }
        has_elements = any(map(_has_elements, kinds.values()))
        if not is_ufunc and _in_parallel(kernel, kinds):
            return None  # choose_parallel's
        make = _array_source if has_elements else _scalar_source
        source = make(kernel, _declaration(kernel), _checks(kernel, kinds), kinds)
        exec(source, namespace)
        return namespace["implementation"]  # type: ignore[no-any-return]

    def choose_parallel(**kinds: Any) -> Callable[..., Any] | None:
        if not _in_parallel(kernel, kinds):
            return None
        parts = _parts_of(kernel, module)
        namespace: dict[str, Any] = {"np": np}
        namespace |= {f"part_{i}": part for i, part in enumerate(parts)}
        exec(_parallel_source(kernel, kinds), namespace)
        if _CHECK in namespace:
            namespace["check"] = numba.njit(namespace[_CHECK])
        return namespace["implementation"]  # type: ignore[no-any-return]

    _overload_named(function, kernel, choose)
    if is_ufunc:
        _register_element(function, kernel, module)
    else:
        _overload_named(function, kernel, choose_parallel, inline="always")


def _overload_named(
    function: Any, kernel: Kernel, choose: Callable[..., Any], **options: Any
) -> None:
    """Overload a function; `choose` is given its arguments' types by name."""
    # overload() compares signatures, so the typing function needs the arguments' names
    inputs = kernel.inputs
    named = ", ".join(f"{name}={name}" for name in inputs)
    source = f"def typing({_declaration(kernel)}):\n    return choose({named})\n"
    namespace: dict[str, Any] = {"choose": choose}
    exec(source, namespace)
    overload(function, **options)(namespace["typing"])


@cache
def _sum_to(ndim: int, kept: int) -> Any:
    """A function that sums an array of `ndim` dimensions to a shape of `kept` ones.

    In float64, and in the order of memory whatever the shapes.
    """
    source = "def summed(array, shape):\n"
    if kept == ndim:
        source += "    if array.shape == shape:\n        return array\n"
    source += "    sums = np.zeros(shape, np.float64)\n"
    for k in range(ndim):
        source += f"{'    ' * (k + 1)}for i{k} in range(array.shape[{k}]):\n"
    every = ", ".join(f"i{k}" for k in range(ndim))
    where = [f"i{ndim - kept + k} if shape[{k}] != 1 else 0" for k in range(kept)]
    into = ", ".join(where) or "()"
    source += f"{'    ' * (ndim + 1)}sums[{into}] += array[{every}]\n"
    source += f"    return sums{'.astype(array.dtype)' if kept else '[()]'}\n"
    namespace: dict[str, Any] = {"np": np}
    exec(source, namespace)
    return numba.njit(namespace["summed"])


def register_sums(function: Any, elementwise: Any, kernel: Kernel) -> None:
    """Let @njit code call a function of several inputs that gives a gradient for each.

    `elementwise` gives them in the shape of the result, and is registered already.
    """

    def choose(**kinds: Any) -> Callable[..., Any]:
        arrays = {name: kind for name, kind in kinds.items() if _has_elements(kind)}
        ndim = max((kind.ndim for kind in arrays.values()), default=0)
        wide = _is_wide_call(kernel, kinds)
        namespace: dict[str, Any] = {
            "elementwise": elementwise,
            "real": np.float64 if wide else np.float32,
        }
        results = []
        for i, name in enumerate(kernel.entry.arrays):
            kept = arrays[name].ndim if name in arrays else 0
            namespace[f"sum_{i}"] = _sum_to(ndim, kept) if ndim else None
            summed = f"sum_{i}(part_{i}, {f'{name}.shape' if kept else '()'})"
            summed = summed if kept else f"real({summed})"
            results.append(summed if ndim else f"part_{i}")
        parts = ", ".join(f"part_{i}" for i in range(len(results)))
        source = (
            f"def implementation({_declaration(kernel)}):\n"
            f"    {parts} = elementwise({', '.join(kernel.inputs)})\n"
            f"    return {', '.join(results)}\n"
        )
        exec(source, namespace)
        return namespace["implementation"]  # type: ignore[no-any-return]

    _overload_named(function, kernel, choose)


_ROWS = ctypes.CFUNCTYPE(
    None, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t
)(_core.LOOP_ADDRESSES["fa_rows"])


_ROW_SOURCE = """
def implementation({arguments}):
    ndim = {x}.ndim
    if axis < -ndim or axis >= ndim:
        raise ValueError('axis is out of bounds')
    axis = axis + ndim if axis < 0 else axis
    n, before, after = {x}.shape[axis], 1, 1
    for i in range(ndim):
        if i < axis:
            before *= {x}.shape[i]
        elif i > axis:
            after *= {x}.shape[i]
{groups}{casts}{checks}    out = np.empty({result}, real)
    arrays = np.array([{pointers}], np.uintp)
    dimensions = np.array([before if after == 1 else after, n], np.intp)
    lengths = np.array([{lengths}], np.intp)
    steps = np.empty({step_count}, np.intp)
    for k in range({count}):
        steps[k] = lengths[k] * size if after == 1 else size
    steps[{count}:] = size * after
    for i in range(1 if after == 1 else before):
        rows(arrays.ctypes.data, dimensions.ctypes.data, steps.ctypes.data, data)
        for k in range({count}):
            arrays[k] += np.uintp(lengths[k] * after * size)
{kept}    return {returned}
"""


def _row_source(function: str, member: str, kinds: list[Any]) -> str:
    """Calls of the C loop over all rows of contiguous arrays."""
    facts = ROW_FUNCTIONS[function]
    *_, x = inputs = ROW_INPUTS[member]
    ndim = kinds[-1].ndim
    whole = f"{x}.shape"
    if facts.pools:  # the axis has groups in place of elements
        shape = "".join(
            f"{x}.shape[{i}] if axis != {i} else {x}.shape[{i}] // pool_size, "
            for i in range(ndim)
        )
    else:
        shape = "".join(f"{x}.shape[{i} if axis > {i} else {i + 1}], "
                        for i in range(ndim - 1))  # fmt: skip
    reduced = f"({shape})"
    # Of each operand, whether it has one element per row.
    single = [facts.reduces and member != FORWARD, *[False] * len(inputs)]
    if member == FORWARD:
        single = [False, facts.reduces]
    shapes = [reduced if is_single else whole for is_single in single]
    casts = checks = ""
    for name, kind, wanted in zip(inputs, kinds, shapes, strict=False):
        array = name if _has_elements(kind) else f"np.full((), {name})"
        casts += f"    c_{name} = np.ascontiguousarray({array}).astype(real)\n"
        if name != x and not (wanted == "()" and not _has_elements(kind)):
            text = "the reduced shape" if wanted == reduced else "the shape"
            checks += f"    if {name}.shape != {wanted}:\n"
            checks += f"        raise ValueError('{name} must have {text} of {x}')\n"
    names = [f"c_{name}" for name in inputs]
    return _ROW_SOURCE.format(
        arguments=", ".join([*inputs, *["pool_size"] * facts.pools, "axis=-1"]),
        x=x,
        groups="    if pool_size < 1 or n % pool_size != 0:\n"
        "        raise ValueError('pool_size must divide the length of the axis')\n"
        "    before *= n // pool_size\n"
        "    n = pool_size\n"
        if facts.pools
        else "",
        casts=casts,
        checks=checks,
        result=shapes[-1],
        pointers=", ".join(f"{name}.ctypes.data" for name in [*names, "out"]),
        lengths=", ".join("1" if is_single else "n" for is_single in single),
        count=len(single),
        step_count=2 * len(single) - sum(single),
        kept="".join(
            f"    keep_alive({name})\n"
            for name in [*names, "arrays", "dimensions", "steps"]
        ),
        returned="out[()]" if shapes[-1] == "()" else "out",
    )


def register_rows(function: Any, name: str, member: str) -> None:
    """Let @njit code call a row function; it calls the C loop by its address."""
    inputs = ROW_INPUTS[member]
    pools = ROW_FUNCTIONS[name].pools

    def choose(kinds: list[Any]) -> Callable[..., Any]:
        scalar_dy = ROW_FUNCTIONS[name].reduces and not pools and len(kinds) == 2
        if not all(map(_has_elements, kinds[scalar_dy:])):
            raise TypeError(f"{name + member} takes arrays")
        wide = any(_is_wide(kind) for kind in kinds)
        ufuncs.get(name + member)  # made with it: the record that the loop works on
        namespace: dict[str, Any] = {
            "np": np,
            "real": np.float64 if wide else np.float32,
            "size": 8 if wide else 4,
            "rows": _ROWS,
            "keep_alive": _numba_language.keep_alive,
            "data": _core.row_loop_address(name + member, "d" if wide else "f"),
        }
        exec(_row_source(name, member, kinds), namespace)
        return namespace["implementation"]  # type: ignore[no-any-return]

    arguments = ", ".join(inputs)
    declared = ", ".join([*inputs, *["pool_size"] * pools, "axis=-1"])
    source = f"def typing({declared}):\n    return choose([{arguments}])\n"
    namespace: dict[str, Any] = {"choose": choose}
    exec(source, namespace)
    overload(function)(namespace["typing"])
