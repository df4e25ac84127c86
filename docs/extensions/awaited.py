"""Sphinx extension: references that are written where what they document can be imported.

A page says ``<!-- reference: fastact.integrations.thinc -->`` for a module, class or
function with its members, and ``<!-- docstring: fastact.numba -->`` for a module's text
alone. Adapters need the package that they adapt to; a build without it says so instead.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_MARK = re.compile(r"<!-- (reference|docstring): (\S+) -->")


def _find(name: str) -> Any:
    """A module, or what a module has; None if it cannot be imported here."""
    try:
        return importlib.import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


def _directive(found: re.Match[str]) -> str:
    form, name = found.groups()
    thing = _find(name)
    if thing is None:
        return f"*`{name}` cannot be imported where these pages were built.*"
    if inspect.ismodule(thing):
        kind = "automodule"
        options = "   :members:\n" if form == "reference" else ""
    elif inspect.isclass(thing):
        kind, options = "autoclass", "   :members:\n"
    else:
        kind, options = "autofunction", ""
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{options}```"


def on_source_read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace every mark."""
    source[0] = _MARK.sub(_directive, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
