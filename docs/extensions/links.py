"""Sphinx extension: links of pages that are read in the repository too.

README.md, CONTRIBUTING.md and the changelog link files by where they lie; here each is a
page. Links to other files of the repository, which are no pages, become plain text.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
# Files outside docs/ that are pages.
PAGES = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_INCLUDE = re.compile(r"<!-- include: (\S+) -->")


def resolved(text: str, folder: PurePosixPath) -> str:
    """The text with its links as they are from docs/, where it stood in a folder."""

    def replace(found: re.Match[str]) -> str:
        label, target, fragment = found[1], found[2], found[3] or ""
        path = (ROOT / folder / target).resolve().relative_to(ROOT)
        if str(path) in PAGES:
            return f"[{label}]({PAGES[str(path)]}{fragment})"
        if path.parts[0] == "docs":
            return f"[{label}]({path.relative_to('docs')}{fragment})"
        return label

    return _LINK.sub(replace, text)


def on_source_read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Include files from outside docs/, and point links at pages."""
    if PurePosixPath(docname).parent != PurePosixPath("."):
        return

    def include(found: re.Match[str]) -> str:
        file = PurePosixPath(found[1])
        app.env.note_dependency(str(ROOT / file))
        text = resolved((ROOT / file).read_text(), file.parent)
        if source[0].startswith("# "):  # one title is enough
            text = re.sub(r"\A# .*\n", "", text)
        return text

    source[0] = resolved(source[0], PurePosixPath("docs"))
    source[0] = _INCLUDE.sub(include, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
