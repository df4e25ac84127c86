"""softmax, softmin and log_softmax with their gradients, against long double.

What holds of every function along an axis whose result has the input's shape is tested
here, too; the values of the others are tested in test_rows.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import DTYPES, LEADS, LONE_ROWS, assert_same_bits, lone_rows

import fastact as fa
from fastact.checking.truth import finfo

NAMES = ("softmax", "softmin", "log_softmax")
GRADIENTS = [
    f"{name}{s}" for name in NAMES for s in ("_backward", "_backward_from_output")
]
EVERY = [
    name + member
    for name, facts in fa.ufuncs.ROW_FUNCTIONS.items()
    for member in facts.members
    if not facts.reduces
]
WIDE = np.longdouble

every_name = pytest.mark.parametrize("name", NAMES)
every_gradient = pytest.mark.parametrize("name", GRADIENTS)
every_function = pytest.mark.parametrize("name", EVERY)


def _function(name: str) -> Any:
    return getattr(fa, name)


def _random(shape: Any, dtype: Any, seed: int = 0, spread: float = 1) -> Any:
    values = spread * np.random.default_rng(seed).standard_normal(shape)
    return values.astype(dtype)


def _arrays(name: str, shape: Any, dtype: Any, spread: float = 1) -> tuple[Any, ...]:
    """What the function takes: x, or dy and x, or dy and y."""
    x = _random(shape, dtype, 1, spread)
    if "_backward" not in name:
        return (x,)
    if name.endswith("_from_output"):
        x = _function(name.removesuffix("_backward_from_output"))(x)
    return _random(shape, dtype, 2), x


def _reference(
    name: str, x: Any, axis: int = -1, where: Any = True, scale: float = 1
) -> Any:
    """Row by row, after the definition: excluded elements do not exist."""
    if name == "softmin":
        return _reference("softmax", x, axis, where, -scale)
    x, where = np.broadcast_arrays(np.asarray(x, WIDE), where)
    # a parameter of float32 for float16 and float32, so for tests only exact ones
    z = np.where(where, x * WIDE(scale), -np.inf)
    top = np.max(z, axis=axis, keepdims=True, initial=-np.inf)
    shifted = z - np.where(np.isfinite(top), top, 0)
    weights = np.exp(shifted)
    largest = np.argmax(z, axis=axis, keepdims=True)
    others = weights.copy()
    np.put_along_axis(others, largest, 0, axis)
    others = others.sum(axis=axis, keepdims=True)
    if name.startswith("log_"):
        return shifted - np.log1p(others)
    total = 1 + others
    return np.where(top == -np.inf, 0, weights / total)


def _reference_gradient(
    name: str, dy: Any, x: Any, axis: int = -1, where: Any = True, scale: float = 1
) -> Any:
    scale = -scale if name.startswith("softmin") else scale
    dy = np.where(where, np.asarray(dy, WIDE), 0)
    p = _reference("softmax", x, axis, where, scale)
    if name.startswith("log_"):
        dx = dy - p * dy.sum(axis=axis, keepdims=True)
    else:
        dx = p * (dy - (p * dy).sum(axis=axis, keepdims=True))
    return WIDE(scale) * dx


def _slack(name: str, dy: Any, x: Any, axis: int, where: Any, scale: float) -> Any:
    """What errors of one ULP everywhere add up to in a row of gradients."""
    scale = -scale if name.startswith("softmin") else scale
    size = np.where(where, np.abs(np.asarray(dy, WIDE)), 0)
    p = _reference("softmax", x, axis, where, scale)
    if name.startswith("log_"):
        norm = size.max(axis=axis, keepdims=True) + size.sum(axis=axis, keepdims=True)
    else:
        mean = (p * size).sum(axis=axis, keepdims=True)
        norm = (p * (size + mean)).max(axis=axis, keepdims=True)
    return abs(scale) * norm


def _ulps(found: Any, exact: Any, dtype: Any) -> Any:
    exact = np.asarray(exact, WIDE)
    unit = np.spacing(np.abs(exact).astype(dtype)).astype(WIDE)
    return np.abs(found.astype(WIDE) - exact) / unit


# --------------------------------------------------------------------------- accuracy


def _dominated(shape: tuple[int, ...], dtype: Any) -> Any:
    x = _random(shape, dtype)
    x[..., shape[-1] // 3] += 60
    return x


ROWS = {
    "N(0, 1)": lambda shape, dtype: _random(shape, dtype),
    "10 N(0, 1)": lambda shape, dtype: _random(shape, dtype, spread=10),
    "one logit 60 above": _dominated,
    "far from zero": lambda shape, dtype: _random(shape, dtype) + dtype(1000),
    "all equal": lambda shape, dtype: np.full(shape, 3, dtype),
    "spread wide": lambda shape, dtype: _random(shape, dtype, spread=300),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@every_name
def test_within_4_ulp(name: str, dtype: Any, rows: str) -> None:
    for shape in [(2000, 10), (300, 100), (40, 1000), (50, 2), (50, 17)]:
        x = ROWS[rows](shape, dtype)
        assert _ulps(_function(name)(x), _reference(name, x), dtype).max() <= 4, shape


@pytest.mark.parametrize("length", [1, 2, 5, 17, 63, 64, 100, 130, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@every_name
def test_one_element_above_the_others(name: str, dtype: Any, length: int) -> None:
    leads = np.repeat(np.array(LEADS, dtype), 20)[:, None]
    places = np.random.default_rng(5).integers(0, length, (len(leads), 1))
    bound = 5 if name != "log_softmax" and dtype is np.float64 else 4
    for level in (-12, -6, 0, 20, 1000, 2e5):
        x = _random((len(leads), length), dtype) + dtype(level)
        np.put_along_axis(x, places, np.take_along_axis(x, places, 1) + leads, 1)
        for scale in (1.0, 0.5):
            found = _function(name)(x, scale=scale)
            exact = _reference(name, x, scale=scale)
            assert _ulps(found, exact, dtype).max() <= bound, (level, scale)


# Found by climbing from random rows to larger errors: element 1, then those of one lane of
# a row of 16; the others have no weight.
HARD_ROWS = {
    ("softmax", np.float32): [
        (
            -90,
            0.7335343360900879,
            -8.911529541015625,
            -8.368110656738281,
            -7.5972800254,
        ),
        (
            -90,
            -4.84018754959,
            -8.17521381378174,
            0.0022749658674001694,
            -6.43442440032959,
        ),
    ],
    ("log_softmax", np.float32): [
        (
            4.1597833633,
            -5.251424312591553,
            -5.8452939987,
            -6.5466403961,
            0.7016487717628,
        ),
        (
            -4.8497085571,
            -23.47382736206,
            -11.90409183502,
            -8.08589363098,
            -7.2266750335693,
        ),
        (
            -4.8456778526,
            -8.09011554718,
            -7.2334794998,
            -13.14201259613,
            -11.148477554321,
        ),
    ],
    ("log_softmax", np.float64): [
        (
            4.913159019556554,
            0.0531676845290161,
            -7.303953525346967,
            -7.182348158111577,
            -4.530454399478926,
        ),
    ],
}


@pytest.mark.parametrize(("name", "dtype"), HARD_ROWS)
def test_hard_rows_are_within_5_ulp(name: str, dtype: Any) -> None:
    for elements in HARD_ROWS[name, dtype]:
        x = np.full((1, 16), -90 if dtype is np.float32 else -600, dtype)
        x[0, [1, 0, 4, 8, 12]] = elements
        assert _ulps(_function(name)(x), _reference(name, x), dtype).max() <= 5


@pytest.mark.parametrize(("length", "level"), LONE_ROWS)
def test_elements_of_no_weight_have_none(length: int, level: float) -> None:
    x = lone_rows(length, level)
    y = fa.log_softmax(x)
    assert_same_bits(y[:, 0], np.zeros(20, np.float32))
    assert (y[:, 1:] == np.float32(-3000 - level)).all()
    assert_same_bits(fa.log_softmax(np.ascontiguousarray(x.T), axis=0).T, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@every_name
def test_a_row_of_a_million_is_within_4_ulp(name: str, dtype: Any) -> None:
    x = _random(1_000_001, dtype, spread=3)
    assert _ulps(_function(name)(x), _reference(name, x), dtype).max() <= 4


# Sums of e^x from 2^-10 to 2^52 are computed in one way, others in another: both sides of
# each bound, and what leaves the exponents' range.
LEVELS = (-1000, -745, -104, -87, -40, -14, -12, -8, -5, 0, 30, 34, 36, 37, 38, 88, 710)


@pytest.mark.parametrize("length", [3, 100, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_any_level_is_as_accurate(dtype: Any, length: int) -> None:
    levels = np.array(LEVELS, dtype)[:, None]
    x = _random((len(LEVELS), length), dtype) + levels
    dy = _random(x.shape, dtype, 2)
    for scale in (1.0, 0.125):
        z = (x / dtype(scale)).astype(dtype)
        y = fa.softmax(z, scale=scale)
        assert _ulps(y, _reference("softmax", z, scale=scale), dtype).max() <= 4
        dx = fa.softmax_backward(dy, z, scale=scale)
        exact = _reference_gradient("softmax_backward", dy, z, scale=scale)
        slack = _slack("softmax_backward", dy, z, -1, True, scale)
        assert (abs(dx - exact) <= 4 * np.finfo(dtype).eps * slack).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_small_gradients_keep_their_digits(dtype: Any) -> None:
    tiny = dtype(2) ** (-90 if dtype is np.float32 else -900)
    for level in (0, 30):
        x = _random((20, 100), dtype) + dtype(level)
        dy = _random(x.shape, dtype, 2)
        dx = fa.softmax_backward(dy, x)
        assert_same_bits(fa.softmax_backward(dy * tiny, x) / tiny, dx)


@pytest.mark.parametrize("name", ["softmax", "softmax_backward", "log_softmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_row_does_not_depend_on_its_neighbours(name: str, dtype: Any) -> None:
    levels = np.array([*LEVELS, 0, np.inf, np.nan, -np.inf], dtype)[:, None]
    x = _random((len(levels), 70), dtype) + levels
    x[len(LEVELS), 7] = np.inf  # the limit
    dy = _random(x.shape, dtype, 2)
    dy[3] *= dtype(np.finfo(dtype).max / 8)
    arrays = (dy, x) if name == "softmax_backward" else (x,)
    alone = np.stack([_function(name)(*(a[r] for a in arrays)) for r in range(len(x))])
    assert_same_bits(_function(name)(*arrays), alone)
    columns = [np.ascontiguousarray(a.T) for a in arrays]
    assert_same_bits(_function(name)(*columns, axis=0).T, alone)


@pytest.mark.parametrize("rows", ["N(0, 1)", "10 N(0, 1)", "one logit 60 above"])
@every_name
def test_16_bit_types_are_rounded_once(name: str, rows: str) -> None:
    for dtype in (d for d in DTYPES if np.dtype(d).itemsize == 2):
        x = ROWS[rows]((2000, 12), dtype)
        exact = _reference(name, x)
        assert _ulps(_function(name)(x), exact, dtype).max() <= 0.51


@pytest.mark.parametrize("scale", [0.5, 2.0, -1.0, -1.5, 0.0, 1.0, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@every_name
def test_scale_is_a_factor_on_x(name: str, dtype: Any, scale: float) -> None:
    x = _random((300, 40), dtype, spread=5)
    found = _function(name)(x, scale=scale)
    assert found.dtype == dtype
    assert _ulps(found, _reference(name, x, scale=scale), dtype).max() <= 4


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.5])
@every_name
def test_where_includes(name: str, scale: float) -> None:
    x = _random((300, 40), np.float64, spread=5)
    random = np.random.default_rng(3)
    column = random.random(40) < 0.5
    masks = [random.random((300, 40)) < 0.3, column, random.random((300, 1)) < 0.5]
    for dtype in DTYPES:
        for mask in [*masks, True, False, column.tolist(), np.zeros((300, 40), bool)]:
            given = x.astype(dtype)
            found = _function(name)(given, where=mask, scale=scale)
            assert found.dtype == dtype
            full = np.broadcast_to(mask, x.shape)
            outside = -np.inf if name == "log_softmax" else 0
            assert (found[~full] == outside).all()
            exact = _reference(name, given, -1, full, scale)
            assert (_ulps(found[full], exact[full], dtype) <= 4).all()


@every_name
def test_what_is_excluded_does_not_matter(name: str) -> None:
    for dtype in DTYPES:
        mask = np.tile([True, False, True, True, False], (4, 1))
        x = _random((4, 5), dtype)
        expected = _function(name)(x, where=mask)
        for bad in (np.nan, np.inf, -np.inf, 1000):
            other = np.where(mask, x, dtype(bad))
            kept = other.copy()
            assert_same_bits(_function(name)(other, where=mask), expected, bad)
            assert_same_bits(other, kept)  # the mask is not applied to the input


@every_name
def test_everything_included_is_the_same_as_no_mask(name: str) -> None:
    for dtype in DTYPES:
        x = _random((30, 45), dtype, spread=4)
        expected = _function(name)(x)
        for keywords in ({"where": True}, {"scale": 1}, {"scale": np.float32(1)}):
            assert_same_bits(_function(name)(x, **keywords), expected)
        assert_same_bits(_function(name)(x, where=np.ones(45, bool)), expected)


# ---------------------------------------------------------------------- special values


def _rows(*rows: Any) -> Any:
    return np.array(rows, float)


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("length", [4, 16, 19, 64], ids=lambda n: f"length {n}")
@every_name
def test_infinities_and_nan(name: str, length: int) -> None:
    for dtype in DTYPES:
        for scale in (1.0, 0.5, -1.0):
            win = INF if (scale > 0) == (name != "softmin") else -INF
            lose = -win
            for first, second in [(0, 1), (1, 3), (length - 1, 2)]:
                x = np.ones(length, dtype)
                one_hot = np.zeros(length, dtype)
                one_hot[first] = 1
                if name == "log_softmax":
                    one_hot = np.log(one_hot, out=np.full(length, -INF, dtype),
                                     where=one_hot > 0)  # fmt: skip

                def apply(x: Any, scale: float = scale) -> Any:
                    return _function(name)(x, scale=scale)

                x[first] = win
                assert_same_bits(apply(x), one_hot)
                x[second] = lose
                assert_same_bits(apply(x), one_hot)
                x[second] = win
                assert np.isnan(apply(x)).all()
                x[second] = NAN
                assert np.isnan(apply(x)).all()
                x[[first, second]] = 1, NAN
                assert np.isnan(apply(x)).all()
                assert np.isnan(apply(np.full(length, lose, dtype))).all()

                x = _random(length, dtype)
                rest = np.delete(np.arange(length), first)
                expected = apply(x[rest])
                x[first] = lose
                found = apply(x)
                assert found[first] == (-INF if name == "log_softmax" else 0)
                np.testing.assert_allclose(
                    found[rest].astype(float), expected, rtol=4 * finfo(dtype).eps
                )


@every_name
def test_largest_finite_numbers_do_not_overflow(name: str) -> None:
    for dtype in DTYPES:
        largest = finfo(dtype).max
        x = np.array([[largest, 0, -largest], [largest, largest, 0]], dtype)
        x = -x if name == "softmin" else x
        found = np.exp(_function(name)(x)) if name == "log_softmax" else (
            _function(name)(x)
        )  # fmt: skip
        np.testing.assert_allclose(found, [[1, 0, 0], [0.5, 0.5, 0]], rtol=1e-3)


@pytest.mark.parametrize("length", [1, 5, 16, 100])
def test_where_y_is_zero_so_is_the_gradient_of_any_size(length: int) -> None:
    """Also where the difference from the row's mean overflows, or is NaN."""
    for dtype in DTYPES:
        largest = finfo(dtype).max
        for name in ("softmax", "softmin", "sparsemax", "entmax15"):
            gradient = _function(f"{name}_backward_from_output")
            for dy in ([-largest, largest], [1, INF], [1, -INF], [1, NAN]):
                y = np.tile(np.array([1, 0], dtype), (3, length))
                y[:, 2:] = 0
                found = gradient(np.tile(np.array(dy, dtype), (3, length)), y)
                assert np.all(found[:, 1:] == 0), (dtype, name, dy)


