"""Examples in docstrings and on the pages of the documentation give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastact as fa
from fastact import families

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if ">>>" in page.read_text() and page.parent.name != "gallery"
)
# Adapters' examples are about models and data of the packages that they adapt to.
MODULES = [fa.__name__] + [
    f"{fa.__name__}.{module.name}"
    for module in pkgutil.walk_packages(fa.__path__)
    if not module.name.startswith(("_", "integrations"))
]
# What docstrings take for granted: as in NumPy's, the imports; and something to call with.
GLOBALS = {"fa": fa, "np": np, "x": np.linspace(-2, 2, 5), "dy": np.ones(5)}
pytestmark = pytest.mark.usefixtures("kernels_are_kept")

_BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"<!-- needs: (\S+) -->")


def run(tests: list[doctest.DocTest]) -> None:
    """Fail with the report of the examples that do not give what stands there."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test, out=report.append)
    results = runner.summarize(verbose=False)
    assert not results.failed, "".join(report)
    assert results.attempted


def examples(page: Path) -> str:
    """The Python blocks of a page, at the lines where they stand."""
    text = page.read_text()
    kept = [""] * (text.count("\n") + 1)
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(2))
        for i, line in enumerate(block[2].splitlines()):
            kept[first + i] = line.removeprefix(block[1])
    return "\n".join(kept)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_examples_of_a_page(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # thinc needs the package catalogue, and a module of these tests has the same name.
    monkeypatch.delitem(sys.modules, "catalogue", raising=False)
    monkeypatch.setattr(
        sys, "path", [p for p in sys.path if Path(p) != DOCS.parent / "tests"]
    )
    for needed in _NEEDS.findall(page.read_text()):
        pytest.importorskip(needed, reason=f"the page is about {needed}")
    text = examples(page)
    assert ">>>" in text, "examples stand in blocks that begin with ```python"
    names = {"__name__": "__main__"}
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    run([test])


README = DOCS.parent / "README.md"
BLOCKS = [block[2] for block in _BLOCK.finditer(README.read_text())]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_examples_of_the_readme(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block can be run by itself, after the two imports that they have in common."""
    monkeypatch.delitem(sys.modules, "catalogue", raising=False)
    needs = {"fa.activation": "numba", 'fa.backend("numba")': "numba"}
    needed = re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE)
    needed += re.findall(r"fastact\.integrations\.(\w+)", block)
    needed += [package for text, package in needs.items() if text in block]
    for name in needed:
        pytest.importorskip(name, reason=f"the example is about {name}")
    file = tmp_path / "example.py"  # formulas are read from files
    file.write_text(block)
    try:
        with fa.num_threads(fa.get_num_threads()):
            exec(compile(block, file, "exec"), {"np": np, "fa": fa})
        if "share_threads_with_blas" in block:
            fa.experimental.share_threads_with_blas(False)
    except RuntimeError as error:
        if "BLAS" not in str(error):
            raise
        pytest.skip(str(error))


def _of_module(module: ModuleType) -> list[doctest.DocTest]:
    """The examples of what it defines, functions made at run time included."""
    found = doctest.DocTestFinder().find(module, globs=dict(GLOBALS))
    if module is fa:  # ufuncs are no functions to doctest
        parser = doctest.DocTestParser()
        for name in families.NAMES:
            text = getattr(fa, name).__doc__ or ""
            found.append(parser.get_doctest(text, dict(GLOBALS), name, None, None))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(str(error))
    tests = _of_module(module)
    if tests:
        run(tests)


def test_a_wrong_example_fails() -> None:
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match="Expected"):
        run([wrong])


def test_there_are_examples_to_run() -> None:
    documented = {
        test.name for test in _of_module(importlib.import_module("fastact.lookup"))
    }
    assert {"fastact.lookup.get", "fastact.lookup.names"} <= documented
    assert DOCS / "index.md" in PAGES
