"""The accuracy check is checked: wrong kernels are caught, right ones are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cffi import FFI

from accuracy import __main__ as command
from accuracy import checker, results, sweep
from accuracy.checker import Tally
from accuracy.sweep import PATTERNS, Kernel, Subject, Unit, check_patterns
from fastact.checking.truth import bit_uniform, interesting_points, truth, ulp_error
from fastact.formulas import elementary
from fastact.formulas.kernels import ENTRIES
from fastact.formulas.kernels import Kernel as CompiledKernel
from fastact.formulas.language import FLOAT32
from fastact.formulas.translate import CPrinter

ROOT = checker.HERE.parent
EXP, GELU_SLOPE = Subject("exp", "forward"), Subject("gelu", "derivative")
GELU_SLOPE_ROOT = np.float32(-0.75179)


# ------------------------------------------------------------------- counting errors


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("direction", checker.DIRECTIONS)
def test_errors_are_those_of_the_tests(dtype: str, direction: Any) -> None:
    """Against `ulp_error` with mpmath's truth: right results, wrong ones, overflow."""
    kind = sweep.DTYPES.get(dtype)
    if kind is None:
        pytest.skip(f"{dtype} needs ml_dtypes")
    points = np.concatenate([bit_uniform(kind, 2000, seed=5), interesting_points(kind)])
    exact = truth("exp", direction, kind, points, cache=None)
    random = np.random.default_rng(6)
    with np.errstate(all="ignore"):
        result = exact.rounded() * (1 + 1e-6 * random.standard_normal(points.size))
        some = slice(None, None, 7)
        wrong = [0.0, 1.0, np.inf, -np.inf, np.nan]
        result[some] = random.choice(wrong, result[some].size)
        result = result.astype(kind)
    expected = ulp_error(result, exact, kind)
    found = checker.ulp_errors(result, _exp(points), kind)
    # Just below 1 a double is 1, and its ULP is twice as large as the truth's; beyond
    # a double's range a finite result is infinitely wrong.
    expected = np.where(_exp(points) == 1, found, expected)
    expected[np.isinf(_exp(points)) & np.isfinite(result)] = np.inf
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2**-9)
    assert np.mean(_exp(points) == 1) < 0.5


def _exp(x: Any) -> Any:
    return checker.reference("exp", "forward", x.astype(np.float64))


def test_special_results() -> None:
    largest, beyond = 2.0**128 - 2.0**104, 2.0**128 - 2.0**103
    nan, inf = np.nan, np.inf
    for result, exact, error in [
        (nan, nan, 0),
        (0, nan, inf),
        (inf, nan, inf),
        (nan, 0, inf),
        (nan, inf, inf),
        (inf, inf, 0),
        (-inf, inf, inf),
        (largest, inf, inf),
        (inf, 1e300, 0),
        (inf, beyond, 0),
        (-inf, beyond, inf),
        (inf, np.nextafter(beyond, 0), inf),
        (largest, beyond, 0.5),
        (2.0**-149, 0, 1),
        (0, 2.0**-150, 0.5),
        (1 + 2.0**-23, 1, 1),
        (1 - 2.0**-24, 1, 0.5),
    ]:
        arrays = np.array([result], np.float32), np.array([exact], np.float64)
        assert checker.ulp_errors(*arrays, np.float32)[0] == error, (result, exact)


def test_float64_has_no_reference_in_float64() -> None:
    with pytest.raises(ValueError, match="no truth for float64"):
        checker.ulp_errors(np.zeros(1), np.zeros(1), np.float64)


def _random_results() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(1)
    x = random.standard_normal(30_001).astype(np.float32)
    exact = _exp(x)
    return x, (exact * (1 + 1e-7 * random.standard_normal(x.size))).astype("f"), exact


def test_a_tally_is_what_numpy_counts() -> None:
    x, result, exact = _random_results()
    errors = checker.ulp_errors(result, exact, np.float32)
    found = checker.tally(x, result, exact, np.float32)
    assert (found.count, found.maximum) == (x.size, errors.max())
    assert found.where == x[np.argmax(errors)]
    assert found.mean == pytest.approx(errors.mean())
    assert found.share_correct == np.mean(result == exact.astype(np.float32))
    assert found.histogram.sum() == x.size
    for percent in (50, 99.9):
        upper = found.percentile(percent)
        assert np.mean(errors <= upper) >= percent / 100
        assert upper == pytest.approx(np.percentile(errors, percent), rel=0.05)
    assert found.percentile(100) == found.maximum


