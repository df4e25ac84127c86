"""`get` and `names`: every function by every name, with parameters of its own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from calls import (
    ACTIVATIONS,
    PARAMETRIC,
    assert_same_bits,
    members,
    other_values,
)

import fastact as fa
from fastact.bound import BoundActivation
from fastact.formulas.entry import Activation
from fastact.formulas.rows import ROW_FUNCTIONS

X = np.linspace(-3, 3, 11, dtype=np.float32)
DY = np.linspace(1, 2, 11, dtype=np.float32)


def _others(entry: Activation) -> dict[str, float]:
    names = (p.name for p in entry.parameters)
    return dict(zip(names, other_values(entry), strict=True))


# ----------------------------------------------------------------------------- names


def test_names_are_those_of_the_catalogue_in_order() -> None:
    elementwise, rows = fa.names("elementwise"), fa.names("rows")
    assert set(elementwise) == {entry.name for entry in ACTIVATIONS}
    assert set(rows) == set(ROW_FUNCTIONS)
    assert set(fa.names()) >= {*elementwise, *rows}
    for names in (fa.names(), elementwise, rows):
        assert names == tuple(sorted(set(names)))


def test_aliases_are_listed_when_asked_for() -> None:
    assert "linear" not in fa.names()
    with_aliases = fa.names("elementwise", aliases=True)
    assert set(with_aliases) == {n for e in ACTIVATIONS for n in (e.name, *e.aliases)}
    assert with_aliases == tuple(sorted(with_aliases))


def test_an_unknown_kind_names_the_kinds() -> None:
    with pytest.raises(ValueError, match="elementwise, rows"):
        fa.names("columns")


# ------------------------------------------------------------------------------- get


@pytest.mark.parametrize("name", fa.names(aliases=True))
def test_without_parameters_it_is_the_function_itself(name: str) -> None:
    assert fa.get(name) is getattr(fa, name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gelru", "did you mean 'gelu'"),
        ("ReLU", "did you mean 'relu'"),
        ("soft_max", "did you mean 'softmax'"),
        ("LeakyReLU", "did you mean 'leaky_relu'"),
        ("LogSigmoid", "did you mean 'log_?sigmoid'"),
        ("HardSwish", "may mean hardswish"),
        ("hard_swish", "may mean hardswish"),
        ("gelu_fast", "may mean gelu_tanh"),
        ("gelu_backward", "a member of 'gelu'"),
        ("lrelu_parameter_backward", "a member of 'leaky_relu'"),
        ("zzzzzz", "geglu, geglu_tanh, gelu, gelu_tanh, glu"),
        ("", "geglu, geglu_tanh, gelu, gelu_tanh, glu"),
    ],
)
def test_an_unknown_name_is_a_value_error_with_advice(name: str, hint: str) -> None:
    for parameters in ({}, {"beta": 1.5}):
        with pytest.raises(ValueError, match=hint) as raised:
            fa.get(name, **parameters)
        assert repr(name) in str(raised.value)


def test_a_name_is_a_string() -> None:
    with pytest.raises(TypeError, match="string"):
        fa.get(fa.gelu)  # type: ignore[arg-type]


# ------------------------------------------------------------------- with parameters


def test_the_whole_family_has_the_parameters(parametric: Activation) -> None:
    given = _others(parametric)
    bound = fa.get(parametric.name, **given)
    assert bound.name == parametric.name
    assert bound.parameters == given
    values = tuple(given.values())
    for member in members(parametric):
        function = getattr(fa, parametric.name + member)
        arrays = (X,) if "backward" not in member else (DY, X)
        found = getattr(bound, member.removeprefix("_")) if member else bound
        assert_same_bits(found(*arrays), function(*arrays, *values), member)


def test_it_has_no_member_that_the_activation_has_not() -> None:
    assert not hasattr(fa.get("swish", beta=1.5), "backward_from_output")
    assert not hasattr(fa.get("softmax", axis=0), "derivative")


def test_aliases_take_parameters_too() -> None:
    assert fa.get("lrelu", negative_slope=0.2) == fa.get(
        "leaky_relu", negative_slope=0.2
    )


def test_keywords_of_the_ufuncs_are_passed_on() -> None:
    bound = fa.get("leaky_relu", negative_slope=0.5)
    out = np.full(11, 7, np.float32)
    assert bound(X, out=out, where=X < 0) is out
    np.testing.assert_array_equal(out, np.where(X < 0, X / 2, 7))
    assert bound(X, dtype=np.float64).dtype == np.float64
    assert bound.backward(DY, X, out=out) is out
    np.testing.assert_array_equal(out, np.where(X > 0, DY, DY / 2))


@pytest.mark.parametrize(
    "entry", [e for e in PARAMETRIC if e.has_defaults], ids=lambda entry: entry.name
)
def test_default_values_given_by_name_are_the_defaults(entry: Activation) -> None:
    defaults = {p.name: p.default for p in entry.parameters}
    bound = fa.get(entry.name, **defaults)
    assert bound.parameters == defaults
    arrays = [X] * len(entry.arrays)
    assert_same_bits(bound(*arrays), getattr(fa, entry.name)(*arrays))


def test_a_parameter_may_be_an_array_and_is_copied() -> None:
    weight = np.array([[0.25], [0.5]])
    bound = fa.get("prelu", weight=weight)
    expected = fa.prelu(X, weight.copy())
    dx, dweight = bound.parameter_backward(np.stack([DY, DY]), np.stack([X, X]))
    assert dx.shape == (2, 11)
    assert dweight.shape == (2, 1)
    weight[:] = 9
    assert_same_bits(bound(X), expected)
    with pytest.raises(ValueError, match="read-only"):
        bound.parameters["weight"][0] = 9


def test_row_functions_take_their_keywords() -> None:
    x, dy = X[:10].reshape(2, 5), DY[:10].reshape(2, 5)
    bound = fa.get("softmax", scale=2.0, axis=0)
    assert bound.parameters == {"axis": 0, "scale": 2.0}
    assert_same_bits(bound(x), fa.softmax(x, 0, scale=2.0))
    assert_same_bits(bound.backward(dy, x), fa.softmax_backward(dy, x, 0, scale=2.0))
    y, mask = bound(x), x > 0
    assert_same_bits(
        bound.backward_from_output(dy, y, where=mask),
        fa.softmax_backward_from_output(dy, y, 0, scale=2.0, where=mask),
    )


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("gelu", {"beta": 1.0}, "gelu has no parameter 'beta'; allowed: it has none"),
        ("swish", {"alpha": 1.0}, "swish has no parameter 'alpha'; allowed: beta"),
        ("softmax", {"temperature": 1.0}, "no parameter 'temperature'.*axis, scale"),
        ("softmax", {"axis": "x"}, "axis must be an integer, not 'x'"),
        ("gumbel_softmax", {"hard": 1}, "hard must be True or False, not 1"),
        ("swish", {"beta": "1"}, "beta must be a real number"),
        ("swish", {"beta": None}, "beta must be a real number"),
        ("swish", {"beta": [1j]}, "beta must be a real number"),
    ],
)
def test_wrong_parameters_are_type_errors(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        fa.get(name, **parameters)


def test_a_parameter_without_default_must_be_given() -> None:
    with pytest.raises(TypeError, match="prelu needs the parameter weight"):
        BoundActivation("prelu", {})


BOUND = [
    fa.get("swish", beta=1.5),
    fa.get("swish", beta=2.0),
    fa.get("elu", alpha=1.5),
    fa.get("prelu", weight=[0.25, 0.5]),
    fa.get("prelu", weight=[0.25, 0.75]),
    fa.get("prelu", weight=[[0.25, 0.5]]),
    fa.get("softmax", axis=0),
]


@pytest.mark.parametrize("bound", BOUND, ids=repr)
def test_it_is_a_value(bound: Any) -> None:
    twins = [copy.copy(bound), copy.deepcopy(bound)]
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    twins += [pickle.loads(pickle.dumps(bound, protocol)) for protocol in protocols]
    twins.append(eval(repr(bound), {"fastact": fa, "array": np.array}))
    for twin in twins:
        assert twin == bound
        assert hash(twin) == hash(bound)
        assert_same_bits(twin(X[:2]), bound(X[:2]))
    assert [other for other in BOUND if other == bound] == [bound]
    assert bound != bound.name


def test_it_cannot_be_changed() -> None:
    bound = fa.get("swish", beta=1.5)
    for change in (
        lambda: setattr(bound, "name", "elu"),
        lambda: setattr(bound, "backward", None),
        lambda: delattr(bound, "backward"),
    ):
        with pytest.raises(AttributeError, match="cannot be changed"):
            change()
    bound.parameters["beta"] = 3.0
    assert bound.parameters == {"beta": 1.5}


def test_functions_that_are_not_elementwise_are_bound_too() -> None:
    x = np.array([[1.0, -2.0, 0.5, 3.0]])
    dy = np.array([[0.5, 1.0, -1.0, 2.0]])
    rrelu = fa.get("rrelu", lower=0.1, upper=0.3)
    assert_same_bits(rrelu(x), fa.rrelu(x, lower=0.1, upper=0.3))
    assert_same_bits(
        rrelu.backward(dy, x), fa.rrelu_backward(dy, x, lower=0.1, upper=0.3)
    )
    noise = np.zeros_like(x)
    gumbel = fa.get("gumbel_softmax", tau=0.5)
    assert_same_bits(gumbel(x, noise=noise), fa.softmax(x, scale=2.0))
    assert_same_bits(
        gumbel.backward(dy, x, noise), fa.softmax_backward(dy, x, scale=2.0)
    )
    maxout = fa.get("maxout", pool_size=2)
    assert_same_bits(maxout(x), np.array([[1.0, 3.0]]))
    assert_same_bits(maxout.backward(dy[:, :2], x), fa.maxout_backward(dy[:, :2], x, 2))
    with pytest.raises(TypeError, match="pool_size"):
        fa.get("maxout", axis=0)
    loss = fa.get("softmax_cross_entropy", label_smoothing=0.1)
    assert_same_bits(
        loss(x, [2]), fa.softmax_cross_entropy(x, [2], label_smoothing=0.1)
    )
