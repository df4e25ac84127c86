"""Makes the functions of fastact.numba callable inside @njit code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from . import _core, _numba_language
from .formulas.kernels import Kernel


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
    return ", ".join(
        name if defaults.get(name) is None else f"{name}={defaults[name]!r}"
        for name in kernel.inputs
    )


def _checks(kernel: Kernel) -> str:
    broken = {">": "less_equal", ">=": "less"}
    return "".join(
        f"    if np.any(np.{broken[r.relation]}({r.name}, {r.bound})):\n"
        f"        raise ValueError('{r}')\n"
        for r in kernel.requirements
    )


def register(function: Any, kernel: Kernel, module: Any) -> None:
    """Let @njit code call this function of fastact.numba."""
    parameters = {p.name for p in kernel.entry.parameters}

    def choose(**kinds: Any) -> Callable[..., Any]:
        deciding = [kind for name, kind in kinds.items() if name not in parameters]
        wide = any(_is_wide(kind) for kind in deciding)
        namespace: dict[str, Any] = {
            "np": np,
            "real": np.float64 if wide else np.float32,
            "scalar": getattr(module, f"{kernel.name}_{'f64' if wide else 'f32'}"),
            "use_widest_vectors": _numba_language.use_widest_vectors,
        }
        make = (
            _array_source if any(map(_has_elements, kinds.values())) else _scalar_source
        )
        source = make(kernel, _declaration(kernel), _checks(kernel), kinds)
        exec(source, namespace)
        return namespace["implementation"]  # type: ignore[no-any-return]

    # overload() compares signatures, so the typing function needs the arguments' names
    named = ", ".join(f"{name}={name}" for name in kernel.inputs)
    source = f"def typing({_declaration(kernel)}):\n    return choose({named})\n"
    namespace: dict[str, Any] = {"choose": choose}
    exec(source, namespace)
    overload(function)(namespace["typing"])


_ROWS = ctypes.CFUNCTYPE(
    None, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t
)(_core.LOOP_ADDRESSES["fa_rows"])


def register_rows(function: Any, name: str, inputs: tuple[str, ...]) -> None:
    """Let @njit code call a row function; it calls the C loop by its address."""

    def choose(kinds: list[Any]) -> Callable[..., Any]:
        if not all(map(_has_elements, kinds)):
            raise TypeError(f"{name} takes arrays")
        wide = any(_is_wide(kind) for kind in kinds)
        namespace: dict[str, Any] = {
            "np": np,
            "real": np.float64 if wide else np.float32,
            "size": 8 if wide else 4,
            "rows": _ROWS,
            "keep_alive": _numba_language.keep_alive,
            "data": _core.row_loop_address(name, "d" if wide else "f"),
        }
        casts = "".join(
            f"    c_{array} = np.ascontiguousarray({array}).astype(real)\n"
            for array in inputs
        )
        checks = "".join(
            f"    if {array}.shape != {inputs[0]}.shape:\n"
            f"        raise ValueError('{array} must have the shape of {inputs[0]}')\n"
            for array in inputs[1:]
        )
        pointers = ", ".join(
            [*(f"c_{array}.ctypes.data" for array in inputs), "out.ctypes.data"]
        )
        kept = "".join(
            f"    keep_alive({name})\n"
            for name in [
                *(f"c_{array}" for array in inputs),
                "arrays",
                "dimensions",
                "steps",
            ]
        )
        count = len(inputs) + 1
        source = f"""
def implementation({", ".join(inputs)}, axis=-1):
{checks}    ndim = {inputs[0]}.ndim
    if axis < -ndim or axis >= ndim:
        raise ValueError('axis is out of bounds')
    axis = axis + ndim if axis < 0 else axis
{casts}    out = np.empty({inputs[0]}.shape, real)
    before, after = 1, 1
    for i in range(ndim):
        if i < axis:
            before *= out.shape[i]
        elif i > axis:
            after *= out.shape[i]
    n = out.shape[axis]
    arrays = np.array([{pointers}], np.uintp)
    dimensions = np.array([before if after == 1 else after, n], np.intp)
    steps = np.empty({2 * count}, np.intp)
    steps[:{count}] = n * size if after == 1 else size
    steps[{count}:] = size * after
    for i in range(1 if after == 1 else before):
        rows(arrays.ctypes.data, dimensions.ctypes.data, steps.ctypes.data, data)
        arrays += np.uintp(n * after * size)
{kept}    return out
"""
        exec(source, namespace)
        return namespace["implementation"]  # type: ignore[no-any-return]

    arguments = ", ".join(inputs)
    source = f"def typing({arguments}, axis=-1):\n    return choose([{arguments}])\n"
    namespace: dict[str, Any] = {"choose": choose}
    exec(source, namespace)
    overload(function)(namespace["typing"])
