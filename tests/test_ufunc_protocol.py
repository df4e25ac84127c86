"""Every public function behaves as a NumPy ufunc does, whatever it is called with."""

from __future__ import annotations

import copy
import ctypes
import ctypes.util
import inspect
import pickle
import platform
import pydoc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import (
    BACKWARD_FROM_OUTPUT,
    CALLS,
    DTYPES,
    ENTRIES,
    PARAMETER_BACKWARD,
    Call,
    assert_same_bits,
    each,
    members,
)

import fastact as fa
from fastact import families
from fastact.checking.truth import finfo
from fastact.formulas.entry import Entry

# More than one staged block, whatever the dtype (csrc/loops.c), with a remainder.
SEVERAL_BLOCKS = 5003

BINARY = sorted(
    name
    for name in fa.ufuncs.__all__
    if (u := fa.ufuncs.get(name)).nin == 2 and u.nout == 1 and u.signature is None
)
ELEMENTWISE = [entry.name + member for entry in ENTRIES for member in members(entry)]
PUBLIC = [name for name in fa.__all__ if callable(getattr(fa, name))]


# ------------------------------------------------------------------------ what it is


def test_is_a_real_ufunc_or_a_function_over_ones(call: Call) -> None:
    assert isinstance(call.ufunc, np.ufunc)
    assert getattr(fa.ufuncs, call.kernel.name) is call.ufunc
    if not call.entry.parameters:
        assert isinstance(call.function, np.ufunc)
        assert call.function is call.ufunc


def test_has_loops_that_keep_the_dtype(call: Call) -> None:
    for dtype in DTYPES:
        for result in call.results(*call.operands(dtype, 5)):
            assert result.dtype == dtype


# ----------------------------------------------------------------------- out, where


def test_writes_into_out(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, SEVERAL_BLOCKS)
        expected = call.results(*arrays)
        out = tuple(np.full(SEVERAL_BLOCKS, 7, dtype) for _ in expected)
        found = call.results(*arrays, out=out)
        assert all(a is b for a, b in zip(found, out, strict=True))
        assert_same_bits(out, expected, np.dtype(dtype))


def test_out_may_be_the_input(call: Call) -> None:
    for dtype in DTYPES:
        for position in range(call.array_count):
            arrays = call.operands(dtype, SEVERAL_BLOCKS)
            expected = call.results(*arrays)
            out = (arrays[position], *[None] * (call.output_count - 1))
            assert_same_bits(call.results(*arrays, out=out), expected, position)


@pytest.mark.parametrize("shift", [-5, -1, 1, 5], ids=lambda n: f"shifted by {n}")
@pytest.mark.parametrize("step", [1, 2, -1], ids=lambda n: f"step {n}")
def test_out_may_overlap_the_input(call: Call, shift: int, step: int) -> None:
    for dtype in DTYPES:
        for position in range(call.array_count):
            arrays = list(call.operands(dtype, SEVERAL_BLOCKS))
            buffer = np.zeros(2 * SEVERAL_BLOCKS + 20, dtype)
            inputs = buffer[5 : 5 + 2 * SEVERAL_BLOCKS][:: abs(step)]
            inputs = inputs[:SEVERAL_BLOCKS][:: 1 if step > 0 else -1]
            inputs[...] = arrays[position]
            expected = call.results(*arrays)
            arrays[position] = inputs
            out = buffer[5 + shift : 5 + shift + SEVERAL_BLOCKS]
            outs = (out, *[None] * (call.output_count - 1))
            assert_same_bits(call.results(*arrays, out=outs), expected, position)


def test_out_may_be_strided_and_reversed(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, SEVERAL_BLOCKS)
        expected = call.results(*arrays)
        buffer = np.full((3, 3 * SEVERAL_BLOCKS), 7, dtype)
        for view in (buffer[0, ::3], buffer[1, ::-3]):
            call.results(*arrays, out=(view, *[None] * (call.output_count - 1)))
            assert_same_bits(view, expected[0])
        untouched = np.delete(buffer[0], slice(None, None, 3))
        assert (untouched == 7).all()
        assert (buffer[2] == 7).all()


def test_out_may_broadcast_the_input(call: Call) -> None:
    arrays = call.operands(np.float32, 5)
    out = tuple(np.zeros((3, 5), np.float32) for _ in range(call.output_count))
    call.results(*arrays, out=out)
    for target, row in zip(out, call.results(*arrays), strict=True):
        assert_same_bits(target, np.stack([row] * 3))


