"""All functions along an axis against their definitions in mpmath.

The tests run over the table of the functions; only the definitions are written here.
What the shape-keeping functions have in common is also tested in test_softmax.py.
"""

from __future__ import annotations

import inspect
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import DTYPES, NUMPY_DTYPES, assert_same_bits
from mpmath import mp

import fastact as fa
from fastact import plain
from fastact.checking.truth import finfo

FACTS = fa.ufuncs.ROW_FUNCTIONS
POOL = 3
INF, NAN = np.inf, np.nan
Row = list[Any]


def _softmax(z: Row) -> Row:
    weights = [mp.exp(v - max(z)) for v in z]
    return [w / mp.fsum(weights) for w in weights]


def _threshold(z: Row, tau_of: Callable[[Row], Any]) -> Any:
    """The threshold of the longest prefix of the sorted row that lies above its own."""
    ordered = sorted(z, reverse=True)
    taus = [tau_of(ordered[: k + 1]) for k in range(len(z))]
    inside = [k for k, tau in enumerate(taus) if tau is not None and ordered[k] > tau]
    return taus[inside[-1]]


def _sparsemax(z: Row) -> Row:
    tau = _threshold(z, lambda top: (mp.fsum(top) - 1) / len(top))
    return [max(v - tau, mp.zero) for v in z]


def _entmax15(z: Row) -> Row:
    def tau_of(top: Row) -> Any:
        mean = mp.fsum(top) / len(top)
        rest = 1 - mp.fsum((v - mean) ** 2 for v in top)
        return mean - mp.sqrt(rest / len(top)) if rest >= 0 else None

    half = [v / 2 for v in z]
    tau = _threshold(half, tau_of)
    return [max(v - tau, mp.zero) ** 2 for v in half]


DEFINITIONS: dict[str, Callable[[Row], Row]] = {
    "softmax": _softmax,
    "softmin": lambda z: _softmax([-v for v in z]),
    "log_softmax": lambda z: [mp.log(p) for p in _softmax(z)],
    "logsumexp": lambda z: [max(z) + mp.log(mp.fsum(mp.exp(v - max(z)) for v in z))],
    "sparsemax": _sparsemax,
    "entmax15": _entmax15,
    "hardmax": lambda z: [mp.mpf(i == z.index(max(z))) for i in range(len(z))],
    "maxout": lambda z: [max(z)],
}
SELECTING = [name for name, facts in FACTS.items() if not facts.pools]
REDUCING = [name for name, facts in FACTS.items() if facts.reduces]
FORWARD_AND_BACKWARD = [name + m for name in FACTS for m in FACTS[name].members]
every_name = pytest.mark.parametrize("name", FACTS)
every_function = pytest.mark.parametrize("full_name", FORWARD_AND_BACKWARD)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)


def _random(shape: Any, dtype: Any, seed: int = 0, spread: float = 1) -> Any:
    values = spread * np.random.default_rng(seed).standard_normal(shape)
    return values.astype(dtype)


def _name(full_name: str) -> str:
    return full_name.split("_backward")[0]


def _call(full_name: str, *arrays: Any, axis: int = -1, **keywords: Any) -> Any:
    """The public function; of one that pools, all of the axis as one group."""
    if FACTS[_name(full_name)].pools:
        keywords["pool_size"] = arrays[-1].shape[axis]
        result = getattr(fa, full_name)(*arrays, axis=axis, **keywords)
        return result.squeeze(axis) if full_name in FACTS else result
    return getattr(fa, full_name)(*arrays, axis=axis, **keywords)


def _arrays(full_name: str, x: Any, axis: int = -1, **keywords: Any) -> Any:
    """What the function takes: x, or dy and x, or dy and y."""
    name = _name(full_name)
    if full_name == name:
        return (x,)
    if FACTS[name].reduces:
        shape = list(x.shape)
        shape[axis] = 1
        dy = _random(shape, x.dtype, 2)
        return dy if FACTS[name].pools else dy.squeeze(axis), x
    point = _call(name, x, axis=axis, **keywords) if "output" in full_name else x
    return _random(x.shape, x.dtype, 2), point


