"""Pictures of the gallery: each function and its derivative, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

import fastact as fa
from fastact import plotting
from fastact.formulas.entry import CATALOGUE, FUSED, Activation
from fastact.formulas.rows import ROW_FUNCTIONS

# Readable on white and on black: the pages have a light and a dark form.
FUNCTION, DERIVATIVE, GREY = "#2f7fd1", "#e8813a", "#808080"
# The same file for the same curves, whenever and wherever it is drawn.
REPRODUCIBLE = {"svg.hashsalt": "fastact", "svg.fonttype": "path"}
# Ordinates beyond what is drawn would press everything else flat.
LOWEST, HIGHEST = -4.0, 6.5

Curve = plotting.Curve
Curves = tuple[Curve, Curve]


def values(entry: Activation) -> dict[str, float]:
    """Parameters at their defaults, or as `plotting` chooses them where there is none."""
    return {
        p.name: plotting.PARAMETER if p.default is None else p.default
        for p in entry.parameters
    }


def kinks(entry: Activation) -> dict[float, str]:
    """Where the derivative jumps, and the expression in the parameters that says it."""
    return {float(eval(x, {}, values(entry))): x for x in entry.kinks}


def abscissas(name: str) -> Curve:
    """Where it is drawn: as in `plotting`, further out to show all kinks."""
    if name not in CATALOGUE:
        return plotting.X
    entry = CATALOGUE[name]
    if math.isfinite(entry.domain[0]):
        low, high = entry.domain
        return np.linspace(low, high, len(plotting.X))
    furthest = max(map(abs, kinks(entry)), default=0.0)
    return plotting.X * max(1.0, (furthest + 1) / plotting.X[-1])


def _of_a_row(name: str, x: Curve) -> Curves:
    """The first weight of the row (x, 0), and its derivative by x."""
    row = np.stack([x, np.zeros_like(x)], axis=-1)
    backward: Callable[..., Any] = getattr(fa, f"{name}_backward")
    if ROW_FUNCTIONS[name].reduces:
        pool = (2,) if ROW_FUNCTIONS[name].pools else ()
        y = getattr(fa, name)(row, *pool).reshape(-1)
        dy = np.ones((len(row), 1) if pool else len(row))
        return y, backward(dy, row, *pool)[:, 0]
    first = np.zeros_like(row)
    first[:, 0] = 1
    return getattr(fa, name)(row)[:, 0], backward(first, row)[:, 0]


def _of_a_gate(name: str, x: Curve) -> Curves:
    """The gate's activation, beside a value of 1."""
    one = np.ones_like(x)
    y = getattr(fa, name)(x, one)
    return y, getattr(fa, f"{name}_backward")(one, x, one)[0]


def _of_crelu(name: str, x: Curve) -> Curves:
    """What is positive of x; the other half is its mirror image."""
    positive, _ = fa.crelu_parts(x)
    one = np.ones_like(x)
    return positive, fa.crelu_parts_backward(one, np.zeros_like(one), x)


def _of_rrelu(name: str, x: Curve) -> Curves:
    """As in evaluation, with the mean slope."""
    one = np.ones_like(x)
    return fa.rrelu(x), fa.rrelu_backward(one, x)


def _of_the_loss(name: str, x: Curve) -> Curves:
    """Of the logits (x, 0), the first of which belongs to the right class."""
    row = np.stack([x, np.zeros_like(x)], axis=-1)
    labels = np.zeros(len(row), int)
    y = fa.softmax_cross_entropy(row, labels, reduction="none")
    dx = fa.softmax_cross_entropy_backward(
        np.ones(len(row)), row, labels, reduction="none"
    )
    return y, dx[:, 0]


def _of_gumbel_softmax(name: str, x: Curve) -> Curves:
    """Without noise: a sample is the same curve, moved to the left or to the right."""
    row = np.stack([x, np.zeros_like(x)], axis=-1)
    noise, first = np.zeros_like(row), np.zeros_like(row)
    first[:, 0] = 1
    y = fa.gumbel_softmax(row, noise=noise)[:, 0]
    return y, fa.gumbel_softmax_backward(first, row, noise)[:, 0]


_OTHERS: dict[str, tuple[Callable[[str, Curve], Curves], str]] = {
    "crelu": (_of_crelu, "the half max(x, 0), and its derivative"),
    "rrelu": (_of_rrelu, "with the mean slope"),
    "softmax_cross_entropy": (
        _of_the_loss,
        "of the logits (x, 0), the first of which is the right class's",
    ),
    "gumbel_softmax": (
        _of_gumbel_softmax,
        "the first of the two results for the row (x, 0), without noise",
    ),
}


def curves(name: str, x: Curve) -> tuple[Curves, str]:
    """A function's curve and that of its derivative, and what exactly they show."""
    if name in CATALOGUE:
        return plotting.curves(name, x), ""
    if name in FUSED:
        return _of_a_gate(name, x), "as a function of the gate, for a value of 1"
    if name in ROW_FUNCTIONS:
        what = "of the row (x, 0)"
        if not ROW_FUNCTIONS[name].reduces:
            what = "the first of the two results for the row (x, 0)"
        return _of_a_row(name, x), what
    draw, caption = _OTHERS[name]
    return draw(name, x), caption


def write(name: str, path: Path, *, small: bool = False) -> None:
    """Draw a function and its derivative; a small picture has no labels."""
    x = abscissas(name)
    (y, derivative), _ = curves(name, x)
    figure = Figure(figsize=(1.6, 1.2) if small else (6.4, 3.6), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    width = 1.8 if small else 2.2
    for curve, colour, label, dashes in (
        (y, FUNCTION, "f(x)", "-"),
        (derivative, DERIVATIVE, "f'(x)", (0, (5, 2))),
    ):
        axes.plot(
            x,
            plotting.without_jumps(curve),
            color=colour,
            linewidth=width,
            linestyle=dashes,
            label=label,
        )
    visible = np.clip((y, derivative), LOWEST, HIGHEST)
    low, high = np.nanmin(visible), np.nanmax(visible)
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(x[0], x[-1])
    axes.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    axes.axvline(0, color=GREY, linewidth=0.7, zorder=0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=GREY)
    if small:
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        axes.grid(color=GREY, alpha=0.2)
        axes.legend(frameon=False, labelcolor=GREY, loc="best")
    with rc_context(REPRODUCIBLE):
        figure.savefig(path, format="svg", metadata={"Date": None})
