"""softmax_cross_entropy and its gradient, against mpmath, differences and the options."""

from __future__ import annotations

import inspect
import pickle
import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
from calls import DTYPES, LEADS, LONE_ROWS, assert_same_bits, lone_rows
from mpmath import mp

import fastact as fa
from fastact.checking.truth import finfo

INF, NAN = np.inf, np.nan
LOSS, BACKWARD = fa.softmax_cross_entropy, fa.softmax_cross_entropy_backward
REDUCTIONS = ("mean", "sum", "none")
# 1 - eps + eps, and eps / C for C a power of two, are exact
SMOOTHINGS = (0.0, 0.25, 1.0)
EXACT = [np.float32, np.float64]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
exact_dtype = pytest.mark.parametrize("dtype", EXACT, ids=lambda d: d.__name__)
every_kind = pytest.mark.parametrize("kind", ["labels", "probabilities"])
every_smoothing = pytest.mark.parametrize("smoothing", SMOOTHINGS)


def _logits(
    shape: Any, dtype: Any = np.float64, seed: int = 0, spread: float = 1
) -> Any:
    values = spread * np.random.default_rng(seed).standard_normal(shape)
    return values.astype(dtype)


def _labels(shape: Any, axis: int = -1, seed: int = 5) -> Any:
    rows = np.delete(shape, axis)
    return np.random.default_rng(seed).integers(0, shape[axis], rows)


def _probabilities(shape: Any, dtype: Any = np.float64, seed: int = 6) -> Any:
    """Rows that do not sum to 1, with zeros."""
    values = np.random.default_rng(seed).random(shape)
    values[values < 0.2] = 0
    return values.astype(dtype)


def _targets(kind: str, shape: Any, dtype: Any = np.float64, axis: int = -1) -> Any:
    return _labels(shape, axis) if kind == "labels" else _probabilities(shape, dtype)


# --------------------------------------------------------------------- truth in mpmath


def _weights(target: Any, count: int, smoothing: float) -> list[Any]:
    """What each class counts in a row's loss."""
    eps = mp.mpf(smoothing)
    if np.ndim(target) == 0:
        given = [mp.mpf(int(i == target)) for i in range(count)]
    else:
        given = [mp.mpf(float(p)) for p in target]
    return [(1 - eps) * p + eps / count for p in given]


def _true_loss(row: list[Any], weights: list[Any]) -> Any:
    top = max(row)
    log_sum = top + mp.log(mp.fsum(mp.exp(x - top) for x in row))
    return mp.fsum(w * (log_sum - x) for w, x in zip(weights, row, strict=True))


def _true_losses(logits: Any, targets: Any, smoothing: float = 0.0) -> list[Any]:
    with mp.workprec(300):
        return [
            _true_loss(
                [mp.mpf(float(x)) for x in row], _weights(t, len(row), smoothing)
            )
            for row, t in zip(logits, targets, strict=True)
        ]


def _true_gradient(row: Any, target: Any, smoothing: float = 0.0) -> list[Any]:
    """Central differences of the loss, with a step far below what is looked at."""
    with mp.workprec(600):
        step, x = mp.mpf(2) ** -150, [mp.mpf(float(v)) for v in row]
        weights = _weights(target, len(x), smoothing)
        slopes = []
        for i in range(len(x)):
            up, down = x.copy(), x.copy()
            up[i] += step
            down[i] -= step
            rise = _true_loss(up, weights) - _true_loss(down, weights)
            slopes.append(rise / (2 * step))
        return slopes


def _ulps(found: Any, exact: list[Any], dtype: Any) -> Any:
    """Distances in units in the last place of the exact result."""
    units = np.spacing(np.abs(np.array([float(e) for e in exact])).astype(dtype))
    with mp.workprec(300):
        return np.array(
            [
                float(abs(mp.mpf(float(f)) - e) / mp.mpf(float(u)))
                for f, e, u in zip(found, exact, units, strict=True)
            ]
        )


def _dominated(shape: Any, dtype: Any) -> Any:
    x = _logits(shape, dtype)
    x[..., 3] += 60
    return x


ROWS = {
    "N(0, 1)": lambda shape, dtype: _logits(shape, dtype),
    "10 N(0, 1)": lambda shape, dtype: _logits(shape, dtype, spread=10),
    "one logit 60 above": _dominated,
    "far from zero": lambda shape, dtype: _logits(shape, dtype) + dtype(1000),
    "all equal": lambda shape, dtype: np.full(shape, 3, dtype),
}


@pytest.mark.parametrize("rows", ROWS)
@exact_dtype
def test_losses_of_labels_are_within_4_ulp(dtype: Any, rows: str) -> None:
    for shape in [(300, 10), (30, 100), (50, 17), (3, 2000)]:
        x = ROWS[rows](shape, dtype)
        for targets in (_labels(shape), np.full(shape[0], 3), x.argmax(-1)):
            found = LOSS(x, targets, reduction="none")
            assert found.dtype == dtype
            assert _ulps(found, _true_losses(x, targets), dtype).max() <= 4, shape