def test_out_of_the_wrong_shape_is_an_error(call: Call) -> None:
    arrays = call.operands(np.float32, (3, 5))
    rest = [None] * (call.output_count - 1)
    for shape in [(3, 4), (5,), (1, 5), (3,), ()]:
        with pytest.raises(ValueError, match=r"broadcast|shape"):
            call.results(*arrays, out=(np.zeros(shape, np.float32), *rest))


def test_read_only_out_is_an_error(call: Call) -> None:
    out = np.zeros(5, np.float32)
    out.flags.writeable = False
    rest = [None] * (call.output_count - 1)
    with pytest.raises(ValueError, match="read-only"):
        call.results(*call.operands(np.float32, 5), out=(out, *rest))
    assert not out.any()


def test_out_may_have_another_float_dtype(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, SEVERAL_BLOCKS)
        expected = call.results(*arrays)
        for other in DTYPES:
            if not np.can_cast(dtype, other, "same_kind"):
                continue  # bfloat16 to float16
            out = tuple(np.zeros(SEVERAL_BLOCKS, other) for _ in expected)
            with np.errstate(over="ignore"):  # NumPy's cast of the finished result
                call.results(*arrays, out=out)
                cast = each(lambda e, t=other: e.astype(t), expected)
            assert_same_bits(out, cast)


def test_out_that_casting_forbids_is_an_error(call: Call) -> None:
    arrays = call.operands(np.float64, 5)
    rest = [None] * (call.output_count - 1)
    with pytest.raises(TypeError, match="cast"):
        call.results(*arrays, out=(np.zeros(5, np.int64), *rest))
    with pytest.raises(TypeError, match="cast"):
        call.results(*arrays, out=(np.zeros(5, np.float32), *rest), casting="safe")


