"""Shows fastact's threads to threadpoolctl: ``import fastact.threadpool`` is all it takes.

>>> import fastact.threadpool
>>> from threadpoolctl import threadpool_limits
>>> with threadpool_limits(1):  # or user_api="fastact", for these alone
...     fa.get_num_threads()
1
"""

from __future__ import annotations

from pathlib import Path

from . import __version__, _kernels

try:
    import threadpoolctl
except ImportError as error:  # pragma: no cover - tested in a subprocess
    raise ImportError(
        "fastact.threadpool needs threadpoolctl, which is not installed: "
        "pip install threadpoolctl"
    ) from error

__all__ = ["Controller"]


class Controller(threadpoolctl.LibController):
    """How threadpoolctl reads and sets `fastact.get_num_threads`.

    It looks for libraries by the beginning of their file name, and then for a symbol.
    """

    user_api = "fastact"
    internal_api = "fastact"
    filename_prefixes = (Path(_kernels.__file__).name.partition(".")[0],)
    check_symbols = ("fa_get_num_threads", "fa_set_num_threads")

    def get_num_threads(self) -> int:
        """How many threads one call may use."""
        return int(self.dynlib.fa_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Set how many threads one call may use."""
        self.dynlib.fa_set_num_threads(num_threads)

    def get_version(self) -> str:
        """The version of fastact."""
        return __version__


threadpoolctl.register(Controller)
