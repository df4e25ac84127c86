"""Sphinx extension that writes the gallery: a page for every function, from its facts.

The pages land in docs/gallery/ when a build begins; git ignores them. Everything on them
comes from the catalogue, from accuracy/results.json, docs/results/speed.json,
docs/elsewhere.json and accuracy/peer_functions.py, or is computed by the function itself.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formula
import numpy as np
import pictures
import readme_table

import fastact as fa
from accuracy import peer_functions, results, sweep, table
from accuracy.differences import TABLE as DIFFERENCES
from fastact import families, plotting
from fastact.commands.cases import RUNS_ON
from fastact.formulas.entry import CATALOGUE, FUSED, Activation
from fastact.formulas.kernels import DERIVATIVE, ENTRIES
from fastact.formulas.rows import ROW_FUNCTIONS
from fastact.lookup import KINDS

if TYPE_CHECKING:  # the tests read these facts without Sphinx
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
SPEED = DOCS / "results" / "speed.json"
COMPARISON = DOCS / "results" / "compare_all.md"
ELSEWHERE = DOCS / "elsewhere.json"
# What those expressions of accuracy/peer_functions.py abbreviate.
_PREFIXES = {
    "F.": "torch.nn.functional.",
    "special.": "scipy.special.",
    "ops.": "NumpyOps.",
}
# What else than the function on which they run takes time.
_BESIDE = {
    "rrelu": "With the mean slope, as in evaluation, it is",
    "gumbel_softmax": "Beside drawing and adding the noise it is",
}
# What a function of a row takes beside it in the table of special values.
_FURTHER_ARGUMENTS = {
    "maxout": ("Of a group of two.", 2),
    "softmax_cross_entropy": ("The logits; the label is that of the first one.", 0),
}
# Arguments that are no parameters.
_ARRAYS = {"x", "logits", "targets", "out"}
# How many elements the table of speeds is for.
ELEMENTS = 100_000

Cells = Iterable[str]


def sections() -> dict[str, list[str]]:
    """The functions of the gallery by the heading under which they stand."""
    found = {
        title: [
            name
            for name, entry in CATALOGUE.items()
            if entry.forward.__module__.endswith(f".{module}")
        ]
        for module, title in readme_table.MODULES.items()
    }
    found["Gates"] = list(KINDS["gates"])
    found["Along an axis"] = [*ROW_FUNCTIONS, "gumbel_softmax"]
    found["Others"] = [n for n in KINDS["other"] if n != "gumbel_softmax"]
    return found


# ------------------------------------------------------------------------------ Markdown


def _table(header: Cells, rows: Iterable[Cells], *, numbers: bool = False) -> str:
    """A table; of numbers all columns but the first are aligned on the right."""
    lines = [tuple(header), *map(tuple, rows)]
    others = "---:" if numbers else "---"
    lines.insert(1, ("---", *(others for _ in lines[0][1:])))
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in cells)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return f"{value:.6g}".replace("inf", "&infin;").replace("-", "&minus;")


def _gain(ratio: float) -> str:
    digits = 2 if ratio < 0.995 else 1 if ratio < 9.95 else 0
    return f"{ratio:.{digits}f} &times;"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# --------------------------------------------------------------------- parts of one page


def _summary(name: str) -> str:
    """The first sentence of the docstring, or what the catalogue says."""
    if name in ENTRIES:
        return ENTRIES[name].summary.splitlines()[0]
    if name in ROW_FUNCTIONS:
        return f"{ROW_FUNCTIONS[name].summary}."
    documented = inspect.getdoc(getattr(fa, name)) or ""
    return documented.split("\n\n")[0].replace("\n", " ")


def _formula(name: str) -> str:
    if name in ENTRIES:
        entry = ENTRIES[name]
        variables = {*entry.arrays, *(p.name for p in entry.parameters)}
        left, right = f"f({', '.join(entry.arrays)})", entry.formula
    else:
        said = re.match(r"(f\(.*?\)) = (.*)\.$", _paragraphs(name)[0])
        assert said is not None, name
        left, right = said.groups()
        variables = {*_ARRAYS, *(own for own, _, _ in _documented_parameters(name))}
        variables |= {"slope"}
    html = formula.block(left, right, variables) + "\n"
    if name in ROW_FUNCTIONS:
        gradient = formula.inline(ROW_FUNCTIONS[name].gradient, {"dy", "scale"})
        html += (
            f'\n<div class="formula-aside">Gradient: <i>dx</i> = {gradient}.</div>\n'
        )
    return html


def _picture(name: str) -> str:
    _, shown = pictures.curves(name, plotting.X)
    caption = f"{plotting.label(name)}" if name in CATALOGUE else name
    if shown:
        caption += f", {shown}"
    return (
        f"```{{figure}} {name}.svg\n:alt: {caption}: function and derivative\n\n"
        f"{caption}\n```\n"
    )


def _names(name: str) -> str:
    entry = ENTRIES.get(name)
    if entry is None or not entry.aliases:
        return ""
    return f"Other names that work here: {_code(entry.aliases)}.\n"


def _parameters(name: str) -> str:
    title = "## Parameters\n\n"
    if name not in ENTRIES:
        rows = [
            (f"`{own}`", kind, meaning)
            for own, kind, meaning in _documented_parameters(name)
        ]
        return f"{title}{_table(('parameter', 'type', 'meaning'), rows)}\n"
    entry = ENTRIES[name]
    if not entry.parameters:
        return f"{title}None.\n\n"
    learnt = entry.parameter_formulas if isinstance(entry, Activation) else {}
    rows = [
        (
            f"`{p.name}`",
            "none: must be given" if p.default is None else f"{p.default:g}",
            "; ".join(str(r) for r in entry.requirements if r.name == p.name)
            or "any number",
            "yes" if p.name in learnt else "no",
        )
        for p in entry.parameters
    ]
    header = ("parameter", "default", "range", "gradient by it")
    return f"{title}{_table(header, rows)}\n"


def _documented_parameters(name: str) -> list[tuple[str, str, str]]:
    """Names, types and meanings of a docstring's parameters, without the arrays."""
    parts = re.split(
        r"^(\S[^:\n]*) : (.*)$",
        _section(getattr(fa, name), "Parameters"),
        flags=re.MULTILINE,
    )[1:]
    names, kinds, meanings = parts[::3], parts[1::3], parts[2::3]
    return [
        (own, kind, " ".join(meaning.split()))
        for own, kind, meaning in zip(names, kinds, meanings, strict=True)
        if own not in _ARRAYS
    ]