@pytest.mark.parametrize("shape", [(61, 97), (97,), (61, 1), ()], ids=str)
def test_where_leaves_the_rest_untouched(call: Call, shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(1).random(shape) < 0.5
    for dtype in DTYPES:
        arrays = call.operands(dtype, (61, 97))
        out = tuple(np.full((61, 97), 7, dtype) for _ in range(call.output_count))
        call.results(*arrays, out=out, where=mask)
        seven = np.asarray(7, dtype)
        expected = each(lambda e, s=seven: np.where(mask, e, s), call.results(*arrays))
        assert_same_bits(out, expected, np.dtype(dtype))


def test_where_works_on_lists_and_in_place(call: Call) -> None:
    arrays = call.operands(np.float32, 4)
    expected = np.where([True, False, False, True], call.results(*arrays)[0], arrays[0])
    out = (arrays[0], *[None] * (call.output_count - 1))
    if call.output_count > 1:
        out = (arrays[0], np.zeros(4, np.float32))
    call.results(*arrays, out=out, where=[True, False, False, True])
    assert_same_bits(arrays[0], expected)


# --------------------------------------------------------------- dtype, casting, order


def test_dtype_chooses_the_loop(call: Call) -> None:
    for given in DTYPES:
        arrays = call.operands(given, SEVERAL_BLOCKS)
        for wanted in DTYPES:
            try:  # bfloat16 may be asked of bfloat16 only, and float16 of NumPy's dtypes
                np.tanh(np.ones(1, given), dtype=wanted)
            except TypeError:
                with pytest.raises(TypeError):
                    call.results(*arrays, dtype=wanted)
                continue
            expected = call.results(*each(lambda a, t=wanted: a.astype(t), arrays))
            found = call.results(*arrays, dtype=wanted)
            assert_same_bits(found, expected, (given, wanted))


def test_unsupported_dtype_is_an_error(call: Call) -> None:
    arrays = call.operands(np.float32, 3)
    for dtype in (np.int32, np.complex64, np.longdouble, object):
        with pytest.raises(TypeError):
            call(*arrays, dtype=dtype)


def test_casting_is_obeyed(call: Call) -> None:
    arrays = call.operands(np.float64, 3)
    with pytest.raises(TypeError, match="cast"):
        call(*arrays, dtype=np.float32, casting="safe")
    integers = each(lambda a: a.astype(np.int16), arrays)
    with pytest.raises(TypeError, match="cast"):
        call(*integers, casting="no")
    expected = call.results(*each(lambda a: a.astype(np.float32), integers))
    assert_same_bits(call.results(*integers, casting="safe"), expected)


def test_order_and_layout_of_the_result_are_numpys(call: Call) -> None:
    arrays = each(np.asfortranarray, call.operands(np.float32, (4, 5)))
    assert all(r.flags.f_contiguous for r in call.results(*arrays))
    assert all(r.flags.c_contiguous for r in call.results(*arrays, order="C"))


# ----------------------------------------------------------------------- input layouts


def _unaligned(array: np.ndarray) -> np.ndarray:
    bytes_ = np.zeros(array.nbytes + 1, np.uint8)
    view = bytes_[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def _in_wider(array: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    wider = np.full(shape, 99, array.dtype)
    wider[index] = array
    return wider[index]


def _byte_swapped(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder())


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "every second column": lambda a: _in_wider(
        a, np.s_[:, ::2], (a.shape[0], 2 * a.shape[1])
    ),
    "every third row": lambda a: _in_wider(
        a, np.s_[::3, :], (3 * a.shape[0], a.shape[1])
    ),
    "backwards in steps of two": lambda a: _in_wider(
        a, np.s_[:, ::-2], (a.shape[0], 2 * a.shape[1])
    ),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "Fortran": np.asfortranarray,
    "unaligned": _unaligned,
    "byte-swapped": _byte_swapped,
    "unaligned and byte-swapped": lambda a: _unaligned(_byte_swapped(a)),
    "read-only": _read_only,
    "a field of a record": lambda a: _in_wider(
        a.astype([("f", a.dtype)]), ..., a.shape
    )["f"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same(call: Call, layout: str) -> None:
    change = LAYOUTS[layout]
    for dtype in DTYPES:
        arrays = call.operands(dtype, (41, 137))
        expected = call.results(*arrays)
        assert_same_bits(call.results(*each(change, arrays)), expected, dtype)
        if call.array_count > 1:  # one operand ready, the other not
            mixed = (change(arrays[0]), *arrays[1:])
            assert_same_bits(call.results(*mixed), expected, dtype)


def test_unaligned_and_byte_swapped_out(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, (41, 137))
        expected = call.results(*arrays)
        for change in (_unaligned, _byte_swapped):
            out = tuple(change(np.zeros_like(e)) for e in expected)
            call.results(*arrays, out=out)
            assert_same_bits(each(lambda o: o.astype(o.dtype.newbyteorder("=")), out),
                             expected, change.__name__)  # fmt: skip


def test_a_step_of_zero_repeats_one_element(call: Call) -> None:
    for dtype in DTYPES:
        one = call.operands(dtype, 1)
        many = each(lambda a: np.broadcast_to(a, (SEVERAL_BLOCKS,)), one)
        expected = each(lambda e: np.repeat(e, SEVERAL_BLOCKS), call.results(*one))
        assert_same_bits(call.results(*many), expected)
        rows = each(
            lambda a: np.broadcast_to(a[:, None], (7, 300)), call.operands(dtype, 7)
        )
        copies = each(np.ascontiguousarray, rows)
        assert_same_bits(call.results(*rows), call.results(*copies))


def test_operands_broadcast(call: Call) -> None:
    shapes = [(5, 1, 4), (3, 1), (1, 4)][: call.array_count]
    for dtype in DTYPES:
        arrays = tuple(
            call.operands(dtype, shape, seed=i)[i] for i, shape in enumerate(shapes)
        )
        full = np.broadcast_arrays(*arrays)
        expected = call.results(*each(np.ascontiguousarray, tuple(full)))
        assert_same_bits(call.results(*arrays), expected)
    if call.array_count > 1:
        *equal, _ = call.operands(np.float32, 3)
        with pytest.raises(ValueError, match="broadcast"):
            call(*equal, np.zeros(4, np.float32))


def test_zero_dimensional_input_gives_a_scalar(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, 1)
        expected = each(lambda e: e[0], call.results(*arrays))
        for form in (lambda a: a[0], lambda a: np.array(a[0])):
            found = call.results(*each(form, arrays))
            assert all(type(value) is dtype for value in found)
            assert_same_bits(found, expected)
        out = tuple(np.zeros((), dtype) for _ in expected)
        found = call.results(*each(lambda a: a[0], arrays), out=out)
        assert all(a is b for a, b in zip(found, out, strict=True))
        assert_same_bits(out, each(np.asarray, expected))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 5)], ids=str)
def test_empty_input_gives_empty_output(call: Call, shape: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        for result in call.results(*call.operands(dtype, shape)):
            assert result.shape == shape
            assert result.dtype == dtype


def test_lists_and_python_numbers_are_float64(call: Call) -> None:
    arrays = call.operands(np.float64, (2, 3))
    expected = call.results(*arrays)
    assert_same_bits(call.results(*each(lambda a: a.tolist(), arrays)), expected)
    assert_same_bits(call.results(*each(lambda a: tuple(a), arrays)), expected)
    first = each(lambda a: a[0, 0], arrays)
    found = call.results(*each(float, first))
    assert all(type(value) is np.float64 for value in found)
    assert_same_bits(found, call.results(*first))
    assert_same_bits(call.results(*[2] * call.array_count),
                     call.results(*[np.float64(2)] * call.array_count))  # fmt: skip


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQ", ids=lambda c: np.dtype(c).name)
def test_integers_promote_as_in_tanh(call: Call, dtype: str) -> None:
    wanted = np.tanh(np.ones(1, dtype)).dtype
    values = np.arange(4).astype(dtype)
    arrays = (values,) * call.array_count
    expected = call.results(*each(lambda a: a.astype(wanted), arrays))
    assert_same_bits(call.results(*arrays), expected)
    scalars = each(lambda a: a[1], arrays)
    assert_same_bits(call.results(*scalars), each(lambda e: e[1], expected))


REAL = [*"?bhi", *DTYPES]


@pytest.mark.parametrize("first", REAL, ids=lambda c: np.dtype(c).name)
@pytest.mark.parametrize("second", REAL, ids=lambda c: np.dtype(c).name)
def test_two_arrays_promote_as_in_arctan2(first: Any, second: Any) -> None:
    arrays = np.ones(3, first), np.ones(3, second)
    wanted = np.arctan2(*arrays).dtype
    for call in CALLS:
        if call.array_count == 2:
            assert call(*arrays).dtype == wanted, call


def test_python_scalars_beside_an_array_are_weak() -> None:
    for call in CALLS:
        if call.array_count == 2:
            for dtype in DTYPES:
                x = np.ones(3, dtype)  # NumPy: float32 for a float beside bfloat16
                assert call(1.0, x).dtype == np.arctan2(1.0, x).dtype, call
                assert call(x, 1).dtype == dtype, call


UNSUPPORTED = {
    "complex64": np.ones(2, np.complex64),
    "complex128": np.ones(2, np.complex128),
    "longdouble": np.ones(2, np.longdouble),
    "object": np.ones(2, object),
    "strings": np.array(["1", "2"]),
    "bytes": np.array([b"1", b"2"]),
    "dates": np.zeros(2, "M8[s]"),
    "durations": np.zeros(2, "m8[s]"),
    "records": np.zeros(2, [("a", "f4")]),
    "a Python complex": 1j,
    "a Python string": "1",
    "None": None,
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_unsupported_input_is_a_type_error(call: Call, kind: str) -> None:
    for position in range(call.array_count):
        arrays: list[Any] = list(call.operands(np.float32, 2))
        arrays[position] = UNSUPPORTED[kind]
        with pytest.raises(TypeError):
            call(*arrays)


def test_wrong_number_of_arguments_is_a_type_error(call: Call) -> None:
    with pytest.raises(TypeError):
        call.function()
    with pytest.raises(TypeError):
        call.function(*[1.0] * 9)
    with pytest.raises(TypeError):
        call(*call.operands(np.float32, 2), axes=1)


# ------------------------------------------------------- other libraries' array types


def test_masked_arrays_keep_their_mask(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, 6)
        mask = np.array([True, False, False, True, False, True])
        *others, x = arrays
        masked = np.ma.masked_array(x, mask)
        results = call.results(*others, masked)
        for result, full in zip(results, call.results(*arrays), strict=True):
            assert isinstance(result, np.ma.MaskedArray)
            np.testing.assert_array_equal(np.ma.getmaskarray(result), mask)
            assert_same_bits(result.compressed(), full[~mask])
        np.testing.assert_array_equal(masked.mask, mask)


class Tagged(np.ndarray):
    """A subclass that does nothing but be one."""


def test_subclasses_survive(call: Call) -> None:
    arrays = call.operands(np.float32, 4)
    tagged = each(lambda a: a.view(Tagged), arrays)
    for result in call.results(*tagged):
        assert type(result) is Tagged
    for result in call.results(*arrays[:-1], tagged[-1]):
        assert type(result) is Tagged
    for result in call.results(*tagged, subok=False):
        assert type(result) is np.ndarray
    plain = each(lambda r: r.view(np.ndarray), call.results(*tagged))
    assert_same_bits(plain, call.results(*arrays))


class Duck:
    """Takes over every ufunc it is passed to."""

    def __array_ufunc__(self, *arguments: Any, **keywords: Any) -> Any:
        return "taken over", arguments, keywords


class Refuses:
    """Says that it is no operand for ufuncs."""

    __array_ufunc__ = None


def test_array_ufunc_takes_over(call: Call) -> None:
    duck = Duck()
    for position in range(call.array_count):
        arrays: list[Any] = list(call.operands(np.float32, 3))
        arrays[position] = duck
        said, (ufunc, method, *inputs), keywords = call(*arrays, casting="safe")
        assert (said, ufunc, method) == ("taken over", call.ufunc, "__call__")
        assert inputs[position] is duck
        assert keywords == {"casting": "safe"}
        arrays[position] = Refuses()
        with pytest.raises(TypeError):
            call(*arrays)


def test_dask_stays_lazy(call: Call) -> None:
    if call.output_count > 1:
        pytest.skip("dask does not split ufuncs with two outputs")
    dask = pytest.importorskip("dask.array")
    for dtype in DTYPES:
        arrays = call.operands(dtype, (40, 9))
        chunked = each(lambda a: dask.from_array(a, chunks=(13, 4)), arrays)
        result = call(*chunked)
        assert isinstance(result, dask.Array)
        assert result.dtype == dtype
        assert_same_bits(result.compute(scheduler="synchronous"), call(*arrays))


KEEPING_SHAPE = [
    name for name, facts in fa.ufuncs.ROW_FUNCTIONS.items() if not facts.reduces
]


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_row_functions_stay_lazy_on_dask(name: str) -> None:
    dask = pytest.importorskip("dask.array")
    x = np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32)
    for axis, chunks in ((-1, (13, 9)), (1, (13, 9)), (0, (40, 4))):
        chunked = dask.from_array(x, chunks=chunks)
        for suffix, arrays in (("", (x,)), ("_backward", (x, x))):
            function = getattr(fa, name + suffix)
            result = function(*(chunked for _ in arrays), axis=axis)
            assert isinstance(result, dask.Array), suffix
            computed = result.compute(scheduler="synchronous")
            assert_same_bits(computed, function(*arrays, axis=axis), suffix)


# ------------------------------------------- reduce, accumulate, reduceat, at and outer


def _pairs(name: str, dtype: Any, count: int) -> tuple[Any, Any]:
    """Arguments of one-and-two: products of many slopes shall not vanish at once."""
    random = np.random.default_rng(3)
    x = random.uniform(-0.5, 3, count).astype(dtype)
    if fa.ufuncs.get(name).types[0][0] != fa.ufuncs.get(name).types[0][1]:
        x = random.choice([-1.5, -0.75, 0.75, 1.25], count).astype(dtype)
    return random.choice([-1.5, 2.0], count).astype(dtype), x


def _uniform_dtypes(name: str) -> list[Any]:
    """Dtypes for which NumPy offers accumulate and reduceat.

    They need loops whose two inputs have one dtype; a float16 or bfloat16 array with a
    parameter runs a loop with a float32 parameter.
    """
    if "ee->e" in fa.ufuncs.get(name).types:
        return list(DTYPES)
    return [d for d in DTYPES if np.dtype(d).itemsize > 2]


def _naive_accumulate(ufunc: np.ufunc, x: np.ndarray) -> np.ndarray:
    result = x.copy()
    carried = x[0]
    for i in range(1, len(x)):
        carried = ufunc(carried, x[i], dtype=x.dtype)
        result[i] = carried
    return result


@pytest.mark.parametrize("name", BINARY)
def test_reduce_and_accumulate_go_element_by_element(name: str) -> None:
    ufunc = fa.ufuncs.get(name)
    for dtype in DTYPES:
        _, x = _pairs(name, dtype, SEVERAL_BLOCKS)
        uniform = dtype in _uniform_dtypes(name)
        for given in (x, x[::-1], x[::3]):
            expected = _naive_accumulate(ufunc, given)
            assert_same_bits(ufunc.reduce(given), expected[-1], dtype)
            if uniform:
                out = np.empty_like(given)
                assert_same_bits(ufunc.accumulate(given), expected, dtype)
                ufunc.accumulate(given, out=out)
                assert_same_bits(out, expected, dtype)
        if not uniform:
            with pytest.raises(TypeError, match="not compatible with"):
                ufunc.accumulate(x)


@pytest.mark.parametrize("name", BINARY)
def test_reduce_and_accumulate_ignore_threads_and_blocks(name: str) -> None:
    ufunc = fa.ufuncs.get(name)
    _, x = _pairs(name, np.float32, 120_001)
    with fa.num_threads(4):
        found = ufunc.accumulate(x)
        # Each element follows from the one before: checked all at once.
        assert_same_bits(found[0], x[0])
        assert_same_bits(found[1:], ufunc(found[:-1], x[1:]))
        assert_same_bits(ufunc.reduce(x), found[-1])
        in_place = x.copy()
        ufunc.accumulate(in_place, out=in_place)
        assert_same_bits(in_place, found)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("axis", [0, 1, 2, -1], ids=lambda axis: f"axis {axis}")
def test_reduce_along_an_axis(name: str, axis: int) -> None:
    ufunc = fa.ufuncs.get(name)
    for dtype in DTYPES:
        _, flat = _pairs(name, dtype, 9 * 8 * 150)
        for x in (flat.reshape(9, 8, 150), flat.reshape(150, 8, 9).T):
            first, *others = np.moveaxis(x, axis, 0)
            sums = [first]
            for other in others:
                sums.append(ufunc(sums[-1], other, dtype=dtype))
            expected = np.stack(sums, axis)
            assert_same_bits(ufunc.reduce(x, axis=axis), sums[-1], dtype)
            if dtype in _uniform_dtypes(name):
                assert_same_bits(ufunc.accumulate(x, axis=axis), expected, dtype)
            kept = ufunc.reduce(x, axis=axis, keepdims=True)
            assert_same_bits(kept, np.expand_dims(sums[-1], axis))


@pytest.mark.parametrize("name", BINARY)
def test_reduce_of_a_wide_array_along_its_first_axis_may_use_threads(name: str) -> None:
    ufunc = fa.ufuncs.get(name)
    _, x = _pairs(name, np.float32, 3 * 600_000)
    x = x.reshape(3, -1)
    with fa.num_threads(3):
        expected = ufunc(ufunc(x[0], x[1]), x[2])
        assert_same_bits(ufunc.reduce(x, axis=0), expected)


@pytest.mark.parametrize("name", BINARY)
def test_reduceat_at_and_outer(name: str) -> None:
    ufunc = fa.ufuncs.get(name)
    for dtype in DTYPES:
        a, x = _pairs(name, dtype, 3000)
        starts = np.array([0, 5, 5, 1200, 1201, 2999])
        ends = [5, 6, 1200, 1201, 2999, 3000]
        pieces = [x[s : max(e, s + 1)] for s, e in zip(starts, ends, strict=True)]
        expected = np.array([_naive_accumulate(ufunc, p)[-1] for p in pieces], dtype)
        if dtype in _uniform_dtypes(name):
            assert_same_bits(ufunc.reduceat(x, starts), expected, dtype)

        index = np.random.default_rng(5).integers(0, 50, 3000)
        found, looped = a[:50].copy(), a[:50].copy()
        ufunc.at(found, index, x)
        for i, value in zip(index, x, strict=True):
            looped[i] = ufunc(looped[i], value, dtype=dtype)
        assert_same_bits(found, looped, dtype)

        outer = ufunc.outer(a[:70], x[:90], dtype=dtype)
        rows = [ufunc(value, x[:90], dtype=dtype) for value in a[:70]]
        assert_same_bits(outer, np.stack(rows), dtype)


def test_at_of_unary_functions(entry: Entry) -> None:
    for call in CALLS:
        if call.entry is entry and call.ufunc.nin == call.ufunc.nout == 1:
            x = call.operands(np.float32, 20)[0]
            index = np.array([3, 3, 0, 19, -1])
            found, looped = x.copy(), x.copy()
            call.ufunc.at(found, index)
            for i in index:
                looped[i] = call.ufunc(looped[i])
            assert_same_bits(found, looped, call)


# ---------------------------------------------------- pickling, help, names, attributes


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_pickle_to_themselves(name: str) -> None:
    function = getattr(fa, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.copy(function) is function
    assert copy.deepcopy(function) is function
    assert copy.deepcopy({"activation": [function]})["activation"][0] is function


@pytest.mark.parametrize("name", fa.ufuncs.__all__)
def test_ufuncs_pickle_to_themselves(name: str) -> None:
    ufunc = getattr(fa.ufuncs, name)
    assert isinstance(ufunc, np.ufunc)
    assert ufunc.__name__ == name
    assert pickle.loads(pickle.dumps(ufunc)) is ufunc
    assert copy.deepcopy(ufunc) is ufunc


@pytest.mark.parametrize("name", PUBLIC)
def test_help_has_numpydoc_sections(name: str) -> None:
    function = getattr(fa, name)
    text = inspect.getdoc(function) or ""
    shown = pydoc.render_doc(function, renderer=pydoc.plaintext)
    sections = ["Parameters\n---"] if inspect.signature(function).parameters else []
    if name in ELEMENTWISE:
        sections += ["Returns\n---", "Raises\n---", "Notes\n---"]
    for section in sections:
        assert section in text
        assert section.split("\n")[0] in shown
    assert len(text.strip()) > 40


@pytest.mark.parametrize("name", PUBLIC)
def test_signature_can_be_had(name: str) -> None:
    inspect.signature(getattr(fa, name))


def test_signature_names_the_arguments(entry: Entry) -> None:
    for member in members(entry):
        function = getattr(fa, entry.name + member)
        signature = inspect.signature(function)
        gradients = [f"d{name}" for name in entry.results]
        expected = list(entry.arrays)
        if member == BACKWARD_FROM_OUTPUT:
            expected = [*gradients, *entry.results]
        elif "backward" in member:
            expected = [*gradients, *entry.arrays]
        expected += [p.name for p in entry.parameters]
        assert list(signature.parameters)[: len(expected)] == expected
        assert "out" in signature.parameters
        assert ("where" in signature.parameters) == (member != PARAMETER_BACKWARD)
        for parameter in entry.parameters:
            default = signature.parameters[parameter.name].default
            if parameter.default is None:
                assert default is inspect.Parameter.empty
            else:
                assert default == parameter.default


def test_members_are_attributes_of_the_forward_function(entry: Entry) -> None:
    forward = getattr(fa, entry.name)
    for member in members(entry):
        if member:
            function = getattr(fa, entry.name + member)
            assert getattr(forward, member.removeprefix("_")) is function


@pytest.mark.parametrize("name", fa.ufuncs.ROW_FUNCTIONS)
def test_members_are_attributes_of_row_functions(name: str) -> None:
    forward = getattr(fa, name)
    for member in fa.ufuncs.ROW_FUNCTIONS[name].members[1:]:
        function = getattr(fa, name + member)
        assert getattr(forward, member.removeprefix("_")) is function


def test_functions_say_where_they_are_found(entry: Entry) -> None:
    for member in members(entry):
        function = getattr(fa, entry.name + member)
        assert function.__name__ == entry.name + member
        assert function.__module__.split(".")[0] == "fastact"


@pytest.mark.parametrize(("alias", "name"), list(families.aliases()))
def test_other_systems_names_are_the_same_object(alias: str, name: str) -> None:
    assert getattr(fa, alias) is getattr(fa, name)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("geul", "gelu"),
        ("gelu_backwards", "gelu_backward"),
        ("leakyrelu", "leaky_relu"),
        ("sigmoid_derivate", "sigmoid_derivative"),
        ("soft_max", "softmax"),
    ],
)
def test_a_typo_suggests_the_nearest_name(typo: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=rf"did you mean '{meant}'"):
        getattr(fa, typo)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'zzzzzz'"):
        fa.zzzzzz  # noqa: B018 - the access is the test
    with pytest.raises(AttributeError, match="may mean gelu_tanh"):
        fa.gelu_fast  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(fa.__all__) <= set(dir(fa))


# ---------------------------------------------------------- floating-point environment


def _special(dtype: Any) -> np.ndarray:
    info = finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny, 1e-3, 1, 50, info.max, np.inf]
    values = np.array([*positive, np.nan], dtype)
    return np.concatenate([values, -values])