def _exact(name: str, x: Any, where: Any, scale: float) -> Any:
    """Row by row after the definition: excluded elements do not exist."""
    facts = FACTS[name]
    found = np.full((len(x), 1 if facts.reduces else x.shape[1]), facts.excluded_value)
    found = found.astype(object)
    for row, inside, result in zip(x, where, found, strict=True):
        if inside.any():
            values = DEFINITIONS[name]([mp.mpf(float(v)) * scale for v in row[inside]])
            result[slice(None) if facts.reduces else inside] = values
        elif facts.reduces:
            result[:] = -INF
    return found


def _exact_gradient(name: str, dy: Any, x: Any, where: Any, scale: float) -> Any:
    """Central differences of the definition."""
    step = mp.mpf(10) ** -15
    found = np.zeros(x.shape, object)
    for r in range(len(x)):
        inside = np.flatnonzero(where[r])
        z = [mp.mpf(float(v)) for v in x[r][inside]]
        weights = [float(v) for v in (dy[r] if FACTS[name].reduces else dy[r][inside])]
        for place, i in enumerate(inside):
            above, below = (
                DEFINITIONS[name](
                    [(v + (sign * step if k == place else 0)) * scale
                     for k, v in enumerate(z)]
                )
                for sign in (1, -1)
            )  # fmt: skip
            slopes = [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]
            found[r, i] = mp.fdot(weights, slopes)
    return found


ROWS = {
    "10 N(0, 1)": lambda dtype: _random((20, 10), dtype),
    "19 N(0, 1)": lambda dtype: _random((8, 19), dtype, spread=3),
    "60 close together": lambda dtype: _random((4, 60), dtype, spread=0.05),
    "one logit 60 above": lambda dtype: (
        _random((8, 12), dtype) + np.eye(8, 12).astype(dtype) * dtype(60)
    ),
}


def _selections(*scales: float) -> list[Any]:
    """Every function with and without a mask and a scale, where it takes them."""
    return [
        (name, masked, scale)
        for name, facts in FACTS.items()
        for masked in (False, True)
        for scale in scales
        if not facts.pools or (not masked and scale == 1)
    ]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("name", "masked", "scale"), _selections(1.0, 0.5, -1.5))
@every_dtype
def test_values(name: str, dtype: Any, masked: bool, scale: float, rows: str) -> None:
    x = ROWS[rows](dtype)
    where = np.random.default_rng(4).random(x.shape) < (0.7 if masked else 2)
    where[1] &= not masked
    keywords = {"scale": scale} | ({"where": where} if masked else {})
    keywords = {} if FACTS[name].pools else keywords
    found = _call(name, x, **keywords)
    assert found.dtype == dtype
    with mp.workdps(40):
        exact = _exact(name, x, where, scale)
        found = found.astype(float).reshape(exact.shape)
        different = found != exact  # infinities are equal
        error = np.abs(np.where(different, found - np.where(different, exact, 0), 0))
    size = np.abs(exact.astype(float))
    if name == "logsumexp":
        size = np.maximum(size, np.abs(x.astype(float) * scale).max(-1, keepdims=True))
    if name in ("sparsemax", "entmax15"):
        size = np.maximum(size, 1)
    finite = np.where(np.isfinite(size), size, 1).astype(dtype)
    limit = {"softmax": 4, "softmin": 4, "log_softmax": 4}.get(name, 2)
    limit = 0.51 if dtype == np.float16 else limit
    assert (error <= limit * np.spacing(finite).astype(float)).all()


