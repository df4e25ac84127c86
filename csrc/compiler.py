"""The C compiler that builds fastact, for setup.py and build_cffi.py."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig

IS_WINDOWS = sys.platform == "win32"


def command() -> list[str]:
    """How the compiler is called; on Windows clang, since Microsoft's knows no GNU C."""
    if IS_WINDOWS:
        return ["clang-cl"]
    named = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shlex.split(named)


def is_clang() -> bool:
    """Whether the compiler is clang, which does not know gcc's own flags."""
    answer = subprocess.run([*command(), "--version"], capture_output=True, text=True)
    return "clang" in answer.stdout


def spelled(flags: list[str]) -> list[str]:
    """Flags of gcc and clang as the compiler takes them."""
    return [f"/clang:{flag}" for flag in flags] if IS_WINDOWS else flags
