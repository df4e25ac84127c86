"""fastact's functions as primitives of autograd (HIPS), each with its derivative.

The attributes have the names and the arguments of fastact's own functions, without the
keywords of ufuncs (``out=`` and so on):

>>> import fastact.integrations.autograd as fag
>>> import autograd.numpy as np
>>> from autograd import grad
>>> dw = grad(lambda w: np.sum(fag.mish(x @ w) ** 2))(w)

- Elementwise functions can be differentiated by arrays and parameters, gates by their
  arrays (``limit`` and ``alpha`` of ``swiglu_oai`` are constants), in reverse and in
  forward mode, and twice. First derivatives are ``NAME_backward`` and
  ``NAME_parameter_backward``. For second ones, mixed ones too, the catalogue's formulas are
  differentiated automatically; they run on NumPy in float64, much slower.
- Functions along an axis, packed gates, ``crelu`` and ``softmax_cross_entropy`` (by the
  logits) can be differentiated in reverse mode, and twice.
- What cannot be differentiated is a `NotImplementedError` that says so.

``gumbel_softmax`` and ``rrelu`` are not here: write
``fag.softmax(x + noise, scale=1 / tau)`` and ``fag.prelu(x, slopes)``.

It needs autograd (``pip install autograd``).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import fastact as fa
from fastact import lookup, packed
from fastact.formulas import duals
from fastact.formulas.entry import CATALOGUE, FUSED, Activation, Entry, Fused
from fastact.formulas.kernels import BACKWARD, PARAMETER_BACKWARD
from fastact.formulas.language import Value, real

try:
    import autograd.numpy as anp
    from autograd.extend import (
        defjvp_argnum,
        defvjp_argnum,
        defvjp_argnums,
        primitive,
    )
    from autograd.numpy.numpy_vjps import unbroadcast_f
    from autograd.tracer import getval, isbox
except ModuleNotFoundError as error:
    raise ImportError(
        "fastact.integrations.autograd needs autograd; install it with: "
        "pip install autograd"
    ) from error

Formula = Callable[..., Value]


# ------------------------------------------------------ elementwise functions and gates


def _derivative_formulas(entry: Entry) -> list[Formula | None]:
    """Formulas of the derivatives by each array and parameter, where there are any."""
    if isinstance(entry, Activation):
        of_parameters = [entry.parameter_formulas.get(p.name) for p in entry.parameters]
        return [entry.derivative_formula, *of_parameters]
    assert isinstance(entry, Fused)
    gradient: Any = entry.gradient_formula

    def by_array(i: int) -> Formula:
        def derivative(*arguments: Value) -> Value:
            found: Sequence[Value] = gradient(real(1.0), *arguments)
            return found[i]

        return derivative

    of_arrays = [by_array(i) for i in range(len(entry.arrays))]
    return [*of_arrays, *[None] * len(entry.parameters)]


def _floating(dtype: Any) -> Any:
    """The dtype itself, float64 for integers (bfloat16 is of no kind of NumPy's)."""
    return np.float64 if dtype.kind in "biu" else dtype


def _check_keywords(name: str, keywords: Iterable[str]) -> None:
    if keywords := list(keywords):
        raise TypeError(
            f"{name} takes no {', '.join(keywords)} where autograd differentiates it"
        )


def _no_derivative(name: str, argument: str) -> NotImplementedError:
    return NotImplementedError(f"fastact has no derivative of {name} by {argument}")


@primitive  # type: ignore[untyped-decorator]
def _run_formula(
    *arguments: Any, name: str, formula: Formula, by: int | None = None
) -> Any:
    """A formula of arrays, or its derivative by one of them, in the dtype of the first."""
    if by is None:
        found = duals.evaluate(formula, arguments)
    else:
        found = duals.partial(formula, arguments, by)
    return found.astype(_floating(np.asarray(arguments[0]).dtype))


def _derivative_of_formula(i: int, arguments: Any, keywords: Any) -> Any:
    if keywords.get("by") is not None:
        raise NotImplementedError(
            f"{keywords['name']} can be differentiated twice, and not a third time"
        )
    return _run_formula(*arguments, **keywords, by=i)


defvjp_argnum(
    _run_formula,
    lambda i, _, arguments, keywords: unbroadcast_f(
        arguments[i], lambda g: g * _derivative_of_formula(i, arguments, keywords)
    ),
)
defjvp_argnum(
    _run_formula,
    lambda i, g, _, arguments, keywords: (
        g * _derivative_of_formula(i, arguments, keywords)
    ),
)


class _Derivatives:
    """The derivatives of one function, and the derivatives of these.

    Its arguments are the arrays and then the parameters, all by position.

    Attributes
    ----------
    backwards : list
        For each argument the primitive of g and the arguments that gives the gradient by
        it: of a parameter summed to its shape; None where there is none.
    """

    def __init__(self, entry: Entry, forward: Any) -> None:
        self.name = entry.name
        self.names = (*entry.arrays, *(p.name for p in entry.parameters))
        self.array_count = len(entry.arrays)
        self.formulas = _derivative_formulas(entry)
        # All gradients in one pass.
        self.gradients: Any = getattr(fa, self.name + PARAMETER_BACKWARD, None)
        if isinstance(entry, Fused):
            self.gradients = getattr(fa, self.name + BACKWARD)
        self.backwards = [self._backward(i) for i in range(len(self.names))]
        defvjp_argnums(forward, self._vjp)
        defjvp_argnum(forward, self._jvp)

    def _backward(self, i: int) -> Any:
        if i == 0 and self.array_count == 1:
            backward = primitive(getattr(fa, self.name + BACKWARD))
        elif self.gradients is None or self.formulas[i] is None:
            return None
        else:
            backward = primitive(lambda *given: self.gradients(*given)[i])

        def vjp(k: int, _: Any, given: Any, __: Any) -> Any:
            g, *arguments = given
            if k == 0:
                return unbroadcast_f(g, lambda u: self._times_slope(i, u, arguments))
            return unbroadcast_f(
                given[k], lambda u: u * g * self._formula(i, arguments, by=k - 1)
            )

        def jvp(k: int, u: Any, result: Any, given: Any, _: Any) -> Any:
            g, *arguments = given
            if k == 0:
                return backward(u, *arguments)
            tangent = u * g * self._formula(i, arguments, by=k - 1)
            return unbroadcast_f(result, lambda t: t)(tangent)

        defvjp_argnum(backward, vjp)
        defjvp_argnum(backward, jvp)
        return backward

    def _vjp(self, which: Any, _: Any, arguments: Any, keywords: Any) -> Any:
        self._check(which, keywords)

        def of(g: Any) -> Any:
            if len(which) > 1 and not any(map(isbox, (g, *arguments))):
                found = self.gradients(g, *arguments)
            else:
                found = {i: self.backwards[i](g, *arguments) for i in which}
            return [unbroadcast_f(arguments[i], lambda x: x)(found[i]) for i in which]

        return of

    def _jvp(self, i: int, g: Any, _: Any, arguments: Any, keywords: Any) -> Any:
        self._check([i], keywords)
        return self._times_slope(i, g, arguments)

    def _check(self, which: Any, keywords: Any) -> None:
        _check_keywords(self.name, keywords)
        for i in which:
            if self.backwards[i] is None:
                raise _no_derivative(self.name, self.names[i])

    def _times_slope(self, i: int, g: Any, arguments: Any) -> Any:
        """g times the derivative by one argument, element by element."""
        if i < self.array_count:
            return self.backwards[i](g, *arguments)
        return g * self._formula(i, arguments)

    def _formula(self, i: int, arguments: Any, **keywords: Any) -> Any:
        formula = self.formulas[i]
        return _run_formula(*arguments, name=self.name, formula=formula, **keywords)


_DERIVATIVES: dict[str, _Derivatives] = {}


def _elementwise(name: str, entry: Entry) -> Any:
    """A function of arrays and parameters.

    Without parameters it is the primitive of the ufunc, which autograd 1.9 and later
    finds for the ufunc itself, too.
    """
    own = getattr(fa, name)
    forward = primitive(own)
    _DERIVATIVES[name] = _Derivatives(entry, forward)
    if not entry.parameters:
        return forward
    shown = inspect.signature(own)
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
    shown = shown.replace(
        parameters=[p for p in shown.parameters.values() if p.kind not in kinds]
    )

    # autograd sees arguments by position only.
    def function(*arguments: Any, **keywords: Any) -> Any:
        try:
            bound = shown.bind(*arguments, **keywords)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        bound.apply_defaults()
        return forward(*bound.args)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = own.__doc__
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function


# --------------------------------------- functions along an axis, of halves, and losses


def _primitive(name: str, gradient: Callable[..., Any]) -> Any:
    """The primitive of one of fastact's functions that can be differentiated by x.

    `gradient(g, x, ...)` is the gradient in terms of autograd's functions. It is used
    where g or x are being differentiated themselves; else fastact's own is.
    """
    own = getattr(fa, name)
    from_output = getattr(own, "backward_from_output", None)
    names = list(inspect.signature(own).parameters)

    # By keyword autograd hands over what is being differentiated as it is.
    @functools.wraps(own)
    def function(*arguments: Any, **keywords: Any) -> Any:
        for argument, value in keywords.items():
            if isbox(value):
                raise _no_derivative(name, argument)
        return own(*arguments, **keywords)

    forward = primitive(function)

    def vjp(which: Any, y: Any, given: Any, keywords: Any) -> Any:
        for i in which:
            if i > 0:
                raise _no_derivative(name, names[i])
        _check_keywords(name, keywords.keys() & {"out"})
        if "scale" in keywords:  # a NumPy number would make float64 of float32
            keywords = keywords | {"scale": float(keywords["scale"])}
        x, *arguments = given

        def of(g: Any) -> Any:
            if isbox(g) or isbox(x):
                return [gradient(g, x, *arguments, **keywords)]
            if from_output is not None:
                return [from_output(g, y, *arguments, **keywords)]
            return [own.backward(g, x, *arguments, **keywords)]

        return of

    defvjp_argnums(forward, vjp)
    return forward


def _sum(values: Any, axis: int) -> Any:
    return anp.sum(values, axis=axis, keepdims=True)


def _of_softmax(name: str, sign: float) -> Callable[..., Any]:
    def gradient(
        g: Any, x: Any, axis: int = -1, *, where: Any = None, scale: float = 1.0
    ) -> Any:
        y = _FUNCTIONS[name](x, axis, where=where, scale=scale)
        return sign * scale * y * (g - _sum(g * y, axis))

    return gradient


def _of_log_softmax(
    g: Any, x: Any, axis: int = -1, *, where: Any = None, scale: float = 1.0
) -> Any:
    p = _FUNCTIONS["softmax"](x, axis, where=where, scale=scale)
    if where is not None:
        g = g * np.broadcast_to(where, anp.shape(x))
    return scale * (g - p * _sum(g, axis))


def _of_logsumexp(
    g: Any,
    x: Any,
    axis: int = -1,
    *,
    keepdims: bool = False,
    where: Any = None,
    scale: float = 1.0,
) -> Any:
    p = _FUNCTIONS["softmax"](x, axis, where=where, scale=scale)
    return scale * p * (g if keepdims else anp.expand_dims(g, axis))


def _of_sparsemax(
    g: Any, x: Any, axis: int = -1, *, where: Any = None, scale: float = 1.0
) -> Any:
    y = fa.sparsemax(getval(x), axis, where=where, scale=scale)
    chosen = y > 0
    count = np.maximum(chosen.sum(axis=axis, keepdims=True), 1).astype(y.dtype)
    return chosen * (scale * (g - _sum(g * chosen, axis) / count))


def _of_entmax15(
    g: Any, x: Any, axis: int = -1, *, where: Any = None, scale: float = 1.0
) -> Any:
    y = _FUNCTIONS["entmax15"](x, axis, where=where, scale=scale)
    chosen = getval(y) > 0
    roots = chosen * anp.sqrt(y + ~chosen)  # the root of 0 has no derivative
    nothing = ~chosen.any(axis=axis, keepdims=True)  # where none was included
    return scale * roots * (g - _sum(g * roots, axis) / (_sum(roots, axis) + nothing))


def _of_hardmax(g: Any, x: Any, *_: Any, **__: Any) -> Any:
    return 0.0 * g


def _of_maxout(g: Any, x: Any, pool_size: int, axis: int = -1) -> Any:
    axis = packed._axis_of(x, axis)  # autograd's repeat is wrong for negative ones
    ones = np.ones(anp.shape(g), _floating(x.dtype))
    chosen = fa.maxout_backward(ones, getval(x), pool_size, axis)
    return chosen * anp.repeat(g, pool_size, axis=axis)


def _of_crelu(g: Any, x: Any, axis: int = -1) -> Any:
    halves = packed._halves_of(g, packed._axis_of(x, axis), "first", False)
    sign = np.sign(getval(x))
    return halves[0] * (sign > 0) - halves[1] * (sign < 0)


def _of_packed(name: str, entry: Fused) -> Callable[..., Any]:
    defaults = {p.name: p.default for p in entry.parameters}

    def gradient(
        g: Any,
        x: Any,
        axis: int = -1,
        gate: Any = entry.packed_gate,
        interleaved: bool = False,
        **parameters: Any,
    ) -> Any:
        axis = packed._axis_of(x, axis)
        arrays = packed._halves_of(x, axis, gate, interleaved)
        values = (defaults | parameters).values()
        backwards = _DERIVATIVES[name].backwards[:2]
        parts = [backward(g, *arrays, *values) for backward in backwards]
        if gate == "second":
            parts.reverse()
        if interleaved:
            return anp.reshape(anp.stack(parts, axis + 1), anp.shape(x))
        return anp.concatenate(parts, axis)

    return gradient


def _of_softmax_cross_entropy(
    g: Any,
    logits: Any,
    targets: Any,
    axis: int = -1,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Any = "mean",
) -> Any:
    """g (weight softmax(logits) - p), p what the fast gradient has there."""
    targets = np.asarray(targets)
    dtype = _floating(logits.dtype)
    if targets.dtype.kind in "iu":
        weight = (targets != ignore_index).astype(float)
        count = weight.sum()
    else:
        sums = targets.sum(axis=axis)
        weight = (1 - label_smoothing) * sums + label_smoothing
        count = sums.size
    ones: Any = 1.0
    if reduction == "mean":
        weight = weight / max(count, 1)
    elif reduction == "none":
        g, ones = anp.expand_dims(g, axis), np.ones(anp.shape(g), dtype)
    weight = np.expand_dims(weight, axis).astype(dtype)
    plain = getval(logits)
    fast = fa.softmax_cross_entropy_backward(
        ones,
        plain,
        targets,
        axis,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    p = weight * fa.softmax(plain, axis) - fast
    return g * (weight * _FUNCTIONS["softmax"](logits, axis) - p)


_GRADIENTS: dict[str, Callable[..., Any]] = {
    "softmax": _of_softmax("softmax", 1.0),
    "softmin": _of_softmax("softmin", -1.0),
    "log_softmax": _of_log_softmax,
    "logsumexp": _of_logsumexp,
    "sparsemax": _of_sparsemax,
    "entmax15": _of_entmax15,
    "hardmax": _of_hardmax,
    "maxout": _of_maxout,
    "crelu": _of_crelu,
    "softmax_cross_entropy": _of_softmax_cross_entropy,
}

_GATES = {name: FUSED[name] for name in lookup.names("gates")}
_FUNCTIONS: dict[str, Any] = {
    name: _elementwise(name, entry) for name, entry in (CATALOGUE | _GATES).items()
}
_FUNCTIONS |= {name: _primitive(name, found) for name, found in _GRADIENTS.items()}
_FUNCTIONS |= {
    name + packed.PACKED: _primitive(name + packed.PACKED, _of_packed(name, entry))
    for name, entry in _GATES.items()
}

__all__ = [*_FUNCTIONS]
globals().update(_FUNCTIONS)


def __getattr__(name: str) -> Any:
    """Other systems' names, as `fastact` has them."""
    known = lookup.canonical_names().get(name)
    if known in _FUNCTIONS:
        return _FUNCTIONS[known]
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; its functions are those of "
        "fastact that can be differentiated, see __all__"
    )