def _in_two_halves(function: Any, *arrays: Any) -> Any:
    """The results of arrays of which none, by halves, is large enough to go past caches."""
    halves = zip(*(np.array_split(array, 2) for array in arrays), strict=True)
    return np.concatenate([function(*half) for half in halves])


# Of 32 MiB, which go past the caches if there are no exponentials: by several rows, one or
# parts of one. 7 elements become columns; a row of 512 or 256 has just the bytes of a part.
LARGE = pytest.mark.parametrize(
    ("row", "dtype"),
    [(row, "f4") for row in (7, 100, 512, 513, 1000, 50_001)]
    + [(row, "f8") for row in (256, 300, 40_001)],
)


def _large(row: int, dtype: str) -> Any:
    size = 2**25 // np.dtype(dtype).itemsize
    shape = (size // row + 2, row)
    return np.random.default_rng(row).standard_normal(shape).astype(dtype)


@LARGE
def test_large_results_are_those_of_their_rows(row: int, dtype: str) -> None:
    x = _large(row, dtype)
    out = np.empty(x.size + 3, dtype)[3:].reshape(x.shape)  # no line begins there
    for name in ("softmax", "log_softmax", "hardmax"):
        function = getattr(fa, name)
        assert_same_bits(function(x, out=out), _in_two_halves(function, x), name)


@pytest.mark.parametrize("threads", [1, 3])
@LARGE
def test_large_gradients_are_those_of_their_rows(
    row: int, dtype: str, threads: int
) -> None:
    dy = _large(row, dtype)
    y = dy * dy
    y[:, ::5] = 0
    dy[1, 3] = INF
    memory = np.full(y.size + 7, 7, dtype)
    keep = np.arange(row) % 3 > 0
    for name in ("softmax", "softmin", "log_softmax", "sparsemax", "entmax15"):
        gradient = getattr(fa, f"{name}_backward_from_output")
        expected = _in_two_halves(gradient, dy, y)
        for begin in (0, 3):  # large arrays begin some elements after a line, or at one
            memory[:] = 7
            out = memory[begin : begin + y.size].reshape(y.shape)
            with fa.num_threads(threads):
                gradient(dy, y, out=out)
            assert_same_bits(out, expected, (name, begin))
            assert (memory[:begin] == 7).all()
            assert (memory[begin + y.size :] == 7).all()

    def selecting(dy: Any, y: Any, out: Any = None) -> Any:
        return fa.softmax_backward_from_output(dy, y, where=keep, scale=0.5, out=out)

    expected = _in_two_halves(selecting, dy, y)
    assert_same_bits(selecting(dy, y), expected)
    assert_same_bits(selecting(dy, y, out=y), expected)


@every_function
def test_short_and_missing_rows(name: str) -> None:
    for dtype in DTYPES:
        for shape in [(3, 0), (0, 5), (0, 0), (0,), (2, 0, 3)]:
            found = _function(name)(*_arrays(name, shape, dtype))
            assert found.shape == shape
            assert found.dtype == dtype
        one = _function(name)(*_arrays(name, (7, 1), dtype))
        expected = 0 if name == "log_softmax" or "_backward" in name else 1
        assert_same_bits(one + 0, np.full((7, 1), expected, dtype))


@every_gradient
def test_nan_in_dy_or_x_spreads_over_its_row(name: str) -> None:
    for dtype in DTYPES:
        for place in range(2):
            arrays = _arrays(name, (3, 20), dtype)
            expected = _function(name)(*arrays)
            arrays[place][1, 4] = NAN
            found = _function(name)(*arrays)
            assert np.isnan(found[1]).any()
            if not name.startswith("log_"):
                assert np.isnan(found[1]).all()
            assert_same_bits(found[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("suffix", ["_backward", "_backward_from_output"])
def test_softmax_gradient_is_zero_where_softmax_is(suffix: str) -> None:
    for dtype in DTYPES:
        x = np.array([1, -INF, 2, -INF, 0], dtype)
        for bad in (NAN, INF, -INF, 7):
            dy = np.array([1, bad, 2, bad, -1], dtype)
            point = x if suffix == "_backward" else fa.softmax(x)
            found = _function("softmax" + suffix)(dy, point)
            assert (found[[1, 3]] == 0).all()
            alone = x[[0, 2, 4]] if suffix == "_backward" else point[[0, 2, 4]]
            expected = _function("softmax" + suffix)(dy[[0, 2, 4]], alone)
            np.testing.assert_allclose(
                found[[0, 2, 4]].astype(float), expected, rtol=8 * finfo(dtype).eps
            )


# --------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.5])
@pytest.mark.parametrize("masked", [False, True], ids=["whole rows", "masked"])
@every_gradient
def test_gradient_is_the_formula(name: str, masked: bool, scale: float) -> None:
    forward = _function(name[: name.index("_backward")])
    mask = np.random.default_rng(5).random((200, 30)) < 0.6
    mask[7] = False
    where = mask if masked else True
    keywords = {"scale": scale} | ({"where": mask} if masked else {})
    for dtype in DTYPES:
        for rows in ("N(0, 1)", "10 N(0, 1)", "one logit 60 above"):
            x = ROWS[rows]((200, 30), dtype)
            dy = _random((200, 30), dtype, 2)
            from_output = name.endswith("_from_output")
            point = forward(x, **keywords) if from_output else x
            found = _function(name)(dy, point, **keywords)
            assert found.dtype == dtype
            error = np.abs(found - _reference_gradient(name, dy, x, -1, where, scale))
            slack = _slack(name, dy, x, -1, where, scale)
            tiny = float(finfo(dtype).smallest_subnormal)
            bound = 8 * float(finfo(dtype).eps) * slack + tiny
            assert (error <= bound).all(), (np.dtype(dtype), rows)


@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
@every_name
def test_gradient_is_the_slope_of_the_forward_function(name: str, axis: int) -> None:
    x, dy = _random((6, 5), np.float64, 1), _random((6, 5), np.float64, 2)
    mask = np.random.default_rng(3).random((6, 5)) < 0.7
    mask[2] = mask[:, 3] = True
    for keywords in (
        {},
        {"scale": -0.7},
        {"where": mask},
        {"where": mask, "scale": 2.0},
    ):
        where = keywords.get("where", np.ones((6, 5), bool))
        gradient = _function(f"{name}_backward")(dy, x, axis, **keywords)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = 1e-6
            up, down = (
                _function(name)(x + sign * step, axis, **keywords) for sign in (1, -1)
            )
            # excluded elements of log_softmax are -inf on both sides
            difference = np.where(where, up, 0) - np.where(where, down, 0)
            slope = (dy * difference).sum() / 2e-6
            assert abs(gradient[index] - slope) < 1e-8, (index, list(keywords))


# ------------------------------------------------------------------- axes and layouts


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2], ids=lambda axis: f"axis {axis}")
@every_function
def test_any_axis(name: str, axis: int) -> None:
    for dtype in DTYPES:
        for shape in [(5, 6, 7), (33, 20, 40)]:
            arrays = _arrays(name, shape, dtype)
            moved = [np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in arrays]
            expected = np.moveaxis(_function(name)(*moved), -1, axis)
            assert_same_bits(_function(name)(*arrays, axis=axis), expected)
            assert_same_bits(_function(name)(*arrays, axis), expected)
            assert_same_bits(_function(name)(*arrays, axis=np.int64(axis)), expected)
            mask = np.random.default_rng(0).random(shape) < 0.5
            keywords = {"where": mask, "scale": 0.5}
            moved_mask = {"where": np.moveaxis(mask, axis, -1), "scale": 0.5}
            expected = np.moveaxis(_function(name)(*moved, **moved_mask), -1, axis)
            found = _function(name)(*arrays, axis=axis, **keywords)
            assert_same_bits(found, expected, "masked")


LAYOUTS: dict[str, Any] = {
    "every second element": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "shifted by one element": lambda a: np.concatenate([a[0, :1], a.ravel()])[
        1:
    ].reshape(a.shape),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@every_function
def test_same_bits_for_every_layout_and_number_of_threads(
    name: str, layout: str
) -> None:
    for dtype in DTYPES:
        for shape in [(2500, 30), (70, 1003)]:
            arrays = _arrays(name, shape, dtype)
            with fa.num_threads(1):
                rows = [_function(name)(*(a[i] for a in arrays)) for i in range(20)]
                expected = _function(name)(*arrays)
                assert_same_bits(expected[:20], np.stack(rows))
            laid_out = [LAYOUTS[layout](a) for a in arrays]
            for threads in (1, 2, 3):
                with fa.num_threads(threads):
                    assert_same_bits(_function(name)(*arrays), expected, threads)
                    assert_same_bits(_function(name)(*laid_out), expected, threads)


@every_function
def test_broadcast_operands(name: str) -> None:
    x = _random((1, 9), np.float32)
    arrays = [np.broadcast_to(x, (6, 9))] * (2 if "_backward" in name else 1)
    copies = [np.ascontiguousarray(a) for a in arrays]
    assert_same_bits(_function(name)(*arrays), _function(name)(*copies))
    if "_backward" in name:
        dy = _random((6, 9), np.float32)
        assert_same_bits(_function(name)(dy, x), _function(name)(dy, copies[0]))
        assert_same_bits(_function(name)(x, dy), _function(name)(copies[0], dy))
        keywords = {"where": np.arange(9) % 2 == 0}
        assert_same_bits(
            _function(name)(dy, x, **keywords),
            _function(name)(dy, copies[0], **keywords),
        )
        assert_same_bits(
            _function(name)(x, dy, **keywords),
            _function(name)(copies[0], dy, **keywords),
        )


# -------------------------------------------------------------------------------- out


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
@every_function
def test_out(name: str, axis: int, masked: bool) -> None:
    keywords = {"where": np.arange(40) % 3 > 0, "scale": 0.5} if masked else {}
    keywords["axis"] = axis
    for dtype in DTYPES:
        arrays = _arrays(name, (90, 40), dtype)
        expected = _function(name)(*arrays, **keywords)
        wide = np.full((180, 120), 9, dtype)
        for out in (
            np.empty((90, 40), dtype),
            np.empty((40, 90), dtype).T,
            wide[::2, ::-3],
        ):
            assert _function(name)(*arrays, **keywords, out=out) is out
            assert_same_bits(out, expected)
        assert (wide[1::2] == 9).all()
        assert (np.delete(wide, slice(2, None, 3), axis=1) == 9).all()
        for place in range(len(arrays)):
            copies = [a.copy() for a in arrays]
            _function(name)(*copies, **keywords, out=copies[place])
            assert_same_bits(copies[place], expected)
            buffer = np.zeros((91, 40), dtype)
            buffer[:-1] = arrays[place]
            overlapping = list(arrays)
            overlapping[place] = buffer[:-1]
            _function(name)(*overlapping, **keywords, out=buffer[1:])
            assert_same_bits(buffer[1:], expected)


@every_function
def test_out_that_does_not_fit_is_an_error(name: str) -> None:
    arrays = _arrays(name, (4, 5), np.float64)
    for shape in [(4, 4), (5,), (4, 1), ()]:
        with pytest.raises(ValueError, match=r"dimension|shape|broadcast"):
            _function(name)(*arrays, out=np.zeros(shape))
    read_only = np.zeros((4, 5))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _function(name)(*arrays, out=read_only)
    with pytest.raises(TypeError, match="cast"):
        _function(name)(*arrays, out=np.zeros((4, 5), int))


# ------------------------------------------------------------------ dtypes and errors


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQ", ids=lambda c: np.dtype(c).name)
@every_function
def test_integers_promote_as_in_tanh(name: str, dtype: str) -> None:
    wanted = np.tanh(np.ones(1, dtype)).dtype
    x = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    arrays = [x] * (2 if "_backward" in name else 1)
    exact = [a.astype(wanted) for a in arrays]
    for keywords in ({}, {"scale": 2.0}, {"where": [True, True, False]}):
        expected = _function(name)(*exact, **keywords)
        assert_same_bits(_function(name)(*arrays, **keywords), expected, str(keywords))


@every_function
def test_lists_are_float64(name: str) -> None:
    arrays = _arrays(name, (2, 3), np.float64)
    lists = [a.tolist() for a in arrays]
    assert_same_bits(_function(name)(*lists), _function(name)(*arrays))
    assert_same_bits(
        _function(name)(*lists, scale=2.0), _function(name)(*arrays, scale=2.0)
    )


@pytest.mark.parametrize(
    "bad", [np.ones(2, complex), np.array(["1", "2"]), np.ones(2, object), None],
    ids=["complex", "strings", "objects", "None"],
)  # fmt: skip
@every_function
def test_unsupported_dtypes_are_type_errors(name: str, bad: Any) -> None:
    good = np.ones(2)
    for keywords in ({}, {"scale": 2.0}):
        for place in range(2 if "_backward" in name else 1):
            arrays = [good] * (2 if "_backward" in name else 1)
            arrays[place] = bad
            with pytest.raises((TypeError, ValueError)):
                _function(name)(*arrays, **keywords)


@pytest.mark.parametrize("axis", [None, (0, 1), (0,), ()], ids=str)
@every_function
def test_axis_none_and_tuples_are_errors_with_advice(name: str, axis: Any) -> None:
    with pytest.raises(ValueError, match=r"axis must be one integer.*reshape"):
        _function(name)(*_arrays(name, (4, 5), np.float64), axis=axis)


@every_function
def test_other_bad_arguments(name: str) -> None:
    arrays = _arrays(name, (4, 5), np.float64)
    for keywords in ({}, {"scale": 2.0}):
        for axis in (2, -3, 9):
            with pytest.raises(ValueError, match="axis"):
                _function(name)(*arrays, axis=axis, **keywords)
        with pytest.raises(TypeError):
            _function(name)(*arrays, axis=0.5, **keywords)
        scalars = [a[0, 0] for a in arrays]
        with pytest.raises(ValueError, match=r"axis|dimension"):
            _function(name)(*scalars, **keywords)
    with pytest.raises(ValueError, match="scale"):
        _function(name)(*arrays, scale=[1.0, 2.0])
    with pytest.raises((TypeError, ValueError)):
        _function(name)(*arrays, scale="much")
    with pytest.raises(ValueError, match="broadcast"):
        _function(name)(*arrays, where=np.ones((4, 4), bool))


@every_function
def test_subclasses_stay_what_they_are(name: str) -> None:
    arrays = _arrays(name, (4, 5), np.float32)

    class Tagged(np.ndarray):
        pass

    tagged = [a.view(Tagged) for a in arrays]
    for keywords in ({}, {"scale": 2.0}, {"where": np.ones(5, bool)}):
        assert type(_function(name)(*tagged, **keywords)) is Tagged


@every_function
@pytest.mark.parametrize("axis", [0, -1], ids=lambda axis: f"axis {axis}")
def test_what_is_masked_takes_no_part(name: str, axis: int) -> None:
    arrays = _arrays(name, (4, 5), np.float32)
    hidden = np.random.default_rng(5).random((4, 5)) < 0.3
    hidden[1] = True
    also = np.array([True, True, False, True, True])
    expected = _function(name)(*arrays, axis, where=~hidden & also, scale=2.0)
    *gradients, x = arrays
    x[hidden] = np.nan
    masked = (*gradients, np.ma.MaskedArray(x, hidden))
    found = _function(name)(*masked, axis, where=also, scale=2.0)
    assert np.array_equal(found.mask, hidden)
    assert_same_bits(found.compressed(), expected[~hidden])
    out = np.ma.zeros((4, 5), np.float32)
    assert _function(name)(*masked, axis, where=also, scale=2.0, out=out) is out
    assert np.array_equal(out.mask, hidden)
    assert_same_bits(out.compressed(), expected[~hidden])


def test_logsumexp_of_masked_arrays_leaves_out_the_axis() -> None:
    x = np.ma.MaskedArray([[1.0, 2.0], [3.0, 4.0]], [[True, True], [True, False]])
    found = fa.logsumexp(x)
    assert found.tolist() == [None, 4]
    assert fa.logsumexp(x, keepdims=True).tolist() == [[None], [4]]
    assert fa.logsumexp(x[1]) == 4
    assert fa.logsumexp(x[0]) is np.ma.masked
    out = np.ma.zeros((2, 1))
    assert fa.logsumexp(x, keepdims=True, out=out) is out
    assert out.tolist() == [[None], [4]]
    dx = fa.logsumexp_backward(found, x)
    assert dx.tolist() == [[None, None], [None, 4]]


def test_maxout_says_what_to_do_with_masked_arrays() -> None:
    with pytest.raises(TypeError, match="fill them first"):
        fa.maxout(np.ma.MaskedArray([1.0, 2.0], [True, False]), 2)
