"""The examples run and do what they promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastact
import fastact.plain
from fastact.formulas.entry import CATALOGUE

PATH = Path(__file__).parents[1] / "examples" / "digits.py"

pytest.importorskip("sklearn")
threadpoolctl = pytest.importorskip("threadpoolctl")  # scikit-learn brings it
pytest.importorskip("scipy")


@pytest.fixture(autouse=True)
def _one_blas_thread():
    # Under pytest-xdist, BLAS threads that wait for each other take seconds per epoch.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def digits():
    spec = importlib.util.spec_from_file_location("digits", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.parametrize("activation", CATALOGUE)
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