def test_merged_tallies_are_one_tally() -> None:
    x, result, exact = _random_results()
    whole, parts = checker.tally(x, result, exact, np.float32), Tally()
    of_errors = Tally()
    for some in (slice(0, 7), slice(7, 7), slice(7, 20_000), slice(20_000, None)):
        parts.merge(checker.tally(x[some], result[some], exact[some], np.float32))
        errors = checker.ulp_errors(result[some], exact[some], np.float32)
        of_errors.add_errors(x[some], errors)
    for found in (parts, of_errors, Tally.from_json(whole.as_json())):
        assert found.total == pytest.approx(whole.total)
        assert vars(found) | {"histogram": 0, "total": 0} == vars(whole) | {
            "histogram": 0,
            "total": 0,
        }
        np.testing.assert_array_equal(found.histogram, whole.histogram)


# --------------------------------------------------------------------- wrong kernels


def _compiled(name: str, folder: Path) -> Kernel:
    """The forward kernel of a formula as it stands now, float32, in a plain loop."""
    kernel = CompiledKernel(ENTRIES[name], "", with_defaults=False)
    _, (output,) = kernel.record(FLOAT32)
    printer = CPrinter(FLOAT32)
    body = "\n".join(printer.statements([output]))
    text = f"""#include "primitives.h"
void kernel(size_t n, const float *a_x, float *a_y)
{{
    for (size_t i = 0; i < n; i++) {{
        const float x = a_x[i];
        {body}
        a_y[i] = {printer.name(output)};
    }}
}}
"""
    source = folder / "formula.c"
    source.write_text(text)
    library = checker.build([source], [source], [*checker.FLAGS, f"-I{ROOT / 'csrc'}"])
    ffi = FFI()
    ffi.cdef("void kernel(size_t n, const float *x, float *y);")
    function = ffi.dlopen(str(library)).kernel

    def run(x: Any, out: Any) -> None:
        buffers = (ffi.from_buffer("float[]", array) for array in (x, out))
        function(x.size, *buffers)

    return run


def _allowed(subject: Subject) -> float:
    ratchet = results.read_ratchet()[Unit(subject, "float32").row]
    return float(ratchet["maximum"]) + results.SLACK


def test_the_right_formula_passes(tmp_path: Path) -> None:
    found = sweep.check_sample(EXP, _compiled("exp", tmp_path))
    assert found.maximum <= _allowed(EXP)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_coefficient_that_is_off_in_its_last_digits_is_caught(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: int
) -> None:
    coefficients = list(elementary.EXP_FLOAT32)
    # the seventh digit; the higher the power, the smaller the part of the result
    change = 1 + 10.0 ** (index - 6)
    coefficients[index] = repr(float(coefficients[index]) * change)
    monkeypatch.setattr(elementary, "EXP_FLOAT32", tuple(coefficients))
    found = sweep.check_sample(EXP, _compiled("exp", tmp_path))
    assert found.maximum > _allowed(EXP)


def _spoilt(subject: Subject, where: Any, wrong: Callable[[Any], Any]) -> Kernel:
    """fastact's kernel, with the result at one pattern made wrong."""
    kernel = subject.kernel()
    pattern = np.float32(where).view(np.uint32)

    def run(x: Any, out: Any) -> None:
        kernel(x, out)
        at = x.view(np.uint32) == pattern
        out[at] = wrong(out[at])

    return run


