"""Fixtures that run a test over the whole catalogue."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calls import CALLS, ENTRIES, PARAMETRIC, Call

import fastact as fa
from fastact import _core
from fastact.formulas.entry import Entry

# One Numba kernel takes half a second to compile, so the Numba backend runs a sample:
# one array and two, one result and two, a parameter, a kernel with a long formula.
NUMBA_SAMPLE = ("gelu_backward", "leaky_relu(0.75)", "tanh_with_derivative")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test-numba` asks for all Numba kernels, `make test-arm` for aarch64."""
    parser.addoption(
        "--all-numba-kernels",
        action="store_true",
        help="compare every Numba kernel with C, not a sample (takes minutes)",
    )
    parser.addoption(
        "--arm",
        action="store_true",
        help="run the aarch64 build under emulation, too (make test-arm)",
    )


def _calls() -> Iterator[Any]:
    for call in CALLS:
        yield pytest.param((call, "c"), id=str(call))
        if str(call) in NUMBA_SAMPLE:
            mark = pytest.mark.numba
            yield pytest.param((call, "numba"), id=f"{call}-on-numba", marks=mark)


@pytest.fixture(params=_calls())
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    """Every elementwise public function on C, and a few on Numba."""
    found, backend = request.param
    if backend == "numba":
        pytest.importorskip("numba")
        pytest.importorskip("fastact.numba", exc_type=ImportError)
    with fa.backend(backend):
        yield found


@pytest.fixture(params=ENTRIES, ids=lambda entry: entry.name)
def entry(request: pytest.FixtureRequest) -> Entry:
    """Every activation."""
    return request.param


@pytest.fixture(params=PARAMETRIC, ids=lambda entry: entry.name)
def parametric(request: pytest.FixtureRequest) -> Entry:
    """Every activation that has parameters."""
    return request.param


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    """Where truths are kept from run to run."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("truth")


@pytest.fixture(scope="module")
def kernels_are_kept(pytestconfig: pytest.Config) -> Iterator[None]:
    """Keep kernels of custom activations from run to run, and not with the user's own."""
    assert pytestconfig.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTACT_CACHE_DIR", str(pytestconfig.cache.mkdir("custom")))
        yield


@pytest.fixture(params=_core.available_instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run on this instruction set, and go back to the best one."""
    assert fa.lib.fa_select_isa(request.param.encode()) == 0
    yield request.param
    fa.lib.fa_select_isa(_core.instruction_set.encode())


@pytest.fixture
def time_limit() -> Iterator[None]:
    """End the whole run, with a traceback of every thread, rather than hang.

    A thread that hangs in C without the GIL does not let Python raise anything.
    """
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def settings_stay() -> Iterator[None]:
    """Threads and backend are settings of the process: no test may leak them."""
    before = fa.get_num_threads(), fa.get_backend()
    yield
    after = fa.get_num_threads(), fa.get_backend()
    fa.set_num_threads(before[0])
    if after[1] != before[1]:
        fa.set_backend(before[1])
    assert after == before
