"""Configuration of Sphinx: `make docs` builds the pages into build/docs/html."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# fastact and accuracy/ are used from here; the extensions are this project's own.
for folder in (ROOT / "tools", DOCS / "extensions", ROOT):
    sys.path.insert(0, str(folder))

import numpy as np  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import fastact  # noqa: E402

project = "fastact"
author = "the fastact authors"
copyright = "the fastact authors, MIT licence"
version = release = fastact.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "gallery",
    "links",
]
exclude_patterns = ["results"]
default_role = "autolink"
# Others' pages are elsewhere, and intersphinx would have to fetch their index.
nitpick_ignore_regex = [("py:.*", r"(?!fastact\b)\w+(\..*)?")]
suppress_warnings = ["myst.header"]  # generated tables begin at the level of their page

# Nothing is fetched: no intersphinx, no fonts, no MathJax.
html_theme = "furo"
html_title = f"fastact {release}"
html_static_path = ["static"]
html_css_files = ["fastact.css"]
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # docstrings say it in NumPy's terms
numpydoc_show_class_members = False


def escape_bars(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Let |x| in a docstring be the size of x; reStructuredText would substitute it."""
    lines[:] = [line if "``" in line else line.replace("|", r"\|") for line in lines]


def name_arguments(
    app: Sphinx,
    what: str,
    name: str,
    thing: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Show a ufunc's arguments by name, and a default that is a class by its own."""
    if isinstance(thing, np.ufunc):  # whose docstring begins with (x1, x2, ...)
        signature = str(inspect.signature(thing))
    if signature is not None:
        signature = re.sub(r"<class 'numpy\.(\w+)'>", r"np.\1", signature)
    return signature, returns


def skip_inherited(
    app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    """Leave out what another package gives an adapter's class, with links to its pages."""
    module = getattr(thing, "__module__", None) or "fastact"
    return None if module.partition(".")[0] == "fastact" else True


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("autodoc-process-signature", name_arguments, priority=100)
    app.connect("autodoc-process-docstring", escape_bars)