def test_no_floating_point_error_is_ever_raised(call: Call) -> None:
    with np.errstate(all="raise"):
        for dtype in DTYPES:
            special = _special(dtype)
            pairs = np.meshgrid(*[special] * call.array_count)
            call(*(a.ravel() for a in pairs))
            patterns = call.bit_patterns(dtype, 3001)
            call(*patterns)
            call(*each(lambda a: a[::2], patterns))
            for value in special:
                call(*[value] * call.array_count)


def test_no_floating_point_error_from_several_threads(call: Call) -> None:
    patterns = call.bit_patterns(np.float32, call.size_worth_threads())
    with np.errstate(all="raise"), fa.num_threads(3):
        call(*patterns)


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_no_floating_point_error_from_row_functions(name: str) -> None:
    with np.errstate(all="raise"):
        for dtype in DTYPES:
            size = np.dtype(dtype).itemsize
            bits = np.random.default_rng(0).bytes(64 * 50 * size)
            x = np.frombuffer(bits, dtype).reshape(64, 50)
            for a in (x, np.stack(np.meshgrid(*[_special(dtype)] * 2), -1)):
                getattr(fa, name)(a)
                getattr(fa, name)(a, scale=0.5)
                getattr(fa, f"{name}_backward")(a, a)
                getattr(fa, f"{name}_backward_from_output")(a, a)


