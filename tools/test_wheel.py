"""Build the sdist, and from it the wheel; check both; test the wheel away from the sources.

    make test-wheel
    build/wheel-venv/bin/python tools/test_wheel.py tests/test_softmax.py   # some tests

The tests run in a temporary folder, on the sdist's files without the package: what is
imported is what was installed. It is installed into the Python that runs this.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "wheel"
MEGABYTES = 5  # of a wheel, at most
OF_CI = (".ci", ".github", ".gitignore")  # not in the sdist
OF_BUILDING = ("PKG-INFO", "setup.cfg", "fastact.egg-info")  # in it beside what git has
# What the build adds to the package.
GENERATED = {
    f"fastact/{name}"
    for name in (
        *("_numba_kernels.py", "__init__.pyi", "ufuncs.pyi"),
        *("_kernels", "_memory_pool", "_ufuncs"),  # modules in C
    )
}


def run(*command: str, folder: Path = ROOT) -> None:
    """Run a program of this Python's; end with its exit status if it fails."""
    status = subprocess.run([sys.executable, *command], cwd=folder).returncode
    if status != 0:
        sys.exit(status)


def build() -> tuple[Path, Path]:
    """Both, in build/wheel: the wheel is built from the unpacked sdist."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    run("-m", "build", "--outdir", str(FOLDER))
    (sdist,), (wheel,) = FOLDER.glob("*.tar.gz"), FOLDER.glob("*.whl")
    return sdist, wheel


def require_equal(what: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Names are missing or too many: say which, and stop."""
    found, expected = set(found), set(expected)
    if found != expected:
        sys.exit(
            f"{what} lacks {sorted(expected - found)}, and should not have "
            f"{sorted(found - expected)}; see MANIFEST.in and pyproject.toml"
        )


def committed() -> list[str]:
    """The files that git knows."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def check_sdist(sdist: Path) -> None:
    """It has what git has, but for what CI needs."""
    with tarfile.open(sdist) as archive:
        files = [m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()]
    require_equal(
        sdist.name,
        (name for name in files if name.split("/")[0] not in OF_BUILDING),
        (name for name in committed() if name.split("/")[0] not in OF_CI),
    )


def check_wheel(wheel: Path) -> None:
    """It has the package and nothing else, and is small; abi3 keeps what it promises."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]
    modules = [name for name in files if name.endswith((".so", ".pyd"))]
    require_equal(
        wheel.name,
        (name.partition(".")[0] if name in modules else name for name in files),
        {name for name in committed() if name.startswith("fastact/")} | GENERATED,
    )
    size = wheel.stat().st_size / 1e6
    print(f"{wheel.name}: {size:.2f} MB")
    if size >= MEGABYTES:
        sys.exit(f"it must be below {MEGABYTES} MB")
    if "-abi3-" in wheel.name:
        run("-m", "abi3audit", "--strict", str(wheel))


def test(sdist: Path, wheel: Path, arguments: list[str]) -> None:
    """Install the wheel and run the tests that the sdist brings."""
    run("-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (copy,) = Path(folder).iterdir()
        shutil.rmtree(copy / "fastact")
        run("-m", "pytest", *(arguments or ["-n", "auto"]), folder=copy)


if __name__ == "__main__":
    sdist, wheel = build()
    check_sdist(sdist)
    check_wheel(wheel)
    test(sdist, wheel, sys.argv[1:])