@pytest.mark.parametrize("rows", ROWS)
@exact_dtype
@every_kind
def test_losses_with_smoothing_are_within_4_ulp(
    kind: str, dtype: Any, rows: str
) -> None:
    for shape in [(60, 8), (20, 100)]:
        x = ROWS[rows](shape, dtype)
        for smoothing in (0.0, 0.1, 0.25, 1.0):
            targets = _targets(kind, shape, dtype)
            found = LOSS(x, targets, label_smoothing=smoothing, reduction="none")
            exact = _true_losses(x, targets, smoothing)
            assert _ulps(found, exact, dtype).max() <= 4, (shape, smoothing)


@every_kind
def test_float16_losses_are_rounded_once(kind: str) -> None:
    x = _logits((100, 12), np.float16, spread=3)
    targets = _targets(kind, x.shape, np.float16)
    found = LOSS(x, targets, reduction="none")
    assert found.dtype == np.float16
    assert _ulps(found, _true_losses(x, targets), np.float16).max() <= 0.51


@exact_dtype
def test_gradients_of_labels_are_within_4_ulp(dtype: Any) -> None:
    """Beside each element, also where the label has nearly all the weight."""
    for rows in ROWS:
        x = ROWS[rows]((6, 10), dtype)
        for targets in (_labels(x.shape), np.full(6, 3)):
            found = BACKWARD(1.0, x, targets, reduction="sum")
            for row, target, slopes in zip(x, targets, found, strict=True):
                exact = _true_gradient(row, target)
                assert _ulps(slopes, exact, dtype).max() <= 4, rows


def _leading(shape: tuple[int, int], dtype: Any, level: float) -> tuple[Any, Any]:
    """Logits and labels: of every lead, some rows."""
    x, labels = _logits(shape, dtype) + dtype(level), _labels(shape)
    leads = np.resize(np.array(LEADS, dtype), shape[0])
    x[np.arange(shape[0]), labels] += leads
    return x, labels


def _long_double_losses(x: Any, labels: Any) -> tuple[Any, Any]:
    """Losses and gradients of labels."""
    x, rows = x.astype(np.longdouble), np.arange(len(x))
    far = x - x[rows, labels][:, None]
    top = far.max(axis=1, keepdims=True)
    weights = np.exp(far - top)
    weights[rows, labels] = 0  # others beside the label
    ratios = weights.sum(axis=1) * np.exp(top[:, 0])
    slopes = np.exp(far) / (1 + ratios)[:, None]
    slopes[rows, labels] = -ratios / (1 + ratios)
    return np.log1p(ratios), slopes


@exact_dtype
@pytest.mark.parametrize("length", [1, 2, 5, 17, 63, 64, 100, 130, 1000])
def test_labels_above_the_others(dtype: Any, length: int) -> None:
    for level in (-12, -6, 0, 20, 1000, 2e5):
        x, labels = _leading((300, length), dtype, level)
        losses, slopes = _long_double_losses(x, labels)
        unit = np.spacing(losses.astype(dtype)).astype(np.longdouble)
        found = LOSS(x, labels, reduction="none")
        assert (abs(found - losses) <= 4 * unit).all(), level
        unit = np.spacing(abs(slopes).astype(dtype)).astype(np.longdouble)
        found = BACKWARD(1.0, x, labels, reduction="sum")
        bound = 4 if dtype is np.float32 else 5
        assert (abs(found - slopes) <= bound * unit).all(), level


@pytest.mark.parametrize(("length", "level"), LONE_ROWS)
def test_elements_of_no_weight_have_none(length: int, level: float) -> None:
    x = lone_rows(length, level)
    labels = np.zeros(20, np.intp)
    assert LOSS(x, labels, reduction="sum") == 0
    slopes = BACKWARD(2.0**16, x, labels, reduction="sum")
    assert (slopes[:, 0] == 0).all()


@exact_dtype
@pytest.mark.parametrize("length", [10, 70, 200])
def test_a_row_does_not_depend_on_its_neighbours(dtype: Any, length: int) -> None:
    x, labels = _leading((90, length), dtype, 0)
    x[10] += dtype(1000)
    x[20] -= dtype(1000)
    x[30, 2] = np.inf
    x[40, 3] = np.nan
    x[50] = -np.inf
    x[60, 5] = -np.inf
    found = LOSS(x, labels, reduction="none")
    alone = [LOSS(x[r : r + 1], labels[r : r + 1], reduction="none") for r in range(90)]
    assert_same_bits(found, np.concatenate(alone))
    turned = np.ascontiguousarray(x.T)
    assert_same_bits(LOSS(turned, labels, axis=0, reduction="none"), found)
    found = BACKWARD(1.0, x, labels, reduction="sum")
    rows = [slice(r, r + 1) for r in range(90)]
    alone = [BACKWARD(1.0, x[r], labels[r], reduction="sum") for r in rows]
    assert_same_bits(found, np.concatenate(alone))
    slopes = BACKWARD(1.0, turned, labels, axis=0, reduction="sum")
    assert_same_bits(slopes.T, found)
    in_place = BACKWARD(1.0, x, labels, reduction="sum", out=x)
    assert_same_bits(in_place, found)