def _special_values(name: str) -> str:
    """f and f' at the ends, at zero, at one, and at the kinks, as computed here and now."""
    entry = CATALOGUE.get(name)
    if entry is None:
        return _special_values_of_others(name)
    values = tuple(pictures.values(entry).values())
    kinks = pictures.kinks(entry)
    ends = [-math.inf, math.inf, math.nan]
    points = sorted({0.0, 1.0, *kinks, *ends[:2]}) + ends[2:]
    x = np.array(points)
    y = getattr(fa, name)(x, *values)
    derivative = getattr(fa, name + DERIVATIVE)(x, *values)
    rows = []
    for point, value, slope in zip(points, y, derivative, strict=True):
        where = _number(point)
        if point in kinks:
            expression = kinks[point]
            is_number = expression.lstrip("-").isdigit()
            where += ", a kink" if is_number else f", a kink: {_code([expression])}"
        rows.append((where, _number(value), _number(slope)))
    text = "## Special values\n\n"
    if entry.parameters:
        text += f"Of {_code([plotting.label(name)])}.\n\n"
    return text + _table(("x", "f(x)", "f'(x)"), rows, numbers=True) + "\n"


def _special_values_of_others(name: str) -> str:
    """Results at the ends and at zero, and what the docstring says of them."""
    text = "## Special values\n\n"
    ends = [-math.inf, 0.0, 1.0, math.inf, math.nan]
    function: Any = getattr(fa, name)
    if name == "gumbel_softmax":  # which would draw noise
        function = functools.partial(function, noise=0.0)
        text += "Without noise.\n\n"
    pairs = [(0.0, 0.0), (1.0, 0.0), *((end, 0.0) for end in (ends[0], *ends[3:]))]
    pairs += [(end, end) for end in (math.inf, -math.inf)]
    rows: list[tuple[Any, ...]] = []
    if name in FUSED:
        header = ["gate", "result", "gradient by gate", "by value"]
        text += "For a value of 1 and an incoming gradient of 1.\n\n"
        for x in ends:
            gradients = function.backward(1.0, x, 1.0)
            rows.append((x, function(x, 1.0), *gradients))
    elif name == "rrelu":
        header = ["x", "f(x)", "f'(x)"]
        text += "With the mean slope.\n\n"
        rows = [(x, function(x), fa.rrelu_backward(1.0, x)) for x in ends]
    elif name == "crelu":
        header = ["x", "max(x, 0)", "max(-x, 0)"]
        rows = [(x, *function([x])) for x in ends]
    else:
        header = ["row", "result"]
        remark, *further = _FURTHER_ARGUMENTS.get(name, ("",))
        text += f"{remark}\n\n" if remark else ""
        rows = [(pair, function(np.array(pair), *further)) for pair in pairs]
    cells = [[", ".join(map(_number, np.ravel(c))) for c in row] for row in rows]
    text += _table(header, cells, numbers=True)
    said = [
        part
        for part in _paragraphs(name)
        if re.search(r"\binf|NaN", part)
        and part not in _notes(name, *_OF_ACCURACY, "Source: ")
    ]
    return "\n\n".join([text, *said, ""]) if name not in FUSED else text + "\n"


