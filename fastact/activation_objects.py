"""Activations as the layers of a trainer: objects that keep what their gradient needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

import fastact

from . import lookup
from .bound import BoundActivation, check_flag
from .foreign import is_lazy, two_results
from .formulas.entry import CATALOGUE, FUSED
from .formulas.kernels import BACKWARD_FROM_OUTPUT, PARAMETER_BACKWARD, Kernel, members
from .formulas.rows import ROW_FUNCTIONS
from .packed import PACKED
from .parameters import check

Save: TypeAlias = Literal["input", "output", "derivative"] | None

_NOT_LAYERS = {
    "gumbel_softmax": "its gradient needs the noise of each call: call "
    "fastact.gumbel_softmax and gumbel_softmax_backward with noise= yourself",
    "rrelu": "its gradient needs the slopes of each call: call fastact.rrelu and "
    "rrelu_backward with slopes yourself",
    "softmax_cross_entropy": "it is a loss, of logits and targets: call "
    "fastact.softmax_cross_entropy and softmax_cross_entropy_backward",
}
_AS_CONSTRUCTED: Any = object()


class Activation:
    """An activation of one layer: called forward, it keeps what `backward` needs.

    Use one object for each place in a network: it remembers its last call only. It is
    not safe to call it from several threads at once.

    Parameters
    ----------
    name : str
        Any name that `fastact.get` knows. Gates (``"swiglu"``) take two arrays, their
        packed forms (``"swiglu_packed"``) one.
    save : {"input", "output", "derivative", None}, default "input"
        What a call keeps for `backward`. "input" is the arrays that it is given, no
        copies. "output" is the result, so that the input's memory can be used again; for
        functions that have ``fastact.NAME_backward_from_output``. "derivative" is f'(x),
        computed in the same pass as the result, for elementwise functions; `backward` is
        then a product. None keeps nothing.
    learn : bool, str or iterable of str, default False
        Which parameters `backward` computes the gradients of; True means all. It takes
        ``save="input"``.
    reuse_buffers : bool, default False
        Whether to write results, saved derivatives and gradients of the input over those
        of the last call, while shapes and dtypes stay the same. Results are then valid
        until the next call only.
    **parameters
        Parameters of the activation: numbers or arrays that broadcast against x. For
        functions along an axis and packed gates their keywords, such as ``axis``.

    Attributes
    ----------
    name : str
        The activation's name in fastact.
    save, learn, reuse_buffers
        As given; ``learn`` as a tuple of names.
    parameters : dict of str to ndarray
        The parameters of an elementwise function or gate, copies of those given; a number
        becomes a float64 array of no axes. Change the arrays in place
        (``act.parameters["weight"] -= rate * act.gradients["weight"]``), or put others in
        their place. If nothing is learnt they and the dict are read-only, and
        `load_state_dict` sets them.
    gradients : dict of str to ndarray
        Gradients of the parameters that are learnt, each of its parameter's shape: those
        of the last `backward`, not a sum over several.

    Raises
    ------
    ValueError
        If there is no such activation, it is none of one layer, it has no such form to
        `save` for, no such parameter to `learn`, or does not allow a parameter's value.
    TypeError
        If there is no such parameter, one without default is missing, or a value is not
        a real number.

    Notes
    -----
    Saved arrays are not copied: do not change an input (or with ``save="output"`` the
    result) before `backward`. Pickles and copies, shallow ones too, are independent
    objects with the same settings and parameters, and without what the last call kept.

    Examples
    --------
    >>> act = fa.Activation("prelu", weight=0.25, learn=True)
    >>> y = act(x)
    >>> dx = act.backward(dy)
    >>> act.parameters["weight"] -= 0.1 * act.gradients["weight"]
    >>> y = act(x, save=None)  # inference: nothing is kept
    """

    def __init__(
        self,
        name: str,
        /,
        *,
        save: Save = "input",
        learn: bool | str | Iterable[str] = False,
        reuse_buffers: bool = False,
        **parameters: Any,
    ) -> None:
        self.name = _layer_name(name)
        self._bound = BoundActivation(self.name, parameters)
        self._has_parameters = self.name in CATALOGUE or self.name in FUSED
        self.learn = self._checked_learn(learn)
        self.parameters: dict[str, np.ndarray[Any, Any]] = {}
        if self._has_parameters:
            self.parameters = self._owned(self._bound.parameters)
        self.save = self._checked_save(save)
        check_flag("reuse_buffers", reuse_buffers)
        self.reuse_buffers = bool(reuse_buffers)
        self.gradients: dict[str, np.ndarray[Any, Any]] = {}
        self._buffers: dict[str, tuple[Any, Any]] = {}
        self._kept: tuple[Save, tuple[Any, ...], dict[str, Any]] | None = None
        self._shape: tuple[int, ...] = ()

    def __call__(
        self, *arrays: Any, save: Save = _AS_CONSTRUCTED, where: Any = None
    ) -> Any:
        """The activation of x, or of gate and value.

        Parameters
        ----------
        *arrays : array_like
            The input, or gate and value.
        save : {"input", "output", "derivative", None}, optional
            What this call keeps, if it is not what the object was made with. None, for
            inference, keeps nothing, and drops what an earlier call kept.
        where : array_like of bool, optional
            For functions along an axis: which elements are included, in `backward` too.

        Returns
        -------
        y : ndarray or scalar
            What ``fastact.NAME`` returns.

        Raises
        ------
        TypeError
            For another number of arrays, or a `where` that the function does not have.
        ValueError
            If `save` is not possible.
        """
        save = self.save if save is _AS_CONSTRUCTED else self._checked_save(save)
        expected = FUSED[self.name].arrays if self.name in FUSED else ("x",)
        if len(arrays) != len(expected):
            raise TypeError(
                f"{self.name} takes {' and '.join(expected)}; {len(arrays)} given"
            )
        selection = {} if where is None else {"where": where}
        if selection and self.name not in ROW_FUNCTIONS:
            raise TypeError(f"where is for functions along an axis, not {self.name}")
        arrays = tuple(map(_with_shape, arrays))
        self._kept = None
        if save == "derivative":
            y, derivative = self._run("with_derivative", arrays)
            kept: tuple[Any, ...] = (derivative,)
        else:
            y = self._run("", arrays, **selection)
            kept = (y,) if save == "output" else arrays
        self._shape = _shape_of(y)
        if save is not None:
            self._kept = save, kept, selection
        return y

    def backward(self, dy: Any) -> Any:
        """Gradient of the input of the last call; of learnt parameters in `gradients`.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the last result, of its shape.

        Returns
        -------
        dx : ndarray or scalar
            What ``fastact.NAME_backward`` returns; of a gate ``(dgate, dvalue)``.

        Raises
        ------
        RuntimeError
            If there was no call yet, or the last one kept nothing.
        ValueError
            If dy has another shape than the last result.
        """
        if self._kept is None:
            raise RuntimeError(
                f"{self!r} has kept nothing to go back from: call it first, and not with "
                "save=None"
            )
        save, kept, selection = self._kept
        dy = _with_shape(dy)
        if not _may_be_same(_shape_of(dy), self._shape):
            raise ValueError(
                f"dy must have the shape of the last result, {self._shape}, "
                f"not {_shape_of(dy)}"
            )
        if save == "output":
            return self._run("backward_from_output", (dy, *kept), **selection)
        if save == "derivative":
            return self._buffered("backward", _chain, (dy, *kept))
        if not self.learn:
            return self._run("backward", (dy, *kept), **selection)
        dx, *gradients = self._run("parameter_backward", (dy, *kept))
        found = dict(zip(self.parameters, gradients, strict=True))
        self.gradients = {name: np.asarray(found[name]) for name in self.learn}
        return dx

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of the parameters, by name.

        Returns
        -------
        state : dict of str to ndarray
            For `load_state_dict`, of this object or of another one.
        """
        return {name: np.array(value) for name, value in self.parameters.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the parameters to those of a state.

        Parameters
        ----------
        state : mapping of str to array_like
            A value for each parameter, of its shape: what `state_dict` returns.

        Raises
        ------
        ValueError
            If a parameter is missing, one is unknown, a shape differs, or the activation
            does not allow a value. Nothing is changed then.
        """
        for problem, names in (
            ("lacks", self.parameters.keys() - state.keys()),
            ("has the unknown", state.keys() - self.parameters.keys()),
        ):
            if names:
                raise ValueError(
                    f"the state {problem} {', '.join(sorted(names))}; the parameters of "
                    f"{self.name} are: {', '.join(self.parameters) or 'none'}"
                )
        for name, value in self.parameters.items():
            if np.shape(state[name]) != np.shape(value):
                raise ValueError(
                    f"{name} must have the shape {np.shape(value)} here, not "
                    f"{np.shape(state[name])}"
                )
        if not self.parameters:
            return
        values = {name: state[name] for name in self.parameters}
        bound = BoundActivation(self.name, values)
        if self.save == "output":
            self._check_from_output(bound)
        self._bound = bound
        if not self.learn:
            self.parameters = self._owned(values)
            return
        for name, value in values.items():
            if np.ndim(value) == 0:  # may be a number now, after a user's arithmetic
                self.parameters[name] = self._own(value)
            else:
                self.parameters[name][...] = value

    def _checked_save(self, save: Any) -> Save:
        possible = ["input"]
        if self.name in CATALOGUE:
            possible.append("derivative")
            if BACKWARD_FROM_OUTPUT in members(CATALOGUE[self.name]):
                possible.append("output")
        elif self.name in ROW_FUNCTIONS and ROW_FUNCTIONS[self.name].from_output:
            possible.append("output")
        if save is not None and not (isinstance(save, str) and save in possible):
            raise ValueError(
                f"save must be {', '.join(map(repr, possible))} or None for {self.name}, "
                f"not {save!r}"
            )
        if self.learn and save not in ("input", None):
            raise ValueError(
                f"save must be 'input' or None where parameters are learnt, not {save!r}: "
                "their gradients are functions of the input"
            )
        if save == "output":
            self._check_from_output(self._bound)
        return save  # type: ignore[no-any-return]

    def _check_from_output(self, bound: BoundActivation) -> None:
        """Raise unless these parameters let the output tell the derivative."""
        if self.name in CATALOGUE:
            kernel = Kernel(
                CATALOGUE[self.name], BACKWARD_FROM_OUTPUT, with_defaults=False
            )
            check(kernel, bound.parameters)

    def _checked_learn(self, learn: Any) -> tuple[str, ...]:
        if not isinstance(learn, (bool, str, Iterable)):
            raise TypeError(
                f"learn must be True, False or names of parameters, not {learn!r}"
            )
        possible: tuple[str, ...] = ()
        if self.name in CATALOGUE and PARAMETER_BACKWARD in members(
            CATALOGUE[self.name]
        ):
            possible = tuple(self._bound.parameters)
        if isinstance(learn, bool):
            chosen = possible if learn else ()
        else:
            chosen = (learn,) if isinstance(learn, str) else tuple(learn)
        unknown = [name for name in chosen if name not in possible]
        if unknown or (learn is True and not possible):
            raise ValueError(
                f"{self.name} cannot learn {', '.join(map(str, unknown)) or 'anything'}; "
                f"parameters with a gradient: {', '.join(possible) or 'none'}"
            )
        return chosen

    def _owned(self, values: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of the parameters' values, which change only if something is learnt."""
        own = {name: self._own(value) for name, value in values.items()}
        if not self.learn:  # another array put there would have no effect
            return MappingProxyType(own)  # type: ignore[return-value]
        return own

    def _own(self, value: Any) -> np.ndarray[Any, Any]:
        """A copy of a parameter's value, that may be changed if something is learnt."""
        array = np.array(value)
        if array.dtype.kind in "biu":
            array = array.astype(np.float64)
        array.flags.writeable = bool(self.learn)
        return array

    def _run(self, member: str, arrays: tuple[Any, ...], **keywords: Any) -> Any:
        """A member of the activation's family, with its parameters."""
        if self.learn:
            full_name = f"{self.name}_{member}" if member else self.name
            function = getattr(fastact, full_name)
            arrays = (*arrays, *map(np.asarray, self.parameters.values()))
        else:
            function = getattr(self._bound, member) if member else self._bound
            if self._has_two_results(member) and any(map(is_lazy, arrays)):
                return two_results(function, arrays)
        return self._buffered(member, function, arrays, **keywords)

    def _has_two_results(self, member: str) -> bool:
        """Whether a member of the family returns two arrays of one shape."""
        return member == "with_derivative" or (
            member == "backward" and self.name in FUSED
        )

    def _buffered(
        self,
        kind: str,
        function: Callable[..., Any],
        arrays: tuple[Any, ...],
        **keywords: Any,
    ) -> Any:
        """Call a function, into the results of its last call where that is possible."""
        if not self.reuse_buffers or any(type(a) is not np.ndarray for a in arrays):
            return function(*arrays, **keywords)
        signature = [(array.shape, array.dtype) for array in arrays]
        before, out = self._buffers.get(kind, (None, None))
        results = out if type(out) is tuple else (out,)
        # A layer that is called on its own result must not write over what it saved.
        if before == signature and not any(
            np.may_share_memory(result, array)
            for result in results
            for array in arrays
            if result is not None
        ):
            keywords["out"] = out
        found = function(*arrays, **keywords)
        if type(found) is tuple:
            out = tuple(f if type(f) is np.ndarray else None for f in found)
        else:
            out = found if type(found) is np.ndarray else None
        self._buffers[kind] = signature, out
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {
            "save": self.save,
            "learn": self.learn,
            "reuse_buffers": self.reuse_buffers,
        }
        return _make, (type(self), self.name, settings | self._values())

    def _values(self) -> dict[str, Any]:
        return dict(self.parameters) if self._has_parameters else self._bound.parameters

    def __repr__(self) -> str:
        shown = [repr(self.name), f"save={self.save!r}"]
        if self.learn:
            shown.append(f"learn={self.learn!r}")
        if self.reuse_buffers:
            shown.append("reuse_buffers=True")
        shown += [
            f"{name}={value.item() if np.ndim(value) == 0 else value!r}"
            if isinstance(value, np.ndarray)
            else f"{name}={value!r}"
            for name, value in self._values().items()
        ]
        return f"fastact.Activation({', '.join(shown)})"


def _with_shape(array: Any) -> Any:
    """What is an array of any library as it is, anything else as NumPy's."""
    return array if hasattr(array, "astype") else np.asanyarray(array)


def _shape_of(array: Any) -> tuple[int, ...]:
    """Its shape; () of what has none, such as xarray's Dataset."""
    return getattr(array, "shape", ())


def _may_be_same(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether shapes are equal as far as they are known: dask may not know a length."""
    return len(one) == len(other) and all(
        m == n or math.isnan(m) or math.isnan(n)
        for m, n in zip(one, other, strict=True)
    )


def _make(kind: type[Activation], name: str, keywords: dict[str, Any]) -> Activation:
    return kind(name, **keywords)


def _layer_name(name: Any) -> str:
    """The name in fastact of what can be one layer's activation."""
    if isinstance(name, str) and name.endswith(PACKED):
        return lookup.canonical_name(name.removesuffix(PACKED), "gates") + PACKED
    found = lookup.canonical_name(name)
    if found in _NOT_LAYERS:
        raise ValueError(f"{found} is no activation of a layer: {_NOT_LAYERS[found]}")
    return found


def _chain(dy: Any, derivative: Any, out: Any = None) -> Any:
    """dy times the derivative, and 0 where the derivative is 0, whatever dy.

    Left of 0 that is prelu's gradient, with the derivative for its slope.
    """
    # A frame of pandas' has a dtype for each column.
    typed = derivative if hasattr(derivative, "dtype") else np.asarray(derivative)
    left = typed.dtype.type(-1)
    return fastact.prelu_backward(dy, left, derivative, out=out)
