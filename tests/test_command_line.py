"""The command line: info, plot, bench, accuracy and check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact as fa
from fastact import _core, show_config
from fastact.__main__ import main
from fastact.commands import check
from fastact.commands.text import progress
from fastact.formulas.entry import CATALOGUE

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_info_prints_the_instruction_set(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert show_config("dicts")["instruction set"] in printed
    assert "threads" in printed


def test_as_a_module_alone_it_prints_help():
    result = subprocess.run(
        [sys.executable, "-m", "fastact"], capture_output=True, text=True, check=True
    )
    for command in ("info", "plot", "bench", "accuracy", "check"):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("FASTACT_ISA", "avx1024", ", ".join(_core.available_instruction_sets())),
        ("FASTACT_BACKEND", "cuda", "c, numba"),
        ("FASTACT_NUM_THREADS", "0", "whole numbers from 1"),
        ("FASTACT_NUM_THREADS", "two", "whole numbers from 1"),
    ],
)
def test_an_impossible_setting_of_the_environment(variable, value, allowed):
    """One line and status 2 of the command; an ImportError of everybody else."""
    environment = os.environ | {variable: value}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    for command in (["-m", "fastact", "info"], ["-X", "dev", "-mfastact"]):
        done = python(*command)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            f"python -m fastact: the environment variable {variable}="
        )
        assert f"{value!r} is not possible; allowed" in line
        assert line.endswith(allowed)
    for code in ("import fastact", "import sys; sys.argv = ['-m']; import fastact"):
        done = python("-c", code)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"ImportError: the environment variable {variable}=")
        assert last.endswith(allowed)


def test_a_reader_that_stops_is_no_traceback():
    command = [sys.executable, "-m", "fastact", "info"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_importing_fastact_imports_neither_matplotlib_nor_argparse():
    # What NumPy imports by itself does not count.
    code = (
        "import sys, numpy; before = set(sys.modules); import fastact; "
        "assert not {'argparse', 'matplotlib'} & (set(sys.modules) - before)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("names", "file_name"),
    [
        (["gelu"], "gelu.png"),
        (["gelu", "silu"], "gelu-silu.png"),
        (["gelu", "gelu_exact"], "gelu.png"),
        (["swish_1", "prelu"], "silu-prelu.png"),
    ],
)
def test_plot_writes_a_png_named_after_the_functions(
    names, file_name, tmp_path, capsys
):
    pytest.importorskip("matplotlib")
    assert main(["plot", *names]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [file_name]
    assert (tmp_path / file_name).read_bytes().startswith(PNG)
    assert file_name in capsys.readouterr().out


def test_plot_draws_the_whole_catalogue_into_the_file_it_is_given(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "all.png"
    assert main(["plot", *CATALOGUE, "--output", str(path)]) == 0
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("file_name", ["missing/gelu.png", "gelu.xyz"])
def test_plot_says_when_it_cannot_write(file_name, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["plot", "gelu", "--output", file_name]) == 1
    message = capsys.readouterr().err
    assert f"cannot write {file_name}: there is no" in message
    assert "Errno" not in message
    assert list(tmp_path.iterdir()) == []


def test_plot_without_matplotlib_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "gelu"]) == 1
    message = capsys.readouterr().err
    assert 'pip install "fastact[plot]"' in message
    assert "--terminal" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_terminal_picture_fits_80_columns_and_needs_no_matplotlib(
    name, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", name, "--terminal"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(name)
    assert max(map(len, lines)) <= 80
    assert list(tmp_path.iterdir()) == []


def test_terminal_picture_in_a_narrow_terminal_has_the_derivative_below(
    capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "45")
    assert main(["plot", "gelu", "--terminal"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 45
    titles = [line.strip() for line in lines if "f" in line and "⠀" not in line]
    assert titles[-2:] == ["f(x)", "f'(x)"]


def test_terminal_picture_in_an_encoding_without_its_dots_says_what_to_do():
    done = subprocess.run(
        [sys.executable, "-m", "fastact", "plot", "gelu", "--terminal"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PYTHONIOENCODING=utf-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"fastact {fa.__version__}\n"


def test_terminal_picture_of_the_identity_is_a_diagonal(capsys):
    main(["plot", "identity", "--terminal"])
    lines = capsys.readouterr().out.splitlines()
    top, bottom = (line for line in lines if line.lstrip().startswith(("5 ", "-5 ⣠")))
    assert top.split()[1].rstrip("⠀").endswith("⠋")
    assert bottom.split()[1].startswith("⣠")


@pytest.mark.parametrize("options", [[], ["--terminal"]])
@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("gleu", "gelu"),
        ("ReLU", "relu"),
        ("gelu_fast", "gelu_tanh"),
        ("xyzzy", "identity"),
        ("gelu_backward", "gelu"),
    ],
)
def test_unknown_name_is_an_error_before_anything_is_written(
    typed, hint, options, tmp_path, capsys
):
    with pytest.raises(SystemExit) as stopped:
        main(["plot", "relu", typed, *options])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert repr(typed) in printed.err
    assert hint in printed.err.partition(repr(typed))[2]
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["info", "plot", "bench", "accuracy", "check"])
def test_help_has_examples_that_can_be_typed(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    _, _, examples = printed.partition("examples:\n")
    assert examples.startswith(f"  python -m fastact {command}")
    assert len(printed.split("\n\n")[1]) > 60  # it is described


# ------------------------------------------------------------------------------ bench


def _bench(*arguments: str) -> int:
    return main(["bench", "--seconds", "0.001", *arguments])


def test_bench_prints_a_table_for_each_dtype_and_size(capsys):
    pytest.importorskip("scipy")
    arguments = ["--functions", "gelu,expit", "--sizes", "100,1000"]
    assert _bench(*arguments, "--dtypes", "float64", "--backends", "numpy,c") == 0
    printed = capsys.readouterr().out
    assert "100 elements of float64: microseconds per call" in printed
    assert "1,000 elements of float64: billion elements per second" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    heads = [row for row in rows if "C gains" in row]
    assert len(heads) == 2
    for name in ("gelu", "gelu backward", "sigmoid", "sigmoid backward"):
        found = [row.split("|")[1:-1] for row in rows]
        found = [cells for cells in found if cells[0].strip() == name]
        assert len(found) == 2
        for _, numpy, c, gain in found:
            assert float(numpy) > 0
            assert float(c) > 0
            assert float(gain.removesuffix("x ")) > 0


def test_bench_measures_numba_where_a_function_has_it(capsys, tmp_path):
    pytest.importorskip("numba")
    assert (
        _bench("--functions", "relu,softmax", "--direction", "forward",
               "--sizes", "1000", "--backends", "c,numba", "--json", "times.json") == 0
    )  # fmt: skip
    found = json.loads((tmp_path / "times.json").read_text())
    assert fa.__version__ in found["measured with"]
    assert {(r["function"], r["backend"]) for r in found["results"]} == {
        ("relu", "c"),
        ("relu", "numba"),
        ("softmax", "c"),
    }
    assert all(r["seconds"] > 0 and r["elements"] == 1000 for r in found["results"])
    lines = capsys.readouterr().out.splitlines()
    (softmax,) = (line for line in lines if line.startswith("| softmax"))
    assert softmax.replace(" ", "").endswith("|-|")


def test_bench_draws(tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["--functions", "relu,step", "--sizes", "10,1000", "--backends", "c"]
    assert _bench(*arguments, "--output", "relu.png") == 0
    assert (tmp_path / "relu.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--output", "missing/a.png"], "there is no folder missing"),
        (["--output", "."], "it is a folder"),
        (["--json", "."], "it is a folder"),
        (["--output", "a.png", "--json", "../{here}/a.png"], "cannot be both"),
        (["--json", "missing/a.json"], "there is no folder missing"),
        (["--output", "a.png"], 'pip install "fastact[plot]"'),
    ],
)
def test_bench_says_what_is_missing_before_it_measures(
    arguments, hint, capsys, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert _bench(*(a.format(here=tmp_path.name) for a in arguments)) == 1
    printed = capsys.readouterr()
    assert hint in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_bench_knows_before_it_measures_what_matplotlib_cannot_write(capsys):
    pytest.importorskip("matplotlib")
    assert _bench("--output", "a.xyz") == 1
    printed = capsys.readouterr()
    assert "cannot write a.xyz: there is no format 'xyz'" in printed.err
    assert "svg" in printed.err
    assert printed.out == ""


def test_bench_knows_before_it_measures_what_it_may_not_write(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "no.json")
    (tmp_path / "no.json").touch()
    assert _bench("--json", str(tmp_path / "no.json")) == 1
    printed = capsys.readouterr()
    assert "no.json: it is not permitted" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("command", ["plot", "bench"])
def test_an_interrupted_picture_leaves_no_file(command, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    def interrupted(figure: Any, file: Any, **_: Any) -> None:
        file.write(b"half") if hasattr(file, "write") else file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    arguments = {
        "plot": ["plot", "relu", "--output", "a.png"],
        "bench": ["bench", "--functions=relu", "--sizes=10", "--seconds=0.001",
                  "--backends=c", "--output", "a.png"],
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        main(arguments[command])
    assert list(tmp_path.iterdir()) == []


def test_bench_with_a_numba_that_cannot_be_imported_says_what_to_do(
    capsys, monkeypatch
):
    """As one that is there, but refuses this NumPy."""
    pytest.importorskip("numba")
    monkeypatch.setitem(sys.modules, "fastact.numba", None)
    monkeypatch.delattr(fa, "numba", raising=False)
    assert _bench("--functions", "relu", "--sizes", "10") == 1
    printed = capsys.readouterr()
    assert "--backends numpy,c" in printed.err
    assert printed.out == ""


def test_bench_goes_on_after_what_cannot_be_measured(capsys, tmp_path):
    arguments = ["--functions", "maxout,relu", "--sizes", "1", "--json", "a.json"]
    assert _bench(*arguments, "--backends", "c", "--direction", "forward") == 1
    printed = capsys.readouterr()
    assert "| relu" in printed.out
    assert "1 element of float32: microseconds per call" in printed.out
    assert "maxout on 1 element of float32 cannot be measured" in printed.err
    assert "1 is no multiple of 2" in printed.err
    (found,) = json.loads((tmp_path / "a.json").read_text())["results"]
    assert found["function"] == "relu"


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "--sizes", str(10**14), "--functions", "relu", "--backends", "c"],
        ["accuracy", "relu", "--dtype", "float64", "--points", str(10**14)],
    ],
)
def test_more_memory_than_there_is_is_an_error_without_a_traceback(arguments, capsys):
    if arguments[0] == "accuracy":
        pytest.importorskip("mpmath")
    assert main(arguments) == 1
    assert "Unable to allocate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--functions", "gellu"], "did you mean 'gelu'"),
        (["--functions", "rrelu"], "rrelu is not measured itself; prelu"),
        (["--functions", ","], "at least one name"),
        (["--sizes", "10,0"], "whole numbers from 1"),
        (["--sizes", "1e3"], "whole numbers from 1"),
        (["--dtypes", "float31"], "dtypes are float16"),
        (["--backends", "cuda"], "backends are numpy, c, numba"),
        (["--threads", "0"], "a whole number from 1"),
        (["--seconds", "-1"], "a number of seconds"),
        (["--direction", "up"], "invalid choice"),
    ],
)
def test_bench_refuses_what_it_cannot_measure(arguments, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        _bench(*arguments)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err


def test_bench_does_not_time_a_wrong_result(capsys, monkeypatch):
    monkeypatch.setattr(fa, "silu", lambda x, **_: 1.01 * x)
    arguments = ["--functions", "silu", "--direction", "forward", "--sizes", "10"]
    assert _bench(*arguments, "--backends", "c") == 1
    printed = capsys.readouterr()
    assert "silu on 10 elements of float32 cannot be measured" in printed.err
    assert "the result is wrong" in printed.err
    assert "per call" not in printed.out


def test_bench_without_scipy_leaves_out_what_needs_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    arguments = ["--functions", "gelu", "--direction", "forward", "--sizes", "10"]
    assert _bench(*arguments, "--backends", "numpy,c") == 0
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if line.startswith("| gelu"))
    assert row.split("|")[2].strip() == "-"
    assert float(row.split("|")[3]) > 0
    assert "pip install scipy" in printed


# --------------------------------------------------------------------------- accuracy


def _errors(printed: str) -> dict[str, list[str]]:
    lines = [line.split("|") for line in printed.splitlines() if line.startswith("| ")]
    return {line[1].strip(): [c.strip() for c in line[2:-1]] for line in lines[2:]}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("gelu", "float32"), ("prelu", "float64"), ("swish_1", "float16")],
)
def test_accuracy_is_within_the_bounds(name, dtype, capsys):
    pytest.importorskip("mpmath")
    assert main(["accuracy", name, "--dtype", dtype, "--points", "20"]) == 0
    found = _errors(capsys.readouterr().out)
    assert set(found) == {"forward", "derivative"}
    for bound, largest, *_ in found.values():
        assert 0 <= float(largest) <= float(bound)


def test_accuracy_says_what_it_measures(capsys):
    pytest.importorskip("mpmath")
    pytest.importorskip("numba")
    for backend, what in (("c", f"C, {_core.instruction_set}"), ("numba", "Numba")):
        with fa.backend(backend):
            assert main(["accuracy", "relu", "--points", "5"]) == 0
        assert f"relu, float32, {what}: errors at" in capsys.readouterr().out


@pytest.mark.parametrize(("steps", "largest", "status"), [(1, 1, 0), (2, 3, 1)])
def test_accuracy_counts_ulp(steps, largest, status, capsys, monkeypatch):
    """Results that are too large by some numbers.

    Below a power of two the first step is a ULP, and the second, above it, is two.
    """
    pytest.importorskip("mpmath")

    def too_large(x: Any) -> Any:
        moved = x.copy()
        moved[np.abs(x) > 1e30] = 0
        for _ in range(steps):
            moved = np.nextafter(moved, np.float32(np.inf))
        return np.where(np.abs(x) > 1e30, x, moved)

    monkeypatch.setattr(fa, "identity", too_large)
    assert main(["accuracy", "identity", "--points", "50"]) == status
    printed = capsys.readouterr()
    assert _errors(printed.out)["forward"][1] == f"{largest}.000"
    assert ("exceeds its documented bound" in printed.err) == bool(status)
    assert _errors(printed.out)["derivative"][1] == "0.000"


def test_accuracy_without_mpmath_says_what_to_do():
    code = """
