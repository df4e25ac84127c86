"""No kernel gets slower unseen: instructions per element, as in tests/instructions.json."""

from __future__ import annotations

import json
from pathlib import Path

import instructions
import pytest

GROWN = 1 + 1.5 * instructions.TOLERANCE


def test_instructions_per_element_are_those_of_the_file() -> None:
    if reason := instructions.obstacle() or instructions.other_compiler():
        pytest.skip(reason)
    complaint = instructions.difference(instructions.measure())
    assert not complaint, complaint


@pytest.fixture
def a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file where it may be changed, and nothing to count."""
    copy = tmp_path / "instructions.json"
    copy.write_text(instructions.FILE.read_text())
    stored = json.loads(copy.read_text())
    monkeypatch.setattr(instructions, "FILE", copy)
    monkeypatch.setattr(instructions, "compilers", lambda: [stored["compiler"]])
    figures = stored["instructions_per_element"]
    monkeypatch.setattr(instructions, "measure", lambda: dict(figures))
    return copy


@pytest.mark.parametrize("factor", [GROWN, 1 / GROWN])
def test_a_complaint_names_the_functions_and_what_to_do(
    a_copy: Path, factor: float
) -> None:
    found = instructions.measure()
    assert instructions.difference(found) == ""
    found["gelu float32"] *= factor
    found["new float32"] = found.pop("silu float32")
    complaint = instructions.difference(found)
    assert "gelu float32: " in complaint
    assert "not in instructions.json: new float32\n" in complaint
    assert "only in instructions.json: silu float32\n" in complaint
    assert "gelu_backward" not in complaint
    assert "python tests/instructions.py --update" in complaint


def test_what_is_within_the_tolerance_is_no_difference(a_copy: Path) -> None:
    near = 1 + instructions.TOLERANCE / 2
    found = {name: near * value for name, value in instructions.measure().items()}
    assert instructions.difference(found) == ""


def test_an_update_writes_what_is_counted(
    a_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = a_copy.read_text()
    content = json.loads(original)
    content["instructions_per_element"]["gelu float32"] *= GROWN
    a_copy.write_text(json.dumps(content))
    instructions.update()
    assert a_copy.read_text() == original
    assert "gelu float32: " in capsys.readouterr().out


def test_figures_of_another_compiler_are_not_compared(
    a_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instructions.other_compiler() == ""
    kind, version = instructions.compilers()[0].split()
    major = int(version.split(".")[0])
    for same in ([f"{kind} {major}.9.1"], [f"{kind} {major}.1", f"{kind} {major}.2"]):
        monkeypatch.setattr(instructions, "compilers", lambda same=same: same)
        assert instructions.other_compiler() == ""
    for other in ([f"{kind} {major + 1}.1.0"], [f"clang {version}"], []):
        monkeypatch.setattr(instructions, "compilers", lambda other=other: other)
        assert f"those of {kind} {version}, and" in instructions.other_compiler()