@pytest.mark.parametrize("rows", list(ROWS)[:2])
@pytest.mark.parametrize(("name", "masked", "scale"), _selections(1.0, -1.5))
def test_gradients(name: str, masked: bool, scale: float, rows: str) -> None:
    facts = FACTS[name]
    x = ROWS[rows](np.float64)[:3, :19]
    where = np.random.default_rng(4).random(x.shape) < (0.7 if masked else 2)
    where[1] &= not masked
    keywords = {} if facts.pools else {"scale": scale, "where": where}
    for member in facts.members[1:]:
        dy, point = _arrays(name + member, x, **keywords)
        with mp.workdps(50):
            rows_of_dy = dy.reshape(len(x), -1)
            exact = _exact_gradient(name, rows_of_dy, x, where, scale).astype(float)
        for dtype in DTYPES:
            given = dy.astype(dtype), point.astype(dtype)
            found = _call(name + member, *given, **keywords)
            assert found.dtype == dtype
            # rounding the arguments to dtype moves the gradient, too
            tolerance = 60 * float(finfo(dtype).eps)
            if dtype != np.float64 and name in ("sparsemax", "entmax15", "maxout"):
                continue  # that may move elements over a kink
            assert np.abs(found - exact).max() <= tolerance * max(
                1, np.abs(exact).max()
            )


@every_function
def test_any_axis_layout_and_number_of_threads_gives_the_same_bits(
    full_name: str,
) -> None:
    for dtype in DTYPES:
        for shape in [(300, 9, 13), (3, 130, 40), (2, 4, 3000)]:
            x = _random(shape, dtype, spread=2)
            for axis in (0, 1, 2):
                arrays = _arrays(full_name, x, axis)
                last = [
                    a if a.ndim < 3 else np.ascontiguousarray(np.moveaxis(a, axis, -1))
                    for a in arrays
                ]
                expected = _call(full_name, *last)
                if expected.ndim == 3:
                    expected = np.moveaxis(expected, -1, axis)
                for threads in (1, 2, 3):
                    with fa.num_threads(threads):
                        found = _call(full_name, *arrays, axis=axis)
                        assert_same_bits(found, expected, (axis, threads))
                strided = [np.repeat(a, 2, axis=-1)[..., ::2] for a in arrays]
                assert_same_bits(_call(full_name, *strided, axis=axis), expected)
                turned = [np.asfortranarray(a) for a in arrays]
                assert_same_bits(_call(full_name, *turned, axis=axis), expected)


@pytest.mark.parametrize("scale", [1.0, -0.5])
@pytest.mark.parametrize("length", [3, 16, 40, 100])
@pytest.mark.parametrize("name", SELECTING)
def test_special_values(name: str, length: int, scale: float) -> None:
    negative = (scale < 0) != (name == "softmin")
    win, lose = (-INF, INF) if negative else (INF, -INF)
    if name in REDUCING:
        win_value, lose_value = (INF, -INF)
    for dtype in DTYPES:
        x = np.zeros((7, length), dtype)
        x[0, 1] = win
        x[1, 0], x[1, 2] = lose, win
        x[2, 1:3] = win
        coarse = max(1e-3, 2 * float(finfo(dtype).eps))
        x[3] = lose
        x[4, 1] = NAN
        x[5, 1], x[5, 2] = NAN, win
        x[6, 0] = lose
        for axis, given in ((1, x), (0, np.ascontiguousarray(x.T))):
            found = _call(name, given, axis=axis, scale=scale)
            found = found.T if axis == 0 else found
            if name in REDUCING:
                rest = np.log(length - 1)
                expected = [win_value] * 3 + [lose_value, NAN, NAN, rest]
                np.testing.assert_allclose(found, expected, rtol=coarse)
                continue
            one_hot = np.zeros((2, length))
            one_hot[0, 1] = one_hot[1, 2] = 1
            rest = np.zeros(length)
            rest[1:] = 1 / (length - 1)
            several = one_hot[0]
            if name == "hardmax":
                rest = one_hot[0]
                lost = np.zeros(length)
                lost[0] = 1
            with np.errstate(divide="ignore"):
                if name == "log_softmax":
                    one_hot, rest = np.log(one_hot), np.log(rest)
            np.testing.assert_array_equal(found[:2], one_hot)
            if name == "hardmax":
                np.testing.assert_array_equal(found[2:4], [several, lost])
            else:
                assert np.isnan(found[2:4]).all()
            assert np.isnan(found[4:6]).all()
            np.testing.assert_allclose(found[6], rest, rtol=coarse)


