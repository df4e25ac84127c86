"""scikit-learn's multi-layer perceptrons with fastact's activations.

>>> from fastact.integrations.sklearn import MLPClassifier
>>> MLPClassifier(activation="gelu").fit(x, y)

scikit-learn has no public way to add an activation. These classes override private
methods, and so work with the versions that they were tested with and no others: 1.7, 1.8
and 1.9. Importing this module with another version is an ImportError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import fastact as fa

from ..documentation import counted
from ..formulas.entry import CATALOGUE
from ..lookup import canonical_name

try:
    import sklearn
except ImportError as error:
    raise ImportError(
        "fastact.integrations.sklearn needs scikit-learn, which is not installed: "
        "pip install scikit-learn"
    ) from error

_FIRST, _BEYOND = (1, 7), (1, 10)


def _check_version(version: str) -> None:
    """Raise unless the private methods are those of a version that was tested."""
    if _FIRST <= tuple(map(int, version.split(".")[:2])) < _BEYOND:
        return
    allowed = f"scikit-learn>={_FIRST[0]}.{_FIRST[1]},<{_BEYOND[0]}.{_BEYOND[1]}"
    raise ImportError(
        "fastact.integrations.sklearn overrides private methods of scikit-learn and "
        f"needs {allowed}; installed is {version}: pip install '{allowed}'"
    )


_check_version(sklearn.__version__)

from sklearn import neural_network  # noqa: E402 - after the check, so that it is reached
from sklearn.neural_network._base import LOSS_FUNCTIONS  # noqa: E402
from sklearn.neural_network._multilayer_perceptron import (  # noqa: E402
    BaseMultilayerPerceptron,
)
from sklearn.utils._param_validation import (  # noqa: E402
    HasMethods,
    InvalidParameterError,
)
from sklearn.utils.extmath import safe_sparse_dot  # noqa: E402
from sklearn.utils.validation import validate_data  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]

_PARAMETERS = """
    Other parameters, the attributes and the methods are those of
    `sklearn.neural_network.{name}`.

    Parameters
    ----------
    activation : str or callable, default "relu"
        Activation of the hidden layers: a name of an elementwise one
        (``fastact.names("elementwise", aliases=True)``, which has scikit-learn's four), a
        function of fastact, what `fastact.get` returns (an activation with parameters) or
        `fastact.activation` of one array, or an object of your own like these: called as
        ``f(x, out=None)``, with a ``f.backward(dy, x, out=None)``. Parameters of an
        activation are not learnt.

    Raises
    ------
    ValueError
        In `fit` and `partial_fit`, if there is no such activation, it needs parameters,
        or it is not elementwise (tried on a few numbers for each hidden layer).

    Notes
    -----
    With scikit-learn's names ("identity", "logistic", "tanh", "relu") a network starts
    and learns as there, up to rounding. With any other activation (also "sigmoid", by
    another name than scikit-learn's), the first weights of all layers but the first are
    multiplied by its exact gain (`fastact.gain`), if it has one: scikit-learn's are made
    for activations that leave the size of a signal as it is.

    In training, a layer keeps its values before the activation too, for the gradient;
    the four above and their other names need only those after it.

    Examples
    --------
    >>> from fastact.integrations.sklearn import {name}
    >>> {name}(activation="mish").fit(x, y)
    {name}(activation='mish')
    >>> {name}(activation=fa.get("leaky_relu", negative_slope=0.2)).fit(x, y)
    {name}(activation=fastact.get('leaky_relu', negative_slope=0.2))
    """

_SKLEARN_NAMES = ("identity", "logistic", "tanh", "relu")
_OUTPUT: dict[str, Callable[..., Any]] = {
    "identity": fa.identity,
    "exp": fa.exp,
    "logistic": fa.sigmoid,
    "softmax": fa.softmax,
}
# Their gradients take the output, as scikit-learn's do: no need to keep the input.
_FROM_OUTPUT = tuple(map(fa.get, _SKLEARN_NAMES))


class _Hidden(NamedTuple):
    """The activation of the hidden layers."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    from_output: bool  # whether `backward` takes the output, not the input


@functools.cache
def _by_name(name: str) -> Any:
    """An elementwise activation that needs no parameters."""
    try:
        name = canonical_name(name, "elementwise")
    except ValueError as error:
        raise InvalidParameterError(
            f"activation must name an elementwise activation: {error}"
        ) from None
    missing = [p.name for p in CATALOGUE[name].parameters if p.default is None]
    if missing:
        values = ", ".join(f"{parameter}=..." for parameter in missing)
        raise InvalidParameterError(
            f"activation {name!r} needs {' and '.join(missing)}: pass "
            f"activation=fastact.get({name!r}, {values})"
        )
    return fa.get(name)


def _hidden(activation: Any) -> _Hidden:
    function = _by_name(activation) if isinstance(activation, str) else activation
    if any(function is known for known in _FROM_OUTPUT):
        return _Hidden(function, function.backward_from_output, from_output=True)
    return _Hidden(function, function.backward, from_output=False)


def _check_elementwise(activation: Any, units: int) -> None:
    """Try an activation on a layer of two examples, before scikit-learn's loops do."""
    x = np.linspace(0.2, 0.8, 2 * units).reshape(2, units)  # where all are defined
    other = x.copy()
    other[0, 0] = 0.9
    wanted = "activation must be an elementwise one of one array, with its gradient"
    found = []
    for z in (x, other):
        try:
            y = activation(z, out=None)
            if np.shape(y) != x.shape:
                raise ValueError(
                    f"the result has the shape {np.shape(y)}, not {x.shape}"
                )
            found.append((y, activation.backward(np.ones_like(z), z, out=None)))
        except Exception as error:
            raise InvalidParameterError(
                f"{wanted}; {activation!r} fails on a layer of {counted(units, 'unit')}: "
                f"{error}"
            ) from error
    for one, two in zip(*found, strict=True):
        changed = one != two
        changed[0, 0] = False
        if changed.any():
            raise InvalidParameterError(
                f"{wanted}; a result of {activation!r} depends on other elements, too"
            )


def _gain(activation: Any) -> float:
    """The exact gain, or 1 where there is none (slopes of their own for each unit)."""
    try:
        return fa.gain(activation)
    except ValueError:
        return 1.0


class _Perceptron(BaseMultilayerPerceptron):
    """The methods of both perceptrons that know the activation."""

    def _validate_params(self) -> None:
        super()._validate_params()
        if isinstance(self.activation, str):
            _by_name(self.activation)
            return
        if isinstance(self.activation, fa.Activation):  # keeps what one layer was given
            raise InvalidParameterError(
                "activation cannot be a fastact.Activation, one object for all layers: "
                f"pass activation=fastact.get({self.activation.name!r}, ...)"
            )
        name = getattr(self.activation, "__name__", "")
        if name in CATALOGUE and self.activation is fa.get(name):
            _by_name(name)
        for units in np.unique(self.hidden_layer_sizes):
            if units > 0:  # scikit-learn refuses others
                _check_elementwise(self.activation, units)

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[Any, Any]:
        weight, bias = super()._init_coef(fan_in, fan_out, dtype)
        # The first layer, before which there are no others, takes the data as they are.
        if self.coefs_ and self.activation not in _SKLEARN_NAMES:
            weight *= _gain(self.activation)
        return weight, bias

    def _forward_pass(
        self, activations: list[Any], kept: list[Any] | None = None
    ) -> list[Any]:
        """Fill in each layer's output; `kept` gets what the gradients will need."""
        hidden = _hidden(self.activation)
        last = self.n_layers_ - 2
        for i, (weight, bias) in enumerate(
            zip(self.coefs_, self.intercepts_, strict=True)
        ):
            z = safe_sparse_dot(activations[i], weight)
            z += bias
            if i == last:
                activations[i + 1] = _OUTPUT[self.out_activation_](z, out=z)
                continue
            in_place = hidden.from_output or kept is None
            activations[i + 1] = hidden.forward(z, out=z if in_place else None)
            if kept is not None:
                kept.append(z)
        return activations

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Any:
        """The output for X, without keeping those of the layers before."""
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        hidden = _hidden(self.activation).forward
        functions = [hidden] * (self.n_layers_ - 2) + [_OUTPUT[self.out_activation_]]
        for weight, bias, function in zip(
            self.coefs_, self.intercepts_, functions, strict=True
        ):
            X = safe_sparse_dot(X, weight)
            X += bias
            X = function(X, out=X)
        return X

    def _backprop(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        activations: list[Any],
        deltas: list[Any],
        coef_grads: list[Any],
        intercept_grads: list[Any],
    ) -> tuple[Any, list[Any], list[Any]]:
        """The loss, and the gradients of weights and biases."""
        kept = [X]
        output = self._forward_pass(activations, kept)[-1]
        loss_name = self.loss
        if loss_name == "log_loss" and self.out_activation_ == "logistic":
            loss_name = "binary_log_loss"
        loss = LOSS_FUNCTIONS[loss_name](y, output, sample_weight)
        total = X.shape[0] if sample_weight is None else sample_weight.sum()
        squares = sum(np.vdot(weight, weight) for weight in self.coefs_)
        loss += 0.5 * self.alpha * squares / total

        # Loss and output activation belong together: the gradient of the values before
        # that activation is this difference, for all of them.
        delta = output - y
        if sample_weight is not None:
            delta *= sample_weight[:, np.newaxis]
        backward = _hidden(self.activation).backward
        for i in reversed(range(self.n_layers_ - 1)):
            deltas[i] = delta
            self._compute_loss_grad(
                i, total, activations, deltas, coef_grads, intercept_grads
            )
            if i > 0:
                delta = delta @ self.coefs_[i].T
                delta = backward(delta, kept[i], out=delta)
        return loss, coef_grads, intercept_grads


def _constraints(base: Any) -> dict[str, Sequence[Any]]:
    """What scikit-learn checks parameters against; names are checked by `_by_name`."""
    activation = [str, HasMethods(["__call__", "backward"])]
    return {**base._parameter_constraints, "activation": activation}


class MLPClassifier(_Perceptron, neural_network.MLPClassifier):
    __doc__ = (
        "scikit-learn's multi-layer perceptron classifier with any activation.\n"
        + _PARAMETERS.format(name="MLPClassifier")
    )
    _parameter_constraints = _constraints(neural_network.MLPClassifier)


class MLPRegressor(_Perceptron, neural_network.MLPRegressor):
    __doc__ = (
        "scikit-learn's multi-layer perceptron regressor with any activation.\n"
        + _PARAMETERS.format(name="MLPRegressor")
    )
    _parameter_constraints = _constraints(neural_network.MLPRegressor)
