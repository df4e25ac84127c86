"""The C code for aarch64, under emulation: how it is built and called.

    python tests/arm.py    # builds build/arm/driver

It takes Debian's cross compiler and QEMU; `make test-arm` does it all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from bits import AnyCall, Arrays, RowCall

import fastact as fa
from fastact.formulas.kernels import BACKWARD_FROM_OUTPUT, PARAMETER_BACKWARD

ROOT = Path(__file__).resolve().parent.parent
DRIVER = ROOT / "build" / "arm" / "driver"
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"

# The driver's struct. What comes before its int64s is a multiple of their size, so that C
# adds no padding.
PARAMETER_GRADIENTS, ROWS = 1, 2  # loops; elementwise is 0
REQUEST = np.dtype(
    [
        ("name", "S64"),
        ("kernel_type", "<i4"),
        ("function", "<i4"),
        ("from_output", "<i4"),
        ("reduces", "<i4"),
        ("loop", "<i4"),
        ("input_count", "<i4"),
        ("operand_count", "<i4"),
        ("types", "S12"),
        ("dimensions", "<i8", 2),
        ("steps", "<i8", 2 * fa.lib.FA_MAX_OPERANDS),
        ("sizes", "<i8", fa.lib.FA_MAX_OPERANDS),
    ]
)


def build() -> None:
    """Compile csrc/ and the driver, with the flags of the package, into one program."""
    for tool in (COMPILER, EMULATOR):
        if shutil.which(tool) is None:
            sys.exit(
                f"{tool} was not found. Install both tools:\n"
                "  Debian, Ubuntu   apt install gcc-aarch64-linux-gnu "
                "libc6-dev-arm64-cross qemu-user"
            )
    sys.path.insert(0, str(ROOT / "csrc"))
    import build_cffi  # writes the generated C

    folder = DRIVER.parent
    folder.mkdir(parents=True, exist_ok=True)
    sources = [ROOT / "csrc" / source for source in build_cffi.SOURCES]
    sources += [build_cffi.GENERATED / "table.c", ROOT / "tests" / "arm_driver.c"]
    flags = [*build_cffi.FLAGS, *build_cffi.GCC_FLAGS, *build_cffi.GCC_WARNINGS]
    flags += [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'build'}"]

    def compiled(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        command = [COMPILER, *flags, "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True)
        return target

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compiled, sources))
    libraries = ["-lm", "-lpthread"]
    command = [COMPILER, "-static", *map(str, objects), "-o", str(DRIVER), *libraries]
    subprocess.run(command, check=True)


class Emulated:
    """The loops of the aarch64 build in a process of their own.

    Parameters
    ----------
    instruction_set : str
        "neon" or "baseline".
    threads : int
        How many the loops may use.
    stride : int
        Arrays have this many elements from one of theirs to the next.
    """

    def __init__(
        self, instruction_set: str = "neon", threads: int = 1, stride: int = 1
    ) -> None:
        self.stride = stride
        self.process = subprocess.Popen(
            [EMULATOR, str(DRIVER), instruction_set, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Emulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def __call__(self, call: AnyCall, arrays: Arrays) -> Arrays:
        """The results of a function, as `bits.run_here` gives those of this machine."""
        dtype, shape = arrays[0].dtype, arrays[-1].shape
        operands = list(arrays)
        request = np.zeros((), REQUEST)
        if isinstance(call, RowCall):
            request["loop"] = ROWS
            request["function"] = getattr(fa.lib, f"FA_{call.function.upper()}")
            request["from_output"] = call.member == BACKWARD_FROM_OUTPUT
            request["reduces"] = call.facts.reduces
            outputs = [np.empty(shape[:-1] if call.reduces else shape, dtype)]
        else:
            compute = np.promote_types(dtype, np.float32)
            operands += [np.array(p, compute) for p in call.parameters]
            request["name"] = call.kernel.name.encode()
            kind = "e" if dtype.itemsize == 2 else dtype.char
            request["kernel_type"] = ord(kind)
            outputs = [np.empty(shape, dtype) for _ in call.kernel.outputs]
            if call.member == PARAMETER_BACKWARD:
                request["loop"] = PARAMETER_GRADIENTS
                outputs[1:] = [np.empty((), np.float64) for _ in call.parameters]
        request["dimensions"][: len(shape)] = shape
        request["input_count"] = len(operands)
        operands += outputs
        request["operand_count"] = len(operands)
        # What is one for each row has no step along a row, a parameter none at all.
        outer = [a.strides[0] * self.stride if a.ndim else 0 for a in operands]
        core = [a.strides[1] * self.stride for a in operands if a.ndim == 2]
        request["steps"][: len(outer + core)] = outer + core
        request["sizes"][: len(operands)] = [a.nbytes * self.stride for a in operands]
        request["types"] = "".join(
            "E" if fa._core.is_bfloat16(a.dtype) else a.dtype.char for a in operands
        )

        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(request.tobytes())
        for array in operands:
            self.process.stdin.write(np.repeat(array.ravel(), self.stride).tobytes())
        self.process.stdin.flush()
        for output in outputs:
            data = self.process.stdout.read(output.nbytes * self.stride)
            spread = np.frombuffer(data, output.dtype)
            output[...] = spread[:: self.stride].reshape(output.shape)
        return tuple(outputs)


if __name__ == "__main__":
    build()
