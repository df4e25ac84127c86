"""fastact's functions under autograd: derivatives beside differences and definitions."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import ACTIVATIONS, BFLOAT16, CATALOGUE, other_values

import fastact as fa

pytest.importorskip("autograd", reason="autograd is not installed")
import autograd.numpy as anp
from autograd import elementwise_grad, grad, hessian, jacobian
from autograd.core import make_jvp, make_vjp
from autograd.test_util import check_grads

from fastact.integrations import autograd as fag

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
# On both sides of zero and of all kinks, of which none is nearer than the differences'
# step.
X = np.array([[-4.2, -1.9, -0.61], [-0.13, 0.23, 0.68], [1.3, 2.6, 4.4]])
BOTH_MODES = pytest.mark.parametrize("mode", ["rev", "fwd"])


def _inputs(name: str) -> Any:
    return X if name != "logit" else (X + 5) / 10


@pytest.fixture(autouse=True)
def _same_random_vectors() -> None:
    np.random.seed(0)  # noqa: NPY002 - autograd's checks draw from it


# ------------------------------------------------------------- elementwise and gates


@BOTH_MODES
@pytest.mark.parametrize("name", CATALOGUE)
def test_first_and_second_derivatives_by_x(name: str, mode: str) -> None:
    values = other_values(CATALOGUE[name])
    function = getattr(fag, name)
    x = _inputs(name)
    np.testing.assert_array_equal(function(x, *values), getattr(fa, name)(x, *values))
    check_grads(lambda x: function(x, *values), modes=[mode], order=2)(x)


LEARNING = [e.name for e in ACTIVATIONS if e.differentiable_parameters]


@BOTH_MODES
@pytest.mark.parametrize("name", LEARNING)
def test_first_and_second_derivatives_by_parameters(name: str, mode: str) -> None:
    """Of several shapes, all arguments together: mixed derivatives too."""
    shapes = [(3,), (), (3, 1), (1, 3)]
    values = [
        np.full(shape, value) + RNG.uniform(0, 0.05, shape)
        for value, shape in zip(other_values(CATALOGUE[name]), shapes, strict=False)
    ]
    function = getattr(fag, name)

    def of_all(arguments: Any) -> Any:
        return function(*arguments)

    check_grads(of_all, modes=[mode], order=2)((_inputs(name), *values))


@BOTH_MODES
@pytest.mark.parametrize("name", fa.names("gates"))
def test_gates_and_broadcasting(name: str, mode: str) -> None:
    function = getattr(fag, name)
    value = np.array([[0.7], [-1.4], [2.1]])
    np.testing.assert_array_equal(function(X, value), getattr(fa, name)(X, value))

    def of_both(arguments: Any) -> Any:
        return function(*arguments)

    check_grads(of_both, modes=[mode], order=2)((X, value))
    check_grads(of_both, modes=[mode], order=2)((X[0], value))


def test_defaults_and_keywords_are_fastacts() -> None:
    np.testing.assert_array_equal(fag.elu(X), fa.elu(X))
    np.testing.assert_array_equal(fag.elu(X, alpha=0.5), fa.elu(X, 0.5))
    gradient = grad(lambda a: anp.sum(fag.elu(X, alpha=a)))(0.5)
    np.testing.assert_allclose(gradient, np.expm1(X[X < 0]).sum(), rtol=1e-12)
    with pytest.raises(TypeError, match=r"elu: .*'slope'"):
        fag.elu(X, slope=0.5)
    with pytest.raises(TypeError, match=r"prelu: missing .*'weight'"):
        fag.prelu(X)
    with pytest.raises(TypeError, match="gelu takes no dtype"):
        grad(lambda x: anp.sum(fag.gelu(x, dtype=np.float64)))(X)


def test_other_names_are_found() -> None:
    assert fag.lrelu is fag.leaky_relu
    with pytest.raises(AttributeError, match="has no attribute 'gleu'"):
        fag.gleu  # noqa: B018
    assert set(CATALOGUE) <= set(fag.__all__)
    for name in fag.__all__:
        assert getattr(fag, name).__name__ == name
        assert getattr(fag, name).__doc__


def test_the_ufunc_itself_is_differentiated_too() -> None:
    tracer = importlib.import_module("autograd.tracer")
    if not hasattr(tracer, "trace_primitives_map"):
        pytest.skip("this autograd does not know ufuncs")
    slope = elementwise_grad(fa.tanh)(X)
    np.testing.assert_allclose(slope, 1 - np.tanh(X) ** 2, rtol=1e-12)


def test_numbers_are_arguments_as_well() -> None:
    assert grad(fag.silu)(0.0) == 0.5
    assert grad(grad(fag.silu))(0.0) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, BFLOAT16])
def test_the_dtype_stays(dtype: Any) -> None:
    if dtype is None:
        pytest.skip("ml_dtypes is not installed")
    x = X.astype(dtype)
    for order in (elementwise_grad, lambda f: elementwise_grad(elementwise_grad(f))):
        assert order(fag.gelu)(x).dtype == dtype


SCALE = np.float64(0.5)  # what 1 / np.sqrt(4) is


@pytest.mark.parametrize(
    "function",
    [
        lambda x: fag.softmax(x, scale=SCALE),
        lambda x: fag.log_softmax(x, scale=SCALE),
        lambda x: fag.logsumexp(x, scale=SCALE),
        lambda x: fag.sparsemax(x),
        lambda x: fag.entmax15(x),
        lambda x: fag.maxout(x, 2),
        lambda x: fag.swiglu_packed(x),
        lambda x: fag.softmax_cross_entropy(x, 1),
    ],
)
def test_float32_stays_float32_along_an_axis(function: Any) -> None:
    x = np.float32([0.3, -0.2, 0.5, 0.1])

    def loss(of: Any) -> Any:
        return lambda x: anp.sum(of(x) ** 2)

    # autograd 1.7 and 1.8 make float64 of it themselves, in places.
    if hessian(loss(anp.tanh))(x).dtype != np.float32:
        pytest.skip("this autograd does not keep float32")
    assert grad(loss(function))(x).dtype == np.float32
    assert hessian(loss(function))(x).dtype == np.float32


def test_second_derivatives_keep_their_digits_in_the_tails() -> None:
    second = elementwise_grad(elementwise_grad(fag.tanh))
    x = np.array([0.5, 20.0, -18.0])
    # -2 tanh / cosh^2; 1 - tanh^2 would be 0 or have lost its digits
    np.testing.assert_allclose(second(x), -2 * np.tanh(x) / np.cosh(x) ** 2, rtol=1e-13)


def test_at_kinks_the_second_derivative_is_that_of_a_piece() -> None:
    second = elementwise_grad(elementwise_grad(fag.hardswish))
    np.testing.assert_allclose(second(np.array([-4.0, 0, 4])), [0, 1 / 3, 0])
    assert elementwise_grad(elementwise_grad(fag.relu))(np.zeros(2)).tolist() == [0, 0]


def test_hessian_of_a_small_network_is_symmetric_and_that_of_differences() -> None:
    x = RNG.standard_normal((5, 2))

    def loss(w: Any) -> Any:
        hidden = fag.mish(x @ anp.reshape(w, (2, 3)))
        return anp.mean(fag.softplus(anp.sum(hidden, axis=1), 1.5) ** 2)

    w = RNG.standard_normal(6)
    found = hessian(loss)(w)
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-15)
    step = 1e-5 * np.eye(6)
    gradient = grad(loss)
    rows = [(gradient(w + s) - gradient(w - s)) / 2e-5 for s in step]
    np.testing.assert_allclose(found, rows, rtol=1e-7, atol=1e-9)


def test_one_pass_gives_all_gradients() -> None:
    """Of x and the parameters; each by itself gives the same."""
    arguments = (X, np.float64(0.75), np.array([1.5, 2, 0.5]))
    g = RNG.standard_normal(X.shape)
    together, _ = make_vjp(lambda given: fag.pelu(*given), arguments)
    for i, found in enumerate(together(g)):
        alone, _ = make_vjp(
            lambda a, i=i: fag.pelu(*arguments[:i], a, *arguments[i + 1 :]),
            arguments[i],
        )
        np.testing.assert_allclose(alone(g), found, rtol=1e-13)


# --------------------------------------------------- along an axis, packed, and losses

ROWS = [n for n in fa.names("rows") if n != "maxout"]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("axis", [0, -1])
def test_functions_along_an_axis(name: str, axis: int) -> None:
    function = getattr(fag, name)
    mask = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)
    # Differences of sparsemax and entmax15 are wrong across their kinks: rows that are
    # far from them, some elements in the support and some out.
    x = np.array([[0.1, 0.5, 0.75], [0.2, 2.1, -0.4], [-0.3, 0.45, 0.2]])
    for keywords in ({}, {"scale": 0.7}, {"where": mask, "scale": 1.3}):
        if name == "log_softmax" and "where" in keywords:
            continue  # -inf, of which there are no differences: see below
        np.testing.assert_array_equal(
            function(x, axis, **keywords), getattr(fa, name)(x, axis, **keywords)
        )
        check_grads(
            lambda x, keywords=keywords: function(x, axis, **keywords), modes=["rev"]
        )(x)


def test_log_softmax_of_a_selection() -> None:
    mask = np.array([True, True, False])
    w = np.array([0.3, -0.2])

    def loss(x: Any) -> Any:
        return anp.sum((w * fag.log_softmax(x, where=mask)[:2]) ** 2)

    def definition(x: Any) -> Any:
        return anp.sum((w * (x[:2] - anp.log(anp.sum(anp.exp(x[:2]))))) ** 2)

    np.testing.assert_allclose(grad(loss)(X[1]), grad(definition)(X[1]), rtol=1e-12)
    np.testing.assert_allclose(
        hessian(loss)(X[1]), hessian(definition)(X[1]), atol=1e-14
    )


def test_logsumexp_may_keep_the_axis() -> None:
    for axis in (0, 1):
        check_grads(
            lambda x, axis=axis: fag.logsumexp(x, axis, keepdims=True), modes=["rev"]
        )(X)


def test_maxout_and_crelu() -> None:
    x = RNG.permutation(np.arange(12.0)).reshape(2, 6) - 5.3
    for axis, size in ((1, 3), (0, 2), (-1, 2)):
        check_grads(
            lambda x, axis=axis, size=size: fag.maxout(x, size, axis) ** 2,
            modes=["rev"],
        )(x)
    for axis in (0, 1):
        check_grads(lambda x, axis=axis: fag.crelu(x, axis) ** 3, modes=["rev"])(x)


@pytest.mark.parametrize("name", fa.names("gates"))
def test_packed_gates(name: str) -> None:
    function = getattr(fag, f"{name}_packed")
    x = RNG.standard_normal((4, 6))
    check_grads(function, modes=["rev"])(x)
    for gate in ("first", "second"):
        for axis in (0, 1):
            for interleaved in (False, True):
                check_grads(
                    lambda x, given=(axis, gate, interleaved): function(x, *given),
                    modes=["rev"],
                )(x)


def test_a_packed_gate_takes_parameters_by_name() -> None:
    x = RNG.standard_normal((4, 6))
    check_grads(lambda x: fag.swiglu_oai_packed(x, limit=0.8), modes=["rev"])(x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_cross_entropy(reduction: str, axis: int, smoothing: float) -> None:
    labels = np.array([2, -100, 0])
    probabilities = RNG.uniform(0, 1, (3, 3))
    for targets in (labels, probabilities):
        check_grads(
            lambda logits, targets=targets: fag.softmax_cross_entropy(
                logits, targets, axis, label_smoothing=smoothing, reduction=reduction
            ),
            modes=["rev"],
        )(X)


def test_hessian_of_a_softmax_is_that_of_its_definition() -> None:
    def definition(x: Any) -> Any:
        e = anp.exp(x)
        return (e / anp.sum(e))[0]

    found = hessian(lambda x: fag.softmax(x)[0])(X[1])
    np.testing.assert_allclose(found, hessian(definition)(X[1]), atol=1e-15)
    np.testing.assert_allclose(
        jacobian(fag.softmax)(X[1]).sum(axis=0), np.zeros(3), atol=1e-16
    )


# ------------------------------------------------------------------------------- errors


def test_a_third_derivative_says_that_there_is_none() -> None:
    third = elementwise_grad(elementwise_grad(elementwise_grad(fag.gelu)))
    with pytest.raises(NotImplementedError, match="gelu can be differentiated twice"):
        third(X)


def test_a_parameter_that_places_jumps_has_gradient_zero() -> None:
    for lambd in ({"lambd": 0.5}, {}):
        assert elementwise_grad(lambda x, p=lambd: fag.hardshrink(x, **p))(X).shape
    assert grad(lambda a: anp.sum(fag.hardshrink(X, a)))(0.5) == 0
    assert not make_jvp(lambda a: fag.hardshrink(X, a), 0.5)(1.0)[1].any()


def test_a_parameter_without_gradient_is_named() -> None:
    with pytest.raises(NotImplementedError, match="swiglu_oai by limit"):
        grad(lambda a: anp.sum(fag.swiglu_oai(X, X, a)))(0.5)
    with pytest.raises(NotImplementedError, match="by limit"):
        make_jvp(lambda a: fag.swiglu_oai(X, X, a), 0.5)(1.0)


def test_what_a_function_along_an_axis_cannot_is_named() -> None:
    message = "no derivative of softmax by scale"
    with pytest.raises(NotImplementedError, match=message):
        grad(lambda s: anp.sum(fag.softmax(X, scale=s) ** 2))(1.3)
    with pytest.raises(NotImplementedError, match=message):
        grad(lambda s: anp.sum(fag.softmax(s * X, scale=s) ** 2))(1.3)
    message = "no derivative of softmax_cross_entropy by targets"
    with pytest.raises(NotImplementedError, match=message):
        grad(lambda p: anp.sum(fag.softmax_cross_entropy(X, p)))(fa.softmax(X))
    with pytest.raises(TypeError, match="softmax takes no out where autograd"):
        grad(lambda x: anp.sum(fag.softmax(x, out=np.empty_like(X)) ** 2))(X)


def test_without_autograd_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "autograd.numpy", None)
    monkeypatch.delitem(sys.modules, "fastact.integrations.autograd")
    with pytest.raises(ImportError, match="pip install autograd"):
        importlib.import_module("fastact.integrations.autograd")


# ------------------------------------------------------------------------------ example


def test_the_example_learns_the_same_with_both(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(ROOT / "examples")
    example = importlib.import_module("autograd_digits")
    results = example.main(["--epochs", "4"])
    assert "betas from" in capsys.readouterr().out
    (loss, accuracy, bent), (expected, _, also_bent) = (
        results["fastact"],
        results["NumPy"],
    )
    assert accuracy > 0.9
    assert loss == pytest.approx(expected, rel=0.02)
    np.testing.assert_allclose(bent, also_bent, rtol=1e-9, atol=1e-12)
    with pytest.raises(SystemExit):
        example.main(["--epochs", "0"])
