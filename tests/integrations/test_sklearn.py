"""scikit-learn's multi-layer perceptrons with fastact's activations."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact as fa

pytest.importorskip("sklearn", reason="needs scikit-learn")
adapter = pytest.importorskip(
    "fastact.integrations.sklearn",
    reason="needs a version of scikit-learn that the adapter supports",
    exc_type=ImportError,
)

import scipy.integrate  # noqa: E402 - scikit-learn brings it
import scipy.sparse  # noqa: E402
import scipy.special  # noqa: E402
import sklearn  # noqa: E402
import threadpoolctl  # noqa: E402
from sklearn import neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.utils._param_validation import InvalidParameterError  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EXAMPLES = Path(__file__).parents[2] / "examples"
ESTIMATORS = ["MLPClassifier", "MLPRegressor"]
LEAKY = fa.get("leaky_relu", negative_slope=0.2)


@pytest.fixture(autouse=True)
def _one_blas_thread() -> Iterator[None]:
    # Where other tests run beside, BLAS threads that wait for each other take seconds.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    x, y = load_digits(return_X_y=True)
    return x / 16, y


@pytest.fixture
def small() -> tuple[Any, Any]:
    """Twelve examples of five features, with numbers from 0 to 2."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 5)), np.arange(12) % 3


@parametrize_with_checks(
    [
        getattr(adapter, name)(activation=activation, max_iter=20)
        for name in ESTIMATORS
        for activation in ("relu", "gelu", LEAKY)
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# ------------------------------------------------------ built-in ones: as scikit-learn's


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_learns_as_scikit_learn_does(
    name: str, solver: str, activation: str, digits: tuple[Any, Any]
) -> None:
    x, y = digits[0][:300], digits[1][:300]
    options = {
        "hidden_layer_sizes": (20, 15),
        "activation": activation,
        "solver": solver,
        "max_iter": 8,
        "random_state": 0,
    }
    ours = getattr(adapter, name)(**options).fit(x, y)
    theirs = getattr(neural_network, name)(**options).fit(x, y)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    for mine, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-9)
    predict = "predict_proba" if name == "MLPClassifier" else "predict"
    np.testing.assert_allclose(
        getattr(ours, predict)(x), getattr(theirs, predict)(x), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_weights_of_examples_and_losses_of_the_regressor(
    loss: str, small: tuple[Any, Any]
) -> None:
    x, y = small
    weight = np.linspace(0.5, 2, len(x))
    fitted = [
        module.MLPRegressor(loss, (4,), "tanh", max_iter=30, random_state=0).fit(
            x, y, sample_weight=weight
        )
        for module in (adapter, neural_network)
    ]
    np.testing.assert_allclose(*(model.predict(x) for model in fitted), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["tanh", "gelu", LEAKY])
def test_dtype_stays(dtype: Any, activation: Any, small: tuple[Any, Any]) -> None:
    x, y = small
    model = adapter.MLPClassifier((4, 3), activation, max_iter=2)
    model.fit(x.astype(dtype), y)
    parameters = model.coefs_ + model.intercepts_
    assert {array.dtype.type for array in parameters} == {dtype}
    assert model.predict_proba(x.astype(dtype)).dtype == dtype


# --------------------------------------------------------------------- all the others


def _gelu(x: Any) -> Any:
    return x * scipy.special.ndtr(x)


def test_output_and_loss_are_those_of_the_formula(small: tuple[Any, Any]) -> None:
    x, y = small
    model = adapter.MLPClassifier((4, 3), "gelu", alpha=0.3, max_iter=1, solver="sgd")
    model.learning_rate_init = 1e-300  # the loss is that of the first weights
    model.fit(x, y)
    (first, second, third), (a, b, c) = model.coefs_, model.intercepts_
    logits = _gelu(_gelu(x @ first + a) @ second + b) @ third + c
    expected = scipy.special.softmax(logits, axis=1)
    np.testing.assert_allclose(model.predict_proba(x), expected, rtol=1e-12)
    squares = sum((weight**2).sum() for weight in model.coefs_)
    loss = log_loss(y, expected) + 0.5 * 0.3 * squares / len(x)
    assert model.loss_ == pytest.approx(loss, rel=1e-12)


class Cube:
    """An activation of one's own."""

    def __call__(self, x: Any, out: Any = None) -> Any:
        return np.power(x, 3, out=out)

    def backward(self, dy: Any, x: Any, out: Any = None) -> Any:
        return np.multiply(dy, 3 * x**2, out=out)

    def __str__(self) -> str:  # names the test
        return "cube"


class WithoutOut(Cube):
    """What is called as people call functions, and not as the networks do."""

    def __call__(self, x: Any) -> Any:  # type: ignore[override]
        return x**3


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "activation",
    ["gelu", "silu", "mish", "swish", "hard_silu", "sigmoid", LEAKY, fa.selu, Cube()],
    ids=str,
)
def test_gradients_are_those_of_differences(
    name: str, activation: Any, small: tuple[Any, Any]
) -> None:
    x, y = small
    weight = np.linspace(0.5, 2, len(x))
    model = getattr(adapter, name)(
        hidden_layer_sizes=(4, 3),
        activation=activation,
        alpha=0.3,
        solver="lbfgs",
        max_iter=1,
        random_state=0,
    ).fit(x, y)
    parameters = np.concatenate([w.ravel() for w in model.coefs_ + model.intercepts_])
    targets = y[:, np.newaxis] == np.arange(3)
    if name == "MLPRegressor":
        targets = y[:, np.newaxis]

    def loss_and_gradient(packed: Any) -> tuple[Any, Any]:
        layers = len(model.coefs_)
        lists = [x] + [None] * layers, [None] * layers, [None] * layers, [None] * layers
        return model._loss_grad_lbfgs(packed, x, targets, weight, *lists)

    _, gradient = loss_and_gradient(parameters)
    step = 1e-6
    for i, slope in enumerate(gradient):
        shift = step * (np.arange(parameters.size) == i)
        above, _ = loss_and_gradient(parameters + shift)
        below, _ = loss_and_gradient(parameters - shift)
        difference = (above - below) / (2 * step)
        assert slope == pytest.approx(difference, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("activation", ["gelu", "silu", "mish"])
def test_digits_are_learnt(activation: str, digits: tuple[Any, Any]) -> None:
    x, y = digits
    model = adapter.MLPClassifier(
        (64,), activation, max_iter=30, learning_rate_init=0.005, random_state=0
    ).fit(x[400:], y[400:])
    assert model.score(x[:400], y[:400]) > 0.93
    assert model.loss_curve_[-1] < 0.1 * model.loss_curve_[0]


def _at_the_start(activation: Any, small: tuple[Any, Any]) -> Any:
    """A network whose steps are too small to change its weights."""
    return adapter.MLPClassifier(
        (3, 3),
        activation,
        solver="sgd",
        learning_rate_init=1e-300,
        max_iter=1,
        random_state=0,
    ).fit(*small)


def test_first_weights_have_the_exact_gain(small: tuple[Any, Any]) -> None:
    plain = _at_the_start("tanh", small)  # as scikit-learn starts
    square, _ = scipy.integrate.quad(
        lambda z: _gelu(z) ** 2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), -20, 20
    )
    slopes = fa.get("prelu", weight=[0.1, 0.2, 0.3])  # one for each unit: no one gain
    gains = [("gelu", square**-0.5), (fa.relu, np.sqrt(2)), (slopes, 1)]
    for activation, gain in gains:
        model = _at_the_start(activation, small)
        np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
        for mine, other in zip(model.coefs_[1:], plain.coefs_[1:], strict=True):
            np.testing.assert_allclose(mine, gain * other, rtol=1e-8)
        for mine, other in zip(model.intercepts_, plain.intercepts_, strict=True):
            np.testing.assert_array_equal(mine, other)


# ----------------------------------------------------------- as any other estimator


@pytest.mark.parametrize("activation", ["silu", fa.gelu, fa.leaky_relu, LEAKY])
def test_clones_and_pickles(activation: Any, small: tuple[Any, Any]) -> None:
    x, y = small
    model = adapter.MLPClassifier((4,), activation, max_iter=3, random_state=0)
    assert clone(model).activation == activation
    fitted = model.fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.activation == activation
    expected = fitted.predict_proba(x)
    np.testing.assert_array_equal(again.predict_proba(x), expected)
    np.testing.assert_array_equal(clone(fitted).fit(x, y).predict_proba(x), expected)


def test_grid_search_over_activations(digits: tuple[Any, Any]) -> None:
    x, y = digits[0][:200], digits[1][:200]
    activations = ["relu", "mish", fa.gelu, LEAKY]
    search = GridSearchCV(
        adapter.MLPClassifier((8,), max_iter=5, random_state=0),
        {"activation": activations},
        cv=2,
    ).fit(x, y)
    assert search.best_params_["activation"] in activations
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_sparse_input(small: tuple[Any, Any]) -> None:
    x, y = small
    x = np.where(abs(x) > 0.5, x, 0)
    model = adapter.MLPClassifier((4,), "gelu", max_iter=20, random_state=0)
    expected = clone(model).fit(x, y).predict_proba(x)
    for as_sparse in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        sparse = as_sparse(x)
        found = clone(model).fit(sparse, y).predict_proba(sparse)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_early_stopping_keeps_the_best_weights(digits: tuple[Any, Any]) -> None:
    x, y = digits[0][:400], digits[1][:400]
    model = adapter.MLPClassifier(
        (16,), "mish", early_stopping=True, n_iter_no_change=3, random_state=0
    ).fit(x, y)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.n_iter_ < model.max_iter
    for weight, best in zip(model.coefs_, model._best_coefs, strict=True):
        assert weight is best


def test_partial_fit_goes_on(small: tuple[Any, Any]) -> None:
    x, y = small
    model = adapter.MLPClassifier((4,), "silu", learning_rate_init=0.05, random_state=0)
    for _ in range(30):
        model.partial_fit(x, y, classes=[0, 1, 2])
    assert len(model.loss_curve_) == 30
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]


