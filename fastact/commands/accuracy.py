"""`python -m fastact accuracy NAME`: errors of this installation, against mpmath."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

import fastact as fa

from .. import _core
from ..formulas.entry import CATALOGUE
from .text import aligned, progress

POINTS = 1000  # drawn by default
STEP = 64  # points between two steps of the progress bar
DIRECTIONS: tuple[Literal["forward", "derivative"], ...] = ("forward", "derivative")


def measure(name: str, dtype: str, count: int) -> list[dict[str, Any]]:
    """Errors of a function and of its derivative, at its default parameters.

    Parameters
    ----------
    name : str
        A name of the catalogue.
    dtype : str
        "float16", "bfloat16" (needs ml_dtypes), "float32" or "float64".
    count : int
        How many arguments to draw, beside those where errors are likely.

    Returns
    -------
    rows : list of dict
        For each direction: `direction`, `bound` and `largest` in ULP, `where` the largest
        is, the `mean`, the share of results that are `correct`ly rounded, and how many
        `points` there were.

    Raises
    ------
    ImportError
        If mpmath is not installed.
    """
    try:
        from ..checking.adversarial import default_parameters, points_for
        from ..checking.truth import truth, ulp_error
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the exact values need {error.name}: "
            'pip install "fastact[accuracy]"; without it there is '
            '"python -m fastact check"'
        ) from error
    entry = CATALOGUE[name]
    kind = {d.name: d for d in _core.DTYPES.values()}[dtype]
    parameters = default_parameters(entry)
    # Where all have defaults, the kernels with the defaults compiled in are what is used.
    given = () if entry.has_defaults else parameters
    points = points_for(entry, kind, count, parameters)
    blocks = [points[i : i + STEP] for i in range(0, len(points), STEP)]
    rows = []
    with progress(len(DIRECTIONS) * len(blocks)) as step:
        for direction in DIRECTIONS:
            suffix = "" if direction == "forward" else "_derivative"
            results = getattr(fa, name + suffix)(points, *given)
            errors = []
            for i, block in enumerate(blocks):
                step(f"{name}{suffix}")
                expected = truth(name, direction, kind, block, parameters, cache=None)
                found = results[i * STEP : i * STEP + len(block)]
                errors.append(ulp_error(found, expected, kind))
            ulps = np.concatenate(errors)
            worst = int(np.argmax(ulps))
            rows.append(
                {
                    "direction": direction,
                    "bound": entry.error_bound(direction, dtype),
                    "largest": float(ulps[worst]),
                    "where": points[worst],
                    "mean": float(ulps.mean()),
                    "correct": float((ulps <= 0.5).mean()),
                    "points": len(points),
                }
            )
    return rows


def report(name: str, dtype: str, rows: list[dict[str, Any]]) -> str:
    """The errors as a table, with what its numbers mean."""
    lines = [
        ("ULP", "bound", "largest", "at x =", "mean", "correctly rounded"),
        *(
            (
                row["direction"],
                f"{row['bound']:g}",
                # rounded up: what stands there has not been exceeded
                f"{math.ceil(row['largest'] * 1000) / 1000:.3f}"
                if math.isfinite(row["largest"])
                else "inf",
                str(row["where"]),
                f"{row['mean']:.4f}",
                f"{math.floor(row['correct'] * 10_000) / 100:.2f} %",
            )
            for row in rows
        ),
    ]
    kernels = f"C, {_core.instruction_set}" if fa.get_backend() == "c" else "Numba"
    return (
        f"{name}, {dtype}, {kernels}: errors at {rows[0]['points']:,} "
        f"arguments, against mpmath\n\n{aligned(lines)}\n"
        "A ULP is the distance of neighbouring numbers at the exact result; a correctly\n"
        "rounded result is within half of one.\n"
    )
