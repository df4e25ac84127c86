"""fastact: activation functions for NumPy.

Every activation is a real ufunc, or a thin function over two, with its derivative and
gradients: ``gelu``, ``gelu_derivative``, ``gelu_backward``, ``gelu_with_derivative``, and
where they exist ``NAME_backward_from_output`` and ``NAME_parameter_backward``.

>>> import fastact as fa
>>> import numpy as np
>>> x = np.linspace(-2, 2, 5, dtype=np.float32)
>>> y = fa.gelu(x)
>>> dx = fa.gelu_backward(np.ones_like(x), x)
"""

from . import families as _families
from . import lookup as _lookup
from . import rows as _rows
from . import ufuncs
from ._kernels import ffi, lib
from .config import (
    backend,
    get_backend,
    get_num_threads,
    num_threads,
    set_backend,
    set_num_threads,
    show_config,
)
from .config import (
    backend_from_environment as _backend_from_environment,
)
from .formulas.entry import CATALOGUE as _CATALOGUE

__version__ = "0.1.0"

_public: dict[str, object] = {}
for _entry in _CATALOGUE.values():
    _public |= _families.family(_entry, ufuncs.get, __name__)
_public |= _rows.PUBLIC
globals().update(_public)

__all__ = [
    *_public,
    "backend",
    "ffi",
    "get_backend",
    "get_num_threads",
    "lib",
    "num_threads",
    "set_backend",
    "set_num_threads",
    "show_config",
    "ufuncs",
]


def __getattr__(name: str) -> object:
    return _lookup.attribute(name, _public, __name__)


def __dir__() -> list[str]:
    return sorted([*globals(), *_lookup.SUBMODULES])


_backend_from_environment()
