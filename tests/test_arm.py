"""The bits of tests/bits.json, from the aarch64 build under emulation: make test-arm."""

from __future__ import annotations

import arm
import bits
import pytest


@pytest.fixture(scope="module", autouse=True)
def driver(pytestconfig: pytest.Config) -> None:
    """It has to be asked for: the tools are not everywhere, and it takes minutes."""
    if not pytestconfig.getoption("--arm"):
        pytest.skip("needs --arm and build/arm/driver: make test-arm")


@pytest.mark.parametrize("instruction_set", ["neon", "baseline"])
@pytest.mark.parametrize("dtype", bits.DTYPES)
def test_bits_are_those_of_the_file(dtype: str, instruction_set: str) -> None:
    if bits.dtype_named(dtype) is None:
        pytest.skip("bfloat16 needs ml_dtypes")
    with arm.Emulated(instruction_set) as emulated:
        complaint = bits.difference(dtype, bits.hashes(dtype, emulated))
    assert not complaint, complaint


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_the_same_for_strides_and_threads(dtype: str) -> None:
    with arm.Emulated(threads=3, stride=3) as emulated:
        complaint = bits.difference(dtype, bits.hashes(dtype, emulated))
    assert not complaint, complaint
