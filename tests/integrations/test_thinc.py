"""fastact as a backend of thinc: thinc's definitions, on arrays of any strides."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpmath import mp

ROOT = Path(__file__).parents[2]

api = pytest.importorskip("thinc.api", reason="thinc is not installed")

from fastact.integrations.thinc import FastactOps  # noqa: E402

OPS = FastactOps()
RNG = np.random.default_rng(0)

# What thinc's documentation says the functions are, of one number.
DEFINITIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "relu": lambda x: max(x, mp.zero),
    "relu_k": lambda x: min(max(x, mp.zero), mp.mpf(6)),
    "clipped_linear": lambda x: min(max(x, mp.zero), mp.one),
    "hard_sigmoid": lambda x: min(max(mp.mpf("0.2") * x + mp.mpf("0.5"), 0), 1),
    "hard_tanh": lambda x: min(max(x, -mp.one), mp.one),
    "swish": lambda x: x / (1 + mp.exp(-x)),
    "hard_swish": lambda x: x * min(max(mp.mpf("0.2") * x + mp.mpf("0.5"), 0), 1),
    "hard_swish_mobilenet": lambda x: x * min(max(x + 3, mp.zero), mp.mpf(6)) / 6,
    "dish": lambda x: x / 2 * (x / mp.sqrt(1 + x * x) + 1),
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_approx": lambda x: (
        x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))
    ),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
}
BACKWARDS = list(DEFINITIONS)
ERF = {"erf": mp.erf}
# 24 numbers on both sides of all knees, in an order that strides do not keep.
NUMBERS = RNG.permutation(np.linspace(-7.9, 8.3, 24))


def _values(name: str, x: Any) -> Any:
    with mp.workdps(30):
        function = (DEFINITIONS | ERF)[name]
        found = [float(function(mp.mpf(float(number)))) for number in x.flat]
    return np.reshape(found, x.shape)


def _slopes(name: str, x: Any) -> Any:
    with mp.workdps(40):
        step = mp.mpf(10) ** -15
        f = DEFINITIONS[name]
        found = [
            float(
                (f(mp.mpf(float(n)) + step) - f(mp.mpf(float(n)) - step)) / (2 * step)
            )
            for n in x.flat
        ]
    return np.reshape(found, x.shape)


def _layouts(array: Any) -> Iterator[Any]:
    """The same numbers, in memory in other ways."""
    yield array
    wide = np.full((array.shape[0], 2 * array.shape[1]), 77, array.dtype)
    wide[:, ::2] = array
    yield wide[:, ::2]
    yield np.asfortranarray(array)
    yield array[::-1, ::-1].copy()[::-1, ::-1]


def _arrays(dtype: Any) -> tuple[Any, Any]:
    x = NUMBERS.reshape(4, 6).astype(dtype)
    return x, RNG.standard_normal(x.shape).astype(dtype)


TOLERANCES = {np.float16: 2e-3, np.float32: 5e-7, np.float64: 1e-14}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCES))


# ------------------------------------------------------------------ values and gradients


@DTYPES
@pytest.mark.parametrize("name", [*DEFINITIONS, "erf"])
def test_values_are_thincs_definitions_for_any_strides(name: str, dtype: Any) -> None:
    x, _ = _arrays(dtype)
    expected = _values(name, x)
    for array in _layouts(x):
        before = array.copy()
        y = getattr(OPS, name)(array)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=TOLERANCES[dtype], atol=1e-7)
        np.testing.assert_array_equal(array, before)


def _backprop(name: str, dy: Any, x: Any, y: Any, **keywords: Any) -> Any:
    function = getattr(OPS, f"backprop_{name}")
    given = {"dY": dy, "X": x, "Y": y}
    wanted = inspect.signature(function).parameters
    arrays = {key: value for key, value in given.items() if key in wanted}
    return function(**arrays, **keywords)


@DTYPES
@pytest.mark.parametrize("name", BACKWARDS)
def test_gradients_are_those_of_the_definitions(name: str, dtype: Any) -> None:
    x, dy = _arrays(dtype)
    expected = dy * _slopes(name, x)
    y = _values(name, x).astype(dtype)
    for array, slope, result in zip(
        _layouts(x), _layouts(dy), _layouts(y), strict=True
    ):
        dx = _backprop(name, slope, array, result)
        assert dx.dtype == dtype
        tolerance = TOLERANCES[dtype]
        np.testing.assert_allclose(dx, expected, rtol=tolerance, atol=3 * tolerance)
        np.testing.assert_array_equal(slope, dy)


@DTYPES
@pytest.mark.parametrize("name", DEFINITIONS)
def test_in_place_means_thincs_array_and_leaves_its_neighbours(
    name: str, dtype: Any
) -> None:
    x, dy = _arrays(dtype)
    wide = np.full((4, 12), 77, dtype)
    y = getattr(OPS, name)(x)
    target = wide[:, ::2]
    target[:] = x
    assert getattr(OPS, name)(target, inplace=True) is target
    np.testing.assert_array_equal(target, y)
    assert (wide[:, 1::2] == 77).all()

    expected = _backprop(name, dy, x, y)
    target[:] = y if name == "sigmoid" else dy  # thinc writes over Y there
    arrays = (dy, x, target) if name == "sigmoid" else (target, x, y)
    dx = _backprop(name, *arrays, inplace=True)
    np.testing.assert_array_equal(dx, expected)
    ignored = name in ("hard_sigmoid", "hard_tanh")
    assert (dx is target) != ignored
    assert (wide[:, 1::2] == 77).all()


@pytest.mark.parametrize("name", BACKWARDS)
def test_at_knees_and_kinks_the_gradient_is_thincs(name: str) -> None:
    x = np.float64([[-3, -2.5, -1, 0, 0.5, 1, 2.5, 3, 6, 20]])
    dy = np.full_like(x, 2)
    y = getattr(api.Ops, name)(OPS, x)
    wanted = inspect.signature(getattr(OPS, f"backprop_{name}")).parameters
    arrays = {k: v for k, v in {"dY": dy, "X": x, "Y": y}.items() if k in wanted}
    expected = getattr(api.Ops, f"backprop_{name}")(api.Ops(), **arrays)
    np.testing.assert_allclose(_backprop(name, dy, x, y), expected, atol=1e-6)


def test_hard_swish_right_beside_its_knees() -> None:
    for dtype in TOLERANCES:
        for knee, inside, outside in ((2.5, 1.5, 1), (-2.5, -0.5, 0)):
            knee = dtype(knee)
            x = np.array(
                [np.nextafter(knee, dtype(0)), np.nextafter(knee, 2 * knee)], dtype
            )
            dx = OPS.backprop_hard_swish(np.ones(2, dtype), x)
            np.testing.assert_allclose(dx, [inside, outside], rtol=2e-3)


def test_derivatives_from_the_output() -> None:
    y = np.linspace(0.05, 0.95, 24).reshape(4, 6)
    for array in _layouts(y):
        np.testing.assert_allclose(OPS.dsigmoid(array), y * (1 - y), rtol=1e-15)
        np.testing.assert_allclose(OPS.dtanh(array), 1 - y**2, rtol=1e-14)
    for function, expected in ((OPS.dsigmoid, y * (1 - y)), (OPS.dtanh, 1 - y**2)):
        target = y.copy()
        assert function(target, inplace=True) is target
        np.testing.assert_allclose(target, expected, rtol=1e-14)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_softmax(axis: int, temperature: float) -> None:
    x, dy = _arrays(np.float64)
    powers = np.exp(x / temperature)
    expected = powers / powers.sum(axis=axis, keepdims=True)
    inner = (dy * expected).sum(axis=axis, keepdims=True)
    gradient = expected * (dy - inner) / temperature
    for array, slope in zip(_layouts(x), _layouts(dy), strict=True):
        y = OPS.softmax(array, axis=axis, temperature=temperature, inplace=True)
        np.testing.assert_allclose(y, expected, rtol=1e-13)
        np.testing.assert_array_equal(array, x)  # as in thinc
        dx = OPS.backprop_softmax(y, slope, axis=axis, temperature=temperature)
        np.testing.assert_allclose(dx, gradient, atol=1e-14)


def test_softmax_of_sequences() -> None:
    x, dy = (array.astype(np.float32) for array in _arrays(np.float64))
    lengths = np.int32([3, 1])
    parts = [x[:3], x[3:]]
    expected = np.concatenate([np.exp(p) / np.exp(p).sum(axis=0) for p in parts])
    gradient = np.concatenate(
        [
            y * (d - (y * d).sum(axis=0))
            for y, d in zip((expected[:3], expected[3:]), (dy[:3], dy[3:]), strict=True)
        ]
    )
    for array, slope in zip(_layouts(x), _layouts(dy), strict=True):
        y = OPS.softmax_sequences(array, lengths)
        np.testing.assert_allclose(y, expected, rtol=1e-5)
        dx = OPS.backprop_softmax_sequences(slope, np.asfortranarray(y), lengths)
        np.testing.assert_allclose(dx, gradient, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maxout(dtype: Any) -> None:
    x = RNG.standard_normal((5, 4, 3)).astype(dtype)
    for array in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        best, which = OPS.maxout(array)
        np.testing.assert_array_equal(best, x.max(axis=2))
        np.testing.assert_array_equal(which, x.argmax(axis=2))
        for slope in (best, np.asfortranarray(best)):
            dx = OPS.backprop_maxout(slope, np.asfortranarray(which), 3)
            chosen = best[..., np.newaxis] == x
            np.testing.assert_array_equal(dx, np.where(chosen, x, 0))


LAYERS = [
    *(api.Relu, api.ReluK, api.Mish, api.Gelu, api.Swish, api.Maxout),
    *(api.HardSwish, api.HardSwishMobilenet, api.HardSigmoid, api.HardTanh),
    *(api.Sigmoid, api.Softmax, api.ClippedLinear),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_a_batch_of_no_examples(layer: Any) -> None:
    with api.use_ops("fastact"):
        model = layer(4, 5)
        model.initialize()
    x = np.zeros((0, 5), np.float32)
    y, backprop = model.begin_update(x)
    assert (y.shape, y.dtype) == ((0, 4), np.float32)
    assert backprop(y).shape == (0, 5)


def test_mish_with_a_threshold_is_x_above_it() -> None:
    x = np.float64([[-1, 0.5, 2, 3]])
    y = OPS.mish(x, threshold=2)
    np.testing.assert_array_equal(y[0, 2:], [2, 3])
    np.testing.assert_allclose(y[0, :2], _values("mish", x[0, :2]), rtol=1e-12)
    dx = OPS.backprop_mish(np.ones_like(x), x, threshold=2)
    np.testing.assert_array_equal(dx[0, 2:], [1, 1])
    np.testing.assert_allclose(dx[0, :2], _slopes("mish", x[0, :2]), rtol=1e-12)


# --------------------------------------------------------------------- dtypes and errors


@pytest.mark.parametrize("name", BACKWARDS)
def test_of_mixed_and_other_dtypes_the_result_has_thincs_dtype(name: str) -> None:
    x, dy = _arrays(np.float32)
    plain = api.Ops()
    for array, slope in (
        (x, dy.astype(np.float64)),
        (x.astype(np.float64), dy),
        (x.astype(np.longdouble), dy.astype(np.longdouble)),
    ):
        y = getattr(OPS, name)(array)
        expected = getattr(plain, name)(array)
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected, atol=2e-6)
        wanted = inspect.signature(getattr(plain, f"backprop_{name}")).parameters
        given = {"dY": slope, "X": array, "Y": expected}
        arrays = {key: value for key, value in given.items() if key in wanted}
        dx = getattr(OPS, f"backprop_{name}")(**arrays)
        expected = getattr(plain, f"backprop_{name}")(**arrays)
        assert dx.dtype == expected.dtype
        np.testing.assert_allclose(dx, expected, atol=2e-6)


def test_integers_stay_what_thinc_makes_of_them() -> None:
    x = np.array([[-1, 2]])
    assert OPS.relu(x).dtype == x.dtype
    np.testing.assert_array_equal(OPS.relu(x), [[0, 2]])


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"same shape, not \(2, 3\) and \(3,\)"):
        OPS.backprop_relu(np.ones((2, 3)), np.ones(3))


def test_without_thinc_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "thinc.api", None)
    monkeypatch.delitem(sys.modules, "fastact.integrations.thinc")
    with pytest.raises(ImportError, match="pip install thinc"):
        importlib.import_module("fastact.integrations.thinc")


# ------------------------------------------------------------------------ within thinc


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in another folder, where it finds fastact and what is in the folder."""
    path = [str(folder), str(ROOT), str(ROOT / "tests" / "integrations")]
    path += filter(None, [os.environ.get("PYTHONPATH")])
    return subprocess.run(
        [sys.executable, *arguments],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(path)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_thinc_finds_the_backend_by_the_entry_point(tmp_path: Path) -> None:
    """Of an installation that is like ours in its metadata, which pip would write."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "fastact-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fastact\nVersion: 0\n"
    )
    lines = [
        f"{name} = {at}" for name, at in project["entry-points"]["thinc_ops"].items()
    ]
    text = "\n".join(["[thinc_ops]", *lines, ""])
    (metadata / "entry_points.txt").write_text(text)
    code = (
        "import sys; from thinc.api import get_current_ops, get_ops, use_ops\n"
        "assert 'fastact' not in sys.modules\n"
        "with use_ops('fastact'): print(type(get_current_ops()).__name__)\n"
        "print(get_ops('cpu').name, get_current_ops().name)"
    )
    done = _python(tmp_path, "-c", code)
    assert done.stdout.split() == ["FastactOps", "numpy", "numpy"], done.stderr


def test_thincs_own_tests_pass(tmp_path: Path) -> None:
    """Its tests of backends and layers, as it installs them, with our backend."""
    for needed in ("hypothesis", "mock"):
        pytest.importorskip(needed, reason=f"thinc's tests need {needed}")
    pytest.importorskip("thinc.tests", reason="thinc is installed without its tests")
    plugin = ("-m", "pytest", "-p", "thinc_with_fastact", "-p", "no:cacheprovider")
    tests = ("--pyargs", "thinc.tests.backends.test_ops", "thinc.tests.layers")
    # test_get_ops asks for exactly the class that the plugin replaces.
    done = _python(tmp_path, *plugin, "-v", "-k", "not test_get_ops", *tests)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "test_ops_consistency[FastactOps] PASSED" in done.stdout


def _model(layers: list[Any], x: Any, y: Any) -> Any:
    api.fix_random_seed(0)
    model = api.chain(*[layer(16) for layer in layers], api.Softmax())
    model.initialize(X=x, Y=y)
    return model


@pytest.mark.parametrize(
    "layers",
    [
        [api.Relu, api.Mish],
        [api.Gelu, api.Swish],
        [api.HardSwish, api.HardSwishMobilenet],
        [api.HardTanh, api.Softmax],
        [api.HardSigmoid, api.ReluK],
        [api.Maxout, api.Sigmoid],
    ],
    ids=lambda layers: "-".join(layer.__name__ for layer in layers),
)
def test_an_unchanged_model_has_the_same_outputs_and_gradients(layers: Any) -> None:
    x = RNG.standard_normal((8, 5)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 8)]
    found = {}
    for name in ("numpy", "fastact"):
        with api.use_ops(name):
            model = _model(layers, x, labels)
        assert {node.ops.name for node in model.walk()} == {name}
        probabilities, backprop = model.begin_update(x)
        dx = backprop(probabilities - labels)
        gradients = [
            node.get_grad(parameter)
            for node in model.walk()
            for parameter in node.param_names
        ]
        found[name] = [probabilities, dx, *gradients]
    assert len(found["numpy"]) == 8
    for expected, actual in zip(found["numpy"], found["fastact"], strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-6)
        assert actual.dtype == np.float32
        assert math.isfinite(actual.sum())


def test_the_example_learns_the_same_with_both_backends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(ROOT / "examples")
    example = importlib.import_module("thinc_digits")
    results = example.main(["--epochs", "8"])
    accuracies = {name: accuracy for name, (accuracy, _) in results.items()}
    assert accuracies["fastact"] > 0.94
    assert abs(accuracies["numpy"] - accuracies["fastact"]) < 0.015
    assert "fastact" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        example.main(["--epochs", "0"])
