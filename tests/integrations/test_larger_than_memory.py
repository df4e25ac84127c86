"""The example that trains on several worker processes, in a small configuration."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastact as fa

pytest.importorskip("distributed", reason="needs dask with distributed")
pytest.importorskip("sklearn", reason="the images come with scikit-learn")
pytest.importorskip("matplotlib", reason="the example draws a picture")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)  # where workers look for it, too
    return importlib.import_module("larger_than_memory")


def test_it_learns_on_two_workers(
    example: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: dict[str, int] = {}
    processes: dict[str, int] = {}
    train = example.train

    def train_and_ask(client: Any, *arguments: Any) -> Any:
        threads.update(client.run(fa.get_num_threads))
        processes.update(client.run(os.getpid))
        return train(client, *arguments)

    monkeypatch.setattr(example, "train", train_and_ask)
    losses, accuracy = example.main(
        ["--files=8", "--rows=500", "--passes=24", f"--output={tmp_path}"]
    )
    assert losses[0] > 2
    assert losses[-1] < 1
    assert accuracy > 0.8
    assert list(threads.values()) == [1, 1]
    assert len(set(processes.values())) == 2
    printed = capsys.readouterr().out
    assert "data: 0.00 GB in 8 files; workers: 2 processes of 0.40 GB" in printed
    assert f"{accuracy:.1%}" in printed
    assert (tmp_path / "larger_than_memory.png").exists()


def test_the_tree_adds_up_every_part(example: ModuleType) -> None:
    for count in (1, 2, 4, 5, 17):
        parts = [[i, np.full(3, i)] for i in range(count)]
        lazy = example.in_a_tree([example.dask.delayed(part) for part in parts])
        number, array = lazy.compute(scheduler="synchronous")
        assert number == sum(range(count))
        np.testing.assert_array_equal(array, [number] * 3)


def test_sums_have_the_gradients_of_differences(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    network = example.Network(
        (5, 4, 3), "gelu", lambda shape, _: rng.standard_normal(shape)
    )
    x, labels = rng.standard_normal((7, 5)), rng.integers(3, size=7)
    count, _, *slopes = example.sums(network, x, labels)
    assert count == 7
    step = 1e-6
    for value, slope in zip(network.weights + network.biases, slopes, strict=True):
        place = tuple(length - 1 for length in value.shape)
        losses = []
        for change in (step, -2 * step):
            value[place] += change
            losses.append(example.sums(network, x, labels)[1])
        value[place] += step
        difference = (losses[0] - losses[1]) / (2 * step)
        assert slope[place] == pytest.approx(difference, rel=1e-5)