import sys
sys.modules["mpmath"] = None  # importing it raises ImportError
from fastact.__main__ import main
sys.exit(main(["accuracy", "gelu"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'need mpmath: pip install "fastact[accuracy]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["gleu"], "did you mean 'gelu'"),
        (["softmax"], "for functions of one number (--help lists them)"),
        (["swiglu"], "for functions of one number (--help lists them)"),
        (["expit_backward"], "it is a member of 'sigmoid'"),
        (["gelu", "--points", "none"], "a whole number from 1"),
        (["gelu", "--dtype", "float32,float64"], "one dtype at a time"),
        (["gelu", "--dtype", "int8"], "dtypes are"),
    ],
)
def test_accuracy_refuses_what_it_cannot_measure(arguments, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["accuracy", *arguments])
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err


# ------------------------------------------------------------------------------ check


def test_check_finds_nothing_wrong_here(capsys):
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("All is well")
    assert {line.split()[0] for line in lines[:-2]} <= {"ok", "skipped"}
    assert len(lines) == len(check.CHECKS) + 2


def test_check_needs_nothing_but_numpy():
    code = """
import sys
wanted = ("numba", "llvmlite", "scipy", "mpmath", "matplotlib", "ml_dtypes")
sys.modules.update(dict.fromkeys(wanted))  # importing them raises ImportError
from fastact.__main__ import main
sys.exit(main(["check"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped A kernel that Numba compiles" in done.stdout


def _off(name: str, when: Callable[..., bool]) -> Callable[..., Any]:
    """A function of fastact that is wrong now and then."""
    right = getattr(fa, name)

    def function(*arrays: Any, **keywords: Any) -> Any:
        found = right(*arrays, **keywords)
        if not when(*arrays):
            return found
        if isinstance(found, tuple):
            return tuple(result + result.dtype.type(0.5) for result in found)
        return found + found.dtype.type(0.5)

    return function


def _in_turns() -> Callable[..., bool]:
    calls = iter(range(1000))
    return lambda *_: next(calls) >= 2  # after float32 and float64 of the best one


FAULTS: dict[Callable[[], Any], tuple[str, Callable[..., bool]]] = {
    check.values_and_gradients: ("gelu", lambda x: True),
    check.derivatives: ("silu_derivative", lambda x: True),
    check.gradients_by_other_ways: ("tanh_backward_from_output", lambda *_: True),
    check.narrow_types: ("mish", lambda x: x.dtype == np.float32),
    check.whole_families: ("swiglu_backward", lambda *a: a[0].dtype == np.float16),
    check.special_values: ("tanh", lambda x: np.isinf(x).any()),
    check.instruction_sets: ("erf", _in_turns()),
    check.threads: ("sigmoid", lambda x: fa.get_num_threads() > 1),
    check.arrays_of_all_kinds: ("softsign", lambda x: not x.flags.c_contiguous),
    check.packed_gates: ("glu_packed", lambda *_: True),
    check.along_an_axis: ("softmax", lambda x: x.dtype == np.float64),
    check.numba_kernels: ("gelu", lambda x: fa.get_backend() == "numba"),
}


@pytest.mark.parametrize("one", check.CHECKS, ids=lambda one: one.__name__)
def test_check_finds_what_is_wrong(one, monkeypatch, capsys):
    if reason := check.why_skipped(one):
        pytest.skip(reason)
    name, when = FAULTS[one]
    monkeypatch.setattr(fa, name, _off(name, when))
    assert not check.run([one])
    printed = capsys.readouterr().out
    assert printed.startswith("FAILED")
    assert f"- {name}" in printed
    assert "1 of 1 checks FAILED" in printed


@pytest.mark.parametrize(
    ("one", "name", "when"),
    [
        (
            check.packed_gates,
            "swiglu_packed",
            lambda x, *how: how == (0, "first", True),
        ),
        (check.packed_gates, "reglu_packed_backward", lambda dy, *_: dy.itemsize == 2),
        (check.packed_gates, "crelu", lambda x, axis: axis == 0),
        (check.packed_gates, "crelu_backward", lambda *_: True),
        (check.along_an_axis, "sparsemax", lambda x: x.itemsize == 2),
        (check.along_an_axis, "softmin_backward", lambda dy, x: x.itemsize == 2),
        (check.along_an_axis, "maxout_backward", lambda dy, x, _: len(x) == 30),
        (check.along_an_axis, "softmax_backward_from_output", lambda *_: True),
        (check.along_an_axis, "entmax15_backward_from_output", lambda *_: True),
    ],
)
def test_check_looks_at_all_members_of_these_families(
    one, name, when, monkeypatch, capsys
):
    monkeypatch.setattr(fa, name, _off(name, when))
    assert not check.run([one])
    assert f"- {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "function",
    ["softmax", "softmax_backward", "logsumexp", "log_softmax_backward_from_output"],
)
@pytest.mark.parametrize("dtype", ["e", "d"])
def test_check_notices_a_selection_that_is_ignored(
    function, dtype, monkeypatch, capsys
):
    right = getattr(fa, function)

    def ignoring(*arrays: Any, where: Any = None, **keywords: Any) -> Any:
        if arrays[-1].dtype.char != dtype:
            keywords["where"] = where
        return right(*arrays, **keywords)

    monkeypatch.setattr(fa, function, ignoring)
    assert not check.run([check.along_an_axis])
    printed = capsys.readouterr().out
    assert f"- {function}, {np.dtype(dtype)}, some elements along axis" in printed


@pytest.mark.parametrize(
    ("kernel", "other", "type_"),
    [
        ("elu", "celu_derivative", "f"),
        ("threshold", "scaled_tanh", "d"),
        ("elu_default", "selu", "e"),
        ("elu_backward", "elu_backward_from_output", "d"),
        ("geglu_backward", "swiglu_backward", "e"),
        ("gelu_with_derivative", "silu_with_derivative", "f"),
        ("tanh_backward_from_output", "sigmoid_backward_from_output", "e"),
        ("softcap_backward_from_output", "swish_backward", "f"),
        ("swish_parameter_backward", "softplus_parameter_backward", "d"),
        ("swish_parameter_backward", "softplus_parameter_backward", "e"),
    ],
)
def test_check_notices_every_kind_of_kernel(kernel, other, type_, capsys):
    """Another kernel's code in its place, with arguments of the same number."""
    record = fa.lib.fa_kernels[_core.kernel_index[kernel, type_]]
    right = record.c
    record.c = fa.lib.fa_kernels[_core.kernel_index[other, type_]].c
    try:
        ways = [check.gradients_by_other_ways, check.whole_families]
        assert not check.run([check.values_and_gradients, *ways])
    finally:
        record.c = right
    assert f"- {kernel.removesuffix('_default')}" in capsys.readouterr().out


def test_check_is_about_c_whatever_the_backend(capsys):
    """Numba would compile every kernel, which takes minutes."""
    pytest.importorskip("numba")
    seen = []

    def ask() -> Any:
        seen.append(fa.get_backend())
        yield from ()

    with fa.backend("numba"):
        assert check.run([ask])
        assert fa.get_backend() == "numba"
    assert seen == ["c"]


def test_check_reports_an_error_as_a_failure(monkeypatch, capsys):
    def broken(x: Any, **_: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr(fa, "relu", broken)
    assert not check.run([check.threads])
    assert "RuntimeError: out of order" in capsys.readouterr().out


def test_check_leaves_the_instruction_set_as_it_was():
    before = fa.gelu(np.linspace(-3, 3, 100))
    list(check.instruction_sets())
    assert show_config("dicts")["instruction set"] == _core.instruction_set
    assert before.tobytes() == fa.gelu(np.linspace(-3, 3, 100)).tobytes()


# --------------------------------------------------------------------------- progress


@pytest.mark.parametrize("terminal", [False, True])
def test_the_bar_is_for_terminals_and_goes_away(terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress(2) as step:
        step("first")
        step("second")
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.split("\r\x1b[K")
    if not terminal:
        assert lines == [""]
        return
    assert [line.split()[-1] for line in lines if line] == ["first", "second"]
    assert "0/2" in lines[1]
    assert "1/2" in lines[2]
    assert lines[-1] == ""


def test_the_bar_stays_on_one_line_of_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    with progress(1) as step:
        step("softmax_cross_entropy backward, 1,000,000 elements of float32")
    line = max(capsys.readouterr().err.split("\r\x1b[K"), key=len)
    assert 30 < len(line) < 40
    assert "softmax_cross" in line
