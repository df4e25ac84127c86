"""An activation stands in one place: all else follows from its entry."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from calls import ENTRIES, members

import fastact as fa

ROOT = Path(__file__).resolve().parent.parent

# What a newcomer adds: this to fastact/formulas/activations/self_gated.py ...
ENTRY = '''

@activation(
    formula="x / (1 + x^2)",
    source="",
    plain="x / (1 + x * x)",
    plain_backward="dy * (1 - x * x) / (1 + x * x) ** 2",
    aliases=("witch",),
)
def serpentine(x: Value) -> Value:
    """Newton's serpentine."""
    return x / (1.0 + x * x)


@serpentine.derivative
def serpentine_derivative(x: Value) -> Value:
    q = 1.0 + x * x
    return (1.0 - x) / q * ((1.0 + x) / q)
'''
# ... and this to fastact/checking/reference.py.
REFERENCE = '        "serpentine": lambda x: x / (1 + x * x),\n'

CHECK = r"""
import inspect
import sys
from pathlib import Path

import numpy as np
from mpmath import mp

import fastact as fa

root = Path.cwd()
assert Path(fa.__file__).parent == root / "fastact", fa.__file__
assert isinstance(fa.serpentine, np.ufunc)
assert fa.witch is fa.serpentine
assert fa.serpentine.derivative is fa.serpentine_derivative
assert fa.serpentine.backward is fa.serpentine_backward
assert fa.serpentine.with_derivative is fa.serpentine_with_derivative
for name in ("serpentine", "serpentine_backward"):
    assert name in fa.__all__
    assert hasattr(fa.ufuncs, name)
    assert list(inspect.signature(getattr(fa, name)).parameters)

points = np.concatenate([np.linspace(-9, 9, 401), [1e-9, 1e5]])
for dtype, lib in ((np.float16, None), (np.float32, "f32"), (np.float64, "f64")):
    x = points[np.abs(points) < 1e4].astype(dtype)
    y, slope = fa.serpentine_with_derivative(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(fa.serpentine(x), y)
    np.testing.assert_array_equal(fa.serpentine_derivative(x), slope)
    np.testing.assert_array_equal(fa.serpentine_backward(np.ones_like(x), x), slope)
    with mp.workprec(200):
        f = lambda v: mp.mpf(v) / (1 + mp.mpf(v) ** 2)
        step = mp.mpf(2) ** -60
        value = [float(f(v)) for v in x.tolist()]
        rise = [float((f(v + step) - f(v - step)) / (2 * step)) for v in x.tolist()]
    tolerance = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y, value, rtol=tolerance, atol=tolerance / 1e3)
    np.testing.assert_allclose(slope, rise, rtol=tolerance, atol=tolerance / 1e2)
    if lib is not None:
        out = np.empty_like(x)
        address = lambda a: fa.ffi.from_buffer(f"{np.dtype(dtype).name}[]".replace(
            "float32", "float").replace("float64", "double"), a)
        getattr(fa.lib, f"fa_serpentine_{lib}")(x.size, address(x), address(out))
        np.testing.assert_array_equal(out, y)

x = np.linspace(-3, 3, 101)
np.testing.assert_allclose(fa.plain.serpentine(x), fa.serpentine(x), rtol=1e-14)
np.testing.assert_allclose(
    fa.plain.serpentine_backward(x, x), fa.serpentine_backward(x, x), atol=1e-14
)
for name in ("", "_derivative", "_backward", "_with_derivative"):
    assert "x / (1 + x^2)" in getattr(fa, "serpentine" + name).__doc__
assert "Newton's serpentine" in fa.serpentine.__doc__
stubs = (root / "fastact" / "__init__.pyi").read_text()
assert "serpentine_backward" in stubs and "witch_backward" in stubs

sys.path[:0] = [str(root / "tests"), str(root / "bench")]
from calls import CALLS
from implementations import cases
from fastact.checking.reference import REFERENCES

assert {c.member for c in CALLS if c.entry.name == "serpentine"} == {
    "", "_derivative", "_backward", "_with_derivative"
}
found = {
    (c.direction, c.implementation.name)
    for c in cases((100_000,), ("float32",), ("serpentine",))
}
assert len(found) == 10, found
assert "serpentine" in REFERENCES

try:
    import numba
except ImportError:
    sys.exit()
for x in (x, x.astype(np.float32)):
    assert isinstance(fa.numba.serpentine, np.ufunc)
    np.testing.assert_allclose(fa.numba.serpentine(x), fa.serpentine(x), rtol=1e-6)

@numba.njit
def backward(dy, x):
    return fa.numba.serpentine_backward(dy, x)

np.testing.assert_allclose(backward(x, x), fa.serpentine_backward(x, x), rtol=1e-5)
"""


def _run(*command: str, cwd: Path, **variables: str) -> str:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("FASTACT_", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment | {"PYTHONPATH": str(cwd)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _copy_of_the_source(target: Path) -> None:
    ignored = shutil.ignore_patterns(
        "*.so", "*.pyi", "_numba_kernels.py", "__pycache__", "results", ".*"
    )
    for folder in ("fastact", "csrc", "tests", "bench", "accuracy", "docs", "tools"):
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)


def _quick_compiler(folder: Path) -> str:
    """The same compiler without optimisation, which takes a tenth of the time."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(compiler.split()[0]) is None:
        compiler = "cc"
    if shutil.which(compiler.split()[0]) is None:
        pytest.skip("has no C compiler")
    script = folder / "quick-cc"
    # after setup.py's flags: the last -O counts
    script.write_text(f'#!/bin/sh\nexec {compiler} "$@" -O0\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.skipif(
    not (ROOT / "fastact").is_dir(), reason="needs the package's source"
)
def test_an_entry_and_a_reference_line_are_all_it_takes(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    _copy_of_the_source(project)
    with (project / "fastact/formulas/activations/self_gated.py").open("a") as file:
        file.write(ENTRY)
    reference = project / "fastact/checking/reference.py"
    mark = '        "identity": '
    text = reference.read_text()
    assert text.count(mark) == 1
    reference.write_text(text.replace(mark, REFERENCE + mark))

    compiler = _quick_compiler(tmp_path)
    _run("setup.py", "-q", "build_ext", "--inplace", cwd=project, CC=compiler)
    _run("-c", CHECK, cwd=project)
    # The tests that there are run on it, though no test was written for it.
    tests = ["-m", "pytest", "-q", "-k", "serpentine and not numba"]
    tests += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    done = _run(*tests, "tests/test_same_bits.py", cwd=project)
    assert " passed" in done
    found = _run(*tests, "--collect-only", "tests", cwd=project)
    for name in ("test_accuracy", "test_special_values", "test_ufunc_protocol"):
        assert name in found


PUBLIC = [entry.name + member for entry in ENTRIES for member in members(entry)]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_docstring_has_formula_and_bound_and_what_is_raised(name: str) -> None:
    doc = getattr(fa, name).__doc__
    assert doc is not None
    if doc.startswith(f"{name}("):  # NumPy puts a ufunc's signature before its text
        _, doc = doc.split("\n\n", 1)
    lines = doc.splitlines()
    (formula,) = (e.formula for e in ENTRIES for m in members(e) if e.name + m == name)
    assert lines[0].strip(), "starts with a summary"
    text = " ".join(doc.split())
    assert formula in text
    assert "kink" in text.lower()
    assert "broadcast shape" in text
    assert "float16, bfloat16, float32 and float64 stay what they are" in text
    assert max(map(len, lines)) <= 100
    for section in ("Parameters", "Returns", "Raises", "Notes"):
        place = lines.index(section)
        assert lines[place + 1] == "-" * len(section)
        assert lines[place + 2].strip()
    if name.endswith("_backward_from_output"):
        assert "error is small beside the largest derivative" in text
    elif name.endswith("_parameter_backward"):
        assert "summed in float64" in text
    else:
        assert "ULP" in text or "Exact." in text
    assert "Source: " in text