WRONG = {
    "one NaN swallowed": (EXP, np.uint32(0x7FC0BEEF).view("f"), np.zeros_like),
    "one signalling NaN swallowed": (
        EXP,
        np.uint32(0xFF800001).view("f"),
        np.zeros_like,
    ),
    "one NaN made": (EXP, np.float32(1.5), lambda y: np.full_like(y, np.nan)),
    "one subnormal flushed": (EXP, np.float32(-88.0), np.zeros_like),
    "the smallest subnormal flushed": (EXP, np.float32(-103.0), np.zeros_like),
    "wrong rounding near a root": (
        GELU_SLOPE,
        GELU_SLOPE_ROOT,
        lambda y: y * np.float32(1 + 3 * 2.0**-22),
    ),
    "one infinity missed": (
        EXP,
        np.float32(np.inf),
        lambda y: np.full_like(y, 3e38),
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_one_wrong_result_is_caught(mistake: str) -> None:
    subject, where, wrong = WRONG[mistake]
    middle = int(where.view(np.uint32))
    first, count = middle - (1 << 15), 1 << 16
    right = check_patterns(subject, subject.kernel(), first, count)
    assert right.maximum <= _allowed(subject)
    found = check_patterns(subject, _spoilt(subject, where, wrong), first, count)
    assert found.maximum > _allowed(subject)
    assert found.where is not None
    np.testing.assert_equal(np.float32(found.where), where)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_one_wrong_result_of_16_bits_is_caught(dtype: str) -> None:
    kind = sweep.DTYPES.get(dtype)
    if kind is None:
        pytest.skip(f"{dtype} needs ml_dtypes")
    kernel = EXP.kernel()

    def run(x: Any, out: Any) -> None:
        kernel(x, out)
        bits = out.view(np.uint16)
        bits[x.view(np.uint16) == kind.type(-1.5).view(np.uint16)] += np.uint16(1)

    assert sweep.check_16_bits(EXP, kernel, kind).maximum < 0.51
    found = sweep.check_16_bits(EXP, run, kind)
    assert found.maximum > 0.51
    assert found.where == -1.5


def test_one_wrong_float64_is_caught() -> None:
    kernel, points = EXP.kernel(), np.linspace(-750, 720, 99)

    def run(x: Any, out: Any) -> None:
        kernel(x, out)
        out[7] *= 1 + 2.0**-50

    assert sweep.check_float64(EXP, kernel, points).maximum < 2
    found = sweep.check_float64(EXP, run, points)
    assert (found.maximum > 2, found.where) == (True, points[7])


# ------------------------------------------------------------------------- the sweep


def test_units_cover_all_inputs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = []

    def record(_: Subject, __: Kernel, first: int, count: int) -> Tally:
        ranges.append((first, first + count))
        return Tally()

    monkeypatch.setattr(sweep, "check_patterns", record)
    for unit in sweep.units(["tanh"], ["forward"], ["float32"]):
        unit.run()
    ends = [0, *(end for _, end in ranges)]
    assert [first for first, _ in ranges] == ends[:-1]
    assert ends[-1] == PATTERNS


def test_a_sweep_that_was_killed_continues(tmp_path: Path) -> None:
    work = sweep.units(["relu", "hardtanh"], ["forward"], ["float16"])
    file = tmp_path / "progress.jsonl"
    whole = {unit: tally.as_json() for unit, tally, _ in sweep.run(work, file, 1)}
    lines = [line for line in file.read_text().splitlines() if line]
    assert len(lines) == len(whole) == len(work) > 2
    # killed after one unit, in the middle of writing the second
    file.write_text(f"{lines[0]}\n{lines[1][:40]}")
    again = list(sweep.run(work, file, 1))
    assert [computed for *_, computed in again] == [False] + [True] * (len(work) - 1)
    assert {unit: tally.as_json() for unit, tally, _ in again} == whole
    assert not any(computed for *_, computed in sweep.run(work, file, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gleu"], "no function 'gleu': did you mean gelu?"),
        (["--dtypes", "float31"], "no dtype 'float31': did you mean float32?"),
        (["--directions", "x"], "no direction 'x': there are forward, derivative"),
    ],
)
def test_what_is_unknown_is_said(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_the_command_checks_what_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "PROGRESS", tmp_path / "progress.jsonl")
    monkeypatch.setattr(command, "TABLE", tmp_path / "results" / "accuracy.md")
    asked = ["tanh", "--dtypes", "float16", "--directions", "derivative"]
    assert command.main(asked) == 0
    text = (tmp_path / "results" / "accuracy.md").read_text()
    assert text in capsys.readouterr().out
    assert "| tanh " in text
    ratchet = {"tanh derivative float16": {"maximum": 0.4, "cases": []}}
    monkeypatch.setattr(results, "read_ratchet", lambda: ratchet)
    assert command.main(asked) == 1
    assert "Has grown: tanh derivative float16" in capsys.readouterr().err
