"""Activations with parameters of their own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

import fastact

from .formulas.kernels import ENTRIES, FAMILY, FORWARD, Kernel
from .packed import PACKED, check_gate
from .parameters import check, check_axis, check_number, check_real
from .rows import check_pool_size, inverse_temperature

_MISSING = inspect.Parameter.empty
# Keywords of row functions that belong to one call, not to the function.
_OF_A_CALL = ("out", "where")
_ARRAYS = ("x", "logits", "targets")
# What is asked for as a parameter, and is none.
_ADVICE = {
    "dtype": "; the result has the dtype of x: convert x",
    "where": "; pass it in the call",
}


def check_flag(name: str, value: Any) -> None:
    """Raise unless it is True or False: other objects are true by mistake."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}")


# Keywords of the functions that are not elementwise.
_CHECKS: dict[str, Callable[[Any], object]] = {
    "axis": check_axis,
    "gate": check_gate,
    "hard": functools.partial(check_flag, "hard"),
    "interleaved": functools.partial(check_flag, "interleaved"),
    "keepdims": functools.partial(check_flag, "keepdims"),
    "pool_size": check_pool_size,
    "scale": functools.partial(check_number, "scale"),
    "tau": inverse_temperature,
}


class BoundActivation:
    """An activation together with its parameters, as `fastact.get` returns it.

    It cannot be changed, and two are equal if their names and parameters are. It has only
    those members of the family that the activation has.

    Parameters
    ----------
    name : str
        Name of the activation, one of `fastact.names`.
    parameters : mapping of str to number or array_like
        Parameters; those that are not given have their defaults.

    Attributes
    ----------
    name : str
        Name of the activation.
    parameters : dict
        All parameters, the defaults among them.
    derivative, backward, with_derivative, backward_from_output, parameter_backward
        The family of the activation, as functions of arrays alone: ``derivative(x)``,
        ``backward(dy, x)``, ``with_derivative(x)``, ``backward_from_output(dy, y)`` and
        ``parameter_backward(dy, x)``. Their keywords (``out=``, ``where=`` and so on) are
        those of ``fastact.NAME_derivative`` and the others.

    Raises
    ------
    TypeError
        If there is no such parameter, one without default is missing, or a value is not
        a real number.
    ValueError
        If the activation does not allow a parameter's value, such as ``axis=None``.
    """

    name: str
    derivative: Callable[..., Any]
    backward: Callable[..., Any]
    with_derivative: Callable[..., Any]
    backward_from_output: Callable[..., Any]
    parameter_backward: Callable[..., Any]
    _values: dict[str, Any]
    _forward: Callable[..., Any]

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        elementwise = name in ENTRIES
        defaults = _defaults(name)
        for given in parameters:
            if given not in defaults:
                allowed = ", ".join(defaults) or "it has none"
                raise TypeError(
                    f"{name} has no parameter {given!r}; allowed: {allowed}"
                    f"{_ADVICE.get(given, '')}"
                )
        values = defaults | dict(parameters)
        for parameter, value in values.items():
            if value is _MISSING:
                raise TypeError(f"{name} needs the parameter {parameter}")
            if elementwise:
                values[parameter] = _constant(parameter, value)
            elif parameter in _CHECKS:
                _CHECKS[parameter](value)
        if elementwise:
            check(Kernel(ENTRIES[name], FORWARD, with_defaults=False), values)
        elif name.endswith(PACKED):
            _check_packed(name.removesuffix(PACKED), values)
        function = getattr(fastact, name)
        family = {FORWARD: function}
        for member in (m.removeprefix("_") for m in FAMILY if m != FORWARD):
            if hasattr(function, member):
                family[member] = getattr(function, member)
        bound = {
            member: _bind_constants(f, values, defaults)
            if elementwise
            else _bind_keywords(f, values)
            for member, f in family.items()
        }
        forward = bound.pop(FORWARD)
        vars(self).update(bound, name=name, _values=values, _forward=forward)

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        """The function of these arrays; the keywords are its own."""
        return self._forward(*arrays, **keywords)

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters, the defaults among them; a copy."""
        return dict(self._values)

    def _identity(self) -> tuple[Any, ...]:
        values = (
            (v.dtype.str, v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v
            for v in self._values.values()
        )
        return (self.name, *values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundActivation):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise self._unchangeable()

    def __delattr__(self, name: str) -> NoReturn:
        raise self._unchangeable()

    def _unchangeable(self) -> AttributeError:
        return AttributeError(
            f"{self!r} cannot be changed; make another with fastact.get"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self._values)

    def __repr__(self) -> str:
        values = "".join(f", {name}={value!r}" for name, value in self._values.items())
        return f"fastact.get({self.name!r}{values})"


def _defaults(name: str) -> dict[str, Any]:
    """The parameters of an activation; `_MISSING` is the default of one without."""
    if name in ENTRIES:
        return {
            p.name: _MISSING if p.default is None else p.default
            for p in ENTRIES[name].parameters
        }
    return {
        p.name: p.default
        for p in inspect.signature(getattr(fastact, name)).parameters.values()
        if p.kind is not p.POSITIONAL_ONLY and p.name not in (*_ARRAYS, *_OF_A_CALL)
    }


def _check_packed(name: str, values: Mapping[str, Any]) -> None:
    """Raise for parameters of a gate that its packed form does not allow."""
    for parameter in ENTRIES[name].parameters:
        check_number(parameter.name, values[parameter.name])
    check(Kernel(ENTRIES[name], FORWARD, with_defaults=False), values)


def _constant(name: str, value: Any) -> Any:
    """A parameter that nobody else can change: a float, or a read-only copy."""
    try:
        array = np.array(value)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{name} cannot be an array: {error}") from None
    check_real(name, array.dtype)
    if array.ndim == 0:
        return float(array)
    array.flags.writeable = False
    return array


def _bind_constants(
    function: Callable[..., Any], values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Callable[..., Any]:
    """An elementwise function with its parameters, passed by position: the fast way."""
    constants = tuple(values.values())
    if all(type(v) is float and v == defaults[name] for name, v in values.items()):
        constants = ()  # kernels of their own, faster still

    def bound(*arrays: Any, **keywords: Any) -> Any:
        return function(*arrays, *constants, **keywords)

    return bound


def _bind_keywords(
    function: Callable[..., Any], values: Mapping[str, Any]
) -> Callable[..., Any]:
    """Another function, with those parameters that it takes by name."""
    taken = {
        p.name: values[p.name]
        for p in inspect.signature(function).parameters.values()
        if p.name in values and p.kind is not p.POSITIONAL_ONLY
    }

    def bound(*arrays: Any, **keywords: Any) -> Any:
        return function(*arrays, **(taken | keywords))

    return bound