@exact_dtype
@every_kind
@every_smoothing
def test_gradients_are_close_beside_their_terms(
    smoothing: float, kind: str, dtype: Any
) -> None:
    for rows in ROWS:
        x = ROWS[rows]((3, 8), dtype)
        targets = _targets(kind, x.shape, dtype)
        found = BACKWARD(1.0, x, targets, label_smoothing=smoothing, reduction="sum")
        for row, target, slopes in zip(x, targets, found, strict=True):
            exact = np.array([float(e) for e in _true_gradient(row, target, smoothing)])
            weights = [float(w) for w in _weights(target, 8, smoothing)]
            bound = 8 * finfo(dtype).eps * max(sum(weights), 1)
            np.testing.assert_allclose(slopes, exact, rtol=0, atol=bound)


@every_kind
@every_smoothing
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
def test_gradient_is_the_slope_of_the_loss(
    axis: int, reduction: str, smoothing: float, kind: str
) -> None:
    x = _logits((6, 5))
    targets = _targets(kind, x.shape, axis=axis)
    if kind == "labels":
        targets[1] = -100
    keywords = {"label_smoothing": smoothing, "reduction": reduction}
    dy = _logits(5 if axis == 0 else 6, seed=2) if reduction == "none" else 0.7
    gradient = BACKWARD(dy, x, targets, axis, **keywords)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-6
        up, down = (LOSS(x + s * step, targets, axis, **keywords) for s in (1, -1))
        slope = np.sum(dy * (up - down)) / 2e-6
        assert abs(gradient[index] - slope) < 1e-8, index


# ----------------------------------------------------------------------------- options


@every_dtype
@every_kind
def test_reductions(kind: str, dtype: Any) -> None:
    x = _logits((500, 9), dtype, spread=4)
    targets = _targets(kind, x.shape, dtype)
    if kind == "labels":
        targets[::3] = -100
    counted = np.count_nonzero(targets != -100) if kind == "labels" else 500
    each = LOSS(x, targets, reduction="none")
    total, mean = LOSS(x, targets, reduction="sum"), LOSS(x, targets)
    assert each.shape == (500,)
    assert type(total) is type(mean) is dtype
    eps = finfo(dtype).eps
    wide = each.astype(float)
    np.testing.assert_allclose(total, wide.sum(), rtol=2 * eps)
    np.testing.assert_allclose(mean, wide.sum() / counted, rtol=2 * eps)
    exact = _true_losses(x[1:3], targets[1:3])
    np.testing.assert_allclose(each[1:3].astype(float), [float(e) for e in exact],
                               rtol=4 * eps)  # fmt: skip


@every_dtype
def test_ignored_rows_count_for_nothing(dtype: Any) -> None:
    x = _logits((9, 6), dtype)
    targets = np.array([0, 1, -100, 3, -100, 5, 0, 1, 2])
    x[2] = NAN
    x[4, 1] = INF
    kept = targets != -100
    for smoothing in SMOOTHINGS:
        keywords: Any = {"label_smoothing": smoothing}
        each = LOSS(x, targets, reduction="none", **keywords)
        assert (each[~kept] == 0).all()
        assert_same_bits(LOSS(x, targets, **keywords),
                         LOSS(x[kept], targets[kept], **keywords))  # fmt: skip
        gradient = BACKWARD(1.0, x, targets, **keywords)
        assert_same_bits(gradient[~kept], np.zeros((2, 6), dtype))
        expected = BACKWARD(1.0, x[kept], targets[kept], **keywords)
        assert_same_bits(gradient[kept], expected)


def test_ignore_index_may_be_a_class_and_need_not_fit_the_labels() -> None:
    x, targets = _logits((5, 4)), np.array([0, 1, 2, 1, 3], np.uint8)
    each = LOSS(x, targets, ignore_index=1, reduction="none")
    assert (each == 0).tolist() == [False, True, False, True, False]
    assert LOSS(x, targets, ignore_index=1) == pytest.approx(each.sum() / 3)
    expected = LOSS(x, targets, reduction="none")
    for other in (-100, 2**63 - 1, -(2**63), np.int64(77)):
        assert_same_bits(
            LOSS(x, targets, ignore_index=other, reduction="none"), expected
        )


def test_the_mean_of_nothing_is_nan_and_its_gradient_is_zero() -> None:
    for dtype in DTYPES:
        x, targets = _logits((3, 4), dtype), np.full(3, -100)
        assert np.isnan(LOSS(x, targets))
        assert LOSS(x, targets, reduction="sum") == 0
        assert_same_bits(BACKWARD(1.0, x, targets), np.zeros((3, 4), dtype))


def test_probabilities_of_one_class_are_its_label() -> None:
    for dtype in DTYPES:
        x = _logits((40, 9), dtype, spread=3)
        labels = _labels(x.shape)
        for smoothing in SMOOTHINGS:
            losses = [
                LOSS(x, t, label_smoothing=smoothing, reduction="none").astype(float)
                for t in (labels, np.eye(9, dtype=dtype)[labels])
            ]
            np.testing.assert_allclose(*losses, rtol=4 * finfo(dtype).eps)


