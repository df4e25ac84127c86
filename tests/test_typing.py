"""The package is typed: checkers accept a user's file, see mistakes, and know all names."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import fastact as fa

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "typing" / "user_sample.py"
MISTAKES = ROOT / "tests" / "typing" / "mistakes.py"

CHECKERS = {
    "mypy": ["--strict"],
    "basedpyright": ["--pythonpath", sys.executable],  # pyright, with Node in its wheel
}


@pytest.fixture(params=CHECKERS)
def checker(request: pytest.FixtureRequest) -> list[str]:
    """The command of a type checker; it sees the fastact that Python sees here."""
    pytest.importorskip(request.param, reason=f"needs {request.param}")
    return [sys.executable, "-m", request.param, *CHECKERS[request.param]]


def _check(checker: list[str], file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*checker, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_a_users_file_passes(checker: list[str]) -> None:
    done = _check(checker, SAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_are_seen(checker: list[str]) -> None:
    """So the types are those of the functions, not Any."""
    lines = MISTAKES.read_text().splitlines()
    expected = {n for n, line in enumerate(lines, 1) if line.endswith("# mistake")}
    found = re.findall(
        r"mistakes\.py:(\d+):.*\berror\b", _check(checker, MISTAKES).stdout
    )
    assert {int(n) for n in found} == expected


def test_a_users_file_runs() -> None:
    runpy.run_path(str(SAMPLE))


def test_every_public_name_has_a_type() -> None:
    stub = Path(fa.__file__).with_suffix(".pyi")
    typed = set()
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            typed.add(node.target.id)
        elif isinstance(node, ast.FunctionDef):
            typed.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            typed |= {alias.asname or "" for alias in node.names}
    assert not set(fa.__all__) - typed
    assert (stub.parent / "py.typed").exists()
