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


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, a, a), generate


@intrinsic
def copysign(context: Any, magnitude: Any, sign: Any) -> Any:
    """The magnitude with the sign of the second number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        form = ir.FunctionType(kind, [kind, kind])
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], form)
        return builder.call(function, arguments)

    return magnitude(magnitude, magnitude), generate


def _reinterpret(source: Any, target: Any, llvm_type: Any) -> Any:
    @intrinsic
    def reinterpret(context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], llvm_type)

        return target(source), generate

    return reinterpret


bits_f32 = _reinterpret(types.float32, types.uint32, ir.IntType(32))
bits_f64 = _reinterpret(types.float64, types.uint64, ir.IntType(64))
from_bits_f32 = _reinterpret(types.uint32, types.float32, ir.FloatType())
from_bits_f64 = _reinterpret(types.uint64, types.float64, ir.DoubleType())


def prefer_widest_vectors(function: Any) -> None:
    """Tell LLVM to use 512-bit vectors where there are any, as the C kernels do.

    LLVM prefers 256 bits on most processors with AVX-512. llvmlite knows no attributes
    with a value, but prints what its set of attributes holds.
    """
    set.add(function.attributes, '"prefer-vector-width"="512"')


@intrinsic
def use_widest_vectors(context: Any) -> Any:
    """Apply `prefer_widest_vectors` to the function in which this is called."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        prefer_widest_vectors(builder.function)
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def ignore_overlap(context: Any) -> Any:
    """Tell LLVM that no array of this function overlaps another.

    It would have to look, and gives up on vectors where there are many arrays. An output
    may be an input, but then element by element, which no order of operations harms.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def compute_two_vectors(context: Any) -> Any:
    """Let each pass of the loops above this call compute two vectors.

    While one waits for a result the other goes on. LLVM does so by itself only in loops
    of few operations.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        module, blocks = builder.module, builder.function.blocks
        name = ir.MetaDataString(module, "llvm.loop.interleave.count")
        fact = module.add_metadata([name, ir.Constant(ir.IntType(32), 2)])
        places = {id(block): i for i, block in enumerate(blocks)}
        for place, block in enumerate(blocks):
            end = block.terminator
            targets = end.operands if isinstance(end, ir.Branch) else ()
            if any(places[id(target)] <= place for target in targets):
                # What is told of a loop begins with itself: no two are taken for one
                loop = ir.MDValue(module, (), str(len(module.metadata)))
                loop.operands = (loop, fact)
                end.set_metadata("llvm.loop", loop)
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def behind(context: Any, pointer: Any, count: Any) -> Any:
    """The pointer to what stands this many elements behind another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, count), generate


@intrinsic
def keep_alive(context: Any, array: Any) -> Any:
    """Do nothing: Numba frees an array after its last use, which this then is.

    For arrays whose address a C function has: the use of an address is none of the array.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return types.none(array), generate


# A formula must be inlined into its loop, or the loop cannot be vectorised.
scalar = numba.njit(cache=True, error_model="numpy", forceinline=True)
loop = numba.njit(cache=True, error_model="numpy")
