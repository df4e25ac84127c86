"""`Activation`: what it keeps, its buffers, its parameters, copies and pickles."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import (
    ACTIVATIONS,
    BACKWARD_FROM_OUTPUT,
    BFLOAT16,
    PARAMETER_BACKWARD,
    assert_same_bits,
    members,
    other_values,
)

import fastact as fa
from fastact.formulas.entry import Activation as Entry
from fastact.formulas.rows import ROW_FUNCTIONS

RNG = np.random.default_rng(0)
X = 2 * RNG.standard_normal((4, 6)).astype(np.float32)
DY = RNG.standard_normal((4, 6)).astype(np.float32)

FROM_OUTPUT = [e for e in ACTIVATIONS if BACKWARD_FROM_OUTPUT in members(e)]
LEARNING = [e for e in ACTIVATIONS if PARAMETER_BACKWARD in members(e)]


def _others(entry: Entry) -> dict[str, float]:
    names = (p.name for p in entry.parameters)
    return dict(zip(names, other_values(entry), strict=True))


def _ids(entry: Entry) -> str:
    return entry.name


# ------------------------------------------------------------------- values and gradients


@pytest.mark.parametrize("entry", ACTIVATIONS, ids=_ids)
@pytest.mark.parametrize("save", ["input", "derivative"])
def test_it_is_the_function_and_its_backward(entry: Entry, save: str) -> None:
    act = fa.Activation(entry.name, save=save, **_others(entry))
    values = other_values(entry)
    assert_same_bits(act(X), getattr(fa, entry.name)(X, *values))
    expected = getattr(fa, entry.name + "_backward")(DY, X, *values)
    if save == "input":
        assert_same_bits(act.backward(DY), expected)
    else:  # the derivative is rounded before the product
        np.testing.assert_allclose(act.backward(DY), expected, rtol=3e-7, atol=1e-44)


@pytest.mark.parametrize("entry", FROM_OUTPUT, ids=_ids)
def test_from_the_output_it_is_the_backward_from_output(entry: Entry) -> None:
    act = fa.Activation(entry.name, save="output", **_others(entry))
    values = other_values(entry)
    y = act(X)
    expected = getattr(fa, entry.name + "_backward_from_output")(DY, y, *values)
    assert_same_bits(act.backward(DY), expected)


@pytest.mark.parametrize(
    ("name", "save", "parameters"),
    [
        ("gelu", "input", {}),
        ("mish", "derivative", {}),
        ("elu", "output", {"alpha": 0.5}),
        ("softcap", "derivative", {"cap": 2.0}),
        ("softcap", "output", {"cap": 2.0}),
    ],
)
def test_gradients_are_those_of_differences(
    name: str, save: Any, parameters: dict[str, float]
) -> None:
    act = fa.Activation(name, save=save, **parameters)
    x, step = X.astype(np.float64), 1e-6
    difference = (act(x + step) - act(x - step)) / (2 * step)
    act(x)
    np.testing.assert_allclose(act.backward(np.ones_like(x)), difference, rtol=1e-7)


@pytest.mark.parametrize("name", sorted(set(ROW_FUNCTIONS) - {"maxout"}))
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("save", ["input", "output"])
def test_functions_along_an_axis(name: str, axis: int, save: str) -> None:
    if save == "output" and not ROW_FUNCTIONS[name].from_output:
        with pytest.raises(ValueError, match="save must be 'input' or None"):
            fa.Activation(name, save=save)
        return
    mask = np.arange(24).reshape(4, 6) % 5 != 1
    act = fa.Activation(name, axis=axis, scale=0.5, save=save)
    for where in (None, mask):
        y = act(X, where=where)
        assert_same_bits(y, getattr(fa, name)(X, axis, where=where, scale=0.5))
        dy = DY if y.shape == X.shape else DY.take(0, axis)
        member = "_backward" if save == "input" else "_backward_from_output"
        backward = getattr(fa, name + member)
        kept = X if save == "input" else y
        expected = backward(dy, kept, axis, where=where, scale=0.5)
        assert_same_bits(act.backward(dy), expected)
    assert act.parameters == {}


def test_maxout_and_crelu_change_the_shape() -> None:
    maxout = fa.Activation("maxout", pool_size=3, axis=1)
    y = maxout(X)
    np.testing.assert_array_equal(y, X.reshape(4, 2, 3).max(axis=2))
    dx = maxout.backward(np.ones_like(y))
    np.testing.assert_array_equal(dx, np.repeat(y, 3, axis=1) == X)
    crelu = fa.Activation("crelu", axis=0)
    y = crelu(X)
    np.testing.assert_array_equal(y, np.concatenate([X, -X]).clip(0))
    np.testing.assert_array_equal(crelu.backward(np.ones_like(y)), np.sign(X))


@pytest.mark.parametrize("name", fa.names("gates"))
def test_gates_of_two_arrays_and_packed(name: str) -> None:
    act = fa.Activation(name)
    gate, value = X, X[::-1].copy()
    assert_same_bits(act(gate, value), getattr(fa, name)(gate, value))
    dgate, dvalue = act.backward(DY)
    expected = getattr(fa, name + "_backward")(DY, gate, value)
    assert_same_bits((dgate, dvalue), expected)
    packed = fa.Activation(f"{name}_packed", axis=0, gate="first")
    both = np.concatenate([gate, value])
    assert_same_bits(packed(both), getattr(fa, name)(gate, value))
    assert_same_bits(packed.backward(DY), np.concatenate(expected))


@pytest.mark.parametrize("save", ["input", "output", "derivative"])
def test_where_the_derivative_is_0_the_gradient_is(save: str) -> None:
    act = fa.Activation("relu", save=save)
    act(np.float32([-1, -1, 1]))
    dx = act.backward(np.float32([np.inf, np.nan, np.inf]))
    np.testing.assert_array_equal(dx, [0, 0, np.inf])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, BFLOAT16])
@pytest.mark.parametrize("save", ["input", "output", "derivative"])
def test_the_dtype_stays(dtype: Any, save: str) -> None:
    if dtype is None:
        pytest.skip("ml_dtypes is not installed")
    act = fa.Activation("elu", save=save, reuse_buffers=True)
    x = X.astype(dtype)
    assert act(x).dtype == dtype
    assert act.backward(x).dtype == dtype


def test_numbers_and_lists_are_arrays() -> None:
    act = fa.Activation("relu")
    assert act(2.0) == 2
    assert act.backward(3.0) == 3
    np.testing.assert_array_equal(act([[-1, 2]]), [[0, 2]])
    np.testing.assert_array_equal(act.backward([[3, 4]]), [[0, 4]])


# -------------------------------------------------------------------------- what is kept


def _held(act: fa.Activation) -> list[Any]:
    """The large arrays that an object still holds, one after another."""
    found = []
    queue = list(vars(act).values())
    while queue:
        value = queue.pop()
        if isinstance(value, np.ndarray) and value.size > 1:
            found.append(value)
        elif isinstance(value, (tuple, list)):
            queue += value
        elif isinstance(value, dict):
            queue += value.values()
    return found


@pytest.mark.parametrize(
    ("save", "kept"),
    [
        ("input", lambda x, y: x),
        ("output", lambda x, y: y),
        ("derivative", lambda x, y: np.where(x > 0, 1, y + 1)),
        (None, None),
    ],
)
def test_exactly_what_backward_needs_is_kept(
    save: Any, kept: Callable[[Any, Any], Any] | None
) -> None:
    act = fa.Activation("elu", save=save)
    y = act(X)
    held = _held(act)
    assert len(held) == (0 if kept is None else 1)
    if kept is not None:
        assert (held[0] is X) == (save == "input")
        assert (held[0] is y) == (save == "output")
        np.testing.assert_allclose(held[0], kept(X, y), rtol=1e-5)


def test_inference_keeps_nothing_and_drops_what_was_kept() -> None:
    act = fa.Activation("gelu")
    act(X)
    act(X, save=None)
    assert _held(act) == []
    with pytest.raises(RuntimeError, match="save=None"):
        act.backward(DY)


def test_a_call_may_keep_something_else() -> None:
    act = fa.Activation("tanh", save=None)
    y = act(X, save="output")
    assert _held(act) == [y] or _held(act)[0] is y
    assert_same_bits(act.backward(DY), fa.tanh_backward_from_output(DY, y))
    with pytest.raises(ValueError, match="save must be"):
        act(X, save="everything")


def test_backward_may_be_called_again() -> None:
    act = fa.Activation("gelu", save="derivative")
    act(X)
    assert_same_bits(act.backward(DY), act.backward(DY))


# ------------------------------------------------------------------------------- buffers


@pytest.mark.parametrize("save", ["input", "output", "derivative"])
def test_buffers_are_reused_while_shape_and_dtype_stay(save: str) -> None:
    act = fa.Activation("elu", save=save, reuse_buffers=True)
    y, dx = act(X), act.backward(DY)
    kept = _held(act)
    for x in (-X, X + 1):
        expected = fa.elu(x)
        fresh = fa.Activation("elu", save=save)
        fresh(x)
        assert act(x) is y
        assert_same_bits(y, expected)
        assert act.backward(DY) is dx
        assert_same_bits(dx, fresh.backward(DY))
    others = {id(a) for a in kept if a is not X}
    assert others <= {id(a) for a in _held(act)}
    assert act(X.astype(np.float64)).dtype == np.float64
    assert act(X[:2]).shape == (2, 6)
    assert act(X) is not y


def test_without_buffers_every_result_is_new() -> None:
    act = fa.Activation("elu")
    first, copied = act(X), fa.elu(X)
    assert act(-X) is not first
    assert_same_bits(first, copied)


@pytest.mark.parametrize(
    ("name", "parameters", "count"),
    [
        ("softmax", {}, 1),
        ("softmax", {"axis": 0, "scale": 0.5}, 1),
        ("logsumexp", {"axis": 0, "keepdims": True}, 1),
        ("maxout", {"pool_size": 2}, 1),
        ("crelu", {}, 1),
        ("swiglu", {}, 2),
        ("geglu_packed", {}, 1),
    ],
)
def test_all_kinds_reuse_their_buffers(name: str, parameters: Any, count: int) -> None:
    act = fa.Activation(name, reuse_buffers=True, **parameters)
    fresh = fa.Activation(name, **parameters)
    y = act(*[X] * count)
    dx = act.backward(np.ones_like(y))
    for _ in range(2):
        assert act(*[-X] * count) is y
        assert_same_bits(y, fresh(*[-X] * count))
        again = act.backward(np.ones_like(y))
        assert_same_bits(again, fresh.backward(np.ones_like(y)))
        pairs = zip(again, dx, strict=True) if count == 2 else [(again, dx)]
        assert all(a is b for a, b in pairs)


def test_a_layer_on_its_own_result_does_not_write_over_it() -> None:
    act = fa.Activation("tanh", reuse_buffers=True)
    once = act(X)
    twice = act(once)
    assert not np.may_share_memory(once, twice)
    assert_same_bits(act.backward(DY), fa.tanh_backward(DY, fa.tanh(X)))


# ---------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("entry", LEARNING, ids=_ids)
@pytest.mark.parametrize("reuse_buffers", [False, True])
def test_gradients_of_parameters(entry: Entry, reuse_buffers: bool) -> None:
    shapes = [(), (6,), (4, 1), (1, 6)]
    given = {
        name: np.full(shape, value, np.float32)
        for (name, value), shape in zip(_others(entry).items(), shapes, strict=False)
    }
    act = fa.Activation(entry.name, learn=True, reuse_buffers=reuse_buffers, **given)
    assert act.learn == tuple(given)
    for x in (X, -X):
        assert_same_bits(act(x), getattr(fa, entry.name)(x, *given.values()))
        dx, *expected = getattr(fa, entry.name + PARAMETER_BACKWARD)(
            DY, x, *given.values()
        )
        assert_same_bits(act.backward(DY), dx)
        assert list(act.gradients) == list(given)
        for name, gradient in zip(given, expected, strict=True):
            assert act.gradients[name].shape == given[name].shape
            assert_same_bits(act.gradients[name], np.asarray(gradient))


def test_with_buffers_dx_stays_the_same_array_when_parameters_are_learnt() -> None:
    act = fa.Activation(
        "prelu", weight=np.full(6, 0.25), learn=True, reuse_buffers=True
    )
    act(X)
    dx = act.backward(DY)
    act(-X)
    assert act.backward(DY) is dx
    assert_same_bits(dx, np.where(X < 0, DY, DY * np.float32(0.25)))


def test_a_step_downhill_changes_the_function() -> None:
    act = fa.Activation("prelu", weight=0.25, learn=("weight",))
    given = act.parameters["weight"]
    act(X)
    act.backward(np.ones_like(X))
    slope = X[X < 0].sum()
    np.testing.assert_allclose(act.gradients["weight"], slope, rtol=1e-6)
    act.parameters["weight"] -= 0.01 * act.gradients["weight"]
    assert act.parameters["weight"] is given
    expected = np.where(X > 0, X, X * (0.25 - 0.01 * slope))
    np.testing.assert_allclose(act(X), expected, rtol=1e-6)
    act.parameters["weight"] = np.zeros(6)  # another array does it, too
    np.testing.assert_array_equal(act(X), X.clip(0))


def test_some_parameters_may_be_learnt() -> None:
    act = fa.Activation("pelu", a=0.75, b=1.25, learn="b")
    act(X)
    act.backward(DY)
    assert list(act.gradients) == ["b"]
    assert list(act.parameters) == ["a", "b"]
    _, _, expected = fa.pelu_parameter_backward(DY, X, 0.75, 1.25)
    assert act.gradients["b"] == expected


def test_parameters_are_copies_and_constant_unless_learnt() -> None:
    weight = np.full(6, 0.25)
    act = fa.Activation("prelu", weight=weight)
    weight[:] = 9
    assert_same_bits(act(X), fa.prelu(X, 0.25))
    with pytest.raises(ValueError, match="read-only"):
        act.parameters["weight"][0] = 9
    assert fa.Activation("elu").parameters == {"alpha": 1.0}
    assert fa.Activation("swiglu_oai").parameters == {"limit": 7.0, "alpha": 1.702}


def test_a_number_in_the_place_of_a_learnt_parameter() -> None:
    """As ``parameters["weight"] = parameters["weight"] - step`` makes of no axes."""
    act = fa.Activation("prelu", weight=0.25, learn=True, reuse_buffers=True)
    for number in (np.float64(0.5), 0.5):
        act.parameters["weight"] = number  # type: ignore[assignment]
        y, dx = act(X), act.backward(DY)
        assert_same_bits(y, fa.prelu(X, 0.5))
        assert act(X) is y
        assert act.backward(DY) is dx
        state = act.state_dict()
        assert isinstance(state["weight"], np.ndarray)
        assert pickle.loads(pickle.dumps(act)).parameters == {"weight": 0.5}
        act.load_state_dict({"weight": 0.75})
        assert_same_bits(act(X), fa.prelu(X, 0.75))
        assert state == {"weight": 0.5}


def test_a_constant_parameter_cannot_be_put_in_vain() -> None:
    act = fa.Activation("elu")
    with pytest.raises(TypeError, match="does not support item assignment"):
        act.parameters["alpha"] = np.array(0.5)
    act.load_state_dict({"alpha": 0.5})
    assert act.parameters == {"alpha": 0.5}
    with pytest.raises(TypeError, match="does not support item assignment"):
        act.parameters["alpha"] = np.array(1.0)


def test_a_learnt_value_out_of_range_is_named() -> None:
    act = fa.Activation("celu", learn=True)
    act.parameters["alpha"] -= 2
    with pytest.raises(ValueError, match="alpha must be greater than 0; it is -1"):
        act(X)


# ---------------------------------------------------------------------------- state_dict


def test_a_state_goes_from_one_object_to_another() -> None:
    state = fa.Activation("pelu", a=0.75, b=np.full(6, 2.0)).state_dict()
    assert list(state) == ["a", "b"]
    for learn in (True, False):
        act = fa.Activation("pelu", b=np.ones(6, np.float32), learn=learn)
        before = act.parameters["b"]
        act.load_state_dict(state)
        assert_same_bits(act(X), fa.pelu(X, 0.75, np.full(6, 2.0)))
        assert (act.parameters["b"] is before) == learn
        state["b"][:] = 2  # the object has copies
        assert act.parameters["b"][0] == 2
        assert list(act.state_dict()) == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "lacks b"),
        ({"c": 1.0}, "has the unknown c"),
        ({"b": np.ones(5)}, "b must have the shape (6,) here, not (5,)"),
        ({"a": -1.0}, "a must be greater than 0; it is -1"),
    ],
)
@pytest.mark.parametrize("learn", [True, False])
def test_a_state_that_does_not_fit_changes_nothing(
    change: dict[str, Any], message: str, learn: bool
) -> None:
    act = fa.Activation("pelu", b=np.ones(6), learn=learn)
    before = act.state_dict()
    state = before | {"a": 3.0} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        act.load_state_dict(state)
    for name, value in act.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_state_must_leave_the_output_enough() -> None:
    act = fa.Activation("leaky_relu", negative_slope=0.1, save="output")
    with pytest.raises(ValueError, match="negative_slope must be at least 0"):
        act.load_state_dict({"negative_slope": -0.1})
    assert act.parameters["negative_slope"] == 0.1


def test_without_parameters_the_state_is_empty() -> None:
    act = fa.Activation("softmax", axis=0)
    assert act.state_dict() == {}
    act.load_state_dict({})
    with pytest.raises(ValueError, match="parameters of softmax are: none"):
        act.load_state_dict({"axis": 1})


# --------------------------------------------------------------------- copies and pickles


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_copies_have_settings_and_parameters_but_nothing_kept(duplicate: Any) -> None:
    act = fa.Activation(
        "prelu", weight=np.full(6, 0.25), learn=True, reuse_buffers=True
    )
    act(X)
    act.backward(DY)
    act.parameters["weight"][0] = 0.5
    other = duplicate(act)
    assert (other.name, other.save, other.learn, other.reuse_buffers) == (
        "prelu",
        "input",
        ("weight",),
        True,
    )
    assert other.gradients == {}
    np.testing.assert_array_equal(other.parameters["weight"], act.parameters["weight"])
    with pytest.raises(RuntimeError, match="call it first"):
        other.backward(DY)
    other.parameters["weight"][:] = 9
    assert act.parameters["weight"][0] == 0.5
    assert other(X) is not act(X)


@pytest.mark.parametrize(
    "act",
    [
        fa.Activation("softmax", axis=0, scale=0.5, save="output"),
        fa.Activation("lrelu", negative_slope=0.2, save="derivative"),
        fa.Activation("swiglu_oai_packed", axis=0, limit=5.0),
        fa.Activation("gelu", save=None),
    ],
    ids=repr,
)
def test_its_repr_says_how_to_make_it(act: fa.Activation) -> None:
    again = pickle.loads(pickle.dumps(act))
    assert repr(again) == repr(act)
    assert repr(eval(repr(act), {"fastact": fa})) == repr(act)


# -------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "keywords", "error", "message"),
    [
        ("gelru", {}, ValueError, "did you mean 'gelu'"),
        ("swigle_packed", {}, ValueError, "did you mean 'swiglu'"),
        ("gelu_packed", {}, ValueError, "there is no activation 'gelu'"),
        ("gelu", {"beta": 1}, TypeError, "gelu has no parameter 'beta'"),
        ("prelu", {}, TypeError, "prelu needs the parameter weight"),
        ("gelu", {"save": "output"}, ValueError, "'input', 'derivative' or None"),
        ("softmax", {"save": "derivative"}, ValueError, "'input', 'output' or None"),
        ("swiglu", {"save": "derivative"}, ValueError, "'input' or None for swiglu"),
        (
            "leaky_relu",
            {"save": "output", "negative_slope": -1},
            ValueError,
            "at least 0",
        ),
        (
            "elu",
            {"save": "output", "learn": True},
            ValueError,
            "functions of the input",
        ),
        ("gelu", {"learn": True}, ValueError, "gelu cannot learn anything"),
        ("swiglu_oai", {"learn": True}, ValueError, "with a gradient: none"),
        (
            "prelu",
            {"weight": 0.1, "learn": "slope"},
            ValueError,
            "learn slope; .* weight",
        ),
        (
            "prelu",
            {"weight": 0.1, "learn": 3},
            TypeError,
            "learn must be True, False or",
        ),
        ("softmax", {"axis": None}, ValueError, "axis must be one integer, not None"),
        ("logsumexp", {"axis": (0, 1)}, ValueError, r"not \(0, 1\); .* reshape"),
        ("softmax", {"axis": 1.5}, TypeError, "axis must be an integer, not 1.5"),
        ("crelu", {"axis": None}, ValueError, "axis must be one integer, not None"),
        ("swiglu_packed", {"axis": "x"}, TypeError, "axis must be an integer, not 'x'"),
        ("softmax", {"scale": [1, 2]}, ValueError, "scale must be a number, not an"),
        ("softmax", {"scale": None}, TypeError, "scale must be a real number"),
        ("logsumexp", {"keepdims": "no"}, TypeError, "keepdims must be True or False"),
        ("maxout", {"pool_size": 0}, ValueError, "pool_size must be a positive .* 0"),
        ("maxout", {"pool_size": 2.5}, TypeError, "pool_size must be an integer"),
        ("swiglu_packed", {"gate": "third"}, ValueError, "gate must be 'first' or"),
        ("glu_packed", {"interleaved": "x"}, TypeError, "interleaved must be True or"),
        ("swiglu_oai_packed", {"limit": -1}, ValueError, "limit must be greater than"),
        ("swiglu_oai_packed", {"limit": "a"}, TypeError, "limit must be a real number"),
        ("swiglu_oai_packed", {"limit": [1, 2]}, ValueError, "limit must be a number"),
        ("gelu", {"axis": 0}, TypeError, "gelu has no parameter 'axis'"),
        ("elu", {"dtype": "f4"}, TypeError, "no parameter 'dtype'; .* convert x"),
        ("softmax", {"where": True}, TypeError, "no parameter 'where'; .* in the call"),
        ("elu", {"alpha": [1, [2]]}, ValueError, "alpha cannot be an array"),
        ("elu", {"save": np.ones(3)}, ValueError, "save must be 'input'"),
        ("elu", {"reuse_buffers": "no"}, TypeError, "reuse_buffers must be True or"),
        ("rrelu", {}, ValueError, "needs the slopes of each call"),
        ("gumbel_softmax", {}, ValueError, "needs the noise of each call"),
        ("softmax_cross_entropy", {}, ValueError, "it is a loss"),
    ],
)
def test_what_is_not_possible_is_said_at_once(
    name: str, keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fa.Activation(name, **keywords)


def test_backward_before_forward_and_with_another_shape() -> None:
    act = fa.Activation("gelu")
    with pytest.raises(RuntimeError, match="call it first"):
        act.backward(DY)
    act(X)
    for shape in ((6,), (4, 5), ()):
        with pytest.raises(ValueError, match=re.escape(f"(4, 6), not {shape}")):
            act.backward(np.ones(shape))


def test_a_call_takes_as_many_arrays_as_the_function() -> None:
    with pytest.raises(TypeError, match="gelu takes x; 2 given"):
        fa.Activation("gelu")(X, X)
    with pytest.raises(TypeError, match="swiglu takes gate and value; 1 given"):
        fa.Activation("swiglu")(X)
    with pytest.raises(TypeError, match="where is for functions along an axis"):
        fa.Activation("gelu")(X, where=X > 0)


def test_a_failed_call_leaves_nothing_to_go_back_from() -> None:
    act = fa.Activation("softmax", axis=1)
    act(X)
    with pytest.raises(ValueError, match="axis"):
        act(X[0])
    with pytest.raises(RuntimeError, match="call it first"):
        act.backward(DY)
