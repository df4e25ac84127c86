"""fastact, PyTorch and JAX agree, but for the rows of docs/differences.md.

Nothing here may measure time: both systems keep their thread pools.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from calls import BACKWARD, CATALOGUE, DERIVATIVE, FORWARD, Call, other_values
from peers import ELEMENTWISE, GATES, PACKED, PARAMETRIC, ROWS, SYSTEMS, system

import fastact as fa
from accuracy.differences import COLUMNS, Place, differences, read_table
from fastact.checking.truth import interesting_points, near

DTYPES = (np.float32, np.float64)
MEMBERS = (FORWARD, DERIVATIVE)
# What the systems' own errors need. Where it is not enough there is a row in the table.
RELATIVE = {np.float32: 1e-4, np.float64: 1e-12}
RELATIVE_AT_POINTS = 1e-5  # as many digits as the table shows
# PyTorch treats NaN otherwise in whole vectors than in the rest: here are both.
WIDEST = 32
COPIES = WIDEST + 5


def _pairs(table: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    return [(name, function) for name in table for function in table[name]]


def every(table: dict[str, dict[str, str]]) -> pytest.MarkDecorator:
    """Each function of a table, with each system that has it."""
    return pytest.mark.parametrize(("name", "function"), _pairs(table))


def _default_call(function: str) -> Call:
    """With the default parameters, or others where there are none."""
    entry = CATALOGUE[function]
    if entry.has_defaults or not entry.parameters:
        return Call(entry, FORWARD)
    return Call(entry, FORWARD, other_values(entry))


def _calls(name: str, function: str) -> Iterator[Call]:
    """Also with other parameters, where the system has them."""
    call = _default_call(function)
    yield call
    takes_parameters = re.search(r"\bp\b", ELEMENTWISE[name][function])
    if takes_parameters and not call.parameters:
        yield Call(call.entry, FORWARD, other_values(call.entry))


def _values(call: Call, points: Any) -> list[float]:
    """The entry's points, which may be expressions in the parameters."""
    names = (parameter.name for parameter in call.entry.parameters)
    known = dict(zip(names, call.values(), strict=True))
    return [float(eval(point, {}, known)) for point in points]


def _agree(theirs: Any, ours: Any, relative: float) -> np.ndarray[Any, Any]:
    """Where two results are the same; subnormal numbers count as 0."""
    tiny = 4 * np.finfo(ours.dtype).tiny
    return np.isclose(theirs, ours, rtol=relative, atol=tiny, equal_nan=True)