def test_several_labels_for_an_example(small: tuple[Any, Any]) -> None:
    x, _ = small
    labels = (x[:, :2] > 0).astype(int)
    model = adapter.MLPClassifier((8,), "gelu", solver="lbfgs", random_state=0)
    model.fit(x, labels)
    np.testing.assert_array_equal(model.predict(x), labels)
    probabilities = model.predict_proba(x)
    assert (probabilities.sum(axis=1) > 1).any()  # they are not of one choice


def test_a_run_that_is_too_short_warns_as_in_scikit_learn(
    small: tuple[Any, Any],
) -> None:
    with pytest.warns(ConvergenceWarning, match="hasn't converged"):
        adapter.MLPClassifier((4,), "gelu", max_iter=1).fit(*small)


# ---------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("gleu", "'gleu'; did you mean 'gelu'"),
        ("softmax", "activation must name an elementwise activation: .*'softmax'"),
        ("hard_sigmoid", "it may mean hardsigmoid"),
        ("prelu", r"needs weight: pass activation=fastact.get\('prelu', weight=...\)"),
        ("threshold", "needs threshold and value"),
        (np.tanh, "'activation' parameter of MLPClassifier must be .* 'backward'"),
        (None, "'activation' parameter of MLPClassifier must be an instance of 'str'"),
        (fa.softmax, "activation must be an elementwise .* depends on other elements"),
        (fa.get("softmax", axis=0), "get.'softmax', .* depends on other elements, too"),
        (fa.crelu, r"function crelu .* has the shape \(2, 8\), not \(2, 4\)"),
        (fa.logsumexp, r"has the shape \(2,\), not \(2, 4\)"),
        (fa.swiglu, "activation must be an elementwise one of one array, .* swiglu"),
        (fa.get("swiglu_oai", limit=2.0), "fastact.get.'swiglu_oai', limit=2.0"),
        (fa.prelu, r"needs weight: pass activation=fastact.get\('prelu', weight=...\)"),
        (fa.get("prelu", weight=np.ones(7)), "fails on a layer of 4 units: operands"),
        (WithoutOut(), "WithoutOut .* unexpected keyword argument 'out'"),
        (
            fa.Activation("leaky_relu", negative_slope=0.2),
            r"one object for all layers: pass activation=fastact\.get\('leaky_relu', ",
        ),
    ],
)
def test_what_is_no_activation(
    activation: Any, message: str, small: tuple[Any, Any]
) -> None:
    for fit in ("fit", "partial_fit"):
        model = adapter.MLPClassifier((4,), activation)
        with pytest.raises(InvalidParameterError, match=message):
            getattr(model, fit)(*small)


