"""Initialisers: variances, shapes and axes, orthogonality, reproducibility."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastact as fa
from fastact import init

INITIALISERS = {
    "he_normal": init.he_normal,
    "he_uniform": init.he_uniform,
    "glorot_normal": init.glorot_normal,
    "glorot_uniform": init.glorot_uniform,
    "lecun_normal": init.lecun_normal,
    "lecun_uniform": init.lecun_uniform,
    "orthogonal": init.orthogonal,
    "normal": lambda shape, **keywords: init.normal(shape, 0.5, **keywords),
    "uniform": lambda shape, **keywords: init.uniform(shape, -0.5, 1.0, **keywords),
}
# What follows from the numbers of inputs and outputs, and the variance it should have.
VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}
FAN_BASED = [f"{rule}_{shape}" for rule in VARIANCES for shape in ("normal", "uniform")]


def _assert_moments(name: str, weight: np.ndarray, variance: float) -> None:
    """Mean, variance and the fourth moment, which tells normal from uniform."""
    values = weight.astype(np.float64).ravel()
    deviations = 5 / math.sqrt(values.size)  # five standard errors, or more
    assert abs(values.mean()) < deviations * math.sqrt(variance)
    assert values.var() == pytest.approx(variance, rel=deviations * math.sqrt(2))
    kurtosis = 3.0 if name.endswith("normal") else 9 / 5
    found = np.mean(values**4) / variance**2
    assert found == pytest.approx(kurtosis, rel=deviations * math.sqrt(32 / 3))
    if name.endswith("uniform"):
        bound = math.sqrt(3 * variance)
        assert 0.999 * bound < np.abs(values).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("name", FAN_BASED)
@pytest.mark.parametrize(
    ("shape", "axes", "fan_in", "fan_out"),
    [
        ((300, 100), {}, 300, 100),
        ((100, 300), {"in_axis": 1, "out_axis": 0}, 300, 100),
        ((3, 5, 40, 50), {}, 600, 750),
        ((50, 40, 3, 5), {"in_axis": 1, "out_axis": 0}, 600, 750),
        ((40, 15, 50), {"in_axis": 0}, 600, 750),
    ],
)
def test_variances(
    name: str, shape: tuple[int, ...], axes: Any, fan_in: int, fan_out: int
) -> None:
    variance = VARIANCES[name.split("_")[0]](fan_in, fan_out)
    initialise = INITIALISERS[name]
    weight = initialise(shape, rng=1, **axes)
    assert weight.shape == shape
    _assert_moments(name, weight, variance)
    if not name.startswith("he"):
        doubled = initialise(shape, gain=2, rng=1, **axes)
        np.testing.assert_allclose(doubled, 2 * weight, rtol=1e-6)


def test_normal_and_uniform() -> None:
    _assert_moments("normal", init.normal((200, 300), 0.5, rng=2), 0.25)
    values = init.uniform((200, 300), -0.5, 1.0, rng=2)
    _assert_moments("uniform", values - 0.25, 1.5**2 / 12)
    assert init.normal(7, 0.5).shape == (7,)
    assert np.all(init.normal(7, 0.0) == 0)
    assert np.all(init.uniform((), 2.0, 2.0) == 2)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("identity", 1.0),
        ("tanh", 1.592537),
        ("gelu", 1.533530),
        (fa.get("leaky_relu", negative_slope=1.0), 1.0),
        (fa.get("leaky_relu", negative_slope=3.0), math.sqrt(2 / 10)),
        (lambda z: np.maximum(z, 0), math.sqrt(2)),
    ],
)
@pytest.mark.parametrize("name", ["he_normal", "he_uniform"])
def test_he_takes_the_gain_of_the_activation(
    name: str, activation: Any, gain: float
) -> None:
    weight = INITIALISERS[name]((300, 100), activation=activation, rng=3)
    of_identity = INITIALISERS[name]((300, 100), activation="identity", rng=3)
    np.testing.assert_allclose(weight, gain * of_identity, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid", "softsign"])
def test_he_keeps_the_mean_square_through_a_deep_network(activation: str) -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((200, 400), np.float32)
    for _ in range(10):
        weight = fa.init.he_normal((400, 400), activation=activation, rng=rng)
        values = fa.get(activation)(values) @ weight
    # Each layer adds a few per cent of chance: 400 units are not infinitely many.
    assert 0.6 < np.mean(values**2) < 1.6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "out_axis"),
    [
        ((60, 20), -1),
        ((20, 60), -1),
        ((30, 30), -1),
        ((3, 4, 5, 20), -1),
        ((3, 2, 5, 60), -1),
        ((20, 3, 4), 0),
        ((5, 3, 7), 1),
        ((1, 1), -1),
    ],
)
def test_orthogonal_matrices_are(shape: Any, out_axis: int, dtype: Any) -> None:
    weight = init.orthogonal(shape, gain=1.5, rng=5, dtype=dtype, out_axis=out_axis)
    assert weight.shape == shape
    columns = shape[out_axis]
    matrix = np.moveaxis(weight, out_axis, -1).reshape(-1, columns).astype(np.float64)
    if len(matrix) < columns:
        matrix = matrix.T
    tolerance = 100 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(
        matrix.T @ matrix, 1.5**2 * np.eye(matrix.shape[1]), atol=tolerance
    )


def test_all_orthogonal_matrices_are_equally_likely() -> None:
    """The first element of a 2 x 2 one is cos of a uniform angle; QR's own is not."""
    rng = np.random.default_rng(6)
    first = np.array([init.orthogonal((2, 2), rng=rng)[0, 0] for _ in range(2000)])
    angles = np.sort(np.arccos(np.clip(first, -1, 1))) / np.pi
    distance = np.abs(angles - np.arange(0.5, 2000) / 2000).max()
    assert distance < 1.63 / math.sqrt(2000)  # Kolmogorov and Smirnov, 1 %


