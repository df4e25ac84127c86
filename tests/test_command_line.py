"""The command line: info and plot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastact import show_config
from fastact.__main__ import main
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
    assert "plot" in result.stdout
    assert "info" in result.stdout


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
    assert f"cannot write {file_name}" in capsys.readouterr().err
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
