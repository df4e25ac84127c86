"""The examples run and do what they promise."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

import fastact
import fastact.plain
from fastact.formulas.entry import CATALOGUE

FOLDER = Path(__file__).parents[1] / "examples"

pytest.importorskip("sklearn")
threadpoolctl = pytest.importorskip("threadpoolctl")  # scikit-learn brings it
pytest.importorskip("scipy")


@pytest.fixture(autouse=True)
def _one_blas_thread():
    # Under pytest-xdist, BLAS threads that wait for each other take seconds per epoch.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def load(name):
    """Import an example as a script would be run: with its folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def data(digits):
    return digits.load_data()


def test_a_fifth_of_the_digits_is_held_out(data):
    train_x, train_y, test_x, test_y = data
    assert train_x.dtype == test_x.dtype == np.float32
    assert train_x.shape == (1438, 64)
    assert test_x.shape == (359, 64)
    assert (len(train_y), len(test_y)) == (1438, 359)
    assert not {row.tobytes() for row in train_x} & {row.tobytes() for row in test_x}


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_digits_are_learnt_equally_well_with_both(digits, data, activation):
    train_x, train_y, test_x, test_y = data
    losses, accuracies = [], []
    for functions in (fastact, fastact.plain):
        network = digits.Network(functions, activation, seed=1)
        losses.append([network.train_epoch(train_x, train_y) for _ in range(14)])
        accuracies.append(network.accuracy(test_x, test_y))
    assert min(accuracies) >= 0.97
    # Rounding differs, so in time the paths do; one image is 0.3 %.
    assert abs(accuracies[0] - accuracies[1]) < 0.01
    np.testing.assert_allclose(losses[0][:3], losses[1][:3], rtol=0.01)


# exp grows beyond all bounds within an epoch; logit has no value outside 0 < x < 1.
TRAINABLE = [name for name in CATALOGUE if name not in ("exp", "logit")]


@pytest.mark.parametrize("activation", TRAINABLE)
def test_digits_takes_every_activation(digits, data, activation):
    train_x, train_y, _, _ = data
    for functions in (fastact, fastact.plain):
        network = digits.Network(functions, activation, seed=0)
        assert np.isfinite(network.train_epoch(train_x[:256], train_y[:256]))


