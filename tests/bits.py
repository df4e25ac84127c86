"""The bits of all results over a fixed set of inputs: tests/bits.json.

    python tests/bits.py            # compare
    python tests/bits.py --update   # write the file anew

The file has a hash for every function, member, dtype and choice of parameters, but for
those that call the C library. A version goes with it, which a change of any hash raises:
two builds of the same version give the same bits wherever there is FMA, whatever the
instruction set and the processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from calls import (
    BFLOAT16,
    CALLS,
    ENTRIES,
    FORWARD,
    PARAMETER_BACKWARD,
    Call,
    members,
    other_values,
)

import fastact as fa
from fastact.formulas.rows import ROW_FUNCTIONS, ROW_INPUTS, RowFunction

FILE = Path(__file__).parent / "bits.json"
DTYPES = ("float16", "bfloat16", "float32", "float64")

Arrays = tuple[np.ndarray[Any, Any], ...]


# ------------------------------------------------------------------------ the inputs

COUNT = 1 << 14  # of bit patterns, and of ordinary numbers
# Where functions change, and where numbers end; for `pairs` an odd number of them.
SPECIAL = (
    *(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0),
    *(6.0, -6.0, 0.75, -0.75, 1.25, 0.875, 2.375, 17.5, -17.5, 88.75, -87.5, -103.75),
)
EDGES = ("smallest_subnormal", "smallest_normal", "eps", "max")


def random_bits(count: int, stream: int) -> np.ndarray[Any, Any]:
    """SplitMix64 (Steele, Lea and Flood 2014): NumPy's generators may change."""
    step = np.uint64(0x9E3779B97F4A7C15)
    z = np.arange(1 + stream * count, 1 + (stream + 1) * count, dtype=np.uint64) * step
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def ordinary(count: int, stream: int) -> np.ndarray[Any, Any]:
    """Numbers from -16 to 16 in float64, denser towards 0."""
    uniform = (random_bits(count, stream) >> np.uint64(11)) * 2.0**-52 - 1
    return 16 * uniform * np.abs(uniform)


