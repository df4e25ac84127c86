"""What the documentation says of the functions is complete, and right."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastact as fa
from fastact import integrations, lookup, plotting
from fastact.__main__ import PROGRAM, make_parser
from fastact.commands import check
from fastact.formulas.entry import CATALOGUE

pytest.importorskip("matplotlib", reason="the gallery's pages come with pictures")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def _import(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        for folder in (DOCS / "extensions", ROOT / "tools"):
            patch.syspath_prepend(folder)
        return importlib.import_module(name)


gallery, formula, links = map(_import, ("gallery", "formula", "links"))
pictures = _import("pictures")
NAMES = [name for names in gallery.sections().values() for name in names]


# ----------------------------------------------------------------------- the gallery


def test_every_function_has_a_page_and_only_one() -> None:
    assert sorted(NAMES) == list(fa.names())


def _documented() -> set[str]:
    """What the pages have an entry for, and so the index of names."""
    pages = [
        page.read_text()
        for page in DOCS.glob("*/*.md")
        if page.parent.name != "gallery"
    ]
    pages += map(gallery.page, NAMES)
    entry = re.compile(r"^\.\. (?:auto\w+|py:\w+):: (fastact[\w.]*)$", re.MULTILINE)
    return {name for page in pages for name in entry.findall(page)}


def test_every_public_name_is_in_the_index() -> None:
    public = {*fa.__all__, *lookup.SUBMODULES, *lookup.CUSTOM}
    assert {f"fastact.{name}" for name in public} - _documented() == set()


def test_every_adapter_is_in_the_index() -> None:
    modules = pkgutil.iter_modules(integrations.__path__, f"{integrations.__name__}.")
    adapters = {module.name for module in modules}
    assert adapters
    assert adapters - _documented() == set()


def test_what_is_in_the_index_exists() -> None:
    """A wrong name would fail `make docs`, too, which needs Sphinx."""
    for name in _documented():
        if not name.startswith((f"{integrations.__name__}.", "fastact.threadpool")):
            assert pkgutil.resolve_name(name) is not None


def test_every_command_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = (DOCS / "command-line.md").read_text()
    (commands,) = (
        action.choices for action in make_parser()._actions if action.choices
    )
    headings = re.findall("^## (.*)$", page, re.MULTILINE)
    assert headings == list(commands)
    for command in commands:
        assert f"$ {PROGRAM} {command}" in page
    assert make_parser().format_help() in page
    assert plotting.text_picture("gelu") in page
    for function in check.CHECKS:
        assert f"\nok      {(function.__doc__ or '').rstrip('.')}\n" in page


FIELDS = {
    "Parameters",
    "Special values",
    "Kinks",
    "Accuracy",
    "Speed",
    "Elsewhere",
    "Source",
    "Reference",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_its_facts(name: str) -> None:
    page = gallery.page(name)
    headings = re.findall(r"^##? (.*)$", page, re.MULTILINE)
    assert headings[0] == name
    assert {*headings} >= FIELDS
    for field in FIELDS:
        _, below = page.split(f"## {field}\n\n", 1)
        assert below.split("\n## ")[0].strip(), field
    assert '<div class="formula">' in page
    assert f"{{figure}} {name}.svg\n" in page
    assert f".. autofunction:: fastact.{name}\n" in page
    assert "not measured" not in page
    assert "Not in the stored run" not in page
    if name in CATALOGUE:
        entry = CATALOGUE[name]
        assert ("## Parameters\n\nNone." in page) != bool(entry.parameters)
        assert ("## Kinks\n\nNone" in page) != bool(entry.kinks)
        assert f"| float32 | {entry.bound:g} | " in page
        for words in (*entry.aliases, entry.plain, entry.notes):
            assert words in page


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("gelu", "| &minus;&infin; | &minus;0 | &minus;0 |"),
        ("gelu", "| &infin; | &infin; | 1 |"),
        ("sigmoid", "| 0 | 0.5 | 0.25 |"),
        ("relu6", "| 6, a kink | 6 | 0 |"),
        ("hardshrink", "| 0.5, a kink: `lambd` | 0 | 0 |"),
        ("logit", "| 1 | &infin; | &infin; |"),
        ("tanh", "| NaN | NaN | NaN |"),
        ("softmax", "| &infin;, 0 | 1, 0 |"),
        ("softmax_cross_entropy", "| &minus;&infin;, 0 | &infin; |"),
        ("reglu", "| 1 | 1 | 1 | 1 |"),
        ("crelu", "| &minus;&infin; | 0 | &infin; |"),
        ("maxout", "| &minus;&infin;, 0 | 0 |"),
    ],
)
def test_special_values(name: str, row: str) -> None:
    assert row in gallery.page(name)


def test_differences_of_a_function_are_on_its_page() -> None:
    page = gallery.page("softsign")
    assert "| PyTorch, JAX | x = inf | NaN | 1 | the limit |" in page
    assert "Where their results differ" not in gallery.page("dish")


def test_pictures_show_all_kinks() -> None:
    for name, entry in CATALOGUE.items():
        x = pictures.abscissas(name)
        assert all(x[0] < kink < x[-1] for kink in pictures.kinks(entry))


@pytest.mark.parametrize("name", ["relu6", "softmax", "maxout", "swiglu", "crelu"])
def test_a_picture_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    for file in ("one.svg", "two.svg"):
        pictures.write(name, tmp_path / file)
    one, two = ((tmp_path / f"{n}.svg").read_text() for n in ("one", "two"))
    assert one == two
    assert "<svg" in one


def test_slopes_in_pictures_are_those_of_the_curves() -> None:
    for name in NAMES:
        x = pictures.abscissas(name)
        (y, derivative), _ = pictures.curves(name, x)
        assert y.shape == derivative.shape == x.shape
        slopes = (y[2:] - y[:-2]) / (x[2:] - x[:-2])
        near = abs(slopes - derivative[1:-1]) < 0.01 * (1 + abs(derivative[1:-1]))
        # but at kinks and jumps, and where logit goes to infinity
        assert near.mean() > 0.98, name


def test_jumps_are_not_drawn_as_slopes() -> None:
    """Nor is the value of xielu's derivative at 0, which neither side has."""
    for name, entry in CATALOGUE.items():
        kinks = pictures.kinks(entry)
        x = pictures.abscissas(name)
        near = np.min([abs(x - kink) for kink in kinks] or [x + np.inf], axis=0) < 0.05
        for curve in pictures.curves(name, x)[0]:
            steps = np.abs(np.diff(plotting.without_jumps(curve)))
            assert not np.nanmax(steps[near[:-1]], initial=0.0) > 0.1, name


