"""Parameters: what may be one, which form of the function it selects, its gradient."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from calls import (
    BACKWARD,
    BACKWARD_FROM_OUTPUT,
    BFLOAT16,
    CALLS,
    DTYPES,
    PARAMETER_BACKWARD,
    PARAMETRIC,
    Call,
    assert_same_bits,
    members,
    other_values,
)

import fastact as fa
from fastact.checking import reference
from fastact.formulas.entry import Activation, Entry, Requirement
from fastact.formulas.kernels import Kernel

PARAMETRIC_CALLS = [call for call in CALLS if call.parameters]
DIFFERENTIABLE = [
    entry
    for entry in PARAMETRIC
    if isinstance(entry, Activation) and entry.differentiable_parameters
]

with_other_parameters = pytest.mark.parametrize("call", PARAMETRIC_CALLS, ids=str)
differentiable = pytest.mark.parametrize(
    "entry", DIFFERENTIABLE, ids=lambda entry: entry.name
)


def _compute_dtype(dtype: Any) -> Any:
    return np.float64 if dtype == np.float64 else np.float32


def _values(shape: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    """Parameters between 1/4 and 2 that are exact in every dtype."""
    return np.random.default_rng(seed).integers(4, 33, shape) / 16 + 2 * seed


def _named(entry: Entry) -> dict[str, Any]:
    """Parameters that are not the default ones, by name."""
    names = (p.name for p in entry.parameters)
    return dict(zip(names, other_values(entry), strict=True))


def _general(call: Call, arrays: Any, *values: Any, **keywords: Any) -> Any:
    """The ufunc that takes the parameters as inputs."""
    ufunc = fa.ufuncs.get(call.name)
    return ufunc(*arrays, *values, **keywords)


# ------------------------------------------------------------------ what may be given

SCALARS = {
    "a Python float": 0.75,
    "a NumPy float16": np.float16(0.75),
    "a NumPy float32": np.float32(0.75),
    "a NumPy float64": np.float64(0.75),
    "a NumPy longdouble": np.longdouble(0.75),
    "a 0-d float16 array": np.array(0.75, np.float16),
    "a 0-d float64 array": np.array(0.75),
    "a 0-d big-endian array": np.array(0.75, ">f8"),
    "a Python int": 1,
    "a large Python int": 3,
    "a bool": True,
    "a NumPy int8": np.int8(1),
    "a NumPy uint64": np.uint64(3),
    "a NumPy bool": np.bool_(True),
    "a 0-d int array": np.array(3),
}
if BFLOAT16 is not None:
    SCALARS["a bfloat16"] = BFLOAT16(0.75)
    SCALARS["a 0-d bfloat16 array"] = np.array(0.75, BFLOAT16)


@pytest.mark.parametrize("form", SCALARS)
@with_other_parameters
def test_scalars_never_change_the_dtype(call: Call, form: str) -> None:
    value = SCALARS[form]
    names = [p.name for p in call.entry.parameters]
    for dtype in DTYPES:
        arrays = call.operands(dtype, 50)
        exact = [_compute_dtype(dtype)(value)] * len(names)
        expected = _general(call, arrays, *exact, dtype=None)
        positional = call.function(*arrays, *[value] * len(names))
        assert_same_bits(positional, expected, dtype)
        keyword = call.function(*arrays, **dict.fromkeys(names, value))
        assert_same_bits(keyword, expected, dtype)
        scalar = call.function(*[a[0] for a in arrays], *[value] * len(names))
        first = tuple(scalar) if call.output_count > 1 else (scalar,)
        assert all(type(result) is dtype for result in first)


ARRAY_DTYPES = ["?", "i1", "u1", "i2", "i8", "u8", "e", "f", "d", "g", ">f4", ">f8"]
ARRAY_DTYPES += [] if BFLOAT16 is None else [BFLOAT16]


@pytest.mark.parametrize("given", ARRAY_DTYPES, ids=lambda d: np.dtype(d).str)
@with_other_parameters
def test_arrays_never_change_the_dtype(call: Call, given: Any) -> None:
    for shape in [(7,), (5, 1), (5, 7), (1,), (3, 1, 1)]:
        values = _values(shape)
        if np.dtype(given).kind in "?biu":
            values = np.ceil(values)
        parameter = values.astype(given)
        for dtype in DTYPES:
            arrays = call.operands(dtype, (5, 7))
            exact = parameter.astype(_compute_dtype(dtype))
            repeat = len(call.entry.parameters)
            expected = _general(call, arrays, *[exact] * repeat)
            assert_same_bits(call.function(*arrays, *[parameter] * repeat), expected)
            as_list = [parameter.tolist()] * repeat
            assert_same_bits(call.function(*arrays, *as_list), expected)


@pytest.mark.parametrize("parameter", [0.75, [0.75, 0.5, 1.0]], ids=["scalar", "list"])
@pytest.mark.parametrize("dtype", "?bBhHiIlLqQ", ids=lambda c: np.dtype(c).name)
def test_integers_promote_as_in_tanh_beside_parameters(
    dtype: str, parameter: Any
) -> None:
    wanted = np.tanh(np.ones(1, dtype)).dtype
    x = np.array([0, 1, 3]).astype(dtype)
    for call in PARAMETRIC_CALLS:
        parameters = [parameter] * len(call.entry.parameters)
        arrays = (x,) * call.array_count
        expected = call.function(*[a.astype(wanted) for a in arrays], *parameters)
        assert_same_bits(call.function(*arrays, *parameters), expected, str(call))


@pytest.mark.parametrize("other", ["?", "i1", "i2", "i8", "e", "f", "d", int, float])
def test_bfloat16_promotes_beside_parameters_as_in_arctan2(other: Any) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([-2, 0, 1], bfloat16)
    number = other(1) if isinstance(other, type) else np.ones(3, other)
    wanted = np.arctan2(number, x).dtype
    for call in PARAMETRIC_CALLS:
        if call.array_count == 2 and call.member != BACKWARD_FROM_OUTPUT:
            found = call.results(number, x)
            cast = (np.asarray(number).astype(wanted), x.astype(wanted))
            assert_same_bits(found, call.results(*cast), str(call))


@with_other_parameters
def test_python_numbers_and_lists_as_input_are_float64(call: Call) -> None:
    for parameter in (0.75, np.float32(0.75), [0.75, 1.0]):
        parameters = [parameter] * len(call.entry.parameters)
        for one in ([0.5, -2.0], [1, -2], 0.5, 2):
            found = call.function(*[one] * call.array_count, *parameters)
            expected = call.function(
                *[np.asarray(one, float)] * call.array_count, *parameters
            )
            assert_same_bits(found, expected)


@with_other_parameters
def test_the_parameter_is_rounded_once_to_what_the_kernel_computes_in(
    call: Call,
) -> None:
    precise = 1 / 3  # in no dtype the same
    for dtype in DTYPES:
        arrays = call.operands(dtype, 50)
        repeat = len(call.entry.parameters)
        rounded = _compute_dtype(dtype)(precise)
        expected = _general(call, arrays, *[rounded] * repeat)
        for given in (precise, np.float64(precise), np.full(50, precise)):
            assert_same_bits(call.function(*arrays, *[given] * repeat), expected)


@with_other_parameters
def test_parameters_may_lie_in_any_layout(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.operands(dtype, (40, 130))
        values = _values((40, 130)).astype(_compute_dtype(dtype))
        repeat = len(call.entry.parameters)
        expected = _general(call, arrays, *[values] * repeat)
        wide = np.repeat(values, 2, axis=1)
        for given in (np.asfortranarray(values), wide[:, ::2], values[::-1][::-1]):
            assert_same_bits(call.function(*arrays, *[given] * repeat), expected)


@with_other_parameters
def test_keywords_of_ufuncs_work_beside_parameters(call: Call) -> None:
    arrays = call.operands(np.float32, 6)
    parameters = _named(call.entry)
    mask = np.arange(6) % 2 == 0
    out = tuple(np.full(6, 9, np.float32) for _ in range(call.output_count))
    found = call.function(*arrays, **parameters, out=out, where=mask)
    found = found if isinstance(found, tuple) else (found,)
    for result, target, full in zip(found, out, call.results(*arrays), strict=True):
        assert result is target
        assert_same_bits(result, np.where(mask, full, np.float32(9)))


BAD = {
    "a complex number": 1j,
    "a NumPy complex": np.complex64(1),
    "a string": "0.5",
    "None": None,
    "an object": object(),
    "an array of objects": np.array([0.5, 0.5], object),
    "an array of strings": np.array(["0.5", "0.5"]),
    "an array of complex numbers": np.array([0.5j, 0.5]),
    "a date": np.datetime64("2026-01-01"),
    "a list of strings": ["0.5", "0.5"],
}


@pytest.mark.parametrize("kind", BAD)
@with_other_parameters
def test_bad_parameters_are_named(call: Call, kind: str) -> None:
    names = [p.name for p in call.entry.parameters]
    for bad in names:
        given = _named(call.entry) | {bad: BAD[kind]}
        with pytest.raises(TypeError, match=bad):
            call.function(*call.operands(np.float32, 2), **given)


@pytest.mark.parametrize("kind", BAD)
@differentiable
def test_bad_parameters_are_named_by_the_gradient(entry: Activation, kind: str) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    for bad in entry.parameters:
        given = _named(entry) | {bad.name: BAD[kind]}
        with pytest.raises(TypeError, match=bad.name):
            function(np.ones(2), np.ones(2), **given)


def test_unknown_missing_and_surplus_parameters(parametric: Entry) -> None:
    for member in members(parametric):
        values = other_values(parametric)
        call = Call(parametric, member, values)
        arrays = [np.ones(2, np.float32)] * call.array_count
        with pytest.raises(TypeError):
            call.function(*arrays, *values, 0.5, 0.5, 0.5)
        with pytest.raises(TypeError):
            call.function(*arrays, *values, no_such_parameter=0.5)
        missing = [p.name for p in parametric.parameters if p.default is None]
        if missing:
            with pytest.raises(TypeError, match=missing[0]):
                call.function(*arrays)


# ---------------------------------------------------------------------- default values


@pytest.mark.parametrize(
    "call", [c for c in CALLS if c.entry.has_defaults and not c.parameters], ids=str
)
def test_defaults_are_compiled_in_and_give_the_same_bits(call: Call) -> None:
    names = [p.name for p in call.entry.parameters]
    # A copy, because the default itself is recognised by its identity.
    copies = [float(str(p.default)) for p in call.entry.parameters]
    assert all(c is not p.default for c, p in zip(copies, call.entry.parameters,
                                                  strict=True))  # fmt: skip
    for dtype in DTYPES:
        for arrays in (call.operands(dtype, 3001), call.bit_patterns(dtype, 3001)):
            expected = call(*arrays)
            assert_same_bits(call.ufunc(*arrays), expected, dtype)
            assert_same_bits(call.function(*arrays, *copies), expected, dtype)
            given = dict(zip(names, copies, strict=True))
            assert_same_bits(call.function(*arrays, **given), expected, dtype)
            assert_same_bits(_general(call, arrays, *copies), expected, dtype)
            scalars = [np.float64(c) for c in copies]
            assert_same_bits(call.function(*arrays, *scalars), expected, dtype)


@pytest.mark.parametrize(
    "call", [c for c in CALLS if c.entry.has_defaults and not c.parameters], ids=str
)
def test_defaults_go_to_the_unary_ufunc(call: Call) -> None:
    class Spy:
        def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> Any:
            return ufunc

    arrays = [Spy()] * call.array_count
    assert call.function(*arrays) is call.ufunc
    assert call.ufunc.nin == call.array_count
    assert call.function(*arrays, *other_values(call.entry)) is (
        fa.ufuncs.get(call.name)
    )


# ------------------------------------------------------------- what parameters must be


def _demanding() -> list[tuple[Entry, str, Requirement]]:
    """Every requirement, with the member of the family that has it."""
    found = []
    for entry in PARAMETRIC:
        for member in members(entry):
            kernel = Kernel(entry, member, with_defaults=False)
            found += [
                (entry, member, requirement) for requirement in kernel.requirements
            ]
    return found


@pytest.mark.parametrize(
    ("entry", "member", "requirement"),
    _demanding(),
    ids=lambda v: v.name if isinstance(v, Entry) else str(v),
)
def test_parameters_that_are_not_allowed_are_named(
    entry: Entry, member: str, requirement: Requirement
) -> None:
    call = Call(entry, member, other_values(entry))
    function, arrays = call.function, [np.ones(3)] * call.array_count
    name, given = requirement.name, _named(entry)
    bound = requirement.bound
    least = given[bound] if isinstance(bound, str) else bound
    bad = least if requirement.relation == ">" else least - 0.5
    good = given[name]
    mixed = np.array([good, bad, good])
    for value in (bad, np.float16(bad), np.array(bad), [good, good, bad], mixed):
        out = tuple(np.full(3, 9.0) for _ in range(call.output_count))
        with pytest.raises(ValueError, match=f"{name} must be"):
            function(*arrays, **given | {name: value}, out=out)
        assert all((array == 9).all() for array in out)
    fine = least if requirement.relation == ">=" else least + 1e-3
    function(*arrays, **given | {name: fine})
    function(*arrays, **given | {name: np.full(3, fine)})
    function(*arrays, **given | {name: np.nan})  # a NaN gives NaN, as from NumPy


# --------------------------------------------------------------- gradients of parameters


def _random(shape: Any, dtype: Any, seed: int) -> np.ndarray[Any, Any]:
    return (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def _terms(entry: Activation, dy: Any, x: Any, values: list[Any]) -> list[Any]:
    """Each element's share of each parameter's gradient, in float64."""
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    shape = np.broadcast_shapes(np.shape(dy), np.shape(x), *map(np.shape, values))
    full = [np.broadcast_to(np.asarray(a, float), shape) for a in (dy, x, *values)]
    # With a parameter for each element there is nothing to sum.
    return list(function(*full)[1:])


def _summed(term: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Any:
    extra = term.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and term.shape[extra + i] != 1
    )
    return term.sum(axis=axes, keepdims=True).reshape(shape)


def test_every_parameter_has_a_gradient() -> None:
    for name in fa.names("elementwise"):
        forward = inspect.signature(getattr(fa, name)).parameters.values()
        arguments = [p.name for p in forward if p.kind is p.POSITIONAL_OR_KEYWORD]
        if len(arguments) > 1:
            backward = inspect.signature(getattr(fa, name + PARAMETER_BACKWARD))
            assert list(backward.parameters) == ["dy", *arguments, "out"], name


def test_places_of_jumps_have_no_gradient_and_the_value_below_one_has() -> None:
    x = np.array([-2, 0.5, 1, np.inf, 3])
    dy = np.array([1, 2, np.inf, 4, 5])
    _, dthreshold, dvalue = fa.threshold_parameter_backward(dy, x, 0.5, -2.0)
    assert (dthreshold, dvalue) == (0, 1 + 2)
    assert fa.thresholded_relu_parameter_backward(dy, x)[1] == 0
    assert (
        fa.hardshrink_parameter_backward(dy, x, np.full(5, 0.5))[1].tolist() == [0] * 5
    )
    x[1] = np.nan
    for gradient in fa.threshold_parameter_backward(dy, x, 0.5, -2.0)[1:]:
        assert np.isnan(gradient)


@pytest.mark.parametrize("weight", [0.25, np.full((4, 1), 0.25)], ids=["one", "rows"])
def test_what_is_masked_adds_nothing_to_the_gradients(weight: Any) -> None:
    x, dy = _random((4, 6), np.float32, 0), _random((4, 6), np.float32, 1)
    hidden = np.random.default_rng(2).random(x.shape) < 0.3
    clean = np.where(hidden, 0, x), np.where(hidden, 0, dy)
    expected_dx, expected = fa.prelu_parameter_backward(clean[1], clean[0], weight)
    x[hidden] = np.nan
    for arrays in (
        (np.ma.MaskedArray(dy, hidden), x),
        (dy, np.ma.MaskedArray(x, hidden)),
    ):
        dx, dweight = fa.prelu_parameter_backward(*arrays, weight)
        assert_same_bits(dweight, expected)
        assert np.array_equal(np.ma.getmaskarray(dx), hidden)
        assert_same_bits(dx.filled(0), np.where(hidden, 0, expected_dx))
        for out in (
            (None, np.zeros(np.shape(weight), np.float32)),
            (np.ma.zeros(x.shape, np.float32), None),
        ):
            dx, dweight = fa.prelu_parameter_backward(*arrays, weight, out=out)
            assert_same_bits(dweight, expected)
            assert np.array_equal(np.ma.getmaskarray(dx), hidden)
            assert_same_bits(dx.filled(0), np.where(hidden, 0, expected_dx))
        dx[0] = np.ma.masked
        assert dx.mask[0].all()


@differentiable
def test_partial_derivatives_are_those_of_the_reference(entry: Activation) -> None:
    x = np.concatenate([np.linspace(-9, 9, 38), [-800, -30, 30, 800, 1e-30, -1e-30]])
    others = other_values(entry)
    for values in (others, tuple(2 * value for value in others)):
        found = _terms(entry, np.ones_like(x), x, values)
        for index, term in enumerate(found, start=1):
            expected = [
                float(reference.partial(entry.name, (z, *values), index, -1074))
                for z in x.tolist()
            ]
            np.testing.assert_allclose(term, expected, rtol=2e-15, atol=1e-320)


SHAPES = {
    "a scalar": ((6, 5, 4), ()),
    "one per last axis": ((6, 5, 4), (4,)),
    "one per middle axis": ((6, 5, 4), (5, 1)),
    "one per first axis": ((6, 5, 4), (6, 1, 1)),
    "first and last": ((6, 5, 4), (6, 1, 4)),
    "the last two": ((6, 5, 4), (5, 4)),
    "one per element": ((6, 5, 4), (6, 5, 4)),
    "length one": ((6, 5, 4), (1,)),
    "all of length one": ((6, 5, 4), (1, 1, 1)),
    "PyTorch's channels": ((2, 3, 40, 50), (3, 1, 1)),
    "many per channel": ((9000, 3), (3,)),
    "many rows": ((3, 9000), (3, 1)),
    "a long vector": ((70_001,), ()),
    "more axes than x": ((5, 4), (3, 1, 1)),
    "more axes, all different": ((5, 4), (3, 5, 4)),
    "a longer axis than x": ((1, 4), (5, 1)),
    "a scalar x": ((), (3,)),
    "scalars alone": ((), ()),
    "an empty batch": ((0, 4), (4,)),
    "an empty batch, scalar": ((0, 4), ()),
    "an empty last axis": ((4, 0), (4, 1)),
    "an empty parameter": ((4, 0), (0,)),
    "an empty middle axis": ((2, 0, 3), (3,)),
}


@pytest.mark.parametrize("case", SHAPES)
@differentiable
def test_gradients_are_summed_to_the_parameters_shape(
    entry: Activation, case: str
) -> None:
    x_shape, shape = SHAPES[case]
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    backward = getattr(fa, entry.name + BACKWARD)
    full = np.broadcast_shapes(x_shape, shape)
    values = [_values(shape, seed) for seed in range(len(entry.parameters))]
    for dtype in DTYPES:
        dy, x = _random(full, dtype, 1), _random(x_shape, dtype, 2)
        dx, *gradients = function(dy, x, *values)
        assert_same_bits(dx, backward(dy, x, *values), dtype)
        terms = _terms(entry, dy, x, values)
        for gradient, term in zip(gradients, terms, strict=True):
            assert gradient.dtype == _compute_dtype(dtype)
            assert gradient.shape == shape
            # Each term has some ULP of error, near a root of its factor beside dy; the
            # sum, in float64, adds none to speak of.
            slack = 1e-14 if dtype == np.float64 else 1e-6
            error = np.abs(gradient - _summed(term, shape))
            size = np.maximum(np.abs(term), np.abs(dy.astype(float)) / 100)
            # Nor does it in what float32 has no normal numbers for.
            smallest = np.finfo(gradient.dtype).tiny
            assert (error <= slack * _summed(size, shape) + smallest).all()


@differentiable
def test_gradients_broadcast_dy_and_x(entry: Activation) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    values = [_values((3, 1))] * len(entry.parameters)
    dy, x = _random((5, 1, 1), np.float64, 1), _random((3, 4), np.float64, 2)
    expected = function(
        np.ascontiguousarray(np.broadcast_to(dy, (5, 3, 4))),
        np.ascontiguousarray(np.broadcast_to(x, (5, 3, 4))),
        *values,
    )
    assert_same_bits(function(dy, x, *values), expected)


@differentiable
def test_defaults_of_the_gradient_are_those_of_the_function(entry: Activation) -> None:
    if not entry.has_defaults:
        pytest.skip("has no defaults")
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    dy, x = _random(50, np.float32, 1), _random(50, np.float32, 2)
    values = [p.default for p in entry.parameters]
    assert_same_bits(function(dy, x), function(dy, x, *values))
    assert_same_bits(
        function(dy, x),
        function(dy, x, **{p.name: p.default for p in entry.parameters}),
    )


@differentiable
def test_gradients_have_the_same_bits_for_any_layout_and_threads(
    entry: Activation,
) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    for dtype in DTYPES:
        for x_shape, shape in [
            ((100_003,), ()),
            ((300, 401), (401,)),
            ((300, 401), (300, 1)),
            ((3, 5, 7000), (5, 1)),
        ]:
            values = [_values(shape)] * len(entry.parameters)
            dy, x = _random(x_shape, dtype, 1), _random(x_shape, dtype, 2)
            with fa.num_threads(1):
                expected = function(dy, x, *values)
            wide = tuple(np.repeat(a, 2, axis=-1)[..., ::2] for a in (dy, x))
            reversed_ = tuple(np.flip(np.flip(a).copy()) for a in (dy, x))
            fortran = tuple(map(np.asfortranarray, (dy, x)))
            for threads in (1, 2, 3):
                with fa.num_threads(threads):
                    for arrays in ((dy, x), wide, reversed_, fortran):
                        assert_same_bits(function(*arrays, *values), expected, dtype)


@differentiable
def test_gradient_is_zero_where_the_partial_derivative_is_whatever_dy(
    entry: Activation,
) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    x = np.array([-1e30, -800, -3, -0.0, 0.0, 3, 800, 1e30])
    values = [np.full(8, value) for value in other_values(entry)]
    partial = function(np.ones(8), x, *values)
    for bad in (np.nan, np.inf, -np.inf):
        for found, slope in zip(
            function(np.full(8, bad), x, *values), partial, strict=True
        ):
            zero = slope == 0
            assert (found[zero] == 0).all()
            assert not np.isfinite(found[~zero]).any()


@differentiable
def test_gradient_out_is_a_tuple_with_gaps(entry: Activation) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    shapes = [(4,)] * len(entry.parameters)
    values = [_values(shape) for shape in shapes]
    for dtype in DTYPES:
        dy, x = _random((5, 4), dtype, 1), _random((5, 4), dtype, 2)
        expected = function(dy, x, *values)
        for kept in range(2 ** len(expected)):
            out = tuple(
                np.full_like(e, 9) if kept >> i & 1 else None
                for i, e in enumerate(expected)
            )
            found = function(dy, x, *values, out=out)
            assert all(o is None or o is f for o, f in zip(out, found, strict=True))
            assert_same_bits(found, expected)
        wider = tuple(np.zeros(e.shape, np.float64) for e in expected)
        function(dy, x, *values, out=wider)
        assert_same_bits(wider, tuple(e.astype(np.float64) for e in expected))


@differentiable
def test_gradient_out_may_be_an_input_or_strided(entry: Activation) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    values = [_values((4,))] * len(entry.parameters)
    dy, x = _random((50, 4), np.float32, 1), _random((50, 4), np.float32, 2)
    expected = function(dy, x, *values)
    rest = (None,) * len(values)
    for target in range(2):
        arrays = [dy.copy(), x.copy()]
        function(*arrays, *values, out=(arrays[target], *rest))
        assert_same_bits(arrays[target], expected[0])
    wide = np.full((50, 8), 9, np.float32)
    function(dy, x, *values, out=(wide[:, ::-2], *rest))
    assert_same_bits(wide[:, ::-2], expected[0])
    assert (wide[:, ::2] == 9).all()


@differentiable
def test_gradient_out_that_does_not_fit_is_named(entry: Activation) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    dy, x = np.ones((5, 4)), np.ones((5, 4))
    values = [_values((4,))] * len(entry.parameters)
    names = ["dx", *(f"d{p.name}" for p in entry.parameters)]
    shapes = [(5, 4)] + [(4,)] * len(values)
    for wrong, name in enumerate(names):
        for bad in ((3,), (), (1, 4), (5, 1)):
            out: list[Any] = [np.full(shape, 9.0) for shape in shapes]
            out[wrong] = np.full(bad, 9.0)
            with pytest.raises(ValueError, match=rf"\b{name}\b"):
                function(dy, x, *values, out=tuple(out))
            assert all((o == 9).all() for o in out)
        out = [None] * len(shapes)
        out[wrong] = np.zeros(shapes[wrong])
        out[wrong].flags.writeable = False
        with pytest.raises(ValueError, match=rf"\b{name}\b.*read-only"):
            function(dy, x, *values, out=tuple(out))
        out[wrong] = np.zeros(shapes[wrong], int)
        with pytest.raises(TypeError, match=rf"\b{name}\b"):
            function(dy, x, *values, out=tuple(out))
    for bad_out in (np.zeros((5, 4)), (np.zeros((5, 4)),), [None] * len(shapes)):
        with pytest.raises(ValueError, match="tuple"):
            function(dy, x, *values, out=bad_out)


@differentiable
def test_gradient_has_no_where(entry: Activation) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    values = other_values(entry)
    with pytest.raises(TypeError, match="where"):
        function(np.ones(3), np.ones(3), *values, where=np.ones(3, bool))


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQ", ids=lambda c: np.dtype(c).name)
def test_gradients_of_integers_promote_as_in_tanh(dtype: str) -> None:
    wanted = np.tanh(np.ones(1, dtype)).dtype
    x = np.array([0, 1, 1]).astype(dtype)
    for entry in DIFFERENTIABLE:
        function = getattr(fa, entry.name + PARAMETER_BACKWARD)
        for values in (other_values(entry), [[0.5, 1.0, 1.5]] * len(entry.parameters)):
            expected = function(x.astype(wanted), x.astype(wanted), *values)
            assert_same_bits(function(x, x, *values), expected, entry.name)


@differentiable
def test_gradients_of_unsupported_dtypes_are_type_errors(entry: Activation) -> None:
    function = getattr(fa, entry.name + PARAMETER_BACKWARD)
    values = other_values(entry)
    for bad in (np.ones(2, complex), np.array(["1", "2"]), np.ones(2, object)):
        with pytest.raises(TypeError):
            function(bad, np.ones(2), *values)
        with pytest.raises(TypeError):
            function(np.ones(2), bad, *values)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: fa.elu_derivative(np.float32(-1), 1e20), np.exp(-1) * 1e20),
        (lambda: fa.elu_derivative(np.float32(-np.inf), 1e4), 0),
        (lambda: fa.elu_backward(np.float32(np.inf), np.float32(-np.inf), 1e4), 0),
        (lambda: fa.softplus(np.float32(-np.inf), 1e-4), 0),
        (lambda: fa.softplus(np.float32(-1e30), 1e-4), 0),
        (lambda: fa.softplus(np.float32(0), 1e-20), np.log(2) * 1e20),
        (lambda: fa.softplus(0.0, 1e-300), np.log(2) * 1e300),
        (lambda: fa.softplus(np.float32(-1), 1e-42), np.inf),
        (lambda: fa.softplus(1.0, -5e-324), -np.inf),
        (lambda: fa.squareplus(np.float32(1e-3), 1e-38), 1e-3),
        (lambda: fa.squareplus(np.float32(-1e-19), 1e-38), (np.sqrt(2) - 1) / 2e19),
        (lambda: fa.squareplus(0.0, 1e-308), 5e-155),
        (lambda: fa.squareplus_derivative(np.float32(0), 1e-30), 0.5),
        (lambda: fa.squareplus_derivative(np.float32(-1e-13), 1e-26), 0.5 - 0.125**0.5),
        (lambda: fa.squareplus_derivative(-1e-90, 1e-180), 0.5 - 0.125**0.5),
        (lambda: fa.swish(np.float32(np.inf), 0.0), np.inf),
        (lambda: fa.swish(np.float32(-3.2e38), np.float32(2.69375e-37)), -11.721072855),
        (lambda: fa.swish(-1.7e308, 4.12e-306), -11235.536019006),
        (lambda: fa.elu_derivative(np.float32(-112.5), 1e11), np.exp(-112.5) * 1e11),
        (
            lambda: fa.elu_derivative(-765.0, 1e20),
            np.exp(-700.0) * 1e20 * np.exp(-65.0),
        ),
        (lambda: fa.pelu_derivative(np.float32(-1), 1e30, 1.0), np.exp(-1) * 1e30),
        (
            lambda: fa.pelu_derivative(np.float32(-112.5), 1e11, 1.0),
            np.exp(-112.5) * 1e11,
        ),
        (lambda: fa.pelu_derivative(np.float32(-np.inf), 1e30, 1.0), 0),
        (lambda: fa.pelu_derivative(-np.inf, 1e300, 1.0), 0),
    ],
)
def test_extreme_parameters_neither_overflow_nor_miss_the_limit(call, expected):
    np.testing.assert_allclose(call(), expected, rtol=1e-6)


def test_pelus_derivative_is_within_2_ulp_where_it_was_not():
    x = np.array([0xBF92572C], np.uint32).view(np.float32)
    a, b = np.float32(1.5), np.float32(0.3)
    exact = float(a) / float(b) * np.exp(x.astype(float) / float(b))
    error = abs(fa.pelu_derivative(x, a, b) - exact) / np.spacing(exact.astype("f"))
    assert error <= 2


def test_casting_a_parameter_or_a_sum_warns_of_nothing():
    x = np.array([-2, -1, 0, 1, 2], "f")
    with np.errstate(all="raise"):
        fa.leaky_relu(x, np.float64(1e300))
        fa.leaky_relu(x, np.full(5, 1e-60))
        fa.softmax(x, scale=1e300)
        huge = np.full(5, 3e38, "f")
        _, total = fa.leaky_relu_parameter_backward(huge, -np.ones(5, "f"), 0.1)
    assert total == -np.inf


@pytest.mark.parametrize("x", [True, [True, False]])
def test_python_bools_promote_as_in_tanh(x):
    assert fa.leaky_relu(x, 0.3).dtype == np.tanh(x).dtype


def test_a_parameter_that_single_precision_makes_zero_is_not_allowed():
    for tiny in (1e-50, np.float64(1e-50), np.array(1e-50)):
        with pytest.raises(ValueError, match="alpha must be greater than 0"):
            fa.celu(np.zeros(2, "f"), tiny)
        fa.celu(np.zeros(2), tiny)
