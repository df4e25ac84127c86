"""The bits of tests/bits.json, from every instruction set of this machine.

That they are the bits for all threads, strides and places in an array is the matter of
test_same_bits.py and test_softmax.py; that all of Numba's are the same, of test_numba.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bits
import numpy as np
import pytest
from calls import CALLS
from conftest import NUMBA_SAMPLE

import fastact as fa

HAS_FMA = fa._core.available_instruction_sets() != ("baseline",)


@pytest.fixture(params=bits.DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Every dtype that can be had here."""
    if bits.dtype_named(request.param) is None:
        pytest.skip("bfloat16 needs ml_dtypes")
    return request.param


def test_bits_are_those_of_the_file(instruction_set: str, dtype: str) -> None:
    if instruction_set == "baseline" and dtype != "float64":
        pytest.skip("the baseline's fma in float32 is no exact one (test_dispatch.py)")
    with fa.num_threads(1):
        complaint = bits.difference(dtype, bits.hashes(dtype))
    assert not complaint, complaint


@pytest.mark.numba
@pytest.mark.skipif(not HAS_FMA, reason="without FMA, Numba may round differently")
def test_bits_of_numba_are_those_of_the_file(dtype: str) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("fastact.numba", exc_type=ImportError)
    found = bits.dtype_named(dtype)
    with fa.backend("numba"):
        sample = {
            str(call): bits.hash_of(call, found)
            for call in CALLS
            if str(call) in NUMBA_SAMPLE
        }
    assert len(sample) == len(NUMBA_SAMPLE)
    functions = bits.stored()["hashes"]
    assert sample == {name: functions[name][dtype] for name in sample}


def test_16_bit_inputs_are_all_there_are() -> None:
    for stream in range(3):
        patterns = bits.inputs(np.dtype(np.float16), stream).view(np.uint16)
        assert np.array_equal(np.sort(patterns), np.arange(1 << 16))


def test_every_special_number_meets_every_other() -> None:
    columns = [bits.pairs(np.dtype(np.float32), i).view(np.uint32) for i in range(3)]
    count = np.unique(columns[0]).size
    for i, j in ((0, 1), (0, 2), (1, 2)):
        met = np.unique(np.stack([columns[i], columns[j]]), axis=1)
        assert met.shape[1] == count**2


def test_one_changed_bit_changes_the_hash_and_nan_is_one() -> None:
    x = np.array([1, np.nan, -0.0], np.float32)
    expected = bits.digest((x,))
    for place in range(3):
        for bit in range(32):
            changed = x.copy()
            changed.view(np.uint32)[place] ^= np.uint32(1 << bit)
            same = bits.digest((changed,)) == expected
            assert same == bool(np.isnan(changed[place]) and np.isnan(x[place]))


@pytest.fixture
def a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of hashes where it may be changed, and little to compute."""
    copy = tmp_path / "bits.json"
    copy.write_text(bits.FILE.read_text())
    monkeypatch.setattr(bits, "FILE", copy)
    functions = bits.stored()["hashes"]

    def known(dtype: str) -> dict[str, str]:
        return {name: of[dtype] for name, of in functions.items() if dtype in of}

    monkeypatch.setattr(bits, "hashes", known)
    return copy


def _edit(file: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, file.read_text(), count=1)
    assert count == 1
    file.write_text(text)


def test_a_complaint_names_the_functions_and_what_to_do(a_copy: Path) -> None:
    found = bits.hashes("float32")
    assert bits.difference("float32", found) == ""
    _edit(a_copy, r'("gelu":.*"float32": ")\w+', r"\g<1>0")
    _edit(a_copy, r'"silu":', '"gone":')
    complaint = bits.difference("float32", found)
    assert "float32 than those of tests/bits.json: gelu\n" in complaint
    assert "not in tests/bits.json: silu\n" in complaint
    assert "only in tests/bits.json: gone\n" in complaint
    assert "python tests/bits.py --update" in complaint
    assert "CHANGELOG.md" in complaint


def test_an_update_raises_the_version_only_for_changed_bits(
    a_copy: Path, capsys: Any
) -> None:
    original = a_copy.read_text()
    version = bits.stored()["version"]
    bits.update()
    assert a_copy.read_text() == original
    _edit(a_copy, r'    "silu":.*\n', "")  # as if it were a new function
    bits.update()
    assert a_copy.read_text() == original
    _edit(a_copy, r'("gelu":.*"float32": ")\w+', r"\g<1>0")
    bits.update()
    assert bits.stored()["version"] == version + 1
    assert "other bits than before: gelu\n" in capsys.readouterr().out