def _kinks(name: str) -> str:
    """Where the derivative jumps, and what it is there."""
    text = "## Kinks\n\n"
    if name not in ENTRIES:
        (said,) = (
            part for part in _paragraphs(name) if re.match("Kinks|No kinks", part)
        )
        said = re.sub("^No kinks", "None", said.removeprefix("Kinks: "))
        return f"{text}{_sentence(said)}\n\n"
    kinks = ENTRIES[name].kinks
    if not kinks:
        return f"{text}None: the derivative is continuous.\n\n"
    rows = [
        (_code([x if " = " in x else f"x = {x}"]), _code([value]))
        for x, value in kinks.items()
    ]
    return (
        f"{text}Where pieces meet, so that the slope may jump. What is returned there:\n\n"
        f"{_table(('where', 'derivative there'), rows)}\n"
    )


def _accuracy(name: str) -> str:
    if name not in CATALOGUE:
        return _accuracy_in_words(name)
    measured, found = results.read_results()
    rows = []
    for dtype in table.TITLES:
        cells = [dtype]
        for direction in ("forward", "derivative"):
            unit = sweep.Unit(sweep.Subject(name, direction), dtype)
            row = found.get(unit.row)
            bound = CATALOGUE[name].error_bound(direction, dtype)
            cells.append(f"{bound:g}")
            cells.append(_largest(row))
        rows.append(cells)
    header = ("", "bound of f", "largest error", "bound of f'", "largest error")
    text = "## Accuracy\n\n"
    text += "In ULP, the distance between neighbouring numbers of the dtype"
    if CATALOGUE[name].parameters:
        text += f"; of {_code([plotting.label(name)])}"
    text += ".\n\n"
    text += _table(header, rows, numbers=True) + "\n"
    limit = CATALOGUE[name].accurate_up_to
    if limit < math.inf:
        text += f"For arguments of at most {limit:g} on either side of 0. "
    return text + (
        f"float32 and the 16-bit types: all inputs; float64: a fixed set of points. "
        f"Measured {measured['date']}, {measured['instruction_set']}: "
        "[how, and where the errors are](../accuracy.md).\n\n"
    )


