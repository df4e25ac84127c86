"""Options of the benchmark, and settings that every benchmark gives back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from implementations import (
    ALL_THREADS,
    CORE,
    DTYPES,
    HAS_NUMBA,
    ISA,
    OUTPUTS,
    SIZES,
    cases,
    parse_dtypes,
    parse_functions,
    parse_sizes,
)
from pytest_benchmark.logger import PytestBenchmarkWarning

import fastact as fa


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastact")
    group.addoption(
        "--sizes",
        type=parse_sizes,
        default=SIZES,
        help="elements per call, separated by commas (default: 10,100,100000)",
    )
    group.addoption(
        "--dtypes",
        type=parse_dtypes,
        default=("float32",),
        help=f"{','.join(DTYPES)} or some of them (default: float32)",
    )
    group.addoption(
        "--functions",
        type=parse_functions,
        default=CORE,
        help="names separated by commas, core or all (default: core)",
    )
    group.addoption("--peer", help="the library that peer_throughput.py measures")
    group.addoption(
        "--outputs",
        choices=OUTPUTS,
        default=OUTPUTS[0],
        help="whether peer_throughput.py has results written to a ready array, where "
        "the library can, or to a fresh one (default: %(default)s)",
    )
    group.addoption(
        "--progress-fd",
        type=int,
        help="file descriptor to which the number of benchmarks and then the name of "
        "each one that starts are written (bench/report.py shows them)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.option
    if "case" in metafunc.fixturenames:
        metafunc.parametrize(
            "case", cases(option.sizes, option.dtypes, option.functions), ids=str
        )
    if "peer_case" in metafunc.fixturenames:
        # accuracy/ lies beside bench/, and is not needed without peers
        import peer_implementations

        if option.peer not in peer_implementations.PEERS:
            known = ", ".join(peer_implementations.PEERS)
            raise pytest.UsageError(f"--peer is one of {known}; not {option.peer}")
        found = peer_implementations.cases(
            option.sizes, option.dtypes, option.functions
        )
        metafunc.parametrize("peer_case", found, ids=str)


_REJECTED = pytest.StashKey[dict[str, dict[str, str]]]()


@pytest.fixture(scope="session")
def rejected(pytestconfig: pytest.Config) -> dict[str, dict[str, str]]:
    """Of each peer case the spellings whose results are wrong, and what is wrong."""
    return pytestconfig.stash.setdefault(_REJECTED, {})


class _Progress:
    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", buffering=1)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        print(len(session.items), file=self._stream)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        _, _, name = nodeid.partition("::")
        print(name, file=self._stream)

    def pytest_unconfigure(self) -> None:
        self._stream.close()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # What pytest-benchmark says to its user, as "compared with another machine", is no
    # defect of ours: it must not become an error as other warnings do. The first filter
    # is for now, the second for the hooks around which pytest sets its filters anew.
    warnings.simplefilter("default", PytestBenchmarkWarning)
    config.addinivalue_line(
        "filterwarnings", "default::pytest_benchmark.logger.PytestBenchmarkWarning"
    )
    if config.option.progress_fd is not None:
        config.pluginmanager.register(_Progress(config.option.progress_fd))


def pytest_benchmark_update_json(
    config: pytest.Config, output_json: dict[str, Any]
) -> None:
    """Say what was measured; not in machine_info, which must not differ in comparisons."""
    packages = ("numpy", *(["numba"] if HAS_NUMBA else []))
    installed = {name: version(name) for name in packages}
    output_json["fastact"] = {
        "versions": {"fastact": fa.__version__, **installed},
        "isa": ISA,
        "threads": ALL_THREADS,
        "rejected": config.stash.get(_REJECTED, {}),
    }


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    threads: int = fa.get_num_threads()
    backend: Any = fa.get_backend()
    yield
    fa.set_num_threads(threads)
    fa.set_backend(backend)
