"""`python -m fastact check`: whether this installation computes what it should.

It needs nothing but NumPy. What is expected comes from the catalogue's plain NumPy
expressions, from Python's own `math`, from difference quotients, or from another way to
the same result. It finds a build gone wrong; errors of the last digit are the matter of
`python -m fastact accuracy`.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import fastact as fa

from .. import _core, plain
from ..formulas.entry import CATALOGUE, Activation, Entry, Fused
from ..formulas.kernels import (
    BACKWARD,
    BACKWARD_FROM_OUTPUT,
    ENTRIES,
    FORWARD,
    PARAMETER_BACKWARD,
    members,
)
from ..formulas.rows import ROW_FUNCTIONS
from .cases import POOL_SIZE, WITHOUT_DEFAULT
from .text import progress

MANY = 1 << 17  # elements that are split over threads
FEW = 1001  # no multiple of a vector's length
SHOWN = 5  # failures of a check that are printed
# Python's own functions where SciPy's are used elsewhere.
ERROR_FUNCTIONS = {"erf": np.vectorize(math.erf), "erfc": np.vectorize(math.erfc)}
ORDINARY = ("float32", "float64")


def _parameters(entry: Entry) -> tuple[float, ...]:
    """What has to be passed: nothing, where there are defaults."""
    if entry.has_defaults:
        return ()
    return (WITHOUT_DEFAULT,) * len(entry.parameters)


def _values(entry: Entry) -> dict[str, float]:
    return {
        p.name: WITHOUT_DEFAULT if p.default is None else p.default
        for p in entry.parameters
    }


def _plain(entry: Entry, expression: str, arrays: dict[str, Any]) -> Any:
    """The catalogue's NumPy expression; it shares nothing with the formulas."""
    with np.errstate(all="ignore"):
        return eval(
            expression, {"np": np, **ERROR_FUNCTIONS, **_values(entry), **arrays}
        )


def _arguments(entry: Entry, count: int, seed: int = 0) -> dict[str, Any]:
    """Numbers where the functions curve, inside the domain; float64."""
    random = np.random.default_rng(seed)
    arrays = {name: 3 * random.standard_normal(count) for name in entry.arrays}
    if isinstance(entry, Activation) and np.isfinite(entry.domain).all():
        arrays = {name: random.uniform(*entry.domain, count) for name in arrays}
    return arrays


def _results(function: Any, *arrays: Any, **keywords: Any) -> tuple[Any, ...]:
    found = function(*arrays, **keywords)
    return found if isinstance(found, tuple) else (found,)


def _differ(found: Any, expected: Any, relative: float, absolute: float) -> str:
    """Where two results are farthest apart, if that is more than is allowed; else ''."""
    found = np.asarray(found, np.float64).ravel()
    expected = np.broadcast_to(np.asarray(expected, np.float64).ravel(), found.shape)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(all="ignore"):
        excess = np.abs(found - expected) / (absolute + relative * np.abs(expected))
    excess = np.where(same, 0.0, np.nan_to_num(excess, nan=np.inf))
    worst = int(np.argmax(excess)) if excess.size else 0
    if not excess.size or excess[worst] <= 1:
        return ""
    return f"{found[worst]:.9g} in place of {expected[worst]:.9g}"