def test_digits_from_the_command_line(digits, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("rich")
    digits.main(["hard_silu", "--epochs", "1", "--output", str(tmp_path / "new")])
    picture = tmp_path / "new" / "digits-hardswish.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "NumPy" in printed
    assert "fastact" in printed
    assert picture.name in printed.replace("\n", "")


def test_digits_names_near_matches_of_an_unknown_activation(digits, capsys):
    with pytest.raises(SystemExit) as stopped:
        digits.main(["gleu"])
    assert stopped.value.code == 2
    assert "gelu" in capsys.readouterr().err


def test_layers_learn_weights_and_slopes(capsys):
    losses, accuracy, slopes = load("layers").main(["--epochs", "12"])
    assert losses[-1] < 0.1 * losses[0]
    assert accuracy > 0.92
    assert slopes.min() < 0.24
    assert slopes.max() > 0.26
    assert f"{accuracy:.1%}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        load("layers").main(["--epochs", "0"])


# ------------------------------------------------- the short ones: one picture each


@pytest.fixture
def run(tmp_path, capsys):
    """Runs an example's command line; returns what its main returns and prints."""
    pytest.importorskip("matplotlib")

    def run_example(name, *arguments):
        example = load(name)
        result = example.main([*arguments, "--output", str(tmp_path / "new")])
        picture = tmp_path / "new" / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        printed = capsys.readouterr().out
        assert f"picture: {picture}" in printed
        return result, printed

    return run_example


def test_only_the_exact_gain_learns_at_once(run):
    losses, printed = run("activations_and_initialisation", "--steps", "100")
    for activation in ("relu", "tanh", "gelu", "silu", "sigmoid"):
        assert activation in printed
        small = losses[activation, "too small (std 0.01)"]
        assert small == pytest.approx(math.log(2), abs=0.02)
        if activation != "sigmoid":
            exact = losses[activation, "He, exact gain"]
            assert exact < 0.5 * losses[activation, "Glorot"]
            assert f"{exact:.3f}" in printed
            if activation != "tanh":  # where it takes 150 steps
                assert exact < 0.5 * losses[activation, "too large (std 1.5)"]
    assert losses["sigmoid", "He, exact gain"] > 0.6
    assert losses["sigmoid", "too large (std 1.5)"] < 0.4


def test_the_exact_gain_holds_signals_and_gradients(run):
    sizes, printed = run("vanishing_and_exploding_gradients", "--layers", "12")
    for activation in ("relu", "tanh", "gelu", "selu"):
        signal, gradient = sizes[activation, "exact gain (He)"]
        assert signal.shape == gradient.shape == (12,)
        assert 0.5 < signal[-1] < 2
        assert 0.5 < gradient[0] < 4
        signal, gradient = sizes[activation, "half the gain"]
        assert signal[-1] < 0.05
        assert gradient[0] < 0.1
        _, gradient = sizes[activation, "twice the gain"]
        assert gradient[0] > 20
    _, gradient = sizes["sigmoid", "exact gain (He)"]
    assert gradient[0] < 1e-4
    # What the gradient is multiplied by in a layer, as expected and as it was.
    rows = [line.split() for line in printed.splitlines()]
    factors = {row[0]: [float(v) for v in row[1:]] for row in rows if len(row) == 3}
    assert factors["relu"][0] == 1
    for activation in ("relu", "tanh", "gelu", "selu", "sigmoid"):
        expected, measured = factors[activation]
        assert measured == pytest.approx(expected, rel=0.05)


def test_only_relus_die(run):
    shares, printed = run("dying_relu", "--steps", "60")
    for (scenario, name), share in shares.items():
        assert scenario in printed
        assert name in printed
        if name != "relu":
            assert share == 0
    assert shares["biases start at -3", "relu"] > 0.8
    assert 0.1 < shares["learning rate 5", "relu"] < 0.5
    assert len(shares) == 10


def test_all_activations_are_compared(run, monkeypatch):
    example = load("compare_all")
    monkeypatch.setattr(example, "RATES", (0.003, 0.03))
    monkeypatch.setattr(example, "SEEDS", 1)
    runs, printed = run("compare_all", "--epochs", "3")
    assert set(runs) == set(CATALOGUE) - {"logit", "prelu", "softcap", "threshold"}
    for name in runs:
        assert f"| {name} |" in printed
    for name in ("relu", "gelu", "silu", "tanh", "elu", "mish"):
        assert runs[name].rate == 0.03
        assert runs[name].accuracies[-1] > 0.85
        assert runs[name].losses[-1] < 0.5 * runs[name].losses[0]
    assert runs["step"].accuracies[-1] < 0.6  # only its last layer learns


def test_an_activation_that_diverges_is_never_the_best(monkeypatch):
    example = load("compare_all")
    monkeypatch.setattr(example, "RATES", (1e6, 0.03))
    monkeypatch.setattr(example, "SEEDS", 1)
    run = example.best_run("relu", 1, 0, example.load_data())
    assert run.rate == 0.03
    assert np.isfinite(run.losses).all()


def test_learnt_parameters_are_the_teachers(run):
    results, printed = run("learning_parameters", "--steps", "300")
    for name, result in results.items():
        assert name in printed
        learnt, kept = result["parameters learnt"], result["parameters kept"]
        assert learnt[0] == kept[0]
        assert learnt[-1] < 0.011  # the noise is 0.01
        assert kept[-1] > 0.02
        history, teacher = result["history"], result["teacher"]
        assert np.ptp(history[0]) == 0
        before, after = (np.abs(history[i] - teacher) for i in (0, -1))
        assert after.max() < 0.5 * before.max()
    assert (
        np.abs(results["prelu"]["history"][-1] - results["prelu"]["teacher"]).max()
        < 0.03
    )


def test_a_custom_activation_is_measured_and_learns(run):
    pytest.importorskip("numba", reason="needs Numba")
    pytest.importorskip("mpmath")
    (report, histories), printed = run("custom_activation")
    assert str(report) in printed
    assert report["value", "float64"].ulp < 4
    assert max(report.disagreements.values()) < 1e-6
    assert len(histories) == 3
    for start, history in histories.items():
        assert history[0] == start
        assert history[-1] == pytest.approx(1.5, abs=0.05)
        assert f"{history[-1]:.3f}" in printed


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("activations_and_initialisation", "--steps"),
        ("vanishing_and_exploding_gradients", "--layers"),
        ("dying_relu", "--steps"),
        ("learning_parameters", "--steps"),
        ("compare_all", "--epochs"),
    ],
)
def test_a_number_must_be_positive(name, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        load(name).main([option, "0"])
    assert stopped.value.code == 2
    assert f"{option} must be at least 1" in capsys.readouterr().err


def test_gradients_of_the_shared_network_are_those_of_differences():
    common = load("common")
    rng = np.random.default_rng(0)
    x, labels = common.four_blobs(rng, 30)
    x, labels = x.astype(np.float64), labels.astype(np.float64)
    network = common.Network(
        (2, 5, 4, 1), "gelu", lambda shape, _: rng.standard_normal(shape)
    )
    network.biases = [rng.standard_normal(bias.shape) for bias in network.biases]
    network.loss(x, labels)
    gradient = (fastact.sigmoid(network.before[-1]) - labels) / len(x)
    of_weights, of_biases, _ = network.backward(gradient)
    step = 1e-6
    for values, slopes in ((network.weights, of_weights), (network.biases, of_biases)):
        for value, slope in zip(values, slopes, strict=True):
            place = tuple(length - 1 for length in value.shape)
            value[place] += step
            above = network.loss(x, labels)
            value[place] -= 2 * step
            below = network.loss(x, labels)
            value[place] += step
            assert slope[place] == pytest.approx((above - below) / (2 * step), rel=1e-6)