@pytest.mark.parametrize("given", DTYPES, ids=lambda d: d.__name__)
@every_dtype
def test_probabilities_of_another_dtype(dtype: Any, given: Any) -> None:
    """They are not rounded to float16, and never decide the result's dtype."""
    x = _logits((70, 30), dtype)
    probabilities = _probabilities(x.shape, given)
    compute = np.float64 if dtype == np.float64 else np.float32
    same = probabilities.astype(compute)
    expected = LOSS(x.astype(compute), same, reduction="none").astype(dtype)
    assert_same_bits(LOSS(x, probabilities, reduction="none"), expected)
    slopes = BACKWARD(1.0, x.astype(compute), same).astype(dtype)
    assert_same_bits(BACKWARD(1.0, x, probabilities), slopes)


@pytest.mark.parametrize("dtype", "bBhHiIlLqQ", ids=lambda c: np.dtype(c).name)
def test_labels_of_every_integer_dtype(dtype: str) -> None:
    x, labels = _logits((50, 7)), _labels((50, 7))
    for order in ("<", ">"):
        given = labels.astype(np.dtype(dtype).newbyteorder(order))
        assert_same_bits(LOSS(x, given), LOSS(x, labels))
        assert_same_bits(BACKWARD(1.0, x, given), BACKWARD(1.0, x, labels))


@pytest.mark.parametrize("dtype", "?bBhHiIlL", ids=lambda c: np.dtype(c).name)
def test_integer_logits_promote_as_in_tanh(dtype: str) -> None:
    x = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    exact = x.astype(np.tanh(np.ones(1, dtype)).dtype)
    assert_same_bits(LOSS(x, [0, 2]), LOSS(exact, [0, 2]))
    assert_same_bits(BACKWARD(1, x, [0, 2]), BACKWARD(1.0, exact, [0, 2]))


def test_lists_and_one_row() -> None:
    x = _logits((2, 3))
    assert_same_bits(LOSS(x.tolist(), [2, 0]), LOSS(x, np.array([2, 0])))
    alone = LOSS(x[0], 2, reduction="none")
    assert type(alone) is np.float64
    assert alone == LOSS(x, [2, 0], reduction="none")[0]
    dy = np.float64(2)
    expected = BACKWARD(2.0, x[0], 2, reduction="sum")
    assert_same_bits(BACKWARD(dy, x[0], 2, reduction="none"), expected)


@exact_dtype
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("length", [10, 100, 3000])
def test_small_factors_of_rows_that_are_far_above_zero(
    length: int, axis: int, dtype: Any
) -> None:
    """dy over a sum of powers, which is large there, is no number of the format."""
    tiny = {np.float32: 1e-25, np.float64: 1e-285}[dtype]
    x = _logits((5, length), dtype) + dtype(30)
    labels = _labels(x.shape)
    found = fa.softmax_cross_entropy_backward(
        np.full(5, tiny, dtype),
        np.ascontiguousarray(x if axis == 1 else x.T),
        labels,
        axis=axis,
        reduction="none",
    )
    if axis == 0:
        found = found.T
    expected = np.exp(x.astype(np.longdouble) - 30)
    expected /= expected.sum(axis=1, keepdims=True)
    expected[np.arange(5), labels] -= 1
    expected *= np.longdouble(dtype(tiny))
    np.testing.assert_allclose(found, expected.astype(dtype), 8 * finfo(dtype).eps)


def test_dy_is_a_factor() -> None:
    for dtype in DTYPES:
        x, targets = _logits((30, 8), dtype), _labels((30, 8))
        one = BACKWARD(1.0, x, targets, reduction="sum")
        four = dtype(4) * one
        assert_same_bits(BACKWARD(4, x, targets, reduction="sum"), four)
        for given in (dtype(4), np.float16(4), np.float64(4)):
            each = np.full(30, given)
            assert_same_bits(BACKWARD(each, x, targets, reduction="none"), four)
            assert_same_bits(BACKWARD(given, x, targets, reduction="sum"), four)
        assert_same_bits(BACKWARD(120, x, targets), four)


# ---------------------------------------------------------------------- special values


@every_dtype
def test_infinite_logits(dtype: Any) -> None:
    for length in (4, 16, 19, 64):
        one_hot = np.zeros(length, dtype)
        one_hot[1] = 1
        x = np.ones(length, dtype)
        x[1] = INF  # all weight is there
        assert LOSS(x, 1) == 0
        assert LOSS(x, 2) == INF
        assert LOSS(x, 1, label_smoothing=0.5) == INF
        assert LOSS(x, one_hot) == 0
        assert LOSS(x, 1 - one_hot) == INF
        assert (BACKWARD(1.0, x, 1) == 0).all()
        assert_same_bits(
            BACKWARD(1.0, x, 2) + 0, one_hot - np.eye(length, dtype=dtype)[2]
        )
        x[3] = -INF
        assert LOSS(x, 1) == 0
        assert LOSS(x, 3) == INF
        for bad in (INF, NAN):  # several winners, or a NaN
            x[2] = bad
            for target in (1, 2, 3, one_hot):
                assert np.isnan(LOSS(x, target))
                assert np.isnan(BACKWARD(1.0, x, target)).all()
        x[:] = -INF
        assert np.isnan(LOSS(x, 1))
        assert np.isnan(BACKWARD(1.0, x, 1)).all()


