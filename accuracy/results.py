"""What sweeps have found: the published results, and the ratchet that the tests hold."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import fastact as fa
from fastact import _core
from fastact.checking import adversarial

from . import checker
from .checker import HERE, Tally

RESULTS, RATCHET = HERE / "results.json", HERE / "ratchet.json"
SLACK = 0.001  # ULP by which a maximum may exceed the ratchet: the references' error


def machine() -> dict[str, str]:
    """What the results were measured with."""
    version = subprocess.run(
        [*checker.compiler(), "--version"], capture_output=True, text=True, check=True
    )
    lines = Path("/proc/cpuinfo")
    models = [
        line.split(":")[1].strip()
        for line in (lines.read_text().splitlines() if lines.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "fastact": fa.__version__,
        "instruction_set": _core.instruction_set,
        "processor": models[0] if models else platform.machine(),
        "compiler": version.stdout.splitlines()[0],
        "c_library": " ".join(platform.libc_ver()),
        "numpy": np.__version__,
        "adversarial_set": str(adversarial.VERSION),
    }


def facts(tally: Tally) -> dict[str, Any]:
    """What is published of a tally."""
    return {
        "count": tally.count,
        "maximum": tally.maximum,
        "where": None if tally.where is None else tally.where.hex(),
        "mean": tally.mean,
        "share_correct": tally.share_correct,
    }


def write_results(rows: Mapping[str, Tally]) -> None:
    """Replace the published results."""
    found = {name: facts(tally) for name, tally in rows.items()}
    _write(RESULTS, {"measured": machine(), **found})


def read_results() -> tuple[dict[str, str], dict[str, Any]]:
    """How the published results were measured, and the `facts` of every row."""
    rows: dict[str, Any] = json.loads(RESULTS.read_text())
    return rows.pop("measured"), rows


def read_ratchet() -> dict[str, Any]:
    """For every row the `maximum` that none may exceed, and the known worst `cases`."""
    found: dict[str, Any] = json.loads(RATCHET.read_text())
    return found


def cases(row: str, dtype: np.dtype[Any]) -> checker.Floats:
    """The arguments at which the largest errors of a row have been found so far."""
    texts = read_ratchet().get(row, {"cases": []})["cases"]
    return np.array([float.fromhex(text) for text in texts]).astype(dtype)


def update_ratchet(rows: Mapping[str, Tally]) -> None:
    """Take over the maxima of these rows; worst cases that were known are kept."""
    ratchet = read_ratchet()
    for name, tally in rows.items():
        known = set(ratchet.get(name, {}).get("cases", []))
        new = set() if tally.where is None else {tally.where.hex()}
        ratchet[name] = {"maximum": tally.maximum, "cases": sorted(known | new)}
    _write(RATCHET, ratchet)


def grown(rows: Mapping[str, Tally]) -> list[str]:
    """Say which maxima exceed the ratchet."""
    ratchet = read_ratchet()
    return [
        f"{name}: {tally.maximum:.4f} ULP at {tally.where!r}, "
        f"was {ratchet[name]['maximum']:.4f}"
        for name, tally in rows.items()
        if name in ratchet and tally.maximum > ratchet[name]["maximum"] + SLACK
    ]


def _write(file: Path, content: Mapping[str, Any]) -> None:
    # a line for each row: a change of one maximum is a change of one line
    lines = (
        f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()
    )
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
