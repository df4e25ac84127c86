"""What README.md says of the functions is what the catalogue says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from calls import ENTRIES

import fastact as fa

ROOT = Path(__file__).parents[1]


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_functions_are_those_of_the_catalogue() -> None:
    tool = _tool("readme_table")
    text = tool.README.read_text()
    assert tool.with_tables(text) == text, "run python tools/readme_table.py"


def test_as_many_functions_as_it_says() -> None:
    first = (ROOT / "README.md").read_text().split("\n\n")[1]
    listed, _, more = first.partition(": ")[2].partition(" and ")
    number = more.removesuffix(" more.")
    assert len(listed.split(", ")) + int(number) == len(fa.names())


def test_every_function_is_in_a_table_or_in_the_text() -> None:
    text = (ROOT / "README.md").read_text()
    names = {entry.name for entry in ENTRIES} | set(fa.names())
    assert not {n for n in names if f"`{n}" not in text and f"fa.{n}" not in text}
