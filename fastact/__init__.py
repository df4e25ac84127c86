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
from . import losses as _losses
from . import rows as _rows
from . import ufuncs
from ._kernels import ffi, lib
from .activation_objects import Activation
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
from .lookup import get, names
from .packed import crelu, crelu_backward
from .quadrature import gain
from .rrelu import rrelu, rrelu_backward

__version__ = "0.1.0"

__all__ = [
    *_families.NAMES,
    *_rows.PUBLIC,
    *_losses.FUNCTIONS,
    "Activation",
    "backend",
    "crelu",
    "crelu_backward",
    "ffi",
    "gain",
    "get",
    "get_backend",
    "get_num_threads",
    "init",
    "lib",
    "names",
    "num_threads",
    "rrelu",
    "rrelu_backward",
    "set_backend",
    "set_num_threads",
    "show_config",
    "ufuncs",
]
globals().update(_rows.PUBLIC | _losses.FUNCTIONS)


def __getattr__(name: str) -> object:
    """Make an activation's family when it is first touched: importing makes none."""
    if name in _families.NAMES:
        globals().update(_families.public_family(name))
        return globals()[name]
    return _lookup.attribute(name, __all__, __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_lookup.SUBMODULES, *_lookup.CUSTOM})


_backend_from_environment()