@every_dtype
def test_a_class_that_cannot_be_is_as_if_it_were_not_there(dtype: Any) -> None:
    x = _logits(20, dtype)
    x[5] = -INF
    rest = np.delete(np.arange(20), 5)
    eps = float(finfo(dtype).eps)

    def assert_near(found: Any, expected: Any) -> None:
        found, expected = np.asarray(found, float), np.asarray(expected, float)
        np.testing.assert_allclose(found, expected, rtol=4 * eps, atol=2 * eps)

    assert_near(LOSS(x, 7), LOSS(x[rest], 6))
    slopes = BACKWARD(1.0, x, 7)
    assert slopes[5] == 0
    assert_near(slopes[rest], BACKWARD(1.0, x[rest], 6))
    p = _probabilities(20, dtype)
    p[5] = 0  # 0 times an infinite -log(softmax)
    assert_near(LOSS(x, p), LOSS(x[rest], p[rest]))
    p[5] = 0.5
    assert LOSS(x, p) == INF
    assert LOSS(x, 5) == INF
    assert BACKWARD(1.0, x, 5)[5] == -1


def test_label_smoothing_of_one_leaves_nothing_of_the_label() -> None:
    x = np.array([0.5, -INF, 2])
    assert LOSS(x[[0, 2]], 0, label_smoothing=1.0) == LOSS(
        x[[0, 2]], 1, label_smoothing=1
    )
    for label in range(3):
        assert LOSS(x, label, label_smoothing=1.0) == INF


def test_largest_finite_numbers() -> None:
    for dtype in DTYPES:
        big = finfo(dtype).max
        x = np.array([big, 0, -big], dtype)
        assert LOSS(x, 0) == 0
        assert LOSS(x, 1) == big
        assert LOSS(x, 2) == INF
        assert_same_bits(BACKWARD(1.0, x, 1), np.array([1, -1, 0], dtype))
        many = np.tile(x, (40, 1))
        assert LOSS(many, np.ones(40, int), reduction="sum") == INF


def test_nan_stays_in_its_row() -> None:
    for dtype in DTYPES:
        for kind in ("labels", "probabilities"):
            x = _logits((3, 20), dtype)
            targets = _targets(kind, x.shape, dtype)
            losses = LOSS(x, targets, reduction="none")
            slopes = BACKWARD(1.0, x, targets)
            x[1, 4] = NAN
            found = LOSS(x, targets, reduction="none")
            assert np.isnan(found).tolist() == [False, True, False]
            assert_same_bits(found[[0, 2]], losses[[0, 2]])
            found = BACKWARD(1.0, x, targets)
            assert np.isnan(found[1]).all()
            assert_same_bits(found[[0, 2]], slopes[[0, 2]])


def test_nothing_warns() -> None:
    values = [0, 1, -1, INF, -INF, NAN, 1e4, -1e4]
    x = np.array([np.roll(values, i)[:4] for i in range(8)])
    with np.errstate(all="raise"):
        for dtype in DTYPES:
            for kind in ("labels", "probabilities"):
                targets = _targets(kind, x.shape, dtype)
                for smoothing in SMOOTHINGS:
                    for reduction in REDUCTIONS:
                        keywords: Any = {
                            "label_smoothing": smoothing,
                            "reduction": reduction,
                        }
                        LOSS(x.astype(dtype), targets, **keywords)
                        dy = np.ones(8) if reduction == "none" else 1
                        BACKWARD(dy, x.astype(dtype), targets, **keywords)


# ------------------------------------------------------------------- axes and layouts


@every_kind
@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2], ids=lambda axis: f"axis {axis}")
def test_any_axis(axis: int, kind: str) -> None:
    for dtype in DTYPES:
        for shape in [(5, 6, 7), (33, 20, 40), (2, 300, 3)]:
            x = _logits(shape, dtype)
            targets = _targets(kind, shape, dtype, axis)
            moved = np.ascontiguousarray(np.moveaxis(x, axis, -1))
            plain = targets
            if kind == "probabilities":
                plain = np.ascontiguousarray(np.moveaxis(targets, axis, -1))
            for reduction in REDUCTIONS:
                expected = LOSS(moved, plain, reduction=reduction)
                assert_same_bits(LOSS(x, targets, axis, reduction=reduction), expected)
            dy = _logits(moved.shape[:-1], dtype, 8)
            expected = BACKWARD(dy, moved, plain, reduction="none")
            found = BACKWARD(dy, x, targets, axis=np.int64(axis), reduction="none")
            assert_same_bits(found, np.moveaxis(expected, -1, axis))


