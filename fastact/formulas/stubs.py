"""Type stubs of the package, generated from the catalogue."""

from __future__ import annotations


def stub_files() -> dict[str, str]:
    """File names within the package, and their text."""
    return {}