@pytest.mark.parametrize("name", SELECTING)
def test_rows_of_no_elements_and_of_one(name: str) -> None:
    facts = FACTS[name]
    for dtype in DTYPES:
        for shape, axis in [((3, 0), 1), ((0, 3), 0), ((0,), 0), ((2, 0, 3), 1)]:
            x = np.zeros(shape, dtype)
            found = _call(name, x, axis=axis)
            assert found.dtype == dtype
            if facts.reduces:
                assert (found == -INF).all()
                assert found.size == max(1, np.prod(shape[:axis] + shape[axis + 1 :]))
            else:
                assert found.shape == shape
        one = _call(name, np.full((3, 1), 7, dtype))
        value = {"logsumexp": 7, "log_softmax": 0}.get(name, 1)
        assert (one == value).all()
        none = _call(name, np.ones((4, 5), dtype), where=np.zeros(5, bool))
        assert (none == (-INF if name == "logsumexp" else facts.excluded_value)).all()


@every_function
def test_a_row_of_ten_million(full_name: str) -> None:
    x = _random(10_000_000, np.float32, spread=0.001)
    arrays = _arrays(full_name, x)
    found = np.asarray(_call(full_name, *arrays))
    assert np.isfinite(found).all()
    if full_name in ("softmax", "softmin", "sparsemax", "entmax15", "hardmax"):
        assert abs(found.sum(dtype=np.longdouble) - 1) < 4e-7
    if full_name == "logsumexp":
        exact = np.log(np.exp(x.astype(np.longdouble)).sum())
        assert abs(found - exact) <= 2 * np.spacing(np.float32(exact))


@pytest.mark.parametrize("kind", ["equal", "N(0, 1)", "steps", "close"])
@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
def test_sparse_rows_sum_to_one(name: str, kind: str) -> None:
    for length in (1, 2, 17, 1000, 1_000_000):
        x = {
            "equal": lambda n: np.full(n, 0.3),
            "N(0, 1)": lambda n: _random(n, np.float64),
            "steps": lambda n: -np.arange(n) / 3.0,
            "close": lambda n: _random(n, np.float64, spread=1e-3),
        }[kind](length)
        y = _call(name, x)
        assert abs(y.astype(np.longdouble).sum() - 1) <= 4 * np.finfo(float).eps


def test_logsumexp_keeps_the_axis_when_asked() -> None:
    x, dy = _random((3, 4, 5), np.float32), _random((3, 5), np.float32, 1)
    for where in (None, np.arange(5) % 2 == 0):
        y = fa.logsumexp(x, 1, where=where)
        kept = fa.logsumexp(x, 1, keepdims=True, where=where)
        assert_same_bits(kept, y[:, np.newaxis])
        out = np.zeros((3, 1, 5), np.float32)
        assert fa.logsumexp(x, 1, keepdims=True, where=where, out=out) is out
        assert_same_bits(out, kept)
        dx = fa.logsumexp_backward(dy, x, 1, where=where)
        given = dy[:, np.newaxis]
        found = fa.logsumexp_backward(given, x, 1, keepdims=True, where=where)
        assert_same_bits(found, dx)
    assert fa.logsumexp([0.0, 0.0], keepdims=True).shape == (1,)
    assert fa.logsumexp([0.0, 0.0]) == np.log(2)
    with pytest.raises(ValueError, match="dy must have length 1 along axis 1"):
        fa.logsumexp_backward(x, x, 1, keepdims=True)
    with pytest.raises(ValueError, match="out must have length 1 along axis 0"):
        fa.logsumexp(x, 0, keepdims=True, out=np.zeros((3, 4, 5)))


def test_hardmax_takes_the_first_maximum() -> None:
    x = np.array([[1, 3, 3, 2], [0, -0.0, 0, 0], [-INF, -INF, -INF, -INF]])
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(fa.hardmax(x), expected)
    np.testing.assert_array_equal(fa.hardmax(-x, scale=-1), expected)
    np.testing.assert_array_equal(fa.hardmax(x, scale=0.0)[0], [1, 0, 0, 0])
    bad = np.full_like(x, NAN)
    assert not fa.hardmax_backward(bad, x).any()
    assert not fa.hardmax_backward_from_output(bad, fa.hardmax(x)).any()


