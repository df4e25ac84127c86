"""Pictures of activations and their derivatives: PNG by matplotlib, or plain text."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fastact

from .formulas.entry import CATALOGUE

Curve: TypeAlias = NDArray[np.float64]

# Odd, so that 0, where most kinks lie, is a sample.
X = np.linspace(-5.0, 5.0, 4001)

# A parameter without default, prelu's weight: what PyTorch starts with.
PARAMETER = 0.25

# A text panel, in characters of 2 x 4 dots: two side by side fit 80 columns.
COLUMNS, ROWS, LABEL = 32, 10, 6


def curves(name: str, x: Curve = X) -> tuple[Curve, Curve]:
    """The activation and its derivative at x."""
    parameters = [PARAMETER for p in CATALOGUE[name].parameters if p.default is None]
    function = getattr(fastact, name)
    derivative = getattr(fastact, f"{name}_derivative")
    return function(x, *parameters), derivative(x, *parameters)


def label(name: str) -> str:
    """The activation with the values of its parameters."""
    values = [
        f"{p.name}={PARAMETER if p.default is None else p.default:g}"
        for p in CATALOGUE[name].parameters
    ]
    return f"{name}({', '.join(values)})" if values else name


def write_picture(names: Sequence[str], path: Path) -> None:
    """Draw functions on the left and their derivatives on the right.

    Parameters
    ----------
    names : sequence of str
        Names of the catalogue.
    path : Path
        Where to write. Its ending decides the format; without one it is PNG.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If matplotlib cannot write this format.
    OSError
        If the file cannot be written.
    """
    try:
        # Figure itself, not pyplot: no window system, no state left behind.
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            'pictures need matplotlib: pip install "fastact[plot]"; '
            "or draw in the terminal with --terminal"
        ) from error

    figure = Figure(figsize=(10, 4.6), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 2)
    colours = colormaps["tab10" if len(names) <= 10 else "tab20"]
    for i, name in enumerate(names):
        for panel, y in zip(panels, curves(name), strict=True):
            # Drawn above the axes, the first on top: it is what was asked for first.
            panel.plot(
                X,
                without_jumps(y),
                color=colours(i % colours.N),
                linewidth=2.4,
                label=label(name),
                zorder=3 - i / len(names),
                solid_capstyle="round",
            )
    for panel, title in zip(panels, ("f(x)", "f '(x)"), strict=True):
        panel.axhline(0, color="0.35", linewidth=0.8, zorder=1)
        panel.axvline(0, color="0.35", linewidth=0.8, zorder=1)
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0, labelcolor="0.35")
        panel.set_title(title, color="0.25")
        panel.set_xlim(X[0], X[-1])
        panel.set_xlabel("x", color="0.35")
    if len(names) == 1:
        figure.suptitle(heading(names[0]), fontsize=13)
    else:
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=6 if max(map(len, map(label, names))) < 14 else 3,
            frameon=False,
        )
    save(figure, path)


def picture_format(path: Path) -> str:
    """The format of a picture: the ending of its name, PNG without one.

    Raises
    ------
    ValueError
        If matplotlib cannot write it.
    """
    from matplotlib.figure import Figure

    name = path.suffix[1:].lower() or "png"
    known = Figure().canvas.get_supported_filetypes()
    if name not in known:
        raise ValueError(f"there is no format {name!r}; there are {', '.join(known)}")
    return name


def save(figure: Any, path: Path) -> None:
    """Write a matplotlib figure, all of it or nothing.

    Raises
    ------
    ValueError
        If matplotlib cannot write this format.
    OSError
        If the file cannot be written.
    """
    # Drawing takes long, and may be interrupted: not with half a file there.
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150, format=picture_format(path))
    path.write_bytes(drawn.getvalue())


def heading(name: str, width: int = 79) -> str:
    """The activation with its formula, in lines of at most so many characters."""
    formula = CATALOGUE[name].formula
    itself = formula.startswith(f"{name}(")  # tanh(x) says it all
    return textwrap.fill(label(name) if itself else f"{label(name)}: {formula}", width)


def without_jumps(y: Curve) -> Curve:
    """A curve with gaps where it jumps, lest a line be drawn that is not there."""
    with np.errstate(invalid="ignore"):  # inf - inf, at the ends of logit
        rise = np.abs(np.diff(y, append=y[-1:]))
    before, after = np.roll(rise, 1), np.roll(rise, -1)
    jump = (rise > 0.05) & (rise > 10 * np.maximum(before, after))
    # a value of its own at a kink: two jumps, from and to what it belongs to neither of
    both = np.minimum(before, rise)
    alone = (both > 0.05) & (both > 10 * np.maximum(np.roll(rise, 2), after))
    return np.where(jump | alone, np.nan, y)


def text_picture(name: str, columns: int = 80) -> str:
    """Draw an activation and its derivative with characters.

    Parameters
    ----------
    name : str
        Name of the catalogue.
    columns : int, default 80
        How many there are: the derivative stands beside the function, or below it if
        there are fewer than 80.

    Returns
    -------
    text : str
        Heading and picture, lines separated by newlines.
    """
    y, derivative = curves(name)
    left, right = text_panel("f(x)", y), text_panel("f'(x)", derivative)
    if columns < 80:
        lines = [*left, *right]
    else:
        lines = [f"{a}  {b}" for a, b in zip(left, right, strict=True)]
    head = heading(name, min(columns, 80) - 1)
    return "\n".join([head, *(line.rstrip() for line in lines)])


def text_panel(title: str, y: Curve) -> list[str]:
    """Lines of equal length: the title, the curve in Braille dots, the x axis."""
    shown = np.isfinite(y)
    low, high = min(float(y[shown].min()), 0.0), max(float(y[shown].max()), 0.0)
    high = high if high > low else 1.0
    dots = np.zeros((4 * ROWS, 2 * COLUMNS), bool)
    last_row, last_column = dots.shape[0] - 1, dots.shape[1] - 1

    def row(value: Any) -> Any:
        return np.rint((high - value) / (high - low) * last_row).astype(int)

    # There are many samples to a column of dots, so the dots join by themselves.
    column = np.rint((X - X[0]) / (X[-1] - X[0]) * last_column).astype(int)
    dots[row(np.array(0.0)), ::4] = True
    dots[row(y[shown]), column[shown]] = True

    labels = {0: f"{high:.3g}", ROWS - 1: f"{low:.3g}"}
    labels[int(row(np.array(0.0))) // 4] = "0"
    lines = [f"{'':{LABEL}} {title:^{COLUMNS}}"]
    lines += [
        f"{labels.get(i, ''):>{LABEL}} {line}" for i, line in enumerate(braille(dots))
    ]
    ends = f"{X[0]:g}{'0':^{COLUMNS - 4}}{X[-1]:>2g}"
    return [*lines, f"{'':{LABEL}} {ends}"]


def braille(dots: NDArray[np.bool_]) -> list[str]:
    """Text for a matrix of dots, 2 x 4 of them in a character."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // 4, 4, columns // 2, 2)
    # The bit of each dot in Unicode's Braille patterns, which start at U+2800.
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    codes = 0x2800 + np.einsum("rict,it->rc", cells, bits)
    return ["".join(map(chr, line)) for line in codes]
