"""Keeps what the documentation shows of a run of the benchmark.

    python bench/report.py --functions all --sizes 100000
    python tools/keep_speed.py

reads results/bench.json, which git ignores, and writes docs/results/speed.json: shortest
times only, where pytest-benchmark notes every round.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPEED = ROOT / "docs" / "results" / "speed.json"


def main() -> None:
    """Read the run, write its times, a line for each row."""
    sys.path.insert(0, str(ROOT / "bench"))
    import report

    measured = report.read(report.JSON)
    rows = ",\n".join(json.dumps(asdict(row)) for row in measured.rows)
    SPEED.write_text(
        f'{{\n"heading": {json.dumps(measured.heading)},\n"rows": [\n{rows}\n]\n}}\n'
    )


if __name__ == "__main__":
    main()
