"""What a stranger meets first: building without a compiler, and the cost of importing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zlib
from importlib.metadata import version
from pathlib import Path

import pytest

import fastact as fa
from fastact import _kernels, _memory_pool, _ufuncs

ROOT = Path(__file__).resolve().parent.parent
MILLISECONDS = 40
# of the package as a wheel packs it; what a wheel has beside it is 0.03
MEGABYTES = 4.9


def _setup(tmp_path: Path, code: str, **variables: str) -> subprocess.CompletedProcess:
    """Run code that has imported setup.py, with nothing on PATH."""
    empty = tmp_path / "no-programs"
    empty.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "PATH")}
    environment |= {"PATH": str(empty), "PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _assert_helps(answer: subprocess.CompletedProcess, missing: str) -> None:
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    assert missing in answer.stderr
    assert "apt install gcc python3-dev" in answer.stderr


@pytest.mark.parametrize("compiler", ["/nonexistent/cc", "nonexistent-cc -m64", None])
def test_without_a_compiler_the_build_says_what_is_missing_and_how_to_get_it(
    tmp_path: Path, compiler: str | None
) -> None:
    variables = {} if compiler is None else {"CC": compiler}
    if compiler is None:
        named = (sysconfig.get_config_var("CC") or "cc").split()[0]
        if os.path.isabs(named):
            pytest.skip("this Python names its compiler by an absolute path")
    else:
        named = compiler.split()[0]
    answer = _setup(tmp_path, "import setup; setup.require_compiler()", **variables)
    _assert_helps(answer, f"no C compiler ({named}) was found")


def test_without_pythons_headers_the_build_says_so(tmp_path: Path) -> None:
    # The compiler is only looked for, so anything that can be run will do.
    code = (
        "import sysconfig, setup\n"
        f"sysconfig.get_path = lambda name: {str(tmp_path / 'include')!r}\n"
        "setup.require_compiler()\n"
    )
    answer = _setup(tmp_path, code, CC=sys.executable)
    _assert_helps(answer, "Python.h")


def test_with_both_the_build_goes_on(tmp_path: Path) -> None:
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        pytest.skip("Python's headers are not installed")
    code = "import setup; setup.require_compiler(); print('on')"
    answer = _setup(tmp_path, code, CC=sys.executable)
    assert answer.stdout == "on\n", answer.stderr


def test_a_compiler_that_cannot_be_found_is_not_replaced_in_silence(
    tmp_path: Path,
) -> None:
    """The whole build, not only the check: nothing is written before it stops."""
    answer = _setup(
        tmp_path,
        "import runpy, sys\n"
        "sys.argv = ['setup.py', 'build']\n"
        f"runpy.run_path({str(ROOT / 'setup.py')!r}, run_name='__main__')\n",
        CC="/nonexistent/cc",
    )
    _assert_helps(answer, "no C compiler (/nonexistent/cc) was found")
    assert [path.name for path in tmp_path.iterdir()] == ["no-programs"]


TIME = """
import time, numpy
begin = time.perf_counter()
{statement}
print(1000 * (time.perf_counter() - begin))
"""


def _python(code: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_is_small() -> None:
    """`make test-wheel` weighs a wheel itself, which takes minutes to build."""
    package = Path(fa.__file__).parent
    modules = (_kernels, _memory_pool, _ufuncs)  # and not those of other Pythons
    files = [Path(module.__file__) for module in modules]
    files += [p for p in package.rglob("*.*") if p.suffix in (".py", ".pyi", ".typed")]
    packed = sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) / 1e6
    assert 1 < packed < MEGABYTES, f"{packed:.2f} MB"


def test_importing_costs_at_most_40_ms_on_top_of_numpy(tmp_path: Path) -> None:
    # With compiled bytecode, as everybody's second import: the first run writes it.
    environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(tmp_path))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    _python("import fastact", environment)
    # The minimum of several, because other tests run on the same processors. Once the
    # goal is met there is nothing more to learn.
    times: list[float] = []
    while len(times) < 15 and (not times or min(times) > MILLISECONDS):
        code = TIME.format(statement="import fastact")
        times.append(float(_python(code, environment)))
    assert min(times) <= MILLISECONDS, f"{min(times):.1f} ms at best of {len(times)}"


def test_importing_imports_nothing_that_is_not_needed() -> None:
    code = "import sys, fastact; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    imported = set(_python(code).split())
    unwanted = {"numba", "llvmlite", "scipy", "matplotlib", "dask", "cffi"}
    assert not imported & unwanted
    # the pure-Python cffi is for building; what runs is its C part
    assert "_cffi_backend" in imported


WITHOUT_BFLOAT16 = """
import sys
sys.modules["ml_dtypes"] = None  # importing it raises ImportError
import numpy as np
import fastact as fa
assert fa.show_config("dicts")["dtypes"] == ["float16", "float32", "float64"]
x = np.linspace(-2, 2, 9, dtype=np.float16)
for function in (fa.gelu, fa.elu, fa.softmax):
    assert function(x).dtype == np.float16
fa.elu(x, 0.5)
fa.elu_parameter_backward(x, x, 0.5)
fa.softmax(x, where=x > 0, scale=0.5)
"""


def test_the_version_is_that_of_the_installed_package() -> None:
    assert fa.__version__ == version("fastact")
    assert fa.show_config("dicts")["fastact"] == fa.__version__


def test_everything_else_works_without_ml_dtypes() -> None:
    _python(WITHOUT_BFLOAT16)


def test_with_ml_dtypes_bfloat16_is_listed() -> None:
    pytest.importorskip("ml_dtypes")
    assert "bfloat16" in fa.show_config("dicts")["dtypes"]