def unevenness(shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    """For each row a level, and how far one of its elements is above the others."""
    rows = np.arange(shape[0])
    found = np.zeros(shape)
    found += np.array([0, -12, 30, 1000, -1000, 5])[rows % 6, None]
    found[rows, rows * 7 % shape[1]] += np.array([0, 8, 20, 40, 90])[rows % 5]
    return found


def pairs(dtype: np.dtype[Any], stream: int) -> np.ndarray[Any, Any]:
    """Special numbers, so that every one of a stream meets every one of another."""
    info = np.finfo(dtype)
    edges = [sign * float(getattr(info, edge)) for edge in EDGES for sign in (1, -1)]
    special = np.array([*SPECIAL, *edges], dtype)
    first, second = np.divmod(np.arange(special.size**2), special.size)
    return special[(first + stream * second) % special.size]


@cache
def inputs(dtype: np.dtype[Any], stream: int) -> np.ndarray[Any, Any]:
    """The array that is a function's operand number `stream`; read-only.

    In a 16-bit type all there are, in another order for each operand.
    """
    if dtype.itemsize == 2:
        odd = np.uint16((1, 40503, 27655)[stream])
        found = (np.arange(1 << 16, dtype=np.uint16) * odd).view(dtype)
    else:
        shift = np.uint64(64 - 8 * dtype.itemsize)
        patterns = (random_bits(COUNT, stream) >> shift).astype(f"u{dtype.itemsize}")
        numbers = ordinary(COUNT, stream + 8).astype(dtype)
        found = np.concatenate([patterns.view(dtype), numbers, pairs(dtype, stream)])
    found.setflags(write=False)
    return found


# --------------------------------------------------------------------- the functions


@dataclass(frozen=True)
class RowCall:
    """A function along the last axis."""

    function: str
    member: str

    def __str__(self) -> str:
        return self.function + self.member

    @property
    def facts(self) -> RowFunction:
        return ROW_FUNCTIONS[self.function]

    @property
    def reduces(self) -> bool:
        """Whether it has one result for each row."""
        return self.facts.reduces and self.member == FORWARD

    def operands(self, dtype: np.dtype[Any]) -> Iterator[Arrays]:
        """Rows that are shorter than a vector, longer, and longer than a buffer.

        Also rows of many levels, where one element may have nearly all the weight.
        """
        for shape, is_uneven in (
            *(((2340, 7), False), ((64, 250), False), ((1, COUNT), False)),
            *(((300, 40), True), ((64, 250), True)),
        ):
            arrays = []
            for stream, name in enumerate(ROW_INPUTS[self.member]):
                single = self.facts.reduces and name == "dy"
                given = shape[:1] if single else shape
                array = ordinary(COUNT, stream)[: int(np.prod(given))].reshape(given)
                if name == "x" and is_uneven:
                    array = array + unevenness(shape)
                arrays.append((abs(array) / 16 if name == "y" else array).astype(dtype))
            yield tuple(arrays)


AnyCall = Call | RowCall
Run = Callable[[AnyCall, Arrays], Arrays]

ROW_CALLS = [
    RowCall(name, member)
    for name, facts in ROW_FUNCTIONS.items()
    for member in facts.members
]
PARAMETER_GRADIENTS = [
    Call(entry, PARAMETER_BACKWARD, other_values(entry))
    for entry in ENTRIES
    if PARAMETER_BACKWARD in members(entry)
]
EVERYTHING: list[AnyCall] = [*CALLS, *PARAMETER_GRADIENTS, *ROW_CALLS]


def operands(call: AnyCall, dtype: np.dtype[Any]) -> Iterator[Arrays]:
    """The arrays of all calls whose results are hashed."""
    if isinstance(call, RowCall):
        yield from call.operands(dtype)
    elif call.member == PARAMETER_BACKWARD:  # sums, which one NaN would make NaN
        for count in (250, COUNT):
            found = (ordinary(COUNT, i)[:count] for i in range(call.array_count))
            yield tuple(a.astype(dtype).reshape(1, -1) for a in found)
    else:
        yield tuple(inputs(dtype, stream) for stream in range(call.array_count))


def run_here(call: AnyCall, arrays: Arrays) -> Arrays:
    """The results of the public function's ufunc, as a tuple."""
    if isinstance(call, RowCall):
        return (fa.ufuncs.get(str(call))(*arrays),)
    if call.member == PARAMETER_BACKWARD:  # the function would round the sums
        compute = np.promote_types(arrays[0].dtype, np.float32)
        found: Arrays = call.ufunc(*arrays, *np.array(call.parameters, compute))
        return found
    return call.results(*arrays)


def dtype_named(name: str) -> np.dtype[Any] | None:
    """The dtype; None for bfloat16 where ml_dtypes is not installed."""
    if name != "bfloat16":
        return np.dtype(name)
    return None if BFLOAT16 is None else np.dtype(BFLOAT16)


# ------------------------------------------------------------------------ the hashes


def digest(arrays: Arrays) -> str:
    """Of little-endian bits, all NaNs being one."""
    hasher = hashlib.blake2b(digest_size=8)
    for array in arrays:
        bits = np.ascontiguousarray(array).view(f"u{array.itemsize}")
        infinity = np.array(np.inf, array.dtype).view(bits.dtype)
        is_nan = bits << 1 > infinity << 1  # without the signs
        one_nan = np.where(is_nan, ~bits.dtype.type(0), bits)
        hasher.update(one_nan.astype(f"<u{array.itemsize}").tobytes())
    return hasher.hexdigest()


def hash_of(call: AnyCall, dtype: np.dtype[Any], run: Run = run_here) -> str:
    """Of all results of a function in one dtype."""
    results = [run(call, arrays) for arrays in operands(call, dtype)]
    return digest(tuple(array for found in results for array in found))


def hashes(name: str, run: Run = run_here) -> dict[str, str]:
    """Of every function in the dtype of this name, and of the inputs."""
    dtype = dtype_named(name)
    assert dtype is not None, "bfloat16 needs ml_dtypes"
    found = {"inputs": digest(tuple(inputs(dtype, stream) for stream in range(3)))}
    return found | {str(c): hash_of(c, dtype, run) for c in EVERYTHING}


def stored() -> dict[str, Any]:
    """The file: its version, and for each function its hashes by dtype."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


ADVICE = """
If that is meant: python tests/bits.py --update, which raises the version in
tests/bits.json, and a line in CHANGELOG.md on what has other bits now."""


def difference(dtype: str, found: dict[str, str]) -> str:
    """What is not as in the file, and what to do; empty if all is."""
    functions = stored()["hashes"]
    expected = {n: of[dtype] for n, of in functions.items() if dtype in of}
    wrong = [n for n in found if n in expected and found[n] != expected[n]]
    lines = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            (f"other bits in {dtype} than those of tests/bits.json", wrong),
            ("not in tests/bits.json", sorted(found.keys() - expected.keys())),
            ("only in tests/bits.json", sorted(expected.keys() - found.keys())),
        )
        if names
    ]
    return "\n".join(lines) + ADVICE if lines else ""


def update() -> None:
    """Write the file; raise its version if any bits have changed."""
    if fa._core.instruction_set == "baseline":
        raise SystemExit(
            "The bits are those of FMA instructions, which are not in use."
        )
    before = stored() if FILE.exists() else {"version": 0, "hashes": {}}
    found: dict[str, dict[str, str]] = {}
    for dtype in DTYPES:
        for name, value in hashes(dtype).items():
            found.setdefault(name, {})[dtype] = value
    old = before["hashes"]
    changed = [n for n in found if n in old and old[n] != found[n]]
    version = before["version"] + (1 if changed or not old else 0)
    lines = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(of)}" for name, of in found.items()
    )
    FILE.write_text(f'{{\n  "version": {version},\n  "hashes": {{\n{lines}\n  }}\n}}\n')
    print(f"version {version}; other bits than before: {', '.join(changed) or 'none'}")


def main() -> int:
    """Compare, or write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write bits.json anew")
    if parser.parse_args().update:
        update()
        return 0
    texts = [difference(d, hashes(d)) for d in DTYPES if dtype_named(d) is not None]
    print("\n".join(filter(None, texts)) or "all bits are those of tests/bits.json")
    return any(texts)


if __name__ == "__main__":
    raise SystemExit(main())
