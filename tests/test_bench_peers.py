"""The comparison with peers: what it makes of measurements. No peer is needed."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import peer_report
import pytest
import training_step
from implementations import C_ALL
from peer_implementations import (
    FROM_OUTPUT,
    MKL,
    NUMEXPR,
    ONNX,
    PEERS,
    TORCH_BACKWARD,
    TORCH_FROM_OUTPUT,
    TORCH_READY,
    PeerCase,
    _spelling,
    cases,
    measurable,
    spellings,
)
from rich.console import Console

from fastact.commands.cases import check
from fastact.formulas.entry import CATALOGUE
from fastact.ufuncs import ROW_FUNCTIONS

GROUP = ("float32", 2, "ready")


def _benchmark(
    peer: str, seconds: float, elements: int = 1000, **info: Any
) -> dict[str, Any]:
    facts = {"label": "gelu", "direction": "forward", "dtype": "float32"}
    facts |= {"threads": 2, "outputs": "ready", "ready": True, "from_output": False}
    facts |= {"elements": elements, "peer": peer, **info}
    name = "-".join(str(facts[key]) for key in ("label", "direction", "elements"))
    return {"name": name, "stats": {"min": seconds}, "extra_info": facts}


def _data(*benchmarks: dict[str, Any], **rejected: Any) -> dict[str, Any]:
    return {
        "benchmarks": list(benchmarks),
        "fastact": {"isa": "avx2", "rejected": rejected},
        "datetime": "2026-01-02T03:04:05",
    }


def _cells(*benchmarks: dict[str, Any]) -> list[peer_report.Cell]:
    return peer_report.cells(_data(*benchmarks))


def test_of_several_turns_the_shortest_counts() -> None:
    turns = [
        _data(_benchmark("fastact", 2e-6), _benchmark("torch", 5e-6)),
        _data(_benchmark("fastact", 3e-6), jax={"a call": "a reason"}),
        _data(_benchmark("torch", 4e-6), _benchmark("torch", 9e-6, threads=1)),
    ]
    before = copy.deepcopy(turns)
    merged = peer_report.merge(turns)
    assert turns == before
    found = [
        (b["extra_info"]["peer"], b["extra_info"]["threads"], b["stats"]["min"])
        for b in merged["benchmarks"]
    ]
    assert found == [("fastact", 2, 2e-6), ("torch", 2, 4e-6), ("torch", 1, 9e-6)]
    assert merged["fastact"]["rejected"] == {"jax": {"a call": "a reason"}}
    assert peer_report.merge([]) == {}


def test_the_ratio_is_that_of_the_best_peer() -> None:
    (cell,) = _cells(
        _benchmark("jax", 9e-6), _benchmark("fastact", 2e-6), _benchmark("torch", 3e-6)
    )
    assert cell.best == "torch"
    assert cell.ratio == pytest.approx(1.5)
    assert cell.throughput("torch") == pytest.approx(1 / 3)
    for alone in ("fastact", "torch"):
        (cell,) = _cells(_benchmark(alone, 1e-6))
        assert cell.ratio is None


def test_the_table_names_the_peer_and_shows_what_is_lost() -> None:
    found = _cells(
        _benchmark("fastact", 2e-6),
        _benchmark("torch", 1e-6),
        _benchmark("fastact", 1e-6, 10),
        _benchmark("thinc", 3e-6, 10, ready=False),
        _benchmark("fastact", 1e-6, direction="backward"),
        _benchmark("thinc", 30e-6, direction="backward", ready=False, from_output=True),
        _benchmark("fastact", 1e-6, label="elu"),
    )
    table = peer_report.ratio_table(GROUP, found)
    assert table.columns == ("", "10", "1,000")
    assert table.rows == [
        ("gelu", "3.00 thinc", "**0.50** PyTorch"),  # few: a fresh array is as good
        ("gelu backward", "-", "30 thinc†‡"),
        ("elu", "-", "-"),
    ]
    few, many = peer_report.summary(GROUP, found)
    assert few.endswith("mean of the ratios 3.00, slower in 0 of 1 cells.")
    assert "mean of the ratios 3.87, slower in 1 of 2 cells: gelu 0.50." in many
    assert many.endswith(" Without those marked †: 0.50.")


def test_all_libraries_stand_in_a_table() -> None:
    found = _cells(
        _benchmark("fastact", 2e-6, 10),
        _benchmark("jax", 4e-6, 10),
        _benchmark("fastact", 2e-6),
        _benchmark("numpy", 5e-6, ready=False),
    )
    few, many = (peer_report.table_of_libraries(GROUP, n, found) for n in (10, 1000))
    assert few.title.startswith("Microseconds")
    assert (few.columns, few.rows) == (("", "fastact", "JAX"), [("gelu", "2", "4")])
    assert many.columns == ("", "fastact", "NumPy")
    assert many.rows == [("gelu", "0.5", "0.2‡")]


def test_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown, picture = tmp_path / "peers.md", tmp_path / "peers.png"
    monkeypatch.setattr(peer_report, "MARKDOWN", markdown)
    monkeypatch.setattr(peer_report, "PICTURE", picture)
    machine = {"bytes_per_second": {"1000": 8e9, "100000": 8e9}, "fma_per_second": 1e11}
    data = _data(
        *(_benchmark("fastact", 1e-6, n) for n in (10, 1000, 100_000)),
        *(_benchmark("torch", 2e-6, n) for n in (10, 1000, 100_000)),
        **{"thinc gelu": {"ops.gelu(x)": "wrong"}},
    )
    data["fastact"] |= {
        "roofline": {"2": {"float32": machine}},
        "settings": {"processor": "A processor", "versions": {"torch": "2"}},
    }
    peer_report.show(data, Console(width=100))
    text = markdown.read_text()
    assert text.startswith("A processor, avx2, torch 2, 2026-01-02\n")
    assert "2.00 PyTorch" in text
    assert "thinc gelu" in text
    assert "2.00 PyTorch" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_ceilings_follow_from_the_machine_and_the_formula() -> None:
    machine = {"bytes_per_second": {"1000": 8e9}, "fma_per_second": 6e9}
    rooflines = {"2": {"float32": machine}}
    forward, backward, row, small = (
        _cells(_benchmark("fastact", 1e-6, **info))[0]
        for info in (
            {"label": "relu"},
            {"label": "relu", "direction": "backward"},
            {"label": "softmax, axis 0"},
            {"elements": 10},
        )
    )
    memory, arithmetic = peer_report.ceilings(forward, rooflines)
    assert memory == pytest.approx(1.0)  # 4 bytes read, 4 written
    assert arithmetic is not None
    assert 6 / arithmetic == pytest.approx(round(6 / arithmetic))
    assert peer_report.ceilings(backward, rooflines)[0] == pytest.approx(2 / 3)
    assert peer_report.ceilings(row, rooflines) == (pytest.approx(1.0), None)
    assert peer_report.ceilings(small, rooflines) == (None, None)


def test_finished_runs_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = peer_report.parse(["--peers=fastact,torch,mkl", "--dtypes=float32"])
    assert len(peer_report.runs(options)) == 6
    started: list[str] = []
    broken = {"torch"}

    def follow(command: list[str], *_: Any, **__: Any) -> int:
        words = dict(w.lstrip("-").split("=") for w in command if "=" in w)
        started.append(words["peer"])
        if words["peer"] in broken:
            return 1
        if words["peer"] != "mkl":  # as if it had none of the functions
            Path(words["benchmark-json"]).write_text(json.dumps(_data()))
        return 0

    monkeypatch.setattr(peer_report, "follow", follow)
    monkeypatch.setattr(peer_report, "LOG", tmp_path / "log")
    console = Console(quiet=True)
    failed = peer_report.measure(options, tmp_path, console)
    assert [(run.peer, run.turn) for run in failed] == [("torch", 1), ("torch", 2)]
    assert started == ["fastact", "torch", "mkl"] * 2
    broken.clear()
    started.clear()
    assert peer_report.measure(options, tmp_path, console) == []
    assert started == ["torch"] * 2


def test_full_is_everything_unless_something_is_named() -> None:
    full = peer_report.parse(["--full", "--dtypes=float64"])
    assert full.dtypes == ("float64",)
    assert full.outputs == ("ready", "fresh")
    assert 1 in full.threads
    assert {"gelu", "snake", "softmax"} < {*full.functions}
    assert all(map(measurable, full.functions))


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [
        ("--peers=tensorflow", "peers are fastact, numpy, torch"),
        ("--sizes=0", "sizes are whole numbers from 1"),
        ("--sizes=1e3", "sizes are whole numbers from 1"),
        ("--dtypes=int8", "dtypes are float16"),
        ("--threads=0", "threads are numbers from 1 to"),
        ("--outputs=old", "outputs are ready, fresh"),
        ("--functions=swiglu", "leave it out"),
        ("--functions=gelo", "gelu"),
        ("--turns=0", "turns are at least 1"),
    ],
)
def test_errors_say_what_is_possible(
    argument: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        peer_report.parse([argument])
    message = " ".join(capsys.readouterr().err.split())
    assert argument.partition("=")[0] in message
    assert remedy in message


def test_the_calls_of_peers_are_of_functions_that_fastact_has() -> None:
    tables = (
        TORCH_READY,
        TORCH_BACKWARD,
        TORCH_FROM_OUTPUT,
        MKL,
        ONNX,
        *NUMEXPR.values(),
    )
    assert {name for table in tables for name in table} <= {*CATALOGUE, *ROW_FUNCTIONS}


@pytest.mark.parametrize("direction", NUMEXPR)
def test_what_numexpr_evaluates_is_the_function(direction: str) -> None:
    for name, text in NUMEXPR[direction].items():
        case = PeerCase(name, direction, "float64", 1000, C_ALL)
        found = eval(text, {**vars(np), **case.inputs})
        check(found, case, case.expected_arguments)


@pytest.mark.parametrize("peer", ["fastact", "numpy"])
def test_spellings_compute_the_case(peer: str) -> None:
    functions = ("leaky_relu", "prelu", "sigmoid", "softmax")
    measured = set()
    for case in cases((10, 5000), ("float32",), functions):
        for spelling in spellings(peer, case):
            measured.add((case.direction, spelling.ready))
            result = spelling.result(spelling())
            assert result.shape == case.inputs["x"].shape
            check(result, case, case.expected_arguments)
            assert spelling.from_output == (case.direction == FROM_OUTPUT)
    assert ("backward", False) in measured
    assert ((FROM_OUTPUT, True) in measured) == (peer == "fastact")


def test_both_axes_have_the_same_rows() -> None:
    last, first = (
        PeerCase("softmax", "backward", "float32", 5000, C_ALL, axis=axis)
        for axis in (-1, 0)
    )
    assert (last.shape, first.shape) == ((5, 1000), (1000, 5))
    for case, shape in ((last, (3, 1000)), (first, (1000, 3))):
        inputs = case.inputs
        np.testing.assert_allclose(inputs["y"].sum(axis=case.axis), 1, rtol=1e-5)
        assert case.some(inputs["x"], 2000).shape == shape  # rows are whole
    assert str(last) != str(first)


def test_only_the_outermost_call_is_timed() -> None:
    calls: list[str] = []

    def forward(x: int) -> int:
        calls.append("forward")
        return x + 1

    def backward(dy: int, y: int) -> int:
        calls.append("backward")
        return dy * y

    names = {"forward": forward, "backward": backward, "x": 2, "dy": 5}
    spelling = _spelling("backward(dy, forward(x))", names)
    assert calls == ["forward"]
    assert spelling() == 15
    assert calls == ["forward", "backward"]
    with pytest.raises(ValueError, match="must be a call"):
        _spelling("forward", names)


def test_every_run_has_a_name_of_its_own() -> None:
    names = [run.name for run in peer_report.runs(peer_report.parse(["--full"]))]
    assert len({*names}) == len(names)
    assert peer_report.COLORS.keys() == PEERS.keys()


def test_threads_are_those_that_the_process_may_use() -> None:
    options: argparse.Namespace = peer_report.parse(["--threads=1,all,1"])
    assert options.threads[0] == 1
    assert len({*options.threads}) == len(options.threads)


@pytest.mark.parametrize("name", training_step.ACTIVATIONS)
def test_training_steps_are_the_same_with_all_functions(name: str) -> None:
    losses = []
    for library in (training_step.EXPRESSIONS, training_step.IN_PLACE, "fastact"):
        step = training_step.numpy_steps(library, name, 8, 6)
        losses.append([step()[1] for _ in range(4)])
    np.testing.assert_allclose(losses, losses[:1] * 3, rtol=1e-5)
    assert losses[0][0] > losses[0][-1]