# ---------------------------------------------------------- what they have in common

every_initialiser = pytest.mark.parametrize("name", INITIALISERS)


@every_initialiser
def test_a_seed_gives_the_same_weights_and_a_generator_goes_on(name: str) -> None:
    initialise = INITIALISERS[name]
    first = initialise((4, 3), rng=7)
    np.testing.assert_array_equal(first, initialise((4, 3), rng=7))
    assert np.any(first != initialise((4, 3), rng=8))
    assert np.any(initialise((4, 3)) != initialise((4, 3)))
    rng = np.random.default_rng(7)
    np.testing.assert_array_equal(first, initialise((4, 3), rng=rng))
    assert np.any(first != initialise((4, 3), rng=rng))


@every_initialiser
def test_dtypes(name: str) -> None:
    initialise = INITIALISERS[name]
    assert initialise((4, 3)).dtype == np.float32
    for dtype in (np.float16, np.float32, np.float64, "f4", float):
        weight = initialise((4, 3), rng=9, dtype=dtype)
        assert weight.dtype == np.dtype(dtype)
        assert weight.flags.c_contiguous
        assert weight.flags.writeable
    half = initialise((4, 3), rng=9, dtype=np.float16)
    single = initialise((4, 3), rng=9, dtype=np.float32)
    np.testing.assert_array_equal(half, single.astype(np.float16))
    for dtype in (int, complex, bool, object, np.longdouble):
        with pytest.raises(TypeError, match="dtype must be float16, bfloat16, float32"):
            initialise((4, 3), dtype=dtype)


@every_initialiser
def test_empty_and_wrong_shapes(name: str) -> None:
    initialise = INITIALISERS[name]
    for shape in ((0, 3), (3, 0), (0, 3, 4), [4, 3], (np.int64(2), 3)):
        assert initialise(shape).shape == tuple(shape)
    with pytest.raises(ValueError, match="shape must not have negative lengths"):
        initialise((-1, 3))
    with pytest.raises(TypeError, match="integer"):
        initialise((2.5, 3))


@pytest.mark.parametrize("name", [*FAN_BASED, "orthogonal"])
def test_shapes_without_inputs_and_outputs_are_errors(name: str) -> None:
    for shape in (5, (5,), ()):
        with pytest.raises(ValueError, match="shape must have at least two axes"):
            INITIALISERS[name](shape)
    with pytest.raises(ValueError, match="out_axis: axis 2 is out of bounds"):
        INITIALISERS[name]((3, 4), out_axis=2)


@pytest.mark.parametrize("name", FAN_BASED)
def test_the_two_axes_must_differ(name: str) -> None:
    for axes in ({"in_axis": -1}, {"out_axis": 0}, {"in_axis": 1, "out_axis": -1}):
        with pytest.raises(ValueError, match="in_axis and out_axis must differ"):
            INITIALISERS[name]((3, 4), **axes)
    with pytest.raises(ValueError, match="in_axis: axis -3 is out of bounds"):
        INITIALISERS[name]((3, 4), in_axis=-3)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_factors_must_be_finite_and_not_negative(bad: float) -> None:
    for name in (*FAN_BASED[2:], "orthogonal"):
        with pytest.raises(ValueError, match="gain must be at least 0 and finite"):
            INITIALISERS[name]((3, 4), gain=bad)
    with pytest.raises(ValueError, match="std must be at least 0 and finite"):
        init.normal((3, 4), bad)
    for low, high in ((bad, -2.0), (2.0, bad)):
        with pytest.raises(ValueError, match="low and high must be finite"):
            init.uniform((3, 4), low, high)


def test_he_says_what_is_wrong_with_the_activation() -> None:
    with pytest.raises(ValueError, match="did you mean 'gelu'"):
        init.he_normal((3, 4), activation="gelru")
    with pytest.raises(ValueError, match="no gain"):
        init.he_uniform((3, 4), activation=np.log)


def test_every_initialiser_is_tested_and_documented() -> None:
    assert set(init.__all__) == set(INITIALISERS)
    for name in init.__all__:
        text = getattr(init, name).__doc__
        for section in ("Parameters", "Returns", "Raises"):
            assert f"    {section}\n    {'-' * len(section)}\n" in text
        assert "{" not in text