def _largest(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not measured"
    # rounded up: what stands there has not been exceeded
    return f"{math.ceil(row['maximum'] * 1000) / 1000:.3f}"


def _paragraphs(name: str) -> list[str]:
    """The docstring's notes, each paragraph on a line."""
    notes = _section(getattr(fa, name), "Notes").split("\n\n")
    return [" ".join(part.split()) for part in notes]


def _notes(name: str, *words: str) -> list[str]:
    """The paragraphs of the docstring's notes that have one of these words."""
    return [part for part in _paragraphs(name) if any(word in part for word in words)]


_OF_ACCURACY = ("ULP", "Exact.", "Errors")


def _accuracy_in_words(name: str) -> str:
    """What the docstring says: these are not swept over all inputs."""
    return f"## Accuracy\n\n{' '.join(_notes(name, *_OF_ACCURACY))}\n\n"


def _section(function: Any, title: str) -> str:
    """One section of a numpydoc docstring."""
    lines = (inspect.getdoc(function) or "").splitlines()
    rules = [i for i, line in enumerate(lines) if line and not line.strip("-")]
    for rule, after in zip(rules, [*rules[1:], len(lines) + 1], strict=True):
        if lines[rule - 1] == title:
            return "\n".join(lines[rule + 1 : after - 1]).strip()
    return ""


@functools.cache
def _speeds() -> dict[str, Any]:
    if not SPEED.exists():
        return {"heading": "", "rows": []}
    found: dict[str, Any] = json.loads(SPEED.read_text())
    return found


def _page(measured: str) -> str:
    """The page of what the benchmark calls a function, with parameters perhaps."""
    name = measured.partition("(")[0]
    return "crelu" if name == "crelu_parts" else name


def _speed(name: str) -> str:
    """Beside plain NumPy, where the benchmark was run."""
    measured = _speeds()
    remark = _BESIDE.get(name, "")
    source = RUNS_ON[name] if remark else name
    rows = []
    for row in measured["rows"]:
        if _page(row["function"]) != source or row["elements"] != ELEMENTS:
            continue
        rates = [
            row["elements"] / row["seconds"][which] / 1e9
            for which in ("numpy", "c-1", "c-all")
        ]
        gains = (_gain(rates[1] / rates[0]), _gain(rates[2] / rates[0]))
        cells = (row["direction"], *(f"{rate:.2f}" for rate in rates), *gains)
        rows.append(cells)
    text = "## Speed\n\n"
    if remark:
        text += f"{remark} as fast as [{source}]({source}.md).\n\n"
    if source in ENTRIES:
        text += f"Plain NumPy is `{ENTRIES[source].plain}`.\n\n"
    elif source != "crelu":
        text += f"Plain NumPy is `fastact.plain.{source}`.\n\n"
    if not rows:
        return text + (
            "Not in the stored run of the benchmark: `python -m fastact bench "
            f"--functions {source}` measures it.\n\n"
        )
    header = (
        "",
        "NumPy",
        "fastact, one thread",
        "all threads",
        "gain, one",
        "gain, all",
    )
    return text + (
        f"Billions of elements per second, {ELEMENTS:,} elements of float32.\n\n"
        f"{_table(header, rows, numbers=True)}\n{measured['heading']}: "
        "[how it is measured](../speed.md).\n\n"
    )


def peers_of(name: str) -> dict[str, str]:
    """Who else has a function, and what it is called there."""
    known = {
        system: _call(calls[name])
        for system, calls in peer_functions.FORWARD.items()
        if name in calls
    }
    other: dict[str, dict[str, str]] = json.loads(ELSEWHERE.read_text())
    return known | other.get(name, {})


def _call(expression: str) -> str:
    """A call of accuracy/peer_functions.py as one looks it up: its name and its options."""
    call = ast.parse(expression, mode="eval").body
    assert isinstance(call, ast.Call)
    name, options = ast.unparse(call.func), [ast.unparse(k) for k in call.keywords]
    for short, full in _PREFIXES.items():
        if name.startswith(short):
            name = full + name.removeprefix(short)
    return f"{name}({', '.join(options)})" if options else name


def _elsewhere(name: str) -> str:
    peers = peers_of(name)
    if not peers:
        return "## Elsewhere\n\nNone of the [systems compared](../elsewhere.md) has it.\n\n"
    rows = [(system, _named(call)) for system, call in peers.items()]
    text = f"## Elsewhere\n\n{_table(('system', 'name'), rows)}\n"
    return text + _differences(name)


def _named(call: str) -> str:
    """A name as code, what is said of it in parentheses as text."""
    name, _, remark = call.partition(" (")
    return f"`{name}`" + (f" ({remark}" if remark else "")


def _differences(name: str) -> str:
    """The rows of docs/differences.md that are about it."""
    lines = [line for line in DIFFERENCES.read_text().splitlines() if line[:2] == "| "]
    own = [
        line.partition(" | ")[2]
        for line in lines[2:]
        if f"`{name}`" in line.partition(" | ")[0]
    ]
    if not own:
        return ""
    header = lines[0].partition(" | ")[2]
    rule = "|".join(["", *["---"] * (header.count(" | ") + 1), ""])
    rows = "\n".join(f"| {line}" for line in [header, *own])
    first, _, rest = rows.partition("\n")
    return (
        "Where their results differ ([all differences](../differences.md)):\n\n"
        f"{first}\n{rule}\n{rest}\n\n"
    )


def _origin(name: str) -> str:
    if name in ENTRIES:
        notes, source = ENTRIES[name].notes, ENTRIES[name].source
    else:
        notes, source = "", _paragraphs(name)[-1].removeprefix("Source: ")
    text = f"## Notes\n\n{notes}\n\n" if notes else ""
    return f"{text}## Source\n\n{_sentence(_linked(source.removesuffix('.')))}.\n\n"


def _linked(source: str) -> str:
    """The reference with a link to the paper."""
    source = re.sub(r"arXiv:(\S+\d)", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)
    return re.sub(r"doi:(\S+\d)", r"[doi:\1](https://doi.org/\1)", source)


def family(name: str) -> list[str]:
    """The functions that the page documents."""
    if name in ROW_FUNCTIONS:
        return [name + member for member in ROW_FUNCTIONS[name].members]
    if name in ENTRIES:
        entry = ENTRIES[name]
        return [n for n, its in families.NAMES.items() if its is entry]
    own = [name, f"{name}_backward"]
    return own + (family("crelu_parts") if name == "crelu" else [])


def _reference(name: str) -> str:
    directives = "\n\n".join(
        f".. autofunction:: fastact.{function}" for function in family(name)
    )
    return f"## Reference\n\n```{{eval-rst}}\n{directives}\n```\n"


def page(name: str) -> str:
    """The page of one function, in Markdown."""
    return "\n".join(
        [
            f"# {name}\n",
            f"{_summary(name)}\n",
            _formula(name),
            _picture(name),
            _names(name),
            _parameters(name),
            _special_values(name),
            _kinks(name),
            _accuracy(name),
            _speed(name),
            _elsewhere(name),
            _origin(name),
            _reference(name),
        ]
    )


# ------------------------------------------------------------------------- pages of many


def index() -> str:
    """All functions as small pictures, by section."""
    text = (
        "# Gallery\n\nEvery function with its derivative (dashed). "
        "A picture leads to the page of its function.\n\n"
    )
    for title, names in sections().items():
        text += f"## {title}\n\n::::::{{container}} gallery\n"
        for name in names:
            text += (
                f":::::{{figure}} {name}-small.svg\n:target: {name}.html\n"
                f":alt: {name}\n\n{name}\n:::::\n"
            )
        text += "::::::\n\n"
    everything = "\n".join(name for names in sections().values() for name in names)
    return text + f"```{{toctree}}\n:hidden:\n\n{everything}\n```\n"


def elsewhere_table() -> str:
    """Who has which function, under which name: a table for each section."""
    text = ""
    for title, names in sections().items():
        peers = {name: peers_of(name) for name in names}
        systems = list(dict.fromkeys(s for own in peers.values() for s in own))
        if not systems:
            continue
        rows = [
            (
                f"[{name}](gallery/{name}.md)",
                "; ".join(f"{system} {_named(call)}" for system, call in own.items())
                or "-",
            )
            for name, own in peers.items()
        ]
        text += f"## {title}\n\n{_table(('fastact', 'elsewhere'), rows)}\n"
    return text


def speed_table() -> str:
    """The stored run of the benchmark."""
    measured = _speeds()
    if not measured["rows"]:
        return "No run of the benchmark is stored.\n"
    rows = []
    for row in measured["rows"]:
        if row["elements"] != ELEMENTS:
            continue
        name = row["function"]
        seconds = row["seconds"]
        rates = {which: row["elements"] / s / 1e9 for which, s in seconds.items()}
        shown = (f"{rates[w]:.2f}" if w in rates else "-" for w in _IMPLEMENTATIONS)
        gain = _gain(rates["c-1"] / rates["numpy"])
        link = f"[{name}](gallery/{_page(name)}.md)"
        direction = "" if row["direction"] == "forward" else f" {row['direction']}"
        rows.append((link + direction, *shown, gain))
    header = ("", "NumPy", "C, one thread", "C, all", "Numba, all", "gain, one thread")
    return f"{measured['heading']}.\n\n{_table(header, rows, numbers=True)}"


def functions_table() -> str:
    """The README's tables of functions, with links to their pages."""
    row = re.compile(r"^\| `(\w+)` ", re.MULTILINE)
    return row.sub(r"| [`\1`](../gallery/\1.md) ", readme_table.tables())


def comparison_table() -> str:
    """The stored run of examples/compare_all.py, with links to the functions' pages."""
    names = "|".join(CATALOGUE)
    row = re.compile(rf"^\| ({names}) ", re.MULTILINE)
    return row.sub(r"| [\1](gallery/\1.md) ", COMPARISON.read_text())


_IMPLEMENTATIONS = ("numpy", "c-1", "c-all", "numba-all")
# What pages ask for by a comment of its own: <!-- generated: NAME -->
TABLES = {
    "elsewhere": elsewhere_table,
    "speed": speed_table,
    "functions": functions_table,
    "comparison": comparison_table,
}


def _pages() -> Iterator[tuple[str, str]]:
    yield "index.md", index()
    for names in sections().values():
        for name in names:
            yield f"{name}.md", page(name)


def _write_if_new(path: Path, text: str) -> None:
    # Sphinx reads again what has been written again
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_gallery(app: Sphinx) -> None:
    """Write pages and pictures; pictures that are there are kept while nothing changed."""
    folder = Path(app.srcdir) / "gallery"
    folder.mkdir(exist_ok=True)
    for name, text in _pages():
        _write_if_new(folder / name, text)
    newest = max(
        path.stat().st_mtime
        for path in [
            Path(pictures.__file__),
            Path(plotting.__file__),
            *Path(fa.__file__).parent.glob("formulas/**/*.py"),
        ]
    )
    for names in sections().values():
        for name in names:
            for suffix in ("", "-small"):
                path = folder / f"{name}{suffix}.svg"
                if not path.exists() or path.stat().st_mtime < newest:
                    pictures.write(name, path, small=bool(suffix))


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the tables where pages ask for them."""
    for name, make in TABLES.items():
        mark = f"<!-- generated: {name} -->"
        if mark in source[0]:
            source[0] = source[0].replace(mark, make())


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.connect("builder-inited", write_gallery)
    app.connect("source-read", fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
