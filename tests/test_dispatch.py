"""Instruction sets: which is chosen, that all give one result, that kernels use vectors."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from calls import DTYPES, Call, assert_same_bits

import fastact as fa
from fastact import _core
from fastact.checking.truth import bit_uniform

ROOT = Path(__file__).resolve().parent.parent
AVAILABLE = _core.available_instruction_sets()
# Best first; what a machine of this kind may have.
KNOWN = {
    "x86_64": ("avx512", "avx2", "baseline"),
    "aarch64": ("neon", "baseline"),
}.get(platform.machine(), ("baseline",))
# What a kernel of an instruction set may use, as /proc/cpuinfo names it.
FLAGS = {
    "avx512": {"avx2", "fma", "f16c", "avx512f", "avx512dq", "avx512bw", "avx512vl"},
    "avx2": {"avx2", "fma", "f16c"},
    "baseline": set(),
}
# The bytes of a vector register.
WIDTHS = {"avx2": 32, "avx512": 64, "neon": 16}


# ---------------------------------------------------------------------- the choice


def _python(code: str, isa: str | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "FASTACT_ISA"}
    if isa is not None:
        environment["FASTACT_ISA"] = isa
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


IN_USE = """
import fastact as fa
config = fa.show_config(mode="dicts")
print(fa.ffi.string(fa.ffi.cast("char *", fa.lib.fa_available_isa(0))).decode())
print(config["instruction set"])
print(*config["available"])
"""


def test_the_best_available_is_chosen_by_default() -> None:
    answer = _python(IN_USE, None)
    assert answer.returncode == 0, answer.stderr
    best, chosen, available = answer.stdout.splitlines()
    assert chosen == best == AVAILABLE[0]
    assert tuple(available.split()) == AVAILABLE


@pytest.mark.parametrize("isa", AVAILABLE)
def test_the_environment_forces_any_available_one(isa: str) -> None:
    answer = _python(IN_USE, isa)
    assert answer.returncode == 0, answer.stderr
    _, chosen, available = answer.stdout.splitlines()
    assert chosen == isa
    assert tuple(available.split()) == AVAILABLE, "forcing one hides no other"


@pytest.mark.parametrize(
    "isa", ["avx1024", "", "AVX2", *sorted({"neon", "avx512"} - {*AVAILABLE})]
)
def test_an_impossible_one_is_an_import_error_that_names_the_allowed(isa: str) -> None:
    answer = _python("import fastact", isa)
    assert answer.returncode != 0
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("ImportError")
    assert f"FASTACT_ISA={isa!r}" in last
    for name in AVAILABLE:
        assert name in last


def test_show_config_tells_the_one_in_use_and_those_available(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = fa.show_config(mode="dicts")
    assert config is not None
    assert config["available"] == list(AVAILABLE)
    assert config["instruction set"] == _core.instruction_set
    assert fa.show_config() is None
    printed = capsys.readouterr().out
    for name in AVAILABLE:
        assert name in printed


def test_available_ones_come_best_first_and_end_with_baseline() -> None:
    assert tuple(name for name in KNOWN if name in AVAILABLE) == AVAILABLE
    assert AVAILABLE[-1] == "baseline"


@pytest.mark.skipif(
    not (sys.platform == "linux" and platform.machine() == "x86_64"),
    reason="asks Linux for the flags of an x86-64 processor",
)
def test_available_ones_are_what_the_operating_system_reports() -> None:
    # The kernel lists a flag only if it saves the registers that go with it.
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
            break
    else:
        pytest.skip("/proc/cpuinfo names no flags")
    assert tuple(name for name in KNOWN if FLAGS[name] <= flags) == AVAILABLE


# ---------------------------------------------------------------------- one result


@pytest.fixture
def select() -> Iterator[Any]:
    """Switches the kernels of this process; the choice of the import comes back."""

    def choose(isa: str) -> None:
        if isa not in KNOWN:
            pytest.skip(f"{platform.machine()} has no {isa}")
        if isa not in AVAILABLE:
            pytest.skip(f"this processor lacks {isa}")
        assert fa.lib.fa_select_isa(isa.encode()) == 0

    yield choose
    assert fa.lib.fa_select_isa(_core.instruction_set.encode()) == 0


def _inputs(call: Call, dtype: Any) -> tuple[Any, ...]:
    """Points of every magnitude, ordinary ones, infinities and NaN."""
    ordinary, *_ = call.operands(dtype, 4_000, seed=3)
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype)
    x = np.concatenate([bit_uniform(dtype, 20_000, seed=7), ordinary, special])
    random = np.random.default_rng(5)
    return (*(random.permutation(x) for _ in range(call.array_count - 1)), x)


def _on(select: Any, isa: str, call: Call, dtype: Any) -> tuple[Any, ...]:
    with fa.num_threads(1):
        select(isa)
        return call.results(*_inputs(call, dtype))


@pytest.fixture
def c_call(call: Call) -> Call:
    """Instruction sets are those of the C kernels; Numba has its own."""
    if fa.get_backend() != "c":
        pytest.skip("Numba compiles for the processor it runs on")
    return call


def test_a_choice_that_is_not_there_changes_nothing() -> None:
    before = fa.lib.fa_kernels[0].c
    assert fa.lib.fa_select_isa(b"avx1024") == -1
    for name in {"avx512", "avx2", "neon"} - {*AVAILABLE}:
        assert fa.lib.fa_select_isa(name.encode()) == -1
    assert fa.lib.fa_kernels[0].c == before


def test_every_instruction_set_has_kernels_of_its_own(select: Any) -> None:
    for i in range(fa.lib.fa_kernel_count):
        addresses = set()
        for isa in AVAILABLE:
            select(isa)
            addresses.add(_core.address(fa.lib.fa_kernels[i].c))
        assert len(addresses) == len(AVAILABLE), fa.ffi.string(
            fa.lib.fa_kernels[i].name
        )


def test_avx2_and_avx512_give_the_same_bits(c_call: Call, select: Any) -> None:
    for dtype in DTYPES:  # float16 tells of the conversions too
        expected = _on(select, "avx2", c_call, dtype)
        assert_same_bits(_on(select, "avx512", c_call, dtype), expected, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_has_the_same_bits(dtype: Any, select: Any) -> None:
    random = np.random.default_rng(0)
    for shape in ((300, 10), (300, 100), (40, 1000)):
        logits = (4 * random.standard_normal(shape)).astype(dtype)
        labels = random.integers(0, shape[1], shape[0])
        found = []
        for isa in ("avx2", "avx512"):
            select(isa)
            every = fa.softmax_cross_entropy(logits, labels, reduction="none")
            gradient = fa.softmax_cross_entropy_backward(1.0, logits, labels)
            found.append((fa.softmax_cross_entropy(logits, labels), every, gradient))
        assert_same_bits(found[1], found[0], shape)


def test_baseline_gives_the_same_bits_in_float64(c_call: Call, select: Any) -> None:
    """Without FMA instructions, fma() of the C library: slow, and exact."""
    expected = _on(select, AVAILABLE[0], c_call, np.float64)
    assert_same_bits(_on(select, "baseline", c_call, np.float64), expected)


@pytest.mark.parametrize("isa", KNOWN)
def test_16_bit_results_are_rounded_to_nearest_even(isa: str, select: Any) -> None:
    select(isa)
    upper, lower = np.meshgrid(
        np.arange(2**16, dtype=np.uint32) << 16,
        # Around the ties of both types, and the tie with another last bit.
        np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF]),
    )
    exact = (upper | lower.astype(np.uint32)).view(np.float32).ravel()
    short_runs = np.arange(exact.size) % 16 < 15  # that fill no vector
    with np.errstate(all="ignore"):
        for dtype in DTYPES:
            if np.dtype(dtype).itemsize == 2:
                rounded = exact.astype(dtype)
                minus_one = np.full(exact.shape, -1, dtype)
                # leaky_relu(-1, slope) is -slope, computed in float32
                assert_same_bits(fa.leaky_relu(minus_one, -exact), rounded)
                out = np.zeros_like(rounded)
                fa.leaky_relu(minus_one, -exact, out=out, where=short_runs)
                assert_same_bits(out[short_runs], rounded[short_runs])


@pytest.mark.parametrize("isa", KNOWN)
def test_bfloat16_that_passes_in_pairs_is_rounded_the_same(
    isa: str, select: Any
) -> None:
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    select(isa)
    sizes = np.arange(0x8000, 0x10000, dtype=np.uint16).view(dtype)  # -0 to NaN
    with np.errstate(all="ignore"):
        for slope in np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 / 3, 2.0**-120]):
            exact = np.float32(sizes) * slope  # with ties, and subnormal numbers
            for n in (sizes.size, 1001, 1):
                assert_same_bits(
                    fa.leaky_relu(sizes[-n:], slope), exact[-n:].astype(dtype)
                )


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF8000])
def test_a_nan_parameter_of_any_bits_stays_nan_in_bfloat16(bits: int) -> None:
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    nan = np.array(bits, np.uint32).view(np.float32)
    x = np.full(100, -1, dtype)
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.float32(fa.leaky_relu(x, nan))).all()
        assert np.isnan(np.float32(fa.threshold(x, 0.0, nan))).all()


def test_baseline_is_within_two_ulp_in_float32(c_call: Call, select: Any) -> None:
    """It rounds an fma through double, which is one ULP off where that meets a tie."""
    expected = _on(select, AVAILABLE[0], c_call, np.float32)
    found = _on(select, "baseline", c_call, np.float32)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(e))
        finite = np.isfinite(e)
        np.testing.assert_array_equal(a[~finite], e[~finite])
        a, e = a[finite], e[finite]
        unit = np.spacing(np.maximum(np.abs(a), np.abs(e)))
        distance = np.abs(a.astype(np.float64) - e) / unit
        assert distance.max() <= 2
        assert np.mean(distance > 0) < 0.03, "ties are rare"


# ------------------------------------------------------------------------- vectors


def _build_description() -> ModuleType:
    """csrc/build_cffi.py; importing it brings build/generated up to date."""
    if not (ROOT / "fastact").is_dir():
        pytest.skip("needs the package's source")
    path = ROOT / "csrc" / "build_cffi.py"
    spec = importlib.util.spec_from_file_location("fastact_build_description", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _gcc() -> list[str]:
    """The compiler that builds the package, if it is gcc."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    compiler = shlex.split(command)[:1]
    if shutil.which(compiler[0]) is None:
        compiler = ["cc"]
    if shutil.which(compiler[0]) is None:
        pytest.skip("has no C compiler")
    macros = subprocess.run(
        [*compiler, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True
    ).stdout
    if "__GNUC__" not in macros or "__clang__" in macros:
        pytest.skip("only gcc reports vectorised loops in this form")
    return compiler


def _inner_loops(source: str) -> dict[str, list[int]]:
    """The lines of the loops over a block, one for each step, for every kernel."""
    loops: dict[str, list[int]] = {}
    kernel = None
    for number, line in enumerate(source.splitlines(), start=1):
        if head := re.match(r"(\w+_f(?:16|32|64))_blocks\(", line):
            kernel = head[1]
        elif line == "}":
            kernel = None
        elif kernel is not None and re.match(r"\s+for \(int i = 0;", line):
            loops.setdefault(kernel, []).append(number)
    return loops


def _vectorised_lines(report: str, file: str, width: int) -> set[int]:
    """Lines of a file whose loop became one over full-width vectors."""
    pattern = (
        rf"{re.escape(file)}:(\d+):\d+: optimized:\s+"
        rf"loop vectorized using {width} byte vectors"
    )
    return {int(line) for line in re.findall(pattern, report)}


@pytest.mark.parametrize("isa", [name for name in KNOWN if name in WIDTHS])
def test_the_compiler_vectorises_every_kernel(isa: str, tmp_path: Path) -> None:
    """Over whole registers; a kernel it leaves scalar is 7 times slower, and right."""
    compiler = _gcc()
    description = _build_description()
    # The build may have one file in several copies: look at what is compiled here.
    source = (description.GENERATED / "kernels.inc").read_text()
    (tmp_path / "generated").mkdir()
    for name in ("kernels.inc", "rows.inc"):
        text = (description.GENERATED / name).read_text()
        (tmp_path / "generated" / name).write_text(text)
    report = tmp_path / "report.txt"
    report.touch()  # gcc writes none if it vectorises nothing
    command = [
        *compiler,
        *description.compile_flags(),
        "-fPIC",
        # Of functions with the same body (silu, swish at its default) gcc would keep and
        # report one.
        "-fno-ipa-icf",
        f"-fopt-info-vec-optimized={report}",
        f"-I{ROOT / 'csrc'}",
        f"-I{tmp_path}",
        "-c",
        str(ROOT / "csrc" / "isa" / f"{isa}.c"),
        "-o",
        str(tmp_path / f"{isa}.o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loops = _inner_loops(source)
    # Not fewer loops than kernels: a change of the generated source must not pass.
    assert len(loops) == fa.lib.fa_kernel_count
    vectorised = _vectorised_lines(report.read_text(), "kernels.inc", WIDTHS[isa])
    scalar = [
        kernel for kernel, lines in loops.items() if not vectorised.issuperset(lines)
    ]
    assert not scalar, f"not vectorised with {WIDTHS[isa]} bytes on {isa}: {scalar}"
    conversions = (ROOT / "csrc" / "conversions.h").read_text().splitlines()
    loops = {i + 2 for i, line in enumerate(conversions) if "FA_INDEPENDENT" in line}
    assert len(loops) == 4, "bfloat16 to float32 and back, in order and in pairs"
    vectorised = _vectorised_lines(report.read_text(), "conversions.h", WIDTHS[isa])
    assert loops <= vectorised
