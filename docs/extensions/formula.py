"""The catalogue's formulas, which are plain text, as HTML: Greek letters, powers, cases.

No MathJax, which would have to be fetched or shipped: formulas of activations are short.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from html import escape

# As HTML calls them, too.
_GREEK = {
    "alpha",
    "beta",
    "gamma",
    "lambda",
    "theta",
    "mu",
    "sigma",
    "tau",
    "pi",
    "Phi",
}
_SIGNS = {">=": "&ge;", "<=": "&le;", "-": "&minus;"}
_TOKEN = re.compile(
    r"""(?P<number>\d[\d.]*(?:e-?\d+)?)
    | \^(?P<power>\d+|\w+|\([^()]*\))
    | (?P<root>sqrt(?=\())
    | (?P<word>[A-Za-z_]\w*)
    | (?P<sign>>=|<=|-)""",
    re.VERBOSE,
)


def inline(text: str, variables: Collection[str] = ()) -> str:
    """One expression as HTML.

    Parameters
    ----------
    text : str
        As in the catalogue: ``x (1 + tanh(beta x^2))``.
    variables : collection of str
        Names of more than one letter that are variables, not words or functions.

    Returns
    -------
    html : str
    """
    html, end = "", 0
    for found in _TOKEN.finditer(text):
        html += escape(text[end : found.start()])
        html += _token(found, variables)
        end = found.end()
    return html + escape(text[end:])


def _token(found: re.Match[str], variables: Collection[str]) -> str:
    match found.lastgroup:
        case "power":
            inside = found["power"].removeprefix("(").removesuffix(")")
            return f"<sup>{inline(inside, variables)}</sup>"
        case "root":
            return "&radic;"
        case "sign":
            return _SIGNS[found[0]]
        case "word":
            word = found[0]
            shown = f"&{word};" if word in _GREEK else word
            is_variable = word in _GREEK or len(word) == 1 or word in variables
            return f"<i>{shown}</i>" if is_variable else shown
    return found[0]


def block(left: str, text: str, variables: Collection[str] = ()) -> str:
    """A formula as HTML on lines of its own, cases below each other.

    Parameters
    ----------
    left : str
        What the formula is of, such as ``f(x)``.
    text : str
        As in the catalogue: ``x for x > 0, else alpha (exp(x) - 1)``.
    variables : collection of str
        As for `inline`.

    Returns
    -------
    html : str
        Without blank lines, so that it can stand in Markdown.
    """
    text, _, aside = text.partition("; ")
    before, _, otherwise = text.rpartition(", else ")
    right = inline(text, variables)
    if before:
        # a piece is "VALUE for CONDITION"; commas within parentheses do not end it
        pieces = [
            piece.rpartition(" for ")[::2]
            for piece in re.split(r", (?=[^,]+ for )", before)
        ]
        rows = "".join(
            f"<span>{inline(value, variables)}</span>"
            f"<span>for {inline(condition, variables)}</span>"
            for value, condition in pieces
        )
        rows += f"<span>{inline(otherwise, variables)}</span><span>otherwise</span>"
        right = f'<span class="cases">{rows}</span>'
    html = f"<span>{inline(left, variables)} =</span> <span>{right}</span>"
    html = f'<div class="formula">{html}</div>'
    if aside:
        html += f'<div class="formula-aside">{inline(aside, variables)}</div>'
    return html