# ---------------------------------------------------------------------------- formulas


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("x^2", "<i>x</i><sup>2</sup>"),
        ("exp(-x^2)", "exp(&minus;<i>x</i><sup>2</sup>)"),
        ("alpha (exp(x) - 1)", "<i>&alpha;</i> (exp(<i>x</i>) &minus; 1)"),
        ("max(slope x, 0)", "max(<i>slope</i> <i>x</i>, 0)"),
        ("sqrt(2/pi)", "&radic;(2/<i>&pi;</i>)"),
        ("1.5e-6 |x| >= 0", "1.5e-6 |<i>x</i>| &ge; 0"),
        ("x < 0", "<i>x</i> &lt; 0"),
    ],
)
def test_formulas_inline(text: str, html: str) -> None:
    assert formula.inline(text, {"slope"}) == html


def test_cases_stand_below_each_other() -> None:
    html = formula.block("f(x)", "0 for x <= -1, x for x >= 1, else (x + 1)^2 / 4")
    cells = re.findall(r"<span>(?!<span)([^=]*?)</span>", html)
    assert [re.sub("<.*?>", "", cell) for cell in cells[-6:]] == [
        "0",
        "for x &le; &minus;1",
        "x",
        "for x &ge; 1",
        "(x + 1)2 / 4",
        "otherwise",
    ]