def _results(
    name: str, call: Call, x: Any
) -> Iterator[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Value and derivative, theirs and ours."""
    expression = ELEMENTWISE[name][call.entry.name]
    theirs = system(name)(expression, np.ones_like(x), x=x, p=call.parameters)
    ours = (call(x), call.of(BACKWARD)(np.ones_like(x), x))
    for member, their, our in zip(MEMBERS, theirs, ours, strict=True):
        assert their.dtype == our.dtype == x.dtype
        yield member, their, our


# ---------------------------------------------------------------- zeros, infinities, kinks


def _special_points(call: Call, dtype: Any) -> dict[str, list[Any]]:
    """Named as in the table; NaN, where the position counts, is last."""
    found = {"x = 0": [dtype(0.0), dtype(-0.0)]}
    for kink in _values(call, call.entry.kinks):
        if kink:
            below, at, above = near(dtype, kink, 1)
            found[f"x = {kink:g}"] = [at]
            found[f"x just below {kink:g}"] = [below]
            found[f"x just above {kink:g}"] = [above]
    return found | {f"x = {x}": [dtype(x)] for x in ("inf", "-inf", "nan")}


def _numbers(text: str, separator: str) -> np.ndarray[Any, Any]:
    return np.array([float(number) for number in text.split(separator)])


@every(ELEMENTWISE)
def test_special_points(name: str, function: str) -> None:
    call = _default_call(function)
    for dtype in DTYPES:
        points = _special_points(call, dtype)
        copies = [np.repeat(numbers, COPIES) for numbers in points.values()]
        ends = np.cumsum([copy.size for copy in copies])[:-1]
        x = np.concatenate(copies)
        x = np.pad(x, (0, -x.size % WIDEST + 5), mode="edge")
        for member, *results in _results(name, call, x):
            parts = (np.split(result, ends) for result in results)
            for point, theirs, ours in zip(points, *parts, strict=True):
                place = Place(function, name, point, member, dtype)
                _check_special_point(place, theirs, ours)


def _check_special_point(place: Place, theirs: Any, ours: Any) -> None:
    found = f"{place}: {np.unique(theirs)}, here {np.unique(ours)}"
    if place not in differences():
        assert _agree(theirs, ours, RELATIVE_AT_POINTS).all(), found
        return
    row = differences()[place]
    known = _numbers(row.theirs, " or ").astype(ours.dtype)
    here = ours.dtype.type(row.ours)
    is_known = _agree(theirs[:, None], known, RELATIVE_AT_POINTS)
    assert is_known.any(1).all(), found
    assert is_known.any(0).all(), found
    assert _agree(here, ours, RELATIVE_AT_POINTS).all(), found
    assert not _agree(known, here, RELATIVE_AT_POINTS).all(), f"no difference: {place}"


# ------------------------------------------------------------------------ ordinary points


@cache
def _ordinary_points(dtype: Any) -> Any:
    """Of all sizes; the same for all functions, which spares JAX compilations."""
    random = np.random.default_rng(5)
    x = np.concatenate(
        [
            interesting_points(dtype),
            3 * random.standard_normal(200),
            random.uniform(-120, 120, 200),
            random.uniform(0, 1, 50),
            10 ** random.uniform(-9, 12, 100),
            -(10 ** random.uniform(-9, 12, 100)),
        ]
    ).astype(dtype)
    return x[np.abs(x) >= np.finfo(dtype).tiny]


def _is_compared(call: Call, x: Any) -> Any:
    """Where: in the domain, not at kinks, and not around roots, where digits are lost."""
    lowest, highest = call.entry.domain
    special = _values(call, call.entry.kinks)
    if not call.parameters:
        special += _values(call, [*call.entry.roots, *call.entry.derivative_roots])
    special_near = np.isclose(x[:, None], special, rtol=0.01, atol=0).any(1)
    return (lowest < x) & (x < highest) & ~special_near


def _ranges(name: str, function: str) -> list[Place]:
    return [
        place
        for place in differences()
        if (place.function, place.system) == (function, name) and place.is_range
    ]


@every(ELEMENTWISE)
def test_ordinary_points(name: str, function: str) -> None:
    ranges = _ranges(name, function)
    starts: dict[tuple[str, str], list[float]] = defaultdict(list)
    for call in _calls(name, function):
        for dtype in DTYPES:
            x = _ordinary_points(dtype)
            compared = _is_compared(call, x)
            for member, theirs, ours in _results(name, call, x):
                differs = compared & ~_agree(theirs, ours, RELATIVE[dtype])
                known = np.zeros(x.size, bool)
                for place in ranges:
                    if (place.member, place.dtype) == (member, dtype):
                        inside = place.contains(x)
                        known |= inside
                        if call != _default_call(function):
                            continue
                        assert differs[inside].any(), f"no longer differs: {place}"
                        ratio = np.abs(x[inside & differs] / place.bound)
                        starts[place.point, member] += np.abs(np.log2(ratio)).tolist()
                wrong = np.flatnonzero(differs & ~known)[:5]
                assert not wrong.size, (
                    f"{call}{member} of {name} differs at x = {x[wrong]}: "
                    f"{theirs[wrong]}, here {ours[wrong]}"
                )
    for place, distances in starts.items():
        assert min(distances) < 2, f"the range of {place} is too wide"


# ------------------------------------------------------------------------------- defaults


def _defaults(name: str, function: str) -> dict[str, tuple[Any, Any]]:
    """Keywords of a function whose defaults differ: theirs and the one that is ours."""
    prefix = "default of "
    return {
        place.point.removeprefix(prefix): tuple(
            map(ast.literal_eval, (row.theirs, row.ours))
        )
        for place, row in differences().items()
        if (place.function, place.system) == (function, name)
        and place.point.startswith(prefix)
    }


@pytest.mark.parametrize("name", SYSTEMS)
def test_same_name_means_same_function_and_defaults(name: str) -> None:
    functions = system(name).functions
    x = np.linspace(-2.9, 2.9, 50)

    def call(alias: str, **keywords: Any) -> Any:
        arguments: Any = {"functions": functions, "keywords": keywords}
        expression = f"functions.{alias}(x, **keywords)"
        return system(name)(expression, np.ones_like(x), x=x, **arguments)[0]

    compared = set()
    for alias in fa.names("elementwise", aliases=True):
        function = fa.get(alias)
        if _default_call(function.__name__).parameters or not hasattr(functions, alias):
            continue
        if alias == "linear":  # in PyTorch, a layer
            continue
        different = _defaults(name, function.__name__)
        same = _agree(call(alias), function(x), 1e-6).all()
        assert same == (not different), alias
        for keyword, (theirs, ours) in different.items():
            np.testing.assert_array_equal(call(alias), call(alias, **{keyword: theirs}))
            assert _agree(call(alias, **{keyword: ours}), function(x), 1e-6).all()
        compared.add(function.__name__)
    assert len(compared) > 15
    rows = {p.function for p in differences() if _defaults(name, p.function)}
    assert rows <= compared


# ----------------------------------------------------- gradients of parameters, gates, rows


def _random(shape: tuple[int, ...], seed: int = 0) -> Any:
    return 3 * np.random.default_rng(seed).standard_normal(shape)


def _assert_close(ours: Any, theirs: Any) -> None:
    """All results are close, beside the largest of each."""
    for our, their in zip(ours, theirs, strict=True):
        relative = RELATIVE[our.dtype.type]
        largest = np.abs(their).max()
        np.testing.assert_allclose(our, their, rtol=relative, atol=relative * largest)


@every(PARAMETRIC)
def test_gradients_of_parameters(name: str, function: str) -> None:
    x, dy = _random((40, 3)), _random((40, 3), seed=1)
    w = np.array([0.25, 0.5, 1.5])
    y, dx, dw = system(name)(PARAMETRIC[name][function], dy, x=x, w=w)
    found = getattr(fa, f"{function}_parameter_backward")(dy, x, w)
    _assert_close((getattr(fa, function)(x, w), *found), (y, dx, dw))


@every(GATES)
def test_gates(name: str, function: str) -> None:
    for dtype in DTYPES:
        gate, value, dy = (_random((5, 24), seed).astype(dtype) for seed in range(3))
        theirs = system(name)(GATES[name][function], dy, gate=gate, value=value)
        y = getattr(fa, function)(gate, value)
        gradients = getattr(fa, f"{function}_backward")(dy, gate, value)
        _assert_close((y, *gradients), theirs)


@every(PACKED)
@pytest.mark.parametrize("axis", [(), (0,), (1,)], ids=str)
def test_packed_gates(name: str, function: str, axis: tuple[int, ...]) -> None:
    x = _random((4, 6, 8))
    y = getattr(fa, f"{function}_packed")(x, *axis)
    dy = _random(y.shape, seed=1)
    theirs = system(name)(PACKED[name][function], dy, x=x, axis=axis)
    _assert_close((y, getattr(fa, f"{function}_packed_backward")(dy, x, *axis)), theirs)


@every(ROWS)
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_rows(name: str, function: str, axis: int) -> None:
    for dtype in DTYPES:
        x = _random((5, 6, 7)).astype(dtype)
        y = getattr(fa, function)(x, axis)
        dy = _random(y.shape, seed=1).astype(dtype)
        theirs = system(name)(ROWS[name][function], dy, x=x, axis=axis)
        dx = getattr(fa, f"{function}_backward")(dy, x, axis)
        _assert_close((y, dx), theirs)


SPECIAL_ROWS = ("[inf, 0]", "[inf, inf]", "[-inf, -inf]", "[-inf, 0]", "[nan, 0]")


@every(ROWS)
@pytest.mark.parametrize("row", SPECIAL_ROWS)
def test_special_rows(name: str, function: str, row: str) -> None:
    for dtype in DTYPES:
        x = _numbers(row.strip("[]"), ", ").astype(dtype)
        ours = getattr(fa, function)(x)
        theirs, _ = system(name)(ROWS[name][function], np.ones_like(ours), x=x, axis=-1)
        place = Place(function, name, f"x = {row}", FORWARD, dtype)
        if place in differences():
            difference = differences()[place]
            known = _numbers(difference.theirs, ", ")
            here = _numbers(difference.ours, ", ")
            np.testing.assert_array_equal(theirs, known)
            np.testing.assert_array_equal(ours, here)
            assert not np.array_equal(known, here, equal_nan=True)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# -------------------------------------------------------------------------------- the table


def test_every_row_of_the_table_is_compared() -> None:
    for place in differences():
        function, name, point, member, dtype = place
        if point.startswith("default of "):
            continue  # test_same_name_means_same_function_and_defaults
        if function in ROWS[name]:
            assert point.removeprefix("x = ") in SPECIAL_ROWS
            assert member == FORWARD
        else:
            assert function in ELEMENTWISE[name], place
            points = _special_points(_default_call(function), dtype)
            assert place.is_range or point in points, place


@pytest.mark.parametrize(
    "row",
    [
        "| relu | PyTorch | somewhere | 1 | 2 | why |",
        "| relu | PyTorch | x = 0 (gradient) | 1 | 2 | why |",
        "| relu, relu | PyTorch | x = 0 | 1 | 2 | why |",
        "| relu | PyTorch | x = 0 | 1 | why |",
    ],
)
def test_a_bad_row_is_an_error(row: str) -> None:
    header = "| " + " | ".join(COLUMNS) + " |\n| --- |\n"
    with pytest.raises(ValueError, match=r"differences|unpack"):
        read_table(header + row)