def _libm() -> ctypes.CDLL:
    if platform.machine() not in ("x86_64", "aarch64") or platform.system() != "Linux":
        pytest.skip("the constants of <fenv.h> are those of glibc here")
    return ctypes.CDLL(ctypes.util.find_library("m"))


INVALID = 0x01  # FE_INVALID on both
ALL_FLAGS = 0x3D if platform.machine() == "x86_64" else 0x1F
UPWARD = 0x800 if platform.machine() == "x86_64" else 0x400000


def test_flags_that_others_raised_stay_and_none_is_added() -> None:
    # NumPy clears the flags before it calls a loop, so the loop is called through cffi.
    libm = _libm()
    index = fa._core.kernel_index["sigmoid", "f"]
    loop = fa.ffi.new("fa_loop *")
    loop.kernel, loop.types = fa.lib.fa_kernels + index, b"ff"
    x = np.array([-1e38, -90.0, 0.3, 1e38, np.nan], np.float32)
    y = np.empty_like(x)
    arrays = fa.ffi.new("char *[]", [fa.ffi.from_buffer("char[]", a) for a in (x, y)])
    dimensions, steps = (
        fa.ffi.new("ptrdiff_t[]", [5]),
        fa.ffi.new("ptrdiff_t[]", [4, 4]),
    )
    libm.feclearexcept(ALL_FLAGS)
    libm.feraiseexcept(INVALID)
    try:
        fa.lib.fa_elementwise(arrays, dimensions, steps, loop)
        flags = libm.fetestexcept(ALL_FLAGS)
    finally:
        libm.feclearexcept(ALL_FLAGS)
    assert flags == INVALID
    assert_same_bits(y, fa.sigmoid(x))