def test_custom_activations(small: tuple[Any, Any], kernels_are_kept: None) -> None:
    pytest.importorskip("numba", reason="fastact.activation needs Numba")

    @fa.activation
    def bent(x, a=1.0):
        return a * x / (1 + np.exp(-x))

    @fa.activation
    def product(x, b):
        return x * b

    def of(activation: Any) -> Any:
        return adapter.MLPClassifier((4,), activation, max_iter=20, random_state=0)

    expected = of("silu").fit(*small).predict_proba(small[0])
    found = of(bent).fit(*small).predict_proba(small[0])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    with pytest.raises(InvalidParameterError, match=r"of one array, .*product"):
        of(product).fit(*small)


def test_hidden_layers_that_scikit_learn_refuses(small: tuple[Any, Any]) -> None:
    for sizes in (0, (4, -1)):
        with pytest.raises(ValueError, match="hidden_layer_sizes"):
            adapter.MLPClassifier(sizes, fa.gelu).fit(*small)
    adapter.MLPClassifier((), fa.gelu, max_iter=1).fit(*small)


def _import_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, adapter.__name__)
    importlib.import_module(adapter.__name__)


@pytest.mark.parametrize("version", ["1.6.1", "1.10.0", "1.10.dev0", "2.0.0"])
def test_other_versions_are_refused(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sklearn, "__version__", version)
    remedy = rf"installed is {version}: pip install 'scikit-learn>=1\.7,<1\.10'"
    with pytest.raises(ImportError, match=remedy):
        _import_again(monkeypatch)


@pytest.mark.parametrize("version", ["1.7.0", "1.8.2rc1", "1.9.1"])
def test_the_versions_that_it_was_tested_with(version: str) -> None:
    adapter._check_version(version)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        _import_again(monkeypatch)


# -------------------------------------------------------------------------- example


def test_the_example_compares_activations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("sklearn_digits")
    models = example.main(["--epochs", "10", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    _, _, test_x, test_y = example.load_data()
    assert {"relu", "gelu", "silu", "mish"} < set(models)
    for model in models.values():
        assert model.loss_ < 0.2 * model.loss_curve_[0]
        accuracy = model.score(test_x, test_y)
        assert accuracy > 0.9
        assert f"{accuracy:.1%}" in printed
    assert (tmp_path / "sklearn_digits.png").exists()
    with pytest.raises(SystemExit):
        example.main(["--epochs", "0"])
