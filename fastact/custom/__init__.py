"""Activations of one's own: a formula in Python, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, overload

try:
    import numba  # noqa: F401
except ImportError as error:  # pragma: no cover - tested in a subprocess
    raise ImportError(
        "fastact.activation compiles formulas with Numba, which is not installed: "
        'pip install "fastact[numba]"'
    ) from error

from .checking import check
from .family import differentiate, make
from .reading import Formula, read_function
from .terms import Term, substitute, variable

__all__ = ["activation", "check"]

Derivatives: TypeAlias = Callable[..., Any] | Mapping[str, Callable[..., Any]]


@overload
def activation(function: Callable[..., Any], /) -> Any: ...
@overload
def activation(
    *, derivative: Derivatives | None = None
) -> Callable[[Callable[..., Any]], Any]: ...
def activation(
    function: Callable[..., Any] | None = None, /, *, derivative: Any = None
) -> Any:
    """Make an activation of a formula.

    Parameters
    ----------
    function : function
        The formula: a Python function of numbers that assigns names and returns an
        expression. Arguments without a default are arrays, the others parameters. It may
        use arithmetic, comparisons, ``np.where``, ``a if condition else b``, powers with
        a constant exponent, the functions of NumPy and `math`, all elementwise functions
        of fastact, other custom activations, and numbers from outside, whose values are
        those that they have now.
    derivative : function or mapping of str to function, optional
        A formula of the same arguments for the derivative by the first one, or formulas
        by the names of arguments. Other derivatives follow by rule.

    Returns
    -------
    activation : numpy.ufunc or callable
        With one array and no parameter a ufunc; otherwise a function over ufuncs that
        is called as those of the catalogue are. Its attributes are the family:
        ``derivative(x)``, ``backward(dy, x)``, ``with_derivative(x)``, and with parameters
        ``parameter_backward(dy, x, *parameters)``. With several arrays
        ``backward(dy, x, b)`` gives a gradient for each, summed to its shape, and
        ``derivative(x, b)`` the derivatives by each, in the shape of the result.
        ``__wrapped__`` is the function.

    Raises
    ------
    SyntaxError
        If the formula has something that is not allowed; with the line, and what to write
        instead.
    TypeError
        If it is no function, an argument's default is no number, or a derivative is not
        known.
    ValueError
        If the function's source is not known.
    ImportError
        If Numba is not installed.

    Notes
    -----
    Kernels are compiled when they are first called for a dtype, and kept on disk in
    ``FASTACT_CACHE_DIR`` (else in ``fastact`` in the user's cache folder). In `@njit` code
    the function, ``derivative``, ``backward`` and ``with_derivative`` can be called; of
    several arrays the function and ``backward``.

    Forms that overflow or cancel are computed in their stable form: ``x / (1 + exp(-x))``
    as silu, ``log(1 + exp(x))`` as softplus, ``1 + erf(x)`` as ``erfc(-x)``. Where a factor
    of a derivative is 0 the product is 0, as in the limit. At a kink of ``maximum``,
    ``minimum`` and ``clip`` the derivative is the constant side's, as relu's at 0.
    From 6.5e6 on (3.5e15 in float64) small results of ``sin``, ``cos`` and ``tan``, below
    1e-7 (1e-16), lose digits: there, floats lie so far apart that a period has a few.

    Examples
    --------
    >>> @fa.activation
    ... def telu(x, a=1.0):
    ...     return x * np.tanh(np.exp(a * x))
    >>> y = telu(x, a=0.5)
    >>> dx, da = telu.parameter_backward(dy, x, 0.5)
    """
    if function is None:
        return lambda found: _activation(found, derivative)
    return _activation(function, derivative)


def _activation(function: Any, derivative: Any) -> Any:
    formula = read_function(function)
    custom = differentiate(formula, _overrides(formula, derivative))
    made = make(
        custom, function.__module__, function.__qualname__, function.__doc__ or ""
    )
    vars(made).update({"__wrapped__": function, "_custom": custom})
    return made


def _overrides(formula: Formula, derivative: Any) -> dict[str, Term]:
    """Given derivatives as terms of the formula's arguments."""
    if derivative is None:
        return {}
    if not isinstance(derivative, Mapping):
        derivative = {formula.arrays[0]: derivative}
    found = {}
    for name, function in derivative.items():
        if name not in formula.names:
            raise ValueError(
                f"derivative: {formula.name} has no argument {name!r}; it has "
                f"{', '.join(formula.names)}"
            )
        own = read_function(function)
        if len(own.names) != len(formula.names):
            raise TypeError(
                f"derivative: {own.name} must take the arguments of {formula.name}, "
                f"{', '.join(formula.names)}"
            )
        renamed = map(variable, formula.names)
        found[name] = substitute(own.term, dict(zip(own.names, renamed, strict=True)))
    return found
