"""The end-to-end row: one epoch of training on real images of handwritten digits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from implementations import C_ALL, ISA, NUMPY, Implementation

import fastact as fa

ACTIVATION = "gelu"
EPOCHS = 15
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.py"


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    """The example, which is a script and not in any package."""
    pytest.importorskip("sklearn", reason="the images come with scikit-learn")
    spec = importlib.util.spec_from_file_location("digits", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("implementation", [NUMPY, C_ALL], ids=str)
def test_training(
    implementation: Implementation, digits: ModuleType, benchmark: Any
) -> None:
    images, labels, *_ = digits.load_data()
    network, reference = (
        digits.Network(functions, ACTIVATION)
        for functions in (
            fa.plain if implementation is NUMPY else fa,
            fa.plain,
        )
    )
    benchmark.group = f"end to end: an epoch on handwritten digits with {ACTIVATION}"
    benchmark.extra_info.update(
        implementation=implementation.name,
        function=ACTIVATION,
        dtype="float32",
        threads=fa.get_num_threads(),
        isa=ISA,
        end_to_end=True,
        checked=False,
    )
    # The first epoch warms up. From the same weights both must learn the same.
    np.testing.assert_allclose(
        network.train_epoch(images, labels),
        reference.train_epoch(images, labels),
        rtol=1e-3,
    )
    benchmark.extra_info["checked"] = True
    benchmark.pedantic(network.train_epoch, (images, labels), rounds=EPOCHS)
