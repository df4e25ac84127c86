"""The catalogue: each activation, written once.

An entry is the forward formula under `@activation(...)`, then its derivative, its
derivative as a function of the output where there is one, and the derivatives by its
parameters. Everything else follows: C and Numba kernels, ufuncs, docstrings, stubs,
tests and benchmark rows. Functions of several arrays are entered under `@fused(...)`.

Conventions: NaN gives NaN everywhere, +-inf the mathematical limit, and a kink the
derivative that its entry names (those of PyTorch 2.13).
"""

from . import (
    exponential,
    gates,
    normal,
    periodic,
    piecewise,
    self_gated,
    sigmoidal,
    smooth,
    softplus,
)

__all__ = [
    "exponential",
    "gates",
    "normal",
    "periodic",
    "piecewise",
    "self_gated",
    "sigmoidal",
    "smooth",
    "softplus",
]
