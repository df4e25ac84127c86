"""Options of the benchmark, and settings that every benchmark gives back."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from implementations import (
    ALL,
    ALL_THREADS,
    CORE,
    DTYPES,
    HAS_NUMBA,
    ISA,
    SIZES,
    cases,
)
from pytest_benchmark.logger import PytestBenchmarkWarning

import fastact as fa
from fastact.lookup import canonical_name


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(word) for word in text.split(","))
    if min(sizes) < 1:
        raise ValueError("a size is at least 1")
    return sizes


def _dtypes(text: str) -> tuple[str, ...]:
    dtypes = tuple(text.split(","))
    if not set(dtypes) <= set(DTYPES):
        raise ValueError(f"dtypes are {', '.join(DTYPES)}")
    if "bfloat16" in dtypes and importlib.util.find_spec("ml_dtypes") is None:
        raise ValueError('bfloat16 needs ml_dtypes: pip install "fastact[bfloat16]"')
    return dtypes


def _functions(text: str) -> tuple[str, ...]:
    if text in ("core", "all"):
        return CORE if text == "core" else ALL
    return tuple(canonical_name(name) for name in text.split(","))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastact")
    group.addoption(
        "--sizes",
        type=_sizes,
        default=SIZES,
        help="elements per call, separated by commas (default: 10,100,100000)",
    )
    group.addoption(
        "--dtypes",
        type=_dtypes,
        default=("float32",),
        help=f"{','.join(DTYPES)} or some of them (default: float32)",
    )
    group.addoption(
        "--functions",
        type=_functions,
        default=CORE,
        help="names separated by commas, core or all (default: core)",
    )
    group.addoption(
        "--progress-fd",
        type=int,
        help="file descriptor to which the number of benchmarks and then the name of "
        "each one that starts are written (bench/report.py shows them)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        option = metafunc.config.option
        metafunc.parametrize(
            "case", cases(option.sizes, option.dtypes, option.functions), ids=str
        )


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


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Say what was measured; not in machine_info, which must not differ in comparisons."""
    packages = ("fastact", "numpy", *(["numba"] if HAS_NUMBA else []))
    output_json["fastact"] = {
        "versions": {name: version(name) for name in packages},
        "isa": ISA,
        "threads": ALL_THREADS,
    }


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    threads: int = fa.get_num_threads()
    backend: Any = fa.get_backend()
    yield
    fa.set_num_threads(threads)
    fa.set_backend(backend)
