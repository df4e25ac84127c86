"""Checks every elementwise function on every float32: `python -m accuracy`."""

import sys
from pathlib import Path

# The truth of float64 is that of the tests: tests/truth.py and tests/reference.py.
sys.path.append(str(Path(__file__).parents[1] / "tests"))