def test_the_callers_rounding_mode_changes_nothing_and_stays() -> None:
    libm = _libm()
    x = np.linspace(-20, 20, 200_000, dtype=np.float32)
    expected, before = fa.gelu(x), libm.fegetround()
    out = np.empty_like(x)
    assert libm.fesetround(UPWARD) == 0
    try:
        fa.gelu(x, out=out)
        after = libm.fegetround()
    finally:
        libm.fesetround(before)
    assert after == UPWARD
    assert_same_bits(out, expected)


def test_subnormals_are_not_flushed_in_any_thread() -> None:
    kept = []

    def multiply() -> None:
        # arrays: Python's own arithmetic might be folded, and has no float32
        tiny = np.array([1e-40], np.float32) * np.array([0.5], np.float32)
        tiny_double = np.array([1e-310]) * np.array([0.5])
        kept.append(bool(tiny[0] > 0 and tiny_double[0] > 0))

    multiply()
    fa.gelu(np.zeros(300_000, np.float32))
    multiply()
    thread = threading.Thread(target=multiply)
    thread.start()
    thread.join()
    assert kept == [True] * 3


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("hard_swish", "thinc's"),  # two functions have this name: not guessed
        ("hard_swish_backward", "thinc's"),
        ("gelu_backward_from_output", "gelu has no backward_from_output"),
        ("GELU", "'gelu'"),
    ],
)
def test_names_that_are_not_there_get_advice(name, advice):
    with pytest.raises(AttributeError, match=advice):
        getattr(fa, name)