def _same_bits(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether all results are equal to the last bit, NaN like NaN, and so are zeros."""
    return all(
        np.array_equal(a, b, equal_nan=True)
        and np.array_equal(np.signbit(a)[a == a], np.signbit(b)[b == b])
        for a, b in zip(found, expected, strict=True)
    )


# Each check yields what is wrong: nothing, if all is well.
Problems = Iterator[str]


def values_and_gradients() -> Problems:
    """Values and gradients are those of NumPy's expressions."""
    for name, entry in ENTRIES.items():
        arrays = _arguments(entry, FEW)
        gradients = {f"d{r}": np.cos(np.arange(FEW)) for r in entry.results}
        pairs = (
            (name, entry.plain, arrays),
            (f"{name}_backward", entry.plain_backward, gradients | arrays),
        )
        for function, expression, given in pairs:
            expected = _plain(entry, expression, given)
            expected = expected if isinstance(expected, tuple) else (expected,)
            for dtype, tolerance in (("float32", 3e-5), ("float64", 1e-12)):
                cast = [a.astype(dtype) for a in given.values()]
                found = _results(getattr(fa, function), *cast, *_parameters(entry))
                # float32 may have an argument on the other side of a jump.
                far = ~_near_a_kink(entry, arrays, 1e-5)
                for a, b in zip(found, expected, strict=True):
                    b = np.broadcast_to(b, a.shape)
                    wrong = _differ(a[far], b[far], tolerance, tolerance)
                    if wrong:
                        yield f"{function}, {dtype}: {wrong}"


def _kinks(entry: Entry) -> Iterator[tuple[str, float]]:
    """The points where a derivative jumps, each with the array that it is in."""
    for point in entry.kinks:
        array, equals, at = point.partition(" = ")
        if not equals:
            (array,), at = entry.arrays, point
        yield array, float(eval(at, {}, _values(entry)))


def _near_a_kink(entry: Entry, arrays: dict[str, Any], distance: float) -> Any:
    found = np.zeros(FEW, bool)
    for array, kink in _kinks(entry):
        found |= np.abs(arrays[array] - kink) < distance * max(1.0, abs(kink))
    return found


def narrow_types() -> Problems:
    """Smaller types are float64's results, rounded: within the documented bounds."""
    for name, entry in CATALOGUE.items():
        x = _arguments(entry, FEW)["x"]
        for dtype in _core.DTYPES.values():
            if dtype == np.float64:
                continue
            given = x.astype(dtype)
            # as the kernel gets them
            parameters = [float(np.float32(v)) for v in _values(entry).values()]
            for direction in ("forward", "derivative"):
                suffix = "" if direction == "forward" else "_derivative"
                function = getattr(fa, name + suffix)
                found = function(given, *_parameters(entry))
                exact = function(given.astype(np.float64), *parameters)
                wrong = _beyond_bound(
                    found, exact, entry.error_bound(direction, dtype.name)
                )
                if wrong:
                    yield f"{name}{suffix}, {dtype}: {wrong}"


def _beyond_bound(found: Any, exact: Any, bound: float) -> str:
    with np.errstate(all="ignore"):
        rounded = np.abs(exact.astype(found.dtype))
        # the spacing, which the 16-bit types of other packages cannot tell by np.spacing
        unit = (np.nextafter(rounded, found.dtype.type(np.inf)) - rounded).astype(float)
        error = np.abs(found.astype(float) - exact) / unit
    error[(found == exact) | (np.isnan(found) & np.isnan(exact))] = 0
    error[~np.isfinite(rounded) & (found == rounded)] = 0
    worst = int(np.argmax(error))
    # float64 has errors of its own, far below a hundredth of the narrower types' ULP
    if error[worst] <= bound + 0.01:
        return ""
    return f"{float(error[worst]):.2f} ULP off, {bound:g} are promised"


def derivatives() -> Problems:
    """Derivatives are the slopes of the functions."""
    step = 1e-5
    for name, entry in CATALOGUE.items():
        x = _arguments(entry, FEW)["x"]
        low, high = entry.domain
        x = x[(x - 0.01 > low) & (x + 0.01 < high)]
        for _, kink in _kinks(entry):
            x = x[np.abs(x - kink) > 2 * step]
        parameters = _parameters(entry)
        forward = getattr(fa, name)
        quotient = (forward(x + step, *parameters) - forward(x - step, *parameters)) / (
            (x + step) - (x - step)
        )
        y, slope = getattr(fa, f"{name}_with_derivative")(x, *parameters)
        if not _same_bits([y], [forward(x, *parameters)]):
            yield f"{name}_with_derivative returns other values than {name}"
        for member in ("_derivative", "_with_derivative", "_backward"):
            function = getattr(fa, name + member)
            if member == "_backward":
                found = function(np.ones_like(x), x, *parameters)
            else:
                found = _results(function, x, *parameters)[-1]
            wrong = _differ(found, quotient, 1e-5, 1e-5)
            if wrong:
                yield f"{name}{member}: {wrong}"
            elif not _same_bits([found], [slope]):
                yield f"{name}{member} returns another slope than {name}_with_derivative"


def gradients_by_other_ways() -> Problems:
    """Gradients of parameters are slopes, and those from outputs are as from inputs."""
    step = 1e-5
    for name, entry in CATALOGUE.items():
        arrays = _arguments(entry, FEW)
        # Kinks move with the parameters.
        x = arrays["x"][~_near_a_kink(entry, arrays, 3 * step)]
        dy = np.cos(np.arange(len(x)))
        forward, values = getattr(fa, name), list(_values(entry).values())
        y = forward(x, *_parameters(entry))
        expected = [getattr(fa, name + BACKWARD)(dy, x, *_parameters(entry))]
        for member in members(entry):
            function = getattr(fa, name + member)
            if member == BACKWARD_FROM_OUTPUT:
                found = [function(dy, y, *_parameters(entry))]
            elif member == PARAMETER_BACKWARD:
                found = list(function(dy, x, *values))
                for i, value in enumerate(values):
                    low, high = value - step, value + step
                    rise = forward(x, *values[:i], high, *values[i + 1 :])
                    rise -= forward(x, *values[:i], low, *values[i + 1 :])
                    expected.append(np.sum(dy * rise) / (high - low))
            else:
                continue
            for a, b in zip(found, expected, strict=False):
                wrong = _differ(a, b, 1e-5, 1e-5)
                if wrong:
                    yield f"{name}{member}: {wrong}"


def whole_families() -> Problems:
    """All functions are float64's in all types, parameters numbers or arrays."""
    for name, entry in ENTRIES.items():
        arrays = _arguments(entry, FEW)
        for dtype in _core.DTYPES.values():
            x = [a.astype(dtype) for a in arrays.values()]
            y = list(_results(getattr(fa, name), *x, *_parameters(entry)))
            dy = [np.cos(np.arange(FEW)).astype(dtype)] * len(y)
            # as the kernel gets them
            precision = np.float64 if dtype == np.float64 else np.float32
            values = [np.full(FEW, v, precision) for v in _values(entry).values()]
            eps = float(np.nextafter(dtype.type(1), dtype.type(2))) - 1
            for member in members(entry):
                function = getattr(fa, name + member)
                given = y if member == BACKWARD_FROM_OUTPUT else x
                if member.startswith(BACKWARD) or member == PARAMETER_BACKWARD:
                    given = dy + given
                wide = [np.asarray(a, np.float64) for a in (*given, *values)]
                exact = _results(function, *wide)
                forms = [values]
                if entry.has_defaults and member != PARAMETER_BACKWARD:
                    forms.append([])  # kernels of their own
                for parameters in forms:
                    found = _results(function, *given, *parameters)
                    for a, b in zip(found, exact, strict=True):
                        wrong = _differ(a, b, 4 * eps, 4 * eps)
                        if wrong:
                            yield f"{name}{member}, {dtype}: {wrong}"


def special_values() -> Problems:
    """NaN gives NaN, and infinity the limit; no function warns."""
    for name, entry in CATALOGUE.items():
        for dtype in _core.DTYPES.values():
            parameters = _parameters(entry)
            for suffix in ("", "_derivative"):
                function = getattr(fa, name + suffix)
                if not np.isnan(function(dtype.type(np.nan), *parameters)):
                    yield f"{name}{suffix}, {dtype}: NaN does not give NaN"
                if np.isfinite(entry.accurate_up_to):
                    continue  # periodic: it has no limit
                for sign in (1, -1):
                    if not entry.domain[0] <= sign * np.inf <= entry.domain[1]:
                        continue
                    far = float(getattr(fa, name + suffix)(sign * 1e30, *parameters))
                    limit = math.copysign(math.inf, far) if abs(far) > 1e20 else far
                    found = float(function(dtype.type(sign * np.inf), *parameters))
                    eps = 1e-2 if dtype.itemsize == 2 else 1e-6
                    wrong = _differ(found, limit, eps, 1e-20)
                    if wrong:
                        yield f"{name}{suffix}, {dtype} at {sign * np.inf}: {wrong}"


def instruction_sets() -> Problems:
    """All instruction sets of this processor agree."""
    best = _core.instruction_set
    sets = [s for s in _core.available_instruction_sets() if s != best]
    try:
        expected = {key: results for key, results in _everything(FEW)}
        for name in sets:
            fa.lib.fa_select_isa(name.encode())
            for key, results in _everything(FEW):
                # The bits are the same, but for those without FMA instructions.
                if name == "baseline":
                    pairs = zip(results, expected[key], strict=True)
                    wrong = any(_differ(a, b, 1e-6, 1e-30) for a, b in pairs)
                else:
                    wrong = not _same_bits(results, expected[key])
                if wrong:
                    yield f"{key[0]}, {key[1]}: {name} differs from {best}"
    finally:
        fa.lib.fa_select_isa(best.encode())


def _everything(count: int) -> Iterator[tuple[tuple[str, str], tuple[Any, ...]]]:
    """The results of every elementwise function, by name and dtype."""
    for name, entry in ENTRIES.items():
        arrays = list(_arguments(entry, count).values())
        for member in members(entry):
            if member not in ("", "_backward"):
                continue
            dy = [np.cos(np.arange(count))] * len(entry.results)
            given = (dy if member else []) + arrays
            for dtype in ORDINARY:
                cast = [a.astype(dtype) for a in given]
                function = getattr(fa, name + member)
                yield (
                    (name + member, dtype),
                    _results(function, *cast, *_parameters(entry)),
                )


def threads() -> Problems:
    """One thread and all of them give the same bits."""
    for name, entry in ENTRIES.items():
        given = [a.astype(np.float32) for a in _arguments(entry, MANY).values()]
        function, parameters = getattr(fa, name), _parameters(entry)
        with fa.num_threads(1):
            alone = _results(function, *given, *parameters)
        with fa.num_threads(max(2, fa.get_num_threads())):
            together = _results(function, *given, *parameters)
        if not _same_bits(together, alone):
            yield f"{name}: several threads differ from one"


def arrays_of_all_kinds() -> Problems:
    """Strides, out=, where= and memory that overlaps make no difference."""
    for name, entry in ENTRIES.items():
        function, parameters = getattr(fa, name), _parameters(entry)
        for dtype in _core.DTYPES.values():
            given = [a.astype(dtype) for a in _arguments(entry, 2 * FEW).values()]
            whole = _results(function, *given, *parameters)
            some = [a[::-2] for a in given]
            found = _results(function, *some, *parameters)
            if not _same_bits(found, [result[::-2] for result in whole]):
                yield f"{name}, {dtype}: every second element, backwards, differs"
            where = np.arange(2 * FEW) % 3 == 0
            out = tuple(np.full(2 * FEW, 7, dtype) for _ in whole)
            function(*given, *parameters, out=out, where=where)
            expected = [np.where(where, result, dtype.type(7)) for result in whole]
            if not _same_bits(out, expected):
                yield f"{name}, {dtype}: out= and where= differ"
            own, *others = (a.copy() for a in given)
            out = (own, *(np.empty_like(own) for _ in whole[1:]))
            function(own, *others, *parameters, out=out)
            if not _same_bits(out, whole):
                yield f"{name}, {dtype}: writing over the input differs"


def packed_gates() -> Problems:
    """Packed gates and crelu are the functions of the halves, to the last bit."""
    for name, entry in ENTRIES.items():
        if not isinstance(entry, Fused) or entry.packed_gate is None:
            continue
        arrays = [a.reshape(7, -1) for a in _arguments(entry, FEW).values()]
        for dtype in _core.DTYPES.values():
            dy = np.cos(np.arange(FEW)).reshape(7, -1).astype(dtype)
            gate, value = (a.astype(dtype) for a in arrays)
            y = getattr(fa, name)(gate, value)
            gradients = getattr(fa, name + BACKWARD)(dy, gate, value)
            for how in itertools.product((0, 1), ("first", "second"), (False, True)):
                x, dx = _packed([gate, value], *how), _packed(gradients, *how)
                if not _same_bits([getattr(fa, f"{name}_packed")(x, *how)], [y]):
                    yield f"{name}_packed{how}, {dtype}: {name} differs"
                found = getattr(fa, f"{name}_packed_backward")(dy, x, *how)
                if not _same_bits([found], [dx]):
                    yield f"{name}_packed_backward{how}, {dtype}: {name}_backward differs"
    x = np.cos(np.arange(FEW)).reshape(7, -1)
    for dtype in _core.DTYPES.values():
        for axis in (0, 1):
            cast = x.astype(dtype)
            halves = fa.relu(cast), fa.relu(-cast)
            if not _same_bits([fa.crelu(cast, axis)], [np.concatenate(halves, axis)]):
                yield f"crelu, {dtype}, axis {axis}: relu differs"
            dy = _packed(halves, axis, "first", False)
            if not np.array_equal(fa.crelu_backward(dy, cast, axis), cast):
                yield f"crelu_backward, {dtype}, axis {axis}: the parts of x differ"


def _rounded(values: Any, dtype: np.dtype[Any]) -> Any:
    with np.errstate(under="ignore"):  # of our own conversion
        return values.astype(dtype)


def _packed(parts: Sequence[Any], axis: int, gate: str, interleaved: bool) -> Any:
    """Gate and value in one array."""
    parts = parts if gate == "first" else parts[::-1]
    if not interleaved:
        return np.concatenate(parts, axis)
    both = np.stack(parts, axis + 1)
    shape = list(parts[0].shape)
    shape[axis] *= 2
    return both.reshape(shape)


def along_an_axis() -> Problems:
    """softmax and its like, and their gradients, are those of NumPy's expressions."""
    random = np.random.default_rng(1)
    x = random.standard_normal((7, 30))
    selections = {"all": np.full(30, True), "some": np.arange(30) % 3 > 0}
    for name, facts in ROW_FUNCTIONS.items():
        for dtype in _core.DTYPES.values():
            for selection, included in selections.items():
                if facts.pools and selection == "some":
                    continue
                for axis in (1, 0):
                    found = _row_problems(name, x.astype(dtype), included, axis)
                    yield from (
                        f"{function}, {dtype}, {selection} elements along axis {axis}: "
                        f"{wrong}"
                        for function, wrong in found
                    )
    targets = random.integers(0, 30, 7)
    wrong = _differ(
        fa.softmax_cross_entropy(x, targets),
        plain.softmax_cross_entropy(x, targets),
        1e-12,
        1e-12,
    )
    if wrong:
        yield f"softmax_cross_entropy: {wrong}"


def _row_problems(
    name: str, x: Any, included: Any, axis: int
) -> Iterator[tuple[str, str]]:
    """What is wrong with the functions of a family on the rows of x, which lie along axis.

    Where something is excluded they are those of rows without it, and get a scale too.
    """
    facts, dtype = ROW_FUNCTIONS[name], x.dtype
    extra: tuple[Any, ...] = (POOL_SIZE,) if facts.pools else ()
    keywords: dict[str, Any] = {}
    scale = 1.0
    if not included.all():
        scale = 0.5
        where = included if axis else included[:, np.newaxis]
        keywords = {"where": where, "scale": scale}
    rows = scale * x[:, included].astype(np.float64)
    y = plain.get(name)(rows, *extra)
    dy = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    dx = scale * plain.get(name + BACKWARD)(dy.astype(np.float64), rows, *extra)

    def whole(part: Any, excluded: float) -> Any:
        """Rows with the excluded elements, as the function gets them or gives them."""
        if part.shape == rows.shape:
            array = np.full((len(part), included.size), excluded, part.dtype)
            array[:, included] = part
            part = array
        return part if axis else np.ascontiguousarray(part.T)

    eps = float(np.nextafter(dtype.type(1), dtype.type(2))) - 1
    tolerance = {8: 1e-12, 4: 3e-5}.get(dtype.itemsize, 4 * eps)
    value, gradient = whole(y, facts.excluded_value), whole(dx, 0)
    dy = whole(dy, 7)
    x = x if axis else np.ascontiguousarray(x.T)
    for member in facts.members:
        given = {
            FORWARD: (x,),
            BACKWARD: (dy, x),
            BACKWARD_FROM_OUTPUT: (dy, _rounded(value, dtype)),
        }[member]
        found = getattr(fa, name + member)(*given, *extra, axis=axis, **keywords)
        expected = gradient if member else value
        largest = float(np.max(np.abs(expected[np.isfinite(expected)])))
        wrong = _differ(found, expected, tolerance, tolerance * largest or 1e-300)
        if wrong:
            yield name + member, wrong


def numba_kernels() -> Problems:
    """A kernel that Numba compiles gives the bits of C's."""
    x = (3 * np.random.default_rng(2).standard_normal(FEW)).astype(np.float32)
    expected = fa.gelu(x)
    with fa.backend("numba"):
        if not _same_bits([fa.gelu(x)], [expected]):
            yield "gelu, float32: Numba differs from C"


CHECKS: tuple[Callable[[], Problems], ...] = (
    values_and_gradients,
    derivatives,
    gradients_by_other_ways,
    narrow_types,
    whole_families,
    special_values,
    instruction_sets,
    threads,
    arrays_of_all_kinds,
    packed_gates,
    along_an_axis,
    numba_kernels,
)


def why_skipped(check: Callable[[], Problems]) -> str:
    """Why a check does not concern this installation; '' if it does."""
    available = _core.available_instruction_sets()
    if check is instruction_sets and len(available) == 1:
        return f"there is only {available[0]}"
    if check is numba_kernels:
        if importlib.util.find_spec("numba") is None:
            return "Numba is not installed"
        if available == ("baseline",):
            return "this processor has no FMA instructions"
    return ""


def run(checks: Sequence[Callable[[], Problems]] = CHECKS) -> bool:
    """Run checks, print a line for each, and return whether all is well."""
    start = time.perf_counter()
    failed = 0
    with progress(len(checks)) as step:
        lines = []
        for check in checks:
            title = (check.__doc__ or "").rstrip(".")
            step(title)
            skipped = why_skipped(check)
            # NumPy's floating-point warnings would be ours: they are failures.
            problems: list[str] = []
            if not skipped:
                try:
                    # C, whatever FASTACT_BACKEND says: Numba would compile everything.
                    with fa.backend("c"), np.errstate(all="raise"):
                        problems = list(check())
                except Exception as error:
                    problems = [f"{type(error).__name__}: {error}"]
            failed += bool(problems)
            word = "FAILED" if problems else "skipped" if skipped else "ok"
            lines.append(f"{word:8}{title}" + (f" ({skipped})" if skipped else ""))
            lines += [f"        - {problem}" for problem in problems[:SHOWN]]
            if len(problems) > SHOWN:
                lines.append(f"        - and {len(problems) - SHOWN} more")
    print("\n".join(lines))
    seconds = time.perf_counter() - start
    verdict = f"{failed} of {len(checks)} checks FAILED" if failed else "All is well"
    print(f"\n{verdict} ({seconds:.1f} s).")
    return not failed