LAYOUTS: dict[str, Any] = {
    "every second element": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "Fortran": np.asfortranarray,
    "unaligned": lambda a: (
        np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    ),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@every_kind
def test_same_bits_for_every_layout_and_number_of_threads(
    kind: str, layout: str
) -> None:
    lay = LAYOUTS[layout]
    for dtype in DTYPES:
        for shape in [(2500, 30), (70, 1003), (3, 40_000)]:
            x, targets = _logits(shape, dtype), _targets(kind, shape, dtype)
            dy = _logits(shape[0], dtype, 8)
            with fa.num_threads(1):
                losses = [LOSS(x, targets, reduction=r) for r in REDUCTIONS]
                alone = [LOSS(x[i], targets[i], reduction="none") for i in range(3)]
                assert_same_bits(losses[2][:3], np.array(alone))
                slopes = BACKWARD(dy, x, targets, reduction="none")
            for threads in (1, 2, 3):
                with fa.num_threads(threads):
                    for arrays in ((x, targets, dy), map(lay, (x, targets, dy))):
                        given, wanted, factor = arrays
                        for reduction, loss in zip(REDUCTIONS, losses, strict=True):
                            found = LOSS(given, wanted, reduction=reduction)
                            assert_same_bits(found, loss, (threads, reduction))
                        found = BACKWARD(factor, given, wanted, reduction="none")
                        assert_same_bits(found, slopes, threads)


def test_broadcast_arrays() -> None:
    x = np.broadcast_to(_logits((1, 9), np.float32), (6, 9))
    column = np.broadcast_to(_logits((6, 1), np.float32), (6, 9))
    targets = np.broadcast_to(np.array(4), (6,))
    p = np.broadcast_to(_probabilities(9, np.float32), (6, 9))
    for logits in (x, column):
        for wanted in (targets, p):
            assert_same_bits(LOSS(logits, wanted), LOSS(logits.copy(), wanted.copy()))
            assert_same_bits(
                BACKWARD(1.0, logits, wanted),
                BACKWARD(1.0, logits.copy(), wanted.copy()),
            )


@every_kind
def test_sums_do_not_depend_on_threads(kind: str) -> None:
    x = _logits((20_011, 7), spread=1e3)
    targets = _targets(kind, x.shape)
    with fa.num_threads(1):
        expected = LOSS(x, targets, reduction="sum")
    for threads in (2, 3, 5):
        with fa.num_threads(threads):
            for _ in range(5):
                assert_same_bits(LOSS(x, targets, reduction="sum"), expected)


@pytest.mark.parametrize("shape", [(0, 5), (0, 0), (2, 0, 3)], ids=str)
def test_no_rows(shape: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        x = np.zeros(shape, dtype)
        labels = np.zeros(shape[:-1], int)
        for targets in (labels, x):
            assert np.isnan(LOSS(x, targets))
            assert LOSS(x, targets, reduction="sum") == 0
            assert LOSS(x, targets, reduction="none").shape == shape[:-1]
            assert BACKWARD(1.0, x, targets).shape == shape


def test_rows_without_classes() -> None:
    x = np.zeros((3, 0), np.float32)
    assert LOSS(x, x) == 0
    assert_same_bits(LOSS(x, x, reduction="none"), np.zeros(3, np.float32))
    assert BACKWARD(1.0, x, x).shape == (3, 0)
    assert np.isnan(LOSS(x, np.full(3, -100)))
    with pytest.raises(ValueError, match="targets"):
        LOSS(x, [0, 0, 0])


# -------------------------------------------------------------------------------- out


@every_dtype
@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
def test_out(axis: int, dtype: Any) -> None:
    shape = (90, 40)
    x, dy = _logits(shape, dtype), _logits(shape[1 - axis], dtype, 4)
    for kind in ("labels", "probabilities"):
        targets = _targets(kind, shape, dtype, axis)
        losses = LOSS(x, targets, axis, reduction="none")
        out = np.full((shape[1 - axis], 2), 9, dtype)
        assert LOSS(x, targets, axis, reduction="none", out=out[:, 1]) is not None
        assert_same_bits(out[:, 1], losses)
        assert (out[:, 0] == 9).all()
        for reduction in ("mean", "sum"):
            single = np.zeros((), dtype)
            given = LOSS(x, targets, axis, reduction=reduction, out=single)
            assert given is single
            assert_same_bits(single, np.asarray(LOSS(x, targets, axis,
                                                     reduction=reduction)))  # fmt: skip

        expected = BACKWARD(dy, x, targets, axis, reduction="none")
        wide = np.full((180, 120), 9, dtype)
        for out in (
            np.empty(shape, dtype),
            np.empty(shape[::-1], dtype).T,
            wide[::2, ::3],
        ):
            given = BACKWARD(dy, x, targets, axis, reduction="none", out=out)
            assert given is out
            assert_same_bits(out, expected)
        assert (wide[1::2] == 9).all()
        assert (np.delete(wide, slice(0, None, 3), axis=1) == 9).all()


@every_kind
@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
def test_in_place_and_overlapping(axis: int, kind: str) -> None:
    shape = (2000, 30)
    for dtype in DTYPES:
        x = _logits(shape, dtype)
        targets = _targets(kind, shape, dtype, axis)
        expected = BACKWARD(1.0, x, targets, axis)
        for logits in (x.copy(), np.asfortranarray(x)):
            given = BACKWARD(1.0, logits, targets, axis, out=logits)
            assert given is logits
            assert_same_bits(logits, expected)
        buffer = np.zeros((2001, 30), dtype)
        buffer[:-1] = x
        BACKWARD(1.0, buffer[:-1], targets, axis, out=buffer[1:])
        assert_same_bits(buffer[1:], expected)
        if kind == "probabilities":
            p = targets.copy()
            assert_same_bits(BACKWARD(1.0, x, p, axis, out=p), expected)
        losses = LOSS(x, targets, axis, reduction="none")
        buffer = x.copy()
        row = buffer[0] if axis == 0 else buffer[:, 0]
        LOSS(buffer, targets, axis, reduction="none", out=row)
        assert_same_bits(row, losses)


def test_dy_may_lie_in_out() -> None:
    x, targets = _logits((50, 50)), _labels((50, 50))
    dy = _logits(50, seed=3)
    expected = BACKWARD(dy, x, targets, reduction="none")
    out = np.zeros((50, 50))
    out[0] = dy
    BACKWARD(out[0], x, targets, reduction="none", out=out)
    assert_same_bits(out, expected)


@every_kind
@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
def test_no_array_is_allocated_but_the_result(axis: int, kind: str) -> None:
    shape = (30, 40_000) if axis == 0 else (40_000, 30)
    for dtype in DTYPES:
        x = _logits(shape, dtype)
        targets = _targets(kind, shape, dtype, axis)
        dy = np.ones(shape[1 - axis], dtype)
        slopes = np.empty_like(x)
        each = np.empty_like(dy)

        def peak(function: Any, *arguments: Any, **keywords: Any) -> int:
            tracemalloc.start()
            function(*arguments, axis, **keywords)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        none: Any = {"reduction": "none"}
        assert peak(LOSS, x, targets) < 20_000
        assert peak(LOSS, x, targets, **none, out=each) < 20_000
        assert peak(LOSS, x, targets, **none) < each.nbytes + 20_000
        assert peak(BACKWARD, 1.0, x, targets, out=slopes) < 20_000
        assert peak(BACKWARD, dy, x, targets, **none, out=x) < 20_000
        assert peak(BACKWARD, 1.0, x, targets) < x.nbytes + 20_000


# ----------------------------------------------------------------------------- errors


def _bad_calls() -> dict[str, tuple[Any, dict[str, Any], type[Exception], str]]:
    """Changed arguments, and what is to be said of them."""
    x, good = np.zeros((4, 5)), np.zeros(4, int)

    def with_label(label: Any, dtype: Any = int) -> Any:
        targets = np.zeros(4, dtype)
        targets[2] = label
        return targets

    range_ = r"targets must be labels in 0\.\.4 or ignore_index \(-100\), not "
    value, kind = ValueError, TypeError
    return {
        "label C": (x, {"targets": with_label(5)}, value, range_ + "5$"),
        "label -1": (x, {"targets": with_label(-1)}, value, range_ + "-1$"),
        "label 2**64 - 1": (
            x,
            {"targets": with_label(2**64 - 1, np.uint64)},
            value,
            range_ + "18446744073709551615$",
        ),
        "label int64 min": (
            x,
            {"targets": with_label(-(2**63))},
            value,
            range_ + "-9223372036854775808$",
        ),
        "another label is ignored": (
            x,
            {"targets": with_label(-100), "ignore_index": 3},
            value,
            r"ignore_index \(3\), not -100$",
        ),
        "too few labels": (x, {"targets": good[:3]}, value, r"labels.*shape \(4,\)"),
        "one label": (x, {"targets": 1}, value, r"labels.*shape \(4,\).*not \(\)"),
        "column of labels": (x, {"targets": good[:, None]}, value, "labels.*shape"),
        "probabilities": (x, {"targets": x[0]}, value, r"probabilities.*\(4, 5\)"),
        "reduction": (x, {"reduction": "batchmean"}, value, "reduction.*'mean', 'sum'"),
        "no reduction": (x, {"reduction": None}, value, "reduction.*'none'"),
        "smoothing < 0": (
            x,
            {"label_smoothing": -0.1},
            value,
            r"label_smoothing.*\[0, 1\]",
        ),
        "smoothing > 1": (x, {"label_smoothing": 1.1}, value, "label_smoothing.*1.1"),
        "smoothing NaN": (x, {"label_smoothing": NAN}, value, "label_smoothing.*nan"),
        "boolean targets": (x, {"targets": good == 1}, kind, "targets.*bool"),
        "complex targets": (x, {"targets": x + 1j}, kind, "targets.*complex"),
        "strings": (x, {"targets": np.array(["a"] * 4)}, kind, "targets.*<U1"),
        "objects": (x, {"targets": good.astype(object)}, kind, "targets.*object"),
        "complex logits": (x + 1j, {}, kind, "logits.*complex"),
        "logits of strings": (np.array([["a"]]), {}, kind, "logits"),
        "smoothing of text": (x, {"label_smoothing": "0.1"}, kind, "label_smoothing"),
        "smoothing array": (
            x,
            {"label_smoothing": good},
            kind,
            "label_smoothing.*number",
        ),
        "ignore_index": (x, {"ignore_index": 1.5}, kind, "ignore_index.*integer"),
        "ignore_index 2**64": (x, {"ignore_index": 2**64}, value, "ignore_index"),
        "axis None": (x, {"axis": None}, value, "axis must be one integer"),
        "axis tuple": (x, {"axis": (0, 1)}, value, "axis must be one integer"),
        "axis 2": (x, {"axis": 2}, value, "axis 2 is out of bounds"),
        "number": (np.float64(1), {"targets": 0}, value, "axis"),
    }


BAD_CALLS = _bad_calls()


@pytest.mark.parametrize("case", BAD_CALLS)
def test_errors_name_the_argument_and_leave_out_untouched(case: str) -> None:
    x, changed, error, message = BAD_CALLS[case]
    arguments = {"targets": np.zeros(4, int)} | changed
    loss = np.full((), 7.0)
    with pytest.raises(error, match=message):
        LOSS(x, **arguments, out=loss)
    assert loss == 7
    slopes = np.full(np.shape(x), 7.0)
    with pytest.raises(error, match=message):
        BACKWARD(1.0, x, **arguments, out=slopes)
    assert (slopes == 7).all()


def test_the_first_bad_label_is_named_whatever_the_threads() -> None:
    x, targets = np.zeros((200_000, 2), np.float32), np.zeros(200_000, np.int32)
    targets[[150_003, 199_999, 40_001]] = 10, 11, 12
    for threads in (1, 3):
        with fa.num_threads(threads), pytest.raises(ValueError, match=r"not 12$"):
            LOSS(x, targets)
    targets = targets.reshape(400, 500)[:, ::2]
    targets[3, 7], targets[300, 1] = -5, -6
    with pytest.raises(ValueError, match=r"not -5$"):
        LOSS(np.zeros((400, 2, 250)), targets, axis=1)


def test_out_and_dy_that_do_not_fit() -> None:
    x, targets = np.zeros((4, 5), np.float32), np.zeros(4, int)
    read_only = np.zeros((4, 5), np.float32)
    read_only.flags.writeable = False
    for out in (np.zeros((4, 4), np.float32), np.zeros(4), [1.0], 3.0):
        with pytest.raises(ValueError, match="out must be an array of shape"):
            BACKWARD(1.0, x, targets, out=out)
        with pytest.raises(ValueError, match=r"out must be an array of shape \(\)"):
            LOSS(x, targets, out=out)
    for dtype in (float, int, ">f4"):
        with pytest.raises(TypeError, match="out must be an array of float32"):
            BACKWARD(1.0, x, targets, out=np.zeros((4, 5), dtype))
    with pytest.raises(ValueError, match="out is read-only"):
        BACKWARD(1.0, x, targets, out=read_only)
    for dy, reduction in ((np.ones(4), "mean"), (1.0, "none"), (np.ones(5), "none")):
        with pytest.raises(ValueError, match="dy must have shape"):
            BACKWARD(dy, x, targets, reduction=reduction)
    for dy in (1j, "1", None):
        with pytest.raises(TypeError, match="dy must be"):
            BACKWARD(dy, x, targets)


# ------------------------------------------------------------- names, peers, baseline


def test_what_is_public() -> None:
    for function in (LOSS, BACKWARD):
        assert function.__name__ in fa.__all__
        assert pickle.loads(pickle.dumps(function)) is function
    assert LOSS.backward is BACKWARD
    names = [
        "logits",
        "targets",
        "axis",
        "ignore_index",
        "label_smoothing",
        "reduction",
    ]
    assert list(inspect.signature(LOSS).parameters) == [*names, "out"]
    assert list(inspect.signature(BACKWARD).parameters) == ["dy", *names, "out"]


@pytest.mark.parametrize("axis", [0, 1], ids=lambda axis: f"axis {axis}")
def test_the_plain_expression_is_the_same_function(axis: int) -> None:
    x = _logits((30, 20))
    targets = _labels(x.shape, axis)
    plain = fa.plain.softmax_cross_entropy(x, targets, axis)
    assert plain == pytest.approx(LOSS(x, targets, axis), rel=1e-14)
    slopes = fa.plain.softmax_cross_entropy_backward(0.5, x, targets, axis)
    np.testing.assert_allclose(slopes, BACKWARD(0.5, x, targets, axis), atol=1e-16)


@every_kind
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_pytorch_agrees(reduction: str, kind: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="compares with PyTorch")
    for axis, shape in ((1, (30, 8)), (1, (4, 8, 5, 3)), (0, (8,))):
        x = _logits(shape, spread=3)
        targets = _targets(kind, shape, axis=axis)
        if kind == "labels" and targets.ndim:
            targets[::3] = -100
        dy = np.asarray(_logits(np.delete(shape, axis), seed=9))
        dy = dy if reduction == "none" else np.array(0.7)
        for smoothing in SMOOTHINGS:
            keywords: Any = {"label_smoothing": smoothing, "reduction": reduction}
            logits = torch.tensor(x, requires_grad=True)
            theirs = torch.nn.functional.cross_entropy(
                logits, torch.tensor(targets), **keywords
            )
            theirs.backward(torch.tensor(dy))
            found = LOSS(x, targets, axis, **keywords)
            np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=1e-12)
            slopes = BACKWARD(dy, x, targets, axis, **keywords)
            np.testing.assert_allclose(slopes, logits.grad.numpy(), atol=1e-14)


def test_masked_arrays_are_refused() -> None:
    logits, labels = _logits((4, 3)), _labels((4, 3))
    hidden = np.ma.MaskedArray(labels, labels == 0)
    for name, arrays in (
        ("logits", (np.ma.masked_less(logits, 0), labels)),
        ("targets", (logits, hidden)),
    ):
        for call in (partial(LOSS, *arrays), partial(BACKWARD, 1.0, *arrays)):
            with pytest.raises(TypeError, match=f"{name} must not be a masked array"):
                call()
    assert LOSS(logits, hidden.filled(-100)) == LOSS(
        logits[labels > 0], labels[labels > 0]
    )
