"""Describes the cffi module `fastact._kernels`: all C but the ufunc factory.

Generates the C that follows from the formulas into build/generated first. setup.py
names `ffibuilder`; nothing else runs this file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "build" / "generated"

sys.path.insert(0, str(ROOT / "csrc"))
import compiler  # noqa: E402

sys.path.pop(0)

SOURCES = (
    "loops.c",
    "rows.c",
    "cross_entropy.c",
    "reduce.c",
    "staging.c",
    "tiles.c",
    "threads.c",
    "blas.c",
    "dispatch.c",
    "isa/baseline.c",
    "isa/avx2.c",
    "isa/avx512.c",
    "isa/neon.c",
)
# -O3 vectorises; errno and traps would forbid it; contraction would make the bits depend
# on the compiler. Never -ffast-math: it breaks NaN and infinity. Python's own flags ask for
# debugging information, which would be three quarters of the module.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-g0",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
]
# gcc's scalar passes otherwise turn selections on the same condition into branches,
# which its vectoriser cannot undo (silu then runs at a seventh of its speed). Scheduling
# before register allocation gains 1 to 2 % in the mean over all kernels. Knowing which
# registers a function leaves alone, gcc 12 omits vzeroupper before a call and after it;
# what is run next then waits for vectors it does not use. Functions that are not inlined
# stand there once (a tenth of the module were copies for constant arguments). Loops that
# begin a line of the cache take up to 4 % less time.
GCC_FLAGS = [
    "-fno-ipa-ra",
    "-fno-ipa-cp",
    "-fno-tree-pre",
    "-fno-tree-sink",
    "-fno-thread-jumps",
    "-fno-split-paths",
    "-fschedule-insns",
    "-fsched-pressure",
    "-falign-loops=64",
]
# gcc takes memory for uninitialised that is read on the condition on which it was written
# (a row's extreme, of powers of its own); clang warns of fields that are left 0 where
# others are named.
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
GCC_WARNINGS = [*WARNINGS, "-Wno-maybe-uninitialized"]
CLANG_WARNINGS = [*WARNINGS, "-Wno-missing-field-initializers"]


def compile_flags() -> list[str]:
    """Flags for every C file; warnings are errors only when the tests ask for it."""
    is_clang = compiler.is_clang()
    flags = FLAGS + ([] if is_clang else GCC_FLAGS)
    if os.environ.get("FASTACT_WERROR"):
        flags += CLANG_WARNINGS if is_clang else GCC_WARNINGS
    return compiler.spelled(flags)


def write_if_changed(path: Path, text: str) -> None:
    """Leave an unchanged file its date, so that nothing is compiled for nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def generate() -> str:
    """Write the generated C; return the declarations of the public kernels."""
    sys.path.insert(0, str(ROOT / "fastact"))  # the package itself needs what we build
    from formulas import translate  # type: ignore[import-not-found]

    sys.path.pop(0)
    write_if_changed(GENERATED / "kernels.inc", translate.c_kernels())
    write_if_changed(GENERATED / "rows.inc", translate.c_row_formulas())
    write_if_changed(GENERATED / "table.c", translate.c_table())
    declarations: str = translate.c_declarations()
    return declarations


def shared_header() -> str:
    """The part of fastact.h that Python sees too."""
    text = (ROOT / "csrc" / "fastact.h").read_text()
    begin = text.index("*/", text.index("/* cffi: begin")) + 2
    return text[begin : text.index("/* cffi: end */")]


declarations = generate()
ffibuilder = FFI()
ffibuilder.cdef(
    shared_header()
    + declarations
    + """
void fa_set_num_threads(int n);
int fa_get_num_threads(void);
int fa_available_cpus(void);
void fa_prepare_blas(int slots);
void fa_run_blas_jobs(int wait, void (*run)(int slot, void *job, int data), int count,
                      size_t size, void *jobs, int data);
"""
)
ffibuilder.set_source(
    "fastact._kernels",
    '#include "fastact.h"\n#include "threads.h"\n#include "blas.h"\n' + declarations,
    sources=[str(Path("csrc") / source) for source in SOURCES]
    + [str((GENERATED / "table.c").relative_to(ROOT))],
    # What is included must be compiled anew, too, when it alone has changed.
    depends=[
        str(path.relative_to(ROOT))
        for path in (*GENERATED.glob("*.inc"), *(ROOT / "csrc").glob("*.[ch]"))
    ],
    include_dirs=["csrc", "build"],
    extra_compile_args=compile_flags(),
    libraries=[] if compiler.IS_WINDOWS else ["m", "pthread"],
)
