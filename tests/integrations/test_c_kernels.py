"""examples/c_kernels: C and Cython call the kernels by their addresses."""

from __future__ import annotations

import importlib.util
import math
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact as fa

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "c_kernels" / "dense_layer.py"


@pytest.fixture(scope="module")
def example() -> Any:
    compiler = shlex.split(os.environ.get("CC", "cc"))[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs a C compiler, and there is no {compiler}")
    spec = importlib.util.spec_from_file_location("dense_layer", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["CLayer", "CythonLayer"])
def layer(request: pytest.FixtureRequest, example: Any, tmp_path_factory: Any) -> Any:
    if request.param == "CythonLayer":
        pytest.importorskip("Cython", reason="needs Cython")
        if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
            pytest.skip("needs Python's headers")
    return getattr(example, request.param)(tmp_path_factory.mktemp("layer"))


def _silu(z: float) -> tuple[float, float]:
    s = 1 / (1 + math.exp(-z))
    return z * s, s + z * s * (1 - s)


def _gelu(z: float) -> tuple[float, float]:
    phi = (1 + math.erf(z / math.sqrt(2))) / 2
    return z * phi, phi + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(("name", "definition"), [("silu", _silu), ("gelu", _gelu)])
def test_the_layer_and_its_gradients(
    example: Any, layer: Any, name: str, definition: Any
) -> None:
    x, w, b, dy = example.problem(np.random.default_rng(3))
    y, dw, db = example.train_step(layer, name, x, w, b, dy)
    before = x.astype(float) @ w.astype(float) + b
    both = [[definition(z) for z in row] for row in before.tolist()]
    value, slope = np.moveaxis(np.array(both), -1, 0)
    gradient = dy * slope
    np.testing.assert_allclose(y, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dw, x.T @ gradient, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(db, gradient.sum(axis=0), rtol=1e-4, atol=1e-4)


def test_the_kernel_gives_the_bits_of_the_ufunc(example: Any, layer: Any) -> None:
    x, w, b, _ = example.problem(np.random.default_rng(4))
    before = np.empty((len(x), w.shape[1]), np.float32)
    y = np.empty_like(before)
    layer.forward(example.kernel_address("fa_mish_f32", 2), x, w, b, before, y)
    assert y.tobytes() == fa.mish(before).tobytes()


@pytest.mark.parametrize("name", ["elu", "hardshrink", "swiglu"])
def test_a_kernel_with_other_arguments_is_refused(example: Any, name: str) -> None:
    arrays = example.problem(np.random.default_rng(5))
    # Before anything is called: there is no layer.
    with pytest.raises(ValueError, match=f"fa_{name}_f32 takes 3 arrays"):
        example.train_step(None, name, *arrays)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),  # where fastact is not installed
        capture_output=True,
        text=True,
    )


@pytest.mark.usefixtures("example")
def test_the_program_prints_how_far_it_is_from_numpy() -> None:
    done = _run("gelu")
    assert done.returncode == 0, done.stderr
    differences = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(differences) == 3
    assert max(differences) < 1e-4


def test_a_name_without_a_kernel_is_an_error() -> None:
    done = _run("gleu")
    assert done.returncode == 2
    assert "fa.lib has no kernel fa_gleu_f32" in done.stderr