# ------------------------------------------------------------------------------ maxout


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@every_dtype
def test_maxout_of_every_axis(dtype: Any, axis: int) -> None:
    x = np.random.default_rng(1).integers(-4, 4, (6, 12, 18)).astype(dtype)
    groups = np.moveaxis(x, axis, -1)
    groups = groups.reshape(*groups.shape[:-1], -1, POOL)
    expected = np.moveaxis(groups.max(-1), -1, axis)
    y = fa.maxout(x, POOL, axis)
    assert_same_bits(y, expected.astype(dtype))
    dy = _random(y.shape, dtype)
    marks = np.zeros(groups.shape, dtype)
    np.put_along_axis(marks, groups.argmax(-1)[..., np.newaxis], 1, -1)
    spread = marks * np.moveaxis(dy, axis, -1)[..., np.newaxis]
    moved = spread.reshape(*spread.shape[:-2], -1)
    dx = fa.maxout_backward(dy, x, POOL, axis)
    np.testing.assert_array_equal(dx, np.moveaxis(moved, -1, axis))
    for out in (np.empty_like(x), np.empty(x.shape[::-1], dtype).T):
        assert fa.maxout_backward(dy, x, POOL, axis, out=out) is out
        np.testing.assert_array_equal(out, dx)
    out = np.empty_like(y)
    assert fa.maxout(x, POOL, axis, out=out) is out
    assert_same_bits(out, y)


def test_maxout_passes_nan_on() -> None:
    x = np.array([1, NAN, 5, 2, 3, 3, NAN, NAN, -INF])
    np.testing.assert_array_equal(fa.maxout(x, POOL), [NAN, 3, NAN])
    found = fa.maxout_backward(np.array([7.0, 8, 9]), x, POOL)
    np.testing.assert_array_equal(found, [0, 7, 0, 0, 8, 0, 9, 0, 0])


def test_maxout_of_what_does_not_fit_is_an_error() -> None:
    x = np.zeros((4, 6))
    for size in (0, -1, 4, 12):
        with pytest.raises(ValueError, match="pool_size must be a positive divisor"):
            fa.maxout(x, size)
        with pytest.raises(ValueError, match="pool_size must be a positive divisor"):
            fa.maxout_backward(np.zeros((4, 2)), x, size)
    for axis in (None, (0, 1)):
        with pytest.raises(ValueError, match="axis must be one integer"):
            fa.maxout(x, 2, axis)
    with pytest.raises(TypeError):
        fa.maxout(x, 2.0)
    with pytest.raises(TypeError):
        fa.maxout(x.astype(complex), 2)


# ---------------------------------------------------------------------- gumbel_softmax


@every_dtype
@pytest.mark.parametrize("axis", [0, 1])
def test_gumbel_softmax_is_a_softmax_of_the_sum(dtype: Any, axis: int) -> None:
    x = _random((40, 30), dtype)
    noise = np.random.default_rng(5).gumbel(size=x.shape).astype(dtype)
    kept = noise.copy()
    logits = x + noise
    assert_same_bits(fa.gumbel_softmax(x, axis, noise=noise), fa.softmax(logits, axis))
    soft = fa.gumbel_softmax(x, axis, noise=noise, tau=0.5)
    assert_same_bits(soft, fa.softmax(logits, axis, scale=2.0))
    assert soft.dtype == dtype
    hard = fa.gumbel_softmax(x, axis, noise=noise, tau=0.5, hard=True)
    assert_same_bits(hard, fa.hardmax(logits, axis))
    dy = _random(x.shape, dtype, 1)
    dx = fa.gumbel_softmax_backward(dy, x, noise, axis, tau=0.5)
    assert_same_bits(dx, fa.softmax_backward(dy, logits, axis, scale=2.0))
    assert_same_bits(noise, kept)
    drawn = fa.gumbel_softmax(x, axis, rng=np.random.default_rng(5))
    assert_same_bits(drawn, fa.gumbel_softmax(x, axis, noise=noise))
    assert fa.gumbel_softmax.backward is fa.gumbel_softmax_backward


