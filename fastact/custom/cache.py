"""Generated kernels on disk, where Numba finds again what it has compiled."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

import fastact

from .. import _numba_language

_lock = threading.Lock()
_temporary: list[tempfile.TemporaryDirectory[str]] = []


def directory() -> Path:
    """Where generated kernels are kept, and beside them what Numba makes of them.

    FASTACT_CACHE_DIR, else `fastact` in XDG_CACHE_HOME, else `~/.cache/fastact`.
    """
    chosen = os.environ.get("FASTACT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "fastact"


def load(name: str, text: str) -> ModuleType:
    """The module with this text, from a file that processes share.

    The file's name has a hash of everything that decides what is compiled. It is not
    written again where it is there already: Numba goes by the time of the file.
    """
    language = Path(_numba_language.__file__).read_bytes()
    parts = (fastact.__version__.encode(), language, text.encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
    module_name = f"fastact_custom_{name}_{key}"
    with _lock:
        if module_name not in sys.modules:
            path = _write(f"{module_name}.py", text)
            spec = importlib.util.spec_from_file_location(module_name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[module_name] = module
        return sys.modules[module_name]


def _write(name: str, text: str) -> Path:
    """The file in the cache; where nothing can be written there, in a temporary folder."""
    try:
        return _write_to(directory(), name, text)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        if not _temporary:
            _temporary.append(tempfile.TemporaryDirectory(prefix="fastact-"))
        return _write_to(Path(_temporary[0].name), name, text)


def _write_to(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is read-only")  # Numba writes there, too
    path = folder / name
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return path
    # Renamed when complete: nobody ever sees a half of it.
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=folder, prefix=".", suffix=".part", delete=False
    ) as file:
        file.write(text)
    os.replace(file.name, path)
    return path