def test_every_case_of_the_catalogue_is_found() -> None:
    for entry in CATALOGUE.values():
        html = formula.block("f(x)", entry.formula)
        assert html.count(">otherwise<") == entry.formula.count(", else ")
        assert html.count(">for ") == entry.formula.count(" for ")
        assert "\n\n" not in html


# ------------------------------------------------------------------------ names elsewhere


def _elsewhere() -> Iterator[tuple[str, str, str]]:
    for name in NAMES:
        for system, call in gallery.peers_of(name).items():
            yield name, system, re.split(r"[ (]", call)[0]


def test_names_elsewhere_are_of_functions_that_exist() -> None:
    assert {name for name, _, _ in _elsewhere()} <= {*NAMES}
    assert {*gallery.json.loads(gallery.ELSEWHERE.read_text())} <= {*NAMES}


def _resolve(path: str) -> Any:
    module, _, rest = path.partition(".")
    found: Any = importlib.import_module(module)
    for part in rest.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(f"{found.__name__}.{part}")
    return found


@pytest.mark.parametrize(
    ("system", "module"),
    [
        ("NumPy", "numpy"),
        ("SciPy", "scipy"),
        ("PyTorch", "torch"),
        ("JAX", "jax"),
        ("Keras", "keras"),
        ("MLX", "mlx.nn"),
        ("entmax", "entmax"),
    ],
)
def test_names_elsewhere_exist_there(system: str, module: str) -> None:
    pytest.importorskip(module, reason=f"{system}'s names are looked up in it")
    calls = [call for _, its, call in _elsewhere() if its == system]
    assert calls
    for call in calls:
        assert callable(_resolve(call)), call


def test_names_elsewhere_exist_in_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX's operators are looked up in it")
    for _, system, call in _elsewhere():
        assert system != "ONNX" or onnx.defs.has(call), call


# ------------------------------------------------------------------------ other sources


def test_stored_speeds_are_shown_in_full() -> None:
    stored = gallery.json.loads(gallery.SPEED.read_text())
    shown = gallery.speed_table()
    assert stored["heading"] in shown
    rows = [row for row in stored["rows"] if row["elements"] == gallery.ELEMENTS]
    assert rows
    assert shown.count("&times;") == len(rows)
    for row in rows:
        rate = row["elements"] / row["seconds"]["c-1"] / 1e9
        assert math.isfinite(rate)
        assert f"{rate:.2f}" in shown


def test_all_that_was_compared_leads_to_pages() -> None:
    shown = gallery.comparison_table()
    linked = re.findall(r"^\| \[(\w+)\]\(gallery/\1\.md\) \| ", shown, re.MULTILINE)
    assert {*linked} <= {*NAMES}
    assert len(linked) == len(gallery.COMPARISON.read_text().splitlines()) - 2


def test_stored_speeds_lead_to_pages() -> None:
    linked = re.findall(r"gallery/(\w+)\.md", gallery.speed_table())
    assert linked
    assert {*linked} <= {*NAMES}
    assert "Not in the stored run" not in gallery.page("crelu")


def test_links_of_the_readme_lead_to_pages() -> None:
    text = "[a](docs/accuracy.md#x) [b](CONTRIBUTING.md) [c](LICENSE) [d](#e)"
    found = links.resolved(text, links.PurePosixPath("."))
    assert found == "[a](accuracy.md#x) [b](contributing.md) c [d](#e)"
    up = links.resolved("[r](../README.md#layout)", links.PurePosixPath("docs"))
    assert up == "[r](readme.md#layout)"


def test_pages_are_reached() -> None:
    """A page that no table of contents has would fail `make docs`, which needs Sphinx."""
    contents = "".join(path.read_text() for path in DOCS.rglob("index.md"))
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md" and page.parent.name not in ("gallery", "results"):
            assert re.search(rf"\b{page.stem}\b", contents), page


def test_sphinx_is_not_needed_here() -> None:
    assert "sphinx" not in sys.modules
