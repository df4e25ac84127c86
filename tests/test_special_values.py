"""NaN, infinities, zeros, kinks, subnormals, and every number of the 16-bit types."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from calls import (
    ACTIVATIONS,
    BACKWARD,
    BACKWARD_FROM_OUTPUT,
    BFLOAT16,
    CALLS,
    DERIVATIVE,
    DTYPES,
    FORWARD,
    NUMPY_DTYPES,
    PARAMETER_BACKWARD,
    WITH_DERIVATIVE,
    Call,
    assert_same_bits,
)

import fastact as fa
from fastact.checking import reference
from fastact.checking.truth import Truth, finfo, inside, ulp_error

LONGEST = 70  # more than four of the widest vectors, with every length of a rest

OF_ONE_ARRAY = [call for call in CALLS if call.entry in ACTIVATIONS]
FORWARDS = [call for call in OF_ONE_ARRAY if call.member == FORWARD]
BACKWARDS = [c for c in OF_ONE_ARRAY if c.member in (BACKWARD, BACKWARD_FROM_OUTPUT)]
every_function = pytest.mark.parametrize("forward", FORWARDS, ids=str)


def _slope(call: Call, point: Any) -> Any:
    """The derivative that a backward function multiplies by, before any rounding."""
    dtype = np.float64 if point.dtype == np.float64 else np.float32
    point = point.astype(dtype)
    if call.member == BACKWARD:
        return call.of(DERIVATIVE)(point)
    return call(np.ones_like(point), point)


# -------------------------------------------------------------------------------- NaN


def test_nan_gives_nan_at_every_position(call: Call) -> None:
    if call.entry not in ACTIVATIONS and call.member == BACKWARD:
        pytest.skip("each gradient has arrays of its own: test_gates.py")
    for dtype in NUMPY_DTYPES:
        *others, x = call.operands(dtype, LONGEST)
        clean = call.results(*others, x)
        for length in range(1, LONGEST + 1):
            rows = np.repeat(x[None, :length], length, axis=0)
            np.fill_diagonal(rows, np.nan)
            found = np.empty((call.output_count, length, length), dtype)
            for row, results in zip(rows, np.moveaxis(found, 1, 0), strict=True):
                call.results(*(o[:length] for o in others), row, out=tuple(results))
            place = np.eye(length, dtype=bool)
            for result, full in zip(found, clean, strict=True):
                assert np.isnan(result[place]).all(), (dtype, length)
                expected = np.where(place, dtype(np.nan), full[:length])
                assert_same_bits(result, expected, (dtype, length))


@pytest.mark.parametrize("call", BACKWARDS, ids=str)
def test_nan_in_dy_gives_nan_unless_the_derivative_is_zero(call: Call) -> None:
    for dtype in NUMPY_DTYPES:
        dy, point = call.operands(dtype, LONGEST)
        clean = call(dy, point)
        zero = _slope(call, point) == 0
        for length in range(1, LONGEST + 1):
            rows = np.repeat(dy[None, :length], length, axis=0)
            np.fill_diagonal(rows, np.nan)
            found = np.stack([call(row, point[:length]) for row in rows])
            place = np.eye(length, dtype=bool)
            wanted = np.where(zero[:length], dtype(0), dtype(np.nan))
            expected = np.where(place, wanted, clean[:length])
            assert np.array_equal(found, expected, equal_nan=True), (dtype, length)


@pytest.mark.parametrize("call", BACKWARDS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_gradient_is_zero_where_the_derivative_is(call: Call, bad: float) -> None:
    for dtype in DTYPES:
        point = np.concatenate(
            [call.bit_patterns(dtype, 3000)[0], np.linspace(-9, 9, 999, dtype=dtype)]
        )
        slope = _slope(call, point)
        found = call(np.full_like(point, bad), point)
        assert (found[slope == 0] == 0).all()
        assert np.isnan(found[np.isnan(slope)]).all()
        rest = (slope != 0) & ~np.isnan(slope)
        if np.isnan(bad):
            assert np.isnan(found[rest]).all()
        else:
            assert (found[rest] == bad * np.sign(slope[rest])).all()


def test_signalling_nan_gives_nan(call: Call) -> None:
    if call.entry not in ACTIVATIONS and call.member == BACKWARD:
        pytest.skip("each gradient has arrays of its own: test_gates.py")
    patterns = {
        np.float16: 0x7D01,
        BFLOAT16: 0x7F81,
        np.float32: 0x7FA00001,
        np.float64: 0x7FF4 << 48 | 1,
    }
    for dtype in DTYPES:
        integer = f"u{np.dtype(dtype).itemsize}"
        nan = np.full(9, patterns[dtype], integer).view(dtype)
        *others, _ = call.operands(dtype, 9)
        assert all(np.isnan(result).all() for result in call.results(*others, nan))


# -------------------------------------------------------------------------- infinities


@cache
def _limit(name: str, kind: str, sign: int, parameters: tuple[float, ...]) -> float:
    """The limit at sign * inf, from the definition at 1e30: 0, a constant or infinite."""
    arguments = (sign * 1e30, *parameters)
    found = (
        reference.value(name, arguments)
        if kind == FORWARD
        else reference.partial(name, arguments, 0, -1074)
    )
    if abs(found) > 1e20:
        return float(np.copysign(np.inf, float(found)))
    return 0.0 if abs(found) < 1e-20 else float(found)


# Beyond the values that all tests use: where limits change.
UNUSUAL = (-1.5, 0.0, 1e-3, 40.0)


def _unusual_calls() -> list[Call]:
    found = []
    for entry in ACTIVATIONS:
        count = len(entry.parameters)
        if count == 0:
            continue
        # All combinations of two; of more, each value at each place.
        every = list(itertools.product(UNUSUAL, repeat=count))
        several = every if count <= 2 else every[:: len(UNUSUAL) ** (count - 2) + 1]
        found += [Call(entry, FORWARD, values) for values in several]
    return [call for call in found if _are_allowed(call)]


def _are_allowed(call: Call) -> bool:
    try:
        call(np.float32(1))
    except ValueError:
        return False  # test_parameters.py looks at these
    return True


@pytest.mark.parametrize(
    "forward",
    FORWARDS + _unusual_calls(),
    ids=lambda c: c.name + (str(list(c.parameters)) if c.parameters else ""),
)
@pytest.mark.parametrize("sign", [1, -1], ids=["plus infinity", "minus infinity"])
def test_infinity_gives_the_limit(forward: Call, sign: int) -> None:
    name, values = forward.entry.name, forward.values()
    low, high = forward.entry.domain
    try:
        limits = [
            _limit(name, kind, sign, values) if low <= sign * np.inf <= high else np.nan
            for kind in (FORWARD, DERIVATIVE)
        ]
    except ZeroDivisionError:
        pytest.skip("the definition has no value there")
    if np.isfinite(forward.entry.accurate_up_to) and all(values):
        limits[1] = np.nan  # it repeats for ever
    for dtype in DTYPES:
        # On its own, and in arrays with vector bodies and rests.
        for length in (1, 33):
            x = np.full(length, sign * np.inf, dtype)
            value, slope = forward(x), forward.of(DERIVATIVE)(x)
            assert_same_bits(forward.of(WITH_DERIVATIVE)(x), (value, slope))
            for found, limit in zip((value, slope), limits, strict=True):
                np.testing.assert_allclose(
                    found.astype(float),
                    np.asarray(limit, dtype).astype(float),
                    rtol=2 * float(finfo(dtype).eps),
                    err_msg=f"{np.dtype(dtype)}",
                )
            backward = forward.of(BACKWARD)
            found = backward(np.ones(length, dtype), x)
            assert np.array_equal(found, slope, equal_nan=True)


@pytest.mark.parametrize("forward", [f for f in FORWARDS if f.parameters], ids=str)
@pytest.mark.parametrize("sign", [1, -1], ids=["plus infinity", "minus infinity"])
def test_parameters_have_the_limit_of_their_gradient(forward: Call, sign: int) -> None:
    if np.isfinite(forward.entry.accurate_up_to):
        pytest.skip("it repeats for ever")
    arguments = (sign * 1e30, *forward.parameters)
    for dtype in DTYPES:
        one, x = dtype(1), dtype(sign * np.inf)
        _, *found = forward.of(PARAMETER_BACKWARD).function(one, x, *forward.parameters)
        for index, gradient in enumerate(found, start=1):
            near = float(reference.partial(forward.entry.name, arguments, index, -1074))
            if abs(near) > 1e20:
                assert gradient == np.copysign(np.inf, near)
            else:
                np.testing.assert_allclose(gradient, near, rtol=1e-6, atol=1e-20)


@every_function
def test_gradient_from_the_output_at_the_limits(forward: Call) -> None:
    if forward.entry.from_output_formula is None:
        pytest.skip("the derivative is no function of the output")
    backward = forward.of(BACKWARD_FROM_OUTPUT)
    for dtype in DTYPES:
        for x in (np.inf, -np.inf, 0.0, 1.0):
            x = np.full(3, x, dtype)
            found = backward(np.ones(3, dtype), forward(x))
            slope = forward.of(DERIVATIVE)(x)
            tolerance = 8 * float(finfo(dtype).eps)
            np.testing.assert_allclose(found, slope, rtol=0, atol=tolerance)


# ----------------------------------------------------------------------- zeros, kinks


def _rounded(forward: Call, dtype: Any) -> tuple[float, ...]:
    """Its parameters as the kernel gets them."""
    compute = np.float64 if dtype == np.float64 else np.float32
    return tuple(float(compute(p)) for p in forward.values())


@every_function
def test_both_zeros_give_the_value_at_zero(forward: Call) -> None:
    for dtype in DTYPES:
        arguments = (0.0, *_rounded(forward, dtype))
        value = float(reference.value(forward.entry.name, arguments))
        zeros = np.array([0.0, -0.0], dtype)
        found = forward(zeros)
        np.testing.assert_allclose(
            found.astype(float),
            np.asarray(value, dtype).astype(float),
            rtol=2 * float(finfo(dtype).eps),
            atol=0,
        )
        slopes = forward.of(DERIVATIVE)(zeros)
        assert slopes[0] == slopes[1]


@every_function
def test_odd_functions_keep_the_sign_of_zero(forward: Call) -> None:
    name, values = forward.entry.name, forward.values()
    low, high = forward.entry.domain
    if low != -high:
        pytest.skip("not odd")
    at = [reference.value(name, (x, *values)) for x in (-2.5, 2.5, -0.1, 0.1)]
    if at[0] != -at[1] or at[2] != -at[3]:
        pytest.skip("not odd")
    for dtype in DTYPES:
        zeros = np.array([0.0, -0.0], dtype)
        assert_same_bits(forward(zeros), zeros)


KINKS = [(forward, point) for forward in FORWARDS for point in forward.entry.kinks]


@pytest.mark.parametrize(
    ("forward", "point"), KINKS, ids=[f"{f} at {point}" for f, point in KINKS]
)
def test_kink_has_the_derivative_that_its_entry_names(
    forward: Call, point: str
) -> None:
    names = [p.name for p in forward.entry.parameters]
    known = dict(zip(names, forward.values(), strict=True))
    x, slope = eval(point, {}, known), eval(forward.entry.kinks[point], {}, known)
    for dtype in DTYPES:
        at = np.full(33, x, dtype)
        compute = np.float64 if dtype == np.float64 else np.float32
        expected = np.full(33, compute(slope)).astype(dtype)
        assert np.array_equal(forward.of(DERIVATIVE)(at), expected)
        assert np.array_equal(forward.of(WITH_DERIVATIVE)(at)[1], expected)
        assert np.array_equal(forward.of(BACKWARD)(np.ones_like(at), at), expected)
        if x == 0:
            assert np.array_equal(forward.of(DERIVATIVE)(-at), expected)


def test_xielu_has_the_derivative_of_the_left_at_eps() -> None:
    for dtype in (np.float32, np.float64):
        eps = dtype(-1e-6)
        x = np.array([eps, np.nextafter(eps, dtype(0))])
        left = 0.5 + 0.8 * np.expm1(float(eps))
        found = fa.xielu_derivative(x).astype(float)
        np.testing.assert_allclose(found, [left, -0.3], rtol=np.finfo(dtype).eps)


# -------------------------------------------------------------------------- subnormals


def _reference(name: str, x: Any, parameters: tuple[float, ...]) -> list[Any]:
    return [reference.value(name, (z, *parameters)) for z in x.tolist()]


@every_function
def test_subnormal_input_is_not_flushed(forward: Call) -> None:
    for dtype in DTYPES:
        tiny, step = (
            float(getattr(finfo(dtype), n)) for n in ("tiny", "smallest_subnormal")
        )
        sizes = np.array([1, 2, 3, 10, 500, 0.3 * tiny / step, 0.9 * tiny / step])
        x = (np.floor(np.concatenate([-sizes, sizes])) * step).astype(dtype)
        x = inside(forward.entry.domain, x)
        parameters = _rounded(forward, dtype)
        for z, found, exact in zip(
            x, forward(x), _reference(forward.entry.name, x, parameters), strict=True
        ):
            ulp = float(np.spacing(np.abs(dtype(float(exact)))))
            assert abs(float(found) - exact) <= 2 * ulp, (z, found, exact)


@every_function
def test_subnormal_results_are_not_flushed(forward: Call) -> None:
    for dtype, farthest in ((np.float32, 110), (np.float64, 750)):
        points = np.linspace(farthest / 8, farthest, 700, dtype=dtype)
        x = inside(forward.entry.domain, np.concatenate([-points, points]))
        tiny = float(finfo(dtype).tiny)
        smallest = float(finfo(dtype).smallest_subnormal)
        exact = _reference(forward.entry.name, x, _rounded(forward, dtype))
        for z, found, true in zip(x, forward(x), exact, strict=True):
            if 0 < abs(true) < tiny:
                assert abs(float(found) - true) <= 2 * smallest, (z, found, true)


@every_function
def test_subnormal_derivatives_are_not_flushed(forward: Call) -> None:
    # float64's result, far from its own subnormals, is the truth for float32's.
    x = np.linspace(-110, 110, 20_001, dtype=np.float32)
    exact = Call(forward.entry, DERIVATIVE, _rounded(forward, np.float32))
    true = exact(x.astype(np.float64))
    info = finfo(np.float32)
    subnormal = (np.abs(true) < float(info.tiny)) & (true != 0)
    for found in (
        forward.of(DERIVATIVE)(x),
        forward.of(BACKWARD)(np.ones_like(x), x),
        forward.of(WITH_DERIVATIVE)(x)[1],
    ):
        error = np.abs(found[subnormal].astype(np.float64) - true[subnormal])
        assert (error <= 2 * float(info.smallest_subnormal)).all()


@pytest.mark.parametrize("call", BACKWARDS, ids=str)
def test_subnormal_dy_is_not_flushed(call: Call) -> None:
    for dtype in (np.float32, np.float64):
        dy = np.array([1, 7, 1000, 10**6], dtype) * finfo(dtype).smallest_subnormal
        dy = dy.astype(dtype)
        point = np.full_like(dy, 0.5)
        slope = _slope(call, point)
        assert_same_bits(call(dy, point), dy * slope)


# --------------------------------------------------------------- all of the 16-bit types

NARROW = [dtype for dtype in DTYPES if np.dtype(dtype).itemsize == 2]
every_narrow = pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.__name__)


def _every(dtype: Any) -> Any:
    return np.arange(2**16, dtype=np.uint16).view(dtype)


@every_narrow
@pytest.mark.parametrize(
    "call", [c for c in CALLS if c.member != BACKWARD_FROM_OUTPUT], ids=str
)
def test_every_16_bit_number_is_within_051_ulp(call: Call, dtype: Any) -> None:
    """Against float64, which test_accuracy.py holds against mpmath."""
    every = _every(dtype)
    ones = [np.ones_like(every)] * (call.array_count - 1)
    with np.errstate(invalid="ignore"):  # ml_dtypes' cast of signalling NaN
        wide = [a.astype(np.float64) for a in (*ones, every)]
    # The kernel gets the parameters in float32.
    rounded = tuple(float(np.float32(p)) for p in call.values())
    exact_call = Call(call.entry, call.member, rounded)
    far = np.zeros(every.shape, bool)
    if call.entry in ACTIVATIONS and np.isfinite(call.entry.accurate_up_to):
        far = np.abs(wide[-1]) > call.entry.accurate_up_to / abs(rounded[0])
    for found, exact in zip(
        call.results(*ones, every), exact_call.results(*wide), strict=True
    ):
        finite = np.isfinite(exact) & ~far
        mantissa, exponent = np.frexp(exact[finite])
        truth = Truth(mantissa, np.zeros_like(mantissa), exponent.astype(np.int64))
        error = ulp_error(found[finite], truth, dtype)
        worst = int(np.argmax(error))
        assert error[worst] <= 0.51, (every[finite][worst], error[worst])
        rest = ~finite & ~far
        np.testing.assert_array_equal(
            found[rest].astype(float), exact[rest], strict=True
        )


@every_narrow
def test_every_16_bit_number_survives_widening_and_narrowing(dtype: Any) -> None:
    # Whatever the length of the rest that fills no vector.
    for start in (0, 1, 5, 15):
        every = _every(dtype)[start:]
        found = fa.identity(every)
        with np.errstate(invalid="ignore"):  # ml_dtypes' comparison of signalling NaN
            assert_same_bits(found, every)


def test_gelu_of_the_smallest_negative_numbers_keeps_its_sign():
    for dtype in (np.float32, np.float64):
        tiny = -np.nextafter(dtype(0), dtype(1))
        assert np.signbit(fa.gelu(tiny)), dtype