def test_gumbel_softmax_samples_by_the_probabilities() -> None:
    x = np.log(np.array([0.1, 0.2, 0.3, 0.4]))
    samples = np.broadcast_to(x, (100_000, 4))
    rng = np.random.default_rng(0)
    found = fa.gumbel_softmax(samples, hard=True, rng=rng).mean(axis=0)
    np.testing.assert_allclose(found, np.exp(x), atol=0.01)
    assert (fa.gumbel_softmax(samples) != fa.gumbel_softmax(samples)).any()


@pytest.mark.parametrize("tau", [0, -1.0, NAN, [1.0, 2.0]])
def test_gumbel_softmax_needs_a_positive_tau(tau: Any) -> None:
    x = np.zeros(4)
    with pytest.raises(ValueError, match="tau must be a positive number"):
        fa.gumbel_softmax(x, tau=tau)
    with pytest.raises(ValueError, match="tau must be a positive number"):
        fa.gumbel_softmax_backward(x, x, x, tau=tau)


# ---------------------------------------------------------------------- memory and more


@every_function
def test_nothing_of_an_arrays_size_is_allocated(full_name: str) -> None:
    for axis in (0, 1):
        x = _random((700, 400), np.float32)
        arrays = _arrays(full_name, x, axis)
        out = np.empty_like(_call(full_name, *arrays, axis=axis))
        if FACTS[_name(full_name)].pools and full_name in FACTS:
            out = np.expand_dims(out, axis)
        tracemalloc.start()
        try:
            _call(full_name, *arrays, axis=axis, out=out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < x.nbytes / 20


@every_function
def test_the_result_lies_as_the_input_does(full_name: str) -> None:
    x = _random((20, 30, 40), np.float32)
    for axis in (0, 1, 2):
        result = _call(full_name, *_arrays(full_name, x, axis), axis=axis)
        if result.ndim == x.ndim:
            assert result.flags.c_contiguous


@every_name
def test_the_plain_expressions_agree(name: str) -> None:
    x = _random((30, 12), np.float64)
    for member in ("", "_backward"):
        arrays = _arrays(name + member, x)
        extra = (x.shape[1],) if FACTS[name].pools else ()
        found = _call(name + member, *arrays)
        expected = getattr(plain, name + member)(*arrays, *extra)
        if FACTS[name].pools and not member:
            expected = expected.squeeze(-1)
        np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize(
    "full_name", [*FORWARD_AND_BACKWARD, "gumbel_softmax", "gumbel_softmax_backward"]
)
def test_docstrings_have_all_sections(full_name: str) -> None:
    lines = inspect.cleandoc(getattr(fa, full_name).__doc__ or "").splitlines()
    for section in ("Parameters", "Returns", "Raises", "Notes"):
        place = lines.index(section)
        assert lines[place + 1] == "-" * len(section)
        assert lines[place + 2].strip()
    assert any(line.startswith("Source: ") for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
def test_a_scale_that_is_no_number_gives_nan(name: str) -> None:
    x = np.array([1.0, 2.0, 0.0])
    for scale in (NAN, INF):
        assert np.isnan(getattr(fa, name)(x, scale=scale)).all()
        assert np.isnan(getattr(fa, name + "_backward")(x, x, scale=scale)).all()


def test_many_rows_reduced_stay_within_their_results() -> None:
    """32 MiB of results of one element per row: rows overlap, to take little memory."""
    x = np.random.default_rng(3).standard_normal(2**23 + 47, np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(x, 48)
    results = np.full(len(rows) + 4096, 7, np.float32)
    y, beyond = results[: len(rows)], results[len(rows) :]
    half = len(rows) // 2
    fa.logsumexp(rows, out=y)
    assert np.all(beyond == 7)
    assert_same_bits(y[:half], fa.logsumexp(rows[:half]))
    assert_same_bits(y[half:], fa.logsumexp(rows[half:]))


SHAPE_KEEPING = sorted(
    name + member
    for name, facts in FACTS.items()
    if not facts.reduces
    for member in facts.members
)


def _layouts(x: Any) -> dict[str, Any]:
    """Arrays with the elements of x that lie in memory in other ways."""
    gapped = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    gapped[..., ::2] = x
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:]
    unaligned = raw.view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "plain": x.copy(),
        "columns first": np.asfortranarray(x),
        "backwards": x[::-1].copy()[::-1],
        "gaps": gapped[..., ::2],
        "unaligned": unaligned,
        "swapped": x.astype(x.dtype.newbyteorder()),
        "read-only": read_only,
    }


@pytest.mark.parametrize("full_name", SHAPE_KEEPING)
def test_calls_without_numpy_have_the_results_of_the_ufuncs(full_name: str) -> None:
    rng = np.random.default_rng(20)
    ufunc = getattr(fa.ufuncs, full_name)
    function = getattr(fa, full_name)
    for dtype in DTYPES:
        for shape in [
            (7,),
            (1,),
            (3, 5),
            (5, 1),
            (1, 5),
            (2, 3, 4),
            (0,),
            (0, 3),
            (3, 0),
        ]:
            x, other = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
            for axis in range(-len(shape), len(shape)):
                for layout, array in _layouts(x).items():
                    if layout == "swapped" and dtype not in NUMPY_DTYPES:
                        continue  # ml_dtypes has none
                    given = (other, array)[2 - ufunc.nin :]
                    expected = ufunc(*given, axis=axis)
                    assert_same_bits(function(*given, axis), expected)
                    for out in _layouts(np.full_like(x, 9)).values():
                        if not out.flags.writeable:
                            with pytest.raises(ValueError, match="read-only"):
                                function(*given, axis, out=out)
                            continue
                        assert function(*given, axis, out=out) is out
                        assert_same_bits(out.astype(dtype), expected)


@pytest.mark.parametrize("full_name", SHAPE_KEEPING)
def test_out_may_overlap_what_is_read(full_name: str) -> None:
    ufunc, function = getattr(fa.ufuncs, full_name), getattr(fa, full_name)
    rng = np.random.default_rng(21)
    for shift in (-7, -1, 0, 1, 7, 40):
        for axis in (0, 1):
            for overlapped in range(ufunc.nin):
                memory = rng.standard_normal(200).astype(np.float32)
                given = list(rng.standard_normal((2, 8, 5)).astype(np.float32))
                given = given[: ufunc.nin]
                given[overlapped] = memory[50:90].reshape(8, 5)
                expected = ufunc(*given, axis=axis)
                out = memory[50 + shift : 90 + shift].reshape(8, 5)
                assert_same_bits(function(*given, axis, out=out), expected)


@pytest.mark.parametrize("full_name", SHAPE_KEEPING)
def test_what_the_ufunc_refuses_or_casts(full_name: str) -> None:
    ufunc, function = getattr(fa.ufuncs, full_name), getattr(fa, full_name)
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    given = (x[::-1].copy(), x)[2 - ufunc.nin :]
    for axis in (2, -3, 10**30, -(10**30)):
        with pytest.raises((np.exceptions.AxisError, OverflowError)):
            function(*given, axis)
    for wrong in (np.empty((4, 3), np.float32), np.empty(12, np.float32)):
        with pytest.raises(ValueError, match=r"mismatch|non-broadcastable"):
            function(*given, out=wrong)
    with pytest.raises(TypeError, match="cast"):
        function(*given, out=np.empty((3, 4), np.int64))
    with pytest.raises(TypeError):
        function(*given, out=[0.0])
    wide = np.empty((3, 4))
    assert function(*given, out=wide) is wide
    assert_same_bits(wide.astype(np.float32), ufunc(*given))
    narrow = np.empty((3, 4), np.float32)
    assert function(*given, out=(narrow,)) is narrow
    assert_same_bits(narrow, ufunc(*given))
