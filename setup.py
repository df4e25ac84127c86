"""Builds the C modules; everything else is in pyproject.toml.

The formulas are translated to C (csrc/build_cffi.py), to Numba source and to type stubs
here, at build time.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import numpy as np
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

sys.path.insert(0, str(ROOT / "csrc"))
import compiler  # noqa: E402

sys.path.pop(0)

# One wheel is for this version and all later ones: from it on the limited API has what
# csrc/ufuncs.c calls ufuncs with (vectorcall). Python without the GIL has no limited API.
OLDEST_LIMITED = (3, 12)
IS_LIMITED = sys.version_info >= OLDEST_LIMITED and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

HELP = """
fastact is compiled on installation, and {missing}.
Install what is missing and try again:
  Debian, Ubuntu   apt install gcc python3-dev
  Fedora           dnf install gcc python3-devel
  macOS            xcode-select --install
  Windows          clang-cl, of LLVM, and Visual Studio's build tools
"""


def require_compiler() -> None:
    """Say what is missing and how to get it, before a compiler's error does not."""
    program = compiler.command()[0]
    if shutil.which(program) is None:
        sys.exit(HELP.format(missing=f"no C compiler ({program}) was found"))
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        sys.exit(HELP.format(missing="Python's C headers (Python.h) were not found"))


class BuildExtensions(build_ext):
    """Compiles the files of an extension side by side."""

    def build_extensions(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        if self.compiler.compiler_type == "msvc":
            self.compiler.initialize()
            self.compiler.cc = shutil.which(compiler.command()[0])
        compile_one_by_one = self.compiler.compile

        def compile_in_parallel(sources, **options):  # type: ignore[no-untyped-def]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                parts = pool.map(lambda s: compile_one_by_one([s], **options), sources)
                return [path for part in parts for path in part]

        self.compiler.compile = compile_in_parallel
        super().build_extensions()


class BuildPython(build_py):
    """Writes the generated Python before the package is copied."""

    def run(self) -> None:
        generate_python()
        super().run()


def generate_python() -> None:
    """Write the Numba source and the type stubs into the package."""
    sys.path.insert(0, str(ROOT / "fastact"))
    from formulas import stubs, translate  # type: ignore[import-not-found]

    sys.path.pop(0)
    sys.path.insert(0, str(ROOT / "csrc"))
    from build_cffi import write_if_changed

    sys.path.pop(0)
    package = ROOT / "fastact"
    write_if_changed(package / "_numba_kernels.py", translate.numba_module())
    for name, text in stubs.stub_files().items():
        write_if_changed(package / name, text)


def extension(name: str) -> Extension:
    """A module of one C file that uses NumPy's C interface."""
    warnings = ["-Wall", "-Wextra", "-Werror"]
    major, minor = OLDEST_LIMITED
    return Extension(
        f"fastact._{name}",
        [f"csrc/{name}.c"],
        depends=["csrc/platform.h", "csrc/fastact.h"],
        include_dirs=[np.get_include()],
        define_macros=[("Py_LIMITED_API", f"0x{major:02x}{minor:02x}0000")]
        if IS_LIMITED
        else [],
        py_limited_api=IS_LIMITED,
        extra_compile_args=compiler.spelled(
            ["-std=gnu11", "-O2", "-g0"]
            + (warnings if os.environ.get("FASTACT_WERROR") else [])
        ),
    )


if __name__ == "__main__":
    require_compiler()
    generate_python()
    setup(
        cffi_modules=["csrc/build_cffi.py:ffibuilder"],
        ext_modules=[extension("ufuncs"), extension("memory_pool")],
        cmdclass={"build_ext": BuildExtensions, "build_py": BuildPython},
        options={
            "bdist_wheel": {"py_limited_api": "cp{}{}".format(*OLDEST_LIMITED)}
            if IS_LIMITED
            else {}
        },
    )
