"""The primitives of the formulas' language for Numba."""

from __future__ import annotations

import math
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

abs = abs
sqrt = math.sqrt


@intrinsic  # type: ignore[untyped-decorator]
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def copysign(context: Any, magnitude: Any, sign: Any) -> Any:
    """The magnitude with the sign of the second number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind])
        return builder.call(function, arguments)

    return magnitude(magnitude, magnitude), generate


def _reinterpret(source: Any, target: Any, llvm_type: Any) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def reinterpret(context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], llvm_type)

        return target(source), generate

    return reinterpret


bits_f32 = _reinterpret(types.float32, types.uint32, ir.IntType(32))
bits_f64 = _reinterpret(types.float64, types.uint64, ir.IntType(64))
from_bits_f32 = _reinterpret(types.uint32, types.float32, ir.FloatType())
from_bits_f64 = _reinterpret(types.uint64, types.float64, ir.DoubleType())

# A formula must be inlined into its loop, or the loop cannot be vectorised.
scalar = numba.njit(cache=True, error_model="numpy", forceinline=True)
loop = numba.njit(cache=True, error_model="numpy")
