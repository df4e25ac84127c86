"""cffi is the door to C: kernels called by their C names give the ufuncs' bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import Call, assert_same_bits

import fastact as fa
from fastact.formulas.kernels import kernels

C_TYPES = {np.float32: "float", np.float64: "double"}
SUFFIXES = {np.float32: "f32", np.float64: "f64"}
# Nothing, less than a vector, whole blocks with a tail.
SIZES = (0, 1, 7, 1000)


def _pointer(array: np.ndarray[Any, Any]) -> Any:
    writable = array.flags.writeable
    kind = f"{C_TYPES[array.dtype.type]}[]"
    return fa.ffi.from_buffer(kind, array, require_writable=writable)


def _call_c(call: Call, dtype: Any, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The kernel by its C name; what lies behind the outputs must stay."""
    n = arrays[0].size
    parameters = tuple(np.full(n, value, dtype) for value in call.parameters)
    outputs = [np.full(n + 1, 77, dtype) for _ in range(call.output_count)]
    function = getattr(fa.lib, f"fa_{call.kernel.name}_{SUFFIXES[dtype]}")
    function(n, *map(_pointer, (*arrays, *parameters, *outputs)))
    assert all(out[n] == 77 for out in outputs), "wrote past the end"
    return tuple(out[:n] for out in outputs)


@pytest.mark.parametrize("n", SIZES)
def test_every_kernel_gives_the_bits_of_its_ufunc(call: Call, n: int) -> None:
    if fa.get_backend() != "c":
        pytest.skip("fa.lib is C, whatever the backend")
    for dtype in C_TYPES:
        arrays = call.bit_patterns(dtype, n, seed=n)
        found = _call_c(call, dtype, arrays)
        assert_same_bits(found, call.results(*arrays), dtype)


def test_the_example_of_the_documentation_works() -> None:
    x = np.linspace(-3, 3, 1000, dtype=np.float32)
    y = np.empty_like(x)
    fa.lib.fa_gelu_f32(
        x.size, fa.ffi.from_buffer("float[]", x), fa.ffi.from_buffer("float[]", y)
    )
    assert_same_bits(y, fa.gelu(x))


@pytest.mark.parametrize("dtype", C_TYPES)
def test_a_parameter_may_differ_from_element_to_element(dtype: Any) -> None:
    x = np.linspace(-9, 9, 1000, dtype=dtype)
    dy, beta = np.cos(x), np.linspace(0.5, 2, 1000, dtype=dtype)
    dx = np.empty_like(x)
    function = getattr(fa.lib, f"fa_swish_backward_{SUFFIXES[dtype]}")
    function(x.size, *map(_pointer, (dy, x, beta, dx)))
    assert_same_bits(dx, fa.swish_backward(dy, x, beta))


@pytest.mark.parametrize("dtype", C_TYPES)
def test_the_output_may_be_the_input(dtype: Any) -> None:
    x = np.linspace(-9, 9, 1003, dtype=dtype)
    expected = fa.mish(x)
    getattr(fa.lib, f"fa_mish_{SUFFIXES[dtype]}")(x.size, _pointer(x), _pointer(x))
    assert_same_bits(x, expected)


def test_read_only_arrays_can_be_read() -> None:
    x = np.linspace(-9, 9, 100, dtype=np.float32)
    x.flags.writeable = False
    y = np.empty_like(x)
    fa.lib.fa_silu_f32(x.size, _pointer(x), _pointer(y))
    assert_same_bits(y, fa.silu(x))


def test_the_wrong_type_of_array_is_a_type_error() -> None:
    x = np.zeros(8)
    with pytest.raises(TypeError):
        fa.lib.fa_gelu_f32(x.size, _pointer(x), _pointer(x))


def test_there_is_a_c_function_for_every_kernel_and_precision() -> None:
    names = {
        f"fa_{kernel.name}_{suffix}"
        for kernel in kernels()
        for suffix in SUFFIXES.values()
    }
    assert names <= set(dir(fa.lib))
    # the table of kernels is public too, for those who want to know what there is
    table = {
        f"fa_{fa.ffi.string(record.name).decode()}_"
        + {b"f": "f32", b"d": "f64"}[record.type]
        for record in map(fa.lib.fa_kernels.__getitem__, range(fa.lib.fa_kernel_count))
        if record.type != b"e"  # of 16-bit arrays: for the loops only
    }
    assert table == names
